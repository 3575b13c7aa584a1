"""Transfers as the log tells them: each intent with its requests, their answers, and what the platforms said later.

Folds decoded entries, in order, without pandas, keys or tables. It verifies nothing (that is `verify`) and passes over what it does not know.
Numbers are people (distinct digests of one request) unless they say otherwise; times are UTC text as in the entries.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from nestaudience.ledger.entries import VERSION, EntryType

TRANSFER_TYPES: Final = frozenset({EntryType.TRANSFER_INTENT, EntryType.BATCH, EntryType.BATCH_RESULT, EntryType.PLATFORM_STATUS})
"""The entries that a fold needs; give them to `LogReader.entries`."""

_SETTLED: Final = {"succeeded": "succeeded", "partly_refused": "partly", "failed": "failed", "accepted": "waiting"}
"""State, or outcome while there is no state, in one word; everything else is `unknown`: `never_seen` too."""


@dataclass(slots=True)
class Request:
    """One batch. `outcome` is what the answer said (`accepted`, `refused`, `unknown`; unknown until there is one), `code` why.

    `state` is the platform's later word, empty until it comes; `records` and `rejected` are its own counts, None until then.
    `lapsed_at`: when the list's duration had passed, so that nobody is on it because of this batch any more. `everywhere`: it asked for people to be
    taken off every list of the ad account; what became of that nobody ever says.
    """

    index: int
    at: str
    run_id: str
    transfer_id: str
    batch_id: str
    number: int
    operation: str
    late: bool
    repeat: bool
    people: int
    membership_root: str
    everywhere: bool = False
    outcome: str = "unknown"
    code: str = ""
    request_id: str = ""
    state: str = ""
    records: int | None = None
    rejected: int | None = None
    settled_at: str = ""
    lapsed_at: str = ""

    @property
    def settled(self) -> str:
        """What became of it: `succeeded`, `partly`, `failed`, `waiting`, `unknown` or `lapsed`.

        `waiting`: accepted, no result yet. `unknown`: it may have had its effect. `lapsed`: was unknown or waiting, and can have no
        effect any more.
        """
        if self.outcome == "refused":
            return "failed"
        known = "unknown" if self.everywhere else _SETTLED.get(self.state or self.outcome, "unknown")
        return "lapsed" if self.lapsed_at and known in ("waiting", "unknown") else known


@dataclass(slots=True)
class Transfer:
    """One intent and its requests, in order. `intent` are the fields of the intent's entry."""

    index: int
    started_at: str
    run_id: str
    run_kind: str
    controller: str
    transfer_id: str
    intent: Mapping[str, Any]
    requests: list[Request] = field(default_factory=list)

    @property
    def operation(self) -> str:
        """`add` or `remove`."""
        return str(self.intent.get("operation", ""))

    @property
    def planned(self) -> int:
        """People in the plan when the transfer began. The last look may keep some of them back."""
        return _whole(self.intent, "planned_additions") + _whole(self.intent, "planned_removals")

    @property
    def sent(self) -> int:
        """People in the requests of the plan; late removals are not among them. `accepted` + `refused` + `unknown`."""
        return sum(request.people for request in self._planned_requests())

    def people(self, outcome: str) -> int:
        """People in the requests of the plan that were answered so."""
        return sum(request.people for request in self._planned_requests() if request.outcome == outcome)

    @property
    def late_removals(self) -> int:
        """People whom the last look found and who were asked off the list in the course of this transfer."""
        return sum(request.people for request in self.requests if request.late)

    @property
    def settled(self) -> str:
        """What became of all requests together: their common word; `partly` when words differ; `nothing_sent` without a request.

        One request that is `unknown`, then one that is `waiting`, stands for the whole.
        """
        words = {request.settled for request in self.requests}
        if not words:
            return "nothing_sent"
        for word in ("unknown", "waiting"):
            if word in words:
                return word
        return words.pop() if len(words) == 1 else "partly"

    def _planned_requests(self) -> list[Request]:
        return [request for request in self.requests if not request.late]


def read_transfers(entries: Iterable[Mapping[str, Any]]) -> dict[str, Transfer]:
    """Transfer id -> transfer, in order of start, from decoded entries in order of index.

    A batch whose intent is not among the entries stands under a transfer with an empty intent: it is not hidden.
    """
    transfers: dict[str, Transfer] = {}
    requests: dict[str, Request] = {}
    for entry in entries:
        if entry.get("version") != VERSION:
            continue
        kind, fields = entry["type"], entry["fields"]
        if kind == EntryType.TRANSFER_INTENT:
            _transfer(transfers, entry, str(fields.get("transfer_id", "")), fields)
        elif kind == EntryType.BATCH:
            request = _request(entry, fields)
            requests.setdefault(request.batch_id, request)
            owner = transfers.get(request.transfer_id) or _transfer(transfers, entry, request.transfer_id, _stand_in(fields))
            owner.requests.append(request)
        elif kind == EntryType.BATCH_RESULT and (known := requests.get(str(fields.get("batch_id")))) is not None:
            known.outcome, known.code = str(fields.get("outcome", "unknown")), str(fields.get("code", ""))
            known.request_id = str(fields.get("request_id", ""))
        elif kind == EntryType.PLATFORM_STATUS and (known := requests.get(str(fields.get("batch_id")))) is not None:
            _status(known, entry["at"], fields)
    return transfers


def _transfer(transfers: dict[str, Transfer], entry: Mapping[str, Any], transfer_id: str, fields: Mapping[str, Any]) -> Transfer:
    found = Transfer(
        index=entry["index"],
        started_at=entry["at"],
        run_id=entry["run_id"],
        run_kind=entry["run_kind"],
        controller=entry["controller"],
        transfer_id=transfer_id,
        intent=fields,
    )
    return transfers.setdefault(transfer_id, found)


def _stand_in(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in ("operation", "audience", "list_id", "ad_account", "recipient") if name in fields}


def _request(entry: Mapping[str, Any], fields: Mapping[str, Any]) -> Request:
    return Request(
        index=entry["index"],
        at=entry["at"],
        run_id=entry["run_id"],
        transfer_id=str(fields.get("transfer_id", "")),
        batch_id=str(fields.get("batch_id", "")),
        number=_whole(fields, "number"),
        operation=str(fields.get("operation", "")),
        late=fields.get("late") is True,
        repeat=fields.get("repeat") is True,
        people=_whole(fields, "count"),
        membership_root=str(fields.get("membership_root", "")),
        everywhere=fields.get("everywhere") is True,
    )


def _status(request: Request, at: str, fields: Mapping[str, Any]) -> None:
    state = str(fields.get("state", ""))
    if state == "lapsed":  # says that its time is over, not what became of it
        request.lapsed_at = request.lapsed_at or at
        return
    request.state, request.settled_at = state, at
    request.records, request.rejected = _whole(fields, "records"), _whole(fields, "rejected")


def _whole(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name, 0)
    return value if isinstance(value, int) else 0
