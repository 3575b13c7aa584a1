"""Removals that a platform will not carry out: what the log knows of them, list by list, and which step is next.

Whoever says no leaves, whatever the platform thinks of its list. Each run tries again; the second that is refused asks once for these people to be
taken off everywhere on the ad account; and when the first refusal is 20 hours old the list itself is deleted (rules §9: within 24 hours). It sends
nothing, asks nobody, and reads no clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from nestaudience.ledger.entries import EntryType
from nestaudience.vocabulary import Operation

STAYS_REFUSED: Final = frozenset({"list_flagged", "removal_refused_too_small"})
"""Codes by which a platform says that it takes nobody off a list for as long as the list is as it is."""
DELETED_AFTER: Final = timedelta(hours=20)
"""So long after the first refusal of a no the list is deleted: with runs every hour, and a cadence of four hours at most, within 24."""
SECOND: Final = 2
"""The run, counted from the first that is refused, that asks for more than another removal."""
SAID_NO: Final = "noes"
"""Marks a batch entry: everybody in it said no."""
EVERYWHERE: Final = "everywhere"
"""Marks a batch entry: it asks for its people to be taken off every list of the ad account, and proves nothing about any of them."""
DELETING: Final = "deleting"
"""`state` of the entry that orders a deletion, before it is asked for."""
TOLD_BY: Final = frozenset(
    {EntryType.TRANSFER_INTENT, EntryType.BATCH, EntryType.BATCH_RESULT, EntryType.BINDING_CHANGED, EntryType.LIST_DELETED}
)
"""The entries that tell of refusals."""


@dataclass(frozen=True, slots=True)
class RefusedRemoval:
    """One removal that was refused: its batch, the run that sent it, and when the answer was written down (UTC). `noes`: everybody in it said no;
    otherwise nobody knows that by the log.
    """

    batch_id: bytes
    run_id: str
    at: datetime
    noes: bool


@dataclass(frozen=True, slots=True)
class AskedEverywhere:
    """One request to take people off every list of the account, and its answer: `accepted`, or `refused` with a code."""

    batch_id: bytes
    outcome: str
    code: str


@dataclass(slots=True)
class Refusals:
    """What a list's platform refused since the last run in which it carried out every removal; the oldest first. `ordered`: the fields of the order
    to delete the list, once there is one.
    """

    removals: list[RefusedRemoval] = field(default_factory=list)
    asked: list[AskedEverywhere] = field(default_factory=list)
    ordered: Mapping[str, Any] | None = None

    @property
    def since(self) -> datetime:
        """When the first of them was refused."""
        return self.removals[0].at

    @property
    def no_since(self) -> datetime | None:
        """When the first was refused that is known to be about a no; None for ordinary removals."""
        return next((each.at for each in self.removals if each.noes), None)


@dataclass(slots=True)
class _Transfer:
    """One list's removals of one run: how many people were planned, and how many are done by the platform's word."""

    list_id: str
    planned: int
    accepted: int = 0


@dataclass(frozen=True, slots=True)
class _Sent:
    list_id: str
    transfer_id: str
    run_id: str
    people: int
    noes: bool
    everywhere: bool


def read_refusals(entries: Iterable[Mapping[str, Any]]) -> dict[str, Refusals]:
    """List id -> what is refused there, from decoded entries of `TOLD_BY` in order of index.

    It is over when a run's removals were all accepted, for every run sends everything that is owed; one accepted request among refused ones ends
    nothing. It is over, too, when the list is deleted.
    """
    found: dict[str, Refusals] = {}
    transfers: dict[str, _Transfer] = {}
    sent: dict[str, _Sent] = {}
    for entry in entries:
        kind, fields = entry["type"], entry["fields"]
        if kind == EntryType.TRANSFER_INTENT:
            if fields.get("operation") == Operation.REMOVE and not fields.get(EVERYWHERE):
                planned = int(fields.get("planned_removals", 0))
                transfers[str(fields["transfer_id"])] = _Transfer(str(fields["list_id"]), planned)
        elif kind == EntryType.BATCH:
            if fields["operation"] == Operation.REMOVE:
                sent[str(fields["batch_id"])] = _sent(entry["run_id"], fields)
        elif kind == EntryType.BATCH_RESULT:
            request = sent.pop(str(fields["batch_id"]), None)
            if request is not None:
                _answered(entry, request, found, transfers)
        elif kind == EntryType.LIST_DELETED:
            found.pop(str(fields["list_id"]), None)
        elif fields.get("state") == DELETING and (known := found.get(str(fields["list_id"]))) is not None:
            known.ordered = fields
    return found


def _sent(run_id: str, fields: Mapping[str, Any]) -> _Sent:
    return _Sent(
        str(fields["list_id"]),
        str(fields["transfer_id"]),
        run_id,
        int(fields["count"]),
        fields.get(SAID_NO) is True,
        fields.get(EVERYWHERE) is True,
    )


def _answered(entry: Mapping[str, Any], request: _Sent, found: dict[str, Refusals], transfers: Mapping[str, _Transfer]) -> None:
    """What one answer does to a list's story."""
    fields = entry["fields"]
    batch_id, outcome, code = bytes.fromhex(str(fields["batch_id"])), str(fields["outcome"]), str(fields.get("code", ""))
    if request.everywhere:
        known = found.get(request.list_id)
        if known is not None and outcome != "unknown":
            known.asked.append(AskedEverywhere(batch_id, outcome, code))
    elif outcome == "refused" and code in STAYS_REFUSED:
        at = datetime.fromisoformat(entry["at"])
        found.setdefault(request.list_id, Refusals()).removals.append(RefusedRemoval(batch_id, request.run_id, at, request.noes))
    elif outcome == "accepted" and (transfer := transfers.get(request.transfer_id)) is not None:
        transfer.accepted += request.people
        if transfer.accepted >= transfer.planned and transfer.list_id == request.list_id:
            found.pop(request.list_id, None)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a list stands after this run's removals were refused. `noes`: people who said no and may still be on it; `since`: the first refusal that
    named one of them (UTC); `runs`: how many runs met one, this one included; `to_ask`: of the noes, those who may be asked off everywhere and were
    not yet.
    """

    noes: int
    since: datetime
    runs: int
    to_ask: int


class Why(StrEnum):
    """Why nothing but another try is due."""

    NOBODY_SAID_NO = "nobody_said_no"
    FIRST_TIME = "first_time"
    ASKED_ALREADY = "asked_already"


@dataclass(frozen=True, slots=True)
class TryAgainOnly:
    """The next run tries again, and no more is due now."""

    why: Why


@dataclass(frozen=True, slots=True)
class AskEverywhere:
    """Ask for the noes to be taken off every list of the account; `since` the first refusal."""

    since: datetime


@dataclass(frozen=True, slots=True)
class DeleteList:
    """Delete the list now, after whoever was not asked off everywhere yet; `since` the first refusal."""

    since: datetime


Step = TryAgainOnly | AskEverywhere | DeleteList


def next_step(standing: Standing, now: datetime) -> Step:
    """The step that is due for a list, now (UTC)."""
    if not standing.noes:
        return TryAgainOnly(Why.NOBODY_SAID_NO)
    if now - standing.since >= DELETED_AFTER:
        return DeleteList(standing.since)
    if standing.runs < SECOND:
        return TryAgainOnly(Why.FIRST_TIME)
    return AskEverywhere(standing.since) if standing.to_ask else TryAgainOnly(Why.ASKED_ALREADY)
