"""The headers in which Meta says how much of its allowances is used, and for how long nothing should be asked. Pure; it waits for nothing.

A header that is not written as Meta documents it says nothing (https://developers.facebook.com/docs/graph-api/overview/rate-limiting, read 2026-11).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

APP: Final = ""
"""Under this name stands what is said of the app, and of no ad account."""
_BUSINESS: Final = "x-business-use-case-usage"
_SHARES: Final = ("call_count", "total_cputime", "total_time")
_MOST_MINUTES: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Usage:
    """One allowance as Meta tells it: the fullest of its shares in percent, and seconds until calls are taken again (0: they are)."""

    percent: float
    regain: float = 0.0


def usage_of(account_id: str, headers: Mapping[str, str]) -> Iterator[tuple[str, Usage]]:
    """What an answer about this account says of the account's allowances, under its id, and of the app's, under `APP`."""
    business = _told(headers, _BUSINESS)
    found = _entries([business[account_id]] if account_id in business else business.values())
    share = _number(_told(headers, "x-ad-account-usage").get("acc_id_util_pct"))
    if found or share:
        yield (
            account_id,
            Usage(max([share, *(usage.percent for usage in found)]), max((each.regain for each in found), default=0.0)),
        )
    app = _told(headers, "x-app-usage")
    if app:
        yield APP, Usage(_fullest(app))


def longest_wait(headers: Mapping[str, str]) -> float | None:
    """The longest time to regain access that is named of any account, in seconds; None when none is."""
    return max((each.regain for each in _entries(_told(headers, _BUSINESS).values())), default=0.0) or None


def _entries(lists: Iterable[Any]) -> list[Usage]:
    """The allowances of these lists; Meta gives the time to regain access in minutes."""
    return [
        Usage(_fullest(entry), _seconds(entry.get("estimated_time_to_regain_access")))
        for entries in lists
        if isinstance(entries, list)
        for entry in entries
        if isinstance(entry, dict)
    ]


def _seconds(minutes: object) -> float:
    return 60.0 * minutes if type(minutes) is int and 0 < minutes <= _MOST_MINUTES else 0.0


def _fullest(shares: Mapping[str, Any]) -> float:
    return max(_number(shares.get(name)) for name in _SHARES)


def _told(headers: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        found = json.loads(headers.get(name, ""))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: object) -> float:
    """A percentage; 0 for anything else, and for a number that is too large to be one."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6 else 0.0
