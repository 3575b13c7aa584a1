"""The local audiences and ad accounts: create, read, list and delete, and what an account says of itself, by the documented rules.

Parameters in, the answer's fields or a `Refusal` out; it knows no transport. Editing an audience is not offered.

https://developers.facebook.com/documentation/ads-commerce/marketing-api/reference/custom-audience (read 2026-11).
"""

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from nestaudience.sandbox import meta_refusals as refuse
from nestaudience.sandbox.meta_refusals import Refusal
from nestaudience.sandbox.meta_state import FLAGGED, MetaList, MetaState, Session

MOST_LISTS: Final = 500
MOST_DAYS: Final = 180
PAGE_SIZE: Final = 25
LARGEST_PAGE: Final = 100
SMALLEST_USABLE: Final = 100

_SOURCES: Final = frozenset({"USER_PROVIDED_ONLY", "PARTNER_PROVIDED_ONLY", "BOTH_USER_AND_PARTNER_PROVIDED"})
_ACCOUNT_FIELDS: Final = frozenset({"id", "account_id", "name", "business", "currency", "tos_accepted"})
_LIST_FIELDS: Final = frozenset(
    {
        "id",
        "account_id",
        "name",
        "description",
        "subtype",
        "customer_file_source",
        "retention_days",
        "operation_status",
        "delivery_status",
        "approximate_count_lower_bound",
        "approximate_count_upper_bound",
        "time_created",
        "time_updated",
        "time_content_updated",
        "delete_time",
        "fields_violating_integrity_policy",
        "lookalike_audience_ids",
        "permission_for_actions",
    }
)
_SAID: Final = {200: "Normal", 410: "No file has been uploaded", 471: "Flagged"}


def read_account(state: MetaState, account_id: str, query: Mapping[str, str]) -> dict[str, Any] | Refusal:
    """The asked fields of an ad account. `tos_accepted` has an entry only when the terms are accepted."""
    fields = _asked(query, _ACCOUNT_FIELDS)
    if fields is None:
        return refuse.invalid()
    account = state.accounts[account_id]
    told: dict[str, Any] = {
        "id": f"act_{account_id}",
        "account_id": account_id,
        "name": account.name,
        "currency": account.currency,
        "tos_accepted": {"custom_audience_tos": 1} if account.tos_accepted else {},
    }
    if account.business_id is not None:
        told["business"] = {"id": account.business_id, "name": account.business_name}
    return {name: told[name] for name in ("id", *fields) if name in told}


def create(state: MetaState, account_id: str, form: Mapping[str, str]) -> dict[str, Any] | Refusal:
    """A list of one's own customers. Its name need not be free: the same call twice makes two lists."""
    days = form.get("retention_days")
    if not form.get("name") or form.get("subtype") != "CUSTOM" or form.get("customer_file_source") not in _SOURCES:
        return refuse.invalid()
    if days is not None and not (days.isascii() and days.isdecimal() and 1 <= int(days) <= MOST_DAYS):
        return refuse.invalid()
    if sum(remote.subtype == "CUSTOM" for remote in state.lists.get(account_id, {}).values()) >= MOST_LISTS:
        return refuse.create_failed()
    remote = MetaList(
        list_id="",
        display_name=form["name"],
        description=form.get("description", ""),
        retention_days=None if days is None else int(days),
        source=form["customer_file_source"],
    )
    return {"id": state.add_list(account_id, remote).list_id}


def read(state: MetaState, account_id: str, remote: MetaList, query: Mapping[str, str]) -> dict[str, Any] | Refusal:
    """The asked fields of a list; what it has no value for is left out."""
    fields = _asked(query, _LIST_FIELDS)
    return refuse.invalid() if fields is None else _described(state, account_id, remote, fields)


def list_all(state: MetaState, account_id: str, query: Mapping[str, str], own_url: str) -> dict[str, Any] | Refusal:
    """The lists of an account, page by page. `next` repeats the call's own address, token included, as Meta's does."""
    fields, limit = _asked(query, _LIST_FIELDS), query.get("limit", str(PAGE_SIZE))
    if fields is None or "filtering" in query or not (limit.isascii() and limit.isdecimal() and int(limit) > 0):
        return refuse.invalid()
    if int(limit) > LARGEST_PAGE:
        return refuse.too_much_data()
    held = state.shown_to(account_id)
    start = 0
    if query.get("after"):
        place = next((place for place, (_, remote) in enumerate(held) if _cursor(remote) == query["after"]), None)
        if place is None:
            return refuse.invalid()
        start = place + 1
    page = held[start : start + int(limit)]
    answer: dict[str, Any] = {"data": [_described(state, owner, remote, fields) for owner, remote in page]}
    if page:
        first, last = _cursor(page[0][1]), _cursor(page[-1][1])
        answer["paging"] = {"cursors": {"before": first, "after": last}}
        if start + len(page) < len(held):
            answer["paging"]["next"] = f"{own_url}&after={last}"
    return answer


