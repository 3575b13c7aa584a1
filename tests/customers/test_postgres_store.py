"""What only PostgreSQL can do: types, settings of servers and roles, snapshots beside writers, locks, refusals, a wire that breaks, two URLs."""

import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import adbc_driver_postgresql.dbapi
import pyarrow as pa
import pytest
from postgres_server import Postgres
from store_rows import NOW, Rows, account, consent, right, rows_of, write_postgres

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, ORDER_LINE, RIGHTS_EVENT, SEGMENT_MEMBER, VIEWS
from nestaudience.customers.ddl import parts
from nestaudience.customers.port import BEYOND, MOMENT
from nestaudience.customers.postgres import PostgresStore
from nestaudience.customers.postgres_sql import PostgresDialect
from nestaudience.customers.reading_sql import Late, Reading
from nestaudience.errors import NeedsFix, NestAudienceError, TryAgain

FEW: Rows = {
    "account": [account("a")],
    "consent_event": [consent("e1", "a"), consent("e2", "a")],
    "rights_event": [right("r", "a")],
}


@pytest.fixture
def url(postgres: Postgres) -> str:
    """A database with a few rows."""
    return write_few(postgres.database())


def write_few(url: str, rows: Rows = FEW) -> str:
    write_postgres(url, "nestaudience", rows)
    return url


@contextmanager
def session(url: str, *statements: str) -> Iterator[None]:
    """Another session that has run these statements and not committed."""
    with closing(adbc_driver_postgresql.dbapi.connect(url)) as con, con.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        yield


def shown(error: NestAudienceError) -> str:
    return "".join(traceback.format_exception(error))


def test_a_snapshot_stands_still_while_others_write(postgres: Postgres, url: str) -> None:
    with PostgresStore(url).snapshot() as snapshot:
        postgres.run(
            "DELETE FROM nestaudience.consent_event WHERE event_id = 'e1'",
            "UPDATE nestaudience.account SET email = 'new@example.se'",
            url=url,
        )
        assert {row["event_id"] for row in rows_of(snapshot, CONSENT_EVENT)} == {"e1", "e2"}
        assert rows_of(snapshot, ACCOUNT, now=NOW)[0]["email"] == "a@example.se"
    with PostgresStore(url).snapshot() as snapshot:
        assert [row["event_id"] for row in rows_of(snapshot, CONSENT_EVENT)] == ["e2"]


def test_a_snapshot_cannot_write(url: str) -> None:
    with PostgresStore(url).snapshot() as snapshot, pytest.raises(NeedsFix) as caught:
        snapshot.session.run("DELETE FROM nestaudience.consent_event")
    assert "read-only" not in str(caught.value)
    with PostgresStore(url).snapshot() as snapshot:
        assert len(rows_of(snapshot, CONSENT_EVENT)) == 2


TYPED = {
    "account_id": "'a'::varchar(10)",
    "controller_id": "'c'::char(5)",
    "status": "'active'::mood",
    "account_type": "'00000000-0000-0000-0000-000000000001'::uuid",
    "email": "'A@x.se'::address",
    "email_source": "'{\"a\": 1}'::jsonb",
    "email_verified_at": "timestamptz '2026-07-01 12:00:00.123456+02'",
    "email_changed_at": "timestamp '2026-07-01 12:00:00.5'",
    "country": "NULL::text",
    "birth_year": "1980::numeric(6, 0)",
    "protected": "true",
    "test_or_staff": "NULL::boolean",
    "created_at": "timestamptz 'infinity'",
    "last_active_at": "'2026-07-01 12:00:00+02'::instant",
    "changed_at": "date '2026-07-01'",
}
READ = {
    "account_id": "a",
    "controller_id": "c",
    "status": "active",
    "account_type": "00000000-0000-0000-0000-000000000001",
    "email": "A@x.se",
    "email_source": '{"a": 1}',
    "email_verified_at": "2026-07-01T10:00:00.123456Z",
    "email_changed_at": "2026-07-01T12:00:00.5",
    "country": None,
    "birth_year": "1980",
    "protected": "1",
    "test_or_staff": None,
    "created_at": "out of range",
    "last_active_at": "2026-07-01T10:00:00Z",
    "changed_at": "2026-07-01",
    "email_read": "1",
}


