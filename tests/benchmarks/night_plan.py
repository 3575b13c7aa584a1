"""How long a night's plan takes, from the store to the deltas, beside a query written by hand that only knows "the latest event wins".

    .venv/bin/python -m tests.benchmarks.night_plan                        # 10 million accounts: about a quarter of an hour, 5 GB on disk
    .venv/bin/python -m tests.benchmarks.night_plan --accounts 1000000     # smaller; everything else grows with it
    .venv/bin/python -m tests.benchmarks.night_plan --changed 0.001        # a quiet night

The store is the one of `tests.benchmarks.screening`. The ledger already holds the lists of the night before, in batches of 10 000: those of
tonight but for `--changed` of them (5 % by default), half of which join, half of which leave. Ours: ledger and store to the deltas of 120 lists,
through every rule and gate. By hand: the same files, and last night's digests in a Parquet file, to the digests that join and leave. Each side is
a process of its own; prints a table (`--json`: a document) with medians, the share of each step, and the peak memory of each process.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import duckdb
import pyarrow as pa

from nestaudience.customers.parquet import ParquetStore
from nestaudience.delivery.held import read_held
from nestaudience.delta.gates import Limits
from nestaudience.delta.plan import work_out
from nestaudience.hashing.tokens import Tokens
from nestaudience.ledger.engine import open_ledger, write
from nestaudience.ledger.entries import utc_text
from nestaudience.ledger.memory import Memory
from nestaudience.screening.engine import EngineLimits, fetch, open_engine, uuid_to_tokens
from nestaudience.screening.intake import read_all
from nestaudience.screening.rules import AudienceRule
from nestaudience.screening.screen import Screened, screen
from nestaudience.vocabulary import AudienceKey, ControllerId, Environment, Recipient, SegmentCode
from tests.benchmarks.screening import BY_HAND, CONTROLLERS, NOW, SEGMENTS, make, rules
from tests.benchmarks.side_by_side import asked, say

BATCH: Final = 10_000
ENGINE_MEMORY: Final = "1400MB"
ORIGIN: Final = "benchmark.invalid/log"
OPEN: Final = Limits(smallest=0, change_percent=100, change_people=1 << 40, ever_held=True)
CHANGED: Final = "hash(digest::VARCHAR) % 1000000 < {changed} * 500000"
"""Of those who are wanted tonight, the ones who were not on the list last night; as many others were."""

LAST_NIGHT: Final = """
COPY (SELECT segment_code, controller_id, recipient, CASE WHEN {joins} THEN unhex(sha256(digest)) ELSE digest END AS digest FROM listed)
TO '{folder}/last_night.parquet' (FORMAT parquet)
"""
DELTA_BY_HAND: Final = """
CREATE TABLE held AS SELECT * FROM '{folder}/last_night.parquet';
CREATE TABLE joining AS SELECT * FROM listed ANTI JOIN held USING (segment_code, controller_id, recipient, digest);
CREATE TABLE leaving AS SELECT * FROM held ANTI JOIN listed USING (segment_code, controller_id, recipient, digest);
"""
AUDIENCES: Final = tuple(
    AudienceRule(AudienceKey(f"{c}/s{s}/{r.value}"), ControllerId(c), SegmentCode(f"s{s}"), r, uses_orders=True, uses_site=False)
    for c in CONTROLLERS
    for s in range(SEGMENTS)
    for r in Recipient
)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="Benchmark of a night's plan")
    parser.add_argument("--accounts", type=int, default=10_000_000)
    parser.add_argument("--changed", type=float, default=0.05, help="which part of the lists changes")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="a store that was made before; it is kept")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("prepare", "ours", "by_hand"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        sides = {
            "prepare": partial(prepare, given.folder, given.changed),
            "ours": partial(ours, given.folder),
            "by_hand": partial(by_hand, given.folder),
        }
        say(sides[given.side])
        return
    with tempfile.TemporaryDirectory(prefix="nestaudience-benchmark-") as made:
        folder = given.folder or Path(made)
        if not (folder / "account.parquet").exists():
            make(folder, given.accounts)
        words = ("--folder", str(folder), "--changed", str(given.changed))
        asked("night_plan", "prepare", *words)
        results = {side: [asked("night_plan", side, *words) for _ in range(given.runs)] for side in ("by_hand", "ours")}
    said = summary(results) | {"accounts": given.accounts, "changed": given.changed, "cores": os.cpu_count()}
    sys.stdout.write(json.dumps(said, indent=1) + "\n" if given.json else table(said))


def summary(results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians of both sides, and how they compare."""
    sides: dict[str, dict[str, Any]] = {}
    for side, runs in results.items():
        steps = {name: round(median(run["seconds"][name] for run in runs), 1) for name in runs[0]["seconds"]}
        sides[side] = runs[0] | {"seconds": steps, "peak_mb": max(run["peak_mb"] for run in runs)}
    whole = {side: found["seconds"]["whole"] for side, found in sides.items()}
    return {**sides, "ratio": round(whole["ours"] / whole["by_hand"], 2), "runs": len(results["ours"])}


