"""`nestaudience rights proof`, and `nestaudience audit proof`, which checks what the first one made."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestaudience.cli import output
from nestaudience.cli.audit_commands import PublicKey, opened_evidence, text_of, verifiers_in, verifiers_of
from nestaudience.cli.explain_command import Case, In
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, clock, guarded
from nestaudience.errors import NeedsFix
from nestaudience.vocabulary import Language

if TYPE_CHECKING:
    from nestaudience.ledger.checkpoint import Verifier


def rights_proof(
    transfer: Annotated[str, typer.Argument(metavar="TRANSFER", help="The transfer's id, or its beginning.")],
    case: Case = "",
    out: Annotated[Path | None, typer.Option("--out", help="A new file for the document.")] = None,
    language: In = Language.SV,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Prove that one person was, or was not, in a transfer. The address is typed unseen, or read from standard input; each look is logged."""
    with guarded(as_json):
        from nestaudience.cli.person import asked_address
        from nestaudience.letters import PROOF_NOTES, PROOF_SAYS
        from nestaudience.proving import proof
        from nestaudience.wiring import open_parts

        address = asked_address()
        if out is not None and out.exists():
            raise _no_file()
        with open_parts(config, clock=clock) as parts:
            document = proof(parts, address, transfer, case)
        if out is not None:
            _write(out, json.dumps(document, indent=1) + "\n")
        if as_json:
            output.as_json(document)
            return
        output.say(PROOF_SAYS[language][document["was_in"]].format(transfer=document["transfer"]))
        for sentence in PROOF_NOTES[language]:
            output.say(sentence)


def audit_proof(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A document of `rights proof`.")],
    public_key: PublicKey = None,
    language: In = Language.SV,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Check a person's proof with the log's public keys alone; the ledger is not read. Ends with 0 when it holds, and with 5 otherwise."""
    with guarded(as_json):
        from nestaudience.audit.transfer_proof import verify_transfer
        from nestaudience.letters import PROOF_NOTES, PROOF_SAYS

        document: object = None
        with suppress(ValueError, RecursionError):
            document = json.loads(text_of(file, "the proof"))
        found = verify_transfer(document, _verifiers(config, public_key))
        if as_json:
            output.as_json({"holds": True} | {name: getattr(found, name) for name in type(found).__dataclass_fields__})
            return
        output.say(PROOF_SAYS[language][found.was_in].format(transfer=found.transfer_id))
        for sentence in PROOF_NOTES[language]:
            output.say(sentence)


def _verifiers(config: Path, public_key: Path | None) -> "tuple[Verifier, ...]":
    """From the file alone where one is named: whoever checks needs no installation."""
    if public_key is not None:
        return verifiers_in(public_key)
    with opened_evidence(config) as evidence:
        return verifiers_of(evidence, None)


def _write(path: Path, text: str) -> None:
    """A new file that its owner alone may read."""
    written = False
    with suppress(OSError):
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        written = True
    if not written:
        raise _no_file()


def _no_file() -> NeedsFix:
    return NeedsFix("out_unwritable", "--out", "name a new file in a folder that you may write to")
