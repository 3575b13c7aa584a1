"""Delivery of one list's delta: an intent, then batch by batch look, mark, send, answer.

For every request, in this order:
  (1) the last look, for additions, at most a minute before; whoever must leave this list leaves first
  (2) the message is built and the guard reads it back
  (3) the batch entry, its leaves, its memberships and its state are durable and under a checkpoint
  (4) the request is sent, once
  (5) the answer changes the batch's state, with its entry

Steps (2) to (5) are in `requests`. It decides nothing about people and never repeats a request that may have had an effect.
"""

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.delivery.added_rows import signals_of, staying, tried_before
from nestaudience.delivery.held import Held
from nestaudience.delivery.last_look import LastLook
from nestaudience.delivery.lists import confirm_account
from nestaudience.delivery.refused import SAID_NO
from nestaudience.delivery.requests import LOOK_LASTS, Order, People, Requests
from nestaudience.delivery.requests import Line as Line  # handed on: whoever delivers has their types
from nestaudience.delivery.requests import Sent as Sent
from nestaudience.delivery.requests import Tools as Tools
from nestaudience.delivery.salts import Salts
from nestaudience.delta.plan import Delta
from nestaudience.destinations.port import OptsOut
from nestaudience.ledger.entries import EntryType, Value
from nestaudience.screening.engine import ask
from nestaudience.vocabulary import Operation, Recipient


