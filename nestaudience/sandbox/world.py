"""A believable customer store for the demo and the tests, from a seed: three invented companies in one SQLite file.

`build_store` writes the whole store as it stands at `now`; `advance_store` (in `world_day`) lets a day pass. The same seed and
the same `now` give the same content. Nothing here is about a real person, and nothing here is used in production.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import adbc_driver_sqlite.dbapi
import numpy as np
import pyarrow as pa

from nestaudience.errors import NeedsFix
from nestaudience.sandbox.world_events import CONSENT_COLUMNS, RIGHT_COLUMNS, TEXTS, Histories, numbered
from nestaudience.sandbox.world_people import COMPANIES, RARE, STORIES, People, account_rows, make_people, seconds
from nestaudience.sandbox.world_schema import COUNTED, TABLES, indexes, moment, segments, tables
from nestaudience.sandbox.world_trade import topics, trade

LEGAL_NAMES: Final = {
    "computime": ("Computime Electronics AB", "556295-9394"),
    "bokhyllan": ("Bokhyllan i Svalöv AB", "559000-0018"),
    "hemkraft": ("Hemkraft Vitvaror i Arboga AB", "559000-0026"),
}
"""Controller -> legal name and company number. The two sisters, and their numbers, are invented."""

STRAYS: Final = 8
"""How many accounts of another company each company's first segment wrongly holds."""


@dataclass(frozen=True, slots=True)
class WorldFacts:
    """What `build_store` made: rows by view, and accounts by story (those without one under `consented`).

    `strays` are the accounts that stand in a segment of a company that is not theirs.
    """

    now: datetime
    rows: Mapping[str, int]
    accounts: Mapping[str, tuple[str, ...]]
    strays: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SegmentFact:
    """A segment of the demo, for the example configuration."""

    code: str
    controller: str
    uses_orders: bool
    uses_site: bool


SEGMENTS: Final = (
    SegmentFact("bought_audio_12m", "computime", uses_orders=True, uses_site=False),
    SegmentFact("viewed_laptops_30d", "computime", uses_orders=False, uses_site=True),
    SegmentFact("crime_readers", "bokhyllan", uses_orders=True, uses_site=False),
    SegmentFact("lapsed_readers", "bokhyllan", uses_orders=True, uses_site=False),
    SegmentFact("coffee_lovers", "hemkraft", uses_orders=True, uses_site=True),
)


LOAD: Final = "demo-1"
"""The generation of the demo's loads: ordinary ones go on with the same."""


class StoreFile:
    """The demo's store, open for writing. One SQLite library per process: the same driver writes that the adapter reads with."""

    def __init__(self, path: Path) -> None:
        self._connection: Any = adbc_driver_sqlite.dbapi.connect(path.absolute().as_uri())
        self.run("PRAGMA busy_timeout = 10000")  # a run may be reading

    def __enter__(self) -> "StoreFile":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._connection.commit()
        self._connection.close()

    def run(self, *statements: str) -> None:
        """Run statements, one after the other, in the one transaction."""
        with self._connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """A whole result."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def many(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """One statement with parameters, once for each row."""
        if rows:
            with self._connection.cursor() as cursor:
                cursor.executemany(sql, rows)

    def append(self, table: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Add rows to a base table, from columns by name."""
        declared = dict(part.split()[:2] for part in TABLES[table].split(", ") if part.split()[0] in columns)
        types = {"TEXT": pa.string(), "INTEGER": pa.int64()}
        data = pa.table({name: pa.array(columns[name], types[kind]) for name, kind in declared.items()})
        if data.num_rows:
            with self._connection.cursor() as cursor:
                cursor.adbc_ingest(table, data, mode="append")


