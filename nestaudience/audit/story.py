"""What the entries of a log say together: transfers, batches and results that fit, runs that ended, nights that had a run.

Takes decoded entries in order and judges them without keys and without the database; it verifies no hash and no signature. A
batch without a result is unknown: it counts as disclosed and as not removed.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from nestaudience.audit.bound import PROBLEMS as BOUND_PROBLEMS
from nestaudience.audit.bound import WHAT as BOUND_WHAT
from nestaudience.audit.bound import Bound
from nestaudience.ledger.entries import EntryType
from nestaudience.vocabulary import RunKind

WHAT: Final = BOUND_WHAT | {
    "above_plan": "more people were added than the intent planned",
    "added_before_removed": "a removal that is not marked late comes after an addition of the same transfer",
    "batch_of_other_intent": "the batch names another audience or list than its intent",
    "batch_repeated": "a batch id stands twice",
    "batch_without_intent": "no intent comes before this batch",
    "field_missing": "a field that the entry must have is missing or has another form",
    "intent_repeated": "a transfer id stands twice",
    "more_removed_than_added": "more people were taken off the list than were ever put on it",
    "result_of_other_transfer": "the result names another transfer than its batch",
    "result_repeated": "the batch already had a known result",
    "result_without_batch": "no batch comes before this result",
    "run_finished_without_start": "no start of this run comes before its end",
    "run_started_twice": "this run had already started",
    "run_unfinished": "the run has no end: it is still running, or it died",
    "sent_before_sealed": "no checkpoint covers the batch before its result",
    "status_of_refused": "the platform reports on a batch that it had refused",
    "status_without_batch": "no batch comes before this status",
}
"""What each code says, in words for a person."""

_NIGHTS: Final = frozenset({RunKind.NIGHTLY.value, RunKind.SANDBOX.value})
_KNOWN: Final = frozenset({"accepted", "refused"})
_NO_EFFECT: Final = frozenset({"failed", "never_seen"})
_FIELDS: Final[Mapping[str, Mapping[str, type]]] = {
    EntryType.TRANSFER_INTENT: {"transfer_id": str, "audience": str, "list_id": str, "planned_additions": int},
    EntryType.BATCH: {
        "transfer_id": str,
        "batch_id": str,
        "audience": str,
        "list_id": str,
        "operation": str,
        "count": int,
        "membership_root": str,
    },
    EntryType.BATCH_RESULT: {"transfer_id": str, "batch_id": str, "outcome": str},
    EntryType.PLATFORM_STATUS: {"batch_id": str, "state": str},
}
_VALUES: Final[Mapping[str, frozenset[str]]] = {
    "operation": frozenset({"add", "remove"}),
    "outcome": frozenset({"accepted", "refused", "unknown"}),
    "state": frozenset({"succeeded", "partly_refused", "failed", "never_seen", "lapsed"}),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: the entry's index (None when it is about no one entry), a code, and the code in words."""

    index: int | None
    code: str
    what: str


@dataclass(slots=True)
class BatchStory:
    """What the log says of one batch. `outcome` is unknown until a result says otherwise. `everywhere`: it asked for people to be taken off every
    list of an ad account, which takes nobody off this one by any proof.
    """

    index: int
    transfer_id: str
    list_id: str
    operation: str
    count: int
    membership_root: str
    repeat: bool
    everywhere: bool = False
    outcome: str = "unknown"
    state: str = ""


@dataclass(slots=True)
class _Intent:
    audience: str
    list_id: str
    planned_additions: int
    added: int = 0
    above_plan: bool = False


@dataclass(slots=True)
class _Balance:
    """People put on and taken off a list. Who is sent again counts again when added, and once when removed."""

    added: int = 0
    removed: int = 0


