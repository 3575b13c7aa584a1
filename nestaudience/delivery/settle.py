"""Settling: asking the platforms what became of requests, and what their answers do to memory.

Asking and writing are two steps, so that a plan can ask without writing. Nothing is sent to a list here; whatever an answer leaves owed or
possible is sent by the next delivery.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from nestaudience.config.settings import Audience
from nestaudience.delivery.answers import LAPSED, Answer, answer_of
from nestaudience.delivery.clocks import RemovalTimes
from nestaudience.delivery.deliver import Tools
from nestaudience.destinations.port import Destination
from nestaudience.errors import NestAudienceError
from nestaudience.interrupting import Interrupted, interruption, never
from nestaudience.ledger.entries import EntryType, Value, utc_text
from nestaudience.ledger.log import NewEntry
from nestaudience.ledger.memory import SWEPT, Memory, RemoteList, SentBatch
from nestaudience.vocabulary import AudienceKey, Operation, Recipient


@dataclass(frozen=True, slots=True)
class Answered:
    """One batch, and what is now known of it."""

    batch: SentBatch
    answer: Answer


@dataclass(frozen=True, slots=True)
class Asked:
    """The answers, and the platforms that could not be asked."""

    answered: tuple[Answered, ...]
    waiting: int
    errors: tuple[NestAudienceError, ...]

    def states(self) -> dict[int, str]:
        """Batch number -> new state."""
        return {each.batch.batch_no: each.answer.state for each in self.answered}


def ask(
    memory: Memory,
    lists: Mapping[int, RemoteList],
    destinations: Mapping[str, Destination],
    now: datetime,
    interrupted: Interrupted = never,
) -> Asked:
    """Ask for every accepted batch that has no result. Raises nothing: a platform that cannot be asked is asked again next time, and so is one that
    is not asked any more because this process was asked to end.
    """
    answered: list[Answered] = []
    errors: list[NestAudienceError] = []
    waiting = 0
    unreachable: set[str] = set()
    for batch in memory.batches(frozenset({"accepted"})):
        name = batch.destination or lists[batch.list_no].destination  # a list may have moved since
        destination = destinations.get(name)
        stopping = interrupted()
        if stopping and not any(error.code == "interrupted" for error in errors):
            errors.append(interruption("settling"))
        if stopping or destination is None or name in unreachable:
            waiting += 1
            continue
        try:
            settlement = destination.status(batch.request_id, batch.operation, sent_at=_time(batch.sent_at), now=now)
        except NestAudienceError as error:
            errors.append(error.with_traceback(None))
            unreachable.add(name)
            waiting += 1
            continue
        answer = answer_of(settlement, batch.people)
        if answer is None:
            waiting += 1
        else:
            answered.append(Answered(batch, answer))
    answered += _lapsed(memory, lists, now)
    return Asked(tuple(answered), waiting, tuple(errors))


def _lapsed(memory: Memory, lists: Mapping[int, RemoteList], now: datetime) -> list[Answered]:
    """Additions that Google has dropped by itself: older than the list's duration since they were sent. Meta does not say what a second addition does
    to somebody's time there, so nobody is taken for gone.
    """
    found = []
    for batch in memory.batches(frozenset({"confirmed", "partly", "unknown", "prepared"})):
        remote = lists[batch.list_no]
        ends = _time(batch.sent_at) + timedelta(days=remote.membership_days)
        if batch.operation is Operation.ADD and remote.recipient == Recipient.GOOGLE and ends < now:
            found.append(Answered(batch, LAPSED))
    return found


def write_down(answers: Iterable[Answered], lists: Mapping[int, RemoteList], tools: Tools, now: datetime) -> int:
    """Record the answers, each with its entry, in one sealed step; how many. Consent counts become an incident.

    `now` is the run's own time: what settled counts as settled for this very run, as it does for a plan.
    """
    entries = []
    changes: list[tuple[int, dict[str, object]]] = []
    at = utc_text(now)
    for each in answers:
        remote, batch = lists[each.batch.list_no], each.batch
        fields = each.answer.fields(batch.batch_id, batch.transfer_id, remote.audience)
        kind = EntryType.PLATFORM_STATUS
        if batch.attempt == SWEPT:
            told = ("state", "codes")
            kind, fields = EntryType.SWEEP, _swept(batch, remote) | {name: fields[name] for name in told}
        entries.append((kind, tools.context(remote.controller), fields))
        if batch.operation is Operation.REMOVE and batch.attempt > 1 and each.answer.state in {"partly", "refused"}:
            escalated: dict[str, Value] = {
                "code": "removal_refused_again",
                "audience": remote.audience,
                "count": each.answer.rejected,
            }
            entries.append((EntryType.INCIDENT, tools.context(remote.controller), escalated))
        disagreed = each.answer.consent_counts()
        if disagreed:
            incident: dict[str, Value] = {"code": "consent_counts", "audience": remote.audience, "counts": disagreed}
            entries.append((EntryType.INCIDENT, tools.context(remote.controller), incident))
        changes.append((batch.batch_no, each.answer.changes(at)))
    if not entries:
        return 0

    def also(connection: Connection, _indices: tuple[int, ...]) -> None:
        for batch_no, values in changes:
            tools.memory.set_batch(connection, batch_no, values)

    tools.log.append_and_seal(entries, also)
    return len(changes)


def removal_times(
    times: dict[AudienceKey, RemovalTimes],
    answered: Iterable[Answered],
    audiences: Mapping[AudienceKey, Audience],
    now: datetime,
    tools: Tools,
) -> list[NewEntry]:
    """An entry for each list that somebody was taken off (`times`), or is known to be off since these answers: how long that took. `now` is the run's
    own time.
    """
    done = [each.batch for each in answered if each.batch.operation is Operation.REMOVE and each.answer.state == "confirmed"]
    of_list = {remote.list_no: remote.audience for remote in tools.memory.lists()} if done else {}
    for batch in done:
        found = times.setdefault(of_list[batch.list_no], RemovalTimes())
        found.add("accepted_to_done", _time(batch.sent_at), now, batch.people)
    known = [(audiences[key], found) for key, found in times.items() if key in audiences]
    said = [(audience, found.fields(audience.key, audience.recipient.key.value)) for audience, found in known]
    return [(EntryType.REMOVAL_TIMES, tools.context(audience.controller.key), fields) for audience, fields in said if fields]


def _swept(batch: SentBatch, remote: RemoteList) -> dict[str, Value]:
    return {"sweep_id": batch.batch_id.hex(), "audience": remote.audience, "list_id": remote.list_id}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
