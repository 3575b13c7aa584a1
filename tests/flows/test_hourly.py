"""The hourly flow in this process, on a real Prefect server: it settles, it finishes a night in the morning, and it waits for nobody."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lists_by_rule import wanted_lists
from nights import SandboxWorld

from nestaudience.config.load import load
from nestaudience.ledger.lease import WRITER, leased
from nestaudience.sandbox.world_day import advance_store
from nestaudience.sync import Run
from nestaudience.wiring import open_evidence, open_parts
from tests.test_lists_equal_consent import entries, lists_of


@pytest.fixture
def world(tmp_path: Path, prefect_server: Path) -> Iterator[SandboxWorld]:
    with SandboxWorld(tmp_path) as made:
        yield made


def hour(world: SandboxWorld) -> tuple[str, str]:
    """One hour through Prefect: the state's type and message."""
    from flows.hourly import hourly
    from flows.steps import session

    with session(world.config, clock=world.clock.now, actor="test") as (key, _):
        state = hourly(config=str(world.config), session_key=key, return_state=True)
    return state.type.value, str(state.message)


def at(world: SandboxWorld, hour: int, minute: int = 10) -> None:
    """Move to a time of the first night's day, in UTC: an hour behind Stockholm."""
    world.advance(datetime(2026, 11, 21, hour, minute, tzinfo=UTC) - world.clock.now())


def test_it_settles_and_a_second_hour_has_nothing_to_do(world: SandboxWorld) -> None:
    world.night()
    at(world, 3, 15)  # the platform has answered, and the lists are not due for noes yet
    assert hour(world) == ("COMPLETED", "5 results came in, 0 are awaited")
    log = entries(world)[0]
    run = log[-1]["run_id"]
    said = [entry["type"] for entry in log if entry["run_id"] == run]
    assert said == ["run_started", *["platform_status"] * 5, "run_finished"]
    at(world, 3, 20)
    assert hour(world) == ("COMPLETED", "nothing to settle")
    assert len(entries(world)[0]) == len(log), "an hour without work leaves no trace"


def test_it_asks_again_while_a_platform_has_no_result(world: SandboxWorld) -> None:
    world.night()
    assert hour(world) == ("COMPLETED", "0 results came in, 5 are awaited")


def test_a_night_that_nobody_began_is_run_in_the_morning(world: SandboxWorld) -> None:
    assert hour(world) == ("COMPLETED", "nothing to settle"), "half past three: the nightly run's own time"
    at(world, 3)
    assert hour(world) == ("COMPLETED", "exit codes [0]")
    at(world, 4, 0)
    assert lists_of(world) == wanted_lists(world.store, load(world.config), world.clock.now())
    assert hour(world)[1].endswith("0 are awaited")
    nights = [e for e in entries(world)[0] if e["type"] == "run_started" and e["run_kind"] == "nightly"]
    assert len(nights) == 1


def test_a_night_that_was_cut_off_is_finished(world: SandboxWorld) -> None:
    with open_parts(world.config, clock=world.clock.now) as parts, Run(parts) as run:
        first, *_ = run.judge()
        run.add(first)
    at(world, 3)
    assert [bool(people) for people in lists_of(world).values()] == [True]
    assert hour(world) == ("COMPLETED", "exit codes [0]")
    at(world, 4, 0)
    assert lists_of(world) == wanted_lists(world.store, load(world.config), world.clock.now())
    assert hour(world)[1].endswith("0 are awaited")


def test_after_nine_it_leaves_a_night_alone(world: SandboxWorld) -> None:
    at(world, 8)
    assert hour(world) == ("COMPLETED", "nothing to settle")
    assert world.sandbox.writes == 0


@pytest.mark.parametrize("night", [True, False], ids=["a night to finish", "results to settle"])
def test_where_another_run_is_at_work_it_ends_well(world: SandboxWorld, *, night: bool) -> None:
    if not night:
        world.night()
    at(world, 3 if night else 10)
    writes = world.sandbox.writes
    evidence = open_evidence(world.config, world.clock.now)
    try:
        with leased(evidence.engine, WRITER, "another", world.clock.now):
            assert hour(world) == ("COMPLETED", "another run is at work")
    finally:
        evidence.engine.dispose()
    assert world.sandbox.writes == writes


def test_a_platform_that_cannot_be_asked_is_told(world: SandboxWorld) -> None:
    world.night()
    at(world, 3, 15)
    world.sandbox.revoke(world.sandbox.token)
    assert hour(world) == ("FAILED", "finished, but not clean: 0 results came in, 5 are awaited")


def test_noes_leave_between_the_nights_and_nobody_joins(world: SandboxWorld) -> None:
    world.night()
    world.sandbox.advance(datetime(2026, 11, 21, 10, 10, tzinfo=UTC) - world.clock.now())
    before = lists_of(world)
    advance_store(world.store, seed=2, now=world.clock.now())
    assert hour(world) == ("COMPLETED", "exit codes [0]")
    at(world, 11, 0)
    after, wanted = lists_of(world), wanted_lists(world.store, load(world.config), world.clock.now())
    left = {key: before[key] - after[key] for key in before}
    assert [key for key in before if after[key] - before[key]] == []
    assert [key for key in before if left[key] & wanted[key]] == [], "nobody left who may stay"
    assert sum(map(len, left.values())) > 10
