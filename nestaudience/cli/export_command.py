"""`nestaudience audit export`: the bundle that an auditor takes away. It writes files, and nothing into the log."""

from pathlib import Path
from typing import Annotated

import typer

import nestaudience
from nestaudience.cli import output
from nestaudience.cli.audit_commands import From, To, day_of, opened_evidence
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, clock, guarded

Out = Annotated[Path, typer.Option("--out", help="A new folder, or a new file that ends with .zip.")]


def export(out: Out, config: Config = DEFAULT_CONFIG, first: From = None, last: To = None, as_json: Json = False) -> None:
    """Write a signed bundle: the whole log, a verifier that needs nothing of this program, and its tables as CSV, Parquet and JSON.

    Dates choose rows of the tables; the log is always whole. The log's own key signs the list of files.
    """
    with guarded(as_json):
        from nestaudience.audit.bundle import export as write
        from nestaudience.audit.columns import Filters
        from nestaudience.wiring import open_signer

        filters = Filters(first=day_of(first), last=day_of(last))
        with opened_evidence(config) as evidence, output.progress(watched=not as_json) as note:
            signer = open_signer(evidence)
            made = write(evidence.reader, signer, out, now=clock(), version=nestaudience.__version__, filters=filters, note=note)
        if as_json:
            document = {name: getattr(made, name) for name in type(made).__dataclass_fields__}
            output.as_json(document | {"path": str(made.path)})
            return
        output.say(
            f"Written: {made.path}, {made.files} files, {made.size:,} bytes: {made.entries} entries, {made.batches} requests."
        )
        output.say(f"Manifest: SHA-256 {made.manifest}, signed by the log's key.")
        output.say("Public keys of the log. The auditor compares them with those that she already holds:")
        for line in made.keys:
            output.say(f"  {line}")
        output.say(f"Verify without this program: python {made.path}/verify.py {made.path} --public-key FILE")
