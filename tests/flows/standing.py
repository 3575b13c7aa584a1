"""A standing Prefect server, and what is served for it, as processes of their own; and an installation whose sandbox shares their time.

    with Standing(folder) as standing:          # the server answers
        standing.serve(config, "--nightly-cron", "* * * * *")
        run = standing.order("backfill", {"config": ..., "reason": "test"})
        standing.ended(run)                     # waits for its final state

Only processes that were started here are ever stopped, by their number.
"""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 120.0
"""Seconds after which something that should have happened has not."""


class Standing:
    """The server with a home of its own in `folder`; use as a context manager. What processes say is in `<name>.log`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "prefect"
        self.home.mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.api = f"http://127.0.0.1:{self.port}/api"
        self.client = SyncPrefectClient(self.api)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Standing":
        self.start_server()
        return self

    def __exit__(self, *_: object) -> None:
        for name in [name for name in self._running if name != "server"] + ["server"]:
            self.stop(name)

    @property
    def environment(self) -> dict[str, str]:
        """What every process gets. Prefect's settings of this process are left out: those of `flows` must come from `flows`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "NESTAUDIENCE", "DO_NOT"))}
        return kept | {
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.api,
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH")))),
            "PWD": str(ROOT),
        }

    def start_server(self) -> None:
        """Start the server, and wait until it answers."""
        quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
        words = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port), "--no-ui"]
        self.start("server", *words, **quiet)
        self.until(lambda: self.client.api_healthcheck() is None, "the server answers")

    def serve(self, config: Path, *words: str) -> None:
        """`nestaudience serve`, until its deployments are there."""
        self.start("serve", "-m", "nestaudience", "serve", "--config", str(config), *words)
        self.until(lambda: len(self.client.read_deployments()) == 4, "four deployments")

    def start(self, name: str, *words: str, **more: str) -> subprocess.Popen[bytes]:
        """A Python process that goes on until it is stopped."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *words], env=self.environment | more, stdout=log, stderr=log, cwd=self.folder
            )
        self._running[name] = process
        return process

    def call(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A Python process that ends by itself."""
        return subprocess.run(
            [sys.executable, *words],
            env=self.environment,
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def stop(self, name: str) -> None:
        """Ask a process to end, and wait."""
        process = self._running.pop(name)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def kill(self, name: str) -> None:
        """SIGKILL a process, and nothing that it started."""
        process = self._running.pop(name)
        process.kill()
        process.wait(10)

    def children(self, name: str) -> list[int]:
        """The processes that a process started, and theirs, that run flows."""
        found: list[int] = []
        todo = [self._running[name].pid]
        while todo:
            pid = todo.pop()
            try:
                words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            except OSError:  # it has just ended
                continue
            todo += map(int, words)
            found += map(int, words)
        return found

    def deployment(self, name: str) -> UUID:
        """The id of a flow's deployment, of which it is the only one."""
        return self.client.read_deployment_by_name(f"{name}/{name}").id

    def order(self, name: str, parameters: dict[str, Any]) -> UUID:
        """Start a run as the form does: on the server, with parameters."""
        return self.client.create_flow_run_from_deployment(self.deployment(name), parameters=parameters).id

    def runs_of(self, name: str) -> list[FlowRun]:
        """Every run of a deployment."""
        only = DeploymentFilter(id=DeploymentFilterId(any_=[self.deployment(name)]))
        return self.client.read_flow_runs(deployment_filter=only)

    def ended(self, run: UUID) -> tuple[str, str]:
        """Wait for a run's end: its state's type and message."""

        def final() -> bool:
            state = self.client.read_flow_run(run).state
            return state is not None and state.is_final()

        self.until(final, "the run ends")
        state = self.client.read_flow_run(run).state
        assert state is not None
        return state.type.value, state.message or ""

    def logged(self, run: UUID) -> list[str]:
        """What Prefect logged of a run."""
        return [each.message for each in self.client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))]

    def tasks_of(self, run: UUID) -> dict[str, str]:
        """The tasks of a run and their states."""
        runs = self.client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
        return {each.name: each.state_type.value if each.state_type else "" for each in runs}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of Prefect's own database."""
        with closing(sqlite3.connect(f"file:{self.home / 'prefect.db'}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds."""
        end = time.monotonic() + PATIENCE
        while not holds():
            said = {name: (self.folder / f"{name}.log").read_text("utf-8", "replace")[-3000:] for name in self._running}
            assert time.monotonic() < end, f"{what}: not so. {said}"
            assert all(process.poll() is None for process in self._running.values()), f"a process ended: {said}"
            time.sleep(0.1)


def die(pid: int) -> None:
    """SIGKILL a process that one of ours started."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
