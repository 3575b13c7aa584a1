"""Adversarial times for generated worlds: ties, edges of the skew, edges of every limit in months or days, and garbage.

A time is drawn as a `Mark`, relative to the clock and the settings of its world, and spelled out once both are known.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hypothesis import strategies as st

from nestaudience.screening.rules import Rules

from .values import months_after


@dataclass(frozen=True, slots=True)
class Mark:
    """`base`, plus so many skews, days and microseconds, spelled in one of four ways."""

    base: str
    skews: int = 0
    days: int = 0
    micros: int = 0
    style: int = 0

    def spell(self, rules: Rules, now: datetime) -> str:
        """The text that a store would hold."""
        bases = {
            "now": now,
            "anchor": now - timedelta(days=20),
            "consent": months_after(now, -rules.consent_months),
            "cookie": months_after(now, -rules.cookie_months),
            "inactive": months_after(now, -rules.inactive_months),
            "order": months_after(now, -rules.order_lookback_months),
            "site": now - timedelta(days=rules.site_lookback_days),
        }
        at = bases[self.base] + self.skews * rules.skew + timedelta(days=self.days, microseconds=self.micros)
        text = at.replace(tzinfo=None).isoformat("T" if self.style < 2 else " ", "auto")
        text = text.rstrip("0") if "." in text and self.style == 3 else text
        return text + ("Z" if self.style % 2 == 0 else "+00:00")


def _marks(base: str, skews: tuple[int, ...], days: tuple[int, ...], micros: tuple[int, ...]) -> list[Mark]:
    return [Mark(base, s, d, m, (i + abs(s) + d) % 4) for s in skews for d in days for i, m in enumerate(micros)]


_EDGES: Final = (0, -1, 1)
NEAR: Final = st.sampled_from(_marks("anchor", (0, 1, -1, 0, 1, 2), (0,), (0, 0, -1, 1)) + _marks("anchor", (0,), (2, 5), (0,)))
"""Around one moment three weeks ago, where most events of a world meet."""
NOW_EDGE: Final = st.sampled_from(_marks("now", (0, 1, -1), (0,), _EDGES))
CONSENT_EDGE: Final = st.sampled_from(_marks("consent", (0,), (0, 0, 1, 2, 3), _EDGES))
"""Around the moment whose consents expire now; the days after it matter at the end of a month."""
COOKIE_EDGE: Final = st.sampled_from(_marks("cookie", (0, 1), (0, 0, 1, 3), _EDGES))
INACTIVE_EDGE: Final = st.sampled_from(_marks("inactive", (0,), (0, 1, 3), _EDGES))
ORDER_EDGE: Final = st.sampled_from(_marks("order", (0,), (0, 1, 3), _EDGES))
SITE_EDGE: Final = st.sampled_from(_marks("site", (0,), (0,), _EDGES))

NOT_TIMES: Final = (
    None,
    None,
    "",
    "yesterday",
    "2026-05-01",
    "2026-05-01T10:00:00",
    "2026-05-01T10:00Z",
    "2026-05-01T10:00:00+02:00",
    "2026-05-01T10:00:00-00:00",
    "2026-05-01T10:00:00+0000",
    "2026-05-01t10:00:00z",
    "2026-05-01  10:00:00Z",
    " 2026-05-01T10:00:00Z",
    "2026-05-01T10:00:00Z\n",
    "2026-05-01T10:00:00.Z",
    "2026-05-01T10:00:00.1234567Z",
    "2026-05-01T10:00:00,5Z",
    "2025-02-29T10:00:00Z",
    "2026-04-31T10:00:00Z",
    "2026-13-01T10:00:00Z",
    "2026-00-01T10:00:00Z",
    "2026-05-00T10:00:00Z",
    "2026-05-01T24:00:00Z",
    "2026-05-01T10:60:00Z",
    "2026-05-01T10:00:60Z",
    "0999-05-01T10:00:00Z",
    "3000-05-01T10:00:00Z",
    "infinity",
    "1777629600",
    "٢٠٢٦-05-01T10:00:00Z",
)
"""What a clock must not accept, the nulls among it."""
BROKEN: Final = st.sampled_from(NOT_TIMES)
WHEN: Final = st.one_of(NEAR, NEAR, NEAR, NEAR, NOW_EDGE, CONSENT_EDGE, COOKIE_EDGE)
"""A usable clock of an event."""
GIVEN: Final = st.one_of(NEAR, NEAR, NEAR, NEAR, NOW_EDGE, CONSENT_EDGE, COOKIE_EDGE)
"""The one clock of a grant given and recorded at once."""
CLOCK: Final = st.one_of(WHEN, WHEN, WHEN, WHEN, BROKEN)
"""A clock of an event as a store may hold it."""
