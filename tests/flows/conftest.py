"""One real Prefect server for all flow tests, with a home and a database of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import SETTINGS


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The server's database file. It starts once a session (about twelve seconds)."""
    assert os.environ["DO_NOT_TRACK"] == SETTINGS["DO_NOT_TRACK"], "Prefect's settings are made before Prefect is imported"
    home = tmp_path_factory.mktemp("prefect_home")
    os.environ["PREFECT_HOME"] = str(home)
    os.environ["PREFECT_SERVER_LOGGING_LEVEL"] = "ERROR"
    from prefect.settings import PREFECT_HOME, get_current_settings, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with temporary_settings({PREFECT_HOME: home}), prefect_test_harness(server_startup_timeout=120):
        address = get_current_settings().server.database.connection_url
        assert address is not None
        yield Path(address.get_secret_value().partition(":///")[2])
