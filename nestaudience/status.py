"""The morning's one look: every audience, the last night, what waits for an answer, and what a person must do.

It reads the ledger and the configuration; it asks no platform and changes nothing. Counts are people (distinct digests) unless they say
otherwise; nights are days in Stockholm, other times UTC.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from nestaudience.audit.transfers import Request, Transfer, read_transfers
from nestaudience.config.settings import Problem, Settings, ended
from nestaudience.delta.stops import ENDING
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.lease import WRITER, holder
from nestaudience.ledger.memory import SILENCE, OpenBatch, RemoteList
from nestaudience.vocabulary import STOCKHOLM, Operation, RunKind
from nestaudience.wiring import Evidence

DUE_AT: Final = time(6, 0)
"""From this hour in Stockholm on, the night of the day must have had its run (it starts at 03:30)."""
QUIET: Final = timedelta(days=10)
"""After so long without an addition it is told when a list runs out."""
GAPS_SHOWN: Final = timedelta(days=30)

GATE_EXITS: Final = {
    **dict.fromkeys(("too_small", "list_closed", "retract", *ENDING), 0),
    **dict.fromkeys(("config", "destination_absent", "list_gone", "renumbered"), 2),
}
"""Exit codes of the gates that are no rule's stop (5); the log keeps a gate's code only."""
HOLDING_ORDINARY: Final = frozenset({"anomaly_removals", "environment", "feed_malformed", "feed_incomplete", "retract"})
"""Gates that hold removals which are no no."""

_NIGHTS: Final = frozenset({RunKind.NIGHTLY.value, RunKind.SANDBOX.value})


@dataclass(frozen=True, slots=True)
class AudienceStatus:
    """One audience. `state`: `open`, `not_yet` (no list so far), `gone`, `stopped` (by the configuration), `ended`, `former` (a list
    that an audience left behind and that still holds people), or what the ledger says of the list.

    `held`: who may be on it. `in_flight` and `unknown`: requests that wait for a result, and requests without a known effect.
    `open_removals`: people asked off the list, or owed to be, and not certain to be gone; `oldest_removal_at` the earliest that one of
    them may have been asked for. `frozen_removals`: ordinary removals that a gate held in the last run. `gates`: closed in the last run.
    `runs_out_on`: when the platform drops the last people, told when nobody was added for ten days.
    """

    audience: str
    code: str
    list_id: str
    state: str
    held: int
    last_clean_night: str
    in_flight: int
    overdue: int
    unknown: int
    open_removals: int
    oldest_removal_at: str
    frozen_removals: int
    gates: tuple[str, ...]
    runs_out_on: str

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {name: getattr(self, name) for name in AudienceStatus.__dataclass_fields__} | {"gates": list(self.gates)}


@dataclass(frozen=True, slots=True)
class Night:
    """A nightly run. `outcome` is `done`, `not_clean`, or empty while it has no end; `errors` are codes."""

    night: str
    run_id: str
    started_at: str
    outcome: str
    exit_codes: tuple[int, ...]
    errors: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        values = {name: getattr(self, name) for name in Night.__dataclass_fields__}
        return values | {"exit_codes": list(self.exit_codes), "errors": list(self.errors)}


@dataclass(frozen=True, slots=True)
class Status:
    """Everything together. `due_night` is the last night that must have had a run, `missing` says that it has none that ended.

    `gaps`: nights of the last 30 days without a run. `checkpoint` is (entries covered, root in base64), as kept: `audit verify` checks
    it. `unsettled`: accepted requests without a result. `overdue` ones, and removals, wait for more than 48 hours.
    """

    at: datetime
    environment: str
    audiences: tuple[AudienceStatus, ...]
    last_night: Night | None
    running: str | None
    due_night: str
    missing: bool
    gaps: tuple[str, ...]
    entries: int
    checkpoint: tuple[int, str] | None
    unsettled: int
    problems: tuple[Problem, ...]

    @property
    def exit_codes(self) -> tuple[int, ...]:
        """Every exit code that something here asks for; 0 always."""
        codes = {0} | ({2} if self.problems else set()) | ({3} if self.missing else set())
        for audience in self.audiences:
            codes |= {GATE_EXITS.get(gate, 5) for gate in audience.gates} | ({4} if audience.unknown else set())
            asked = audience.oldest_removal_at
            if audience.overdue or (asked and _moment(asked) <= self.at - SILENCE):
                codes.add(3)
        return tuple(sorted(codes))

    @property
    def exit_code(self) -> int:
        """The highest of them."""
        return max(self.exit_codes)

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "at": self.at.isoformat(),
            "environment": self.environment,
            "exit_codes": list(self.exit_codes),
            "last_night": None if self.last_night is None else self.last_night.as_dict(),
            "running": self.running,
            "due_night": self.due_night,
            "missing": self.missing,
            "gaps": list(self.gaps),
            "entries": self.entries,
            "checkpoint": None if self.checkpoint is None else {"size": self.checkpoint[0], "root": self.checkpoint[1]},
            "unsettled": self.unsettled,
            "problems": [problem.as_dict() for problem in self.problems],
            "audiences": [audience.as_dict() for audience in self.audiences],
        }


@dataclass(slots=True)
class _Run:
    """What the log says of one run."""

    run_id: str
    kind: str
    night: str
    started_at: str
    finished: Mapping[str, Any] | None = None
    funnels: dict[str, Mapping[str, Any]] = field(default_factory=dict)


def status(evidence: Evidence, settings: Settings, now: datetime) -> Status:
    """How everything stands at this moment. Raises `MustStop` as the ledger does."""
    runs: dict[str, _Run] = {}
    transfers = read_transfers(_watched(evidence.reader.entries(), runs))
    running = holder(evidence.engine, WRITER, lambda: now)
    nights = [run for run in runs.values() if run.kind in _NIGHTS]
    due = last_due_night(now)
    memory = evidence.memory
    seen = _Seen(_Told(runs, transfers.values()), memory.sizes(now), memory.open_batches(now), now, running)
    return Status(
        at=now,
        environment=evidence.environment.value,
        audiences=tuple(_audiences(evidence, settings, seen)),
        last_night=_night(nights[-1]) if nights else None,
        running=running,
        due_night=due.isoformat(),
        missing=not any(run.night >= due.isoformat() and (run.finished is not None or run.run_id == running) for run in nights),
        gaps=tuple(_gaps({run.night for run in nights}, due)),
        entries=evidence.reader.count(),
        checkpoint=_checkpoint(evidence.reader.notes()),
        unsettled=len(memory.batches(frozenset({"accepted"}))),
        problems=settings.problems,
    )


def last_due_night(now: datetime) -> date:
    """The last night (Stockholm) that must have had a run by now."""
    local = now.astimezone(STOCKHOLM)
    return local.date() if local.time() >= DUE_AT else local.date() - timedelta(days=1)


class _Told:
    """What the log tells of runs and transfers, by audience and list."""

    def __init__(self, runs: Mapping[str, _Run], transfers: Iterable[Transfer]) -> None:
        self._runs = list(runs.values())
        self._of_run: dict[tuple[str, str], list[Transfer]] = {}
        self._requests: dict[str, list[Request]] = {}
        for transfer in transfers:
            self._of_run.setdefault((transfer.run_id, str(transfer.intent.get("audience"))), []).append(transfer)
            self._requests.setdefault(str(transfer.intent.get("list_id")), []).extend(transfer.requests)
        for requests in self._requests.values():
            requests.sort(key=lambda request: request.index)

    def last_funnel(self, audience: str) -> Mapping[str, Any]:
        """The funnel of the last run that judged an audience; empty without one."""
        return next((run.funnels[audience] for run in reversed(self._runs) if audience in run.funnels), {})

    def last_clean_night(self, audience: str) -> str:
        """The last night that did for an audience all that it should; empty without one."""
        return next((run.night for run in reversed(self._runs) if run.kind in _NIGHTS and self._clean(run, audience)), "")

    def unsent_removals(self, audience: str, running: str | None) -> tuple[int, str]:
        """(people, since when): removals that the last run should have asked for and did not begin; since the first run in a row.

        The run that is still at work does not count.
        """
        people, since = 0, ""
        for run in reversed([run for run in self._runs if audience in run.funnels and run.run_id != running]):
            due = _removals_due(run.funnels[audience])
            begun = self._of_run.get((run.run_id, audience), [])
            if not due or any(transfer.operation == Operation.REMOVE for transfer in begun):
                break
            people, since = people or due, run.started_at
        return people, since

    def asked_since(self, batch: OpenBatch, list_id: str) -> str:
        """The earliest that somebody in a removal may first have been asked off the list.

        A request that repeats is followed back to the last one before it that did not succeed: too early rather than too late.
        """
        removals = [request for request in self._requests.get(list_id, []) if request.operation == Operation.REMOVE]
        place = next((n for n, request in enumerate(removals) if request.batch_id == batch.batch_id.hex()), None)
        if place is None:
            return batch.sent_at
        while place > 0 and removals[place].repeat:
            failed = [n for n in range(place) if removals[n].settled != "succeeded"]
            place = failed[-1] if failed else place - 1
        return removals[place].at

    def last_addition(self, list_id: str) -> str:
        """When somebody was last sent to a list, or may have been; empty for never."""
        added = [r.at for r in self._requests.get(list_id, []) if r.operation == Operation.ADD and r.outcome != "refused"]
        return max(added, default="")

    def _clean(self, run: _Run, audience: str) -> bool:
        funnel = run.funnels.get(audience)
        if funnel is None or run.finished is None or any(GATE_EXITS.get(gate, 5) for gate in funnel.get("gates", ())):
            return False
        transfers = self._of_run.get((run.run_id, audience), [])
        begun = {transfer.operation for transfer in transfers}
        if _removals_due(funnel) and Operation.REMOVE not in begun:
            return False
        if funnel.get("additions") and not funnel.get("gates", ()) and Operation.ADD not in begun:
            return False
        cut_short = bool(run.finished.get("errors")) and any(transfer.sent < transfer.planned for transfer in transfers)
        return not cut_short and all(request.outcome == "accepted" for t in transfers for request in t.requests)


def _removals_due(funnel: Mapping[str, Any]) -> int:
    """Removals that no gate held."""
    always = int(funnel.get("noes", 0)) + int(funnel.get("ordered", 0))
    return always + (0 if HOLDING_ORDINARY & set(funnel.get("gates", ())) else int(funnel.get("ordinary", 0)))


def _watched(entries: Iterable[dict[str, Any]], runs: dict[str, _Run]) -> Iterator[dict[str, Any]]:
    """Pass entries on, and take down what they say of runs."""
    for entry in entries:
        kind, fields, run_id = entry["type"], entry["fields"], entry["run_id"]
        if kind == EntryType.RUN_STARTED:
            runs[run_id] = _Run(run_id, entry["run_kind"], str(fields.get("night", "")), entry["at"])
        elif kind == EntryType.FUNNEL and run_id in runs:
            runs[run_id].funnels[str(fields.get("audience", ""))] = fields
        elif kind == EntryType.RUN_FINISHED and run_id in runs:
            runs[run_id].finished = fields
        yield entry


@dataclass(frozen=True, slots=True)
class _Seen:
    """What all rows are made from."""

    told: _Told
    sizes: Mapping[int, int]
    waiting: tuple[OpenBatch, ...]
    now: datetime
    running: str | None


def _audiences(evidence: Evidence, settings: Settings, seen: _Seen) -> Iterator[AudienceStatus]:
    """The configured audiences in their order, then lists left behind that still hold people."""
    remotes: dict[str, RemoteList] = {remote.audience: remote for remote in evidence.memory.lists()}
    today = seen.now.astimezone(STOCKHOLM).date()
    for key, audience in settings.audiences.items():
        remote = remotes.pop(key, None)
        state = remote.state if remote is not None else "not_yet"
        if state == "open" and key in settings.stopped:
            state = "stopped"
        elif state == "open" and ended(audience, today):
            state = "ended"
        yield _audience(key, remote, state, seen)
    for left_behind in remotes.values():
        if seen.sizes.get(left_behind.list_no):
            yield _audience(left_behind.audience, left_behind, "former", seen)


def _audience(key: str, remote: RemoteList | None, state: str, seen: _Seen) -> AudienceStatus:
    funnel = seen.told.last_funnel(key)
    gates = tuple(funnel.get("gates", ()))
    waiting = [batch for batch in seen.waiting if remote is not None and batch.list_no == remote.list_no]
    accepted = [batch for batch in waiting if batch.state == "accepted"]
    overdue = [batch for batch in accepted if _moment(batch.sent_at) <= seen.now - SILENCE]
    unknown = [batch for batch in waiting if batch.state == "unknown" or (batch.state == "prepared" and seen.running is None)]
    removals = [batch for batch in waiting if batch.operation is Operation.REMOVE]
    gone = remote is None or state == "gone"
    unsent, unsent_since = (0, "") if gone else seen.told.unsent_removals(key, seen.running)
    list_id = remote.list_id if remote is not None else ""
    since = [seen.told.asked_since(batch, list_id) for batch in removals] + ([unsent_since] if unsent else [])
    return AudienceStatus(
        audience=key,
        code=remote.code if remote is not None else "",
        list_id=list_id,
        state=state,
        held=seen.sizes.get(remote.list_no, 0) if remote is not None else 0,
        last_clean_night=seen.told.last_clean_night(key),
        in_flight=len(accepted) - len(overdue),
        overdue=len(overdue),
        unknown=len(unknown),
        open_removals=sum(batch.people for batch in removals) + unsent,
        oldest_removal_at=min(since, default=""),
        frozen_removals=int(funnel.get("ordinary", 0)) if HOLDING_ORDINARY & set(gates) else 0,
        gates=gates,
        runs_out_on=_runs_out(seen.told.last_addition(list_id), remote, seen.now) if remote is not None else "",
    )


def _runs_out(last_addition: str, remote: RemoteList, now: datetime) -> str:
    if not last_addition or now - _moment(last_addition) < QUIET:
        return ""
    ends = _moment(last_addition) + timedelta(days=remote.membership_days)
    return ends.astimezone(STOCKHOLM).date().isoformat()


def _night(run: _Run) -> Night:
    done = run.finished or {}
    codes = tuple(int(code) for code in done.get("exit_codes", ()))
    return Night(run.night, run.run_id, run.started_at, str(done.get("outcome", "")), codes, tuple(done.get("errors", ())))


def _gaps(nights: set[str], due: date) -> Iterator[str]:
    if not nights:
        return
    day = max(date.fromisoformat(min(nights)), due - GAPS_SHOWN)
    while day <= due:
        if day.isoformat() not in nights:
            yield day.isoformat()
        day += timedelta(days=1)


def _checkpoint(notes: list[tuple[int, str]]) -> tuple[int, str] | None:
    """The size and root line of the last note that is kept."""
    lines = notes[-1][1].split("\n") if notes else []
    return (notes[-1][0], lines[2]) if len(lines) > 2 else None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
