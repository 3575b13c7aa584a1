"""One connection of an ADBC driver in one read transaction: small results as rows, large ones as a stream of batches.

It knows no dialect. The driver's words decide which error is raised, by the adapter's own `remedy`, and go no further: they quote statements.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import adbc_driver_manager
import pyarrow as pa

from nestaudience.errors import NestAudienceError

FAILURES: Final = (adbc_driver_manager.Error, pa.ArrowException, OSError)
"""What a driver raises."""
Remedy = Callable[[Exception], NestAudienceError]


class Session:
    """One connection; `options` are the driver's for large results. Where `alone` holds, a large result ends the one before it."""

    def __init__(self, connection: Any, remedy: Remedy, *, options: Mapping[str, str] | None = None, alone: bool = False) -> None:
        self._connection = connection
        self._remedy = remedy
        self._options = dict(options or {})
        self._alone = alone
        self._open: set[Any] = set()

    def run(self, sql: str) -> None:
        """A statement that has no result."""
        failure: NestAudienceError | None = None
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql)
        except FAILURES as error:
            failure = self._remedy(error)
        if failure is not None:
            raise failure

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """A small result."""
        self._make_room()
        failure: NestAudienceError | None = None
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall())
        except FAILURES as error:
            failure = self._remedy(error)
        raise failure

    def columns(self, sql: str, *, absent: str) -> frozenset[str] | None:
        """The columns of a statement in lower case; None where the driver says `absent`: it names something that does not exist."""
        failure: NestAudienceError | None = None
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql)
                return frozenset(str(column[0]).lower() for column in cursor.description)
        except FAILURES as error:
            failure = None if absent in str(error) else self._remedy(error)
        if failure is None:
            return None
        raise failure

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """A large result, stretch by stretch. Raises `RuntimeError` where another result has ended it."""
        self._make_room()
        cursor = self._connection.cursor(adbc_stmt_kwargs=self._options)
        self._open.add(cursor)
        failure: NestAudienceError | None = None
        try:
            cursor.execute(sql)
            with cursor.fetch_record_batch() as reader:
                for batch in reader:
                    yield batch
                    if cursor not in self._open:
                        raise RuntimeError("this store reads one view at a time: finish one read before the next")
        except FAILURES as error:
            failure = self._remedy(error)
        finally:
            self._open.discard(cursor)
            cursor.close()
        if failure is not None:
            raise failure

    def _make_room(self) -> None:
        """Two results that share one wire would read each other's rows: the older one ends, and says so when it is asked for more."""
        if self._alone:
            self._end_all()

    def _end_all(self) -> None:
        open_now, self._open = self._open, set()
        for cursor in open_now:
            cursor.close()

    def close(self) -> None:
        """End the transaction, and whatever is still being read."""
        self._end_all()
        self._connection.close()
