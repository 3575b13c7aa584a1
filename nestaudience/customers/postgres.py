"""The customer store as a PostgreSQL database, streamed through ADBC as Arrow.

It reads everything of one snapshot in one repeatable-read, read-only transaction, in batches of about a megabyte, and hands out
facts as text, times as moments where they are, and addresses sealed. It parses no value, and it never writes. How the statements
look: `postgres_sql`; how a store is compared with the contract: `postgres_check`.

One connection carries one result: a second read ends the first, which then raises `RuntimeError` instead of reading foreign rows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, Final

import adbc_driver_postgresql.dbapi
import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_postgresql import StatementOptions

from nestaudience.customers.adbc_session import FAILURES, Session
from nestaudience.customers.contract import VIEWS, View
from nestaudience.customers.port import Sheet, StoreProblem
from nestaudience.customers.postgres_check import compare
from nestaudience.customers.postgres_sql import SERVER_TIME, SNAPSHOT, PostgresDialect, columns_of
from nestaudience.customers.reading_sql import Late, Present, Reading, name
from nestaudience.customers.sheets import missing, names_of, refuse_misuse, sheet, stretches
from nestaudience.errors import NeedsFix, NestAudienceError, TryAgain

_BATCH_BYTES: Final = 1_000_000
_REFUSED: Final = (
    "authentication",
    "pg_hba",
    "permission denied",
    "does not exist",
    "connection info",
    "connection option",
    "password",
)
_BROKEN: Final = ("closed the connection", "terminat", "conflict with recovery", "cancel", "shutting down", "begin transaction")
_PASSING: Final = frozenset({"08", "40", "53", "55", "57"})
"""Classes of SQLSTATE that may be gone when the same is tried again: connection, rollback, resources, locks, intervention."""
_NO_RIGHT: Final = "42501"


class PostgresStore:
    """A database that has the contract's views in the schema `views_schema`.

    `url` is read by a whole run and may be a replica; `live_url`, where it is given, is the primary, for whoever asks for the store as
    it is now. `irrelevant_purposes` are the consents that the configuration names as known and irrelevant: their withdrawal is no reason
    to read an address. `busy_seconds` is how long to wait for somebody who is altering a view.
    """

    def __init__(
        self,
        url: str,
        *,
        live_url: str | None = None,
        views_schema: str = "nestaudience",
        irrelevant_purposes: frozenset[str] = frozenset(),
        busy_seconds: float = 5.0,
    ) -> None:
        self._url = url
        self._live_url = live_url
        self._schema = views_schema
        self._sources = {view.name: f"{name(views_schema)}.{name(view.name)}" for view in VIEWS}
        self._irrelevant = irrelevant_purposes
        self._busy_ms = round(busy_seconds * 1000)

    @contextmanager
    def snapshot(self, *, live: bool = False) -> Iterator["PostgresSnapshot"]:
        """One transaction that sees what was committed when it began; one thread uses it, and reads one view at a time.

        Raises `NeedsFix` (`store_refused`, `store_unreadable`), `TryAgain` (`store_unreachable`, `store_busy`).
        """
        at_hand = live and self._live_url is not None
        where, url = ("store.live_url", self._live_url or "") if at_hand else ("store.url", self._url)
        session = Session(
            _connect(url, where),
            partial(_remedy, where),
            options={StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(_BATCH_BYTES)},
            alone=True,
        )
        try:
            for statement in (*SNAPSHOT, f"SET LOCAL lock_timeout = {self._busy_ms}"):
                session.run(statement)
            present = self._present(session)
            yield PostgresSnapshot(session, present, Reading(PostgresDialect(), present, self._sources, self._irrelevant))
        finally:
            session.close()

    def check(self) -> tuple[StoreProblem, ...]:
        """Every view compared with the contract, in one scan each, inside one snapshot of `url`; of `live_url` what is missing there alone.

        Raises as `snapshot` does.
        """
        live: tuple[StoreProblem, ...] = ()
        if self._live_url is not None:
            with self.snapshot(live=True) as primary:
                live = primary.problems
        with self.snapshot() as snapshot:
            there_alone = [problem for problem in live if problem not in snapshot.problems]
            return (*snapshot.problems, *there_alone, *compare(snapshot.present, self._sources, snapshot.session.rows))

    def _present(self, session: Session) -> Present:
        """The views that this user may read, with their columns and types. It is the first read: from here on the snapshot stands still."""
        found: dict[str, dict[str, str]] = {}
        for view, column, kind in session.rows(columns_of(self._schema)):
            if view in self._sources:
                found.setdefault(view, {})[column] = kind
        return found


class PostgresSnapshot:
    """The database as it stood when the snapshot was opened. `problems` names the views and columns that are missing."""

    def __init__(self, session: Session, present: Present, reading: Reading) -> None:
        self.session = session
        self.present = present
        self._reading = reading
        self.problems = missing(present)

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
        """Stream a view in stretches of about a megabyte; by account, in statements of at most 10 000 ids. See `Snapshot.read`."""
        refuse_misuse(view, accounts, noes_since, segments, now)
        late = None if noes_since is None else Late(noes_since, grants_too)
        if view.name not in self.present or segments == frozenset():
            return iter(())
        ids: list[list[str] | None] = [None] if accounts is None else list(stretches(_without_nul(accounts)))
        statements = (self._reading.select(view, accounts=some, late=late, segments=segments, now=now) for some in ids)
        return (sheet(view, names_of(view), part) for sql in statements for part in self.session.batches(sql) if part.num_rows)

    def server_time(self) -> datetime | None:
        """The server's clock as it is now, not as it was when the snapshot was opened."""
        return datetime.fromisoformat(str(self.session.rows(SERVER_TIME)[0][0]))


def _without_nul(accounts: pa.StringArray) -> pa.StringArray:
    """An id with a NUL is no text of PostgreSQL: no row has it."""
    return accounts.filter(pc.invert(pc.match_substring(accounts, "\0")))


def _connect(url: str, where: str) -> Any:
    failure: NestAudienceError | None = None
    try:
        return adbc_driver_postgresql.dbapi.connect(url)
    except FAILURES as error:
        failure = _unreachable(where, str(error))
    raise failure


def _unreachable(where: str, words: str) -> NestAudienceError:
    if any(word in words for word in _REFUSED):
        return NeedsFix("store_refused", where, "correct the URL's database, user or password, or grant the user what it needs")
    return TryAgain("store_unreachable", where, "start the database or mend the way to it; run again", after=30.0)


def _remedy(where: str, error: Exception) -> NestAudienceError:
    """The error to raise instead. SQLSTATE decides where the driver gives one, else its words, which go no further: they quote statements."""
    state = getattr(error, "sqlstate", None) or ""
    if state == _NO_RIGHT:
        return NeedsFix("store_refused", where, "grant the user SELECT on the views; `nestaudience contract` prints the role")
    if state[:2] in _PASSING or (not state and any(word in str(error) for word in _BROKEN)):
        return TryAgain("store_busy", where, "the database ended the read; run again", after=30.0)
    return NeedsFix("store_unreadable", where, "run a SELECT of each view as this user, and mend the one that fails")