@pytest.mark.parametrize("options", ["", "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"])
def test_every_type_crosses_as_the_ports_text_whatever_the_servers_settings(postgres: Postgres, options: str) -> None:
    url = postgres.database(options)
    name = url.partition("?")[0].rpartition("/")[2]
    columns = ", ".join(f"{value} AS {column}" for column, value in TYPED.items())
    postgres.run(
        "SET client_encoding = 'UTF8'",
        "CREATE SCHEMA nestaudience",
        "CREATE TYPE mood AS ENUM ('active', 'sad')",
        "CREATE DOMAIN address AS text",
        "CREATE DOMAIN moment AS timestamptz",
        "CREATE DOMAIN instant AS moment",
        f"CREATE VIEW nestaudience.account AS SELECT {columns}",
        "CREATE TYPE deed AS ENUM ('grant', 'withdraw')",
        "CREATE TABLE nestaudience.consent_event (event_id text, account_id text, action deed, purpose text, recorded_at timestamptz)",
        "INSERT INTO nestaudience.consent_event VALUES ('e', '\\''; SELECT å', 'withdraw', 'x', '2026-07-01Z')"
        ", ('f', 'o''k', 'grant', 'x', NULL)",
        f"ALTER DATABASE {name} SET standard_conforming_strings = off",
        f"ALTER DATABASE {name} SET datestyle = 'SQL, DMY'",
        f"ALTER DATABASE {name} SET timezone = 'Asia/Kolkata'",
        f"ALTER DATABASE {name} SET extra_float_digits = 0",
        url=url,
    )
    store = PostgresStore(url)
    with store.snapshot() as snapshot:
        assert rows_of(snapshot, ACCOUNT, now=NOW) == [READ]
        facts = next(snapshot.read(ACCOUNT, now=NOW)).facts
        moments = {field.name for field in facts.schema if field.type == MOMENT}
        assert moments == {"email_verified_at", "created_at", "last_active_at"}
        assert facts.column("created_at").cast(pa.int64()).to_pylist() == [BEYOND]
        found = rows_of(snapshot, CONSENT_EVENT, accounts=pa.array(["\\'; SELECT å", "o'k", "\\"]))
        assert {(row["account_id"], row["action"]) for row in found} == {("\\'; SELECT å", "withdraw"), ("o'k", "grant")}
        later = [rows_of(snapshot, CONSENT_EVENT, noes_since=datetime(2026, 7, day, tzinfo=UTC)) for day in (1, 2)]
        assert [len(rows) for rows in later] == [1, 0]
        assert len(rows_of(snapshot, ACCOUNT, noes_since=NOW + timedelta(days=9999), now=NOW)) == 1  # a date is no clock
    wrong = {p.where for p in store.check() if p.code == "wrong_type"}
    assert wrong == {f"account.{name}" for name in ("account_type", "email_source", "email_changed_at", "changed_at")}
    assert ("time_unusable", "account.created_at") in {(p.code, p.where) for p in store.check()}


def test_clocks_at_the_ends_of_time_are_kept_as_noes(postgres: Postgres) -> None:
    clocks = [
        "infinity",
        "-infinity",
        "1044-03-15 BC",
        "0001-01-01 00:00:00+00",
        "2026-03-09",
        "2026-03-10 02:30:00+00",
        "12345-01-01",
    ]
    url = postgres.database()
    values = ", ".join(f"('{n}', 'withdraw', timestamptz '{clock}')" for n, clock in enumerate(clocks))
    postgres.run(
        "CREATE SCHEMA nestaudience",
        "CREATE TABLE nestaudience.consent_event (event_id text, action text, recorded_at timestamptz)",
        f"INSERT INTO nestaudience.consent_event VALUES {values}, ('null', 'withdraw', NULL)",
        url=url,
    )
    with PostgresStore(url).snapshot() as snapshot:
        found = {row["event_id"]: row["recorded_at"] for row in rows_of(snapshot, CONSENT_EVENT, noes_since=NOW)}
    assert found.keys() == {"0", "1", "2", "5", "6", "null"}
    assert found["5"] == "2026-03-10T02:30:00Z"
    assert not any(str(found[n])[:1] in "12" and str(found[n]).endswith("Z") for n in ("0", "1", "2"))


