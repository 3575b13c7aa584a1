"""`nestaudience ledger`: what is done to the ledger as a whole, by hand and seldom. Each command calls one function and shows what it returns."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from nestaudience.cli import output
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, Yes, clock, guarded
from nestaudience.cli.preview_output import go_ahead

if TYPE_CHECKING:
    from nestaudience.recovery import Situation

ledger_app = typer.Typer(no_args_is_help=True, help="The ledger as a whole.")


@ledger_app.callback()
def ledger() -> None:
    """The ledger as a whole."""


@ledger_app.command("create")
def create(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Make the tables of a new ledger, and look at those that are there. Every run does it too, where its role may.

    On PostgreSQL run it once as the owner of the ledger's schema, then `ledger grants`: the role of the runs may make no table.
    """
    with guarded(as_json):
        from nestaudience.ledger.engine import born_with, read
        from nestaudience.wiring import open_evidence

        evidence = open_evidence(config, clock)
        born = read(evidence.engine, born_with)
        evidence.engine.dispose()
        if as_json:
            output.as_json(born)
        else:
            output.say(f"A ledger of {born['environment']}, born {born['created_at']}: {born['origin']}")


@ledger_app.command("grants")
def grants(
    role: Annotated[str, typer.Argument(help="the role under which the runs connect")], config: Config = DEFAULT_CONFIG
) -> None:
    """Print the SQL that gives a role on PostgreSQL what the runs need: evidence may be added and read, never changed. Pipe it to psql as the owner.

    Again after each `ledger migrate`.
    """
    with guarded(json=False):
        from nestaudience.wiring import ledger_grants

        output.say(ledger_grants(config, role).rstrip())


@ledger_app.command("migrate")
def migrate(
    config: Config = DEFAULT_CONFIG,
    backed_up: Annotated[bool, typer.Option("--backed-up", help="PostgreSQL: somebody made a backup just now")] = False,
    as_json: Json = False,
) -> None:
    """Bring an older ledger to this program's schema: a backup first, and an entry in the log that says so.

    The backup of a file is made beside it. Of a schema on PostgreSQL a person makes it and says --backed-up; run this as the schema's owner, and
    `ledger grants` after it. Refused while a run works on the ledger.
    """
    with guarded(as_json):
        from nestaudience.wiring import migrate_ledger

        done = migrate_ledger(config, clock=clock, actor="cli", backed_up=backed_up)
        backup = done.backup.name if done.backup is not None else ""
        if as_json:
            output.as_json({"before": done.before, "after": done.after, "backup": backup})
        elif done.before == done.after:
            output.say(f"Nothing to do: the ledger has this program's schema ({done.after}).")
        elif done.backup is None:
            output.say(
                f"Migrated from {done.before} to {done.after}. Next: `nestaudience ledger grants ROLE`, for the role of the runs."
            )
        else:
            output.say(f"Migrated from {done.before} to {done.after}. Backup, beside the ledger: {backup}")
            output.say("It holds what the ledger holds: delete it when the next night has run.")


@ledger_app.command("recover")
def recover(config: Config = DEFAULT_CONFIG, yes: Yes = False, as_json: Json = False) -> None:
    """Go on with a ledger that was restored from a backup: say in the log what was lost, and let every list begin anew.

    Opens a new signed epoch, and deletes every list that may have got people since the backup: the ledger no longer knows who they are. Then run
    `nestaudience run nightly`, which fills new ones. May be repeated. Ends with 3 or 4 when a list could not be deleted yet: every run tries again.
    """
    with guarded(as_json):
        from nestaudience.recovery import recover as do
        from nestaudience.recovery import situation
        from nestaudience.wiring import open_parts

        with open_parts(config, clock=clock, randomness=os.urandom) as parts:
            found = situation(parts)
            if not as_json:
                show_situation(found)
            if found.nothing_to_do or not go_ahead(yes=yes, as_json=as_json):
                if as_json:
                    output.as_json(situation_document(found) | {"done": False})
                raise typer.Exit(0)
            with output.progress(watched=not as_json) as watch:
                outcome = do(parts, note=watch)
            waiting = situation(parts).lists
        if as_json:
            done = {
                "done": True,
                "begun_anew": list(outcome.begun_anew),
                "waiting": list(waiting),
                "checkpoint": outcome.checkpoint,
            }
            output.as_json(situation_document(found) | done | {"errors": [error.as_dict() for error in outcome.errors]})
        else:
            output.say(
                f"Lists that begin anew with the next run: {len(outcome.begun_anew)}; still to be deleted: {len(waiting)}."
            )
            output.failed(outcome.errors, as_json_document=False)
            output.say(
                "Next: `nestaudience run nightly`. Order again what was ordered by hand since the backup (retire, release, retract)."
            )
        raise typer.Exit(outcome.exit_code)


def situation_document(found: "Situation") -> dict[str, object]:
    """What a recovery has to do, as JSON."""
    restored = found.restored
    return {
        "restored": restored is not None,
        "entries": 0 if restored is None else restored.entries,
        "entries_lost": 0 if restored is None else restored.entries_lost,
        "lost": [] if restored is None else [lost.fields() for lost in restored.lost],
        "epoch": None if restored is None else restored.epoch,
        "lists": list(found.lists),
    }


def show_situation(found: "Situation") -> None:
    """What a recovery has to do, for people."""
    restored = found.restored
    if restored is None:
        output.say("The ledger is not behind its signed head." + ("" if found.lists else " Nothing to do."))
    else:
        head = restored.head
        output.say(f"The ledger is behind its signed head: it has {restored.entries} entries, and {head.head_size} were signed.")
        output.say(
            f"{restored.entries_lost} signed entries are lost. If there is a later copy of the ledger, put that one back first."
        )
        output.say(f"A new epoch of the log, number {restored.epoch}, would begin and say so.")
    if found.lists:
        rows = [(audience,) for audience in found.lists]
        output.table("Lists that would be deleted, and filled anew by the next run", ("audience",), rows)
