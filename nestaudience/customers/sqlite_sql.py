"""What SQLite says in its own way when a contract's views are read. Pure: it opens nothing.

One fact of the driver shapes it: it infers a column's type from the first rows, so every column is cast to text and the result
starts with a row of empty text that the reader drops again.
"""

from datetime import datetime
from typing import Final

from nestaudience.customers.reading_sql import Dialect

_SHAPE: Final = "[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]*"
_DAYS: Final = "312831303130313130313031"
"""How many days each month has, two digits a month."""
_ZONES: Final = "('Z', '+00:00')"


def literal(value: str) -> str:
    """A quoted text. A NUL would end the statement, so a text that has one goes as its bytes."""
    if "\0" in value:
        return f"CAST(x'{value.encode().hex()}' AS TEXT)"
    return "'" + value.replace("'", "''") + "'"


def second(column: str) -> str:
    """A moment of the contract (ISO 8601 text in UTC) to its second, as text that sorts; `~`, which sorts after them all, for anything else. Never
    null. An index on this expression serves `late`, so it is made of nothing that SQLite's versions do differently: no function of dates, and no
    pattern where the value is no text.
    """
    month, day, date, zone = (f"substr({column}, {place})" for place in ("6, 2", "9, 2", "6, 5", "20"))
    leap = f"substr({column}, 1, 4) % 4 = 0 AND (substr({column}, 3, 2) <> '00' OR substr({column}, 1, 2) % 4 = 0)"
    last = f"substr('{_DAYS}', 2 * {month} - 1, 2)"
    days = f"{day} BETWEEN '01' AND '28' OR {day} BETWEEN '29' AND {last} OR {date} = '02-29' AND {leap}"
    calendar = f"{month} BETWEEN '01' AND '12' AND ({days}) AND substr({column}, 12, 2) < '24'"
    fraction = f"{zone} GLOB '.[0-9]*' AND ltrim(substr({column}, 21), '0123456789') IN {_ZONES}"
    shape = f"typeof({column}) = 'text' AND {column} GLOB '{_SHAPE}' AND instr({column}, char(0)) = 0"
    return f"CASE WHEN {shape} AND {calendar} AND ({zone} IN {_ZONES} OR {fraction}) THEN substr({column}, 1, 19) ELSE '~' END"


def readable_time(column: str) -> str:
    """A condition: true where this SQL expression is a moment of the contract. Never null."""
    return f"({second(column)}) <> '~'"


class SqliteDialect(Dialect):
    """SQLite: columns have no type that counts, and a flag is a number."""

    first_row = True

    def literal(self, value: str) -> str:
        """A quoted text, NUL included."""
        return literal(value)

    def compared(self, column: str, kind: str) -> str:
        """The column itself, so that its index serves."""
        return column

    def text(self, column: str, kind: str) -> str:
        """Every value as SQLite spells it."""
        return f"CAST({column} AS TEXT)"

    def late(self, column: str, kind: str, since: datetime) -> str:
        """Whole seconds decide, as text."""
        moment = literal(since.strftime("%Y-%m-%dT%H:%M:%S"))
        return f"({second(column)}) >= {moment}"

    def born_since(self, column: str, kind: str, first: int) -> str:
        """Digits only; a number too long for an integer counts as the longest one."""
        year = self.text(column, kind)
        return f"({year} NOT GLOB '*[^0-9]*' AND {year} <> '' AND CAST({year} AS INTEGER) >= {first})"
