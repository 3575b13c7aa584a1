"""The customer store as a SQLite file, read through ADBC as Arrow.

It opens the file read-only, reads everything of one snapshot in one transaction, and hands out facts as text and
addresses sealed. It parses no value, and it never writes. How the statements look: `sqlite_sql`; how a store is
compared with the contract: `sqlite_check`.

SQLite keeps its locks per process: another SQLite library in *this* process (the standard library's) that writes or
closes the same file while a snapshot is open breaks the snapshot. Writers in other processes are safe. In
rollback-journal mode an open snapshot makes writers wait; in WAL mode it does not.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import adbc_driver_manager
import adbc_driver_sqlite.dbapi
import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_sqlite import StatementOptions

from nestaudience.customers.contract import ACCOUNT, SEGMENT_MEMBER, VIEWS, View
from nestaudience.customers.port import Sheet, StoreProblem
from nestaudience.customers.sqlite_check import compare
from nestaudience.customers.sqlite_sql import EMAIL_READ, Reading, name
from nestaudience.errors import NeedsFix, NestAudienceError, TryAgain
from nestaudience.hashing.digests import Addresses

_BATCH_ROWS: Final = 65_536
_IDS_AT_ONCE: Final = 2_000
_UNREADABLE: Final = "\ufffd"
_FAILURES: Final = (adbc_driver_manager.Error, pa.ArrowException, OSError)
_WITH_NOES: Final = frozenset({"account", "consent_event", "rights_event"})


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
        self._prefix = views_prefix
        self._irrelevant = irrelevant_purposes
        self._busy_ms = round(busy_seconds * 1000)

    @contextmanager
    def snapshot(self) -> Iterator["SqliteSnapshot"]:
        """One read transaction. It stands still from here on, whatever others write; one thread uses it.

        Raises `NeedsFix` (`store_missing`, `store_unreadable`), `TryAgain` (`store_busy`).
        """
        connection = self._connect()
        session = _Session(connection)
        try:
            session.rows(f"PRAGMA busy_timeout = {self._busy_ms}")
            present = self._present(session)
            yield SqliteSnapshot(session, present, Reading(present, self._prefix, self._irrelevant))
        finally:
            session.close()

    def check(self) -> tuple[StoreProblem, ...]:
        """Every view compared with the contract, in one scan each, inside one snapshot. Raises as `snapshot` does."""
        with self.snapshot() as snapshot:
            return (*snapshot.problems, *compare(snapshot.present, self._prefix, snapshot.session.rows))

    def _connect(self) -> Any:
        if not self._path.is_file():
            raise NeedsFix("store_missing", "store.path", "name the SQLite file that holds the views")
        uri = self._path.absolute().as_uri() + "?mode=ro"
        failure: NestAudienceError | None = None
        try:
            return adbc_driver_sqlite.dbapi.connect(uri)
        except _FAILURES as error:
            failure = _remedy(error)
        raise failure

    def _present(self, session: "_Session") -> dict[str, frozenset[str]]:
        """The views that can be read, with their columns in lower case. Its first statement opens the read transaction."""
        names = {str(row[0]).lower() for row in session.rows("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
        found = {}
        for view in VIEWS:
            if (self._prefix + view.name).lower() in names:
                columns = session.columns(f"SELECT * FROM {name(self._prefix + view.name)} LIMIT 0")  # noqa: S608 - a quoted name
                if columns is not None:
                    found[view.name] = columns
        return found


class SqliteSnapshot:
    """The file as it stood when the snapshot was opened. `problems` names the views and columns that are missing."""

    def __init__(self, session: "_Session", present: dict[str, frozenset[str]], reading: Reading) -> None:
        self.session = session
        self.present = present
        self._reading = reading
        self.problems = _missing(present)

    def read(
        self,
        view: View,
        *,
        accounts: pa.StringArray | None = None,
        noes_since: datetime | None = None,
        segments: frozenset[tuple[str, str]] | None = None,
        now: datetime | None = None,
    ) -> Iterator[Sheet]:
        """Stream a view in stretches of about 65 000 rows; by account, in statements of at most 2 000 ids. See `Snapshot.read`.

        Text that is not valid UTF-8 reads as one U+FFFD, which no rule accepts as a value.
        """
        _refuse_misuse(view, accounts, noes_since, segments, now)
        if view.name not in self.present or segments == frozenset():
            return iter(())
        ids: list[list[str] | None] = [None] if accounts is None else list(_stretches(accounts))
        statements = (
            self._reading.select(view, accounts=some, noes_since=noes_since, segments=segments, now=now) for some in ids
        )
        names = (*view.names, EMAIL_READ) if view is ACCOUNT else view.names
        return (sheet for sql in statements for sheet in self._sheets(view, names, sql))

    def _sheets(self, view: View, names: Sequence[str], sql: str) -> Iterator[Sheet]:
        for number, batch in enumerate(self.session.batches(sql)):
            part = batch
            if number == 0:
                _expect_first_row(view, batch)
                part = batch.slice(1)
            if part.num_rows:
                yield _sheet(view, names, _valid_text(part))


class _Session:
    """One connection in one read transaction; at most one result is open at a time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._open: set[Any] = set()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """A small result."""
        failure: NestAudienceError | None = None
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall())
        except _FAILURES as error:
            failure = _remedy(error)
        raise failure

    def columns(self, sql: str) -> frozenset[str] | None:
        """The columns of a statement in lower case; None where it names something that does not exist."""
        failure: NestAudienceError | None = None
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql)
                return frozenset(str(column[0]).lower() for column in cursor.description)
        except _FAILURES as error:
            failure = None if "no such" in str(error) else _remedy(error)
        if failure is None:
            return None
        raise failure

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """A large result, stretch by stretch."""
        cursor = self._connection.cursor(adbc_stmt_kwargs={StatementOptions.BATCH_ROWS.value: str(_BATCH_ROWS)})
        self._open.add(cursor)
        failure: NestAudienceError | None = None
        try:
            cursor.execute(sql)
            with cursor.fetch_record_batch() as reader:
                yield from reader
        except _FAILURES as error:
            failure = _remedy(error)
        finally:
            self._open.discard(cursor)
            cursor.close()
        if failure is not None:
            raise failure

    def close(self) -> None:
        """End the transaction, and whatever is still being read."""
        for cursor in self._open:
            cursor.close()
        self._connection.close()


