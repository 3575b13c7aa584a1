"""A run on a Dask cluster: who works on what, and when. The flow's process holds the run; workers judge and send, unit by unit.

One controller is judged on one worker, which keeps it. Lists have their turns one after the other wherever they share a destination, because its
allowance is one; different destinations side by side, but for lists of one controller, because its worker does one thing at a time. All removals are
through before anybody joins anywhere. A unit whose worker died is begun anew once, on another one, and otherwise left to the next run.
"""

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from prefect.tasks import Task

import flows  # noqa: F401  (sets Prefect's settings before Prefect is imported)
from flows import steps, units
from flows.cluster import connected
from flows.fence import Stopped
from nestaudience.errors import NestAudienceError, TryAgain
from nestaudience.interrupting import interruptible
from nestaudience.jobs import Job
from nestaudience.ledger.lease import WRITER
from nestaudience.parts import Parts
from nestaudience.sharing import Assignment, Done, Turn, let_go
from nestaudience.spreading import Spread
from nestaudience.verdict import NOTHING_JUDGED, Verdict
from nestaudience.vocabulary import AudienceKey

if TYPE_CHECKING:
    from prefect_dask.client import PrefectDaskClient
    from prefect_dask.task_runners import PrefectDaskFuture

RENEWS_EVERY: Final = 15.0
"""Seconds after which the run says again that it is at work."""
_LOGGER = logging.getLogger("nestaudience.flows")


def deliver(key: str, parts: Parts, job: Job) -> tuple[Spread, list[int]]:
    """A whole run on the cluster that the configuration names: the run, and the exit codes that it asks for.

    Raises what `connected` and a run raise; the run is not begun where the cluster is not fit.
    """
    from flows.serving import require_server  # it knows the flows, which know this

    require_server()
    here, execution, base = steps.held(key), parts.settings.execution, parts.evidence.base
    with connected(execution, base) as client:
        begun = partial(Spread, parts, job, actor=here.actor, note=here.note, patience=here.patience)
        with interruptible() as interrupted, begun(interrupted=interrupted) as run:
            here.run = run
            run.settle()
            crew = Crew(client, run, run.assignment(str(here.config.absolute())))
            try:
                audiences = run.judged_elsewhere(crew.judged())
                crew.remember()
                run.begin_sending()
                crew.bring(units.remove, [each for each in audiences if each not in run.lists.elsewhere], removing=True)
                crew.bring(units.add, audiences, removing=False)
                run.climbing = crew.climbed
                return run, steps.finish(key)
            finally:
                crew.dismiss()


@dataclass(slots=True)
class _Out:
    """A unit that somebody works on."""

    future: "PrefectDaskFuture[Any]"
    controller: str
    worker: str
    again: Callable[[], "_Out"] | None
    """How it is begun anew when its worker dies; None for a second try."""


