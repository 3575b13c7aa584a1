"""Verification of a ledger without keys: the log's bytes, roots and signatures, and what its entries say together.

It reads; it changes nothing, asks no platform, and knows no person. What it cannot show: that a platform did what it was asked,
that no transfer was made beside this program, and, without a checkpoint that was kept elsewhere, that the whole log was not
written anew.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import CoreExecuteOptionsParameter

from nestaudience.audit.roots import membership_roots
from nestaudience.audit.story import WHAT as STORY_WHAT
from nestaudience.audit.story import Finding, Story
from nestaudience.errors import MustStop
from nestaudience.ledger import merkle
from nestaudience.ledger.checkpoint import Checkpoint, Lost, SignedCheckpoint, Verifier, epoch_of, open_note
from nestaudience.ledger.engine import read
from nestaudience.ledger.entries import VERSION, EntryType, decode, milliseconds
from nestaudience.ledger.log import raw
from nestaudience.ledger.schema import BATCH_LEAVES, CHECKPOINT, LOG_ENTRY

WHAT: Final = STORY_WHAT | {
    "behind_head": "the log is shorter than the head kept beside the keys: a backup was put back, or its end was cut off",
    "body_missing": "the entry's bytes are gone, and no redaction names it",
    "brought_note_bad": "a checkpoint that was brought is not one of this log: malformed, not signed by its key, or forged",
    "checkpoint_bad": "a kept checkpoint is malformed, not signed by the log's key, or forged",
    "checkpoint_elsewhere": "a kept checkpoint stands under another size than its own",
    "clock_back": "the time is earlier than that of the entry before",
    "entry_malformed": "the entry's bytes are no entry",
    "entry_of_newer_version": "a newer program wrote this entry; only its hash was checked",
    "epoch_malformed": "the entry opens an epoch and does not say what was lost, or not in a form that can be believed",
    "epoch_opened": "a backup was put back and the ledger recovered: a new epoch of the log begins here",
    "epoch_unexplained": "the checkpoint has the name of another epoch than the entries under it: no recovery was written down",
    "id_repeated": "the entry's id stands twice",
    "id_wrong": "the entry's id is no UUIDv7 of the entry's time",
    "inconsistent_with_brought": "the log is not a continuation of a checkpoint that was brought: its past was changed",
    "inconsistent_with_head": "the log is not a continuation of the head kept beside the keys",
    "index_wrong": "the index is not the next one: an entry was taken out, put in or moved",
    "leaf_wrong": "the entry's bytes do not give its leaf hash: it was changed",
    "leaves_count": "the membership leaves are not as many as the batch says",
    "leaves_missing": "the batch's membership leaves are gone",
    "leaves_root": "the membership leaves do not give the root in the batch entry, or are not sorted",
    "leaves_without_batch": "membership leaves belong to no batch in the log",
    "lost_in_restore": "a checkpoint that was brought covers entries that a recovery declared lost",
    "root_wrong": "the entries do not give the root of a signed checkpoint: something at or after this entry was changed",
    "shorter_than_brought": "the log is shorter than a checkpoint that was brought: its end was cut off",
    "shorter_than_checkpoint": "the log is shorter than a checkpoint that it keeps: its end was cut off",
    "time_wrong": "the entry's time is not UTC with milliseconds",
    "unsealed": "no checkpoint covers the entries from this one on yet",
}
"""What each code says, in words for a person."""

_HEADER: Final = ("type", "id", "at", "run_id", "run_kind", "controller")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_UUID7: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is verified: (index, bytes, kept leaf hash) and (size, note), rising; (batch id, packed leaves). Each is read once."""

    entries: Iterable[tuple[int, bytes, bytes]]
    notes: Iterable[tuple[int, str]]
    batch_leaves: Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Epoch:
    """One recovery: the entry that opens the epoch, its name and time, and what was given up: checkpoints of `lost.old_origin`."""

    index: int
    at: str
    origin: str
    lost: Lost

    @property
    def entries_lost(self) -> int:
        """How many signed entries were given up."""
        return self.lost.head_size - self.lost.restored_size


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found. `problems` break the proof; `notices` do not, and belong in the report.

    `sealed` entries of `entries` are under a checkpoint with a valid signature; `checkpoints` is how many such there are,
    `anchored` the size of the largest checkpoint brought from outside that the log continues. `gaps` are (controller, night).
    `balances` are per list. `epochs` are the recoveries that the log tells of.
    """

    entries: int
    root: bytes
    checkpoints: int
    sealed: int
    anchored: int
    redacted: int
    problems: tuple[Finding, ...]
    notices: tuple[Finding, ...]
    unknown_batches: tuple[str, ...]
    gaps: tuple[tuple[str, date], ...]
    balances: Mapping[str, int]
    epochs: tuple[Epoch, ...] = ()

    @property
    def ok(self) -> bool:
        """True when nothing breaks the proof."""
        return not self.problems

    @property
    def first_bad_entry(self) -> int | None:
        """The lowest index that a problem names; None when none does."""
        return min((finding.index for finding in self.problems if finding.index is not None), default=None)


def verify(
    engine: Engine,
    verifiers: Sequence[Verifier],
    *,
    brought: Sequence[str] = (),
    head: Checkpoint | None = None,
    until: date | None = None,
) -> Verification:
    """Verify an open ledger on one unchanging view of it; a run that writes meanwhile is not disturbed.

    `verifiers` are the log's public keys, old ones and those of earlier epochs too; `brought` the texts of checkpoints kept
    elsewhere; `head` the signer's own; `until` the last night (Europe/Stockholm) that must have had a run. Raises `MustStop`:
    `ledger_unavailable`.
    """

    def work(connection: Connection) -> Verification:
        entries = sa.select(LOG_ENTRY.c.idx, raw(LOG_ENTRY.c.body), raw(LOG_ENTRY.c.leaf)).order_by(LOG_ENTRY.c.idx)
        notes = sa.select(CHECKPOINT.c.size, raw(CHECKPOINT.c.note)).order_by(CHECKPOINT.c.size)
        leaves = sa.select(raw(BATCH_LEAVES.c.batch_id), raw(BATCH_LEAVES.c.leaves))
        evidence = Evidence(
            entries=((index, body, leaf) for index, body, leaf in connection.execute(entries, execution_options=_pages(2_000))),
            notes=((size, note.decode(errors="replace")) for size, note in connection.execute(notes)),
            batch_leaves=((batch_id, packed) for batch_id, packed in connection.execute(leaves, execution_options=_pages(20))),
        )
        return verify_evidence(evidence, verifiers, brought=brought, head=head, until=until)

    return read(engine, work)


def verify_evidence(
    evidence: Evidence,
    verifiers: Sequence[Verifier],
    *,
    brought: Sequence[str] = (),
    head: Checkpoint | None = None,
    until: date | None = None,
) -> Verification:
    """As `verify`, on evidence that may come from an exported bundle."""
    check = _Check(verifiers, evidence.notes, brought, head)
    check.entries(evidence.entries)
    check.roots()
    check.membership(evidence.batch_leaves)
    return check.result(until)


class _Check:
    """One verification: checkpoints are opened first, so that their roots are compared while the entries stream by."""

    def __init__(
        self,
        verifiers: Sequence[Verifier],
        notes: Iterable[tuple[int, str]],
        brought: Sequence[str],
        head: Checkpoint | None,
    ) -> None:
        self._problems: list[Finding] = []
        self._notices: list[Finding] = []
        self._verifiers = verifiers
        self._kept = [signed for size, note in notes if (signed := self._open_kept(size, note)) is not None]
        self._brought = [signed for note in brought if (signed := self._open(note, "brought_note_bad")) is not None]
        self._head = head
        sizes = {signed.size for signed in (*self._kept, *self._brought)} | ({head.size} if head else set())
        self._roots: dict[int, bytes] = dict.fromkeys(sizes, b"")
        self._frontier = merkle.Frontier()
        self._story = Story([signed.size for signed in self._kept])
        self._redactions: dict[int, str] = {}
        self._epochs: list[Epoch] = []
        self._empty: dict[int, bytes] = {}
        self._ids: set[str] = set()
        self._last_at = ""
        self._anchored = 0
        self._sealed = 0

    def entries(self, rows: Iterable[tuple[int, bytes, bytes]]) -> None:
        """Bytes -> leaves -> roots; the entries' own order; and what they say together."""
        self._note_root()
        for index, body, leaf in rows:
            place = self._frontier.size
            if index != place:
                self._problem(place, "index_wrong")
            if body:
                leaf = self._entry(place, body, leaf)
            else:
                self._empty[place] = leaf
            self._frontier.append(leaf if len(leaf) == merkle.HASH_SIZE else merkle.EMPTY_ROOT)
            self._note_root()
        for place, leaf in self._empty.items():
            if self._redactions.get(place) != leaf.hex():
                self._problem(place, "body_missing")
        self._story.finish()

    def roots(self) -> None:
        """Compare the log with every checkpoint: those it keeps, those that were brought, and the head."""
        size = self._frontier.size
        if self._kept and self._kept[-1].size > size:
            self._problem(size, "shorter_than_checkpoint")
        for signed in self._kept:
            if signed.size > size or self._roots[signed.size] != signed.root:
                if signed.size <= size:
                    self._problem(self._first_wrong(self._sealed, signed.size), "root_wrong")
                break  # every later root is wrong too
            self._sealed = signed.size
            if not self._well_named(signed):
                self._problem(signed.size - 1, "epoch_unexplained")
        if self._sealed < size:
            self._notice(self._sealed, "unsealed")
        for signed in self._brought:
            self._compare_brought(signed.checkpoint, size)
        if self._head is not None and self._head.size > size:
            self._problem(size, "behind_head")
        elif self._head is not None and self._roots[self._head.size] != self._head.root:
            self._problem(None, "inconsistent_with_head")

    def membership(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Every batch has its leaves, and they give its root and count."""
        missing = dict(self._story.batches)
        for found in membership_roots(rows):
            batch = missing.pop(found.batch_id.hex(), None)
            if batch is None:
                self._problem(None, "leaves_without_batch")
            elif found.size != batch.count * merkle.HASH_SIZE:
                self._problem(batch.index, "leaves_count")
            elif found.root.hex() != batch.membership_root:
                self._problem(batch.index, "leaves_root")
        for batch in missing.values():
            self._problem(batch.index, "leaves_missing")

    def result(self, until: date | None) -> Verification:
        """Everything found, in order of index; what names no entry comes last."""
        return Verification(
            entries=self._frontier.size,
            root=self._frontier.root(),
            checkpoints=len(self._kept),
            sealed=self._sealed,
            anchored=self._anchored,
            redacted=len(self._empty),
            problems=tuple(sorted((*self._problems, *self._story.problems), key=_place)),
            notices=tuple(sorted((*self._notices, *self._story.notices), key=_place)),
            unknown_batches=self._story.unknown_batches(),
            gaps=self._story.gaps(until),
            balances=self._story.balances(),
            epochs=tuple(self._epochs),
        )

    def _entry(self, place: int, body: bytes, kept_leaf: bytes) -> bytes:
        """Judge one entry's bytes; its leaf hash, from the bytes and never from the database."""
        leaf = merkle.leaf_hash(body)
        if leaf != kept_leaf:
            self._problem(place, "leaf_wrong")
        entry: dict[str, Any] | None = None
        try:
            entry = decode(body)
        except MustStop:
            entry = None
        version = entry.get("version") if entry is not None else None
        if type(version) is int and version > VERSION:
            self._notice(place, "entry_of_newer_version")
        elif entry is None or type(version) is not int or version != VERSION or not _has_its_header(entry):
            self._problem(place, "entry_malformed")
        else:
            self._header(place, entry)
            self._story.take(place, entry)
        return leaf

    def _header(self, place: int, entry: dict[str, Any]) -> None:
        if entry["index"] != place:
            self._problem(place, "index_wrong")
        at, entry_id = entry["at"], entry["id"]
        moment = _moment(at)
        if moment is None:
            self._problem(place, "time_wrong")
        else:
            if at < self._last_at:
                self._notice(place, "clock_back")
            self._last_at = at
            if not _UUID7.fullmatch(entry_id) or int(entry_id.replace("-", "")[:12], 16) != milliseconds(moment):
                self._problem(place, "id_wrong")
        if entry_id in self._ids:
            self._problem(place, "id_repeated")
        self._ids.add(entry_id)
        fields = entry["fields"]
        if entry["type"] == EntryType.REDACTION and type(fields.get("redacted_index")) is int:
            self._redactions[fields["redacted_index"]] = str(fields.get("redacted_leaf", ""))
        if entry["type"] == EntryType.EPOCH_OPENED:
            self._epoch(place, entry)

    def _epoch(self, place: int, entry: dict[str, Any]) -> None:
        lost, name = Lost.parse(entry["fields"]), entry["fields"].get("origin")
        if lost is None or lost.restored_size > place or not isinstance(name, str) or name == lost.old_origin:
            self._problem(place, "epoch_malformed")
            return
        self._epochs.append(Epoch(place, entry["at"], name, lost))
        self._notice(place, "epoch_opened")

    def _well_named(self, signed: SignedCheckpoint) -> bool:
        """True when a checkpoint has the name of the last epoch that an entry under it opens; before the first, the log's own."""
        opened = [epoch for epoch in self._epochs if epoch.index < signed.size]
        name = signed.checkpoint.origin
        return name == opened[-1].origin if opened else not any(epoch_of(each.name, name) > 1 for each in self._verifiers)

    def _compare_brought(self, checkpoint: Checkpoint, size: int) -> None:
        if checkpoint.size <= size and self._roots[checkpoint.size] == checkpoint.root:
            self._anchored = max(self._anchored, checkpoint.size)
        elif self._declared_lost(checkpoint):
            self._notice(None, "lost_in_restore")
        elif checkpoint.size > size:
            self._problem(size, "shorter_than_brought")
        else:
            self._problem(None, "inconsistent_with_brought")

    def _first_wrong(self, first: int, stop: int) -> int:
        """The first entry from `first` up to `stop` already found wrong; `first` when its bytes were changed without a trace."""
        return min((bad.index for bad in self._problems if bad.index is not None and first <= bad.index < stop), default=first)

    def _declared_lost(self, checkpoint: Checkpoint) -> bool:
        """True when a recovery cites the head that this checkpoint leads to, and the checkpoint lies after what was restored."""
        return any(epoch.lost.covers(checkpoint) for epoch in self._epochs)

    def _open_kept(self, size: int, note: str) -> SignedCheckpoint | None:
        signed = self._open(note, "checkpoint_bad")
        if signed is not None and signed.size != size:
            self._problem(None, "checkpoint_elsewhere")
            return None
        return signed

    def _open(self, note: str, code: str) -> SignedCheckpoint | None:
        try:
            return open_note(note, self._verifiers)
        except MustStop:
            self._problem(None, code)
            return None

    def _note_root(self) -> None:
        if self._frontier.size in self._roots:
            self._roots[self._frontier.size] = self._frontier.root()

    def _problem(self, index: int | None, code: str) -> None:
        self._problems.append(Finding(index, code, WHAT[code]))

    def _notice(self, index: int | None, code: str) -> None:
        self._notices.append(Finding(index, code, WHAT[code]))


def _pages(rows: int) -> CoreExecuteOptionsParameter:
    """Read so many rows at a time: a log is larger than memory should be."""
    return {"yield_per": rows}


def _has_its_header(entry: Mapping[str, Any]) -> bool:
    return type(entry.get("index")) is int and all(isinstance(entry.get(name), str) for name in _HEADER)


def _place(finding: Finding) -> tuple[bool, int]:
    return finding.index is None, finding.index or 0


def _moment(text: str) -> datetime | None:
    if not _TIME.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
