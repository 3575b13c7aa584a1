"""Compares the views of a Parquet store with the contract: types, nulls, values, duplicates, clocks, columns too many.

A column's type says most; where a text may or may not fit, its rows are counted. It reports counts only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.customers.comparing import counted, not_needed, typed
from nestaudience.customers.contract import VIEWS, Column, View
from nestaudience.customers.parquet_text import has_text, holds_text
from nestaudience.customers.port import StoreProblem
from nestaudience.customers.sheets import READABLE_TIME

Schemas = Mapping[str, tuple[Any, ...]]
"""View -> the schema of each of its files."""
Texts = Callable[[View, Sequence[str]], Iterator[pa.RecordBatch]]
"""Reads columns of a view as text."""

_SPELLED: Final = {
    "time": ("time_unusable", READABLE_TIME),
    "boolean": ("wrong_type", "^[01]$"),
    "integer": ("wrong_type", "^-?[0-9]+$"),
    "number": ("wrong_type", "^-?[0-9]+(\\.[0-9]+)?$"),
}


def unusable(schemas: Schemas) -> tuple[StoreProblem, ...]:
    """The columns whose type has no spelling as text in some file: they read as null."""
    return tuple(
        typed(view, column)
        for view in VIEWS
        for column in view.columns
        if not all(has_text(kind) for kind in _kinds(schemas.get(view.name, ()), column))
    )


def compare(schemas: Schemas, texts: Texts) -> tuple[StoreProblem, ...]:
    """The problems inside the views that exist, in the contract's order."""
    problems: list[StoreProblem] = []
    for view in VIEWS:
        if view.name in schemas:
            problems += _within(view, schemas[view.name], texts)
            problems += not_needed(view, {name for schema in schemas[view.name] for name in schema.names})
    return tuple(problems)


def _within(view: View, schemas: tuple[Any, ...], texts: Texts) -> list[StoreProblem]:
    columns = [column for column in view.columns if _kinds(schemas, column)]
    wrong = {column.name for column in columns if not all(_fits(column, kind) for kind in _kinds(schemas, column))}
    counts: dict[tuple[str, str], int] = {}
    total, keys = 0, []
    keyed = bool(view.key) and {column.name for column in columns} >= set(view.key)
    for batch in texts(view, [column.name for column in columns]):
        total += batch.num_rows
        for column in columns:
            for code, bad in _count(column, batch.column(column.name), typed_wrong=column.name in wrong):
                counts[code, column.name] = counts.get((code, column.name), 0) + bad
        if keyed:
            keys.append(_key(view, batch))
    problems = [typed(view, column) for column in columns if column.name in wrong]
    problems += [counted(code, view, view.column(name), bad, total) for (code, name), bad in counts.items() if bad]
    repeated = total - len(pc.unique(pa.chunked_array(keys, pa.string()))) if keyed else 0
    return problems + ([counted("duplicate_key", view, view.column(view.key[0]), repeated, total)] if repeated else [])


def _count(column: Column, text: pa.StringArray, *, typed_wrong: bool) -> Iterator[tuple[str, int]]:
    if column.kind in _SPELLED and not typed_wrong:
        code, pattern = _SPELLED[column.kind]
        yield code, _sum(pc.invert(pc.match_substring_regex(text, pattern)))
    if not column.nullable:
        yield "null_not_allowed", text.null_count
    if column.values is not None:
        known = pc.is_in(text, value_set=pa.array(sorted(column.values)))
        yield "value_unknown", _sum(pc.and_(pc.is_valid(text), pc.invert(known)))


def _sum(wrong: Any) -> int:
    return int(pc.sum(wrong).as_py() or 0)


def _key(view: View, batch: pa.RecordBatch) -> Any:
    parts = [pc.fill_null(batch.column(name), "\x1e") for name in view.key]
    return pc.binary_join_element_wise(*parts, "\x1f")


def _kinds(schemas: tuple[Any, ...], column: Column) -> list[pa.DataType]:
    return [schema.field(column.name).type for schema in schemas if column.name in schema.names]


def _fits(column: Column, kind: pa.DataType) -> bool:
    """True where the type may hold the contract's values."""
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_null(plain) or holds_text(plain):
        return True
    number = pa.types.is_integer(plain) or pa.types.is_floating(plain) or pa.types.is_decimal(plain)
    if column.kind == "time":
        return bool(pa.types.is_timestamp(plain) and plain.tz is not None)
    return column.kind != "text" and bool(number or (column.kind == "boolean" and pa.types.is_boolean(plain)))
