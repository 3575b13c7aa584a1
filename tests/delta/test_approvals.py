"""What follows from the reviewed configuration: approvals by two people and for twelve months, reviews, yearly confirmations, the switch."""

import tomllib
from calendar import monthrange
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestaudience.config.load import from_document
from nestaudience.config.settings import Settings
from nestaudience.delta import approvals
from nestaudience.delta.gates import Gate
from nestaudience.vocabulary import AudienceKey

EXAMPLE = Path(__file__).parents[2] / "config" / "nestaudience.toml"
COFFEE = AudienceKey("hemkraft/coffee_lovers/google")
TODAY = date(2026, 11, 22)


def example(segment: dict[str, Any] | None = None, approval: dict[str, Any] | None = None, **tables: Any) -> Settings:
    """The example with other words in the last segment (coffee) and its approval, and with other tables; `...` takes a word out."""
    document = tomllib.loads(EXAMPLE.read_text("utf-8")) | tables
    coffee = document["segments"][-1]
    coffee |= segment or {}
    coffee["approval"] = {k: v for k, v in (coffee["approval"] | (approval or {})).items() if v is not ...}
    return from_document(document)


def gates(settings: Settings, today: date = TODAY, key: AudienceKey = COFFEE) -> dict[str, Gate]:
    return {gate.code: gate for gate in approvals.decided(settings, settings.audiences[key], today)}


def test_the_example_is_approved_reviewed_and_confirmed() -> None:
    settings = example()
    assert all(gates(settings, key=key) == {} for key in settings.audiences)
    assert approvals.switch(settings) == ()


@pytest.mark.parametrize(
    ("approval", "said"),
    [
        ({"approver": ...}, "name an approver"),
        ({"approver": "growth-3"}, "not the owner"),
        ({"approver": "Growth-3"}, "not the owner"),
        ({"dpia": ...}, "impact assessment"),
        ({"approved_on": ...}, "name the day"),
        ({"approved_on": TODAY + timedelta(days=1)}, "in the future"),
        ({"approved_on": date(2025, 11, 22)}, "twelve months old"),
    ],
)
def test_an_approval_that_lets_nobody_join(approval: dict[str, Any], said: str) -> None:
    found = gates(example(approval=approval))
    assert set(found) == {"unapproved"}
    gate = found["unapproved"]
    assert (gate.additions, gate.ordinary, gate.exit_code) == (True, False, 5)
    assert said in gate.next_step
    assert gates(example(approval=approval), key=AudienceKey("bokhyllan/crime_readers/google")) == {}


def test_everything_that_is_wrong_with_an_approval_is_said_at_once() -> None:
    found = gates(example(approval={"approver": ..., "dpia": ..., "approved_on": date(2020, 1, 1)}))
    assert found["unapproved"].next_step.count(";") == 3  # two faults, and the one that has a semicolon of its own


@pytest.mark.parametrize("approved_on", [TODAY, date(2025, 11, 23)])
def test_an_approval_counts_from_its_day_to_the_last_of_its_year(approved_on: date) -> None:
    assert gates(example(approval={"approved_on": approved_on})) == {}


def months_between(first: date, then: date) -> int:
    """Whole calendar months, the plain way: a month is over on the same day of the next, or on its last day where that is missing."""
    months = (then.year - first.year) * 12 + then.month - first.month
    return months if then.day >= min(first.day, monthrange(then.year, then.month)[1]) else months - 1


@given(st.dates(date(2019, 1, 1), date(2032, 1, 1)), st.integers(0, 800))
def test_a_year_is_twelve_calendar_months(approved_on: date, later: int) -> None:
    today = approved_on + timedelta(days=later)
    approval = example_approval.model_copy(update={"approved_on": approved_on})
    assert ("too_old" in approvals.approval_faults(approval, today)) == (months_between(approved_on, today) >= 12)
    older = months_between(approved_on, today - timedelta(days=1)) >= 12  # older than a year: the day after it is full
    assert (today > approvals.last_day_of_confirmation(approved_on)) == older


example_approval = example().audiences[COFFEE].segment.approval


def test_the_last_day_that_there_is_has_no_year_after_it() -> None:
    assert approvals.last_day_of_confirmation(date.max) == date.max


# -- reviews


NAMES = [
    ("Barn och bebis", "word"),
    ("Köpte BARNVAGN", ""),  # whole words
    ("Köpte till barnen", "word"),
    ("Letar efter snabblån", "word"),
    ("Bought a bible", "word"),
    ("Medlemmar i facket", "word"),
    ("Hälsa & hem", "word"),
    ("Ha\u0308lsa", "word"),  # the same word in other code points
    ("healthy food", ""),
    ("Coffee-health", "word"),
    ("Bought coffee", ""),
]


@pytest.mark.parametrize(("name", "reason"), NAMES)
@pytest.mark.parametrize("reviewer", [..., "growth-3", "GROWTH-3"])
def test_a_word_of_the_list_asks_for_a_reviewer_who_is_not_the_owner(name: str, reason: str, reviewer: Any) -> None:
    found = gates(example({"name": name}, {"reviewer": reviewer}))
    assert set(found) == ({"sensitive"} if reason else set())
    assert all(word not in gate.next_step for gate in found.values() for word in name.split() if len(word) > 3)
    assert gates(example({"name": name}, {"reviewer": "privacy-2"})) == {}


def test_the_code_counts_as_words() -> None:
    document = tomllib.loads(EXAMPLE.read_text("utf-8"))
    document["segments"][-1]["code"] = "kids_12m"
    for audience in document["audiences"]:
        audience["segment"] = audience["segment"].replace("coffee_lovers", "kids_12m")
    settings = from_document(document)
    assert set(gates(settings, key=AudienceKey("hemkraft/kids_12m/google"))) == {"sensitive"}


def test_a_review_that_is_missing_needs_no_word() -> None:
    found = gates(example(approval={"sensitive": "not_reviewed", "reviewer": "privacy-2"}))
    assert {code: gate.ordinary for code, gate in found.items()} == {"sensitive": False}
    assert set(gates(example(approval={"sensitive": ...}))) == {"sensitive"}


def test_the_words_are_data() -> None:
    settings = example({"name": "Köpte kaffe"}, sensitive={"words": ["Kaffe"]})
    assert set(gates(settings)) == {"sensitive"}
    assert gates(example({"name": "Barn och bebis"}, sensitive={"words": []})) == {}


# -- yearly confirmations


@pytest.mark.parametrize("what", ["terms", "contract", "transfer"])
@pytest.mark.parametrize(("day", "closed"), [(date(2025, 11, 21), True), (date(2025, 11, 22), False), (date(2026, 11, 23), True)])
def test_what_is_confirmed_yearly_stops_additions_to_its_recipient(what: str, day: date, *, closed: bool) -> None:
    document = tomllib.loads(EXAMPLE.read_text("utf-8"))
    document["recipients"][1][f"{what}_confirmed_on"] = day
    settings = from_document(document)
    assert gates(settings) == {}
    found = gates(settings, key=AudienceKey("hemkraft/coffee_lovers/meta"))
    assert set(found) == ({"terms_missing"} if closed else set())
    if closed:
        assert f"recipients.meta.{what}_confirmed_on" in found["terms_missing"].next_step


# -- the switch


@pytest.mark.parametrize("position", ["additions", "everything"])
def test_the_switch_is_a_gate_on_every_list(position: str) -> None:
    (gate,) = approvals.switch(example(kill_switch={"position": position}))
    assert (gate.code, gate.additions, gate.exit_code) == ("kill_switch", True, 5)
