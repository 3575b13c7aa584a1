"""The local Data Manager in a process of its own, so that what the sending side needs can be measured alone.

with google_apart() as destination:
    ...
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection

from nestaudience.destinations.google_connection import GoogleDataManagerSettings, SandboxEndpoint, SandboxToken
from nestaudience.destinations.google_data_manager import GoogleDataManager
from nestaudience.destinations.port import Account
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.google_state import SandboxAccount

ACCOUNT = Account("1112223333")


def serve(line: Connection) -> None:
    """Run the sandbox until somebody says something."""
    start = datetime(2026, 11, 22, 3, tzinfo=UTC)
    with DataManagerSandbox({ACCOUNT.account_id: SandboxAccount()}, SandboxClock(start)) as sandbox:
        line.send((sandbox.endpoint, sandbox.ca_pem, sandbox.token))
        line.recv()


@contextmanager
def google_apart() -> Iterator[GoogleDataManager]:
    """The destination on a sandbox in another process."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there,))
    process.start()
    endpoint, ca_pem, token = here.recv()
    settings = GoogleDataManagerSettings(SandboxToken(token), terms_accepted=True, endpoint=SandboxEndpoint(endpoint, ca_pem))
    destination = GoogleDataManager(settings)
    try:
        yield destination
    finally:
        destination.close()
        here.send("end")
        process.join(20)
        if process.is_alive():
            process.terminate()
