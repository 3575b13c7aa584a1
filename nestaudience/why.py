"""Why a list gets nobody, in words: no candidates, nobody eligible, nothing to send, or something that holds it.

Pure: a plan in, sentences with a code each out. Keys, codes and counts only. What is wrong with the configuration or the store is said elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from nestaudience.delta.approvals import EMPTIED
from nestaudience.delta.gates import Gate
from nestaudience.delta.plan import PASSED_BY_REFRESH, AudiencePlan
from nestaudience.delta.stops import ENDING

_EMPTYING: Final = ENDING.keys() | EMPTIED.keys()


@dataclass(frozen=True, slots=True)
class Why:
    """One reason. `code`: `no_candidates`, `not_judged`, `nobody_eligible`, `emptied`, `in_line`, `held`, `probe` or `released`."""

    code: str
    text: str

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {"code": self.code, "text": self.text}


def why(plan: AudiencePlan) -> tuple[Why, ...]:
    """Why the plan sends nobody, or not all at once; empty when nothing needs a word."""
    return tuple(_reasons(plan))


def _reasons(plan: AudiencePlan) -> Iterator[Why]:
    codes = {gate.code for gate in plan.gates}
    if plan.emptied:
        yield Why("emptied", f"nobody joins: the list is being emptied ({', '.join(sorted(codes & _EMPTYING))})")
    else:
        yield from _people(plan, codes)
    holding = [gate for gate in plan.gates if _holds_somebody(gate, plan)]
    yield from (Why("held", f"held by {gate.code}: {gate.next_step}") for gate in holding)
    if not plan.additions_to_send and not plan.removals_to_send and not holding:
        if plan.counts.held == plan.counts.wanted and plan.counts.held:
            yield Why("in_line", "nothing to send: the list is in line")
        elif plan.counts.held or plan.counts.wanted:
            yield Why("in_line", "nothing to send: the list is in line, or what is missing is on its way")
    if plan.probe is not None and not plan.holds_additions:
        rest = plan.counts.newcomers - plan.probe
        yield Why("probe", f"the first fill begins with {_count(plan.probe)}; {_count(rest)} follow when the platform took them")
    if plan.released:
        yield Why("released", f"let through by a release: {', '.join(plan.released)}")


def _people(plan: AudiencePlan, codes: set[str]) -> Iterator[Why]:
    funnel = plan.funnel
    controller, segment, _ = plan.key.split("/")
    if not funnel.candidates:
        if "feed_incomplete" in codes:
            yield Why("not_judged", "nobody was judged: the store, or a part of it, could not be read")
        else:
            yield Why("no_candidates", f"no candidates: segment_member has no row for {segment} at {controller}")
    elif not funnel.eligible:
        reason, most = max(funnel.refused.items(), key=lambda pair: pair[1])
        whole = f"all {_count(funnel.candidates)} candidates refused"
        yield Why("nobody_eligible", f"{whole}, most by {reason} ({_count(most)})")


def _holds_somebody(gate: Gate, plan: AudiencePlan) -> bool:
    """True when somebody stays where she is because of it. A refresh passes the gates on growth."""
    joining = plan.counts.newcomers if gate.code in PASSED_BY_REFRESH else plan.counts.additions
    return bool((gate.additions and joining) or (gate.holds_removals and plan.counts.ordinary))


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")
