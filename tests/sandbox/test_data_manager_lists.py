"""The local Data Manager, asked by the real SDK over TLS: its lists, and how long members stay."""

from datetime import timedelta
from typing import Any

import grpc
from google.ads import datamanager_v1 as dm
from google_calls import (
    ACCOUNT,
    INVALID,
    OTHER,
    PRECONDITION,
    STATUS,
    addition,
    create,
    digest,
    ingest,
    list_id,
    member,
    reason,
    refused,
    removal,
    remove,
    status,
    user_list,
)

from nestaudience.destinations.google_connection import (
    Clients,
)
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.google_state import RemoteList


def test_b25_names_are_unique_in_an_account(google: Clients) -> None:
    create(google, user_list("n"))
    assert reason(lambda: create(google, user_list("n", integration_code="x"))) == (INVALID, "DISPLAY_NAME_ALREADY_USED")


def test_b26_durations(google: Clients) -> None:
    for wrong in (timedelta(hours=36), timedelta(seconds=1), timedelta(days=1, microseconds=1)):
        assert reason(lambda wrong=wrong: create(google, user_list("n", membership_duration=wrong)))[0] is INVALID
    too_long = user_list("n", membership_duration=timedelta(days=541))
    assert reason(lambda: create(google, too_long)) == (INVALID, "MEMBERSHIP_DURATION_TOO_LONG")
    assert create(google, user_list("a", membership_duration=timedelta(days=540))).membership_duration == timedelta(days=540)
    assert create(google, user_list("b", membership_duration=None)).membership_duration == timedelta(days=540)


def test_b27_incomplete_lists(google: Clients) -> None:
    missing = (INVALID, "REQUIRED_FIELD_MISSING")
    assert reason(lambda: create(google, user_list(""))) == missing
    assert reason(lambda: create(google, user_list("n", description=""))) == missing
    kinds = dm.IngestedUserListInfo.UploadKeyType
    for keys in ([], [kinds.CONTACT_ID, kinds.MOBILE_ID]):
        info = dm.IngestedUserListInfo(upload_key_types=keys)
        wanted = user_list("n", ingested_user_list_info=info)
        assert reason(lambda wanted=wanted: create(google, wanted)) == (INVALID, "UNSUPPORTED_USER_LIST_UPLOAD_KEY_TYPES")
    bought = dm.ContactIdInfo(data_source_type=dm.DataSourceType.DATA_SOURCE_TYPE_THIRD_PARTY_PARTNER_DATA)
    info = dm.IngestedUserListInfo(upload_key_types=[kinds.CONTACT_ID], contact_id_info=bought)
    assert reason(lambda: create(google, user_list("n", ingested_user_list_info=info)))[0] is PRECONDITION


def test_b28_lists_that_are_not_there(google: Clients) -> None:
    request = dm.GetUserListRequest(name=f"accountTypes/GOOGLE_ADS/accounts/{ACCOUNT}/userLists/1")
    error = refused(lambda: google.lists.get_user_list(request=request, retry=None, timeout=10.0))
    assert error.grpc_status_code is grpc.StatusCode.NOT_FOUND
    request.name = "userLists/1"
    assert reason(lambda: google.lists.get_user_list(request=request, retry=None, timeout=10.0))[1] == "INVALID_RESOURCE_NAME"


def test_b29_listing(sandbox: DataManagerSandbox, google: Clients) -> None:
    kind = int(dm.IngestedUserListInfo.UploadKeyType.CONTACT_ID)
    for number in range(120):
        sandbox.add_list(ACCOUNT, RemoteList("", f"n{number}", "d", f'c"{number % 2}', timedelta(days=30), kind))
    parent = f"accountTypes/GOOGLE_ADS/accounts/{ACCOUNT}"

    def page(**fields: Any) -> Any:
        request = dm.ListUserListsRequest(parent=parent, **fields)
        return next(iter(google.lists.list_user_lists(request=request, retry=None, timeout=10.0).pages))

    assert len(page().user_lists) == 50
    assert len(page(page_size=2000).user_lists) == 120
    names: list[str] = []
    token = ""
    while True:
        told = page(page_token=token, page_size=30, filter='integration_code = "c\\"1"')
        names += [one.display_name for one in told.user_lists]
        token = told.next_page_token
        if not token:
            break
    assert names == [f"n{number}" for number in range(1, 120, 2)]
    first = page(page_size=30)
    assert refused(lambda: page(page_size=31, page_token=first.next_page_token)).reason == "INVALID_PAGE_TOKEN"
    assert [one.display_name for one in page(filter='display_name = "n7" AND membership_status = "OPEN"').user_lists] == ["n7"]
    assert len(page(filter='display_name != "n7"', page_size=500).user_lists) == 119
    for nonsense in ("display_name", 'display_name = "n7" AND', 'colour = "red"', 'display_name = "n7" OR id = 1'):
        assert refused(lambda nonsense=nonsense: page(filter=nonsense)).reason == "INVALID_FILTER"


