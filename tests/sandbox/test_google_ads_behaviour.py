"""The local Google Ads API, row by row of its table, through the real SDK over its real wire."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import grpc
import pytest
from google.ads.googleads.v26.errors.types import errors
from google_ads_calls import (
    ACCOUNT,
    DENIED,
    GRANTED,
    JOB,
    KEYS,
    MANAGED,
    MANAGER,
    OTHER,
    TOKEN,
    add,
    clients,
    digest,
    job,
    mutate,
    person,
    reason_of,
    refused,
    rows,
    run,
    sent,
    state,
    status,
    user_list,
    wish,
)

from nestaudience.destinations.google_ads_connection import Clients
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.google_ads import GoogleAdsSandbox
from nestaudience.sandbox.google_state import GoogleState, SandboxAccount

INVALID = grpc.StatusCode.INVALID_ARGUMENT
HOUR = timedelta(hours=1)


@pytest.fixture
def sandbox() -> Iterator[GoogleAdsSandbox]:
    with GoogleAdsSandbox(state()) as running:
        yield running


@pytest.fixture
def google(sandbox: GoogleAdsSandbox) -> Clients:
    return clients(sandbox)


def held(sandbox: GoogleAdsSandbox, name: str) -> frozenset[str]:
    return sandbox.members(name.split("/")[1], name.rpartition("/")[2])


def test_every_row_of_the_table_has_a_test_and_every_such_test_a_row() -> None:
    table = files("nestaudience.sandbox").joinpath("google_ads_behaviour.md").read_text()
    found = re.findall(r"^\| A(\d\d) \|", table, re.MULTILINE)
    assert found == sorted(re.findall(r"^def test_a(\d\d)_", Path(__file__).read_text(), re.MULTILINE))
    assert len(found) > 30


def test_a01_tokens(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    expected = (grpc.StatusCode.UNAUTHENTICATED, "OAUTH_TOKEN_INVALID")
    assert refused(lambda: user_list(clients(sandbox, "stranger"))) == expected
    sandbox.state.revoked.add(TOKEN)
    assert refused(lambda: rows(google, "SELECT customer.id FROM customer")) == expected


def test_a02_accounts(google: Clients) -> None:
    expected = (grpc.StatusCode.PERMISSION_DENIED, "USER_PERMISSION_DENIED")
    for account in (OTHER, "1"):
        assert refused(lambda account=account: user_list(google, account=account)) == expected
        assert refused(lambda account=account: rows(google, "SELECT customer.id FROM customer", account)) == expected
        assert refused(lambda account=account: job(google, f"customers/{account}/userLists/1", account=account)) == expected
        assert refused(lambda account=account: run(google, f"customers/{account}/offlineUserDataJobs/1")) == expected


def test_a03_managers(google: Clients) -> None:
    assert mutate(google, MANAGED, login=MANAGER, create=wish()).startswith(f"customers/{MANAGED}/userLists/")
    for login in ("", ACCOUNT):
        assert refused(lambda login=login: mutate(google, MANAGED, login=login, create=wish("x")))[1] == "USER_PERMISSION_DENIED"


def test_a04_names(google: Clients) -> None:
    user_list(google, "one")
    assert refused(lambda: user_list(google, "one")) == (INVALID, "NAME_ALREADY_USED")
    assert refused(lambda: user_list(google, "")) == (INVALID, "INVALID_NAME")


def test_a05_life_spans(google: Clients) -> None:
    assert refused(lambda: user_list(google, membership_life_span=541)) == (INVALID, "TOO_HIGH")
    wanted = wish()
    del wanted["membership_life_span"]
    mutate(google, create=wanted)
    (row,) = rows(google, "SELECT user_list.membership_life_span FROM user_list")
    assert row.user_list.membership_life_span == 540


def test_a06_kinds_of_key(google: Clients) -> None:
    assert refused(lambda: user_list(google, crm_based_user_list={})) == (INVALID, "REQUIRED")


def test_a07_removing_a_list(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    name = user_list(google)
    sent(google, name, {"create": person(digest("a"))})
    sandbox.advance(HOUR)
    assert mutate(google, remove=name) == name
    assert held(sandbox, name) == frozenset()
    assert rows(google, "SELECT user_list.id FROM user_list") == []
    assert refused(lambda: mutate(google, remove=name)) == (INVALID, "RESOURCE_NOT_FOUND")


def test_a08_lists_of_jobs(google: Clients) -> None:
    elsewhere = mutate(google, MANAGED, login=MANAGER, create=wish())
    mobile = user_list(google, "mobile", crm_based_user_list={"upload_key_type": KEYS.MOBILE_ADVERTISING_ID, "app_id": "1"})
    for name in (f"customers/{ACCOUNT}/userLists/1", elsewhere, "nothing"):
        assert refused(lambda name=name: job(google, name)) == (INVALID, "INVALID_USER_LIST_ID")
    assert refused(lambda: job(google, mobile)) == (INVALID, "INVALID_USER_LIST_TYPE")


def account(sandbox: GoogleAdsSandbox, **changed: bool) -> None:
    sandbox.state.accounts[ACCOUNT] = replace(SandboxAccount(), **changed)


def test_a09_allow_lists(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    name = user_list(google)
    account(sandbox, allowlisted=False)
    assert refused(lambda: job(google, name)) == (INVALID, "CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE")
    assert refused(lambda: user_list(google, "b"))[1] == "ADVERTISER_NOT_ON_ALLOWLIST_FOR_USING_UPLOADED_DATA"


def test_a10_terms(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    name = user_list(google)
    assert refused(lambda: job(google, name, DENIED)) == (INVALID, "CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS")
    account(sandbox, terms_accepted=False)
    assert refused(lambda: job(google, name)) == (INVALID, "CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS")


def test_a11_political_declaration(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    name = user_list(google)
    account(sandbox, political_declaration=False)
    for call in (lambda: job(google, name), lambda: user_list(google, "b"), lambda: mutate(google, remove=name)):
        assert refused(call) == (INVALID, "EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED")


def test_a12_sizes(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    name = job(google, user_list(google))
    twenty = person(*[digest("a")] * 20)
    assert refused(lambda: add(google, name, *[{"create": twenty}] * 5001)) == (INVALID, "TOO_MANY_USER_IDENTIFIERS")
    assert sandbox.jobs.by_name[name].people == []


def test_a13_partial_failure(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    target = user_list(google)
    name = job(google, target)
    people = (person(digest("a")), person("no digest"), person(digest("b")), person(), person(*[digest("c")] * 21))
    partial = add(google, name, *({"create": each} for each in people)).partial_failure_error
    (detail,) = partial.details
    failure = errors.GoogleAdsFailure.pb()()
    assert detail.Unpack(failure)
    told = {error.location.field_path_elements[0].index: reason_of(error) for error in failure.errors}
    assert told == {1: "INVALID_SHA256_FORMAT", 3: "MISSING_USER_IDENTIFIER", 4: "TOO_MANY_USER_IDENTIFIERS"}
    run(google, name)
    sandbox.advance(HOUR)
    assert status(google, name).status == JOB.SUCCESS
    assert held(sandbox, target) == {digest("a"), digest("b")}


def test_a14_without_partial_failure(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    name = job(google, user_list(google))
    bad = lambda: add(google, name, {"create": person(digest("a"))}, {"create": person("x")}, partial=False)  # noqa: E731
    assert refused(bad) == (INVALID, "INVALID_SHA256_FORMAT")
    assert sandbox.jobs.by_name[name].people == []


def test_a15_additions_and_removals(google: Clients) -> None:
    name = job(google, user_list(google))
    both = ({"create": person(digest("a"))}, {"remove": person(digest("b"))})
    assert refused(lambda: add(google, name, *both)) == (INVALID, "CONFLICTING_OPERATION")
    add(google, name, both[0])
    assert refused(lambda: add(google, name, both[1])) == (INVALID, "CONFLICTING_OPERATION")


def test_a16_everybody(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    target = user_list(google)
    sent(google, target, {"create": person(digest("a"))})
    sandbox.advance(HOUR)
    name = job(google, target)
    everybody = {"remove_all": True}
    assert refused(lambda: add(google, name, {"remove": person(digest("b"))}, everybody))[1] == "INVALID_OPERATION_ORDER"
    sent(google, target, everybody)
    sandbox.advance(HOUR)
    assert held(sandbox, target) == frozenset()


def test_a17_one_call_at_a_time(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    name = job(google, user_list(google))
    sandbox.faults.add(Fault("AddOfflineUserDataJobOperations", FaultKind.HANG, seconds=3))
    slow = threading.Thread(target=lambda: add(google, name, {"create": person(digest("a"))}))
    slow.start()
    while not sandbox.jobs.adding:
        time.sleep(0.01)
    assert refused(lambda: add(google, name, {"create": person(digest("b"))})) == (INVALID, "CONCURRENT_MODIFICATION")
    slow.join()
    add(google, name, {"create": person(digest("b"))})
    assert len(sandbox.jobs.by_name[name].people) == 2


def test_a18_a_job_that_is_not_run(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    target = user_list(google)
    name = job(google, target)
    add(google, name, {"create": person(digest("a"))})
    sandbox.advance(timedelta(days=5, seconds=1))
    assert (status(google, name).status, held(sandbox, target)) == (JOB.PENDING, frozenset())
    assert refused(lambda: run(google, name)) == (INVALID, "RESOURCE_NOT_FOUND")


def test_a19_a_job_that_is_run(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    target = user_list(google)
    name = sent(google, target, *({"create": person(digest(number))} for number in range(100)))
    assert (status(google, name).status, held(sandbox, target)) == (JOB.RUNNING, frozenset())
    for again in (lambda: run(google, name), lambda: add(google, name, {"create": person(digest("b"))})):
        assert refused(again) == (INVALID, "JOB_ALREADY_STARTED")
    sandbox.advance(HOUR)
    told = status(google, name)
    assert (told.status, told.operation_metadata.match_rate_range.name, len(held(sandbox, target))) == (
        JOB.SUCCESS,
        "MATCH_RANGE_61_TO_70",
        100,
    )


def test_a20_an_empty_job(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    name = sent(google, user_list(google))
    sandbox.advance(HOUR)
    assert status(google, name).status == JOB.SUCCESS


def test_a21_no_consent(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    target = user_list(google)
    name = sent(google, target, {"create": person(digest("a"))}, consent=None)
    sandbox.advance(HOUR)
    assert (status(google, name).status, held(sandbox, target)) == (JOB.SUCCESS, frozenset())


def test_a22_removals(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    target = user_list(google)
    sent(google, target, {"create": person(digest("a"))}, {"create": person(digest("b"))}, consent=GRANTED)
    sandbox.advance(HOUR)
    sent(google, target, {"remove": person(digest("a"))}, consent=None)
    sandbox.advance(HOUR)
    assert held(sandbox, target) == {digest("b")}


def test_a23_lists_that_cannot_take_it(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    closed, gone = user_list(google, "closed"), user_list(google, "gone")
    jobs = [sent(google, target, {"create": person(digest("a"))}) for target in (closed, gone)]
    sandbox.state.lists[ACCOUNT][closed.rpartition("/")[2]].open = False
    mutate(google, remove=gone)
    sandbox.advance(HOUR)
    for name in jobs:
        told = status(google, name)
        assert (told.status, told.failure_reason) == (JOB.FAILED, 0)


def test_a24_half_a_job(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    target = user_list(google)
    sandbox.jobs.breaking = 1
    name = sent(google, target, *({"create": person(digest(number))} for number in range(10)))
    sandbox.advance(HOUR)
    assert (status(google, name).status, len(held(sandbox, target))) == (JOB.FAILED, 5)


def test_a25_order(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    target = user_list(google)
    sent(google, target, {"create": person(digest("a"))})
    sandbox.jobs.apply_after = timedelta(minutes=10)
    sent(google, target, {"remove": person(digest("a"))}, consent=None)
    sandbox.advance(timedelta(minutes=20))
    assert held(sandbox, target) == frozenset()
    sandbox.advance(HOUR)
    assert held(sandbox, target) == {digest("a")}


def test_a26_lists(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    target = user_list(google, "quote ' and \\")
    fields = ("name", "size_for_display", "size_for_search", "match_rate_percentage", "closing_reason", "membership_status")
    query = (
        f"SELECT {', '.join(f'user_list.{name}' for name in fields)} FROM user_list WHERE user_list.name = 'quote \\' and \\\\'"
    )

    def told() -> tuple[object, ...]:
        (row,) = rows(google, query)
        raw = type(row).pb(row).user_list
        assert (raw.id, raw.integration_code) == (0, "")
        sizes = [getattr(raw, name) if raw.HasField(name) else None for name in fields[1:4]]
        return (*sizes, row.user_list.closing_reason.name, row.user_list.membership_status.name)

    assert told() == (None, None, None, "UNSPECIFIED", "OPEN")
    sent(google, target, *({"create": person(digest(number))} for number in range(99)))
    sandbox.advance(HOUR)
    assert told()[:3] == (0, 0, 0)
    sent(google, target, {"create": person(digest("one more"))})
    sandbox.advance(HOUR)
    remote = sandbox.state.lists[ACCOUNT][target.rpartition("/")[2]]
    remote.open, remote.closed_as_unused = False, True
    assert told() == (100, 100, 62, "UNUSED", "CLOSED")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT user_list.colour FROM user_list",
        "SELECT user_list.id FROM user_list WHERE user_list.colour = 'red'",
        "SELECT user_list.id FROM campaign",
        "SELECT user_list.id FROM user_list WHERE user_list.id = 'open",
        "SELECT user_list.id FROM user_list WHERE user_list.id = 1 AND ",
        "",
    ],
)
def test_a27_queries(google: Clients, query: str) -> None:
    user_list(google)
    code, reason = refused(lambda: rows(google, query))
    assert (code, reason) in {(INVALID, "UNRECOGNIZED_FIELD"), (INVALID, "UNEXPECTED_INPUT"), (INVALID, "QUERY_ERROR")}
    assert (reason == "UNRECOGNIZED_FIELD") is ("colour" in query)


def test_a28_accepted_terms(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    query = "SELECT customer.id, customer.conversion_tracking_setting.accepted_customer_data_terms FROM customer"
    for accepted in (True, False):
        account(sandbox, terms_accepted=accepted)
        (row,) = rows(google, query)
        assert row.customer.id == int(ACCOUNT)
        assert row.customer.conversion_tracking_setting.accepted_customer_data_terms is accepted


def test_a29_quotas(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    sandbox.operations_a_day = 1
    user_list(google)
    assert refused(lambda: user_list(google, "b")) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
    sandbox.advance(timedelta(days=1))
    user_list(google, "b")


def test_a30_validation(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    assert mutate(google, create=wish(), validate=True) == ""
    target = user_list(google)
    assert job(google, target, validate=True) == ""
    name = job(google, target)
    add(google, name, {"create": person(digest("a"))}, validate=True)
    assert sandbox.jobs.by_name[name].people == []
    assert refused(lambda: add(google, name, {"create": person("x")}, partial=False, validate=True))[1] == "INVALID_SHA256_FORMAT"


def test_a31_one_account_two_ways_in() -> None:
    shared: GoogleState = state()
    with DataManagerSandbox(shared.accounts, shared.clock) as manager, GoogleAdsSandbox(manager.state) as ads:
        assert ads.ca_pem != manager.ca_pem
        google = clients(ads, manager.token)
        target = user_list(google)
        sent(google, target, {"create": person(digest("a"))})
        manager.advance(HOUR)
        (remote,) = manager.lists(ACCOUNT)
        assert manager.members(ACCOUNT, remote.list_id) == held(ads, target) == {digest("a")}
        manager.drop_list(ACCOUNT, remote.list_id)
        assert rows(google, "SELECT user_list.id FROM user_list") == []


def test_a32_time_runs_out(sandbox: GoogleAdsSandbox, google: Clients) -> None:
    target = user_list(google)
    sent(google, target, {"create": person(digest("a"))}, {"create": person(digest("b"))})
    sandbox.advance(timedelta(days=20))
    sent(google, target, {"create": person(digest("b"))})
    sandbox.advance(timedelta(days=20))
    assert held(sandbox, target) == {digest("b")}
