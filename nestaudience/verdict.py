"""What a judgement came to, in keys and counts: what may leave the process that judged, and what the log says of it. It holds and judges nobody."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nestaudience.accepted import snapshot_fields
from nestaudience.delivery.fields import funnel_fields
from nestaudience.delta.feeds import Facts
from nestaudience.delta.plan import AudiencePlan
from nestaudience.errors import NestAudienceError
from nestaudience.ledger.entries import Value
from nestaudience.vocabulary import AudienceKey


@dataclass(frozen=True, slots=True)
class Verdict:
    """Steps (2) to (4) of a run, without the people. `counts`: rows that were read, by view; `problems`: codes of what was wrong with the store."""

    plans: tuple[AudiencePlan, ...]
    endings: Mapping[AudienceKey, str]
    """The audiences whose lists are being emptied, to be deleted then, and why."""
    counts: Mapping[str, int]
    problems: tuple[str, ...]
    unreachable: tuple[NestAudienceError, ...]
    seen_all: bool
    """True when the store showed everything that it was asked for: whatever stands in it up to then has been judged."""
    facts: Facts | None = None
    """What the store said of its feeds; None where nobody asked."""

    def snapshot(self, taken_at: datetime, *, freshness_unknown: bool) -> dict[str, Value]:
        """What the entry of the snapshot says."""
        return snapshot_fields(taken_at, self.counts, self.problems, self.facts, freshness_unknown=freshness_unknown)

    def funnels(self) -> dict[AudienceKey, dict[str, Value]]:
        """What the entry of each audience's funnel says."""
        return {plan.key: funnel_fields(plan) for plan in self.plans}


NOTHING_JUDGED: Final = Verdict((), {}, {}, (), (), seen_all=False)
"""Before anything was judged."""