def build_store(path: str | Path, *, seed: int, accounts: int = 50_000, now: datetime) -> WorldFacts:
    """Write a new store of about this many accounts, as it stands at `now`.

    Raises `ValueError` for a `now` without zone or before 2026 (the texts would not be in force) and for fewer than 500
    accounts, and `NeedsFix` where a file is already.
    """
    target = Path(path)
    if now.tzinfo is None or now.year < TEXTS[-2].valid_from.year + 1:
        raise ValueError("now needs a time zone, and a year from 2026 on")
    if target.exists():
        raise NeedsFix("store_exists", "sandbox.store", "delete the old demo store, or name another file")
    rng = np.random.default_rng([seed, 1])
    end = seconds(now)
    people = make_people(rng, accounts, now)
    histories = Histories(rng, people, end)
    said = histories.tell()
    sold = trade(rng, people, histories.cookies, topics(rng, people), end)
    with StoreFile(target) as store:
        store.run(*tables())
        store.append("shop_account", account_rows(people, np.flatnonzero(people.story != "vanished")))
        store.append("shop_consent", numbered(said.consents, CONSENT_COLUMNS, "e", 0))
        store.append("shop_right", numbered(said.rights, RIGHT_COLUMNS, "r", 0))
        store.append("shop_order", sold.orders)
        store.append("shop_order_line", sold.lines)
        store.append("shop_visit", sold.visits)
        store.run(*indexes())
        note_logins(store)
        compute_segments(store, now)
        strays = _stray(store, people)
        report_segments(store, now)
        rows = report_feeds(store, now)
    told = {story: tuple(people.account_id[people.told(story)].tolist()) for story in (*STORIES, *RARE, "consented")}
    return WorldFacts(now, rows, told, strays)


def note_logins(store: StoreFile) -> None:
    """Whoever was seen logged in was active then."""
    seen = "SELECT max(v.occurred_at) FROM shop_visit AS v WHERE v.account_id = a.account_id AND v.logged_in = 1"
    store.run(f"UPDATE shop_account AS a SET last_login_at = max(last_login_at, coalesce(({seen}), last_login_at))")  # noqa: S608 - own words


def compute_segments(store: StoreFile, now: datetime) -> None:
    """Derive every segment from orders and visits as of `now`."""
    store.run("DELETE FROM segment_row")
    for (company, code), query in segments(now).items():
        store.run(f"INSERT INTO segment_row SELECT '{code}', '{company}', q.* FROM ({query}) AS q ORDER BY 3")  # noqa: S608 - own words


def report_segments(store: StoreFile, now: datetime) -> None:
    """Write when the segments were computed, and how many rows each has."""
    computed = moment(now - timedelta(minutes=40))
    store.run("DELETE FROM segment_run")
    for company, code in segments(now):
        count = f"(SELECT count(*) FROM segment_row WHERE segment = '{code}' AND company = '{company}')"  # noqa: S608 - own words
        store.run(f"INSERT INTO segment_run VALUES ('{code}', '{company}', 'v1', '{computed}', {count})")  # noqa: S608 - own words


def _stray(store: StoreFile, people: People) -> tuple[str, ...]:
    """Put a few accounts into a segment of a sister company: what a careless join does."""
    found: list[str] = []
    for place, segment in enumerate(s for s in SEGMENTS if s.uses_orders and s.code != "lapsed_readers"):
        sister = COMPANIES[(place + 1) % len(COMPANIES)]
        rows = people.told("consented")
        chosen = people.account_id[rows[people.company[rows] == sister][:STRAYS]].tolist()
        store.many(
            "INSERT INTO segment_row"
            " SELECT ?, ?, ?, (SELECT max(ordered_at) FROM shop_order), (SELECT max(occurred_at) FROM shop_visit), 1",
            [(segment.code, segment.controller, who) for who in chosen],
        )
        found += chosen
    return tuple(found)


def reload_store(path: str | Path, now: datetime, *, generation: str = LOAD) -> bool:
    """One more load comes through at `now` and finds everything as it is in the store; False when there is no such file, or somebody has locked it. A
    view that is not there is not loaded.
    """
    if not Path(path).is_file():
        return False
    try:
        with StoreFile(Path(path)) as store:
            report_segments(store, now)
            report_feeds(store, now, generation)
    except adbc_driver_sqlite.dbapi.Error:
        return False
    return True


def report_feeds(store: StoreFile, now: datetime, generation: str = LOAD) -> dict[str, int]:
    """Write how far every view is loaded, and give its rows: complete until five minutes before `now`."""
    store.run("DELETE FROM feed_load")
    there = {row[0] for row in store.rows("SELECT name FROM sqlite_master WHERE type = 'view'")}
    until, loaded = moment(now - timedelta(minutes=5)), moment(now - timedelta(minutes=2))
    totals = {}
    for view in (view for view in COUNTED if view in there):
        counts = dict(store.rows(f"SELECT controller_id, count(*) FROM {view} GROUP BY controller_id"))  # noqa: S608 - own words
        totals[view] = sum(counts.values())
        store.many(
            "INSERT INTO feed_load VALUES (?, ?, ?, ?, ?, ?)",
            [(view, company, until, loaded, counts.get(company, 0), generation) for company in COMPANIES],
        )
    return totals
