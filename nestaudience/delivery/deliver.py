"""Delivery of one list's delta: an intent, then batch by batch look, mark, send, answer.

For every request, in this order:
  (1) the last look, for additions, at most a minute before; whoever must leave this list leaves first
  (2) the message is built and the guard reads it back
  (3) the batch entry, its leaves, its memberships and its state are durable and under a checkpoint
  (4) the request is sent, once
  (5) the answer changes the batch's state, with its entry

It decides nothing about people and never repeats a request that may have had an effect.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.engine import Connection

from nestaudience.config.settings import Audience
from nestaudience.delivery.added_rows import signals_of, staying, tried_before
from nestaudience.delivery.answers import Answer, answer_of
from nestaudience.delivery.clocks import RemovalTimes
from nestaudience.delivery.guard import inspect
from nestaudience.delivery.held import Held
from nestaudience.delivery.last_look import LastLook
from nestaudience.delivery.salts import Salts
from nestaudience.delta.plan import Delta
from nestaudience.destinations.port import (
    Accepted,
    Account,
    Batch,
    ConsentSignals,
    Destination,
    NoReceipt,
    Receipt,
    Refused,
    Succeeded,
    Target,
)
from nestaudience.errors import MustStop
from nestaudience.hashing.commitments import key_of_list, membership_leaves
from nestaudience.hashing.digests import Digests
from nestaudience.hashing.sealing import seal
from nestaudience.hashing.tokens import Tokens
from nestaudience.interrupting import Interrupted, interruption, never
from nestaudience.ledger.entries import Context, EntryType, Value, utc_text, uuid7
from nestaudience.ledger.keys import KeyRing, Randomness
from nestaudience.ledger.log import TransferLog, keep_batch_leaves
from nestaudience.ledger.memory import Memory, RemoteList, sent_through
from nestaudience.ledger.merkle import root_of
from nestaudience.vocabulary import Operation, Recipient

LOOK_LASTS: Final = timedelta(seconds=60)
Tell = Callable[[str, str, int], None]
"""Told an audience, an operation, and how many people were just sent."""


@dataclass(slots=True)
class Sent:
    """What became of one list's delivery, in people and batches. Keys and counts only."""

    removed: int = 0
    added: int = 0
    batches: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    kept_back: int = 0
    late: int = 0
    times: RemovalTimes = field(default_factory=RemovalTimes)


@dataclass(frozen=True, slots=True)
class Tools:
    """What delivery works with, opened once a run."""

    log: TransferLog
    memory: Memory
    keys: KeyRing
    tokens: Tokens
    clock: Callable[[], datetime]
    randomness: Randomness
    context: Callable[[str], Context]
    """Controller -> the context of its entries."""
    tell: Tell = lambda audience, operation, people: None
    interrupted: Interrupted = never
    """Asked between two requests: True ends the delivery there."""


@dataclass(frozen=True, slots=True)
class Line:
    """One audience, its remote list, and the way to it."""

    audience: Audience
    remote: RemoteList
    destination: Destination
    batch_size: int
    """How many people a request may hold: the destination's limit, or the configuration's where that is smaller."""
    watermark: datetime | None = None
    """Up to when every no that the store showed was sent here before this run (UTC); None when no run did that yet."""

    @property
    def target(self) -> Target:
        """Where requests go."""
        return Target(Account(self.remote.ad_account, self.remote.login_account), self.remote.list_id)


@dataclass(frozen=True, slots=True)
class _People:
    """The people of one request, columns in one order: digests, `person_token` uuid; for additions `account_token` uuid and `digest` (token)
    uuid, for removals the ledger rows that end, how many noes are new, and since when at the latest they were visible.
    """

    digests: Digests
    person_tokens: pa.Array
    account_tokens: pa.Array | None
    digest_tokens: pa.Array | None
    ended: list[int]
    noes: int = 0
    since: datetime | None = None


