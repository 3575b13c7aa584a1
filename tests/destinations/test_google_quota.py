"""The quota of a Cloud project: never more requests than Google takes, removals first when they run out, and one count for everybody."""

import threading
import time
from datetime import UTC, datetime

import pytest
from grpc import StatusCode
from hypothesis import given, settings
from hypothesis import strategies as st
from passing_time import Time

from nestaudience.destinations.google_connection import GoogleDataManagerSettings, SandboxEndpoint, SandboxToken
from nestaudience.destinations.google_data_manager import GoogleDataManager
from nestaudience.destinations.google_errors import Trouble
from nestaudience.destinations.google_quota import ALLOWED, DAY, LONGEST_WAIT, MINUTE, Allowance, Kind, Quota, quota_of
from nestaudience.destinations.port import Account, Target
from nestaudience.errors import TryAgain
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.google_state import SandboxAccount
from nestaudience.vocabulary import Operation

ACCOUNT = Account("1112223333")

SMALL = {Kind.WRITE: Allowance(5, 12, 2, 3), Kind.READ: Allowance(5, 12), Kind.LISTS: Allowance(5, 12)}


def quota(time_: Time, allowed: dict[Kind, Allowance] = SMALL) -> Quota:
    return Quota(allowed, clock=lambda: time_.now, sleep=time_.sleep)


def start(one: Quota, kind: Kind) -> Trouble | None:
    with one.turn(kind) as refused:
        return refused


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(Kind)), st.floats(0, 4000)), max_size=80))
def test_no_minute_and_no_day_gets_more_than_is_allowed(steps: list[tuple[Kind, float]]) -> None:
    """The slow reference: every request that began, by its second; any window that ends with one of them."""
    time_, begun = Time(), {kind: [] for kind in Kind}
    one = quota(time_)
    for kind, pause in steps:
        time_.now += pause
        trouble = start(one, kind)
        if trouble is None:
            begun[kind].append(time_.now)
        else:
            assert (trouble.code, trouble.without_effect) == ("quota_exhausted_today", True)
            assert trouble.after is not None
            assert trouble.after > LONGEST_WAIT / 2
            assert sum(at > time_.now - DAY - MINUTE for at in begun[kind]) >= SMALL[kind].day
        for at in begun[kind]:
            assert sum(at - MINUTE < other <= at for other in begun[kind]) <= SMALL[kind].minute
            assert sum(at - DAY < other <= at for other in begun[kind]) <= SMALL[kind].day


def test_a_full_minute_is_waited_for_and_nothing_else() -> None:
    time_ = Time()
    one = quota(time_)
    for _ in range(5):
        assert start(one, Kind.WRITE) is None
    assert (start(one, Kind.READ), time_.slept) == (None, [])
    assert start(one, Kind.WRITE) is None
    assert time_.slept == [MINUTE]


def test_what_is_kept_is_for_removals() -> None:
    time_ = Time()
    one = quota(time_)
    for _ in range(3):
        assert start(one, Kind.WRITE) is None
    assert one.ready(Kind.WRITE, removal=True) is None
    assert time_.slept == []
    assert one.ready(Kind.WRITE, removal=False) is None  # the last two of the minute are not for additions
    assert time_.slept == [MINUTE]
    for today, addition, removal in ((8, None, None), (9, "quota_exhausted_today", None), (12, *["quota_exhausted_today"] * 2)):
        answers = [one.ready(Kind.WRITE, removal=which, sent_today=today) for which in (False, True)]
        assert [None if answer is None else answer.code for answer in answers] == [addition, removal]


@pytest.mark.parametrize(("code", "after", "waits"), [("quota_exhausted", 30.0, 30.0), ("quota_exhausted_today", None, None)])
def test_what_google_says_is_honoured_by_everybody(code: str, after: float | None, waits: float | None) -> None:
    time_ = Time()
    one = quota(time_)
    one.hold(Kind.WRITE, Trouble(code, StatusCode.RESOURCE_EXHAUSTED, without_effect=True, after=after))
    trouble = start(one, Kind.WRITE)
    assert (None if trouble is None else trouble.code) == (None if waits else code)
    assert time_.slept == ([waits] if waits else [])
    assert start(one, Kind.READ) is None


def test_no_more_than_ten_at_once() -> None:
    one, inside, most, lock = Quota(), 0, [0], threading.Lock()

    def work() -> None:
        nonlocal inside
        with one.turn(Kind.WRITE):
            with lock:
                inside += 1
                most[0] = max(most[0], inside)
            time.sleep(0.02)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [10]


def test_a_project_has_one_count_in_a_process() -> None:
    assert quota_of("a project") is quota_of("a project")
    assert quota_of("a project") is not quota_of("another")


def test_google_says_what_we_count_by() -> None:
    assert {kind: (allowed.minute, allowed.day) for kind, allowed in ALLOWED.items()} == {
        Kind.WRITE: (300, 100_000),
        Kind.READ: (300, 100_000),
        Kind.LISTS: (300, 50_000),
    }
    for wrong in ((3, 3, 3), (3, 3, 0, 3), (3, 3, -1)):
        with pytest.raises(ValueError, match="kept"):
            Allowance(*wrong)


def test_two_destinations_of_a_project_share_it_and_its_day_ends_in_words() -> None:
    """Two SDK clients, one server; the eleventh request of a day is not sent."""
    accounts = {ACCOUNT.account_id: SandboxAccount()}
    with DataManagerSandbox(accounts, SandboxClock(datetime(2026, 11, 22, 3, tzinfo=UTC))) as sandbox:
        endpoint = SandboxEndpoint(sandbox.endpoint, sandbox.ca_pem)
        told = GoogleDataManagerSettings(SandboxToken(sandbox.token), terms_accepted=True, endpoint=endpoint)
        first, second = GoogleDataManager(told), GoogleDataManager(told)
        assert first._quota is second._quota
        time_ = Time()
        shared = quota(time_, SMALL | {Kind.LISTS: Allowance(100, 10)})
        first, second = GoogleDataManager(told, quota=shared), GoogleDataManager(told, quota=shared)
        for destination in (first, second) * 5:
            assert destination.find_list(ACCOUNT, "na-00000001") is None
        for destination in (first, second):
            with pytest.raises(TryAgain) as caught:
                destination.find_list(ACCOUNT, "na-00000001")
            assert caught.value.code == "quota_exhausted_today"
        assert sandbox.reads == 10
        target = Target(ACCOUNT, "1")
        with pytest.raises(TryAgain) as late:
            first.ready(target, Operation.ADD, 9)
        assert late.value.code == "quota_exhausted_today"
        first.ready(target, Operation.REMOVE, 9)
