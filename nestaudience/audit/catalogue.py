"""All frames of the log by name: what each is made from, its columns, and how it is made. For notebooks, exports and reports.

It makes no frame of its own.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pandas as pd

from nestaudience.audit import changes, frames, funnels, lookups, nights, removals, sizes
from nestaudience.audit.columns import ALL, Columns, Filters
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.log import LogReader

Make = Callable[[Iterable[Mapping[str, Any]], Filters, datetime], pd.DataFrame]


@dataclass(frozen=True, slots=True)
class FrameKind:
    """One kind of frame. `types` are the entries that it is made from, all of them from the log's first on; `title` is what it answers."""

    name: str
    title: str
    types: frozenset[EntryType]
    columns: Columns
    make: Make


_KINDS: Final = (
    FrameKind(
        "transfers",
        "which transfers, to whom, how many people",
        frames.TRANSFER_TYPES,
        frames.TRANSFER_COLUMNS,
        lambda entries, filters, _: frames.transfers(entries, filters),
    ),
    FrameKind(
        "batches",
        "which requests, and what the platforms answered",
        frames.TRANSFER_TYPES,
        frames.BATCH_COLUMNS,
        lambda entries, filters, _: frames.batches(entries, filters),
    ),
    FrameKind(
        "funnel",
        "why a list got the people that it got",
        funnels.TYPES,
        funnels.COLUMNS,
        lambda entries, filters, _: funnels.funnel(entries, filters),
    ),
    FrameKind(
        "removals",
        "how fast noes reached each platform",
        removals.TYPES,
        removals.COLUMNS,
        lambda entries, filters, _: removals.removals(entries, filters),
    ),
    FrameKind(
        "open_removals",
        "which removals are open, refused or frozen",
        removals.OPEN_TYPES,
        removals.OPEN_COLUMNS,
        lambda entries, filters, now: removals.open_removals(entries, now, filters),
    ),
    FrameKind(
        "lookups",
        "who looked people up or acted for one, for which case",
        lookups.TYPES,
        lookups.COLUMNS,
        lambda entries, filters, _: lookups.lookups(entries, filters),
    ),
    FrameKind(
        "nights",
        "which nights had a run, and what each did",
        nights.TYPES,
        nights.COLUMNS,
        lambda entries, filters, _: nights.nights(entries, filters.first, filters.last, filters.controller),
    ),
    FrameKind(
        "sizes",
        "how large each list was, by the platform and by our own count",
        sizes.TYPES,
        sizes.COLUMNS,
        lambda entries, filters, _: sizes.sizes(entries, filters),
    ),
    FrameKind(
        "changes",
        "what changed in configuration, approvals, lists, keys and the ledger, and which incidents there were",
        changes.TYPES,
        changes.COLUMNS,
        lambda entries, filters, _: changes.changes(entries, filters),
    ),
)
FRAMES: Final[Mapping[str, FrameKind]] = {kind.name: kind for kind in _KINDS}
"""Every kind of frame by its name."""


def frame(name: str, reader: LogReader, filters: Filters = ALL, now: datetime | None = None) -> pd.DataFrame:
    """The frame of this name from an open ledger; only the entries that it needs are decoded. `now`, a time with a zone, is for ages; the machine's
    own without it. Raises KeyError for a name that is none, and `MustStop` as reading the log does.
    """
    kind = FRAMES[name]
    return kind.make(reader.entries(types=kind.types), filters, now or datetime.now(UTC))
