"""The fence around a flow: whatever fails inside leaves as an error of ours, with a code, outside any `except` block.

Prefect stores exceptions: their text in states, logs and events, and a flow's exception as a pickle. A foreign one could carry a person; ours carry
codes and keys.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from nestaudience.errors import MustStop, NeedsFix, NestAudienceError, NotKnown, TryAgain

P = ParamSpec("P")
R = TypeVar("R")


class Stopped(Exception):
    """A step ended with an error of ours, whose code, place, remedy and next step these are; it holds nothing else."""

    def __init__(self, code: str, where: str, remedy: str, next_step: str) -> None:
        self.code = code
        self.where = where
        self.remedy = remedy
        self.next_step = next_step
        super().__init__(code, where, remedy, next_step)

    def __str__(self) -> str:
        return f"{self.code} at {self.where} ({self.remedy}): {self.next_step}"

    def as_error(self) -> NestAudienceError:
        """The same as an error of ours, with its exit code: for callers in this process."""
        kinds = {kind.remedy: kind for kind in (NeedsFix, TryAgain, NotKnown, MustStop)}
        return kinds.get(self.remedy, NestAudienceError)(self.code, self.where, self.next_step)


def fenced(step: Callable[P, R]) -> Callable[P, R]:
    """A step from which only `Stopped` escapes."""

    @functools.wraps(step)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        results: list[R] = []
        error: NestAudienceError | None = None
        inner: Stopped | None = None
        try:
            results.append(step(*args, **kwargs))
        except NestAudienceError as known:
            error = known
        except Stopped as stopped:  # a step inside this one
            inner = Stopped(*stopped.args)
        except Exception as unknown:  # noqa: BLE001 (this is the fence)
            error = MustStop("defect", f"{step.__name__}: {type(unknown).__name__}", "report it with the version and the step")
        if inner is not None:
            raise inner
        if error is not None:
            raise Stopped(error.code, error.where, error.remedy, error.next_step)
        return results[0]

    return inside
