"""How much of Meta's allowance is used, by its own word in every answer, and waiting before it is used up.

Meta counts the calls of an hour for each ad account, and those of the app; it tells the shares in the headers of each answer, and once a limit is
reached, for how long nothing more should be tried: calls in that time make it longer
(https://developers.facebook.com/docs/graph-api/overview/rate-limiting, read 2026-11). What is said of one account slows no other; what is said of the
app slows all. It sends nothing and knows no request. One object lives as long as its destination: another process hears Meta itself.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from nestaudience.destinations.meta_errors import Trouble
from nestaudience.destinations.meta_usage import APP, usage_of

SLOW_FROM: Final = 75.0
"""Percent of an allowance from which additions pause before each request, longer the more is used; the last quarter is mostly for removals."""
ADDITIONS_END: Final = 95.0
"""Percent from which nobody is added any more."""
REMOVALS_SLOW_FROM: Final = 90.0
LONGEST_PAUSE: Final = 30.0
"""Seconds before one request, when everything is used and Meta named no time."""
LONGEST_WAIT: Final = 90.0
"""Seconds. Whoever would wait longer is told so instead."""
QUIET: Final = 300.0
"""Seconds of silence after a limit for which Meta named no time."""
_HOUR: Final = 3600.0
"""What Meta counts falls out of its window after so long; what it said before that says nothing any more."""


class Pace:
    """The allowances of one app and its ad accounts. `clock` counts seconds and never runs backwards; `sleep` waits."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self._clock, self._sleep = clock, sleep
        self._heard: dict[str, tuple[float, float]] = {}
        self._until: dict[str, float] = {}

    def heard(self, account_id: str, headers: Mapping[str, str], trouble: Trouble | None) -> None:
        """Keep what an answer says; names of headers in lower case. `account_id` is empty for a call that was about none."""
        now = self._clock()
        for name, usage in usage_of(account_id, headers):
            self._heard[name] = (now, usage.percent)
            if usage.regain:
                self._hold(name, now + usage.regain)
        if trouble is not None and trouble.code == "quota_exhausted":
            self._hold(account_id, now + (QUIET if trouble.after is None else trouble.after))

    def held(self, account_id: str) -> Trouble | None:
        """Why no call about this account should be made now, and for how long; None when one may."""
        now = self._clock()
        left = max(self._until.get(name, now) for name in (APP, account_id)) - now
        return Trouble("quota_exhausted", without_effect=True, after=left) if left > 0 else None

    def ready(self, account_id: str, *, removal: bool) -> Trouble | None:
        """Wait as the allowance advises before one more request about people; or why none should be sent, and for how long."""
        held = self.held(account_id)
        if held is not None and (held.after or 0.0) > LONGEST_WAIT:
            return held
        percent = self._percent(account_id)
        if not removal and percent >= ADDITIONS_END:
            return Trouble("quota_exhausted", without_effect=True, after=QUIET)
        start = REMOVALS_SLOW_FROM if removal else SLOW_FROM
        pause = LONGEST_PAUSE * min(1.0, max(0.0, percent - start) / (100.0 - start))
        wait = max(pause, 0.0 if held is None else held.after or 0.0)
        if wait > 0:
            self._sleep(wait)
        return None

    def _percent(self, account_id: str) -> float:
        now = self._clock()
        known = [self._heard[name] for name in {APP, account_id} if name in self._heard]
        return max((percent for at, percent in known if now - at < _HOUR), default=0.0)

    def _hold(self, name: str, until: float) -> None:
        self._until[name] = max(until, self._until.get(name, 0.0))
