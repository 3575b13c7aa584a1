"""A ledger on each database: a test that asks for `place` or `ledger` runs on both, without having to say so."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from ledger_builder import BuiltLedger

from nestaudience.ledger.engine import Place, PostgresLedger

_NUMBERS = count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow_on_postgres") and "postgres" in item.name:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where a ledger may be born: a file that is not there yet, or a schema that is not."""
    if request.param == "sqlite":
        yield tmp_path / "ledger.db"
        return
    server = request.getfixturevalue("postgres")
    yield PostgresLedger(server.url, f"ledger_{next(_NUMBERS)}")
    server.run("SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE application_name = 'nestaudience'")


@pytest.fixture
def ledger(place: Place, tmp_path: Path) -> BuiltLedger:
    return BuiltLedger(tmp_path, place=place)
