"""The local UserListService: create, get, list and delete the lists of an account, by the documented rules.

Bytes in, bytes or a `Refusal` out. Updating lists is not offered; a test closes one through the sandbox itself.

https://developers.google.com/data-manager/api/devguides/audiences/google-ads/customer-match/create-audience and the SDK's
`user_list_service` types (read 2026-11).
"""

import re
import zlib
from datetime import timedelta
from typing import Any, Final

import grpc
from google.ads import datamanager_v1 as dm

from nestaudience.sandbox.google_refusals import Refusal, denied, invalid, precondition
from nestaudience.sandbox.google_state import GoogleState, RemoteList

MOST_DAYS: Final = 540
PAGE_SIZE: Final = 50
LARGEST_PAGE: Final = 1000
SMALLEST_SHOWN: Final = 100
MATCH_RATE: Final = 62

_PARENT: Final = re.compile(r"accountTypes/GOOGLE_ADS/accounts/([0-9]+)")
_NAME: Final = re.compile(r"(accountTypes/GOOGLE_ADS/accounts/([0-9]+))/userLists/([0-9]+)")
_CONDITION: Final = re.compile(r'\s*([a-z_]+)\s*(!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([0-9A-Z_]+))\s*(AND\b|$)')
_KEY_TYPES: Final = dm.IngestedUserListInfo.UploadKeyType
_ACCESS: Final = dm.UserList.AccessReason
_MEMBERSHIP: Final = dm.UserList.MembershipStatus


def create(state: GoogleState, raw: bytes, token: str, login_id: str | None) -> bytes | Refusal:
    """CreateUserList: a name that is free in the account, whole days up to 540, one kind of key, a first party's data."""
    request = dm.CreateUserListRequest.pb().FromString(raw)
    account_id = _account(state, request.parent, token, login_id)
    if isinstance(account_id, Refusal):
        return account_id
    refusal = _wish(state, account_id, request.user_list)
    if refusal is not None:
        return refusal
    wanted = request.user_list
    days = wanted.membership_duration.seconds // 86_400 if wanted.HasField("membership_duration") else MOST_DAYS
    remote = RemoteList(
        list_id="0",
        display_name=wanted.display_name,
        description=wanted.description,
        integration_code=wanted.integration_code,
        duration=timedelta(days=days),
        key_type=wanted.ingested_user_list_info.upload_key_types[0],
    )
    if not request.validate_only:
        state.add_list(account_id, remote)
    return _encode(_described(state, account_id, remote))


def _wish(state: GoogleState, account_id: str, wanted: Any) -> Refusal | None:
    """Why a list cannot be made as wanted, if it cannot."""
    for name in ("display_name", "description"):
        if not getattr(wanted, name):
            return invalid("REQUIRED_FIELD_MISSING", f"user_list.{name}")
    duration = wanted.membership_duration
    if duration.nanos or duration.seconds % 86_400 or duration.seconds < 0:
        return invalid("INVALID_ARGUMENT", "user_list.membership_duration")
    if duration.seconds > MOST_DAYS * 86_400:
        return invalid("MEMBERSHIP_DURATION_TOO_LONG", "user_list.membership_duration")
    info = wanted.ingested_user_list_info
    if len(info.upload_key_types) != 1 or info.upload_key_types[0] not in {_KEY_TYPES.CONTACT_ID, _KEY_TYPES.MOBILE_ID}:
        return invalid("UNSUPPORTED_USER_LIST_UPLOAD_KEY_TYPES", "user_list.ingested_user_list_info.upload_key_types")
    source = info.contact_id_info.data_source_type
    if source not in {dm.DataSourceType.DATA_SOURCE_TYPE_UNSPECIFIED, dm.DataSourceType.DATA_SOURCE_TYPE_FIRST_PARTY}:
        return precondition("ADVERTISER_NOT_ALLOWLISTED_FOR_THIRD_PARTY_PARTNER_DATA")
    if any(known.display_name == wanted.display_name for known in state.lists[account_id].values()):
        return invalid("DISPLAY_NAME_ALREADY_USED", "user_list.display_name")
    account = state.accounts[account_id]
    if not account.allowlisted:
        return precondition("ADVERTISER_NOT_ALLOWLISTED_FOR_UPLOADED_DATA")
    if not account.political_declaration:
        return precondition("EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED")
    return None


