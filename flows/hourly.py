"""The hourly flow: what became of earlier requests, and a night that was not finished.

Where another run is at work it leaves the lists to that one, and ends well.
"""

from datetime import timedelta
from typing import Any

from prefect import flow, task
from prefect.client.schemas.objects import State

import flows  # noqa: F401  (sets Prefect's settings before Prefect is imported)
from flows.fence import Stopped, fenced
from flows.steps import FLOW, ConfigPath, End, SessionKey, conclude, declared, deliver, held
from nestaudience.jobs import Job
from nestaudience.sync import Run
from nestaudience.unfinished import unfinished_night
from nestaudience.vocabulary import RunKind
from nestaudience.wiring import open_evidence, open_parts

_HOUR = Job(RunKind.WITHDRAWALS)
"""What the log calls a run between the nights."""


@flow(name="hourly", **FLOW)
def hourly(config: ConfigPath = "", session_key: SessionKey = "") -> State[Any]:
    """Ask what became of earlier requests, and before nine in the morning finish a night that is unfinished.

    Args:
        config: The configuration file on the machine that runs this flow. Empty: NESTAUDIENCE_CONFIG there, or nestaudience.toml.
        session_key: Left empty by people and schedules.

    """
    return conclude(config, session_key, "schedule", hour)


def hour(key: str) -> End:
    """One hour's work in a session: it waits for nobody. Raises `Stopped` as the steps do, but for `leased`."""
    held(key).patience = timedelta(0)
    stopped: Stopped | None = None
    end = End("another run is at work")
    try:
        end = deliver(key) if _night_waits(key) else _settled(key)
    except Stopped as error:
        stopped = Stopped(*error.args)
    if stopped is not None and stopped.code != "leased":
        raise stopped
    return end


@fenced
def _night_waits(key: str) -> bool:
    """True when tonight's run should be begun or finished now."""
    here = held(key)
    evidence = open_evidence(here.config, here.clock)
    try:
        return unfinished_night(evidence, here.clock()) is not None
    finally:
        evidence.engine.dispose()


@fenced
def _settled(key: str) -> End:
    """Settle in a run of its own; without a request that waits for its result no run is begun."""
    here = held(key)
    with open_parts(here.config, clock=here.clock) as parts:
        if not parts.memory.batches(frozenset({"accepted"})):
            return End("nothing to settle")
        with Run(parts, _HOUR, actor=here.actor, note=here.note, patience=here.patience) as run:
            here.run = run
            settle(key)
            here.outcome = run.finish()
    return End(f"{run.outcome.settled} results came in, {run.outcome.waiting} are awaited", run.outcome.exit_codes)


@task(**declared(name="settle", task_run_name="settle"))
@fenced
def settle(key: str) -> int:
    """Ask the platforms what became of earlier requests, and write it down; how many answered."""
    return held(key).active.settle()
