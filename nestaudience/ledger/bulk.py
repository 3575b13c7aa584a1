"""Columns in and out of the ledger's tables by the ten thousand, set-based: SQLite cuts and joins them, no row becomes a Python object.

Fixed-width columns go in as one packed blob that SQL takes apart by position, and come out as one hexadecimal text a page. Everything runs on the
one SQLite library that also holds the ledger's locks: a second library in the same process would silently drop them (ADR 0005). It holds no
rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nestaudience.ledger.engine import read

PAGE: Final = 65_536
NO_TEXTS: Final[Mapping[str, pa.Array]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Page:
    """One stretch of rows: whole numbers as int64 arrays, fixed-width binary as Arrow columns."""

    rows: int
    numbers: Mapping[str, np.ndarray]
    binaries: Mapping[str, pa.FixedSizeBinaryArray]


def insert_packed(
    connection: Connection,
    table: str,
    count: int,
    *,
    packed: Mapping[str, pa.Array],
    constants: Mapping[str, int | str],
    position: str | None = None,
    texts: Mapping[str, pa.Array] = NO_TEXTS,
) -> None:
    """Insert `count` rows: `packed` fixed-width binary columns without nulls, `texts` such columns that hold words filled up with spaces (a lone `-`
    is null in the table), `constants` the same for all, `position` numbered from 0.

    Table and column names are this program's own.
    """
    columns = [*packed, *texts, *constants, *([position] if position else [])]
    cuts = [
        f"substr(:{name}, n.i * {column.type.byte_width} + 1, {column.type.byte_width})"
        for name, column in (*packed.items(), *texts.items())
    ]
    cuts = [*cuts[: len(packed)], *(f"nullif(rtrim(CAST({cut} AS TEXT)), '-')" for cut in cuts[len(packed) :])]
    values = [*cuts, *(f":{name}" for name in constants), *(["n.i"] if position else [])]
    statement = (
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :row_count) "  # noqa: S608 (names are ours)
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM n"
    )
    if count:
        blobs = {name: packed_bytes(column) for name, column in (*packed.items(), *texts.items())}
        connection.execute(sa.text(statement), {**blobs, **constants, "row_count": count})


def read_pages(
    engine: Engine,
    query: str,
    row_id: str,
    numbers: Sequence[str],
    binaries: Mapping[str, int],
    parameters: Mapping[str, object] | None = None,
) -> Iterator[Page]:
    """The rows of `query` in the order of its column `row_id`, a page at a time. `binaries`: column -> width in bytes; no column has a null."""
    parts = [f"group_concat({name}, ',')" for name in (row_id, *numbers)] + [
        f"group_concat(hex({name}), '')" for name in binaries
    ]
    statement = sa.text(
        f"SELECT count(*), max({row_id}), {', '.join(parts)} FROM "  # noqa: S608 (names and query are ours)
        f"(SELECT * FROM ({query}) WHERE {row_id} > :after ORDER BY {row_id} LIMIT {PAGE})"
    )
    after = -1
    while True:
        values = {**(parameters or {}), "after": after}
        row = read(engine, lambda connection, values=values: connection.execute(statement, values).one())  # type: ignore[misc]
        if not row[0]:
            return
        after = row[1]
        last = row[0] < PAGE
        texts = row[2:]
        split = 1 + len(numbers)
        yield Page(
            row[0],
            {
                name: np.fromstring(text, dtype=np.int64, sep=",")
                for name, text in zip((row_id, *numbers), texts[:split], strict=True)
            },
            {name: _column(text, width) for (name, width), text in zip(binaries.items(), texts[split:], strict=True)},
        )
        if last:
            return


def token_set(parameter: str) -> str:
    """A subquery of one column: the 16-byte tokens that are packed, one after the other, in this parameter."""
    return (
        f"WITH RECURSIVE n(i) AS (SELECT 0 WHERE length(:{parameter}) > 0 UNION ALL SELECT i + 1 FROM n WHERE (i + 1) * 16 < length(:{parameter})) "  # noqa: S608 (ours)
        f"SELECT substr(:{parameter}, i * 16 + 1, 16) FROM n"
    )


def packed_bytes(column: pa.Array) -> bytes:
    """The bytes of a fixed-width binary column, one value after the other. Raises ValueError for a null."""
    if column.null_count:
        raise ValueError("a packed column has no null")
    width = column.type.byte_width
    whole: pa.Buffer = column.buffers()[1]
    return bytes(whole[column.offset * width : (column.offset + len(column)) * width])


def _column(text: str, width: int) -> pa.FixedSizeBinaryArray:
    content = bytes.fromhex(text)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(content) // width, [None, pa.py_buffer(content)])
