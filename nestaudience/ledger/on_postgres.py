"""The ledger in a schema of a PostgreSQL database: one writer at a time by an advisory lock, and readings of one unchanging view.

It knows no table. Everything that a transaction needs is said at its own beginning, never once a session, so that a pooler in between changes
nothing. It keeps no URL where an error or a representation could show it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nestaudience.ledger.on_sqlite import WRITER
from nestaudience.ledger.spelling import spelling_of

DEFAULT_SCHEMA: Final = "nestaudience_ledger"
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_CONNECT_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class PostgresLedger:
    """Where a ledger lies: the connection's URL as `libpq` reads it, and the schema that is the ledger's own.

    Raises ValueError for a schema that is no plain lower-case name.
    """

    url: str = field(repr=False)
    schema: str = DEFAULT_SCHEMA

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.schema):
            raise ValueError("a schema has a plain lower-case name")


def postgres_engine(place: PostgresLedger, *, read_only: bool, busy_seconds: float) -> Engine:
    """An engine on this schema. A writing transaction waits up to `busy_seconds` for the one before it; a reading one waits for no writer.

    Connects to nothing yet.
    """
    import psycopg  # here: who has a SQLite ledger does not wait for it

    def connected() -> Any:
        settings = psycopg.conninfo.conninfo_to_dict(place.url)
        settings.setdefault("connect_timeout", _CONNECT_SECONDS)
        settings |= {"client_encoding": "utf8", "application_name": "nestaudience"}
        return psycopg.connect(**settings, prepare_threshold=None)  # type: ignore[arg-type]

    engine = sa.create_engine("postgresql+psycopg://", creator=connected, pool_pre_ping=True, hide_parameters=True)
    here = f'SET LOCAL search_path = "{place.schema}"; SET LOCAL lock_timeout = {max(1, round(busy_seconds * 1000))}'
    look = f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; {here}"
    # The lock is taken before anything is read: under READ COMMITTED the first statement after it sees what the writer before committed.
    change = (
        f"SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; {here}; SET LOCAL synchronous_commit = on; "
        f"SELECT pg_advisory_xact_lock({lock_key(place.schema)})"
    )

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writer = connection.get_execution_options().get(WRITER, False) and not read_only
        connection.exec_driver_sql(change if writer else look)

    return engine


def binary_rows(connection: Connection, statement: str, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
    """The rows of a statement, one by one and with bytes as bytes, through a cursor on the server. For a transaction that reads."""
    text = sa.text(statement).compile(dialect=connection.dialect)
    driver = connection.connection.driver_connection
    with driver.cursor(name="nestaudience_pages") as cursor:  # type: ignore[union-attr]
        cursor.itersize = 1
        cursor.execute(str(text), {name: parameters[name] for name in text.params}, binary=True)
        yield from cursor


def schema_is_empty(connection: Connection) -> bool:
    """True when the ledger's schema has no table, or is not there."""
    query = "SELECT NOT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = ANY (current_schemas(false)))"
    return bool(connection.execute(sa.text(query)).scalar_one())


def make_room(connection: Connection) -> None:
    """Make the ledger's schema where it is not there yet. On SQLite there is nothing to do."""
    if not spelling_of(connection).postgres:
        return
    if not connection.execute(sa.text("SELECT coalesce(array_length(current_schemas(false), 1), 0)")).scalar_one():
        connection.execute(sa.text(f"CREATE SCHEMA {connection.execute(sa.text('SHOW search_path')).scalar_one()}"))


def lock_key(schema: str) -> int:
    """The number of the writers' advisory lock; a database has one such number for each schema that holds a ledger."""
    return int.from_bytes(sha256(f"nestaudience ledger {schema}".encode()).digest()[:8], "big", signed=True)
