"""What the platforms say of our lists, once a night, into the log: size, match rate, what it may be used for, whether and why it was closed;
and signs that something is not as we left it, each of which is an incident once.

It asks and writes down; it changes no list, and what it learns decides nothing. A platform that cannot be asked leaves what it said before: whoever
sends to its lists meets the trouble.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from nestaudience.config.settings import Audience
from nestaudience.delivery.lists import code_of, name_of
from nestaudience.delivery.requests import Tools
from nestaudience.destinations.port import Account, AccountSigns, Destination, ListFacts, ListSigns, TellsSigns
from nestaudience.errors import NestAudienceError
from nestaudience.ledger.entries import EntryType, Value
from nestaudience.ledger.log import NewEntry
from nestaudience.ledger.memory import RemoteList

FLAGGED, EXPIRES, RENAMED, OWNER, SHARED, LOOKALIKE = (
    "list_flagged",
    "list_expires",
    "list_renamed",
    "list_owner_changed",
    "list_shared",
    "list_lookalike",
)
"""Codes of signs. In an entry a sign is its code, with `:` and a detail behind it where there is one: a day, an id, or the platform's field."""

_FLAG: Final = "flagged"
_EXPIRING: Final = "expiring"
_GONE = frozenset({"gone", "closed", "recovering"})


def note_facts(lists: Iterable[tuple[Audience, RemoteList]], destinations: Mapping[str, Destination], tools: Tools) -> int:
    """An entry for each bound list that its account names, and an incident for each sign that the last such entry did not have; how many lists.
    One or two reads for each account, a few where it has many lists, and where the platform shows signs a few for each list.
    """
    by_account: dict[tuple[str, Account], list[tuple[Audience, RemoteList]]] = {}
    for audience, remote in lists:
        if remote.list_id and remote.state not in _GONE and audience.table.destination in destinations:
            place = audience.table.destination, Account(remote.ad_account, remote.login_account)
            by_account.setdefault(place, []).append((audience, remote))
    before = _signs_before(tools) if by_account else {}
    facts, incidents = list[NewEntry](), list[NewEntry]()
    for (name, account), mine in by_account.items():
        told = {each.list_id: each for each in _asked(destinations[name], account)}
        shown = _shown(destinations[name], account, [remote for _, remote in mine])
        for audience, remote in mine:
            seen = None if shown is None else shown.get(remote.list_id)
            fields = _fields(remote, told.get(remote.list_id), seen)
            if not fields:
                continue
            if shown is not None or not isinstance(destinations[name], TellsSigns):  # otherwise the last look stands
                known = before.get(remote.list_id, frozenset())
                signs = sorted(set(_signs(audience, remote, told.get(remote.list_id), seen, known, tools)))
                incidents += _incidents(remote, signs, known, tools)
                fields["signs"] = signs
            facts.append((EntryType.LIST_FACTS, tools.context(remote.controller), fields))
    if facts:
        tools.log.append([*facts, *incidents])
    return len(facts)


def _asked(destination: Destination, account: Account) -> tuple[ListFacts, ...]:
    try:
        return destination.lists(account)
    except NestAudienceError:
        return ()


def _shown(destination: Destination, account: Account, mine: list[RemoteList]) -> dict[str, ListSigns] | None:
    """List id -> its signs; None from a platform that shows none, or cannot be asked."""
    signs: AccountSigns | None = None
    try:
        if isinstance(destination, TellsSigns):
            signs = destination.signs(account, frozenset(remote.list_id for remote in mine))
    except NestAudienceError:
        signs = None
    return None if signs is None else {each.list_id: each for each in signs.lists}


def _signs_before(tools: Tools) -> dict[str, frozenset[str]]:
    """List id -> the signs of the last entry that has any word on them."""
    entries = (entry["fields"] for entry in tools.log.entries(types=frozenset({EntryType.LIST_FACTS})))
    return {str(fields["list_id"]): frozenset(fields["signs"]) for fields in entries if "signs" in fields}


def _incidents(remote: RemoteList, signs: Iterable[str], before: frozenset[str], tools: Tools) -> Iterator[NewEntry]:
    """One for each sign that is new."""
    for sign in signs:
        if sign not in before:
            code, _, detail = sign.partition(":")
            said: dict[str, Value] = {"code": code, "audience": remote.audience, "list_id": remote.list_id}
            yield EntryType.INCIDENT, tools.context(remote.controller), said | ({"detail": detail} if detail else {})


def _fields(remote: RemoteList, facts: ListFacts | None, seen: ListSigns | None) -> dict[str, Value]:
    """What an entry says of one list; nothing where the platform says nothing. What it does not know, or does not tell, is left out."""
    elsewhere = seen is not None and seen.owner != remote.ad_account
    if facts is None and not elsewhere:
        return {}
    said: dict[str, Value | None] = {"audience": remote.audience, "list_id": remote.list_id, "open": False}
    if facts is not None:
        said |= fields_of(remote, facts)
    if seen is not None:
        said |= {
            "operation": seen.operation,
            "delivery": seen.delivery,
            "lower": seen.lower,
            "upper": seen.upper,
            "sessions_open": seen.sessions_open,
        }
    return {name: value for name, value in said.items() if value is not None}


def _signs(
    audience: Audience,
    remote: RemoteList,
    facts: ListFacts | None,
    seen: ListSigns | None,
    before: frozenset[str],
    tools: Tools,
) -> Iterator[str]:
    """The signs that stand. With whom a list is shared stays as it was `before` while the platform does not say."""
    if facts is not None and _renamed(audience, remote, facts, tools):
        yield RENAMED
    if seen is None:
        return
    if seen.owner != remote.ad_account:
        yield f"{OWNER}:{seen.owner}"
    reason = None if facts is None else facts.closing_reason
    if reason == _FLAG or seen.violating:
        yield from (f"{FLAGGED}:{name}" for name in seen.violating) if seen.violating else (FLAGGED,)
    if seen.deleted_on is not None or reason == _EXPIRING:
        yield EXPIRES if seen.deleted_on is None else f"{EXPIRES}:{seen.deleted_on.isoformat()}"
    yield from (f"{LOOKALIKE}:{each}" for each in seen.lookalikes)
    if seen.shared_with is None:
        yield from (sign for sign in before if sign.startswith(SHARED))
    else:
        yield from (f"{SHARED}:{each}" for each in seen.shared_with)


def _renamed(audience: Audience, remote: RemoteList, facts: ListFacts, tools: Tools) -> bool:
    """True when the name is not ours. One that another of our lists has is no new name but a wrong id: whoever sends there says so."""
    if code_of(audience, tools.keys) != remote.code or facts.name == name_of(audience, tools.keys):
        return False
    return all(facts.code != each.code or each.list_no == remote.list_no for each in tools.memory.lists())


def fields_of(remote: RemoteList, facts: ListFacts) -> dict[str, Value]:
    """What an entry says of one list by its facts. What the platform does not know, or does not tell, is left out."""
    said: dict[str, Value | None] = {
        "size": facts.size,
        "match_rate": facts.match_rate,
        "membership_days": facts.membership_days,
        "closing_reason": facts.closing_reason,
        "eligible_for": None if facts.eligible_for is None else list(facts.eligible_for),
    }
    known = {name: value for name, value in said.items() if value is not None}
    return {"audience": remote.audience, "list_id": remote.list_id, "open": facts.open, **known}
