"""What closes the gates on feeds, against a plain reading of the rules: each fault by itself, at its limit, and what it holds."""

import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestaudience.config.load import from_document
from nestaudience.config.settings import Settings
from nestaudience.delta.feeds import USED, Accepted, Computed, Facts, Feed, Marks, feed_gates, stale
from nestaudience.delta.gates import Gate
from nestaudience.delta.stops import ListStates, closed_gates
from nestaudience.vocabulary import AudienceKey

EXAMPLE = Path(__file__).parents[2] / "config" / "nestaudience.toml"
NOW = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
CRIME, COFFEE = AudienceKey("bokhyllan/crime_readers/google"), AudienceKey("hemkraft/coffee_lovers/google")
SECOND = timedelta(seconds=1)


def example(store: dict[str, Any] | None = None, **tables: Any) -> Settings:
    document = tomllib.loads(EXAMPLE.read_text("utf-8"))
    document["store"] |= store or {}
    return from_document(document | tables)


SETTINGS = example()
PEOPLE = dict.fromkeys(SETTINGS.audiences, (1000, 500))
SOUND = Facts(
    marks=Marks(
        {"bokhyllan 00ff": NOW - timedelta(hours=2)}, {"account bokhyllan": "1"}, dict.fromkeys(SETTINGS.controllers, 4000)
    ),
    feeds={(view, company): Feed(NOW - timedelta(minutes=5), 10) for view in USED for company in SETTINGS.controllers},
    segments={(a.controller.key, a.segment.code): Computed(NOW - timedelta(hours=1), 20) for a in SETTINGS.audiences.values()},
    rows={(view, company): 10 for view in USED[:3] for company in SETTINGS.controllers},
    members={(a.controller.key, a.segment.code): 20 for a in SETTINGS.audiences.values()},
    gone=dict.fromkeys(SETTINGS.controllers, (0, 1000)),
)
BEFORE = dict.fromkeys(SETTINGS.audiences, Accepted(SOUND.marks, 1000, 500, 4000))


def gates(
    facts: Facts, settings: Settings = SETTINGS, people: dict[AudienceKey, tuple[int, int]] = PEOPLE
) -> dict[str, dict[str, Gate]]:
    found = feed_gates(settings, facts, BEFORE, people, NOW)
    return {key: {gate.code: gate for gate in closed} for key, closed in found.items() if closed}


def test_a_sound_store_closes_nothing() -> None:
    assert gates(SOUND) == {}
    assert gates(replace(SOUND, feeds={}, segments={})) == {}


@pytest.mark.parametrize("view", USED)
@pytest.mark.parametrize(
    ("feed", "closed"),
    [
        (Feed(NOW - timedelta(minutes=60), 10), False),
        (Feed(NOW - timedelta(minutes=60) - SECOND, 10), True),
        (Feed(NOW + timedelta(hours=1), 10), False),
        (Feed(NOW + timedelta(hours=1) + SECOND, 10), True),
        (Feed(None, 10), True),
        (None, True),
    ],
)
def test_a_feed_holds_its_company_and_what_tells_of_people_adds_nobody_anywhere(
    view: str, feed: Feed | None, *, closed: bool
) -> None:
    feeds = {key: each for key, each in SOUND.feeds.items() if key != (view, "bokhyllan")}
    found = gates(replace(SOUND, feeds=feeds | ({} if feed is None else {(view, "bokhyllan"): feed})))
    own = {key for key in SETTINGS.audiences if key.startswith("bokhyllan/")}
    assert found.keys() == (set() if not closed else own if view == "segment_member" else set(SETTINGS.audiences))
    for key, by_code in found.items():
        ((code, gate),) = by_code.items()
        assert code == ("feed_incomplete" if key in own else "feed_incomplete_elsewhere")
        assert (gate.additions, gate.ordinary, gate.releasable, gate.exit_code) == (True, key in own, False, 5)


@pytest.mark.parametrize(("rows", "closed"), [(9, True), (10, False), (11, False)])
def test_fewer_rows_than_were_loaded(rows: int, *, closed: bool) -> None:
    found = gates(replace(SOUND, rows={**SOUND.rows, ("consent_event", "hemkraft"): rows}))
    assert bool(found) == closed
    assert not closed or "shows 9 of 10 rows" in found[COFFEE]["feed_incomplete"].next_step


def test_a_company_that_left_the_group_owes_no_feed() -> None:
    document = tomllib.loads(EXAMPLE.read_text("utf-8"))
    next(each for each in document["controllers"] if each["key"] == "hemkraft")["state"] = "divested"
    feeds = {key: each for key, each in SOUND.feeds.items() if key[1] != "hemkraft"}
    assert gates(replace(SOUND, feeds=feeds), from_document(document)) == {}


@pytest.mark.parametrize(
    ("freshness", "environment", "closed"),
    [(None, "sandbox", False), ("required", "sandbox", True), ("unknown", "production", False), (None, "production", True)],
)
def test_who_must_tell_how_fresh_a_store_is(freshness: str | None, environment: str, *, closed: bool) -> None:
    settings = example({} if freshness is None else {"freshness": freshness}, environment=environment)
    found = gates(replace(SOUND, feeds={}, segments={}), settings)
    assert {code for by_code in found.values() for code in by_code} == ({"feed_incomplete", "segment_feed"} if closed else set())
    assert settings.freshness_unknown == (freshness == "unknown")


