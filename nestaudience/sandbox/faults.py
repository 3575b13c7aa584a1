"""Faults that a sandbox server makes on demand: what the network and a tired server do to a call.

It only keeps the queue; each server knows how its protocol fails.
"""

from dataclasses import dataclass
from enum import StrEnum
from threading import Lock


class FaultKind(StrEnum):
    """How a call fails. Only `ANSWER_LOST_AFTER_EFFECT`, `NO_REQUEST_ID` and `HANG` let it have its effect.

    `HTML_OK` and `EMPTY_BODY` look like success to a client that reads the status alone.
    """

    UNAVAILABLE = "unavailable"
    DEADLINE = "deadline"
    ABORTED = "aborted"
    INTERNAL = "internal"
    EXHAUSTED_UNEXPLAINED = "exhausted_unexplained"
    ANSWER_LOST_BEFORE_EFFECT = "answer_lost_before_effect"
    ANSWER_LOST_AFTER_EFFECT = "answer_lost_after_effect"
    MALFORMED_DETAILS = "malformed_details"
    UNKNOWN_REASON = "unknown_reason"
    NO_REQUEST_ID = "no_request_id"
    HANG = "hang"
    HTML_OK = "html_ok"
    EMPTY_BODY = "empty_body"


@dataclass(frozen=True, slots=True)
class Fault:
    """The next `count` calls of `method` ("*": of any) fail in this way. `seconds` is how long a `HANG` lasts."""

    method: str
    kind: FaultKind
    count: int = 1
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.count < 1 or self.seconds < 0:
            raise ValueError("a fault happens at least once, and lasts no negative time")
        if (self.kind is FaultKind.HANG) != (self.seconds > 0):
            raise ValueError("a hang lasts some seconds, and nothing else does")


class FaultQueue:
    """Faults in the order in which they were added; each is used up by the calls that it hits."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Fault, int]] = []
        self._lock = Lock()

    def add(self, fault: Fault) -> None:
        """Let a fault wait for its calls."""
        with self._lock:
            self._waiting.append((fault, fault.count))

    def take(self, method: str) -> Fault | None:
        """The fault of this call, if one waits for it."""
        with self._lock:
            for place, (fault, left) in enumerate(self._waiting):
                if fault.method in {method, "*"}:
                    self._waiting[place : place + 1] = [(fault, left - 1)] if left > 1 else []
                    return fault
        return None

    @property
    def waiting(self) -> tuple[Fault, ...]:
        """The faults that have not met all their calls yet."""
        with self._lock:
            return tuple(fault for fault, _ in self._waiting)

    def clear(self) -> None:
        """Forget every fault that still waits."""
        with self._lock:
            self._waiting.clear()
