"""Rows of the customer store's views as plain text, as a store hands them over, and a world of such rows.

Makes rows with sound defaults for tests to change. Checks nothing and decides nothing: garbage is welcome here.
"""

from dataclasses import dataclass, replace
from typing import Final

Row = dict[str, str | None]

ACCOUNT: Final = (
    "account_id",
    "controller_id",
    "status",
    "account_type",
    "email",
    "email_source",
    "email_verified_at",
    "email_changed_at",
    "country",
    "birth_year",
    "protected",
    "test_or_staff",
    "created_at",
    "last_active_at",
    "changed_at",
)
CONSENT_EVENT: Final = (
    "event_id",
    "account_id",
    "controller_id",
    "purpose",
    "recipient",
    "action",
    "occurred_at",
    "recorded_at",
    "source",
    "source_seq",
    "confirmed",
    "text_version",
)
RIGHTS_EVENT: Final = (
    "event_id",
    "account_id",
    "email",
    "controller_id",
    "action",
    "purpose",
    "occurred_at",
    "recorded_at",
    "source",
    "source_seq",
    "case_id",
)
SEGMENT_MEMBER: Final = (
    "segment_code",
    "controller_id",
    "account_id",
    "oldest_order_at",
    "oldest_site_at",
    "consented_when_collected",
)


@dataclass(frozen=True, slots=True)
class World:
    """The four views that screening reads. Every row has exactly the columns of its view."""

    account: tuple[Row, ...] = ()
    consent_event: tuple[Row, ...] = ()
    rights_event: tuple[Row, ...] = ()
    segment_member: tuple[Row, ...] = ()

    def plus(
        self,
        *,
        account: tuple[Row, ...] = (),
        consent_event: tuple[Row, ...] = (),
        rights_event: tuple[Row, ...] = (),
        segment_member: tuple[Row, ...] = (),
    ) -> "World":
        """The same world with more rows."""
        return replace(
            self,
            account=self.account + account,
            consent_event=self.consent_event + consent_event,
            rights_event=self.rights_event + rights_event,
            segment_member=self.segment_member + segment_member,
        )


def _row(columns: tuple[str, ...], defaults: Row, changes: Row) -> Row:
    if unknown := set(changes) - set(columns):
        problem = f"no such column: {sorted(unknown)}"
        raise KeyError(problem)
    return {column: changes.get(column, defaults.get(column)) for column in columns}


def account(account_id: str | None = "a1", **changes: str | None) -> Row:
    """A sound account of controller `c1`, verified, adult, active lately; its address is made of its id."""
    defaults: Row = {
        "account_id": account_id,
        "controller_id": "c1",
        "status": "active",
        "account_type": "private",
        "email": f"{account_id}@post.se",
        "email_source": "account",
        "email_verified_at": "2025-01-01T08:00:00Z",
        "country": "SE",
        "birth_year": "1980",
        "protected": "0",
        "test_or_staff": "0",
        "created_at": "2024-01-01T08:00:00Z",
        "last_active_at": "2026-10-01T08:00:00Z",
        "changed_at": "2026-10-01T08:00:00Z",
    }
    return _row(ACCOUNT, defaults, changes)


def consent(event_id: str | None, action: str | None = "grant", account_id: str | None = "a1", **changes: str | None) -> Row:
    """A consent event at `c1` on 2026-06-01: `ad_matching` at both recipients, confirmed, text `t1`, source `prefs`."""
    defaults: Row = {
        "event_id": event_id,
        "account_id": account_id,
        "controller_id": "c1",
        "purpose": "ad_matching",
        "recipient": "*",
        "action": action,
        "occurred_at": "2026-06-01T10:00:00Z",
        "recorded_at": "2026-06-01T10:00:00Z",
        "source": "prefs",
        "confirmed": "1",
        "text_version": "t1",
    }
    return _row(CONSENT_EVENT, defaults, changes)


def right(event_id: str | None, action: str | None, account_id: str | None = "a1", **changes: str | None) -> Row:
    """A rights event at `c1` on 2026-06-01 for every purpose, source `case`, with a case."""
    defaults: Row = {
        "event_id": event_id,
        "account_id": account_id,
        "controller_id": "c1",
        "action": action,
        "purpose": "*",
        "occurred_at": "2026-06-01T10:00:00Z",
        "recorded_at": "2026-06-01T10:00:00Z",
        "source": "case",
        "case_id": "K-1",
    }
    return _row(RIGHTS_EVENT, defaults, changes)


def member(account_id: str | None = "a1", **changes: str | None) -> Row:
    """A row of segment `s1` of `c1` with fresh orders and fresh visits under consent."""
    defaults: Row = {
        "segment_code": "s1",
        "controller_id": "c1",
        "account_id": account_id,
        "oldest_order_at": "2026-05-01T10:00:00Z",
        "oldest_site_at": "2026-11-15T10:00:00Z",
        "consented_when_collected": "1",
    }
    return _row(SEGMENT_MEMBER, defaults, changes)
