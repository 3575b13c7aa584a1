"""How long a run for withdrawals takes on a large ledger: 1,000 noes against 10 million memberships, from the store's read to the last answer.

    .venv/bin/python -m tests.benchmarks.withdrawals                     # about four minutes, 2 GB on disk, most of it to make the ledger
    .venv/bin/python -m tests.benchmarks.withdrawals --members 1000000   # smaller
    .venv/bin/python -m tests.benchmarks.withdrawals --postgres          # the ledger on PostgreSQL
    .venv/bin/python -m tests.benchmarks.withdrawals --idle              # instead: an hourly run without anything to do, 50,000 accounts

The ledger holds real members of a generated store, and as many more whom nobody knows: random tokens in batches of 10,000, four lists a person. Both
platforms are the sandbox's. It prints one JSON document: seconds by step (promised: 30 s for the run, 10 s for the idle hour), and what it takes to
read every membership, as a night does (15 s).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import uuid4

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))

from nestaudience import sync
from nestaudience.ledger.engine import write
from nestaudience.ledger.entries import utc_text
from nestaudience.ledger.memory import Memory, RemoteList
from nestaudience.sandbox import site
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.world import StoreFile, build_store, reload_store
from nestaudience.sandbox.world_schema import moment
from nestaudience.wiring import open_parts
from nestaudience.withdrawals import withdrawals_job
from tests.postgres_server import Postgres, running

BATCH: Final = 10_000
NOES: Final = 1_000


class Steps:
    """Seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begun, 2)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="Benchmark of runs for withdrawals")
    parser.add_argument("--members", type=int, default=10_000_000)
    parser.add_argument("--accounts", type=int, default=50_000)
    parser.add_argument("--idle", action="store_true")
    parser.add_argument("--postgres", action="store_true", help="the ledger on PostgreSQL instead of a SQLite file")
    parser.add_argument("--keep", type=Path, help="leave the folder as it was before the run here")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="nestaudience-benchmark-"))
    try:
        steps = Steps()
        clock = SandboxClock(datetime.now(UTC) - timedelta(days=1), ticking=time.monotonic)
        with site.Platforms(clock) as platforms, running() if given.postgres else nullcontext() as server:
            place = begin(folder, platforms, given.accounts, server, steps)
            if not given.idle:
                with steps.step("make the ledger"):
                    fill(place, platforms, given.members)
            platforms.advance(timedelta(hours=2))
            if given.keep is not None:
                shutil.copytree(folder, given.keep)
            idle(place, platforms, steps) if given.idle else measure(place, platforms, steps)
        sys.stdout.write(
            json.dumps({"cores": os.cpu_count(), "members": given.members, "seconds": steps.seconds}, indent=1) + "\n"
        )
    finally:
        shutil.rmtree(folder)


def begin(folder: Path, platforms: site.Platforms, accounts: int, server: Postgres | None, steps: Steps) -> site.Site:
    """A store, and a first night with its results; the ledger on this server, or in a file."""
    place = site.lay_out(folder / "site", platforms=platforms, randomness=Random(1).randbytes, smallest_list=100)
    site.publish(place.folder, platforms)
    if server is not None:
        text = place.config.read_text("utf-8").replace('path = "ledger/ledger.sqlite"', 'url = "file:ledger-url"')
        place.config.write_text(text, "utf-8")
        place.config.with_name("ledger-url").write_text(server.database(), "utf-8")
        subprocess.run([sys.executable, "-m", "nestaudience", "ledger", "create", "--config", str(place.config)], check=True)
    build_store(place.store, seed=1, accounts=accounts, now=platforms.clock.now())
    with steps.step("first night"), open_parts(place.config, clock=platforms.clock.now) as parts:
        sync.run(parts)
    platforms.advance(timedelta(hours=1))
    reload_store(place.store, platforms.clock.now())
    with steps.step("a night that settles"), open_parts(place.config, clock=platforms.clock.now) as parts:
        sync.run(parts)
    return place


