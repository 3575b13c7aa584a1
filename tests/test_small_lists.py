"""Lists that stay too small: which nights count, against a plain reading, and the whole story through real nights."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from later_world import LISTS, LaterWorld
from nights import SandboxWorld

from nestaudience.alerts import alerts
from nestaudience.ledger.entries import Context, EntryType, Value
from nestaudience.small_lists import NIGHTS, nights_below, retires_on
from nestaudience.status import status
from nestaudience.vocabulary import RunKind
from nestaudience.wiring import open_evidence, open_parts, settings_in_use

COFFEE = LISTS[4]
FIRST = date(2026, 11, 1)
GATES = st.sampled_from([["too_small"], ["too_small"], ["too_small"], [], ["too_small", "feed_incomplete"], ["anomaly_removals"]])
FUNNELS = st.lists(st.tuples(st.sampled_from([0, 799, 800, 999, 1000]), GATES), max_size=20)


def told(funnels: list[tuple[int, list[str]]]) -> list[tuple[str, dict[str, Any]]]:
    return [((FIRST + timedelta(days=n)).isoformat(), {"wanted": w, "gates": gates}) for n, (w, gates) in enumerate(funnels)]


@given(FUNNELS)
def test_which_nights_count(funnels: list[tuple[int, list[str]]]) -> None:
    nights = told(funnels)
    expected: list[str] = []
    for night, funnel in nights:
        if funnel["gates"] == ["too_small"] and funnel["wanted"] < 800:
            expected.insert(0, night)
        elif set(funnel["gates"]) <= {"too_small"}:
            expected = []
    assert list(nights_below(nights, 1000)) == expected


def test_a_list_that_opened_begins_a_new_row() -> None:
    """The probe of a first fill says nothing against a night's numbers."""
    waiting = told([(700, ["too_small"])] * 20 + [(1200, ["probe"]), (700, ["too_small"])])
    assert nights_below(waiting, 1000) == (waiting[-1][0],)
    waiting = told([(1200, []), (700, ["too_small", "probe"]), (700, ["too_small", "probe_unknown"])])
    assert len(nights_below(waiting, 1000)) == 2


def test_a_night_with_two_runs_counts_once_by_its_last() -> None:
    small, big = {"wanted": 5, "gates": ["too_small"]}, {"wanted": 1500, "gates": []}
    assert nights_below([("2026-11-01", small), ("2026-11-01", small)], 1000) == ("2026-11-01",)
    assert nights_below([("2026-11-01", small), ("2026-11-01", big)], 1000) == ()


def test_a_number_that_was_raised_counts_from_the_night_that_closed_the_gate() -> None:
    assert nights_below(told([(300, [])] * 30), 1000) == ()


@pytest.mark.parametrize(("nights", "on"), [(1, "2026-11-15"), (13, "2026-11-15"), (14, "2026-11-15"), (20, "2026-11-21")])
def test_the_night_on_which_it_is_retired(nights: int, on: str) -> None:
    assert retires_on(nights_below(told([(5, ["too_small"])] * nights), 1000)) == date.fromisoformat(on)


def test_nothing_is_announced_without_such_a_night() -> None:
    assert retires_on(()) is None


def test_the_fourteenth_night_marks_the_list_and_the_next_empties_it(world: LaterWorld) -> None:
    """Thirteen of the nights are written into the log as a run writes them; the others are real."""
    tonight = world.clock.now()
    world.edit("smallest_list = 100", "smallest_list = 1000")
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        log = parts.open_log()
        for back in range(NIGHTS - 1, 0, -1):
            night = (tonight - timedelta(days=back)).date().isoformat()
            context = Context(f"run {back}", RunKind.NIGHTLY, "hemkraft", "p", "v", "c", parts.settings.digest, "cli")
            funnel: dict[str, Value] = {"audience": COFFEE, "wanted": 200, "gates": ["too_small"]}
            log.append_and_seal(
                [
                    (EntryType.RUN_STARTED, context, {"night": night}),
                    (EntryType.FUNNEL, context, funnel),
                    (EntryType.RUN_FINISHED, context, {"night": night, "outcome": "done", "exit_codes": [0], "errors": []}),
                ]
            )
    each, told_of = look(world)
    assert (each.retires_on, told_of) == ((tonight + timedelta(days=1)).date().isoformat(), {"list_retires"})
    others = {key: world.remote(key).state for key in LISTS if key != COFFEE}
    outcome = world.night()
    assert {gate.code for gate in outcome.gates[COFFEE]} == {"too_small"}
    assert world.remote(COFFEE).state == "retiring"
    assert {key: world.remote(key).state for key in others} == others, "one night is not enough"
    world.settle()
    emptied = world.night()
    assert {gate.code for gate in emptied.gates[COFFEE]} == {"retiring"}
    assert emptied.sent[COFFEE].removed > 100
    world.settle()
    assert COFFEE in world.night().closed


@pytest.mark.slow
def test_two_weeks_far_below_the_limit_end_a_list(tmp_path: Path) -> None:
    with SandboxWorld(tmp_path, accounts=2200, seed=2) as world:
        assert world.night().sent[COFFEE].added >= 100
        world.edit("smallest_list = 100", "smallest_list = 1000")
        announced = set()
        for night in range(1, NIGHTS + 1):
            world.advance_day()
            outcome = world.night()
            assert {gate.code for gate in outcome.gates[COFFEE]} == {"too_small"}
            each, told_of = look(world)
            assert (each.state, "list_retires" in told_of) == (("open", True) if night < NIGHTS else ("retiring", False))
            announced |= {each.retires_on} - {""}
        assert announced == {"2026-12-06"}
        world.advance_day()
        outcome = world.night()
        assert outcome.night == "2026-12-06"
        assert {gate.code for gate in outcome.gates[COFFEE]} == {"retiring"}
        world.advance(timedelta(hours=1))
        assert COFFEE in world.night().closed


def look(world: SandboxWorld) -> tuple[Any, set[str]]:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        settings = settings_in_use(evidence)
        found = status(evidence, settings, world.clock.now())
    finally:
        evidence.engine.dispose()
    stands = {alert.code for alert in alerts(found, settings.alerts, found.at) if alert.audience == COFFEE}
    return next(each for each in found.audiences if each.audience == COFFEE), stands
