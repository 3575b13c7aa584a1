"""What all flows share: the steps of a run as Prefect's tasks, the run that they work on, and how a flow ends.

One task a list and direction. What a run holds in memory stays in this process under the session's key; tasks take and give keys and counts.
Prefect's states are a hint for people: resuming, locks and audit use the ledger. It knows no flow.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import uuid4

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

import flows  # noqa: F401  (sets Prefect's settings before Prefect is imported)
from flows import artifacts
from flows.fence import Stopped, fenced
from nestaudience import core_dumps
from nestaudience.interrupting import interruptible
from nestaudience.jobs import NIGHTLY, Job
from nestaudience.judging import Note, silent
from nestaudience.parts import Parts
from nestaudience.preview import Preview
from nestaudience.sync import Outcome, Run
from nestaudience.vocabulary import AudienceKey
from nestaudience.watching import watch
from nestaudience.wiring import open_evidence, open_parts, settings_in_use

PATIENCE: Final = timedelta(hours=2)
"""How long a run that a schedule or a form started waits for another to end."""

FLOW: Final[dict[str, Any]] = {"persist_result": False, "log_prints": False, "validate_parameters": False}
"""What every flow declares. Prefect's own validation is off: it would write what somebody typed into its log and a pickle."""

ConfigPath = Annotated[str, Field(max_length=400, pattern=r"^[^@]*$")]
SessionKey = Annotated[str, Field(max_length=32, pattern=r"^[0-9a-f]*$")]


Orders = Callable[[Parts], Job]


def every_night(_: Parts) -> Job:
    """The nightly run's orders."""
    return NIGHTLY


@dataclass(slots=True)
class Session:
    """One run in this process: how to open it, and what it holds. Never leaves the process."""

    config: Path
    clock: Callable[[], datetime]
    actor: str
    note: Note = silent
    patience: timedelta = timedelta(0)
    orders: Orders = every_night
    run: Run | None = None
    outcome: Outcome | None = None
    preview: Preview | None = None
    stopped: Stopped | None = None

    @property
    def active(self) -> Run:
        """The run, once it has begun."""
        if self.run is None:
            raise RuntimeError("the run has not begun")
        return self.run


@dataclass(frozen=True, slots=True)
class End:
    """How a flow ended: what its state says, and the exit codes that it asks for."""

    message: str
    codes: tuple[int, ...] = (0,)


_SESSIONS: dict[str, Session] = {}


@contextmanager
def session(
    config: Path, *, clock: Callable[[], datetime], actor: str, note: Note = silent, patience: timedelta = timedelta(0)
) -> Iterator[tuple[str, Session]]:
    """Register what a run needs under a key that may cross Prefect's boundary."""
    key = uuid4().hex
    _SESSIONS[key] = Session(config, clock, actor, note, patience)
    try:
        yield key, _SESSIONS[key]
    finally:
        del _SESSIONS[key]


def held(key: str) -> Session:
    """The session of a key."""
    return _SESSIONS[key]


def declared(**more: Any) -> dict[str, Any]:
    """What every task declares: nothing is kept, cached or printed."""
    return {"persist_result": False, "cache_policy": NO_CACHE, "log_prints": False, **more}


@task(**declared(name="judge", task_run_name="judge"))
@fenced
def judge(key: str) -> list[str]:
    """Settle, screen and compare: the audiences, in order."""
    return list(held(key).active.judge())


@task(**declared(name="remove", task_run_name="remove {audience}"))
@fenced
def remove(key: str, audience: str) -> int:
    """Take off one list whoever must leave it; how many were asked for."""
    run = held(key).active
    run.remove(AudienceKey(audience))
    return run.outcome.sent[AudienceKey(audience)].removed


@task(**declared(name="add", task_run_name="add {audience}"))
@fenced
def add(key: str, audience: str) -> int:
    """Put on one list whoever may join it; how many were asked for."""
    run = held(key).active
    run.add(AudienceKey(audience))
    return run.outcome.sent[AudienceKey(audience)].added


@task(**declared(name="finish", task_run_name="finish"))
@fenced
def finish(key: str) -> list[int]:
    """Delete lists that were emptied, and say in the log what happened; the exit codes that this run asks for."""
    here = held(key)
    here.active.close_lists()
    here.outcome = here.active.finish()
    return list(here.outcome.exit_codes)


@fenced
def deliver(key: str) -> End:
    """A whole run: all removals before any addition."""
    here = held(key)
    with open_parts(here.config, clock=here.clock) as parts:
        job = here.orders(parts)
        spreads = parts.settings.execution.runner == "dask" and job.since is None  # between nights there is little to do
        run, codes = (_on_a_cluster if spreads else _in_this_process)(key, parts, job)
        tell(parts, here.clock(), run_ended=True)
    artifacts.leave_run(job.kind.value, run.verdict.plans, run.outcome)
    return End(f"exit codes {codes}", tuple(codes))


def _in_this_process(key: str, parts: Parts, job: Job) -> tuple[Run, list[int]]:
    here = held(key)
    begun = partial(Run, parts, job, actor=here.actor, note=here.note, patience=here.patience)
    with interruptible() as interrupted, begun(interrupted=interrupted) as run:
        here.run = run
        audiences = judge(key)
        for audience in audiences:
            remove(key, audience)
        for audience in audiences:
            add(key, audience)
        return run, finish(key)


def _on_a_cluster(key: str, parts: Parts, job: Job) -> tuple[Run, list[int]]:
    from flows import spread  # with Dask, where the configuration asks for it

    return spread.deliver(key, parts, job)


def tell(parts: Parts, now: datetime, *, run_ended: bool) -> None:
    """Let people know of what stands, where the configuration says how. What cannot be told is no failure of a run."""
    watch(parts.evidence, parts.settings, now, run_ended=run_ended, counted=False)


def conclude(config: str, session_key: str, actor: str, work: Callable[[str], End]) -> State[Any]:
    """Do a flow's work in its session, or in a new one when people or schedules started it; how it ended, as Prefect's state."""
    core_dumps.forbid()  # a worker starts flows without our command
    stopped: Stopped | None = None
    end = End("")
    try:
        end = _in_session(config, session_key, actor, work)
    except Stopped as error:
        stopped = Stopped(*error.args)
    if stopped is not None:
        if session_key in _SESSIONS:
            _SESSIONS[session_key].stopped = stopped
        return Failed(message=str(stopped))
    if max(end.codes) in (0, 4):
        return Completed(message=end.message)
    return Failed(message=f"finished, but not clean: {end.message}")


@fenced
def _in_session(config: str, session_key: str, actor: str, work: Callable[[str], End]) -> End:
    if session_key:
        return _worked(session_key, work)
    place = Path(config or os.environ.get("NESTAUDIENCE_CONFIG", "nestaudience.toml"))
    with session(place, clock=lambda: datetime.now(UTC), actor=actor, patience=PATIENCE) as (key, _):
        return _worked(key, work)


def _worked(key: str, work: Callable[[str], End]) -> End:
    """The work; when it is stopped, people are told of what stands before the stop goes on its way."""
    stopped: Stopped | None = None
    try:
        return work(key)
    except Stopped as error:
        stopped = Stopped(*error.args)
    with suppress(Stopped):  # a ledger that cannot be read tells nobody: the heartbeat that does not come tells then
        _tell_of_stop(key)
    raise stopped


@fenced
def _tell_of_stop(key: str) -> None:
    here = held(key)
    evidence = open_evidence(here.config, here.clock)
    try:
        watch(evidence, settings_in_use(evidence), here.clock(), counted=False)
    finally:
        evidence.engine.dispose()
