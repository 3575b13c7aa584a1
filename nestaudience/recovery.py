"""Recovery: a ledger that is behind its signed head was restored from a backup, and goes on from there.

First a new signed epoch that says what was lost; in the same transaction every list that may have got people since is marked, and noes that left
this machine with the anchors are taken back: no run may begin between the two. Then the marked lists are deleted, and begin anew with the next run:
the ledger no longer knows who was added to them. A list that cannot be deleted now is tried again by every run, and nobody joins it before. Every
step may be repeated; nobody is sent here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nestaudience.by_hand import by_hand
from nestaudience.delivery.lists import code_of, unknown_list
from nestaudience.jobs import Job
from nestaudience.judging import Note, silent
from nestaudience.ledger.entries import Context
from nestaudience.ledger.epoch import Restored, examine, open_epoch
from nestaudience.ledger.memory import RECOVERING, RemoteList
from nestaudience.ledger.suppression_files import take_back
from nestaudience.parts import Parts
from nestaudience.remembering import lost_noes, taken_back
from nestaudience.sync import Outcome, Run
from nestaudience.vocabulary import RunKind

_LEFT_ALONE = frozenset({"gone", "closed", "retiring"})


@dataclass(frozen=True, slots=True)
class Situation:
    """What a recovery has to do: `restored` is None when the epoch is open already; `lists` are the audiences whose lists begin anew."""

    restored: Restored | None
    lists: tuple[str, ...]

    @property
    def nothing_to_do(self) -> bool:
        """True when the ledger is not behind its head, and no list waits."""
        return self.restored is None and not self.lists


def situation(parts: Parts) -> Situation:
    """How the ledger stands to its head. Changes nothing. Raises `MustStop` as `examine` does."""
    restored = examine(parts.evidence.engine, parts.signer)
    lists = parts.memory.lists()
    if restored is None or restored.begun:
        return Situation(restored, tuple(remote.audience for remote in lists if remote.state == RECOVERING))
    known = {remote.audience for remote in lists if remote.state not in _LEFT_ALONE}
    unknown = {str(values["audience"]) for values in _unknown(parts)}
    return Situation(restored, tuple(sorted(known | unknown | {remote.audience for remote in _succeeded(parts)})))


def recover(parts: Parts, *, actor: str = "cli", note: Note = silent) -> Outcome:
    """Open the new epoch, and delete the lists that begin anew; what could not be done yet is in the outcome's errors.

    Raises `TryAgain`: `leased` while a run is at work; `NeedsFix`: `anchor_unreadable`, with nothing changed yet; what `examine` raises, and what the
    ledger and the head raise.
    """
    job = Job(RunKind.MANUAL)
    with by_hand(parts, actor) as context:
        _open(parts, context)
    with Run(parts, job, actor=actor, note=note) as run:
        run.recover()
        return run.finish()


def _open(parts: Parts, context: Context) -> None:
    """Open the epoch, and take back noes in its transaction; or alone, where an anchor's files came to light only after an earlier attempt."""
    unknown, rows = list(_unknown(parts)), lost_noes(parts)
    succeeded = [remote.list_no for remote in _succeeded(parts)]

    def mark(connection: Any) -> None:
        parts.memory.mark_recovering(connection, unknown, succeeded)
        take_back(connection, rows)

    engine, said = parts.evidence.engine, taken_back(rows, context)
    open_epoch(engine, parts.signer, context, mark, clock=parts.clock, randomness=parts.randomness, more=said)
    left = lost_noes(parts) if rows else []
    if left:
        parts.open_log().append_and_seal(taken_back(left, context), lambda connection, _: take_back(connection, left))


def _succeeded(parts: Parts) -> Iterator[RemoteList]:
    """Lists that were being emptied while the configuration names another for their audience: it may have been begun since."""
    bound = {remote.audience: remote for remote in parts.memory.lists()}
    for key, audience in parts.settings.audiences.items():
        if key in bound and bound[key].state == "retiring" and bound[key].code != code_of(audience, parts.keys):
            yield bound[key]


def _unknown(parts: Parts) -> Iterator[dict[str, str | int]]:
    """Bindings for audiences of which the ledger knows no list under the code that the configuration gives them now."""
    bound = {remote.audience: remote for remote in parts.memory.lists()}
    for key, audience in parts.settings.audiences.items():
        remote = bound.get(key)
        if remote is None or (remote.state in {"gone", "closed"} and remote.code != code_of(audience, parts.keys)):
            yield unknown_list(audience, parts.keys)
