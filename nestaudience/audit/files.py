"""Frames as files that people open: CSV for a Swedish Excel, Parquet, and JSON, with the same numbers in all three.

An exported frame names no count of people between 1 and 9: the cell is empty, and the column `under_10` names it. It writes no evidence.
"""

import csv
import io
import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nestaudience.audit.columns import NUMBER, TEXT, Column, Columns

SMALLEST: Final = 10
"""Counts of people below this are not named in what is exported."""
UNDER: Final = "under_10"

_NO_PEOPLE: Final = frozenset(
    {"index", "number", "batches", "requests", "runs", "p50", "p95", "max", "age", "match_rate", "lists", "transfers"}
)
"""Whole numbers that count no people: places, requests, seconds, percent."""
_LEFT_OUT: Final = frozenset({"details"})
"""Not exported: fields of entries with counts in them. The entry itself is in the bundle, by its number."""
_FORMULA: Final = re.compile(r"[=+\-@\t\r]|[0-9]{16,}$")
"""What a spreadsheet would calculate, or round: it gets an apostrophe."""


def exported_columns(columns: Columns) -> Columns:
    """The columns of an exported frame: those of the frame, and `under_10`."""
    kept = {name: column for name, column in columns.items() if name not in _LEFT_OUT}
    return kept | {
        UNDER: Column(TEXT, "columns of this row, parted by spaces, that are empty because they count between 1 and 9 people")
    }


def suppressed(frame: pd.DataFrame, columns: Columns) -> pa.Table:
    """A frame as it is exported, with the columns of `exported_columns`."""
    wanted = exported_columns(columns)
    kept = frame.assign(**{UNDER: ""})[list(wanted)]
    table = pa.Table.from_pandas(kept, preserve_index=False).cast(pa.schema([(name, said.type) for name, said in wanted.items()]))
    rows = table.to_pylist()
    people = [name for name, said in wanted.items() if said.type == NUMBER and name not in _NO_PEOPLE]
    for row in rows:
        small = [name for name in people if row[name] is not None and 0 < abs(row[name]) < SMALLEST]
        row.update(dict.fromkeys(small), **{UNDER: " ".join(small)})
    return pa.Table.from_pylist(rows, table.schema)


def write_csv(table: pa.Table, path: Path) -> None:
    """UTF-8 with a byte order mark, semicolons, CRLF; there are no decimals. Text that begins with = + - @ or is a very long number gets an
    apostrophe in front, so that nothing is calculated or rounded; times are ISO 8601 in UTC.
    """
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\r\n")
        writer.writerow(table.column_names)
        for row in table.to_pylist():
            writer.writerow([_cell(value) for value in row.values()])


def write_parquet(table: pa.Table, path: Path) -> None:
    """With the columns' own types."""
    pq.write_table(table, path)


def write_json(table: pa.Table, path: Path) -> None:
    """One list of objects; times are ISO 8601 in UTC, null where nothing is known or named."""
    rows = [{name: _plain(value) for name, value in row.items()} for row in table.to_pylist()]
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", "utf-8")


def columns_document(columns: Mapping[str, Columns]) -> dict[str, Any]:
    """Frame -> column -> what it means and its type, for `columns.json`."""
    return {
        name: {column: {"meaning": said.meaning, "type": str(said.type)} for column, said in exported_columns(of_frame).items()}
        for name, of_frame in columns.items()
    }


def csv_text(text: str) -> str:
    """A text cell as it stands in a CSV file."""
    return f"'{text}" if _FORMULA.match(text) else text


def _cell(value: Any) -> str | int:
    plain = _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return plain if isinstance(plain, int) or not isinstance(value, str) else csv_text(plain)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def document(value: object) -> bytes:
    """A value as the bytes of a JSON file."""
    out = io.StringIO()
    json.dump(value, out, ensure_ascii=False, indent=1)
    return (out.getvalue() + "\n").encode()