class Delivery:
    """Delivers to one list while its lease is held."""

    def __init__(self, line: Line, delta: Delta, held: Held, salts: Salts, look: LastLook, tools: Tools, sent: Sent) -> None:
        self._line = line
        self._delta = delta
        self._held = held
        self._look = look
        self._tools = tools
        self._left: list[pa.ChunkedArray] = []
        self._requests = Requests(line, salts, tools, sent)

    @property
    def sent(self) -> Sent:
        """What became of the delivery so far, as it was handed in."""
        return self._requests.sent

    def remove(self, intent: Callable[[str, Operation, int], None]) -> None:
        """Send every removal that may be sent, noes first. `intent` records the transfer before its first request.

        Where a platform may refuse removals, who says no goes in requests of their own: what is refused for others (too few would be left) must
        not keep them there, and the log tells which requests were about a no.
        """
        rows = self._delta.removals(self._line.audience.key)
        if not rows.num_rows:
            return
        transfer = self._requests.transfer_id()
        intent(transfer, Operation.REMOVE, rows.num_rows)
        self._remove_rows(transfer, rows)

    def _remove_rows(self, transfer: str, rows: pa.Table) -> None:
        recipient = self._line.destination.recipient
        never_taken = self._tools.memory.removal_refused(self._line.remote.list_no)
        for number, (some, mark) in enumerate(self._parts(rows)):
            self._requests.go_on()
            lists = some.column("held_nos").combine_chunks()
            representative = pc.list_element(lists, 0)
            people = People(
                self._held.open(representative, recipient, self._tools.keys, self._tools.tokens),
                some.column("person_token").combine_chunks(),
                ended=(lists,),
                new_noes=(
                    some.column("is_no") if never_taken else pc.and_not(some.column("is_no"), some.column("owed"))
                ).combine_chunks(),
                since=self._line.watermark,
            )
            again = pc.sum(some.column("owed")).as_py()
            self.sent.times.again += again
            marks = (*mark, "repeat") if again else mark
            self._requests.send(Order(transfer, number, Operation.REMOVE, attempt=2 if again else 1, marks=marks), people)
            self._mark_leaving(some)
        self._requests.check_removed()

    def _parts(self, rows: pa.Table) -> Iterator[tuple[pa.Table, tuple[str, ...]]]:
        """The removals of each request, with its marks."""
        size, noes = self._line.batch_size, pc.sum(rows.column("says_no")).as_py() if self._no_marks else 0
        for some, marks in ((rows.slice(0, noes), self._no_marks), (rows.slice(noes), ())):
            yield from ((some.slice(first, size), marks) for first in range(0, some.num_rows, size))

    @property
    def _no_marks(self) -> tuple[str, ...]:
        """The mark of a request about nobody but people who said no."""
        return (SAID_NO,) if isinstance(self._line.destination, OptsOut) else ()

    def add(self, intent: Callable[[str, Operation, int], None], first: int = 0, people: int | None = None) -> None:
        """Send every addition that may be sent, each batch after its last look; after the last request look once more.

        `first` and `people` take a part of them, in their order.
        """
        rows = self._delta.additions(self._line.audience.key).slice(first, people)
        if not rows.num_rows:
            return
        line, target = self._line, self._line.target
        confirm_account(line.audience, target.list_id, target.account, line.destination, self._tools, adding=True)
        transfer = self._requests.transfer_id()
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
        self._requests.go_on()
        self._requests.ready(Operation.ADD)
        look = self._look.at_batch(self._line.audience.rule, rows)
        self._leave_now(transfer, look.leaving)
        if look.leaving.num_rows:
            self._requests.ready(Operation.ADD)
        if self._tools.clock() - look.at > LOOK_LASTS:  # the removals took long: look again, there are none left now
            look = self._look.at_batch(self._line.audience.rule, rows)
            self._leave_now(transfer, look.leaving)
        kept = staying(rows, look.keep, self._left)
        self.sent.kept_back += rows.num_rows - kept.num_rows
        if not kept.num_rows:
            return
        row_no = kept.column("row_no").combine_chunks()
        digests = self._delta.screened.people.digests_of(self._line.destination.recipient, row_no)
        person, account, token = (kept.column(name).combine_chunks() for name in ("person_token", "account_token", "digest"))
        people = People(digests, person, account, token, looked_at=look.at)
        signals = signals_of(kept) if self._line.destination.recipient is Recipient.GOOGLE else None
        for places, first_id in self._requests.send(Order(transfer, number, Operation.ADD, signals, attempt), people):
            self._remember_sent(kept.take(places), first_id)

    def _leave_now(self, transfer: str, leaving: pa.Table) -> None:
        """Remove people whom the last look found: a no said since the run began never waits for the next run."""
        if not leaving.num_rows:
            return
        recipient, size = self._line.destination.recipient, self._line.batch_size
        self.sent.late += leaving.num_rows
        fields: dict[str, Value] = {"audience": self._line.audience.key, "transfer_id": transfer, "count": leaving.num_rows}
        self._tools.log.append([(EntryType.LATE_BLOCK, self._requests.context(), fields)])
        known = (leaving.filter(pc.is_valid(leaving.column("row_no"))), leaving.filter(pc.is_null(leaving.column("row_no"))))
        for some in (part.slice(first, size) for part in known for first in range(0, part.num_rows, size)):
            held_nos = some.column("held_nos").combine_chunks()
            if some.column("row_no").null_count:
                digests = self._held.open(pc.list_element(held_nos, 0), recipient, self._tools.keys, self._tools.tokens)
            else:
                digests = self._delta.screened.people.digests_of(recipient, some.column("row_no").combine_chunks())
            people = People(
                digests,
                some.column("person_token").combine_chunks(),
                ended=(held_nos, some.column("member_ids").combine_chunks()),
                new_noes=pa.array([True] * some.num_rows),
                since=self._delta.screened.now,  # they were not visible when the run judged
            )
            self._mark_leaving(some)
            self._requests.send(Order(transfer, 0, Operation.REMOVE, marks=("late", *self._no_marks)), people)
        self._requests.check_removed()

    def _remember_sent(self, rows: pa.Table, first_id: int) -> None:
        """Tell the engine who was just sent, so that a later look can find them."""
        engine = self._delta.screened.connection
        number = self._delta.screened.number(self._line.audience.key)
        ids = pa.array(range(first_id, first_id + rows.num_rows), pa.int64())
        engine.register("just_sent", rows.append_column("member_id", ids))
        ask(
            engine,
            "INSERT INTO sent SELECT $audience, digest, account_token, person_token, row_no, member_id FROM just_sent",
            {"audience": number},
        )
        engine.unregister("just_sent")

    def _mark_leaving(self, rows: pa.Table) -> None:
        """Whoever is being removed is not found by the next look again, and does not join in this run."""
        self._left.append(rows.column("digest"))
        engine = self._delta.screened.connection
        number = self._delta.screened.number(self._line.audience.key)
        engine.register("just_left", rows)
        mine = "audience_no = $audience AND digest IN (SELECT digest FROM just_left)"
        ask(engine, f"DELETE FROM sent WHERE {mine}", {"audience": number})  # noqa: S608 (ours)
        ask(engine, f"UPDATE held SET removing = true WHERE {mine}", {"audience": number})  # noqa: S608 (ours)
        engine.unregister("just_left")
