"""A plan against the last completed night: what a change of the configuration, or of the store, would do to every list, by cause.

Pure: plans, the funnels of that night and two configurations in; differences out. Keys, codes and counts only: of the configuration it names the
parts that differ, never a value. It judges nobody and cannot say which part of a difference comes from the store and which from the configuration.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nestaudience.accepting import changed_parts
from nestaudience.config.schema import Document
from nestaudience.delta.plan import AudiencePlan
from nestaudience.history import History

COUNTS: Final = ("candidates", "eligible", "wanted", "held", "noes", "ordinary", "additions")
"""The numbers of a funnel that are compared, beside the reasons."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One audience. `counts` and `reasons`: name -> (then, now); `then` is None in all of them for an audience that the night did not judge.

    `closed`: gates that are closed now and were not; `opened`: the other way round. `removals` and `additions`: what a run would send now.
    """

    audience: str
    known: bool
    counts: Mapping[str, tuple[int | None, int]]
    reasons: Mapping[str, tuple[int | None, int]]
    closed: tuple[str, ...]
    opened: tuple[str, ...]
    removals: int
    additions: int

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        pairs = {name: {"then": then, "now": now} for name, (then, now) in self.counts.items()}
        reasons = {code: {"then": then, "now": now} for code, (then, now) in self.reasons.items()}
        return {
            "audience": self.audience,
            "known": self.known,
            **pairs,
            "refused": reasons,
            "gates_closed": list(self.closed),
            "gates_opened": list(self.opened),
            "send_removals": self.removals,
            "send_additions": self.additions,
        }


@dataclass(frozen=True, slots=True)
class Against:
    """Every audience against one night. `former`: audiences that the night judged and the plan does not know. `changed`: parts of the
    configuration that differ from the last accepted one; None when none was accepted yet.
    """

    night: str
    run_id: str
    audiences: tuple[Compared, ...]
    former: tuple[str, ...]
    changed: tuple[str, ...] | None

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "night": self.night,
            "run": self.run_id,
            "configuration_changed": None if self.changed is None else list(self.changed),
            "former_audiences": list(self.former),
            "audiences": [each.as_dict() for each in self.audiences],
        }


def against_last_night(
    plans: Iterable[AudiencePlan], history: History, accepted: Document | None, document: Document
) -> Against | None:
    """Plans against the last nightly run that came to its end and judged anybody; None when none has ended yet. `accepted` and
    `document` are configurations as plain values, the last accepted one and the one of now.
    """
    ended = [run for run in reversed(history.nights) if run.finished is not None and run.funnels]
    if not ended:
        return None
    night = next((run for run in ended if any(funnel.get("candidates") for funnel in run.funnels.values())), ended[0])
    plans = tuple(plans)
    return Against(
        night=night.night,
        run_id=night.run_id,
        audiences=tuple(_compared(plan, night.funnels.get(plan.key)) for plan in plans),
        former=tuple(sorted(night.funnels.keys() - {plan.key for plan in plans})),
        changed=None if accepted is None else changed_parts(accepted, document),
    )


def _compared(plan: AudiencePlan, funnel: Mapping[str, Any] | None) -> Compared:
    now = plan.as_dict()
    refused: Mapping[str, Any] = {} if funnel is None else funnel.get("refused", {})
    then_gates: set[str] = set() if funnel is None else set(funnel.get("gates", ()))
    now_gates = {gate.code for gate in plan.gates}

    def then(numbers: Mapping[str, Any], name: str) -> int | None:
        return None if funnel is None else int(numbers.get(name, 0))

    return Compared(
        audience=plan.key,
        known=funnel is not None,
        counts={name: (then(funnel or {}, name), int(str(now[name]))) for name in COUNTS},
        reasons={
            code: (then(refused, code), plan.funnel.refused.get(code, 0))
            for code in sorted(refused.keys() | plan.funnel.refused.keys())
        },
        closed=tuple(sorted(now_gates - then_gates)),
        opened=tuple(sorted(then_gates - now_gates)),
        removals=plan.removals_to_send,
        additions=plan.additions_to_send,
    )
