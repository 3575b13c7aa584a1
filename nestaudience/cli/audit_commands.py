"""`nestaudience audit`: what the auditor reads. Nothing here writes, asks a platform, or needs a secret key, but for `verify --with-keys`.

Public keys come from `--public-key`, or from the installation's own keys where these may be read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestaudience.cli import output
from nestaudience.cli.keyed_output import keyed_document, show_keyed
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, clock, guarded
from nestaudience.errors import MustStop, NeedsFix, NestAudienceError
from nestaudience.vocabulary import RunKind

if TYPE_CHECKING:
    from nestaudience.audit.verify import Verification
    from nestaudience.ledger.checkpoint import Checkpoint, Verifier
    from nestaudience.verifying import Keyed
    from nestaudience.wiring import Evidence

audit_app = typer.Typer(no_args_is_help=True, help="Read and verify the transfer log.")

PublicKey = Annotated[
    Path | None,
    typer.Option("--public-key", help="File with the log's verifier keys, one a line.  [default: the installation's keys]"),
]
Checkpoints = Annotated[
    list[Path] | None, typer.Option("--checkpoint", help="A checkpoint that was kept elsewhere; may be given again.")
]
From = Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day, in Stockholm.")]
To = Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day, in Stockholm.")]
WITH_KEYS = "Also what only the keys can show; needs a case and the store, and is written to the log."
LEVEL = "without keys: bytes, roots, signatures, and what the entries say together; no person was looked up"


@audit_app.command("transfers")
def transfers(
    config: Config = DEFAULT_CONFIG,
    controller: Annotated[str | None, typer.Option(help="Key of the company.")] = None,
    recipient: Annotated[str | None, typer.Option(help="google or meta.")] = None,
    audience: Annotated[str | None, typer.Option(help="controller/segment/recipient.")] = None,
    run: Annotated[str | None, typer.Option(help="A run's id, or its beginning.")] = None,
    kind: Annotated[RunKind | None, typer.Option(help="Which job.")] = None,
    unknown: Annotated[bool, typer.Option("--unknown", help="Only those with requests whose effect is not known.")] = False,
    first: From = None,
    last: To = None,
    as_json: Json = False,
) -> None:
    """List transfers: when, to whom, how many people, and what became of them."""
    with guarded(as_json):
        from nestaudience.audit import frames
        from nestaudience.cli.audit_output import frame_rows, show_transfers

        filters = frames.Filters(controller, recipient, audience, run, kind, day_of(first), day_of(last))
        with opened_evidence(config) as evidence:
            frame = frames.transfers(evidence.reader.entries(types=frames.TRANSFER_TYPES), filters)
        if unknown:
            frame = frame[(frame["settled"] == "unknown") | (frame["unknown"] > 0)]
        if as_json:
            columns = {name: column.meaning for name, column in frames.TRANSFER_COLUMNS.items()}
            output.as_json({"columns": columns, "transfers": frame_rows(frame)})
        else:
            show_transfers(frame)


@audit_app.command("show")
def show(
    wanted: Annotated[
        str, typer.Argument(metavar="ID", help="A transfer, run or batch (or its beginning), or an entry's number.")
    ],
    config: Config = DEFAULT_CONFIG,
    public_key: PublicKey = None,
    as_json: Json = False,
) -> None:
    """Show one transfer, run, batch or entry end to end, with the checkpoint and the proof of every step."""
    with guarded(as_json):
        from nestaudience.audit.show import show as look
        from nestaudience.cli.audit_output import show_shown

        with opened_evidence(config) as evidence:
            shown = look(evidence.reader, wanted, verifiers_of(evidence, public_key))
        if as_json:
            output.as_json(shown.as_dict())
        else:
            show_shown(shown)
        raise typer.Exit(0 if shown.sound else MustStop.exit_code)


@audit_app.command("verify")
def verify(
    config: Config = DEFAULT_CONFIG,
    checkpoint: Checkpoints = None,
    public_key: PublicKey = None,
    with_keys: Annotated[bool, typer.Option("--with-keys", help=WITH_KEYS)] = False,
    case: Annotated[
        str, typer.Option("--case", help="Number of the case for which you look with the keys; it goes to the log.")
    ] = "",
    seed: Annotated[int, typer.Option("--seed", help="Draws people with a no, where they are too many to look for all.")] = 1,
    as_json: Json = False,
) -> None:
    """Verify the whole log without secret keys: it is complete, unchanged, signed, and its entries fit together.

    With --with-keys also what only the keys can show: memberships, sealed digests and leaves agree, and nobody was added after her no. Ends with 0
    when nothing breaks the proof, and with 5 otherwise.
    """
    with guarded(as_json):
        from nestaudience.audit.limits import CANNOT_PROVE
        from nestaudience.audit.verify import verify as check
        from nestaudience.status import last_due_night

        brought = [text_of(path, "a checkpoint file") for path in checkpoint or []]
        with opened_evidence(config) as evidence:
            verifiers = verifiers_of(evidence, public_key)
            head = head_of(evidence.base / evidence.table.head, verifiers)
            found = check(evidence.engine, verifiers, brought=brought, head=head, until=last_due_night(clock()))
        keyed = keyed_verification(config, case, seed, watched=not as_json) if with_keys else None
        if as_json:
            document = verification_document(found, len(brought), head) | {"cannot_prove": list(CANNOT_PROVE)}
            output.as_json(document if keyed is None else document | {"with_keys": keyed_document(keyed, case)})
        else:
            show_verification(found, len(brought), head)
            if keyed is not None:
                show_keyed(keyed)
            output.say("\nWhat the log cannot prove:")
            for sentence in CANNOT_PROVE:
                output.say(f"  - {sentence}")
        raise typer.Exit(0 if found.ok and (keyed is None or keyed.ok) else MustStop.exit_code)


def keyed_verification(config: Path, case: str, seed: int, *, watched: bool) -> "Keyed":
    """The second level, which opens everything that the configuration names and writes the look to the log."""
    from nestaudience.verifying import verify_with_keys
    from nestaudience.wiring import open_parts

    with open_parts(config, clock=clock) as parts, output.progress(watched=watched) as watch:
        return verify_with_keys(parts, case, seed=seed, note=watch)


def verifiers_of(evidence: "Evidence", public_key: Path | None) -> "tuple[Verifier, ...]":
    """The log's public keys: from a file, or else the public halves of the installation's own.

    Raises `NeedsFix`: `file_unreadable`, `vkey_malformed`, `public_key_missing` (no file was named, and the keys of the
    installation cannot be read here).
    """
    from nestaudience.ledger.checkpoint import Verifier
    from nestaudience.wiring import open_keys

    if public_key is not None:
        return verifiers_in(public_key)
    texts: tuple[str, ...] = ()
    try:
        texts = open_keys(evidence).vkeys(evidence.table.origin)
    except NestAudienceError:
        texts = ()
    if not texts:
        raise NeedsFix("public_key_missing", "the log's public key", "name a file with it: --public-key FILE")
    return tuple(Verifier.parse(text) for text in texts)


def verifiers_in(public_key: Path) -> "tuple[Verifier, ...]":
    """The keys of a file, one a line. Raises `NeedsFix`: `file_unreadable`, `vkey_malformed`."""
    from nestaudience.ledger.checkpoint import Verifier

    lines = [line for line in text_of(public_key, "the public key file").splitlines() if line.strip()]
    if not lines:
        raise NeedsFix("vkey_malformed", "the public key file", "copy the lines that `nestaudience keys show` prints")
    return tuple(Verifier.parse(line) for line in lines)


def head_of(path: Path, verifiers: "tuple[Verifier, ...]") -> "Checkpoint | None":
    """The signer's head; None where its file is missing or may not be read here.

    Raises `MustStop`: `head_unreadable`, and what `open_note` raises for its signature.
    """
    import json

    from nestaudience.ledger.checkpoint import open_note

    note: object = None
    try:
        document = json.loads(path.read_text("utf-8"))
        note = document.get("note") if isinstance(document, dict) else None
    except OSError:
        return None
    except ValueError:
        note = None
    if not isinstance(note, str):
        raise MustStop("head_unreadable", "the signer's head file", "restore it from its copy, and verify again")
    return open_note(note, verifiers).checkpoint


def verification_document(found: "Verification", brought: int, head: "Checkpoint | None") -> dict[str, object]:
    """A verification as JSON."""

    def listed(findings: object) -> list[dict[str, object]]:
        return [{"entry": f.index, "code": f.code, "what": f.what} for f in findings]  # type: ignore[attr-defined]

    return {
        "ok": found.ok,
        "level": LEVEL,
        "entries": found.entries,
        "root": found.root.hex(),
        "checkpoints": found.checkpoints,
        "sealed": found.sealed,
        "brought": brought,
        "anchored": found.anchored,
        "head": None if head is None else head.size,
        "redacted": found.redacted,
        "first_bad_entry": found.first_bad_entry,
        "problems": listed(found.problems),
        "notices": listed(found.notices),
        "unknown_batches": list(found.unknown_batches),
        "gaps": [{"controller": controller, "night": night.isoformat()} for controller, night in found.gaps],
        "balances": dict(found.balances),
        "epochs": [
            {"entry": e.index, "at": e.at, "origin": e.origin, "entries_lost": e.entries_lost} | e.lost.fields()
            for e in found.epochs
        ],
    }


def show_verification(found: "Verification", brought: int, head: "Checkpoint | None") -> None:
    """A verification for people."""
    verdict = "Nothing breaks the proof." if found.ok else f"The proof is broken: {len(found.problems)} problems."
    output.say(verdict)
    if found.first_bad_entry is not None:
        output.say(f"First bad entry: {found.first_bad_entry}")
    output.say(f"Level: {LEVEL}.")
    output.say(f"Entries: {found.entries}, of which {found.sealed} are under a signed checkpoint; redacted: {found.redacted}.")
    output.say(f"Root: {found.root.hex()}")
    output.say(
        f"Checkpoints kept: {found.checkpoints}; brought from outside: {brought}, the largest that fits covers {found.anchored}."
    )
    said = "not readable here; not compared" if head is None else f"covers {head.size} entries"
    output.say(f"Head beside the keys: {said}.")
    for epoch in found.epochs:
        output.say(
            f"Recovered {output.local(epoch.at)} (entry {epoch.index}): {epoch.entries_lost} signed entries of {epoch.lost.old_origin} were lost, "
            f"those from {epoch.lost.restored_size} up to {epoch.lost.head_size}; the log goes on as {epoch.origin}."
        )
    for title, findings in (("Problems", found.problems), ("Worth knowing", found.notices)):
        if findings:
            output.table(title, ("entry", "code", "what"), [(f.index, f.code, f.what) for f in findings])
    if found.unknown_batches:
        rows = [(batch_id,) for batch_id in found.unknown_batches]
        output.table("Batches without a known effect: disclosed, and not removed", ("batch",), rows)
    if found.gaps:
        rows_of_gaps = [(controller or "the group", night.isoformat()) for controller, night in found.gaps]
        output.table("Nights without a run", ("company", "night"), rows_of_gaps)


@contextmanager
def opened_evidence(config: Path) -> "Iterator[Evidence]":
    """The ledger, for reading."""
    from nestaudience.wiring import open_evidence

    evidence = open_evidence(config, clock, read_only=True)
    try:
        yield evidence
    finally:
        evidence.engine.dispose()


def text_of(path: Path, what: str) -> str:
    """A file that was named. Raises `NeedsFix`: `file_unreadable`."""
    text: str | None = None
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        text = None
    if text is None:
        raise NeedsFix("file_unreadable", what, "name a readable text file")
    return text


def day_of(moment: datetime | None) -> date | None:
    """The day of a date that was typed."""
    return None if moment is None else moment.date()
