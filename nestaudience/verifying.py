"""The second level of verification, with the keys: memberships, sealed digests, salts and leaves agree, and nobody was added after her no.

A no counts from the run that first saw it. Each look is written to the log with its case before anything is shown. It sends nothing, changes no
list and names nobody. What no key can open is not compared: whoever was erased, whoever left every list, and noes that the store cannot be asked
about any more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.audit.after_no import PAIRS, SIDES, Barred, Searched, at_micros, sent_after_no
from nestaudience.audit.clocks import PROMISE
from nestaudience.audit.memberships import Disagreement, Ledger, Memberships, Salted
from nestaudience.audit.persons import LoggedBatch, logged_batches
from nestaudience.by_hand import A_WHILE, by_hand
from nestaudience.delivery.held import Held, read_held
from nestaudience.hashing.kernel import Bytes2D
from nestaudience.jobs import check_case
from nestaudience.judging import Note, Reading, lists_of, numbered, silent
from nestaudience.ledger.entries import EntryType, Value
from nestaudience.ledger.keys import KeyUse
from nestaudience.ledger.memory import AddedBy
from nestaudience.parts import Parts
from nestaudience.remembering import recall
from nestaudience.screening.after_no import MEMBERS, AfterNo, added_after, after_no
from nestaudience.screening.engine import open_engine, tokens_to_uuid
from nestaudience.screening.rules import AudienceRule
from nestaudience.vocabulary import STOCKHOLM, Cause

NOT_COMPARED: Final = (
    "Whoever was on a list and has left it, unless her no is remembered: whom the ledger needs no longer, it does not keep.",
    "Whoever was erased: without her salt her leaves are random bytes.",
    "Closed accounts, and a restriction or an objection that ended: no run writes down when it saw the one, and of the other only the end counts.",
    "The request by which somebody was taken off: `audit verify` pairs it with its answer without keys.",
)
"""What this level never compares."""
STORE_INCOMPLETE: Final = (
    "The noes of anybody: the store could not be read in whole, and cannot show what ended them. Verify again when it can be."
)
KEYS_INCOMPLETE: Final = "Noes that are remembered under a key that is not on the key ring any more."


@dataclass(frozen=True, slots=True)
class Keyed:
    """What was compared, in counts, and what did not agree. `noes`: remembered ones; `noes_compared` those that the store can be asked about;
    `searched`: people with a no who were looked for in later additions. `not_compared`: sentences.
    """

    memberships: int
    people: int
    requests: int
    noes: int
    noes_compared: int
    searched: Searched
    findings: tuple[Disagreement, ...]
    not_compared: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True when everything that was compared agrees."""
        return not self.findings


def verify_with_keys(
    parts: Parts, case_id: str, *, seed: int = 1, pairs: int = PAIRS, actor: str = "cli", note: Note = silent
) -> Keyed:
    """Compare everybody, now, and write the look down. Where `pairs` of a person with a no and a later request do not suffice, people are drawn
    by `seed`.

    Raises `NeedsFix`: `case_missing`; `TryAgain`: `leased`; and what the store and the ledger raise.
    """
    check_case(Cause.OTHER_SEE_CASE, case_id)
    now = parts.clock()
    held = read_held(parts.memory, now)
    salted, additions = Salted(parts.memory.persons()), parts.memory.additions_with_keys()
    batches = logged_batches(parts.evidence.reader)
    logged, lists = {each.batch_id: each for each in batches}, {each.list_no: each for each in parts.memory.lists()}
    compared = Memberships(salted, additions, Ledger(parts.evidence.reader, logged, lists, parts.keys, parts.tokens))
    newest = max((each.batch_no for each in additions), default=0)  # what a run adds meanwhile is for the next time
    for page in parts.memory.whole_pages(now):
        compared.take(page.filter(pc.less_equal(page.column("batch_added"), newest)))
    findings = [*compared.found()]
    after, late, gaps = _noes(parts, held, note, additions, logged)
    searched = _search(parts, after, salted, additions, batches, seed, pairs)
    for each in searched.found:
        late[each.index] = max(each.people, late.get(each.index, 0))
    findings += [Disagreement(index, "sent_after_no", count) for index, count in late.items()]
    people = compared.people
    fields: dict[str, Value] = {"what": "verify", "case_id": case_id, "people": people, "lists": len(lists), "seed": seed}
    with by_hand(parts, actor, patience=A_WHILE) as context:
        parts.open_log().append_and_seal([(EntryType.LOOKUP, context, fields | {"noes": searched.people})])
    return Keyed(
        memberships=compared.memberships,
        people=people,
        requests=compared.requests,
        noes=after.noes if after else 0,
        noes_compared=after.compared if after else 0,
        searched=searched,
        findings=tuple(sorted(findings, key=_place)),
        not_compared=(*gaps, *NOT_COMPARED),
    )


