"""Accounts as the rules see them: their facts, their noes, and their address where it may be read (rules §4 minimal reading, §5).

Says nothing about consent. Where the rules leave room, "Read as:" says what was chosen.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nestaudience.screening.rules import Rules
from nestaudience.vocabulary import Purpose

from .events import Event
from .rows import ACCOUNT, Row
from .values import canonical, moment, whole

_SETS: Final = {
    "status": {"active", "locked", "closed", "pending_deletion"},
    "account_type": {"private", "business"},
    "email_source": {"account", "checkout", "newsletter", "import"},
    "protected": {"0", "1"},
    "test_or_staff": {"0", "1"},
}


@dataclass(frozen=True, slots=True)
class Person:
    """One account id. `canonical` is None where the address was not read or is none; `created` None where it is unusable."""

    account_id: str
    facts: Row
    closed: bool
    minor: bool
    protected: bool
    malformed: bool
    created: datetime | None
    address_read: bool
    canonical: str | None


def people_of(rows: Iterable[Row], events: list[Event], rules: Rules, now: datetime) -> dict[str, Person]:
    """Every account by id. Read as: a row without id is no account."""
    rows_of: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        account_id = row["account_id"]
        if account_id is not None:
            rows_of[account_id].append(row)
    asked = {event.account for event in events if _asks_for_address(event, rules)}
    return {account_id: _person(account_id, same, account_id in asked, rules, now) for account_id, same in rows_of.items()}


def same_address(one: Person, other: Person) -> bool:
    """True for two accounts of "the same person"."""
    return one.account_id != other.account_id and one.canonical is not None and one.canonical == other.canonical


def _asks_for_address(event: Event, rules: Rules) -> bool:
    """Minimal reading. Read as: any grant row counts, a conflicting or unusable one too; a withdrawal of a purpose that config
    names as irrelevant does not.
    """
    if event.view == "rights_event":
        return event.action in {"object", "restrict", "erase"}
    if event.action == "grant":
        return event.purpose == Purpose.AD_MATCHING
    return event.action == "withdraw" and event.purpose not in rules.irrelevant_purposes


def _person(account_id: str, rows: list[Row], asked: bool, rules: Rules, now: datetime) -> Person:
    """One account of one or more rows. Two rows are malformed, their noes count all, other facts are from the first.

    Read as: first in the order of the columns without `email`, the contract's order, by code points, null last; its address is
    the account's, and may be read when any row or event allows it.
    """
    order = [column for column in ACCOUNT if column != "email"] + ["email"]
    facts = min(rows, key=lambda row: [(row[column] is None, row[column] or "") for column in order])
    minor = any(_minor(row["birth_year"], now) for row in rows)
    protected = any(row["protected"] == "1" for row in rows)
    read = asked or minor or protected
    return Person(
        account_id=account_id,
        facts=facts,
        closed=any(row["status"] in {"closed", "pending_deletion"} for row in rows),
        minor=minor,
        protected=protected,
        malformed=len(rows) > 1 or _malformed(facts, rules),
        created=moment(facts["created_at"]),
        address_read=read,
        canonical=canonical(facts["email"]) if read else None,
    )


def _minor(birth_year: str | None, now: datetime) -> bool:
    born = whole(birth_year)
    return born is not None and now.year - born <= 18


def _malformed(facts: Row, rules: Rules) -> bool:
    """A value outside its set, or null where none is allowed."""
    maybe_times = [facts[column] for column in ("email_verified_at", "email_changed_at", "last_active_at")]
    return (
        any(facts[column] not in values for column, values in _SETS.items())
        or facts["controller_id"] not in rules.controllers
        or moment(facts["created_at"]) is None
        or moment(facts["changed_at"]) is None
        or any(text is not None and moment(text) is None for text in maybe_times)
        or (facts["birth_year"] is not None and whole(facts["birth_year"]) is None)
    )
