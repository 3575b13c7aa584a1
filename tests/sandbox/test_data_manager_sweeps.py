"""The local Data Manager, asked by the real SDK over TLS: sweeps of what is older than a moment, and members that a test made unwelcome."""

from datetime import datetime, timedelta

import pytest
from google.ads import datamanager_v1 as dm
from google.rpc.error_details_pb2 import BadRequest
from google_calls import (
    ACCOUNT,
    INVALID,
    START,
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

from nestaudience.destinations.google_connection import Clients
from nestaudience.sandbox.data_manager import DataManagerSandbox


def sweep(google: Clients, target: str, as_of: datetime | None, *, validate_only: bool = False) -> str:
    places = [destination(target)] if target else []
    request = dm.RemoveAllAudienceMembersRequest(destinations=places, remove_as_of_time=as_of, validate_only=validate_only)
    return str(google.ingestion.remove_all_audience_members(request=request, retry=None, timeout=10.0).request_id)


def test_b35_whoever_was_added_before_a_moment_goes(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    ingest(google, addition(target, member(digest("old")), member(digest("renewed"))))
    sandbox.advance(timedelta(hours=2))
    moment = sandbox.clock.now()
    ingest(google, addition(target, member(digest("renewed")), member(digest("new"))))
    sandbox.advance(timedelta(hours=2))
    request_id = sweep(google, target, moment)
    assert sandbox.members(ACCOUNT, target) == {digest("old"), digest("renewed"), digest("new")}
    (early,) = status(google, request_id)
    assert early.request_status == STATUS.PROCESSING
    sandbox.advance(timedelta(hours=1))
    assert sandbox.members(ACCOUNT, target) == {digest("renewed"), digest("new")}
    (late,) = status(google, request_id)
    assert late.request_status == STATUS.SUCCESS
    assert "remove_all_audience_members_status" in late
    assert "audience_members_removal_status" not in late


def test_b36_sweeps_that_are_refused_or_only_tried(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    ingest(google, addition(target, member(digest("old"))))
    sandbox.advance(timedelta(hours=1))
    future = START + timedelta(hours=1, seconds=1)
    assert reason(lambda: sweep(google, target, future)) == (INVALID, "INVALID_REMOVE_AS_OF_TIME")
    assert reason(lambda: sweep(google, target, None)) == (INVALID, "REQUIRED_FIELD_MISSING")
    assert reason(lambda: sweep(google, "", START)) == (INVALID, "REQUIRED_FIELD_MISSING")
    assert reason(lambda: sweep(google, "4711", START)) == (INVALID, "INVALID_USER_LIST_ID")
    assert sweep(google, target, START + timedelta(hours=1), validate_only=True) == ""
    sandbox.advance(timedelta(hours=2))
    assert sandbox.members(ACCOUNT, target) == {digest("old")}


@pytest.mark.parametrize("located", [True, False])
def test_b37_members_that_a_test_made_unwelcome(sandbox: DataManagerSandbox, google: Clients, located: bool) -> None:
    target = list_id(google)
    sandbox.refuse_people([digest(1)], "INVALID_HEX_ENCODING", located=located)
    for call in (
        lambda: ingest(google, addition(target, member(digest(0)), member(digest(1)))),
        lambda: remove(google, removal(target, member(digest(0)), member(digest(1)))),
    ):
        error = refused(call)
        assert (error.grpc_status_code, error.reason) == (INVALID, "INVALID_HEX_ENCODING")
        told = [violation for detail in error.details if isinstance(detail, BadRequest) for violation in detail.field_violations]
        path = "audience_members.audience_members[1].composite_data.user_data.user_identifiers[0]"
        assert [violation.field for violation in told] == [path if located else "audience_members"]
        assert digest(1) not in repr(error)
    sandbox.refuse_people([])
    ingest(google, addition(target, member(digest(0)), member(digest(1))))
    sandbox.advance(timedelta(hours=1))
    assert sandbox.members(ACCOUNT, target) == {digest(0), digest(1)}
