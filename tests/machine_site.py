"""A small installation for the state machine: the real path, ledger and screening, with a platform and a store in memory.

    with Site(folder, first_world(...)) as site:
        site.run()                         # a nightly run, through `nestaudience.sync`
        site.world = ...                   # the store moves on
        site.platforms["meta"].faults["send"].append(Fault.LOST_AFTER)
        site.crash_at = 17                 # the next run dies at its 17th write or call
    site.put_back(site.copies[-2])     # the ledger as it was before the run before the last; the head beside the keys stays

Nothing in the package is replaced. The clock ticks with every look at it. A crash is an exception that nothing in the package catches, raised where
the ledger begins or ends a transaction and where a platform is called. What must hold is asked in `machine_truth`; here it is only recorded.
"""

import contextlib
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random

import sqlalchemy as sa
from machine_people import START
from machine_platform import MetaPlatform, Platform, Request
from machine_settings import ACCOUNTS, GOOGLE, META, settings
from machine_store import MemoryStore

from nestaudience import sync
from nestaudience.hashing.tokens import Tokens
from nestaudience.jobs import NIGHTLY, Job
from nestaudience.ledger.checkpoint import Signer
from nestaudience.ledger.engine import open_engine, open_ledger, write
from nestaudience.ledger.keys import KeyRing, new_keys
from nestaudience.ledger.log import LogReader
from nestaudience.ledger.memory import Memory, RemoteList
from nestaudience.ledger.schema import LEASE
from nestaudience.parts import Evidence, Parts
from nestaudience.screening.engine import EngineLimits
from nestaudience.vocabulary import AudienceKey, Environment, Recipient
from tests.reference.rows import World

LIMITS = EngineLimits("256MB", threads=1)
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a ledger that is thrown away needs no disk
COPIES = 6
"""Of the ledger, one before each of the last runs."""
RECIPIENTS = {GOOGLE: Recipient.GOOGLE, META: Recipient.META}


class Crash(BaseException):
    """The machine stops. Not an `Exception`: nothing that deals with errors may deal with this."""


@dataclass
class Clock:
    """`real` is the time of the world and its platforms; this host's own clock may be wrong by `offset`."""

    real: datetime = START
    offset: timedelta = timedelta(0)

    def now(self) -> datetime:
        """What this host's clock says; a millisecond later each time."""
        self.real += timedelta(milliseconds=1)
        return self.peek()

    def peek(self) -> datetime:
        """The same without a tick."""
        return self.real + self.offset


@dataclass
class Look:
    """One snapshot: the store as it stood, and this host's time then."""

    world: World
    at: datetime


@dataclass
class RunStory:
    """What was recorded of one run: its snapshots, the requests that left in it, and the last snapshot after each list's last addition."""

    looks: list[Look] = field(default_factory=list)
    requests: list[tuple[str, Request]] = field(default_factory=list)
    final: dict[str, Look] = field(default_factory=dict)
    waits_for_look: set[str] = field(default_factory=set)
    outcome: sync.Outcome | None = None
    crashed: bool = False
    whole: bool = True
    """False for a run that reads only what is new."""


@dataclass(frozen=True)
class Copy:
    """The ledger's file as it was before a run; `sent`: how many requests each platform had been sent by then."""

    content: bytes
    sent: dict[str, int]


