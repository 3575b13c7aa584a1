"""Rights in the reference against answers worked out by hand from the rules: rules 7 and 9, and what a vanished account keeps."""

from typing import Any

import pytest

from nestaudience.vocabulary import Recipient

from .asking import GRANT, ask
from .rows import Row, account, consent, member, right

TWINS = (account(), account("a2", email="A1@post.se", controller_id="c2"))


def at(clock: str, row: Row) -> Row:
    return row | {"occurred_at": f"2026-06-01T{clock}:00Z", "recorded_at": f"2026-06-01T{clock}:00Z"}


OBJECTION = at("12:00", right("o", "object", source="comm"))
LIFT = at("13:00", right("l", "lift_objection", source="prefs", case_id=None))
AFTER = at("13:00", consent("y"))


@pytest.mark.parametrize("recipient", list(Recipient))
@pytest.mark.parametrize("purpose", ["ad_matching", "*", "nn", None])
def test_an_objection_holds_for_both_recipients_and_every_account_of_the_address(
    recipient: Recipient, purpose: str | None
) -> None:
    said = OBJECTION | {"account_id": "a2", "purpose": purpose, "controller_id": "c3"}
    assert ask(accounts=TWINS, rights=(said,), recipient=recipient, withdrawals_group_wide=False) == {"objected"}


def test_an_objection_to_analysis_only_matters_to_segments_of_orders() -> None:
    said = OBJECTION | {"purpose": "order_analysis"}
    assert ask(rights=(said,)) == set()
    assert ask(rights=(said,), uses="orders") == {"analysis_objected"}
    assert ask(rights=(OBJECTION,), uses="orders") == {"objected", "analysis_objected"}
    assert ask(rights=(OBJECTION | {"purpose": "ad_matching"},), uses="orders") == {"objected"}
    withdrawn = at("12:00", consent("w", "withdraw", purpose="order_analysis", controller_id="c2"))
    assert ask(consents=(GRANT, withdrawn), uses="orders", withdrawals_group_wide=False) == {"analysis_objected"}


@pytest.mark.parametrize(
    ("lift", "grant", "lifted"),
    [
        ({}, {}, True),
        ({"source": "case", "case_id": "K-1"}, {}, True),
        ({"source": "dsr", "case_id": "K-1"}, {"source": "case"}, True),
        ({"source": "case", "case_id": None}, {}, False),
        ({"source": "case", "case_id": ""}, {}, False),
        ({"source": "checkout", "case_id": "K-1"}, {}, False),
        ({"source": "mystery", "case_id": "K-1"}, {}, False),
        ({"purpose": "ad_matching"}, {}, True),
        ({"purpose": "order_analysis"}, {}, False),
        ({"purpose": "nn"}, {}, False),
        ({"account_id": "a2"}, {}, False),
        ({"controller_id": "c2"}, {}, False),
        ({"occurred_at": None}, {}, False),
        ({"occurred_at": "2026-06-01T12:05:00Z"}, {}, False),
        ({"occurred_at": "2026-06-01T12:06:00Z"}, {}, True),
        ({}, {"source": "checkout"}, False),
        ({}, {"source": "banner"}, False),
        ({}, {"confirmed": "0"}, False),
        ({}, {"text_version": "t_c2"}, False),
        ({}, {"occurred_at": "2026-06-01T12:59:59Z"}, False),  # earlier than the lift on one clock
        ({"occurred_at": "2026-06-01T12:59:00Z"}, {"occurred_at": "2026-06-01T12:59:00Z"}, True),
        ({"recorded_at": "2026-06-01T13:00:01Z"}, {}, False),
        ({"recorded_at": "2026-06-01T13:00:01Z"}, {"recorded_at": "2026-06-01T14:00:00Z"}, True),
    ],
)
def test_rule_9_a_lift_and_a_grant_from_the_right_place_end_an_objection(
    lift: dict[str, str | None], grant: dict[str, str | None], lifted: bool
) -> None:
    answer = ask(accounts=TWINS, consents=(GRANT, AFTER | grant), rights=(OBJECTION, LIFT | lift))
    assert answer == (set() if lifted else {"objected"})


def test_rule_9_a_lift_alone_or_a_grant_alone_is_not_enough() -> None:
    assert ask(consents=(GRANT, AFTER), rights=(OBJECTION,)) == {"objected"}
    assert ask(rights=(OBJECTION, LIFT)) == {"objected"}


