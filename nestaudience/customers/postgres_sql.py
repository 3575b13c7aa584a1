"""What PostgreSQL says in its own way when a contract's views are read. Pure: it opens nothing.

Everything leaves the server as the port's text, so that no type of the driver decides how a value looks; but a time by which people are
judged leaves as the moment that it is, where it is one. Settings that would change the meaning of a literal or the look of a value are set for
each snapshot.
"""

from datetime import datetime
from typing import Final

from nestaudience.customers.reading_sql import Dialect
from nestaudience.customers.sheets import READABLE_TIME

TEXTS: Final = frozenset({"text", "varchar", "bpchar", "name", "citext", "enum"})
"""Types that hold a text; `enum` stands for any enumeration."""
INTEGERS: Final = frozenset({"int2", "int4", "int8"})
FLOATS: Final = frozenset({"float4", "float8"})
FIRST: Final = "timestamptz '0001-01-01 00:00:00+00'"
LAST: Final = "timestamptz '9999-12-31 23:59:59.999999+00'"
"""Moments outside these two have no spelling in the contract."""
BEYOND: Final = "timestamptz '10000-01-01 00:00:00+00'"
"""What stands for them where times cross as moments: the port's `BEYOND`."""

SNAPSHOT: Final = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",  # must come first
    "SET LOCAL standard_conforming_strings = on",  # or a backslash would escape a quote
    "SET LOCAL client_encoding = 'UTF8'",
    "SET LOCAL timezone = 'UTC'",
    "SET LOCAL datestyle = 'ISO, YMD'",
)
"""The statements that open a snapshot, before anything is read."""
SERVER_TIME: Final = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
"""The server's clock as text in UTC."""


def columns_of(schema: str) -> str:
    """A statement: view, column, and type of every column in this schema that this user may read; domains by the type beneath."""
    return (
        "WITH RECURSIVE base AS (SELECT oid, oid AS at FROM pg_type UNION ALL"  # noqa: S608 - a quoted text
        " SELECT b.oid, t.typbasetype FROM base AS b JOIN pg_type AS t ON t.oid = b.at WHERE t.typtype = 'd')"
        " SELECT c.relname::text, a.attname::text, CASE WHEN f.typtype = 'e' THEN 'enum' ELSE f.typname::text END"
        " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_attribute AS a ON a.attrelid = c.oid"
        " JOIN base AS b ON b.oid = a.atttypid JOIN pg_type AS f ON f.oid = b.at AND f.typtype <> 'd'"
        f" WHERE n.nspname = {literal(schema)} AND c.relkind IN ('v', 'm', 'r', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped"
        " AND has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')"
    )


def literal(value: str) -> str:
    """A quoted text; it holds no NUL, because no text of PostgreSQL does."""
    return "'" + value.replace("'", "''") + "'"


def readable_time(column: str) -> str:
    """A condition: true where this text is a moment of the contract. Never null."""
    return f"coalesce({column}::text ~ {literal(READABLE_TIME)}, FALSE)"


class PostgresDialect(Dialect):
    """PostgreSQL: columns have types, and each is rendered by its own."""

    nothing = "CAST(NULL AS TEXT)"

    def literal(self, value: str) -> str:
        """A quoted text."""
        return literal(value)

    def compared(self, column: str, kind: str) -> str:
        """As text; a text as it is, so that its index serves."""
        return column if kind == "text" else f"{column}::text"

    def text(self, column: str, kind: str) -> str:
        """Moments in UTC with `Z` and no more fraction than they have; a timestamp without zone without one; flags as digits."""
        if kind == "timestamptz":
            spelled = f"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
            sound = f"{column} BETWEEN {FIRST} AND {LAST}"
            return f"CASE WHEN {sound} THEN replace({spelled}, '.000000Z', 'Z') ELSE {column}::text END"
        if kind == "timestamp":
            return f"replace({column}::text, ' ', 'T')"
        if kind == "bool":
            return f"CASE WHEN {column} THEN '1' WHEN NOT {column} THEN '0' END"
        return f"{column}::numeric::text" if kind in FLOATS else f"{column}::text"

    def late(self, column: str, kind: str, since: datetime) -> str:
        """A moment is compared as one, so that its index serves; of a text whole seconds decide; any other type cannot be read."""
        if kind == "timestamptz":
            return f"({column} >= timestamptz {literal(since.isoformat())} OR {column} IS NULL OR {column} < {FIRST})"
        if kind not in TEXTS:
            return "TRUE"
        second = literal(since.strftime("%Y-%m-%dT%H:%M:%S"))
        return f'CASE WHEN {readable_time(column)} THEN left({column}::text, 19) COLLATE "C" >= {second} ELSE TRUE END'

    def time(self, column: str, kind: str) -> str:
        """A moment as one, which spares the server the spelling and the reader the parsing: together half of the work. Any other type as text."""
        if kind != "timestamptz":
            return self.text(column, kind)
        return f"CASE WHEN {column} BETWEEN {FIRST} AND {LAST} THEN {column} WHEN {column} IS NOT NULL THEN {BEYOND} END"

    def born_since(self, column: str, kind: str, first: int) -> str:
        """An integer as it is; of any other type digits only, and a number too long for an integer counts as a late one."""
        if kind in INTEGERS:
            return f"{column} >= {first}"
        year = self.text(column, kind)
        return f"(CASE WHEN {year} ~ '^[0-9]{{1,18}}$' THEN ({year})::bigint >= {first} WHEN {year} ~ '^[0-9]+$' THEN TRUE END)"
