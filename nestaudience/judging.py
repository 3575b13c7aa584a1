"""Judging: steps (2) to (4) of `sync`: what is known, who is eligible, what would leave and join, and what holds it.

A plan is this and nothing else. It sends nothing but status questions; with `tools` it writes down what the platforms answered.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import pyarrow as pa

from nestaudience.accepted import ACCEPTED_BY, accepted_last
from nestaudience.config.settings import Audience
from nestaudience.customers.port import StoreProblem
from nestaudience.delivery.deliver import Tools
from nestaudience.delivery.filling import first_fills
from nestaudience.delivery.held import Held, read_held
from nestaudience.delivery.lists import code_of, is_elsewhere
from nestaudience.delivery.settle import Asked, ask, write_down
from nestaudience.delta.approvals import EMPTIED
from nestaudience.delta.feeds import Facts, feed_gates
from nestaudience.delta.gates import Gate, Limits
from nestaudience.delta.plan import AudiencePlan, Delta, Orders, work_out
from nestaudience.delta.stops import FORGETFUL, ListStates, closed_gates, ending_of
from nestaudience.errors import NestAudienceError
from nestaudience.feed_facts import Told, facts_of, told_by
from nestaudience.interrupting import never
from nestaudience.jobs import NIGHTLY, Job
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.log import LogReader
from nestaudience.ledger.memory import RECOVERING, RemoteList
from nestaudience.parts import Parts
from nestaudience.releasing import in_force
from nestaudience.remembering import recall
from nestaudience.screening.engine import Connection, open_engine
from nestaudience.screening.intake import Intake, read_all
from nestaudience.screening.recall import Recall
from nestaudience.screening.screen import Screened, screen
from nestaudience.verdict import Verdict
from nestaudience.vocabulary import STOCKHOLM, AudienceKey, Mode, RunId

_NO_MORE: Final = frozenset({"gone", "closed"})
RETRACT_ONLY: Final = Gate(
    "retract", additions=True, ordinary=True, next_step="nothing: this run only takes an earlier one back", exit_code=0
)
ANOTHER_ENVIRONMENT: Final = StoreProblem("environment", "feed_status.environment", "name the store of this environment")
Note = Callable[[str, str, int], None]
"""Progress: a step, a key, and how many rows or people were just done."""


def silent(step: str, key: str, done: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Steps (2) to (4): what is known, who is eligible, what would leave and join."""

    asked: Asked
    held: Held
    screened: Screened
    delta: Delta
    remotes: dict[AudienceKey, RemoteList]
    endings: Mapping[AudienceKey, str]
    """The audiences whose lists are being emptied, to be deleted then, and why."""
    problems: tuple[StoreProblem, ...]
    unreachable: tuple[NestAudienceError, ...]
    seen_all: bool
    """True when the store showed everything that it was asked for: whatever stands in it up to then has been judged."""
    facts: Facts | None = None
    """What the store said of its feeds; None where nobody asked."""
    freshness_unknown: bool = False
    """Somebody decided that lists are kept without knowing how fresh the store is."""

    @property
    def verdict(self) -> Verdict:
        """The same in keys and counts."""
        codes, counts = tuple(problem.code for problem in self.problems), self.screened.counts
        return Verdict(self.plans, self.endings, counts, codes, self.unreachable, self.seen_all, self.facts)

    @property
    def plans(self) -> tuple[AudiencePlan, ...]:
        """Every audience's plan, in the configuration's order."""
        return tuple(self.delta.plans.values())


@contextmanager
def judge(
    parts: Parts, now: datetime, note: Note = silent, *, tools: Tools | None = None, job: Job = NIGHTLY
) -> Iterator[Judged]:
    """Steps (2) to (4), for the audiences in the job's scope.

    Without `tools` nothing is written anywhere, and nothing but status questions is sent.
    """
    # (2) What became of earlier requests. A plan takes the answers into account without keeping them.
    asked = settle(parts, now, tools)
    with screen_and_compare(parts, now, asked, None if tools else asked.states(), note, job=job) as judged:
        yield judged


