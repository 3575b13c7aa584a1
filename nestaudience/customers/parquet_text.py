"""Columns of any natural type as the port's text, and timestamps as its moments. Pure: it opens nothing and knows no view.

Timestamps with a zone become ISO 8601 in UTC with `Z` and microseconds; without a zone they stay without; booleans become `0` and `1`; a
float that is whole is written as a whole number, because that is how some writers keep numbers that may be null.
"""

from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.customers.port import BEYOND, MOMENT

_MICROSECONDS: Final = pa.timestamp("us")
_PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6}
_YEAR_1, _YEAR_10000 = -62_135_596_800, BEYOND // 10**6  # seconds since 1970; nanoseconds do not reach so far
_OUT_OF_RANGE: Final = "out of range"


def has_text(kind: pa.DataType) -> bool:
    """True for a type whose values have a spelling as text; those of nested types and bare bytes of a fixed width have none."""
    if pa.types.is_dictionary(kind):
        return has_text(kind.value_type)
    tests = (pa.types.is_null, holds_text, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(test(kind) for test in tests) or pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind)


def holds_text(kind: pa.DataType) -> bool:
    """True for strings, and for bytes of any length, which is how some writers keep strings."""
    if pa.types.is_dictionary(kind):
        return holds_text(kind.value_type)
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
    )
    return any(test(kind) for test in tests)


def as_text(column: Any) -> pa.StringArray:
    """The column as text, null where it is null; all null where the type has none. Text that is no UTF-8 is not repaired here."""
    kind = column.type
    if not has_text(kind) or pa.types.is_null(kind):
        return pa.nulls(len(column), pa.string())
    if pa.types.is_dictionary(kind):
        return as_text(column.dictionary_decode())
    if holds_text(kind):
        binary = pa.types.is_string(kind) or pa.types.is_binary(kind)
        return (column if binary else column.cast(_bytes_of(kind))).cast(pa.string(), safe=False)
    if pa.types.is_boolean(kind):
        return pc.if_else(column, "1", "0")
    if pa.types.is_timestamp(kind):
        return _moments(column)
    if pa.types.is_float16(kind):
        return column.cast(pa.float32()).cast(pa.string())
    return column.cast(pa.string())


def _bytes_of(kind: pa.DataType) -> pa.DataType:
    text = pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return pa.string() if text else pa.binary()


def is_moment(kind: pa.DataType) -> bool:
    """True for a timestamp with a zone, whatever its unit."""
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_timestamp(plain) and plain.tz is not None)


def as_moments(column: Any) -> pa.TimestampArray:
    """A column of moments, or of nulls, as `MOMENT`; a smaller unit is rounded down. `as_text` of it is `as_text` of the column."""
    kind = column.type
    if pa.types.is_null(kind):
        return pa.nulls(len(column), MOMENT)
    if pa.types.is_dictionary(kind):
        return as_moments(column.dictionary_decode())
    ticks = column.cast(pa.int64())
    if kind.unit == "ns":
        return _floored(ticks).cast(pa.int64()).cast(MOMENT)
    per_second = _PER_SECOND[kind.unit]
    if not _all_sound(ticks, per_second):
        ticks = pc.if_else(_sound(ticks, per_second), ticks, _YEAR_10000 * per_second)
    return (ticks if kind.unit == "us" else pc.multiply(ticks, 10**6 // per_second)).cast(MOMENT)


def _moments(column: Any) -> pa.StringArray:
    """No time zone database is asked: a zone in Arrow only says that the moments are UTC."""
    ticks, unit = column.cast(pa.int64()), column.type.unit
    if unit == "ns":
        sound, inside = pc.is_valid(ticks), _floored(ticks)
    else:
        sound = _sound(ticks, _PER_SECOND[unit])
        inside = pc.if_else(sound, ticks, pa.scalar(None, pa.int64())).cast(pa.timestamp(unit)).cast(_MICROSECONDS)
    written = pc.replace_substring(inside.cast(pa.string()), " ", "T")
    written = pc.replace_substring_regex(written, r"\.000000$", "")
    if column.type.tz is not None:
        written = pc.binary_join_element_wise(written, "Z", "")
    return pc.if_else(pc.and_(pc.is_valid(column), pc.invert(pc.fill_null(sound, True))), _OUT_OF_RANGE, written)  # noqa: FBT003


def _floored(ticks: pa.Int64Array) -> pa.TimestampArray:
    """Nanoseconds, none of which is out of range, as microseconds without a zone."""
    return pc.floor_temporal(ticks.cast(pa.timestamp("ns")), unit="microsecond").cast(_MICROSECONDS, safe=False)


def _sound(ticks: pa.Int64Array, per_second: int) -> pa.BooleanArray:
    return pc.and_(pc.greater_equal(ticks, _YEAR_1 * per_second), pc.less(ticks, _YEAR_10000 * per_second))


def _all_sound(ticks: pa.Int64Array, per_second: int) -> bool:
    least, most = (end.as_py() for end in pc.min_max(ticks).values())
    return least is None or bool(least >= _YEAR_1 * per_second and most < _YEAR_10000 * per_second)
