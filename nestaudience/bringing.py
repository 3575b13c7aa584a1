"""Bringing lists into line in the process that judged them: steps (5) and (6) of `sync`, and the last step of (7), each list under its lease.

What goes wrong with a list is kept, and the others go on. It decides nothing about people: what leaves and joins stands in the plans.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from nestaudience.delivery.climbing import Climber, Climbing
from nestaudience.delivery.clocks import recorded_to_visible
from nestaudience.delivery.deliver import Delivery, Line, Tools
from nestaudience.delivery.fields import intent_fields, texts_for
from nestaudience.delivery.filling import fill, opened
from nestaudience.delivery.last_look import LastLook
from nestaudience.delivery.lists import bind_list, confirm_list
from nestaudience.delivery.salts import Salts
from nestaudience.delivery.sweeps import refused, replacing, why_not
from nestaudience.delta.feeds import stale
from nestaudience.errors import NestAudienceError
from nestaudience.interrupting import interruption
from nestaudience.jobs import Job
from nestaudience.judging import Judged
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.lease import Lease, leased
from nestaudience.ledger.memory import RemoteList
from nestaudience.outcome import Outcome
from nestaudience.parts import Parts
from nestaudience.vocabulary import AudienceKey, KillSwitch, Mode, Operation, Purpose
from nestaudience.withdrawals import watermarks


@dataclass(slots=True)
class Lists:
    """The lists of a run and what became of them so far. `owner` holds their leases; `leases` are renewed after every request. `owed`: lists that did
    not get all their removals; `first_send`: when the first of them could be sent (UTC).
    """

    parts: Parts
    job: Job
    tools: Tools
    outcome: Outcome
    remotes: dict[AudienceKey, RemoteList]
    owner: str
    leases: list[Lease]
    owed: set[AudienceKey]
    elsewhere: set[AudienceKey]
    first_send: datetime | None = None
    lease: Lease | None = None
    """The lease of the one list at hand, where whoever called holds it already."""

    @property
    def halted(self) -> bool:
        """True when nothing may be sent at all, and no list made or deleted; what became of earlier requests is still asked."""
        return self.parts.settings.kill_switch is KillSwitch.EVERYTHING

    def holding(self, key: AudienceKey, work: Callable[[Line], None], watermark: datetime | None = None) -> bool:
        """Work on a list while holding its lease; True when all went well. What goes wrong stops this list only; a ledger that fails stops all."""
        failure: NestAudienceError | None = None
        if self.tools.interrupted():
            if not any(error.code == "interrupted" for error in self.outcome.errors):
                self.outcome.errors.append(interruption(key))
            return False
        others = len(self.leases)
        try:
            with nullcontext(self.lease) if self.lease is not None else self._leased(key) as lease:
                self.leases.append(lease)
                work(self._line(key, watermark))
        except NestAudienceError as error:
            failure = error.with_traceback(None)
        del self.leases[others:]
        if failure is not None:
            self.outcome.errors.append(failure)
            if failure.code.startswith("ledger_"):
                raise failure
        return failure is None

    def _leased(self, key: AudienceKey) -> AbstractContextManager[Lease]:
        return leased(self.parts.evidence.engine, f"list:{key}", self.owner, self.parts.clock)

    def _line(self, key: AudienceKey, watermark: datetime | None) -> Line:
        """The way to a list: opened, bound, and confirmed to be there by the platform itself."""
        audience = self.parts.settings.audiences[key]
        name = audience.table.destination
        if name in self.parts.absent:
            raise self.parts.absent[name]
        destination = self.parts.destinations[name]
        remote = self.remotes.get(key)
        if remote is None:
            remote = bind_list(audience, destination, self.tools)
            self.remotes[key] = remote
        else:
            confirm_list(audience, remote, destination, self.tools)
        size = min(destination.batch_size, self.parts.settings.destinations[name].batch_size)
        return Line(audience, remote, destination, size, watermark)


class Bringing:
    """Brings lists into line that were judged in this process: `remove`, then `add`, for every audience. Close it."""

    def __init__(self, lists: Lists, judged: Judged, started: datetime) -> None:
        parts = lists.parts
        self._lists = lists
        self._judged = judged
        self._started = started
        self._marks: dict[str, datetime] = {}
        if any(plan.removals_to_send for plan in judged.plans):
            self._marks = watermarks(lists.tools.log)
        few = None if lists.job.since is None else judged.held.persons()
        self._salts = Salts(judged.screened.connection, parts.memory, parts.randomness, few)
        self._look = LastLook(parts.store, judged.screened, parts.settings.rules(), parts.tokens, parts.clock)

    def close(self) -> None:
        """Release what the last look holds."""
        self._look.close()

    def remove(self, key: AudienceKey) -> None:
        """(5) One list's removals. Errors are kept in the outcome; the other lists go on."""
        lists = self._lists
        lists.first_send = lists.first_send or lists.parts.clock()
        plan = self._judged.delta.plans[key]
        if plan.removals_to_send and lists.halted:
            lists.owed.add(key)
        elif plan.removals_to_send and key not in lists.elsewhere:
            self._salts.admit("SELECT person_token FROM removal")
            if self._deliver(key, lambda delivery: delivery.remove(self._intent(key))):
                lists.outcome.sent[key].times.measured["recorded_to_visible"] += recorded_to_visible(self._judged.delta, key)
            else:
                lists.owed.add(key)

    def add(self, key: AudienceKey) -> None:
        """(6) One list's additions, unless a gate holds them or its removals could not be sent: nobody joins a list that somebody must
        leave. Errors are kept in the outcome; the other lists go on.
        """
        lists, screened = self._lists, self._judged.screened
        plan, remote, tools = self._judged.delta.plans[key], lists.remotes.get(key), lists.tools
        replace = lists.job.mode is Mode.REPLACE
        if replace and not lists.halted and (why := why_not(plan, remote, owed=key in lists.owed)):
            lists.outcome.errors.append(refused(key, why))
        elif plan.additions_to_send and key not in lists.owed and not lists.halted and not self._stale(key):
            self._salts.admit(f"SELECT person_token FROM addition WHERE audience_no = {screened.number(key)}")  # noqa: S608
            gates = lists.outcome.gates
            work = partial(fill, plan=plan, remotes=lists.remotes, intent=self._intent(key), tools=tools, gates=gates)
            self._deliver(key, replacing(work, remote, tools) if replace and remote is not None else work)
        elif lists.job.since is None and remote is not None:
            opened(remote, plan, tools)

    def climb(self, key: AudienceKey) -> None:
        """(7) A list that its platform takes nobody off: whoever said no is asked off everywhere, and in the end the list is deleted."""
        lists, judged, outcome = self._lists, self._judged, self._lists.outcome
        audiences = lists.parts.settings.audiences
        here = Climbing(outcome.run_id, judged.delta, judged.held, self._salts, lists.tools, audiences)
        climber = Climber(here, self._intent(key, everywhere=True))
        lists.holding(key, climber.climb, self._mark(key))
        outcome.errors += climber.errors
        outcome.begun_anew += climber.deleted

    def _stale(self, key: AudienceKey) -> bool:
        """True when the snapshot was too old already when the first request could be sent; says so."""
        lists = self._lists
        gate = stale((lists.first_send or lists.parts.clock()) - self._started)
        if gate is not None:
            lists.outcome.gates[key] += (gate,)
            context = lists.tools.context(lists.parts.settings.audiences[key].controller.key)
            entry = (EntryType.GATE, context, {"gate": gate.code, "audience": key, "state": "closed"})
            lists.tools.log.append_and_seal([entry])
        return gate is not None

    def _deliver(self, key: AudienceKey, work: Callable[[Delivery], None]) -> bool:
        """Deliver to one list; True when all went well."""
        lists, judged = self._lists, self._judged

        def deliver(line: Line) -> None:
            sent = lists.outcome.sent[key]
            work(Delivery(line, judged.delta, judged.held, self._salts, self._look, lists.tools, sent))

        return lists.holding(key, deliver, self._mark(key))

    def _mark(self, key: AudienceKey) -> datetime | None:
        return self._marks.get(self._lists.parts.settings.audiences[key].table.destination)

    def _intent(self, key: AudienceKey, **marks: bool) -> Callable[[str, Operation, int], None]:
        lists = self._lists
        settings, tools = lists.parts.settings, lists.tools
        audience, purpose = settings.audiences[key], settings.purposes[Purpose.AD_MATCHING]

        def record(transfer: str, operation: Operation, people: int) -> None:
            fields = intent_fields(audience, lists.remotes[key], transfer, operation, people, purpose)
            if operation is Operation.ADD:
                fields |= {"consent_texts": texts_for(audience, settings)}
            tools.log.append_and_seal([(EntryType.TRANSFER_INTENT, tools.context(audience.controller.key), fields | marks)])

        return record
