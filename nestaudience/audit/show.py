"""One thing of the log, end to end: a transfer, a run, a batch or an entry, with the checkpoint that covers each step and its proof.

An id may be cut short while it stays unique; a whole number is the index of an entry. It reads the log only: no platform, no
person, no operational table. Proofs are made from the log's leaves as kept; whether the whole log is sound is `verify`'s question.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nestaudience.errors import MustStop, NeedsFix
from nestaudience.ledger import merkle
from nestaudience.ledger.checkpoint import SignedCheckpoint, Verifier, open_note
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.log import LogReader

_RUN: Final = "run"
_TRANSFER: Final = "transfer"
_BATCH: Final = "batch"
_ENTRY: Final = "entry"
_CONTEXT: Final = ("run_id", "run_kind", "controller", "policy_version", "software_version", "commit", "config_digest", "actor")


@dataclass(frozen=True, slots=True)
class Proof:
    """The first signed checkpoint over an entry, and whether the entry's bytes lead to its root."""

    checkpoint_size: int
    checkpoint_root: str
    holds: bool

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {"checkpoint_size": self.checkpoint_size, "checkpoint_root": self.checkpoint_root, "holds": self.holds}


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the story. `proof` is None while no checkpoint of a known key covers it.

    `leaves_hold`: for a batch, whether its kept membership leaves give the root and count that the entry names; None otherwise.
    """

    index: int
    at: str
    type: str
    context: Mapping[str, str]
    fields: Mapping[str, Any]
    proof: Proof | None
    leaves_hold: bool | None

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "index": self.index,
            "at": self.at,
            "type": self.type,
            "context": dict(self.context),
            "fields": dict(self.fields),
            "proof": None if self.proof is None else self.proof.as_dict(),
            "leaves_hold": self.leaves_hold,
        }


@dataclass(frozen=True, slots=True)
class Shown:
    """What was asked for, in order of the log. `kind` is `transfer`, `run`, `batch` or `entry`; `id` is whole."""

    kind: str
    id: str
    steps: tuple[Step, ...]

    @property
    def sound(self) -> bool:
        """True when nothing contradicts: every proof there is holds, and every batch has its leaves."""
        return all((step.proof is None or step.proof.holds) and step.leaves_hold is not False for step in self.steps)

    @property
    def sealed(self) -> bool:
        """True when every step is under a checkpoint of a known key."""
        return all(step.proof is not None for step in self.steps)

    def of_type(self, *types: EntryType) -> tuple[Step, ...]:
        """The steps of these types, in order."""
        return tuple(step for step in self.steps if step.type in types)

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        steps = [step.as_dict() for step in self.steps]
        return {"kind": self.kind, "id": self.id, "sound": self.sound, "sealed": self.sealed, "steps": steps}


def show(reader: LogReader, wanted: str, verifiers: Sequence[Verifier]) -> Shown:
    """Everything that the log says of one id, or of the entry with this index.

    A run: its entries, and what the platforms said of its batches later. A transfer: its intent, batches, answers, late blocks
    and later words, and the start, snapshot, funnel and end of its run. A batch: its intent, itself, its answer and later word.
    Raises `NeedsFix`: `id_unknown`, `id_ambiguous`, `id_too_short`, `entry_unknown`, `entry_redacted`; `MustStop` as the log
    does, and `note_forged` for a kept checkpoint with a wrong signature.
    """
    prove = _Prover(reader, verifiers)
    if wanted.isascii() and wanted.isdecimal() and (wanted == "0" or not wanted.startswith("0")):
        return Shown(_ENTRY, wanted, (prove.step(_entry(reader, wanted)),))
    kind, whole, first = _find(reader, wanted)
    return Shown(kind, whole, tuple(prove.step(entry) for entry in _story(reader, kind, whole, first)))


def _entry(reader: LogReader, wanted: str) -> dict[str, Any]:
    index = int(wanted) if len(wanted) < 16 else reader.count()
    if index >= reader.count():
        raise NeedsFix("entry_unknown", "the transfer log", f"its entries are numbered from 0 to {reader.count() - 1}")
    found = next(reader.entries(index, index), None)
    if found is None:
        raise NeedsFix("entry_redacted", f"entry {index}", "its bytes were taken out; a redaction entry names it and its hash")
    return found


def _find(reader: LogReader, wanted: str) -> tuple[str, str, dict[str, Any]]:
    """(kind, whole id, first entry that names it) of the one id that begins so. Hyphens and capitals do not matter."""
    start = wanted.replace("-", "").lower()
    if len(start) < 4:
        raise NeedsFix("id_too_short", "the id", "give at least four characters of it, or the number of an entry")
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in reader.entries():
        fields = entry["fields"]
        named = ((_RUN, entry["run_id"]), (_TRANSFER, fields.get("transfer_id")), (_BATCH, fields.get("batch_id")))
        for kind, value in named:
            if isinstance(value, str) and value.replace("-", "").startswith(start):
                found.setdefault((kind, value), entry)
    if not found:
        raise NeedsFix("id_unknown", "the transfer log", "give the id of a run, transfer or batch; `audit transfers` lists them")
    if len(found) > 1:
        counts = ((kind, sum(kind == pair[0] for pair in found)) for kind in (_RUN, _TRANSFER, _BATCH))
        begin_so = ", ".join(f"{kind}: {count}" for kind, count in counts if count)
        raise NeedsFix("id_ambiguous", "the id", f"give more of it; so begin several ({begin_so})")
    (((kind, whole), first),) = found.items()
    return kind, whole, first


def _story(reader: LogReader, kind: str, whole: str, first: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The entries that belong to it, in order."""
    batch_ids: set[str] = set()
    for entry in reader.entries():
        entry_type, fields = entry["type"], entry["fields"]
        if kind == _RUN:
            mine = entry["run_id"] == whole or (entry_type == EntryType.PLATFORM_STATUS and fields.get("batch_id") in batch_ids)
            if mine and entry_type == EntryType.BATCH:
                batch_ids.add(str(fields.get("batch_id")))
        elif kind == _TRANSFER:
            mine = fields.get("transfer_id") == whole or _frames(entry, first)
        else:
            mine = fields.get("batch_id") == whole or (
                entry_type == EntryType.TRANSFER_INTENT and fields.get("transfer_id") == first["fields"].get("transfer_id")
            )
        if mine:
            yield entry


