"""Every benchmark, one after the other, against what it is to reach.

    .venv/bin/python -m tests.benchmarks                                   # full sizes: about an hour and a half, 12 GB on disk
    .venv/bin/python -m tests.benchmarks --small                           # a tenth of that or less: about ten minutes
    .venv/bin/python -m tests.benchmarks --only hashing night_plan --json

Each is a module here and has a command of its own, which says more: the share of each step, memory, both sides. This prints a table of what counts,
or with `--json` everything that they said. Nothing here fails for being slow: a benchmark is looked at, and measured again where it surprises.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

Row = tuple[str, object, str]
"""What was measured, how much, and what it is to reach."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The module's words for the full size and for a smaller one, and which of its numbers count."""

    words: tuple[str, ...]
    small: tuple[str, ...]
    says: Callable[[dict[str, Any]], list[Row]]
    module: str = ""


def _plan(said: dict[str, Any]) -> list[Row]:
    about = f"{said['accounts']} accounts, {said['changed']:.1%} changed"
    memory = f"{said['ours']['peak_mb']} MB"
    return [
        (f"a night's plan, {about}: times the query by hand", said["ratio"], "4, better 2"),
        ("its peak memory", memory, "3 072 MB"),
    ]


def _store(said: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for kind, sides in said["runs"].items():
        speed = {side: median(run["rows"] for run in runs) / median(run["wall"] for run in runs) for side, runs in sides.items()}
        rows.append((f"reading a store of {kind}, times pandas.read_sql", round(speed["ours"] / speed["pandas"], 1), "5"))
        peaks = [max(run["peak_mb"] for run in sides[side]) for side in ("ours, a tenth", "ours")]
        rows.append((f"its peak memory, MB, at {said['accounts'] // 10} and {said['accounts']}", peaks, "flat"))
    return rows


def _delivery(said: dict[str, Any]) -> list[Row]:
    name = said["destination"]
    return [
        (f"a night's additions to {name}, people a second", said["people_a_second"], "the ceiling"),
        (f"of {name}'s ceiling", said["of_the_ceiling"], "1"),
    ]


BENCHMARKS: Final = {
    "hashing": Benchmark(
        ("--json",),
        ("--addresses", "1000000", "--json"),
        lambda said: [("normalise and hash, times Google's formatter", said["times_googles_formatter"]["ours"], "8")],
    ),
    "commitments": Benchmark(
        ("--json",),
        ("--people", "1000000", "--json"),
        lambda said: [
            (f"commitments, leaves and roots of {said['people']} people, seconds", said["seconds"], "60 for 10 000 000")
        ],
    ),
    "store_reading": Benchmark(("--json",), ("--accounts", "1000000", "--json"), _store),
    "screening": Benchmark(
        (),
        ("--accounts", "1000000"),
        lambda said: [("judging, times the query by hand over the same tables", said["ratios"]["judging"], "4")],
    ),
    "night_plan": Benchmark(("--json",), ("--accounts", "1000000", "--json"), _plan),
    "quiet_night": Benchmark(
        ("--changed", "0.001", "--json"), ("--accounts", "1000000", "--changed", "0.001", "--json"), _plan, "night_plan"
    ),
    "delivery": Benchmark(("--json",), ("--people", "500000", "--json"), _delivery),
    "delivery_meta": Benchmark(
        ("--people", "1000000", "--destination", "meta", "--json"),
        ("--people", "100000", "--destination", "meta", "--json"),
        _delivery,
        "delivery",
    ),
    "google_sending": Benchmark(
        (),
        ("--requests", "60"),
        lambda said: [("building and sending to Google, of its quota", said["of_the_quota"]["clock"], "1")],
    ),
    "withdrawals": Benchmark(
        (),
        ("--members", "1000000"),
        lambda said: [
            ("a run for 1 000 noes, seconds", said["seconds"]["the run for withdrawals, whole"], "30 for 10 000 000 members")
        ],
    ),
    "idle_hour": Benchmark(
        ("--idle",),
        ("--idle", "--accounts", "20000"),
        lambda said: [("an hourly run with nothing to do, seconds", said["seconds"]["an hourly run with nothing to do"], "10")],
        "withdrawals",
    ),
    "verify": Benchmark(
        (),
        ("--nights", "180"),
        lambda said: [(f"verifying {said['nights']} nights, seconds", said["verify"]["seconds"], "60 for 1 825")],
    ),
    "person_lookup": Benchmark(
        ("FOLDER", "73000", "--cold"),
        ("FOLDER", "7300", "--cold"),
        lambda said: [("one person found in the log, cold, seconds", round(said["seconds"], 1), "5 for 73 000 requests")],
    ),
}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="Every benchmark")
    parser.add_argument("--small", action="store_true", help="a tenth of the sizes or less")
    parser.add_argument("--only", nargs="+", choices=tuple(BENCHMARKS), default=tuple(BENCHMARKS))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for name in given.only:
        found[name] = ran(name, small=given.small)
        if not given.json:
            sys.stdout.writelines(
                f"{what:<70}{value!s:>12}   (to reach: {goal})\n" for what, value, goal in BENCHMARKS[name].says(found[name])
            )
            sys.stdout.flush()
    if given.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")


def ran(name: str, *, small: bool) -> dict[str, Any]:
    """What one of them says."""
    benchmark = BENCHMARKS[name]
    with tempfile.TemporaryDirectory(prefix="nestaudience-benchmark-") as folder:
        words = [folder if word == "FOLDER" else word for word in (benchmark.small if small else benchmark.words)]
        command = [sys.executable, "-m", f"tests.benchmarks.{benchmark.module or name}", *words]
        said: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return said


if __name__ == "__main__":
    main()
