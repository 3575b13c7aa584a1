"""One past for all files here, opened again by each test and never changed; and what the tests here tell of reliability, counted as they pass."""

from collections import Counter

import pytest
from reliability import Row, record
from scenes import Past, live_until_today

FAULTS = {
    "test_a_killed_run_is_followed_by_exact_lists": "SIGKILL before and after each kind of write and request, on four lists",
    "test_a_first_night_that_is_killed_makes_no_list_twice": "SIGKILL while a first night makes its lists",
    "test_a_run_that_is_killed_while_the_platform_answers": "SIGKILL while a platform answers; the request has its effect",
    "test_a_full_disk": "a disk that is full while a night runs",
    "test_a_ledger_that_somebody_else_locks_while_a_platform_answers": "a ledger that another process locks while a platform answers",
    "test_a_ledger_that_may_only_be_read": "a ledger, its directory or the signer's head that may only be read",
    "test_a_platform_that_hangs": "a platform that hangs; the request has its effect after the run gave up",
    "test_sigterm_ends_a_run_when_the_request_at_hand_has_its_answer": "SIGTERM while a platform answers",
    "test_sigterm_ends_a_run_that_waits": "SIGTERM to a run that waits for another",
    "test_two_runs_at_once_the_second_is_refused": "two runs at once; the second is refused",
    "test_two_runs_at_once_the_second_waits": "two runs at once; the second waits",
    "test_a_run_that_waits_takes_over_from_one_that_is_killed": "SIGKILL to a run for which another waits",
}
"""Test -> the fault that each of its runs met."""
_PASSED: Counter[str] = Counter()
_FAILED: set[str] = set()


@pytest.fixture(scope="session")
def today(tmp_path_factory: pytest.TempPathFactory) -> Past:
    return live_until_today(tmp_path_factory.mktemp("today"))


@pytest.fixture(scope="session")
def before_the_first_night(tmp_path_factory: pytest.TempPathFactory) -> Past:
    return live_until_today(tmp_path_factory.mktemp("untouched"), nights=False)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    name = report.nodeid.rpartition("::")[2].partition("[")[0]
    if report.failed:
        _FAILED.add(name)
    elif report.when == "call" and report.passed:
        _PASSED[name] += 1


def pytest_sessionfinish() -> None:
    rows = [Row(fault, _PASSED[name]) for name, fault in FAULTS.items() if _PASSED[name] and name not in _FAILED]
    if rows:
        record("faults", rows)
