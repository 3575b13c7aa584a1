"""The sandbox's own time: it moves when a test or a demo says so, and with a real clock only if it is given one.

It is shared by all servers of one sandbox. It reads no clock of its own.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock


class SandboxClock:
    """A clock that starts at `start` (with a zone) and is moved by hand.

    With `ticking` (seconds, monotonic) it also runs by itself.
    """

    def __init__(self, start: datetime, *, ticking: Callable[[], float] | None = None) -> None:
        if start.utcoffset() is None:
            raise ValueError("a clock starts at a time with a zone")
        self._time = start
        self._ticking = ticking
        self._began = ticking() if ticking is not None else 0.0
        self._lock = Lock()

    def now(self) -> datetime:
        """The sandbox's time, in the zone that it was started with."""
        with self._lock:
            passed = self._ticking() - self._began if self._ticking is not None else 0.0
            return self._time + timedelta(seconds=passed)

    def advance(self, by: timedelta) -> None:
        """Move the time forward. Raises ValueError for a step back."""
        if by < timedelta(0):
            raise ValueError("the sandbox's time does not run backwards")
        with self._lock:
            self._time += by
