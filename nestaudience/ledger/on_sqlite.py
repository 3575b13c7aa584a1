"""The ledger in a SQLite file: pragmas, permissions, and transactions that a writer begins with the write lock. It knows no table."""

import os
import sqlite3
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

WRITER = "nestaudience_writer"
"""The execution option by which a connection says that its next transaction writes."""


def sqlite_engine(path: Path, *, read_only: bool, busy_seconds: float) -> Engine:
    """An engine on this file: WAL, synchronous=FULL, secure_delete, foreign keys, and a wait of `busy_seconds` for a lock.

    A missing file is made, readable by this user only (its WAL takes the same mode); `read_only` makes and changes nothing. Raises `OSError`.
    """
    if not read_only:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    mode = "ro" if read_only else "rw"
    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=busy_seconds,
            isolation_level=None,
            check_same_thread=False,
        ),
        poolclass=sa.QueuePool,
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        names = ["foreign_keys=ON", "recursive_triggers=ON", "synchronous=FULL", "secure_delete=ON", "trusted_schema=OFF"]
        names += ["query_only=ON"] if read_only else ["journal_mode=WAL"]
        for name in names:
            connection.execute(f"PRAGMA {name}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writer = connection.get_execution_options().get(WRITER, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    return engine