def test_amounts_stay_decimal(postgres: Postgres) -> None:
    url = postgres.database()
    postgres.run(
        "CREATE SCHEMA nestaudience",
        "CREATE VIEW nestaudience.order_line AS SELECT 'o' AS order_id, 1e20::float8 AS amount, 12.50::numeric(8, 2) AS quantity",
        url=url,
    )
    with PostgresStore(url).snapshot() as snapshot:
        row = rows_of(snapshot, ORDER_LINE)[0]
    assert (row["amount"], row["quantity"]) == ("100000000000000000000", "12.50")


@pytest.mark.parametrize(
    ("change", "code", "kind"),
    [
        (lambda url: url.replace("host=/", "host=/nowhere/"), "store_unreachable", TryAgain),
        (lambda url: url.replace("//postgres:", "//ghost:"), "store_refused", NeedsFix),
        (lambda url: url.partition("?")[0].rpartition("/")[0] + "/gone?" + url.partition("?")[2], "store_refused", NeedsFix),
        (lambda _: "hunter2", "store_refused", NeedsFix),
    ],
)
@pytest.mark.parametrize("live", [False, True])
def test_a_url_that_does_not_answer(url: str, change: object, code: str, kind: type, live: bool) -> None:
    wrong = change(url)  # type: ignore[operator]
    store = PostgresStore(url, live_url=wrong) if live else PostgresStore(wrong)
    with pytest.raises(kind) as caught, store.snapshot(live=live):
        pass
    assert (caught.value.code, caught.value.where) == (code, "store.live_url" if live else "store.url")
    assert caught.value.__context__ is None
    assert not any(word in shown(caught.value) for word in ("ghost", "hunter2", "nowhere", "/gone", "FATAL"))


def test_a_view_that_is_being_altered_is_busy(url: str) -> None:
    store = PostgresStore(url, busy_seconds=0.2)
    lock = "LOCK TABLE nestaudience.account IN ACCESS EXCLUSIVE MODE"
    with session(url, lock), store.snapshot() as snapshot, pytest.raises(TryAgain) as caught:
        rows_of(snapshot, ACCOUNT, now=NOW)
    assert (caught.value.code, caught.value.__context__) == ("store_busy", None)


def test_a_connection_that_is_cut_in_the_middle_can_be_tried_again(postgres: Postgres) -> None:
    url = postgres.database()
    many = "SELECT 'e' || n AS event_id, repeat('x', 500) AS account_id FROM generate_series(1, 400000) AS n"
    postgres.run("CREATE SCHEMA nestaudience", f"CREATE VIEW nestaudience.consent_event AS {many}", url=url)
    with PostgresStore(url).snapshot() as snapshot:
        sheets = snapshot.read(CONSENT_EVENT)
        next(sheets)
        postgres.run(
            "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE query LIKE 'COPY%' AND pid <> pg_backend_pid()"
        )
        with pytest.raises(TryAgain) as caught:
            list(sheets)
        with pytest.raises(TryAgain):
            rows_of(snapshot, CONSENT_EVENT)
    assert (caught.value.code, caught.value.__context__) == ("store_busy", None)
    assert "PQ" not in str(caught.value)


def test_a_view_that_fails_says_nothing_of_its_statement(postgres: Postgres) -> None:
    url = postgres.database()
    broken = "SELECT 'e' AS event_id, (1 / (n - 70000))::text AS account_id FROM generate_series(1, 90000) AS n"
    postgres.run("CREATE SCHEMA nestaudience", f"CREATE VIEW nestaudience.consent_event AS {broken}", url=url)
    with PostgresStore(url).snapshot() as snapshot:
        for _ in range(2):  # the second time the transaction is broken as well
            with pytest.raises(NeedsFix) as caught:
                rows_of(snapshot, CONSENT_EVENT, accounts=pa.array(["anna"]))
            assert (caught.value.code, caught.value.__context__) == ("store_unreadable", None)
            assert not any(word in str(caught.value) for word in ("anna", "COPY", "division"))


