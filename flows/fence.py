"""The fence around a flow: whatever fails inside leaves as an error of ours, with a code, outside any `except` block.

Prefect stores exceptions: their text in states, logs and events, and a flow's exception as a pickle. A foreign one could carry a person; ours carry
codes and keys.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from nestaudience.errors import MustStop, NestAudienceError

P = ParamSpec("P")
R = TypeVar("R")


class Stopped(Exception):
    """A step ended with an error of ours. `code` and `remedy` are the error's; the text holds nothing else but where it was."""

    def __init__(self, code: str, where: str, remedy: str) -> None:
        self.code = code
        self.remedy = remedy
        super().__init__(code, where, remedy)

    def __str__(self) -> str:
        return f"{self.code} at {self.args[1]} ({self.remedy})"


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
            raise Stopped(error.code, error.where, error.remedy)
        return results[0]

    return inside
