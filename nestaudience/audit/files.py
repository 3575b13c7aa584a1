"""Frames as files that people open: CSV for a Swedish Excel, Parquet, and JSON, with the same numbers in all three.

An exported frame follows the rule of `small`: a count of one to nine people is an empty cell, which the column `under_10` names, and whatever
would give one away is rounded to tens, as the column `in_tens` says. It writes no evidence.
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
from nestaudience.audit.small import beside, hidden, tens

UNDER: Final = "under_10"
IN_TENS: Final = "in_tens"

_NO_PEOPLE: Final = frozenset(
    {"index", "number", "batches", "requests", "runs", "p50", "p95", "max", "age", "match_rate", "lists", "transfers"}
)
"""Whole numbers that count no people: places, requests, seconds, percent."""
_ALWAYS_IN_TENS: Final[Mapping[str, frozenset[str]]] = {
    "transfers": frozenset({"planned"}),
    "funnel": frozenset({"wanted", "held", "noes", "ordinary", "additions", "refresh"}),
    "nights": frozenset({"additions", "removals", "unknown"}),
    "sizes": frozenset({"wanted", "net"}),
}
"""Sizes of lists, what a night planned, and sums of a night's requests."""
_OUTCOMES: Final = ("accepted", "refused", "unknown")
_LEFT_OUT: Final = frozenset({"details"})
"""Not exported: fields of entries with counts in them. The entry itself is in the bundle, by its number."""
_FORMULA: Final = re.compile(r"[=+\-@\t\r]|[0-9]{16,}$")
"""What a spreadsheet would calculate, or round: it gets an apostrophe."""


def exported_columns(columns: Columns) -> Columns:
    """The columns of an exported frame: those of the frame, and `under_10`."""
    kept = {name: column for name, column in columns.items() if name not in _LEFT_OUT}
    return kept | {
        UNDER: Column(TEXT, "columns of this row, parted by spaces, that are empty because they count between 1 and 9 people"),
        IN_TENS: Column(
            TEXT,
            "columns of this row, parted by spaces, that are rounded to the nearest ten: exact, they would give a few people away",
        ),
    }


def suppressed(name: str, frame: pd.DataFrame, columns: Columns, apart: frozenset[str] = frozenset()) -> pa.Table:
    """A frame of this name as it is exported, with the columns of `exported_columns`. `apart`: ids of the transfers of which a request names few
    people, so that their sums would give it away (`small_transfers`).
    """
    wanted = exported_columns(columns)
    kept = frame.assign(**{UNDER: "", IN_TENS: ""})[list(wanted)]
    table = pa.Table.from_pandas(kept, preserve_index=False).cast(pa.schema([(name, said.type) for name, said in wanted.items()]))
    rows = table.to_pylist()
    people = [column for column, said in wanted.items() if said.type == NUMBER and column not in _NO_PEOPLE]
    summed = _sums(name, rows, apart)
    for row, in_tens in zip(rows, summed, strict=True):
        small = [column for column in people if row[column] is not None and hidden(abs(row[column]))]
        rounded = [column for column in people if column in in_tens and row[column] and column not in small]
        row.update({column: tens(row[column]) for column in rounded}, **dict.fromkeys(small))
        row.update({UNDER: " ".join(small), IN_TENS: " ".join(rounded)})
    return pa.Table.from_pylist(rows, table.schema)


def small_transfers(batches: pd.DataFrame) -> frozenset[str]:
    """Ids of the transfers of which some request names between 1 and 9 people."""
    few = batches["people"].map(lambda people: hidden(int(people)))
    return frozenset(batches["transfer_id"][few])


def _sums(name: str, rows: list[dict[str, Any]], apart: frozenset[str]) -> list[set[str]]:
    """Which columns of each row are in tens, by its own parts and by those of other rows and frames."""
    found = [set(_ALWAYS_IN_TENS.get(name, ())) for _ in rows]
    of_funnel: dict[tuple[str, str], list[int]] = {}
    for row in rows if name == "funnel" else ():
        of_funnel.setdefault((row["run_id"], row["audience"]), []).append(row["people"] or 0)
    for row, in_tens in zip(rows, found, strict=True):
        if name == "transfers":
            parts = [row[outcome] or 0 for outcome in _OUTCOMES]
            exact = beside(row["sent"] or 0, parts)[1] and row["transfer_id"] not in apart
            in_tens |= set() if exact else {"sent"} if row["transfer_id"] not in apart else {"sent", "late_removals", *_OUTCOMES}
        elif name == "funnel" and not beside(row["candidates"] or 0, of_funnel[row["run_id"], row["audience"]])[1]:
            in_tens.add("candidates")
        elif name == "batches" and row["records"] is not None and hidden(abs(row["records"] - row["people"])):
            in_tens.add("records")
    return found


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
