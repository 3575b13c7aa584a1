"""Gates: what stops additions or ordinary removals on a list. A no is stopped by none of them, and has no parameter here.

Pure: numbers in, closed gates out.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nestaudience.delta.probing import FirstFill


@dataclass(frozen=True, slots=True)
class Gate:
    """A closed gate: its code, and what it holds: additions, ordinary removals, or of those only the `vanished`. `next_step` says what opens it,
    `exit_code` what a run that meets it ends with (0 where the closed gate is the normal state). `releasable`: a person may let the plan through.
    """

    code: str
    additions: bool
    ordinary: bool
    next_step: str
    exit_code: int = 5
    releasable: bool = False
    vanished: bool = False

    def __post_init__(self) -> None:
        if not (self.additions or self.holds_removals):
            raise ValueError("a closed gate holds something")

    @property
    def holds_removals(self) -> bool:
        """True when it holds ordinary removals, or some of them."""
        return self.ordinary or self.vanished


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one list's brakes. `ever_held` is False until the list held anybody and its first fill is over; `first_fill` says how
    far that one is, None once it is over.
    """

    smallest: int
    change_percent: int
    change_people: int
    ever_held: bool
    first_fill: "FirstFill | None" = None


def brakes(held: int, wanted: int, ordinary: int, additions: int, limits: Limits) -> tuple[Gate, ...]:
    """The gates `too_small` and `anomaly` for one list. `held` is everything that may be on it at the start."""
    allowed = max(held * limits.change_percent // 100, limits.change_people)
    closed = []
    if wanted < limits.smallest:
        closed.append(
            Gate(
                "too_small",
                additions=True,
                ordinary=False,
                next_step=f"the list opens at {limits.smallest} people; {wanted} are wanted",
                exit_code=0,
            )
        )
    if limits.ever_held and additions > allowed:
        closed.append(
            Gate(
                "anomaly_additions",
                additions=True,
                ordinary=False,
                next_step=f"{additions} would join, {allowed} may; look at the segment, then `nestaudience release` lets them through",
                releasable=True,
            )
        )
    if ordinary > allowed:
        closed.append(
            Gate(
                "anomaly_removals",
                additions=False,
                ordinary=True,
                next_step=f"{ordinary} would leave, {allowed} may; look at the segment, then `nestaudience release` lets them through",
                releasable=True,
            )
        )
    return tuple(closed)


def stop_additions(code: str, next_step: str, exit_code: int = 5) -> Gate:
    """A gate that lets removals of every kind leave."""
    return Gate(code, additions=True, ordinary=False, next_step=next_step, exit_code=exit_code)


def only_noes(code: str, next_step: str, *, releasable: bool = False) -> Gate:
    """A gate that lets only noes leave."""
    return Gate(code, additions=True, ordinary=True, next_step=next_step, releasable=releasable)
