"""SHA-256 and HMAC-SHA-256 of whole columns.

It hashes bytes and nothing else: it normalises no address, and knows no recipient and no token. The work is done by a private
DuckDB instance in memory (why: docs/adr/0003-hash-kernel.md). That instance has no file and no directory to spill to, cannot
reach the network or the disk, and shares nothing with the engine that plans, so a column may be hashed while another DuckDB
reads from the stream that asked for it. Calls from several threads at once are safe. A column of a few rows goes through the
standard library, which gives the same bytes before a query is planned.
"""

import binascii
import hashlib
import hmac
import os
from collections.abc import Callable
from threading import Lock
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.errors import TryAgain

Bytes2D = npt.NDArray[np.uint8]
"""One row of bytes per person: shape [n, width]."""

DIGEST_BYTES: Final = 32
BLOCK_BYTES: Final = 64
"""The block of SHA-256, by which HMAC pads its key (RFC 2104, https://www.rfc-editor.org/rfc/rfc2104, read 2026-11-22)."""
SLICE_ROWS: Final = 16_384
"""The most rows in one piece of work: DuckDB gives each piece of an Arrow table to one thread."""
FEW_ROWS: Final = 256
"""So many values are hashed one by one: that takes less than planning a query does (about 1.5 ms)."""

_THREADS: Final = min(4, os.cpu_count() or 1)


class Engine:
    """A private DuckDB in memory. Every call works on a cursor of its own."""

    __slots__ = ("_connection",)

    def __init__(self) -> None:
        self._connection = duckdb.connect(":memory:", config={"temp_directory": "", "threads": _THREADS})
        self._connection.execute("SET enable_external_access = false")

    def evaluate(self, rows: pa.Table, expression: Any) -> pa.ChunkedArray:
        """One expression over the column `x`, row by row and in order.

        Raises `TryAgain` when DuckDB fails (it ran out of memory, or was closed); DuckDB's own words are dropped.
        """
        result: pa.ChunkedArray | None
        try:
            cursor = self._connection.cursor()
            result = cursor.from_arrow(rows).select(expression.alias("y")).to_arrow_table()["y"]
        except duckdb.Error:
            result = None
        if result is None:
            raise TryAgain("hashing_failed", "hashing.kernel", "free memory on this machine, then run again")
        return result

    def close(self) -> None:
        """Release the instance; later calls raise `TryAgain`."""
        self._connection.close()