def table(said: dict[str, Any]) -> str:
    """The same for people."""
    ours, hand = said["ours"], said["by_hand"]
    whole = ours["seconds"]["whole"]
    rows = [f"{'step':<12}{'seconds':>9}{'share':>8}"]
    rows += [f"{name:<12}{value:>9.1f}{value / whole:>8.0%}" for name, value in ours["seconds"].items()]
    rows += ["", f"{'':<12}{'seconds':>9}{'joining':>10}{'leaving':>10}{'peak MB':>9}"]
    rows += [
        f"{name:<12}{found['seconds']['whole']:>9.1f}{found['joining']:>10}{found['leaving']:>10}{found['peak_mb']:>9}"
        for name, found in (("ours", ours), ("by hand", hand))
    ]
    rows += [
        "",
        f"{said['accounts']} accounts, {said['changed']:.1%} of the lists changed: {said['ratio']} times the query by hand",
    ]
    return "\n".join(rows) + "\n"


def prepare(folder: Path, changed: float) -> dict[str, Any]:
    """Last night's lists: for the query in a Parquet file, for us in a ledger."""
    with duckdb.connect(":memory:", config=settings()) as engine:
        engine.execute(BY_HAND.format(folder=folder))
        engine.execute(LAST_NIGHT.format(folder=folder, joins=CHANGED.format(changed=changed)))
    for path in folder.glob("ledger.sqlite*"):
        path.unlink()
    memory = Memory(open_ledger(folder / "ledger.sqlite", environment=Environment.SANDBOX, origin=ORIGIN, clock=lambda: NOW))
    with open_engine(limits()) as engine, ParquetStore(folder).snapshot() as snapshot:
        screened = screened_by(engine, snapshot)
        work_out(screened, dict.fromkeys((a.key for a in AUDIENCES), OPEN), {})
        for number in range(len(AUDIENCES)):
            rows = fetch(
                engine,
                f"""WITH mine AS (
                        SELECT w.account_token, a.person_token, w.digest, {CHANGED.format(changed=changed).replace("digest", "w.digest")} AS joins
                        FROM wanted w JOIN answer a USING (subject_no) WHERE w.audience_no = $n)
                    SELECT account_token, person_token, digest FROM mine WHERE NOT joins
                    UNION ALL SELECT uuid(), uuid(), uuid() FROM mine WHERE joins""",
                {"n": number},
            )
            remember(memory, number, rows)
    memory.engine.dispose()
    return {}


def remember(memory: Memory, number: int, rows: pa.Table) -> None:
    """One list, and the batches by which it was filled."""
    audience = AUDIENCES[number]
    about = {
        "audience": audience.key, "controller": audience.controller, "segment": audience.segment, "recipient": audience.recipient.value,
        "destination": "benchmark", "ad_account": "1", "login_account": "", "code": f"na-{number}", "list_id": str(number),
        "data_inputs": "", "state": "open", "membership_days": 540,
    }  # fmt: skip
    write(memory.engine, lambda connection: memory.bind(connection, about))
    list_no = next(remote.list_no for remote in memory.lists() if remote.audience == audience.key)
    for first in range(0, rows.num_rows, BATCH):
        some = rows.slice(first, BATCH)
        columns = {"account_token": "account_token", "person_token": "person_token", "digest_token": "digest"}
        tokens = {name: uuid_to_tokens(some.column(column)) for name, column in columns.items()}
        one_batch(memory, list_no, some.num_rows, tokens)


