"""Where a test's ledger lies, and what a test does to it from outside: as a plain client, as a backup that is put back, from another process.

Everything here works on either database, so that a test of the ledger is written once. What is about one of them alone stands in `test_on_sqlite`
and `test_on_postgres`.
"""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import psycopg
import sqlalchemy as sa

from nestaudience.ledger.engine import Place, PostgresLedger, open_engine, read, upgrade, write
from nestaudience.ledger.on_postgres import make_room
from nestaudience.ledger.schema import METADATA

REFUSED = (sqlite3.IntegrityError, psycopg.IntegrityError)
_NUMBERS = count(1)


def beside(place: Place, name: str) -> Place:
    """Another place of the same kind: a file in the same folder, or a schema of the same server."""
    if isinstance(place, Path):
        return place.with_name(name)
    return PostgresLedger(place.url, f"{name.replace('.', '_').replace('-', '_')}_{next(_NUMBERS)}")


@contextmanager
def plain(place: Place) -> Iterator[sqlite3.Cursor | psycopg.Cursor]:
    """Somebody who has the database's owner's rights and nothing of this program. What was done is committed."""
    if isinstance(place, Path):
        with closing(sqlite3.connect(place)) as opened, opened:
            yield opened.cursor()
    else:
        with psycopg.connect(place.url, options=f"-c search_path={place.schema}") as connection, connection.cursor() as cursor:
            yield cursor


def drop_triggers(cursor: sqlite3.Cursor | psycopg.Cursor, table: str) -> None:
    """Take away what keeps a table append-only."""
    if isinstance(cursor, sqlite3.Cursor):
        for action in ("update", "delete", "insert"):
            cursor.execute(f"DROP TRIGGER {table}_no_{action}")
    else:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")


def copy_ledger(place: Place, to: Place) -> None:
    """A whole copy of a ledger as it is now, as a backup has it."""
    if isinstance(place, Path):
        assert isinstance(to, Path)
        with closing(sqlite3.connect(place)) as source, closing(sqlite3.connect(to)) as target:
            source.backup(target)
        return
    assert isinstance(to, PostgresLedger)
    engine = open_engine(to)
    write(engine, lambda c: (make_room(c), upgrade(c)))
    engine.dispose()
    with plain(to) as cursor:
        for table in METADATA.sorted_tables:
            key = next(iter(table.primary_key)).name
            cursor.execute(
                f"INSERT INTO {table.name} OVERRIDING SYSTEM VALUE SELECT * FROM {place.schema}.{table.name} ORDER BY {key}"
            )
            if isinstance(table.c[key].server_default, sa.Identity):
                cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table.name}', '{key}'), max({key})) FROM {table.name}")


def put_back(copy: Place, place: Place) -> None:
    """The copy stands where the ledger stood. Whoever has the ledger open opens it anew."""
    if isinstance(place, Path):
        assert isinstance(copy, Path)
        for left in place.parent.glob(place.name + "*"):
            left.unlink()
        shutil.copy(copy, place)
        return
    with psycopg.connect(place.url) as connection:
        connection.execute(f"DROP SCHEMA {place.schema} CASCADE")
    copy_ledger(copy, place)


def rows(place: Place, query: str) -> list[tuple[object, ...]]:
    """What a statement finds."""
    engine = open_engine(place)
    found = read(engine, lambda c: [tuple(row) for row in c.execute(sa.text(query))])
    engine.dispose()
    return found


def argument(place: Place) -> str:
    """A place as another process may be told it."""
    return json.dumps([str(place)] if isinstance(place, Path) else [place.url, place.schema])


def place_of(told: str) -> Place:
    """A place as `argument` tells it."""
    words = json.loads(told)
    return Path(words[0]) if len(words) == 1 else PostgresLedger(*words)
