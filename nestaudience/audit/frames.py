"""The log as pandas frames, for reports, notebooks and people who ask "which transfers, to whom, how many".

    reader = LogReader(engine)
    transfers(reader.entries(types=TRANSFER_TYPES), Filters(recipient="google", first=date(2026, 11, 1)))

Frames are made from decoded entries alone, never from operational tables, so they say what the log can prove. Every column has an
Arrow-backed dtype; meaning and unit stand in `TRANSFER_COLUMNS` and `BATCH_COLUMNS`. It verifies nothing: run `verify` first.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, NamedTuple

import pandas as pd
import pyarrow as pa

from nestaudience.audit.transfers import TRANSFER_TYPES, Request, Transfer, read_transfers
from nestaudience.vocabulary import STOCKHOLM, RunKind

__all__ = ["BATCH_COLUMNS", "TRANSFER_COLUMNS", "TRANSFER_TYPES", "Column", "Filters", "batches", "transfers"]


class Column(NamedTuple):
    """One column of a frame: its Arrow type, and what it means, with its unit."""

    type: pa.DataType
    meaning: str


_TIME: Final = pa.timestamp("ms", tz="UTC")
_TEXT: Final = pa.string()
_NUMBER: Final = pa.int64()
_FLAG: Final = pa.bool_()

_SETTLED: Final = (
    "succeeded, partly, failed, waiting (accepted, no result yet), unknown (it may have had its effect) or lapsed (was unknown, "
    "can have no effect any more)"
)

TRANSFER_COLUMNS: Final[Mapping[str, Column]] = {
    "started_at": Column(_TIME, "when the intent was written, UTC; before anything was sent"),
    "transfer_id": Column(_TEXT, "id of the transfer (UUIDv7)"),
    "run_id": Column(_TEXT, "id of the run that made it (UUIDv7)"),
    "run_kind": Column(_TEXT, "which job: nightly, withdrawals, backfill, manual, drill, sandbox"),
    "controller": Column(_TEXT, "key of the company that answers for the people in it"),
    "recipient": Column(_TEXT, "key of the recipient"),
    "recipient_name": Column(_TEXT, "legal name of the recipient"),
    "destination": Column(_TEXT, "the transport"),
    "ad_account": Column(_TEXT, "id of the ad account"),
    "audience": Column(_TEXT, "controller/segment/recipient"),
    "list_id": Column(_TEXT, "the platform's id of the list"),
    "operation": Column(_TEXT, "add or remove"),
    "planned": Column(_NUMBER, "people in the plan when it began"),
    "sent": Column(_NUMBER, "people in its requests, late removals apart: accepted + refused + unknown"),
    "accepted": Column(_NUMBER, "people in requests that the platform took"),
    "refused": Column(_NUMBER, "people in requests that it refused, without effect"),
    "unknown": Column(_NUMBER, "people in requests without an answer: they count as disclosed, and as not removed"),
    "batches": Column(_NUMBER, "requests, those of late removals included"),
    "settled": Column(_TEXT, f"what became of all requests: {_SETTLED}; nothing_sent without a request"),
    "late_removals": Column(_NUMBER, "people whom the last look found and who were asked off the list during this transfer"),
}
"""The columns of `transfers`, in order."""

BATCH_COLUMNS: Final[Mapping[str, Column]] = {
    "at": Column(_TIME, "when the batch entry was written, UTC; before the request left"),
    "batch_id": Column(_TEXT, "id of the request (32 hexadecimal characters)"),
    "transfer_id": Column(_TEXT, "id of its transfer"),
    "run_id": Column(_TEXT, "id of the run that sent it"),
    "run_kind": Column(_TEXT, "which job"),
    "controller": Column(_TEXT, "key of the company"),
    "recipient": Column(_TEXT, "key of the recipient"),
    "audience": Column(_TEXT, "controller/segment/recipient"),
    "list_id": Column(_TEXT, "the platform's id of the list"),
    "number": Column(_NUMBER, "place in its transfer, from 0; 0 for late removals"),
    "operation": Column(_TEXT, "add or remove"),
    "late": Column(_FLAG, "a removal that the last look of an addition found"),
    "repeat": Column(_FLAG, "somebody's removal was asked for before"),
    "people": Column(_NUMBER, "people in it"),
    "membership_root": Column(_TEXT, "root over the leaves of exactly these people (64 hexadecimal characters)"),
    "outcome": Column(_TEXT, "the platform's answer: accepted, refused, or unknown"),
    "code": Column(_TEXT, "why it was refused or is unknown; empty otherwise"),
    "request_id": Column(_TEXT, "the platform's own id of the request; empty without one"),
    "settled": Column(_TEXT, f"what became of it: {_SETTLED}"),
    "records": Column(_NUMBER, "records that the platform says it processed; null until it says so"),
    "rejected": Column(_NUMBER, "people whom it rejected afterwards; null until it says so"),
    "settled_at": Column(_TIME, "when its word was written down, UTC; null until then"),
    "lapsed": Column(_FLAG, "the list's duration has passed since: nobody is on it because of this request"),
}
"""The columns of `batches`, in order."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which transfers; None lets everything through. Dates are days in Stockholm, both included; `run` may be a beginning of its id."""

    controller: str | None = None
    recipient: str | None = None
    audience: str | None = None
    run: str | None = None
    kind: RunKind | None = None
    first: date | None = None
    last: date | None = None

    def take(self, transfer: Transfer) -> bool:
        """True for a transfer that is asked for."""
        asked = (
            (self.controller, transfer.controller),
            (self.recipient, transfer.intent.get("recipient")),
            (self.audience, transfer.intent.get("audience")),
            (None if self.kind is None else self.kind.value, transfer.run_kind),
        )
        if any(wanted is not None and wanted != found for wanted, found in asked):
            return False
        if self.run is not None and not transfer.run_id.startswith(self.run.lower()):
            return False
        day = datetime.fromisoformat(transfer.started_at).astimezone(STOCKHOLM).date()
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


