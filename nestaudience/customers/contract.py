"""The contract between the customer store and this system: nine read-only views, as data.

It names the views, their columns, what a column holds and what a null means. It reads no store and judges no row:
adapters read by it, `check` compares a store with it, and screening counts as malformed what does not fit it. Names,
phones, postal addresses and personal identity numbers are in no view.
"""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["text", "time", "boolean", "integer", "number"]
"""`time` is a moment with a zone, in UTC; `number` a decimal amount."""

Needed = Literal["always", "production", "if_used"]
"""When a store must have a view: for every run; for runs in production; for the segments and features that use it."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `nullable` where a null has a meaning, `values` where the set of values is closed."""

    name: str
    kind: Kind = "text"
    nullable: bool = False
    values: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name != self.name.lower():
            raise ValueError("a column's name is a lower-case identifier")
        if self.values is not None and (self.kind != "text" or not self.values):
            raise ValueError("only text has a closed, non-empty set of values")


@dataclass(frozen=True, slots=True)
class View:
    """One view. `key` names the columns that identify a row; it is empty where rows have no identity of their own."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    needed: Needed = "always"

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError("a view names each column once")
        if not set(self.key) <= set(names):
            raise ValueError("a key consists of the view's columns")

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in the contract's order."""
        return tuple(column.name for column in self.columns)

    @property
    def has_email(self) -> bool:
        """True where rows carry an address, which leaves an adapter sealed and never as a fact."""
        return "email" in self.names

    @property
    def has_account(self) -> bool:
        """True where rows can be asked for by account."""
        return "account_id" in self.names

    def column(self, name: str) -> Column:
        """The column of this name. Raises `KeyError` for a name that the contract does not know."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


def _text(name: str, *, values: str | None = None) -> Column:
    return Column(name, values=frozenset(values.split()) if values else None)


def _maybe(name: str, kind: Kind = "text") -> Column:
    return Column(name, kind, nullable=True)


def _time(name: str) -> Column:
    return Column(name, "time")


def _flag(name: str) -> Column:
    return Column(name, "boolean")


ACCOUNT: Final = View(
    "account",
    (
        _text("account_id"),
        _text("controller_id"),
        _text("status", values="active locked closed pending_deletion"),
        _text("account_type", values="private business"),
        _maybe("email"),
        _text("email_source", values="account checkout newsletter import"),
        _maybe("email_verified_at", "time"),
        _maybe("email_changed_at", "time"),
        _maybe("country"),
        _maybe("birth_year", "integer"),
        _flag("protected"),
        _flag("test_or_staff"),
        _time("created_at"),
        _maybe("last_active_at", "time"),
        _time("changed_at"),
    ),
    key=("account_id",),
)
"""Who has an account: `account_id` is unique in the whole group."""

CONSENT_EVENT: Final = View(
    "consent_event",
    (
        _text("event_id"),
        _text("account_id"),
        _text("controller_id"),
        _text("purpose"),  # open: shops keep newsletter and SMS consents here too
        _text("recipient", values="google meta *"),
        _text("action", values="grant withdraw"),
        _maybe("occurred_at", "time"),
        _time("recorded_at"),
        _text("source"),
        _maybe("source_seq", "integer"),
        _flag("confirmed"),
        _maybe("text_version"),
    ),
    key=("event_id",),
)
"""What account holders granted and withdrew; append-only."""

RIGHTS_EVENT: Final = View(
    "rights_event",
    (
        _text("event_id"),
        _maybe("account_id"),
        _maybe("email"),
        _text("controller_id"),
        _text("action", values="object lift_objection restrict unrestrict erase close"),
        _text("purpose", values="ad_matching order_analysis *"),
        _maybe("occurred_at", "time"),
        _time("recorded_at"),
        _text("source"),
        _maybe("source_seq", "integer"),
        _maybe("case_id"),
    ),
    key=("event_id",),
)
"""Objections, restrictions, erasures and closures; without an account they carry the address that they reach."""

SEGMENT_MEMBER: Final = View(
    "segment_member",
    (
        _text("segment_code"),
        _text("controller_id"),
        _text("account_id"),
        _maybe("oldest_order_at", "time"),
        _maybe("oldest_site_at", "time"),
        _maybe("consented_when_collected", "boolean"),
    ),
    key=("segment_code", "controller_id", "account_id"),
)
"""The candidates of every audience."""

SEGMENT_STATUS: Final = View(
    "segment_status",
    (
        _text("segment_code"),
        _text("controller_id"),
        _text("version"),
        _time("computed_at"),
        Column("row_count", "integer"),
    ),
    key=("segment_code", "controller_id"),
    needed="production",
)
"""When each segment was computed, and how many rows it has."""

FEED_STATUS: Final = View(
    "feed_status",
    (
        _text("view_name"),
        _text("controller_id"),
        _time("complete_until"),
        _time("loaded_at"),
        Column("row_count", "integer"),
        _text("generation"),
        _text("environment", values="sandbox staging production"),
    ),
    key=("view_name", "controller_id"),
    needed="production",
)
"""How far each view is complete, and from which load it comes."""

ORDER_LINE: Final = View(
    "order_line",
    (
        _text("order_id"),
        _text("account_id"),
        _text("controller_id"),
        _time("ordered_at"),
        _text("product_id"),
        _text("category"),
        _maybe("author"),
        Column("quantity", "integer"),
        Column("amount", "number"),
        _text("currency"),
    ),
    needed="if_used",
)
"""What account holders bought: input of segments."""

SITE_EVENT: Final = View(
    "site_event",
    (
        _text("event_id"),
        _text("account_id"),
        _text("controller_id"),
        _text("kind", values="visit click"),
        _maybe("product_id"),
        _maybe("category"),
        _maybe("author"),
        _time("occurred_at"),
        _flag("logged_in"),
        _flag("cookie_consented"),
    ),
    key=("event_id",),
    needed="if_used",
)
"""Visits and clicks on the controllers' own sites: input of segments."""

PURCHASE: Final = View(
    "purchase",
    (
        _text("order_id"),
        _text("controller_id"),
        _maybe("account_id"),
        _text("email"),
        _time("ordered_at"),
        Column("value", "number"),
        _text("currency"),
        _maybe("gclid"),
        _maybe("cookie_granted_at", "time"),
        _maybe("cookie_withdrawn_at", "time"),
    ),
    key=("controller_id", "order_id"),
    needed="if_used",
)
"""Orders with the address given at checkout: enhanced conversions."""

VIEWS: Final = (
    ACCOUNT,
    CONSENT_EVENT,
    RIGHTS_EVENT,
    SEGMENT_MEMBER,
    SEGMENT_STATUS,
    FEED_STATUS,
    ORDER_LINE,
    SITE_EVENT,
    PURCHASE,
)
"""Every view of the contract."""


def required_views(*, production: bool) -> frozenset[str]:
    """Names of the views without which a run adds nobody."""
    return frozenset(view.name for view in VIEWS if view.needed == "always" or (production and view.needed == "production"))
