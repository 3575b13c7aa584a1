"""What the people of the demo's store bought and looked at. Orders and visits only; the segments are derived from them in SQL."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from nestaudience.sandbox.world_people import DAY, Ints, Objects, People, iso

TOPICS: Final = {
    "computime": (("audio", 0.4), ("laptops", 0.42), ("gaming", 0.1), ("phones", 0.08)),
    "bokhyllan": (("crime", 0.55), ("cookbooks", 0.2), ("fantasy", 0.15), ("biography", 0.1)),
    "hemkraft": (("coffee", 0.62), ("vacuum", 0.18), ("kitchen", 0.2)),
}
"""Company -> what its customers care about, and how many of them."""

AUTHORS: Final = ("Maja Lindvall", "Torsten Äng", "Inga-Lill Sköld", "Peder Höök", "Sanna Wrede", "Ossian Falk")
"""Invented authors of the bookseller."""


@dataclass(frozen=True, slots=True)
class Trade:
    """Rows of `shop_order`, `shop_order_line` and `shop_visit`, as columns."""

    orders: dict[str, list[Any]]
    lines: dict[str, list[Any]]
    visits: dict[str, list[Any]]


def topics(rng: np.random.Generator, people: People) -> Objects:
    """What each account cares about. Anchors care about what a segment is made of."""
    found = np.empty(len(people), dtype=object)
    for company, shares in TOPICS.items():
        rows = np.flatnonzero(people.company == company)
        names = np.array([name for name, _ in shares], dtype=object)
        found[rows] = names[rng.choice(len(names), len(rows), p=[share for _, share in shares])]
        anchored = rows[people.anchor[rows]]
        found[anchored] = np.where(np.arange(len(anchored)) % 3 == 0, names[1 if company == "computime" else 0], names[0])
    return found


def trade(rng: np.random.Generator, people: People, cookies: Ints, topic: Objects, end: int) -> Trade:
    """Orders of two years and visits of a month, up to `end`.

    `cookies` says since when each account accepts cookies, -1 for never.
    """
    order_rows, order_at, ore = _orders(rng, people, end)
    orders, lines = sold(rng, people, topic, (order_rows, order_at, ore), cookies, 0)
    return Trade(orders, lines, seen(rng, people, topic, _looks(rng, people, cookies, end), cookies, 0))


def _orders(rng: np.random.Generator, people: People, end: int) -> tuple[Ints, Ints, Ints]:
    """(account row, time, price in öre) of each order, oldest first.

    Three in four buy; a third of the bookseller's readers have lapsed; nobody but the story `long_ago` is older than 23 months.
    """
    buys = (rng.random(len(people)) < 0.75) | people.anchor
    rows = np.repeat(np.flatnonzero(buys), 1 + rng.integers(0, 3, int(buys.sum())))
    old_enough = (people.created < end - 300 * DAY) & (people.story != "long_ago")
    lapsed = (people.company == "bokhyllan") & (np.arange(len(people)) % 5 < 2) & old_enough
    youngest = np.where(lapsed[rows], 190 * DAY, DAY)
    oldest = np.where(lapsed[rows], 690 * DAY, 340 * DAY)
    at = end - (youngest + rng.random(len(rows)) * (oldest - youngest)).astype(np.int64)
    early = people.told("long_ago")
    fresh = np.flatnonzero(people.anchor & ~lapsed)
    rows = np.concatenate([rows, fresh, early, early])
    ages = ((2, 38, fresh), (740, 900, early), (190, 300, early))
    at = np.concatenate([at, *(end - rng.integers(low * DAY, high * DAY, len(who)) for low, high, who in ages)])
    recent_too = ~((people.story[rows] == "long_ago") & (at > end - 190 * DAY))
    keep = recent_too & (at > people.created[rows])
    rows, at = rows[keep], at[keep]
    order = np.lexsort((rows, at))
    return rows[order], at[order], rng.integers(79, 8_990, len(rows)) * 100 - 10


def sold(
    rng: np.random.Generator, people: People, topic: Objects, orders_of: tuple[Ints, Ints, Ints], cookies: Ints, first: int
) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Columns of `shop_order` and `shop_order_line` for orders of (account row, time, price in öre).

    `first` continues older numbers.
    """
    rows, at, price = orders_of
    ids = [f"{company[0].upper()}{first + k:08}" for k, company in enumerate(people.company[rows].tolist())]
    quantity = np.where(rng.random(len(rows)) < 0.1, 2, 1)
    stray = np.flatnonzero(rng.random(len(rows)) < 0.25)
    guest = rng.random(len(rows)) < 0.03
    total = (price * quantity).astype(np.int64)
    total[stray] += 9_900
    granted = (cookies[rows] >= 0) & (cookies[rows] <= at)
    email = people.email[rows].tolist()
    orders = {
        "order_id": ids,
        "company": people.company[rows].tolist(),
        "account_id": [None if alone else who for alone, who in zip(guest, people.account_id[rows].tolist(), strict=True)],
        "checkout_email": email,
        "ordered_at": iso(at),
        "ore": total.tolist(),
        "gclid": [f"Cj0demo{k:08}" if g and k % 4 == 0 else None for k, g in enumerate(granted.tolist())],
        "cookie_granted_at": iso(np.where(granted, cookies[rows], -1)),
        "cookie_withdrawn_at": [None] * len(rows),
    }
    subject = topic[rows].tolist()
    written = [AUTHORS[k % len(AUTHORS)] if company == "bokhyllan" else None for k, company in enumerate(orders["company"])]
    amounts = (price * quantity).tolist()
    lines = {
        "order_id": ids + [ids[k] for k in stray],
        "product_id": [f"{what}-{k % 97:03}" for k, what in enumerate(subject)] + ["giftwrap-001"] * len(stray),
        "category": subject + ["gifts"] * len(stray),
        "author": written + [None] * len(stray),
        "quantity": quantity.tolist() + [1] * len(stray),
        "ore": amounts + [9_900] * len(stray),
        "returned": [0] * (len(rows) + len(stray)),
    }
    return orders, lines


