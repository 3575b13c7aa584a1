"""Lists and requests as the ledger remembers them: what a row of each is, and how it is read. It asks no database and decides nothing."""

from dataclasses import dataclass
from typing import Any

from nestaudience.vocabulary import AudienceKey, Operation


@dataclass(frozen=True, slots=True)
class RemoteList:
    """One bound remote list. `login_account` is None without a manager account."""

    list_no: int
    audience: AudienceKey
    controller: str
    segment: str
    recipient: str
    destination: str
    ad_account: str
    login_account: str | None
    code: str
    list_id: str
    data_inputs: tuple[str, ...]
    state: str
    membership_days: int


@dataclass(frozen=True, slots=True)
class SentBatch:
    """One request as remembered. Times are UTC text, empty until known. `destination` is the transport that took it, empty until one did, and in
    rows from before lists could move between transports: then it is the list's own.
    """

    batch_no: int
    batch_id: bytes
    transfer_id: str
    list_no: int
    operation: Operation
    people: int
    state: str
    sent_at: str
    settled_at: str
    request_id: str
    rejected: int
    attempt: int
    destination: str = ""


@dataclass(frozen=True, slots=True)
class AddedBy:
    """An addition as whoever opens its memberships needs it: its list, how many people, and the ids of the keys with which it was written."""

    batch_no: int
    batch_id: bytes
    list_no: int
    people: int
    seal_key: str
    master_key: str


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A request on which somebody's place still hangs: the last one that named these `people` (distinct digests), and not certain yet.

    `state` as in the table of batches; `sent_at` UTC text.
    """

    list_no: int
    batch_no: int
    batch_id: bytes
    operation: Operation
    state: str
    sent_at: str
    people: int


def remote_list_of(row: Any) -> RemoteList:
    """A row of `remote_list`."""
    values = dict(row._mapping)  # noqa: SLF001 (SQLAlchemy's documented name)
    values["login_account"] = values["login_account"] or None
    values["data_inputs"] = tuple(values["data_inputs"].split())
    return RemoteList(**values)


def sent_batch_of(row: Any) -> SentBatch:
    """A row of `batch`."""
    values = {name: value for name, value in row._mapping.items() if name in SentBatch.__dataclass_fields__}  # noqa: SLF001
    destination, _, request_id = values["request_id"].rpartition(" ")
    return SentBatch(
        **values | {"operation": Operation(values["operation"]), "destination": destination, "request_id": request_id}
    )


def sent_through(destination: str, request_id: str) -> str:
    """How the ledger remembers an accepted request: the transport that took it, and the platform's own id, which has no spaces."""
    return f"{destination} {request_id}"
