"""The morning's one look: every audience, the last night, what waits for an answer, and what a person must do.

It reads the ledger and the configuration; it asks no platform and changes nothing. Counts are people (distinct digests) unless they say
otherwise; nights are days in Stockholm, other times UTC.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from nestaudience.audit.clocks import RemovalClock, removal_clocks
from nestaudience.config.settings import Problem, Settings, ended
from nestaudience.delivery.deleting import NOT_DELETED
from nestaudience.delivery.refused import DELETED_AFTER, STAYS_REFUSED, TOLD_BY, Refusals, read_refusals
from nestaudience.delta.releases import Release
from nestaudience.due import DueDate, due_dates
from nestaudience.errors import NestAudienceError
from nestaudience.history import GATE_EXITS, HOLDING_ORDINARY_ONLY, History, Incident, PastRun, held_ordinary, read_history
from nestaudience.ledger.entries import utc_text
from nestaudience.ledger.epoch import looks_restored
from nestaudience.ledger.lease import WRITER, holder
from nestaudience.ledger.log import restored_error
from nestaudience.ledger.memory import PROBING, SILENCE, OpenBatch, RemoteList
from nestaudience.ledger.told import ToldAlerts
from nestaudience.releasing import standing
from nestaudience.small_lists import IN_USE, nights_below, retires_on
from nestaudience.vocabulary import STOCKHOLM, KillSwitch, Operation
from nestaudience.wiring import Evidence

DUE_AT: Final = time(5, 0)
"""Unless a configuration says otherwise (`alerts.night_by`): from this hour in Stockholm on, the night of the day must have had its run."""
QUIET: Final = timedelta(days=10)
"""After so long without an addition it is told when a list runs out."""
GAPS_SHOWN: Final = timedelta(days=30)
REPEATED: Final = STAYS_REFUSED | {NOT_DELETED}
"""Codes of incidents that come again with every run until a list is deleted."""


@dataclass(frozen=True, slots=True)
class AudienceStatus:
    """One audience. `state`: `open`, `probing` (its first fill is not over), `not_yet` (no list so far), `gone`, `stopped` (by the configuration),
    `ended`, `former` (a list that an audience left behind and that still holds people), or what the ledger says of the list.

    `held`: who may be on it, None where nobody counted. `in_flight` and `unknown`: requests that wait for a result, or have no known effect.
    `open_removals`: people asked off the list, or owed to be, and not certain to be gone; `oldest_removal_at` the earliest that one of
    them may have been asked for. `frozen_removals`: ordinary removals that a gate held in the last run. `gates`: closed in the last run;
    `closed_since`: the night since which each of them was closed in every run.
    `runs_out_on`: when the platform drops the last people, told when nobody was added for ten days. `frozen_additions`: newcomers whom a gate held
    in the last run; `released`: gates that a release opened in it. `retires_on`: the night that empties the list because it stays too small.
    `refused_since`: since when the platform refuses removals that are owed, empty when it does not (UTC text); `deleted_from`: when the list is
    deleted for whoever said no among them, empty while no no is.
    `platform`: what the platform said of the list in the last night that asked: `at`, `open`, and what it knew of `size`, `match_rate` (percent),
    `eligible_for`, `closing_reason`, `operation`, `delivery`, `lower`, `upper`, `sessions_open`, `signs`; empty until then.
    """

    audience: str
    code: str
    list_id: str
    state: str
    held: int | None
    last_clean_night: str
    in_flight: int
    overdue: int
    unknown: int
    open_removals: int
    oldest_removal_at: str
    frozen_removals: int
    gates: tuple[str, ...]
    closed_since: tuple[str, ...]
    runs_out_on: str
    frozen_additions: int = 0
    released: tuple[str, ...] = ()
    retires_on: str = ""
    refused_since: str = ""
    deleted_from: str = ""
    platform: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        values = {name: getattr(self, name) for name in AudienceStatus.__dataclass_fields__}
        values["platform"] = dict(self.platform)
        return values | {"gates": list(self.gates), "closed_since": list(self.closed_since), "released": list(self.released)}

    @property
    def held_by(self) -> tuple[tuple[str, str], ...]:
        """Each gate that needs a person, with the night since which it is closed. `too_small` and what goes with an end are as they should be."""
        return tuple((g, night) for g, night in zip(self.gates, self.closed_since, strict=True) if GATE_EXITS.get(g, 5))


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
    """Everything together. `due_night` is the last night that must have had a run; `missing` says that it has none that ended or is
    at work, `unfinished` that it has none that ended.

    `gaps`: nights of the last 30 days without a run. `checkpoint` is (entries covered, root in base64), as kept: `audit verify` checks
    it. `unsettled`: accepted requests without a result. `overdue` ones, and removals, wait for more than 48 hours.
    `incidents` are those of which nobody was told yet; `due` are days that are near or over; `clocks` tell of the removals of the last 30 days.
    `stopped` says why no run may begin; `kill_switch` what a person has stopped. `releases` stand now. `freshness_unknown`: somebody
    decided that lists are kept without knowing how fresh the store is.
    """

    at: datetime
    environment: str
    audiences: tuple[AudienceStatus, ...]
    last_night: Night | None
    running: str | None
    due_night: str
    missing: bool
    unfinished: bool
    gaps: tuple[str, ...]
    entries: int
    checkpoint: tuple[int, str] | None
    unsettled: int
    problems: tuple[Problem, ...]
    incidents: tuple[Incident, ...]
    due: tuple[DueDate, ...]
    clocks: tuple[RemovalClock, ...] = ()
    stopped: NestAudienceError | None = None
    kill_switch: KillSwitch = KillSwitch.OFF
    releases: tuple[Release, ...] = ()
    freshness_unknown: bool = False

    @property
    def exit_codes(self) -> tuple[int, ...]:
        """Every exit code that something here asks for; 0 always."""
        codes = {0} | ({2} if self.problems else set()) | ({3} if self.missing else set())
        codes |= {5} if self.kill_switch is not KillSwitch.OFF else set()
        codes |= {self.stopped.exit_code} if self.stopped is not None else set()
        for audience in self.audiences:
            codes |= {GATE_EXITS.get(gate, 5) for gate in audience.gates} | ({4} if audience.unknown else set())
            asked = audience.oldest_removal_at
            if audience.overdue or (asked and _moment(asked) <= self.at - SILENCE):
                codes.add(3)
            if audience.refused_since:
                codes.add(5)
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
            "unfinished": self.unfinished,
            "gaps": list(self.gaps),
            "entries": self.entries,
            "checkpoint": None if self.checkpoint is None else {"size": self.checkpoint[0], "root": self.checkpoint[1]},
            "unsettled": self.unsettled,
            "kill_switch": self.kill_switch.value,
            "freshness": "unknown" if self.freshness_unknown else "",
            "problems": [problem.as_dict() for problem in self.problems],
            "incidents": [incident.as_dict() for incident in self.incidents],
            "due": [due.as_dict() for due in self.due],
            "clocks": [clock.as_dict() for clock in self.clocks],
            "stopped": None if self.stopped is None else self.stopped.as_dict(),
            "releases": [release.as_dict() for release in self.releases],
            "audiences": [audience.as_dict() for audience in self.audiences],
        }


def status(evidence: Evidence, settings: Settings, now: datetime, *, counted: bool = True) -> Status:
    """How everything stands at this moment. Raises `MustStop` as the ledger does.

    Without `counted` nobody counts who is on the lists, which reads every membership: `held` is None then, and a list left behind is told
    of only while a request to it waits.
    """
    history = read_history(evidence.reader.entries())
    running = holder(evidence.engine, WRITER, lambda: now)
    nights, due = history.nights, last_due_night(now, time.fromisoformat(settings.alerts.night_by))
    of_due = [run for run in nights if run.night >= due.isoformat()]
    memory, table = evidence.memory, evidence.table
    told = {key for key, row in ToldAlerts(evidence.engine).all().items() if row.last_told_at}
    sizes, smallest = (
        memory.sizes(now) if counted else None,
        {str(key): settings.smallest_list(key) for key in settings.audiences},
    )
    refusals = read_refusals(evidence.reader.entries(types=TOLD_BY)) if history.met(STAYS_REFUSED) else {}
    seen = _Seen(history, sizes, memory.open_batches(now), now, running, memory.holds_anybody, smallest, refusals)
    return Status(
        at=now,
        environment=evidence.environment.value,
        audiences=tuple(_audiences(evidence, settings, seen)),
        last_night=_night(nights[-1]) if nights else None,
        running=running,
        due_night=due.isoformat(),
        missing=not any(run.finished is not None or run.run_id == running for run in of_due),
        unfinished=not any(run.finished is not None for run in of_due),
        gaps=tuple(_gaps({run.night for run in nights}, due)),
        entries=evidence.reader.count(),
        checkpoint=_checkpoint(evidence.reader.notes()),
        unsettled=len(memory.batches(frozenset({"accepted"}))),
        problems=settings.problems,
        incidents=tuple(incident for incident in _daily(history.incidents) if incident.key not in told),
        due=due_dates(settings, now.astimezone(STOCKHOLM).date()),
        clocks=removal_clocks(entry for entry in history.removal_times if _moment(entry["at"]) > now - GAPS_SHOWN),
        stopped=restored_error() if looks_restored(evidence.engine, table.origin, evidence.base / table.head) else None,
        kill_switch=settings.kill_switch,
        freshness_unknown=settings.freshness_unknown,
        releases=tuple(each for found in standing(history.releases, now).values() for each in found),
    )


def _daily(incidents: Iterable[Incident]) -> Iterator[Incident]:
    """The incidents without those that every run repeats while a removal is refused: of them, one a day and list."""
    last: dict[tuple[str, str], datetime] = {}
    for each in incidents:
        place, at = (each.code, each.audience), _moment(each.at)
        if each.code in REPEATED and place in last and at - last[place] < timedelta(days=1):
            continue
        last[place] = at
        yield each


def last_due_night(now: datetime, by: time = DUE_AT) -> date:
    """The last night (Stockholm) that must have had a run by now."""
    local = now.astimezone(STOCKHOLM)
    return local.date() if local.time() >= by else local.date() - timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What all rows are made from."""

    history: History
    sizes: Mapping[int, int] | None
    waiting: tuple[OpenBatch, ...]
    now: datetime
    running: str | None
    holds: Callable[[int], bool]
    smallest: Mapping[str, int]
    refusals: Mapping[str, Refusals]


