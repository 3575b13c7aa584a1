"""The clocks of removals (rules §9), in whole seconds over so many people: measured where the people are, kept as counts.

Three clocks for each no:
  recorded -> visible   from the store's `recorded_at` to the run that saw it
  visible -> accepted   from the watermark before that run: the no was not visible then, so nobody waited longer; to the platform's receipt
  accepted -> done      from the moment before the request was sent, to the platform's word that it is done

It reads no log and writes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from nestaudience.delta.plan import Delta
from nestaudience.ledger.entries import Value
from nestaudience.screening.engine import ask
from nestaudience.vocabulary import AudienceKey

CLOCKS: Final = ("recorded_to_visible", "visible_to_accepted", "accepted_to_done")
_RECORDED: Final = """
WITH leaving AS (
    -- What time or a birthday brought about was never recorded.
    SELECT digest, account_token, person_token FROM removal
    WHERE audience_no = $audience AND is_no AND NOT owed AND (mask & (
        r_erasure() | r_restricted() | r_objected() | r_analysis_objected() | r_consent_withdrawn() | r_cookies_refused() | r_account_closed())) > 0
), said AS (
    SELECT l.digest, n.recorded FROM leaving l JOIN no_event n ON n.account_token = l.account_token
    UNION ALL SELECT l.digest, n.recorded FROM leaving l JOIN no_event n ON n.person_token = l.person_token
), latest AS (
    SELECT max(recorded) AS recorded FROM said WHERE isfinite(recorded) GROUP BY digest
)
SELECT greatest(0, floor(epoch(getvariable('now')) - epoch(recorded)))::BIGINT AS seconds, count(*) FROM latest GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Spread:
    """How long it took so many people: half of them at most `p50` seconds, 95 of 100 at most `p95`, all at most `longest`."""

    people: int
    p50: int
    p95: int
    longest: int

    def as_dict(self) -> dict[str, Value]:
        """For an entry or `--json`."""
        return {"people": self.people, "p50": self.p50, "p95": self.p95, "max": self.longest}


def spread(measured: Iterable[tuple[int, int]]) -> Spread | None:
    """The spread of (seconds, people) in any order; None for nobody."""
    rows = sorted((seconds, people) for seconds, people in measured if people > 0)
    total = sum(people for _, people in rows)
    if not total:
        return None

    def at(hundredths: int) -> int:
        rank, seen = -(-total * hundredths // 100), 0
        for seconds, people in rows:
            seen += people
            if seen >= rank:
                return seconds
        raise AssertionError("the ranks end with the last")

    return Spread(total, at(50), at(95), rows[-1][0])


def recorded_to_visible(delta: Delta, key: AudienceKey) -> list[tuple[int, int]]:
    """(seconds, people) from the last no that was recorded to this run, for whoever leaves this list for something that was said."""
    rows = ask(delta.screened.connection, _RECORDED, {"audience": delta.screened.number(key)})
    return [(int(seconds), int(people)) for seconds, people in rows]


@dataclass(slots=True)
class RemovalTimes:
    """One list's clocks in one run. `again`: people whose removal had been asked for before; they are in no clock but the last, unless what was asked
    for had been refused: their clocks run on until it is taken.
    """

    again: int = 0
    measured: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: {name: [] for name in CLOCKS})

    def add(self, clock: str, since: datetime | None, until: datetime, people: int) -> None:
        """So many people took from one moment to the other. Without people or a beginning nothing is measured; a clock that went back counts as 0."""
        if since is not None and people:
            self.measured[clock].append((max(0, int((until - since).total_seconds())), people))

    def fields(self, audience: AudienceKey, recipient: str) -> dict[str, Value]:
        """What the entry says; empty when nothing was measured. A clock that measured nobody is left out."""
        said: dict[str, Value] = {}
        for name, measured in self.measured.items():
            found = spread(measured)
            if found is not None:
                said[name] = found.as_dict()
        if not said and not self.again:
            return {}
        return {"audience": audience, "recipient": recipient, "again": self.again, **said}