@contextmanager
def screen_and_compare(
    parts: Parts,
    now: datetime,
    asked: Asked,
    news: Mapping[int, str] | None = None,
    note: Note = silent,
    *,
    job: Job = NIGHTLY,
    controller: str | None = None,
) -> Iterator[Judged]:
    """Steps (3) and (4), for the audiences in the job's scope, or one controller's of them; everybody's noes are read all the same. `news` are
    answers that are not written down. It writes and sends nothing.
    """
    settings = parts.settings
    held = read_held(parts.memory, now, news)
    # (3) One snapshot, judged.
    audiences = tuple(a for a in settings.audiences.values() if job.scope.takes(a) and controller in {None, a.controller.key})
    today = now.astimezone(STOCKHOLM).date()
    remotes, states = lists_of(parts, today)
    numbers = numbered(audiences, remotes)
    with open_engine(parts.limits) as engine:
        reading = Reading(parts, now, controller)
        screened = reading.screened(engine, audiences, held.for_engine(numbers), recalled := recall(parts), note)
        # (4) What would leave and join, and what holds it.
        facts, feeds = _feeds(parts, screened, reading, now)
        stopped = closed_gates(settings, screened, reading.problems, frozenset(parts.absent), states, today, feeds)
        limits = limits_of(parts, remotes, tuple(audience.key for audience in audiences), now, news)
        everywhere = [gate for gate, shut in ((RETRACT_ONLY, job.mode is Mode.RETRACT), (FORGETFUL, recalled.missing)) if shut]
        stopped = {key: (*gates, *everywhere) for key, gates in stopped.items()}
        delta = work_out(screened, limits, stopped, _orders(parts, held, states, job), in_force(parts.evidence.reader, now))
        told = (tuple(reading.problems), (*asked.errors, *reading.failures), reading.complete, facts, settings.freshness_unknown)
        yield Judged(asked, held, screened, delta, remotes, _endings(states, audiences), *told)


def settle(parts: Parts, now: datetime, tools: Tools | None) -> Asked:
    """Step (2): ask the platforms what became of earlier requests; with `tools` the answers are written down."""
    lists = {remote.list_no: remote for remote in parts.memory.lists()}
    asked = ask(parts.memory, lists, parts.destinations, now, tools.interrupted if tools is not None else never)
    if tools is not None:
        write_down(asked.answered, lists, tools, now)
    return asked


def lists_of(parts: Parts, today: date) -> tuple[dict[AudienceKey, RemoteList], ListStates]:
    """Each audience's list, and how the lists stand.

    Another number than the configuration gives means another list, once the old one is gone; until then the old one is kept in line.
    """
    bound = {remote.audience: remote for remote in parts.memory.lists()}
    audiences = parts.settings.audiences
    known = {key: audience for key, audience in audiences.items() if key in bound}
    renumbered = {key for key, audience in known.items() if bound[key].code != code_of(audience, parts.keys)}
    remotes = {key: bound[key] for key in known if key not in renumbered or bound[key].state not in _NO_MORE}
    endings = {}
    for key, audience in audiences.items():
        state = remotes[key].state if key in remotes else ""
        named = ending_of(audience, state, today) or parts.settings.emptied.get(key)
        ending = None if state in _NO_MORE or state == RECOVERING else named
        if ending is not None:
            endings[key] = ending
    states = ListStates(
        gone=frozenset(key for key, remote in remotes.items() if remote.state == "gone"),
        closed=frozenset(key for key, remote in remotes.items() if remote.state == "closed"),
        renumbered=frozenset(renumbered & remotes.keys()),
        elsewhere=frozenset(key for key, remote in remotes.items() if is_elsewhere(audiences[key], remote)),
        recovering=frozenset(key for key, remote in remotes.items() if remote.state == RECOVERING),
        endings=endings,
    )
    return remotes, states


def numbered(audiences: Iterable[Audience], remotes: Mapping[AudienceKey, RemoteList]) -> dict[int, int]:
    """List number -> the place of its audience among these; audiences without a list are left out."""
    return {remotes[audience.key].list_no: place for place, audience in enumerate(audiences) if audience.key in remotes}


def _endings(states: ListStates, audiences: tuple[Audience, ...]) -> dict[AudienceKey, str]:
    """Why lists of these audiences are being emptied, to be deleted then."""
    ends = {key: ending for key, ending in states.endings.items() if ending not in EMPTIED}
    return {audience.key: ends[audience.key] for audience in audiences if audience.key in ends}


