"""Which nights had a run, which had none, and what each did: one row a company and night.

Made from the log's entries. A night is a date in Stockholm; a run that was cut off is told apart from one that never began. Whether the machine or a
person was at fault stands nowhere in the log.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

import pandas as pd

from nestaudience.audit.columns import DAY, FLAG, NUMBER, TEXT, Column, Columns, day_of, frame_of, night_of, text, words
from nestaudience.audit.transfers import TRANSFER_TYPES, Transfer, read_transfers
from nestaudience.ledger.entries import EntryType
from nestaudience.vocabulary import RunKind

TYPES: Final = TRANSFER_TYPES | {EntryType.RUN_STARTED, EntryType.RUN_FINISHED, EntryType.FUNNEL, EntryType.ANCHOR}
"""The entries that this frame is made from."""

NONE: Final = "none"

COLUMNS: Final[Columns] = {
    "night": Column(DAY, "the date in Stockholm"),
    "controller": Column(TEXT, "key of the company; empty in a ledger that never judged anybody"),
    "outcome": Column(
        TEXT,
        "of the last nightly run: done, not_clean (something is owed or was stopped), unfinished (it has no end), or none: no run",
    ),
    "nightly_runs": Column(TEXT, "ids of the nightly runs, parted by spaces"),
    "runs": Column(NUMBER, "runs of any kind on that date"),
    "kinds": Column(TEXT, "their kinds, parted by spaces"),
    "errors": Column(TEXT, "codes of what went wrong in the nightly runs, parted by spaces; for the whole group"),
    "additions": Column(NUMBER, "people in additions of this company's lists that the platforms took, by runs of any kind"),
    "removals": Column(NUMBER, "people in removals that the platforms took, late ones included"),
    "unknown": Column(NUMBER, "people in requests without an answer"),
    "anchored": Column(FLAG, "a checkpoint of that date's runs left the machine"),
}
"""The columns of `nights`, in order."""

_NIGHTLY: Final = frozenset({RunKind.NIGHTLY.value, RunKind.SANDBOX.value})


@dataclass(slots=True)
class _Run:
    night: date
    kind: str
    controller: str
    outcome: str = "unfinished"
    errors: tuple[str, ...] = ()
    anchored: bool = False


@dataclass(slots=True)
class _Seen:
    """What the entries said: runs by id, and each company's first night with anything of its own."""

    runs: dict[str, _Run] = field(default_factory=dict)
    companies: dict[str, date] = field(default_factory=dict)


def nights(
    entries: Iterable[Mapping[str, Any]], first: date | None = None, last: date | None = None, controller: str | None = None
) -> pd.DataFrame:
    """One row for each night and company, in order, with `COLUMNS`; both days included. Without a `first` it begins with the first night of the log,
    or of the company; without a `last` it ends with the log's last. `controller`: this company alone.
    """
    seen, kept = _Seen(), list[Mapping[str, Any]]()
    for entry in entries:
        if entry["type"] in TRANSFER_TYPES:
            kept.append(entry)
        _take(seen, entry)
    moved = _moved(read_transfers(kept).values(), seen.runs)
    nightly = [run.night for run in seen.runs.values() if run.kind in _NIGHTLY]
    if not nightly:
        return frame_of([], COLUMNS)
    until = last or max(nightly)
    of_night: dict[date, dict[str, _Run]] = {}
    for run_id, run in seen.runs.items():
        of_night.setdefault(run.night, {})[run_id] = run
    rows = []
    for company, begins in sorted((seen.companies or {"": min(nightly)}).items()):
        if controller is not None and company != controller:
            continue
        start = max(begins, first) if first else begins
        every = (start + timedelta(days=number) for number in range((until - start).days + 1))
        rows += [_row(night, company, of_night.get(night, {}), moved.get((company, night), {})) for night in every]
    rows.sort(key=lambda row: (row["night"], row["controller"]))
    return frame_of(rows, COLUMNS)


def _take(seen: _Seen, entry: Mapping[str, Any]) -> None:
    fields, run = entry["fields"], seen.runs.get(entry["run_id"])
    if entry["type"] == EntryType.RUN_STARTED:
        seen.runs.setdefault(entry["run_id"], _Run(night_of(entry), entry["run_kind"], entry["controller"]))
    elif entry["type"] == EntryType.RUN_FINISHED and run is not None:
        run.outcome = text(fields, "outcome") or "done"
        run.errors = tuple(str(code) for code in fields.get("errors", ()))
    elif entry["type"] == EntryType.ANCHOR and run is not None:
        run.anchored = True
    if entry["controller"]:
        seen.companies.setdefault(entry["controller"], run.night if run is not None else day_of(entry["at"]))


def _moved(transfers: Iterable[Transfer], runs: Mapping[str, _Run]) -> dict[tuple[str, date], dict[str, int]]:
    """(company, night) -> people: additions, removals, unknown."""
    found: dict[tuple[str, date], dict[str, int]] = {}
    for transfer in transfers:
        run = runs.get(transfer.run_id)
        night = run.night if run is not None else day_of(transfer.started_at)
        sums = found.setdefault((transfer.controller, night), {"additions": 0, "removals": 0, "unknown": 0})
        for request in transfer.requests:
            if request.outcome == "accepted" and not request.everywhere:
                sums["additions" if request.operation == "add" else "removals"] += request.people
            elif request.outcome == "unknown":
                sums["unknown"] += request.people
    return found


def _row(night: date, company: str, runs: Mapping[str, _Run], moved: Mapping[str, int]) -> dict[str, Any]:
    """`runs` are those of this night."""
    mine = {run_id: run for run_id, run in runs.items() if run.controller in ("", company)}
    nightly = {run_id: run for run_id, run in mine.items() if run.kind in _NIGHTLY}
    return {
        "night": night,
        "controller": company,
        "outcome": [run.outcome for run in nightly.values()][-1] if nightly else NONE,
        "nightly_runs": " ".join(nightly),
        "runs": len(mine),
        "kinds": words(run.kind for run in mine.values()),
        "errors": words(code for run in nightly.values() for code in run.errors),
        "additions": moved.get("additions", 0),
        "removals": moved.get("removals", 0),
        "unknown": moved.get("unknown", 0),
        "anchored": any(run.anchored for run in mine.values()),
    }
