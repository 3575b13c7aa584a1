"""The printed contract runs as it stands, and what it makes is a store without a problem."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import pytest
from postgres_server import Postgres

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, VIEWS
from nestaudience.customers.ddl import READER, parts, script
from nestaudience.customers.port import CustomerStore
from nestaudience.customers.postgres import PostgresStore
from nestaudience.customers.sqlite import SqliteStore
from nestaudience.errors import NeedsFix

ROOT = Path(__file__).parents[2]
NEW = (
    "INSERT INTO {account} (account_id, controller_id, status, account_type, email, email_source, protected, test_or_staff, created_at, changed_at,"
    " ads_consent, ads_consent_text) VALUES ('{who}', 'computime', 'active', 'private', '{who}@example.se', 'account', {no}, {no},"
    " '2025-01-01T00:00:00Z', '2025-01-01T00:00:00Z', {flag}, 'ads-2025-09')"
)
OBJECTS = (
    "INSERT INTO {rights} (event_id, email, controller_id, action, purpose, recorded_at, source)"
    " VALUES ('r1', 'x@example.se', 'computime', 'object', '*', '2025-01-01T00:00:00Z', 'privacy_request')"
)


def printed(*words: str) -> str:
    command = [sys.executable, "-m", "nestaudience", "contract", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def said(store: CustomerStore) -> list[tuple[str | None, ...]]:
    """What the log of consents says, in the order in which it was said."""
    with store.snapshot() as snapshot:
        rows = [row for sheet in snapshot.read(CONSENT_EVENT) for row in sheet.facts.to_pylist()]
    names = ("account_id", "action", "recipient", "source", "confirmed", "text_version")
    return [tuple(row[name] for name in names) for row in sorted(rows, key=lambda row: str(row["recorded_at"]))]


def expected(*events: tuple[str, str]) -> list[tuple[str | None, ...]]:
    return [(who, action, "*", "web_account_settings", "1", "ads-2025-09") for who, action in events]


def test_the_sqlite_script_makes_a_store_without_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as con:
        con.executescript(printed("--dialect", "sqlite"))
        for who, flag in (("a", 1), ("b", 0)):
            con.execute(NEW.format(account="shop_account", who=who, no=0, flag=flag))
        for flag in (0, 0, 1):
            con.execute(f"UPDATE shop_account SET ads_consent = {flag} WHERE account_id = 'a'")
            con.execute("SELECT 1").fetchall()
        con.execute(OBJECTS.format(rights="shop_rights_log"))
        con.commit()
        for table in ("shop_consent_log", "shop_rights_log"):
            event = con.execute(f"SELECT event_id FROM {table}").fetchone()[0]
            replaced = f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} WHERE event_id = '{event}'"
            for statement in (f"UPDATE {table} SET source = 'x'", f"DELETE FROM {table}", replaced):
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    con.execute(statement)
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            con.execute("UPDATE shop_account SET status = 'Active'")
        con.commit()
    store = SqliteStore(path)
    assert store.check() == ()
    assert sorted(said(store)) == sorted(expected(("a", "grant"), ("a", "withdraw"), ("a", "grant")))


def test_the_postgres_script_makes_a_store_without_a_problem_that_its_role_can_read(postgres: Postgres) -> None:
    url = postgres.database()
    postgres.script(printed(), url)
    new = [NEW.format(account="shop.account", who=who, no="false", flag=flag) for who, flag in (("a", True), ("b", False))]
    flips = [f"UPDATE shop.account SET ads_consent = {flag} WHERE account_id = 'a'" for flag in (False, False, True)]
    postgres.run(*new, *flips, OBJECTS.format(rights="shop.rights_log"), url=url)
    for table in ("shop.consent_log", "shop.rights_log"):
        for statement in (f"UPDATE {table} SET source = 'x'", f"DELETE FROM {table}", f"TRUNCATE {table}"):
            with pytest.raises(adbc_driver_manager.Error, match="append-only"):
                postgres.run(statement, url=url)
    reader = postgres.as_user(READER, url)
    store = PostgresStore(reader)
    assert store.check() == ()
    assert said(store) == expected(("a", "grant"), ("a", "withdraw"), ("a", "grant"))
    with store.snapshot() as snapshot, pytest.raises(NeedsFix) as caught:
        snapshot.session.rows("SELECT email FROM shop.account")
    assert (caught.value.code, caught.value.__context__) == ("store_refused", None)
    with (
        adbc_driver_postgresql.dbapi.connect(reader) as con,
        con.cursor() as cursor,
        pytest.raises(adbc_driver_manager.Error) as refused,
    ):
        cursor.execute("INSERT INTO nestaudience.account SELECT * FROM nestaudience.account")
    assert refused.value.sqlstate in {"25006", "42501"}
    postgres.run(f"REVOKE SELECT ON nestaudience.account FROM {READER}", url=url)
    with store.snapshot() as snapshot:
        assert [(problem.code, problem.where) for problem in snapshot.problems] == [("view_missing", "account")]


@pytest.mark.parametrize("dialect", ["postgres", "sqlite"])
def test_json_has_the_same_statements(dialect: str) -> None:
    document = json.loads(printed("--dialect", dialect, "--json"))
    assert document["dialect"] == dialect
    assert [part["name"] for part in document["parts"]][:4] == ["tables", "append_only", "flag", "views"]
    assert all(statement in script(dialect) for part in document["parts"] for statement in part["statements"])
    assert printed("--dialect", dialect).strip() == script(dialect).strip()


def test_every_view_is_there_with_every_column_in_order() -> None:
    views = {part.name: part.statements for part in parts("sqlite")}["views"]
    with closing(sqlite3.connect(":memory:")) as con:
        con.executescript(script("sqlite"))
        for view in VIEWS:
            assert tuple(column[0] for column in con.execute(f"SELECT * FROM {view.name}").description) == view.names
    assert "email,             -- text; may be null" in views[0]
    assert ACCOUNT.name in views[0]
