"""How large each list was, night by night: by the platform, and by our own count.

Made from what the platforms said of our lists (list facts) and from transfers. The two need not be equal: a platform counts users whom it could match
and rounds, and `net` counts who was sent again again. A drift between nights is what there is to see.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

import pandas as pd

from nestaudience.audit.columns import (
    ALL,
    DAY,
    FLAG,
    NUMBER,
    TEXT,
    TIME,
    Column,
    Columns,
    Filters,
    day_of,
    frame_of,
    moment,
    night_of,
    text,
    whole,
    words,
)
from nestaudience.audit.transfers import TRANSFER_TYPES
from nestaudience.ledger.entries import EntryType

TYPES: Final = TRANSFER_TYPES | {EntryType.LIST_FACTS, EntryType.FUNNEL, EntryType.RUN_STARTED}
"""The entries that this frame is made from."""

COLUMNS: Final[Columns] = {
    "night": Column(DAY, "the date in Stockholm of the run that asked"),
    "at": Column(TIME, "when the platform's word was written down, UTC"),
    "controller": Column(TEXT, "key of the company"),
    "recipient": Column(TEXT, "key of the recipient"),
    "audience": Column(TEXT, "controller/segment/recipient"),
    "list_id": Column(TEXT, "the platform's id of the list"),
    "size": Column(NUMBER, "the platform's number of users; rounded by it; null where it does not say"),
    "lower": Column(NUMBER, "lower end of the platform's range; null where it gives none"),
    "upper": Column(NUMBER, "upper end of it"),
    "match_rate": Column(NUMBER, "the platform's share of addresses that it matched, in percent; null where it does not say"),
    "open": Column(FLAG, "the platform lets people join"),
    "state": Column(TEXT, "why it is closed, or the platform's codes of operation and delivery; empty where it does not say"),
    "signs": Column(TEXT, "signs that something was done to the list outside this program, parted by spaces"),
    "wanted": Column(NUMBER, "people (distinct addresses) who should have been on it by the run's own funnel; null without one"),
    "net": Column(
        NUMBER,
        "people added less people removed by all requests up to then that may have had an effect, less those whom the platform "
        "rejected; who is sent again counts again",
    ),
    "run_id": Column(TEXT, "id of the run"),
}
"""The columns of `sizes`, in order."""

_NO_EFFECT: Final = frozenset({"failed", "never_seen"})


def sizes(entries: Iterable[Mapping[str, Any]], filters: Filters = ALL) -> pd.DataFrame:
    """One row a list and night, the last word of each, in order, with `COLUMNS`. `entries` are decoded, in order and from the first: they are
    counted; the filters choose rows.
    """
    rows: dict[tuple[str, date], dict[str, object]] = {}
    nights: dict[str, date] = {}
    wanted: dict[tuple[str, str], int | None] = {}
    counts = _Counts()
    for entry in entries:
        kind, fields = entry["type"], entry["fields"]
        counts.take(kind, fields)
        if kind == EntryType.RUN_STARTED:
            nights[entry["run_id"]] = night_of(entry)
        elif kind == EntryType.FUNNEL:
            wanted[entry["run_id"], text(fields, "audience")] = whole(fields, "wanted")
        elif kind == EntryType.LIST_FACTS:
            audience = text(fields, "audience")
            recipient, at = audience.rpartition("/")[2], entry["at"]
            if filters.take(
                at,
                controller=entry["controller"],
                recipient=recipient,
                audience=audience,
                run=entry["run_id"],
                kind=entry["run_kind"],
            ):
                row = _row(entry, fields, counts.net(text(fields, "list_id")))
                night = nights.get(entry["run_id"]) or day_of(at)
                row |= {"recipient": recipient, "night": night, "wanted": wanted.get((entry["run_id"], audience))}
                rows[text(fields, "list_id"), night] = row
    return frame_of(list(rows.values()), COLUMNS)


class _Counts:
    """Added less removed, list by list, as the entries so far say."""

    def __init__(self) -> None:
        self._batches: dict[str, tuple[str, int, int]] = {}
        self._effect: dict[str, int] = {}
        self._net: dict[str, int] = {}

    def take(self, kind: str, fields: Mapping[str, Any]) -> None:
        """One entry; others than of transfers are passed over."""
        batch_id = text(fields, "batch_id")
        if kind == EntryType.BATCH:
            adds = fields.get("operation") == "add"
            sign = 1 if adds else 0 if fields.get("repeat") is True or fields.get("everywhere") is True else -1
            self._batches[batch_id] = (text(fields, "list_id"), sign, whole(fields, "count") or 0)
            self._set(batch_id, 1 if adds else 0)
        elif kind == EntryType.BATCH_RESULT and batch_id in self._batches:
            adds, outcome = self._batches[batch_id][1] > 0, fields.get("outcome")
            self._set(batch_id, 0 if outcome == "refused" else 1 if adds or outcome == "accepted" else 0)
        elif kind == EntryType.PLATFORM_STATUS and batch_id in self._batches and fields.get("state") != "lapsed":
            self._set(batch_id, 0 if fields.get("state") in _NO_EFFECT else 1, whole(fields, "rejected") or 0)

    def net(self, list_id: str) -> int:
        """Of one list."""
        return self._net.get(list_id, 0)

    def _set(self, batch_id: str, takes: int, rejected: int = 0) -> None:
        list_id, sign, people = self._batches[batch_id]
        effect = sign * takes * max(0, people - rejected)
        self._net[list_id] = self._net.get(list_id, 0) + effect - self._effect.get(batch_id, 0)
        self._effect[batch_id] = effect


def _row(entry: Mapping[str, Any], fields: Mapping[str, Any], net: int) -> dict[str, object]:
    said = (str(fields[name]) for name in ("closing_reason", "operation", "delivery") if name in fields)
    return {
        "at": moment(entry["at"]),
        "controller": entry["controller"],
        "audience": text(fields, "audience"),
        "list_id": text(fields, "list_id"),
        **{name: whole(fields, name) for name in ("size", "lower", "upper", "match_rate")},
        "open": fields.get("open") is True,
        "state": " ".join(said),
        "signs": words(fields.get("signs", ())),
        "net": net,
        "run_id": entry["run_id"],
    }
