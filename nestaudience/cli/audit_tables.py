"""How the log's frames look in a terminal: the columns that a person reads, with times as in Stockholm. `--json` has every column."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import pandas as pd

from nestaudience.audit.clocks import CLOCKS
from nestaudience.cli import output

_PLAIN: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "lookups": (
        "By hand, for one person",
        {"at": "when", "type": "what", "what": "how", "case_id": "case", "actor": "by", "accounts": "accounts", "lists": "lists"},
    ),
    "nights": (
        "Nights",
        {
            "night": "night",
            "controller": "company",
            "outcome": "nightly run",
            "runs": "runs",
            "kinds": "kinds",
            "removals": "removed",
            "additions": "added",
            "unknown": "unknown",
            "errors": "errors",
        },
    ),
    "sizes": (
        "Lists",
        {
            "night": "night",
            "audience": "audience",
            "size": "platform",
            "match_rate": "match %",
            "wanted": "wanted",
            "net": "ours",
            "open": "open",
            "signs": "signs",
        },
    ),
    "changes": (
        "Changes",
        {
            "at": "when",
            "index": "entry",
            "type": "type",
            "code": "what",
            "controller": "company",
            "audience": "audience",
            "people": "people",
            "actor": "by",
        },
    ),
}
_CLOCKS: Final = {
    "recorded_to_visible": "recorded → seen",
    "visible_to_accepted": "seen → accepted",
    "accepted_to_done": "accepted → done",
}
_AFTER: Final = {
    "sizes": "Platform: its own number, rounded and only of those whom it matched. Ours: added less removed by every request that may "
    "have had an effect.",
    "changes": "`audit show ENTRY` has an entry in whole, with its proof.",
    "nights": "`none`: no nightly run. `unfinished`: it began and has no end in the log.",
}


def show_plain(name: str, frame: pd.DataFrame) -> None:
    """One table, with the columns that fit."""
    title, columns = _PLAIN[name]
    output.table(title, list(columns.values()), [_cells(row, columns) for row in frame.to_dict("records")])
    if name == "changes":
        for code, what in sorted({(row["code"], row["what"]) for row in frame.to_dict("records") if row["what"]}):
            output.say(f"{code}: {what}")
    if name in _AFTER:
        output.say(_AFTER[name])


def show_funnels(frame: pd.DataFrame) -> None:
    """One table a run and audience: people by reason."""
    for (_, audience), of_list in frame.groupby(["run_id", "audience"], sort=False):
        head = of_list.iloc[0]
        title = f"{audience} · {output.local(head['at'])} · {head['run_kind']}"
        output.say(title)
        output.table("", ("accounts", "reason"), [(int(row["people"]), row["reason"]) for row in of_list.to_dict("records")])
        output.say(
            f"Candidates {head['candidates']}; should be on the list {head['wanted']}, held before {head['held']}; planned: remove "
            f"{head['noes'] + head['ordinary']} (of them said no {head['noes']}), add {head['additions']}; closed gates: {head['gates'] or 'none'}."
        )


def show_removals(frame: pd.DataFrame) -> None:
    """A table of the clocks of each run and list, and the longest of each platform."""
    measured = frame[frame["clock"] != ""]
    rows: list[tuple[output.Cell, ...]] = [
        (
            output.local(row["at"])[:10],
            row["audience"],
            _CLOCKS[row["clock"]],
            row["people"],
            *(_span(row[name]) for name in ("p50", "p95", "max")),
        )
        for row in measured.to_dict("records")
    ]
    output.table("Removals", ("when", "audience", "clock", "people", "half", "95 of 100", "all"), rows)
    sums: list[tuple[output.Cell, ...]] = []
    for recipient, of_recipient in measured.groupby("recipient"):
        for clock in CLOCKS:
            mine = of_recipient[of_recipient["clock"] == clock]
            if len(mine):
                sums.append((str(recipient), _CLOCKS[clock], int(mine["people"].sum()), _span(mine["max"].max())))
    output.table("All of them", ("recipient", "clock", "people", "longest"), sums)


def show_open(frame: pd.DataFrame) -> None:
    """A table of what is not known to be done."""
    rows: list[tuple[output.Cell, ...]] = [
        (output.local(row["since"]), _span(row["age"]), row["audience"], row["state"], row["people"], row["code"], row["step"])
        for row in frame.to_dict("records")
    ]
    output.table("Open removals", ("since", "age", "audience", "state", "people", "why", "step taken"), rows)


def _cells(row: Mapping[Any, Any], columns: Mapping[str, str]) -> tuple[output.Cell, ...]:
    return tuple(_cell(row[name]) for name in columns)


def _cell(value: Any) -> output.Cell:
    if value is None or value is pd.NA:
        return None
    if isinstance(value, datetime):
        return output.local(value)
    if isinstance(value, bool | int | str):
        return value if value != "" else "–"
    return str(value)


def _span(seconds: Any) -> str:
    """Seconds as days, hours and minutes; below a minute as seconds."""
    if seconds is None or seconds is pd.NA:
        return "–"
    minutes, rest = divmod(int(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours // 24} d {hours % 24} h" if hours >= 48 else f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
