"""How fast noes reached each platform, and which removals are open, refused or frozen: by the log's own word.

`removals` has the clocks as each run measured them; `clocks.removal_clocks` sums them up. `open_removals` folds requests and answers. Entries name no
person, so a removal counts as over when a later run's removals on that list were all accepted: every run sends everything that is owed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import pandas as pd

from nestaudience.audit.clocks import CLOCKS
from nestaudience.audit.columns import ALL, NUMBER, TEXT, TIME, Column, Columns, Filters, frame_of, moment, text, whole
from nestaudience.audit.transfers import TRANSFER_TYPES, Request, Transfer, read_transfers
from nestaudience.ledger.entries import EntryType
from nestaudience.vocabulary import Operation

TYPES: Final = frozenset({EntryType.REMOVAL_TIMES})
"""The entries that `removals` is made from."""
OPEN_TYPES: Final = TRANSFER_TYPES | {EntryType.LIST_DELETED, EntryType.BINDING_CHANGED, EntryType.INCIDENT}
"""The entries that `open_removals` is made from."""

COLUMNS: Final[Columns] = {
    "at": Column(TIME, "when it was written down, UTC"),
    "run_id": Column(TEXT, "id of the run that measured it (UUIDv7)"),
    "run_kind": Column(TEXT, "which job"),
    "controller": Column(TEXT, "key of the company"),
    "recipient": Column(TEXT, "key of the recipient"),
    "audience": Column(TEXT, "controller/segment/recipient"),
    "clock": Column(
        TEXT,
        "recorded_to_visible (a no was recorded, until a run saw it), visible_to_accepted (until the platform took the request) or "
        "accepted_to_done (until it said that it was done); empty where only people were measured who had been asked off before",
    ),
    "people": Column(NUMBER, "people whom this clock measured"),
    "p50": Column(NUMBER, "seconds within which half of them were served"),
    "p95": Column(NUMBER, "seconds within which 95 of 100 were served"),
    "max": Column(NUMBER, "seconds within which all were served"),
    "again": Column(
        NUMBER, "people of this run and list whose removal had been asked for before; they are in no clock but the last"
    ),
}
"""The columns of `removals`, in order."""

OPEN_COLUMNS: Final[Columns] = {
    "since": Column(TIME, "when the oldest of these requests was written down, UTC"),
    "age": Column(NUMBER, "seconds from then to the time for which the frame was made"),
    "controller": Column(TEXT, "key of the company"),
    "recipient": Column(TEXT, "key of the recipient"),
    "audience": Column(TEXT, "controller/segment/recipient"),
    "list_id": Column(TEXT, "the platform's id of the list"),
    "state": Column(
        TEXT,
        "waiting (accepted, no result yet), unknown (no answer), refused (not taken), or partly (some of its people were not taken)",
    ),
    "people": Column(
        NUMBER, "people in these requests whose removal is not known to be done; who was asked off twice counts twice"
    ),
    "requests": Column(NUMBER, "requests"),
    "code": Column(TEXT, "why, by the last answer; empty otherwise"),
    "step": Column(
        TEXT, "of a refusal, the step that was taken since: asked_everywhere, deletion_ordered, not_deleted; empty without one"
    ),
    "run_id": Column(TEXT, "id of the run that sent the oldest of them"),
}
"""The columns of `open_removals`, in order."""

_FAILED: Final = frozenset({"failed", "never_seen"})
_NOT_DELETED: Final = "list_not_deleted"


def removals(entries: Iterable[Mapping[str, Any]], filters: Filters = ALL) -> pd.DataFrame:
    """One row a clock of each run and list, in order, with `COLUMNS`. `entries` are decoded and in order."""
    rows: list[dict[str, object]] = []
    for entry in entries:
        if entry["type"] != EntryType.REMOVAL_TIMES:
            continue
        fields = entry["fields"]
        place = {"controller": entry["controller"], "recipient": text(fields, "recipient"), "audience": text(fields, "audience")}
        if filters.take(entry["at"], run=entry["run_id"], kind=entry["run_kind"], **place):
            same: dict[str, object] = {**place, "at": moment(entry["at"]), "again": whole(fields, "again")}
            same |= {name: entry[name] for name in ("run_id", "run_kind")}
            measured = [same | {"clock": clock, **fields[clock]} for clock in CLOCKS if clock in fields]
            rows += measured or [same | {"clock": "", "people": 0}]
    return frame_of(rows, COLUMNS)


def open_removals(entries: Iterable[Mapping[str, Any]], now: datetime, filters: Filters = ALL) -> pd.DataFrame:
    """What was asked off a list and is not known to be gone, as of the last entry: one row a list and state, the oldest first, with `OPEN_COLUMNS`.

    `now` is a time with a zone, for the age. Of the filters those of place and kind apply, and the period to the day of the request.
    """
    kept: list[Mapping[str, Any]] = []
    steps: dict[str, str] = {}
    ended: dict[str, int] = {}
    for entry in entries:
        fields, list_id = entry["fields"], text(entry["fields"], "list_id")
        if entry["type"] in TRANSFER_TYPES:
            kept.append(entry)
        elif entry["type"] == EntryType.LIST_DELETED or (
            entry["type"] == EntryType.INCIDENT and fields.get("code") == "list_gone"
        ):
            ended[list_id] = entry["index"]
        elif entry["type"] == EntryType.BINDING_CHANGED and fields.get("state") == "deleting":
            steps[list_id] = "deletion_ordered"
        elif entry["type"] == EntryType.INCIDENT and fields.get("code") == _NOT_DELETED:
            steps[list_id] = "not_deleted"
    found: dict[tuple[str, str], _Open] = {}
    transfers = read_transfers(kept)
    done = _served(transfers.values())
    for transfer in transfers.values():
        for request in transfer.requests:
            list_id = text(transfer.intent, "list_id")
            if request.operation != Operation.REMOVE or request.index < ended.get(list_id, -1):
                continue
            if request.everywhere:
                steps.setdefault(list_id, "asked_everywhere")
                continue
            state, people = _standing(request)
            over = request.index < done.get(list_id, -1) and state != "waiting"
            if people and not over and _wanted(transfer, request, filters):
                found.setdefault((list_id, state), _Open(transfer, request)).take(request, people)
    ordered = sorted(found.items(), key=lambda pair: pair[1].oldest.index)
    return frame_of([each.row(list_id, state, steps, now) for (list_id, state), each in ordered], OPEN_COLUMNS)


@dataclass(slots=True)
class _Open:
    transfer: Transfer
    oldest: Request
    people: int = 0
    requests: int = 0
    codes: list[str] = field(default_factory=list)

    def take(self, request: Request, people: int) -> None:
        self.people, self.requests = self.people + people, self.requests + 1
        if request.code:
            self.codes.append(request.code)

    def row(self, list_id: str, state: str, steps: Mapping[str, str], now: datetime) -> dict[str, object]:
        since = moment(self.oldest.at)
        return {
            "since": since,
            "age": max(0, int((now - since).total_seconds())),
            "controller": self.transfer.controller,
            "recipient": text(self.transfer.intent, "recipient"),
            "audience": text(self.transfer.intent, "audience"),
            "list_id": list_id,
            "state": state,
            "people": self.people,
            "requests": self.requests,
            "code": self.codes[-1] if self.codes else "",
            "step": steps.get(list_id, "") if state == "refused" else "",
            "run_id": self.oldest.run_id,
        }


def _served(transfers: Iterable[Transfer]) -> dict[str, int]:
    """List id -> index of the last transfer whose removals were all accepted and not refused afterwards: whatever was owed before it is served."""
    found: dict[str, int] = {}
    for transfer in transfers:
        taken = [each for each in transfer.requests if each.operation == Operation.REMOVE and not (each.late or each.everywhere)]
        whole_of_it = sum(each.people for each in taken if each.outcome == "accepted" and not _standing(each)[0].startswith("r"))
        if transfer.operation == Operation.REMOVE and taken and whole_of_it >= transfer.planned:
            found[text(transfer.intent, "list_id")] = transfer.index
    return found


def _standing(request: Request) -> tuple[str, int]:
    """(state, people whose removal is not known to be done) of one request; nobody where it is done, or over with the list's duration."""
    if request.lapsed_at or request.state == "succeeded":
        return "", 0
    if request.outcome == "refused" or request.state in _FAILED:
        return "refused", request.people
    if request.state == "partly_refused":
        return "partly", request.rejected or request.people
    return ("waiting" if request.outcome == "accepted" else "unknown"), request.people


def _wanted(transfer: Transfer, request: Request, filters: Filters) -> bool:
    place = {name: text(transfer.intent, name) for name in ("recipient", "audience")}
    return filters.take(request.at, controller=transfer.controller, run=request.run_id, kind=transfer.run_kind, **place)
