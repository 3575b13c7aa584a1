"""One person in the log: in which requests she was, found again from her salt, and proofs of that for whoever has no database.

A batch keeps sorted leaves and no names. Who holds her salt and the master key can compute the leaf that she has in a batch, if she is in it, and
look for it; nobody else can, and after her salt is destroyed nobody at all. It makes no person key, reads no operational table, and changes nothing.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from nestaudience.errors import MustStop, NestAudienceError
from nestaudience.hashing.commitments import batch_suffix, commitments, key_of_list
from nestaudience.hashing.kernel import Bytes2D
from nestaudience.ledger import merkle
from nestaudience.ledger.checkpoint import Verifier, open_note
from nestaudience.ledger.engine import read
from nestaudience.ledger.entries import EntryType, decode
from nestaudience.ledger.log import LogReader, raw
from nestaudience.ledger.schema import BATCH_LEAVES
from nestaudience.vocabulary import Operation

FORMAT: Final = "nestaudience-person-proof/1"
PRESENT: Final = "presence"
ABSENT: Final = "absence"
PROVES: Final[Mapping[str, str]] = {
    PRESENT: "The commitment is one of the people in this request, as it was written down before the request was sent. That the commitment is hers "
    "shows whoever computes it again from her salt and the master key. Whether the platform took the request stands in a later entry.",
    ABSENT: "The commitment is not among the people in this request, as they were written down before the request was sent: the two leaves between "
    "which it would stand are neighbours. That the commitment is hers shows whoever computes it again from her salt and the master key.",
}
"""What each kind of proof proves, and what it does not."""
_SIZE: Final = merkle.HASH_SIZE


@dataclass(frozen=True, slots=True)
class LoggedBatch:
    """A request as the log names it. `audience`, `list_id` and `at` (UTC text) as in its entry."""

    index: int
    batch_id: bytes
    operation: Operation
    list_id: str
    audience: str
    transfer_id: str
    at: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """She is in this batch: her commitment, and the place of its leaf among the sorted ones."""

    batch: LoggedBatch
    place: int
    commitment: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Proven:
    """What a document proves that holds: its kind, the entry of the batch, and the checkpoint's size."""

    kind: str
    entry: Mapping[str, Any] = field(repr=False)
    size: int

    @property
    def sentence(self) -> str:
        """The same in words."""
        return PROVES[self.kind]


def logged_batches(reader: LogReader) -> list[LoggedBatch]:
    """Every request about people that the log names, in order. Raises `MustStop`: `entry_malformed`."""
    found = []
    for index, body, _ in reader.bodies(types=frozenset({EntryType.BATCH})):
        entry = _plain(body)
        if entry is not None and entry["type"] == EntryType.BATCH:
            said = entry["fields"]
            batch_id, operation = bytes.fromhex(said["batch_id"]), Operation(said["operation"])
            words = (said["list_id"], said.get("audience", ""), said["transfer_id"], entry["at"])
            found.append(LoggedBatch(index, batch_id, operation, *words))
    return found


def commitments_in(keys: Bytes2D, batches: Sequence[LoggedBatch]) -> Bytes2D:
    """The commitment of every person key (uint8 [k, 32]) in every batch, key by key: uint8 [k * batches, 32]."""
    if not batches or not len(keys):
        return np.empty((0, _SIZE), dtype=np.uint8)
    lists = {name: key_of_list(name) for name in {batch.list_id for batch in batches}}
    packed = b"".join(batch_suffix(batch.batch_id, batch.operation, lists[batch.list_id]) for batch in batches)
    suffixes = np.frombuffer(packed, dtype=np.uint8).reshape(len(batches), -1)
    return np.concatenate([commitments(np.broadcast_to(key, (len(batches), _SIZE)), suffixes) for key in keys])


def search(reader: LogReader, keys: Bytes2D, batches: Sequence[LoggedBatch] | None = None) -> tuple[Sighting, ...]:
    """Where these person keys are, in the order of the log; a key that is in none of the batches is found nowhere.

    `batches` are those to look in, every one otherwise. It reads all kept leaves once, whatever their number.
    """
    batches = logged_batches(reader) if batches is None else batches
    if not batches or not len(keys):
        return ()
    made = commitments_in(keys, batches)
    leaves = _leaves(made)
    of_batch: dict[bytes, list[int]] = {}
    for row in range(len(made)):
        of_batch.setdefault(batches[row % len(batches)].batch_id, []).append(row)
    found: list[Sighting] = []

    def look(connection: Connection) -> None:
        for batch_id, kept in _kept(connection):
            for row in of_batch.get(batch_id, ()):
                place = place_of(kept, leaves[row])
                if kept[place * _SIZE : (place + 1) * _SIZE] == leaves[row]:
                    found.append(Sighting(batches[row % len(batches)], place, made[row].tobytes()))

    read(reader.engine, look)
    return tuple(sorted(found, key=lambda each: (each.batch.index, each.place)))


def place_of(kept: bytes, leaf: bytes) -> int:
    """The place of the first of these sorted leaves that is not below `leaf`; their number when all are."""
    low, high = 0, len(kept) // _SIZE
    while low < high:
        middle = (low + high) // 2
        if kept[middle * _SIZE : (middle + 1) * _SIZE] < leaf:
            low = middle + 1
        else:
            high = middle
    return low


