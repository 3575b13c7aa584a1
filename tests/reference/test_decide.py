"""Accounts, segments and addresses in the reference against answers worked out by hand from the rules, and the funnel."""

from datetime import UTC, datetime
from typing import Any

import pytest

from nestaudience.vocabulary import Reason, Recipient

from .asking import GRANT, NOW, RULES, ask
from .decide import decide, funnel
from .rows import World, account, consent, member, right
from .strategies import C1, audience

VISITS = consent("v", purpose="web_behaviour", source="banner")


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"status": "closed"}, {"account_closed"}),
        ({"status": "pending_deletion"}, {"account_closed"}),
        ({"status": "locked"}, {"account_locked"}),
        ({"controller_id": "c2"}, {"other_controller"}),
        ({"controller_id": "cX"}, {"other_controller", "malformed"}),
        ({"controller_id": None}, {"malformed"}),
        ({"birth_year": "2008"}, {"minor"}),  # may still be 17
        ({"birth_year": "2007"}, set()),
        ({"birth_year": "2030"}, {"minor"}),
        ({"birth_year": None}, set()),
        ({"birth_year": "x"}, {"malformed"}),
        ({"protected": "1"}, {"protected"}),
        ({"account_type": "business"}, {"business_contact"}),
        ({"test_or_staff": "1"}, {"test_or_staff"}),
        ({"country": "NO"}, {"country_out_of_scope"}),
        ({"country": "se"}, {"country_out_of_scope"}),
        ({"country": None}, {"country_out_of_scope"}),
        ({"last_active_at": "2024-11-22T02:30:00Z"}, {"inactive"}),
        ({"last_active_at": "2024-11-22T02:30:00.000001Z"}, set()),
        ({"last_active_at": None, "created_at": "2024-11-22T02:30:00.000001Z"}, set()),
        ({"last_active_at": None, "created_at": "2024-11-22T02:30:00Z"}, {"inactive"}),
        ({"last_active_at": "x", "created_at": "2020-01-01T00:00:00Z"}, {"malformed"}),
        *[({column: None}, {"malformed"}) for column in ("status", "account_type", "protected", "test_or_staff")],
        *[({column: "nn"}, {"malformed"}) for column in ("status", "account_type", "protected", "test_or_staff")],
        *[({column: None}, {"malformed"}) for column in ("created_at", "changed_at")],
        *[({column: "2026-01-01T00:00:00"}, {"malformed"}) for column in ("created_at", "changed_at", "email_changed_at")],
    ],
)
def test_the_account(changes: dict[str, str | None], reasons: set[str]) -> None:
    assert ask(accounts=(account() | changes,)) == reasons


@pytest.mark.parametrize(
    ("changes", "reasons", "reasons_when_off"),
    [
        ({"email": None}, {"address_invalid"}, {"address_invalid"}),
        ({"email": "a1@post"}, {"address_invalid"}, {"address_invalid"}),
        ({"email_source": "checkout"}, {"address_not_from_account"}, {"address_not_from_account"}),
        ({"email_source": "nn"}, {"address_not_from_account", "malformed"}, {"address_not_from_account", "malformed"}),
        ({"email_verified_at": None}, {"address_unverified"}, set()),
        ({"email_verified_at": "2026-11-22T02:30:00Z"}, set(), set()),
        ({"email_verified_at": "2026-11-22T02:30:00.000001Z"}, {"address_unverified"}, set()),
        ({"email_changed_at": "2025-01-01T08:00:00Z"}, set(), set()),
        ({"email_changed_at": "2025-01-01T08:00:00.000001Z"}, {"address_unverified"}, {"address_unverified"}),
        ({"email_verified_at": None, "email_changed_at": "2020-01-01T00:00:00Z"}, {"address_unverified"}, {"address_unverified"}),
        ({"email_verified_at": "x"}, {"address_unverified", "malformed"}, {"malformed"}),
    ],
)
def test_the_address(changes: dict[str, str | None], reasons: set[str], reasons_when_off: set[str]) -> None:
    assert ask(accounts=(account() | changes,)) == reasons
    assert ask(accounts=(account() | changes,), require_verified_address=False) == reasons_when_off


def test_nothing_left_of_a_gmail_address_is_invalid_at_google_only() -> None:
    hollow = (account(email="+x@gmail.com"),)
    assert ask(accounts=hollow) == {"address_invalid"}
    assert ask(accounts=hollow, recipient=Recipient.META) == set()


@pytest.mark.parametrize(
    ("facts", "blocks"), [({"birth_year": "2012"}, True), ({"protected": "1"}, True), ({"status": "closed"}, False)]
)
def test_an_address_shared_with_a_minor_or_protected(facts: dict[str, str | None], blocks: bool) -> None:
    ours, theirs = account(email="anna@gmail.com"), account("a2", email="an.na@googlemail.com", controller_id="c2")
    expected = {"address_shared_with_blocked"} if blocks else set()
    assert ask(accounts=(ours, theirs | facts)) == expected
    assert ask(accounts=(ours, theirs | facts), recipient=Recipient.META) == expected
    assert ask(accounts=(account(email="x@gmail.com"), theirs | facts)) == set()


