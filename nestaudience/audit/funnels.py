"""Why a list got the people that it got: the funnel of each run and audience, one row a reason.

Made from funnel entries alone, which hold counts by the first reason that refused somebody. Nobody can be found in it:
`explain` answers for one person.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import pandas as pd

from nestaudience.audit.columns import ALL, NUMBER, TEXT, TIME, Column, Columns, Filters, frame_of, moment, text, whole, words
from nestaudience.ledger.entries import EntryType

TYPES: Final = frozenset({EntryType.FUNNEL})
"""The entries that this frame is made from; give them to `LogReader.entries`."""

ELIGIBLE: Final = "eligible"

COLUMNS: Final[Columns] = {
    "at": Column(TIME, "when the run had judged, UTC"),
    "run_id": Column(TEXT, "id of the run (UUIDv7)"),
    "run_kind": Column(TEXT, "which job"),
    "controller": Column(TEXT, "key of the company"),
    "recipient": Column(TEXT, "key of the recipient"),
    "audience": Column(TEXT, "controller/segment/recipient"),
    "reason": Column(TEXT, "eligible, or the first reason for which somebody may not be on the list"),
    "people": Column(NUMBER, "accounts with this reason; over all rows of a run and audience they sum up to candidates"),
    "candidates": Column(NUMBER, "accounts that the segment names"),
    "eligible": Column(NUMBER, "accounts that may be on the list"),
    "wanted": Column(NUMBER, "people (distinct addresses) who should be on the list"),
    "held": Column(NUMBER, "people who had to be assumed on the list when the run began"),
    "noes": Column(NUMBER, "people who leave because of something that was said"),
    "ordinary": Column(NUMBER, "people who leave because they are in the segment no more"),
    "additions": Column(NUMBER, "people who join, those who are sent again included"),
    "refresh": Column(NUMBER, "of the additions: sent again before the platform drops them"),
    "gates": Column(TEXT, "codes of the gates that were closed, parted by spaces"),
    "released": Column(TEXT, "codes of the gates that a person had let this plan through, parted by spaces"),
}
"""The columns of `funnel`, in order."""


def funnel(entries: Iterable[Mapping[str, Any]], filters: Filters = ALL) -> pd.DataFrame:
    """One row for each run, audience and reason, with `COLUMNS`; eligible first, then the reasons by size. `entries` are decoded and in order."""
    rows: list[dict[str, object]] = []
    for entry in entries:
        if entry["type"] != EntryType.FUNNEL:
            continue
        fields = entry["fields"]
        audience = text(fields, "audience")
        recipient = audience.rpartition("/")[2]
        if filters.take(
            entry["at"],
            controller=entry["controller"],
            recipient=recipient,
            audience=audience,
            run=entry["run_id"],
            kind=entry["run_kind"],
        ):
            rows += _rows(entry, fields, {"audience": audience, "recipient": recipient})
    return frame_of(rows, COLUMNS)


def _rows(entry: Mapping[str, Any], fields: Mapping[str, Any], place: dict[str, object]) -> list[dict[str, object]]:
    same = place | {name: entry[name] for name in ("run_id", "run_kind", "controller")} | {"at": moment(entry["at"])}
    same |= {name: whole(fields, name) for name, column in COLUMNS.items() if column.type == NUMBER and name != "people"}
    same |= {name: words(fields.get(name, ())) for name in ("gates", "released")}
    refused = sorted(fields.get("refused", {}).items(), key=lambda pair: (-pair[1], pair[0]))
    return [same | {"reason": reason, "people": people} for reason, people in ((ELIGIBLE, whole(fields, ELIGIBLE)), *refused)]
