"""Who works on what: leases in the ledger, so that two runs never deliver to one list at a time.

A lease is held by a process; it is free again when that process is no more, which is seen on its own machine only, or when it was not renewed for
its term. Several processes that work for one run name the run and, behind a slash, an attempt: a later attempt takes over from an earlier one.
Prefect's limits are courtesy beside it. Who comes second waits as long as its patience lasts, and is then told to try again; there is no queue.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nestaudience.errors import TryAgain
from nestaudience.ledger.engine import Clock, read, write
from nestaudience.ledger.entries import utc_text
from nestaudience.ledger.schema import LEASE
from nestaudience.ledger.spelling import spelling_of

TERM: Final = timedelta(minutes=30)
"""A lease that was not renewed for so long is free, whatever became of its owner."""
LOOKS_EVERY: Final = timedelta(seconds=5)
"""How often somebody who waits for a lease looks again."""
Sleep = Callable[[float], None]
"""Waits so many seconds."""
WRITER: Final = "writer"
"""The lease of the one program that writes the transfer log."""


@contextmanager
def leased(
    engine: Engine, name: str, owner: str, clock: Clock, *, patience: timedelta = timedelta(0), sleep: Sleep = time.sleep
) -> Iterator["Lease"]:
    """Hold a lease for a while. `patience` is how long to wait for another's, looking every few seconds.

    Raises `TryAgain`: `leased` when another living process still holds it then.
    """
    lease = Lease(engine, name, owner, clock)
    lease.take(patience, sleep)
    try:
        yield lease
    finally:
        lease.give_back()


class Lease:
    """One lease of one owner: a run id, or a run id, a slash and an attempt."""

    def __init__(self, engine: Engine, name: str, owner: str, clock: Clock) -> None:
        self._engine = engine
        self._name = name
        self._owner = owner
        self._clock = clock

    def take(self, patience: timedelta = timedelta(0), sleep: Sleep = time.sleep) -> None:
        """Take it when it is free, stale, or its process is gone; wait for that as long as the patience lasts. Raises as `leased` does."""
        waited = timedelta(0)
        while not self._taken():
            if waited >= patience:
                raise TryAgain("leased", self._name, "another run is at work on it; wait until it ends, then run again")
            sleep(LOOKS_EVERY.total_seconds())
            waited += LOOKS_EVERY

    def _taken(self) -> bool:
        now = self._clock()

        def work(connection: Connection) -> bool:
            row = connection.execute(sa.select(LEASE).where(LEASE.c.name == self._name)).one_or_none()
            others = None if row is None or _run_of(row.owner) == _run_of(self._owner) else row
            if others is not None and _at_work(others, now, alone=_alone(connection)):
                return False
            connection.execute(sa.delete(LEASE).where(LEASE.c.name == self._name))
            values = {"name": self._name, "owner": self._owner, "process": _this_process(), "renewed_at": utc_text(now)}
            connection.execute(sa.insert(LEASE), values)
            return True

        return write(self._engine, work)

    def renew(self) -> None:
        """Say that the owner is still at work. Raises `TryAgain`: `lease_lost` when somebody else took it."""
        now = utc_text(self._clock())

        def work(connection: Connection) -> int:
            statement = sa.update(LEASE).where(LEASE.c.name == self._name, LEASE.c.owner == self._owner).values(renewed_at=now)
            return int(connection.execute(statement).rowcount)

        if write(self._engine, work) != 1:
            raise self.lost()

    def held(self, connection: Connection) -> bool:
        """True when it is still this owner's, in the transaction of the caller."""
        statement = sa.select(sa.exists().where(LEASE.c.name == self._name, LEASE.c.owner == self._owner))
        return bool(connection.execute(statement).scalar_one())

    def lost(self) -> TryAgain:
        """The error of work that went on without it."""
        return TryAgain("lease_lost", self._name, "another run has taken it over; run again")

    def give_back(self) -> None:
        """Free it, when it is still this owner's."""
        statement = sa.delete(LEASE).where(LEASE.c.name == self._name, LEASE.c.owner == self._owner)
        write(self._engine, lambda connection: connection.execute(statement))


def holder(engine: Engine, name: str, clock: Clock) -> str | None:
    """Who holds a lease now (a run id); None when it is free, stale, or held by a process that is no more. Changes nothing."""
    row = read(engine, lambda connection: connection.execute(sa.select(LEASE).where(LEASE.c.name == name)).one_or_none())
    if row is None or not _at_work(row, clock(), alone=_alone(engine)):
        return None
    return str(row.owner)


def _alone(bind: Engine | Connection) -> bool:
    """True for a ledger that one machine has: a file's locks hold no further."""
    return not spelling_of(bind).postgres


def _at_work(row: sa.Row[Any], now: datetime, *, alone: bool) -> bool:
    return _alive(row.process, alone=alone) and row.renewed_at > utc_text(now - TERM)


def _this_process() -> str:
    """The process, the moment at which it started, so that a number used again is not mistaken for it, and its machine."""
    return f"{os.getpid()}:{_started(os.getpid())}:{this_machine()}"


def _alive(process: str, *, alone: bool) -> bool:
    """False for a process of this machine that is no more. What became of another machine's cannot be seen: it counts as living. On a ledger that one
    machine has, whatever was there before it was started again is gone.
    """
    pid, started, machine = (*process.split(":", 2), "", "")[:3]
    if machine and machine != this_machine():
        return not alone or machine.partition("/")[0] == this_machine().partition("/")[0]
    return pid.isdigit() and _started(int(pid)) == started and started != ""


@cache
def this_machine() -> str:
    """Where process numbers mean what they mean here: the machine since it was started, and the container. Empty where the system does not say."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text('ascii').strip()}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _run_of(owner: str) -> str:
    return owner.partition("/")[0]


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks; empty when there is none. Without /proc a living process counts as started at 0."""
    proc = Path("/proc")
    if proc.is_dir() and (proc / "self").exists():
        try:
            stat = (proc / str(pid) / "stat").read_text("ascii", "replace")
        except OSError:
            return ""
        return stat.rpartition(")")[2].split()[19]
    try:
        os.kill(pid, 0)
    except PermissionError:
        return "0"
    except OSError:
        return ""
    return "0"