def test_what_is_told_counts_even_where_nothing_must_be_told() -> None:
    late = {("account", "bokhyllan"): Feed(NOW - timedelta(hours=5), 10)}
    settings = example({"freshness": "unknown"})
    assert "feed_incomplete" in gates(replace(SOUND, feeds={**SOUND.feeds, **late}), settings)[CRIME]


@pytest.mark.parametrize(
    ("computed", "people", "closed"),
    [
        (Computed(NOW - timedelta(hours=36), 20), (1000, 500), False),
        (Computed(NOW - timedelta(hours=36) - SECOND, 20), (1000, 500), True),
        (Computed(NOW, 19), (1000, 500), True),
        (Computed(NOW, 21), (1000, 500), True),
        (Computed(NOW, None), (1000, 500), True),
        (Computed(None, 20), (1000, 500), True),
        (None, (1000, 500), True),
        (Computed(NOW, 20), (500, 250), False),
        (Computed(NOW, 20), (499, 250), True),
        (Computed(NOW, 20), (500, 249), True),
    ],
)
def test_a_segment(computed: Computed | None, people: tuple[int, int], *, closed: bool) -> None:
    others = {key: each for key, each in SOUND.segments.items() if key != ("bokhyllan", "crime_readers")}
    mine = {} if computed is None else {("bokhyllan", "crime_readers"): computed}
    found = gates(replace(SOUND, segments=others | mine), people={**PEOPLE, CRIME: people})
    assert found.get(COFFEE) is None
    gate = found.get(CRIME, {}).get("segment_feed")
    assert (gate is not None) == closed
    assert gate is None or (gate.additions, gate.ordinary, gate.releasable) == (True, True, True)


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_list_that_could_never_open_is_measured_by_no_share(then: int, now: int) -> None:
    before = {CRIME: Accepted(Marks(), then, then, then)}
    facts = replace(SOUND, segments={}, feeds={}, marks=Marks(accounts={"bokhyllan": now}))
    codes = {gate.code for gate in feed_gates(SETTINGS, facts, before, {CRIME: (now, now)}, NOW)[CRIME]}
    assert ("segment_feed" in codes) == (then >= 100 and now < then / 2)
    assert ("mass_vanishing" in codes) == (then >= 100 and (then - now) / max(then, 1) > 0.05)


@pytest.mark.parametrize(
    ("latest", "load", "closed"),
    [
        (NOW - timedelta(hours=3), "1", False),
        (NOW - timedelta(hours=3) - SECOND, "1", True),
        (None, "1", True),
        (NOW, "1", False),
        (NOW, "2", True),
    ],
)
def test_a_store_that_went_back_in_time(latest: datetime | None, load: str, *, closed: bool) -> None:
    marks = Marks({} if latest is None else {"bokhyllan 00ff": latest}, {"account bokhyllan": load}, SOUND.marks.accounts)
    found = gates(replace(SOUND, marks=marks))
    assert len(found) == (len(SETTINGS.audiences) if closed else 0)
    for by_code in found.values():
        gate = by_code["source_rollback"]
        assert (gate.additions, gate.ordinary, gate.releasable, gate.exit_code) == (True, False, True, 5)
        assert "00ff" not in gate.next_step


@pytest.mark.parametrize(("gone", "closed"), [((50, 1000), False), ((51, 1000), True), ((60, 99), False)])
def test_accounts_that_vanish(gone: tuple[int, int], *, closed: bool) -> None:
    found = gates(replace(SOUND, gone={**SOUND.gone, "bokhyllan": gone}))
    assert found.keys() == ({key for key in SETTINGS.audiences if key.startswith("bokhyllan/")} if closed else set())
    for by_code in found.values():
        gate = by_code["mass_vanishing"]
        assert (gate.additions, gate.ordinary, gate.vanished, gate.releasable) == (True, False, True, True)


@pytest.mark.parametrize(("seconds", "closed"), [(120, False), (121, True), (-120, False), (-121, True)])
def test_clocks_that_differ(seconds: int, *, closed: bool) -> None:
    found = gates(replace(SOUND, skew=timedelta(seconds=seconds)))
    assert len(found) == (len(SETTINGS.audiences) if closed else 0)
    assert all("ahead of" in each["clock_skew"].next_step for each in found.values()) or seconds < 0


@pytest.mark.parametrize(("hours", "closed"), [(6, False), (6.01, True)])
def test_a_snapshot_grows_old(hours: float, *, closed: bool) -> None:
    assert (stale(timedelta(hours=hours)) is not None) == closed


def test_what_was_not_read_in_whole_is_compared_with_nothing() -> None:
    assert gates(Facts(whole=False)) == {}
    assert {code for each in gates(Facts(whole=False, skew=timedelta(hours=1))).values() for code in each} == {"clock_skew"}


def test_a_list_that_is_emptied_by_a_decision_needs_no_feed() -> None:
    """It has the gate of its end and no other."""

    class Nobody:
        def accounts(self) -> dict[str, int]:
            return {}

        def malformed(self) -> dict[str, dict[str, int]]:
            return {}

    people: Any = Nobody()
    feeds = feed_gates(SETTINGS, replace(SOUND, skew=timedelta(hours=1)), BEFORE, PEOPLE, NOW)
    lists = ListStates(endings={CRIME: "retiring"})
    found = closed_gates(SETTINGS, people, (), frozenset(), lists, NOW.date(), feeds)
    assert [gate.code for gate in found[CRIME]] == ["retiring"]
    assert "clock_skew" in [gate.code for gate in found[COFFEE]]
