"""A release: a person looked at a held plan, and lets it through for a day, up to 110 % of the people that were shown.

Pure: gates, counts and releases in, the gates that stay closed out. It names no person and reads no log. Any number of runs may use a release while
it stands, so that a run that was cut off can be finished; all of them together move no more people than it covers.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from nestaudience.delta.gates import Gate
from nestaudience.vocabulary import AudienceKey

if TYPE_CHECKING:
    from nestaudience.delta.plan import AudiencePlan

STANDS: Final = timedelta(hours=24)
COVERS_PERCENT: Final = 110
"""Of the counts that were shown: so many people may go under a release."""


@dataclass(frozen=True, slots=True)
class Release:
    """What was shown and released: `additions` are newcomers, `ordinary` are ordinary removals, `until` is in UTC. `cause` and `case_id` say why.
    `joined` and `left`: how many newcomers and ordinary removals went under it already.
    """

    audience: AudienceKey
    gates: frozenset[str]
    additions: int
    ordinary: int
    until: datetime
    cause: str = ""
    case_id: str = ""
    joined: int = 0
    left: int = 0

    def covers(self, gate: Gate, additions: int, ordinary: int) -> bool:
        """True when it names the gate, and what the gate holds and what went already is together at most 110 % of what was shown."""
        additions, ordinary = additions + self.joined, ordinary + self.left
        held = ((gate.additions, additions, self.additions), (gate.holds_removals, ordinary, self.ordinary))
        return self.names(gate) and all(now * 100 <= shown * COVERS_PERCENT for holds, now, shown in held if holds)

    def names(self, gate: Gate) -> bool:
        """True when it was given for this gate, and the gate is one that may be released."""
        return gate.releasable and gate.code in self.gates

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "audience": self.audience,
            "gates": sorted(self.gates),
            "additions": self.additions,
            "ordinary": self.ordinary,
            "until": self.until.isoformat(),
            "cause": self.cause,
            "case_id": self.case_id,
        }


def let_through(
    gates: Sequence[Gate], additions: int, ordinary: int, releases: Iterable[Release]
) -> tuple[tuple[Gate, ...], tuple[str, ...]]:
    """(the gates that stay closed, the codes of those that a release opens). A gate that a release names and does not cover says so.

    One release must cover all that a gate holds: two do not add up.
    """
    releases = tuple(releases)
    closed, opened = [], []
    for gate in gates:
        named = [release for release in releases if release.names(gate)]
        if any(release.covers(gate, additions, ordinary) for release in named):
            opened.append(gate.code)
        elif named:
            shown = max(named, key=lambda release: (release.additions, release.ordinary))
            said = [f"{shown.additions} additions"] if gate.additions else []
            said += [f"{shown.ordinary} ordinary removals"] if gate.holds_removals else []
            went = ", of whom some went already," if shown.joined or shown.left else ""
            closed.append(
                replace(gate, next_step=f"more than the release for {' and '.join(said)}{went} covers (110 %): {gate.next_step}")
            )
        else:
            closed.append(gate)
    return tuple(closed), tuple(opened)


def plan_digest(plan: "AudiencePlan", config_digest: str) -> str:
    """SHA-256 (hexadecimal) over one audience's plan as keys and counts: whom it refuses for which reason, what it holds, would add, refresh and take
    off, its closed gates, and the configuration.
    """
    counts = plan.counts
    parts = [
        f"audience={plan.key}",
        f"candidates={plan.funnel.candidates}",
        f"eligible={plan.funnel.eligible}",
        *(f"refused.{code}={people}" for code, people in sorted(plan.funnel.refused.items())),
        f"held={counts.held}",
        f"noes={counts.noes}",
        f"ordered={counts.ordered}",
        f"ordinary={counts.ordinary}",
        f"additions={counts.additions}",
        f"refresh={counts.refresh}",
        f"gates={','.join(sorted(gate.code for gate in plan.gates))}",
        f"config={config_digest}",
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
