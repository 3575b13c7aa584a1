"""Compares the views of a PostgreSQL store with the contract: types, nulls, values, duplicates, clocks, columns too many.

A column's type says most, and says it of an empty view as well; only where a text may or may not fit are its rows counted.
How the counts are made and named: `comparing`.
"""

from collections.abc import Mapping
from typing import Final

from nestaudience.customers.comparing import Rows, count_in_sql
from nestaudience.customers.contract import Column, View
from nestaudience.customers.port import StoreProblem
from nestaudience.customers.postgres_sql import FIRST, FLOATS, INTEGERS, LAST, TEXTS, PostgresDialect, literal, readable_time
from nestaudience.customers.reading_sql import Present, name

_SPELLED: Final = {"integer": "^-?[0-9]+$", "number": "^-?[0-9]+(\\.[0-9]+)?$", "boolean": "^[01]$"}


def compare(present: Present, sources: Mapping[str, str], rows: Rows) -> tuple[StoreProblem, ...]:
    """The problems inside the views that exist, in the contract's order. `rows` runs one statement."""

    def tests(view: View, column: Column) -> list[tuple[str, str]]:
        return _tests(column, present[view.name][column.name])

    return count_in_sql(present, sources, tests, _key, rows)


def _key(view: View) -> str:
    return " || chr(31) || ".join(f"coalesce({name(column)}::text, chr(30))" for column in view.key)


def _tests(column: Column, kind: str) -> list[tuple[str, str]]:
    word = name(column.name)
    tests = _of_time(word, kind) if column.kind == "time" else _of_value(column, word, kind)
    if not column.nullable:
        tests.append(("null_not_allowed", f"{word} IS NULL"))
    if column.values is not None:
        known = PostgresDialect().literals(sorted(column.values))
        tests.append(("value_unknown", f"{word} IS NOT NULL AND {word}::text NOT IN {known}"))
    return tests


def _of_time(word: str, kind: str) -> list[tuple[str, str]]:
    if kind == "timestamptz":
        return [("time_unusable", f"{word} NOT BETWEEN {FIRST} AND {LAST}")]
    if kind in TEXTS:
        return [("time_unusable", f"{word} IS NOT NULL AND NOT {readable_time(word)}")]
    return [("wrong_type", "")]


def _of_value(column: Column, word: str, kind: str) -> list[tuple[str, str]]:
    """Nothing where the type alone fits; a condition where the rows decide; an empty one where the type cannot fit."""
    fits = {"text": TEXTS, "boolean": {"bool"}, "integer": INTEGERS, "number": INTEGERS}[column.kind]
    if kind in fits:
        return []
    spelled = _SPELLED.get(column.kind)
    if spelled is None or kind not in TEXTS | INTEGERS | FLOATS | {"numeric"}:
        return [("wrong_type", "")]
    return [("wrong_type", f"{word} IS NOT NULL AND {PostgresDialect().text(word, kind)} !~ {literal(spelled)}")]
