"""The scheduled deployments on one machine: the nightly, the hourly, the backfill and the retention flow, started by a
standing Prefect server and run here.

Each run is a process of its own that inherits this one's environment, and with it the settings of `flows`. It starts no server.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from prefect import serve
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import Flow
from prefect.schedules import Cron, Schedule
from prefect.settings import PREFECT_API_URL
from prefect.types.entrypoint import EntrypointType

import flows  # noqa: F401  (sets Prefect's settings before Prefect is imported)
from flows.backfill import backfill
from flows.hourly import hourly
from flows.nightly import nightly
from flows.retention import retention
from nestaudience.errors import NeedsFix, TryAgain

NIGHTLY: Final = "30 3 * * *"
"""03:30 exists once every day, when clocks change too."""
HOURLY: Final = "10 * * * *"
RETENTION: Final = "40 5 * * *"
"""Every day: a salt is due on a day."""
ZONE: Final = "Europe/Stockholm"
_START: Final = (
    "start one with `PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1 prefect server start`, "
    "then run `PREFECT_API_URL=http://127.0.0.1:4200/api nestaudience serve`"
)


def serve_all(config: Path, *, nightly_cron: str = NIGHTLY, hourly_cron: str = HOURLY) -> None:
    """Serve until interrupted. Schedules are cron lines, in Stockholm's time; they go on when this process is started again.

    Raises `NeedsFix`: `no_server` without a standing server, `cron_wrong`; `TryAgain`: `server_silent` when it does not answer.
    """
    require_server()
    serve(*deployments(config, nightly_cron, hourly_cron), pause_on_shutdown=False, print_starting_message=False)


def require_server() -> None:
    """Raises as `serve_all` does when there is no server that could start a run."""
    if not PREFECT_API_URL.value():
        raise NeedsFix("no_server", "PREFECT_API_URL", f"schedules need a standing Prefect server: {_START}")
    with get_client(sync_client=True) as client:
        silent = client.api_healthcheck() is not None
    if silent:
        raise TryAgain("server_silent", "PREFECT_API_URL", f"no Prefect server answers there: {_START}")


def deployments(config: Path, nightly_cron: str, hourly_cron: str) -> list[RunnerDeployment]:
    """The four deployments. One run of each at a time; a second one waits. Raises `NeedsFix`: `cron_wrong`."""
    place = str(config.absolute())
    return [
        _deployment(nightly, _schedule(nightly_cron), place),
        _deployment(hourly, _schedule(hourly_cron), place),
        _deployment(backfill, None, place),
        _deployment(retention, _schedule(RETENTION), place),
    ]


def _deployment(flow: Flow[Any, Any], schedule: Schedule | None, config: str) -> RunnerDeployment:
    deployment = flow.to_deployment(
        name=flow.name,
        schedule=schedule,
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
        parameters={"config": config},
        enforce_parameter_schema=True,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    if not isinstance(deployment, RunnerDeployment):
        raise TypeError("a deployment is made outside of an event loop")
    return deployment


def _schedule(cron: str) -> Schedule:
    made: list[Schedule] = []
    with suppress(ValueError):  # said below, without its text
        made.append(Cron(cron, timezone=ZONE))
    if not made:
        raise NeedsFix("cron_wrong", "a schedule", "write five fields, as in '30 3 * * *'")
    return made[0]
