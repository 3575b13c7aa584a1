"""The nightly flow: every list in line with consent. The work is `nestaudience.sync`; this gives it to Prefect step by step.

One task a list and direction. What a run holds in memory stays in this process under the run's key; tasks take and give keys and counts.
Prefect's states are a hint for people: resuming, locks and audit use the ledger.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

import flows  # noqa: F401  (sets Prefect's settings before Prefect is imported)
from flows.fence import Stopped, fenced
from nestaudience.judging import Note, silent
from nestaudience.sync import Outcome, Run
from nestaudience.vocabulary import AudienceKey
from nestaudience.wiring import open_parts


@dataclass(slots=True)
class Session:
    """One run in this process: how to open it, and what it holds. Never leaves the process."""

    config: Path
    clock: Callable[[], datetime]
    actor: str
    note: Note
    run: Run | None = None
    outcome: Outcome | None = None
    stopped: Stopped | None = None

    @property
    def active(self) -> Run:
        """The run, once it has begun."""
        if self.run is None:
            raise RuntimeError("the run has not begun")
        return self.run


_SESSIONS: dict[str, Session] = {}


@contextmanager
def session(config: Path, *, clock: Callable[[], datetime], actor: str, note: Note = silent) -> Iterator[tuple[str, Session]]:
    """Register what a run needs under a key that may cross Prefect's boundary."""
    key = uuid4().hex
    _SESSIONS[key] = Session(config, clock, actor, note)
    try:
        yield key, _SESSIONS[key]
    finally:
        del _SESSIONS[key]


def _settings(**more: Any) -> dict[str, Any]:
    """What every task declares: nothing is kept, cached or printed."""
    return {"persist_result": False, "cache_policy": NO_CACHE, "log_prints": False, **more}


@task(**_settings(name="judge", task_run_name="judge"))
@fenced
def judge(key: str) -> list[str]:
    """Settle, screen and compare: the audiences, in order."""
    return list(_SESSIONS[key].active.judge())


@task(**_settings(name="remove", task_run_name="remove {audience}"))
@fenced
def remove(key: str, audience: str) -> int:
    """Take off one list whoever must leave it; how many were asked for."""
    run = _SESSIONS[key].active
    run.remove(AudienceKey(audience))
    return run.outcome.sent[AudienceKey(audience)].removed


@task(**_settings(name="add", task_run_name="add {audience}"))
@fenced
def add(key: str, audience: str) -> int:
    """Put on one list whoever may join it; how many were asked for."""
    run = _SESSIONS[key].active
    run.add(AudienceKey(audience))
    return run.outcome.sent[AudienceKey(audience)].added


@task(**_settings(name="finish", task_run_name="finish"))
@fenced
def finish(key: str) -> list[int]:
    """Say in the log what happened; the exit codes that this run asks for."""
    here = _SESSIONS[key]
    here.active.close_lists()
    here.outcome = here.active.finish()
    return list(here.outcome.exit_codes)


@flow(name="nightly", persist_result=False, log_prints=False, validate_parameters=True)
def nightly(config: str = "nestaudience.toml", session_key: str = "") -> State[Any]:
    """Bring every list into line with consent.

    Args:
        config: The configuration file on the machine that runs this flow.
        session_key: Left empty by people and schedules.

    """
    stopped: Stopped | None = None
    codes: list[int] = []
    try:
        codes = _night(config, session_key)
    except Stopped as error:
        stopped = Stopped(*error.args)
    if stopped is not None:
        if session_key in _SESSIONS:
            _SESSIONS[session_key].stopped = stopped
        return Failed(message=str(stopped))
    if max(codes) in (0, 4):
        return Completed(message=f"exit codes {codes}")
    return Failed(message=f"finished, but not clean: exit codes {codes}")


def _night(config: str, session_key: str) -> list[int]:
    """The steps in order: all removals before any addition."""
    if not session_key:
        place = Path(os.environ.get("NESTAUDIENCE_CONFIG", config))
        with session(place, clock=lambda: datetime.now(UTC), actor="schedule") as (key, _):
            return _night(config, key)
    return _steps(session_key)


@fenced
def _steps(key: str) -> list[int]:
    here = _SESSIONS[key]
    with open_parts(here.config, clock=here.clock) as parts, Run(parts, actor=here.actor, note=here.note) as run:
        here.run = run
        audiences = judge(key)
        for audience in audiences:
            remove(key, audience)
        for audience in audiences:
            add(key, audience)
        return finish(key)
