"""The hourly flow: what became of earlier requests, noes since the last look, and a night that was not finished.

Where another run is at work it leaves the lists to that one, and ends well.
"""

from datetime import timedelta
from functools import partial
from typing import Any

from prefect import flow, task
from prefect.client.schemas.objects import State

import flows  # noqa: F401  (sets Prefect's settings before Prefect is imported)
from flows.fence import Stopped, fenced
from flows.steps import FLOW, ConfigPath, End, SessionKey, conclude, declared, deliver, held, tell
from nestaudience.interrupting import interruptible
from nestaudience.jobs import SETTLING
from nestaudience.sync import Run
from nestaudience.unfinished import unfinished_night
from nestaudience.wiring import open_evidence, open_parts, settings_in_use
from nestaudience.withdrawals import withdrawals_job


@flow(name="hourly", **FLOW)
def hourly(config: ConfigPath = "", session_key: SessionKey = "") -> State[Any]:
    """Take off whoever said no since the last look, ask what became of earlier requests, and finish an unfinished night until nine.

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
        end = deliver(key) if _to_run(key) else _settled(key)
    except Stopped as error:
        stopped = Stopped(*error.args)
    if stopped is not None and stopped.code != "leased":
        raise stopped
    return end


@fenced
def _to_run(key: str) -> bool:
    """True when a run should be begun now: tonight's, to begin or to finish it, or one for noes that are due; the session has the orders then."""
    here = held(key)
    evidence = open_evidence(here.config, here.clock)
    try:
        if unfinished_night(evidence, here.clock()) is not None:
            return True
        job = withdrawals_job(evidence.reader, settings_in_use(evidence), here.clock())
    finally:
        evidence.engine.dispose()
    if job is not None:
        here.orders = lambda _: job
    return job is not None


@fenced
def _settled(key: str) -> End:
    """Settle in a run of its own; without a request that waits for its result no run is begun."""
    here = held(key)
    with open_parts(here.config, clock=here.clock) as parts:
        if not parts.memory.batches(frozenset({"accepted"})):
            tell(parts, here.clock(), run_ended=False)
            return End("nothing to settle")
        begun = partial(Run, parts, SETTLING, actor=here.actor, note=here.note, patience=here.patience)
        with interruptible() as interrupted, begun(interrupted=interrupted) as run:
            here.run = run
            settle(key)
            here.outcome = run.finish()
        tell(parts, here.clock(), run_ended=True)
    return End(f"{run.outcome.settled} results came in, {run.outcome.waiting} are awaited", run.outcome.exit_codes)


@task(**declared(name="settle", task_run_name="settle"))
@fenced
def settle(key: str) -> int:
    """Ask the platforms what became of earlier requests, and write it down; how many answered."""
    return held(key).active.settle()
