"""What the log tells of runs, list by list: the last clean night, gates that stay closed, removals that wait, and what was told nobody yet.

Folds decoded entries and holds counts and codes only. It reads no configuration and no memory, and verifies nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from nestaudience.audit.transfers import Request, Transfer, read_transfers
from nestaudience.delta.feeds import SNAPSHOT_STALE, VANISHED
from nestaudience.delta.probing import HELD, PROBE_CODES, WAITS
from nestaudience.delta.stops import ENDING
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.memory import OpenBatch
from nestaudience.vocabulary import Operation, RunKind

GATE_EXITS: Final = {
    **dict.fromkeys(("too_small", "list_closed", "retract", *ENDING), 0),
    **dict.fromkeys(("config", "destination_absent", "keys_incomplete", "list_gone", "renumbered"), 2),
    "recovering": 3,
    **{held.code: held.exit_code for held in HELD.values() if held.exit_code != 5},
}
"""Exit codes of the gates that are no rule's stop (5); the log keeps a gate's code only."""
HOLDING_ORDINARY: Final = frozenset(
    {"anomaly_removals", "environment", "feed_malformed", "feed_incomplete", "segment_feed", "retract"}
)
"""Gates that hold removals which are no no."""
HOLDING_ORDINARY_ONLY: Final = frozenset({"anomaly_removals"})
"""Of those, the ones that let additions through."""

NIGHTS_TOLD_BY: Final = frozenset({EntryType.RUN_STARTED, EntryType.FUNNEL, EntryType.GATE, EntryType.RUN_FINISHED})
"""The entries that tell what each night found; enough for `History.completed`."""

_NIGHTS: Final = frozenset({RunKind.NIGHTLY.value, RunKind.SANDBOX.value})


@dataclass(slots=True)
class PastRun:
    """What the log says of one run: how it ended (None: it has no end), and the funnel of each audience that it judged."""

    run_id: str
    kind: str
    night: str
    started_at: str
    finished: Mapping[str, Any] | None = None
    funnels: dict[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that must not be: its place in the log, when, the code, and the audience."""

    index: int
    at: str
    code: str
    audience: str

    @property
    def key(self) -> str:
        """The key of its alert."""
        return f"incident:{self.index}"

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {name: getattr(self, name) for name in Incident.__dataclass_fields__}


def read_history(entries: Iterable[dict[str, Any]]) -> "History":
    """Fold the entries of a log, in order of index."""
    runs: dict[str, PastRun] = {}
    incidents: list[Incident] = []
    times: list[dict[str, Any]] = []
    releases: list[dict[str, Any]] = []
    facts: dict[str, dict[str, Any]] = {}
    transfers = read_transfers(_listening(_watched(entries, runs, incidents, times, releases), facts))
    return History(runs, transfers.values(), tuple(incidents), tuple(times), tuple(releases), facts)


