"""An installation with both platforms, opened again and again at one moment of its life. Its runs are processes that end where a test says.

    past = live_until_today(folder)                 # once: a night, its results, and a day with noes and newcomers
    with Scene(past, tmp_path) as scene:
        events = scene.events("nightly")            # what such a run does to the world, in order; nothing is killed
    with Scene(past, elsewhere) as scene:
        scene.killed("nightly", 17)                 # SIGKILL at the 17th of them
        scene.held_to_the_rules()                   # runs again, and again after the platforms applied everything

Nothing is replaced. The child process watches itself by what Python and SQLAlchemy offer for it: an audit hook on files, events of the engine that
the run opened, and destinations that count their calls. Processes come from a server that has imported everything already and opened nothing.
"""

import ctypes
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import parse_qs

import pyarrow as pa
import sqlalchemy as sa
from google.ads import datamanager_v1 as dm
from lists_by_rule import wanted_lists
from nights import ACCOUNTS, META_ACCOUNTS, SandboxWorld

from nestaudience import sync
from nestaudience.audit.verify import Verification, verify
from nestaudience.config.load import load
from nestaudience.destinations.meta_messages import session_id_of
from nestaudience.errors import NestAudienceError
from nestaudience.hashing.digests import Digests
from nestaudience.interrupting import interruptible
from nestaudience.jobs import Job
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.google_state import SandboxAccount
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount
from nestaudience.vocabulary import AudienceKey, Recipient
from nestaudience.wiring import open_evidence, open_parts
from nestaudience.withdrawals import withdrawals_job

FORKS: Final = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["scenes"])
HERE: Final = Path(__file__).parent
PATIENCE: Final = 60.0
"""Seconds after which something that should have happened has not."""
KILLED: Final = -signal.SIGKILL
WRITES: Final = ("create_list", "delete_list", "send")
READS: Final = ("find_list", "read_list", "status")
SEGMENTS: Final = ("bought_audio_12m", "crime_readers")
Lists = dict[AudienceKey, frozenset[str]]


# --- in the process that is killed


class Events:
    """Counts what a run does to the world outside, writes each down by name, and ends the process at the one that was named."""

    def __init__(self, notes: Path, last: int) -> None:
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._last = last
        self._count = 0

    def happened(self, name: str) -> None:
        self._count += 1
        os.write(self._notes, f"{name}\n".encode())
        if self._count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


class Watched:
    """A destination whose calls are events: before, and after the answer came."""

    def __init__(self, inner: Any, events: Events) -> None:
        self._inner = inner
        self._events = events

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in WRITES + READS:
            return found

        def call(*words: Any, **named: Any) -> Any:
            what = f"{self._inner.name} {name}"
            if name == "send":
                what = f"{self._inner.name} {words[0].contents().operation.value}"
            self._events.happened(f"before {what}")
            answer = found(*words, **named)
            self._events.happened(f"after {what}")
            return answer

        return call


def watch_engine(engine: sa.Engine, events: Events) -> None:
    """Before and after each commit, named after the tables that it changes."""
    tables: list[str] = []
    done: list[str] = []

    @sa.event.listens_for(engine, "before_cursor_execute")
    def _statement(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        words = statement.split()
        verb = words[0].upper()
        if verb in {"INSERT", "DELETE", "UPDATE", "WITH"}:
            place = {"INSERT": 2, "DELETE": 2, "UPDATE": 1}.get(verb)
            table = words[place] if place is not None else words[words.index("INTO") + 1] if "INTO" in words else ""
            if table and table not in tables:
                tables.append(table)

    @sa.event.listens_for(engine, "commit")
    def _commit(_connection: Any) -> None:
        if tables:
            done.append(" ".join(tables))
            events.happened(f"before commit {done[-1]}")
        tables.clear()

    @sa.event.listens_for(engine, "checkin")
    def _checkin(*_: Any) -> None:
        while done:
            events.happened(f"after commit {done.pop()}")


def watch_files(folder: Path, events: Events) -> None:
    """Before the new head is written, before it takes the old one's place, and after; before an anchor is written."""
    keys, anchors = str(folder / "keys"), str(folder / "anchors")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and str(arguments[0]).startswith(keys):
            events.happened("before head takes its place")
        elif event == "open" and isinstance(arguments[0], str | os.PathLike):
            path = os.fspath(arguments[0])
            if isinstance(path, str) and path.startswith(keys) and path.endswith(".new"):
                events.happened("before head is written")
            elif path == keys:
                events.happened("after head took its place")
            elif isinstance(path, str) and path.startswith(anchors + "/"):
                events.happened("before anchor is written")

    sys.addaudithook(hook)


@dataclass(frozen=True)
class Way:
    """How a run is to be: killed at its `last` event; how long it waits for another; how large a file may grow; without a superuser's rights."""

    last: int = 0
    patience: timedelta = timedelta(0)
    file_limit: int = 0
    plain_rights: bool = False


def live(config: str, now: datetime, job: str, notes: str, way: Way) -> None:
    """A whole run, in a process of its own, that listens to signals as the commands do; its exit code is the run's."""
    events = Events(Path(notes), way.last)
    if way.file_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (way.file_limit, way.file_limit))
    if way.plain_rights:
        give_up_rights()
    code = 0
    try:
        watch_files(Path(config).parent, events)
        with open_parts(Path(config), clock=lambda: now) as parts, interruptible() as interrupted:
            watch_engine(parts.evidence.engine, events)
            watched: dict[str, Any] = {name: Watched(found, events) for name, found in parts.destinations.items()}
            opened, orders = replace(parts, destinations=watched), job_of(parts, job)
            code = sync.run(opened, orders, patience=way.patience, interrupted=interrupted).exit_code
    except NestAudienceError as error:
        code = error.exit_code
    os._exit(code)