def _audiences(evidence: Evidence, settings: Settings, seen: _Seen) -> Iterator[AudienceStatus]:
    """The configured audiences in their order, then lists left behind that still hold people."""
    remotes: dict[str, RemoteList] = {remote.audience: remote for remote in evidence.memory.lists()}
    today = seen.now.astimezone(STOCKHOLM).date()
    for key, audience in settings.audiences.items():
        remote = remotes.pop(key, None)
        state = remote.state if remote is not None else "not_yet"
        in_use = state in ("open", PROBING)
        if in_use and key in settings.stopped:
            state = "stopped"
        elif in_use and ended(audience, today):
            state = "ended"
        yield _audience(key, remote, state, seen)
    for left_behind in remotes.values():
        waits = any(batch.list_no == left_behind.list_no for batch in seen.waiting)
        if waits or (seen.sizes is not None and seen.sizes.get(left_behind.list_no)):
            yield _audience(left_behind.audience, left_behind, "former", seen)


def _audience(key: str, remote: RemoteList | None, state: str, seen: _Seen) -> AudienceStatus:
    funnel = seen.history.last_funnel(key)
    gates = tuple(funnel.get("gates", ()))
    waiting = [batch for batch in seen.waiting if remote is not None and batch.list_no == remote.list_no]
    accepted = [batch for batch in waiting if batch.state == "accepted"]
    overdue = [batch for batch in accepted if _moment(batch.sent_at) <= seen.now - SILENCE]
    unknown = [batch for batch in waiting if batch.state == "unknown" or (batch.state == "prepared" and seen.running is None)]
    removals = [batch for batch in waiting if batch.operation is Operation.REMOVE]
    gone = remote is None or state == "gone"
    unsent, unsent_since = (0, "") if gone else seen.history.unsent_removals(key, seen.running)
    list_id = remote.list_id if remote is not None else ""
    since = [seen.history.asked_since(batch, list_id) for batch in removals] + ([unsent_since] if unsent else [])
    held = 0 if remote is None else None if seen.sizes is None else seen.sizes.get(remote.list_no, 0)
    runs_out = _runs_out(seen.history.last_addition(list_id), remote, seen.now) if remote is not None else ""
    if runs_out and remote is not None and held is None and not seen.holds(remote.list_no):
        runs_out = ""
    return AudienceStatus(
        audience=key,
        code=remote.code if remote is not None else "",
        list_id=list_id,
        state=state,
        held=held,
        last_clean_night=seen.history.last_clean_night(key),
        in_flight=len(accepted) - len(overdue),
        overdue=len(overdue),
        unknown=len(unknown),
        open_removals=sum(batch.people for batch in removals) + unsent,
        oldest_removal_at=min(since, default=""),
        frozen_removals=held_ordinary(funnel),
        gates=gates,
        closed_since=tuple(seen.history.closed_since(key)[gate] for gate in gates),
        runs_out_on=runs_out,
        frozen_additions=_frozen_additions(funnel),
        released=tuple(funnel.get("released", ())),
        retires_on=_retires_on(key, state, seen),
        **_refused(seen.refusals.get(list_id) if removals else None),
        platform=_said(seen.history.list_facts.get(list_id, {})),
    )


