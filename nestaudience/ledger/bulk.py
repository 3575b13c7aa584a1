"""Columns in and out of the ledger's file, by the hundred thousand: Arrow through ADBC, beside the connection of `engine`.

Rows written here mean nothing until a transaction of the log names their batch; a crash in between leaves rows that nobody reads.
It holds no rule.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import adbc_driver_sqlite.dbapi as adbc
import pyarrow as pa

from nestaudience.errors import MustStop

_BATCH_ROWS: Final = "65536"


class Bulk:
    """Bulk reads and appends on one SQLite file. Every failure is `MustStop`: `ledger_unavailable`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, query: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of a query as Arrow, in stretches; the columns are cast to `schema` (binary to fixed size included).

        The query's columns have no null: the driver takes a column's type from its first rows.
        """
        failed = False
        try:
            with contextlib.closing(self._connect()) as connection, connection.cursor() as cursor:
                cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": _BATCH_ROWS})
                cursor.execute(query)
                with cursor.fetch_record_batch() as reader:
                    for batch in reader:
                        if batch.num_rows:
                            columns = [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)]
                            yield pa.RecordBatch.from_arrays(columns, schema=schema)
        except (adbc.Error, pa.ArrowException, OSError):
            failed = True
        if failed:
            raise _unavailable()

    def append(self, table: str, rows: pa.Table) -> None:
        """Append rows durably, in one transaction; columns that are left out get their defaults."""
        failed = False
        try:
            with contextlib.closing(self._connect()) as connection, connection.cursor() as cursor:
                cursor.execute("PRAGMA synchronous=FULL")
                cursor.adbc_ingest(table, rows, mode="append")
                connection.commit()
        except (adbc.Error, pa.ArrowException, OSError):
            failed = True
        if failed:
            raise _unavailable()

    def _connect(self) -> adbc.Connection:
        return adbc.connect(f"{self._path.absolute().as_uri()}?mode=rw")


def _unavailable() -> MustStop:
    return MustStop(
        "ledger_unavailable", "the ledger", "nothing is sent without it: check the disk's room, the file's rights and its locks"
    )
