"""Consent in the reference against answers worked out by hand from the rules: rules 1-8 and 12."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nestaudience.vocabulary import Recipient

from .asking import GRANT, NOW, ask
from .rows import Row, account, consent

AT = "2026-06-01T{}Z"


def no(event_id: str | None = "n", **changes: str | None) -> Row:
    """A withdrawal at noon, given elsewhere than grants usually are."""
    clocks = {"occurred_at": AT.format("12:00:00"), "recorded_at": AT.format("12:00:00")}
    return consent(event_id, "withdraw", **({"source": "comm"} | clocks | changes))


def yes(occurred: str, recorded: str | None = None, **changes: str | None) -> Row:
    return consent("y", "grant", occurred_at=AT.format(occurred), recorded_at=AT.format(recorded or occurred), **changes)


def test_one_sound_grant_is_eligible_at_both_recipients() -> None:
    assert ask() == set()
    assert ask(recipient=Recipient.META) == set()


@pytest.mark.parametrize(
    ("grant", "eligible"),
    [
        (yes("12:05:00"), False),  # by exactly the skew: not more than it
        (yes("12:05:00.000001"), True),
        (yes("12:06:00", "12:01:00"), True),
        (yes("11:59:00", "13:00:00"), False),
        (yes("12:00:01", source="comm"), True),  # the same source and controller: no skew
        (yes("12:00:00", source="comm"), False),
        (yes("12:00:01", "12:00:00", source="comm"), False),
    ],
)
def test_rule_1_a_grant_must_be_later_on_both_clocks(grant: Row, eligible: bool) -> None:
    assert ask(consents=(no(), grant)) == (set() if eligible else {"consent_withdrawn"})


@pytest.mark.parametrize(
    ("source", "controller", "grant_seq", "no_seq", "eligible"),
    [
        ("comm", "c1", "10", "9", True),  # as numbers, not as text; the clocks do not matter
        ("comm", "c1", "9", "9", False),
        ("comm", "c1", "9", None, False),
        ("comm", "c1", "9", "x", False),
        ("prefs", "c1", "10", "9", False),
        ("comm", "c2", "10", "9", False),
    ],
)
def test_rule_1_a_sequence_decides_alone_within_one_source_and_controller(
    source: str, controller: str, grant_seq: str, no_seq: str | None, eligible: bool
) -> None:
    grant = yes("11:00:00", source=source, source_seq=grant_seq)
    answer = ask(consents=(grant, no(source_seq=no_seq, controller_id=controller)))
    assert answer == (set() if eligible else {"consent_withdrawn"})


def test_rule_1_a_sequence_orders_a_lower_later_grant_behind_the_no() -> None:
    assert ask(consents=(yes("15:00:00", source="comm", source_seq="1"), no(source_seq="2"))) == {"consent_withdrawn"}


def test_rule_1_the_second_clock_ties_too() -> None:
    said = no(occurred_at=AT.format("11:50:00"))
    assert ask(consents=(said, yes("12:00:00"))) == {"consent_withdrawn"}
    assert ask(consents=(said, yes("12:00:00", "12:00:00.000001"))) == set()


def test_rule_1_two_raw_names_of_one_source_are_two_sources() -> None:
    assert ask(consents=(yes("12:00:01", source="prefs_app"), no(source="prefs"))) == {"consent_withdrawn"}
    assert ask(consents=(yes("12:00:01", source="prefs"), no(source="prefs"))) == set()


def test_rule_2_one_grant_must_beat_every_no_alone() -> None:
    # The first grant beats the one no by its sequence, the second the other one by its clocks; neither beats both.
    first = consent("y1", occurred_at=AT.format("08:00:00"), recorded_at=AT.format("08:00:00"), source="comm", source_seq="5")
    second = consent("y2", occurred_at=AT.format("13:00:00"), recorded_at=AT.format("13:00:00"), source="comm", source_seq="1")
    noes = (no("n1", source_seq="4"), no("n2", source="case"))
    assert ask(consents=(first, noes[0])) == set()
    assert ask(consents=(second, noes[1])) == set()
    assert ask(consents=(first, second, *noes)) == {"consent_withdrawn"}


@pytest.mark.parametrize(
    ("clocks", "eligible"),
    [
        ({"occurred_at": AT.format("20:00:00")}, True),  # said after it was recorded: 12:00 counts
        ({"occurred_at": AT.format("08:00:00"), "recorded_at": AT.format("14:00:00")}, False),
        ({"occurred_at": None}, True),
        ({"occurred_at": "2026-06-01T08:00:00"}, True),
        ({"recorded_at": None}, False),  # nobody knows when it reached us
        ({"occurred_at": None, "recorded_at": "x"}, False),
    ],
)
def test_rule_3_the_time_of_a_no(clocks: dict[str, str | None], eligible: bool) -> None:
    assert ask(consents=(no(**clocks), yes("12:30:00"))) == (set() if eligible else {"consent_withdrawn"})


@pytest.mark.parametrize(
    ("changes", "usable"),
    [
        ({"occurred_at": None}, False),
        ({"recorded_at": None}, False),
        ({"occurred_at": "2026-06-01T10:00:00"}, False),
        ({"occurred_at": "2026-06-01T10:00:00+02:00"}, False),
        ({"occurred_at": "2026-06-01 10:00:00.5+00:00", "recorded_at": "2026-06-01T10:00:01Z"}, True),
        ({"occurred_at": "2026-06-01T10:05:00Z"}, True),  # five minutes after it was recorded
        ({"occurred_at": "2026-06-01T10:05:00.000001Z"}, False),
        ({"occurred_at": "2026-11-22T02:35:00Z", "recorded_at": "2026-11-22T02:35:00Z"}, True),
        ({"occurred_at": "2026-11-22T02:35:00.000001Z", "recorded_at": "2026-11-22T02:35:00Z"}, False),
        ({"occurred_at": "2026-11-22T02:35:00Z", "recorded_at": "2026-11-22T02:35:00.000001Z"}, False),
        ({"confirmed": "0"}, False),
        ({"confirmed": None}, False),
        ({"confirmed": "true"}, False),
        ({"source": "signup"}, False),
        ({"source": "letter"}, False),
        ({"source": "mystery"}, False),
        ({"source": None}, False),
        ({"source": "import"}, True),
        ({"source_seq": "x"}, True),
    ],
)
def test_rules_4_and_5_what_makes_a_grant_unusable(changes: dict[str, str | None], usable: bool) -> None:
    assert ask(consents=(GRANT | changes,)) == (set() if usable else {"consent_unusable"})


@pytest.mark.parametrize(
    ("text", "google", "meta"),
    [
        ("t1", set(), set()),
        ("t_google", set(), {"consent_text_insufficient"}),
        ("t_signal", {"consent_text_insufficient"}, set()),
        ("t_c2", {"consent_text_insufficient"}, {"consent_text_insufficient"}),
        ("t_cookies", {"consent_text_insufficient"}, {"consent_text_insufficient"}),
        ("t_late", {"consent_text_insufficient"}, {"consent_text_insufficient"}),
        ("t_gone", {"consent_text_insufficient"}, {"consent_text_insufficient"}),
        (None, {"consent_text_insufficient"}, {"consent_text_insufficient"}),
    ],
)
def test_rule_5_the_text_must_cover_the_use(text: str | None, google: set[str], meta: set[str]) -> None:
    named = {
        recipient: ask(consents=(consent("g", recipient=recipient.value, text_version=text),), recipient=recipient)
        for recipient in Recipient
    }
    assert named == {Recipient.GOOGLE: google, Recipient.META: meta}


def test_rule_5_a_text_is_in_force_from_its_first_moment_on() -> None:
    start = "2026-11-02T02:30:00Z"  # `t_late`: twenty days before now
    assert ask(consents=(consent("g", text_version="t_late", occurred_at=start, recorded_at=start),)) == set()
    early = consent("g", text_version="t_late", occurred_at="2026-11-02T02:29:59.999999Z", recorded_at=start)
    assert ask(consents=(early,)) == {"consent_text_insufficient"}


@pytest.mark.parametrize(
    ("changes", "google", "meta"),
    [
        ({"recipient": "google"}, set(), {"consent_other_scope"}),
        ({"recipient": "tiktok"}, {"consent_other_scope"}, {"consent_other_scope"}),
        ({"recipient": None}, {"consent_other_scope"}, {"consent_other_scope"}),
        ({"controller_id": "c2"}, {"consent_other_scope"}, {"consent_other_scope"}),
        ({"controller_id": None}, {"consent_other_scope"}, {"consent_other_scope"}),
        ({"text_version": "t_google"}, set(), {"consent_other_scope"}),  # `*` is whom the text named
        ({"purpose": "web_behaviour"}, {"consent_missing"}, {"consent_missing"}),
        ({"purpose": "newsletter"}, {"consent_missing"}, {"consent_missing"}),
        ({"purpose": None}, {"consent_missing"}, {"consent_missing"}),
        ({"account_id": "a2"}, {"consent_missing"}, {"consent_missing"}),
        ({"account_id": None}, {"consent_missing"}, {"consent_missing"}),
    ],
)
def test_rule_6_a_grant_holds_for_exactly_its_scope(changes: dict[str, str | None], google: set[str], meta: set[str]) -> None:
    accounts = (account(), account("a2", email="a1@post.se"))
    answers = [ask(accounts=accounts, consents=(GRANT | changes,), recipient=recipient) for recipient in Recipient]
    assert answers == [google, meta]


def test_the_step_that_leaves_no_grant_gives_the_one_code() -> None:
    elsewhere, unconfirmed = consent("1", controller_id="c2"), consent("2", confirmed="0")
    untold = consent("3", text_version="t_gone")
    old = consent("4", occurred_at="2024-11-22T02:30:00Z", recorded_at="2024-11-22T02:30:00Z")
    assert ask(consents=()) == {"consent_missing"}
    assert ask(consents=(elsewhere,)) == {"consent_other_scope"}
    assert ask(consents=(elsewhere, unconfirmed)) == {"consent_unusable"}
    assert ask(consents=(elsewhere, unconfirmed, untold)) == {"consent_text_insufficient"}
    assert ask(consents=(elsewhere, unconfirmed, untold, old)) == {"consent_expired"}
    assert ask(consents=(elsewhere, unconfirmed, untold, old, GRANT)) == set()


@pytest.mark.parametrize(
    ("changes", "google", "meta"),
    [
        ({"recipient": "google"}, True, False),
        ({"recipient": "*"}, True, True),
        ({"recipient": "tiktok"}, True, True),
        ({"recipient": None}, True, True),
        ({"controller_id": "c2"}, True, True),
        ({"controller_id": None}, True, True),
        ({"source": "mystery"}, True, True),
        ({"confirmed": "0", "text_version": None}, True, True),
    ],
)
def test_rule_7_a_withdrawal_is_wide(changes: dict[str, str | None], google: bool, meta: bool) -> None:
    answers = [ask(consents=(GRANT, no(**changes)), recipient=recipient) for recipient in Recipient]
    assert answers == [{"consent_withdrawn"} if said else set() for said in (google, meta)]


def test_rule_7_a_no_reaches_the_same_address_at_every_controller() -> None:
    ours = account(email="anna.b@gmail.com")
    same = account("a2", email="AnnaB+x@googlemail.com", controller_id="c2")
    other = account("a2", email="annab@post.se")
    said = no(account_id="a2", controller_id="c2")
    assert ask(accounts=(ours, same), consents=(GRANT, said)) == {"consent_withdrawn"}
    assert ask(accounts=(ours, other), consents=(GRANT, said)) == set()
    # Between two accounts neither the sequence nor the missing skew helps.
    late = yes("12:00:01", source="comm", source_seq="9")
    assert ask(accounts=(ours, same), consents=(late, no(account_id="a2", source_seq="1"))) == {"consent_withdrawn"}
    assert ask(accounts=(ours, same), consents=(yes("12:06:00"), no(account_id="a2"))) == set()


def test_rule_7_config_may_narrow_withdrawals_to_the_events_controller() -> None:
    twin = (account(), account("a2", email="a1@post.se", controller_id="c2"))
    here, there = no(account_id="a2", controller_id="c1"), no(account_id="a2", controller_id="c2")
    assert ask(accounts=twin, consents=(GRANT, here), withdrawals_group_wide=False) == {"consent_withdrawn"}
    assert ask(accounts=twin, consents=(GRANT, there), withdrawals_group_wide=False) == set()
    assert ask(consents=(GRANT, no(controller_id="c2")), withdrawals_group_wide=False) == set()
    nowhere = ask(accounts=(account(controller_id=None),), consents=(GRANT, no(controller_id=None)), withdrawals_group_wide=False)
    assert nowhere == {"malformed", "consent_withdrawn"}


def test_rule_7_a_withdrawal_that_names_no_company_is_not_narrowed() -> None:
    twin = (account(), account("a2", email="a1@post.se", controller_id="c2"))
    assert ask(consents=(GRANT, no(controller_id=None)), withdrawals_group_wide=False) == {"consent_withdrawn"}
    there = no(account_id="a2", controller_id=None)
    assert ask(accounts=twin, consents=(GRANT, there), withdrawals_group_wide=False) == {"consent_withdrawn"}


def test_rule_7_an_invalid_address_still_has_its_own_noes() -> None:
    assert ask(accounts=(account(email=None),), consents=(GRANT, no())) == {"consent_withdrawn", "address_invalid"}


@pytest.mark.parametrize("purpose", ["web_behaviour", "enhanced_conversions"])
def test_rule_8_refused_cookies_block_until_granted_again(purpose: str) -> None:
    refused = no(purpose=purpose, recipient="meta")
    again = yes("13:00:00", purpose=purpose, recipient="meta")
    other = "enhanced_conversions" if purpose == "web_behaviour" else "web_behaviour"
    blocked = {"cookies_refused"}
    assert ask(consents=(GRANT, refused)) == blocked
    assert ask(consents=(GRANT, refused), cookies_block=False) == set()
    assert ask(consents=(GRANT, refused, again)) == set()
    assert ask(consents=(yes("13:00:00"), refused)) == set()
    assert ask(consents=(GRANT, refused, again | {"purpose": other})) == blocked
    assert ask(consents=(GRANT, refused, again | {"controller_id": "c2"})) == blocked
    assert ask(consents=(GRANT, refused, again | {"text_version": "t_c2"})) == blocked
    assert ask(consents=(GRANT, refused, again | {"confirmed": "0"})) == blocked


def test_rule_8_an_expired_cookie_grant_still_ends_a_refusal() -> None:
    def at(year: str, row: Row) -> Row:
        return row | {"occurred_at": f"{year}-06-01T10:00:00Z", "recorded_at": f"{year}-06-01T10:00:00Z"}

    old = (consent("g1", purpose="web_behaviour"), no(purpose="web_behaviour"))
    assert ask(consents=(at("2025", GRANT), at("2024", old[1]), at("2025", old[0]))) == set()
    assert ask(consents=(at("2025", GRANT), at("2025", old[1]), at("2024", old[0]))) == {"cookies_refused"}


def test_an_unknown_purpose_withdraws_all_three_consents() -> None:
    unknown = no(purpose="nn")
    assert ask(consents=(GRANT, unknown)) == {"consent_withdrawn", "cookies_refused"}
    assert ask(consents=(GRANT, no(purpose=None))) == {"consent_withdrawn", "cookies_refused"}
    assert ask(consents=(GRANT, no(purpose="nn", recipient="meta"))) == {"cookies_refused"}
    assert ask(consents=(GRANT, unknown, yes("13:00:00", purpose="web_behaviour"))) == {"consent_withdrawn", "cookies_refused"}
    assert ask(consents=(yes("13:00:00"), unknown)) == set()
    assert ask(consents=(GRANT, no(purpose="newsletter"))) == set()
    assert ask(consents=(GRANT, no(purpose="order_analysis"))) == set()


def test_a_grant_may_beat_each_kind_of_no_and_none_both() -> None:
    beats_withdrawal = consent(
        "y1", occurred_at=AT.format("08:00:00"), recorded_at=AT.format("08:00:00"), source="comm", source_seq="5"
    )
    beats_refusal = consent(
        "y2", occurred_at=AT.format("13:00:00"), recorded_at=AT.format("13:00:00"), source="comm", source_seq="1"
    )
    noes = (no("n1", source_seq="4"), no("n2", purpose="web_behaviour", source="banner"))
    assert ask(consents=(beats_withdrawal, beats_refusal, *noes)) == {"cookies_refused"}
    assert ask(consents=(beats_refusal, *noes)) == {"consent_withdrawn"}


def test_a_no_without_any_grant_keeps_both_codes() -> None:
    assert ask(consents=(no(),)) == {"consent_missing", "consent_withdrawn"}


@pytest.mark.parametrize(
    ("occurred", "now", "settings", "expired"),
    [
        ("2024-11-22T02:30:00Z", NOW, {}, True),
        ("2024-11-22T02:30:00.000001Z", NOW, {}, False),
        ("2024-02-29T12:00:00Z", datetime(2026, 2, 28, 12, tzinfo=UTC), {}, True),  # clamped to the month's end
        ("2024-02-29T12:00:00Z", datetime(2026, 2, 28, 11, 59, 59, tzinfo=UTC), {}, False),
        ("2026-07-31T00:00:00Z", datetime(2026, 9, 30, tzinfo=UTC), {"consent_months": 2}, True),
        ("2026-07-31T00:00:00Z", datetime(2026, 9, 29, 23, tzinfo=UTC), {"consent_months": 2}, False),
        ("2025-12-22T02:30:00Z", NOW, {"consent_months": 11}, True),
        ("2025-12-22T02:30:00Z", NOW, {"consent_months": 12}, False),
    ],
)
def test_rule_12_consent_expires_after_calendar_months(
    occurred: str, now: datetime, settings: dict[str, Any], expired: bool
) -> None:
    sure = account(last_active_at="2026-02-01T00:00:00Z")
    answer = ask(accounts=(sure,), consents=(consent("g", occurred_at=occurred, recorded_at=occurred),), now=now, **settings)
    assert answer == ({"consent_expired"} if expired else set())


def test_rule_2_an_expired_grant_that_beats_the_no_gives_expired() -> None:
    def at(moment: str, row: Row) -> Row:
        return row | {"occurred_at": moment, "recorded_at": moment}

    said, granted = at("2024-01-01T10:00:00Z", no()), at("2024-02-01T10:00:00Z", GRANT)
    assert ask(consents=(said, granted)) == {"consent_expired"}
    assert ask(consents=(at("2024-03-01T10:00:00Z", no()), granted)) == {"consent_expired", "consent_withdrawn"}


def test_one_event_id_with_two_contents_keeps_only_its_noes() -> None:
    assert ask(consents=(GRANT, dict(GRANT))) == set()
    assert ask(consents=(GRANT, GRANT | {"source_seq": "1"})) == {"consent_unusable"}
    assert ask(consents=(GRANT, consent("same"), no("same"))) == {"consent_withdrawn"}
    assert ask(consents=(no("same"), yes("13:00:00") | {"event_id": "same"}, GRANT)) == {"consent_withdrawn"}


def test_a_later_skew_setting_moves_the_edge() -> None:
    pair = (no(), yes("12:05:00.000001"))
    assert ask(consents=pair, skew=timedelta(minutes=15)) == {"consent_withdrawn"}
    assert ask(consents=pair, skew=timedelta(minutes=1)) == set()
