"""What the benchmarks share that set sides beside each other: each side in a process of its own, medians over the runs, a table.

A side is a function that gives a document; added to it are the peak memory of its process, in MB, and what the process weighed before it began.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Any

Side = Callable[[], dict[str, Any]]


def say(side: Side) -> None:
    """Run a side in this process, and print what it says."""
    before = _peak_mb()
    said = side()
    sys.stdout.write(json.dumps(said | {"peak_mb": _peak_mb(), "before_mb": before}))


def asked(module: str, side: str, *words: str) -> dict[str, Any]:
    """What a side says in a process of its own."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", "--side", side, *words]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def middle(runs: Iterable[Mapping[str, Any]], name: str) -> float:
    """The median of one number over the runs."""
    return float(median(run[name] for run in runs))


def shown(document: dict[str, Any], heads: tuple[str, ...], rows: Iterable[tuple[Any, ...]], *, as_json: bool) -> None:
    """The document as JSON, or its rows as a table."""
    if as_json:
        sys.stdout.write(json.dumps(document | {"cores": os.cpu_count()}, indent=1) + "\n")
        return
    lines = [heads, ("---",) * len(heads), *rows]
    sys.stdout.writelines("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