class Crew:
    """The workers of one run: which of them has which controller."""

    def __init__(self, client: "PrefectDaskClient", run: Spread, assignment: Assignment) -> None:
        self._client = client
        self._run = run
        self._assignment = assignment
        self._at: dict[str, str] = {}
        self._last: dict[str, str] = {}
        self._renewed = time.monotonic()

    def judged(self) -> dict[str, Verdict]:
        """Every controller's verdict. One that cannot be judged stops its own lists; raises where none can."""
        controllers, workers = self._run.controllers, self._workers()
        for place, controller in enumerate(controllers):
            self._at[controller] = workers[place % len(workers)]
        out = {controller: self._begin(units.judge, controller) for controller in controllers}
        verdicts: dict[str, Verdict] = {}
        while out:
            for controller in self._ended(out):
                verdicts[controller] = self._verdict(controller, out)
        failed = [each.unreachable for each in verdicts.values() if not each.plans and each.unreachable]
        if verdicts and len(failed) == len(verdicts):
            raise failed[0][0]
        return {controller: verdicts[controller] for controller in controllers}

    def _verdict(self, controller: str, out: dict[str, _Out]) -> Verdict:
        found = self._result(controller, out)
        if isinstance(found, NestAudienceError):
            return replace(NOTHING_JUDGED, unreachable=(found,))
        return found if isinstance(found, Verdict) else NOTHING_JUDGED

    def remember(self) -> None:
        """Every controller's noes, one controller after the other, before anything is sent. Raises what hinders it."""
        for controller in self._run.controllers:
            out = {controller: self._begin(units.remember, controller)}
            while out:
                for each in self._ended(out):
                    found = self._result(each, out)
                    if isinstance(found, NestAudienceError):
                        raise found

    def bring(self, task: "Task[..., Done]", audiences: Iterable[AudienceKey], *, removing: bool) -> None:
        """Give every list its turn, and keep what became of it."""
        waiting = list(audiences)
        out: dict[str, _Out] = {}
        while waiting or out:
            if self._goes_on():
                self._give_turns(task, waiting, out)
            elif waiting:
                self._run.lists.owed.update(waiting if removing else ())
                waiting.clear()
            for audience in self._ended(out):
                self._keep(AudienceKey(audience), self._result(audience, out), removing=removing)

    def climbed(self, audience: AudienceKey) -> Done | None:
        """What became of the next step at one list."""
        out: dict[str, _Out] = {str(audience): self._turn(units.climb, audience)}
        while out:
            for each in self._ended(out):
                found = self._result(each, out)
                if isinstance(found, Done):
                    return found
                if isinstance(found, NestAudienceError):
                    self._run.outcome.errors.append(found)
        return None

    def dismiss(self) -> None:
        """The run is over: whatever the workers hold of it is let go of. Who does not hear it sees it in the ledger."""
        if self._client.status == "running":
            with suppress(OSError, TimeoutError, ValueError, RuntimeError, CancelledError):
                self._client.run(let_go, self._assignment.run_id, on_error="ignore")

    def _give_turns(self, task: "Task[..., Done]", waiting: list[AudienceKey], out: dict[str, _Out]) -> None:
        for audience in tuple(waiting):
            destinations = {self._destination(AudienceKey(each)) for each in out}
            busy = {each.controller for each in out.values()}
            if self._destination(audience) in destinations or self._controller(audience) in busy:
                continue
            waiting.remove(audience)
            out[str(audience)] = self._turn(task, audience)

    def _turn(self, task: "Task[..., Done]", audience: AudienceKey, *, anew: bool = False) -> _Out:
        controller, destination, lists = self._controller(audience), self._destination(audience), self._run.lists
        worker = self._at[controller]
        moved = self._last.setdefault(destination, worker) != worker
        self._last[destination] = worker
        sending = lists.first_send or self._run.started
        turn = Turn(audience, sending, moved=moved or anew, owed=audience in lists.owed, anew=anew)
        out = self._begin(task, controller, audience=str(audience), turn=turn)
        out.again = None if anew else lambda: self._turn(task, audience, anew=True)
        return out

    def _begin(self, task: "Task[..., Any]", controller: str, *, first: bool = True, **more: Any) -> _Out:
        """Give a unit to the worker that has its controller; to another one where that is no more."""
        from prefect_dask.task_runners import PrefectDaskFuture

        workers = self._workers()
        if self._at[controller] not in workers:
            taken = [each for name, each in self._at.items() if name != controller]
            self._at[controller] = min(workers, key=taken.count)
        worker = self._at[controller]
        parameters = {"assignment": self._assignment, "controller": controller, **more}
        future = self._client.submit(task, parameters=parameters, workers=[worker], allow_other_workers=True, return_type="state")
        kept: PrefectDaskFuture[Any] = PrefectDaskFuture(wrapped_future=future, task_run_id=future.task_run_id)
        again = (lambda: self._begin(task, controller, first=False, **more)) if first else None
        return _Out(kept, controller, worker, again)

    def _ended(self, out: dict[str, _Out]) -> list[str]:
        """Those that ended, after a short wait for the first of them."""
        self._goes_on()
        end = time.monotonic() + 1.0
        while out and time.monotonic() < end:
            ended = [key for key, each in out.items() if each.future.wrapped_future.done()]
            if ended:
                return ended
            time.sleep(0.02)
        return []

    def _result(self, key: str, out: dict[str, _Out]) -> Any:
        """What a unit that ended came to, or its error; it is out no more. None when it was begun anew because its worker died."""
        from distributed.scheduler import KilledWorker

        each = out.pop(key)
        found: list[Any] = []
        stopped: Stopped | None = None
        try:
            found.append(each.future.result())
        except Stopped as error:
            stopped = Stopped(*error.args)
        except (KilledWorker, CancelledError, OSError, TimeoutError):
            found.clear()
        if stopped is not None:
            known = stopped.as_error()
            if known.code.startswith("ledger_") or (known.code, known.where) == ("lease_lost", WRITER):
                raise known
            return known
        if found:
            return found[0]
        _LOGGER.warning("a worker died at %s", key)
        if each.again is None:
            return TryAgain("worker_lost", key, "what was sent is written down; look why workers die, then run again")
        self._at[each.controller] = ""  # another one than before
        out[key] = each.again()
        return None

    def _keep(self, audience: AudienceKey, found: Any, *, removing: bool) -> None:
        if isinstance(found, Done):
            self._run.keep(audience, found)
        elif isinstance(found, NestAudienceError):
            self._run.fail(audience, found, removing=removing)

    def _goes_on(self) -> bool:
        if time.monotonic() - self._renewed > RENEWS_EVERY or self._run.asked_to_end:
            self._renewed = time.monotonic()
            return self._run.go_on()
        return True

    def _workers(self) -> list[str]:
        told: list[Any] = []
        # `scheduler_info` shares its answer with the client's own, which names no workers.
        with suppress(OSError, TimeoutError, ValueError, RuntimeError, TypeError, AttributeError):  # said below
            told.append(self._client.nthreads())
        if not told or self._client.status != "running":
            raise TryAgain(
                "scheduler_lost", "execution.scheduler", "it answers no more; what was sent is written down; run again"
            )
        found = sorted(told[0])
        if not found:
            raise TryAgain(
                "no_workers", "execution.scheduler", "the scheduler has no worker any more; start some, then run again"
            )
        return found

    def _controller(self, audience: AudienceKey) -> str:
        return self._run.parts.settings.audiences[audience].controller.key

    def _destination(self, audience: AudienceKey) -> str:
        return self._run.parts.settings.audiences[audience].table.destination