def fill(place: site.Site, platforms: site.Platforms, members: int) -> None:
    """Memberships and salts of people whom nobody knows."""
    random = np.random.default_rng(1)

    def column(rows: int, width: int) -> pa.Array:
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), rows, [None, pa.py_buffer(random.bytes(rows * width))])

    with open_parts(place.config, clock=platforms.clock.now) as parts:
        memory, lists = parts.memory, parts.memory.lists()
        at, keys = utc_text(platforms.clock.now()), parts.keys
        for _ in range(0, members, BATCH * 4):
            persons, accounts = column(BATCH, 16), column(BATCH, 16)
            memory.add_persons(persons, random.bytes, memory.last_person())
            for place_no in random.choice(len(lists), 4, replace=False):
                columns = {"account_token": accounts, "person_token": persons, "digest_token": column(BATCH, 16)}
                one_batch(memory, lists[place_no], columns | {"sealed_digest": column(BATCH, 32)}, at, keys)


def one_batch(memory: Memory, remote: RemoteList, columns: dict[str, pa.Array], at: str, keys: Any) -> None:
    """One batch that was confirmed."""
    values = {
        "batch_id": uuid4().bytes, "transfer_id": "benchmark", "list_no": remote.list_no, "operation": "add",
        "people": BATCH, "state": "confirmed", "sent_at": at, "settled_at": at, "request_id": "", "rejected": 0, "attempt": 1,
        "index_key": keys.index.key_id, "seal_key": keys.seal.key_id, "master_key": keys.master.key_id,
    }  # fmt: skip

    def work(connection: Any) -> None:
        number = memory.prepare_batch(connection, values)
        memory.add_members(connection, remote.list_no, number, columns)

    write(memory.engine, work)


def measure(place: site.Site, platforms: site.Platforms, steps: Steps) -> None:
    """People of every list say no; the run that takes them off."""
    now = platforms.clock.now()
    with StoreFile(place.store) as store:
        on = "SELECT DISTINCT account_id, company FROM segment_row JOIN shop_account USING (account_id, company) ORDER BY 1"
        people = Random(2).sample(store.rows(on), NOES)
        rows = [(f"b-{n}", who, company, moment(now), moment(now)) for n, (who, company) in enumerate(people)]
        store.many(
            "INSERT INTO shop_right VALUES (?, ?, NULL, ?, 'object', 'ad_matching', ?, ?, 'privacy_request', NULL, 'CASE-1')",
            rows,
        )
    platforms.advance(timedelta(minutes=1))
    with steps.step("open"):
        opened = open_parts(place.config, clock=platforms.clock.now)
        parts = opened.__enter__()
    with steps.step("the run for withdrawals, whole"):
        job = withdrawals_job(parts.evidence.reader, parts.settings, parts.clock(), due_only=False)
        assert job is not None
        with sync.Run(parts, job) as run:
            with steps.step("- settle, read, judge"):
                keys = run.judge()
            with steps.step("- remove"):
                for key in keys:
                    run.remove(key)
            with steps.step("- finish"):
                run.finish()
    with steps.step("every membership read"):
        members = sum(page.num_rows for page in parts.memory.held_pages(parts.clock()))
    steps.seconds["memberships"] = members
    steps.seconds["people removed"] = sum(sent.removed for sent in run.outcome.sent.values())
    opened.__exit__(None, None, None)


def idle(place: site.Site, platforms: site.Platforms, steps: Steps) -> None:
    """An hour without anything new: destinations are due, nobody said anything."""
    with steps.step("an hourly run with nothing to do"), open_parts(place.config, clock=platforms.clock.now) as parts:
        job = withdrawals_job(parts.evidence.reader, parts.settings, parts.clock())
        assert job is not None
        outcome = sync.run(parts, job)
    assert sum(sent.batches for sent in outcome.sent.values()) == 0


if __name__ == "__main__":
    main()
