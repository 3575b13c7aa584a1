"""Being asked to end: SIGTERM and SIGINT let a run finish the request at hand, write down its answer, and give its leases back.

It ends nothing itself: whoever works asks between two pieces of work. A second signal does what it would have done without this.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from nestaudience.errors import TryAgain

Interrupted = Callable[[], bool]
"""True once somebody asked this process to end."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def never() -> bool:
    """Nobody asks."""
    return False


@contextmanager
def interruptible() -> Iterator[Interrupted]:
    """Listen for signals while this holds; the answer says whether one came. Outside a process's main thread it always says no."""
    if threading.current_thread() is not threading.main_thread():
        yield never
        return
    asked = threading.Event()
    former = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        restore()

    for number in _SIGNALS:
        signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        restore()


def interruption(where: str) -> TryAgain:
    """The error of work that was left undone because this process was asked to end."""
    return TryAgain("interrupted", where, "nothing was left half done; run again for the rest")
