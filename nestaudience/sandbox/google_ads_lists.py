"""The local UserListService: create, close and remove lists of an account that the local Data Manager shares.

Bytes in, bytes or a `Refused` out. The SDK's `user_list_service` types, and
https://developers.google.com/google-ads/api/docs/remarketing/audience-segments/customer-match/get-started (read 2026-11).
"""

import re
from datetime import timedelta
from typing import Any, Final

from google.ads import datamanager_v1 as dm
from google.ads.googleads.v26.enums.types.customer_match_upload_key_type import CustomerMatchUploadKeyTypeEnum
from google.ads.googleads.v26.services.types import user_list_service as service

from nestaudience.sandbox.google_ads_refusals import Refused, denied
from nestaudience.sandbox.google_lists import MOST_DAYS
from nestaudience.sandbox.google_state import GoogleState, RemoteList

_KEYS: Final = CustomerMatchUploadKeyTypeEnum.CustomerMatchUploadKeyType
_SHARED: Final = dm.IngestedUserListInfo.UploadKeyType
KEY_TYPES: Final[dict[int, int]] = {
    int(_KEYS.CONTACT_INFO): int(_SHARED.CONTACT_ID),
    int(_KEYS.MOBILE_ADVERTISING_ID): int(_SHARED.MOBILE_ID),
}
"""Google Ads' kind of key -> Data Manager's."""
_NAME: Final = re.compile(r"customers/([0-9]+)/userLists/([0-9]+)")


def mutate(state: GoogleState, raw: bytes, token: str, login_id: str | None) -> bytes | Refused:
    """MutateUserLists: all of its operations, or none of them. Updates are outside the sandbox and refused."""
    request = service.MutateUserListsRequest.pb().FromString(raw)
    if not state.may_write(token, request.customer_id, login_id):
        return denied()
    if not state.accounts[request.customer_id].political_declaration:
        return Refused("mutate_error", "EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED")
    for operation in request.operations:
        refused = _refusal(state, request.customer_id, operation)
        if refused is not None:
            return refused
    answer = service.MutateUserListsResponse.pb()()
    if not request.validate_only:
        for operation in request.operations:
            answer.results.add(resource_name=_apply(state, request.customer_id, operation))
    encoded: bytes = answer.SerializeToString()
    return encoded


def _refusal(state: GoogleState, account_id: str, operation: Any) -> Refused | None:
    kind = operation.WhichOneof("operation")
    if kind == "remove":
        parts = _NAME.fullmatch(operation.remove)
        there = parts is not None and parts[1] == account_id and parts[2] in state.lists[account_id]
        return None if there else Refused("mutate_error", "RESOURCE_NOT_FOUND")
    return _wish(state, account_id, operation.create) if kind == "create" else Refused("mutate_error", "MUTATE_NOT_ALLOWED")


def _wish(state: GoogleState, account_id: str, wanted: Any) -> Refused | None:
    """Why a list cannot be made as wanted, if it cannot."""
    if not wanted.name:
        return Refused("user_list_error", "INVALID_NAME")
    if wanted.crm_based_user_list.upload_key_type not in KEY_TYPES:
        return Refused("field_error", "REQUIRED")
    if wanted.membership_life_span > MOST_DAYS:
        return Refused("range_error", "TOO_HIGH")
    if any(known.display_name == wanted.name for known in state.lists[account_id].values()):
        return Refused("user_list_error", "NAME_ALREADY_USED")
    if not state.accounts[account_id].allowlisted:
        return Refused("user_list_error", "ADVERTISER_NOT_ON_ALLOWLIST_FOR_USING_UPLOADED_DATA")
    return None


def _apply(state: GoogleState, account_id: str, operation: Any) -> str:
    if operation.WhichOneof("operation") == "remove":
        del state.lists[account_id][operation.remove.rpartition("/")[2]]
        return str(operation.remove)
    wanted = operation.create
    days = wanted.membership_life_span if wanted.HasField("membership_life_span") else MOST_DAYS
    key_type = KEY_TYPES[wanted.crm_based_user_list.upload_key_type]
    remote = RemoteList("0", wanted.name, wanted.description, wanted.integration_code, timedelta(days=days), key_type)
    return f"customers/{account_id}/userLists/{state.add_list(account_id, remote).list_id}"
