"""Opening the ledger's database: transactions whose failures are ours, and what a ledger was born with.

It knows no table but `meta`, and not how either database is spoken to (`on_sqlite`, `on_postgres`). Every write goes through `write`, which holds
the ledger's one write lock from its start, so that what it reads first is still true when it writes. Foreign exceptions end here: they could
carry a row.
"""

import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

import nestaudience
from nestaudience.errors import MustStop, NeedsFix
from nestaudience.ledger.checkpoint import check_origin
from nestaudience.ledger.entries import utc_text
from nestaudience.ledger.on_postgres import (
    PostgresLedger as PostgresLedger,
)  # handed on: whoever opens a ledger says where it lies
from nestaudience.ledger.on_postgres import make_room, postgres_engine, schema_is_empty
from nestaudience.ledger.on_sqlite import WRITER, sqlite_engine
from nestaudience.ledger.schema import META
from nestaudience.ledger.spelling import spelling_of
from nestaudience.vocabulary import Environment

Result = TypeVar("Result")
Place = Path | PostgresLedger
"""Where a ledger lies."""
Clock = Callable[[], datetime]
"""Gives the present time, with a zone."""

logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells at every opening what it assumes
_MIGRATIONS: Final = Path(__file__).parent / "migrations"


def open_engine(place: Place, *, read_only: bool = False, busy_seconds: float = 10.0) -> Engine:
    """An engine on this SQLite file, which is made when it is missing, or on this schema of a PostgreSQL database, which is not; a wait of
    `busy_seconds` for a lock. `read_only` makes and changes nothing.

    Raises `MustStop`: `ledger_unavailable`.
    """
    if isinstance(place, PostgresLedger):
        return postgres_engine(place, read_only=read_only, busy_seconds=busy_seconds)
    engine: Engine | None = None
    try:
        engine = sqlite_engine(place, read_only=read_only, busy_seconds=busy_seconds)
    except OSError:
        engine = None
    if engine is None:
        raise _unavailable(postgres=False)
    return engine


def write(engine: Engine, work: Callable[[Connection], Result]) -> Result:
    """Do the work in one transaction that holds the write lock from its start, and commit it durably, or do nothing.

    Raises what `work` raises, and `MustStop`: `ledger_unavailable` (locked, full, read-only, unreadable), `ledger_inconsistent`
    (the tables refused a row).
    """
    return _transaction(engine, work, writer=True)


def read(engine: Engine, work: Callable[[Connection], Result]) -> Result:
    """Do the work on one unchanging view of the ledger. Raises as `write` does."""
    return _transaction(engine, work, writer=False)


def stream(engine: Engine, rows: Callable[[Connection], Iterator[Result]]) -> Iterator[Result]:
    """Hand on what `rows` finds, one after the other, on one unchanging view that is held until the last. Raises as `write` does."""
    yield from _guarded(engine, rows, writer=False)


def open_ledger(place: Place, *, environment: Environment, origin: str, clock: Clock, read_only: bool = False) -> Engine:
    """Open the ledger in this place, or give birth to it when the file is missing or empty, or the schema is.

    Raises `MustStop`: `ledger_missing` (read-only, no file, or nothing in the schema), `environment` (born in another), `ledger_origin` (another
    log's), `ledger_unrecognised` (no ledger), `ledger_newer` (made by a newer program), `ledger_unavailable`; `NeedsFix`: `ledger_older`
    (`nestaudience ledger migrate`).
    """
    check_origin(origin)
    if read_only and isinstance(place, Path) and not place.exists():
        raise _missing()
    engine = open_engine(place, read_only=read_only)
    empty = read(engine, _is_empty)
    if empty and read_only and isinstance(place, PostgresLedger):
        raise _missing()
    if empty and not read_only:
        write(engine, lambda connection: _birth(connection, environment, origin, clock))
    read(engine, lambda connection: _check(connection, environment, origin))
    return engine


def open_older(place: Place, *, environment: Environment, origin: str) -> Engine:
    """Open a ledger of this program's schema or an older one, to migrate it. Raises as `open_ledger` does, but for `ledger_older`."""
    check_origin(origin)
    if isinstance(place, Path) and not place.exists():
        raise _missing()
    engine = open_engine(place)
    if isinstance(place, PostgresLedger) and read(engine, _is_empty):
        raise _missing()
    read(engine, lambda connection: _check(connection, environment, origin, older=True))
    return engine


def newest_revision() -> str:
    """The revision of this program's schema."""
    return _known_revisions()[0]


