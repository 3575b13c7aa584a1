"""`docs/reliability.md`, made from what the long forms of the tests wrote down.

    RELIABILITY_RESULTS=tests/results .venv/bin/pytest --long tests/killed     # each long form leaves a JSON file there
    .venv/bin/python -m tests.reliability                                      # the page, from every file in tests/results

A file is one part, any name with `.json`; `record` writes it, `collect` adds to it, and so may any other test:
    {"rows": [{"fault": "...", "runs": 1, "wrong": 0, "mutants": null, "caught": null, "leaks": null}], "clocks": [], "at": "2026-11-25"}
Whatever a part does not count is left out of its rows. A test that fails leaves no file: there are no rows of failures.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

PLACE: Final = "RELIABILITY_RESULTS"
"""The variable that names the folder of results; without it nothing is written."""
RESULTS: Final = Path(__file__).parent / "results"
"""The results from which the page in the repository was made."""
PAGE: Final = Path(__file__).parents[1] / "docs" / "reliability.md"
HEAD: Final = """# Reliability: what was tried, and what came of it

Made by the long forms of the tests (`tests/reliability.py` says how); not written by hand. A row stands here only when its test passed: after the
next run no list differed from consent by one person, nobody joined without consent, every request had its entry, and the log verified.

"""
CLOCKS: Final = """
## The clocks of removals, in seconds

The sandbox's time is moved by hand (a night 23 hours after the last watermark, a run for withdrawals two hours after it, Google's answer asked for
after one hour): these numbers show that what is measured is what was so. How fast a real installation is stands in its own `nestaudience status`.

"""


@dataclass(frozen=True)
class Row:
    """One kind of fault: how many runs met it, and how many members were lost or wrong afterwards. None: not counted here."""

    fault: str
    runs: int | None = None
    wrong: int | None = 0
    mutants: int | None = None
    caught: int | None = None
    leaks: int | None = None


@dataclass(frozen=True)
class Clock:
    """One clock of a run: whole seconds, over so many people."""

    run: str
    clock: str
    people: int
    p50: int
    p95: int
    max: int


@dataclass(frozen=True)
class Part:
    """What one long form wrote."""

    rows: list[Row] = field(default_factory=list)
    clocks: list[Clock] = field(default_factory=list)
    at: str = ""


def record(name: str, rows: list[Row], clocks: list[Clock] | None = None, folder: str | None = None) -> None:
    """Leave a part, when somebody asked for it, or named the folder here."""
    folder = folder or os.environ.get(PLACE)
    if folder:
        part = Part(rows, clocks or [], datetime.now(UTC).date().isoformat())
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.json").write_text(json.dumps(asdict(part), indent=1) + "\n", "utf-8")


def collect(name: str, rows: list[Row], folder: str | None = None) -> None:
    """Leave rows in a part that several processes fill, one after the other or at once: a row replaces an earlier one of the same fault."""
    folder = folder or os.environ.get(PLACE)
    if not folder:
        return
    path = Path(folder) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    turn = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        earlier = [Row(**row) for row in json.loads(path.read_text("utf-8"))["rows"]] if path.exists() else []
        found = {row.fault: row for row in [*earlier, *rows]}
        record(name, sorted(found.values(), key=lambda row: row.fault), folder=folder)
    finally:
        os.close(turn)


def parts(folder: Path) -> Iterator[Part]:
    """Every part in a folder, by its file's name."""
    for path in sorted(folder.glob("*.json")):
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        yield Part([Row(**row) for row in found["rows"]], [Clock(**clock) for clock in found["clocks"]], found["at"])


def page(found: list[Part]) -> str:
    """The page."""
    rows = [row for part in found for row in part.rows]
    text = HEAD + f"Last run of the long forms: {max((part.at for part in found), default='never')}.\n\n"
    text += _table(
        ("fault", "runs", "lost or wrong members", "mutants", "caught", "leaks"),
        [(row.fault, row.runs, row.wrong, row.mutants, row.caught, row.leaks) for row in rows],
    )
    text += f"\nTogether: {', '.join(_together(rows))}.\n"
    clocks = [clock for part in found for clock in part.clocks]
    if clocks:
        text += CLOCKS
        text += _table(
            ("run", "clock", "people", "p50", "p95", "max"),
            [(each.run, each.clock, each.people, each.p50, each.p95, each.max) for each in clocks],
        )
    return text


def _together(rows: list[Row]) -> Iterator[str]:
    """The sums of what was counted at all."""
    words = {"runs": "runs", "wrong": "lost or wrong members", "mutants": "mutants", "caught": "of them caught", "leaks": "leaks"}
    for name, word in words.items():
        counted = [getattr(row, name) for row in rows if getattr(row, name) is not None]
        if counted:
            yield f"{sum(counted)} {word}"


def _table(names: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [names, tuple("---" for _ in names), *(tuple("" if cell is None else str(cell) for cell in row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(list(parts(RESULTS))), "utf-8")


if __name__ == "__main__":
    main()
