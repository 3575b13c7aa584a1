"""Rows of the contract, ways to write them to a file, and a way to read them back whole."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from nestaudience.customers.contract import VIEWS, View
from nestaudience.customers.port import CustomerStore, Snapshot
from nestaudience.hashing.digests import Addresses

Row = Mapping[str, object]
Rows = Mapping[str, Sequence[Row]]
Build = Callable[[Rows], CustomerStore]

NOW = datetime(2026, 3, 10, 2, 30, tzinfo=UTC)


def write_sqlite(path: Path, rows: Rows, *, prefix: str = "", journal: str = "delete") -> Path:
    """A file with the nine views as plain tables. A column that no row of a named view has is left out of the table."""
    con = sqlite3.connect(path)
    con.execute(f"PRAGMA journal_mode={journal}")
    for view in VIEWS:
        given = rows.get(view.name, ())
        names = list(dict.fromkeys(name for row in given for name in row)) or list(view.names)
        quoted = ", ".join(f'"{name}"' for name in names)
        con.execute(f'CREATE TABLE "{prefix}{view.name}" ({quoted})')
        con.executemany(
            f'INSERT INTO "{prefix}{view.name}" VALUES ({", ".join("?" * len(names))})',
            [[row.get(name) for name in names] for row in given],
        )
    con.commit()
    con.close()
    return path


def rows_of(snapshot: Snapshot, view: View, **how: object) -> list[dict[str, object]]:
    """Every row with its address revealed, in the store's order."""
    found = []
    for sheet in snapshot.read(view, **how):
        assert all(pa.types.is_string(field.type) for field in sheet.facts.schema)
        assert "email" not in sheet.facts.schema.names
        part = sheet.facts.to_pylist()
        if view.has_email:
            assert isinstance(sheet.addresses, Addresses)
            assert len(sheet.addresses) == len(part)
            for row, email in zip(part, sheet.addresses.reveal().to_pylist(), strict=True):
                row["email"] = email
        else:
            assert sheet.addresses is None
        found.extend(part)
    return found


def account(account_id: str, **changes: object) -> dict[str, object]:
    """A whole account row, ordinary unless changed."""
    return {
        "account_id": account_id,
        "controller_id": "computime",
        "status": "active",
        "account_type": "private",
        "email": f"{account_id}@example.se",
        "email_source": "account",
        "email_verified_at": "2025-01-01T00:00:00Z",
        "email_changed_at": None,
        "country": "SE",
        "birth_year": 1980,
        "protected": 0,
        "test_or_staff": 0,
        "created_at": "2024-01-01T00:00:00Z",
        "last_active_at": None,
        "changed_at": "2025-01-01T00:00:00Z",
    } | changes


def consent(event_id: str, account_id: str | None, **changes: object) -> dict[str, object]:
    """A whole consent row: a grant for list matching unless changed."""
    return {
        "event_id": event_id,
        "account_id": account_id,
        "controller_id": "computime",
        "purpose": "ad_matching",
        "recipient": "*",
        "action": "grant",
        "occurred_at": "2025-10-01T10:00:00Z",
        "recorded_at": "2025-10-01T10:00:01Z",
        "source": "web",
        "source_seq": None,
        "confirmed": 1,
        "text_version": "t1",
    } | changes


def right(event_id: str, account_id: str | None, **changes: object) -> dict[str, object]:
    """A whole rights row: an objection to everything unless changed."""
    return {
        "event_id": event_id,
        "account_id": account_id,
        "email": None,
        "controller_id": "computime",
        "action": "object",
        "purpose": "*",
        "occurred_at": "2025-10-01T10:00:00Z",
        "recorded_at": "2025-10-01T10:00:01Z",
        "source": "case",
        "source_seq": None,
        "case_id": "C1",
    } | changes
