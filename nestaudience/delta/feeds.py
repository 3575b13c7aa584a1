"""Gates on the feeds: whether what the store showed can be believed. A fault of a feed stops what it could get wrong; a no passes all of them.

Pure: what a snapshot showed, what the last accepted run saw, and the limits go in; closed gates by audience come out. It reads no store and no log. A
no reaches the whole group, so a view of one company that tells of people holds additions everywhere, and ordinary removals at that company.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from nestaudience.config.settings import Audience, Settings
from nestaudience.delta.gates import Gate, only_noes, stop_additions
from nestaudience.vocabulary import AudienceKey

USED: Final = ("account", "consent_event", "rights_event", "segment_member")
"""The views that every run reads."""
_OWN: Final = "segment_member"
"""The view that concerns the lists of its own company alone. Its rows are counted by `segment_status`, segment by segment."""
OLDEST_SNAPSHOT: Final = timedelta(hours=6)
OLDEST_SEGMENT: Final = timedelta(hours=36)
FELL: Final = timedelta(hours=1)
SKEW: Final = timedelta(seconds=120)
AHEAD: Final = timedelta(hours=1)
"""A view over live tables may say a time later than the start of the run; a later one than this is no time."""
FEWEST: Final = 100
"""Of fewer people no share is taken: no list may open with them."""
SNAPSHOT_STALE: Final = "snapshot_stale"
VANISHED: Final = "mass_vanishing"
ELSEWHERE: Final = "feed_incomplete_elsewhere"
FEED_GATES: Final = frozenset(
    {"environment", "feed_malformed", "feed_incomplete", ELSEWHERE, "source_rollback", "clock_skew", "segment_feed", VANISHED}
)
"""Gates that say of what a run saw that it cannot be believed: later runs are not measured against it."""


@dataclass(frozen=True, slots=True)
class Feed:
    """A row of `feed_status`: up to when the view is complete (UTC; None: it does not say so readably), and its rows, None for unreadable."""

    complete_until: datetime | None
    row_count: int | None


@dataclass(frozen=True, slots=True)
class Computed:
    """A row of `segment_status`: when the segment was computed (UTC), and its rows; None for what cannot be read."""

    computed_at: datetime | None
    row_count: int | None


@dataclass(frozen=True, slots=True)
class Marks:
    """What a run saw, to measure later ones by; keys of two words have a space in between.

    `latest`: company and label of a raw source -> the latest time (UTC) at which one of its events was recorded, those with the most events first.
    `generations`: view and company -> label of the load. `accounts`: company -> how many it has.
    """

    latest: Mapping[str, datetime] = field(default_factory=dict)
    generations: Mapping[str, str] = field(default_factory=dict)
    accounts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """What one snapshot showed of its feeds; companies are the configured ones.

    `whole` is False when a view or column could not be read: other gates say so. `skew`: by how much the store's clock is ahead of this host's.
    `feeds`: (view, company) -> its row; `segments`, `members`: (company, segment) -> its row, and the rows that were read; `rows`: (view, company) ->
    the rows that were read; None, or no key, where nobody counted. `gone`: company -> (accounts on its lists that the store does not have and that
    said no nowhere, accounts on its lists).
    """

    whole: bool = True
    skew: timedelta = timedelta(0)
    marks: Marks = field(default_factory=Marks)
    feeds: Mapping[tuple[str, str], Feed] = field(default_factory=dict)
    segments: Mapping[tuple[str, str], Computed] = field(default_factory=dict)
    rows: Mapping[tuple[str, str], int] = field(default_factory=dict)
    members: Mapping[tuple[str, str], int] | None = None
    gone: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the last run that could be believed showed of one audience. `candidates` and `eligible` are those of the last one that came to its end."""

    marks: Marks
    candidates: int = 0
    eligible: int = 0
    accounts: int = 0