def test_b30_memberships_run_out(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = str(create(google, user_list("n", membership_duration=timedelta(days=7))).id)
    sandbox.apply_after = timedelta(0)
    ingest(google, addition(target, member(digest(1)), member(digest(2))))
    sandbox.advance(timedelta(days=6))
    ingest(google, addition(target, member(digest(2))))
    assert sandbox.members(ACCOUNT, target) == {digest(1), digest(2)}
    sandbox.advance(timedelta(days=1))
    assert sandbox.members(ACCOUNT, target) == {digest(2)}
    sandbox.advance(timedelta(days=6))
    assert sandbox.members(ACCOUNT, target) == frozenset()


def test_b31_closed_lists(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    ingest(google, addition(target, member(digest(1)), member(digest(2))))
    sandbox.advance(timedelta(hours=1))
    sandbox.close_list(ACCOUNT, target)
    request = dm.GetUserListRequest(name=f"accountTypes/GOOGLE_ADS/accounts/{ACCOUNT}/userLists/{target}")
    told = google.lists.get_user_list(request=request, retry=None, timeout=10.0)
    assert (told.membership_status, told.closing_reason) == (
        dm.UserList.MembershipStatus.CLOSED,
        dm.UserList.ClosingReason.UNUSED,
    )
    more, fewer = ingest(google, addition(target, member(digest(3)))), remove(google, removal(target, member(digest(1))))
    sandbox.advance(timedelta(hours=1))
    assert sandbox.members(ACCOUNT, target) == {digest(2)}
    assert [status(google, request_id)[0].request_status for request_id in (more, fewer)] == [STATUS.FAILED, STATUS.SUCCESS]


def test_b32_sizes(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    request = dm.GetUserListRequest(name=f"accountTypes/GOOGLE_ADS/accounts/{ACCOUNT}/userLists/{target}")

    def size() -> int | None:
        told = google.lists.get_user_list(request=request, retry=None, timeout=10.0)
        return int(told.size_info.search_network_members_count) if "size_info" in told else None

    assert size() is None
    for number, shown in ((99, 0), (100, 100)):
        ingest(google, addition(target, *[member(digest(one)) for one in range(number)]))
        sandbox.advance(timedelta(hours=1))
        assert size() == shown


def test_b34_deleting(sandbox: DataManagerSandbox, google: Clients) -> None:
    target, other = list_id(google, "target"), list_id(google, "other")
    parent = f"accountTypes/GOOGLE_ADS/accounts/{ACCOUNT}/userLists"

    def delete(name: str, **options: Any) -> None:
        google.lists.delete_user_list(request=dm.DeleteUserListRequest(name=name, **options), retry=None, timeout=10.0)

    delete(f"{parent}/{target}", validate_only=True)
    assert [remote.list_id for remote in sandbox.lists(ACCOUNT)] == [target, other]
    delete(f"{parent}/{target}")
    assert [remote.list_id for remote in sandbox.lists(ACCOUNT)] == [other]
    assert reason(lambda: delete(f"{parent}/{target}")) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    assert reason(lambda: delete(f"{parent}/")) == (INVALID, "INVALID_RESOURCE_NAME")
    foreign = f"accountTypes/GOOGLE_ADS/accounts/{OTHER}/userLists/{other}"
    assert reason(lambda: delete(foreign))[0] is grpc.StatusCode.PERMISSION_DENIED
    assert [remote.list_id for remote in sandbox.lists(ACCOUNT)] == [other]
