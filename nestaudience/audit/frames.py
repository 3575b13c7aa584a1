"""The log as pandas frames, for reports, notebooks and people who ask "which transfers, to whom, how many".

    reader = LogReader(engine)
    transfers(reader.entries(types=TRANSFER_TYPES), Filters(recipient="google", first=date(2026, 11, 1)))

Frames are made from decoded entries alone, never from operational tables, so they say what the log can prove. Every column has an
Arrow-backed dtype; meaning and unit stand in `TRANSFER_COLUMNS` and `BATCH_COLUMNS`. It verifies nothing: run `verify` first.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import pandas as pd

from nestaudience.audit.columns import ALL, FLAG, NUMBER, TEXT, TIME, Column, Filters, frame_of, moment
from nestaudience.audit.transfers import TRANSFER_TYPES, Request, Transfer, read_transfers

__all__ = ["BATCH_COLUMNS", "TRANSFER_COLUMNS", "TRANSFER_TYPES", "Column", "Filters", "batches", "transfers"]

_SETTLED: Final = (
    "succeeded, partly, failed, waiting (accepted, no result yet), unknown (it may have had its effect) or lapsed (was unknown, "
    "can have no effect any more)"
)

TRANSFER_COLUMNS: Final[Mapping[str, Column]] = {
    "started_at": Column(TIME, "when the intent was written, UTC; before anything was sent"),
    "transfer_id": Column(TEXT, "id of the transfer (UUIDv7)"),
    "run_id": Column(TEXT, "id of the run that made it (UUIDv7)"),
    "run_kind": Column(TEXT, "which job: nightly, withdrawals, backfill, manual, drill, sandbox"),
    "controller": Column(TEXT, "key of the company that answers for the people in it"),
    "recipient": Column(TEXT, "key of the recipient"),
    "recipient_name": Column(TEXT, "legal name of the recipient"),
    "destination": Column(TEXT, "the transport"),
    "ad_account": Column(TEXT, "id of the ad account"),
    "audience": Column(TEXT, "controller/segment/recipient"),
    "list_id": Column(TEXT, "the platform's id of the list"),
    "operation": Column(TEXT, "add or remove"),
    "planned": Column(NUMBER, "people in the plan when it began"),
    "sent": Column(NUMBER, "people in its requests, late removals apart: accepted + refused + unknown"),
    "accepted": Column(NUMBER, "people in requests that the platform took"),
    "refused": Column(NUMBER, "people in requests that it refused, without effect"),
    "unknown": Column(NUMBER, "people in requests without an answer: they count as disclosed, and as not removed"),
    "batches": Column(NUMBER, "requests, those of late removals included"),
    "settled": Column(TEXT, f"what became of all requests: {_SETTLED}; nothing_sent without a request"),
    "late_removals": Column(NUMBER, "people whom the last look found and who were asked off the list during this transfer"),
}
"""The columns of `transfers`, in order."""

BATCH_COLUMNS: Final[Mapping[str, Column]] = {
    "at": Column(TIME, "when the batch entry was written, UTC; before the request left"),
    "batch_id": Column(TEXT, "id of the request (32 hexadecimal characters)"),
    "transfer_id": Column(TEXT, "id of its transfer"),
    "run_id": Column(TEXT, "id of the run that sent it"),
    "run_kind": Column(TEXT, "which job"),
    "controller": Column(TEXT, "key of the company"),
    "recipient": Column(TEXT, "key of the recipient"),
    "audience": Column(TEXT, "controller/segment/recipient"),
    "list_id": Column(TEXT, "the platform's id of the list"),
    "number": Column(NUMBER, "place in its transfer, from 0; 0 for late removals"),
    "operation": Column(TEXT, "add or remove"),
    "late": Column(FLAG, "a removal that the last look of an addition found"),
    "repeat": Column(FLAG, "somebody's removal was asked for before"),
    "people": Column(NUMBER, "people in it"),
    "membership_root": Column(TEXT, "root over the leaves of exactly these people (64 hexadecimal characters)"),
    "outcome": Column(TEXT, "the platform's answer: accepted, refused, or unknown"),
    "code": Column(TEXT, "why it was refused or is unknown; empty otherwise"),
    "request_id": Column(TEXT, "the platform's own id of the request; empty without one"),
    "settled": Column(TEXT, f"what became of it: {_SETTLED}"),
    "records": Column(NUMBER, "records that the platform says it processed; null until it says so"),
    "rejected": Column(NUMBER, "people whom it rejected afterwards; null until it says so"),
    "settled_at": Column(TIME, "when its word was written down, UTC; null until then"),
    "lapsed": Column(FLAG, "the list's duration has passed since: nobody is on it because of this request"),
}
"""The columns of `batches`, in order."""


def taken(transfer: Transfer, filters: Filters) -> bool:
    """True for a transfer that is asked for."""
    return filters.take(
        transfer.started_at,
        controller=transfer.controller,
        recipient=str(transfer.intent.get("recipient", "")),
        audience=str(transfer.intent.get("audience", "")),
        run=transfer.run_id,
        kind=transfer.run_kind,
    )


def transfers(entries: Iterable[Mapping[str, Any]], filters: Filters = ALL) -> pd.DataFrame:
    """One row a transfer, in order of start, with `TRANSFER_COLUMNS`. `entries` are decoded and in order; see `TRANSFER_TYPES`.

    Give all entries and filter here: answers to a night's requests are written by later nights.
    """
    wanted = [transfer for transfer in read_transfers(entries).values() if taken(transfer, filters)]
    return frame_of([_transfer_row(transfer) for transfer in wanted], TRANSFER_COLUMNS)


def batches(entries: Iterable[Mapping[str, Any]], filters: Filters = ALL) -> pd.DataFrame:
    """One row a request, in order, with `BATCH_COLUMNS`: the requests of the transfers that the filters let through."""
    wanted = [transfer for transfer in read_transfers(entries).values() if taken(transfer, filters)]
    found = [(request, transfer) for transfer in wanted for request in transfer.requests]
    found.sort(key=lambda pair: pair[0].index)
    return frame_of([_batch_row(request, transfer) for request, transfer in found], BATCH_COLUMNS)


def _transfer_row(transfer: Transfer) -> dict[str, object]:
    names = ("recipient", "recipient_name", "destination", "ad_account", "audience", "list_id")
    return {name: str(transfer.intent.get(name, "")) for name in names} | {
        "started_at": moment(transfer.started_at),
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
        "at": moment(request.at),
        "run_kind": transfer.run_kind,
        "controller": transfer.controller,
        "recipient": str(transfer.intent.get("recipient", "")),
        "audience": str(transfer.intent.get("audience", "")),
        "list_id": str(transfer.intent.get("list_id", "")),
        "settled_at": moment(request.settled_at) if request.settled_at else None,
        "lapsed": request.lapsed_at != "",
    }
