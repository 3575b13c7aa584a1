"""What the platforms say of our lists, once a night, into the log: size, match rate, what it may be used for, whether and why it was closed.

It asks and writes down; it changes no list, and what it learns decides nothing. A platform that cannot be asked leaves what it said before: whoever
sends to its lists meets the trouble.
"""

from collections.abc import Iterable, Mapping

from nestaudience.delivery.requests import Tools
from nestaudience.destinations.port import Account, Destination, ListFacts
from nestaudience.errors import NestAudienceError
from nestaudience.ledger.entries import EntryType, Value
from nestaudience.ledger.log import NewEntry
from nestaudience.ledger.memory import RemoteList

_GONE = frozenset({"gone", "closed", "recovering"})


def note_facts(remotes: Iterable[tuple[str, RemoteList]], destinations: Mapping[str, Destination], tools: Tools) -> int:
    """An entry for each bound list that its account names; how many. One read for each account, or a few where it has many lists. `remotes` come with
    the names of the transports that reach them now.
    """
    by_account: dict[tuple[str, Account], list[RemoteList]] = {}
    for name, remote in remotes:
        if remote.list_id and remote.state not in _GONE and name in destinations:
            place = name, Account(remote.ad_account, remote.login_account)
            by_account.setdefault(place, []).append(remote)
    entries: list[NewEntry] = []
    for (name, account), mine in by_account.items():
        told = {facts.list_id: facts for facts in _asked(destinations[name], account)}
        entries += [
            (EntryType.LIST_FACTS, tools.context(remote.controller), fields_of(remote, told[remote.list_id]))
            for remote in mine
            if remote.list_id in told
        ]
    if entries:
        tools.log.append(entries)
    return len(entries)


def _asked(destination: Destination, account: Account) -> tuple[ListFacts, ...]:
    try:
        return destination.lists(account)
    except NestAudienceError:
        return ()


def fields_of(remote: RemoteList, facts: ListFacts) -> dict[str, Value]:
    """What an entry says of one list. What the platform does not know, or does not tell, is left out."""
    said: dict[str, Value | None] = {
        "size": facts.size,
        "match_rate": facts.match_rate,
        "membership_days": facts.membership_days,
        "closing_reason": facts.closing_reason,
        "eligible_for": None if facts.eligible_for is None else list(facts.eligible_for),
    }
    known = {name: value for name, value in said.items() if value is not None}
    return {"audience": remote.audience, "list_id": remote.list_id, "open": facts.open, **known}
