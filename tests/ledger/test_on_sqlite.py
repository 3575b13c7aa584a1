"""What is about the ledger as a SQLite file: its mode, its pragmas, a disk that is full, files that are something else, SQLite's own statements."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledger_builder import ORIGIN, BuiltLedger, Clock, context, members

from nestaudience.errors import MustStop
from nestaudience.ledger.engine import open_ledger, read
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.log import NewEntry, keep_batch_leaves
from nestaudience.vocabulary import Environment

BEAT: NewEntry = (EntryType.HEARTBEAT, context(), {"count": 1})
OPENED = {"environment": Environment.SANDBOX, "origin": ORIGIN, "clock": Clock()}


@pytest.fixture
def ledger(tmp_path: Path) -> BuiltLedger:
    return BuiltLedger(tmp_path)


def stopped(caught: pytest.ExceptionInfo[MustStop]) -> str:
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    return caught.value.code


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR REPLACE INTO log_entry VALUES (0, x'00', x'00')",
        "INSERT OR REPLACE INTO checkpoint VALUES (2, '')",
        "INSERT OR REPLACE INTO batch_leaves VALUES (zeroblob(16), x'')",
        "UPDATE log_entry SET body = 'text' WHERE idx = 0",
    ],
)
def test_a_replacement_is_a_change(ledger: BuiltLedger, statement: str) -> None:
    ledger.log.append_and_seal(
        [BEAT, BEAT], lambda connection, _: keep_batch_leaves(connection, bytes(16), members(ledger.chance, 2))
    )
    before = (list(ledger.log.bodies()), ledger.log.notes(), ledger.log.batch_leaves(bytes(16)))
    with sqlite3.connect(ledger.path) as plain, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        plain.execute(statement)
    assert (list(ledger.log.bodies()), ledger.log.notes(), ledger.log.batch_leaves(bytes(16))) == before


def test_bytes_that_became_text_before_their_seal_are_not_signed(ledger: BuiltLedger) -> None:
    ledger.log.append_and_seal([BEAT])
    ledger.log.append([BEAT])
    with sqlite3.connect(ledger.path) as plain:
        plain.execute("DROP TRIGGER log_entry_no_update")
        plain.execute("UPDATE log_entry SET body = replace(CAST(body AS TEXT), 'bok', 'sko') WHERE idx = 1")
    with pytest.raises(MustStop) as caught:
        ledger.log.seal()
    assert stopped(caught) == "ledger_inconsistent"
    assert ledger.signer.head().size == 1


def test_a_full_disk_stops_and_leaves_the_log_whole(ledger: BuiltLedger) -> None:
    ledger.heartbeats(3)

    def fill(connection: sa.Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    read(ledger.engine, fill)
    with pytest.raises(MustStop) as caught:
        ledger.log.append([BEAT] * 500)
    assert stopped(caught) == "ledger_unavailable"
    count = ledger.log.count()
    ledger.engine.dispose()
    assert ledger.reopen().append([BEAT]) == (count,)


def test_files_that_are_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough to look like one at first sight " * 20)
    with sqlite3.connect(tmp_path / "foreign.db") as plain:
        plain.execute("CREATE TABLE customers (id)")
    cases = {"text.db": "ledger_unavailable", "foreign.db": "ledger_unrecognised", "no/where.db": "ledger_unavailable"}
    for name, code in cases.items():
        with pytest.raises(MustStop) as caught:
            open_ledger(tmp_path / name, **OPENED)
        assert stopped(caught) == code
    with pytest.raises(MustStop) as caught:
        open_ledger(tmp_path / "none.db", read_only=True, **OPENED)
    assert stopped(caught) == "ledger_missing"
    assert not (tmp_path / "none.db").exists()


def test_a_ledger_is_private_and_durable(ledger: BuiltLedger) -> None:
    ledger.heartbeats(1)
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        assert (ledger.directory / name).stat().st_mode & 0o777 == 0o600
    pragmas = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "recursive_triggers": 1, "secure_delete": 1}
    for name, value in pragmas.items():
        found = read(ledger.engine, lambda connection, one=name: connection.exec_driver_sql(f"PRAGMA {one}").scalar_one())
        assert found == value
