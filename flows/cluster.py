"""The Dask cluster that a configuration names: connecting to it, and what must be so before any of our work goes there.

Its scheduler and workers are somebody else's to run. Nothing of Dask is imported before a configuration asks for it, and nothing of Prefect at this
file's import: what is asked of the workers and the scheduler runs there, by its name. It knows no run.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import nestaudience
from nestaudience.config.execution import Execution
from nestaudience.errors import NeedsFix, TryAgain
from nestaudience.wiring import commit_of

if TYPE_CHECKING:
    from prefect_dask.client import PrefectDaskClient

PATIENCE: Final = 20
"""Seconds that the scheduler has to answer, and the first worker to be there."""
_WHERE: Final = "execution.scheduler"


@contextmanager
def connected(execution: Execution, base: Path) -> Iterator["PrefectDaskClient"]:
    """A client of the cluster that was looked at. `base`: what relative paths are relative to.

    Raises `NeedsFix`: `dask_missing` (the extra is not installed), `certificate_unreadable`, and as `look_at` does; `TryAgain`: `scheduler_silent`.
    """
    if find_spec("prefect_dask") is None:
        raise NeedsFix("dask_missing", "execution.runner", "install the extra: pip install 'nestaudience[dask]'; or use here")
    from prefect_dask import DaskTaskRunner  # Prefect and Dask are imported where they are used

    options = {"security": _security(execution, base), "timeout": PATIENCE}
    with DaskTaskRunner(address=execution.scheduler, client_kwargs=options) as runner:
        clients: list[PrefectDaskClient] = []
        with suppress(OSError, TimeoutError, ValueError, RuntimeError):  # said below
            clients.append(runner.client)
            clients[0].wait_for_workers(1, timeout=PATIENCE)
        if not clients:
            raise TryAgain("scheduler_silent", _WHERE, "no Dask scheduler answers there with these certificates; start it")
        look_at(clients[0])
        yield clients[0]


def look_at(client: "PrefectDaskClient") -> None:
    """Raises what forbids to work there: `TryAgain`: `no_workers`; `NeedsFix`: `workers_spill`, `workers_differ`, `tasks_repeated`."""
    told: Mapping[str, Mapping[str, Any]] = client.run(describe)
    if not told:
        raise TryAgain("no_workers", _WHERE, "the scheduler has no worker; start some")
    if any(each["spills"] for each in told.values()):
        remedy = "start the workers with distributed.worker.memory.target and .spill false: what they hold must reach no disk"
        raise NeedsFix("workers_spill", _WHERE, remedy)
    if any(each["program"] != program() for each in told.values()):
        raise NeedsFix("workers_differ", _WHERE, "install the same version of nestaudience on every machine")
    if client.run_on_scheduler(repeats):
        remedy = "start the scheduler with distributed.scheduler.allowed-failures 0: a list that was cut off is begun anew here"
        raise NeedsFix("tasks_repeated", _WHERE, remedy)


def describe(dask_worker: Any) -> dict[str, Any]:
    """Asked of each worker: whether what it holds may be written to its disk, and which program it runs."""
    return {"spills": type(dask_worker.data) is not dict, "program": program()}


def repeats(dask_scheduler: Any) -> int:
    """Asked of the scheduler: how often it gives a task to another worker, without a word, when its worker died."""
    return int(dask_scheduler.allowed_failures)


def program() -> tuple[str, str]:
    """The version and commit of what runs here."""
    return nestaudience.__version__, commit_of()


def _security(execution: Execution, base: Path) -> Any:
    """Both sides show a certificate of the same authority; None without TLS."""
    if not str(execution.scheduler).startswith("tls://"):
        return None
    from distributed.security import Security

    named = (execution.certificate_authority, execution.certificate, execution.key)
    places = [base / str(place) for place in named]
    if not all(place.is_file() for place in places):
        raise NeedsFix("certificate_unreadable", "execution", "name readable PEM files: certificate_authority, certificate, key")
    authority, certificate, key = map(str, places)
    words = {"tls_client_cert": certificate, "tls_client_key": key}
    return Security(tls_ca_file=authority, require_encryption=True, **words)
