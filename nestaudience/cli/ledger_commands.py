"""`nestaudience ledger`: what is done to the ledger as a whole, by hand and seldom. Each command calls one function and shows what it returns."""

import typer

from nestaudience.cli import output
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, clock, guarded

ledger_app = typer.Typer(no_args_is_help=True, help="The ledger as a whole.")


@ledger_app.callback()
def ledger() -> None:
    """The ledger as a whole."""


@ledger_app.command("migrate")
def migrate(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Bring an older ledger to this program's schema: a backup beside it first, and an entry in the log that says so.

    Refused while a run works on the ledger.
    """
    with guarded(as_json):
        from nestaudience.wiring import migrate_ledger

        done = migrate_ledger(config, clock=clock, actor="cli")
        backup = done.backup.name if done.backup is not None else ""
        if as_json:
            output.as_json({"before": done.before, "after": done.after, "backup": backup})
        elif done.backup is None:
            output.say(f"Nothing to do: the ledger has this program's schema ({done.after}).")
        else:
            output.say(f"Migrated from {done.before} to {done.after}. Backup, beside the ledger: {backup}")
            output.say("It holds what the ledger holds: delete it when the next night has run.")
