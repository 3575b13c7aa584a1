"""What a night remembers of a world, row by row (rules §4 rule 13): every no that stands, with the address for which it was seen.

Where the rules leave room, "Read as:" says what was chosen.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from nestaudience.screening.rules import Rules
from nestaudience.vocabulary import Reason

from .events import Event
from .people import Person
from .values import months_after

LONGEST = 36
"""Months after which a withdrawal has nothing left to speak against."""
CODES = frozenset(
    {
        Reason.ERASURE,
        Reason.RESTRICTED,
        Reason.OBJECTED,
        Reason.ANALYSIS_OBJECTED,
        Reason.CONSENT_WITHDRAWN,
        Reason.COOKIES_REFUSED,
        Reason.CONSENT_EXPIRED,
    }
)
"""Codes for which `suppressed` stands where memory alone gives them."""


def worth_keeping(noes: Iterable[Event], people: dict[str, Person], rules: Rules, now: datetime) -> list[Event]:
    """The noes as memory keeps them. Read as: a closure is none of them; a restriction that has ended is none."""
    kept = []
    for no in noes:
        withdrawn = no.action == "withdraw" and no.purpose not in rules.irrelevant_purposes
        old = withdrawn and no.recorded is not None and months_after(no.recorded, LONGEST) < now
        if (withdrawn and not old) or no.action in {"object", "restrict", "erase"}:
            origin = people.get(no.account) if no.account is not None else None
            address = no.address if no.account is None else origin.canonical if origin is not None else None
            if no.account is not None or address is not None:
                kept.append(replace(no, kept=address, remembered=True, first_seen=now))
    return kept


def with_first_seen(events: list[Event], remembered: Iterable[Event]) -> list[Event]:
    """The store's events; a no without any clock was said when memory first saw it (rule 3)."""
    known = {_content(no): no.first_seen for no in remembered}
    return [replace(event, first_seen=known.get(_content(event))) for event in events]


def without_alike(consents: list[Event], rights: list[Event], rules: Rules) -> tuple[list[Event], list[Event]]:
    """Read as: where several noes of one holder, company, source and sequence have no clock, nobody can tell which memory saw."""
    noes = [no for no in consents if no.action == "withdraw" and no.purpose not in rules.irrelevant_purposes]
    noes += [no for no in rights if no.action in {"object", "restrict", "erase", "close"}]
    seen = Counter((_whose(no), no.event_id) for no in noes if no.occurred is None and no.recorded is None)
    several = {whose for whose, count in Counter(whose for whose, _ in seen).items() if count > 1}

    def cleared(events: list[Event]) -> list[Event]:
        return [replace(event, first_seen=None) if _whose(event) in several else event for event in events]

    return cleared(consents), cleared(rights)


def _whose(no: Event) -> tuple[object, ...]:
    return (no.holder, no.controller, no.source, no.seq)


def _content(no: Event) -> tuple[object, ...]:
    words = (no.view, no.action, no.purpose, no.recipient, no.controller, no.source, no.seq, no.occurred, no.recorded)
    return (no.holder, *words)
