"""What a snapshot says of its own feeds, and how far that fits what was read: the facts that the gates on feeds are about.

Rows of `feed_status` and `segment_status`, the store's clock, and counts of what screening saw; companies that nobody configured are left out. What a
shop may write freely (names of sources, of loads) becomes a label. It closes no gate and writes nothing.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nestaudience.config.settings import Settings
from nestaudience.customers.contract import FEED_STATUS, SEGMENT_STATUS, View
from nestaudience.customers.port import Snapshot
from nestaudience.delta.feeds import USED, Computed, Facts, Feed, Marks
from nestaudience.screening.screen import Screened
from nestaudience.screening.seen import accounts_gone, latest_recorded, members_read, rows_read

Row = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Told:
    """What the status views and the store's clock told. `environments` are raw and for comparison only."""

    skew: timedelta = timedelta(0)
    feeds: Mapping[tuple[str, str], Feed] = field(default_factory=dict)
    generations: Mapping[str, str] = field(default_factory=dict)
    segments: Mapping[tuple[str, str], Computed] = field(default_factory=dict)
    environments: frozenset[str | None] = frozenset()


def told_by(snapshot: Snapshot, settings: Settings, clock: Callable[[], datetime]) -> Told:
    """Ask a snapshot. Raises as the store does. A key that stands twice is as fresh as its older row, and from another load."""
    feeds: dict[tuple[str, str], Feed] = {}
    loads: dict[str, list[str]] = {}
    segments: dict[tuple[str, str], Computed] = {}
    environments: set[str | None] = set()
    skew = _skew(snapshot, clock)
    for row in _rows(snapshot, FEED_STATUS):
        environments.add(row["environment"])
        view, company = str(row["view_name"]), str(row["controller_id"])
        if view in USED and company in settings.controllers:
            feed = Feed(_moment(row["complete_until"]), _whole(row["row_count"]))
            feeds[view, company] = _older(feed, feeds.get((view, company)))
            loads.setdefault(f"{view} {company}", []).append(row["generation"] or "")
    for row in _rows(snapshot, SEGMENT_STATUS):
        company, code = str(row["controller_id"]), str(row["segment_code"])
        if company in settings.controllers:
            found, other = Computed(_moment(row["computed_at"]), _whole(row["row_count"])), segments.get((company, code))
            segments[company, code] = found if other in (None, found) else Computed(None, None)
    generations = {key: label("generation", *sorted(found)) for key, found in loads.items()}
    return Told(skew, feeds, generations, segments, frozenset(environments))


def facts_of(told: Told, screened: Screened, settings: Settings, *, whole: bool) -> Facts:
    """What was told, beside what screening saw of the same snapshot."""
    latest = {f"{company} {name}": at for (company, name), at in latest_recorded(screened).items()}
    accounts = {company: count for company, count in screened.accounts().items() if company in settings.controllers}
    rows = {(view, company): 0 for company in settings.controllers for view in USED if view != "segment_member"}
    return Facts(
        whole=whole,
        skew=told.skew,
        marks=Marks(latest, told.generations, accounts),
        feeds=told.feeds,
        segments=told.segments,
        rows=rows | rows_read(screened),
        members=members_read(screened),
        gone=accounts_gone(screened),
    )


def label(kind: str, *names: str) -> str:
    """A stable word for what a shop may write freely: 16 hexadecimal characters of a SHA-256."""
    return hashlib.sha256("\n".join((kind, *names)).encode()).hexdigest()[:16]


def _skew(snapshot: Snapshot, clock: Callable[[], datetime]) -> timedelta:
    """By how much the store's clock is ahead, at least: asking takes time."""
    before = clock()
    there = snapshot.server_time()
    after = clock()
    if there is None or before <= there <= after:
        return timedelta(0)
    return there - after if there > after else there - before


def _rows(snapshot: Snapshot, view: View) -> Iterator[Row]:
    for sheet in snapshot.read(view):
        yield from sheet.facts.to_pylist()


def _older(feed: Feed, other: Feed | None) -> Feed:
    if other is None:
        return feed
    times = [each.complete_until for each in (feed, other) if each.complete_until is not None]
    counts = [each.row_count for each in (feed, other) if each.row_count is not None]
    return Feed(min(times) if len(times) == 2 else None, max(counts) if len(counts) == 2 else None)


def _moment(text: str | None) -> datetime | None:
    """A moment with a zone, or None."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and text.isascii() and len(text) < 16 else None
