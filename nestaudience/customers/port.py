"""What a customer store must be able to do: read its views in one snapshot, as Arrow, minimally.

It reads people and decides nothing. Facts cross as text (`string`): times as ISO 8601 in UTC with `Z` or `+00:00`,
booleans as `0` and `1`, whole numbers in decimal, null as null. Values are parsed once, in screening, where what does
not parse is counted. The e-mail column never crosses as text: it is split off into `Addresses`.

One exception spares the writing and the parsing: where a store keeps moments as such, a column of kind
`time` of the `PEOPLE_VIEWS` may cross as `MOMENT`, if it does so in every sheet of the snapshot. It means what its text
would mean. `BEYOND` stands for every moment outside the years 1 to 9999, which have no text either: it is not null, and
no rule accepts it as a time.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import pyarrow as pa

from nestaudience.customers.contract import (
    ACCOUNT,
    CONSENT_EVENT,
    FEED_STATUS,
    RIGHTS_EVENT,
    SEGMENT_MEMBER,
    SEGMENT_STATUS,
    View,
)
from nestaudience.hashing.digests import Addresses

WARNINGS: Final = frozenset({"column_not_needed", "optional_view_missing"})
"""Codes of problems that hinder no run."""
STATUS_VIEWS: Final = frozenset({FEED_STATUS.name, SEGMENT_STATUS.name})
"""The views that tell of the others; no no stands in them."""

PEOPLE_VIEWS: Final = frozenset({view.name for view in (ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, SEGMENT_MEMBER)})
"""The views by which people are judged, whose times may cross as moments."""
MOMENT: Final = pa.timestamp("us", "UTC")
"""Microseconds since 1970, UTC."""
BEYOND: Final = 253_402_300_800_000_000
"""The `MOMENT` 10000-01-01."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One stretch of a view.

    `facts` has the view's columns but `email`, in the contract's order, each `string` or, for a time, `MOMENT`;
    `addresses` has one entry a row for the views that have an `email` column, None for the others.
    """

    facts: pa.RecordBatch
    addresses: Addresses | None


@dataclass(frozen=True, slots=True)
class StoreProblem:
    """Something about the store that a person must fix: `where` names view and column, never a value."""

    code: str
    where: str
    next_step: str

    @property
    def is_warning(self) -> bool:
        """True when runs may go on as if nothing were wrong."""
        return self.code in WARNINGS

    @property
    def is_about_status(self) -> bool:
        """True when it concerns a view that only tells of the others: whether that closes a gate is decided with what stands in them."""
        return self.where.partition(".")[0] in STATUS_VIEWS


class Snapshot(Protocol):
    """The store as it stood at one moment. A view or column that is missing reads as empty or null, and is a problem."""

    problems: tuple[StoreProblem, ...]

    def read(
        self,
        view: View,
        *,
        accounts: pa.StringArray | None = None,
        noes_since: datetime | None = None,
        grants_too: bool = False,
        segments: frozenset[tuple[str, str]] | None = None,
        now: datetime | None = None,
    ) -> Iterator[Sheet]:
        """Stream a view, or only the rows of these account ids. No row gives no sheet; no order is promised.

        `noes_since` (consent_event, rights_event, account) keeps what may hold a new no: rows that are no grant or
        lift and were recorded, or account rows that changed, at this time or later, and rows whose clock cannot be
        read; `grants_too` keeps grants and lifts of that time as well. `segments` (segment_member) keeps rows of these
        (controller_id, segment_code) pairs. `now` (account, required there) is the time by which a birth year makes a
        minor. For `account`, e-mail is read only where the rules allow: an `ad_matching` grant, a no of the account's
        own, a minor, a protected person; elsewhere the address is null. The extra last column `email_read` (`0` or `1`)
        says which.

        Raises `ValueError` for an argument that the view has no use for, `TryAgain` and `NeedsFix` as the store does.
        """

    def server_time(self) -> datetime | None:
        """What the store's own clock says now (UTC); None for a store that has no clock but this machine's. Not while a view is being read."""


class CustomerStore(Protocol):
    """A source of snapshots. Raises `NeedsFix` when it cannot be opened, `TryAgain` when it is busy."""

    def snapshot(self, *, live: bool = False) -> AbstractContextManager[Snapshot]:
        """One consistent, read-only view of everything, from its first read until it is closed.

        `live` asks for the store as it is now, where a copy that lags behind may serve otherwise. One read at a time: finish or
        leave one before the next.
        """

    def check(self) -> tuple[StoreProblem, ...]:
        """Names, types, duplicates and unusable times of every view: all problems at once. Reads whole views."""
