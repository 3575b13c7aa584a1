"""What people type. Parsing and calling only: every command hands over to one function of the package.

Heavy imports stay inside the commands, so that `--help` answers at once.
"""

import typer

from nestaudience import core_dumps
from nestaudience.cli import (
    access_command,
    audiences_command,
    audit_commands,
    audit_listing,
    backfill_command,
    contract_command,
    ending_commands,
    erasure_commands,
    explain_command,
    export_command,
    hour_commands,
    keys_commands,
    ledger_commands,
    proof_commands,
    release_command,
    report_command,
    rights_commands,
    run_commands,
    sample_command,
    sandbox_commands,
    serve_command,
    status_command,
)

app = typer.Typer(
    name="nestaudience",
    help="Consent-based customer lists for Google and Meta: removals first, digests only, every transfer on a verifiable log.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(sandbox_commands.demo)
app.command()(sandbox_commands.sandbox)
app.command()(contract_command.contract)
app.command()(run_commands.check)
app.command()(run_commands.plan)
run_commands.run_app.command()(backfill_command.backfill)
run_commands.run_app.command()(hour_commands.withdrawals)
run_commands.run_app.command()(hour_commands.settle)
run_commands.run_app.command()(erasure_commands.retention)
app.add_typer(run_commands.run_app, name="run")
app.command()(serve_command.serve)
app.command()(status_command.status)
app.command()(audiences_command.audiences)
app.command()(release_command.release)
app.command()(ending_commands.retire)
app.command()(ending_commands.retract)
app.command()(explain_command.explain)
rights_commands.rights_app.command()(access_command.access)
rights_commands.rights_app.command("proof")(proof_commands.rights_proof)
rights_commands.rights_app.command()(erasure_commands.erase)
rights_commands.rights_app.command()(erasure_commands.receipt)
app.add_typer(rights_commands.rights_app, name="rights")
for listing in ("funnel", "removals", "lookups", "nights", "sizes", "changes"):
    audit_commands.audit_app.command(listing)(getattr(audit_listing, listing))
audit_commands.audit_app.command()(sample_command.sample)
audit_commands.audit_app.command("proof")(proof_commands.audit_proof)
audit_commands.audit_app.command()(export_command.export)
audit_commands.audit_app.command()(report_command.report)
app.add_typer(audit_commands.audit_app, name="audit")
app.add_typer(ledger_commands.ledger_app, name="ledger")
run_commands.keys_app.command()(keys_commands.show)
run_commands.keys_app.command()(keys_commands.rotate)
app.add_typer(run_commands.keys_app, name="keys")


def main() -> None:
    """The `nestaudience` command."""
    core_dumps.forbid()
    app()
