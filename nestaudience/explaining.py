"""Why one person is, or is not, on each list: her accounts, what she said, what the rules made of it, and what the lists hold of her now.

Every look is written to the log with its case before anything is shown. It sends nothing, and changes no list and no memory. How it is said in
words: `sentences`.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.by_hand import A_WHILE, by_hand
from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, SEGMENT_MEMBER
from nestaudience.customers.port import Snapshot
from nestaudience.delivery.held import Held, held_of, read_held
from nestaudience.delta.stops import FORGETFUL
from nestaudience.errors import NeedsFix
from nestaudience.finding import Note, Person, find_person, person_token
from nestaudience.hashing.digests import Addresses
from nestaudience.jobs import check_case
from nestaudience.judging import lists_of, numbered, silent
from nestaudience.ledger.entries import EntryType, Value
from nestaudience.ledger.memory import Touched
from nestaudience.parts import Parts
from nestaudience.remembering import recall
from nestaudience.screening.after_no import AfterNo, after_no
from nestaudience.screening.engine import TOKEN, open_engine
from nestaudience.screening.intake import Intake
from nestaudience.screening.screen import screen
from nestaudience.screening.tracing import TracedAnswer, TracedEvent, trace
from nestaudience.vocabulary import STOCKHOLM, AudienceKey, Cause

_STATES: Final = ("removing", "owed", "in_flight", "confirmed")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was found. `accounts` are (account id, controller's key) in the order by which events and answers name them; `on_lists` what each list
    holds of this person: `confirmed`, `possible`, `in_flight`, `removing` or `owed`; lists that hold nothing are left out. `after`: from when
    on she may not have been added, where it was asked for.
    """

    case_id: str
    at: datetime
    accounts: tuple[tuple[str, str], ...] = field(repr=False)
    events: tuple[TracedEvent, ...] = field(repr=False)
    answers: tuple[TracedAnswer, ...] = field(repr=False)
    on_lists: dict[AudienceKey, str] = field(repr=False)
    after: AfterNo | None = field(default=None, repr=False)


def explain(parts: Parts, address: Addresses, case_id: str, *, actor: str = "cli", note: Note = silent) -> Explanation:
    """Look at one person, now.

    Raises `NeedsFix`: `case_missing`, `address_invalid`, `keys_incomplete`; `TryAgain`: `leased`; and what the store and the ledger raise.
    """
    check_case(Cause.OTHER_SEE_CASE, case_id)
    found = look(parts, address, case_id, note=note)
    _write_down(parts, found, actor)
    return found


def look(parts: Parts, address: Addresses, case_id: str, *, note: Note = silent) -> Explanation:
    """The same without an entry, for whoever writes one of their own before anything is shown. Raises as `explain` does but for `leased`."""
    now = parts.clock()
    token = person_token(address, parts.tokens)
    with parts.store.snapshot(live=True) as snapshot:
        person = find_person(snapshot, token, parts.tokens, now, note)
        held = _held_of(parts, person, now)
        return judged(parts, person, held, snapshot, now, case_id)


def _held_of(parts: Parts, person: Person, now: datetime) -> Held:
    """The memberships of these accounts and of this address, and nobody else's."""
    accounts = parts.tokens.of_accounts(person.account_ids)
    persons = pa.array([person.token], TOKEN)
    rows = read_held(parts.memory, now, None, Touched(accounts, persons)).rows
    hers = pc.or_(
        pc.is_in(rows.column("account_token"), value_set=accounts), pc.is_in(rows.column("person_token"), value_set=persons)
    )
    return held_of(parts.memory, rows.filter(hers))


def judged(
    parts: Parts, person: Person, held: Held, snapshot: Snapshot, now: datetime, case_id: str, unseen: timedelta | None = None
) -> Explanation:
    """What the rules say of these accounts now, and what the lists hold of them. `unseen`: also from when on they may not have been added, and
    who has a no that was recorded so long ago at most and that no run has seen.
    """
    audiences = tuple(parts.settings.audiences.values())
    remotes, _ = lists_of(parts, now.astimezone(STOCKHOLM).date())
    numbers = numbered(audiences, remotes)
    segments = frozenset((audience.controller.key, audience.segment.code) for audience in audiences)
    ids, owners = person.account_ids, {}

    def read(intake: Intake) -> None:
        sheets = list(snapshot.read(ACCOUNT, accounts=ids, now=now))
        for sheet in sheets:
            columns = (sheet.facts.column(name).to_pylist() for name in ("account_id", "controller_id"))
            owners.update(dict(zip(*columns, strict=True)))
        intake.accounts(iter(sheets))
        intake.consents(snapshot.read(CONSENT_EVENT, accounts=ids))
        intake.rights(chain(snapshot.read(RIGHTS_EVENT, accounts=ids), person.rights))
        intake.members(snapshot.read(SEGMENT_MEMBER, accounts=ids, segments=segments))
        intake.whole = all(problem.is_warning for problem in snapshot.problems)  # as a night reads it

    rules, tokens = parts.settings.rules(), parts.tokens.of_accounts(ids).to_pylist()
    with open_engine(parts.limits) as engine:
        asked = [audience.rule for audience in audiences]
        mine, known = held.for_engine(numbers), recall(parts)
        if known.missing:
            raise NeedsFix(FORGETFUL.code, "the retired keys", FORGETFUL.next_step)
        screened = screen(engine, read, rules=rules, audiences=asked, tokens=parts.tokens, now=now, held=mine, recall=known)
        events, answers = trace(screened, tokens)
        after = after_no(screened, unseen) if unseen is not None else None
    accounts = tuple((account, owners.get(account) or "") for account in ids.to_pylist())
    on_lists = {audiences[numbers[list_no]].key: state for list_no, state in _states(held).items() if list_no in numbers}
    return Explanation(case_id, now, accounts, events, answers, on_lists, after)


def _states(held: Held) -> dict[int, str]:
    """List number -> what it holds of the person: what is least settled speaks."""
    found: dict[int, str] = {}
    for row in held.rows.select(["list_no", *_STATES]).to_pylist():
        state = next((name for name in _STATES if row[name]), "possible")
        known = found.get(row["list_no"])
        order = ("owed", "removing", "possible", "in_flight", "confirmed")
        found[row["list_no"]] = state if known is None else min(known, state, key=order.index)
    return found


def _write_down(parts: Parts, found: Explanation, actor: str) -> None:
    """The look itself, with its case, as an entry of counts."""
    fields: dict[str, Value] = {"what": "explain", "case_id": found.case_id, "accounts": len(found.accounts)}
    with by_hand(parts, actor, patience=A_WHILE) as context:
        parts.open_log().append_and_seal([(EntryType.LOOKUP, context, fields)])
