"""Runs that something gets in the way of: a full disk, a ledger that is locked or may not be written, a platform that hangs, a signal, another run.

None of them sends what it cannot write down, and the next run always ends in exact lists.
"""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from reliability import Row, record
from scenes import KILLED, PATIENCE, Past, Scene, Way, until

TRY_AGAIN, NOT_KNOWN, MUST_STOP = 3, 4, 5


@pytest.fixture
def scene(today: Past, tmp_path: Path) -> Iterator[Scene]:
    with Scene(today, tmp_path) as opened:
        yield opened


def end_of(process: Any) -> int:
    process.join(PATIENCE)
    assert process.exitcode is not None
    return int(process.exitcode)


def new_entries(scene: Scene) -> list[dict[str, Any]]:
    return scene.log()[scene.past.entries :]


def leases(scene: Scene) -> int:
    with closing(sqlite3.connect(scene.folder / "ledger" / "ledger.sqlite")) as ledger:
        return int(ledger.execute("SELECT count(*) FROM lease").fetchone()[0])


def listens(pid: int) -> bool:
    """True when a process has a handler of its own for SIGTERM: a run has, from before it asks for its lease."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def full_at(scene: Scene, limit: int) -> bool:
    """A night on a disk that is full when a file has so many bytes; True when that stopped it."""
    code = scene.ended("nightly", Way(file_limit=limit))
    assert code in {0, MUST_STOP}
    scene.held_to_the_rules()
    return code == MUST_STOP


@pytest.mark.parametrize("limit", [30_000, 200_000])
def test_a_full_disk(scene: Scene, limit: int) -> None:
    assert full_at(scene, limit)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_disk_that_is_full_at_every_size(today: Past, tmp_path: Path) -> None:
    stopped = 0
    for number, limit in enumerate(range(20_000, 500_000, 20_000)):
        with Scene(today, tmp_path / str(number)) as scene:
            stopped += full_at(scene, limit)
    assert stopped > 10
    record("disturbed_disk", [Row("a disk that is full while a night runs, at 24 sizes", 24)])


@pytest.mark.slow
def test_a_ledger_that_somebody_else_locks_while_a_platform_answers(scene: Scene) -> None:
    process = scene.holding("RemoveAudienceMembers", 1.0)
    with closing(sqlite3.connect(scene.folder / "ledger" / "ledger.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert end_of(process) == MUST_STOP
        requests = len(scene.requests())
        assert scene.ended("nightly") == MUST_STOP
        assert len(scene.requests()) == requests == 1
        other.execute("ROLLBACK")
    scene.held_to_the_rules()


@pytest.mark.parametrize("what", ["file", "directory", "head"])
def test_a_ledger_that_may_only_be_read(scene: Scene, what: str) -> None:
    ledger = scene.folder / "ledger" / "ledger.sqlite"
    place = {"file": ledger, "directory": ledger.parent, "head": scene.folder / "keys"}[what]
    for left in ledger.parent.glob("ledger.sqlite-*"):
        left.unlink()
    place.chmod(0o500 if place.is_dir() else 0o400)
    assert scene.ended("nightly", Way(plain_rights=True)) == MUST_STOP
    assert scene.requests() == []
    place.chmod(0o700 if place.is_dir() else 0o600)
    scene.held_to_the_rules()


@pytest.mark.parametrize("method", ["RemoveAudienceMembers", "AddUsers"])
def test_a_platform_that_hangs(scene: Scene, method: str) -> None:
    """The request has its effect after the run gave up waiting for its answer."""
    often = "removals_every_minutes = "  # a line that both destinations have
    scene.edit("timeout_seconds = 120\n", "")
    scene.edit(often, f"timeout_seconds = 2\n{often}")
    process = scene.holding(method, 8.0)
    hung_since = time.monotonic()
    assert end_of(process) == NOT_KNOWN
    results = [entry["fields"]["outcome"] for entry in new_entries(scene) if entry["type"] == "batch_result"]
    assert results.count("unknown") == 1
    time.sleep(max(0.0, hung_since + 8.5 - time.monotonic()))
    scene.edit("timeout_seconds = 2\n", "")
    scene.held_to_the_rules()


@pytest.mark.parametrize("method", ["RemoveAudienceMembers", "RemoveUsers", "IngestAudienceMembers", "AddUsers"])
def test_sigterm_ends_a_run_when_the_request_at_hand_has_its_answer(scene: Scene, method: str) -> None:
    process = scene.holding(method, 1.0)
    os.kill(process.pid, signal.SIGTERM)
    assert end_of(process) == TRY_AGAIN
    said = new_entries(scene)
    batches = [entry["fields"]["batch_id"] for entry in said if entry["type"] == "batch"]
    answers = [entry["fields"] for entry in said if entry["type"] == "batch_result"]
    assert [answer["batch_id"] for answer in answers] == batches
    assert {answer["outcome"] for answer in answers} == {"accepted"}
    assert len(scene.requests()) == len(batches)
    last = said[-2] if said[-1]["type"] == "anchor" else said[-1]
    assert last["type"] == "run_finished"
    assert (last["fields"]["outcome"], last["fields"]["exit_codes"], last["fields"]["errors"]) == (
        "not_clean",
        [0, 3],
        ["interrupted"],
    )
    assert ("meta" in last["fields"]["watermarks"]) == ("Remove" not in method), (
        "a list that owes noes keeps its destination's mark"
    )
    assert leases(scene) == 0
    scene.held_to_the_rules()


def test_two_runs_at_once_the_second_is_refused(scene: Scene) -> None:
    first = scene.holding("RemoveUsers", 4.0)
    assert scene.ended("nightly") == TRY_AGAIN
    assert scene.ended("withdrawals") == TRY_AGAIN
    assert end_of(first) == 0
    assert len({entry["run_id"] for entry in new_entries(scene)}) == 1
    scene.held_to_the_rules()


def test_two_runs_at_once_the_second_waits(scene: Scene) -> None:
    first = scene.holding("RemoveUsers", 1.0)
    second = scene.process("nightly", Way(patience=timedelta(minutes=1)))
    assert (end_of(first), end_of(second)) == (0, 0)
    assert len(list(groupby(entry["run_id"] for entry in new_entries(scene)))) == 2, "they never interleave"
    scene.held_to_the_rules()


def test_a_run_that_waits_takes_over_from_one_that_is_killed(scene: Scene) -> None:
    first = scene.holding("AddUsers", 1.0)
    second = scene.process("nightly", Way(patience=timedelta(minutes=1)))
    until(lambda: listens(second.pid), "the second listens")
    first.kill()
    assert (end_of(first), end_of(second)) == (KILLED, 0)
    scene.held_to_the_rules()


def test_sigterm_ends_a_run_that_waits(scene: Scene) -> None:
    first = scene.holding("AddUsers", 3.0)
    second = scene.process("nightly", Way(patience=timedelta(hours=2)))
    until(lambda: listens(second.pid), "the second listens")
    os.kill(second.pid, signal.SIGTERM)
    assert (end_of(second), end_of(first)) == (TRY_AGAIN, 0)
    scene.held_to_the_rules()
