"""Bringing an older ledger to this program's schema: a backup first, then the new tables and the entry that says so, in one transaction.

A file it backs up itself. Of a PostgreSQL database a person makes the backup, and says so: only the server's own tools know how. Entries' bytes
are never touched. It opens no configuration and no keys: the caller brings the log's signer.
"""

import os
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nestaudience.errors import MustStop, NeedsFix, TryAgain
from nestaudience.ledger.checkpoint import Signer
from nestaudience.ledger.engine import Clock, Place, newest_revision, read, schema_revision, upgrade, write
from nestaudience.ledger.entries import Context, EntryType, Value
from nestaudience.ledger.epoch import examine
from nestaudience.ledger.keys import Randomness
from nestaudience.ledger.lease import WRITER, holder, leased
from nestaudience.ledger.log import TransferLog
from nestaudience.ledger.schema import LEASE


@dataclass(frozen=True, slots=True)
class Migrated:
    """Revisions of the tables before and after, and the backup that was made; None when there was nothing to do, or a person made it."""

    before: str
    after: str
    backup: Path | None


def migrate(
    engine: Engine,
    place: Place,
    signer: Signer,
    context: Context,
    *,
    clock: Clock,
    randomness: Randomness,
    backed_up: bool = False,
) -> Migrated:
    """Back up the ledger in this place and migrate it. `engine` is from `open_older`. A restored ledger gets no entry, for it may not
    grow before it is recovered: the entry that opens its new epoch names the revision. `backed_up`: a person made a backup; a file gets its own
    all the same.

    Raises `NeedsFix`: `backup_missing` where a person has to make it and did not say so; `TryAgain`: `leased` while a run or anybody else works on
    the ledger; `MustStop`: `ledger_backup` (it could not be made; nothing is changed then), and what the log raises when it is not the one that was
    signed.
    """
    before, after = read(engine, schema_revision), newest_revision()
    if before == after:
        return Migrated(before, after, None)
    if not isinstance(place, Path) and not backed_up:
        raise NeedsFix("backup_missing", "the ledger", "back its schema up with pg_dump, then run this again with --backed-up")
    path = place if isinstance(place, Path) else None
    if not read(engine, lambda connection: sa.inspect(connection).has_table(LEASE.name)):  # before there were leases
        return _migrate(engine, path, TransferLog(engine, signer, clock=clock, randomness=randomness), context, before, clock())
    with leased(engine, WRITER, context.run_id, clock):
        names = read(engine, lambda connection: connection.execute(sa.select(LEASE.c.name)).scalars().all())
        if any(holder(engine, name, clock) not in (None, context.run_id) for name in names):
            raise TryAgain("leased", "the ledger", "a run is at work on a list; wait until it ends, then run again")
        restored = examine(engine, signer) is not None
        log = None if restored else TransferLog(engine, signer, clock=clock, randomness=randomness)
        return _migrate(engine, path, log, context, before, clock())


def _migrate(
    engine: Engine, path: Path | None, log: TransferLog | None, context: Context, before: str, now: datetime
) -> Migrated:
    after = newest_revision()
    backup: Path | None = None
    if path is not None:
        backup = path.with_name(f"{path.name}.{before}.{now:%Y%m%dT%H%M%SZ}")
        _back_up(path, backup)
    fields: dict[str, Value] = {"before": before, "after": after}

    def also(connection: Connection, _indices: tuple[int, ...]) -> None:
        upgrade(connection)

    if log is None:
        write(engine, upgrade)
    else:
        log.append_and_seal([(EntryType.LEDGER_MIGRATED, context, fields)], also)
    return Migrated(before, read(engine, schema_revision), backup)


def _back_up(path: Path, backup: Path) -> None:
    """A whole copy beside the ledger, for its owner only; what other connections committed is in it. An existing file is never overwritten."""
    failed = False
    try:
        os.close(os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        source, target = sqlite3.connect(path), sqlite3.connect(backup)
        try:
            source.backup(target)
            failed = target.execute("PRAGMA integrity_check").fetchone() != ("ok",)
        finally:
            target.close()
            source.close()
    except (OSError, sqlite3.Error):
        failed = True
    if failed:
        raise MustStop("ledger_backup", "the ledger's folder", "make room for a copy of the ledger and let this user write there")
