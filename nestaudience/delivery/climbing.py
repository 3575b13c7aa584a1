"""A list whose removals the platform refused in this run: the next step for whoever said no, from asking once more to deleting the list.

Part of the end of a run, after everybody was asked off every list and whoever may join has joined: only then is it known who stays on another list of
the same ad account. What is due is decided in `refused`; whom it concerns is read from the plan, and from the ledger as it is now.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.config.settings import Audience
from nestaudience.delivery.deleting import delete_refusing
from nestaudience.delivery.held import Held
from nestaudience.delivery.opting_out import Intend, opt_out
from nestaudience.delivery.refused import (
    TOLD_BY,
    AskEverywhere,
    DeleteList,
    Refusals,
    Standing,
    TryAgainOnly,
    next_step,
    read_refusals,
)
from nestaudience.delivery.requests import Line, Tools
from nestaudience.delivery.salts import Bytes2D, Salts
from nestaudience.delta.plan import Delta
from nestaudience.destinations.port import OptsOut
from nestaudience.errors import NestAudienceError, TryAgain
from nestaudience.hashing.commitments import key_of_list, leaves_of
from nestaudience.hashing.kernel import DIGEST_BYTES
from nestaudience.ledger.keys import KeyUse
from nestaudience.ledger.memory import Touched
from nestaudience.screening.engine import uuid_to_tokens
from nestaudience.vocabulary import AudienceKey, Operation, RunId

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Climbing:
    """What a run knows when it looks at its refused removals."""

    run_id: RunId
    delta: Delta
    held: Held
    salts: Salts
    tools: Tools
    audiences: Mapping[AudienceKey, Audience]


@dataclass(frozen=True, slots=True)
class _Noes:
    """Who said no and may still be on the list, rows of the plan's removals; their person keys, by each master key that a request may stand under;
    and which of them stay on no other list of the account.
    """

    rows: pa.Table
    keys: tuple[Bytes2D, ...]
    alone: Flags


@dataclass(slots=True)
class Climber:
    """Takes the step that is due for one list. `intend` records a transfer before its first request. `deleted`: the audience, when its list was
    deleted; `errors`: what went wrong on the way without hindering it.
    """

    here: Climbing
    intend: Intend
    deleted: list[AudienceKey] = field(default_factory=list)
    errors: list[NestAudienceError] = field(default_factory=list)

    def climb(self, line: Line) -> None:
        """Take the step. Raises the error of a deletion that the platform refuses, and what the ledger raises."""
        here = self.here
        refusals = read_refusals(here.tools.log.entries(types=TOLD_BY)).get(line.remote.list_id)
        if refusals is None or refusals.removals[-1].run_id != here.run_id:
            return
        noes = _noes(line, here, refusals)
        to_ask = _to_ask(line, here, refusals, noes)
        standing = _standing(line, here, refusals, noes, int(to_ask.sum()))
        match next_step(standing, here.tools.clock()):
            case TryAgainOnly():
                pass
            case AskEverywhere():
                self.errors += _ask(line, here, noes.rows.filter(pa.array(to_ask)), self.intend)
            case DeleteList(since):
                self.errors += _ask(line, here, noes.rows.filter(pa.array(to_ask)), self.intend)
                delete_refusing(line, standing.noes, since, here.tools)
                self.deleted.append(line.audience.key)


def _noes(line: Line, here: Climbing, refusals: Refusals) -> _Noes:
    """Of the plan's removals, those of people who said no, now or when they were first asked off, and who may still be on the list."""
    rows = here.delta.removals(line.audience.key)
    tokens = uuid_to_tokens(rows.column("person_token"))
    now = here.tools.memory.held(here.tools.clock(), touched=Touched(pa.array([], tokens.type), tokens))
    mine = pc.equal(now.column("list_no"), line.remote.list_no)
    waits = now.filter(pc.and_(mine, pc.equal(now.column("removing"), 0)))
    rows = rows.filter(_is_among(rows, waits))
    if not rows.num_rows:
        return _Noes(rows, (), np.empty(0, bool))
    persons = rows.column("person_token").combine_chunks()
    keys = tuple(here.salts.keys_of(persons, key.reveal()) for key in here.tools.keys.all_of(KeyUse.MASTER))
    said = rows.column("says_no").to_numpy(zero_copy_only=False).astype(bool)
    for each in refusals.removals:
        if each.noes and not said.all():
            said |= _inside(line, here, keys, each.batch_id)
    rows, keys = rows.filter(pa.array(said)), tuple(each[said] for each in keys)
    return _Noes(rows, keys, ~_stays_elsewhere(line, here, rows, now))


