"""The one path: bring every list into line with consent, now. Read this first.

    (1) start      take the writer's lease, say that the run began, accept the configuration when it has no problem
                   after a recovery: delete the lists on which there may be people whom the ledger does not know
    (2) settle     ask the platforms what became of earlier requests
    (3) screen     one snapshot of the store -> digests and tokens -> eligible, or refused with reasons
    (4) compare    wanted against held -> removals and additions; gates hold some of them
    (5) remove     every list's removals, noes first, before anybody joins anywhere
    (6) add        list by list, batch by batch, each after its last look
    (7) close      lists that were being emptied and hold nobody any more are deleted; and, in time, those that refuse to let go whoever said no
    (8) finish     forget what is gone, say what happened

Safe to repeat: a run that was cut off is followed by the next, which starts from what the ledger knows. One failure stops one thing: what goes
wrong with a list, a destination or a part of the configuration is written down, and the others go on. `plan` is (2) to (4) without a write; a
backfill is the same path with a filter.
"""

import time
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime, timedelta
from typing import Self

from nestaudience.accepting import approval_fields, config_fields
from nestaudience.anchoring import let_leave
from nestaudience.bringing import Bringing, Lists
from nestaudience.config.load import to_text
from nestaudience.delivery.deliver import Sent, Tools
from nestaudience.delivery.list_facts import note_facts
from nestaudience.delivery.lists import ELSEWHERE, WRONG_ACCOUNT, delete_list, wrong_account
from nestaudience.delivery.refused import STAYS_REFUSED
from nestaudience.delivery.settle import Answered, Asked, removal_times
from nestaudience.errors import MustStop
from nestaudience.interrupting import Interrupted, interruption, never
from nestaudience.jobs import NIGHTLY, SETTLING, Job
from nestaudience.judging import Judged, Note, judge, settle, silent
from nestaudience.ledger.entries import Context, EntryType, Value, utc_text, uuid7
from nestaudience.ledger.lease import WRITER, Lease, leased
from nestaudience.ledger.log import TransferLog
from nestaudience.ledger.memory import RemoteList
from nestaudience.lists_anew import lists_anew
from nestaudience.outcome import Outcome as Outcome  # handed on: whoever runs gets one
from nestaudience.parts import Parts
from nestaudience.remembering import remember
from nestaudience.small_lists import retire_small
from nestaudience.sweeping import sweep_what_is_due
from nestaudience.verdict import NOTHING_JUDGED, Verdict
from nestaudience.vocabulary import STOCKHOLM, AudienceKey, RunId, RunKind
from nestaudience.withdrawals import judge_withdrawals, reached


