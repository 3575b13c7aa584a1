"""What Meta shows of a list beyond its facts: codes, bounds, flags, the day on which it goes, who owns it, who shares it, what is built on it.

It asks through whoever calls it and decides nothing. No word of Meta's leaves it but names of fields, and no name of a list. What Meta does not
answer is None. Asked for apart from the facts: a field that a token may not read must not keep anybody from reading a list.

Fields and edges: https://developers.facebook.com/documentation/ads-commerce/marketing-api/reference/custom-audience; `delete_time`:
https://developers.facebook.com/documentation/ads-commerce/marketing-api/audiences/overview (read 2026-11).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from nestaudience.destinations.meta_errors import Trouble
from nestaudience.destinations.meta_messages import CUSTOMER_LIST, account_of, count, ended, status_code
from nestaudience.destinations.meta_reading import Told, number, rows_of
from nestaudience.destinations.port import AccountSigns, ListSigns

SIGN_FIELDS: Final = (
    "id,account_id,subtype,operation_status,delivery_status,approximate_count_lower_bound,approximate_count_upper_bound,delete_time,"
    "fields_violating_integrity_policy,lookalike_audience_ids"
)
MOST_SESSIONS: Final = 100
"""So many of a list's sessions are looked at."""

Ask = Callable[[tuple[str, ...], Mapping[str, str]], Told]
"""The parts of a path and the fields -> an answer."""

_WORD: Final = re.compile(r"[A-Za-z_]{1,40}")
_NOT_SHARED: Final = "NOT_SHARED"


def signs_of(account_id: str, listing: Iterable[Mapping[str, Any]], list_ids: frozenset[str], ask: Ask) -> AccountSigns:
    """The signs of these lists, from a listing of their account, which has the ones that others share into it too. A few reads for each list: who it
    is shared with, and its sessions; a list that the listing does not name is asked for by its id.
    """
    shown = {str(item["id"]): item for item in listing}
    shared_in = sum(
        item.get("subtype") == CUSTOMER_LIST and account_of(item) != account_id
        for list_id, item in shown.items()
        if list_id not in list_ids
    )
    found: list[ListSigns] = []
    for list_id in sorted(list_ids):
        item: Told = shown[list_id] if list_id in shown else ask((list_id,), {"fields": SIGN_FIELDS})
        if isinstance(item, Trouble) or str(item.get("id")) != list_id or not account_of(item):
            continue
        own = account_of(item) == account_id
        shared = _shared_with(list_id, account_id, ask) if own else None
        found.append(_signs(item, shared, _sessions_open(list_id, ask) if own else None))
    return AccountSigns(tuple(found), shared_in)


def _signs(item: Mapping[str, Any], shared_with: tuple[str, ...] | None, sessions_open: int | None) -> ListSigns:
    return ListSigns(
        list_id=str(item["id"]),
        owner=account_of(item),
        operation=status_code(item.get("operation_status")) or None,
        delivery=status_code(item.get("delivery_status")) or None,
        lower=count(item.get("approximate_count_lower_bound")),
        upper=count(item.get("approximate_count_upper_bound")),
        deleted_on=_day(item.get("delete_time")),
        violating=_all_of(item.get("fields_violating_integrity_policy"), _word),
        lookalikes=_all_of(item.get("lookalike_audience_ids"), number),
        shared_with=shared_with,
        sessions_open=sessions_open,
    )


def _shared_with(list_id: str, account_id: str, ask: Ask) -> tuple[str, ...] | None:
    """The other ad accounts that may use a list: those of the same business stand on one edge, those of others on both or on the second."""
    inside = rows_of(ask((list_id, "adaccounts"), {"fields": "id"}))
    outside = rows_of(ask((list_id, "shared_account_info"), {"fields": "account_id,sharing_status"}))
    if inside is None and outside is None:
        return None
    told = [str(row.get("id")).removeprefix("act_") for row in inside or ()]
    told += [account_of(row) for row in outside or () if row.get("sharing_status") != _NOT_SHARED]
    return tuple(sorted({one for one in map(number, told) if one is not None} - {account_id}))


def _sessions_open(list_id: str, ask: Ask) -> int | None:
    """How many of a list's latest sessions do not say that they have ended; each request of ours opens and closes one."""
    told = ask((list_id, "sessions"), {"limit": str(MOST_SESSIONS)})
    rows = None if isinstance(told, Trouble) else told.get("data")
    return sum(not ended(row) for row in rows if isinstance(row, dict)) if isinstance(rows, list) else None


def _all_of(value: object, read: Callable[[object], str | None]) -> tuple[str, ...]:
    return tuple(sorted({one for one in map(read, value) if one is not None})) if isinstance(value, list) else ()


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _day(value: object) -> date | None:
    """The day (UTC) of a time in seconds; None for none, and for one that is none."""
    seconds = count(value)
    return datetime.fromtimestamp(seconds, UTC).date() if seconds and seconds < 2**33 else None
