"""A share of a run: one controller's lists, judged and brought into line in this process, while another process holds the run.

What is judged stays in this process's memory, under the run and the controller, until the run is over; keys and counts go in and out. A process
that is asked about a list of a controller that it did not judge judges it first, with the moment of the run. The share ends when the run does:
whoever holds the run says so, and where nobody can say it any more, the lease that is free does.
"""

import re
import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

from nestaudience.bringing import Bringing, Lists
from nestaudience.delivery.deliver import Sent, Tools
from nestaudience.delivery.settle import Asked
from nestaudience.delta.gates import Gate
from nestaudience.destinations.port import CountsElsewhere
from nestaudience.errors import NeedsFix, NestAudienceError
from nestaudience.jobs import Job
from nestaudience.judging import Judged, screen_and_compare
from nestaudience.ledger.entries import Context
from nestaudience.ledger.lease import WRITER, Lease, holder, leased
from nestaudience.ledger.shared_log import SharedLog
from nestaudience.outcome import Outcome
from nestaudience.parts import Parts
from nestaudience.remembering import remember
from nestaudience.verdict import Verdict
from nestaudience.vocabulary import AudienceKey, RunId

NOTHING_ASKED: Final = Asked((), 0, ())
"""Whoever holds the run has asked the platforms what became of earlier requests."""
ENDS: Final = "end"
"""The first word of the lease that says that a run was asked to end."""
LOOKS_EVERY: Final = 30.0
"""Seconds after which a share sees that its run is over."""
_MINUTE: Final = timedelta(minutes=1)
_SPILLED: Final = re.compile(r"[0-9a-f-]{36}\.[0-9a-f]{32}")
"""What a directory of a share is called: the run and a number of its own."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a process must know of a run to work for it: keys and one moment (UTC). `config` is the file's place, the same on every machine; its
    `digest` and the ids of the keys in use must be those of whoever holds the run.
    """

    config: str
    digest: str
    key_ids: dict[str, str]
    run_id: RunId
    night: str
    job: Job
    started: datetime
    actor: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One list's turn. `first_send`: when the first list's removals could be sent (UTC); `moved`: another process sent to its destination last;
    `owed`: it did not get all its removals; `anew`: somebody worked on it before and did not come to an end.
    """

    audience: AudienceKey
    first_send: datetime
    moved: bool = False
    owed: bool = False
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one list at the hands of one process: keys and counts. `owed`: it did not get all its removals."""

    sent: Sent
    gates: tuple[Gate, ...]
    errors: tuple[NestAudienceError, ...]
    owed: bool
    begun_anew: tuple[AudienceKey, ...] = ()


@dataclass(slots=True)
class _Held:
    """What a share holds. Never leaves the process. `judging` is what its judgement opened."""

    parts: Parts
    log: SharedLog
    lists: Lists
    judging: ExitStack
    judged: Judged | None = None
    bringing: Bringing | None = None