@pytest.mark.parametrize(
    ("question", "read"),
    [
        ({"consents": ()}, False),
        ({"consents": (GRANT | {"purpose": "web_behaviour"},)}, False),
        ({"consents": (consent("w", "withdraw", purpose="newsletter"),)}, False),
        ({"consents": (), "rights": (right("l", "lift_objection"), right("u", "unrestrict"), right("c", "close"))}, False),
        ({"consents": (GRANT | {"controller_id": None, "recipient": None, "confirmed": None},)}, True),
        ({"consents": (consent("w", "withdraw", purpose="order_analysis"),)}, True),
        ({"consents": (consent("w", "withdraw", purpose="nn"),)}, True),
        *[({"consents": (), "rights": (right("r", action, purpose=None),)}, True) for action in ("object", "restrict", "erase")],
        ({"consents": (), "accounts": (account(email=None, birth_year="2015"),)}, True),
        ({"consents": (), "accounts": (account(email=None, protected="1"),)}, True),
    ],
)
def test_minimal_reading_asks_nothing_of_an_address_that_it_may_not_read(question: dict[str, Any], read: bool) -> None:
    reasons = ask(**({"accounts": (account(email=None, email_source="import", email_verified_at=None),)} | question))
    assert ("address_invalid" in reasons) is read
    assert any(reason.startswith("address_") for reason in reasons) is read


def test_a_no_elsewhere_does_not_reach_an_address_that_was_not_read() -> None:
    accounts = (account(), account("a2", email="a1@post.se"))
    said = (right("r", "restrict", "a2"), right("o", "object", None, email="a1@post.se"))
    assert ask(accounts=accounts, consents=(), rights=said) == {"consent_missing"}
    assert ask(accounts=accounts, rights=said) == {"restricted", "objected"}


@pytest.mark.parametrize(
    ("changes", "uses", "reasons"),
    [
        ({"oldest_site_at": "2026-10-23T02:30:00Z"}, "site", set()),  # thirty days
        ({"oldest_site_at": "2026-10-23T02:29:59.999999Z"}, "site", {"lookback_exceeded"}),
        ({"oldest_order_at": "2024-11-22T02:30:00Z"}, "orders", set()),
        ({"oldest_order_at": "2024-11-22T02:29:59.999999Z"}, "orders", {"lookback_exceeded"}),
        ({"oldest_order_at": "2020-01-01T00:00:00Z"}, "", {"lookback_exceeded"}),
        ({"oldest_site_at": None}, "site", {"malformed"}),
        ({"oldest_site_at": None}, "orders", set()),
        ({"oldest_order_at": "2026-05-01"}, "orders", {"malformed"}),
        ({"oldest_order_at": None}, "site", set()),
        ({"consented_when_collected": "0"}, "site", {"behaviour_consent_missing"}),
        ({"consented_when_collected": None}, "site", {"behaviour_consent_missing"}),
        ({"consented_when_collected": "0"}, "orders", set()),
    ],
)
def test_the_segment(changes: dict[str, str | None], uses: str, reasons: set[str]) -> None:
    assert ask(consents=(GRANT, VISITS), members=(member() | changes,), uses=uses) == reasons


@pytest.mark.parametrize(
    ("grant", "stands"),
    [
        ({}, True),
        ({"recipient": None}, True),
        ({"text_version": "t_cookies"}, True),
        ({"text_version": "t_c2"}, False),
        ({"controller_id": "c2"}, False),
        ({"account_id": "a2"}, False),
        ({"confirmed": "0"}, False),
        ({"source": "signup"}, False),
        ({"purpose": "enhanced_conversions"}, False),
        ({"occurred_at": "2025-11-22T02:30:00Z"}, False),  # twelve months
        ({"occurred_at": "2025-11-22T02:30:00.000001Z"}, True),
    ],
)
def test_visits_need_a_cookie_consent_that_stands(grant: dict[str, str | None], stands: bool) -> None:
    assert ask(consents=(GRANT, VISITS | grant), uses="site") == (set() if stands else {"behaviour_consent_missing"})


