"""How many requests a Cloud project may make, and waiting for a turn: one count for every audience and destination of the project in this process.

Writes and reads of people's data have 300 a minute and 100 000 a day each, everything else together 300 a minute and 50 000 a day, and Google asks
for at most 10 at once (https://developers.google.com/data-manager/api/devguides/limits and .../concepts/best-practices, read 2026-11). Windows roll,
so whenever Google's own minute or day begins, no more than that fall into it. It sends nothing. What another process sends it does not see: the day's
writes are handed in from the ledger, and the last minute's where processes take turns; the rest is counted from the start of this process.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from threading import BoundedSemaphore, Lock
from typing import Final

from grpc import StatusCode

from nestaudience.destinations.google_errors import Trouble

MINUTE: Final = 60.0
DAY: Final = 86_400.0
LONGEST_WAIT: Final = 90.0
"""Seconds. Whoever would wait longer is told so instead."""
UNNAMED_WAIT: Final = 3600.0
"""How long nothing is tried after Google said that the day's requests are used up, and not until when."""


class Kind(StrEnum):
    """What a request counts as."""

    WRITE = "write"
    READ = "read"
    LISTS = "lists"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a project may do of one kind. `minute_kept` and `day_kept` of it are for removals alone."""

    minute: int = 300
    day: int = 100_000
    minute_kept: int = 0
    day_kept: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.minute_kept < self.minute or not 0 <= self.day_kept < self.day:
            raise ValueError("what is kept for removals leaves something for the others")


ALLOWED: Final[dict[Kind, Allowance]] = {
    Kind.WRITE: Allowance(minute_kept=20, day_kept=10_000),
    Kind.READ: Allowance(),
    Kind.LISTS: Allowance(day=50_000),
}


class _Window:
    """How many requests began within the last `span` seconds. Those of one `grain` are kept as one number, as if all had come at its end."""

    def __init__(self, span: float, grain: float) -> None:
        self._span, self._grain = span, grain
        self._begun: deque[tuple[float, int]] = deque()
        self.count = 0

    def forget(self, now: float) -> None:
        while self._begun and self._begun[0][0] <= now - self._span:
            self.count -= self._begun.popleft()[1]

    def add(self, now: float) -> None:
        self.count += 1
        end, before = self._begun[-1] if self._begun else (now - 1, 0)
        if now <= end:
            self._begun[-1] = (end, before + 1)
        else:
            self._begun.append((now + self._grain, 1))

    def room_in(self, most: int, now: float) -> float:
        """Seconds until fewer than `most` are in the window."""
        over, wait = self.count - most + 1, 0.0
        for end, count in self._begun:
            if over <= 0:
                break
            over, wait = over - count, end + self._span - now
        return wait


class Quota:
    """The requests of one project. `clock` counts seconds and never runs backwards; `sleep` waits. Safe to share between threads."""

    def __init__(
        self,
        allowed: Mapping[Kind, Allowance] = ALLOWED,
        *,
        at_once: int = 10,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._allowed = allowed
        self._clock, self._sleep = clock, sleep
        self._minutes = {kind: _Window(MINUTE, 0.0) for kind in allowed}
        self._days = {kind: _Window(DAY, MINUTE) for kind in allowed}
        self._held: dict[Kind, tuple[float, str]] = {}
        self._lock = Lock()
        self._places = BoundedSemaphore(at_once)

    def ready(self, kind: Kind, *, removal: bool, sent_today: int = 0) -> Trouble | None:
        """Wait until one more request may start, leaving what is kept for removals unless it is one; or why none may, and for how long.

        `sent_today`: requests of the last 24 hours that somebody else counted.
        """
        return self._wait(kind, kept=not removal, sent_today=sent_today, take=False)

    @contextmanager
    def turn(self, kind: Kind) -> Iterator[Trouble | None]:
        """One request: waits for its turn and counts it, or says why it may not start. No more than so many are inside at once."""
        refused = self._wait(kind, kept=False, sent_today=0, take=True)
        if refused is not None:
            yield refused
            return
        with self._places:
            yield None

    def elsewhere(self, kind: Kind, requests: int) -> None:
        """Another process began so many within the last minute: they count as if they began now."""
        with self._lock:
            for _ in range(min(requests, self._allowed[kind].minute)):
                self._minutes[kind].add(self._clock())

    def hold(self, kind: Kind, trouble: Trouble) -> None:
        """Google said that a quota is used up: nothing of this kind starts for as long as it said."""
        seconds = UNNAMED_WAIT if trouble.after is None else trouble.after
        with self._lock:
            until = max(self._clock() + seconds, self._held.get(kind, (0.0, ""))[0])
            self._held[kind] = (until, trouble.code)

    def _wait(self, kind: Kind, *, kept: bool, sent_today: int, take: bool) -> Trouble | None:
        waited = 0.0
        while True:
            with self._lock:
                wait, code = self._room(kind, self._clock(), kept=kept, sent_today=sent_today)
                if wait <= 0 and take:
                    now = self._clock()
                    self._minutes[kind].add(now)
                    self._days[kind].add(now)
            if wait <= 0:
                return None
            if waited + wait > LONGEST_WAIT:
                return Trouble(code, StatusCode.RESOURCE_EXHAUSTED, without_effect=True, after=wait)
            self._sleep(wait)
            waited += wait

    def _room(self, kind: Kind, now: float, *, kept: bool, sent_today: int) -> tuple[float, str]:
        """Seconds until a request may start, and the code of what it waits for."""
        allowed, minute, day = self._allowed[kind], self._minutes[kind], self._days[kind]
        minute.forget(now)
        day.forget(now)
        most_today = allowed.day - (allowed.day_kept if kept else 0)
        until, code = self._held.get(kind, (now, "quota_exhausted"))
        found = [
            (until - now, code),
            (minute.room_in(allowed.minute - (allowed.minute_kept if kept else 0), now), "quota_exhausted"),
            (day.room_in(most_today, now), "quota_exhausted_today"),
        ]
        if sent_today >= most_today:
            found.append((UNNAMED_WAIT, "quota_exhausted_today"))
        return max(found)


_QUOTAS: Final[dict[str, Quota]] = {}
_OPENING: Final = Lock()


def quota_of(project: str) -> Quota:
    """The one count of this project in this process."""
    with _OPENING:
        return _QUOTAS.setdefault(project, Quota())
