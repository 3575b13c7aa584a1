"""Compares the views of a SQLite store with the contract: types, nulls, values, duplicates, clocks, columns too many.

SQLite's columns have no type that counts, so every value is looked at. How the counts are made and named: `comparing`.
"""

from collections.abc import Mapping

from nestaudience.customers.comparing import Rows, count_in_sql
from nestaudience.customers.contract import Column, View
from nestaudience.customers.port import StoreProblem
from nestaudience.customers.reading_sql import Present, name
from nestaudience.customers.sqlite_sql import SqliteDialect, readable_time


def compare(present: Present, sources: Mapping[str, str], rows: Rows) -> tuple[StoreProblem, ...]:
    """The problems inside the views that exist, in the contract's order. `rows` runs one statement."""
    return count_in_sql(present, sources, _tests, _key, rows)


def _key(view: View) -> str:
    return " || char(31) || ".join(f"coalesce({name(column)}, char(30))" for column in view.key)


def _tests(_view: View, column: Column) -> list[tuple[str, str]]:
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
        tests.append(("value_unknown", f"{known} AND {word} NOT IN {SqliteDialect().literals(sorted(column.values))}"))
    return tests
