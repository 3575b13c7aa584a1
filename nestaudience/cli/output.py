"""How commands speak: tables that fit a terminal, JSON when asked, errors by remedy, progress only where somebody watches.

Results go to standard output, everything else to standard error. It knows no command.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from nestaudience.errors import NestAudienceError
from nestaudience.vocabulary import STOCKHOLM

Cell = str | int | bool | None


def out() -> Console:
    """Standard output, as wide as the terminal, 100 columns where there is none."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 100, highlight=False)


def err() -> Console:
    """Standard error."""
    return Console(file=sys.stderr, width=None if sys.stderr.isatty() else 100, highlight=False)


def as_json(value: object) -> None:
    """A value as JSON on standard output: one document, keys and counts."""
    out().print_json(json.dumps(value, ensure_ascii=False, default=str)) if sys.stdout.isatty() else sys.stdout.write(
        json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n"
    )


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """A table on standard output. Numbers stand to the right, long cells fold, nothing is cut off or read as markup (`[[texts]]`)."""
    shown = Table(title=title, title_justify="left", title_style="bold", header_style="bold", expand=False)
    for number, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int) for row in rows)
        shown.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        shown.add_row(*[Text(_text(cell)) for cell in row])
    out().print(shown)


def say(text: str) -> None:
    """A sentence on standard output."""
    out().print(text, markup=False, soft_wrap=True)


def hint(text: str) -> None:
    """A sentence on standard error."""
    err().print(text, markup=False, soft_wrap=True)


def local(moment: str | datetime) -> str:
    """A UTC time as people in Stockholm read it; empty for an empty one."""
    if moment == "":
        return ""
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return at.astimezone(STOCKHOLM).strftime("%Y-%m-%d %H:%M")


def failed(errors: Sequence[NestAudienceError], *, as_json_document: bool) -> int:
    """Say what went wrong, where, and what to do; the exit code."""
    if as_json_document:
        as_json({"errors": [error.as_dict() for error in errors]})
    for error in errors:
        hint(f"{error.code} · {error.where}\n  {error.next_step}")
    return max((error.exit_code for error in errors), default=0)


@contextmanager
def progress(*, watched: bool) -> Iterator["Watcher"]:
    """A progress display on standard error while something long runs; silent where nobody watches."""
    if not watched or not sys.stderr.isatty():
        yield Watcher(None)
        return
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,}"), TimeElapsedColumn(), console=err()
    ) as bar:
        yield Watcher(bar)


class Watcher:
    """Takes a run's notes (step, key, how many) and shows them as counters."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._tasks: dict[tuple[str, str], object] = {}

    def __call__(self, step: str, key: str, done: int) -> None:
        """Count what was just done."""
        if self._bar is None:
            return
        name = (step, key)
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(f"{step} {key}", total=None)
        self._bar.advance(self._tasks[name], done)  # type: ignore[arg-type]


def _text(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"{cell:,}".replace(",", " ") if isinstance(cell, int) else cell


def freshness(unknown: bool) -> None:
    """What every report says where nobody knows how fresh the store is."""
    if unknown:
        say("Freshness: unknown. The configuration says so ([store] freshness): the store does not tell how old its views are.")