class _Shared:
    """The process's one engine, opened at the first call."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._engine: Engine | None = None

    def get(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = Engine()
            return self._engine


_shared: Final = _Shared()


def sha256_column(column: pa.Array) -> pa.FixedSizeBinaryArray:
    """The SHA-256 of every value of a column, as `fixed_size_binary[32]`; null stays null.

    The column is `string` (its UTF-8 is hashed), `binary` or `fixed_size_binary`: `TypeError` for any other. `TryAgain` when the
    engine fails.
    """
    return _over(column, DIGEST_BYTES, _sha256_of, lambda value: hashlib.sha256(value).digest())


def sha256_blocks(rows: Bytes2D) -> Bytes2D:
    """The SHA-256 of every row of a matrix: uint8 [n, width] gives uint8 [n, 32]."""
    count = len(rows)
    hashed = sha256_column(column_of(rows))
    return np.frombuffer(hashed.buffers()[1], dtype=np.uint8, count=count * DIGEST_BYTES).reshape(count, DIGEST_BYTES)


def hmac_column(key: bytes, column: pa.Array, size: int = 16, *, label: bytes = b"") -> pa.FixedSizeBinaryArray:
    """HMAC-SHA-256 of `label` followed by each value, cut to its first `size` bytes (1-32): `fixed_size_binary[size]`.

    Types and errors as for `sha256_column`; null stays null. The key never becomes part of a query's text.
    """
    if not 1 <= size <= DIGEST_BYTES:
        raise ValueError("an HMAC-SHA-256 is cut to 1-32 bytes")
    block = hashlib.sha256(key).digest() if len(key) > BLOCK_BYTES else key
    block = block.ljust(BLOCK_BYTES, b"\0")
    inner = bytes(byte ^ 0x36 for byte in block) + label
    outer = bytes(byte ^ 0x5C for byte in block)

    def expression(value: Any) -> Any:
        digest = _call("unhex", _sha256_of(_joined(inner, value)))
        return _call("left", _sha256_of(_joined(outer, digest)), duckdb.ConstantExpression(2 * size))

    return _over(column, size, expression, lambda value: hmac.digest(key, label + value, "sha256")[:size])


def lookup_numbers(column: pa.StringArray) -> npt.NDArray[np.uint64]:
    """A number for each text by which to look it up within this process, well spread. It is no digest: others may share it, and it hides nothing.

    A null has a number as well. Raises `TryAgain` when the engine fails.
    """
    numbers = _shared.get().evaluate(_sliced(column.cast(pa.binary())), _call("hash", duckdb.ColumnExpression("x")))
    return np.asarray(numbers.to_numpy(), dtype=np.uint64)


def column_of(rows: Bytes2D) -> pa.FixedSizeBinaryArray:
    """A matrix of bytes [n, width] as a `fixed_size_binary[width]` column without nulls, without a copy where it can be."""
    if rows.ndim != 2 or rows.dtype != np.uint8:
        raise TypeError("rows are a matrix of bytes")
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(rows.shape[1]), len(rows), [None, pa.py_buffer(np.ascontiguousarray(rows))]
    )


def rows_of(column: pa.FixedSizeBinaryArray) -> Bytes2D:
    """A `fixed_size_binary[width]` column as a read-only matrix of bytes [n, width]. Where it is null the bytes mean nothing."""
    width = column.type.byte_width
    values = np.frombuffer(column.buffers()[1], dtype=np.uint8, count=(column.offset + len(column)) * width)
    return values.reshape(-1, width)[column.offset :]


def _call(name: str, *arguments: Any) -> Any:
    return duckdb.FunctionExpression(name, *arguments)


def _joined(prefix: bytes, value: Any) -> Any:
    return _call("||", duckdb.ConstantExpression(prefix), value)


def _sha256_of(value: Any) -> Any:
    return _call("sha256", value)


def _over(
    column: pa.Array, width: int, expression: Callable[[Any], Any], of_one: Callable[[bytes], bytes]
) -> pa.FixedSizeBinaryArray:
    """Hash every value that is not null: by an expression that gives `2 * width` hexadecimal digits, or by what gives these bytes of one value."""
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind)):
        raise TypeError("only columns of text or bytes can be hashed")
    valid = pc.is_valid(column)
    present = column.drop_null() if column.null_count else column
    values = present.cast(pa.binary())  # because text would be checked as UTF-8
    if len(values) <= FEW_ROWS:
        few = b"".join([of_one(value) for value in values.to_pylist()])
        hashed = np.frombuffer(few, dtype=np.uint8).reshape(len(values), width)
    else:
        text = _shared.get().evaluate(_sliced(values), expression(duckdb.ColumnExpression("x")))
        hashed = _unhexed(text, len(values), width)
    if len(present) == len(column):
        return column_of(hashed)
    out = np.zeros((len(column), width), dtype=np.uint8)
    out[valid.to_numpy(zero_copy_only=False)] = hashed
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(column), [valid.buffers()[1], pa.py_buffer(out)])


def _sliced(values: pa.BinaryArray) -> pa.Table:
    """One column `x`, in pieces that the engine's threads share out: at least one for each, because a thread that has none spins."""
    rows = max(1, min(SLICE_ROWS, -(-len(values) // _THREADS)))
    pieces = [values.slice(start, rows) for start in range(0, len(values), rows)]
    return pa.table({"x": pa.chunked_array(pieces, pa.binary())})


def _unhexed(text: pa.ChunkedArray, count: int, width: int) -> Bytes2D:
    """Text of `2 * width` hexadecimal digits in every row, as bytes [count, width]. DuckDB's own `unhex` is four times slower."""
    out = np.empty((count, width), dtype=np.uint8)
    done = 0
    for chunk in text.chunks:
        start = chunk.offset * 2 * width
        digits = chunk.buffers()[2][start : start + len(chunk) * 2 * width]
        out[done : done + len(chunk)] = np.frombuffer(binascii.unhexlify(digits), dtype=np.uint8).reshape(-1, width)
        done += len(chunk)
    return out