class History:
    """What the log tells of runs and transfers, by audience and list. `incidents`; `removal_times` and `releases` are decoded entries, in order;
    `list_facts` is list id -> what its platform said of it last, with the time as `at`.
    """

    def __init__(
        self,
        runs: Mapping[str, PastRun],
        transfers: Iterable[Transfer],
        incidents: tuple[Incident, ...],
        removal_times: tuple[dict[str, Any], ...] = (),
        releases: tuple[dict[str, Any], ...] = (),
        list_facts: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        self._runs = list(runs.values())
        self.incidents = incidents
        self.removal_times = removal_times
        self.releases = releases
        self.list_facts = list_facts
        self._of_run: dict[tuple[str, str], list[Transfer]] = {}
        self._requests: dict[str, list[Request]] = {}
        for transfer in transfers:
            self._of_run.setdefault((transfer.run_id, str(transfer.intent.get("audience"))), []).append(transfer)
            to_the_list = [request for request in transfer.requests if not request.everywhere]
            self._requests.setdefault(str(transfer.intent.get("list_id")), []).extend(to_the_list)
        for requests in self._requests.values():
            requests.sort(key=lambda request: request.index)

    def met(self, codes: frozenset[str]) -> bool:
        """True when some incident has one of these codes."""
        return any(incident.code in codes for incident in self.incidents)

    @property
    def nights(self) -> list[PastRun]:
        """The nightly runs, in their order."""
        return [run for run in self._runs if run.kind in _NIGHTS]

    def last_funnel(self, audience: str) -> Mapping[str, Any]:
        """The funnel of the last run that judged an audience; empty without one."""
        return next((run.funnels[audience] for run in reversed(self._runs) if audience in run.funnels), {})

    def last_clean_night(self, audience: str) -> str:
        """The last night that did for an audience all that it should; empty without one."""
        return next((run.night for run in reversed(self._runs) if run.kind in _NIGHTS and self._clean(run, audience)), "")

    def closed_since(self, audience: str) -> dict[str, str]:
        """Each gate that the last run closed on a list -> the night since which every run closed it."""
        since: dict[str, str] = {}
        closed = tuple(self.last_funnel(audience).get("gates", ()))
        for run in reversed([run for run in self._runs if audience in run.funnels]):
            closed = tuple(gate for gate in closed if gate in run.funnels[audience].get("gates", ()))
            since |= dict.fromkeys(closed, run.night)
        return {gate: since[gate] for gate in self.last_funnel(audience).get("gates", ())}

    def completed(self, audience: str) -> list[tuple[str, Mapping[str, Any]]]:
        """(night, funnel) of an audience in every nightly run that came to its end, in their order."""
        ended = (run for run in self.nights if run.finished is not None and audience in run.funnels)
        return [(run.night, run.funnels[audience]) for run in ended]

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

    def _clean(self, run: PastRun, audience: str) -> bool:
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
    return always + int(funnel.get("ordinary", 0)) - held_ordinary(funnel)


def held_ordinary(funnel: Mapping[str, Any]) -> int:
    """Ordinary removals that a gate held, by a funnel's fields."""
    gates = set(funnel.get("gates", ()))
    if gates & HOLDING_ORDINARY:
        return int(funnel.get("ordinary", 0))
    return int(funnel.get("vanished", 0)) if VANISHED in gates else 0


def _watched(
    entries: Iterable[dict[str, Any]],
    runs: dict[str, PastRun],
    incidents: list[Incident],
    times: list[dict[str, Any]],
    releases: list[dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    """Pass entries on, and take down what they say of runs and incidents."""
    for entry in entries:
        kind, fields, run_id = entry["type"], entry["fields"], entry["run_id"]
        if kind == EntryType.RUN_STARTED:
            runs[run_id] = PastRun(run_id, entry["run_kind"], str(fields.get("night", "")), entry["at"])
        elif kind == EntryType.FUNNEL and run_id in runs:
            runs[run_id].funnels[str(fields.get("audience", ""))] = fields
        elif kind == EntryType.RUN_FINISHED and run_id in runs:
            runs[run_id].finished = fields
        elif kind == EntryType.GATE and fields.get("audience") in (runs[run_id].funnels if run_id in runs else ()):
            _first_fill(runs[run_id].funnels, fields)
        elif kind == EntryType.INCIDENT:
            code, audience = str(fields.get("code", "")), str(fields.get("audience", ""))
            incidents.append(Incident(entry["index"], entry["at"], code, audience))
        elif kind == EntryType.REMOVAL_TIMES:
            times.append(entry)
        elif kind == EntryType.RELEASE:
            releases.append(entry)
        yield entry


def _listening(entries: Iterable[dict[str, Any]], facts: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pass entries on, and keep what the platforms said last of each list."""
    for entry in entries:
        if entry["type"] == EntryType.LIST_FACTS:
            list_id = str(entry["fields"].get("list_id", ""))
            looked = {name: facts[list_id][name] for name in ("signs",) if name in facts.get(list_id, {})}
            facts[list_id] = {**looked, **entry["fields"], "at": entry["at"]}
        yield entry


def _first_fill(funnels: dict[str, Mapping[str, Any]], fields: Mapping[str, Any]) -> None:
    """A run began or ended a list's first fill after it had judged: the gate that holds the rest closed, or opened. Or it came too late to send."""
    funnel = funnels[fields["audience"]]
    if fields.get("gate") == SNAPSHOT_STALE:
        funnels[fields["audience"]] = {**funnel, "gates": [*funnel.get("gates", ()), SNAPSHOT_STALE]}
        return
    others = [gate for gate in funnel.get("gates", ()) if gate not in PROBE_CODES]
    funnels[fields["audience"]] = {**funnel, "gates": others if fields.get("state") == "open" else [*others, WAITS.code]}