def _looks(rng: np.random.Generator, people: People, cookies: Ints, end: int) -> tuple[Ints, Ints]:
    """(account row, time) of each visit of the last 27 days, oldest first.

    Who accepts cookies is seen; a few others are seen too, as a shop with a faulty banner sees them.
    """
    comes = ((rng.random(len(people)) < 0.85) & (cookies >= 0)) | people.anchor | (rng.random(len(people)) < 0.04)
    comes &= people.story != "inactive"
    rows = np.repeat(np.flatnonzero(comes), 1 + rng.integers(0, 3, int(comes.sum())))
    at = end - 3_600 - (rng.random(len(rows)) * 27 * DAY).astype(np.int64)
    early = people.told("long_ago")
    rows = np.concatenate([rows, early])
    at = np.concatenate([at, end - rng.integers(33 * DAY, 40 * DAY, len(early))])
    order = np.lexsort((rows, at))
    return rows[order], at[order]


def seen(
    rng: np.random.Generator, people: People, topic: Objects, looks: tuple[Ints, Ints], cookies: Ints, first: int
) -> dict[str, list[Any]]:
    """Columns of `shop_visit` for visits of (account row, time). Who accepts cookies is logged in.

    `first` continues older numbers.
    """
    rows, at = looks
    consented = (cookies[rows] >= 0) & (cookies[rows] <= at)
    click = rng.random(len(rows)) < 0.3
    company = people.company[rows].tolist()
    return {
        "event_id": [f"v{first + k:09}" for k in range(len(rows))],
        "account_id": people.account_id[rows].tolist(),
        "company": company,
        "kind": np.where(click, "click", "visit").tolist(),
        "product_id": [f"{what}-{k % 97:03}" for k, what in enumerate(topic[rows].tolist())],
        "category": topic[rows].tolist(),
        "author": [AUTHORS[k % len(AUTHORS)] if firm == "bokhyllan" else None for k, firm in enumerate(company)],
        "occurred_at": iso(at),
        "logged_in": np.where(consented, 1, rng.integers(0, 2, len(rows))).tolist(),
        "cookie_consented": consented.astype(np.int64).tolist(),
    }