class Site:
    """Use as a context manager. `during`: what happens while a run is at work, by the number of the platform call after which it happens."""

    def __init__(self, world: World, seed: int = 0) -> None:
        self.clock = Clock()
        self.randomness = Random(seed).randbytes
        self.numbers = {place: number for number, place in enumerate(ACCOUNTS, 1)}
        self.folder = Path(tempfile.mkdtemp(prefix="machine-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None))
        shutil.copyfile(_newborn(), self.folder / "ledger.sqlite")
        self.engine = open_engine(self.folder / "ledger.sqlite")
        self.memory, self.reader = Memory(self.engine), LogReader(self.engine)
        self.keys = _keys()
        self.tokens = Tokens(self.keys.index.reveal())
        self.signer = Signer(self.keys.signing_key(), "machine.example/sandbox", self.folder / "head.json")
        self.store = MemoryStore(world, frozenset({"newsletter", "sms"}), self._opened)
        self.platforms = {
            name: (MetaPlatform if name == META else Platform)(
                name,
                recipient,
                frozenset(account for (_, where), account in ACCOUNTS.items() if where == name),
                lambda: self.clock.real,
                at_once=name == META,
            )
            for name, recipient in RECIPIENTS.items()
        }
        self.heard: Callable[[str, Request], None] = lambda name, request: None
        for name, platform in self.platforms.items():
            platform.heard = lambda request, name=name: self._heard(name, request)  # type: ignore[misc]
            platform.called = self._called
        self.story = RunStory()
        self.copies: deque[Copy] = deque(maxlen=COPIES)
        self.crash_at = 0
        self.during: dict[int, Callable[[], None]] = {}
        self._calls = 0
        self.points: list[str] = []
        self.died_with: set[bytes] = set()
        """Requests that a crash kept from leaving after they were written down: nobody but this site can tell that they did not."""
        self._at_work = False
        for event in ("begin", "commit"):
            sa.event.listen(self.engine, event, lambda _connection, event=event: self._point(event))

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def parts(self) -> Parts:
        """Everything that a run works with, as `wiring` would open it."""
        found = settings(*self.numbers.values())
        document = found.document
        evidence = Evidence(Environment.SANDBOX, found.ledger, self.engine, self.memory, self.reader, document, self.folder)
        return Parts(
            found,
            evidence,
            self.store,
            self.keys,
            self.tokens,
            self.signer,
            dict(self.platforms),
            {},
            LIMITS,
            self.clock.now,
            "unknown",
            self.randomness,
        )

    def run(self, job: Job = NIGHTLY, work: Callable[[Parts], sync.Outcome] | None = None) -> RunStory:
        """One run, perhaps with a crash in it. What was recorded of it."""
        self.copies.append(self.copy())
        self.story = RunStory(whole=job.since is None)
        self._calls = 0
        self.points = []
        for platform in self.platforms.values():
            platform.troubled.clear()
        parts = self.parts
        self._at_work = True
        try:
            self.story.outcome = work(parts) if work is not None else sync.run(parts, job)
        except Crash:
            self.story.crashed = True
        finally:
            self._at_work = False
            self.crash_at = 0
            self.during.clear()
        if self.story.crashed:  # a process that is no more holds nothing
            self._note_what_never_left()
            write(self.engine, lambda connection: connection.execute(sa.delete(LEASE)))
        return self.story

    def _note_what_never_left(self) -> None:
        left = {request.batch_id for platform in self.platforms.values() for request in platform.requests}
        self.died_with |= {batch.batch_id for batch in self.memory.batches(frozenset({"prepared"}))} - left

    def copy(self) -> Copy:
        """The ledger as it is."""
        with contextlib.closing(self.engine.raw_connection()) as connection:
            content = connection.driver_connection.serialize()  # type: ignore[union-attr]
        return Copy(content, {name: len(platform.requests) for name, platform in self.platforms.items()})

    def put_back(self, copy: Copy) -> None:
        """The ledger's file is lost, and this backup of it is put back."""
        self.engine.dispose()
        for left in self.folder.glob("ledger.sqlite*"):
            left.unlink()
        (self.folder / "ledger.sqlite").write_bytes(copy.content)

    def remotes(self) -> Iterator[tuple[Platform, RemoteList]]:
        """Every list that was ever bound, with its platform."""
        for remote in self.memory.lists():
            yield self.platforms[remote.destination], remote

    def remote(self, key: AudienceKey) -> RemoteList | None:
        """An audience's list."""
        return next((remote for remote in self.memory.lists() if remote.audience == key), None)

    def pass_time(self, by: timedelta) -> None:
        """Time goes on, here and at the platforms."""
        self.clock.real += by
        for platform in self.platforms.values():
            platform.apply()

    def _opened(self) -> None:
        look = Look(self.store.world, self.clock.peek())
        self.story.looks.append(look)
        for list_id in self.story.waits_for_look:
            self.story.final[list_id] = look
        self.story.waits_for_look.clear()

    def _heard(self, name: str, request: Request) -> None:
        self.story.requests.append((name, request))
        if request.operation.value == "add":
            self.story.waits_for_look.add(request.list_id)
            self.story.final.pop(request.list_id, None)
        at_work, self._at_work = self._at_work, False  # what the truth reads is no place where the machine can stop
        try:
            self.heard(name, request)
        finally:
            self._at_work = at_work

    def _called(self, call: str) -> None:
        self._point(call)
        if self._at_work and call in {"status", "read", "sent", "created", "deleted"}:
            self._calls += 1
            happens = self.during.pop(self._calls, None)
            if happens is not None:
                happens()

    def _point(self, what: str) -> None:
        """One place where the machine can stop."""
        if not self._at_work:
            return
        self.points.append(what)
        if len(self.points) == self.crash_at:
            self._at_work = False  # what ends now ends without more of it
            raise Crash


@cache
def _keys() -> KeyRing:
    return new_keys(Random("keys").randbytes)


@cache
def _newborn() -> Path:
    """A ledger that was just born, to be copied."""
    folder = Path(tempfile.mkdtemp(prefix="machine-"))
    path = folder / "ledger.sqlite"
    engine = open_ledger(path, environment=Environment.SANDBOX, origin="machine.example/sandbox", clock=lambda: START)
    with contextlib.closing(engine.raw_connection()) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path