def give_up_rights() -> None:
    """Let the modes of files hold for a superuser too: capabilities 1 and 2, CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, are given up."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, data) == 0
    for place in range(3):
        data[place] &= ~0b110
    assert libc.capset(header, data) == 0


def job_of(parts: Any, job: str) -> Job:
    """The orders by their short name."""
    if job == "nightly":
        return sync.NIGHTLY
    orders = withdrawals_job(parts.evidence.reader, parts.settings, parts.clock(), due_only=False)
    assert orders is not None
    return orders


AS_USUAL: Final = Way()

# --- in the test


def start_server() -> None:
    """Start the server of processes, once: it has to find what it imports."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (HERE, HERE.parent, HERE.parents[1])))
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@dataclass(frozen=True)
class Past:
    """The folder at one moment, what the platforms held then, and how many entries its log had."""

    folder: Path
    ports: tuple[int, int]
    tokens: tuple[str, str]
    google: tuple[tuple[str, Any], ...]
    meta: tuple[tuple[str, Any], ...]
    now: datetime
    entries: int


def live_until_today(folder: Path, *, accounts: int = 2000, segments: tuple[str, ...] = SEGMENTS, nights: bool = True) -> Past:
    """A world with both platforms, lists of these segments, small batches and an anchor: a night with its results, and a day; or nothing yet."""
    with SandboxWorld(folder, accounts=accounts, meta=True) as world:
        assert world.meta is not None
        world.edit("batch_size = 10_000", "batch_size = 100")
        keep_audiences(world.config, segments)
        world.edit('# anchor_directory = "/mnt/elsewhere/checkpoints"', 'anchor_directory = "anchors"')
        if nights:
            world.night()
            world.advance(timedelta(hours=1))
            world.night()
            world.advance_day()
        return Past(
            folder,
            (int(world.sandbox.endpoint.rpartition(":")[2]), int(world.meta.endpoint.rpartition(":")[2])),
            (world.sandbox.token, world.meta.token),
            tuple((account, remote) for account in ACCOUNTS for remote in world.sandbox.lists(account)),
            tuple((account, remote) for account in META_ACCOUNTS for remote in world.meta.lists(account)),
            world.clock.now(),
            len(entries_of(world.config, world.clock.now())),
        )


def entries_of(config: Path, now: datetime) -> list[dict[str, Any]]:
    """The whole log; empty without a ledger."""
    if not (config.parent / "ledger" / "ledger.sqlite").exists():
        return []
    evidence = open_evidence(config, lambda: now, read_only=True)
    try:
        return list(evidence.reader.entries())
    finally:
        evidence.engine.dispose()


