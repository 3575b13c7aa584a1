"""What proving costs a delivery: person keys, membership leaves, sorting and roots of ten million people, in batches of 10 000 as delivery makes
them.

.venv/bin/python -m tests.benchmarks.commitments [--people N] [--runs N] [--threads N] [--json]      # the promise: under 60 s on two cores

Nothing is sent and nothing is stored. The median of the runs counts; the share of a step is of all steps' time by the clock, summed over batches.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from nestaudience.hashing.commitments import key_of_list, leaves_of, person_keys, sorted_leaves
from nestaudience.hashing.kernel import Bytes2D
from nestaudience.ledger.merkle import membership_root
from nestaudience.vocabulary import Operation

BATCH = 10_000
PROMISE = 60.0
STEPS = ("person_keys", "commitments_and_leaves", "sorting", "roots")
MASTER, LIST = bytes(range(32)), key_of_list("list-1")


class Steps:
    """Seconds of each step by the clock, summed over batches; with two threads they overlap."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STEPS, 0.0)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Measure one step of one batch."""
        started = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - started


def one_batch(salts: Bytes2D, number: int, steps: Steps) -> bytes:
    """The steps of one request; its root."""
    with steps.of("person_keys"):
        keys = person_keys(MASTER, salts)
    with steps.of("commitments_and_leaves"):
        found = leaves_of(keys, number.to_bytes(16, "big"), Operation.ADD, LIST)
    with steps.of("sorting"):
        packed = sorted_leaves(found)
    with steps.of("roots"):
        return membership_root(packed)


def once(people: int, threads: int) -> dict[str, object]:
    """One run over random salts, which are made before the clock starts, a block at a time."""
    chance, spent, cpu, steps, roots = np.random.default_rng(7), 0.0, 0.0, Steps(), 0
    block = 100 * BATCH
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, people, block):
            salts = chance.integers(0, 256, (min(block, people - first), 32), dtype=np.uint8)
            parts = [(salts[at : at + BATCH], first + at, steps) for at in range(0, len(salts), BATCH)]
            started, used = time.perf_counter(), time.process_time()
            roots += len(list(pool.map(lambda part: one_batch(*part), parts)))
            spent += time.perf_counter() - started
            cpu += time.process_time() - used
    whole = sum(steps.seconds.values())
    share = {name: round(seconds / whole, 3) for name, seconds in steps.seconds.items()}
    return {"seconds": round(spent, 2), "cpu": round(cpu, 2), "roots": roots, "share": share}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--people", type=int, default=10_000_000)
    words.add_argument("--runs", type=int, default=1)
    words.add_argument("--threads", type=int, default=2)
    words.add_argument("--json", action="store_true")
    asked = words.parse_args()
    runs = [once(asked.people, asked.threads) for _ in range(asked.runs)]
    median = {name: statistics.median(float(str(run[name])) for run in runs) for name in ("seconds", "cpu")}
    said = {
        "people": asked.people,
        "batches": runs[0]["roots"],
        "threads": asked.threads,
        "runs": asked.runs,
        **median,
        "share": runs[-1]["share"],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "within_promise": median["cpu"] < PROMISE * asked.people / 10_000_000,  # what one free core takes at most
    }
    if asked.json:
        sys.stdout.write(json.dumps(said) + "\n")
        return
    sys.stdout.write(
        f"{asked.people:,} people in {said['batches']:,} batches, {asked.threads} threads, median of {asked.runs}: "
        f"{median['seconds']:.1f} s by the clock, {median['cpu']:.1f} s of processor, peak {said['peak_mb']} MB\n"
    )
    for name, part in dict(runs[-1]["share"]).items():  # type: ignore[call-overload]
        sys.stdout.write(f"  {name:24} {part:6.1%}\n")


if __name__ == "__main__":
    main()
