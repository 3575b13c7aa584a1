"""The transfer log: entries appended in one durable transaction, sealed by signed checkpoints, and read back with proofs.

One writer. It decides nothing about transfers and people: it takes entries, gives them index, id, time and nonce, and keeps
their bytes. An entry counts from its commit and is evidence from its seal. The log trusts the signer's head more than its own
database.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nestaudience.errors import MustStop
from nestaudience.ledger import merkle
from nestaudience.ledger.checkpoint import Checkpoint, SignedCheckpoint, Signer, Verifier, epoch_name, epoch_of, open_note
from nestaudience.ledger.engine import Clock, ledger_epoch, read, write
from nestaudience.ledger.entries import Context, EntryType, Value, decode, encode, uuid7
from nestaudience.ledger.keys import Randomness
from nestaudience.ledger.schema import BATCH_LEAVES, CHECKPOINT, LOG_ENTRY
from nestaudience.ledger.spelling import bytes_at, text_bytes

NewEntry = tuple[EntryType, Context, Mapping[str, Value]]
"""One entry to append: its type, where it comes from, its fields."""
Also = Callable[[Connection, tuple[int, ...]], None]
"""More work for the transaction of an append: rows that must stand exactly when the entries do. Takes the entries' indices."""

_PAGE: Final = 5_000


@dataclass(frozen=True, slots=True)
class EntryProof:
    """Everything that shows one entry to be in the log: its bytes, its path, and the signed checkpoint that it leads to."""

    index: int
    body: bytes
    path: tuple[bytes, ...]
    checkpoint: SignedCheckpoint

    def holds(self) -> bool:
        """True when the path leads from the bytes to the checkpoint's root. The signature is checked with `open_note`."""
        leaf = merkle.leaf_hash(self.body)
        return merkle.verify_inclusion(leaf, self.index, self.checkpoint.size, self.path, self.checkpoint.root)


class LogReader:
    """Reads the log, also while another process writes it. What cannot be read is `MustStop`: `ledger_unavailable`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def count(self) -> int:
        """How many entries the log has, sealed or not."""
        return read(self.engine, next_index)

    def bodies(
        self, first: int = 0, last: int | None = None, types: frozenset[EntryType] | None = None
    ) -> Iterator[tuple[int, bytes, bytes]]:
        """(index, bytes, kept leaf hash) of the entries from `first` up to `last`, both included; read page by page. With `types` most of the others
        are left out: those whose bytes do not name one of them as their type.
        """
        while True:
            rows = read(self.engine, _page_of(first, last, types))
            yield from rows
            if len(rows) < _PAGE:
                return
            first = rows[-1][0] + 1

    def entries(
        self, first: int = 0, last: int | None = None, types: frozenset[EntryType] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Decoded entries from `first` up to `last`, both included, in order; only these types when given.

        Keys: `version` `index` `type` `id` `at` `nonce` `run_id` `run_kind` `controller` `policy_version` `software_version`
        `commit` `config_digest` `actor` `fields`. Raises `MustStop`: `entry_malformed`.
        """
        wanted = None if types is None else {entry_type.value for entry_type in types}
        for _, body, _ in self.bodies(first, last, types):
            if body:  # a redacted entry has no bytes left
                entry = decode(body)
                if wanted is None or entry["type"] in wanted:
                    yield entry

    def leaves(self, size: int | None = None) -> bytes:
        """The packed leaf hashes of the first `size` entries, or of all."""
        query = sa.select(raw(LOG_ENTRY.c.leaf)).order_by(LOG_ENTRY.c.idx)
        if size is not None:
            query = query.where(LOG_ENTRY.c.idx < size)
        return read(self.engine, lambda connection: b"".join(connection.execute(query).scalars()))

    def notes(self) -> list[tuple[int, str]]:
        """(size, note) of every checkpoint kept, oldest first. Their signatures are not checked here."""
        query = sa.select(CHECKPOINT.c.size, CHECKPOINT.c.note).order_by(CHECKPOINT.c.size)
        return read(self.engine, lambda connection: [(row.size, row.note) for row in connection.execute(query)])

    def batch_leaves(self, batch_id: bytes) -> bytes | None:
        """The packed, sorted membership leaves of a batch; None when none are kept under this id (16 bytes)."""
        query = sa.select(raw(BATCH_LEAVES.c.leaves)).where(BATCH_LEAVES.c.batch_id == batch_id)
        return read(self.engine, lambda connection: connection.execute(query).scalar_one_or_none())

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """The proof that the log of `first` entries is a beginning of the log of `second`. Raises ValueError without so many."""
        leaves = self.leaves(second)
        if len(leaves) != second * merkle.HASH_SIZE:
            raise ValueError("the log has fewer entries")
        return merkle.consistency_proof(leaves, first)

    def proof(self, index: int, verifiers: Sequence[Verifier]) -> EntryProof:
        """The proof that entry `index` is under the latest checkpoint that is kept.

        Raises ValueError when no checkpoint covers it yet, and what `open_note` raises.
        """
        notes = self.notes()
        if not notes or not 0 <= index < notes[-1][0]:
            raise ValueError("no checkpoint covers this entry")
        checkpoint = open_note(notes[-1][1], verifiers)
        path = merkle.inclusion_proof(self.leaves(checkpoint.size), index)
        ((_, body, _),) = self.bodies(index, index)
        return EntryProof(index, body, path, checkpoint)


