"""The small judgement between nights: who said no, or changed, since the last look, and from which lists that takes them off.

It reads little: what the store was told since a watermark, the accounts that spoke, and the memberships that they or their address may
concern, on every list, whether or not a segment or the store still knows them. Nobody joins, and what merely went missing waits for the
night. A no that stands on one account alone (a closure, a changed address) takes the address off also where another account of the same
address may stay; the night puts it back.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.config.settings import Settings
from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, SEGMENT_MEMBER
from nestaudience.customers.port import Snapshot
from nestaudience.delivery.deliver import Tools
from nestaudience.delivery.fresh import OVERLAP, Fresh, read_fresh
from nestaudience.delivery.held import Held, read_held
from nestaudience.delta.gates import Gate, Limits
from nestaudience.delta.plan import Orders, work_out
from nestaudience.errors import NeedsFix, NestAudienceError
from nestaudience.jobs import Job, Scope
from nestaudience.judging import Judged, Note, lists_of, numbered, settle, silent
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.log import LogReader
from nestaudience.ledger.memory import Touched
from nestaudience.parts import Parts
from nestaudience.remembering import recall
from nestaudience.screening.engine import TOKEN, open_engine
from nestaudience.screening.intake import Intake
from nestaudience.screening.screen import Screened, screen
from nestaudience.vocabulary import STOCKHOLM, AudienceKey, Mode, RunKind

NOES_ONLY: Final = Gate(
    "withdrawals", additions=True, ordinary=True, next_step="nothing: this run only takes people off who said no", exit_code=0
)
UNLIMITED: Final = Limits(smallest=0, change_percent=100, change_people=1 << 53, ever_held=True)
_NO_TOKENS: Final = pa.array([], TOKEN)
URGENT_EVERY: Final = timedelta(hours=1)
"""How long an urgent no waits at most, whatever the cadence of a destination."""
EARLY: Final = timedelta(minutes=2)
"""How much early a schedule may come and still find a destination due."""
LONGEST_AGO: Final = timedelta(days=7)
"""A small look goes back no further: whatever is older, every night reads as well."""


def watermarks(reader: LogReader) -> dict[str, datetime]:
    """Destination -> up to when (UTC) every no that the store showed was sent to all its lists, by the log's own word."""
    found: dict[str, datetime] = {}
    for entry in reader.entries(types=frozenset({EntryType.RUN_FINISHED})):
        said: Any = entry["fields"].get("watermarks", {})
        found |= {str(name): datetime.fromisoformat(str(at)) for name, at in said.items()}
    return found


def reached(job: Job, settings: Settings, owed: Collection[AudienceKey], absent: Collection[str]) -> list[str]:
    """The destinations whose watermark a run moves on that saw everything: those to all of whose lists it sent every no. Of a destination that some
    list owes nothing is said, nor of one that could not be opened.
    """
    if job.mode is Mode.RETRACT or (job.since is None and not job.scope.whole):
        return []
    owing = {settings.audiences[key].table.destination for key in owed} | set(absent)
    return sorted(set(job.scope.destinations or settings.destinations) - owing - job.urgent)


def withdrawals_job(reader: LogReader, settings: Settings, now: datetime, *, due_only: bool = True) -> Job | None:
    """The orders of a run for withdrawals; None when there is nowhere to look.

    With `due_only`, a destination whose cadence is longer than an hour is looked at for urgent noes alone while it is not due: they wait for no
    cadence. A destination that no night has reached yet is not looked at: the night fills and empties its lists.
    """
    known = {name: at for name, at in watermarks(reader).items() if name in settings.destinations}
    every = {name: timedelta(minutes=settings.destinations[name].removals_every_minutes) for name in known}
    due = {name for name, at in known.items() if not due_only or at <= now - (every[name] - EARLY)}
    urgent = {name for name in known.keys() - due if every[name] > URGENT_EVERY and known[name] <= now - (URGENT_EVERY - EARLY)}
    if not due | urgent:
        return None
    since = max(min(known[name] for name in due | urgent), now - LONGEST_AGO)
    scope = Scope(destinations=frozenset(due | urgent))
    return Job(RunKind.WITHDRAWALS, scope, since=since, urgent=frozenset(urgent))


