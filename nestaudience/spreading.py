"""A run whose work is spread over other processes: this one holds it, they judge and send, controller by controller and list by list.

This process has the writer's lease, asks the platforms what became of earlier requests, writes the entries of which a run has one, keeps what the
others report, and ends the run. How work reaches the others is not its matter, nor theirs how many they are. The others know what `sharing` says.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from nestaudience.delta.feeds import Facts, Marks
from nestaudience.errors import NestAudienceError
from nestaudience.interrupting import interruption
from nestaudience.judging import lists_of
from nestaudience.ledger.lease import WRITER, leased
from nestaudience.ledger.log import TransferLog
from nestaudience.ledger.memory import RemoteList
from nestaudience.ledger.shared_log import SharedLog
from nestaudience.outcome import added_up
from nestaudience.sharing import ENDS, Assignment, Done
from nestaudience.sync import Run
from nestaudience.verdict import Verdict
from nestaudience.vocabulary import STOCKHOLM, AudienceKey

T = TypeVar("T")


class Spread(Run):
    """A run that is held here and worked on elsewhere. After it has begun: `settle`, `assignment`, then `judged_elsewhere` with every controller's
    verdict, `keep` with what became of each list, `close_lists`, `finish`. Call `go_on` at least every few minutes.
    """

    climbing: Callable[[AudienceKey], Done | None] = staticmethod(lambda key: None)
    """How the next step is taken at a list whose removals were refused; None when nobody could take it."""

    def _open_log(self) -> TransferLog:
        parts = self.parts
        return SharedLog(parts.evidence.engine, parts.signer, self._leases[0], clock=parts.clock, randomness=parts.randomness)

    @property
    def controllers(self) -> tuple[str, ...]:
        """The controllers of the lists in the job's scope, in the configuration's order."""
        audiences = self.parts.settings.audiences.values()
        return tuple(dict.fromkeys(each.controller.key for each in audiences if self.job.scope.takes(each)))

    def assignment(self, config: str) -> Assignment:
        """What others must know to work for this run. `config`: the file's place on every machine."""
        outcome, digest, key_ids = self.outcome, self.parts.settings.digest, self.parts.keys.key_ids()
        return Assignment(config, digest, key_ids, outcome.run_id, outcome.night, self.job, self.started, self._actor)

    @property
    def asked_to_end(self) -> bool:
        """True once somebody asked this process to end."""
        return self._interrupted()

    def go_on(self) -> bool:
        """Say that the run is still at work; False once it was asked to end: the others are told, and no more work may be begun.

        Raises `TryAgain`: `lease_lost`.
        """
        self._leases[0].renew()
        if not self._interrupted():
            return True
        if not self._told_to_end:
            parts, name = self.parts, f"{ENDS}:{self.outcome.run_id}"
            self._stack.enter_context(leased(parts.evidence.engine, name, self.outcome.run_id, parts.clock))
            self._told_to_end = True
        if not any(error.code == "interrupted" for error in self.outcome.errors):
            self.outcome.errors.append(interruption(WRITER))
        return False

    _told_to_end = False

    def judged_elsewhere(self, verdicts: Mapping[str, Verdict]) -> tuple[AudienceKey, ...]:
        """Take every controller's verdict as the run's own, and write the entries that say so. The audiences, in the configuration's order."""
        self.take(joined(verdicts), self._lists_now())
        self._stop_elsewhere()
        order = {key: place for place, key in enumerate(self.parts.settings.audiences)}
        return tuple(sorted((plan.key for plan in self.verdict.plans), key=order.__getitem__))

    def begin_sending(self) -> None:
        """From now on something may be sent."""
        self.lists.first_send = self.lists.first_send or self.parts.clock()

    def keep(self, key: AudienceKey, done: Done) -> None:
        """Keep what became of a list."""
        outcome = self.outcome
        outcome.sent[key] = added_up(outcome.sent[key], done.sent)
        outcome.gates[key] = done.gates
        known = {(error.code, error.where) for error in outcome.errors}
        outcome.errors += [error for error in done.errors if (error.code, error.where) not in known]
        outcome.begun_anew += done.begun_anew
        if done.owed:
            self.lists.owed.add(key)
        self.note("sent", key, done.sent.removed + done.sent.added)

    def fail(self, key: AudienceKey, error: NestAudienceError, *, removing: bool) -> None:
        """Nobody could work on a list to the end: the next run brings it into line."""
        self.outcome.errors.append(error)
        if removing:
            self.lists.owed.add(key)

    def climb(self, key: AudienceKey) -> None:
        """(7) The next step at a list whose removals its platform refused in this run: taken where its controller was judged."""
        done = self.climbing(key)
        if done is not None:
            self.keep(key, done)

    def close_lists(self) -> None:
        """(7) As for any run, with the lists as they are now: others have bound some of them."""
        self.lists.remotes = self._lists_now()
        super().close_lists()

    def _lists_now(self) -> dict[AudienceKey, RemoteList]:
        return lists_of(self.parts, self.started.astimezone(STOCKHOLM).date())[0]


def joined(verdicts: Mapping[str, Verdict]) -> Verdict:
    """One verdict of several, controller -> its own. What each company's feeds showed is taken from its own; rows are counted once."""
    every = tuple(verdicts.values())
    plans = tuple(plan for each in every for plan in each.plans)
    endings = {key: why for each in every for key, why in each.endings.items()}
    problems = tuple(dict.fromkeys(code for each in every for code in each.problems))
    unreachable = {(error.code, error.where): error for each in every for error in each.unreachable}
    seen_all = all(each.seen_all for each in every)
    return Verdict(plans, endings, _rows(every), problems, tuple(unreachable.values()), seen_all, _facts(verdicts))


def _rows(every: tuple[Verdict, ...]) -> dict[str, int]:
    """Rows by view: members were read by their own company, everything else by everybody."""
    views = dict.fromkeys(view for each in every for view in each.counts)
    return {view: (sum if view == "member" else max)(each.counts.get(view, 0) for each in every) for view in views}


def _facts(verdicts: Mapping[str, Verdict]) -> Facts | None:
    told = {controller: each.facts for controller, each in verdicts.items() if each.facts is not None}
    if not told or len(told) < len(verdicts):
        return None
    marks = Marks(
        _own({controller: each.marks.latest for controller, each in told.items()}, 0),
        _own({controller: each.marks.generations for controller, each in told.items()}, 1),
        _own({controller: each.marks.accounts for controller, each in told.items()}, 0),
    )
    return replace(next(iter(told.values())), whole=all(each.whole for each in told.values()), marks=marks)


def _own(told: Mapping[str, Mapping[str, T]], word: int) -> dict[str, T]:
    """Each key's value as the company has it that is this word of the key, or else as the first has it."""
    found: dict[str, T] = {}
    for each in told.values():
        found |= {key: value for key, value in each.items() if key not in found}
    for controller, each in told.items():
        found |= {key: value for key, value in each.items() if key.split(" ")[word] == controller}
    return found
