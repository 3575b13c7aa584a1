"""Settling: asking the platforms what became of requests, and what their answers do to memory.

Asking and writing are two steps, so that a plan can ask without writing. Nothing is sent to a list here; whatever an answer leaves owed or
possible is sent by the next delivery.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.engine import Connection

from nestaudience.delivery.deliver import Tools
from nestaudience.destinations.port import (
    Destination,
    Failed,
    NeverSeen,
    PartlyRefused,
    Settlement,
    StillProcessing,
    Succeeded,
)
from nestaudience.errors import NestAudienceError
from nestaudience.ledger.entries import EntryType, Value, utc_text
from nestaudience.ledger.memory import Memory, RemoteList, SentBatch
from nestaudience.vocabulary import Operation

CONSENT_CODES: Final = frozenset({"denied_consent", "no_consent", "unknown_consent"})
"""Counts of these in an answer mean that a platform disagrees with us about consent: an incident."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What is now known of one batch. `state` is its new state in the ledger, `rejected` how many people the platform refused."""

    batch: SentBatch
    state: str
    outcome: str
    records: int
    rejected: int
    codes: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """The answers, and the platforms that could not be asked."""

    answered: tuple[Answered, ...]
    waiting: int
    errors: tuple[NestAudienceError, ...]

    def states(self) -> dict[int, str]:
        """Batch number -> new state."""
        return {answer.batch.batch_no: answer.state for answer in self.answered}


def ask(memory: Memory, lists: Mapping[int, RemoteList], destinations: Mapping[str, Destination], now: datetime) -> Asked:
    """Ask for every accepted batch that has no result. Raises nothing: a platform that cannot be asked is asked again next time."""
    answered, errors, waiting = [], [], 0
    unreachable: set[str] = set()
    for batch in memory.batches(frozenset({"accepted"})):
        remote = lists[batch.list_no]
        destination = destinations.get(remote.destination)
        if destination is None or remote.destination in unreachable:
            waiting += 1
            continue
        try:
            settlement = destination.status(batch.request_id, batch.operation, sent_at=_time(batch.sent_at), now=now)
        except NestAudienceError as error:
            errors.append(error.with_traceback(None))
            unreachable.add(remote.destination)
            waiting += 1
            continue
        answer = _answer(batch, settlement)
        if answer is None:
            waiting += 1
        else:
            answered.append(answer)
    answered += _lapsed(memory, lists, now)
    return Asked(tuple(answered), waiting, tuple(errors))


def _answer(batch: SentBatch, settlement: Settlement) -> Answered | None:
    match settlement:
        case StillProcessing():
            return None
        case Succeeded(records, warnings):
            return Answered(batch, "confirmed", "succeeded", records, 0, warnings)
        case PartlyRefused(records, errors):
            return Answered(batch, "partly", "partly_refused", records, sum(count for _, count in errors), errors)
        case Failed(errors):
            return Answered(batch, "refused", "failed", 0, batch.people, errors)
        case NeverSeen(code):
            return Answered(batch, "unknown", "never_seen", 0, 0, ((code, batch.people),))


def _lapsed(memory: Memory, lists: Mapping[int, RemoteList], now: datetime) -> list[Answered]:
    """Additions that the platform has dropped by itself: older than the list's duration since they were sent."""
    found = []
    for batch in memory.batches(frozenset({"confirmed", "partly", "unknown", "prepared"})):
        days = lists[batch.list_no].membership_days
        if batch.operation is Operation.ADD and _time(batch.sent_at) + timedelta(days=days) < now:
            found.append(Answered(batch, "lapsed", "lapsed", 0, 0, ()))
    return found


def write_down(answers: Iterable[Answered], lists: Mapping[int, RemoteList], tools: Tools, now: datetime) -> int:
    """Record the answers, each with its entry, in one sealed step; how many. Consent counts become an incident.

    `now` is the run's own time: what settled counts as settled for this very run, as it does for a plan.
    """
    entries = []
    changes: list[tuple[int, dict[str, object]]] = []
    at = utc_text(now)
    for answer in answers:
        remote = lists[answer.batch.list_no]
        fields: dict[str, Value] = {
            "batch_id": answer.batch.batch_id.hex(),
            "transfer_id": answer.batch.transfer_id,
            "audience": remote.audience,
            "state": answer.outcome,
            "records": answer.records,
            "rejected": answer.rejected,
            "codes": dict(answer.codes),
        }
        entries.append((EntryType.PLATFORM_STATUS, tools.context(remote.controller), fields))
        disagreed = {code: count for code, count in answer.codes if code in CONSENT_CODES}
        if disagreed:
            incident: dict[str, Value] = {"code": "consent_counts", "audience": remote.audience, "counts": disagreed}
            entries.append((EntryType.INCIDENT, tools.context(remote.controller), incident))
        changes.append((answer.batch.batch_no, {"state": answer.state, "settled_at": at, "rejected": answer.rejected}))
    if not entries:
        return 0

    def also(connection: Connection, _indices: tuple[int, ...]) -> None:
        for batch_no, values in changes:
            tools.memory.set_batch(connection, batch_no, values)

    tools.log.append_and_seal(entries, also)
    return len(changes)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
