"""Compares the views of a SQLite store with the contract: types, nulls, values, duplicates, clocks, columns too many.

It counts in SQL, one scan a view, and reports counts only: no value, and no address, leaves the database. What is
missing altogether is reported where the snapshot is opened.
"""

from collections.abc import Callable
from typing import Any, Final

from nestaudience.customers.contract import VIEWS, Column, View
from nestaudience.customers.port import StoreProblem
from nestaudience.customers.sqlite_sql import literals, name, readable_time

Rows = Callable[[str], list[tuple[Any, ...]]]

_NEXT: Final = {
    "wrong_type": "let the view give {kind} here; {bad} of {all} rows differ",
    "time_unusable": "give ISO 8601 in UTC with `Z` or `+00:00`; {bad} of {all} rows ({share}) have a clock that cannot be read",
    "null_not_allowed": "let the view leave no null here; {bad} of {all} rows have one",
    "value_unknown": "map to the contract's values; {bad} of {all} rows have another",
    "duplicate_key": "let each row be there once; {bad} of {all} rows repeat a key",
    "column_not_needed": "leave the column out of the view: what is not needed is not shown",
}


def compare(present: dict[str, frozenset[str]], prefix: str, rows: Rows) -> tuple[StoreProblem, ...]:
    """The problems inside the views that exist, in the contract's order. `rows` runs one statement."""
    problems: list[StoreProblem] = []
    for view in VIEWS:
        if view.name in present:
            problems.extend(_within(view, present[view.name], name(prefix + view.name), rows))
    return tuple(problems)


def _within(view: View, present: frozenset[str], table: str, rows: Rows) -> list[StoreProblem]:
    tests = [(code, column, test) for column in view.columns if column.name in present for code, test in _tests(column)]
    counts = [f"count(CASE WHEN {test} THEN 1 END)" for _, _, test in tests]
    if view.key and present.issuperset(view.key):
        key = " || char(31) || ".join(f"coalesce({name(column)}, char(30))" for column in view.key)
        counts.append(f"count(*) - count(DISTINCT {key})")
        tests.append(("duplicate_key", view.column(view.key[0]), ""))
    total, *bad = rows(f"SELECT count(*), {', '.join(counts)} FROM {table}")[0]  # noqa: S608 - quoted names
    problems = [
        _counted(code, f"{view.name}.{column.name}", column, number, total)
        for (code, column, _), number in zip(tests, bad, strict=True)
        if number
    ]
    extra = sorted(present.difference(view.names))
    return problems + [StoreProblem("column_not_needed", f"{view.name}.{word}", _NEXT["column_not_needed"]) for word in extra]


def _counted(code: str, where: str, column: Column, bad: int, total: int) -> StoreProblem:
    share = f"{bad / total:.1%}"
    return StoreProblem(code, where, _NEXT[code].format(kind=column.kind, bad=bad, all=total, share=share))


def _tests(column: Column) -> list[tuple[str, str]]:
    """(code, condition that a wrong row meets) for one column."""
    word = name(column.name)
    known = f"{word} IS NOT NULL"
    wrong = {
        "text": f"typeof({word}) <> 'text'",
        "time": f"typeof({word}) <> 'text'",
        "boolean": f"CAST({word} AS TEXT) NOT IN ('0', '1')",
        "integer": f"CAST({word} AS TEXT) GLOB '*[^0-9-]*' OR CAST({word} AS TEXT) NOT GLOB '*[0-9]'",
        "number": f"typeof({word}) NOT IN ('integer', 'real') AND (typeof({word}) = 'blob' OR {word} GLOB '*[^0-9.-]*'"
        f" OR {word} NOT GLOB '*[0-9]*')",
    }[column.kind]
    tests = [("wrong_type", f"{known} AND ({wrong})")]
    if column.kind == "time":
        tests.append(("time_unusable", f"typeof({word}) = 'text' AND NOT {readable_time(word)}"))
    if not column.nullable:
        tests.append(("null_not_allowed", f"{word} IS NULL"))
    if column.values is not None:
        tests.append(("value_unknown", f"{known} AND {word} NOT IN {literals(sorted(column.values))}"))
    return tests
