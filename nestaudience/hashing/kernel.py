"""SHA-256 and HMAC-SHA-256 of whole columns.

It hashes bytes and nothing else: it normalises no address, and knows no recipient and no token. The work is done by StringZilla, which hashes up to
sixteen values side by side (why: docs/adr/0003-hash-kernel.md): one function in this process that sees a column and a key, and has no query, no
threads, no file and no words of its own. Because it is young where it counts, the standard library watches: once a process over every length of a
value that fills up to four blocks, and in every call over the first value and the last. Calls from several threads at once are safe; one is served
at a time.
"""

import hashlib
import hmac
from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import stringzilla

from nestaudience.errors import MustStop

Bytes2D = npt.NDArray[np.uint8]
"""One row of bytes per person: shape [n, width]."""

DIGEST_BYTES: Final = 32
SLICE_ROWS: Final = 16_384
"""The most values that are handed over at once: the state of each takes a hundred bytes."""

_NOTHING: Final = pa.scalar(b"", pa.binary())
_Many = Callable[[pa.BinaryArray, Bytes2D], None]
_One = Callable[[bytes], bytes]


def sha256_column(column: pa.Array) -> pa.FixedSizeBinaryArray:
    """The SHA-256 of every value of a column, as `fixed_size_binary[32]`; null stays null, with zeros under it.

    The column is `string` (its UTF-8 is hashed), `binary` or `fixed_size_binary`: `TypeError` for any other. `MustStop` (`hashing_wrong`) when a
    digest is not what the standard library makes of the same value.
    """
    return _over(column, DIGEST_BYTES, _sha256_rows, _sha256_one)


def sha256_blocks(rows: Bytes2D) -> Bytes2D:
    """The SHA-256 of every row of a matrix: uint8 [n, width] gives uint8 [n, 32]. Raises as `sha256_column`."""
    return rows_of(sha256_column(column_of(rows)))


def hmac_column(key: bytes, column: pa.Array, size: int = 16, *, label: bytes = b"") -> pa.FixedSizeBinaryArray:
    """HMAC-SHA-256 of `label` followed by each value, cut to its first `size` bytes (1-32): `fixed_size_binary[size]`.

    Types and errors as for `sha256_column`; null stays null, with zeros under it.
    """
    if not 1 <= size <= DIGEST_BYTES:
        raise ValueError("an HMAC-SHA-256 is cut to 1-32 bytes")
    before = pa.scalar(label, pa.binary())

    def many(values: pa.BinaryArray, out: Bytes2D) -> None:
        _hmac_rows(key, pc.binary_join_element_wise(before, values, _NOTHING), out)

    return _over(column, size, many, lambda value: _hmac_one(key, label + value))


def column_of(rows: Bytes2D) -> pa.FixedSizeBinaryArray:
    """A matrix of bytes [n, width] as a `fixed_size_binary[width]` column without nulls, without a copy where it can be."""
    if rows.ndim != 2 or rows.dtype != np.uint8:
        raise TypeError("rows are a matrix of bytes")
    return _fixed(rows, None)


def rows_of(column: pa.FixedSizeBinaryArray) -> Bytes2D:
    """A `fixed_size_binary[width]` column as a read-only matrix of bytes [n, width]. Where it is null the bytes mean nothing."""
    width = column.type.byte_width
    values = np.frombuffer(column.buffers()[1], dtype=np.uint8, count=(column.offset + len(column)) * width)
    return values.reshape(-1, width)[column.offset :]


def _fixed(rows: Bytes2D, valid: pa.Buffer | None) -> pa.FixedSizeBinaryArray:
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(rows.shape[1]), len(rows), [valid, pa.py_buffer(np.ascontiguousarray(rows))]
    )


def _over(column: pa.Array, width: int, many: _Many, one: _One) -> pa.FixedSizeBinaryArray:
    """Hash every value that is not null by `many`, slice by slice, and keep `width` bytes of each; `one` says what is right."""
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind)):
        raise TypeError("only columns of text or bytes can be hashed")
    _prove()
    hashed, spare = _matrix(len(column), width), _matrix(min(len(column), SLICE_ROWS), DIGEST_BYTES)
    for start in range(0, len(column), SLICE_ROWS):
        values = _at_its_start(column.slice(start, SLICE_ROWS).cast(pa.binary()))
        rows = hashed[start : start + len(values)]
        made = rows if width == DIGEST_BYTES else spare[: len(values)]
        many(values, made)
        _watch(values, made, one)
        if width < DIGEST_BYTES:
            rows[:] = made[:, :width]
    if not column.null_count:
        return _fixed(hashed, None)
    valid = pc.is_valid(column)
    hashed[~valid.to_numpy(zero_copy_only=False)] = 0
    return _fixed(hashed, valid.buffers()[1])


def _matrix(rows: int, width: int) -> Bytes2D:
    """Room for digests, from Arrow's pool: numpy would ask the system for new pages each time, which takes as long as hashing does."""
    return np.frombuffer(pa.allocate_buffer(rows * width), dtype=np.uint8).reshape(rows, width)


def _at_its_start(values: pa.BinaryArray) -> pa.BinaryArray:
    """The same values as an array that begins at its buffers' first offset and has no nulls: StringZilla 5.3 passes over where a slice begins."""
    _, offsets, content = values.buffers()
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(values), [None, offsets.slice(4 * values.offset), content or pa.py_buffer(b"")]
    )


def _sha256_rows(values: pa.BinaryArray, out: Bytes2D) -> None:
    stringzilla.Sha256s(len(values)).update(stringzilla.Strs(values, view=True)).digest(out=out)


def _hmac_rows(key: bytes, values: pa.BinaryArray, out: Bytes2D) -> None:
    stringzilla.hmac_sha256(key, stringzilla.Strs(values, view=True), out=out)


def _sha256_one(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def _hmac_one(key: bytes, value: bytes) -> bytes:
    return hmac.digest(key, value, "sha256")


def _watch(values: pa.BinaryArray, hashed: Bytes2D, one: _One) -> None:
    """A digest in the wrong row would be another person's: the first and the last must be those of their own values."""
    if any(hashed[row].tobytes() != one(values[row].as_py()) for row in (0, len(values) - 1)):
        raise MustStop("hashing_wrong", "hashing.kernel", "send nothing from this machine: what it makes is not SHA-256")


@cache
def _prove() -> None:
    """Every length that fills up to four blocks, side by side with other lengths, with a key and without."""
    lengths = [7 * number % 257 for number in range(257)]
    values = [bytes([length % 256]) * length for length in lengths]
    column, key = pa.array(values, pa.binary()), bytes(range(DIGEST_BYTES))
    right = b"".join([*map(_sha256_one, values), *(_hmac_one(key, value) for value in values)])
    made = _matrix(2 * len(values), DIGEST_BYTES)
    _sha256_rows(column, made[: len(values)])
    _hmac_rows(key, column, made[len(values) :])
    if made.tobytes() != right:
        raise MustStop("hashing_wrong", "hashing.kernel", "send nothing from this machine: what it makes is not SHA-256")
