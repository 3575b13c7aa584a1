"""One request, from its people to the answer that is written down: built, read back by the guard, recorded, sent once, answered.

A request that the platform refuses because of some of its people had no effect: they are set aside and counted by reason, and the others go as a
request of their own, with a batch entry of its own. It looks nobody up, decides nothing about people, and never repeats a request that may have
had an effect.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.engine import Connection

from nestaudience.config.settings import Audience
from nestaudience.delivery.accounts import Accounts
from nestaudience.delivery.answers import Answer, answer_of
from nestaudience.delivery.clocks import RemovalTimes
from nestaudience.delivery.fields import batch_fields, result_fields
from nestaudience.delivery.guard import inspect
from nestaudience.delivery.salts import Salts
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
from nestaudience.errors import MustStop, NestAudienceError
from nestaudience.hashing.commitments import key_of_list, membership_leaves
from nestaudience.hashing.digests import Digests
from nestaudience.hashing.sealing import seal
from nestaudience.hashing.tokens import Tokens
from nestaudience.interrupting import Interrupted, interruption, never
from nestaudience.ledger.entries import Context, EntryType, Value, utc_text, uuid7
from nestaudience.ledger.keys import KeyRing, Randomness
from nestaudience.ledger.log import TransferLog, keep_batch_leaves
from nestaudience.ledger.memory import Memory, RemoteList, sent_through
from nestaudience.vocabulary import Operation

LOOK_LASTS: Final = timedelta(seconds=60)
"""How old a last look may be when its request starts."""
MOST_REFUSALS: Final = 40
"""So often a batch may be refused because of some of its people. More is no matter of single people any more."""
Tell = Callable[[str, str, int], None]
"""Told an audience, an operation, and how many people were just sent."""


@dataclass(slots=True)
class Sent:
    """What became of one list's delivery, in people and batches. Keys and counts only. `set_aside`: people whom the platform would not take in any
    request; they are in `refused` by reason.
    """

    removed: int = 0
    added: int = 0
    batches: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    kept_back: int = 0
    set_aside: int = 0
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
    accounts: Accounts = field(default_factory=Accounts)
    """The ad accounts that this run has read."""


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
class People:
    """The people of one request, columns in one order: digests, `person_token` uuid; for additions `account_token` uuid and `digest` (token)
    uuid; for removals the ledger rows that end (`list<int64>` columns, one list a person), which of them are a no that is new, and since when at
    the latest those were visible. `looked_at`: when the last look let them pass, for additions.
    """

    digests: Digests
    person_tokens: pa.Array
    account_tokens: pa.Array | None = None
    digest_tokens: pa.Array | None = None
    ended: tuple[pa.Array, ...] = ()
    new_noes: pa.Array | None = None
    since: datetime | None = None
    looked_at: datetime | None = None

    def take(self, places: pa.Array) -> "People":
        """The people at these places, in this order."""
        account, digest, noes = (
            None if column is None else column.take(places) for column in (self.account_tokens, self.digest_tokens, self.new_noes)
        )
        ended = tuple(column.take(places) for column in self.ended)
        persons = self.person_tokens.take(places)
        return People(self.digests.take(places), persons, account, digest, ended, noes, self.since, self.looked_at)

    @property
    def ended_rows(self) -> list[int]:
        """The ledger's row ids of the memberships that end."""
        return [row for column in self.ended for row in column.flatten().to_pylist()]

    @property
    def noes(self) -> int:
        """How many of them are a no that is new."""
        return 0 if self.new_noes is None else int(pc.sum(self.new_noes).as_py() or 0)


@dataclass(frozen=True, slots=True)
class Order:
    """What a request is part of: the transfer, its number there, the operation; consent signals and the attempt, for additions; `marks` go into
    the batch entry: `late` for a removal that the last look found, `repeat` where somebody's removal was asked for before, `noes` where everybody
    said no.
    """

    transfer: str
    number: int
    operation: Operation
    consent: ConsentSignals | None = None
    attempt: int = 1
    marks: tuple[str, ...] = ()


def wait_for_turn(destination: Destination, target: Target, operation: Operation, tools: Tools) -> None:
    """Wait until the platform takes one more request for this list. Raises what the destination raises."""
    today = tools.memory.requests_since(
        destination.name, tools.clock() - timedelta(days=1)
    )  # a list may have moved since it was made
    destination.ready(target, operation, today)


