"""The clocks of removals against values worked out by hand, on a night and on a run for withdrawals at both platforms."""

import hashlib
from collections import Counter
from dataclasses import astuple
from datetime import timedelta
from typing import Any

import pytest
from reliability import Clock, Row, record
from scenes import Past, Scene

from nestaudience.audit.clocks import RemovalClock, removal_clocks
from nestaudience.delivery.clocks import Spread, spread
from nestaudience.sandbox.world import StoreFile
from nestaudience.sandbox.world_schema import moment
from nestaudience.status import status
from nestaudience.sync import Outcome, run
from nestaudience.wiring import open_evidence, open_parts, settings_in_use
from nestaudience.withdrawals import withdrawals_job

AGES = (70, 400, 401, 402, 1000)
"""How many seconds ago each of five people said no, when the run for withdrawals sees it."""


def times_of(scene: Scene, run_id: str) -> dict[str, dict[str, Any]]:
    """Audience -> what the run said of its clocks."""
    said = [entry for entry in scene.log() if entry["type"] == "removal_times" and entry["run_id"] == run_id]
    return {entry["fields"]["audience"]: entry["fields"] for entry in said}


def withdrawals(scene: Scene) -> Outcome:
    with open_parts(scene.config, clock=scene.clock.now) as parts:
        job = withdrawals_job(parts.evidence.reader, parts.settings, scene.clock.now(), due_only=False)
        assert job is not None
        return run(parts, job)


def same(seconds: int, people: int) -> dict[str, int]:
    return {"people": people, "p50": seconds, "p95": seconds, "max": seconds}


def say_no(scene: Scene, ages: tuple[int, ...]) -> None:
    """So many seconds ago, one after the other, people who are on the lists of one segment objected."""
    with StoreFile(scene.store) as store:
        on = "SELECT account_id FROM segment_row JOIN shop_account USING (account_id, company) WHERE segment = 'bought_audio_12m'"
        wanted = scene.wanted()["computime/bought_audio_12m/meta"]
        people = sorted(
            (str(account), str(email))
            for account, email in store.rows(f"SELECT account_id, email FROM shop_account WHERE account_id IN ({on})")
            if hashlib.sha256(str(email).strip().lower().encode()).hexdigest() in wanted
        )
        rows = []
        for number, age in enumerate(ages):
            at = moment(scene.clock.now() - timedelta(seconds=age))
            rows.append((f"clock-{number}", people[number][0], at, at))
        store.many(
            "INSERT INTO shop_right VALUES (?, ?, NULL, 'computime', 'object', 'ad_matching', ?, ?, 'privacy_request', NULL, 'CASE-1')",
            rows,
        )


@pytest.fixture(scope="module")
def lived(today: Past, tmp_path_factory: pytest.TempPathFactory) -> tuple[Scene, Outcome, Outcome, Outcome]:
    """A night 23 hours after the last watermark; a night an hour later, which settles it; withdrawals two hours after that."""
    with Scene(today, tmp_path_factory.mktemp("clocks")) as scene:
        night = scene.night()
        scene.advance(timedelta(hours=1))
        idle = scene.night()
        scene.advance(timedelta(hours=2))
        say_no(scene, AGES)
        hour = withdrawals(scene)
        return scene, night, idle, hour


def test_a_night_measures_from_the_watermark_before_it(lived: tuple[Scene, Outcome, Outcome, Outcome]) -> None:
    scene, night, _, _ = lived
    times = times_of(scene, night.run_id)
    noes = {
        entry["fields"]["audience"]: entry["fields"]["noes"]
        for entry in scene.log()
        if entry["type"] == "funnel" and entry["run_id"] == night.run_id
    }
    assert len(times) == 4
    assert min(noes.values()) > 0
    for key, said in times.items():
        assert said["visible_to_accepted"] == same(23 * 3600, noes[key])
        assert said["recorded_to_visible"]["people"] <= noes[key]
        assert 0 < said["recorded_to_visible"]["max"] < 24 * 3600, "the day's noes were recorded on that day"
        assert said["again"] == 0
        if key.endswith("/meta"):
            assert said["accepted_to_done"] == same(0, night.sent[key].removed)
        else:
            assert "accepted_to_done" not in said, "Google has not said anything yet"