class Scene(SandboxWorld):
    """One more opening of a past, in a folder of its own; platforms that remember what they held, and keep every request."""

    def __init__(self, past: Past, folder: Path) -> None:
        shutil.copytree(past.folder, folder, dirs_exist_ok=True)
        self.folder, self.past = folder, past
        self.config, self.store = folder / "nestaudience.toml", folder / "store.sqlite"
        self.clock = SandboxClock(past.now)
        self.randomness = Random(str(folder)).randbytes
        self._seed, self._days, self._start = 1, 1, past.now - timedelta(days=1)
        google, meta = {a: SandboxAccount() for a in ACCOUNTS}, {a: MetaAccount() for a in META_ACCOUNTS}
        self.sandbox = DataManagerSandbox(google, self.clock, port=past.ports[0], token=past.tokens[0], keep_requests=True)
        self.meta: MetaSandbox = MetaSandbox(meta, self.clock, port=past.ports[1], token=past.tokens[1], keep_requests=True)
        for account, remote in sorted(past.google, key=lambda pair: pair[1].list_id):
            self.sandbox.add_list(account, replace(remote, members=dict(remote.members)))
        for account, audience in sorted(past.meta, key=lambda pair: int(pair[1].list_id)):
            self.meta.add_list(account, replace(audience, members=dict(audience.members)))
        self.before = self.members()
        self.sandbox.start()
        self.meta.start()
        (folder / "sandbox" / "ca.pem").write_bytes(self.sandbox.ca_pem)

    @property
    def notes(self) -> Path:
        """Where a run writes what it did."""
        return self.folder / "events"

    def process(self, job: str, way: Way = AS_USUAL) -> Any:
        """A run in a process of its own, started."""
        notes = self.notes if not self.notes.exists() else self.notes.with_name(f"events-{time.monotonic_ns()}")
        process = FORKS.Process(target=live, args=(str(self.config), self.clock.now(), job, str(notes), way))
        start_server()
        process.start()
        return process

    def ended(self, job: str, way: Way = AS_USUAL) -> int:
        """A run in a process of its own, to its end: the exit code."""
        process = self.process(job, way)
        process.join(PATIENCE)
        assert process.exitcode is not None
        return int(process.exitcode)

    def holding(self, method: str, seconds: float, job: str = "nightly", way: Way = AS_USUAL) -> Any:
        """A run in a process of its own, whose first call of this method a platform has now and holds for so long before it has its effect."""
        sandbox: Any = self.sandbox if "Audience" in method else self.meta
        sandbox.faults.add(Fault(method, FaultKind.HANG, seconds=seconds))
        arrived = sandbox.seen(method)
        process = self.process(job, way)
        until(lambda: sandbox.seen(method) > arrived, f"{method} arrives")
        return process

    def events(self, job: str) -> list[str]:
        """A whole run in a process of its own: what it did, in order."""
        assert self.ended(job) == 0
        return self.notes.read_text("utf-8").splitlines()

    def killed(self, job: str, last: int) -> str:
        """SIGKILL a run at its event of this number (from 1): its name."""
        assert self.ended(job, Way(last=last)) == KILLED
        found = self.notes.read_text("utf-8").splitlines()
        assert len(found) == last
        return found[-1]

    def killed_in_request(self, job: str, method: str) -> None:
        """SIGKILL a run while a platform holds a request, which then has its effect."""
        process = self.holding(method, 0.6, job)
        process.kill()
        process.join(PATIENCE)
        assert process.exitcode == KILLED
        time.sleep(0.7)

    def log(self) -> list[dict[str, Any]]:
        """Every entry."""
        return entries_of(self.config, self.clock.now())

    def verified(self) -> Verification:
        """The whole log, verified against the signer's own head, without keys."""
        with open_parts(self.config, clock=self.clock.now) as parts:
            return verify(parts.evidence.engine, parts.signer.verifiers, head=parts.signer.head())

    def remembered(self) -> dict[str, frozenset[bytes]]:
        """List id -> tokens of the digests that the ledger says may be on it."""
        with open_parts(self.config, clock=self.clock.now) as parts:
            ids = {remote.list_no: remote.list_id for remote in parts.memory.lists()}
            held = parts.memory.held(self.clock.now())
            found: dict[str, set[bytes]] = {list_id: set() for list_id in ids.values()}
            for list_no, token in zip(held.column("list_no").to_pylist(), held.column("digest_token").to_pylist(), strict=True):
                found[ids[list_no]].add(token)
        return {list_id: frozenset(tokens) for list_id, tokens in found.items()}

    def on_platforms(self) -> dict[str, frozenset[bytes]]:
        """List id -> tokens of the digests that the platforms hold."""
        return {list_id: self.tokens_of(people, list_id) for list_id, people in self.members().items()}

    def tokens_of(self, digests: frozenset[str], list_id: str) -> frozenset[bytes]:
        """Digests (hex) as the ledger's tokens."""
        with open_parts(self.config, clock=self.clock.now) as parts:
            column = pa.array([bytes.fromhex(digest) for digest in sorted(digests)], pa.binary(32))
            recipient = Recipient.GOOGLE if len(list_id) < 12 else Recipient.META
            return frozenset(parts.tokens.of_digests(Digests(column, recipient)).to_pylist())

    def requests(self) -> list[tuple[str, str, frozenset[str], int | None]]:
        """Every request about people that arrived: operation, list id, digests, and the session that Meta was told."""
        kinds = {"IngestAudienceMembers": "add", "RemoveAudienceMembers": "remove", "AddUsers": "add", "RemoveUsers": "remove"}
        found: list[tuple[str, str, frozenset[str], int | None]] = []
        for method, raw in list(self.sandbox.received):
            if method in kinds:
                kind = dm.IngestAudienceMembersRequest if kinds[method] == "add" else dm.RemoveAudienceMembersRequest
                request = kind.pb().FromString(raw)
                people = [m.composite_data.user_data.user_identifiers[0].email_address for m in request.audience_members]
                found.append((kinds[method], request.destinations[0].product_destination_id, frozenset(people), None))
        for method, raw in list(self.meta.received):
            if method in kinds:
                line, _, body = raw.partition(b"\r\n\r\n")
                form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
                data = json.loads(form["payload"])["data"]
                people = [row[0] if isinstance(row, list) else row for row in data]
                list_id = line.split(b"/")[2].decode()
                found.append((kinds[method], list_id, frozenset(people), int(json.loads(form["session"])["session_id"])))
        return found

    def every_request_has_its_batch(self) -> None:
        """No request without its batch entry, and none on a list twice for one entry; nobody is added whom the rules do not want."""
        batches = [entry["fields"] for entry in self.log()[self.past.entries :] if entry["type"] == "batch"]
        known = Counter((fields["operation"], fields["list_id"], fields["count"]) for fields in batches)
        sessions = {session_id_of(bytes.fromhex(fields["batch_id"])): fields for fields in batches}
        came = self.requests()
        assert Counter((operation, list_id, len(people)) for operation, list_id, people, _ in came) <= known
        for operation, list_id, people, session in came:
            if session is not None:
                fields = sessions[session]
                assert (fields["operation"], fields["list_id"], fields["count"]) == (operation, list_id, len(people))

    def nothing_is_forgotten(self) -> None:
        """What the platforms hold is within what the ledger remembers, whatever the run was doing."""
        remembered = self.remembered()
        for list_id, people in self.on_platforms().items():
            assert people <= remembered.get(list_id, frozenset()), list_id

    def wanted(self) -> Lists:
        """What every list should hold now. The store of a past does not change."""
        return wanted_of(self.past.folder, self.clock.now())

    def held_to_the_rules(self) -> None:
        """Whatever happened before: nothing is forgotten; after the next run the lists equal consent, and after one more; the log is sound."""
        self.nothing_is_forgotten()
        for _ in range(2):
            outcome = self.night()
            assert outcome.exit_codes == (0,), outcome.errors
            wanted = self.wanted()
            self.advance(timedelta(hours=1))
            assert self.lists() == wanted
            self.nothing_is_forgotten()
        self.sent_to_nobody_else(wanted)
        self.every_request_has_its_batch()
        self.every_audience_has_one_list()
        found = self.verified()
        assert found.problems == ()
        assert found.entries == found.sealed == len(self.log()) > self.past.entries

    def every_audience_has_one_list(self) -> None:
        """No platform holds a second list under the same name, though nobody knows whether a killed run made one."""
        names = [remote.integration_code for account in ACCOUNTS for remote in self.sandbox.lists(account)]
        names += [remote.display_name for account in META_ACCOUNTS for remote in self.meta.lists(account)]
        assert len(names) == len(set(names)) == len(self.lists())

    def lists(self) -> Lists:
        """What every list holds now, by audience."""
        held = self.members()
        evidence = open_evidence(self.config, self.clock.now, read_only=True)
        try:
            return {remote.audience: held[remote.list_id] for remote in evidence.memory.lists()}
        finally:
            evidence.engine.dispose()

    def sent_to_nobody_else(self, wanted: Lists) -> None:
        """Whoever was added is wanted on that list."""
        evidence = open_evidence(self.config, self.clock.now, read_only=True)
        try:
            audience = {remote.list_id: remote.audience for remote in evidence.memory.lists()}
        finally:
            evidence.engine.dispose()
        for operation, list_id, people, _ in self.requests():
            assert operation == "remove" or people <= wanted[audience[list_id]], list_id


@cache
def wanted_of(folder: Path, now: datetime) -> Lists:
    """What the lists of a past should hold at this moment."""
    return wanted_lists(folder / "store.sqlite", load(folder / "nestaudience.toml"), now)


def keep_audiences(config: Path, segments: tuple[str, ...]) -> None:
    """The lists of a few segments on both platforms: as many kinds of requests, and fewer of each."""
    first, *blocks = re.split(r"(?m)^(?=\[\[|# --- )", config.read_text("utf-8"))
    kept = [
        block
        for block in blocks
        if not block.startswith("[[audiences]]") or any(f'segment = "{name}"' in block for name in segments)
    ]
    config.write_text(first + "".join(kept), "utf-8")


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"{what}: not so"
        time.sleep(0.005)