class Run:
    """One run that writes. Use as a context manager; call `judge`, `remove` and `add` in this order, for every audience."""

    def __init__(
        self,
        parts: Parts,
        job: Job = NIGHTLY,
        *,
        actor: str = "cli",
        note: Note = silent,
        patience: timedelta = timedelta(0),
        interrupted: Interrupted = never,
    ) -> None:
        self.parts = parts
        self.note = note
        self.job = job
        self._actor = actor
        self._patience = patience
        self._interrupted = interrupted
        self._stack = ExitStack()
        self._leases: list[Lease] = []
        self._answered: tuple[Answered, ...] = ()
        self.started: datetime
        self.outcome: Outcome
        self.judged: Judged
        self.verdict: Verdict = NOTHING_JUDGED
        self.lists: Lists
        self.log: TransferLog
        self.tools: Tools
        self._bringing: Bringing

    def __enter__(self) -> Self:
        """(1) Lease, log, configuration. What goes wrong frees the lease again."""
        parts = self.parts
        run_id = RunId(uuid7(parts.clock(), parts.randomness(10)))
        with ExitStack() as stack:
            waiting = leased(parts.evidence.engine, WRITER, run_id, parts.clock, patience=self._patience, sleep=self._wait)
            self._leases.append(stack.enter_context(waiting))
            self.started = parts.clock()
            night, unknown = self.started.astimezone(STOCKHOLM).date().isoformat(), parts.settings.freshness_unknown
            self.outcome = Outcome(run_id, night, freshness_unknown=unknown)
            self._begin()
            self._stack = stack.pop_all()
        return self

    def _begin(self) -> None:
        parts = self.parts
        self.log = self._open_log()
        self.tools = Tools(
            self.log,
            parts.memory,
            parts.keys,
            parts.tokens,
            parts.clock,
            parts.randomness,
            self._context,
            self._told,
            self._interrupted,
        )
        self.lists = Lists(parts, self.job, self.tools, self.outcome, {}, self.outcome.run_id, self._leases, set(), set())
        settings = parts.settings
        begun: dict[str, Value] = {"night": self.outcome.night, "environment": settings.environment.value, **self.job.fields()}
        begun["kill_switch"] = settings.kill_switch.value
        entries: list[tuple[EntryType, Context, dict[str, Value]]] = [(EntryType.RUN_STARTED, self._context(""), begun)]
        known = parts.memory.accepted_config()
        text = to_text(settings.document)
        accept = not settings.problems and known != text
        if accept:
            entries.append((EntryType.CONFIG_CHANGED, self._context(""), config_fields(settings, known)))
            approvals = approval_fields(settings, known, self.started.astimezone(STOCKHOLM).date())
            entries += [(EntryType.APPROVAL, self._context(controller), fields) for controller, fields in approvals]
        self.log.append_and_seal(
            entries, lambda c, _: parts.memory.accept_config(c, settings.digest, text, self.started) if accept else None
        )
        self.outcome.errors += parts.absent.values()
        if self.lists.halted:
            remedy = "nothing was sent, and noes are owed; set [kill_switch] to additions or off"
            self.outcome.errors.append(MustStop("kill_switch", "kill_switch.position", remedy))

    def _open_log(self) -> TransferLog:
        return self.parts.open_log()

    def _wait(self, seconds: float) -> None:
        """Wait for a lease. Raises `TryAgain`: `interrupted` when this process was asked to end meanwhile."""
        time.sleep(seconds)
        if self._interrupted():
            raise interruption(WRITER)

    def _told(self, audience: str, operation: str, people: int) -> None:
        """After every request: the run is still at work, so nobody may take its leases."""
        for lease in self._leases:
            lease.renew()
        self.note(operation, audience, people)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def recover(self) -> None:
        """What is left of a recovery: lists of which a restored ledger does not know who is on them begin anew. Nothing to do otherwise."""
        if self.lists.halted:
            return
        begun, errors = lists_anew(self.parts, self.outcome.run_id, self.tools)
        self.outcome.begun_anew += begun
        self.outcome.errors += errors

    def settle(self) -> int:
        """(2) alone, for a run that does nothing else: how many requests have a result now."""
        self.recover()
        asked = settle(self.parts, self.started, self.tools)
        self._asked(asked)
        self.outcome.errors += asked.errors
        return len(asked.answered)

    def judge(self) -> tuple[AudienceKey, ...]:
        """What is left of a recovery, (2) to (4), and the entries that say so. The audiences in the job's scope, in order."""
        self.recover()
        self.judged = self._stack.enter_context(self._judging())
        judged = self.judged
        self._asked(judged.asked)
        self.take(judged.verdict, judged.remotes)
        remember(self.parts, judged.screened, self.log, self._context(""), self.started)
        self._stop_elsewhere()
        self._bringing = Bringing(self.lists, judged, self.started)
        self._stack.callback(self._bringing.close)
        return tuple(plan.key for plan in judged.plans)

    def take(self, verdict: Verdict, remotes: dict[AudienceKey, RemoteList]) -> None:
        """What was judged becomes the run's: its entries are written, and nothing was sent yet to any of its lists."""
        self.verdict, outcome = verdict, self.outcome
        self.lists.remotes = remotes
        outcome.errors += verdict.unreachable
        snapshot = verdict.snapshot(self.started, freshness_unknown=outcome.freshness_unknown)
        entries: list[tuple[EntryType, Context, dict[str, Value]]] = [(EntryType.SNAPSHOT, self._context(""), snapshot)]
        for plan in verdict.plans:
            outcome.gates[plan.key] = plan.gates
            outcome.sent[plan.key] = Sent()
        if self.job.since is None:  # a small look has no funnel
            audiences = self.parts.settings.audiences
            funnels = verdict.funnels().items()
            entries += [(EntryType.FUNNEL, self._context(audiences[key].controller.key), fields) for key, fields in funnels]
        self.log.append(entries)

    def _asked(self, asked: Asked) -> None:
        self._answered = asked.answered
        self.outcome.settled, self.outcome.waiting = len(asked.answered), asked.waiting

    def _stop_elsewhere(self) -> None:
        """A list that the configuration looks for in another ad account than the ledger: an incident, and nothing is sent to it."""
        for plan in self.verdict.plans:
            if any(gate.code == WRONG_ACCOUNT for gate in plan.gates):
                self.lists.elsewhere.add(plan.key)
                self.lists.owed.add(plan.key)
                audience, remote = self.parts.settings.audiences[plan.key], self.lists.remotes[plan.key]
                self.outcome.errors.append(wrong_account(audience, remote.list_id, ELSEWHERE, self.tools))

    def _judging(self) -> AbstractContextManager[Judged]:
        if self.job.since is not None:
            return judge_withdrawals(self.parts, self.started, self.job.since, self.note, tools=self.tools, job=self.job)
        if self.job == SETTLING:
            raise ValueError("a run that only settles judges nobody")
        return judge(self.parts, self.started, self.note, tools=self.tools, job=self.job)

    def remove(self, key: AudienceKey) -> None:
        """(5) One list's removals. Errors are kept in the outcome; the other lists go on."""
        self._bringing.remove(key)

    def add(self, key: AudienceKey) -> None:
        """(6) One list's additions, unless a gate holds them or its removals could not be sent: nobody joins a list that somebody must
        leave. Errors are kept in the outcome; the other lists go on.
        """
        self._bringing.add(key)

    def climb(self, key: AudienceKey) -> None:
        """(7) The next step at a list whose removals its platform refused in this run."""
        self._bringing.climb(key)

    def close_lists(self) -> None:
        """(7) Delete lists that were being emptied and hold nobody any more, by the platform's own word; mark those that stayed too small for the
        next night; note what the platforms say of the others; take the next step at lists whose removals are refused. Errors are kept in the outcome.
        """
        if self.job == NIGHTLY and self.verdict.seen_all:
            smallest = self.parts.settings.smallest_list
            retire_small(self.verdict.plans, self.lists.remotes, smallest, self.outcome.night, self.tools)
        if self.job == NIGHTLY and not self._interrupted():
            audiences, lists = self.parts.settings.audiences, self.lists.remotes
            note_facts([(audiences[key], remote) for key, remote in lists.items()], self.parts.destinations, self.tools)
        if not self.lists.halted:
            self._close_emptied()
            for key in [key for key, sent in self.outcome.sent.items() if STAYS_REFUSED & sent.refused.keys()]:
                self.climb(key)

    def _close_emptied(self) -> None:
        bound = {key: self.lists.remotes[key] for key in self.verdict.endings if key in self.lists.remotes}
        if not bound:
            return
        sizes = self.parts.memory.sizes(self.parts.clock())
        for key, remote in bound.items():
            if sizes.get(remote.list_no) or key in self.lists.elsewhere:
                continue
            if self.lists.holding(key, lambda line: delete_list(line.remote, line.destination, self.tools)):
                self.outcome.closed.append(key)

    def finish(self) -> Outcome:
        """(8) Forget what is gone, and say what happened."""
        outcome = self.outcome
        if not self.lists.halted:
            outcome.errors += sweep_what_is_due(self.parts, outcome.run_id, self.tools)
        if self.job.kind is not RunKind.WITHDRAWALS:  # the hour is kept short: it reads no whole table
            self.parts.memory.forget_gone(self.parts.clock())
        fields: dict[str, Value] = {
            "night": outcome.night,
            "outcome": "done" if outcome.exit_code == 0 else "not_clean",
            "exit_codes": list(outcome.exit_codes),
            "removed": sum(sent.removed for sent in outcome.sent.values()),
            "added": sum(sent.added for sent in outcome.sent.values()),
            "batches": sum(sent.batches for sent in outcome.sent.values()),
            "closed": list(outcome.closed),
            "errors": sorted({error.code for error in outcome.errors}),
            "watermarks": dict.fromkeys(self._reached(), utc_text(self.started)),
        }
        times = removal_times(
            {key: sent.times for key, sent in outcome.sent.items()},
            self._answered,
            self.parts.settings.audiences,
            self.started,
            self.tools,
        )
        _, signed = self.log.append_and_seal([*times, (EntryType.RUN_FINISHED, self._context(""), fields)])
        outcome.checkpoint = signed.note
        place = self.parts.settings.ledger.anchor_directory
        if place is not None:
            outcome.errors += let_leave(self.parts, self.log, self._context(""), signed, self.parts.evidence.base / place)
        return outcome

    def _reached(self) -> list[str]:
        """The destinations to which every no that the store showed was sent, to all their lists."""
        if not self.verdict.seen_all:
            return []
        return reached(self.job, self.parts.settings, self.lists.owed, self.parts.absent.keys())

    def _context(self, controller: str) -> Context:
        return self.parts.context(self.outcome.run_id, self.job.kind, self._actor, controller)


def run(
    parts: Parts,
    job: Job = NIGHTLY,
    *,
    actor: str = "cli",
    note: Note = silent,
    patience: timedelta = timedelta(0),
    interrupted: Interrupted = never,
) -> Outcome:
    """A whole run, in one call: steps (1) to (8). The nightly one when nothing else is ordered. `interrupted` is asked between two requests."""
    with Run(parts, job, actor=actor, note=note, patience=patience, interrupted=interrupted) as this:
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
