"""The local Data Manager, asked by the real SDK over TLS: consent, results, order, quotas."""

from datetime import timedelta

import grpc
import pytest
from google.ads import datamanager_v1 as dm
from google_calls import (
    ACCOUNT,
    DENIED,
    GRANTED,
    INVALID,
    REASONS,
    STATUS,
    addition,
    destination,
    digest,
    ingest,
    list_id,
    member,
    reason,
    refused,
    removal,
    remove,
    status,
)

from nestaudience.destinations.google_connection import (
    Clients,
)
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.google_state import SandboxAccount


@pytest.mark.parametrize(
    ("user_data", "personalization", "expected"),
    [
        (GRANTED, DENIED, REASONS.PROCESSING_ERROR_REASON_DENIED_CONSENT),
        (DENIED, 0, REASONS.PROCESSING_ERROR_REASON_DENIED_CONSENT),
        (GRANTED, 0, REASONS.PROCESSING_ERROR_REASON_NO_CONSENT),
        (0, 0, REASONS.PROCESSING_ERROR_REASON_NO_CONSENT),
    ],
)
def test_b14_consent(sandbox: DataManagerSandbox, google: Clients, user_data: int, personalization: int, expected: int) -> None:
    target = list_id(google)
    consent = dm.Consent(ad_user_data=user_data, ad_personalization=personalization)
    request_id = ingest(google, addition(target, member(digest(1)), member(digest(2)), consent=consent))
    sandbox.advance(timedelta(hours=1))
    assert sandbox.members(ACCOUNT, target) == frozenset()
    (told,) = status(google, request_id)
    assert told.request_status == STATUS.FAILED
    assert [(count.reason, count.record_count) for count in told.error_info.error_counts] == [(expected, 2)]


