"""The customer store as a SQLite file, read through ADBC as Arrow.

It opens the file read-only, reads everything of one snapshot in one transaction, and hands out facts as text and
addresses sealed. It parses no value, and it never writes. How the statements look: `sqlite_sql`; how a store is
compared with the contract: `sqlite_check`.

SQLite keeps its locks per process: another SQLite library in *this* process (the standard library's) that writes or
closes the same file while a snapshot is open breaks the snapshot. Writers in other processes are safe. In
rollback-journal mode an open snapshot makes writers wait; in WAL mode it does not.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import adbc_driver_sqlite.dbapi
import pyarrow as pa
from adbc_driver_sqlite import StatementOptions

from nestaudience.customers.adbc_session import FAILURES, Session
from nestaudience.customers.contract import VIEWS, View
from nestaudience.customers.port import Sheet, StoreProblem
from nestaudience.customers.reading_sql import Late, Present, Reading, name
from nestaudience.customers.sheets import BATCH_ROWS, missing, names_of, refuse_misuse, sheet, stretches
from nestaudience.customers.sqlite_check import compare
from nestaudience.customers.sqlite_sql import SqliteDialect
from nestaudience.errors import NeedsFix, NestAudienceError, TryAgain


class SqliteStore:
    """A SQLite file that has the contract's views, each named `views_prefix` + its name.

    `irrelevant_purposes` are the consents that the configuration names as known and irrelevant: their withdrawal is
    no reason to read an address. `busy_seconds` is how long to wait for a writer that has locked the file.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        views_prefix: str = "",
        irrelevant_purposes: frozenset[str] = frozenset(),
        busy_seconds: float = 5.0,
    ) -> None:
        self._path = Path(path)
        self._sources = {view.name: name(views_prefix + view.name) for view in VIEWS}
        self._irrelevant = irrelevant_purposes
        self._busy_ms = round(busy_seconds * 1000)

    @contextmanager
    def snapshot(self, *, live: bool = False) -> Iterator["SqliteSnapshot"]:
        """One read transaction. It stands still from here on, whatever others write; one thread uses it. A file is always live.

        Raises `NeedsFix` (`store_missing`, `store_unreadable`), `TryAgain` (`store_busy`).
        """
        session = Session(self._connect(), _remedy, options={StatementOptions.BATCH_ROWS.value: str(BATCH_ROWS)})
        try:
            session.rows(f"PRAGMA busy_timeout = {self._busy_ms}")
            present = self._present(session)
            yield SqliteSnapshot(session, present, Reading(SqliteDialect(), present, self._sources, self._irrelevant))
        finally:
            session.close()

    def check(self) -> tuple[StoreProblem, ...]:
        """Every view compared with the contract, in one scan each, inside one snapshot. Raises as `snapshot` does."""
        with self.snapshot() as snapshot:
            return (*snapshot.problems, *compare(snapshot.present, self._sources, snapshot.session.rows))

    def _connect(self) -> Any:
        if not self._path.is_file():
            raise NeedsFix("store_missing", "store.path", "name the SQLite file that holds the views")
        uri = self._path.absolute().as_uri() + "?mode=ro"
        failure: NestAudienceError | None = None
        try:
            return adbc_driver_sqlite.dbapi.connect(uri)
        except FAILURES as error:
            failure = _remedy(error)
        raise failure

    def _present(self, session: Session) -> Present:
        """The views that can be read, with their columns in lower case. Its first statement opens the read transaction."""
        names = {
            name(str(row[0])).lower() for row in session.rows("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        }
        found: dict[str, Mapping[str, str]] = {}
        for view, source in self._sources.items():
            if source.lower() in names:
                columns = session.columns(f"SELECT * FROM {source} LIMIT 0", absent="no such")  # noqa: S608 - a quoted name
                if columns is not None:
                    found[view] = dict.fromkeys(columns, "")
        return found


class SqliteSnapshot:
    """The file as it stood when the snapshot was opened. `problems` names the views and columns that are missing."""

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
        """Stream a view in stretches of about 65 000 rows; by account, in statements of at most 10 000 ids. See `Snapshot.read`.

        Text that is not valid UTF-8 reads as one U+FFFD, which no rule accepts as a value.
        """
        refuse_misuse(view, accounts, noes_since, segments, now)
        late = None if noes_since is None else Late(noes_since, grants_too)
        if view.name not in self.present or segments == frozenset():
            return iter(())
        ids: list[list[str] | None] = [None] if accounts is None else list(stretches(accounts))
        statements = (self._reading.select(view, accounts=some, late=late, segments=segments, now=now) for some in ids)
        return (part for sql in statements for part in self._sheets(view, sql))

    def server_time(self) -> datetime | None:
        """None: a file has no clock of its own."""
        return None

    def _sheets(self, view: View, sql: str) -> Iterator[Sheet]:
        for number, batch in enumerate(self.session.batches(sql)):
            part = batch
            if number == 0:
                _expect_first_row(view, batch)
                part = batch.slice(1)
            if part.num_rows:
                yield sheet(view, names_of(view), part)


def _remedy(error: Exception) -> NestAudienceError:
    """The error to raise instead. The driver's words decide which, and go no further: they quote statements and paths."""
    words = str(error)
    if "locked" in words or "busy" in words:
        return TryAgain("store_busy", "store.path", "another program has locked the file; run again", after=30.0)
    return NeedsFix("store_unreadable", "store.path", "check that the file is an intact SQLite database that this user may read")


def _expect_first_row(view: View, batch: pa.RecordBatch) -> None:
    """The row of empty text must be first, or rows of people could be dropped for it."""
    if not all(pa.types.is_string(column.type) and column[0].as_py() == "" for column in batch.columns):
        raise NeedsFix("store_driver_changed", view.name, "use the tested version of the SQLite driver")