class Requests:
    """The requests to one list while its lease is held. They are counted into `sent`."""

    def __init__(self, line: Line, salts: Salts, tools: Tools, sent: Sent) -> None:
        self._line = line
        self._salts = salts
        self._tools = tools
        self.sent = sent
        self._stays: str | None = None

    def send(self, order: Order, people: People) -> list[tuple[pa.Array, int]]:
        """Send these people in one request, or in several where the platform will not take some of them. For each request that was not refused the
        places of its people and, for additions, the ledger's row id of the first.

        Raises the error of a refusal that is not about people, or that goes on for too long; `TryAgain`: `interrupted`.
        """
        sent: list[tuple[pa.Array, int]] = []
        waiting = [pa.array(range(len(people.digests)), pa.int64())]
        aside: dict[str, int] = {}
        refusals: list[Refused] = []
        while waiting:
            if refusals or order.operation is Operation.REMOVE:
                self.ready(order.operation)
            if refusals and self._look_is_old(people):
                raise self._given_up(order, aside, refusals[-1])
            places = waiting.pop(0)
            first_id, receipt = self._once(order, people.take(places) if refusals else people)
            if not isinstance(receipt, Refused):
                sent.append((places, first_id))
                continue
            refusals.append(receipt)
            if (receipt.rows is None and not receipt.passing) or len(refusals) > MOST_REFUSALS:
                raise self._given_up(order, aside, receipt)
            rest, found = ([places], {}) if receipt.passing else _apart(places, receipt)
            waiting[:0] = rest
            for code, count in found.items():
                aside[code] = aside.get(code, 0) + count
            self.go_on()
        self._put_aside(order, aside)
        return sent

    def _given_up(self, order: Order, aside: dict[str, int], refused: Refused) -> NestAudienceError:
        """The error of a request that is not tried again, once those are written down who were set aside before."""
        self._put_aside(order, aside)
        return self._line.destination.error_of(refused.code, self._line.audience.key)

    def go_on(self) -> None:
        """Between two requests. Raises `TryAgain`: `interrupted` when this process was asked to end."""
        if self._tools.interrupted():
            raise interruption(self._line.audience.key)

    def ready(self, operation: Operation) -> None:
        """Before a batch: wait until the platform takes one more request. Raises what the destination raises."""
        wait_for_turn(self._line.destination, self._line.target, operation, self._tools)

    def check_removed(self) -> None:
        """Raises the error of a removal whose people the platform would not take: they are still there, so nobody may join before they left."""
        if self._stays is not None:
            raise self._line.destination.error_of(self._stays, self._line.audience.key)

    def _look_is_old(self, people: People) -> bool:
        return people.looked_at is not None and self._tools.clock() - people.looked_at > LOOK_LASTS

    def _put_aside(self, order: Order, codes: dict[str, int]) -> None:
        """Count people whom the platform does not take, and write them down: somebody has to find out why."""
        if not codes:
            return
        for code, count in codes.items():
            self.sent.refused[code] = self.sent.refused.get(code, 0) + count
        self.sent.set_aside += sum(codes.values())
        if order.operation is Operation.REMOVE:
            self._stays = next(iter(codes))
        fields: dict[str, Value] = {
            "code": "people_set_aside",
            "audience": self._line.audience.key,
            "transfer_id": order.transfer,
            "operation": order.operation.value,
            "counts": codes,
        }
        self._tools.log.append_and_seal([(EntryType.INCIDENT, self.context(), fields)])

    def _once(self, order: Order, people: People) -> tuple[int, Receipt]:
        """One request, steps (2) to (5) of `deliver`: the ledger's row id of its first person, for additions, and the receipt."""
        tools, line = self._tools, self._line
        batch_id = bytes.fromhex(self.transfer_id().replace("-", ""))
        batch = Batch(batch_id, order.operation, people.digests, order.consent)
        prepared = line.destination.prepare(line.target, batch)
        inspect(prepared.contents(), batch, line.target)
        keys = self._salts.keys_of(people.person_tokens, tools.keys.master.reveal())
        leaves = membership_leaves(keys, batch_id, order.operation, key_of_list(line.remote.list_id))
        members, ended = self._member_columns(batch_id, people), people.ended_rows
        number, first_id = [0], [0]
        fields = batch_fields(line.audience.key, line.remote, batch, leaves, order.transfer, order.number, order.marks)
        values = self._batch_values(order, batch)

        def also(connection: Connection, _indices: tuple[int, ...]) -> None:
            keep_batch_leaves(connection, batch_id, leaves)
            number[0] = tools.memory.prepare_batch(connection, values)
            if members:
                first_id[0] = tools.memory.add_members(connection, line.remote.list_no, number[0], members)
            if ended:
                tools.memory.mark_removed(connection, ended, number[0])

        tools.log.append_and_seal([(EntryType.BATCH, self.context(), fields)], also)
        sent_at, receipt = tools.clock(), line.destination.send(prepared)
        self._answer(order.transfer, batch, number[0], receipt)
        self._measure(order.operation, people, receipt, sent_at)
        return first_id[0], receipt

    def _measure(self, operation: Operation, people: People, receipt: Receipt, sent_at: datetime) -> None:
        """The clocks of a removal that was accepted just now."""
        if operation is Operation.ADD or not isinstance(receipt, Accepted):
            return
        now, times = self._tools.clock(), self.sent.times
        times.add("visible_to_accepted", people.since, now, people.noes)
        if isinstance(receipt.settlement, Succeeded):
            times.add("accepted_to_done", sent_at, now, len(people.digests))

    def _answer(self, transfer: str, batch: Batch, batch_no: int, receipt: Receipt) -> None:
        """Write down what the platform said, and count it."""
        count = len(batch.digests)
        values: dict[str, object] = {}
        known: Answer | None = None
        at = utc_text(self._tools.clock())
        match receipt:
            case Accepted(request_id, settlement):
                values = {"state": "accepted", "request_id": sent_through(self._line.destination.name, request_id)}
                known = None if settlement is None else answer_of(settlement, count)
            case Refused(code, rows, passing):
                values = {"state": "refused", "settled_at": at}
                if rows is None and not passing:
                    self.sent.refused[code] = self.sent.refused.get(code, 0) + count
            case NoReceipt(code):
                values = {"state": "unknown"}
                self.sent.unknown[code] = self.sent.unknown.get(code, 0) + count
        entries = [(EntryType.BATCH_RESULT, self.context(), result_fields(transfer, batch.batch_id, receipt))]
        if known is not None:  # the platform said at once what became of it
            audience = self._line.audience.key
            entries.append((EntryType.PLATFORM_STATUS, self.context(), known.fields(batch.batch_id, transfer, audience)))
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
        if isinstance(receipt, Refused) and receipt.rows is None:
            self._note_refusal(receipt.code, batch.operation, count)

    def _note_refusal(self, code: str, operation: Operation, people: int) -> None:
        """A removal that the platform will not carry out is an incident. `send` stops after it: the next batch would be refused as well."""
        error = self._line.destination.error_of(code, self._line.audience.key)
        if operation is Operation.REMOVE and isinstance(error, MustStop):
            fields: dict[str, Value] = {
                "code": code,
                "audience": self._line.audience.key,
                "list_id": self._line.remote.list_id,
                "count": people,
            }
            self._tools.log.append_and_seal([(EntryType.INCIDENT, self.context(), fields)])

    def _member_columns(self, batch_id: bytes, people: People) -> dict[str, pa.Array]:
        """The membership rows of an addition, tokens and sealed digests; nothing for a removal."""
        if people.account_tokens is None or people.digest_tokens is None:
            return {}
        return {
            "account_token": people.account_tokens.storage,
            "person_token": people.person_tokens.storage,
            "digest_token": people.digest_tokens.storage,
            "sealed_digest": seal(self._tools.keys.seal.reveal(), batch_id, people.digests),
        }

    def _batch_values(self, order: Order, batch: Batch) -> dict[str, object]:
        keys = self._tools.keys
        return {
            "batch_id": batch.batch_id,
            "transfer_id": order.transfer,
            "list_no": self._line.remote.list_no,
            "operation": batch.operation.value,
            "people": len(batch.digests),
            "state": "prepared",
            "sent_at": utc_text(self._tools.clock()),
            "settled_at": "",
            "request_id": "",
            "rejected": 0,
            "attempt": order.attempt,
            "index_key": keys.index.key_id,
            "seal_key": keys.seal.key_id,
            "master_key": keys.master.key_id,
        }

    def context(self) -> Context:
        """What the entries about this list say of where they come from."""
        return self._tools.context(self._line.audience.controller.key)

    def transfer_id(self) -> str:
        """A new id for a transfer or a batch."""
        return uuid7(self._tools.clock(), self._tools.randomness(10))


def _apart(places: pa.Array, refused: Refused) -> tuple[list[pa.Array], dict[str, int]]:
    """The people of a refused request who are tried again, in one request or in two halves, and how many are set aside, by reason.

    Where the platform does not say about whom it is, the request is halved until the one is found.
    """
    count = len(places)
    found = {row: code for row, code in (refused.rows or ()) if 0 <= row < count}
    if not found and count == 1:
        found = {0: refused.code}
    if not found:
        middle = count // 2
        return [places.slice(0, middle), places.slice(middle)], {}
    codes: dict[str, int] = {}
    for code in found.values():
        codes[code] = codes.get(code, 0) + 1
    others = pa.array([row for row in range(count) if row not in found], pa.int64())
    return [places.take(others)] if len(others) else [], codes