class Delivery:
    """Delivers to one list while its lease is held."""

    def __init__(self, line: Line, delta: Delta, held: Held, salts: Salts, look: LastLook, tools: Tools) -> None:
        self._line = line
        self._delta = delta
        self._held = held
        self._salts = salts
        self._look = look
        self._tools = tools
        self._left: list[pa.ChunkedArray] = []
        self.sent = Sent()

    def remove(self, intent: Callable[[str, Operation, int], None]) -> None:
        """Send every removal that may be sent, noes first. `intent` records the transfer before its first request."""
        rows = self._delta.removals(self._line.audience.key)
        if not rows.num_rows:
            return
        transfer = self._transfer_id()
        intent(transfer, Operation.REMOVE, rows.num_rows)
        self._remove_rows(transfer, rows)

    def _remove_rows(self, transfer: str, rows: pa.Table) -> None:
        size = self._line.batch_size
        recipient = self._line.destination.recipient
        for number, first in enumerate(range(0, rows.num_rows, size)):
            self._go_on()
            some = rows.slice(first, size)
            lists = some.column("held_nos").combine_chunks()
            representative = pc.list_element(lists, 0)
            people = _People(
                self._held.open(representative, recipient, self._tools.keys, self._tools.tokens),
                some.column("person_token").combine_chunks(),
                None,
                None,
                self._held.member_ids(lists.flatten()).to_pylist(),
                pc.sum(pc.and_not(some.column("is_no"), some.column("owed"))).as_py(),
                self._line.watermark,
            )
            again = pc.sum(some.column("owed")).as_py()
            self.sent.times.again += again
            repeat = again > 0
            self._request(transfer, number, Operation.REMOVE, people, None, attempt=2 if repeat else 1, repeat=repeat)
            self._mark_leaving(some)

    def add(self, intent: Callable[[str, Operation, int], None], first: int = 0, people: int | None = None) -> None:
        """Send every addition that may be sent, each batch after its last look; after the last request look once more.

        `first` and `people` take a part of them, in their order.
        """
        rows = self._delta.additions(self._line.audience.key).slice(first, people)
        if not rows.num_rows:
            return
        transfer = self._transfer_id()
        intent(transfer, Operation.ADD, rows.num_rows)
        size = self._line.batch_size
        fresh, again = tried_before(rows)
        parts = [fresh.slice(first, size) for first in range(0, fresh.num_rows, size)]
        for number, part in enumerate(parts):
            self._add_batch(transfer, number, part)
        for batch_no, halves in again.items():
            for number, half in enumerate(halves, len(parts)):
                self._add_batch(transfer, number, half, attempt=2)
            self._tools.memory.tried_again(batch_no)
        self._leave_now(transfer, self._look.at_batch(self._line.audience.rule, rows.slice(0, 0)).leaving)

    def _add_batch(self, transfer: str, number: int, rows: pa.Table, *, attempt: int = 1) -> None:
        self._go_on()
        look = self._look.at_batch(self._line.audience.rule, rows)
        self._leave_now(transfer, look.leaving)
        if self._tools.clock() - look.at > LOOK_LASTS:  # the removals took long: look again, there are none left now
            look = self._look.at_batch(self._line.audience.rule, rows)
            self._leave_now(transfer, look.leaving)
        kept = staying(rows, look.keep, self._left)
        self.sent.kept_back += rows.num_rows - kept.num_rows
        if not kept.num_rows:
            return
        row_no = kept.column("row_no").combine_chunks()
        digests = self._delta.screened.people.digests[self._line.destination.recipient].take(row_no)
        people = _People(
            digests,
            kept.column("person_token").combine_chunks(),
            kept.column("account_token").combine_chunks(),
            kept.column("digest").combine_chunks(),
            [],
        )
        signals = signals_of(kept) if self._line.destination.recipient is Recipient.GOOGLE else None
        first_id = self._request(transfer, number, Operation.ADD, people, signals, attempt=attempt)
        self._remember_sent(kept, first_id)

    def _leave_now(self, transfer: str, leaving: pa.Table) -> None:
        """Remove people whom the last look found: a no said since the run began never waits for the next run."""
        if not leaving.num_rows:
            return
        recipient, size = self._line.destination.recipient, self._line.batch_size
        self.sent.late += leaving.num_rows
        fields: dict[str, Value] = {"audience": self._line.audience.key, "transfer_id": transfer, "count": leaving.num_rows}
        self._tools.log.append([(EntryType.LATE_BLOCK, self._context(), fields)])
        known = (leaving.filter(pc.is_valid(leaving.column("row_no"))), leaving.filter(pc.is_null(leaving.column("row_no"))))
        for some in (part.slice(first, size) for part in known for first in range(0, part.num_rows, size)):
            held_nos = some.column("held_nos").combine_chunks()
            if some.column("row_no").null_count:
                digests = self._held.open(pc.list_element(held_nos, 0), recipient, self._tools.keys, self._tools.tokens)
            else:
                digests = self._delta.screened.people.digests[recipient].take(some.column("row_no").combine_chunks())
            ended = (
                self._held.member_ids(held_nos.flatten()).to_pylist()
                + some.column("member_ids").combine_chunks().flatten().to_pylist()
            )
            seen = self._delta.screened.now  # they were not visible when the run judged
            people = _People(digests, some.column("person_token").combine_chunks(), None, None, ended, some.num_rows, seen)
            self._mark_leaving(some)
            self._request(transfer, 0, Operation.REMOVE, people, None, late=True)

    def _request(
        self,
        transfer: str,
        number: int,
        operation: Operation,
        people: _People,
        consent: ConsentSignals | None,
        *,
        attempt: int = 1,
        **marks: bool,
    ) -> int:
        """One request, steps (2) to (5). The ledger's row id of its first person, for additions. `marks` go into the batch entry: `late` for a
        removal that the last look found, `repeat` where somebody's removal was asked for before.
        """
        tools, line = self._tools, self._line
        batch_id = bytes.fromhex(self._transfer_id().replace("-", ""))
        batch = Batch(batch_id, operation, people.digests, consent)
        prepared = line.destination.prepare(line.target, batch)
        inspect(prepared.contents(), batch, line.target)
        batch_no = tools.memory.next_batch_no()
        keys = self._salts.keys_of(people.person_tokens, tools.keys.master.reveal())
        leaves = membership_leaves(keys, batch_id, operation, key_of_list(line.remote.list_id))
        members = self._member_columns(batch_id, people)
        first_id: list[int] = [0]
        fields = self._batch_fields(transfer, number, batch, leaves) | marks
        values = self._batch_values(transfer, batch, batch_no) | {"attempt": attempt}

        def also(connection: Connection, _indices: tuple[int, ...]) -> None:
            keep_batch_leaves(connection, batch_id, leaves)
            tools.memory.prepare_batch(connection, values)
            if members:
                first_id[0] = tools.memory.add_members(connection, line.remote.list_no, batch_no, members)
            if people.ended:
                tools.memory.mark_removed(connection, people.ended, batch_no)

        tools.log.append_and_seal([(EntryType.BATCH, self._context(), fields)], also)
        sent_at, receipt = tools.clock(), line.destination.send(prepared)
        self._answer(transfer, batch, batch_no, receipt)
        self._measure(operation, people, receipt, sent_at)
        return first_id[0]

    def _measure(self, operation: Operation, people: _People, receipt: Receipt, sent_at: datetime) -> None:
        """The clocks of a removal that was accepted just now."""
        if operation is Operation.ADD or not isinstance(receipt, Accepted):
            return
        now, times = self._tools.clock(), self.sent.times
        times.add("visible_to_accepted", people.since, now, people.noes)
        if isinstance(receipt.settlement, Succeeded):
            times.add("accepted_to_done", sent_at, now, len(people.digests))

    def _go_on(self) -> None:
        """Between two requests. Raises `TryAgain`: `interrupted` when this process was asked to end."""
        if self._tools.interrupted():
            raise interruption(self._line.audience.key)

    def _answer(self, transfer: str, batch: Batch, batch_no: int, receipt: Receipt) -> None:
        """Write down what the platform said, and count it."""
        count = len(batch.digests)
        fields: dict[str, Value] = {"transfer_id": transfer, "batch_id": batch.batch_id.hex(), "code": "", "request_id": ""}
        values: dict[str, object] = {}
        known: Answer | None = None
        at = utc_text(self._tools.clock())
        match receipt:
            case Accepted(request_id, settlement):
                fields |= {"outcome": "accepted", "request_id": request_id}
                values = {"state": "accepted", "request_id": sent_through(self._line.destination.name, request_id)}
                known = None if settlement is None else answer_of(settlement, count)
            case Refused(code):
                fields |= {"outcome": "refused", "code": code}
                values = {"state": "refused", "settled_at": at}
                self.sent.refused[code] = self.sent.refused.get(code, 0) + count
            case NoReceipt(code):
                fields |= {"outcome": "unknown", "code": code}
                values = {"state": "unknown"}
                self.sent.unknown[code] = self.sent.unknown.get(code, 0) + count
        entries = [(EntryType.BATCH_RESULT, self._context(), fields)]
        if known is not None:  # the platform said at once what became of it
            audience = self._line.audience.key
            entries.append((EntryType.PLATFORM_STATUS, self._context(), known.fields(batch.batch_id, transfer, audience)))
            values |= known.changes(at)
        self._tools.log.append_and_seal(
            entries, lambda connection, _indices: self._tools.memory.set_batch(connection, batch_no, values)
        )
        self.sent.batches += 1
        if isinstance(receipt, Accepted):
            if batch.operation is Operation.ADD:
                self.sent.added += count
            else:
                self.sent.removed += count
        self._tools.tell(self._line.audience.key, batch.operation.value, count)
        if isinstance(receipt, Refused):
            self._stop_after(receipt.code, batch.operation, count)

    def _stop_after(self, code: str, operation: Operation, people: int) -> None:
        """A refusal says something about the list or the account: the next batch would be refused as well. A removal that the platform will not carry
        out is an incident.
        """
        error = self._line.destination.error_of(code, self._line.audience.key)
        if operation is Operation.REMOVE and isinstance(error, MustStop):
            fields: dict[str, Value] = {
                "code": code,
                "audience": self._line.audience.key,
                "list_id": self._line.remote.list_id,
                "count": people,
            }
            self._tools.log.append_and_seal([(EntryType.INCIDENT, self._context(), fields)])
        raise error

    def _member_columns(self, batch_id: bytes, people: _People) -> dict[str, pa.Array]:
        """The membership rows of an addition, tokens and sealed digests; nothing for a removal."""
        if people.account_tokens is None or people.digest_tokens is None:
            return {}
        return {
            "account_token": people.account_tokens.storage,
            "person_token": people.person_tokens.storage,
            "digest_token": people.digest_tokens.storage,
            "sealed_digest": seal(self._tools.keys.seal.reveal(), batch_id, people.digests),
        }

    def _batch_fields(self, transfer: str, number: int, batch: Batch, leaves: bytes) -> dict[str, Value]:
        return {
            "transfer_id": transfer,
            "batch_id": batch.batch_id.hex(),
            "audience": self._line.audience.key,
            "list_id": self._line.remote.list_id,
            "ad_account": self._line.remote.ad_account,
            "recipient": self._line.destination.recipient.value,
            "operation": batch.operation.value,
            "number": number,
            "count": len(batch.digests),
            "membership_root": root_of(leaves).hex(),
        }

    def _batch_values(self, transfer: str, batch: Batch, batch_no: int) -> dict[str, object]:
        keys = self._tools.keys
        return {
            "batch_no": batch_no,
            "batch_id": batch.batch_id,
            "transfer_id": transfer,
            "list_no": self._line.remote.list_no,
            "operation": batch.operation.value,
            "people": len(batch.digests),
            "state": "prepared",
            "sent_at": utc_text(self._tools.clock()),
            "settled_at": "",
            "request_id": "",
            "rejected": 0,
            "attempt": 1,
            "index_key": keys.index.key_id,
            "seal_key": keys.seal.key_id,
            "master_key": keys.master.key_id,
        }

    def _remember_sent(self, rows: pa.Table, first_id: int) -> None:
        """Tell the engine who was just sent, so that a later look can find them."""
        engine = self._delta.screened.connection
        number = self._delta.screened.number(self._line.audience.key)
        ids = pa.array(range(first_id, first_id + rows.num_rows), pa.int64())
        engine.register("just_sent", rows.append_column("member_id", ids))
        engine.execute(
            "INSERT INTO sent SELECT ?, digest, account_token, person_token, row_no, member_id FROM just_sent", [number]
        )
        engine.unregister("just_sent")

    def _mark_leaving(self, rows: pa.Table) -> None:
        """Whoever is being removed is not found by the next look again, and does not join in this run."""
        self._left.append(rows.column("digest"))
        engine = self._delta.screened.connection
        number = self._delta.screened.number(self._line.audience.key)
        engine.register("just_left", rows)
        engine.execute("DELETE FROM sent WHERE audience_no = ? AND digest IN (SELECT digest FROM just_left)", [number])
        engine.execute(
            "UPDATE held SET removing = true WHERE audience_no = ? AND digest IN (SELECT digest FROM just_left)", [number]
        )
        engine.unregister("just_left")

    def _context(self) -> Context:
        return self._tools.context(self._line.audience.controller.key)

    def _transfer_id(self) -> str:
        return uuid7(self._tools.clock(), self._tools.randomness(10))