def test_b15_consent_of_one_member(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    granted, refusing = dm.Consent(ad_user_data=GRANTED, ad_personalization=GRANTED), dm.Consent(ad_personalization=DENIED)
    people = [member(digest(1), consent=granted), member(digest(2), consent=refusing), member(digest(3))]
    ingest(google, addition(target, *people, consent=None))
    ingest(google, addition(target, member(digest(4), consent=refusing), member(digest(5))))
    sandbox.advance(timedelta(hours=1))
    assert sandbox.members(ACCOUNT, target) == {digest(1), digest(5)}


def test_b16_partial_success(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    refusing = dm.Consent(ad_personalization=DENIED)
    request_id = ingest(google, addition(target, member(digest(1)), member(digest(2), consent=refusing)))
    sandbox.advance(timedelta(hours=1))
    (told,) = status(google, request_id)
    assert told.request_status == STATUS.PARTIAL_SUCCESS
    counted = told.audience_members_ingestion_status.composite_data_ingestion_status
    assert (counted.record_count, told.error_info.error_counts[0].record_count) == (2, 1)
    assert sandbox.members(ACCOUNT, target) == {digest(1)}


def test_b17_removals_need_no_consent(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    ingest(google, addition(target, member(digest(1)), member(digest(2))))
    sandbox.advance(timedelta(hours=1))
    request_id = remove(google, removal(target, member(digest(1).upper()), member(digest("stranger"))))
    sandbox.advance(timedelta(hours=1))
    assert sandbox.members(ACCOUNT, target) == {digest(2)}
    (told,) = status(google, request_id)
    assert told.request_status == STATUS.SUCCESS
    assert told.audience_members_removal_status.composite_data_removal_status.record_count == 2


def test_b18_nothing_is_told_while_it_is_processed(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    denied = dm.Consent(ad_user_data=DENIED)
    request_id = ingest(google, addition(target, member(digest(1)), consent=denied))
    sandbox.advance(timedelta(minutes=39, seconds=59))
    (told,) = status(google, request_id)
    assert told.request_status == STATUS.PROCESSING
    assert not told.error_info.error_counts
    assert told.destination.product_destination_id == target
    sandbox.advance(timedelta(seconds=1))
    assert status(google, request_id)[0].request_status == STATUS.FAILED


def test_b19_success_is_counted(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    for number, rate in (
        (3, dm.MatchRateRange.MATCH_RATE_RANGE_NOT_ELIGIBLE),
        (100, dm.MatchRateRange.MATCH_RATE_RANGE_61_TO_70),
    ):
        people = [member(digest(one), digest(f"second {one}")) for one in range(number)]
        request_id = ingest(google, addition(target, *people))
        sandbox.advance(timedelta(hours=1))
        (told,) = status(google, request_id)
        counted = told.audience_members_ingestion_status.composite_data_ingestion_status
        assert (told.request_status, counted.record_count, counted.upload_match_rate_range) == (STATUS.SUCCESS, number, rate)
        assert counted.data_type_counts[0].count == 2 * number


def test_b20_no_order_is_promised(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    sandbox.apply_after = timedelta(hours=3)
    ingest(google, addition(target, member(digest(1))))
    sandbox.apply_after = timedelta(minutes=10)
    gone = remove(google, removal(target, member(digest(1))))
    sandbox.advance(timedelta(hours=1))
    assert status(google, gone)[0].request_status == STATUS.SUCCESS
    assert sandbox.members(ACCOUNT, target) == frozenset()
    sandbox.advance(timedelta(hours=2))
    assert sandbox.members(ACCOUNT, target) == {digest(1)}


def test_b20_due_requests_are_applied_in_the_order_of_their_times(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    sandbox.apply_after = timedelta(hours=2)
    ingest(google, addition(target, member(digest(1))))
    sandbox.apply_after = timedelta(hours=1)
    remove(google, removal(target, member(digest(1))))
    sandbox.advance(timedelta(hours=5))
    assert sandbox.members(ACCOUNT, target) == {digest(1)}


def test_b21_unknown_and_old_requests(sandbox: DataManagerSandbox, google: Clients) -> None:
    assert reason(lambda: status(google, "t-nobody")) == (INVALID, "INVALID_REQUEST_ID")
    request_id = ingest(google, addition(list_id(google), member(digest(1))))
    sandbox.advance(timedelta(days=50))
    assert status(google, request_id)[0].request_status == STATUS.SUCCESS
    sandbox.advance(timedelta(seconds=1))
    assert reason(lambda: status(google, request_id)) == (INVALID, "REQUEST_TOO_OLD")


def test_b22_validate_only(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    assert ingest(google, addition(target, member(digest(1)), validate_only=True)) == ""
    assert reason(lambda: ingest(google, addition(target, member("x"), validate_only=True))) == (INVALID, "INVALID_HEX_ENCODING")
    assert reason(lambda: status(google, "")) == (INVALID, "INVALID_REQUEST_ID")
    sandbox.advance(timedelta(days=2))
    assert sandbox.members(ACCOUNT, target) == frozenset()


def test_b38_consent_that_nobody_can_derive(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    sandbox.accounts[ACCOUNT] = SandboxAccount(consent_settings=False)
    request_id = ingest(google, addition(target, member(digest(1)), consent=dm.Consent()))
    said = ingest(google, addition(target, member(digest(2))))
    sandbox.advance(timedelta(hours=1))
    (told,) = status(google, request_id)
    counts = [(count.reason, count.record_count) for count in told.error_info.error_counts]
    assert (told.request_status, counts) == (STATUS.FAILED, [(REASONS.PROCESSING_ERROR_REASON_UNKNOWN_CONSENT, 1)])
    assert status(google, said)[0].request_status == STATUS.SUCCESS
    assert sandbox.members(ACCOUNT, target) == {digest(2)}


def test_b23_several_destinations(sandbox: DataManagerSandbox, google: Clients) -> None:
    one, two = list_id(google, "one"), list_id(google, "two")
    places = [destination(one, reference="a"), destination(two, reference="b")]
    people = [member(digest(1), destination_references=["b"]), member(digest(2))]
    request_id = ingest(google, addition("", *people, destinations=places))
    sandbox.advance(timedelta(hours=1))
    assert (sandbox.members(ACCOUNT, one), sandbox.members(ACCOUNT, two)) == ({digest(2)}, {digest(1), digest(2)})
    told = status(google, request_id)
    assert [entry.destination.product_destination_id for entry in told] == [one, two]
    twice = addition("", *people, destinations=[destination(one, reference="a"), destination(two, reference="a")])
    assert reason(lambda: ingest(google, twice)) == (INVALID, "DUPLICATE_DESTINATION_REFERENCE")


def test_b24_quotas(sandbox: DataManagerSandbox, google: Clients) -> None:
    request = addition(list_id(google), member(digest(1)))
    for _ in range(300):
        ingest(google, request)
    error = refused(lambda: ingest(google, request))
    assert error.grpc_status_code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.metadata == {"quota_limit": "IngestionMutateRequestsPerMinutePerProject"}
    assert refused(lambda: status(google, "t-1")).reason == "INVALID_REQUEST_ID"  # reads are counted apart
    sandbox.advance(timedelta(minutes=1))
    assert ingest(google, request)


def test_b24_daily_quota(sandbox: DataManagerSandbox) -> None:
    state = sandbox.state
    for minute in range(400):
        for _ in range(250):
            assert state.over_quota("Ingestion", write=True) is None
        sandbox.advance(timedelta(minutes=1))
        assert minute < 400
    assert state.over_quota("Ingestion", write=True) == "IngestionMutateRequestsPerDayPerProject"
    assert state.over_quota("Ingestion", write=False) is None
    sandbox.advance(timedelta(days=1))
    assert state.over_quota("Ingestion", write=True) is None


def test_b33_both_forms_of_a_member(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    plain = ingest(google, addition(target, member(digest(1), plain=True)))
    ingest(google, addition(target, member(digest(2))))
    sandbox.advance(timedelta(hours=1))
    assert sandbox.members(ACCOUNT, target) == {digest(1), digest(2)}
    (told,) = status(google, plain)
    assert told.audience_members_ingestion_status.user_data_ingestion_status.record_count == 1
    gone = remove(google, removal(target, member(digest(2), plain=True)))
    sandbox.advance(timedelta(hours=1))
    assert status(google, gone)[0].audience_members_removal_status.user_data_removal_status.user_identifier_count == 1
