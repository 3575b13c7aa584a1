"""How long a whole customer store takes to be read, and how much memory, beside `pandas.read_sql` of the same views.

    .venv/bin/python -m tests.benchmarks.store_reading                       # ten million accounts, about twenty minutes, 10 GB on disk
    .venv/bin/python -m tests.benchmarks.store_reading --accounts 1000000 --kinds sqlite

PostgreSQL (a server of its own, reached through a socket) and SQLite (a file), each with a consent event for every account and a right for every
hundredth, made by SQL from numbers. Our side reads `account` and `consent_event` whole as a night does: in one snapshot, with only those addresses
that consents and rights allow to read, which the store decides. pandas gets every column of the same views and decides nothing, at a tenth of the
rows, because it keeps all of them. Each side has a process of its own. Prints
medians; `--json` prints everything, with the seconds of each view.
"""

import argparse
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import adbc_driver_postgresql.dbapi
import pandas as pd
import sqlalchemy as sa

from nestaudience.customers import store_of
from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, View
from nestaudience.customers.port import CustomerStore
from tests.benchmarks.side_by_side import asked, middle, say, shown
from tests.postgres_server import running

NOW: Final = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
VIEWS: Final = (ACCOUNT, CONSENT_EVENT)
SMALLER: Final = 10
"""The smaller store has a tenth of the accounts."""
ACCOUNTS: Final = """
SELECT 'a' || n AS account_id, 'c' || (1 + n % 3) AS controller_id, CASE n % 100 WHEN 0 THEN 'closed' ELSE 'active' END AS status,
       CASE n % 50 WHEN 7 THEN 'business' ELSE 'private' END AS account_type,
       CASE n % 10 WHEN 3 THEN 'First.Last' || n || '+shop@gmail.com' ELSE 'person' || n || '@example' || n % 1000 || '.se' END AS email,
       'account' AS email_source, {verified} AS email_verified_at, CAST(NULL AS {time}) AS email_changed_at, 'SE' AS country,
       CAST(1940 + n % 70 AS {integer}) AS birth_year, {no} AS protected, {no} AS test_or_staff, {created} AS created_at, {active} AS last_active_at,
       {active} AS changed_at
FROM {numbers}"""
CONSENTS: Final = """
SELECT 'e' || n AS event_id, 'a' || n AS account_id, 'c' || (1 + n % 3) AS controller_id,
       CASE n % 10 WHEN 9 THEN 'newsletter' ELSE 'ad_matching' END AS purpose, CASE n % 4 WHEN 0 THEN 'google' ELSE '*' END AS recipient,
       CASE n % 10 WHEN 4 THEN 'withdraw' ELSE 'grant' END AS action, {active} AS occurred_at, {active} AS recorded_at, 'prefs' AS source,
       CAST(n AS {integer}) AS source_seq, {yes} AS confirmed, 'text-1' AS text_version
FROM {numbers}"""
RIGHTS: Final = """
SELECT 'r' || n AS event_id, 'a' || n * 100 AS account_id, CAST(NULL AS text) AS email, 'c1' AS controller_id, 'object' AS action, '*' AS purpose,
       {active} AS occurred_at, {active} AS recorded_at, 'prefs' AS source, CAST(n AS {integer}) AS source_seq, CAST(NULL AS text) AS case_id
FROM {numbers} WHERE n < {last} / 100"""
TABLES: Final = {"account": ACCOUNTS, "consent_event": CONSENTS, "rights_event": RIGHTS}
IN_POSTGRES: Final = {
    "verified": "timestamptz '2024-01-01 00:00:00+00' + n % 1000000 * interval '1 second'",
    "created": "timestamptz '2020-01-01 00:00:00+00' + n % 1000000 * interval '1 second'",
    "active": "timestamptz '2026-01-01 00:00:00+00' + n % 1000000 * interval '1.001 seconds'",
    "time": "timestamptz",
    "integer": "integer",
    "no": "false",
    "yes": "true",
    "numbers": "generate_series(0, {last}) AS r(n)",
}
IN_SQLITE: Final = {
    "verified": "strftime('%Y-%m-%dT%H:%M:%SZ', 1704067200 + n % 1000000, 'unixepoch')",
    "created": "strftime('%Y-%m-%dT%H:%M:%SZ', 1577836800 + n % 1000000, 'unixepoch')",
    "active": "strftime('%Y-%m-%dT%H:%M:%SZ', 1767225600 + n % 1000000, 'unixepoch')",
    "time": "TEXT",
    "integer": "INTEGER",
    "no": "0",
    "yes": "1",
    "numbers": "(WITH RECURSIVE r(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM r WHERE n < {last}) SELECT n FROM r)",
}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="Benchmark of reading the store")
    parser.add_argument("--accounts", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", default=["postgres", "sqlite"], choices=["postgres", "sqlite"])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--place", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        say(
            partial(read_whole, store_of(given.kind)(given.place))
            if given.side == "ours"
            else partial(pandas, given.kind, given.place)
        )
        return
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for kind in given.kinds:
        found[kind] = beside(kind, given.accounts, given.runs)
    rows = [row for kind, sides in found.items() for row in table(kind, sides)]
    heads = (
        "what",
        "million rows",
        "seconds",
        "of processor, here",
        "million rows a second",
        "peak MB",
        "times as fast as pandas",
    )
    shown({"accounts": given.accounts, "runs": found}, heads, rows, as_json=given.json)


def beside(kind: str, accounts: int, runs: int) -> dict[str, list[dict[str, Any]]]:
    """Both sides on a small store, in turn, and ours on the whole one."""
    found: dict[str, list[dict[str, Any]]] = {"pandas": [], "ours, a tenth": [], "ours": []}
    with places(kind) as place:
        make(kind, place, accounts // SMALLER)
        for _ in range(runs):
            found["pandas"].append(asked("store_reading", "pandas", "--kind", kind, "--place", place))
            found["ours, a tenth"].append(asked("store_reading", "ours", "--kind", kind, "--place", place))
        make(kind, place, accounts)
        found["ours"] += [asked("store_reading", "ours", "--kind", kind, "--place", place) for _ in range(runs)]
    return found


def table(kind: str, sides: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[Any, ...]]:
    """One line a side."""
    speed = {side: middle(runs, "rows") / middle(runs, "wall") for side, runs in sides.items()}
    for side, runs in sides.items():
        numbers = (f"{middle(runs, name):.1f}" for name in ("wall", "cpu"))
        ratio = f"{speed[side] / speed['pandas']:.1f}"
        rows, peak = middle(runs, "rows") / 1e6, middle(runs, "peak_mb")
        yield (f"{kind}: {side}", f"{rows:g}", *numbers, f"{speed[side] / 1e6:.2f}", f"{peak:.0f}", ratio)


@contextmanager
def places(kind: str) -> Iterator[str]:
    """Where a store of this kind may be made: a URL or a path."""
    if kind == "postgres":
        with running() as server:
            yield server.url
        return
    folder = Path(tempfile.mkdtemp(prefix="nestaudience-benchmark-"))
    try:
        yield str(folder / "store.sqlite")
    finally:
        shutil.rmtree(folder)


def make(kind: str, place: str, accounts: int) -> None:
    """The store, in place of the one before."""
    words = (IN_POSTGRES if kind == "postgres" else IN_SQLITE).copy()
    words |= {"numbers": words["numbers"].format(last=accounts - 1), "last": str(accounts)}
    made = {view: text.format(**words) for view, text in TABLES.items()}
    if kind == "sqlite":
        Path(place).unlink(missing_ok=True)
        with closing(sqlite3.connect(place)) as file:
            for view, text in made.items():
                file.execute(f"CREATE TABLE shop_{view} AS {text}")
                file.execute(f"CREATE VIEW {view} AS SELECT * FROM shop_{view}")
            file.commit()
        return
    with adbc_driver_postgresql.dbapi.connect(place, autocommit=True) as database, database.cursor() as cursor:
        for schema in ("nestaudience", "shop"):
            cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            cursor.execute(f"CREATE SCHEMA {schema}")
        for view, text in made.items():
            cursor.execute(f"CREATE UNLOGGED TABLE shop.{view} AS {text}")
            cursor.execute(f"CREATE VIEW nestaudience.{view} AS SELECT * FROM shop.{view}")
            cursor.execute(f"VACUUM ANALYZE shop.{view}")


def read_whole(store: CustomerStore) -> dict[str, Any]:
    """Every sheet of both views, and nothing kept."""
    rows, seconds = {}, {}
    begun, processor = time.perf_counter(), time.process_time()
    with store.snapshot() as snapshot:
        for view in VIEWS:
            last = time.perf_counter()
            sheets = snapshot.read(view, now=NOW if view is ACCOUNT else None)
            rows[view.name] = sum(sheet.facts.num_rows for sheet in sheets)
            seconds[view.name] = round(time.perf_counter() - last, 2)
    took = {"wall": time.perf_counter() - begun, "cpu": time.process_time() - processor}
    return took | {"rows": sum(rows.values()), "rows_of": rows, "seconds_of": seconds}


def pandas(kind: str, place: str) -> dict[str, Any]:
    """Each view as a data frame."""
    engine = sa.create_engine(
        place.replace("postgresql://", "postgresql+psycopg://") if kind == "postgres" else f"sqlite:///{place}"
    )
    rows, seconds = {}, {}
    begun, processor = time.perf_counter(), time.process_time()
    with engine.connect() as connection:
        for view in VIEWS:
            last = time.perf_counter()
            rows[view.name] = len(pd.read_sql(sa.text(f"SELECT * FROM {_named(kind, view)}"), connection))
            seconds[view.name] = round(time.perf_counter() - last, 2)
    took = {"wall": time.perf_counter() - begun, "cpu": time.process_time() - processor}
    return took | {"rows": sum(rows.values()), "rows_of": rows, "seconds_of": seconds}


def _named(kind: str, view: View) -> str:
    return f"nestaudience.{view.name}" if kind == "postgres" else view.name


if __name__ == "__main__":
    main()
