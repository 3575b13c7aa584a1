"""A whole installation in a folder, for tests: a generated store, keys, the example configuration, and a sandbox that listens.

    with SandboxWorld(tmp_path, accounts=4000, seed=1) as world:     # Google alone; `meta=True` for both platforms
        first = world.night()          # a real night; `sync.Outcome`
        world.advance_day()            # the clock and the store move on by a day
        plans = world.plan()           # what the next night would do; nothing is sent
        second = world.night()
        world.sandbox.members(account, list_id)   # what the platform holds

Nothing is replaced: the night runs through `open_parts`, the SDK and TLS, as for an operator. Only time and randomness are the test's
own.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from nestaudience import judging, sync
from nestaudience.delta.plan import AudiencePlan
from nestaudience.ledger.keys import KeyRing, create_keys
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.google_state import SandboxAccount
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount
from nestaudience.sandbox.site import META_ACCOUNTS
from nestaudience.sandbox.world import WorldFacts, build_store, reload_store
from nestaudience.sandbox.world_day import DayFacts, advance_store
from nestaudience.wiring import open_parts

FIRST_NIGHT = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
"""03:30 in Stockholm."""
ACCOUNTS = ("1110000001", "1110000002", "1110000003")
"""The ad accounts of the example configuration: computime, bokhyllan, hemkraft."""
EXAMPLE = Path(__file__).parents[1] / "config" / "nestaudience.toml"


class SandboxWorld:
    """Use as a context manager, or call `close`. `config` is the file to give to commands; `clock` belongs to all parts.

    With `smallest_list` 100 every list of 4000 accounts opens on the first night (about 200 to 300 people each). `meta` brings the other platform
    in, with a list for each segment; without it the configuration speaks of Google alone. `keep_requests`: Meta's stand-in keeps what it gets.
    """

    def __init__(
        self,
        folder: Path,
        *,
        accounts: int = 4000,
        seed: int = 1,
        smallest_list: int = 100,
        start: datetime = FIRST_NIGHT,
        meta: bool = False,
        keep_requests: bool = False,
    ) -> None:
        self.folder = folder
        self.config = folder / "nestaudience.toml"
        self.store = folder / "store.sqlite"
        self.clock = SandboxClock(start)
        self.randomness = Random(seed).randbytes
        self._seed = seed
        self._days = 0
        self._start = start
        self.facts: WorldFacts = build_store(self.store, seed=seed, accounts=accounts, now=start)
        self.sandbox = DataManagerSandbox({account: SandboxAccount() for account in ACCOUNTS}, self.clock)
        self.sandbox.start()
        (folder / "sandbox").mkdir()
        (folder / "sandbox" / "ca.pem").write_bytes(self.sandbox.ca_pem)
        (folder / "sandbox" / "token").write_text(self.sandbox.token)
        (folder / "sandbox" / "token").chmod(0o600)
        (folder / "keys").mkdir(mode=0o700)
        self.keys: KeyRing = create_keys(folder / "keys" / "keys.json", self.randomness)
        text = EXAMPLE.read_text("utf-8")
        self.meta: MetaSandbox | None = None
        if meta:
            self.meta = MetaSandbox(
                {account: MetaAccount() for account in META_ACCOUNTS}, self.clock, keep_requests=keep_requests
            )
            self.meta.start()
            (folder / "sandbox" / "meta-token").write_text(self.meta.token)
            (folder / "sandbox" / "meta-token").chmod(0o600)
            text = text.replace("127.0.0.1:50552", self.meta.endpoint)
        self.config.write_text(text if meta else google_alone(text), "utf-8")
        self.edit("localhost:50551", self.sandbox.endpoint)
        self.edit("smallest_list = 1000", f"smallest_list = {smallest_list}")

    def __enter__(self) -> "SandboxWorld":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the sandbox. The ledger and the configuration stay readable."""
        self.sandbox.stop()
        if self.meta is not None:
            self.meta.stop()

    def edit(self, old: str, new: str) -> None:
        """Change the configuration file. The old text must stand in it."""
        text = self.config.read_text("utf-8")
        assert old in text, f"the example configuration no longer says {old!r}"
        self.config.write_text(text.replace(old, new), "utf-8")

    def night(self) -> sync.Outcome:
        """One whole nightly run, now."""
        with open_parts(self.config, clock=self.clock.now, randomness=self.randomness) as parts:
            return sync.run(parts)

    def plan(self) -> tuple[AudiencePlan, ...]:
        """The dry run, now."""
        with (
            open_parts(self.config, clock=self.clock.now, randomness=self.randomness) as parts,
            judging.judge(parts, self.clock.now()) as judged,
        ):
            return judged.plans

    def advance(self, by: timedelta) -> None:
        """Let time pass; the sandbox applies what is due (40 minutes after a request). The store stays as it is, and says that it is up to date."""
        self.sandbox.advance(by)
        reload_store(self.store, self.clock.now())

    def advance_day(self) -> DayFacts:
        """Go to the next night's hour, and let the store live through the day: withdrawals, closures, newcomers."""
        self._days += 1
        self.sandbox.advance(self._start + timedelta(days=self._days) - self.clock.now())
        return advance_store(self.store, seed=self._seed + self._days, now=self.clock.now())

    def members(self) -> dict[str, frozenset[str]]:
        """What the platforms hold now: list id -> digests (lower-case hex)."""
        held = {
            remote.list_id: self.sandbox.members(account, remote.list_id)
            for account in ACCOUNTS
            for remote in self.sandbox.lists(account)
        }
        if self.meta is not None:
            held |= {
                remote.list_id: self.meta.members(account, remote.list_id)
                for account in META_ACCOUNTS
                for remote in self.meta.lists(account)
            }
        return held


def google_alone(text: str) -> str:
    """The example configuration without everything that speaks of Meta."""
    first, *blocks = re.split(r"(?m)^(?=\[\[|# --- )", text)
    speaks = re.compile(r'(?m)^(name|key|destination) = "meta"')
    return first + "".join(block for block in blocks if not speaks.search(block))
