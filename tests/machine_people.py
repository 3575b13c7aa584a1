"""The few people of the state machine's world and everything that can happen to them, as rows of the customer store's views.

Addresses are few on purpose, and shared within a company and between companies; two of them are one person by Google's rule and two by Meta's. What
happens is a new row with the present time, or a changed account. Nothing here knows who may be on a list.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from tests.reference.rows import Row, World, account, consent, member, right

ADDRESSES: Final = ("anna@post.se", "bo@post.se", "c.d@gmail.com", "cd@gmail.com", "eva@post.se")
PEOPLE: Final = ("a1", "a2", "a3", "b1", "b2", "b3")
"""Accounts; the letter is the company."""
START: Final = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
_FIRST_ADDRESS: Final = {"a1": 0, "a2": 1, "a3": 2, "b1": 0, "b2": 3, "b3": 4}


def company(who: str) -> str:
    """Whose customer an account is."""
    return "c1" if who[0] == "a" else "c2"


def text_of(moment: datetime) -> str:
    """A moment as the store writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _account(who: str, email: str, **changes: str | None) -> Row:
    return account(who, controller_id=company(who), email=email, **changes)


def first_world(granted: frozenset[str], members: frozenset[str]) -> World:
    """The world at the start. Of those who consented one did so almost two years ago."""
    grants = []
    for number, who in enumerate(sorted(granted)):
        at = text_of(datetime(2024, 11, 26, 3, 0, tzinfo=UTC) if number == 2 else START - timedelta(days=40))
        grants.append(consent(f"g{number}", account_id=who, controller_id=company(who), occurred_at=at, recorded_at=at))
    return World(
        tuple(_account(who, ADDRESSES[_FIRST_ADDRESS[who]]) for who in PEOPLE),
        tuple(grants),
        (),
        tuple(member(who, controller_id=company(who)) for who in PEOPLE if who in members),
    )


class Life:
    """What happens to people. `number` makes event ids, so that none comes twice."""

    def __init__(self) -> None:
        self._number = 0

    def happens(self, what: str, world: World, who: str, now: datetime, choice: int) -> World:
        """The world after one event. `choice` picks among the ways in which it can happen."""
        self._number += 1
        ways: dict[str, Callable[[World, str, str, int], World]] = {
            "grant": self._grant,
            "withdraw": self._withdraw,
            "rights": self._right,
            "lift": self._lift,
            "close": self._close,
            "move": _move,
            "vanish": _vanish,
            "return": _return,
            "segment": _segment,
            "guardian": self._guardian,
        }
        return ways[what](world, who, text_of(now), choice)

    def _consent(self, world: World, action: str, who: str, at: str, **facts: str | None) -> World:
        clocks = {"occurred_at": at, "recorded_at": at}
        row = consent(f"c{self._number}", action, who, controller_id=company(who), **(clocks | facts))
        return world.plus(consent_event=(row,))

    def _grant(self, world: World, who: str, at: str, choice: int) -> World:
        recipient = ("*", "*", "google", "meta")[choice % 4]
        if choice % 5 == 4:
            return self._consent(world, "grant", who, at, purpose="web_behaviour", text_version="t_cookies", source="banner")
        return self._consent(world, "grant", who, at, recipient=recipient)

    def _withdraw(self, world: World, who: str, at: str, choice: int) -> World:
        if choice % 5 == 4:
            return self._consent(world, "withdraw", who, at, purpose="web_behaviour", source="banner")
        return self._consent(world, "withdraw", who, at, recipient=("*", "*", "google", "meta")[choice % 4])

    def _right(self, world: World, who: str, at: str, choice: int) -> World:
        """An objection, a restriction or an erasure, by account or by the address alone."""
        action = ("object", "restrict", "erase")[choice % 3]
        here: Row = {"occurred_at": at, "recorded_at": at, "controller_id": company(who)}
        if choice % 2:
            email = next((row["email"] for row in world.account if row["account_id"] == who), ADDRESSES[choice % len(ADDRESSES)])
            row = right(f"r{self._number}", action, None, email=email, **here)
        else:
            row = right(f"r{self._number}", action, who, **here)
        return world.plus(rights_event=(row,))

    def _lift(self, world: World, who: str, at: str, choice: int) -> World:
        action = ("lift_objection", "unrestrict")[choice % 2]
        here: Row = {"occurred_at": at, "recorded_at": at, "controller_id": company(who)}
        return world.plus(rights_event=(right(f"r{self._number}", action, who, **here),))

    def _close(self, world: World, who: str, at: str, choice: int) -> World:
        if choice % 2:
            return _changed(world, who, status="closed", changed_at=at)
        row = right(f"r{self._number}", "close", who, occurred_at=at, recorded_at=at, controller_id=company(who))
        return world.plus(rights_event=(row,))

    def _guardian(self, world: World, who: str, at: str, choice: int) -> World:
        """A protected person has, or had, the same address."""
        email = ADDRESSES[choice % len(ADDRESSES)]
        row = _account(f"{who[0]}g{self._number}", email, protected="1", created_at=at, changed_at=at)
        return world.plus(account=(row,))


def _changed(world: World, who: str, **facts: str | None) -> World:
    rows = tuple(row | facts if row["account_id"] == who else row for row in world.account)
    return replace(world, account=rows)


def _move(world: World, who: str, at: str, choice: int) -> World:
    """Another address, verified at once or not yet."""
    verified = {"email_verified_at": at} if choice % 2 else {}
    return _changed(world, who, email=ADDRESSES[choice % len(ADDRESSES)], email_changed_at=at, changed_at=at, **verified)


def _vanish(world: World, who: str, _at: str, choice: int) -> World:
    """The account's row is gone; its segment's row perhaps as well."""
    gone = replace(world, account=tuple(row for row in world.account if row["account_id"] != who))
    return _left(gone, who) if choice % 2 else gone


def _return(world: World, who: str, at: str, choice: int) -> World:
    """The account's row is there (again), active."""
    if any(row["account_id"] == who for row in world.account):
        return _changed(world, who, status="active", changed_at=at)
    email = ADDRESSES[choice % len(ADDRESSES)]
    return world.plus(account=(_account(who, email, created_at=at, email_verified_at=at, changed_at=at),))


def _left(world: World, who: str) -> World:
    return replace(world, segment_member=tuple(row for row in world.segment_member if row["account_id"] != who))


def _segment(world: World, who: str, _at: str, _choice: int) -> World:
    """Leaves the segment, or joins it."""
    if any(row["account_id"] == who for row in world.segment_member):
        return _left(world, who)
    return world.plus(segment_member=(member(who, controller_id=company(who)),))
