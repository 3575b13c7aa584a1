"""What only a SQLite file can do wrong: locks, journals, bytes that are no text, a store that differs from the contract."""

import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from store_rows import NOW, account, consent, right, rows_of, write_sqlite

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, SEGMENT_MEMBER
from nestaudience.customers.sqlite import SqliteStore
from nestaudience.errors import NeedsFix, NestAudienceError, TryAgain

# SQLite's locks do not reach across two libraries of one process, so every concurrent writer here is a process of its own.
WRITER = """
import sqlite3, sys
con = sqlite3.connect(sys.argv[1], timeout=float(sys.argv[3]), isolation_level=None)
try:
    con.execute("begin immediate")
    for statement in sys.argv[2].split(";"):
        con.execute(statement)
    print("written", flush=True)
    if sys.argv[4] == "hold":
        sys.stdin.readline()
    con.execute("commit")
except sqlite3.OperationalError:
    sys.exit(3)
"""
CHANGES = (
    "delete from consent_event where event_id = 'e1';update account set email = 'new@example.se';insert into segment_member \
values ('s', 'c', 'late', null, null, null)"
)


def write(path: Path, statements: str, *, timeout: float = 0.0) -> int:
    arguments = [sys.executable, "-c", WRITER, str(path), statements, str(timeout), "go"]
    return subprocess.run(arguments, check=False, capture_output=True).returncode


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Another process that holds the file."""
    script = WRITER.replace("begin immediate", "begin exclusive")
    arguments = [sys.executable, "-c", script, str(path), "delete from account", "1", "hold"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        try:
            yield
        finally:
            process.communicate(b"\n")


def small(tmp_path: Path, **how: str) -> Path:
    rows = {
        "account": [account("a")],
        "consent_event": [consent("e1", "a"), consent("e2", "a")],
        "rights_event": [right("r", "a")],
    }
    return write_sqlite(tmp_path / "store.db", rows, **how)


def test_a_snapshot_stands_still_while_another_process_writes_in_wal_mode(tmp_path: Path) -> None:
    path = small(tmp_path, journal="wal")
    with SqliteStore(path).snapshot() as snapshot:
        assert write(path, CHANGES) == 0
        first = rows_of(snapshot, CONSENT_EVENT)
        assert write(path, "delete from consent_event") == 0
        assert rows_of(snapshot, CONSENT_EVENT) == first
        assert [r["event_id"] for r in first] == ["e1", "e2"]
        assert rows_of(snapshot, ACCOUNT, now=NOW)[0]["email"] == "a@example.se"
        assert rows_of(snapshot, SEGMENT_MEMBER) == []
    with SqliteStore(path).snapshot() as snapshot:
        assert rows_of(snapshot, CONSENT_EVENT) == []
        assert len(rows_of(snapshot, SEGMENT_MEMBER)) == 1


def test_a_snapshot_stands_still_in_rollback_mode_because_writers_wait(tmp_path: Path) -> None:
    path = small(tmp_path)
    with SqliteStore(path).snapshot() as snapshot:
        assert write(path, CHANGES) == 3  # the commit cannot pass an open snapshot, even before its first row is read
        assert len(rows_of(snapshot, CONSENT_EVENT)) == 2
        assert write(path, CHANGES) == 3
        assert rows_of(snapshot, ACCOUNT, now=NOW)[0]["email"] == "a@example.se"
    assert write(path, CHANGES) == 0
    with SqliteStore(path).snapshot() as snapshot:
        assert [r["event_id"] for r in rows_of(snapshot, CONSENT_EVENT)] == ["e2"]


def shown(error: NestAudienceError) -> str:
    return "".join(traceback.format_exception(error))


def test_a_locked_file_is_busy(tmp_path: Path) -> None:
    path = small(tmp_path)
    store = SqliteStore(path, busy_seconds=0.1)
    with exclusive(path), pytest.raises(TryAgain) as caught, store.snapshot():
        pass
    assert caught.value.code == "store_busy"
    assert caught.value.__context__ is None
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(("content", "code"), [(None, "store_missing"), (b"not a database" * 99, "store_unreadable")])
def test_a_file_that_is_no_database_needs_a_person(tmp_path: Path, content: bytes | None, code: str) -> None:
    path = tmp_path / "s?#%.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NeedsFix) as caught, SqliteStore(path).snapshot():
        pass
    assert (caught.value.code, caught.value.__context__) == (code, None)
    assert not path.exists() or path.read_bytes() == content


def test_a_torn_file_stops_in_the_middle_without_quoting_the_driver(tmp_path: Path) -> None:
    rows = [consent(f"e{n}", f"someone{n}") for n in range(20_000)]
    path = write_sqlite(tmp_path / "s.db", {"consent_event": rows})
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"\xff" * (len(data) - len(data) // 2)
    path.write_bytes(data)
    with pytest.raises(NeedsFix) as caught, SqliteStore(path).snapshot() as snapshot:
        rows_of(snapshot, CONSENT_EVENT)
    assert caught.value.code == "store_unreadable"
    assert caught.value.__context__ is None
    assert "SELECT" not in shown(caught.value)


def test_a_path_may_hold_any_character_and_the_file_is_never_written(tmp_path: Path) -> None:
    path = small(tmp_path).rename(tmp_path / "a?b#c%20å.db")
    before = path.read_bytes()
    with SqliteStore(path).snapshot() as snapshot:
        assert len(rows_of(snapshot, CONSENT_EVENT)) == 2
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_view_longer_than_a_batch_comes_whole(tmp_path: Path) -> None:
    rows = [right(f"r{n}", None, email=f"p{n}@x.se") for n in range(140_000)]
    with SqliteStore(write_sqlite(tmp_path / "s.db", {"rights_event": rows})).snapshot() as snapshot:
        sheets = list(snapshot.read(RIGHTS_EVENT))
    assert sum(sheet.facts.num_rows for sheet in sheets) == 140_000
    assert max(sheet.facts.num_rows for sheet in sheets) <= 65_536
    whole = pa.concat_arrays([sheet.addresses.reveal() for sheet in sheets])
    assert (whole[0].as_py(), whole[-1].as_py(), whole.null_count) == ("p0@x.se", "p139999@x.se", 0)


def test_bytes_that_are_no_text_read_as_one_replacement_character(tmp_path: Path) -> None:
    path = small(tmp_path)
    con = sqlite3.connect(path)
    con.execute("update account set email = cast(x'6140ff2e7365' as text), country = cast(x'53c5' as text), email_source = x'ff'")
    con.execute("insert into account (account_id, email, protected) values ('b', 'a' || char(0) || '@x.se', 1)")
    con.commit()
    con.close()
    with SqliteStore(path).snapshot() as snapshot:
        rows = {r["account_id"]: r for r in rows_of(snapshot, ACCOUNT, now=NOW)}
    assert (rows["a"]["email"], rows["a"]["country"], rows["a"]["email_source"]) == ("\ufffd", "\ufffd", "\ufffd")
    assert rows["a"]["status"] == "active"
    assert rows["b"]["email"] == "a\0@x.se"
    assert rows["b"]["email_source"] is None


def test_missing_views_and_columns_are_problems_and_read_as_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    con = sqlite3.connect(path)
    con.executescript(
        "create table Account (ACCOUNT_ID text, controller_id text, status text);"
        "insert into account values ('a', 'c', 'active');"
        "create table consent_event (event_id text, account_id text, occurred_at text);"
        "insert into consent_event values ('e', 'a', null);"
        "create view rights_event as select * from gone;"
        "create table order_line (order_id text);"
    )
    con.close()
    store = SqliteStore(path)
    with store.snapshot() as snapshot:
        problems = {(p.code, p.where) for p in snapshot.problems}
        assert {w for c, w in problems if c == "view_missing"} == {
            "rights_event",
            "segment_member",
            "segment_status",
            "feed_status",
        }
        assert {w for c, w in problems if c == "optional_view_missing"} == {"site_event", "purchase"}
        assert {("column_missing", "account.email"), ("column_missing", "consent_event.action")} <= problems
        assert ("column_missing", "account.status") not in problems
        assert rows_of(snapshot, RIGHTS_EVENT) == []
        row = rows_of(snapshot, ACCOUNT, now=NOW)[0]
        assert (row["account_id"], row["status"], row["email"], row["email_read"]) == ("a", "active", None, "0")
        event = rows_of(snapshot, CONSENT_EVENT, noes_since=NOW)[0]
        assert (event["event_id"], event["action"], event["recorded_at"]) == ("e", None, None)
    assert {(p.code, p.where) for p in store.check()} >= problems


def test_a_prefix_names_the_views(tmp_path: Path) -> None:
    path = small(tmp_path, prefix="na_")
    with SqliteStore(path, views_prefix="na_").snapshot() as snapshot:
        assert snapshot.problems == ()
        assert rows_of(snapshot, ACCOUNT, now=NOW)[0]["email_read"] == "1"
        assert len(rows_of(snapshot, CONSENT_EVENT, noes_since=NOW)) == 0
    with SqliteStore(path).snapshot() as snapshot:
        assert {p.where for p in snapshot.problems} >= {"account", "consent_event"}


def test_check_counts_what_differs_and_shows_no_value(tmp_path: Path) -> None:
    rows = {
        "account": [
            account("a", email="secret@x.se", phone="070", created_at="2024-01-01 10:00"),
            account("a", protected="true", birth_year="19x", status="Active"),
            account("b", changed_at=20240101, controller_id=None, birth_year=1980.5),
        ],
        "consent_event": [
            consent("e", "a", occurred_at=None),
            consent("e", "a", source_seq="-3"),
            consent("f", "a", confirmed=2),
        ],
        "segment_member": [dict.fromkeys(SEGMENT_MEMBER.names, "x"), dict.fromkeys(SEGMENT_MEMBER.names, "x")],
        "order_line": [
            {"order_id": "o", "quantity": 1, "amount": "12,50"},
            {"order_id": "o", "quantity": "two", "amount": "12.50"},
        ],
    }
    store = SqliteStore(write_sqlite(tmp_path / "s.db", rows))
    problems = store.check()
    found = {(p.code, p.where) for p in problems}
    assert found >= {
        ("column_not_needed", "account.phone"),
        ("time_unusable", "account.created_at"),
        ("wrong_type", "account.protected"),
        ("wrong_type", "account.birth_year"),
        ("value_unknown", "account.status"),
        ("wrong_type", "account.changed_at"),
        ("null_not_allowed", "account.controller_id"),
        ("duplicate_key", "account.account_id"),
        ("duplicate_key", "consent_event.event_id"),
        ("wrong_type", "consent_event.confirmed"),
        ("duplicate_key", "segment_member.segment_code"),
        ("wrong_type", "segment_member.consented_when_collected"),
        ("time_unusable", "segment_member.oldest_order_at"),
        ("wrong_type", "order_line.quantity"),
        ("wrong_type", "order_line.amount"),
    }
    assert {w for c, w in found if c == "wrong_type" and w.startswith("consent_event")} == {"consent_event.confirmed"}
    assert not any(where.startswith("rights_event") for _, where in found)
    words = " ".join(p.next_step for p in problems)
    assert "2 of 3" in words
    assert "33.3%" in words
    assert not {"secret", "19x", "Active", "12,50"} & set(words.split())
    assert {p.code for p in problems if p.is_warning} == {"column_not_needed"}


def test_check_is_silent_about_a_good_store(tmp_path: Path) -> None:
    assert SqliteStore(small(tmp_path)).check() == ()
