"""Rows of the contract, ways to write them to a file, and a way to read them back whole."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import adbc_driver_postgresql.dbapi
import pyarrow as pa
import pyarrow.parquet as pq

from nestaudience.customers.contract import VIEWS, Column, View
from nestaudience.customers.parquet_text import as_text
from nestaudience.customers.port import MOMENT, PEOPLE_VIEWS, CustomerStore, Snapshot
from nestaudience.hashing.digests import Addresses

Row = Mapping[str, object]
Rows = Mapping[str, Sequence[Row]]


class Build(Protocol):
    """Makes a store of one kind from rows."""

    kind: str

    def __call__(self, rows: Rows) -> CustomerStore: ...


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


def natural(column: Column, values: Sequence[object]) -> pa.Array:
    """The values in the type that a careful shop would give the column, where all of them fit it; else as text."""
    known = [value for value in values if value is not None]
    if column.kind == "time" and all(_is_moment(value) for value in known):
        return pa.array([value and datetime.fromisoformat(str(value)) for value in values], pa.timestamp("us", "UTC"))
    if column.kind == "boolean" and all(str(value) in {"0", "1"} for value in known):
        return pa.array([None if value is None else str(value) == "1" for value in values], pa.bool_())
    if column.kind in {"boolean", "integer"} and all(_is_whole(value) for value in known):
        return pa.array([None if value is None else int(str(value)) for value in values], pa.int64())
    if column.kind == "number" and all(isinstance(value, int | float) for value in known):
        return pa.array(values, pa.float64())
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _is_moment(value: object) -> bool:
    """True for a moment as the contract writes it; a text that merely looks like one must stay the text that it is."""
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)", str(value), re.ASCII) is None:
        return False
    try:
        datetime.fromisoformat(str(value))
    except ValueError:
        return False
    return True


def _is_whole(value: object) -> bool:
    return re.fullmatch(r"0|-?[1-9][0-9]{0,17}", str(value)) is not None


def as_table(view: View, given: Sequence[Row]) -> pa.Table:
    """The rows of one view in natural types. A column that no row has is left out."""
    names = list(dict.fromkeys(name for row in given for name in row)) or list(view.names)
    known = {column.name: column for column in view.columns}
    return pa.table({name: natural(known.get(name, Column(name)), [row.get(name) for row in given]) for name in names})


def write_postgres(url: str, schema: str, rows: Rows) -> str:
    """A schema of this name, made anew, with the nine views as plain tables; its name."""
    with adbc_driver_postgresql.dbapi.connect(url) as con, con.cursor() as cursor:
        cursor.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
        cursor.execute(f'CREATE SCHEMA "{schema}"')
        for view in VIEWS:
            cursor.adbc_ingest(view.name, as_table(view, rows.get(view.name, ())), mode="create", db_schema_name=schema)
        con.commit()
    return schema


def write_parquet(folder: Path, rows: Rows, *, parts: int = 2) -> Path:
    """A directory with the nine views: the first as one file, the others in folders of `parts` files, a row in turn."""
    folder.mkdir()
    for view in VIEWS:
        table = as_table(view, rows.get(view.name, ()))
        if view is VIEWS[0]:
            pq.write_table(table, folder / f"{view.name}.parquet", row_group_size=3)
            continue
        (folder / view.name).mkdir()
        for part in range(parts):
            chosen = table.take(pa.array(range(part, table.num_rows, parts), pa.int64()))
            pq.write_table(chosen, folder / view.name / f"{part}.parquet")
    return folder


def rows_of(snapshot: Snapshot, view: View, **how: object) -> list[dict[str, object]]:
    """Every row with its address revealed, in the store's order; a moment as the text that it stands for."""
    found = []
    for sheet in snapshot.read(view, **how):
        moments = {column.name for column in view.columns if column.kind == "time" and view.name in PEOPLE_VIEWS}
        for field in sheet.facts.schema:
            assert pa.types.is_string(field.type) or (field.type == MOMENT and field.name in moments)
        assert "email" not in sheet.facts.schema.names
        texts = [as_text(column) for column in sheet.facts.columns]
        part = pa.RecordBatch.from_arrays(texts, names=sheet.facts.schema.names).to_pylist()
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
