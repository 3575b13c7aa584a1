"""A running sandbox and the real SDK's clients on it, for every test of the sandbox."""

from collections.abc import Iterator

import pytest
from google_calls import clients, running_sandbox

from nestaudience.destinations.google_connection import Clients
from nestaudience.sandbox.data_manager import DataManagerSandbox


@pytest.fixture
def sandbox() -> Iterator[DataManagerSandbox]:
    yield from running_sandbox()


@pytest.fixture
def google(sandbox: DataManagerSandbox) -> Iterator[Clients]:
    connected = clients(sandbox)
    yield connected
    connected.close()
