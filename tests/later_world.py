"""An installation that lived through a first night, opened again as often as a test file needs it, each time in a folder of its own.

    past = first_night(folder)                  # once: two nights of which the second only settles, then a day passes
    with LaterWorld(past, tmp_path) as world:   # as `SandboxWorld`, at the hour of the next night
        world.store_file("DROP VIEW account")
        outcome = world.night()
        world.left("withdrew_all"), world.joined(), world.sent_to(key)

Store, ledger, keys and head are copied; the sandbox is a new one with the same lists and people on the same port, so that the configuration is the
accepted one. It keeps every request that it gets.
"""

import shutil
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from google.ads import datamanager_v1 as dm
from lists_by_rule import rows_of
from nights import ACCOUNTS, SandboxWorld

from nestaudience import judging, releasing
from nestaudience.customers.sqlite import SqliteStore
from nestaudience.ledger.memory import RemoteList
from nestaudience.sandbox import google_state
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.google_state import SandboxAccount
from nestaudience.sandbox.world import StoreFile
from nestaudience.sandbox.world_day import DayFacts
from nestaudience.vocabulary import AudienceKey, Cause
from nestaudience.wiring import open_evidence, open_parts

LISTS = (
    AudienceKey("computime/bought_audio_12m/google"),
    AudienceKey("computime/viewed_laptops_30d/google"),
    AudienceKey("bokhyllan/crime_readers/google"),
    AudienceKey("bokhyllan/lapsed_readers/google"),
    AudienceKey("hemkraft/coffee_lovers/google"),
)
"""The audiences of the example configuration, in its order."""


@dataclass(frozen=True)
class Past:
    """What happened before: the world, the people on each platform list, what the day changed, everybody's address before it, and the faults that the
    store has anyway, as (place, code).
    """

    world: SandboxWorld
    lists: tuple[tuple[str, google_state.RemoteList], ...]
    day: DayFacts
    address: dict[str, str]
    faults: frozenset[tuple[str, str]]
    now: datetime


def first_night(folder: Path, *, accounts: int = 4000) -> Past:
    """Live through a first night, its results, and a day."""
    with SandboxWorld(folder, accounts=accounts) as world:
        world.night()
        world.advance(timedelta(hours=1))
        world.night()
        address = {str(row["account_id"]): str(row["email"]) for row in rows_of(world.store).account}
        lists = tuple((account, remote) for account in ACCOUNTS for remote in world.sandbox.lists(account))
        day = world.advance_day()
        faults = frozenset((problem.where, problem.code) for problem in SqliteStore(world.store).check())
        return Past(world, lists, day, address, faults, world.clock.now())


class LaterWorld(SandboxWorld):
    """One more opening of a past. `accounts` replaces the sandbox's ad accounts (tokens, terms)."""

    def __init__(self, past: Past, folder: Path, *, accounts: dict[str, SandboxAccount] | None = None) -> None:
        shutil.copytree(past.world.folder, folder, dirs_exist_ok=True)
        self.folder, self.past = folder, past
        self.config, self.store = folder / "nestaudience.toml", folder / "store.sqlite"
        self.clock = SandboxClock(past.now)
        self.randomness = Random(str(folder)).randbytes
        self.facts, self.keys = past.world.facts, past.world.keys
        self._seed, self._days, self._start = 1, 1, past.now - timedelta(days=1)
        port = int(past.world.sandbox.endpoint.rpartition(":")[2])
        mine = accounts or {account: SandboxAccount() for account in ACCOUNTS}
        self.sandbox = DataManagerSandbox(mine, self.clock, port=port, token=past.world.sandbox.token, keep_requests=True)
        for account, remote in sorted(past.lists, key=lambda pair: pair[1].list_id):
            made = self.sandbox.add_list(account, replace(remote, members=dict(remote.members)))
            assert made.list_id == remote.list_id
        self.meta = None
        self.before = self.members()
        self.sandbox.start()
        (folder / "sandbox" / "ca.pem").write_bytes(self.sandbox.ca_pem)

    def store_file(self, *statements: str) -> None:
        """Change the store, through the driver that the system reads it with."""
        with StoreFile(self.store) as store:
            store.run(*statements)

    def change_view(self, view: str, old: str, new: str) -> None:
        """Make one of the store's views anew with other words."""
        with StoreFile(self.store) as store:
            text = str(store.rows(f"SELECT sql FROM sqlite_master WHERE name = '{view}'")[0][0])
            assert old in text
            store.run(f"DROP VIEW {view}", text.replace(old, new))

    def accept_the_store(self) -> None:
        """A person looks at a store that went back in time, and lets it through, list by list."""
        with open_parts(self.config, clock=self.clock.now, randomness=self.randomness) as parts:
            with judging.judge(parts, self.clock.now()) as judged:
                held = [plan for plan in judged.plans if "source_rollback" in [gate.code for gate in plan.gates]]
                shown = [releasing.offer(plan, parts.settings.digest) for plan in held]
            for each in shown:
                releasing.release(parts, each, Cause.FEED_FAULT, "")

    def remote(self, key: AudienceKey) -> RemoteList:
        """The list of an audience, as the ledger knows it."""
        evidence = open_evidence(self.config, self.clock.now, read_only=True)
        try:
            return next(remote for remote in evidence.memory.lists() if remote.audience == key)
        finally:
            evidence.engine.dispose()

    def settle(self) -> None:
        """Let the platform apply what it was sent."""
        self.advance(timedelta(hours=1))

    def left(self, key: AudienceKey) -> frozenset[str]:
        """Who was on the list at the start and is no longer."""
        list_id = self.remote(key).list_id
        return self.before[list_id] - self.members().get(list_id, frozenset())

    def joined(self, key: AudienceKey) -> frozenset[str]:
        """Who is on the list now and was not at the start."""
        list_id = self.remote(key).list_id
        return self.members()[list_id] - self.before[list_id]

    def requests(self) -> list[tuple[str, str, list[str]]]:
        """Every request about people that arrived: operation, list id, digests in their order."""
        kinds = {
            "IngestAudienceMembers": ("add", dm.IngestAudienceMembersRequest),
            "RemoveAudienceMembers": ("remove", dm.RemoveAudienceMembersRequest),
        }
        found = []
        for method, raw in list(self.sandbox.received):
            if method in kinds:
                word, kind = kinds[method]
                request = kind.pb().FromString(raw)
                people = [_only(member.composite_data.user_data) for member in request.audience_members]
                found.append((word, request.destinations[0].product_destination_id, people))
        return found


def _only(data: dm.UserData) -> str:
    """The one identifier that a member of a request may have."""
    (identifier,) = data.user_identifiers
    return str(identifier.email_address)
