"""A generated world as a SQLite file with one plain table a view, as a small shop might keep it.

Columns have the contract's types, so that flags and whole numbers stand as integers, and everything else as it was given.
It writes what it is told and judges nothing.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from nestaudience.customers.contract import VIEWS, View

from .rows import World

_INTEGERS: Final = frozenset({"boolean", "integer"})


def write(world: World, path: Path) -> None:
    """Make the file anew. Raises `ValueError` when SQLite would hand a value back in another spelling (`01` as an integer)."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        for view in VIEWS:
            _table(connection, view)
            rows = [tuple(row[name] for name in view.names) for row in getattr(world, view.name, ())]
            marks = ", ".join("?" for _ in view.names)
            connection.executemany(f"INSERT INTO {view.name} VALUES ({marks})", rows)
            texts = ", ".join(f"CAST({name} AS TEXT)" for name in view.names)
            if connection.execute(f"SELECT {texts} FROM {view.name} ORDER BY rowid").fetchall() != rows:
                problem = f"{view.name}: a value does not survive its column's type"
                raise ValueError(problem)


def _table(connection: sqlite3.Connection, view: View) -> None:
    columns = ", ".join(f"{column.name} {'INTEGER' if column.kind in _INTEGERS else 'TEXT'}" for column in view.columns)
    connection.execute(f"CREATE TABLE {view.name} ({columns})")
