"""SIGTERM to the commands that run something: the request at hand gets its answer, the run says that it was interrupted; the next one finishes it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from canary_site import CanarySite

from nestaudience.sandbox.faults import Fault, FaultKind
from tests.flows.grounds import ground, lists_of, log_of, wanted_of
from tests.flows.standing import PATIENCE, ROOT


@pytest.fixture
def site(tmp_path: Path) -> Iterator[CanarySite]:
    here = ground(tmp_path / "site", batch_size=100)
    here.edit("timeout_seconds = 1", "timeout_seconds = 120")
    yield here
    here.close()


def interrupted(site: CanarySite, method: str, *words: str) -> tuple[int, bytes]:
    """A command that gets SIGTERM while a platform holds its first request of this kind: the exit code, and what it said."""
    sandbox = site.sandbox if "Audience" in method else site.meta
    arrived = sandbox.seen(method)
    sandbox.faults.add(Fault(method, FaultKind.HANG, seconds=2.0))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(site.folder / "prefect")}
    command = [sys.executable, "-m", "nestaudience", *words, "--json", "--config", str(site.place.config)]
    process = subprocess.Popen(command, cwd=site.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + PATIENCE
    while sandbox.seen(method) == arrived:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, said


@pytest.mark.slow
def test_a_night_through_prefect(site: CanarySite) -> None:
    code, said = interrupted(site, "IngestAudienceMembers", "run", "nightly")
    assert code == 3
    document = json.loads(said)
    assert [error["code"] for error in document["errors"]] == ["interrupted"]
    assert sum(done["added"] for done in document["lists"].values()) == 100
    entries = log_of(site)
    assert [entry["type"] for entry in entries].count("batch_result") == 1
    assert entries[-1]["type"] == "run_finished"
    site.one_call("next")
    assert lists_of(site) == wanted_of(site)


@pytest.mark.slow
def test_a_run_for_withdrawals(site: CanarySite) -> None:
    site.one_call("night")
    site.next_day()
    code, said = interrupted(site, "RemoveAudienceMembers", "run", "withdrawals")
    assert code == 3, said
    assert [error["code"] for error in json.loads(said)["errors"]] == ["interrupted"]
    site.one_call("next")
    assert lists_of(site) == wanted_of(site)
