"""A customer store in memory: rows of the reference's kind, handed over as the port says, read as minimally as the SQLite store reads.

    store = MemoryStore(world, frozenset({"newsletter"}))
    store.world = store.world.plus(consent_event=(consent("e9", "withdraw"),))     # a snapshot that is open does not see it

It keeps every view that a run reads, answers each `read` from the rows as they stood when the snapshot was opened, and judges nobody.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, SEGMENT_MEMBER, View
from nestaudience.customers.port import Sheet, StoreProblem
from nestaudience.hashing.digests import Addresses
from tests.reference.rows import Row, World

_WITH_ROWS: Final = (ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, SEGMENT_MEMBER)
_CLOCK: Final = {ACCOUNT.name: "changed_at", CONSENT_EVENT.name: "recorded_at", RIGHTS_EVENT.name: "recorded_at"}
_ENDS: Final = {"grant", "lift_objection", "unrestrict"}
_MINOR_YEARS: Final = 18


class MemoryStore:
    """`opened` is told of every snapshot, before it is taken."""

    def __init__(self, world: World, irrelevant: frozenset[str], opened: Callable[[], None] = lambda: None) -> None:
        self.world = world
        self.opened = opened
        self._irrelevant = irrelevant

    @contextmanager
    def snapshot(self, *, live: bool = False) -> Iterator["MemorySnapshot"]:
        """The rows as they are now, `live` or not."""
        del live
        self.opened()
        yield MemorySnapshot(self.world, self._irrelevant)

    def check(self) -> tuple[StoreProblem, ...]:
        """Nothing is ever wrong with it."""
        return ()


class MemorySnapshot:
    """One moment of the store."""

    problems: tuple[StoreProblem, ...] = ()

    def __init__(self, world: World, irrelevant: frozenset[str]) -> None:
        self._world = world
        self._irrelevant = irrelevant

    def read(
        self,
        view: View,
        *,
        accounts: pa.StringArray | None = None,
        noes_since: datetime | None = None,
        grants_too: bool = False,
        segments: frozenset[tuple[str, str]] | None = None,
        now: datetime | None = None,
    ) -> Iterator[Sheet]:
        """As `Snapshot.read`, in one sheet."""
        rows: tuple[Row, ...] = getattr(self._world, view.name) if view in _WITH_ROWS else ()
        if accounts is not None:
            asked = set(accounts.to_pylist())
            rows = tuple(row for row in rows if row["account_id"] in asked)
        if noes_since is not None:
            rows = tuple(row for row in rows if _is_new(view, row, noes_since, grants_too=grants_too))
        if segments is not None:
            rows = tuple(row for row in rows if (row["controller_id"], row["segment_code"]) in segments)
        if rows:
            yield self._sheet(view, rows, now)

    def server_time(self) -> datetime | None:
        """None: it is in this process."""
        return None

    def _sheet(self, view: View, rows: tuple[Row, ...], now: datetime | None) -> Sheet:
        columns = {name: [row[name] for row in rows] for name in view.names}
        if view is ACCOUNT:
            assert now is not None
            read = [self._may_be_read(row, now) for row in rows]
            columns["email"] = [row["email"] if may else None for row, may in zip(rows, read, strict=True)]
            columns["email_read"] = ["1" if may else "0" for may in read]
        addresses = Addresses(pa.array(columns.pop("email"), pa.string())) if view.has_email else None
        arrays = [pa.array(values, pa.string()) for values in columns.values()]
        return Sheet(pa.RecordBatch.from_arrays(arrays, names=list(columns)), addresses)

    def _may_be_read(self, row: Row, now: datetime) -> bool:
        """Rules §4, minimal reading."""
        born = row["birth_year"]
        minor = born is not None and born.isdecimal() and now.astimezone(UTC).year - int(born) <= _MINOR_YEARS
        return minor or row["protected"] == "1" or row["account_id"] in self._asked()

    def _asked(self) -> set[str | None]:
        consents = {
            row["account_id"]
            for row in self._world.consent_event
            if (row["action"] == "grant" and row["purpose"] == "ad_matching")
            or (row["action"] == "withdraw" and row["purpose"] not in self._irrelevant)
        }
        return consents | {r["account_id"] for r in self._world.rights_event if r["action"] in {"object", "restrict", "erase"}}


def _is_new(view: View, row: Row, since: datetime, *, grants_too: bool) -> bool:
    clock = row[_CLOCK[view.name]]
    late = clock is None or clock[:19] >= since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return late and (grants_too or view is ACCOUNT or row["action"] not in _ENDS)
