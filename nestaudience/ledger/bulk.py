"""Columns in and out of the ledger's tables by the ten thousand, set-based: SQL cuts and joins them, no row becomes a Python object.

Fixed-width columns go in as one packed blob that SQL takes apart by position, and come out as one text or blob a page. On SQLite everything runs
on the one library that also holds the ledger's locks: a second one in the same process would silently drop them (ADR 0005). It holds no rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nestaudience.errors import MustStop
from nestaudience.ledger.engine import read, stream
from nestaudience.ledger.on_postgres import binary_rows
from nestaudience.ledger.schema import METADATA
from nestaudience.ledger.spelling import spelling_of

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
    if not count:
        return
    sql = spelling_of(connection)
    whole = {column.name for column in METADATA.tables[table].columns if isinstance(column.type, sa.Integer)} if texts else set()
    cuts = {name: sql.cut(name, column.type.byte_width) for name, column in (*packed.items(), *texts.items())}
    cuts |= {name: sql.words(cuts[name], whole=name in whole) for name in texts}
    cuts |= {name: f":{name}" for name in constants} | ({position: "i"} if position else {})
    statement = (
        f"{sql.before('row_count')}INSERT INTO {table} ({', '.join(cuts)}) "  # noqa: S608 (names are ours)
        f"SELECT {', '.join(cuts.values())} FROM {sql.counting('row_count')}"
    )
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
    whole = (row_id, *numbers)
    pages = _joined if spelling_of(engine).postgres else _concatenated
    for rows, columns in pages(engine, query, whole, tuple(binaries), parameters or {}):
        numbered = dict(zip(whole, columns[: len(whole)], strict=True))
        pieces = zip(binaries.items(), columns[len(whole) :], strict=True)
        yield Page(rows, numbered, {name: _column(content, width, rows) for (name, width), content in pieces})


def _concatenated(
    engine: Engine, query: str, numbers: Sequence[str], binaries: Sequence[str], parameters: Mapping[str, object]
) -> Iterator[tuple[int, list[Any]]]:
    """SQLite: rows and columns of each page, numbers as decimals and bytes as hexadecimal on their way; every page is a view of its own, and the next
    one is read while this one is used.
    """
    row_id = numbers[0]
    parts = [f"group_concat({name}, ',')" for name in numbers] + [f"hex(group_concat({name}, ''))" for name in binaries]
    statement = sa.text(
        f"SELECT count(*), max({row_id}), {', '.join(parts)} FROM "  # noqa: S608 (names and query are ours)
        f"(SELECT * FROM ({query}) WHERE {row_id} > :after ORDER BY {row_id} LIMIT {PAGE})"
    )

    def page(after: int) -> Sequence[Any]:
        return read(engine, lambda connection: connection.execute(statement, {**parameters, "after": after}).one())

    with ThreadPoolExecutor(1) as ahead:
        row: Sequence[Any] | None = page(-1)
        while row is not None and row[0]:
            following = ahead.submit(page, row[1]) if row[0] == PAGE else None
            found = [np.fromstring(text, dtype=np.int64, sep=",") for text in row[2 : len(numbers) + 2]]
            yield row[0], [*found, *(bytes.fromhex(text) for text in row[len(numbers) + 2 :])]
            row = following.result() if following else None


def _joined(
    engine: Engine, query: str, numbers: Sequence[str], binaries: Sequence[str], parameters: Mapping[str, object]
) -> Iterator[tuple[int, list[Any]]]:
    """PostgreSQL: the same, as bytes all the way, and all pages on one view of the ledger."""
    row_id = numbers[0]
    parts = [f"string_agg(int8send({name}), '' ORDER BY {row_id})" for name in numbers]
    parts += [f"string_agg({name}, '' ORDER BY {row_id})" for name in binaries]
    statement = (
        f"SELECT count(*), {', '.join(parts)}, max({row_id}) FROM "  # noqa: S608 (names and query are ours)
        f"(SELECT * FROM ({query}) q WHERE {row_id} > :after ORDER BY {row_id} LIMIT {PAGE}) p"
    )

    def pages(connection: Connection) -> Iterator[Sequence[Any]]:
        rows, after = PAGE, -1
        while rows == PAGE:
            (row,) = binary_rows(connection, statement, {**parameters, "after": after})
            rows, after = row[0], row[-1]
            if rows:
                yield row

    for row in stream(engine, pages):
        found = [np.frombuffer(content, ">i8").astype(np.int64) for content in row[1 : len(numbers) + 1]]
        yield row[0], [*found, *row[len(numbers) + 1 : -1]]


def packed_bytes(column: pa.Array) -> bytes:
    """The bytes of a fixed-width binary column, one value after the other. Raises ValueError for a null."""
    if column.null_count:
        raise ValueError("a packed column has no null")
    width = column.type.byte_width
    whole: pa.Buffer = column.buffers()[1]
    return bytes(whole[column.offset * width : (column.offset + len(column)) * width])


def _column(content: bytes | str, width: int, rows: int) -> pa.FixedSizeBinaryArray:
    content = content.encode() if isinstance(content, str) else content
    if len(content) != rows * width:
        raise MustStop("ledger_inconsistent", "the ledger", "a value has another length; run `nestaudience audit verify`")
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), rows, [None, pa.py_buffer(content)])
