"""Releases: what a person could let through now, the entry that says that she did, and the releases that stand.

It judges nobody, sends nothing and starts no run: the next run that finds a release uses it. What a release covers is decided in `delta`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from nestaudience.by_hand import by_hand
from nestaudience.delta.gates import Gate
from nestaudience.delta.plan import AudiencePlan
from nestaudience.delta.releases import STANDS, Release, plan_digest
from nestaudience.errors import MustStop, NeedsFix
from nestaudience.jobs import check_case
from nestaudience.ledger.entries import EntryType, Value, utc_text
from nestaudience.ledger.log import LogReader
from nestaudience.parts import Parts
from nestaudience.vocabulary import AudienceKey, Cause, Operation

_SLACK: Final = timedelta(minutes=5)
_RELEASES: Final = frozenset({EntryType.RELEASE})
_USES: Final = frozenset({EntryType.RELEASE, EntryType.FUNNEL, EntryType.BATCH, EntryType.BATCH_RESULT})


@dataclass(frozen=True, slots=True)
class Offer:
    """A held plan as it is shown to whoever may release it. `gates` can be released; `stay` stay closed, whatever she says."""

    plan: AudiencePlan
    gates: tuple[Gate, ...]
    stay: tuple[Gate, ...]
    digest: str

    @property
    def additions(self) -> int:
        """How many people wait to join."""
        return self.plan.counts.newcomers

    @property
    def ordinary(self) -> int:
        """How many ordinary removals wait."""
        return self.plan.counts.ordinary

    @property
    def exit_code(self) -> int:
        """The exit code of what stays closed."""
        return max((gate.exit_code for gate in self.stay), default=0)

    def as_dict(self) -> dict[str, object]:
        """For `--json`: keys and counts."""
        return {
            "audience": self.plan.key,
            "plan_digest": self.digest,
            "gates": [gate.code for gate in self.gates],
            "additions": self.additions,
            "ordinary": self.ordinary,
            "stay_closed": [gate.code for gate in self.stay],
        }


def check_order(parts: Parts, key: AudienceKey, cause: Cause, case_id: str) -> None:
    """Raises `NeedsFix`: `audience_unknown`, `case_missing`."""
    check_case(cause, case_id)
    if key not in parts.settings.audiences:
        where_to_look = "name one of those that `nestaudience status` lists: controller/segment/recipient"
        raise NeedsFix("audience_unknown", "AUDIENCE", where_to_look)


def offer(plan: AudiencePlan, config_digest: str) -> Offer:
    """What could be released of a plan.

    Raises `NeedsFix`: `nothing_to_release` when no gate is closed; `MustStop`: `not_releasable` when no person may open those that are.
    """
    gates = tuple(gate for gate in plan.gates if gate.releasable)
    stay = tuple(gate for gate in plan.gates if not gate.releasable)
    if not plan.gates:
        why = f"a release lets {', '.join(plan.released)} through already" if plan.released else "no gate holds anybody"
        raise NeedsFix("nothing_to_release", plan.key, why)
    if not gates:
        said = "; ".join(f"{gate.code}: {gate.next_step}" for gate in stay)
        raise MustStop("not_releasable", plan.key, f"no release opens what is closed. {said}")
    return Offer(plan, gates, stay, plan_digest(plan, config_digest))


def release(parts: Parts, shown: Offer, cause: Cause, case_id: str, *, actor: str = "cli") -> Release:
    """Write down that a person lets this plan through. Raises `TryAgain`: `leased` while a run is at work; and what the log raises."""
    key, now = shown.plan.key, parts.clock()
    fields: dict[str, Value] = {
        "audience": key,
        "gates": [gate.code for gate in shown.gates],
        "plan_digest": shown.digest,
        "additions": shown.additions,
        "ordinary": shown.ordinary,
        "until": utc_text(now + STANDS),
        "cause": cause.value,
    }
    if case_id:
        fields["case_id"] = case_id
    with by_hand(parts, actor, controller=parts.settings.audiences[key].controller.key) as context:
        parts.open_log().append_and_seal([(EntryType.RELEASE, context, fields)])
    return _release(fields)


def standing(entries: Iterable[Mapping[str, Any]], now: datetime) -> dict[AudienceKey, tuple[Release, ...]]:
    """Audience -> its releases that stand at this time (UTC), oldest first. `entries` are decoded; other types than releases are passed over."""
    found: dict[AudienceKey, tuple[Release, ...]] = {}
    for entry in entries:
        if entry["type"] != EntryType.RELEASE:
            continue
        one = _release(entry["fields"])
        if now < one.until <= now + STANDS + _SLACK:  # a clock that was put back makes no release longer than a day
            found[one.audience] = (*found.get(one.audience, ()), one)
    return found


def in_force(reader: LogReader, now: datetime) -> dict[AudienceKey, tuple[Release, ...]]:
    """Audience -> its releases that stand at this time (UTC), each with what went under it already. Raises what reading the log raises."""
    first = next((e["index"] for e in reader.entries(types=_RELEASES) if standing([e], now)), None)
    return {} if first is None else used(reader.entries(first, types=_USES), now)


def used(entries: Iterable[Mapping[str, Any]], now: datetime) -> dict[AudienceKey, tuple[Release, ...]]:
    """Like `standing`, with what went under each. `entries` are decoded, in order, the releases and what came after the first of them.

    Whatever joined and left in a run that a release let through went under it, but for refusals, late blocks, noes and refreshes.
    """
    entries = list(entries)
    refused = {e["fields"]["batch_id"] for e in entries if e["fields"].get("outcome") == "refused"}
    found: dict[AudienceKey, tuple[Release, ...]] = {}
    for place, entry in enumerate(entries):
        for key, (release,) in standing([entry], now).items():
            joined, left = _went(release, entries[place:], refused)
            found[key] = (*found.get(key, ()), replace(release, joined=joined, left=left))
    return found


def _went(release: Release, entries: Sequence[Mapping[str, Any]], refused: set[str]) -> tuple[int, int]:
    """(newcomers, ordinary removals) that were sent under a release; noes go first, and count for nothing."""
    free: dict[tuple[str, str], int] = {}
    sent: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        fields, run = entry["fields"], entry["run_id"]
        if fields.get("audience") != release.audience:
            continue
        if entry["type"] == EntryType.FUNNEL and release.gates & set(fields.get("released", ())):
            free[run, Operation.ADD.value] = int(fields.get("refresh", 0))
            free[run, Operation.REMOVE.value] = int(fields.get("noes", 0)) + int(fields.get("ordered", 0))
        elif entry["type"] == EntryType.BATCH and fields["batch_id"] not in refused and not _beside(fields):
            sent[run, str(fields["operation"])] += int(fields["count"])
    went = {word: sum(max(sent[run, word] - free[run, of], 0) for run, of in free if of == word) for word in Operation}
    return went[Operation.ADD], went[Operation.REMOVE]


def _beside(fields: Mapping[str, Any]) -> bool:
    """True for a request that is no part of a plan."""
    return bool(fields.get("late") or fields.get("everywhere"))


def _release(fields: Mapping[str, Any]) -> Release:
    gates = fields["gates"]
    return Release(
        audience=AudienceKey(str(fields["audience"])),
        gates=frozenset(str(code) for code in gates) if isinstance(gates, Sequence) else frozenset(),
        additions=int(str(fields["additions"])),
        ordinary=int(str(fields["ordinary"])),
        until=datetime.fromisoformat(str(fields["until"])),
        cause=str(fields.get("cause", "")),
        case_id=str(fields.get("case_id", "")),
    )