def test_the_next_run_tells_when_google_was_done(lived: tuple[Scene, Outcome, Outcome, Outcome]) -> None:
    scene, night, idle, _ = lived
    times = times_of(scene, idle.run_id)
    assert set(times) == {key for key in night.sent if key.endswith("/google")}
    for key, said in times.items():
        assert said["accepted_to_done"] == same(3600, night.sent[key].removed)
        assert "visible_to_accepted" not in said


def test_a_run_for_withdrawals_measures_each_person(lived: tuple[Scene, Outcome, Outcome, Outcome]) -> None:
    scene, _, _, hour = lived
    times = times_of(scene, hour.run_id)
    assert set(times) == {"computime/bought_audio_12m/google", "computime/bought_audio_12m/meta"}
    for said in times.values():
        assert said["visible_to_accepted"] == same(2 * 3600, len(AGES))
        assert said["recorded_to_visible"] == {"people": 5, "p50": 401, "p95": 1000, "max": 1000}
    assert hour.exit_codes == (0,)


def test_what_the_log_tells_together_and_status_shows(lived: tuple[Scene, Outcome, Outcome, Outcome]) -> None:
    scene, night, idle, hour = lived
    clocks = {(each.recipient, each.clock): each for each in removal_clocks(scene.log()[scene.past.entries :])}
    noes = sum(times_of(scene, night.run_id)[key]["visible_to_accepted"]["people"] for key in night.sent if "google" in key)
    google = spread([(23 * 3600, noes), (2 * 3600, len(AGES))])
    assert google is not None
    assert clocks["google", "visible_to_accepted"] == RemovalClock("google", "visible_to_accepted", *astuple(google))
    assert clocks["meta", "accepted_to_done"].longest == 0
    assert clocks["google", "accepted_to_done"].longest == 3600
    evidence = open_evidence(scene.config, scene.clock.now, read_only=True)
    try:
        found = status(evidence, settings_in_use(evidence), scene.clock.now())
    finally:
        evidence.engine.dispose()
    assert found.clocks == removal_clocks(scene.log())
    record(
        "clocks",
        [Row("clocks of removals against values worked out by hand: a night, its settling, a run for withdrawals", 3)],
        [
            Clock(kind, f"{each.recipient}: {each.clock.replace('_', ' ')}", each.people, each.p50, each.p95, each.longest)
            for kind, outcome in (("night", night), ("settling", idle), ("withdrawals", hour))
            for each in removal_clocks(entry for entry in scene.log() if entry["run_id"] == outcome.run_id)
        ],
    )


def test_a_spread_is_that_of_the_people_one_by_one() -> None:
    measured = [(10, 3), (700, 1), (20, 90), (5, 6)]
    people = sorted(Counter(dict(measured)).elements())
    assert spread(measured) == Spread(100, people[49], people[94], people[-1])
    assert spread([(7, 0)]) is None
    assert spread([(7, 1)]) == Spread(1, 7, 7, 7)


def test_together_is_never_less_than_the_truth() -> None:
    """Two runs whose people are known one by one, told by their spreads alone."""
    runs = [[(value * 7 % 100, 1) for value in range(40)], [(500, 1), (3, 2)]]
    entries = [
        {"type": "removal_times", "fields": {"recipient": "meta", "accepted_to_done": found.as_dict()}}
        for measured in runs
        if (found := spread(measured)) is not None
    ]
    (together,) = removal_clocks(entries)
    truth = spread([each for measured in runs for each in measured])
    assert truth is not None
    assert (together.people, together.longest) == (truth.people, truth.longest)
    assert together.p50 >= truth.p50
    assert together.p95 >= truth.p95