def test_a_second_read_ends_the_first_instead_of_mixing_rows(postgres: Postgres) -> None:
    url = postgres.database()
    many = "SELECT n::text AS event_id, 'a'::text AS account_id FROM generate_series(1, 300000) AS n"
    postgres.run(
        "CREATE SCHEMA nestaudience",
        f"CREATE VIEW nestaudience.consent_event AS {many}",
        f"CREATE VIEW nestaudience.rights_event AS {many}",
        url=url,
    )
    with PostgresStore(url).snapshot() as snapshot:
        first = snapshot.read(CONSENT_EVENT)
        seen = next(first).facts.num_rows
        assert len(rows_of(snapshot, RIGHTS_EVENT)) == 300_000
        with pytest.raises(RuntimeError, match="one view at a time"):
            next(first)
        assert seen < 300_000
        assert len(rows_of(snapshot, CONSENT_EVENT)) == 300_000


def test_the_live_url_is_read_when_it_is_asked_for(postgres: Postgres, url: str) -> None:
    primary = write_few(postgres.database(), {"consent_event": [consent("late", "a", action="withdraw")]})
    store = PostgresStore(url, live_url=primary)
    for live, wanted in ((False, {"e1", "e2"}), (True, {"late"})):
        with store.snapshot(live=live) as snapshot:
            assert {row["event_id"] for row in rows_of(snapshot, CONSENT_EVENT)} == wanted
    with PostgresStore(url).snapshot(live=True) as snapshot:
        assert len(rows_of(snapshot, CONSENT_EVENT)) == 2
    assert store.check() == ()
    postgres.run("DROP TABLE nestaudience.account", url=primary)
    assert [(p.code, p.where) for p in store.check()] == [("view_missing", "account")]
    with pytest.raises(NeedsFix, match=r"store_refused at store\.live_url"):
        PostgresStore(url, live_url=postgres.as_user("ghost", url)).check()


def test_the_last_looks_reads_go_by_index(postgres: Postgres) -> None:
    """The plans of what is read before every batch scan no whole log: a bound on work, not on time."""
    url = postgres.database()
    statements = [statement for part in parts("postgres") if part.name != "role" for statement in part.statements]
    postgres.run(*statements, url=url)
    log = "'e' || n, 'a' || n, 'c', 'ad_matching', '*', 'grant', now(), now() - n * interval '1 minute', 'web', NULL, true, 't'"
    people = "'a' || n, 'c', 'active', 'private', 'x@y.se', 'account', NULL, NULL, 'SE', 1980, false, false, now(), NULL"
    postgres.run(
        f"INSERT INTO shop.consent_log SELECT {log} FROM generate_series(1, 50000) AS n",
        f"INSERT INTO shop.account SELECT {people}, now() - n * interval '1 minute' FROM generate_series(1, 50000) AS n",
        "ANALYZE",
        url=url,
    )
    some, since = ["a1", "a2", "a3"], datetime.now(UTC) - timedelta(minutes=30)
    with PostgresStore(url).snapshot() as snapshot:
        reading = Reading(PostgresDialect(), snapshot.present, {v.name: f"nestaudience.{v.name}" for v in VIEWS}, frozenset())
    for view, now in ((ACCOUNT, NOW), (CONSENT_EVENT, None)):
        for accounts, late in ((some, None), (None, Late(since)), (None, Late(since, grants_too=True))):
            sql = reading.select(view, accounts=accounts, late=late, segments=None, now=now)
            plan = explained(url, sql)
            assert "Index" in plan
            assert not re.search(
                r"Seq Scan on (consent_log|account)|Index Scan using shop_consent_log_account_id on consent_log +\(.*\)\n +Filter",
                plan,
            ), plan


def explained(url: str, sql: str) -> str:
    plain = {"adbc.postgresql.use_copy": "false"}
    with adbc_driver_postgresql.dbapi.connect(url) as con, con.cursor(adbc_stmt_kwargs=plain) as cursor:
        cursor.execute("EXPLAIN " + sql)
        return "\n".join(row[0] for row in cursor.fetchall())