@contextmanager
def judge_withdrawals(
    parts: Parts, now: datetime, since: datetime, note: Note = silent, *, tools: Tools | None = None, job: Job
) -> Iterator[Judged]:
    """Steps (2) to (4) of `sync` for what is new since then (UTC), for the lists in the job's scope.

    A store that cannot be read shows nothing new, and the judgement says so: what was asked for before is sent all the same.
    """
    asked = settle(parts, now, tools)
    news = None if tools else asked.states()
    audiences = tuple(audience for audience in parts.settings.audiences.values() if job.scope.takes(audience))
    remotes, _ = lists_of(parts, now.astimezone(STOCKHOLM).date())
    numbers = numbered(audiences, remotes)
    segments = frozenset((audience.controller.key, audience.segment.code) for audience in audiences)
    failures: list[NestAudienceError] = []
    rules, memory = parts.settings.rules(), recall(parts)
    with open_engine(parts.limits) as engine:

        def judged_by(held: Held, read: Callable[[Intake], None]) -> Screened:
            mine, asking = held.for_engine(numbers), [audience.rule for audience in audiences]
            return screen(engine, read, rules=rules, audiences=asking, tokens=parts.tokens, now=now, held=mine, recall=memory)

        found: tuple[Held, Screened] | None = None
        try:
            with parts.store.snapshot(live=True) as snapshot:
                failures += _missing(snapshot)
                fresh = read_fresh(snapshot, parts.tokens, since - OVERLAP, now, grants_too=True)
                note("read", "fresh", len(fresh.account_ids))
                held = _touched(parts, now, fresh, news)
                found = held, judged_by(held, partial(_read, snapshot, fresh, segments, now))
        except NestAudienceError as error:
            failures.append(error.with_traceback(None))
        if found is None:
            held = read_held(parts.memory, now, news, Touched(_NO_TOKENS, _NO_TOKENS))
            found = held, judged_by(held, _nothing)
        gates: dict[AudienceKey, tuple[Gate, ...]] = {audience.key: (NOES_ONLY,) for audience in audiences}
        urgent = frozenset(audience.key for audience in audiences if audience.table.destination in job.urgent)
        delta = work_out(found[1], {audience.key: UNLIMITED for audience in audiences}, gates, Orders(urgent=urgent))
        yield Judged(asked, *found, delta, remotes, {}, (), (*asked.errors, *failures), seen_all=not failures)


def _nothing(intake: Intake) -> None:
    """What was read is not the whole store."""
    intake.whole = False


def _missing(snapshot: Snapshot) -> list[NestAudienceError]:
    if all(problem.is_warning or problem.is_about_status for problem in snapshot.problems):
        return []
    return [NeedsFix("feed_incomplete", "the customer store", "a view or column is missing; mend it: noes cannot be seen")]


def _touched(parts: Parts, now: datetime, fresh: Fresh, news: Mapping[int, str] | None) -> Held:
    """The memberships that something new may concern: of those who spoke, of everybody with the same address as one of them, and of those whose
    removal is owed, who may have been added again since.

    The ledger knows the address of an account that is no longer in the store, so it is asked twice.
    """
    first = read_held(parts.memory, now, news, Touched(fresh.account_tokens, fresh.person_tokens))
    rows = first.rows
    spoke = pc.is_in(rows.column("account_token"), value_set=fresh.account_tokens)
    also = rows.column("person_token").filter(pc.or_(spoke, pc.equal(rows.column("owed"), 1))).combine_chunks()
    persons = pc.unique(pa.concat_arrays([fresh.person_tokens, also])) if len(also) else fresh.person_tokens
    if len(persons) == len(pc.unique(fresh.person_tokens)):
        return first
    return read_held(parts.memory, now, news, Touched(fresh.account_tokens, persons))


def _read(snapshot: Snapshot, fresh: Fresh, segments: frozenset[tuple[str, str]], now: datetime, intake: Intake) -> None:
    """Everything about those who spoke, and nothing of others with the same address."""
    _nothing(intake)
    ids = fresh.account_ids
    intake.accounts(snapshot.read(ACCOUNT, accounts=ids, now=now))
    intake.consents(snapshot.read(CONSENT_EVENT, accounts=ids))
    intake.rights(chain(snapshot.read(RIGHTS_EVENT, accounts=ids), fresh.rights))
    intake.members(snapshot.read(SEGMENT_MEMBER, accounts=ids, segments=segments))