class TransferLog(LogReader):
    """The one writer of a ledger's log. Safe for threads; a second process that appended makes the first one stop (`SharedLog` is for several).

    Opening compares the ledger with the signer's head. Raises `MustStop`: `ledger_restored` (the ledger has fewer entries than
    were signed: a backup was put back), `ledger_inconsistent` (other entries than were signed), `head_behind_ledger` (the head
    file is older than the ledger's checkpoints, or missing), `ledger_unavailable`. Entries beyond the head (a crash before
    their seal) count; the next seal covers them. `restored` opens a restored ledger nevertheless, to write down how it is mended; nothing can be
    sealed then.
    """

    def __init__(self, engine: Engine, signer: Signer, *, clock: Clock, randomness: Randomness, restored: bool = False) -> None:
        super().__init__(engine)
        self.epoch = read(engine, ledger_epoch)
        """How often the ledger was recovered, and one: the number of the name under which its checkpoints are signed."""
        self._signer = signer
        self._clock = clock
        self._randomness = randomness
        self._lock = threading.RLock()
        self._size = self._compare(signer.head(), restored=restored)

    @property
    def origin(self) -> str:
        """The name of this log, as its checkpoints bear it now."""
        return epoch_name(self._signer.origin, self.epoch)

    def append(self, entries: Sequence[NewEntry], also: Also | None = None) -> tuple[int, ...]:
        """Append entries in one durable transaction, together with the rows that `also` writes; their indices.

        The times of one call are equal. Raises `MustStop`: `second_writer` (somebody else appended), `entry_refused`,
        `entry_not_canonical`, `ledger_unavailable`; nothing is appended then.
        """
        with self._lock:
            start = self._size
            rows = self._rows(entries, start)

            def work(connection: Connection) -> None:
                if next_index(connection) != start:
                    raise MustStop(
                        "second_writer", "the transfer log", "end the other program that writes this ledger, then run again"
                    )
                insert_rows(connection, rows, start, also)

            write(self.engine, work)
            self._size = start + len(rows)
            return tuple(range(start, self._size))

    def seal(self) -> SignedCheckpoint:
        """Sign all entries up to now, and keep the checkpoint. Idempotent.

        Raises `MustStop`: `second_writer`, `ledger_inconsistent` (an entry's bytes do not give its leaf hash), what
        `Signer.sign` raises, and `ledger_unavailable` (the head may then be ahead of the kept checkpoints; the next seal puts
        that right).
        """
        with self._lock:
            signed = self._signer.sign(*self._unsealed(), epoch=self.epoch)
            write(self.engine, lambda connection: keep_note(connection, signed))
            return signed

    def append_and_seal(self, entries: Sequence[NewEntry], also: Also | None = None) -> tuple[tuple[int, ...], SignedCheckpoint]:
        """Append and seal: what these entries say may be acted on when this returns."""
        with self._lock:
            return self.append(entries, also), self.seal()

    def _rows(self, entries: Sequence[NewEntry], start: int) -> list[dict[str, object]]:
        at = self._clock()
        rows: list[dict[str, object]] = []
        for index, (entry_type, context, fields) in enumerate(entries, start):
            entry_id = uuid7(at, self._randomness(10))
            body = encode(entry_type, context, fields, index=index, at=at, entry_id=entry_id, nonce=self._randomness(32))
            rows.append({"idx": index, "body": body, "leaf": merkle.leaf_hash(body)})
        return rows

    def _unsealed(self) -> tuple[int, list[bytes]]:
        head = self._signer.head()
        leaves: list[bytes] = []
        for index, body, leaf in self.bodies(head.size):
            if index != head.size + len(leaves) or merkle.leaf_hash(body) != leaf:
                raise _inconsistent()
            leaves.append(leaf)
        if head.size + len(leaves) != self._size:
            raise MustStop("second_writer", "the transfer log", "end the other program that writes this ledger, then run again")
        return head.size, leaves

    def _compare(self, head: Checkpoint, *, restored: bool) -> int:
        """The log's size, when it continues the head."""
        leaves = self.leaves()
        size = len(leaves) // merkle.HASH_SIZE
        mine = f"{self.origin}\n"  # checkpoints of an epoch before a recovery have another origin
        signed = [kept for kept, note in self.notes() if note.startswith(mine)]
        of_head = epoch_of(self._signer.origin, head.origin)
        # A new epoch that is not signed yet: a recovery that was cut off.
        if size < head.size if of_head == self.epoch else of_head > self.epoch or not signed:
            if restored:
                return size
            raise restored_error()
        if of_head < self.epoch:
            raise _head_behind()
        if merkle.root_of(leaves[: head.size * merkle.HASH_SIZE]) != head.root:
            raise _inconsistent()
        if any(kept > head.size for kept in signed):
            raise _head_behind()
        return size