def feed_gates(
    settings: Settings,
    facts: Facts,
    accepted: Mapping[AudienceKey, Accepted],
    eligible: Mapping[AudienceKey, tuple[int, int]],
    now: datetime,
) -> dict[AudienceKey, tuple[Gate, ...]]:
    """The closed gates of each audience that was judged. `eligible`: audience -> (candidates, eligible); `now` is when the snapshot was taken.

    Where the store could not be read in whole nothing is compared: whatever is missing would look like a fault of its own.
    """
    skewed = tuple(_skewed(facts))
    if not facts.whole:
        return dict.fromkeys(eligible, skewed)
    late = {} if not facts.feeds and not settings.needs_freshness else _late(settings, facts, now)
    found = {}
    for key, (candidates, able) in eligible.items():
        audience, before = settings.audiences[key], accepted.get(key)
        gates = [*_incomplete(audience.controller.key, late), *skewed]
        gates += _segment(settings, facts, audience, before, (candidates, able), now)
        if before is not None:
            gates += _rolled_back(facts.marks, before.marks)
            gates += _vanished(audience.controller.key, facts, before, settings.gates.vanished_percent)
        found[key] = tuple(gates)
    return found


def stale(age: timedelta) -> Gate | None:
    """The gate on a snapshot that was so old when the first request could be sent."""
    if age <= OLDEST_SNAPSHOT:
        return None
    return stop_additions(SNAPSHOT_STALE, "what was read is older than six hours; run again, and find out what took so long")


def feed_problems(settings: Settings, facts: Facts, now: datetime) -> Iterator[tuple[str, str, str]]:
    """(gate, company or segment, what is wrong) for everything that the status views and the clocks say by themselves: for `check`."""
    yield from (("clock_skew", "the store", gate.next_step) for gate in _skewed(facts))
    if facts.feeds or settings.needs_freshness:
        for company, faults in _late(settings, facts, now).items():
            yield from (("feed_incomplete", company, f"{view} {what}") for view, what in faults)
    if facts.segments or settings.needs_freshness:
        pairs = {(a.controller.key, a.segment.code) for a in settings.audiences.values()}
        for company, code in sorted(pairs):
            yield from (("segment_feed", f"{company}/{code}", what) for what in _computed(facts, company, code, now))


def _skewed(facts: Facts) -> Iterator[Gate]:
    if abs(facts.skew) > SKEW:
        seconds = round(abs(facts.skew).total_seconds())
        where = "ahead of" if facts.skew > timedelta(0) else "behind"
        yield stop_additions("clock_skew", f"the store's clock is {seconds} s {where} this machine's; set the wrong one right")


def _late(settings: Settings, facts: Facts, now: datetime) -> dict[str, list[tuple[str, str]]]:
    """Company -> (view, what is wrong with its feed)."""
    oldest = now - timedelta(minutes=settings.gates.feed_age_minutes)
    found: dict[str, list[tuple[str, str]]] = {}
    for company, controller in settings.controllers.items():
        for view in USED if controller.state == "active" else ():
            wrong = _wrong(facts.feeds.get((view, company)), oldest, now + AHEAD, facts.rows.get((view, company)))
            if wrong:
                found.setdefault(company, []).append((view, wrong))
    return found


def _wrong(feed: Feed | None, oldest: datetime, latest: datetime, rows: int | None) -> str:
    """A view that is not loaded but looked into may have more rows than its last load said, never fewer. `rows` is None where nobody counted."""
    if feed is None:
        return "has no row in feed_status"
    if feed.complete_until is None:
        return "does not say readably up to when it is complete"
    if feed.complete_until > latest:
        return "says that it is complete until a time that is still to come"
    if feed.complete_until < oldest:
        return f"is complete only until {_minute(feed.complete_until)} UTC"
    if rows is not None and feed.row_count is None:
        return "does not say readably how many rows it has"
    if rows is not None and feed.row_count is not None and rows < feed.row_count:
        return f"shows {rows} of {feed.row_count} rows"
    return ""


