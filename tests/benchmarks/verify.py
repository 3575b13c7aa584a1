"""How long verification takes over five years of nights: 73 000 requests with 1 000 people each on average, in a ledger on disk.

    .venv/bin/python -m tests.benchmarks.verify                     # some minutes, 3 GB on disk
    .venv/bin/python -m tests.benchmarks.verify --nights 90         # smaller
    .venv/bin/python -m tests.benchmarks.verify --bundle            # exports a bundle as well, and runs the second verifier on it

Twenty lists, each with 500 people off and 1 500 on every night. Every request has its intent, batch, answer and later word, and two signed
checkpoints, as in delivery. Leaves are drawn from a few hundred sets, which saves time in the making only: verification hashes every one.
Prints one JSON document: seconds by the clock and of processor, and peak memory in MB, of this process and of the largest of its helpers.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from nestaudience.audit.bundle import export
from nestaudience.audit.verify import verify
from nestaudience.ledger.checkpoint import Signer
from nestaudience.ledger.engine import open_ledger
from nestaudience.ledger.entries import Context, EntryType, encode, uuid7
from nestaudience.ledger.keys import new_keys
from nestaudience.ledger.merkle import HASH_SIZE, Frontier, leaf_hash, root_of
from nestaudience.vocabulary import Environment, RunKind

ORIGIN: Final = "bench.example/nestaudience/sandbox"
START: Final = datetime(2021, 11, 28, 2, 30, tzinfo=UTC)
LISTS, SETS = 20, 200
SIZES: Final = {"remove": 500, "add": 1500}


class Maker:
    """Writes entries, checkpoints and leaves straight into the tables, in the form in which the log writes them."""

    def __init__(self, connection: Any, signer: Signer) -> None:
        self.connection, self.signer, self.frontier, self.size = connection, signer, Frontier(), 0
        self.rows: dict[str, list[tuple[Any, ...]]] = {"log_entry": [], "checkpoint": [], "batch_leaves": []}
        self.sets = {operation: [self._set(people) for _ in range(SETS)] for operation, people in SIZES.items()}
        self.at = START

    def entry(self, kind: EntryType, fields: dict[str, Any], run: str) -> None:
        context = Context(run, RunKind.NIGHTLY, "bok", "2026-01", "0.1.0", "0123456789ab", "0" * 64, "service")
        self.at += timedelta(milliseconds=50)
        entry_id = uuid7(self.at, os.urandom(10))
        body = encode(kind, context, fields, index=self.size, at=self.at, entry_id=entry_id, nonce=os.urandom(32))
        self.rows["log_entry"].append((self.size, body, leaf_hash(body)))
        self.frontier.append(leaf_hash(body))
        self.size += 1

    def seal(self) -> None:
        from nestaudience.ledger.checkpoint import Checkpoint

        signed = self.signer._signed(Checkpoint(ORIGIN, self.size, self.frontier.root()))
        self.rows["checkpoint"].append((self.size, signed.note))

    def night(self, number: int) -> None:
        self.at = START + timedelta(days=number)
        run, night = f"run-{number}", self.at.date().isoformat()
        self.entry(EntryType.RUN_STARTED, {"night": night}, run)
        for operation in ("remove", "add") if number else ("add",):
            for place in range(LISTS):
                self.transfer(operation, place, number, run)
        self.entry(EntryType.RUN_FINISHED, {"night": night, "outcome": "done"}, run)
        self.seal()
        self.flush()

    def transfer(self, operation: str, place: int, number: int, run: str) -> None:
        transfer, batch_id, people = f"t-{number}-{place}-{operation}", os.urandom(16), SIZES[operation]
        leaves, root = self.sets[operation][(number * LISTS + place) % SETS]
        there = {"transfer_id": transfer, "audience": f"bok/seg{place}/google", "list_id": f"list-{place}", "ad_account": "1"}
        planned = {
            "planned_additions": people if operation == "add" else 0,
            "planned_removals": people if operation == "remove" else 0,
        }
        self.entry(EntryType.TRANSFER_INTENT, there | planned | {"operation": operation, "recipient": "google"}, run)
        self.seal()
        batch = there | {
            "batch_id": batch_id.hex(),
            "operation": operation,
            "number": 0,
            "count": people,
            "membership_root": root,
        }
        self.entry(EntryType.BATCH, batch, run)
        self.seal()
        self.rows["batch_leaves"].append((batch_id, leaves))
        answer = {"transfer_id": transfer, "batch_id": batch_id.hex()}
        self.entry(EntryType.BATCH_RESULT, answer | {"outcome": "accepted", "code": "", "request_id": f"r-{self.size}"}, run)
        self.entry(EntryType.PLATFORM_STATUS, answer | {"state": "succeeded", "records": people, "rejected": 0}, run)

    def flush(self) -> None:
        for table, rows in self.rows.items():
            marks = ", ".join("?" for _ in rows[0])
            self.connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
            rows.clear()

    @staticmethod
    def _set(people: int) -> tuple[bytes, str]:
        packed = os.urandom(people * HASH_SIZE)
        leaves = b"".join(sorted(packed[start : start + HASH_SIZE] for start in range(0, len(packed), HASH_SIZE)))
        return leaves, root_of(leaves).hex()


def made(folder: Path, nights: int) -> tuple[sa.Engine, Signer]:
    """A ledger of so many nights."""
    engine = open_ledger(folder / "ledger.sqlite", environment=Environment.SANDBOX, origin=ORIGIN, clock=lambda: START)
    signer = Signer(new_keys(os.urandom).signing_key(), ORIGIN, folder / "head")
    with engine.begin() as connection:
        plain = connection.connection.driver_connection
        maker = Maker(plain, signer)
        for number in range(nights):
            maker.night(number)
            if number % 100 == 0:
                sys.stderr.write(f"made {number} nights\n")
    return engine, signer


def measured(work: Any) -> tuple[dict[str, float], Any]:
    """Seconds and memory of one piece of work, in this process and its children."""
    clock, before = time.monotonic(), [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    result = work()
    after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    spent = [(b.ru_utime + b.ru_stime) - (a.ru_utime + a.ru_stime) for a, b in zip(before, after, strict=True)]
    memory = [round(each.ru_maxrss / 1024) for each in after]
    return {
        "seconds": round(time.monotonic() - clock, 1),
        "processor_here": round(spent[0], 1),
        "processor_helpers": round(spent[1], 1),
        "peak_mb_here": memory[0],
        "peak_mb_helper": memory[1],
    }, result


def ran(words: list[str]) -> Iterator[str]:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    yield from done.stdout.splitlines()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nights", type=int, default=1825)
    parser.add_argument("--bundle", action="store_true")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        engine, signer = made(Path(folder), asked.nights)
        spent, found = measured(lambda: verify(engine, [signer.verifier]))
        assert found.ok, found.problems[:3]
        said: dict[str, Any] = {"nights": asked.nights, "batches": len(found.balances) and (2 * asked.nights - 1) * LISTS}
        said |= {"entries": found.entries, "checkpoints": found.checkpoints, "verify": spent}
        if asked.bundle:
            from nestaudience.ledger.log import LogReader

            out = Path(folder) / "bundle"
            now = START + timedelta(days=asked.nights)
            spent, _ = measured(lambda: export(LogReader(engine), signer, out, now=now, version="benchmark"))
            said["export"] = spent
            spent, lines = measured(lambda: "\n".join(ran([sys.executable, "-I", str(out / "verify.py"), str(out), "--json"])))
            assert json.loads(lines)["ok"]
            said["second_verifier"] = spent
        engine.dispose()
    sys.stdout.write(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()
