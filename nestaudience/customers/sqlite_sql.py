"""What SQLite says in its own way when a contract's views are read. Pure: it opens nothing.

One fact of the driver shapes it: it infers a column's type from the first rows, so every column is cast to text and the result
starts with a row of empty text that the reader drops again.
"""

from datetime import datetime

from nestaudience.customers.reading_sql import Dialect


def literal(value: str) -> str:
    """A quoted text. A NUL would end the statement, so a text that has one goes as its bytes."""
    if "\0" in value:
        return f"CAST(x'{value.encode().hex()}' AS TEXT)"
    return "'" + value.replace("'", "''") + "'"


def readable_time(column: str) -> str:
    """A condition: true where this SQL expression is a moment of the contract, ISO 8601 text in UTC. Never null."""
    zone = f"substr({column}, 20)"
    short = f"({zone} GLOB '.[0-9]*Z' AND {_digits(f'substr({column}, 21, length({column}) - 21)')})"
    long = f"({zone} GLOB '.[0-9]*+00:00' AND {_digits(f'substr({column}, 21, length({column}) - 26)')})"
    zoned = f"({zone} IN ('Z', '+00:00') OR {short} OR {long})"
    calendar = f"substr({column}, 1, 19) = strftime('%Y-%m-%dT%H:%M:%S', substr({column}, 1, 19))"
    return f"coalesce(typeof({column}) = 'text' AND {calendar} AND {zoned}, 0)"


def _digits(expression: str) -> str:
    return f"{expression} NOT GLOB '*[^0-9]*'"


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
        return f"CASE WHEN {readable_time(column)} THEN substr({column}, 1, 19) >= {moment} ELSE 1 END"

    def born_since(self, column: str, kind: str, first: int) -> str:
        """Digits only; a number too long for an integer counts as the longest one."""
        year = self.text(column, kind)
        return f"({year} NOT GLOB '*[^0-9]*' AND {year} <> '' AND CAST({year} AS INTEGER) >= {first})"
