"""The tables of the demo's store, as a shop might keep them, and the contract's nine views on top.

Pure text. The base tables are STRICT; consents and rights are append-only, and triggers hold it. The views are all that the
system reads.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

TABLES: Final = {
    "shop_account": "account_id TEXT PRIMARY KEY, company TEXT NOT NULL, state TEXT NOT NULL, kind TEXT NOT NULL, email"
    " TEXT, email_from TEXT NOT NULL, email_verified_at TEXT, email_changed_at TEXT, country TEXT,"
    " birth_year INTEGER, protected INTEGER NOT NULL, staff INTEGER NOT NULL, created_at TEXT NOT NULL,"
    " last_login_at TEXT, changed_at TEXT NOT NULL",
    "shop_consent": "event_id TEXT PRIMARY KEY, account_id TEXT NOT NULL, company TEXT NOT NULL, purpose TEXT NOT NULL,"
    " recipient TEXT NOT NULL, action TEXT NOT NULL, occurred_at TEXT, recorded_at TEXT NOT NULL, source"
    " TEXT NOT NULL, source_seq INTEGER, confirmed INTEGER NOT NULL, text_version TEXT",
    "shop_right": "event_id TEXT PRIMARY KEY, account_id TEXT, email TEXT, company TEXT NOT NULL, action TEXT NOT NULL,"
    " purpose TEXT NOT NULL, occurred_at TEXT, recorded_at TEXT NOT NULL, source TEXT NOT NULL, source_seq"
    " INTEGER, case_id TEXT",
    "shop_order": "order_id TEXT PRIMARY KEY, company TEXT NOT NULL, account_id TEXT, checkout_email TEXT NOT NULL,"
    " ordered_at TEXT NOT NULL, ore INTEGER NOT NULL, gclid TEXT, cookie_granted_at TEXT,"
    " cookie_withdrawn_at TEXT",
    "shop_order_line": "order_id TEXT NOT NULL REFERENCES shop_order, product_id TEXT NOT NULL, category TEXT NOT NULL,"
    " author TEXT, quantity INTEGER NOT NULL, ore INTEGER NOT NULL, returned INTEGER NOT NULL",
    "shop_visit": "event_id TEXT PRIMARY KEY, account_id TEXT NOT NULL, company TEXT NOT NULL, kind TEXT NOT NULL,"
    " product_id TEXT, category TEXT, author TEXT, occurred_at TEXT NOT NULL, logged_in INTEGER NOT NULL,"
    " cookie_consented INTEGER NOT NULL",
    "segment_row": "segment TEXT NOT NULL, company TEXT NOT NULL, account_id TEXT NOT NULL, oldest_order_at TEXT,"
    " oldest_site_at TEXT, all_consented INTEGER, PRIMARY KEY (segment, company, account_id)",
    "segment_run": "segment TEXT PRIMARY KEY, company TEXT NOT NULL, version TEXT NOT NULL, computed_at TEXT NOT NULL,"
    " row_count INTEGER NOT NULL",
    "feed_load": "view_name TEXT NOT NULL, company TEXT NOT NULL, complete_until TEXT NOT NULL, loaded_at TEXT NOT NULL,"
    " row_count INTEGER NOT NULL, generation TEXT NOT NULL, PRIMARY KEY (view_name, company)",
}
"""Base table -> its columns."""

APPEND_ONLY: Final = ("shop_consent", "shop_right")
_INDEXES: Final = (
    "shop_consent (account_id)",
    "shop_right (account_id)",
    "shop_order (account_id)",
    "shop_order_line (order_id)",
    "shop_visit (account_id)",
    "segment_row (account_id)",
)

_VIEWS: Final = {
    "account": "SELECT account_id, company AS controller_id, state AS status, kind AS account_type, email, email_from AS"
    " email_source, email_verified_at, email_changed_at, country, birth_year, protected, staff AS"
    " test_or_staff, created_at, last_login_at AS last_active_at, changed_at FROM shop_account",
    "consent_event": "SELECT event_id, account_id, company AS controller_id, purpose, recipient, action, occurred_at,"
    " recorded_at, source, source_seq, confirmed, text_version FROM shop_consent",
    "rights_event": "SELECT event_id, account_id, email, company AS controller_id, action, purpose, occurred_at,"
    " recorded_at, source, source_seq, case_id FROM shop_right",
    "segment_member": "SELECT segment AS segment_code, company AS controller_id, account_id, oldest_order_at,"
    " oldest_site_at, all_consented AS consented_when_collected FROM segment_row",
    "segment_status": "SELECT segment AS segment_code, company AS controller_id, version, computed_at, row_count FROM"
    " segment_run",
    "feed_status": "SELECT view_name, company AS controller_id, complete_until, loaded_at, row_count, generation,"
    " 'sandbox' AS environment FROM feed_load",
    "order_line": "SELECT o.order_id, o.account_id, o.company AS controller_id, o.ordered_at, l.product_id, l.category,"
    " l.author, l.quantity, l.ore / 100.0 AS amount, 'SEK' AS currency FROM shop_order AS o JOIN"
    " shop_order_line AS l ON l.order_id = o.order_id WHERE o.account_id IS NOT NULL AND l.returned = 0",
    "site_event": "SELECT event_id, account_id, company AS controller_id, kind, product_id, category, author,"
    " occurred_at, logged_in, cookie_consented FROM shop_visit",
    "purchase": "SELECT order_id, company AS controller_id, account_id, checkout_email AS email, ordered_at, ore / 100.0"
    " AS value, 'SEK' AS currency, gclid, cookie_granted_at, cookie_withdrawn_at FROM shop_order",
}

COUNTED: Final = ("account", "consent_event", "rights_event", "segment_member", "order_line", "site_event", "purchase")
"""The views whose loads `feed_status` reports."""


def tables() -> list[str]:
    """The statements that make tables, triggers and views, one each."""
    statements = [f"CREATE TABLE {name} ({columns}) STRICT" for name, columns in TABLES.items()]
    statements += [
        f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name} BEGIN SELECT RAISE(ABORT, '{name} is append-only'); END"
        for name in APPEND_ONLY
        for verb in ("UPDATE", "DELETE")
    ]
    return statements + [f"CREATE VIEW {name} AS {body}" for name, body in _VIEWS.items()]


def indexes() -> list[str]:
    """The statements that make the indexes, to be run when the tables are full."""
    return [f"CREATE INDEX {on.split()[0]}_index ON {on}" for on in _INDEXES]


def moment(when: datetime) -> str:
    """ISO 8601 in UTC, whole seconds."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _bought(category: str, since: str) -> str:
    return (
        "SELECT o.account_id, min(o.ordered_at) AS first FROM shop_order AS o"  # noqa: S608
        f" JOIN shop_order_line AS l ON l.order_id = o.order_id WHERE o.account_id IS NOT NULL"
        f" AND l.returned = 0 AND l.category = '{category}' AND o.ordered_at >= '{since}'"
        " GROUP BY o.account_id"
    )


