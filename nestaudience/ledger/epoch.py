"""Epochs: a ledger that was restored from a backup goes on under a new name, and its log says what was lost.

The restored entries stay, byte for byte; the old head is cited; what was signed after them under the old name is given up. It knows no list and asks
no platform: whoever calls marks the lists in the same transaction. Every step may be repeated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import Connection, Engine

from nestaudience.errors import MustStop
from nestaudience.ledger import merkle
from nestaudience.ledger.checkpoint import Checkpoint, Lost, SignedCheckpoint, Signer, epoch_name, epoch_of, glance, open_note
from nestaudience.ledger.engine import Clock, ledger_epoch, read, schema_revision, set_epoch, write
from nestaudience.ledger.entries import Context, EntryType, Value
from nestaudience.ledger.keys import Randomness
from nestaudience.ledger.log import LogReader, NewEntry, TransferLog, keep_note

Mark = Callable[[Connection], None]
"""More work for the transaction that opens an epoch."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A ledger behind its head. `epoch` is the one to be opened; `begun`: its entry is written and only the signature is missing.

    `lost` is what is given up, the head last; more than one only when the backup is older than an earlier recovery.
    """

    epoch: int
    entries: int
    lost: tuple[Lost, ...]
    begun: bool = False

    @property
    def head(self) -> Lost:
        """The stretch that ends in the head."""
        return self.lost[-1]

    @property
    def entries_lost(self) -> int:
        """How many signed entries are no longer there."""
        return self.head.head_size - self.head.restored_size


def examine(engine: Engine, signer: Signer) -> Restored | None:
    """How a ledger is behind its head; None when it is not. Changes nothing.

    Raises `MustStop`: `ledger_inconsistent` (its entries are no beginning of what was signed), `head_behind_ledger` (the head is the older one),
    and what the head and the ledger raise.
    """
    reader, head = LogReader(engine), signer.head()
    epoch, of_head, size = read(engine, ledger_epoch), epoch_of(signer.origin, head.origin), reader.count()
    if of_head == epoch and size >= head.size:
        return None
    if of_head < epoch:
        return _begun(reader, signer, head, epoch)
    return Restored(of_head + 1, size, _lost(_proven(reader, signer), epoch, head, signer))


def looks_restored(engine: Engine, origin: str, head_path: Path) -> bool:
    """True when the ledger is behind the head file. A look without keys and signatures: enough to warn; the log's writer decides."""
    head, epoch, reader = glance(head_path, origin), read(engine, ledger_epoch), LogReader(engine)
    if head is None or not head[0]:
        return False
    if head[0] == epoch:
        return reader.count() < head[1]
    mine = f"{epoch_name(origin, epoch)}\n"
    return head[0] > epoch or not any(note.startswith(mine) for _, note in reader.notes())


def open_epoch(
    engine: Engine,
    signer: Signer,
    context: Context,
    mark: Mark,
    *,
    clock: Clock,
    randomness: Randomness,
    more: Sequence[NewEntry] = (),
) -> tuple[Restored, SignedCheckpoint] | None:
    """Open the next epoch of a restored ledger: its entry, the ledger's epoch and what `mark` writes in one transaction; then its first checkpoint.
    `more` entries say what else `mark` writes, and follow the epoch's own.

    None when the ledger is not behind its head. For the holder of the writer's lease. Cut off at any point and called again, it ends the same.
    Raises as `examine`, `TransferLog.append` and `Signer.open_epoch` do.
    """
    found = examine(engine, signer)
    if found is None:
        return None
    log = TransferLog(engine, signer, clock=clock, randomness=randomness, restored=True)
    if not found.begun:
        names: dict[str, Value] = {"epoch": found.epoch, "origin": epoch_name(signer.origin, found.epoch)}
        names["revision"] = read(engine, schema_revision)  # a backup of an older schema was migrated without an entry of its own
        entries: list[NewEntry] = [(EntryType.EPOCH_OPENED, context, names | lost.fields()) for lost in found.lost]

        def also(connection: Connection, _indices: tuple[int, ...]) -> None:
            set_epoch(connection, found.epoch)
            mark(connection)

        log.append([*entries, *more], also)
    signed = signer.open_epoch(found.head, found.epoch, [leaf for _, leaf in _leaves(log)])
    write(engine, lambda connection: keep_note(connection, signed))
    return found, signed


def _begun(reader: LogReader, signer: Signer, head: Checkpoint, epoch: int) -> Restored:
    """A recovery that was cut off before its first checkpoint: its entry cites the head that still stands."""
    opened = [entry["fields"] for entry in reader.entries(types=frozenset({EntryType.EPOCH_OPENED}))]
    lost = tuple(each for fields in opened if fields.get("epoch") == epoch and (each := Lost.parse(fields)) is not None)
    mine = f"{epoch_name(signer.origin, epoch)}\n"
    cited = bool(lost) and head == Checkpoint(lost[-1].old_origin, lost[-1].head_size, lost[-1].head_root)
    if not cited or any(note.startswith(mine) for _, note in reader.notes()):
        raise MustStop(
            "head_behind_ledger", "the signer's head file", "restore its latest copy; the ledger has later checkpoints"
        )
    return Restored(epoch, reader.count(), lost, begun=True)


def _lost(proven: int, epoch: int, head: Checkpoint, signer: Signer) -> tuple[Lost, ...]:
    """What is given up by going on from `proven` entries of this epoch. Each later epoch shares at most what the one before it was restored to."""
    found, common = [], proven
    for past in signer.past():
        left = epoch_of(signer.origin, past.old_origin)
        if left >= epoch:
            found.append(Lost(past.old_origin, common, past.head_size, past.head_root) if common < past.head_size else None)
            common = min(common, past.restored_size)
    found.append(Lost(head.origin, common, head.size, head.root))
    return tuple(lost for lost in found if lost is not None)


def _proven(reader: LogReader, signer: Signer) -> int:
    """How many entries the last kept checkpoint covers; 0 without one. Raises `MustStop`: `ledger_inconsistent` when they are not those."""
    notes = reader.notes()
    kept = open_note(notes[-1][1], signer.verifiers).checkpoint if notes else None
    frontier = merkle.Frontier()
    root = merkle.EMPTY_ROOT
    for index, leaf in _leaves(reader):
        frontier.append(leaf)
        if kept is not None and index + 1 == kept.size:
            root = frontier.root()
    if kept is not None and root != kept.root:
        raise _inconsistent()
    return 0 if kept is None else kept.size


def _leaves(reader: LogReader) -> "list[tuple[int, bytes]]":
    """Every leaf hash, from the bytes where they are still there."""
    found = []
    for place, (index, body, leaf) in enumerate(reader.bodies()):
        if index != place or (body and merkle.leaf_hash(body) != leaf):
            raise _inconsistent()
        found.append((index, leaf))
    return found


def _inconsistent() -> MustStop:
    return MustStop(
        "ledger_inconsistent",
        "the ledger",
        "its entries are not those that were signed; put another copy back, or run `nestaudience audit verify`",
    )