def test_a_refusal_of_cookies_ends_the_consent_to_visits() -> None:
    late = {"occurred_at": "2026-07-01T10:00:00Z", "recorded_at": "2026-07-01T10:00:00Z"}
    refused = consent("n", "withdraw", purpose="web_behaviour", recipient="meta", **late)
    granted = GRANT | {"occurred_at": "2026-08-01T10:00:00Z", "recorded_at": "2026-08-01T10:00:00Z"}
    assert ask(consents=(granted, VISITS, refused), uses="site") == {"behaviour_consent_missing"}
    assert ask(consents=(granted, VISITS, refused | {"purpose": "nn"}), uses="site") == {"behaviour_consent_missing"}
    assert ask(consents=(granted, VISITS, refused | {"purpose": "enhanced_conversions"}), uses="site") == set()
    assert ask(consents=(granted, VISITS, refused), uses="site", cookies_block=False) == {"behaviour_consent_missing"}
    assert ask(consents=(granted, VISITS, VISITS | granted | {"event_id": "v2"}, refused)) == set()


@pytest.mark.parametrize(
    ("follower", "malformed"),
    [
        (None, True),
        ({}, False),
        ({"recorded_at": "2026-07-01T10:00:00Z"}, True),  # at the same time
        ({"source": "prefs_app"}, True),
        ({"account_id": "a2"}, True),
        ({"action": "nn"}, True),
        ({"recorded_at": None}, True),
        ({"purpose": "newsletter", "action": "withdraw"}, False),
        ({"occurred_at": None, "confirmed": None}, False),
    ],
)
def test_an_unknown_action_is_malformed_until_a_sound_event_follows(
    follower: dict[str, str | None] | None, malformed: bool
) -> None:
    odd = consent("n", "revoke", recorded_at="2026-07-01T10:00:00Z")
    after = consent("f", recorded_at="2026-07-01T10:00:01Z")
    events = (GRANT, odd) if follower is None else (GRANT, odd, after | follower)
    assert ask(consents=events) == ({"malformed"} if malformed else set())


def test_an_unknown_action_without_source_stays_malformed() -> None:
    odd, after = consent("n", "revoke", source=None), consent("f", recorded_at="2026-07-01T10:00:01Z", source=None)
    assert ask(consents=(GRANT, odd, after)) == {"malformed"}


def test_an_unknown_action_of_the_other_view_needs_a_follower_of_its_own_view() -> None:
    odd = right("n", None, source="prefs")
    after = consent("f", recorded_at="2026-07-01T10:00:01Z")
    assert ask(consents=(GRANT, after), rights=(odd,)) == {"malformed"}
    assert ask(rights=(odd, right("u", "unrestrict", source="prefs", recorded_at="2026-07-01T10:00:01Z"))) == set()
    assert ask(consents=(GRANT, consent("n", "object"))) == {"malformed"}
    assert ask(rights=(right("n", None, None, email="a1@post.se"),)) == set()


def test_two_rows_of_one_account_are_malformed_and_their_noes_count() -> None:
    assert ask(accounts=(account(), account())) == {"malformed"}
    for no, reason in (
        ({"status": "closed"}, "account_closed"),
        ({"protected": "1"}, "protected"),
        ({"birth_year": "2012"}, "minor"),
    ):
        for rows in (account(), account() | no), (account() | no, account()):
            assert ask(accounts=rows) == {"malformed", reason}
    # Other facts are those of the row that sorts first: here by its country.
    assert ask(accounts=(account(), account(country="NO", test_or_staff="1"))) == {
        "malformed",
        "country_out_of_scope",
        "test_or_staff",
    }
    assert ask(accounts=(account(), account(country="SF", test_or_staff="1"))) == {"malformed"}


def test_candidates_are_the_members_of_this_segment_at_this_controller() -> None:
    members = (
        *(member("a1"), member("a1"), member("a2", controller_id="c2"), member("a3", segment_code="s2"), member(None)),
        *(member("a4"), member("a4", oldest_order_at="2020-01-01T00:00:00Z")),
    )
    world = World((account(), account("a4")), (GRANT, consent("g4", account_id="a4")), (), members)
    question = audience(C1, Recipient.GOOGLE, uses_orders=True, uses_site=False)
    answer = decide(world, RULES, question, NOW)
    assert answer == {"a1": frozenset(), "a4": frozenset({Reason.LOOKBACK_EXCEEDED})}
    assert funnel(answer).candidates == 2


def test_the_funnel_counts_primary_reasons() -> None:
    decisions: dict[str, frozenset[Reason]] = {
        "1": frozenset(),
        "2": frozenset({Reason.MALFORMED, Reason.CONSENT_MISSING}),
        "3": frozenset({Reason.CONSENT_MISSING, Reason.OBJECTED}),
        "4": frozenset({Reason.CONSENT_MISSING}),
    }
    answer = funnel(decisions)
    assert (answer.candidates, answer.eligible, answer.refused) == (4, 1, {"consent_missing": 2, "objected": 1})


def test_the_year_of_a_minor_is_the_year_in_utc() -> None:
    question: dict[str, Any] = {"accounts": (account(birth_year="2008"),), "members": (member(oldest_site_at=None),)}
    assert ask(**question, now=datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)) == {"minor"}
    assert ask(**question, now=datetime(2027, 1, 1, tzinfo=UTC)) == set()
