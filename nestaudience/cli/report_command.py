"""`nestaudience audit report`: one file for whoever answers for the lists, and for whoever asks. It reads the ledger, and writes what is named.

It needs no secret key, asks no platform and starts no network; a PDF needs a browser on the machine.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestaudience.cli import output
from nestaudience.cli.audit_commands import (
    Checkpoints,
    From,
    PublicKey,
    To,
    day_of,
    head_of,
    opened_evidence,
    text_of,
    verifiers_of,
)
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, clock, guarded
from nestaudience.errors import MustStop, NeedsFix
from nestaudience.vocabulary import Language

if TYPE_CHECKING:
    from nestaudience.audit.frames import Filters
    from nestaudience.audit.report.material import Material
    from nestaudience.wiring import Evidence


def report(
    out: Annotated[Path, typer.Option("--out", help="The HTML file to write.", dir_okay=False)],
    config: Config = DEFAULT_CONFIG,
    language: Annotated[Language, typer.Option(help="Swedish or English.")] = Language.SV,
    pdf: Annotated[
        Path | None, typer.Option("--pdf", help="Also print it to this PDF file; needs Chromium.", dir_okay=False)
    ] = None,
    controller: Annotated[str | None, typer.Option(help="Key of one company.")] = None,
    first: From = None,
    last: To = None,
    checkpoint: Checkpoints = None,
    public_key: PublicKey = None,
    as_json: Json = False,
) -> None:
    """Write the report: one HTML file, in Swedish or English, from configuration and log; and a PDF of it.

    Ends with 0 when nothing breaks the proof, and with 5 otherwise; the report is written all the same, and says so first.
    """
    with guarded(as_json):
        from nestaudience.audit.frames import Filters

        filters = Filters(controller=controller, first=day_of(first), last=day_of(last))
        brought = [text_of(path, "a checkpoint file") for path in checkpoint or []]
        with opened_evidence(config) as evidence:
            material = _gathered(evidence, filters, language, brought, public_key)
        sound = _write(material, out, pdf, as_json=as_json)
        raise typer.Exit(0 if sound else MustStop.exit_code)


def _gathered(
    evidence: "Evidence", filters: "Filters", language: Language, brought: list[str], public_key: Path | None
) -> "Material":
    from nestaudience.audit.report.material import gather
    from nestaudience.audit.report.readable import readable
    from nestaudience.audit.verify import verify
    from nestaudience.status import last_due_night
    from nestaudience.wiring import settings_in_use

    settings, now = settings_in_use(evidence), clock()
    if filters.controller is not None and filters.controller not in settings.controllers:
        raise NeedsFix("controller_unknown", "--controller", "name a key of [[controllers]]")
    verifiers = verifiers_of(evidence, public_key)
    head = head_of(evidence.base / evidence.table.head, verifiers)
    found = verify(evidence.engine, verifiers, brought=brought, head=head, until=last_due_night(now))
    asked = {"language": language, "filters": filters, "now": now, "brought": len(brought), "head": head}
    return gather(lambda types: readable(evidence.reader, types), settings, found, **asked)  # type: ignore[arg-type]


def _write(material: "Material", out: Path, pdf: Path | None, *, as_json: bool) -> bool:
    """Write the files, and say where they are; True when the log verified. Raises `NeedsFix`: `file_unwritable`, and what printing raises."""
    from nestaudience.audit.report.compose import to_report
    from nestaudience.audit.report.pdf import to_pdf

    html, failed = to_report(material), False
    try:
        part = out.with_name(f".{out.name}.part")
        part.write_text(html, "utf-8")
        part.replace(out)
    except OSError:
        failed = True
    if failed:
        raise NeedsFix("file_unwritable", "--out", "name a file in a folder that can be written")
    if pdf is not None:
        to_pdf(out, pdf)
    ok = material.verification.ok
    if as_json:
        output.as_json({"ok": ok, "html": str(out), "pdf": None if pdf is None else str(pdf), "transfers": len(material.sent)})
    else:
        output.say("Nothing breaks the proof." if ok else f"The proof is broken: {len(material.verification.problems)} problems.")
        output.say(f"Written: {out}" + (f" and {pdf}" if pdf is not None else ""))
    return ok
