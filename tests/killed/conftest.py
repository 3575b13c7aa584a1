"""One past for all files here: it is opened again by each test, and never changed."""

import pytest
from scenes import Past, live_until_today


@pytest.fixture(scope="session")
def today(tmp_path_factory: pytest.TempPathFactory) -> Past:
    return live_until_today(tmp_path_factory.mktemp("today"))