def _stays_elsewhere(line: Line, here: Climbing, rows: pa.Table, now: pa.Table) -> Flags:
    """Who may be on another list of the account without being asked off it, or is wanted on one: a request for everywhere would take them off that
    list as well.
    """
    place = (line.remote.recipient, line.remote.ad_account)
    lists = [each.list_no for each in here.tools.memory.lists() if (each.recipient, each.ad_account) == place]
    others = pa.array([number for number in lists if number != line.remote.list_no], pa.int64())
    asked = pc.or_(pc.equal(now.column("removing"), 1), pc.equal(now.column("owed"), 1))
    staying = now.filter(pc.and_(pc.is_in(now.column("list_no"), value_set=others), pc.invert(asked)))
    together = [key for key, each in here.audiences.items() if (each.recipient.key.value, each.ad_account.account_id) == place]
    wanted = uuid_to_tokens(here.delta.wanted(together).column("digest"))
    stays = pc.or_(_is_among(rows, staying), pc.is_in(_digests(rows), value_set=wanted))
    return np.asarray(stays, dtype=bool)


def _to_ask(line: Line, here: Climbing, refusals: Refusals, noes: _Noes) -> Flags:
    """Which of the noes may be asked off everywhere, and were not yet. A request that had no answer, or one that says later, is no try."""
    asked = np.zeros(noes.rows.num_rows, dtype=bool)
    if not isinstance(line.destination, OptsOut):
        return asked
    for each in refusals.asked:
        later = each.outcome == "refused" and isinstance(line.destination.error_of(each.code, line.audience.key), TryAgain)
        if not later:
            asked |= _inside(line, here, noes.keys, each.batch_id)
    return noes.alone & ~asked


def _standing(line: Line, here: Climbing, refusals: Refusals, noes: _Noes, to_ask: int) -> Standing:
    named = [each for each in refusals.removals if each.noes and _inside(line, here, noes.keys, each.batch_id).any()]
    runs = {each.run_id for each in named} | {str(here.run_id)}
    since = min((each.at for each in named), default=refusals.removals[-1].at)
    return Standing(noes.rows.num_rows, since, len(runs), to_ask)


def _ask(line: Line, here: Climbing, rows: pa.Table, intend: Intend) -> list[NestAudienceError]:
    """Ask for these people to be taken off everywhere. What goes wrong hinders nothing, and is handed back; only the ledger's errors, and the end of
    this process, are raised.
    """
    if not rows.num_rows:
        return []
    failure: NestAudienceError | None = None
    representative = pc.list_element(rows.column("held_nos").combine_chunks(), 0)
    try:
        people = here.held.open(representative, line.destination.recipient, here.tools.keys, here.tools.tokens)
        opt_out(line, people, rows.column("person_token").combine_chunks(), here.salts, here.tools, intend)
    except NestAudienceError as error:
        failure = error.with_traceback(None)
    if failure is None:
        return []
    if failure.code.startswith("ledger_") or failure.code == "interrupted":
        raise failure
    return [failure]


def _inside(line: Line, here: Climbing, keys: tuple[Bytes2D, ...], batch_id: bytes) -> Flags:
    """Which of the people with these keys, by each master, are in a removal of this list, by its leaves."""
    if not keys:
        return np.empty(0, bool)
    kept = here.tools.log.batch_leaves(batch_id) or b""
    found: Flags = np.zeros(len(keys[0]), dtype=bool)
    for each in keys:
        mine = leaves_of(each, batch_id, Operation.REMOVE, key_of_list(line.remote.list_id))
        words = np.ascontiguousarray(mine).view(f"S{DIGEST_BYTES}").reshape(-1)
        found |= np.isin(words, np.frombuffer(kept, dtype=f"S{DIGEST_BYTES}"))
    return found


def _digests(rows: pa.Table) -> pa.Array:
    return uuid_to_tokens(rows.column("digest"))


def _is_among(rows: pa.Table, members: pa.Table) -> pa.Array:
    """Which rows of a plan are about somebody of these memberships."""
    return pc.is_in(_digests(rows), value_set=members.column("digest_token").combine_chunks())