def get(state: GoogleState, raw: bytes, token: str, login_id: str | None) -> bytes | Refusal:
    """GetUserList by resource name."""
    request = dm.GetUserListRequest.pb().FromString(raw)
    parts = _NAME.fullmatch(request.name)
    if parts is None:
        return invalid("INVALID_RESOURCE_NAME", "name")
    account_id = _account(state, parts[1], token, login_id)
    if isinstance(account_id, Refusal):
        return account_id
    remote = state.lists[account_id].get(parts[3])
    if remote is None:
        return Refusal(grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    return _encode(_described(state, account_id, remote))


def delete(state: GoogleState, raw: bytes, token: str, login_id: str | None) -> bytes | Refusal:
    """DeleteUserList by resource name: the list is gone with everybody on it."""
    request = dm.DeleteUserListRequest.pb().FromString(raw)
    parts = _NAME.fullmatch(request.name)
    if parts is None:
        return invalid("INVALID_RESOURCE_NAME", "name")
    account_id = _account(state, parts[1], token, login_id)
    if isinstance(account_id, Refusal):
        return account_id
    if parts[3] not in state.lists[account_id]:
        return Refusal(grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    if not request.validate_only:
        del state.lists[account_id][parts[3]]
    return b""


def list_all(state: GoogleState, raw: bytes, token: str, login_id: str | None) -> bytes | Refusal:
    """ListUserLists.

    Filtered, in pages of 50 by default and 1 000 at most. A page token belongs to one parent, size and filter.
    """
    request = dm.ListUserListsRequest.pb().FromString(raw)
    account_id = _account(state, request.parent, token, login_id)
    if isinstance(account_id, Refusal):
        return account_id
    conditions = _conditions(request.filter)
    if conditions is None:
        return invalid("INVALID_FILTER", "filter")
    size = min(request.page_size or PAGE_SIZE, LARGEST_PAGE)
    mark = f"{zlib.crc32(f'{request.parent} {request.page_size} {request.filter}'.encode()):08x}"
    start_text, _, sealed = request.page_token.partition("-")
    if request.page_token and (sealed != mark or not start_text.isdecimal()):
        return invalid("INVALID_PAGE_TOKEN", "page_token")
    start = int(start_text or 0)
    matching = [remote for remote in state.lists[account_id].values() if _matches(remote, conditions)]
    response = dm.ListUserListsResponse.pb()()
    for remote in matching[start : start + size]:
        response.user_lists.append(_described(state, account_id, remote))
    if start + size < len(matching):
        response.next_page_token = f"{start + size}-{mark}"
    return _encode(response)


def _account(state: GoogleState, parent: str, token: str, login_id: str | None) -> str | Refusal:
    parts = _PARENT.fullmatch(parent)
    if parts is None:
        return invalid("INVALID_RESOURCE_NAME", "parent")
    return parts[1] if state.may_write(token, parts[1], login_id) else denied()


def _conditions(text: str) -> list[tuple[str, bool, str]] | None:
    """A filter as (field, must be equal, value); None for one that is malformed or outside the sandbox."""
    found = []
    rest = text
    while rest.strip():
        part = _CONDITION.match(rest)
        if part is None or part[1] not in {"id", "display_name", "integration_code", "description", "membership_status"}:
            return None
        value = part[4] if part[3] is None else re.sub(r"\\(.)", r"\1", part[3])
        found.append((part[1], part[2] == "=", value))
        rest = rest[part.end() :]
        if part[5] == "AND" and not rest.strip():
            return None
    return found


def _matches(remote: RemoteList, conditions: list[tuple[str, bool, str]]) -> bool:
    values = {
        "id": remote.list_id,
        "display_name": remote.display_name,
        "integration_code": remote.integration_code,
        "description": remote.description,
        "membership_status": "OPEN" if remote.open else "CLOSED",
    }
    return all((values[name] == value) is equal for name, equal, value in conditions)


def _described(state: GoogleState, account_id: str, remote: RemoteList) -> Any:
    """The list as the service tells of it. Sizes are shown once it was filled, and as 0 below 100 members."""
    told = dm.UserList.pb()()
    told.name = f"accountTypes/GOOGLE_ADS/accounts/{account_id}/userLists/{remote.list_id}"
    told.id = int(remote.list_id)
    told.display_name = remote.display_name
    told.description = remote.description
    told.integration_code = remote.integration_code
    told.membership_status = _MEMBERSHIP.OPEN if remote.open else _MEMBERSHIP.CLOSED
    told.membership_duration.seconds = int(remote.duration.total_seconds())
    told.access_reason = _ACCESS.SHARED if remote.shared else _ACCESS.OWNED
    if remote.closed_as_unused:
        told.closing_reason = dm.UserList.ClosingReason.UNUSED
    info = told.ingested_user_list_info
    info.upload_key_types.append(remote.key_type)
    if remote.filled:
        held = len(remote.current(state.clock.now()))
        shown = held if held >= SMALLEST_SHOWN else 0
        for network in ("display_network", "search_network", "youtube", "gmail"):
            setattr(told.size_info, f"{network}_members_count", shown)
        told.target_network_info.eligible_for_display = told.target_network_info.eligible_for_search = bool(shown) and remote.open
        if remote.key_type == _KEY_TYPES.CONTACT_ID:
            info.contact_id_info.match_rate_percentage = MATCH_RATE if shown else 0
    return told


def _encode(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded
