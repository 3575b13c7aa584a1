"""A folder in which everything runs without an account: configuration, keys, a generated store, and what the sandbox's clients need.

It lays the folder out and starts the platforms' stand-ins; it runs no flow. The example configuration is used as it is but for the days and the
ports.
"""

import re
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from nestaudience.errors import NeedsFix
from nestaudience.ledger.keys import create_keys
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.google_state import SandboxAccount
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount
from nestaudience.vocabulary import STOCKHOLM

ACCOUNTS: Final = ("1110000001", "1110000002", "1110000003")
"""The Google ad accounts of the example configuration."""
META_ACCOUNTS: Final = ("2220000001", "2220000002", "2220000003")
"""The Meta ad accounts of the example configuration."""
PORT: Final = 50551
"""Google's stand-in; Meta's listens on the next one."""
GOOGLE_TAKES: Final = timedelta(minutes=40)
"""How long a request to Google's stand-in takes before it shows on a list."""
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


class Platforms:
    """Both platforms' stand-ins on this machine, with one clock. A context manager that starts and stops them."""

    def __init__(
        self, clock: SandboxClock, *, port: int = 0, google_takes: timedelta = GOOGLE_TAKES, keep_requests: bool = False
    ) -> None:
        self.clock = clock
        google, meta = ({a: SandboxAccount() for a in ACCOUNTS}, {a: MetaAccount() for a in META_ACCOUNTS})
        self.google = DataManagerSandbox(google, clock, google_takes, port, keep_requests=keep_requests)
        self.meta = MetaSandbox(meta, clock, port=port + 1 if port else 0, keep_requests=keep_requests)
        self._stack = ExitStack()

    def __enter__(self) -> "Platforms":
        with ExitStack() as stack:
            stack.enter_context(self.google)
            stack.enter_context(self.meta)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open_google_ads(self, folder: Path, *, port: int = 0, takes: timedelta = GOOGLE_TAKES) -> str:
        """Start the other way to Google's lists, and write its certificate into the folder; its endpoint. It stops with the rest."""
        from nestaudience.sandbox.google_ads import GoogleAdsSandbox  # its SDK is large, and few use it

        ads = self._stack.enter_context(GoogleAdsSandbox(self.google.state, takes, port))
        (folder / "sandbox" / "ads-ca.pem").write_bytes(ads.ca_pem)
        (folder / "sandbox" / "ads-endpoint").write_text(ads.endpoint)
        return ads.endpoint

    def members(self) -> dict[tuple[str, str, str], frozenset[str]]:
        """(platform, ad account, list's name) -> who is on it now, as lower-case hex."""
        held = {}
        for account in ACCOUNTS:
            for remote in self.google.lists(account):
                held["google", account, remote.display_name] = self.google.members(account, remote.list_id)
        for account in META_ACCOUNTS:
            for audience in self.meta.lists(account):
                held["meta", account, audience.display_name] = self.meta.members(account, audience.list_id)
        return held

    def advance(self, by: timedelta) -> None:
        """Move the clock, and apply what became due."""
        self.google.advance(by)
        self.meta.advance(timedelta(0))


def lay_out(
    folder: Path,
    *,
    platforms: Platforms,
    randomness: Callable[[int], bytes],
    smallest_list: int | None = None,
    probe_people: int | None = None,
) -> Site:
    """An empty folder with configuration and keys. A folder that an earlier demo made is emptied; any other content is refused.

    `smallest_list` and `probe_people` replace the example's own numbers.

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
    text = with_days(with_endpoints(EXAMPLE.read_text("utf-8"), platforms), platforms.clock.now())
    if smallest_list is not None:
        text = text.replace("smallest_list = 1000 ", f"smallest_list = {smallest_list} ")
    if probe_people is not None:
        text = text.replace("probe_people = 1000 ", f"probe_people = {probe_people} ")
    site = Site(folder)
    site.config.write_text(text, "utf-8")
    create_keys(site.keys, randomness)
    return site


def with_endpoints(text: str, platforms: Platforms) -> str:
    """The example configuration's text with the addresses at which these stand-ins listen."""
    return text.replace(f"localhost:{PORT}", platforms.google.endpoint).replace(f"127.0.0.1:{PORT + 1}", platforms.meta.endpoint)


def with_days(text: str, now: datetime) -> str:
    """The example configuration's text with approvals and confirmations of a month ago: an example grows old, a demo does not."""
    day = (now - timedelta(days=30)).date().isoformat()
    return re.sub(r"\b(\w+_(?:confirmed|accepted)_on|approved_on) = \d{4}-\d\d-\d\d", rf"\1 = {day}", text)


def publish(folder: Path, platforms: Platforms) -> None:
    """Write the running stand-ins' certificate, tokens and addresses into the folder."""
    place = folder / "sandbox"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    (place / "ca.pem").write_bytes(platforms.google.ca_pem)
    for name, text in (("token", platforms.google.token), ("meta-token", platforms.meta.token)):
        secret = place / name
        secret.touch(mode=0o600)
        secret.write_text(text)
    (place / "endpoint").write_text(platforms.google.endpoint)
    (place / "meta-endpoint").write_text(platforms.meta.endpoint)


def start_of_night(day: datetime) -> datetime:
    """03:30 in Stockholm on this day, in UTC."""
    local = day.astimezone(STOCKHOLM).replace(hour=3, minute=30, second=0, microsecond=0)
    return local.astimezone(day.tzinfo)