class Story:
    """Takes entries in order of index. `problems`, `notices` and `batches` grow; `finish` adds what only the end can show.

    `sealed_sizes` are the sizes of the log's signed checkpoints, rising.
    """

    def __init__(self, sealed_sizes: Sequence[int]) -> None:
        self.problems: list[Finding] = []
        self.notices: list[Finding] = []
        self.batches: dict[str, BatchStory] = {}
        self._sealed = sealed_sizes
        self._intents: dict[str, _Intent] = {}
        self._balances: dict[str, _Balance] = {}
        self._open_runs: dict[str, int] = {}
        self._runs: set[str] = set()
        self._nights: dict[str, set[date]] = {}
        self._bound = Bound()
        self._takes: Mapping[str, Callable[[int, dict[str, Any], dict[str, Any]], None]] = {
            EntryType.RUN_STARTED: self._run_started,
            EntryType.RUN_FINISHED: self._run_finished,
            EntryType.TRANSFER_INTENT: self._intent,
            EntryType.BATCH: self._batch,
            EntryType.BATCH_RESULT: self._result,
            EntryType.PLATFORM_STATUS: self._status,
        }

    def take(self, index: int, entry: dict[str, Any]) -> None:
        """Judge one decoded entry, whose header is whole, in the light of those before it."""
        kind, fields = entry["type"], entry["fields"]
        if not _has_its_fields(kind, fields):
            self._problem(index, "field_missing")
            return
        if kind in self._takes:
            self._takes[kind](index, entry, fields)
        for code in self._bound.take(entry, fields):
            (self._problem if code in BOUND_PROBLEMS else self._notice)(index, code)

    def finish(self) -> None:
        """Say what only the end can show: runs without an end."""
        for index in self._open_runs.values():
            self._notice(index, "run_unfinished")

    def unknown_batches(self) -> tuple[str, ...]:
        """Ids of batches whose effect is not known, oldest first: no result, or an unknown one, and not settled since."""
        return tuple(batch_id for batch_id, batch in self.batches.items() if batch.outcome == "unknown" and not batch.state)

    def balances(self) -> dict[str, int]:
        """List id -> additions that may have had an effect minus removals that had one. Not the number of people on the list."""
        return {list_id: balance.added - balance.removed for list_id, balance in self._balances.items()}

    def gaps(self, until: date | None) -> tuple[tuple[str, date], ...]:
        """(controller, night) of nights without a nightly run, between a controller's first and last night.

        Nights after the last run of all, up to `until`, stand under the controller '' (the group).
        """
        found = []
        for controller, nights in sorted(self._nights.items()):
            found += [(controller, night) for night in _between(min(nights), max(nights)) if night not in nights]
        every = set().union(*self._nights.values())
        if until is not None and every:
            found += [("", night) for night in _between(max(every) + timedelta(days=1), until)]
        return tuple(found)

    def _run_started(self, index: int, entry: dict[str, Any], fields: dict[str, Any]) -> None:
        run = entry["run_id"]
        if run in self._runs:
            self._problem(index, "run_started_twice")
        self._runs.add(run)
        self._open_runs[run] = index
        if entry["run_kind"] in _NIGHTS and "night" in fields:
            night = _day(fields["night"])
            if night is None:
                self._problem(index, "field_missing")
            else:
                self._nights.setdefault(entry["controller"], set()).add(night)

    def _run_finished(self, index: int, entry: dict[str, Any], _fields: dict[str, Any]) -> None:
        if self._open_runs.pop(entry["run_id"], None) is None:
            self._problem(index, "run_finished_without_start")

    def _intent(self, index: int, _entry: dict[str, Any], fields: dict[str, Any]) -> None:
        if fields["transfer_id"] in self._intents:
            self._problem(index, "intent_repeated")
            return
        self._intents[fields["transfer_id"]] = _Intent(fields["audience"], fields["list_id"], fields["planned_additions"])

    def _batch(self, index: int, _entry: dict[str, Any], fields: dict[str, Any]) -> None:
        if fields["batch_id"] in self.batches:
            self._problem(index, "batch_repeated")
            return
        batch = BatchStory(
            index=index,
            transfer_id=fields["transfer_id"],
            list_id=fields["list_id"],
            operation=fields["operation"],
            count=fields["count"],
            membership_root=fields["membership_root"],
            repeat=fields.get("repeat") is True,
            everywhere=fields.get("everywhere") is True,
        )
        self.batches[fields["batch_id"]] = batch
        intent = self._intents.get(batch.transfer_id)
        if intent is None:
            self._problem(index, "batch_without_intent")
        elif (fields["audience"], batch.list_id) != (intent.audience, intent.list_id):
            self._problem(index, "batch_of_other_intent")
        elif batch.operation == "add":
            self._addition_within(index, batch, intent)
        elif intent.added and fields.get("late") is not True:
            self._problem(index, "added_before_removed")
        if batch.operation == "add":
            self._balance(batch).added += batch.count

    def _addition_within(self, index: int, batch: BatchStory, intent: _Intent) -> None:
        intent.added += batch.count
        if intent.added > intent.planned_additions and not batch.repeat and not intent.above_plan:
            intent.above_plan = True
            self._notice(index, "above_plan")

    def _result(self, index: int, _entry: dict[str, Any], fields: dict[str, Any]) -> None:
        batch = self.batches.get(fields["batch_id"])
        if batch is None:
            self._problem(index, "result_without_batch")
            return
        if fields["transfer_id"] != batch.transfer_id:
            self._problem(index, "result_of_other_transfer")
        if batch.outcome in _KNOWN:
            self._problem(index, "result_repeated")
            return
        newest = bisect_right(self._sealed, index)  # checkpoints up to this one cover nothing from the result on
        if newest == 0 or self._sealed[newest - 1] <= batch.index:
            self._problem(index, "sent_before_sealed")
        batch.outcome = fields["outcome"]
        if batch.outcome == "refused" and batch.operation == "add":
            self._balance(batch).added -= batch.count
            self._not_added(batch)
        if batch.outcome == "accepted" and batch.operation == "remove" and not (batch.repeat or batch.everywhere):
            self._take_off(index, batch, batch.count)

    def _not_added(self, batch: BatchStory) -> None:
        """A refused request sent nobody: the people whom the platform would take go again, in a request of their own."""
        intent = self._intents.get(batch.transfer_id)
        if intent is not None:
            intent.added -= batch.count

    def _status(self, index: int, _entry: dict[str, Any], fields: dict[str, Any]) -> None:
        batch = self.batches.get(fields["batch_id"])
        if batch is None:
            self._problem(index, "status_without_batch")
            return
        if batch.outcome == "refused":
            self._problem(index, "status_of_refused")
            return
        if batch.operation == "remove" and not batch.repeat and batch.outcome == "accepted":
            before, after = (0 if state in _NO_EFFECT else batch.count for state in (batch.state, fields["state"]))
            self._take_off(index, batch, after - before)
        batch.state = fields["state"]

    def _take_off(self, index: int, batch: BatchStory, count: int) -> None:
        balance = self._balance(batch)
        balance.removed += count
        if count > 0 and balance.removed > balance.added:
            self._problem(index, "more_removed_than_added")

    def _balance(self, batch: BatchStory) -> _Balance:
        return self._balances.setdefault(batch.list_id, _Balance())

    def _problem(self, index: int, code: str) -> None:
        self.problems.append(Finding(index, code, WHAT[code]))

    def _notice(self, index: int, code: str) -> None:
        self.notices.append(Finding(index, code, WHAT[code]))


def _has_its_fields(kind: str, fields: Mapping[str, Any]) -> bool:
    for name, form in _FIELDS.get(kind, {}).items():
        value = fields.get(name)
        if type(value) is not form or (name in _VALUES and value not in _VALUES[name]):
            return False
        if isinstance(value, int) and value < 0:
            return False
    return True


def _day(text: object) -> date | None:
    try:
        return date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _between(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]