def _frames(entry: Mapping[str, Any], intent: Mapping[str, Any]) -> bool:
    """True for the start, snapshot and end of the run that made a transfer, and for the funnel of its audience."""
    if entry["run_id"] != intent["run_id"]:
        return False
    if entry["type"] == EntryType.FUNNEL:
        return bool(entry["fields"].get("audience") == intent["fields"].get("audience"))
    return entry["type"] in (EntryType.RUN_STARTED, EntryType.SNAPSHOT, EntryType.RUN_FINISHED)


class _Prover:
    """Turns entries into steps with proofs. The leaves are read once; of the checkpoints only those are opened that are needed."""

    def __init__(self, reader: LogReader, verifiers: Sequence[Verifier]) -> None:
        self._reader = reader
        self._verifiers = verifiers
        self._leaves = reader.leaves()
        self._notes = reader.notes()
        self._sizes = [size for size, _ in self._notes]
        self._opened: dict[int, SignedCheckpoint | None] = {}

    def step(self, entry: Mapping[str, Any]) -> Step:
        """One entry with its proof."""
        index = int(entry["index"])
        return Step(
            index=index,
            at=entry["at"],
            type=entry["type"],
            context={name: entry[name] for name in _CONTEXT},
            fields=entry["fields"],
            proof=self._proof(index),
            leaves_hold=self._leaves_hold(entry["fields"]) if entry["type"] == EntryType.BATCH else None,
        )

    def _proof(self, index: int) -> Proof | None:
        places = range(bisect_right(self._sizes, index), len(self._sizes))
        checkpoint = next((found for place in places if (found := self._open(place)) is not None), None)
        if checkpoint is None:
            return None
        leaves = self._leaves[: checkpoint.size * merkle.HASH_SIZE]
        body = next((body for _, body, _ in self._reader.bodies(index, index)), b"")
        holds = False
        if index < checkpoint.size and len(leaves) == checkpoint.size * merkle.HASH_SIZE:
            path = merkle.inclusion_proof(leaves, index)
            holds = merkle.verify_inclusion(merkle.leaf_hash(body), index, checkpoint.size, path, checkpoint.root)
        return Proof(checkpoint.size, checkpoint.root.hex(), holds)

    def _open(self, place: int) -> SignedCheckpoint | None:
        """A kept checkpoint; None when only keys that are not known here signed it (a witness, another epoch)."""
        if place not in self._opened:
            error: MustStop | None = None
            opened: SignedCheckpoint | None = None
            try:
                opened = open_note(self._notes[place][1], self._verifiers)
            except MustStop as found:
                error = found.with_traceback(None)
            if error is not None and error.code != "note_unsigned":
                raise error
            self._opened[place] = opened
        return self._opened[place]

    def _leaves_hold(self, fields: Mapping[str, Any]) -> bool:
        try:
            batch_id = bytes.fromhex(str(fields.get("batch_id", "")))
        except ValueError:
            return False
        leaves = self._reader.batch_leaves(batch_id)
        if leaves is None or len(leaves) != fields.get("count", 0) * merkle.HASH_SIZE or not merkle.is_sorted(leaves):
            return False
        return merkle.root_of(leaves).hex() == fields.get("membership_root")