def _incomplete(company: str, late: Mapping[str, list[tuple[str, str]]]) -> Iterator[Gate]:
    """The company's own feeds hold ordinary removals as well; those of others concern it by the noes that they may lack."""
    own = [(company, *each) for each in late.get(company, ())]
    others = [(other, *each) for other, faults in late.items() if other != company for each in faults if each[0] != _OWN]
    told = [*own, *others]
    if not told:
        return
    said = "; ".join(f"{view} of {who} {what}" for who, view, what in told[:3])
    more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
    next_step = f"{said}{more}; let the load come through, then run again"
    yield only_noes("feed_incomplete", next_step) if own else stop_additions(ELSEWHERE, next_step)


def _rolled_back(now: Marks, before: Marks) -> Iterator[Gate]:
    """A source that shows nothing any more has fallen as well."""
    fell = [key for key, at in before.latest.items() if key not in now.latest or now.latest[key] < at - FELL]
    anew = [key for key, load in before.generations.items() if now.generations.get(key, load) != load]
    if fell or anew:
        said = [f"{_count(len(fell), 'source')} went back in time"] if fell else []
        said += [f"{_count(len(anew), 'view')} came from another load ({_some(anew)})"] if anew else []
        step = "a backup may have been put back; let the store catch up with what was said since, then `nestaudience release` accepts it"
        yield Gate("source_rollback", additions=True, ordinary=False, next_step=f"{' and '.join(said)}: {step}", releasable=True)


def _segment(
    settings: Settings, facts: Facts, audience: Audience, before: Accepted | None, people: tuple[int, int], now: datetime
) -> Iterator[Gate]:
    company, code = audience.controller.key, audience.segment.code
    told = list(_computed(facts, company, code, now)) if facts.segments or settings.needs_freshness else []
    if before is not None:
        pairs = (("candidates", before.candidates, people[0]), ("eligible people", before.eligible, people[1]))
        told += [f"{word} fell from {then} to {are}" for word, then, are in pairs if then >= FEWEST and are * 2 < then]
    if told:
        step = "look at the segment, then `nestaudience release` lets it through"
        yield only_noes("segment_feed", f"{'; '.join(told)}: {step}", releasable=True)


def _computed(facts: Facts, company: str, code: str, now: datetime) -> Iterator[str]:
    status = facts.segments.get((company, code))
    rows = None if facts.members is None else facts.members.get((company, code), 0)
    if status is None:
        yield f"{code} has no row in segment_status"
    elif status.computed_at is None:
        yield f"{code} does not say readably when it was computed"
    elif not now - OLDEST_SEGMENT <= status.computed_at <= now + AHEAD:
        yield f"{code} was computed {_minute(status.computed_at)} UTC"
    elif rows is not None and status.row_count != rows:
        yield f"{code} shows {rows} of {'an unreadable number of' if status.row_count is None else status.row_count} rows"


def _vanished(company: str, facts: Facts, before: Accepted, percent: int) -> Iterator[Gate]:
    """Two ways to see it: of the accounts that the ledger knows one by one, those that are gone; of those that were counted, those missing."""
    gone, held = facts.gone.get(company, (0, 0))
    counted, are = before.accounts, facts.marks.accounts.get(company, 0)
    shares = ((gone, held), (counted - are, counted))
    lost = [(missing, of) for missing, of in shares if of >= FEWEST and missing * 100 > percent * of]
    if lost:
        missing, of = lost[0]
        step = f"{missing} of {of} accounts of {company} vanished; look at the feed of account, then `nestaudience release` lets them go"
        yield Gate(VANISHED, additions=True, ordinary=False, vanished=True, next_step=step, releasable=True)


def _minute(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number > 1 else ''}"


def _some(keys: Iterable[str]) -> str:
    named = [" of ".join(key.split(" ")) for key in sorted(keys)]
    return ", ".join(named[:2]) + (f" and {len(named) - 2} more" if len(named) > 2 else "")
