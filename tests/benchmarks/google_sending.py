"""Whether building and sending to Google keeps up with its quota: 300 requests a minute of 10,000 people, 50,000 people a second.

    .venv/bin/python -m tests.benchmarks.google_sending                    # 300 requests: about a minute
    .venv/bin/python -m tests.benchmarks.google_sending --requests 60

The sandbox runs in a process of its own, over TLS, so that two cores are what both sides have. Prints one JSON document: people a second and as a
ratio of the quota, by the clock and, for a machine that has other work, by the processor time of both sides one after the other; and the milliseconds
of each step of the sending side. The project's quota counts here too: more than 300 requests wait for the next minute.
"""

import argparse
import json
import os
import resource
import sys
import time
import uuid
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))

from google_apart import ACCOUNT, google_apart

from nestaudience.delivery.guard import inspect
from nestaudience.destinations.google_messages import MAX_MEMBERS
from nestaudience.destinations.port import Accepted, Batch, ConsentSignals, ListSpec, Target
from nestaudience.hashing.digests import Digests
from nestaudience.vocabulary import Operation, Recipient

QUOTA: Final = 300 * MAX_MEMBERS / 60
GRANTED: Final = ConsentSignals(ad_user_data=True, ad_personalization=True)


def one(number: int) -> Batch:
    """A full batch of additions."""
    content = np.random.default_rng(number).bytes(32 * MAX_MEMBERS)
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), MAX_MEMBERS, [None, pa.py_buffer(content)])
    return Batch(uuid.uuid4().bytes, Operation.ADD, Digests(column, Recipient.GOOGLE), GRANTED)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="Benchmark of sending to Google")
    parser.add_argument("--requests", type=int, default=300)
    given = parser.parse_args()
    steps = dict.fromkeys(("build", "read back", "guard", "send and receipt"), 0.0)
    with google_apart() as google:
        target = Target(ACCOUNT, google.create_list(ACCOUNT, ListSpec("na-00000001", "na-00000001 x", 30)).list_id)
        begun, own = time.perf_counter(), time.process_time()
        for number in range(given.requests):
            batch, marks = one(number), [time.perf_counter()]
            prepared = google.prepare(target, batch)
            marks.append(time.perf_counter())
            contents = prepared.contents()
            marks.append(time.perf_counter())
            inspect(contents, batch, target)
            marks.append(time.perf_counter())
            if not isinstance(google.send(prepared), Accepted):
                raise SystemExit("a request was not accepted")
            marks.append(time.perf_counter())
            for name, first, last in zip(steps, marks, marks[1:], strict=False):
                steps[name] += last - first
        seconds, own = time.perf_counter() - begun, time.process_time() - own
    people = given.requests * MAX_MEMBERS
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    other = ended.ru_utime + ended.ru_stime
    told = {
        "cores": os.cpu_count(),
        "requests": given.requests,
        "people_a_second": round(people / seconds),
        "of_the_quota": {"clock": round(people / seconds / QUOTA, 2), "processor": round(people / (own + other) / QUOTA, 2)},
        "seconds": round(seconds, 2),
        "milliseconds_a_request": {name: round(spent / given.requests * 1000, 1) for name, spent in steps.items()},
        "processor_seconds": {"sending": round(own, 2), "sandbox": round(other, 2)},
    }
    sys.stdout.write(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