def _noes(
    parts: Parts, held: Held, note: Note, additions: tuple[AddedBy, ...], logged: dict[bytes, LoggedBatch]
) -> tuple[AfterNo | None, dict[int | None, int], tuple[str, ...]]:
    """When nobody may be added, by a screening of the whole store as a night makes it; the requests by which somebody is on a list nevertheless,
    with how many people; and what it could not say.
    """
    now = parts.clock()
    audiences = tuple(parts.settings.audiences.values())
    remotes, _ = lists_of(parts, now.astimezone(STOCKHOLM).date())
    numbers = numbered(audiences, remotes)
    reading, known = Reading(parts, now), recall(parts)
    with open_engine(parts.limits) as engine:
        screened = reading.screened(engine, audiences, held.for_engine(numbers), known, note)
        gaps = (KEYS_INCOMPLETE,) if known.missing else ()
        if not reading.complete:
            return None, {}, (*gaps, STORE_INCOMPLETE)
        after, by_number = after_no(screened, PROMISE), {each.batch_no: logged.get(each.batch_id) for each in additions}
        late = added_after(screened, _members(parts, held, by_number))
        return after, {batch.index: late[number] for number, batch in by_number.items() if batch and number in late}, gaps


def _members(parts: Parts, held: Held, batches: Mapping[int, LoggedBatch | None]) -> Iterator[pa.Table]:
    """The memberships with their requests, in the form of `MEMBERS`; those without one in the log are a finding of their own and left out."""
    rules = {str(key): audience.rule for key, audience in parts.settings.audiences.items()}
    known = {number: batch for number, batch in batches.items() if batch is not None}
    controllers, recipients = ([batch.audience.split("/")[place] for batch in known.values()] for place in (0, 2))
    columns = {
        "batch_no": pa.array(known, pa.int64()),
        "at": pa.array([at_micros(batch.at) for batch in known.values()], pa.int64()).cast(pa.timestamp("us")),
        "controller": pa.array(controllers, pa.string()),
        "bit": pa.array([SIDES.get(recipient, 0) for recipient in recipients], pa.uint8()),
        "uses_orders": pa.array([_on_orders(rules, batch.audience) for batch in known.values()], pa.bool_()),
    }
    sent = pa.table(columns)
    for page in held.pages():
        table = sent.take(pc.index_in(page.column("batch_added"), value_set=columns["batch_no"]))
        for name in ("account_token", "person_token"):
            table = table.append_column(name, tokens_to_uuid(page.column(name)))
        yield table.filter(pc.is_valid(table.column("batch_no"))).cast(MEMBERS)


def _on_orders(rules: Mapping[str, AudienceRule], audience: str) -> bool:
    return audience in rules and rules[audience].uses_orders


def _search(
    parts: Parts,
    after: AfterNo | None,
    salted: Salted,
    additions: tuple[AddedBy, ...],
    batches: list[LoggedBatch],
    seed: int,
    pairs: int,
) -> Searched:
    if after is None:
        return Searched((), 0, 0, 0)
    by_id, written = {key.key_id: key for key in parts.keys.all_of(KeyUse.MASTER)}, {a.batch_id: a for a in additions}
    rules = {str(key): audience.rule for key, audience in parts.settings.audiences.items()}

    def keys_of(batch: LoggedBatch, places: np.ndarray) -> Bytes2D:
        """By the key that made the request's leaves; by every one when memory does not know the request."""
        added = written.get(batch.batch_id)
        keys = [key for name, key in by_id.items() if added is None or name == added.master_key]
        return np.concatenate([np.empty((0, 32), np.uint8), *(salted.keys(key.reveal(), places) for key in keys)])

    barred, orders = Barred(after.barred, salted), partial(_on_orders, rules)
    return sent_after_no(barred, batches, keys_of, parts.evidence.reader, orders, seed=seed, pairs=pairs)


def _place(finding: Disagreement) -> tuple[bool, int]:
    return finding.index is None, finding.index or 0
