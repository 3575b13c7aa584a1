"""A function that builds a store from plain rows, for every kind of adapter."""

from pathlib import Path

import pytest
from postgres_server import Postgres
from store_kinds import KINDS, Building
from store_rows import Build


@pytest.fixture(params=KINDS)
def build(request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres) -> Build:
    """A function rows -> store, for every kind of adapter."""
    return Building(request.param, tmp_path, postgres)