def delete(state: MetaState, account_id: str, remote: MetaList) -> dict[str, Any] | Refusal:
    """Delete a list for good, unless another audience is built on it. A flagged one can be deleted."""
    if remote.lookalikes:
        return refuse.lookalikes_depend()
    del state.lists[account_id][remote.list_id]
    return {"success": True}


def read_sessions(state: MetaState, account_id: str, remote: MetaList, query: Mapping[str, str]) -> dict[str, Any] | Refusal:
    """The upload sessions of a list, all or the one asked for. Every value is text."""
    asked = query.get("session_id")
    if asked is not None and not (asked.isascii() and asked.isdecimal()):
        return refuse.invalid()
    found = [
        session
        for (owner, session_id), session in state.sessions.items()
        if owner == account_id and session.list_id == remote.list_id and asked in {None, str(session_id)}
    ]
    return {"data": [_told(session) for session in found]}


def read_sharing(state: MetaState, account_id: str, remote: MetaList, *, outside: bool) -> dict[str, Any]:
    """The ad accounts that may use a list, its own included; with `outside` those of other businesses, which have an agreement of their own."""
    if not outside:
        return {"data": [{"id": f"act_{each}"} for each in (account_id, *remote.shared_with)]}
    accounts = state.accounts
    others = [a for a in remote.shared_with if a not in accounts or accounts[a].business_id != accounts[account_id].business_id]
    return {"data": [{"account_id": each, "sharing_status": "SHARED"} for each in others]}


def _told(session: Session) -> dict[str, str]:
    told = {
        "session_id": str(session.session_id),
        "stage": "uploading" if session.finished is None else "finished",
        "progress": "0" if session.finished is None else "100",
        "num_received": str(session.received),
        "num_matched": str(session.received - session.invalid),
        "num_invalid_entries": str(session.invalid),
        "start_time": str(_seconds(session.started)),
    }
    return told if session.finished is None else told | {"end_time": str(_seconds(session.finished))}


def _asked(query: Mapping[str, str], known: frozenset[str]) -> list[str] | None:
    """The fields that a call asks for (none: only the id); None when one of them is not known."""
    fields = [name.strip() for name in query.get("fields", "").split(",") if name.strip()]
    return fields if known.issuperset(fields) else None


def _described(state: MetaState, account_id: str, remote: MetaList, fields: list[str]) -> dict[str, Any]:
    held, status = len(remote.current(state.clock.now())), state.status_of(account_id, remote)
    flagged = status == FLAGGED
    delivery = 400 if flagged else 200 if held >= SMALLEST_USABLE else 300
    known: dict[str, Any] = {
        "id": remote.list_id,
        "account_id": account_id,
        "name": remote.display_name,
        "description": remote.description,
        "subtype": remote.subtype,
        "customer_file_source": remote.source,
        "retention_days": remote.retention_days,
        "operation_status": {"code": status, "description": _SAID.get(status, "See the code")},
        "delivery_status": {"code": delivery, "description": "Ready" if delivery == 200 else "Not ready"},
        "approximate_count_lower_bound": held - held % 100,
        "approximate_count_upper_bound": held - held % 100 + 100,
        "time_created": _seconds(remote.created),
        "time_updated": _seconds(remote.changed or remote.created),
        "time_content_updated": _seconds(remote.changed),
        "delete_time": _seconds(remote.deleted_at),
        "lookalike_audience_ids": [f"{remote.list_id}{n:02d}" for n in range(remote.lookalikes)] or None,
        "fields_violating_integrity_policy": ["NAME"] if flagged else None,
        "permission_for_actions": {"can_edit": not flagged, "can_see_insight": not flagged, "can_share": not flagged},
    }
    return {name: known[name] for name in ("id", *fields) if known.get(name) is not None}


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def _cursor(remote: MetaList) -> str:
    """An opaque mark of a list's place."""
    return base64.urlsafe_b64encode(json.dumps({"at": remote.list_id}).encode()).decode().rstrip("=")
