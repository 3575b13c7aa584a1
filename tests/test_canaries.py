"""Nobody's address, and no digest of one, is in anything that the system writes: whatever succeeds, fails or is logged.

Canaries with unique addresses live in the store. Nights succeed and fail in every way that can be made here, in this process with every
logger at DEBUG, and as commands with a Prefect server. Then everything that was written is searched, under every covering that
`leaks` takes off. Addresses may be in the store's own file only; digests on the wire only. Keys are left out: they are random.
"""

import hashlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from canary_site import ANONYMOUS, LISTED, PAID_WITH, CanarySite
from leaks import Needles, found_in, found_in_file, found_in_folder, google_form
from receivers import HttpReceiver

from nestaudience.config.load import from_document, parse
from nestaudience.customers.sqlite import SqliteStore
from nestaudience.hashing.tokens import Tokens
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.world import StoreFile
from nestaudience.screening.engine import EngineLimits, open_engine
from nestaudience.screening.intake import Intake, read_all
from nestaudience.screening.screen import screen

NIGHT = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
FAULTS = {
    "unavailable": Fault("IngestAudienceMembers", FaultKind.UNAVAILABLE, 2),
    "answer_lost": Fault("IngestAudienceMembers", FaultKind.ANSWER_LOST_AFTER_EFFECT, 2),
    "malformed_details": Fault("RemoveAudienceMembers", FaultKind.MALFORMED_DETAILS, 1),
    "hang": Fault("IngestAudienceMembers", FaultKind.HANG, 1, seconds=2.5),
}


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CanarySite]:
    """A site that lived through good and bad nights, in this process."""
    here = CanarySite(tmp_path_factory.mktemp("site") / "s", SandboxClock(NIGHT))
    try:
        here.night("first")
        here.next_day()
        here.withdraw("plain", "plus")
        here.one_call("second")
        for name, fault in FAULTS.items():
            here.next_day()
            here.sandbox.faults.add(fault)
            here.night(name)
            here.sandbox.faults.clear()
        here.next_day()
        here.edit('memory = "2GB"', 'memory = "8MB"')
        here.night("no_memory")
        here.edit('memory = "8MB"', 'memory = "48MB"')
        here.night("little_memory")
        here.edit('memory = "48MB"', 'memory = "2GB"')
        here.next_day()
        here.night("view_lost", between=lambda: _without_addresses(here))
        with _locked(here.folder / "ledger" / "ledger.sqlite"):
            here.night("ledger_locked")
        here.edit("[gates]", "[gates]\nno_such_limit = 3")
        here.night("wrong_config")
        here.sandbox.revoke(here.sandbox.token)
        here.night("unauthenticated")
        here.place.store.unlink()
        here.night("store_gone")
        yield here
    finally:
        here.close()


def _without_addresses(here: CanarySite) -> None:
    with StoreFile(here.place.store) as store:
        store.run("DROP VIEW account")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Another program holds the database for writing."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CanarySite]:
    """A site that was worked with by commands, against a Prefect server whose home is in the same folder."""
    here = CanarySite(tmp_path_factory.mktemp("site") / "s", SandboxClock(datetime.now(UTC), ticking=time.monotonic))
    try:
        with HttpReceiver() as receiver, _prefect_server(here.folder) as environment:
            here.edit("[alerts]", f'[alerts]\nwebhook = "{here.hide("hook", receiver.url)}"')
            receiver.answers = ["drop", 500, 403, 302, 200, "hang", 500, 500, 500]
            here.command("plan", "plan", "--json", **environment)
            here.command("first", "run", "nightly", "--json", **environment)
            here.withdraw("plain", "plus", "letters")
            here.command("second", "run", "nightly", GRPC_VERBOSITY="debug", GRPC_TRACE="all", **environment)
            _between_nights(here, environment)
            here.command("verify", "audit", "verify", "--json", **environment)
            here.command("transfers", "audit", "transfers", "--json", **environment)
            here.command("report", "audit", "report", "--out", str(here.folder / "report.html"), **environment)
            here.command("status", "status", "--json", **environment)
            here.command("disk_full", "run", "nightly", file_limit=20_000, **environment)
            here.edit('memory = "2GB"', 'memory = "8MB"')
            here.command("no_memory", "run", "nightly", **environment)
            here.edit('memory = "8MB"', "memory = 3")
            here.command("wrong_config", "check", **environment)
            here.sandbox.revoke(here.sandbox.token)
            here.edit("memory = 3", 'memory = "2GB"')
            here.place.store.write_bytes(here.place.store.read_bytes()[:200_000])
            here.command("damaged_store", "run", "nightly", **environment)
            here.command("check", "check", "--json", **environment)
            time.sleep(3.0)  # Prefect's server writes events and task runs in turns of its own
        yield here
    finally:
        here.close()


