"""The one path: bring every list into line with consent, now. Read this first.

    (1) start      take the writer's lease, say that the run began, accept the configuration when it has no problem
                   after a recovery: delete the lists on which there may be people whom the ledger does not know
    (2) settle     ask the platforms what became of earlier requests
    (3) screen     one snapshot of the store -> digests and tokens -> eligible, or refused with reasons
    (4) compare    wanted against held -> removals and additions; gates hold some of them
    (5) remove     every list's removals, noes first, before anybody joins anywhere
    (6) add        list by list, batch by batch, each after its last look
    (7) close      lists that were being emptied and hold nobody any more are deleted
    (8) finish     forget what is gone, say what happened

Safe to repeat: a run that was cut off is followed by the next, which starts from what the ledger knows. One failure stops one thing: what goes
wrong with a list, a destination or a part of the configuration is written down, and the others go on. `plan` is (2) to (4) without a write; a
backfill is the same path with a filter.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import nestaudience
from nestaudience.config.load import to_text
from nestaudience.config.settings import Audience
from nestaudience.delivery.deliver import Delivery, Line, Sent, Tools
from nestaudience.delivery.fields import funnel_fields, intent_fields
from nestaudience.delivery.last_look import LastLook
from nestaudience.delivery.lists import begin_anew, bind_list, confirm_list, delete_list, report_strangers
from nestaudience.delivery.salts import Salts
from nestaudience.delta.gates import Gate
from nestaudience.destinations.port import Account, Destination
from nestaudience.errors import NeedsFix, NestAudienceError, TryAgain
from nestaudience.jobs import NIGHTLY, Job
from nestaudience.judging import Judged, Note, judge, settle, silent
from nestaudience.ledger.anchor import anchor
from nestaudience.ledger.checkpoint import SignedCheckpoint
from nestaudience.ledger.entries import Context, EntryType, Value, utc_text, uuid7
from nestaudience.ledger.lease import WRITER, Lease, leased
from nestaudience.ledger.log import TransferLog
from nestaudience.ledger.memory import RECOVERING, RemoteList
from nestaudience.parts import Parts
from nestaudience.vocabulary import STOCKHOLM, AudienceKey, Operation, Purpose, RunId


@dataclass(slots=True)
class Outcome:
    """What a run did, in keys and counts."""

    run_id: RunId
    night: str
    sent: dict[AudienceKey, Sent] = field(default_factory=dict)
    errors: list[NestAudienceError] = field(default_factory=list)
    gates: dict[AudienceKey, tuple[Gate, ...]] = field(default_factory=dict)
    closed: list[AudienceKey] = field(default_factory=list)
    begun_anew: list[AudienceKey] = field(default_factory=list)
    settled: int = 0
    waiting: int = 0
    checkpoint: str = ""

    @property
    def exit_codes(self) -> tuple[int, ...]:
        """Every exit code that something in this run asks for, 0 when nothing does."""
        codes = {error.exit_code for error in self.errors}
        codes |= {4 for sent in self.sent.values() if sent.unknown}
        codes |= {gate.exit_code for gates in self.gates.values() for gate in gates}
        return tuple(sorted(codes | {0}))

    @property
    def exit_code(self) -> int:
        """The highest of them."""
        return max(self.exit_codes)


class Run:
    """One run that writes. Use as a context manager; call `judge`, `remove` and `add` in this order, for every audience."""

    def __init__(
        self, parts: Parts, job: Job = NIGHTLY, *, actor: str = "cli", note: Note = silent, patience: timedelta = timedelta(0)
    ) -> None:
        self.parts = parts
        self.note = note
        self.job = job
        self._actor = actor
        self._patience = patience
        self._stack = ExitStack()
        self._leases: list[Lease] = []
        self._owed: set[AudienceKey] = set()
        self.started: datetime
        self.outcome: Outcome
        self.judged: Judged
        self.log: TransferLog
        self.tools: Tools
        self._salts: Salts
        self._look: LastLook

    def __enter__(self) -> "Run":
        """(1) Lease, log, configuration. What goes wrong frees the lease again."""
        parts = self.parts
        run_id = RunId(uuid7(parts.clock(), parts.randomness(10)))
        with ExitStack() as stack:
            waiting = leased(parts.evidence.engine, WRITER, run_id, parts.clock, patience=self._patience)
            self._leases.append(stack.enter_context(waiting))
            self.started = parts.clock()
            self.outcome = Outcome(run_id, self.started.astimezone(STOCKHOLM).date().isoformat())
            self._begin()
            self._stack = stack.pop_all()
        return self

    def _begin(self) -> None:
        parts = self.parts
        self.log = parts.open_log()
        self.tools = Tools(
            self.log,
            parts.memory,
            parts.keys,
            parts.tokens,
            parts.clock,
            parts.randomness,
            self._context,
            self._told,
        )
        settings = parts.settings
        begun: dict[str, Value] = {"night": self.outcome.night, "environment": settings.environment.value, **self.job.fields()}
        entries: list[tuple[EntryType, Context, dict[str, Value]]] = [(EntryType.RUN_STARTED, self._context(""), begun)]
        known = parts.memory.accepted_config()
        text = to_text(settings.document)
        accept = not settings.problems and known != text
        if accept:
            entries.append((EntryType.CONFIG_CHANGED, self._context(""), {"new_digest": settings.digest, "first": known is None}))
        self.log.append_and_seal(
            entries, lambda c, _: parts.memory.accept_config(c, settings.digest, text, self.started) if accept else None
        )
        for error in parts.absent.values():
            self.outcome.errors.append(error)

    def _told(self, audience: str, operation: str, people: int) -> None:
        """After every request: the run is still at work, so nobody may take its leases."""
        for lease in self._leases:
            lease.renew()
        self.note(operation, audience, people)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def recover(self) -> None:
        """Delete the lists of which a restored ledger does not know who is on them, so that they begin anew; nothing to do otherwise.

        Errors are kept in the outcome: a list that could not be deleted stays marked, and nobody joins it. A platform that is down is asked once.
        """
        down: set[str] = set()
        for remote in self.parts.memory.lists():
            if remote.state != RECOVERING or remote.destination in down:
                continue
            failure: NestAudienceError | None = None
            try:
                with leased(self.parts.evidence.engine, f"list:{remote.audience}", self.outcome.run_id, self.parts.clock):
                    begin_anew(remote, self.parts.settings.audiences.get(remote.audience), self._way_to(remote), self.tools)
            except NestAudienceError as error:
                failure = error.with_traceback(None)
            if failure is None:
                self.outcome.begun_anew.append(remote.audience)
                continue
            if failure.code.startswith("ledger_"):
                raise failure
            self.outcome.errors.append(failure)
            if isinstance(failure, TryAgain) and failure.code != "leased":
                down.add(remote.destination)
        if self.outcome.begun_anew:
            self._report_strangers()

    def _report_strangers(self) -> None:
        """Lists on our accounts that neither the restored ledger nor the configuration knows: a person must look at them."""
        for bound in self.parts.settings.ad_accounts:
            destination = self.parts.destinations.get(bound.destination)
            failure: NestAudienceError | None = None
            try:
                if destination is not None:
                    report_strangers(Account(bound.account_id, bound.login_account_id), destination, self.tools)
            except NestAudienceError as error:
                failure = error.with_traceback(None)
            if failure is not None:
                self.outcome.errors.append(failure)

    def _way_to(self, remote: RemoteList) -> Destination:
        name = remote.destination
        if name in self.parts.absent:
            raise self.parts.absent[name]
        if name not in self.parts.destinations:
            raise NeedsFix(
                "destination_absent", name, "put the destination back into the configuration; a list there must be deleted"
            )
        return self.parts.destinations[name]

    def settle(self) -> int:
        """(2) alone, for a run that does nothing else: how many requests have a result now."""
        asked = settle(self.parts, self.started, self.tools)
        self.outcome.settled, self.outcome.waiting = len(asked.answered), asked.waiting
        self.outcome.errors += asked.errors
        return len(asked.answered)

    def judge(self) -> tuple[AudienceKey, ...]:
        """What is left of a recovery, (2) to (4), and the entries that say so. The audiences in the job's scope, in order."""
        self.recover()
        self.judged = self._stack.enter_context(judge(self.parts, self.started, self.note, tools=self.tools, job=self.job))
        judged, outcome = self.judged, self.outcome
        outcome.settled, outcome.waiting = len(judged.asked.answered), judged.asked.waiting
        outcome.errors += judged.unreachable
        counts: dict[str, Value] = dict(judged.screened.counts)
        codes = sorted({problem.code for problem in judged.problems})
        snapshot: dict[str, Value] = {"taken_at": utc_text(self.started), "counts": counts, "problems": codes}
        entries: list[tuple[EntryType, Context, dict[str, Value]]] = [(EntryType.SNAPSHOT, self._context(""), snapshot)]
        for plan in judged.plans:
            outcome.gates[plan.key] = plan.gates
            outcome.sent[plan.key] = Sent()
            audience = self.parts.settings.audiences[plan.key]
            entries.append((EntryType.FUNNEL, self._context(audience.controller.key), funnel_fields(plan)))
        self.log.append(entries)
        self._salts = Salts(judged.screened.connection, self.parts.memory, self.parts.randomness)
        self._look = LastLook(self.parts.store, judged.screened, self.parts.settings.rules(), self.parts.tokens, self.parts.clock)
        self._stack.callback(self._look.close)
        return tuple(plan.key for plan in judged.plans)

    def remove(self, key: AudienceKey) -> None:
        """(5) One list's removals. Errors are kept in the outcome; the other lists go on."""
        plan = self.judged.delta.plans[key]
        if plan.removals_to_send:
            self._salts.admit("SELECT person_token FROM removal")
            if not self._deliver(key, lambda delivery: delivery.remove(self._intent(key))):
                self._owed.add(key)

    def add(self, key: AudienceKey) -> None:
        """(6) One list's additions, unless a gate holds them or its removals could not be sent: nobody joins a list that somebody must
        leave. Errors are kept in the outcome; the other lists go on.
        """
        plan = self.judged.delta.plans[key]
        if plan.additions_to_send and key not in self._owed:
            self._salts.admit(f"SELECT person_token FROM addition WHERE audience_no = {self.judged.screened.number(key)}")  # noqa: S608
            self._deliver(key, lambda delivery: delivery.add(self._intent(key)))

    def close_lists(self) -> None:
        """(7) Delete lists that were being emptied and hold nobody any more, by the platform's own word. Errors are kept in the outcome."""
        bound = {key: self.judged.remotes[key] for key in self.judged.endings if key in self.judged.remotes}
        if not bound:
            return
        sizes = self.parts.memory.sizes(self.parts.clock())
        for key, remote in bound.items():
            if sizes.get(remote.list_no):
                continue
            if self._holding(key, lambda line: delete_list(line.remote, line.destination, self.tools)):
                self.outcome.closed.append(key)

    def finish(self) -> Outcome:
        """(8) Forget what is gone, and say what happened."""
        self.parts.memory.forget_gone(self.parts.clock())
        outcome = self.outcome
        fields: dict[str, Value] = {
            "night": outcome.night,
            "outcome": "done" if outcome.exit_code == 0 else "not_clean",
            "exit_codes": list(outcome.exit_codes),
            "removed": sum(sent.removed for sent in outcome.sent.values()),
            "added": sum(sent.added for sent in outcome.sent.values()),
            "batches": sum(sent.batches for sent in outcome.sent.values()),
            "closed": list(outcome.closed),
            "errors": sorted({error.code for error in outcome.errors}),
        }
        _, signed = self.log.append_and_seal([(EntryType.RUN_FINISHED, self._context(""), fields)])
        outcome.checkpoint = signed.note
        place = self.parts.settings.ledger.anchor_directory
        if place is not None:
            self._anchor(self.parts.evidence.base / place, signed)
        return outcome

    def _anchor(self, directory: Path, signed: SignedCheckpoint) -> None:
        """Let the checkpoint leave this machine, and say so in the log. A failure is kept in the outcome; the run is over."""
        failure: NestAudienceError | None = None
        try:
            anchor(directory, signed)
        except NestAudienceError as error:
            failure = error.with_traceback(None)
        if failure is not None:
            self.outcome.errors.append(failure)
            return
        fields: dict[str, Value] = {"kind": "directory", "size": signed.size, "root": signed.root.hex()}
        self.log.append_and_seal([(EntryType.ANCHOR, self._context(""), fields)])

    def _deliver(self, key: AudienceKey, work: Callable[[Delivery], None]) -> bool:
        """Deliver to one list; True when all went well."""

        def deliver(line: Line) -> None:
            delivery = Delivery(line, self.judged.delta, self.judged.held, self._salts, self._look, self.tools)
            delivery.sent = self.outcome.sent[key]
            work(delivery)

        return self._holding(key, deliver)

    def _holding(self, key: AudienceKey, work: Callable[[Line], None]) -> bool:
        """Work on a list while holding its lease; True when all went well. What goes wrong stops this list only."""
        failure: NestAudienceError | None = None
        try:
            with leased(self.parts.evidence.engine, f"list:{key}", self.outcome.run_id, self.parts.clock) as lease:
                self._leases.append(lease)
                work(self._line(key))
        except NestAudienceError as error:
            failure = error.with_traceback(None)
        del self._leases[1:]
        if failure is not None:
            self.outcome.errors.append(failure)
            if failure.code.startswith("ledger_"):
                raise failure
        return failure is None

    def _line(self, key: AudienceKey) -> Line:
        """The way to a list: opened, bound, and confirmed to be there by the platform itself."""
        audience = self.parts.settings.audiences[key]
        name = audience.table.destination
        if name in self.parts.absent:
            raise self.parts.absent[name]
        destination = self.parts.destinations[name]
        remote = self.judged.remotes.get(key)
        if remote is None:
            remote = bind_list(audience, destination, self.tools)
            self.judged.remotes[key] = remote
        else:
            confirm_list(audience, remote, destination, self.tools)
        size = min(destination.batch_size, self.parts.settings.destinations[name].batch_size)
        return Line(audience, remote, destination, size)

    def _intent(self, key: AudienceKey) -> Callable[[str, Operation, int], None]:
        audience = self.parts.settings.audiences[key]

        def record(transfer: str, operation: Operation, people: int) -> None:
            fields = intent_fields(audience, self.judged.remotes[key], transfer, operation, people)
            if operation is Operation.ADD:
                fields |= {"consent_texts": self._texts_for(audience)}
            self.log.append_and_seal([(EntryType.TRANSFER_INTENT, self._context(audience.controller.key), fields)])

        return record

    def _texts_for(self, audience: Audience) -> list[str]:
        """The texts under which somebody of this audience may have consented."""
        return sorted(
            text.version
            for text in self.parts.settings.texts
            if Purpose.AD_MATCHING in text.purposes
            and audience.controller.key in text.controllers
            and audience.recipient.key in text.recipients
        )

    def _context(self, controller: str) -> Context:
        settings = self.parts.settings
        return Context(
            run_id=self.outcome.run_id,
            run_kind=self.job.kind,
            controller=controller,
            policy_version=settings.policy.version,
            software_version=nestaudience.__version__,
            commit=self.parts.commit,
            config_digest=settings.digest,
            actor=self._actor,
        )


def run(
    parts: Parts, job: Job = NIGHTLY, *, actor: str = "cli", note: Note = silent, patience: timedelta = timedelta(0)
) -> Outcome:
    """A whole run, in one call: steps (1) to (8). The nightly one when nothing else is ordered."""
    with Run(parts, job, actor=actor, note=note, patience=patience) as this:
        return through(this)


def through(run: Run) -> Outcome:
    """Steps (2) to (8) of a run that has begun."""
    audiences = run.judge()
    for key in audiences:
        run.remove(key)
    for key in audiences:
        run.add(key)
    run.close_lists()
    return run.finish()
