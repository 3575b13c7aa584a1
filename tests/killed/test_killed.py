"""Runs that are really killed: SIGKILL before and after every kind of write and request, at both platforms; the next run always ends in exact lists.

Nobody is lost, nobody who said no stays, nobody joins whom the rules do not want, and the log verifies with every entry that was ever sealed. The
long form kills at every single event of a night and of a run for withdrawals.
"""

from collections import defaultdict
from pathlib import Path

import pytest
from reliability import Row, record
from scenes import SEGMENTS, Past, Scene, live_until_today

POINTS = (
    ("nightly", "after commit lease", 1),
    ("nightly", "before commit log_entry", 1),
    ("nightly", "after commit log_entry", 1),
    ("nightly", "before head is written", 2),
    ("nightly", "before head takes its place", 3),
    ("nightly", "after head took its place", 4),
    ("nightly", "after commit checkpoint", 5),
    ("nightly", "before google_data_manager read_list", 1),
    ("nightly", "after commit log_entry batch_leaves batch membership", 1),
    ("nightly", "before commit log_entry batch_leaves batch membership", 1),
    ("nightly", "after commit log_entry batch_leaves batch membership", -1),
    ("nightly", "before google_data_manager remove", 1),
    ("nightly", "after google_data_manager remove", 2),
    ("nightly", "before meta remove", 2),
    ("nightly", "after meta remove", 1),
    ("nightly", "before google_data_manager add", 1),
    ("nightly", "after google_data_manager add", 2),
    ("nightly", "before meta add", 2),
    ("nightly", "after meta add", 1),
    ("nightly", "before commit log_entry batch", -1),
    ("nightly", "after commit log_entry", -1),
    ("nightly", "before anchor is written", 1),
    ("withdrawals", "after google_data_manager remove", 1),
    ("withdrawals", "before meta remove", 1),
    ("withdrawals", "after commit log_entry batch", 1),
)
"""Job, event, and which one of that name; from the end when negative."""
IN_SHORT = [point if n % 3 == 1 else pytest.param(*point, marks=pytest.mark.slow) for n, point in enumerate(POINTS)]
FIRST_NIGHT = (
    pytest.param("before google_data_manager create_list", marks=pytest.mark.slow),
    "after google_data_manager create_list",
    pytest.param("before meta create_list", marks=pytest.mark.slow),
    "after meta create_list",
    pytest.param("before commit log_entry remote_list", marks=pytest.mark.slow),
    pytest.param("after commit log_entry remote_list", marks=pytest.mark.slow),
)
IN_REQUESTS = (
    ("nightly", "RemoveAudienceMembers"),
    ("nightly", "AddUsers"),
    ("nightly", "IngestAudienceMembers"),
    ("withdrawals", "RemoveUsers"),
)
"""Job, and the call that the platform holds while the run is killed; it has its effect."""


@pytest.fixture(scope="module")
def told(today: Past, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[int]]]:
    """Job -> event -> its numbers in a run that nobody kills."""
    found: dict[str, dict[str, list[int]]] = {}
    for job in ("nightly", "withdrawals"):
        numbers = defaultdict(list)
        with Scene(today, tmp_path_factory.mktemp(job)) as scene:
            for number, name in enumerate(scene.events(job), 1):
                numbers[name].append(number)
        found[job] = dict(numbers)
    return found


@pytest.fixture(scope="module")
def first_events(before_the_first_night: Past, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a first night does, in order."""
    with Scene(before_the_first_night, tmp_path_factory.mktemp("first")) as scene:
        return scene.events("nightly")


@pytest.mark.parametrize(("job", "event", "which"), IN_SHORT)
def test_a_killed_run_is_followed_by_exact_lists(
    today: Past, told: dict[str, dict[str, list[int]]], tmp_path: Path, job: str, event: str, which: int
) -> None:
    number = told[job][event][which - 1 if which > 0 else which]
    with Scene(today, tmp_path) as scene:
        assert scene.killed(job, number) == event
        scene.held_to_the_rules()


@pytest.mark.parametrize("name", FIRST_NIGHT)
def test_a_first_night_that_is_killed_makes_no_list_twice(
    before_the_first_night: Past, first_events: list[str], tmp_path: Path, name: str
) -> None:
    with Scene(before_the_first_night, tmp_path) as scene:
        assert scene.killed("nightly", first_events.index(name) + 1) == name
        scene.held_to_the_rules()


@pytest.mark.parametrize(("job", "method"), IN_REQUESTS)
def test_a_run_that_is_killed_while_the_platform_answers(today: Past, tmp_path: Path, job: str, method: str) -> None:
    with Scene(today, tmp_path) as scene:
        scene.killed_in_request(job, method)
        scene.held_to_the_rules()


def test_a_night_has_every_kind_of_event(told: dict[str, dict[str, list[int]]]) -> None:
    """What is counted is what there is: a table that is written, or a call that is made, under a new name would go unnoticed."""
    for job, events in told.items():
        before = {name.removeprefix("before ") for name in events if name.startswith("before ")}
        after = {name.removeprefix("after ") for name in events if name.startswith("after ")}
        assert {*before} - {"anchor is written", "head is written", "head takes its place"} == {*after} - {"head took its place"}
        assert {(j, name) for j, name, _ in POINTS if j == job} <= {(job, name) for name in events}


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("job", ["nightly", "withdrawals"])
def test_every_event(tmp_path: Path, job: str) -> None:
    """At every single write and request of a run for one list on each platform."""
    (tmp_path / "past").mkdir()
    small = live_until_today(tmp_path / "past", segments=SEGMENTS[:1])
    with Scene(small, tmp_path / "whole") as scene:
        names = scene.events(job)
    for number, name in enumerate(names, 1):
        with Scene(small, tmp_path / str(number)) as scene:
            assert scene.killed(job, number) == name
            scene.held_to_the_rules()
    record(f"killed_{job}", [Row(f"SIGKILL before and after every write and every request of a run ({job})", len(names))])
