"""Whether one person was in one transfer, as a document that is checked without the ledger: a proof of presence or absence for each of its requests.

It knows no address and makes no key: whoever calls brings her person keys. It writes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nestaudience.audit.persons import PRESENT, LoggedBatch, Proven, commitments_in, prove, verify_proof
from nestaudience.errors import MustStop, NeedsFix
from nestaudience.hashing.kernel import Bytes2D
from nestaudience.ledger.checkpoint import Verifier
from nestaudience.ledger.log import LogReader

FORMAT: Final = "nestaudience-transfer-proof/1"
_NAMES: Final = {"format", "case", "transfer", "was_in", "keys", "proofs"}
_SHORTEST: Final = 4


@dataclass(frozen=True, slots=True)
class ProvenTransfer:
    """What a document proves that holds. `requests` are those of the transfer that it speaks of, `present` those in which she was;
    `case_id` is only what the document says: nothing proves it.
    """

    transfer_id: str
    case_id: str
    was_in: bool
    requests: int
    present: int


def batches_of(batches: Sequence[LoggedBatch], wanted: str) -> list[LoggedBatch]:
    """The requests of the one transfer whose id begins so; hyphens and capitals do not matter.

    Raises `NeedsFix`: `id_too_short`, `id_unknown` (also for a transfer that sent nothing), `id_ambiguous`.
    """
    start = wanted.replace("-", "").lower()
    if len(start) < _SHORTEST:
        raise NeedsFix("id_too_short", "TRANSFER", "give at least four characters of its id")
    found = [batch for batch in batches if batch.transfer_id.replace("-", "").startswith(start)]
    if not found:
        raise NeedsFix("id_unknown", "TRANSFER", "name a transfer that sent something; `nestaudience audit transfers` lists them")
    if len({batch.transfer_id for batch in found}) > 1:
        raise NeedsFix("id_ambiguous", "TRANSFER", "give more of the id; several transfers begin so")
    return found


def prove_transfer(
    reader: LogReader, keys: Bytes2D, batches: Sequence[LoggedBatch], verifiers: Sequence[Verifier], case_id: str
) -> dict[str, Any]:
    """The document about whoever has these person keys (uint8 [k, 32], at least one) and the requests of one transfer.

    Raises as `persons.prove` does; ValueError without a key or a request.
    """
    if not len(keys) or not batches:
        raise ValueError("a proof needs a key and a request")
    made = commitments_in(keys, batches)
    proofs = [prove(reader, row.tobytes(), batches[at % len(batches)], verifiers) for at, row in enumerate(made)]
    return {
        "format": FORMAT,
        "case": case_id,
        "transfer": batches[0].transfer_id,
        "was_in": any(proof["kind"] == PRESENT for proof in proofs),
        "keys": len(keys),
        "proofs": proofs,
    }


def verify_transfer(document: object, verifiers: Sequence[Verifier]) -> ProvenTransfer:
    """Check a document of `prove_transfer` with the log's public keys and nothing else. Every request that it speaks of must be proven once for
    each of her keys, belong to the transfer, and say together what the document says.

    Raises `MustStop`: `proof_broken`, and what `open_note` raises for a checkpoint.
    """
    if not isinstance(document, Mapping) or set(document) != _NAMES or document["format"] != FORMAT:
        raise _broken()
    keys, proofs, was_in = document["keys"], document["proofs"], document["was_in"]
    if type(keys) is not int or keys < 1 or not isinstance(proofs, list) or not proofs or type(was_in) is not bool:
        raise _broken()
    if not isinstance(document["case"], str) or len({_commitment(proof) for proof in proofs}) != len(proofs):
        raise _broken()  # one commitment twice would stand for a key that was left out
    times: dict[int, int] = {}
    present: set[int] = set()
    for proven in (verify_proof(proof, verifiers) for proof in proofs):
        index = _index(proven, document["transfer"])
        times[index] = times.get(index, 0) + 1
        if proven.kind == PRESENT:
            present.add(index)
    if any(count != keys for count in times.values()) or bool(present) != was_in:
        raise _broken()
    return ProvenTransfer(document["transfer"], document["case"], was_in, len(times), len(present))


def _commitment(proof: object) -> str:
    said = proof.get("commitment") if isinstance(proof, Mapping) else None
    if not isinstance(said, str):
        raise _broken()
    return said


def _index(proven: Proven, transfer_id: object) -> int:
    if not isinstance(transfer_id, str) or proven.entry["fields"].get("transfer_id") != transfer_id:
        raise _broken()
    return int(proven.entry["index"])


def _broken() -> MustStop:
    return MustStop("proof_broken", "the proof", "do not rely on it; have it made again and compare")
