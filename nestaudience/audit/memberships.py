"""Who is on the lists, against the log: with the keys, every membership's request, sealed digest, salt and leaf, request by request.

Set-based inside a request; nobody is named and nothing is written. Whether somebody may be on a list it does not ask.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.audit.persons import LoggedBatch
from nestaudience.hashing.commitments import key_of_list, leaves_of, person_keys
from nestaudience.hashing.kernel import Bytes2D, rows_of
from nestaudience.hashing.sealing import matches, unseal
from nestaudience.hashing.tokens import Tokens
from nestaudience.ledger.keys import KeyRing, KeyUse
from nestaudience.ledger.log import LogReader
from nestaudience.ledger.memory import AddedBy, RemoteList
from nestaudience.ledger.merkle import HASH_SIZE
from nestaudience.vocabulary import Operation, Recipient

WHAT: Final = {
    "membership_unlogged": "a membership names a request that the log does not have, or has as something else",
    "membership_position": "a membership stands at a place that its request does not have, or that another one has",
    "digest_damaged": "a sealed digest does not open to what its token says",
    "key_missing": "a key with which memberships were made is not on the key ring",
    "salt_missing": "the ledger has no salt for somebody whom it has on a list",
    "leaf_missing": "somebody whom the ledger has on a list is not among the people of the request that put her there",
    "sent_after_no": "somebody was in an addition after a run had first seen her no, and nothing that the store shows now had ended it by then",
}
"""What each code of the second level says, in words for a person."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """So many people of one request, or memberships of it, for whom something does not agree. `index`: the request's entry, None without one."""

    index: int | None
    code: str
    people: int

    @property
    def what(self) -> str:
        """The code in words."""
        return WHAT[self.code]


@dataclass(frozen=True, slots=True)
class Ledger:
    """What memberships are compared with: the log, its requests by id, the lists by number, and the key ring with its tokens."""

    reader: LogReader
    logged: Mapping[bytes, LoggedBatch]
    lists: Mapping[int, RemoteList]
    keys: KeyRing
    tokens: Tokens


class Salted:
    """Everybody's salt, by place. `persons` as `Memory.persons` gives them."""

    def __init__(self, persons: pa.Table) -> None:
        tokens, self._salts = (rows_of(persons.column(name).combine_chunks()) for name in ("person_token", "salt"))
        self._order = np.argsort(_beginnings(tokens), kind="stable")
        self._tokens = tokens[self._order]
        self._ordered = _beginnings(self._tokens)

    def __len__(self) -> int:
        return len(self._order)

    def places(self, person_tokens: pa.Array) -> np.ndarray:
        """The place of each of these (`fixed_size_binary[16]`), int64; -1 for nobody known. Tokens are random: their first eight bytes find them."""
        wanted = rows_of(person_tokens)
        if not len(self._order) or not len(wanted):
            return np.full(len(wanted), -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(self._ordered, _beginnings(wanted)), len(self._order) - 1)
        return np.where((self._tokens[at] == wanted).all(axis=1), self._order[at], -1)

    def keys(self, master: bytes, places: np.ndarray) -> Bytes2D:
        """The person keys at these places: uint8 [n, 32]."""
        return person_keys(master, self._salts[places])