def _between_nights(here: CanarySite, environment: dict[str, str]) -> None:
    """What a day brings: the hour, a backfill by hand and by the form, a list that is retired, a run that is taken back."""
    here.withdraw("dots", "googlemail")
    here.command("withdrawals", "run", "withdrawals", "--json", **environment)
    here.withdraw("spaces")
    here.python("hourly", "-c", HOURLY, str(here.place.config), **environment)
    here.command("settle", "run", "settle", **environment)
    here.command("backfill_dry", "run", "backfill", "--reason", "test", "--dry-run", **environment)
    here.command("backfill", "run", "backfill", "--reason", "test", "--mode", "resend", "--yes", **environment)
    here.command("audiences", "audiences", "--ask", **environment)
    here.command("tell", "status", "--tell", "--json", **environment)
    here.command("migrate", "ledger", "migrate", **environment)
    here.python("form", "-c", FORM, str(here.place.config), LISTED["capitals"], **environment)
    run_id = json.loads((here.out / "first.stdout").read_text("utf-8"))["run"]
    here.command("retract", "retract", run_id, "--reason", "test", "--yes", **environment)
    here.command("retire", "retire", "hemkraft/coffee_lovers/meta", "--reason", "test", "--yes", **environment)
    here.command("typed_wrongly", "audit", "show", LISTED["plain"], **environment)


HOURLY = "import sys; from flows.hourly import hourly; hourly(config=sys.argv[1], return_state=True)"
FORM = """
import sys
from pathlib import Path
from flows.serving import HOURLY, NIGHTLY, deployments
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
config, canary = sys.argv[1:]
ids = {each.name: each.apply() for each in deployments(Path(config), NIGHTLY, HOURLY)}
refused = 0
with get_client(sync_client=True) as client:
    for name, value in (("case", canary), ("segments", [canary]), ("for_night", canary), ("config", canary), ("reason", canary), ("mode", canary)):
        try:
            client.create_flow_run_from_deployment(ids["backfill"], parameters={"config": config, "reason": "test", name: value})
        except PrefectHTTPStatusError as error:
            refused += error.response.status_code == 409
sys.exit(0 if refused == 6 else 1)
"""
"""A person who types an address into each field of the backfill's form."""


