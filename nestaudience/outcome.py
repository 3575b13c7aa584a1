"""What a run did, in keys and counts: for the log, for commands, and for whoever waits for its exit code. It decides nothing."""

from dataclasses import dataclass, field

from nestaudience.delivery.clocks import RemovalTimes
from nestaudience.delivery.deliver import Sent
from nestaudience.delta.gates import Gate
from nestaudience.errors import NestAudienceError
from nestaudience.vocabulary import AudienceKey, RunId


def added_up(first: Sent, then: Sent) -> Sent:
    """What two deliveries to one list came to together."""
    times = RemovalTimes(first.times.again + then.times.again)
    for name, measured in times.measured.items():
        measured += first.times.measured[name] + then.times.measured[name]
    return Sent(
        removed=first.removed + then.removed,
        added=first.added + then.added,
        batches=first.batches + then.batches,
        refused=_summed(first.refused, then.refused),
        unknown=_summed(first.unknown, then.unknown),
        kept_back=first.kept_back + then.kept_back,
        set_aside=first.set_aside + then.set_aside,
        late=first.late + then.late,
        times=times,
    )


def _summed(first: dict[str, int], then: dict[str, int]) -> dict[str, int]:
    return {code: first.get(code, 0) + then.get(code, 0) for code in {**first, **then}}


@dataclass(slots=True)
class Outcome:
    """What a run did, in keys and counts."""

    run_id: RunId
    night: str
    sent: dict[AudienceKey, Sent] = field(default_factory=dict)
    errors: list[NestAudienceError] = field(default_factory=list)
    gates: dict[AudienceKey, tuple[Gate, ...]] = field(default_factory=dict)
    closed: list[AudienceKey] = field(default_factory=list)
    begun_anew: list[AudienceKey] = field(default_factory=list)
    settled: int = 0
    waiting: int = 0
    checkpoint: str = ""
    freshness_unknown: bool = False
    """Somebody decided that lists are kept without knowing how fresh the store is."""

    @property
    def exit_codes(self) -> tuple[int, ...]:
        """Every exit code that something in this run asks for, 0 when nothing does."""
        codes = {error.exit_code for error in self.errors}
        codes |= {4 for sent in self.sent.values() if sent.unknown} | {2 for sent in self.sent.values() if sent.set_aside}
        codes |= {gate.exit_code for gates in self.gates.values() for gate in gates}
        return tuple(sorted(codes | {0}))

    @property
    def exit_code(self) -> int:
        """The highest of them."""
        return max(self.exit_codes)
