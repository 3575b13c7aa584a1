"""What Meta's answers to reads say: of an ad account, of our access to it, and of the pages of a listing.

It asks nobody, imports no SDK and decides nothing. Whatever an answer does not say plainly is None: nothing is guessed.

Fields of an ad account: https://developers.facebook.com/documentation/ads-commerce/marketing-api/reference/ad-account; terms:
https://developers.facebook.com/documentation/ads-commerce/marketing-api/audiences/reference/custom-audience-terms-of-service; permissions:
https://developers.facebook.com/docs/graph-api/reference/user/permissions (read 2026-11).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from nestaudience.destinations.meta_errors import Answer, Trouble
from nestaudience.destinations.meta_messages import account_of
from nestaudience.destinations.port import AccessFacts, AccountFacts

ACCOUNT_FIELDS: Final = "account_id,business,currency,tos_accepted"
NEEDED: Final = ("ads_management",)
"""https://developers.facebook.com/documentation/ads-commerce/marketing-api/audiences/overview (read 2026-11)."""

_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_VERSION: Final = re.compile(r"v[0-9]{1,3}\.[0-9]")


Told = Mapping[str, Any] | Trouble
"""An answer's fields, or its trouble."""


class Served(NamedTuple):
    """Which version of the API answered, where Meta says so, and whether it says that it was not the one that was asked for.

    https://developers.facebook.com/docs/graph-api/guides/debugging (read 2026-11).
    """

    version: str | None = None
    upgraded: bool = False


def served_by(answer: Answer | Trouble) -> Served:
    """What the headers of an answer say; nothing without one."""
    if isinstance(answer, Trouble):
        return Served()
    version = answer.headers.get("facebook-api-version", "")
    return Served(version if _VERSION.fullmatch(version) else None, "x-ad-api-version-warning" in answer.headers)


def account_facts_of(item: Mapping[str, Any], served: Served) -> AccountFacts | None:
    """What Meta says of an ad account; None when it does not say which one it speaks of."""
    account_id, business, currency, terms = (item.get(name) for name in ACCOUNT_FIELDS.split(","))
    if number(account_id) is None:
        return None
    return AccountFacts(
        account_id=str(account_id),
        business_id=number(business.get("id")) if isinstance(business, dict) else None,
        currency=currency if isinstance(currency, str) and _CURRENCY.fullmatch(currency) else None,
        terms_accepted=isinstance(terms, dict) and terms.get("custom_audience_tos") in (1, "1"),
        api_version=served.version,
        upgraded=served.upgraded,
    )


def access_facts_of(ask: Callable[..., Told], business_id: str | None) -> AccessFacts:
    """What Meta says of the token: `ask` takes the parts of a path. The business is asked for its system users where it is known.

    https://developers.facebook.com/documentation/ads-commerce/marketing-api/reference/business/system_users (read 2026-11).
    """
    permissions = rows_of(ask("me", "permissions"))
    missing = None
    if permissions is not None:
        granted = {row.get("permission") for row in permissions if row.get("status") == "granted"}
        missing = tuple(name for name in NEEDED if name not in granted)
    users = None if business_id is None else rows_of(ask(business_id, "system_users"))
    if users is None:
        return AccessFacts(missing, None)
    me = ask("me")
    own = None if isinstance(me, Trouble) else number(me.get("id"))
    return AccessFacts(missing, None if own is None else own in {number(row.get("id")) for row in users})


def rows_of(told: Told) -> list[dict[str, Any]] | None:
    """The rows of an edge, when they are all on this page."""
    rows = None if isinstance(told, Trouble) or _next_cursor(told) is not None else told.get("data")
    return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else None


def number(value: object) -> str | None:
    """An id that is given as one or as digits; None for anything else."""
    text = str(value) if type(value) in (int, str) else ""
    return text if _NUMBER.fullmatch(text) else None


def pages(ask: Callable[[dict[str, str]], Told]) -> Iterator[list[dict[str, Any]] | Trouble]:
    """The lists of a listing, page by page; a trouble is the last: whoever counts must see all. `ask` takes the fields that a page adds.

    Only the cursor is taken from Meta's `next`, which is a whole URL with the token in it.
    """
    seen, more = {""}, dict[str, str]()
    while True:
        page = ask(more)
        items, cursor = (None, None) if isinstance(page, Trouble) else (_items(page), _next_cursor(page))
        if isinstance(page, Trouble) or items is None or cursor in seen:
            yield page if isinstance(page, Trouble) else Trouble("unreadable", without_effect=False)
            return
        yield items
        if cursor is None:
            return
        seen.add(cursor)
        more = {"after": cursor}


def _items(page: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The lists of one page, or None when one of them does not say which it is and whose."""
    items = page.get("data")
    if not isinstance(items, list) or not all(isinstance(item, dict) and item.get("id") and account_of(item) for item in items):
        return None
    return items


def _next_cursor(page: Mapping[str, Any]) -> str | None:
    """Where the next page begins: None after the last one, empty when a next page has no beginning."""
    paging = page.get("paging")
    if not isinstance(paging, dict) or not paging.get("next"):
        return None
    cursors = paging.get("cursors")
    return str(cursors.get("after") or "") if isinstance(cursors, dict) else ""