def test_missing_views_and_columns_are_problems_and_read_as_nothing(postgres: Postgres) -> None:
    url = postgres.database()
    postgres.run(
        'CREATE SCHEMA "odd ""name"',
        'CREATE TABLE "odd ""name".account (account_id text, controller_id text, status text, "Email" text)',
        "INSERT INTO \"odd \"\"name\".account VALUES ('a', 'c', 'active', 'A@x.se')",
        'CREATE TABLE "odd ""name".consent_event (event_id text, account_id text)',
        "INSERT INTO \"odd \"\"name\".consent_event VALUES ('e', 'a')",
        "CREATE TABLE public.rights_event (event_id text)",
        url=url,
    )
    store = PostgresStore(url, views_schema='odd "name')
    with store.snapshot() as snapshot:
        problems = {(p.code, p.where) for p in snapshot.problems}
        assert {w for c, w in problems if c == "view_missing"} == {
            "rights_event",
            "segment_member",
            "segment_status",
            "feed_status",
        }
        assert {("column_missing", "account.email"), ("column_missing", "consent_event.action")} <= problems
        row = rows_of(snapshot, ACCOUNT, now=NOW)[0]
        assert (row["account_id"], row["status"], row["email"], row["email_read"]) == ("a", "active", None, "0")
        event = rows_of(snapshot, CONSENT_EVENT, noes_since=NOW)[0]
        assert (event["event_id"], event["action"], event["recorded_at"]) == ("e", None, None)
        assert rows_of(snapshot, RIGHTS_EVENT) == []
    assert ("column_not_needed", "account.Email") in {(p.code, p.where) for p in store.check()}


def test_check_counts_what_differs_and_shows_no_value(postgres: Postgres) -> None:
    rows = {
        "account": [
            account("a", email="secret@x.se", phone="070", created_at="2024-01-01 10:00"),
            account("a", protected="true", birth_year="19x", status="Active"),
            account("b", controller_id=None),
        ],
        "consent_event": [consent("e", "a"), consent("e", "a", confirmed=2), consent("f", "a", source_seq="-3")],
        "segment_member": [dict.fromkeys(SEGMENT_MEMBER.names, "x")] * 2,
        "order_line": [{"order_id": "o", "quantity": "two", "amount": "12,50"}],
    }
    problems = PostgresStore(write_few(postgres.database(), rows)).check()
    assert {(p.code, p.where) for p in problems} >= {
        ("column_not_needed", "account.phone"),
        ("time_unusable", "account.created_at"),
        ("wrong_type", "account.protected"),
        ("wrong_type", "account.birth_year"),
        ("value_unknown", "account.status"),
        ("null_not_allowed", "account.controller_id"),
        ("duplicate_key", "account.account_id"),
        ("duplicate_key", "consent_event.event_id"),
        ("wrong_type", "consent_event.confirmed"),
        ("duplicate_key", "segment_member.segment_code"),
        ("wrong_type", "order_line.quantity"),
        ("wrong_type", "order_line.amount"),
    }
    words = " ".join(p.next_step for p in problems)
    assert "1 of 3" in words
    assert not {"secret", "19x", "Active", "12,50"} & set(words.split())


STREAM = """
import resource, sys
from datetime import UTC, datetime
import pyarrow as pa
from nestaudience.customers.contract import ACCOUNT
from nestaudience.customers.postgres import PostgresStore
from nestaudience.customers.postgres_sql import PostgresDialect
from nestaudience.customers.reading_sql import Late, Reading

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

rows, largest = 0, 0
with PostgresStore(sys.argv[1]).snapshot() as snapshot:
    for sheet in snapshot.read(ACCOUNT, now=datetime(2026, 3, 10, tzinfo=UTC)):
        before = before if rows else peak()
        rows += sheet.facts.num_rows
        largest = max(largest, pa.total_allocated_bytes())
print(rows, (peak() - before) * 1024, largest)
"""


def test_a_large_view_streams_in_little_memory(postgres: Postgres) -> None:
    """300 000 accounts, some 60 MB of text, pass through about as much as one batch takes."""
    url = postgres.database()
    columns = ", ".join(f"'some value of {column.name}, ' || n AS {column.name}" for column in ACCOUNT.columns[1:])
    postgres.run(
        "CREATE SCHEMA nestaudience",
        f"CREATE VIEW nestaudience.account AS SELECT n::text AS account_id, {columns} FROM generate_series(1, 300000) AS n",
        url=url,
    )
    done = subprocess.run([sys.executable, "-c", STREAM, url], capture_output=True, text=True, check=True)
    rows, grown, largest = map(int, done.stdout.split())
    assert rows == 300_000
    assert grown < 40_000_000
    assert largest < 20_000_000
