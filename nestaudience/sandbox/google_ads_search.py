"""The local GoogleAdsService: the part of GAQL that asks for customer lists, for jobs, and for what an account has accepted.

Bytes in, bytes or a `Refused` out. `SELECT fields FROM resource [WHERE field = value [AND ...]]`, and of each row only what was selected.

https://developers.google.com/google-ads/api/docs/query/grammar (read 2026-11).
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from google.ads.googleads.v26.enums.types.access_reason import AccessReasonEnum
from google.ads.googleads.v26.enums.types.offline_user_data_job_match_rate_range import OfflineUserDataJobMatchRateRangeEnum
from google.ads.googleads.v26.enums.types.user_list_closing_reason import UserListClosingReasonEnum
from google.ads.googleads.v26.enums.types.user_list_membership_status import UserListMembershipStatusEnum
from google.ads.googleads.v26.services.types import google_ads_service as service
from google.protobuf.field_mask_pb2 import FieldMask

from nestaudience.sandbox.google_ads_jobs import JOB_STATUS, Job, Jobs
from nestaudience.sandbox.google_ads_lists import KEY_TYPES
from nestaudience.sandbox.google_ads_refusals import Refused, denied
from nestaudience.sandbox.google_ingestion import SMALLEST_MATCHED
from nestaudience.sandbox.google_lists import MATCH_RATE, SMALLEST_SHOWN
from nestaudience.sandbox.google_state import GoogleState, RemoteList

_QUERY: Final = re.compile(r"\s*SELECT\s+(.+?)\s+FROM\s+([a-z_]+)(?:\s+WHERE\s+(.+))?\s*", re.DOTALL)
_CONDITION: Final = re.compile(r"\s*([a-z_.]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|([0-9A-Z_]+))\s*(AND\b|$)")
_ACCESS: Final = AccessReasonEnum.AccessReason
_KEYS: Final = {shared: own for own, shared in KEY_TYPES.items()}
_RANGE: Final = OfflineUserDataJobMatchRateRangeEnum.OfflineUserDataJobMatchRateRange.MATCH_RANGE_61_TO_70

Rows = Iterator[tuple[Any, dict[str, str]]]
"""Rows as told, each with what a condition may ask of it."""


def search(state: GoogleState, jobs: Jobs, raw: bytes, token: str, login_id: str | None) -> bytes | Refused:
    """One page that answers a query."""
    request = service.SearchGoogleAdsStreamRequest.pb().FromString(raw)
    if not state.may_write(token, request.customer_id, login_id):
        return denied()
    parts = _QUERY.fullmatch(request.query)
    if parts is None or parts[2] not in {"user_list", "offline_user_data_job", "customer"}:
        return Refused("query_error", "QUERY_ERROR")
    conditions = _conditions(parts[3] or "")
    if conditions is None:
        return Refused("query_error", "UNEXPECTED_INPUT")
    mask = FieldMask(paths=[name.strip() for name in parts[1].split(",")])
    if not mask.IsValidForDescriptor(service.GoogleAdsRow.pb().DESCRIPTOR):
        return Refused("query_error", "UNRECOGNIZED_FIELD")
    answer = service.SearchGoogleAdsStreamResponse.pb()(field_mask=mask)
    rows = {"user_list": _lists, "offline_user_data_job": _jobs, "customer": _customer}[parts[2]](
        state, jobs, request.customer_id
    )
    for row, values in rows:
        if not conditions.keys() <= values.keys():
            return Refused("query_error", "UNRECOGNIZED_FIELD")
        if all(values[name] == value for name, value in conditions.items()):
            mask.MergeMessage(row, answer.results.add())
    encoded: bytes = answer.SerializeToString()
    return encoded


def _conditions(text: str) -> dict[str, str] | None:
    """Field -> value that it must have; None for what is malformed or outside the sandbox."""
    found: dict[str, str] = {}
    rest = text
    while rest.strip():
        part = _CONDITION.match(rest)
        if part is None:
            return None
        quoted = part[2] if part[2] is not None else part[3]
        found[part[1]] = part[4] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        rest = rest[part.end() :]
        if part[5] == "AND" and not rest.strip():
            return None
    return found


def _lists(state: GoogleState, _jobs: Jobs, account_id: str) -> Rows:
    for remote in state.lists[account_id].values():
        row = service.GoogleAdsRow.pb()()
        _tell_list(row.user_list, state, account_id, remote)
        access = "SHARED" if remote.shared else "OWNED"
        yield (
            row,
            {
                "user_list.id": remote.list_id,
                "user_list.name": remote.display_name,
                "user_list.integration_code": remote.integration_code,
                "user_list.type": "CRM_BASED",
                "user_list.access_reason": access,
                "user_list.resource_name": row.user_list.resource_name,
            },
        )


def _tell_list(told: Any, state: GoogleState, account_id: str, remote: RemoteList) -> None:
    """The list as GAQL tells of it. Sizes are shown once it was filled, and as 0 below 100 members."""
    status, reasons = UserListMembershipStatusEnum.UserListMembershipStatus, UserListClosingReasonEnum.UserListClosingReason
    told.resource_name = f"customers/{account_id}/userLists/{remote.list_id}"
    told.id = int(remote.list_id)
    told.name = remote.display_name
    told.description = remote.description
    told.integration_code = remote.integration_code
    told.membership_status = status.OPEN if remote.open else status.CLOSED
    told.membership_life_span = remote.duration.days
    told.access_reason = _ACCESS.SHARED if remote.shared else _ACCESS.OWNED
    told.crm_based_user_list.upload_key_type = _KEYS[remote.key_type]
    if remote.closed_as_unused:
        told.closing_reason = reasons.UNUSED
    if remote.filled:
        held = len(remote.current(state.clock.now()))
        shown = held if held >= SMALLEST_SHOWN else 0
        told.size_for_display = told.size_for_search = shown
        told.match_rate_percentage = MATCH_RATE if shown else 0


def _jobs(_state: GoogleState, jobs: Jobs, account_id: str) -> Rows:
    for job in jobs.by_name.values():
        if job.account_id == account_id:
            row = service.GoogleAdsRow.pb()()
            _tell_job(row.offline_user_data_job, job)
            yield row, {"offline_user_data_job.resource_name": job.resource_name}


def _tell_job(told: Any, job: Job) -> None:
    told.resource_name = job.resource_name
    told.id = int(job.resource_name.rpartition("/")[2])
    told.status = job.status
    told.customer_match_user_list_metadata.user_list = f"customers/{job.account_id}/userLists/{job.list_id}"
    part = None if job.request is None else job.request.parts[0]
    if part is not None and job.addition and told.status == JOB_STATUS.SUCCESS and part.records >= SMALLEST_MATCHED:
        told.operation_metadata.match_rate_range = _RANGE


def _customer(state: GoogleState, _jobs: Jobs, account_id: str) -> Rows:
    row = service.GoogleAdsRow.pb()()
    row.customer.resource_name = f"customers/{account_id}"
    row.customer.id = int(account_id)
    row.customer.conversion_tracking_setting.accepted_customer_data_terms = state.accounts[account_id].terms_accepted
    yield row, {"customer.id": account_id}
