"""Judging: steps (2) to (4) of `sync`: what is known, who is eligible, what would leave and join, and what holds it.

A plan is this and nothing else. It sends nothing but status questions; with `tools` it writes down what the platforms answered.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from nestaudience.config.settings import Audience
from nestaudience.customers.contract import FEED_STATUS
from nestaudience.customers.port import Snapshot, StoreProblem
from nestaudience.delivery.deliver import Tools
from nestaudience.delivery.held import Held, read_held
from nestaudience.delivery.lists import code_of
from nestaudience.delivery.settle import Asked, ask, write_down
from nestaudience.delta.gates import Limits
from nestaudience.delta.plan import AudiencePlan, Delta, work_out
from nestaudience.delta.stops import closed_gates
from nestaudience.errors import NestAudienceError
from nestaudience.ledger.memory import RemoteList
from nestaudience.parts import Parts
from nestaudience.screening.engine import open_engine
from nestaudience.screening.intake import Intake, read_all
from nestaudience.screening.screen import Screened, screen
from nestaudience.vocabulary import STOCKHOLM, AudienceKey

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
    problems: tuple[StoreProblem, ...]
    unreachable: tuple[NestAudienceError, ...]

    @property
    def plans(self) -> tuple[AudiencePlan, ...]:
        """Every audience's plan, in the configuration's order."""
        return tuple(self.delta.plans.values())


@contextmanager
def judge(parts: Parts, now: datetime, note: Note = silent, *, tools: Tools | None = None) -> Iterator[Judged]:
    """Steps (2) to (4). Without `tools` nothing is written anywhere, and nothing but status questions is sent."""
    settings, memory = parts.settings, parts.memory
    lists = {remote.list_no: remote for remote in memory.lists()}
    # (2) What became of earlier requests. A plan takes the answers into account without keeping them.
    asked = ask(memory, lists, parts.destinations, now)
    if tools is not None:
        write_down(asked.answered, lists, tools, now)
    held = read_held(memory, now, None if tools else asked.states())
    # (3) One snapshot, judged.
    audiences = tuple(settings.audiences.values())
    remotes, renumbered = _lists_of(parts, lists.values())
    gone = frozenset(key for key, remote in remotes.items() if remote.state == "gone")
    numbers = {remotes[a.key].list_no: n for n, a in enumerate(audiences) if a.key in remotes}
    with open_engine(parts.limits) as engine:
        reading = Reading(parts, now)
        screened = screen(
            engine,
            reading.into,
            rules=settings.rules(),
            audiences=[a.rule for a in audiences],
            tokens=parts.tokens,
            now=now,
            held=held.for_engine(numbers),
            progress=lambda view, rows: note("read", view, rows),
        )
        # (4) What would leave and join, and what holds it.
        stopped = closed_gates(
            settings,
            screened,
            reading.problems,
            absent=frozenset(parts.absent),
            gone=gone,
            renumbered=renumbered,
            today=now.astimezone(STOCKHOLM).date(),
        )
        ever = memory.ever_filled()
        delta = work_out(screened, {a.key: _limits(parts, a, remotes, ever) for a in audiences}, stopped)
        yield Judged(asked, held, screened, delta, remotes, tuple(reading.problems), (*asked.errors, *reading.failures))


def _lists_of(parts: Parts, lists: Iterable[RemoteList]) -> tuple[dict[AudienceKey, RemoteList], frozenset[AudienceKey]]:
    """Each audience's list, and those audiences whose list stands under another number than the configuration gives.

    Another number means another list, once the old one is gone; until then the old one is kept in line.
    """
    bound = {remote.audience: remote for remote in lists}
    known = {key: audience for key, audience in parts.settings.audiences.items() if key in bound}
    renumbered = {key for key, audience in known.items() if bound[key].code != code_of(audience, parts.keys)}
    remotes = {key: bound[key] for key in known if key not in renumbered or bound[key].state != "gone"}
    return remotes, frozenset(renumbered & remotes.keys())


class Reading:
    """One snapshot of the store on its way into the engine, and what was wrong with it."""

    def __init__(self, parts: Parts, now: datetime) -> None:
        self._parts = parts
        self._now = now
        self.problems: list[StoreProblem] = []
        self.failures: list[NestAudienceError] = []

    def into(self, intake: Intake) -> None:
        """Read everything. A store that fails judges nobody: what is owed still leaves, and a gate holds the rest."""
        audiences = self._parts.settings.audiences.values()
        segments = frozenset((a.controller.key, a.segment.code) for a in audiences)
        try:
            with self._parts.store.snapshot() as snapshot:
                self.problems.extend(_problems(self._parts, snapshot))
                read_all(intake, snapshot, segments, self._now)
        except NestAudienceError as error:
            self.failures.append(error.with_traceback(None))
            self.problems.append(StoreProblem(error.code, error.where, error.next_step))


def _limits(parts: Parts, audience: Audience, remotes: dict[AudienceKey, RemoteList], ever: frozenset[int]) -> Limits:
    gates = parts.settings.gates
    remote = remotes.get(audience.key)
    return Limits(
        smallest=parts.settings.smallest_list(audience.key),
        change_percent=gates.change_percent,
        change_people=gates.change_people,
        ever_held=remote is not None and remote.list_no in ever,
    )


def _problems(parts: Parts, snapshot: Snapshot) -> list[StoreProblem]:
    """What is wrong with the store as a whole: missing views and columns, and a store of another environment."""
    found = [problem for problem in snapshot.problems if not problem.is_warning]
    environments = set()
    for sheet in snapshot.read(FEED_STATUS):
        environments |= set(sheet.facts.column("environment").unique().to_pylist())
    if environments - {parts.settings.environment.value}:
        found.append(StoreProblem("environment", "feed_status.environment", "name the store of this environment"))
    return found
