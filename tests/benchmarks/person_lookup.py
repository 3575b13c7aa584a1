"""How long the look-up of one person takes over five synthetic years: 73 000 batches of 1 000 people on average.

.venv/bin/python -m tests.benchmarks.person_lookup FOLDER [BATCHES] [--cold]      # makes the ledger there the first time (2.4 GB)
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from nestaudience.audit.persons import search
from nestaudience.hashing.commitments import key_of_list, membership_leaves, person_keys
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.log import keep_batch_leaves
from nestaudience.vocabulary import Operation
from tests.ledger.ledger_builder import BuiltLedger, context

LISTS = 40


def build(ledger: BuiltLedger, batches: int, mine: np.ndarray) -> int:
    """Random leaves, and in every fiftieth batch this person; how many hold her."""
    chance, held = np.random.default_rng(7), 0
    for first in range(0, batches, 1000):
        entries, kept = [], []
        for number in range(first, min(first + 1000, batches)):
            batch_id, count = chance.bytes(16), int(chance.integers(100, 1900))
            name, operation = f"list-{number % LISTS}", Operation.ADD if number % 3 else Operation.REMOVE
            leaves = chance.integers(0, 256, (count, 32), dtype=np.uint8)
            if number % 50 == 0:
                held += 1
                leaf = np.frombuffer(membership_leaves(mine, batch_id, operation, key_of_list(name)), np.uint8).reshape(1, 32)
                leaves = np.vstack([leaves, leaf])
            packed = np.sort(np.ascontiguousarray(leaves).view("S32"), axis=0).tobytes()
            fields = {"transfer_id": f"t-{number}", "batch_id": batch_id.hex(), "audience": "bok/x/google", "list_id": name}
            fields |= {"operation": operation.value, "number": 1, "count": len(packed) // 32, "membership_root": "ab" * 32}
            entries.append((EntryType.BATCH, context(), fields))
            kept.append((batch_id, packed))
        others = [(EntryType.BATCH_RESULT, context(), {"n": n}) for n in range(2 * len(entries))]
        ledger.log.append([*entries, *others], lambda c, _, kept=kept: [keep_batch_leaves(c, *each) for each in kept])
    return held


def main() -> None:
    words = [word for word in sys.argv[1:] if word != "--cold"]
    folder, batches = Path(words[0]), int(words[1]) if len(words) > 1 else 73_000
    mine = person_keys(bytes(range(32)), np.full((1, 32), 5, dtype=np.uint8))
    new = not (folder / "ledger.db").exists()
    folder.mkdir(parents=True, exist_ok=True)
    ledger = BuiltLedger(folder)
    if new:
        build(ledger, batches, mine)
        ledger.engine.dispose()
        os.sync()
        ledger = BuiltLedger(folder)
    handle = os.open(folder / "ledger.db", os.O_RDONLY)
    if "--cold" in sys.argv:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    started, cpu = time.monotonic(), time.process_time()
    found = search(ledger.log, mine)
    sys.stdout.write(
        json.dumps({"found": len(found), "seconds": time.monotonic() - started, "cpu": time.process_time() - cpu}) + "\n"
    )


if __name__ == "__main__":
    main()