def _remedy(error: Exception) -> NestAudienceError:
    """The error to raise instead. The driver's words decide which, and go no further: they quote statements and paths."""
    words = str(error)
    if "locked" in words or "busy" in words:
        return TryAgain("store_busy", "store.path", "another program has locked the file; run again", after=30.0)
    return NeedsFix("store_unreadable", "store.path", "check that the file is an intact SQLite database that this user may read")


def _missing(present: dict[str, frozenset[str]]) -> tuple[StoreProblem, ...]:
    problems = []
    for view in VIEWS:
        if view.name not in present:
            code = "optional_view_missing" if view.needed == "if_used" else "view_missing"
            problems.append(StoreProblem(code, view.name, "create the view, or repair it; `nestaudience contract` prints it"))
            continue
        problems.extend(
            StoreProblem("column_missing", f"{view.name}.{column}", "add the column to the view; until then it reads as null")
            for column in view.names
            if column not in present[view.name]
        )
    return tuple(problems)


def _refuse_misuse(
    view: View,
    accounts: pa.StringArray | None,
    noes_since: datetime | None,
    segments: frozenset[tuple[str, str]] | None,
    now: datetime | None,
) -> None:
    if accounts is not None and not view.has_account:
        raise ValueError("this view has no accounts")
    if noes_since is not None and (view.name not in _WITH_NOES or noes_since.tzinfo is None):
        raise ValueError("noes_since needs a view that holds noes, and a time zone")
    if segments is not None and view is not SEGMENT_MEMBER:
        raise ValueError("only segment_member is read by segment")
    if (now is not None) != (view is ACCOUNT) or (now is not None and now.tzinfo is None):
        raise ValueError("account, and only account, is read at a time with a zone: `now`")


def _stretches(accounts: pa.StringArray) -> Iterator[list[str]]:
    distinct = pc.drop_null(pc.unique(accounts))
    for start in range(0, len(distinct), _IDS_AT_ONCE):
        yield [str(account) for account in distinct.slice(start, _IDS_AT_ONCE).to_pylist()]


def _expect_first_row(view: View, batch: pa.RecordBatch) -> None:
    """The row of empty text must be first, or rows of people could be dropped for it."""
    if not all(pa.types.is_string(column.type) and column[0].as_py() == "" for column in batch.columns):
        raise NeedsFix("store_driver_changed", view.name, "use the tested version of the SQLite driver")


def _valid_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, with every text that is not UTF-8 replaced. SQLite does not enforce an encoding."""
    valid = True
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        valid = False
    return batch if valid else pa.RecordBatch.from_arrays([_repaired(c) for c in batch.columns], names=batch.schema.names)


def _repaired(column: Any) -> pa.StringArray:
    """Row by row, and only for a stretch that holds such a text."""
    return pa.array([_decoded(raw) for raw in column.cast(pa.binary()).to_pylist()], pa.string())


def _decoded(raw: bytes | None) -> str | None:
    if raw is None:
        return None
    text = raw.decode("utf-8", "replace")
    return text if text.encode() == raw else _UNREADABLE


def _sheet(view: View, names: Sequence[str], batch: pa.RecordBatch) -> Sheet:
    columns: dict[str, Any] = dict(zip(names, batch.columns, strict=True))
    addresses = Addresses(columns.pop("email")) if view.has_email else None
    return Sheet(pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)), addresses)
