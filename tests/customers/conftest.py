"""A function that builds a store from plain rows, for every kind of adapter."""

from collections.abc import Callable
from pathlib import Path

import pytest
from store_rows import Rows, write_sqlite

from nestaudience.customers.port import CustomerStore
from nestaudience.customers.sqlite import SqliteStore


@pytest.fixture(params=["sqlite"])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Rows], CustomerStore]:
    """A function rows -> store, for every kind of adapter: a new adapter is one more branch and one more parameter."""
    made = 0

    def make(rows: Rows) -> CustomerStore:
        nonlocal made
        made += 1
        assert request.param == "sqlite"
        return SqliteStore(write_sqlite(tmp_path / f"store{made}.db", rows), irrelevant_purposes=frozenset({"newsletter"}))

    return make