@dataclass(slots=True)
class Share:
    """One controller of one run. One thread works on it at a time. `opening` opens the configuration's parts until the stack is closed."""

    assignment: Assignment
    controller: str
    opening: Callable[[ExitStack], Parts]
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _stack: ExitStack = field(default_factory=ExitStack)
    _held: _Held | None = None

    def judge(self) -> Verdict:
        """Judge the controller, anew where that was done before. Raises as a judgement does, and `NeedsFix`: `config_differs`, `keys_differ`."""
        with self._lock:
            return self._judged(self._opened(), anew=True)[0].verdict

    def remember(self) -> int:
        """Remember the noes that the store shows and memory does not have, whoever of this run was first; how many."""
        with self._lock:
            held = self._opened()
            judged, _ = self._judged(held)
            context = held.lists.tools.context("")
            return remember(held.parts, judged.screened, held.log, context, self.assignment.started, shared=True)

    def remove(self, turn: Turn) -> Done:
        """Take off one list whoever must leave it."""
        return self._work(turn, lambda bringing: bringing.remove(turn.audience))

    def add(self, turn: Turn) -> Done:
        """Put on one list whoever may join it; nobody where removals are owed."""
        return self._work(turn, lambda bringing: bringing.add(turn.audience))

    def climb(self, turn: Turn) -> Done:
        """Take the next step at a list whose removals were refused."""
        return self._work(turn, lambda bringing: bringing.climb(turn.audience))

    def close(self) -> None:
        """Let go of everything that is held."""
        with self._lock:
            self._held = None
            self._stack.close()

    def end_with_run(self) -> bool:
        """Close when the run is over, by the ledger's word; True then. Changes nothing while this process works on it."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            parts = self._held.parts if self._held is not None else None
            over = parts is not None and holder(parts.evidence.engine, WRITER, parts.clock) != self.assignment.run_id
            if over:
                self.close()
            return over
        finally:
            self._lock.release()

    def _work(self, turn: Turn, work: Callable[[Bringing], None]) -> Done:
        """Work on a list under a lease of this attempt alone: from then on an earlier one that is still alive somewhere sends nothing more. Only
        then is judged what was not judged here yet.
        """
        with self._lock:
            held, key = self._opened(), turn.audience
            engine, clock, lists = held.parts.evidence.engine, held.parts.clock, held.lists
            attempt = f"{self.assignment.run_id}/{uuid4().hex}"
            with leased(engine, f"list:{key}", attempt, clock) as lease, held.log.under(lease):
                judged, bringing = self._judged(held, anew=turn.anew)
                plan = judged.delta.plans[key]
                outcome = Outcome(self.assignment.run_id, self.assignment.night, sent={key: Sent()}, gates={key: plan.gates})
                lists.outcome, lists.lease = outcome, lease
                lists.first_send, lists.owed = turn.first_send, {key} if turn.owed else set()
                if turn.moved:
                    self._count_elsewhere(held.parts, key)
                work(bringing)
            errors = tuple(error.with_traceback(None) for error in outcome.errors)
            return Done(outcome.sent[key], outcome.gates[key], errors, key in lists.owed, tuple(outcome.begun_anew))

    def _opened(self) -> _Held:
        if self._held is None:
            with ExitStack() as stack:
                self._held = self._open(stack)
                self._stack = stack.pop_all()
        return self._held

    def _open(self, stack: ExitStack) -> _Held:
        this, parts = self.assignment, self.opening(stack)
        if parts.settings.digest != this.digest:
            raise NeedsFix("config_differs", "a worker's configuration", "give every machine the file of whoever starts the run")
        if parts.keys.key_ids() != this.key_ids:
            raise NeedsFix("keys_differ", "a worker's key ring", "give every machine the keys of whoever starts the run")
        engine, clock = parts.evidence.engine, parts.clock
        writer = Lease(engine, WRITER, this.run_id, clock)
        log = SharedLog(engine, parts.signer, writer, clock=clock, randomness=parts.randomness)
        leases: list[Lease] = []

        def told(_audience: str, _operation: str, _people: int) -> None:
            for lease in leases:
                lease.renew()

        def context(controller: str) -> Context:
            return parts.context(this.run_id, this.job.kind, this.actor, controller)

        def ended() -> bool:
            return holder(engine, f"{ENDS}:{this.run_id}", clock) is not None

        tools = Tools(log, parts.memory, parts.keys, parts.tokens, clock, parts.randomness, context, told, ended)
        lists = Lists(parts, this.job, tools, Outcome(this.run_id, this.night), {}, this.run_id, leases, set(), set())
        return _Held(parts, log, lists, stack.enter_context(ExitStack()))

    def _judged(self, held: _Held, *, anew: bool = False) -> tuple[Judged, Bringing]:
        if held.judged is None or held.bringing is None or anew:
            held.judging.close()
            this, lists = self.assignment, held.lists
            work = screen_and_compare(held.parts, this.started, NOTHING_ASKED, job=this.job, controller=self.controller)
            held.judged = held.judging.enter_context(work)
            lists.remotes = held.judged.remotes
            held.bringing = Bringing(lists, held.judged, this.started)
            held.judging.callback(held.bringing.close)
        return held.judged, held.bringing

    def _count_elsewhere(self, parts: Parts, key: AudienceKey) -> None:
        """Another process sent to this destination a moment ago: what it sent counts here as well."""
        destination = parts.destinations.get(parts.settings.audiences[key].table.destination)
        if isinstance(destination, CountsElsewhere):
            destination.count_elsewhere(parts.memory.requests_since(destination.name, parts.clock() - _MINUTE))


_SHARES: dict[tuple[RunId, str], Share] = {}
_LOCK: Final = threading.Lock()
_WATCHED = threading.Event()


def share_of(assignment: Assignment, controller: str, opening: Callable[[ExitStack], Parts]) -> Share:
    """The share that this process has of a run; shares of other runs are let go of, because one run is held at a time."""
    with _LOCK:
        others = [key for key in _SHARES if key[0] != assignment.run_id]
        for key in others:
            _SHARES.pop(key).close()
        share = _SHARES.setdefault((assignment.run_id, controller), Share(assignment, controller, opening))
    if not _WATCHED.is_set():
        _WATCHED.set()
        threading.Thread(target=_watch, name="shares", daemon=True).start()
    return share


def let_go(run_id: str) -> int:
    """The run is over: let go of whatever this process holds of it; how many shares that were."""
    with _LOCK:
        mine = [key for key in _SHARES if key[0] == run_id]
        shares = [_SHARES.pop(key) for key in mine]
    for share in shares:
        share.close()
    return len(shares)


def _watch() -> None:
    """Whoever held the run may be gone without a word: see to it that nobody's digests stay in memory for longer than their run."""
    while not threading.Event().wait(LOOKS_EVERY):
        with _LOCK:
            shares = dict(_SHARES)
        for key, share in shares.items():
            with suppress(NestAudienceError):  # a ledger that cannot be read now is read in a moment
                if share.end_with_run():
                    with _LOCK:
                        _SHARES.pop(key, None)


def privately(parts: Parts, scratch: Path, run_id: RunId) -> Parts:
    """The parts with a directory of this share's own below `scratch` for what the engine spills; it is removed with the engine, and what whoever died
    in an earlier run left there is removed now.
    """
    for former in scratch.glob("*"):
        if _SPILLED.fullmatch(former.name) and not former.name.startswith(run_id):
            shutil.rmtree(former, ignore_errors=True)
    return replace(parts, limits=replace(parts.limits, spill=scratch / f"{run_id}.{uuid4().hex}"))
