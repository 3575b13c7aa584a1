"""What tests of several rooms share: an installation that lived through two nights. For reading; a test that writes makes its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from later_world import LaterWorld, Past, first_night
from nights import SandboxWorld
from postgres_server import Postgres, running

from nestaudience.sync import Outcome


@dataclass(frozen=True)
class TwoNights:
    """The world an hour after its second night, whose results nobody has asked for yet; what both nights said; the time (UTC); and what
    the platform held (list id -> digests) after the first and after the second night."""

    world: SandboxWorld
    first: Outcome
    second: Outcome
    now: datetime
    held_first: dict[str, frozenset[str]]
    held_second: dict[str, frozenset[str]]


@pytest.fixture(scope="session")
def two_nights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNights]:
    with SandboxWorld(tmp_path_factory.mktemp("two_nights")) as world:
        first = world.night()
        world.advance_day()
        held_first = world.members()
        second = world.night()
        world.advance(timedelta(hours=1))
        yield TwoNights(world, first, second, world.clock.now(), held_first, world.members())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the slow forms as well")


LONGEST_FIRST = (
    "test_state_machine",
    "test_served",
    "test_killed",
    "test_canary_faults",
    "test_canaries",
    "test_disturbed",
    "test_recovery",
    "test_same_sheets",
    "test_demo",
    "test_first_night",
    "test_hourly",
    "test_withdrawals",
    "test_wrong_account",
    "test_bad_input",
    "test_watching",
    "test_machine_mutants",
)
"""Files that take minutes begin first: two processes then end at about the same time."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))
    if not config.getoption("--long"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """A first night and the day after it, to be opened again by `LaterWorld`."""
    return first_night(tmp_path_factory.mktemp("past"))


@pytest.fixture
def world(past: Past, tmp_path: Path) -> Iterator[LaterWorld]:
    """The morning after, in a folder of its own."""
    with LaterWorld(past, tmp_path / "here") as opened:
        yield opened


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One real PostgreSQL server for the whole session; whoever writes makes a schema or a database of its own."""
    with running() as server:
        yield server