class Memberships:
    """Compares memberships with the log, a page at a time. `memberships`, `people` and `requests` say what was compared until now."""

    def __init__(self, salted: Salted, additions: Sequence[AddedBy], ledger: Ledger) -> None:
        self._salted, self._ledger = salted, ledger
        self._known = {each.batch_no: each for each in additions}
        self._taken: dict[int, np.ndarray] = {}
        self._persons = np.zeros(len(salted), dtype=bool)
        self._found: dict[tuple[int | None, str], int] = {}
        self.memberships = 0

    @property
    def people(self) -> int:
        """How many people with a salt."""
        return int(self._persons.sum())

    @property
    def requests(self) -> int:
        """How many requests that memory and log both know."""
        return len(self._taken)

    def take(self, page: pa.RecordBatch) -> None:
        """Compare some of them: `WHOLE_FIELDS`, in append order. Raises what the ledger and the engine raise."""
        numbers = page.column("batch_added").to_numpy()
        self.memberships += page.num_rows
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        for first, end in zip(starts, [*starts[1:], len(numbers)], strict=True):
            self._request(int(numbers[first]), page.slice(int(first), int(end - first)))

    def found(self) -> tuple[Disagreement, ...]:
        """What did not agree, by request and code."""
        return tuple(Disagreement(index, code, people) for (index, code), people in self._found.items() if people)

    def _request(self, number: int, some: pa.RecordBatch) -> None:
        added = self._known.get(number)
        batch = None if added is None else self._ledger.logged.get(added.batch_id)
        remote = None if added is None else self._ledger.lists.get(added.list_no)
        if added is None or batch is None or remote is None or not _is_the_same(some, added, batch, remote):
            self._count(None if batch is None else batch.index, "membership_unlogged", some.num_rows)
            return
        places = self._salted.places(some.column("person_token"))
        self._persons[places[places >= 0]] = True
        for code, people in (
            ("membership_position", self._twice(number, added, some)),
            *_digests(some, added, remote, self._ledger),
            *_leaves(places, added, batch, self._salted, self._ledger),
        ):
            self._count(batch.index, code, people)

    def _twice(self, number: int, added: AddedBy, some: pa.RecordBatch) -> int:
        """How many stand at a place that the request does not have, or that another one has."""
        places = some.column("position").to_numpy()
        inside = np.unique(places[(places >= 0) & (places < added.people)])
        taken = self._taken.setdefault(number, np.zeros(added.people, dtype=bool))
        fresh = int((~taken[inside]).sum())
        taken[inside] = True
        return len(places) - fresh

    def _count(self, index: int | None, code: str, people: int) -> None:
        self._found[index, code] = self._found.get((index, code), 0) + people


def leaves_in(kept: bytes, wanted: Bytes2D) -> np.ndarray:
    """Which of these leaves (uint8 [n, 32]) are among the kept ones, which are sorted and packed: one truth value a row."""
    rows = np.frombuffer(kept, dtype=np.uint8, count=len(kept) // HASH_SIZE * HASH_SIZE).reshape(-1, HASH_SIZE)
    if not len(rows) or not len(wanted):
        return np.zeros(len(wanted), dtype=bool)
    ordered, asked = _beginnings(rows), _beginnings(wanted)
    places = np.minimum(np.searchsorted(ordered, asked), len(rows) - 1)
    found: np.ndarray = (rows[places] == wanted).all(axis=1)
    doubtful = np.flatnonzero(~found & (ordered[places] == asked))
    if len(doubtful):  # two leaves that begin alike: chance does not do that, and whoever falsifies may
        every = {row.tobytes() for row in rows}
        found[doubtful] = [wanted[row].tobytes() in every for row in doubtful]
    return found


def _is_the_same(some: pa.RecordBatch, added: AddedBy, batch: LoggedBatch, remote: RemoteList) -> bool:
    """True when the log's request is an addition to the list that memory names."""
    mine = pc.all(pc.equal(some.column("list_no"), added.list_no)).as_py()
    return bool(mine) and batch.operation is Operation.ADD and batch.list_id == remote.list_id


def _digests(some: pa.RecordBatch, added: AddedBy, remote: RemoteList, ledger: Ledger) -> Iterator[tuple[str, int]]:
    key = ledger.keys.by_id(KeyUse.SEAL, added.seal_key)
    if key is None:
        yield "key_missing", some.num_rows
        return
    places = some.column("position").to_numpy()
    some = some.filter(pa.array((places >= 0) & (places < added.people)))
    ids = pa.repeat(pa.scalar(added.batch_id, pa.binary(16)), some.num_rows)
    positions, sealed = some.column("position").cast(pa.int32()), some.column("sealed_digest")
    opened = unseal(key.reveal(), ids, positions, sealed, Recipient(remote.recipient))
    sound = matches(ledger.tokens, opened, some.column("digest_token"))
    yield "digest_damaged", some.num_rows - (pc.sum(sound).as_py() or 0)


def _leaves(places: np.ndarray, added: AddedBy, batch: LoggedBatch, salted: Salted, ledger: Ledger) -> Iterator[tuple[str, int]]:
    yield "salt_missing", int((places < 0).sum())
    key = ledger.keys.by_id(KeyUse.MASTER, added.master_key)
    if key is None:
        yield "key_missing", len(places)
        return
    people = salted.keys(key.reveal(), places[places >= 0])
    wanted = leaves_of(people, batch.batch_id, batch.operation, key_of_list(batch.list_id))
    found = leaves_in(ledger.reader.batch_leaves(batch.batch_id) or b"", wanted)
    yield "leaf_missing", int((~found).sum())


def _beginnings(rows: Bytes2D) -> np.ndarray:
    """The first eight bytes of each row as a number that sorts as the bytes do."""
    return np.ascontiguousarray(rows[:, :8]).view(">u8").ravel().astype(np.uint64)
