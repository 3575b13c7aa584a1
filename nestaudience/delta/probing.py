"""The first fill of a list: a probe of few people goes first, the rest after the platform took it.

Pure: where a first fill stands goes in; how many may go now, and the gate that holds the rest, come out. It knows no platform.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from nestaudience.delta.gates import Gate, stop_additions


class ProbeAnswer(StrEnum):
    """What is known of the probe of a list."""

    NOT_SENT = "not_sent"
    WAITS = "waits"
    UNKNOWN = "unknown"
    PARTLY = "partly"
    REFUSED = "refused"
    CLEAN = "clean"


@dataclass(frozen=True, slots=True)
class FirstFill:
    """A first fill that is not over: how many `people` a probe holds at most, and what came of the last one."""

    people: int
    answer: ProbeAnswer = ProbeAnswer.NOT_SENT


HELD: Final = {
    ProbeAnswer.WAITS: stop_additions(
        "probe", "nothing: the rest follows when the platform says that it took the first people", 0
    ),
    ProbeAnswer.UNKNOWN: stop_additions(
        "probe_unknown", "nothing: the first people are sent once more, the rest after a clean result", 4
    ),
    ProbeAnswer.PARTLY: Gate(
        "probe_partly",
        additions=True,
        ordinary=False,
        next_step="the platform took only some of the first people; look why, then release the rest",
        releasable=True,
    ),
    ProbeAnswer.REFUSED: stop_additions(
        "probe_refused", "the platform refused the first people; they go once more; look there why", 3
    ),
}
"""The gates that hold the rest of a first fill, by the answer. A list of which the probe was refused gets another one; the others let nobody new
through.
"""
LETS_A_PROBE: Final = HELD[ProbeAnswer.REFUSED].code
"""The gate that holds the rest and lets a probe through."""
WAITS: Final = HELD[ProbeAnswer.WAITS]
PROBE_CODES: Final = frozenset(held.code for held in HELD.values())


def first_fill(newcomers: int, fill: FirstFill | None) -> tuple[Gate | None, int | None]:
    """(the gate that holds the rest, how many newcomers may go before the rest). (None, None) when all may go at once: the
    first fill is over, or a probe holds everybody.
    """
    if fill is None or not newcomers or fill.answer is ProbeAnswer.CLEAN:
        return None, None
    if fill.answer in (ProbeAnswer.NOT_SENT, ProbeAnswer.REFUSED):
        return (HELD.get(fill.answer), fill.people) if newcomers > fill.people else (None, None)
    return HELD[fill.answer], None