def test_rule_9_the_grant_must_beat_the_objection_itself() -> None:
    # By the sequence the grant is the older one, though it is not earlier than the lift.
    said = OBJECTION | {"source": "prefs", "source_seq": "7"}
    assert ask(consents=(AFTER | {"source_seq": "6"},), rights=(said, LIFT | {"source_seq": "8"})) == {"objected"}
    assert ask(consents=(AFTER | {"source_seq": "9"},), rights=(said, LIFT | {"source_seq": "8"})) == set()
    assert ask(consents=(AFTER | {"source_seq": "9"},), rights=(said, LIFT | {"source_seq": "7"})) == {"objected"}


def test_rule_9_a_lift_works_for_the_account_at_which_it_is_given() -> None:
    there = OBJECTION | {"account_id": "a2", "controller_id": "c2"}
    assert ask(accounts=TWINS, consents=(AFTER,), rights=(there, LIFT)) == set()
    theirs = LIFT | {"account_id": "a2"}
    assert ask(accounts=TWINS, consents=(AFTER,), rights=(there, theirs)) == {"objected"}


def test_rule_9_each_objection_needs_its_own_lift_and_grant() -> None:
    again = at("18:00", OBJECTION | {"event_id": "o2"})
    assert ask(consents=(AFTER,), rights=(OBJECTION, LIFT, again)) == {"objected"}
    later = (at("19:00", LIFT | {"event_id": "l2"}), at("19:00", consent("y2")))
    assert ask(consents=(AFTER, later[1]), rights=(OBJECTION, LIFT, again, later[0])) == set()


def test_rule_9_an_expired_grant_still_lifts() -> None:
    def in_2024(row: Row) -> Row:
        return row | {clock: str(row[clock]).replace("2026", "2024") for clock in ("occurred_at", "recorded_at")}

    assert ask(consents=(in_2024(AFTER),), rights=(in_2024(OBJECTION), in_2024(LIFT))) == {"consent_expired"}


def test_rule_9_analysis_needs_only_the_lift() -> None:
    said = OBJECTION | {"purpose": "order_analysis"}
    assert ask(rights=(said, LIFT), uses="orders") == set()
    assert ask(rights=(said, LIFT | {"purpose": "order_analysis"}), uses="orders") == set()
    assert ask(rights=(said, LIFT | {"purpose": "ad_matching"}), uses="orders") == {"analysis_objected"}
    assert ask(rights=(said, LIFT | {"source": "checkout"}), uses="orders") == {"analysis_objected"}
    withdrawn = consent("w", "withdraw", purpose="order_analysis", source="prefs", source_seq="3")
    assert ask(consents=(GRANT, withdrawn), rights=(LIFT | {"source_seq": "3"},), uses="orders") == {"analysis_objected"}
    assert ask(consents=(GRANT, withdrawn), rights=(LIFT | {"source_seq": "4"},), uses="orders") == set()


@pytest.mark.parametrize(
    ("end", "ended"),
    [
        ({}, True),
        ({"controller_id": "c3", "source": "mystery", "case_id": None, "purpose": None}, True),
        ({"account_id": "a2"}, False),
        ({"occurred_at": "2026-06-01T12:05:00Z"}, False),
        ({"recorded_at": "2026-06-01T12:00:00Z"}, False),
        ({"recorded_at": None}, False),
        ({"action": "lift_objection"}, False),
    ],
)
def test_rule_9_a_restriction_ends_on_the_same_account(end: dict[str, str | None], ended: bool) -> None:
    restriction = at("12:00", right("r", "restrict", purpose="order_analysis", source="comm"))
    lifted = at("13:00", right("u", "unrestrict", source="prefs")) | end
    assert ask(accounts=TWINS, rights=(restriction,)) == {"restricted"}
    assert ask(accounts=TWINS, rights=(restriction | {"account_id": "a2"},)) == {"restricted"}
    assert ask(accounts=TWINS, rights=(restriction, lifted)) == (set() if ended else {"restricted"})


def test_rule_1_a_missing_source_is_no_common_source() -> None:
    restriction, end = at("12:00", right("r", "restrict", source=None)), at("12:04", right("u", "unrestrict", source=None))
    assert ask(rights=(restriction, end)) == {"restricted"}
    assert ask(rights=(restriction | {"source": "comm"}, end | {"source": "comm"})) == set()