def _orders(parts: Parts, held: Held, states: ListStates, job: Job) -> Orders:
    """What was ordered beyond bringing lists into line."""
    retracted = None
    if job.retracts is not None:
        retracted = held.added_by(parts.memory.additions_of(transfers_of(parts.evidence.reader, job.retracts)))
    return Orders(frozenset(states.endings), retracted, job.mode in {Mode.RESEND, Mode.REPLACE})


def transfers_of(reader: LogReader, run_id: RunId) -> dict[str, AudienceKey]:
    """Transfer id -> audience of everything that a run began to send."""
    intents = reader.entries(types=frozenset({EntryType.TRANSFER_INTENT}))
    return {
        str(entry["fields"]["transfer_id"]): AudienceKey(str(entry["fields"]["audience"]))
        for entry in intents
        if entry["run_id"] == run_id
    }


def _feeds(
    parts: Parts, screened: Screened, reading: "Reading", now: datetime
) -> tuple[Facts, dict[AudienceKey, tuple[Gate, ...]]]:
    """What the store said of its feeds, and the gates that this closes, measured by what was accepted last."""
    keys = tuple(audience.key for audience in screened.audiences)
    facts = facts_of(reading.told, screened, parts.settings, whole=reading.complete)
    accepted = accepted_last(parts.evidence.reader.entries(types=ACCEPTED_BY), keys)
    funnels = {key: screened.funnel(key) for key in keys}
    people = {key: (funnel.candidates, funnel.eligible) for key, funnel in funnels.items()}
    return facts, feed_gates(parts.settings, facts, accepted, people, now)


class Reading:
    """One snapshot of the store on its way into the engine, and what was wrong with it."""

    def __init__(self, parts: Parts, now: datetime, controller: str | None = None) -> None:
        self._parts = parts
        self._now = now
        self._controller = controller
        self.told = Told()
        self.problems: list[StoreProblem] = []
        self.failures: list[NestAudienceError] = []

    @property
    def complete(self) -> bool:
        """True when nothing kept the store from being read in whole."""
        return not self.failures and all(problem.code == "environment" for problem in self.problems)

    def screened(
        self, engine: Connection, audiences: Iterable[Audience], held: Iterable[pa.Table], recalled: Recall, note: Note
    ) -> Screened:
        """Everybody, judged by the rules and by what memory keeps."""
        return screen(
            engine,
            self.into,
            rules=self._parts.settings.rules(),
            audiences=[audience.rule for audience in audiences],
            tokens=self._parts.tokens,
            now=self._now,
            held=held,
            recall=recalled,
            progress=lambda view, rows: note("read", view, rows),
        )

    def into(self, intake: Intake) -> None:
        """Read everything. A store that fails judges nobody: what is owed still leaves, and a gate holds the rest."""
        audiences = self._parts.settings.audiences.values()
        mine = (a for a in audiences if self._controller in {None, a.controller.key})
        segments = frozenset((a.controller.key, a.segment.code) for a in mine)
        try:
            with self._parts.store.snapshot() as snapshot:
                self.problems += [each for each in snapshot.problems if not each.is_warning and not each.is_about_status]
                self.told = told_by(snapshot, self._parts.settings, self._parts.clock)
                if self.told.environments - {self._parts.settings.environment.value}:
                    self.problems.append(ANOTHER_ENVIRONMENT)
                read_all(intake, snapshot, segments, self._now)
        except NestAudienceError as error:
            self.failures.append(error.with_traceback(None))
            self.problems.append(StoreProblem(error.code, error.where, error.next_step))
        intake.whole = self.complete


def limits_of(
    parts: Parts,
    remotes: Mapping[AudienceKey, RemoteList],
    keys: tuple[AudienceKey, ...],
    now: datetime,
    news: Mapping[int, str] | None,
) -> dict[AudienceKey, Limits]:
    """The limits of each list's brakes. `news` are results of requests that are known and not written down."""
    gates = parts.settings.gates
    fills = first_fills(parts.memory, remotes, keys, gates.probe_people, now, news)
    return {
        key: Limits(
            smallest=parts.settings.smallest_list(key),
            change_percent=gates.change_percent,
            change_people=gates.change_people,
            ever_held=key not in fills,
            first_fill=fills.get(key),
        )
        for key in keys
    }
