"""The units of a run that is spread over a Dask cluster, as Prefect's tasks: one controller's judgement, one list's removals, one list's additions.

They run on workers. Keys, counts and one moment go in and out; whatever fails leaves through the fence. A worker opens the configuration's parts for
itself. What they do is `nestaudience.sharing`; who gives them their turn is `flows.spread`.
"""

import logging
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from prefect import task

import flows  # noqa: F401  (sets Prefect's settings before Prefect is imported)
from flows.fence import fenced
from flows.steps import declared
from nestaudience import core_dumps, sharing
from nestaudience.logs import MaskingFormatter
from nestaudience.parts import Parts
from nestaudience.sharing import Assignment, Done, Share, Turn
from nestaudience.verdict import Verdict
from nestaudience.wiring import open_parts


@task(**declared(name="judge", task_run_name="judge {controller}"))
@fenced
def judge(assignment: Assignment, controller: str) -> Verdict:
    """Screen and compare one controller's lists, and hold what was found."""
    return _share(assignment, controller).judge()


@task(**declared(name="remember", task_run_name="remember {controller}"))
@fenced
def remember(assignment: Assignment, controller: str) -> int:
    """Remember the noes that were seen; how many were new."""
    return _share(assignment, controller).remember()


@task(**declared(name="remove", task_run_name="remove {audience}"))
@fenced
def remove(assignment: Assignment, controller: str, audience: str, turn: Turn) -> Done:
    """Take off one list whoever must leave it."""
    return _share(assignment, controller).remove(turn)


@task(**declared(name="add", task_run_name="add {audience}"))
@fenced
def add(assignment: Assignment, controller: str, audience: str, turn: Turn) -> Done:
    """Put on one list whoever may join it."""
    return _share(assignment, controller).add(turn)


@task(**declared(name="climb", task_run_name="climb {audience}"))
@fenced
def climb(assignment: Assignment, controller: str, audience: str, turn: Turn) -> Done:
    """Take the next step at a list whose removals were refused."""
    return _share(assignment, controller).climb(turn)


def _share(assignment: Assignment, controller: str) -> Share:
    """The share of this worker, in a process that writes no image of its memory and masks what it logs."""
    core_dumps.forbid()
    for name in ("", *logging.root.manager.loggerDict):
        for handler in logging.getLogger(name).handlers:
            if not isinstance(handler.formatter, MaskingFormatter):
                handler.setFormatter(_masking(handler.formatter))

    def opening(stack: ExitStack) -> Parts:
        parts = stack.enter_context(open_parts(Path(assignment.config), clock=lambda: datetime.now(UTC)))
        scratch = parts.evidence.base / str(parts.settings.execution.scratch)
        return sharing.privately(parts, scratch, assignment.run_id)

    return sharing.share_of(assignment, controller, opening)


def _masking(former: logging.Formatter | None) -> MaskingFormatter:
    return MaskingFormatter(None if former is None else former._fmt)  # noqa: SLF001 (it has no other way to say so)