def _viewed(category: str, since: str) -> str:
    return (
        "SELECT account_id, min(occurred_at) AS first, min(logged_in * cookie_consented) AS consented FROM shop_visit"  # noqa: S608
        f" WHERE category = '{category}' AND occurred_at >= '{since}' GROUP BY account_id"
    )


def segments(now: datetime) -> dict[tuple[str, str], str]:
    """(company, segment) -> the query that gives account, oldest order, oldest visit, and whether every visit was consented to.

    `lapsed_readers` and `coffee_lovers` look back a little further than the rules allow, as segments in real shops do.
    """

    def ago(days: int) -> str:
        return moment(now - timedelta(days=days))

    lapsed = (
        "SELECT o.account_id, min(o.ordered_at) AS first FROM shop_order AS o WHERE o.company = 'bokhyllan'"  # noqa: S608
        " AND o.account_id IS NOT NULL AND EXISTS (SELECT 1 FROM shop_order_line AS l WHERE l.order_id ="
        " o.order_id AND l.returned = 0)"
        f" GROUP BY o.account_id HAVING max(o.ordered_at) BETWEEN '{ago(720)}' AND '{ago(182)}'"
    )
    return {
        ("computime", "bought_audio_12m"): f"SELECT account_id, first, NULL, NULL FROM ({_bought('audio', ago(365))})",  # noqa: S608
        ("computime", "viewed_laptops_30d"): f"SELECT account_id, NULL, first, consented FROM ({_viewed('laptops', ago(29))})",  # noqa: S608
        ("bokhyllan", "crime_readers"): f"SELECT account_id, first, NULL, NULL FROM ({_bought('crime', ago(365))})",  # noqa: S608
        ("bokhyllan", "lapsed_readers"): f"SELECT account_id, first, NULL, NULL FROM ({lapsed})",  # noqa: S608
        ("hemkraft", "coffee_lovers"): "SELECT b.account_id, b.first, v.first, v.consented FROM"  # noqa: S608
        f" ({_bought('coffee', ago(720))}) AS b JOIN ({_viewed('coffee', ago(45))}) AS v ON v.account_id = b.account_id",
    }