def _refused(refusals: Refusals | None) -> dict[str, str]:
    """Since when removals are refused, and from when on the list is deleted for it."""
    if refusals is None:
        return {}
    said = {"refused_since": utc_text(refusals.since)}
    noes = refusals.no_since
    return said if noes is None else said | {"deleted_from": utc_text(noes + DELETED_AFTER)}


def _said(facts: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in facts.items() if name not in {"audience", "list_id", "membership_days"}}
    return said if said.get("signs") else {name: value for name, value in said.items() if name != "signs"}


def _frozen_additions(funnel: Mapping[str, Any]) -> int:
    if not set(funnel.get("gates", ())) - HOLDING_ORDINARY_ONLY:
        return 0
    return int(funnel.get("additions", 0)) - int(funnel.get("refresh", 0))


def _retires_on(key: str, state: str, seen: _Seen) -> str:
    if state not in IN_USE or key not in seen.smallest:
        return ""
    night = retires_on(nights_below(seen.history.completed(key), seen.smallest[key]))
    return "" if night is None else night.isoformat()


def _night(run: PastRun) -> Night:
    done = run.finished or {}
    codes = tuple(int(code) for code in done.get("exit_codes", ()))
    return Night(run.night, run.run_id, run.started_at, str(done.get("outcome", "")), codes, tuple(done.get("errors", ())))


def _runs_out(last_addition: str, remote: RemoteList, now: datetime) -> str:
    if not last_addition or now - _moment(last_addition) < QUIET:
        return ""
    ends = _moment(last_addition) + timedelta(days=remote.membership_days)
    return ends.astimezone(STOCKHOLM).date().isoformat()


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
