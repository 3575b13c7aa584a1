"""The nightly flow on a real Prefect server: what it does, and that Prefect keeps keys and counts only."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from leaks import Needles, found_in_folder
from nights import SandboxWorld

from nestaudience.sandbox.world import StoreFile

AUDIENCES = (
    "computime/bought_audio_12m/google",
    "computime/viewed_laptops_30d/google",
    "bokhyllan/crime_readers/google",
    "bokhyllan/lapsed_readers/google",
    "hemkraft/coffee_lovers/google",
)
CANARY = "Kanarie.Flow7@gmail.com"
PEOPLE = Needles.of(CANARY)


@pytest.fixture
def world(tmp_path: Path, prefect_server: Path) -> Iterator[SandboxWorld]:
    with SandboxWorld(tmp_path) as made:
        yield made


def night(
    world: SandboxWorld, meanwhile: Callable[[str, str, int], None] = lambda step, key, done: None
) -> tuple[UUID, str, str]:
    """One night through Prefect: the flow run's id, the state's type and its message."""
    from flows.nightly import nightly, session

    with session(world.config, clock=world.clock.now, actor="test", note=meanwhile) as (key, _):
        state = nightly(config=str(world.config), session_key=key, return_state=True)
    run_id = state.state_details.flow_run_id
    assert run_id is not None
    return run_id, state.type.value, str(state.message)


def recorded(run_id: UUID, tasks: int) -> tuple[dict[str, object], list[tuple[str, str, str]]]:
    """What Prefect's API says of a run: its parameters, and its tasks by start: name, state, message."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    only = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    with get_client(sync_client=True) as client:
        for _ in range(100):  # the server writes task runs down a moment after they ended
            runs = client.read_task_runs(flow_run_filter=only)
            if len(runs) >= tasks and all(run.state is not None and run.state.is_final() for run in runs):
                break
            time.sleep(0.1)
        parameters = dict(client.read_flow_run(run_id).parameters)
    runs.sort(key=lambda run: run.start_time or run.created)  # type: ignore[arg-type,return-value]
    return parameters, [(run.name, run.state.type.value, run.state.message or "") for run in runs if run.state is not None]


def kept_by_prefect(server: Path) -> dict[str, set[str]]:
    """Where a canary stands in Prefect's database or home."""
    import os

    return found_in_folder(server.parent, PEOPLE.everything) | found_in_folder(
        Path(os.environ["PREFECT_HOME"]), PEOPLE.everything
    )


def test_a_night_fills_the_lists_and_prefect_keeps_keys_and_counts(world: SandboxWorld, prefect_server: Path) -> None:
    run_id, kind, message = night(world)
    assert (kind, message) == ("COMPLETED", "exit codes [0]")
    world.advance(timedelta(hours=1))
    assert [len(members) > 100 for members in world.members().values()] == [True] * 5

    parameters, tasks = recorded(run_id, 12)
    assert set(parameters) == {"config", "session_key"}
    assert [name for name, _, _ in tasks] == [
        "judge",
        *(f"remove {key}" for key in AUDIENCES),
        *(f"add {key}" for key in AUDIENCES),
        "finish",
    ]
    assert {(kind, message) for _, kind, message in tasks} == {("COMPLETED", "")}
    with sqlite3.connect(f"file:{prefect_server}?mode=ro", uri=True) as database:
        kept = database.execute("SELECT data FROM flow_run_state UNION ALL SELECT data FROM task_run_state").fetchall()
    assert {row[0] for row in kept} <= {None, "null"}, "Prefect keeps no result, and no pointer to one"


def test_a_second_night_is_as_clean(world: SandboxWorld, prefect_server: Path) -> None:
    night(world)
    world.advance_day()
    before = world.members()
    assert night(world)[1:] == ("COMPLETED", "exit codes [0]")
    world.advance_day()
    after = world.members()
    assert any(before[key] - after[key] for key in before), "somebody left"
    assert any(after[key] - before[key] for key in before), "somebody joined"


def test_without_a_session_the_flow_opens_its_own(world: SandboxWorld, prefect_server: Path) -> None:
    """As a schedule calls it: only the configuration is named. The store is older than the machine's clock allows, so nobody joins."""
    from flows.nightly import nightly

    state = nightly(config=str(world.config), return_state=True)
    assert state.type.value in {"COMPLETED", "FAILED"}
    assert "exit codes" in str(state.message)


def test_a_store_that_is_gone_ends_in_codes(world: SandboxWorld, prefect_server: Path) -> None:
    world.store.unlink()
    run_id, kind, message = night(world)
    assert (kind, message) == ("FAILED", "finished, but not clean: exit codes [0, 2, 5]")
    assert {kind for _, kind, _ in recorded(run_id, 12)[1]} == {"COMPLETED"}
    assert not any(world.members().values())


def test_a_revoked_token_ends_in_codes(world: SandboxWorld, prefect_server: Path) -> None:
    world.sandbox.revoke(world.sandbox.token)
    _, kind, message = night(world)
    assert kind == "FAILED"
    assert message == "finished, but not clean: exit codes [0, 2]"


def test_a_ledger_that_is_gone_stops_the_run(world: SandboxWorld, prefect_server: Path) -> None:
    night(world)
    (world.folder / "ledger" / "ledger.sqlite").write_bytes(b"SQLite format 3\0" + b"no ledger" * 100)
    _, kind, message = night(world)
    assert kind == "FAILED"
    assert message.startswith("ledger_")


def test_a_missing_configuration_stops_the_run(world: SandboxWorld, prefect_server: Path) -> None:
    world.config.unlink()
    _, kind, message = night(world)
    assert kind == "FAILED"
    assert message.startswith("config_")


def test_a_defect_ends_in_its_type(world: SandboxWorld, prefect_server: Path) -> None:
    """Whatever a foreign exception says, Prefect's states, logs and events do not hold it. Here the watcher of the progress fails."""

    def faulty(step: str, key: str, done: int) -> None:
        if step == "add":
            raise ValueError(f"cannot show {CANARY}")

    run_id, kind, message = night(world, faulty)
    assert kind == "FAILED"
    assert message == "defect at add: ValueError (must_stop): report it with the version and the step"
    _, tasks = recorded(run_id, 7)
    assert [(name, kind) for name, kind, _ in tasks][-1] == (f"add {AUDIENCES[0]}", "FAILED")
    assert "defect at add: ValueError" in tasks[-1][2]
    assert not kept_by_prefect(prefect_server)


def test_a_store_that_breaks_between_judging_and_adding_stops_additions(world: SandboxWorld, prefect_server: Path) -> None:
    """The last look needs the store. One list after the other says so; nobody is added."""
    seen: list[str] = []
    writers_do_not_wait = f"import sqlite3; sqlite3.connect({str(world.store)!r}).execute('PRAGMA journal_mode = WAL')"
    subprocess.run(
        [sys.executable, "-c", writers_do_not_wait], check=True
    )  # elsewhere: two SQLite libraries in one process drop locks

    def break_it(step: str, key: str, done: int) -> None:
        seen.append(step)
        if step == "read" and key == "rights":
            with StoreFile(world.store) as store:
                store.run("ALTER TABLE shop_account RENAME COLUMN email TO mail")

    _, kind, message = night(world, break_it)
    assert "read" in seen
    assert kind == "FAILED"
    assert message.startswith("finished, but not clean: exit codes [0, ")
    assert not any(world.members().values())
