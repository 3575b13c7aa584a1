"""Stores of every kind from plain rows."""

from pathlib import Path
from typing import Final

from postgres_server import Postgres
from store_rows import Rows, write_parquet, write_postgres, write_sqlite

from nestaudience.customers.parquet import ParquetStore
from nestaudience.customers.port import CustomerStore
from nestaudience.customers.postgres import PostgresStore
from nestaudience.customers.sqlite import SqliteStore

KINDS: Final = ("sqlite", "postgres", "parquet")
IRRELEVANT = frozenset({"newsletter"})


class Building:
    """Makes stores of one kind: a new adapter is one more branch and one more parameter. In PostgreSQL the next takes the place of the last."""

    def __init__(self, kind: str, folder: Path, postgres: Postgres) -> None:
        self.kind = kind
        self._folder = folder
        self._postgres = postgres
        self._schema = postgres.name("store")
        self._made = 0

    def __call__(self, rows: Rows) -> CustomerStore:
        self._made += 1
        self._folder.mkdir(exist_ok=True)
        place = self._folder / f"store{self._made}"
        if self.kind == "postgres":
            schema = write_postgres(self._postgres.url, self._schema, rows)
            return PostgresStore(self._postgres.url, views_schema=schema, irrelevant_purposes=IRRELEVANT)
        if self.kind == "parquet":
            return ParquetStore(write_parquet(place, rows), irrelevant_purposes=IRRELEVANT)
        return SqliteStore(write_sqlite(place, rows), irrelevant_purposes=IRRELEVANT)
