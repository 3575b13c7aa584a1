"""Running sandboxes and clients on them, for every test of the sandbox."""

from collections.abc import Iterator

import pytest
from google_calls import clients, running_sandbox
from meta_calls import Graph, running_meta

from nestaudience.destinations.google_connection import Clients
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.meta_graph import MetaSandbox


@pytest.fixture
def sandbox() -> Iterator[DataManagerSandbox]:
    yield from running_sandbox()


@pytest.fixture
def google(sandbox: DataManagerSandbox) -> Iterator[Clients]:
    connected = clients(sandbox)
    yield connected
    connected.close()


@pytest.fixture
def meta() -> Iterator[MetaSandbox]:
    yield from running_meta()


@pytest.fixture
def graph(meta: MetaSandbox) -> Iterator[Graph]:
    connected = Graph(meta)
    yield connected
    connected.close()
