"""The people of the demo's store: who they are, which address they type, and what their story is. All invented, all from a seed.

A story is what is peculiar about one account; `STORIES` names them all. This module makes accounts; what people said is in
`world_events`, what they bought and saw in `world_trade`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nestaudience.sandbox.world_names import DOMAINS, FIRST, INVALID, LAST, ODD

Ints = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]

DAY: Final = 86_400
COMPANIES: Final = ("computime", "bokhyllan", "hemkraft")
_COMPANY_SHARES: Final = (0.42, 0.31, 0.27)

_ASCII: Final = str.maketrans("åäöéÅÄÖÉ", "aaoeAAOE")

STORIES: Final = {
    "never_asked": 0.2,
    "withdrew_all": 0.03,
    "withdrew_one": 0.02,
    "granted_again": 0.015,
    "quick_change": 0.003,
    "cookies_refused": 0.02,
    "cookies_accepted_again": 0.005,
    "expired": 0.025,
    "text_google_only": 0.015,
    "text_unregistered": 0.004,
    "other_company_grant": 0.008,
    "google_only_grant": 0.01,
    "unconfirmed": 0.012,
    "unusable_source": 0.008,
    "objected": 0.01,
    "objection_lifted": 0.004,
    "lift_without_grant": 0.002,
    "analysis_objected": 0.006,
    "restricted": 0.003,
    "unrestricted": 0.003,
    "erasing": 0.003,
    "erased_by_address": 0.002,
    "registered_again": 0.002,
    "closed": 0.01,
    "pending_deletion": 0.003,
    "closed_by_event": 0.003,
    "locked": 0.008,
    "vanished": 0.004,
    "minor": 0.005,
    "protected": 0.003,
    "family": 0.012,
    "shares_with_noes": 0.005,
    "shares_with_blocked": 0.004,
    "staff": 0.003,
    "business": 0.01,
    "abroad": 0.01,
    "inactive": 0.015,
    "foreign_address": 0.006,
    "unverified": 0.01,
    "changed_unverified": 0.004,
    "changed_verified": 0.015,
    "invalid_address": 0.004,
    "odd_address": 0.004,
    "long_ago": 0.005,
}
"""Story -> share of all accounts; who has no story is an ordinary person who consented."""

RARE: Final = ("malformed_account", "odd_clock", "unknown_action", "unknown_words", "verified_tomorrow")
"""Stories that are a fault of the feed: a handful each, whatever the size, or the gate for malformed feeds would close."""

CONSENTED: Final = "consented"
_RARE_COUNT: Final = 6
_LEAST: Final = 3


@dataclass(slots=True)
class People:
    """Accounts as columns. Times are seconds since 1970 in UTC, -1 for none; `anchor` marks those who must be in a segment."""

    account_id: Objects
    company: Objects
    story: Objects
    anchor: npt.NDArray[np.bool_]
    email: Objects
    created: Ints
    verified: Ints
    changed: Ints
    login: Ints
    birth_year: Ints
    columns: dict[str, Objects]

    def __len__(self) -> int:
        return len(self.account_id)

    def told(self, *stories: str) -> Ints:
        """Row numbers of the accounts with one of these stories."""
        return np.flatnonzero(np.isin(self.story.astype(str), stories))


def seconds(when: datetime) -> int:
    """Seconds since 1970 in UTC."""
    return int(when.timestamp())


def iso(times: Ints) -> list[Any]:
    """ISO 8601 text in UTC; None for -1."""
    texts = np.datetime_as_string(times.astype("datetime64[s]")).tolist()
    return [None if at < 0 else text + "Z" for at, text in zip(times.tolist(), texts, strict=True)]


def make_people(rng: np.random.Generator, count: int, now: datetime, *, first_number: int = 0, plain: bool = False) -> People:
    """`count` accounts. `first_number` continues an older population; `plain` gives nobody a story."""
    end = seconds(now)
    story = np.full(count, CONSENTED, dtype=object) if plain else _stories(rng, count)
    company = np.array(COMPANIES, dtype=object)[rng.choice(len(COMPANIES), count, p=_COMPANY_SHARES)]
    numbers = np.arange(first_number, first_number + count)
    created = end - rng.integers(40 * DAY, 1_500 * DAY, count)
    login = np.maximum(created, end - rng.integers(DAY, 500 * DAY, count))
    people = People(
        account_id=np.array(
            [f"{firm[0]}-{100_000 + n}" for firm, n in zip(company, numbers.tolist(), strict=True)], dtype=object
        ),
        company=company,
        story=story,
        anchor=_anchors(story),
        email=np.array(_addresses(rng, numbers), dtype=object),
        created=created,
        verified=created + rng.integers(60, 3_000, count),
        changed=np.full(count, -1, dtype=np.int64),
        login=login,
        birth_year=np.where(rng.random(count) < 0.1, -1, rng.integers(1938, now.year - 19, count)),
        columns={
            "state": np.full(count, "active", dtype=object),
            "kind": np.full(count, "private", dtype=object),
            "email_from": np.full(count, "account", dtype=object),
            "country": np.full(count, "SE", dtype=object),
            "protected": np.zeros(count, dtype=object),
            "staff": np.zeros(count, dtype=object),
        },
    )
    _live_stories(rng, people, now)
    return people


def account_rows(people: People, rows: Ints) -> dict[str, list[Any]]:
    """The columns of `shop_account` for these accounts."""
    last = np.maximum(np.maximum(people.created, people.verified), np.maximum(people.changed, people.login))
    picked = {name: column[rows].tolist() for name, column in people.columns.items()}
    years = people.birth_year[rows].tolist()
    return picked | {
        "account_id": people.account_id[rows].tolist(),
        "company": people.company[rows].tolist(),
        "email": people.email[rows].tolist(),
        "email_verified_at": iso(people.verified[rows]),
        "email_changed_at": iso(people.changed[rows]),
        "birth_year": [None if year < 0 else year for year in years],
        "created_at": iso(people.created[rows]),
        "last_login_at": iso(people.login[rows]),
        "changed_at": iso(last[rows]),
    }


def _stories(rng: np.random.Generator, count: int) -> Objects:
    told: list[str] = []
    for name, share in STORIES.items():
        told += [name] * max(_LEAST, round(share * count))
    for name in RARE:
        told += [name] * _RARE_COUNT
    told += [CONSENTED] * max(0, count - len(told))
    if len(told) > count:
        raise ValueError("a store needs at least 500 accounts to tell every story")
    return np.array(told, dtype=object)[rng.permutation(count)]


def _anchors(story: Objects) -> npt.NDArray[np.bool_]:
    """The first 40 accounts of every story: enough that each is seen in a segment, few enough that it stays believable."""
    anchor = np.zeros(len(story), dtype=np.bool_)
    for name in (*STORIES, *RARE):
        anchor[np.flatnonzero(story == name)[:40]] = True
    return anchor


def _addresses(rng: np.random.Generator, numbers: Ints) -> list[str]:
    """One address a number. Name and serial make the local part unique, so that nobody shares one by chance."""
    pairs = len(FIRST) * len(LAST)
    # A fixed stride that shares no factor with the number of pairs walks through all of them before a serial is needed.
    places = (numbers * 1_009) % pairs
    domain = np.array(list(DOMAINS), dtype=object)[rng.choice(len(DOMAINS), len(numbers), p=list(DOMAINS.values()))]
    style = rng.integers(0, 20, len(numbers))
    found = []
    for place, serial, site, how in zip(places.tolist(), (numbers // pairs).tolist(), domain, style.tolist(), strict=True):
        first, last = FIRST[place // len(LAST)].translate(_ASCII), LAST[place % len(LAST)].translate(_ASCII)
        found.append(_typed(first, last, serial, site, how))
    return found


def _typed(first: str, last: str, serial: int, domain: str, style: int) -> str:
    tail = str(serial + 1) if serial else ""
    join = (".", "", "_", "-", ".")[style % 5]
    local = f"{first}{join}{last}{tail}" if style < 15 else f"{last}{join}{first}{tail}"
    if style != 3:
        local = local.lower()
    if style == 7:
        local += "+handla"
    return f"{local}@{domain or last.lower() + '-familj.se'}"


def _live_stories(rng: np.random.Generator, people: People, now: datetime) -> None:
    """Give the accounts what their stories say about the account itself."""
    end = seconds(now)
    columns = people.columns
    for story, column, value in (
        ("closed", "state", "closed"),
        ("pending_deletion", "state", "pending_deletion"),
        ("locked", "state", "locked"),
        ("protected", "protected", 1),
        ("staff", "staff", 1),
        ("business", "kind", "business"),
    ):
        columns[column][people.told(story)] = value
    for story, column, values in (
        ("abroad", "country", ("NO", "FI", "DK", "DE", None)),
        ("foreign_address", "email_from", ("checkout", "newsletter", "import")),
        ("malformed_account", "kind", ("privat", "", "Private")),
    ):
        columns[column][people.told(story)] = np.resize(np.array(values, dtype=object), len(people.told(story)))
    minors = people.told("minor")
    people.birth_year[minors] = now.year - rng.integers(13, 19, len(minors))
    away = people.told("inactive")
    people.created[away] = end - rng.integers(1_200 * DAY, 1_500 * DAY, len(away))
    people.verified[away] = people.created[away] + 600
    people.login[away] = people.created[away] + rng.integers(DAY, 300 * DAY, len(away))
    again = people.told("registered_again")
    people.created[again] = end - rng.integers(60 * DAY, 200 * DAY, len(again))
    people.verified[again] = people.created[again] + 600
    people.login[again] = np.maximum(people.created[again], people.login[again])
    long_ago = people.told("long_ago", "expired")
    people.created[long_ago] = end - rng.integers(1_300 * DAY, 1_500 * DAY, len(long_ago))
    people.verified[long_ago] = people.created[long_ago] + 600
    _live_addresses(rng, people, end)


def _live_addresses(rng: np.random.Generator, people: People, end: int) -> None:
    for story, templates in (("invalid_address", INVALID), ("odd_address", ODD)):
        rows = people.told(story)
        people.email[rows] = [
            templates[k % len(templates)].replace("{n:05x}", f"{row:05x}").replace("{n}", str(row)) for k, row in enumerate(rows)
        ]
    people.verified[people.told("unverified")] = -1
    people.verified[people.told("verified_tomorrow")] = end + 2 * DAY
    moved = people.told("changed_unverified", "changed_verified")
    people.changed[moved] = end - rng.integers(2 * DAY, 30 * DAY, len(moved))
    people.login[moved] = np.maximum(people.login[moved], people.changed[moved])
    known = people.told("changed_verified")
    people.verified[known] = people.changed[known] + rng.integers(60, 3_000, len(known))
    for story, others in (
        ("family", ("consented",)),
        ("shares_with_noes", ("withdrew_all", "objected", "cookies_refused", "restricted")),
        ("shares_with_blocked", ("minor", "protected")),
    ):
        rows, partners = people.told(story), people.told(*others)
        chosen = rng.choice(partners, len(rows), replace=len(rows) > len(partners))
        people.email[rows] = [same_person(email, k) for k, email in enumerate(people.email[chosen])]


def same_person(email: str, style: int) -> str:
    """The address as another member of the family may type it: the same mailbox at Google, the same text elsewhere."""
    local, _, domain = email.partition("@")
    if domain == "gmail.com":
        return (f"{local[0]}.{local[1:]}@gmail.com", f"{local}+{style}@gmail.com", f"{local}@googlemail.com")[style % 3]
    return email.upper() if style % 2 else email