def prove(reader: LogReader, commitment: bytes, batch: LoggedBatch, verifiers: Sequence[Verifier]) -> dict[str, object]:
    """The document that this commitment is in the batch, or is not in it.

    Raises `MustStop`: `batch_leaves_missing`; ValueError while no checkpoint covers the batch, and what `open_note` raises.
    """
    kept = reader.batch_leaves(batch.batch_id)
    if not kept or len(kept) % _SIZE:
        raise MustStop("batch_leaves_missing", "the ledger", "run `nestaudience audit verify`: a batch has no leaves")
    leaf, count = merkle.leaf_hash(commitment), len(kept) // _SIZE
    place = place_of(kept, leaf)
    present = kept[place * _SIZE : (place + 1) * _SIZE] == leaf
    places = [place] if present else [at for at in (place - 1, place) if 0 <= at < count]
    entry = reader.proof(batch.index, verifiers)
    return {
        "format": FORMAT,
        "kind": PRESENT if present else ABSENT,
        "commitment": commitment.hex(),
        "leaves": [
            {
                "place": at,
                "leaf": kept[at * _SIZE : (at + 1) * _SIZE].hex(),
                "path": [step.hex() for step in merkle.inclusion_proof(kept, at)],
            }
            for at in places
        ],
        "entry": entry.body.decode(),
        "entry_index": entry.index,
        "entry_path": [step.hex() for step in entry.path],
        "checkpoint": entry.checkpoint.note,
    }


def verify_proof(document: object, verifiers: Sequence[Verifier]) -> Proven:
    """Check a document of `prove` with the log's public keys and nothing else.

    Raises `MustStop`: `proof_broken` when anything in it does not fit, and what `open_note` raises for its checkpoint.
    """
    error: NestAudienceError | None = None
    try:
        return _verified(document, verifiers)
    except NestAudienceError as ours:
        error = ours.with_traceback(None)
    except (KeyError, TypeError, ValueError, AttributeError):
        error = None
    raise error if error is not None else _broken()


def _verified(document: object, verifiers: Sequence[Verifier]) -> Proven:
    names = {"format", "kind", "commitment", "leaves", "entry", "entry_index", "entry_path", "checkpoint"}
    if not isinstance(document, dict) or set(document) != names or document["format"] != FORMAT:
        raise _broken()
    signed = open_note(document["checkpoint"], verifiers)
    body, index = document["entry"].encode(), document["entry_index"]
    path = [_hash(step) for step in document["entry_path"]]
    if not _whole(index) or not merkle.verify_inclusion(merkle.leaf_hash(body), index, signed.size, path, signed.root):
        raise _broken()
    entry = decode(body)
    said = entry["fields"]
    if entry["type"] != EntryType.BATCH or entry["index"] != index:
        raise _broken()
    leaf, count, root = merkle.leaf_hash(_hash(document["commitment"])), said["count"], _hash(said["membership_root"])
    places = [_leaf_at(each, count, root) for each in document["leaves"]]
    if not (_is_in(leaf, places) if document["kind"] == PRESENT else document["kind"] == ABSENT and _is_out(leaf, places, count)):
        raise _broken()
    return Proven(document["kind"], entry, signed.size)


def _leaf_at(said: Mapping[str, Any], count: int, root: bytes) -> tuple[int, bytes]:
    """A leaf and its place, when the path leads to the batch's root."""
    place, leaf, path = said["place"], _hash(said["leaf"]), [_hash(step) for step in said["path"]]
    if set(said) != {"place", "leaf", "path"} or not _whole(place) or not merkle.verify_inclusion(leaf, place, count, path, root):
        raise _broken()
    return place, leaf


def _is_in(leaf: bytes, places: Sequence[tuple[int, bytes]]) -> bool:
    return len(places) == 1 and places[0][1] == leaf


def _is_out(leaf: bytes, places: Sequence[tuple[int, bytes]], count: int) -> bool:
    """True when these are the neighbours between which the leaf would stand: two side by side, or the first or last one alone."""
    if len(places) == 2:
        (left, low), (right, high) = places
        return right == left + 1 and low < leaf < high
    if len(places) != 1:
        return False
    ((place, only),) = places
    return (place == 0 and leaf < only) or (place == count - 1 and only < leaf)


def _kept(connection: Connection) -> Iterator[tuple[bytes, bytes]]:
    """Batch id and leaves, in the order in which they lie in the file: one at a time, for a batch may be large."""
    query = sa.select(raw(BATCH_LEAVES.c.batch_id), raw(BATCH_LEAVES.c.leaves))  # a plain scan: as they lie
    yield from ((row[0], row[1]) for row in connection.execute(query, execution_options={"yield_per": 20}))


def _leaves(made: Bytes2D) -> list[bytes]:
    return [merkle.leaf_hash(row.tobytes()) for row in made]


def _plain(body: bytes) -> dict[str, Any] | None:
    """An entry's bytes, read without the checks of `decode`: `verify` makes them, and here there may be a hundred thousand."""
    entry: Any = None
    try:
        entry = json.loads(body) if body else None
    except ValueError:
        entry = None
    if body and not (isinstance(entry, dict) and isinstance(entry.get("fields"), dict)):
        raise MustStop("entry_malformed", "an entry", "run `nestaudience audit verify`; the entry's bytes are not an entry")
    return entry if isinstance(entry, dict) else None


def _hash(text: str) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != _SIZE or value.hex() != text:
        raise ValueError("a hash is 64 lower-case hexadecimal characters")
    return value


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _broken() -> MustStop:
    return MustStop("proof_broken", "the proof", "do not rely on it; have it made again and compare")