def migrate_schema(engine: Engine) -> tuple[str, str]:
    """Bring the tables to this program's schema: (revision before, revision after). Entries' bytes are never touched.

    Backing up, leases and the entry that records it are the caller's. Raises `MustStop`: `ledger_newer`, `ledger_unavailable`.
    """

    def work(connection: Connection) -> tuple[str, str]:
        before = schema_revision(connection)
        if before and before not in _known_revisions():
            raise _newer()
        upgrade(connection)
        return before, schema_revision(connection)

    return write(engine, work)


def upgrade(connection: Connection) -> None:
    """Bring the tables to this program's schema, in the transaction of the caller."""
    config = _alembic()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def schema_revision(connection: Connection) -> str:
    """The revision of the tables; empty for a database without any."""
    return MigrationContext.configure(connection).get_current_revision() or ""


def born_with(connection: Connection) -> dict[str, str]:
    """What the ledger was born with: `environment`, `origin`, `created_at` (UTC), `created_by`; and `epoch` once it was recovered."""
    return {row.key: row.value for row in connection.execute(sa.select(META))}


def ledger_epoch(connection: Connection) -> int:
    """Which epoch of its log the ledger is in: 1, and one more with each recovery. Only the signed head can prove it."""
    return int(born_with(connection).get("epoch", "1"))


def set_epoch(connection: Connection, epoch: int) -> None:
    """Say that the ledger is in a new epoch, in the transaction of the entry that opens it."""
    connection.execute(sa.delete(META).where(META.c.key == "epoch"))
    connection.execute(sa.insert(META), {"key": "epoch", "value": str(epoch)})


def _birth(connection: Connection, environment: Environment, origin: str, clock: Clock) -> None:
    if not _is_empty(connection):  # another process was first
        return
    make_room(connection)
    upgrade(connection)
    facts = {
        "environment": environment.value,
        "origin": origin,
        "created_at": utc_text(clock()),
        "created_by": getattr(nestaudience, "__version__", "unknown"),
    }
    connection.execute(sa.insert(META), [{"key": key, "value": value} for key, value in facts.items()])


def _is_empty(connection: Connection) -> bool:
    if spelling_of(connection).postgres:
        return schema_is_empty(connection)
    return not connection.execute(sa.text("SELECT count(*) FROM sqlite_master")).scalar_one()


def _check(connection: Connection, environment: Environment, origin: str, *, older: bool = False) -> None:
    revision = schema_revision(connection)
    known = _known_revisions()
    if not revision:
        raise MustStop("ledger_unrecognised", "the ledger", "name the right file; this database is no ledger")
    if revision not in known:
        raise _newer()
    if revision != known[0] and not older:
        raise NeedsFix("ledger_older", "the ledger", "run `nestaudience ledger migrate`; a backup comes first")
    facts = born_with(connection)
    if facts.get("environment") != environment.value:
        raise MustStop(
            "environment", "the ledger", "use the ledger of this environment; it was born in another and refuses this one"
        )
    if facts.get("origin") != origin:
        raise MustStop("ledger_origin", "the ledger", "set the origin that this ledger was born with, or name the right file")


def _newer() -> MustStop:
    return MustStop("ledger_newer", "the ledger", "install the program that wrote it, or a newer one; this one is too old")


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _known_revisions() -> list[str]:
    """All revisions of this program, newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()]


def _transaction(engine: Engine, work: Callable[[Connection], Result], *, writer: bool) -> Result:
    def once(connection: Connection) -> Iterator[Result]:
        yield work(connection)

    (outcome,) = _guarded(engine, once, writer=writer)
    return outcome


def _guarded(engine: Engine, rows: Callable[[Connection], Iterator[Result]], *, writer: bool) -> Iterator[Result]:
    """What `rows` gives in one transaction, which is committed after the last; what the database says ends here."""
    refusal: MustStop | None = None
    driver = engine.dialect.loaded_dbapi
    try:
        with engine.connect() as connection, connection.execution_options(**{WRITER: writer}).begin():
            yield from rows(connection)
    except (IntegrityError, driver.IntegrityError):
        refusal = MustStop("ledger_inconsistent", "the ledger", "its tables refused a row; run `nestaudience audit verify`")
    except (SQLAlchemyError, driver.Error):
        refusal = _unavailable(postgres=spelling_of(engine).postgres)
    if refusal is not None:
        raise refusal


def _missing() -> MustStop:
    return MustStop("ledger_missing", "the ledger", "name the right place; there is none here")


def _unavailable(*, postgres: bool) -> MustStop:
    file = "the disk's room, the file's rights and its locks"
    server = "its address in ledger.url, the server, the role's rights and the locks"
    return MustStop(
        "ledger_unavailable",
        "the ledger",
        f"nothing is sent without it: check {server if postgres else file}",
    )
