"""Keeping within Meta's allowance: what the headers say, pauses that grow, and silence while Meta asks for it. Time is the test's own."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from passing_time import Time

from nestaudience.destinations.meta_errors import Trouble
from nestaudience.destinations.meta_pace import (
    ADDITIONS_END,
    LONGEST_PAUSE,
    LONGEST_WAIT,
    QUIET,
    REMOVALS_SLOW_FROM,
    SLOW_FROM,
    Pace,
)
from nestaudience.destinations.meta_usage import Usage, usage_of

ONE, OTHER = "1112223333", "4445556666"


def pace() -> tuple[Pace, Time]:
    clock = Time()
    return Pace(clock=lambda: clock.now, sleep=clock.sleep), clock


def business(percent: object, minutes: object = 0, name: str = "998877") -> dict[str, str]:
    entry = {"type": "custom_audience", "call_count": percent, "total_cputime": 1, "total_time": 2}
    return {"x-business-use-case-usage": json.dumps({name: [entry | {"estimated_time_to_regain_access": minutes}]})}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, {}),
        (business(30), {ONE: Usage(30.0)}),
        (business(100, 19), {ONE: Usage(100.0, 1140.0)}),
        ({"x-ad-account-usage": '{"acc_id_util_pct":9.67,"reset_time_duration":100}'}, {ONE: Usage(9.67)}),
        ({"x-app-usage": '{"call_count":28,"total_time":25,"total_cputime":31}'}, {"": Usage(31.0)}),
        (business(10) | {"x-ad-account-usage": '{"acc_id_util_pct":70}'}, {ONE: Usage(70.0)}),
        ({"x-business-use-case-usage": json.dumps({ONE: [{"call_count": 5}], OTHER: [{"call_count": 99}]})}, {ONE: Usage(5.0)}),
        ({"x-business-use-case-usage": '{"7":[{"total_time":8},{"total_cputime":9}]}'}, {ONE: Usage(9.0)}),
        (business("100", "19"), {ONE: Usage(2.0)}),
        (business(50, 10**9), {ONE: Usage(50.0)}),
        (business(50, True), {ONE: Usage(50.0)}),
        ({"x-business-use-case-usage": "[]"}, {}),
        ({"x-business-use-case-usage": '{"7":{"call_count":8}}'}, {}),
        ({"x-ad-account-usage": "{", "x-app-usage": "x" * 5000}, {}),
        ({"x-ad-account-usage": '{"acc_id_util_pct":NaN}'}, {}),
        ({"x-ad-account-usage": '{"acc_id_util_pct":1' + "0" * 400 + "}"}, {}),
    ],
)
def test_what_a_header_says(headers: Mapping[str, str], expected: dict[str, Usage]) -> None:
    assert dict(usage_of(ONE, headers)) == expected


def test_nothing_waits_while_little_is_used() -> None:
    kept, clock = pace()
    kept.heard(ONE, business(SLOW_FROM), None)
    assert kept.ready(ONE, removal=False) is None
    assert kept.held(ONE) is None
    assert clock.slept == []


@given(st.floats(0, 200), st.floats(0, 200))
def test_the_more_is_used_the_longer_it_pauses_and_removals_less_than_additions(one: float, other: float) -> None:
    def pause(percent: float, *, removal: bool) -> float:
        kept, clock = pace()
        kept.heard(ONE, business(percent), None)
        refused = kept.ready(ONE, removal=removal)
        assert (refused is not None) is (not removal and percent >= ADDITIONS_END)
        return LONGEST_PAUSE if refused else sum(clock.slept)

    less, more = sorted((one, other))
    for removal in (True, False):
        assert 0 <= pause(less, removal=removal) <= pause(more, removal=removal) <= LONGEST_PAUSE
    assert pause(more, removal=True) <= pause(more, removal=False)
    assert (pause(more, removal=True) > 0) is (more > REMOVALS_SLOW_FROM)


def test_a_named_time_is_kept_and_ends() -> None:
    kept, clock = pace()
    kept.heard(ONE, business(100, 19), None)
    for removal in (True, False):
        assert kept.ready(ONE, removal=removal) == Trouble("quota_exhausted", without_effect=True, after=1140.0)
    assert clock.slept == []
    clock.now += 1140 - LONGEST_WAIT / 2
    assert kept.held(ONE) is not None
    assert kept.ready(ONE, removal=True) is None
    assert clock.slept == [LONGEST_WAIT / 2]
    assert kept.held(ONE) is None


def test_a_limit_without_a_time_is_followed_by_silence() -> None:
    for after in (None, 30.0):
        kept, _ = pace()
        kept.heard(ONE, {}, Trouble("quota_exhausted", without_effect=True, after=after))
        assert kept.held(ONE) == Trouble("quota_exhausted", without_effect=True, after=after or QUIET)
    kept, _ = pace()
    kept.heard(ONE, {}, Trouble("unavailable", without_effect=False))
    assert kept.held(ONE) is None


def test_one_account_slows_no_other_and_the_app_slows_all() -> None:
    kept, clock = pace()
    kept.heard(ONE, business(100, 19), None)
    assert kept.held(OTHER) is None
    assert kept.ready(OTHER, removal=False) is None
    assert clock.slept == []
    kept.heard(OTHER, {"x-app-usage": '{"call_count":99}'}, None)
    assert kept.ready(OTHER, removal=False) is not None
    assert kept.ready("7778889999", removal=False) is not None
    kept.heard("", {}, Trouble("quota_exhausted", without_effect=True, after=600.0))
    assert kept.held(OTHER) is not None


def test_what_was_said_an_hour_ago_says_nothing() -> None:
    kept, clock = pace()
    kept.heard(ONE, business(99), None)
    assert kept.ready(ONE, removal=False) is not None
    clock.now += 3600
    assert kept.ready(ONE, removal=False) is None
    assert clock.slept == []


def test_a_shorter_time_does_not_take_back_a_longer_one() -> None:
    kept, _ = pace()
    kept.heard(ONE, business(100, 19), None)
    kept.heard(ONE, business(100, 1), None)
    assert kept.held(ONE) == Trouble("quota_exhausted", without_effect=True, after=1140.0)
