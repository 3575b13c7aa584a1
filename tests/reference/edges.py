"""Worlds written by hand: one account for each comparison that the rules make, on its edge, with nothing else the matter.

They are compared before any generated world, so that no comparison depends on luck. They hold no expectations of their own: both implementations
are asked, and must agree. Days are of October 2026; every account is sound, adult and a member of `s1` of `c1` unless its story says otherwise.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from nestaudience.vocabulary import Recipient

from .asking import NOW, RULES
from .rows import Row, World, account, consent, member, right
from .strategies import C1, Case, audience


def at(occurred: float, recorded: float | None = None, micros: int = 0) -> Row:
    """Both clocks on that day, or the second one on another; microseconds go to the first."""

    def spelled(day: float, more: int) -> str:
        moment = NOW.replace(month=10, day=1, hour=0, minute=0) + timedelta(days=day - 1, microseconds=more)
        return moment.isoformat().replace("+00:00", "Z")

    return {"occurred_at": spelled(occurred, micros), "recorded_at": spelled(occurred if recorded is None else recorded, 0)}


SKEW: Final = RULES.skew / timedelta(days=1)
WEB, ORDERS = "web_behaviour", "order_analysis"


def yes(clocks: Row, purpose: str = "ad_matching", **changes: str | None) -> Row:
    return consent(None, "grant", purpose=purpose, **(clocks | changes))


def no(clocks: Row, purpose: str = "ad_matching", **changes: str | None) -> Row:
    return consent(None, "withdraw", purpose=purpose, **({"source": "comm"} | clocks | changes))


def object_(clocks: Row, **changes: str | None) -> Row:
    return right(None, "object", **(clocks | {"source": "comm"} | changes))


def lift(clocks: Row, **changes: str | None) -> Row:
    return right(None, "lift_objection", **(clocks | changes))


EARLY: Final = (yes(at(5)), yes(at(5), WEB))
"""What nearly everybody has."""

CONSENTS: Final[dict[str, tuple[Row, ...]]] = {
    "eligible": (),
    "no_said_after_recorded": (no(at(20, 10)), yes(at(12))),
    "within_skew": (no(at(10)), yes(at(10 + SKEW / 2, 11))),
    "at_skew": (no(at(10)), yes(at(10 + SKEW, 11))),
    "past_skew": (no(at(10)), yes(at(10 + SKEW, 11, 1))),
    "recorded_first": (no(at(10, 12)), yes(at(11, 11.5))),
    "same_sequence": (no(at(10), source="prefs", source_seq="2"), yes(at(12), source_seq="2")),
    "later_sequence": (no(at(10), source="prefs", source_seq="2"), yes(at(9), source_seq="3")),
    "unknown_recipient": (no(at(10), recipient="tiktok"),),
    "one_recipient": (no(at(10), recipient="meta"),),
    "unknown_purpose": (no(at(10), "nn"),),
    "one_of_two_outdone": (no(at(10)), no(at(14)), yes(at(12))),
    "shared_by_sequence": (
        no(at(10), source_seq="2"),
        no(at(10), WEB, source="banner"),
        yes(at(6), source="comm", source_seq="3"),
        yes(at(12), source="comm", source_seq="1"),
    ),
    "shared_by_clocks": (no(at(8, 16)), no(at(12, 13), WEB), yes(at(11, 17)), yes(at(14, 15))),
    "one_grant_for_both": (no(at(8, 16)), no(at(12, 13), WEB), yes(at(14, 17))),
    "two_grants_around_one_no": (no(at(10, 14)), yes(at(12, 13)), yes(at(9, 16))),
    "two_grants_around_the_skew": (no(at(10, 14)), yes(at(10 + SKEW, 14, 1)), yes(at(10 + SKEW, 16))),
    "two_grants_of_two_sources": (no(at(10, 14)), yes(at(12, 13), source="comm"), yes(at(9, 16), source="checkout")),
    "two_grants_with_sequences": (
        no(at(10, 14), source_seq="5"),
        yes(at(12, 13), source="comm", source_seq="4"),
        yes(at(9, 16), source="prefs", source_seq="6"),
    ),
    "two_cookie_grants_around_one_no": (no(at(10, 14), WEB), yes(at(12, 13), WEB), yes(at(9, 16), WEB)),
    "cookies_granted_again": (no(at(10), WEB), yes(at(12), WEB)),
    "other_cookies_granted": (no(at(10), WEB), yes(at(12), "enhanced_conversions")),
    "cookies_outdone_by_matching": (no(at(10), WEB), yes(at(12))),
    "conversions_refused": (no(at(10), "enhanced_conversions"), yes(at(12), WEB)),
}
"""Events of an account that holds both early grants."""

GRANTS: Final[dict[str, tuple[Row, ...]]] = {
    "recorded_before_given": (yes(at(12, 11)),),
    "recorded_at_skew": (yes(at(12 + SKEW, 12)),),
    "unconfirmed": (yes(at(5), confirmed="0"),),
    "text_not_yet_in_force": (yes(at(5), text_version="t_late"),),
    "half_of_the_signals": (yes(at(5), text_version="t_signal"),),
    "other_company": (yes(at(5), controller_id="c2"),),
    "for_google": (yes(at(5), recipient="google"),),
    "text_for_meta": (yes(at(5), text_version="t_meta"),),
    "from_signup": (yes(at(5), source="signup"),),
    "ends_now": (yes({"occurred_at": "2024-11-22T02:30:00Z", "recorded_at": "2024-11-22T02:30:00Z"}),),
    "ends_just_after": (yes({"occurred_at": "2024-11-22T02:30:00.000001Z", "recorded_at": "2024-11-22T02:31:00Z"}),),
    "unclear_action": (
        *EARLY,
        consent(None, "revoke", **at(10)),
        consent(None, "withdraw", purpose="newsletter", **at(10)),
    ),
    "clear_again": (*EARLY, consent(None, "revoke", **at(10)), consent(None, "withdraw", purpose="newsletter", **at(11))),
}
"""All events of an account."""

AGAIN: Final = (*EARLY, yes(at(13)))
RIGHTS: Final[dict[str, tuple[tuple[Row, ...], tuple[Row, ...]]]] = {
    "lifted": (AGAIN, (object_(at(10)), lift(at(12)))),
    "lifted_elsewhere": (AGAIN, (object_(at(10)), lift(at(12), controller_id="c2"))),
    "lifted_by_anybody": (AGAIN, (object_(at(10)), lift(at(12), source="comm"))),
    "lifted_without_case": (AGAIN, (object_(at(10)), lift(at(12), case_id=None))),
    "consent_before_lift": ((*EARLY, yes(at(12))), (object_(at(10)), lift(at(14)))),
    "consent_with_lift": ((*EARLY, yes(at(12))), (object_(at(10)), lift(at(12)))),
    "consent_from_checkout": ((*EARLY, yes(at(13), source="checkout")), (object_(at(10)), lift(at(12)))),
    "two_consents_around_lift": ((*EARLY, yes(at(13, 14)), yes(at(11, 16))), (object_(at(10)), lift(at(12, 15)))),
    "two_consents_around_objection": ((*EARLY, yes(at(13, 13.5)), yes(at(9, 16))), (object_(at(10, 12)), lift(at(12.5)))),
    "two_lifts_around_consent": ((*EARLY, yes(at(13, 13.7))), (object_(at(10)), lift(at(12, 14)), lift(at(13.5)))),
    "two_lifts_around_objection": ((*EARLY, yes(at(17))), (object_(at(10, 14)), lift(at(12, 13)), lift(at(9, 16)))),
    "analysis": (EARLY, (object_(at(10), purpose=ORDERS),)),
    "analysis_lifted": (EARLY, (object_(at(10), purpose=ORDERS), lift(at(12)))),
    "analysis_not_lifted": (EARLY, (object_(at(10), purpose=ORDERS), lift(at(12), purpose="ad_matching"))),
    "erased_between": (EARLY, (right(None, "erase", **at(10, 14)),)),
    "restricted": (EARLY, (right(None, "restrict", **at(10)),)),
    "ended": (EARLY, (right(None, "restrict", **at(10)), right(None, "unrestrict", **at(12)))),
    "closed": (EARLY, (right(None, "close", **at(10)),)),
}
"""Consents and rights of an account."""

FACTS: Final[dict[str, Row]] = {
    "erased_between": {"created_at": at(12)["occurred_at"]},
    "eighteen": {"birth_year": "2008"},
    "nineteen": {"birth_year": "2007"},
    "moved": {"email_changed_at": "2025-01-01T08:00:00.000001Z"},
    "moved_and_verified": {"email_changed_at": "2025-01-01T08:00:00Z"},
    "last_day": {},
    "locked": {"status": "locked"},
}
TWINS: Final[dict[str, tuple[Row, tuple[Row, ...], tuple[Row, ...]]]] = {
    "twin_withdrew": ({}, (no(at(10)),), ()),
    "twin_closed": ({}, EARLY, (right(None, "close", **at(10)),)),
    "twin_restricted": ({}, EARLY, (right(None, "restrict", **at(10)),)),
    "twin_withdrew_elsewhere": ({"controller_id": "c2"}, (no(at(10), controller_id="c2"),), ()),
    "twin_protected": ({"protected": "1"}, EARLY, ()),
}
"""Another account of the same address: its facts, consents and rights."""


def _owned(rows: tuple[Row, ...], owner: str) -> list[Row]:
    return [row | {"account_id": owner} for row in rows]


def _numbered(rows: list[Row]) -> tuple[Row, ...]:
    return tuple(row | {"event_id": row["event_id"] or f"e{number}"} for number, row in enumerate(rows))


def _shown() -> World:
    accounts: list[Row] = []
    consents: list[Row] = []
    rights: list[Row] = []
    stories = {name: ((*EARLY, *rows), ()) for name, rows in CONSENTS.items()}
    stories |= {name: (rows, ()) for name, rows in GRANTS.items()} | RIGHTS
    stories |= {name: (EARLY, ()) for name in (*FACTS, *TWINS) if name not in stories}
    for name, (said, asked) in stories.items():
        accounts.append(account(name, **FACTS.get(name, {})))
        consents += _owned(said, name)
        rights += _owned(asked, name)
    for name, (facts, said, asked) in TWINS.items():
        accounts.append(account(f"other_{name}", email=f"{name}@post.se", **facts))
        consents += _owned(said, f"other_{name}")
        rights += _owned(asked, f"other_{name}")
    for name in ("protected_one", "protected_two"):
        accounts.append(account(name, email="skyddad@post.se", protected="1"))
        consents += _owned(EARLY, name)
    accounts += [account("disputed"), account("stranger")]
    consents += [row | {"account_id": "disputed", "event_id": "twice"} for row in (yes(at(5)), yes(at(6)))]
    rights.append(right(None, "unrestrict", "stranger", **at(12)))
    members = [member(str(row["account_id"])) for row in accounts] + [member("gone", consented_when_collected="0")]
    last = NOW - timedelta(days=RULES.site_lookback_days)
    edge = {"last_day": {"oldest_site_at": last.isoformat().replace("+00:00", "Z")}}
    members = [row | edge.get(str(row["account_id"]), {}) for row in members]
    return World(tuple(accounts), _numbered(consents), _numbered(rights), tuple(members))


SHORT: Final = at(10) | {"source": "comm"}
BEFORE: Final[dict[str, tuple[tuple[Row, ...], tuple[Row, ...]]]] = {
    "withdrew": ((no(at(10)),), ()),
    "withdrew_at_google": ((no(at(10), recipient="google"),), ()),
    "withdrew_within_skew": ((no(at(10)),), ()),
    "withdrew_past_skew": ((no(at(10)),), ()),
    "withdrew_by_sequence": ((no(at(10), source="prefs", source_seq="2"),), ()),
    "withdrew_before_sequence": ((no(at(10), source="prefs", source_seq="2"),), ()),
    "withdrew_without_clock": ((no(dict.fromkeys(("occurred_at", "recorded_at"))),), ()),
    "refused": ((no(at(10), WEB),), ()),
    "refused_and_granted": ((no(at(10), WEB),), ()),
    "objected": ((), (object_(at(10)),)),
    "objected_and_lifted": ((), (object_(at(10)),)),
    "objected_to_analysis": ((), (object_(at(10), purpose=ORDERS),)),
    "objected_twice": ((), (object_(at(9)),)),
    "restricted": ((), (right(None, "restrict", **SHORT),)),
    "restricted_and_ended": ((), (right(None, "restrict", **SHORT),)),
    "erased": ((), (right(None, "erase", **SHORT),)),
    "erased_before_account": ((), (right(None, "erase", **SHORT),)),
    "shared_with_memory": ((no(at(8, 16)),), ()),
    "around_memory": ((no(at(10, 14)),), ()),
}
"""The noes of an earlier night; none of them is shown any more."""
SINCE: Final[dict[str, tuple[tuple[Row, ...], tuple[Row, ...]]]] = {
    "withdrew_within_skew": ((yes(at(10 + SKEW / 2, 11)),), ()),
    "withdrew_past_skew": ((yes(at(10 + SKEW, 11, 1)),), ()),
    "withdrew_by_sequence": ((yes(at(9), source_seq="3"),), ()),
    "withdrew_before_sequence": ((yes(at(12), source_seq="1"),), ()),
    "withdrew_without_clock": ((yes(at(25)),), ()),
    "refused_and_granted": ((yes(at(12), WEB),), ()),
    "objected_and_lifted": ((yes(at(13)),), (lift(at(12)),)),
    "objected_twice": ((), (object_(at(11)),)),
    "restricted_and_ended": ((), (right(None, "unrestrict", **at(12)),)),
    "shared_with_memory": ((no(at(12, 13), WEB), yes(at(11, 17)), yes(at(14, 15))), ()),
    "around_memory": ((yes(at(12, 13)), yes(at(9, 16))), ()),
}
NEWER: Final = {"erased_before_account": {"created_at": at(12)["occurred_at"]}}


def _remembering() -> tuple[World, World]:
    """What the earlier night saw, and what the store shows now. Of one person account and event are gone, and the address came back."""
    before: list[list[Row]] = [[], [], []]
    after: list[list[Row]] = [[], [], []]
    for name, (said, asked) in BEFORE.items():
        more, since = SINCE.get(name, ((), ()))
        facts = NEWER.get(name, {})
        for world, consents, rights in ((before, (*EARLY, *said), asked), (after, (*EARLY, *more), since)):
            world[0].append(account(name, **facts))
            world[1] += _owned(consents, name)
            world[2] += _owned(rights, name)
    for world, owner in ((before, "first"), (after, "second")):
        world[0].append(account(owner, email="hon@post.se", created_at="2026-10-04T08:00:00Z"))
        world[1] += _owned(EARLY, owner)
    before[1].append(no(at(10)) | {"account_id": "first"})
    # Two nights give the same event the same name.
    named = [World(tuple(rows[0]), tuple(_named(rows[1])), tuple(_named(rows[2]))) for rows in (before, after)]
    members = tuple(member(str(row["account_id"])) for row in after[0])
    return named[0], replace(named[1], segment_member=members)


def _named(rows: list[Row]) -> list[Row]:
    return [row | {"event_id": "|".join(str(value) for value in row.values())} for row in rows]


def _case(world: World, *, uses: bool, earlier: World | None = None, **settings: object) -> Case:
    audiences = tuple(audience(C1, recipient, uses_orders=uses, uses_site=uses) for recipient in Recipient)
    rules = replace(RULES, **settings)  # type: ignore[arg-type]
    seen_at = None if earlier is None else NOW - timedelta(days=32)
    return Case(world, rules, audiences, NOW, earlier or World(), seen_at)


def edges() -> dict[str, Case]:
    """The cases by name."""
    shown, (before, after) = _shown(), _remembering()
    return {
        "consent": _case(shown, uses=False),
        "inputs": _case(shown, uses=True),
        "narrow": _case(shown, uses=False, withdrawals_group_wide=False, cookies_block=False),
        "memory": _case(after, uses=True, earlier=before),
    }