def one_batch(memory: Memory, list_no: int, people: int, tokens: dict[str, pa.Array]) -> None:
    """A batch that was confirmed."""
    at = utc_text(NOW)
    values = {
        "batch_id": os.urandom(16), "transfer_id": "benchmark", "list_no": list_no, "operation": "add",
        "people": people, "state": "confirmed", "sent_at": at, "settled_at": at, "request_id": "", "rejected": 0, "attempt": 1,
        "index_key": "i", "seal_key": "s", "master_key": "m",
    }  # fmt: skip
    sealed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), people, [None, pa.py_buffer(os.urandom(32 * people))])

    def work(connection: Any) -> None:
        number = memory.prepare_batch(connection, values)
        memory.add_members(connection, list_no, number, tokens | {"sealed_digest": sealed})

    write(memory.engine, work)


def ours(folder: Path) -> dict[str, Any]:
    """From ledger and store to the deltas, through every rule and gate."""
    seconds: dict[str, float] = {}
    begun = last = time.perf_counter()

    def step(name: str, _rows: int = 0) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[name] = seconds.get(name, 0.0) + now - last
        last = now

    engine_file = open_ledger(folder / "ledger.sqlite", environment=Environment.SANDBOX, origin=ORIGIN, clock=lambda: NOW)
    memory = Memory(engine_file)
    with open_engine(limits()) as engine, ParquetStore(folder).snapshot() as snapshot:
        lists = {remote.audience: remote.list_no for remote in memory.lists()}
        numbers = {lists[audience.key]: number for number, audience in enumerate(AUDIENCES)}

        def pages() -> Any:
            yield from read_held(memory, NOW).for_engine(numbers)
            step("held")

        screened = screened_by(engine, snapshot, pages(), step)
        step("judge")
        delta = work_out(screened, dict.fromkeys((a.key for a in AUDIENCES), OPEN), {})
        step("delta")
        seconds["whole"] = time.perf_counter() - begun
        counts = [plan.counts for plan in delta.plans.values()]
    return {
        "seconds": seconds,
        "joining": sum(each.additions for each in counts),
        "leaving": sum(each.noes + each.ordinary for each in counts),
    }


def screened_by(
    engine: Any, snapshot: Any, held: Any = (), step: Callable[[str, int], None] = lambda name, rows: None
) -> Screened:
    """Everybody of the store, judged for every list."""
    segments = frozenset((str(a.controller), str(a.segment)) for a in AUDIENCES)
    return screen(
        engine,
        lambda intake: read_all(intake, snapshot, segments, NOW),
        rules=rules(),
        audiences=AUDIENCES,
        tokens=Tokens(bytes(32)),
        now=NOW,
        held=held,
        progress=step,
    )


def by_hand(folder: Path) -> dict[str, Any]:
    """The query that somebody would write first, and the difference from last night."""
    begun = time.perf_counter()
    with duckdb.connect(":memory:", config=settings()) as engine:
        engine.execute(BY_HAND.format(folder=folder))
        engine.execute(DELTA_BY_HAND.format(folder=folder))
        ((joining,), (leaving,)) = engine.execute(
            "SELECT count(*) FROM joining UNION ALL SELECT count(*) FROM leaving"
        ).fetchall()
    return {"seconds": {"whole": time.perf_counter() - begun}, "joining": joining, "leaving": leaving}


def limits() -> EngineLimits:
    """What our engine may take."""
    return EngineLimits(ENGINE_MEMORY, 2, Path(tempfile.mkdtemp()) / "spill")


def settings() -> dict[str, Any]:
    """The same for the query."""
    return {"threads": 2, "memory_limit": ENGINE_MEMORY, "temp_directory": tempfile.mkdtemp()}


if __name__ == "__main__":
    main()