def test_a_restriction_without_account_ends_without_account() -> None:
    restriction = at("12:00", right("r", "restrict", None, email=" A1@post.se"))
    end = at("12:01", right("u", "unrestrict", None, email="a1@POST.se"))
    assert ask(rights=(restriction,)) == {"restricted"}
    assert ask(rights=(restriction, end)) == set()  # the same source and controller: no skew
    assert ask(rights=(restriction, end | {"email": "a2@post.se"})) == {"restricted"}
    assert ask(rights=(restriction, at("14:00", right("u", "unrestrict")))) == {"restricted"}
    assert ask(rights=(at("12:00", right("r", "restrict")), at("14:00", end))) == {"restricted"}
    assert ask(rights=(right("r", "restrict", None, email="a1"),)) == set()  # no address, nobody


@pytest.mark.parametrize("action", ["object", "restrict", "erase"])
def test_an_event_without_account_reaches_its_address(action: str) -> None:
    word = {"object": "objected", "restrict": "restricted", "erase": "erasure"}[action]
    event = right("r", action, None, email="an.na+x@googlemail.com")
    assert ask(accounts=(account(email="anna@gmail.com"),), rights=(event,)) == {word}
    assert ask(rights=(event,)) == set()
    assert ask(rights=(right("r", action, "gone"),)) == set()


@pytest.mark.parametrize("action", ["close", "lift_objection"])
def test_closing_and_lifting_need_an_account(action: str) -> None:
    rights = (OBJECTION, right("r", action, None, email="a1@post.se", occurred_at=LIFT["occurred_at"], source="prefs"))
    assert ask(consents=(AFTER,), rights=rights) == {"objected"}


@pytest.mark.parametrize(
    ("created", "clocks", "erased"),
    [
        ("2026-06-01T10:00:00Z", {}, True),
        ("2026-06-01T10:00:00.000001Z", {}, False),
        ("2026-06-01T10:00:00.000001Z", {"recorded_at": "2026-06-02T10:00:00Z"}, True),
        ("2026-06-01T10:00:00.000001Z", {"occurred_at": "2026-06-02T10:00:00Z"}, False),  # not said after it was recorded
        ("2026-06-02T10:00:00Z", {"occurred_at": None}, False),
        ("2026-06-02T10:00:00Z", {"recorded_at": None}, True),
    ],
)
@pytest.mark.parametrize("account_id", ["a1", "a2", None])
def test_rule_9_an_erasure_refuses_every_account_not_created_later(
    created: str, clocks: dict[str, str | None], erased: bool, account_id: str | None
) -> None:
    accounts = (account(created_at=created), TWINS[1])
    event = right("r", "erase", account_id, email=None if account_id else "a1@post.se", purpose="order_analysis") | clocks
    assert ask(accounts=accounts, rights=(event,)) == ({"erasure"} if erased else set())


def test_an_account_of_unknown_age_is_erased_too() -> None:
    assert ask(accounts=(account(created_at=None),), rights=(right("r", "erase"),)) == {"erasure", "malformed"}


def test_a_closure_stays_on_its_own_account() -> None:
    assert ask(accounts=TWINS, rights=(right("r", "close"),)) == {"account_closed"}
    assert ask(accounts=TWINS, rights=(right("r", "close", "a2"),)) == set()


def test_one_event_id_with_two_contents_ends_and_lifts_nothing() -> None:
    assert ask(consents=(AFTER,), rights=(OBJECTION, LIFT, LIFT | {"case_id": "K-9"})) == {"objected"}
    restriction, end = at("12:00", right("r", "restrict")), at("13:00", right("u", "unrestrict"))
    assert ask(rights=(restriction, end, end | {"purpose": None})) == {"restricted"}
    assert ask(rights=(restriction, restriction | {"purpose": None}, at("13:00", end))) == set()


def test_a_vanished_account_keeps_what_its_own_events_say() -> None:
    twin = account("a2", email="gone@post.se", protected="1")
    members = (member("gone", oldest_order_at=None, consented_when_collected="0"),)
    question: dict[str, Any] = {"accounts": (twin,), "members": members, "account_id": "gone", "uses": "site orders"}
    assert ask(**question) == {"vanished", "consent_missing"}
    assert ask(**question, consents=(consent("g", account_id="gone"),)) == {"vanished"}
    said = (consent("w", "withdraw", "gone", purpose="enhanced_conversions"), consent("x", "withdraw", "a2"))
    assert ask(**question, consents=said) == {"vanished", "consent_missing", "cookies_refused"}
    rights = tuple(right(action, action, "gone") for action in ("object", "restrict", "erase", "close", "nn"))
    expected = {"vanished", "consent_missing", "objected", "analysis_objected", "restricted", "erasure", "account_closed"}
    assert ask(**question, rights=rights) == expected
