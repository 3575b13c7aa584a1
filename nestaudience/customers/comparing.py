"""Compares a store with the contract: what a wrong row is called, what to do about it, and the counting that SQL stores share.

It reports counts only: no value, and no address, leaves the store. What is missing altogether is reported where the snapshot is opened.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from nestaudience.customers.contract import VIEWS, Column, View
from nestaudience.customers.port import StoreProblem

Rows = Callable[[str], list[tuple[Any, ...]]]
"""Runs one statement."""
Tests = Callable[[View, Column], list[tuple[str, str]]]
"""(code, condition that a wrong row meets) for one column that the store has."""

_NEXT: Final = {
    "wrong_type": "let the view give {kind} here; {bad} of {all} rows differ",
    "time_unusable": "give ISO 8601 in UTC with `Z` or `+00:00`; {bad} of {all} rows ({share}) have a clock that cannot be read",
    "null_not_allowed": "let the view leave no null here; {bad} of {all} rows have one",
    "value_unknown": "map to the contract's values; {bad} of {all} rows have another",
    "duplicate_key": "let each row be there once; {bad} of {all} rows repeat a key",
}
_TYPES: Final = {
    "text": "text",
    "time": "a moment with a zone",
    "boolean": "a boolean",
    "integer": "a whole number",
    "number": "a decimal number",
}


def counted(code: str, view: View, column: Column, bad: int, total: int) -> StoreProblem:
    """`bad` of `total` rows of a view are wrong in this column."""
    words = _NEXT[code].format(kind=column.kind, bad=bad, all=total, share=f"{bad / total:.1%}")
    return StoreProblem(code, f"{view.name}.{column.name}", words)


def typed(view: View, column: Column) -> StoreProblem:
    """The column's type can hold no value of the contract, whatever the rows."""
    return StoreProblem("wrong_type", f"{view.name}.{column.name}", f"let the view give {_TYPES[column.kind]} here")


def not_needed(view: View, present: Iterable[str]) -> list[StoreProblem]:
    """A warning for every column too many."""
    words = "leave the column out of the view: what is not needed is not shown"
    return [
        StoreProblem("column_not_needed", f"{view.name}.{column}", words) for column in sorted(set(present) - set(view.names))
    ]


def count_in_sql(
    present: Mapping[str, Mapping[str, str]], sources: Mapping[str, str], tests: Tests, key: Callable[[View], str], rows: Rows
) -> tuple[StoreProblem, ...]:
    """The problems inside the views that exist, in the contract's order, in one scan each.

    `sources` has each view's quoted name; `key` the text that identifies a row of a view; a test without condition is wrong by its type.
    """
    problems: list[StoreProblem] = []
    for view in VIEWS:
        if view.name in present:
            problems.extend(_within(view, present[view.name], sources[view.name], tests, key, rows))
            problems.extend(not_needed(view, present[view.name]))
    return tuple(problems)


def _within(
    view: View, columns: Mapping[str, str], table: str, tests: Tests, key: Callable[[View], str], rows: Rows
) -> list[StoreProblem]:
    found = [(code, column, test) for column in view.columns if column.name in columns for code, test in tests(view, column)]
    problems = [typed(view, column) for _, column, test in found if not test]
    asked = [(code, column, test) for code, column, test in found if test]
    counts = [f"count(CASE WHEN {test} THEN 1 END)" for _, _, test in asked]
    if view.key and columns.keys() >= set(view.key):
        counts.append(f"count(*) - count(DISTINCT {key(view)})")
        asked.append(("duplicate_key", view.column(view.key[0]), ""))
    total, *bad = rows(f"SELECT {', '.join(['count(*)', *counts])} FROM {table}")[0]  # noqa: S608 - quoted names
    return problems + [
        counted(code, view, column, number, total) for (code, column, _), number in zip(asked, bad, strict=True) if number
    ]