_ALL: Final = Filters()


def transfers(entries: Iterable[Mapping[str, Any]], filters: Filters = _ALL) -> pd.DataFrame:
    """One row a transfer, in order of start, with `TRANSFER_COLUMNS`. `entries` are decoded and in order; see `TRANSFER_TYPES`.

    Give all entries and filter here: answers to a night's requests are written by later nights.
    """
    taken = [transfer for transfer in read_transfers(entries).values() if filters.take(transfer)]
    return _frame([_transfer_row(transfer) for transfer in taken], TRANSFER_COLUMNS)


def batches(entries: Iterable[Mapping[str, Any]], filters: Filters = _ALL) -> pd.DataFrame:
    """One row a request, in order, with `BATCH_COLUMNS`: the requests of the transfers that the filters let through."""
    taken = [transfer for transfer in read_transfers(entries).values() if filters.take(transfer)]
    found = [(request, transfer) for transfer in taken for request in transfer.requests]
    found.sort(key=lambda pair: pair[0].index)
    return _frame([_batch_row(request, transfer) for request, transfer in found], BATCH_COLUMNS)


def _frame(rows: list[dict[str, object]], columns: Mapping[str, Column]) -> pd.DataFrame:
    schema = pa.schema([(name, column.type) for name, column in columns.items()])
    frame: pd.DataFrame = pa.Table.from_pylist(rows, schema).to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _transfer_row(transfer: Transfer) -> dict[str, object]:
    names = ("recipient", "recipient_name", "destination", "ad_account", "audience", "list_id")
    return {name: str(transfer.intent.get(name, "")) for name in names} | {
        "started_at": _moment(transfer.started_at),
        "transfer_id": transfer.transfer_id,
        "run_id": transfer.run_id,
        "run_kind": transfer.run_kind,
        "controller": transfer.controller,
        "operation": transfer.operation,
        "planned": transfer.planned,
        "sent": transfer.sent,
        "accepted": transfer.people("accepted"),
        "refused": transfer.people("refused"),
        "unknown": transfer.people("unknown"),
        "batches": len(transfer.requests),
        "settled": transfer.settled,
        "late_removals": transfer.late_removals,
    }


def _batch_row(request: Request, transfer: Transfer) -> dict[str, object]:
    same = (
        "batch_id", "transfer_id", "run_id", "number", "operation", "late", "repeat", "people", "membership_root", "outcome",
        "code", "request_id", "settled", "records", "rejected",
    )  # fmt: skip
    return {name: getattr(request, name) for name in same} | {
        "at": _moment(request.at),
        "run_kind": transfer.run_kind,
        "controller": transfer.controller,
        "recipient": str(transfer.intent.get("recipient", "")),
        "audience": str(transfer.intent.get("audience", "")),
        "list_id": str(transfer.intent.get("list_id", "")),
        "settled_at": _moment(request.settled_at) if request.settled_at else None,
        "lapsed": request.lapsed_at != "",
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
