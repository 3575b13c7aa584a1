"""The nightly flow: every list in line with consent. The work is `nestaudience.sync`; `flows.steps` gives it to Prefect step by step."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

import flows  # noqa: F401  (sets Prefect's settings before Prefect is imported)
from flows.steps import FLOW, ConfigPath, SessionKey, conclude, deliver
from flows.steps import session as session  # handed on: whoever calls the flow in this process needs one


@flow(name="nightly", **FLOW)
def nightly(config: ConfigPath = "", session_key: SessionKey = "") -> State[Any]:
    """Bring every list into line with consent.

    Args:
        config: The configuration file on the machine that runs this flow. Empty: NESTAUDIENCE_CONFIG there, or nestaudience.toml.
        session_key: Left empty by people and schedules.

    """
    return conclude(config, session_key, "schedule", deliver)
