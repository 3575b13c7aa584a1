"""The contract against an independent listing, and the registry of adapters."""

import subprocess
import sys

import pytest

from nestaudience.customers import STORES, store_of
from nestaudience.customers.contract import ACCOUNT, VIEWS, Column, View, required_views
from nestaudience.errors import NeedsFix

# name: columns; `?` may be null, `:t` time, `:b` boolean, `:i` whole number, `:n` amount, else text.
LISTING = {
    "account": "account_id controller_id status account_type email? email_source email_verified_at?:t email_changed_at?:t"
    " country? birth_year?:i protected:b test_or_staff:b created_at:t last_active_at?:t changed_at:t",
    "consent_event": "event_id account_id controller_id purpose recipient action occurred_at?:t recorded_at:t source"
    " source_seq?:i confirmed:b text_version?",
    "rights_event": "event_id account_id? email? controller_id action purpose occurred_at?:t recorded_at:t source"
    " source_seq?:i case_id?",
    "segment_member": "segment_code controller_id account_id oldest_order_at?:t oldest_site_at?:t consented_when_collected?:b",
    "segment_status": "segment_code controller_id version computed_at:t row_count:i",
    "feed_status": "view_name controller_id complete_until:t loaded_at:t row_count:i generation environment",
    "order_line": "order_id account_id controller_id ordered_at:t product_id category author? quantity:i amount:n currency",
    "site_event": "event_id account_id controller_id kind product_id? category? author? occurred_at:t logged_in:b"
    " cookie_consented:b",
    "purchase": "order_id controller_id account_id? email ordered_at:t value:n currency gclid? cookie_granted_at?:t"
    " cookie_withdrawn_at?:t",
}
VALUES = {
    "account.status": "active locked closed pending_deletion",
    "account.account_type": "private business",
    "account.email_source": "account checkout newsletter import",
    "consent_event.recipient": "google meta *",
    "consent_event.action": "grant withdraw",
    "rights_event.action": "object lift_objection restrict unrestrict erase close",
    "rights_event.purpose": "ad_matching order_analysis *",
    "feed_status.environment": "sandbox staging production",
    "site_event.kind": "visit click",
}
KINDS = {"t": "time", "b": "boolean", "i": "integer", "n": "number", "": "text"}


def test_views_are_the_listing() -> None:
    assert [view.name for view in VIEWS] == list(LISTING)
    for view in VIEWS:
        wanted = []
        for item in LISTING[view.name].split():
            rest, _, kind = item.partition(":")
            values = VALUES.get(f"{view.name}.{rest}")
            wanted.append(
                Column(rest.rstrip("?"), KINDS[kind], rest.endswith("?"), frozenset(values.split()) if values else None)
            )
        assert list(view.columns) == wanted, view.name


def test_needed_views() -> None:
    always = {"account", "consent_event", "rights_event", "segment_member"}
    assert required_views(production=False) == always
    assert required_views(production=True) == always | {"feed_status", "segment_status"}


def test_no_view_can_hold_a_name_phone_or_postal_address() -> None:
    words = ("name", "phone", "street", "postal", "zip", "city", "personnummer", "ssn")
    allowed = {"view_name"}
    assert not [c.name for v in VIEWS for c in v.columns if any(w in c.name for w in words) and c.name not in allowed]


def test_a_view_cannot_be_built_wrong() -> None:
    with pytest.raises(ValueError, match="once"):
        View("v", (Column("a"), Column("a")))
    with pytest.raises(ValueError, match="key"):
        View("v", (Column("a"),), key=("b",))
    with pytest.raises(ValueError, match="lower-case"):
        Column('a"; DROP')
    with pytest.raises(ValueError, match="closed"):
        Column("a", "time", values=frozenset({"x"}))
    with pytest.raises(KeyError):
        ACCOUNT.column("phone")


def test_registry_loads_lazily_and_refuses_the_unknown() -> None:
    code = "import sys, nestaudience.customers, nestaudience.customers.port; sys.exit('adbc_driver_sqlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for kind in STORES:
        assert callable(store_of(kind))
    with pytest.raises(NeedsFix) as caught:
        store_of("oracle")
    assert caught.value.code == "store_kind_unknown"
