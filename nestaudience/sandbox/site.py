"""A folder in which everything runs without an account: configuration, keys, a generated store, and the sandbox's certificate and token.

It lays the folder out and starts the sandbox; it runs no flow. The example configuration is used as it is but for the sandbox's port.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from nestaudience.errors import NeedsFix
from nestaudience.ledger.keys import create_keys
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.google_state import SandboxAccount
from nestaudience.vocabulary import STOCKHOLM

ACCOUNTS: Final = ("1110000001", "1110000002", "1110000003")
"""The ad accounts of the example configuration."""
PORT: Final = 50551
MARK: Final = ".nestaudience-sandbox"
"""A folder with this file may be emptied."""
EXAMPLE: Final = Path(__file__).parents[2] / "config" / "nestaudience.toml"


@dataclass(frozen=True, slots=True)
class Site:
    """The folder and what lies where in it."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.folder / "nestaudience.toml"

    @property
    def store(self) -> Path:
        """The customer store."""
        return self.folder / "store.sqlite"

    @property
    def keys(self) -> Path:
        """The key file."""
        return self.folder / "keys" / "keys.json"


def lay_out(folder: Path, *, endpoint: str, randomness: Callable[[int], bytes], smallest_list: int | None = None) -> Site:
    """An empty folder with configuration and keys. A folder that an earlier demo made is emptied; any other content is refused.

    Raises `NeedsFix`: `folder_not_empty`, `example_missing`.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            raise NeedsFix(
                "folder_not_empty", "the demo's folder", "name an empty folder with --folder; nothing in this one was touched"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("made by nestaudience; may be deleted\n")
    if not EXAMPLE.exists():
        raise NeedsFix("example_missing", "config/nestaudience.toml", "run from a clone of the repository")
    text = EXAMPLE.read_text("utf-8").replace(f"localhost:{PORT}", endpoint)
    if smallest_list is not None:
        text = text.replace("smallest_list = 1000 ", f"smallest_list = {smallest_list} ")
    site = Site(folder)
    site.config.write_text(text, "utf-8")
    create_keys(site.keys, randomness)
    return site


def open_sandbox(clock: SandboxClock, *, port: int = 0, apply_after: timedelta = timedelta(minutes=40)) -> DataManagerSandbox:
    """The sandbox of the example's ad accounts, not yet started. `publish` writes what its clients need."""
    return DataManagerSandbox({account: SandboxAccount() for account in ACCOUNTS}, clock, apply_after=apply_after, port=port)


def publish(folder: Path, sandbox: DataManagerSandbox) -> None:
    """Write the running sandbox's certificate, token and address into the folder."""
    place = folder / "sandbox"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    (place / "ca.pem").write_bytes(sandbox.ca_pem)
    token = place / "token"
    token.touch(mode=0o600)
    token.write_text(sandbox.token)
    (place / "endpoint").write_text(sandbox.endpoint)


def start_of_night(day: datetime) -> datetime:
    """03:30 in Stockholm on this day, in UTC."""
    local = day.astimezone(STOCKHOLM).replace(hour=3, minute=30, second=0, microsecond=0)
    return local.astimezone(day.tzinfo)