@contextmanager
def _prefect_server(folder: Path) -> Iterator[dict[str, str]]:
    """A Prefect server as in production; the environment that commands need to find it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_SERVER_LEVEL": "DEBUG",
    }
    with (folder / "out" / "server.log").open("wb") as log:
        words = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
        server = subprocess.Popen(words, env=os.environ | environment, stdout=log, stderr=log, cwd=folder)
        try:
            for _ in range(600):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert server.poll() is None, "the server ended"
                time.sleep(0.1)
            yield environment | {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
        finally:
            server.terminate()
            server.wait(30)


def test_the_nights_went_as_they_were_meant_to(in_process: CanarySite) -> None:
    """A fault that did not happen would prove nothing."""
    codes = in_process.codes
    assert codes["first"] == codes["second"] == (0,)
    assert codes["little_memory"][0] == 0, "it spills, and goes on"
    failed = [step for step, found in codes.items() if max(found) > 0 or min(found) < 0]
    assert set(failed) == {*FAULTS, "no_memory", "view_lost", "ledger_locked", "wrong_config", "unauthenticated", "store_gone"}
    lost = in_process.outcomes["view_lost"].sent.values()
    assert sum(sent.added for sent in lost) == 0, "without accounts nobody passes the last look"
    assert 2 in codes["view_lost"], "and the run says so"
    assert all(min(found) >= 0 for found in codes.values()), f"a foreign exception escaped: {codes}"


def test_canaries_were_sent_and_digests_are_all_that_left(in_process: CanarySite) -> None:
    """The system did see them: their digests are on the wire, in hexadecimal; nothing of their addresses is."""
    wire = b"\n".join(body for _, body in in_process.sandbox.received)
    assert not found_in(wire, in_process.needles.addresses)
    for typed in LISTED.values():
        assert hashlib.sha256(google_form(typed).encode()).hexdigest().encode() in wire, typed


def test_nothing_written_in_this_process_holds_anybody(in_process: CanarySite) -> None:
    _nobody_in(in_process)
    loudest = (in_process.out / "first.log").read_text("utf-8")
    assert "sqlalchemy.engine" in loudest, "the loggers were on"


def test_the_store_itself_holds_them(tmp_path: Path) -> None:
    """The control on a real file: the same search finds every one of them where they do live."""
    here = CanarySite(tmp_path / "s", SandboxClock(NIGHT), accounts=500)
    here.close()
    found = found_in_file(here.place.store, here.needles.addresses)
    assert {f"address of {typed}" for typed in (*here.people.values(), PAID_WITH, ANONYMOUS)} <= found


@pytest.mark.slow
def test_the_commands_went_as_they_were_meant_to(commands: CanarySite) -> None:
    good = (
        "plan",
        "first",
        "second",
        "verify",
        "transfers",
        "report",
        "withdrawals",
        "hourly",
        "settle",
        "backfill",
        "audiences",
        "migrate",
    )
    good += ("form", "retract", "retire")
    codes = {step: found[0] for step, found in commands.codes.items()}
    assert {step: codes[step] for step in good} == dict.fromkeys(good, 0)
    either = {"status", "tell", "backfill_dry"}  # what stands that day decides
    assert {step: code for step, code in codes.items() if step not in {*good, *either} and code not in {2, 3, 4, 5}} == {}


@pytest.mark.slow
def test_nothing_written_by_commands_holds_anybody(commands: CanarySite) -> None:
    """Prefect's database and home, its server's log, the ledger, and all that the commands said."""
    assert (commands.folder / "prefect" / "prefect.db").stat().st_size > 100_000
    assert (commands.out / "second.stderr").stat().st_size > 100_000, "gRPC told everything that it tells"
    # The argument of `audit show` is what somebody typed, and of `form` what the form was given.
    typed = [commands.out / f"{step}.arguments" for step in ("typed_wrongly", "form")]
    _nobody_in(commands, *typed)


def _nobody_in(here: CanarySite, *but: Path) -> None:
    report = found_in_folder(here.folder, here.needles.everything, but=[*here.where_they_belong, *but])
    assert report == {}


def test_what_the_engine_spills_holds_nobody(tmp_path: Path) -> None:
    """The engine is given too little memory, and its spill directory is read while the run's data lies there."""
    here = CanarySite(tmp_path / "s", SandboxClock(NIGHT), accounts=12_000)
    here.close()
    settings = from_document(parse(here.place.config))
    audiences = tuple(settings.audiences.values())
    store = SqliteStore(here.place.store, irrelevant_purposes=frozenset(settings.screening.irrelevant_purposes))
    spill = here.folder / "spill"
    written: dict[str, bytes] = {}

    def read(intake: Intake) -> None:
        with store.snapshot() as snapshot:
            read_all(intake, snapshot, frozenset((a.controller.key, a.segment.code) for a in audiences), NIGHT)

    with open_engine(EngineLimits("40MB", 1, spill)) as engine, _watching(spill, written):
        tokens, rules = Tokens(bytes(32)), [audience.rule for audience in audiences]
        screened = screen(engine, read, rules=settings.rules(), audiences=rules, tokens=tokens, now=NIGHT)
        assert screened.counts["account"] > 10_000
        written |= {f"{path.name} at the end": path.read_bytes() for path in spill.iterdir() if path.name not in written}
    assert sum(map(len, written.values())) > 500_000, "it spilled"
    for name, data in written.items():
        assert found_in(data, here.needles.everything) == set(), name
    assert not spill.exists(), "nothing is left behind"


def test_what_the_engine_would_spill_of_a_person_would_be_found(tmp_path: Path) -> None:
    """The control: addresses and digests that do get into the engine are found in its spill files, compressed as they are."""
    typed = "qx7zwkanarie.spilled@example.se"
    needles = Needles.of(typed)
    digest = hashlib.sha256(typed.encode()).digest()
    rows = 600_000
    table = pa.table(
        {"n": pa.array(range(rows)), "a": pa.array([typed] * rows), "d": pa.array([digest] * rows, pa.binary(32))},
    )
    written: dict[str, bytes] = {}
    with open_engine(EngineLimits("30MB", 1, tmp_path / "spill")) as engine, _watching(tmp_path / "spill", written):
        engine.register("given", table)
        engine.execute("CREATE TABLE kept AS SELECT hash(n) AS h, n, a || n AS a, d FROM given")
        written |= {path.name: path.read_bytes() for path in (tmp_path / "spill").iterdir()}
    wanted = {f"address of {typed}", f"digest of {typed}"}
    found: set[str] = set()
    for data in sorted(written.values(), key=len):  # one file is enough
        found |= set() if found == wanted else found_in(data, needles.everything)
    assert found == wanted


@contextmanager
def _watching(folder: Path, written: dict[str, bytes]) -> Iterator[None]:
    """Keep a copy of the largest state of every file that appears in a folder."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            for path in folder.glob("*"):
                try:
                    data = path.read_bytes()
                except OSError:  # it is gone again
                    continue
                if len(data) > len(written.get(path.name, b"")):
                    written[path.name] = data

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
