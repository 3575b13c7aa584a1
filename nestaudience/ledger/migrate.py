"""Bringing an older ledger to this program's schema: a backup first, then the new tables and the entry that says so, in one transaction.

Entries' bytes are never touched. It opens no configuration and no keys: the caller brings the log's signer.
"""

import os
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nestaudience.errors import MustStop, TryAgain
from nestaudience.ledger.checkpoint import Signer
from nestaudience.ledger.engine import Clock, newest_revision, read, schema_revision, upgrade, write
from nestaudience.ledger.entries import Context, EntryType, Value
from nestaudience.ledger.epoch import examine
from nestaudience.ledger.keys import Randomness
from nestaudience.ledger.lease import WRITER, holder, leased
from nestaudience.ledger.log import TransferLog
from nestaudience.ledger.schema import LEASE


@dataclass(frozen=True, slots=True)
class Migrated:
    """Revisions of the tables before and after, and the backup; None when there was nothing to do."""

    before: str
    after: str
    backup: Path | None


def migrate(engine: Engine, path: Path, signer: Signer, context: Context, *, clock: Clock, randomness: Randomness) -> Migrated:
    """Back up the ledger in this file and migrate it. `engine` is from `open_older`. A restored ledger gets no entry, for it may not
    grow before it is recovered: the entry that opens its new epoch names the revision.

    Raises `TryAgain`: `leased` while a run or anybody else works on the ledger; `MustStop`: `ledger_backup` (it could not be made; nothing is
    changed then), and what the log raises when it is not the one that was signed.
    """
    before, after = read(engine, schema_revision), newest_revision()
    if before == after:
        return Migrated(before, after, None)
    if not read(engine, lambda connection: sa.inspect(connection).has_table(LEASE.name)):  # before there were leases
        return _migrate(engine, path, TransferLog(engine, signer, clock=clock, randomness=randomness), context, before, clock())
    with leased(engine, WRITER, context.run_id, clock):
        names = read(engine, lambda connection: connection.execute(sa.select(LEASE.c.name)).scalars().all())
        if any(holder(engine, name, clock) not in (None, context.run_id) for name in names):
            raise TryAgain("leased", "the ledger", "a run is at work on a list; wait until it ends, then run again")
        restored = examine(engine, signer) is not None
        log = None if restored else TransferLog(engine, signer, clock=clock, randomness=randomness)
        return _migrate(engine, path, log, context, before, clock())


def _migrate(engine: Engine, path: Path, log: TransferLog | None, context: Context, before: str, now: datetime) -> Migrated:
    after = newest_revision()
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
