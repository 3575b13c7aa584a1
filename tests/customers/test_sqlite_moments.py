"""What SQLite counts as late: exactly the moments from then on and whatever is no moment, with an index and without one, in every version."""

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import adbc_driver_sqlite.dbapi
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from store_rows import NOW

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, VIEWS, View
from nestaudience.customers.ddl import script
from nestaudience.customers.reading_sql import Late, Reading
from nestaudience.customers.sheets import READABLE_TIME
from nestaudience.customers.sqlite import SqliteStore
from nestaudience.customers.sqlite_sql import SqliteDialect, second

SINCE = datetime(2026, 2, 28, 13, 0, 0, tzinfo=UTC)
KINDS = ("", "TEXT", "TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM", "NUMERIC", "BLOB")
DAYS = [
    f"{year}-{month:02}-{day:02}T00:00:00Z"
    for year in ("0000", 1900, 2000, 2023, 2024)
    for month in range(20)
    for day in range(40)
]
GOOD = (
    ("2025", "2026", "2024", "0001", "9999"),
    ("-02-27", "-02-28", "-03-01", "-12-31"),
    ("T",),
    ("12:59:59", "13:00:00", "23:59:59", "00:00:00"),
    ("Z", "+00:00", ".5Z", ".1234567+00:00", ".0Z"),
)
BAD = (
    ("-001", "10000", "202", "²026", " 2026"),
    ("-02-30", "-2-28", "-00-01", "/02/28", "-02", "-1x-01"),
    ("t", " ", "", "TT"),
    ("23:59:60", "24:00:00", "25:00:00", "00:60:00", "1:00:00", "²3:00:00", "12:00"),
    (
        "z",
        "",
        ".Z",
        ".x5Z",
        ".5xZ",
        "..5Z",
        ".5.5Z",
        "+01:00",
        "-00:00",
        "Z ",
        "Z\n",
        "Z\0",
        "\0",
        ".5\0Z",
        "5Z",
        ".5",
        ".5+01:00",
    ),
)
PLAIN = [parts[0] for parts in GOOD]
NEARLY = ["".join([*PLAIN[:n], bad, *PLAIN[n + 1 :]]) for n, parts in enumerate(BAD) for bad in parts]
_moments = st.tuples(*map(st.sampled_from, GOOD)).map("".join)
_nearly = st.tuples(*(st.sampled_from(good * 3 + bad) for good, bad in zip(GOOD, BAD, strict=True))).map("".join)
_values = st.one_of(
    *(_moments, _nearly, _nearly, _moments.map(str.encode)),
    *(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), st.binary(max_size=4)),
    *(st.none(), st.integers(-9, 10**12), st.floats(allow_nan=False), st.sampled_from(["now", "~", "12:00:00", "2461000.5"])),
)


def is_late(value: object) -> bool:
    if not isinstance(value, str) or re.fullmatch(READABLE_TIME, value) is None or value.endswith("\n"):
        return True
    return value[:19] >= "2026-02-28T13:00:00"


@given(values=st.lists(_values, min_size=1, max_size=60))
@example(values=[*DAYS, *NEARLY, *(text.encode() for text in (*DAYS[:99], *NEARLY))])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_late_is_what_is_no_moment_or_from_then_on(tmp_path: Path, values: list[object]) -> None:
    """The index is written by one version of SQLite (the standard library's) and read by another (the driver's): both must mean the same by it."""
    path = tmp_path / "moments.db"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as con, con:
        con.execute("PRAGMA synchronous = OFF")
        con.execute("CREATE TABLE t (" + ", ".join(f"c{n} {kind}" for n, kind in enumerate(KINDS)) + ")")
        for number in range(len(KINDS)):
            con.execute(f"CREATE INDEX i{number} ON t ({second(f'c{number}')})")
        con.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(KINDS))})", [[value] * len(KINDS) for value in values])
    wanted = [number for number, value in enumerate(values, 1) if is_late(value)]
    with adbc_driver_sqlite.dbapi.connect(f"file:{path}?mode=ro") as con, con.cursor() as cursor:
        for number in range(len(KINDS)):
            for how in ("", "NOT INDEXED"):
                condition = SqliteDialect().late(f't."c{number}"', "", SINCE)
                cursor.execute(f"SELECT rowid FROM t {how} WHERE {condition} ORDER BY rowid")
                assert [row[0] for row in cursor.fetchall()] == wanted


@pytest.mark.parametrize("view", [ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT], ids=lambda view: view.name)
def test_the_last_looks_reads_go_by_index(tmp_path: Path, view: View) -> None:
    """The plans of what is read before every batch scan no table of the printed contract: a bound on work, not on time."""
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as con:
        con.executescript("PRAGMA synchronous = OFF;" + script("sqlite"))
    now = NOW if view is ACCOUNT else None
    with SqliteStore(path).snapshot() as snapshot:
        reading = Reading(SqliteDialect(), snapshot.present, {v.name: v.name for v in VIEWS}, frozenset())
        for accounts, late in ((["a", "b"], None), (None, Late(SINCE)), (None, Late(SINCE, grants_too=True))):
            sql = reading.select(view, accounts=accounts, late=late, segments=None, now=now)
            plan = "\n".join(row[3] for row in snapshot.session.rows("EXPLAIN QUERY PLAN " + sql))
            assert "SEARCH shop_" in plan
            assert "SCAN shop_" not in plan