def keep_batch_leaves(connection: Connection, batch_id: bytes, leaves: bytes) -> None:
    """Keep a batch's membership leaves, in the transaction of its batch entry (`also`). Sorted, packed, 32 bytes each.

    Raises ValueError for a batch id that has not 16 bytes, and for leaves that are not sorted.
    """
    if len(batch_id) != 16 or not leaves or not merkle.is_sorted(leaves):
        raise ValueError("a batch has an id of 16 bytes and sorted leaves")
    connection.execute(sa.insert(BATCH_LEAVES), {"batch_id": batch_id, "leaves": leaves})


def raw(column: sa.Column[Any]) -> sa.ColumnElement[bytes]:
    """A column as bytes, whatever somebody may have put into it."""
    return sa.cast(column, sa.LargeBinary) if isinstance(column.type, sa.LargeBinary) else text_bytes(column)


def keep_note(connection: Connection, signed: SignedCheckpoint) -> None:
    """Keep a signed checkpoint; the one of its size that is there already stays."""
    kept = connection.execute(sa.select(CHECKPOINT.c.note).where(CHECKPOINT.c.size == signed.size)).scalar_one_or_none()
    if kept is None:
        connection.execute(sa.insert(CHECKPOINT), {"size": signed.size, "note": signed.note})


def insert_rows(connection: Connection, rows: list[dict[str, object]], start: int, also: Also | None) -> tuple[int, ...]:
    """Write the rows of entries, the first of which has this index, and what stands with them; their indices."""
    indices = tuple(range(start, start + len(rows)))
    if rows:
        connection.execute(sa.insert(LOG_ENTRY), rows)
    if also is not None:
        also(connection, indices)
    return indices


def next_index(connection: Connection) -> int:
    """The index of the entry that is appended next."""
    last = connection.execute(sa.select(sa.func.max(LOG_ENTRY.c.idx))).scalar_one()
    return 0 if last is None else int(last) + 1


def _page_of(
    first: int, last: int | None, types: frozenset[EntryType] | None = None
) -> Callable[[Connection], list[tuple[int, bytes, bytes]]]:
    query = sa.select(LOG_ENTRY.c.idx, raw(LOG_ENTRY.c.body), raw(LOG_ENTRY.c.leaf)).where(LOG_ENTRY.c.idx >= first)
    if last is not None:
        query = query.where(LOG_ENTRY.c.idx <= last)
    if types is not None:  # an entry's bytes are canonical, so its type stands in them in one form only
        names = [f'"type":"{entry_type.value}"'.encode() for entry_type in sorted(types)]
        query = query.where(sa.or_(sa.false(), *(bytes_at(raw(LOG_ENTRY.c.body), name) > 0 for name in names)))
    query = query.order_by(LOG_ENTRY.c.idx).limit(_PAGE)
    return lambda connection: [(index, body, leaf) for index, body, leaf in connection.execute(query)]


def restored_error() -> MustStop:
    """Why nothing may be sent from a restored ledger, and what to do."""
    return MustStop(
        "ledger_restored",
        "the ledger",
        "it is behind its signed head: a backup was put back. Nothing is sent until `nestaudience ledger recover` has run; "
        "it is quick and may be repeated",
    )


def _head_behind() -> MustStop:
    return MustStop("head_behind_ledger", "the signer's head file", "restore its latest copy; the ledger has later checkpoints")


def _inconsistent() -> MustStop:
    return MustStop(
        "ledger_inconsistent", "the ledger", "its entries are not those that were signed; run `nestaudience audit verify`"
    )
