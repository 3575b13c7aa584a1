"""How many people a second a whole night delivers, with everything that belongs to it: last looks, salts, commitments, leaves, entries, checkpoints.

    .venv/bin/python -m tests.benchmarks.delivery                          # 10 million additions to ten Google lists: about half an hour
    .venv/bin/python -m tests.benchmarks.delivery --people 1000000         # smaller
    .venv/bin/python -m tests.benchmarks.delivery --destination meta --people 1000000

A store of SQLite with a tenth as many accounts, each in ten segments; where the platform takes its time, the first night sends the probes and the
second the rest: the one that sends most is measured, from its first batch to its last. The platforms' stand-ins have a process of their own. Prints
people a second against the platform's ceiling, the share of each step, the processor time of both sides, how idle the stand-ins' process was, and the
sender's peak memory after its tenth request and at the end (`--json`: one document).
"""

import argparse
import cProfile
import json
import os
import pstats
import re
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

from nestaudience import sync
from nestaudience.customers.ddl import script
from nestaudience.sandbox import site
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.wiring import open_parts

LISTS: Final = 10
CEILINGS: Final = {"google_data_manager": 50_000, "meta": 14_000}
"""People a second: Google's quota for a project, and what Meta's calls of an hour come to (`docs/scale.md` has the sources)."""
STEPS: Final = {
    "last look": ("last_look.py", "at_batch"),
    "build the message": ("google_data_manager.py meta.py", "prepare"),
    "guard": ("guard.py", "inspect"),
    "keys of people": ("salts.py", "keys_of"),
    "leaves": ("commitments.py", "membership_leaves"),
    "seal digests": ("sealing.py", "seal"),
    "write the log": ("log.py", "append_and_seal"),
    "send and receipt": ("google_data_manager.py meta.py", "send"),
}
STORE: Final = """
INSERT INTO shop_account
WITH RECURSIVE r(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM r WHERE n + 1 < {accounts})
SELECT 'a' || n, 'computime', 'active', 'private', 'person' || n || '@example' || (n % 1000) || '.se', 'account', '{old}', NULL, 'SE',
       1940 + (n % 60), 0, 0, '{old}', '{now}', '{old}', 0, NULL FROM r;
INSERT INTO shop_consent_log
SELECT 'e' || account_id, account_id, 'computime', 'ad_matching', '*', 'grant', '{later}', '{later}', 'web_account_settings', NULL, 1, 'ads-2025-09'
FROM shop_account;
INSERT INTO shop_segment_member
WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n + 1 < {lists})
SELECT 'bench_' || n, 'computime', account_id, '{later}', NULL, NULL FROM s CROSS JOIN shop_account;
INSERT INTO shop_segment_status SELECT segment_code, 'computime', 'v1', '{now}', count(*) FROM shop_segment_member GROUP BY segment_code;
"""
VIEWS: Final = ("account", "consent_event", "rights_event", "segment_member")
CHILD: Final = "--night"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="Benchmark of delivery")
    parser.add_argument("--people", type=int, default=10_000_000)
    parser.add_argument("--destination", choices=tuple(CEILINGS), default="google_data_manager")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(CHILD, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ahead", type=float, default=0.0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.night:
        sys.stdout.write(json.dumps(night(given.night, timedelta(seconds=given.ahead))))
        return
    with tempfile.TemporaryDirectory(prefix="nestaudience-benchmark-") as folder:
        said = measured(Path(folder) / "site", given.people, given.destination)
    sys.stdout.write(json.dumps(said, indent=1) + "\n" if given.json else table(said))


def measured(folder: Path, people: int, destination: str) -> dict[str, Any]:
    """The stand-ins here, the nights in processes of their own."""
    clock = SandboxClock(datetime.now(UTC), ticking=time.monotonic)
    with site.Platforms(clock) as platforms:
        place = site.lay_out(folder, platforms=platforms, randomness=Random(1).randbytes, smallest_list=100)
        site.publish(place.folder, platforms)
        configure(place, destination)
        fill(place.store, people // LISTS, clock.now())
        said, seconds, busy = timed(place, clock)
        platforms.advance(timedelta(hours=2))
        if said["added"] < people // 2:  # the platform has to take the probes first
            refresh(place.store, clock.now())
            said, seconds, busy = timed(place, clock)
            platforms.advance(timedelta(hours=2))
        held = sum(len(members) for members in platforms.members().values())
    adding = said["seconds"]["adding"]
    return said | {
        "destination": destination,
        "people_a_second": round(said["added"] / adding),
        "of_the_ceiling": round(said["added"] / adding / CEILINGS[destination], 2),
        "held_by_the_platform": held,
        "stand_in": {"processor_seconds": round(busy, 1), "idle": round(1 - busy / seconds, 2)},
        "cores": os.cpu_count(),
    }


def configure(place: site.Site, destination: str) -> None:
    """Ten segments of one company, and their lists at one destination."""
    text = place.config.read_text("utf-8")
    head = text[: text.index("# --- The segments")]
    day = re.findall(r"approved_on = (\d{4}-\d\d-\d\d)", text)[0]
    approval = (
        f'owner = "growth-1", approver = "privacy-1", approved_on = {day}, dpia = "DPIA-1", sensitive = "reviewed_not_sensitive"'
    )
    for number in range(LISTS):
        code = f"bench_{number}"
        head += (
            f'[[segments]]\ncode = "{code}"\ncontroller = "computime"\nname = "Benchmark {number}"\ndata_inputs = ["orders"]\n'
        )
        head += f"approval = {{ {approval} }}\n"
        head += (
            f'[[audiences]]\ncontroller = "computime"\nsegment = "{code}"\ndestination = "{destination}"\nnumber = {number + 1}\n'
        )
    place.config.write_text(head, "utf-8")


def fill(path: Path, accounts: int, now: datetime) -> None:
    """Accounts who all consented, each in every segment."""
    days = {"old": "2024-01-01T00:00:00Z", "later": "2026-06-01T00:00:00Z", "now": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
    with sqlite3.connect(path) as store:
        store.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + script("sqlite"))
        store.executescript(STORE.format(accounts=accounts, lists=LISTS, **days))
        for view in VIEWS:
            for company in ("computime", "bokhyllan", "hemkraft"):
                store.execute(
                    f"INSERT INTO shop_feed_status SELECT ?, ?, ?, ?, count(*), 'g1', 'sandbox' FROM {view} WHERE controller_id = ?",
                    (view, company, days["now"], days["now"], company),
                )
    store.close()


def refresh(path: Path, now: datetime) -> None:
    """The store was loaded again."""
    with sqlite3.connect(path) as store:
        at = f"{now:%Y-%m-%dT%H:%M:%SZ}"
        store.execute("UPDATE shop_feed_status SET complete_until = ?, loaded_at = ?", (at, at))
        store.execute("UPDATE shop_segment_status SET computed_at = ?", (at,))
    store.close()


def timed(place: site.Site, clock: SandboxClock) -> tuple[dict[str, Any], float, float]:
    """A night, its seconds, and the processor time of the stand-ins meanwhile."""
    busy, begun = time.process_time(), time.perf_counter()
    said = one_night(place, clock)
    return said, time.perf_counter() - begun, time.process_time() - busy


def one_night(place: site.Site, clock: SandboxClock) -> dict[str, Any]:
    """A night in a process of its own, at the stand-ins' time."""
    ahead = (clock.now() - datetime.now(UTC)).total_seconds()
    words = ["-m", "tests.benchmarks.delivery", CHILD, str(place.folder), f"--ahead={ahead}"]
    done = subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def night(folder: Path, ahead: timedelta) -> dict[str, Any]:
    """The whole run; its additions under a profiler."""
    peaks: list[int] = []
    seconds: dict[str, float] = {}
    profile = cProfile.Profile()

    def note(step: str, _key: str, _done: int) -> None:
        if step == "add":
            peaks.append(peak_mb())

    begun = time.perf_counter()
    with (
        open_parts(site.Site(folder).config, clock=lambda: datetime.now(UTC) + ahead) as parts,
        sync.Run(parts, note=note) as run,
    ):
        audiences = run.judge()
        for key in audiences:
            run.remove(key)
        seconds["judging"] = time.perf_counter() - begun
        begun, own = time.perf_counter(), time.process_time()
        profile.enable()
        for key in audiences:
            run.add(key)
        profile.disable()
        seconds["adding"], own = time.perf_counter() - begun, time.process_time() - own
        run.close_lists()
        outcome = run.finish()
    added = sum(sent.added for sent in outcome.sent.values())
    return {
        "added": added,
        "requests": len(peaks),
        "gates": sorted({gate.code for gates in outcome.gates.values() for gate in gates}),
        "errors": sorted({error.code for error in outcome.errors}),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "processor_seconds": round(own, 1),
        "share": shares(profile, seconds["adding"]),
        "peak_mb": {"after ten requests": peaks[min(9, len(peaks) - 1)] if peaks else 0, "at the end": peak_mb()},
    }


def shares(profile: cProfile.Profile, whole: float) -> dict[str, float]:
    """Which step took what share of the time; steps inside another are named as well."""
    found = dict.fromkeys(STEPS, 0.0)
    for (path, _, function), row in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        for name, (files, wanted) in STEPS.items():
            if function == wanted and Path(path).name in files.split():
                found[name] += row[3]
    return {name: round(spent / whole, 3) for name, spent in found.items()}


def peak_mb() -> int:
    """Of this process, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def table(said: dict[str, Any]) -> str:
    """The same for people."""
    rows = [f"{name:<20}{share:>8.1%}" for name, share in said["share"].items()]
    rows += [
        "",
        f"{said['added']} people in {said['requests']} requests to {said['destination']}, {said['seconds']['adding']} s",
        f"{said['people_a_second']} people a second: {said['of_the_ceiling']} of the ceiling; {said['processor_seconds']} s of a processor here",
        f"the stand-in was idle {said['stand_in']['idle']:.0%} of the run, and holds {said['held_by_the_platform']} people",
        f"peak memory {said['peak_mb']['after ten requests']} MB after ten requests, {said['peak_mb']['at the end']} MB at the end",
    ]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
