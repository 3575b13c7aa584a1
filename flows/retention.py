"""The retention flow: salts that are due and withdrawals that are too old. The work is `nestaudience.retaining`; it sends nothing."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

import flows  # noqa: F401  (sets Prefect's settings before Prefect is imported)
from flows.fence import fenced
from flows.steps import FLOW, ConfigPath, End, SessionKey, conclude, held
from nestaudience.retaining import retain
from nestaudience.wiring import open_parts


@flow(name="retention", **FLOW)
def retention(config: ConfigPath = "", session_key: SessionKey = "") -> State[Any]:
    """Destroy the salts that are due, and forget what is kept no longer.

    Args:
        config: The configuration file on the machine that runs this flow. Empty: NESTAUDIENCE_CONFIG there, or nestaudience.toml.
        session_key: Left empty by people and schedules.

    """
    return conclude(config, session_key, "schedule", forget)


@fenced
def forget(key: str) -> End:
    """One retention run in a session."""
    here = held(key)
    with open_parts(here.config, clock=here.clock) as parts:
        done = retain(parts, actor=here.actor)
    return End(f"{done.destroyed} salts destroyed, {done.waiting} erasures open")
