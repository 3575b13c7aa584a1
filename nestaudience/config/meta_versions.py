"""The versions of Meta's Marketing API that this program knows, and until when Meta serves each.

Customer lists go by the schedule of the Marketing API, which is shorter than the Graph API's: a version ends at least 90 days after the next
one came, and calls to one that ended fail or are answered by another. It asks Meta nothing; it is data that a release of this program brings
up to date.

https://developers.facebook.com/docs/graph-api/changelog and
https://developers.facebook.com/documentation/ads-commerce/marketing-api/overview/versioning (read 2026-11-22).
"""

from datetime import date, timedelta
from typing import Final

NEWEST: Final = "v26.0"
"""The version that the SDK was made for, and that is spoken unless a configuration names another."""
ENDS: Final[dict[str, date | None]] = {
    NEWEST: None,
    "v25.0": None,
    "v24.0": date(2026, 10, 6),
    "v23.0": date(2026, 6, 9),
    "v22.0": date(2026, 2, 19),
    "v21.0": date(2025, 9, 9),
}
"""Version -> the day on which Meta stops serving it; None where Meta has named none."""
TOLD_AHEAD: Final = (60, 14, 3)
"""So many days ahead it is told that a version ends."""


def last_day(version: str) -> date | None:
    """The last day on which Meta serves a version; None where none is known: ask `is_known` whether that is because nobody named one."""
    ends = ENDS.get(version)
    return None if ends is None else ends - timedelta(days=1)


def is_known(version: str) -> bool:
    """True for a version that is in the table, whether or not Meta still serves it."""
    return version in ENDS


def served(today: date) -> tuple[str, ...]:
    """The versions that Meta serves on a day, the newest first."""
    return tuple(version for version, ends in ENDS.items() if ends is None or today < ends)
