"""Hypothesis strategies for whole worlds: a few accounts that share addresses, with adversarial consent and rights histories.

Alphabets are small, so that ties, shared addresses and collisions are frequent; rows start sound and are then damaged, so that
every reason and also "eligible" are common. Not generated, because the rules do not say what they mean: rows without `event_id`,
accounts without `account_id`, two rows of one account with different addresses, rights events of one id that differ in `email`
only.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import strategies as st

from nestaudience.screening.rules import AudienceRule, ConsentText, Rules
from nestaudience.vocabulary import AudienceKey, ControllerId, EventSource, Purpose, Recipient, SegmentCode

from . import moments
from .moments import Mark
from .rows import Row, World, account, consent, member, right

Cell = str | Mark | None
Cells = dict[str, Cell]
Owners = dict[str, str]
"""Account ids with the controller each belongs to."""

C1, C2, C3 = ControllerId("c1"), ControllerId("c2"), ControllerId("c3")
SOURCES: Final = {
    "prefs": EventSource.ACCOUNT_PREFS,
    "prefs_app": EventSource.ACCOUNT_PREFS,
    "checkout": EventSource.CHECKOUT_OPTIN,
    "banner": EventSource.COOKIE_BANNER,
    "comm": EventSource.COMM_SETTINGS,
    "signup": EventSource.SIGNUP,
    "letter": EventSource.NEWSLETTER,
    "case": EventSource.SUPPORT_CASE,
    "dsr": EventSource.DSR,
    "import": EventSource.IMPORT,
}
NOWS: Final = (
    datetime(2026, 11, 22, 2, 30, tzinfo=UTC),
    datetime(2026, 2, 28, 12, 0, tzinfo=UTC),
    datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2026, 8, 31, 0, 0, tzinfo=UTC),
    datetime(2027, 1, 1, 0, 0, 1, tzinfo=UTC),
)
ADDRESSES: Final = (
    *("anna.berg@gmail.com", "annaberg@gmail.com", "AnnaBerg+ads@GoogleMail.com", " annaberg@googlemail.com\u00a0"),
    *("anna.berg@post.se", "ANNA.BERG@post.se", "anna.berg@post.se\u3000", "anna.berg@post.se\u0085", "annaberg@post.se"),
    *("anna.berg+ads@post.se", "åsa@post.se", "a\u030asa@post.se", "\u212bsa@POST.se", "İ@post.se", "i\u0307@post.se"),
    *(
        "straße@post.se",
        "strasse@post.se",
        "ΟΔΟΣ@post.se",
        "οδος@post.se",
        "+ads@gmail.com",
        "...@gmail.com",
        ".+x@googlemail.com",
    ),
    *("anna@gmail.com.", "anna@mail.gmail.com", "åsa@räksmörgås.se", '"a b"@post.se', "a@b@post.se", "@post.se", "anna@", "anna"),
    *(
        "anna@post",
        "anna@.se",
        "anna@post..se",
        "anna@post.se.",
        "",
        " ",
        "an na@post.se",
        "an\u2009na@post.se",
        "anna\x1f@post.se",
    ),
    *(
        "anna@post.se\x1f",
        "an\u200bna@post.se",
        "anna@post.se\ufeff",
        "an\u00adna@post.se",
        "anna\uff20post.se",
        "anna@post\u3002se",
    ),
    *(
        "an\u0300\u0323na@post.se",
        "an\u0323\u0300na@post.se",
        "a'b@post.se",
        "anna@post.se\u200d",
        "\u2066anna@post.se",
        "𐐀@post.se",
    ),
)
_COMMON: Final = ADDRESSES[:7]


@dataclass(frozen=True, slots=True)
class Case:
    """One question to both implementations."""

    world: World
    rules: Rules
    audiences: tuple[AudienceRule, ...]
    now: datetime


def registered_texts(now: datetime) -> tuple[ConsentText, ...]:
    """Text `t1` covers everything, the others each lack one thing; `t_late` came into force at the usual moment of events."""
    whole = ConsentText(
        version="t1",
        valid_from=datetime(2015, 1, 1, tzinfo=UTC),
        controllers=frozenset({C1, C2, C3}),
        purposes=frozenset(Purpose),
        recipients=frozenset(Recipient),
        google_signals=frozenset({"ad_user_data", "ad_personalization"}),
    )
    return (
        whole,
        replace(whole, version="t_google", recipients=frozenset({Recipient.GOOGLE})),
        replace(whole, version="t_meta", recipients=frozenset({Recipient.META}), google_signals=frozenset()),
        replace(whole, version="t_signal", google_signals=frozenset({"ad_user_data"})),
        replace(whole, version="t_late", valid_from=now - timedelta(days=20)),
        replace(whole, version="t_c2", controllers=frozenset({C2})),
        replace(whole, version="t_cookies", purposes=frozenset({Purpose.WEB_BEHAVIOUR, Purpose.ENHANCED_CONVERSIONS})),
    )


def audience(controller: ControllerId, recipient: Recipient, *, uses_orders: bool, uses_site: bool) -> AudienceRule:
    """Segment `s1` of a controller for a recipient."""
    key = AudienceKey(f"{controller}/s1/{recipient.value}")
    return AudienceRule(key, controller, SegmentCode("s1"), recipient, uses_orders, uses_site)


@st.composite
def rules_at(draw: st.DrawFn, now: datetime) -> Rules:
    """Settings: mostly the defaults, sometimes others within their bounds."""
    rules = Rules(frozenset({C1, C2, C3}), tuple(Recipient), registered_texts(now), SOURCES, frozenset({"newsletter", "sms"}))
    if draw(st.booleans()):
        return rules
    return replace(
        rules,
        skew=timedelta(minutes=draw(st.sampled_from((1, 5, 15)))),
        consent_months=draw(st.sampled_from((24, 1, 12, 36))),
        cookie_months=draw(st.sampled_from((12, 1, 24))),
        inactive_months=draw(st.sampled_from((24, 1))),
        countries=draw(st.sampled_from((frozenset({"SE"}), frozenset({"SE", "NO"})))),
        require_verified_address=draw(st.booleans()),
        cookies_block=draw(st.booleans()),
        withdrawals_group_wide=draw(st.booleans()),
    )


def _one(*cells: Cell) -> st.SearchStrategy[Cell]:
    return st.sampled_from(cells)


_NOT_WHOLE: Final = ("x", "", "12a", "--1", "1234567890123456789x", "1.5")
_NOT_BOOLEAN: Final = _one(None, "", "2", "true", "-1")
_CONTROLLER: Final = _one("c1", "c1", "c1", "c2", "c2", "c3", "cX", None)
_SOURCE: Final = _one(*["prefs"] * 8, *["banner", "case"] * 2, *SOURCES, "mystery", None)
_SEQ: Final = _one(*[None] * 8, "1", "2", "2", "3", "9", "10", "-1", "0", *_NOT_WHOLE)
_TEXT: Final = _one("t1", "t_google", "t_meta", "t_signal", "t_late", "t_c2", "t_cookies", "t_gone", None)
_USUAL_TEXTS: Final = (*["t1"] * 12, "t_google", "t_signal", "t_late", "t_late", "t_c2")
_RECIPIENT: Final = _one("*", "*", "google", "meta", "tiktok", None)
_BOTH: Final = ("ad_matching", "web_behaviour")
_GRANT_PURPOSES: Final = (*_BOTH * 3, "ad_matching", "enhanced_conversions", "order_analysis", "newsletter", "nn")
_NO_PURPOSES: Final = (
    *["ad_matching"] * 4,
    *["web_behaviour", "enhanced_conversions"] * 2,
    *("order_analysis", "newsletter", "nn", "Ad_Matching", None),
)
_RIGHTS: Final = (*["object", "lift_objection"] * 3, *["restrict", "unrestrict"] * 2, "erase", "close")

_ACCOUNT_DAMAGE: Final = {
    "status": _one("locked", "closed", "pending_deletion", "ACTIVE", None),
    "account_type": _one("business", "b2b", None),
    "email": _one(None, *ADDRESSES),
    "email_source": _one("checkout", "newsletter", "import", "form", None),
    "email_verified_at": st.one_of(moments.NEAR, moments.NOW_EDGE, moments.BROKEN),
    "email_changed_at": st.one_of(moments.NEAR, moments.NEAR, moments.NOW_EDGE, moments.BROKEN),
    "country": _one("NO", "se", "", None),
    "birth_year": _one(None, "2004", "2005", "2006", "2008", "2009", "2010", "2030", *_NOT_WHOLE),
    "protected": st.one_of(_one("1"), _NOT_BOOLEAN),
    "test_or_staff": st.one_of(_one("1"), _NOT_BOOLEAN),
    "created_at": st.one_of(moments.NEAR, moments.NEAR, moments.INACTIVE_EDGE, moments.BROKEN),
    "last_active_at": st.one_of(moments.INACTIVE_EDGE, moments.INACTIVE_EDGE, moments.BROKEN),
    "changed_at": moments.BROKEN,
    "controller_id": _CONTROLLER,
}
_MEMBER_DAMAGE: Final = {
    "oldest_order_at": st.one_of(moments.ORDER_EDGE, moments.BROKEN),
    "oldest_site_at": st.one_of(moments.SITE_EDGE, moments.BROKEN),
    "consented_when_collected": st.one_of(_one("0"), _NOT_BOOLEAN),
}
_CONSENT_DAMAGE: Final = {
    "controller_id": _CONTROLLER,
    "recipient": _RECIPIENT,
    "action": _one("revoke", "GRANT", "object", None),
    "occurred_at": moments.CLOCK,
    "recorded_at": moments.CLOCK,
    "source": _SOURCE,
    "source_seq": _SEQ,
    "confirmed": st.one_of(_one("0"), _NOT_BOOLEAN),
    "text_version": _TEXT,
}
_RIGHT_DAMAGE: Final = {
    "controller_id": _CONTROLLER,
    "action": _one("withdraw", "OBJECT", None),
    "purpose": _one("ad_matching", "order_analysis", "*", "web_behaviour", "newsletter", "nn", None),
    "occurred_at": moments.CLOCK,
    "recorded_at": moments.CLOCK,
    "source": _SOURCE,
    "source_seq": _SEQ,
    "case_id": _one(None, "", "K-2"),
}


@st.composite
def _damaged(draw: st.DrawFn, row: Row | Cells, damage: dict[str, st.SearchStrategy[Cell]], often: int) -> Cells:
    """The row with at most two columns replaced; `often` in ten rows stay sound."""
    cells: Cells = dict(row)
    if draw(st.integers(0, 9)) >= often:
        for column in draw(st.lists(st.sampled_from(sorted(damage)), min_size=1, max_size=2)):
            cells[column] = draw(damage[column])
    return cells


@st.composite
def _accounts(draw: st.DrawFn, now: datetime) -> list[Cells]:
    recent = (now - timedelta(days=5)).isoformat()
    rows: list[Cells] = []
    for number in range(draw(st.integers(2, 8))):
        pool = _COMMON if draw(st.integers(0, 2)) else (f"person{number}@post.se",)
        controller = draw(st.sampled_from(("c1", "c1", "c1", "c1", "c2")))
        facts = account(f"a{number}", controller_id=controller, email=draw(st.sampled_from(pool)), last_active_at=recent)
        facts |= {"created_at": "2019-01-01T00:00:00Z", "email_verified_at": "2020-01-01T00:00:00Z", "birth_year": "1980"}
        rows.append(draw(_damaged(facts, _ACCOUNT_DAMAGE, 6)))
    if draw(st.integers(0, 9)) == 9:
        # The same address twice: which of two addresses would be the account's is not the rules' to say.
        twin = draw(_damaged(account("a0"), {k: v for k, v in _ACCOUNT_DAMAGE.items() if k != "email"}, 3))
        rows.append(twin | {"email": rows[0]["email"], "created_at": "2018-01-01T00:00:00Z"})
    return rows


@st.composite
def _clocks(draw: st.DrawFn) -> Cells:
    occurred = draw(moments.WHEN)
    recorded = occurred if draw(st.booleans()) else draw(moments.WHEN)
    return {"occurred_at": occurred, "recorded_at": recorded}


@st.composite
def _first_grants(draw: st.DrawFn, owners: Owners) -> list[Cells]:
    """Most accounts hold a grant, and many a cookie grant, at their own controller; few of them lack something."""
    rows: list[Cells] = []
    for owner, home in owners.items():
        for purpose in draw(st.sampled_from((_BOTH, _BOTH, _BOTH, _BOTH[:1], _BOTH[1:], ()))):
            clock, text = draw(moments.GIVEN), draw(st.sampled_from(_USUAL_TEXTS))
            start = consent(None, "grant", owner, controller_id=home, purpose=purpose, text_version=text) | {
                "occurred_at": clock,
                "recorded_at": clock,
            }
            rows.append(draw(_damaged(start, _CONSENT_DAMAGE, 8)))
    return rows


@st.composite
def _consents(draw: st.DrawFn, owners: Owners) -> list[Cells]:
    rows = draw(_first_grants(owners))
    for _ in range(draw(st.integers(0, 6))):
        action = draw(st.sampled_from(("grant", "withdraw")))
        owner = draw(st.sampled_from(sorted(owners)))
        event = consent(
            None,
            action,
            owner,
            purpose=draw(st.sampled_from(_GRANT_PURPOSES if action == "grant" else _NO_PURPOSES)),
            recipient=draw(st.sampled_from(("*", "*", "google", "meta"))),
            controller_id=draw(st.sampled_from((owners[owner], owners[owner], "c1", "c2"))),
        )
        rows.append(draw(_damaged(event | draw(_clocks()), _CONSENT_DAMAGE, 6)) | {"source_seq": draw(_SEQ)})
    return [row | {"event_id": f"e{number}"} for number, row in enumerate(rows)]


@st.composite
def _rights(draw: st.DrawFn, owners: Owners) -> list[Cells]:
    rows: list[Cells] = []
    for _ in range(draw(st.sampled_from((0, 0, 1, 2, 3, 5)))):
        owner = draw(st.sampled_from([*sorted(owners), None]))
        event = right(
            f"e{len(rows)}",
            draw(st.sampled_from(_RIGHTS)),
            owner,
            email=draw(st.sampled_from((*_COMMON, *ADDRESSES, None))) if owner is None else None,
            purpose=draw(st.sampled_from(("*", "*", "ad_matching", "order_analysis"))),
            source=draw(st.sampled_from(("prefs", "prefs", "case"))),
            controller_id=draw(st.sampled_from((owners.get(str(owner), "c1"), "c1", "c2"))),
        )
        rows.append(draw(_damaged(event | draw(_clocks()), _RIGHT_DAMAGE, 6)) | {"source_seq": draw(_SEQ)})
    return rows


@st.composite
def _doubled(draw: st.DrawFn, rows: list[Cells], damage: dict[str, st.SearchStrategy[Cell]]) -> list[Cells]:
    """The rows in another order; sometimes one of them twice, the same or changed."""
    if rows and not draw(st.integers(0, 3)):
        rows = [*rows, draw(_damaged(draw(st.sampled_from(rows)), damage, 3))]
    return draw(st.permutations(rows)) if draw(st.booleans()) else rows


@st.composite
def _members(draw: st.DrawFn, owners: Owners, now: datetime) -> list[Cells]:
    rows: list[Cells] = []
    orders, site = (now - timedelta(days=90)).isoformat(), (now - timedelta(days=9)).isoformat()
    for owner, home in owners.items():
        controller, segment = draw(st.sampled_from((*[(home, "s1")] * 5, ("c1", "s1"), ("c2", "s1"), (home, "s2"))))
        start = member(owner, controller_id=controller, segment_code=segment, oldest_order_at=orders, oldest_site_at=site)
        rows.append(draw(_damaged(start, _MEMBER_DAMAGE, 8)))
    if rows and draw(st.integers(0, 9)) == 9:
        rows.append(draw(_damaged(draw(st.sampled_from(rows)), _MEMBER_DAMAGE, 5)))
    return rows


def _spelled(rows: list[Cells], spell: Callable[[Mark], str]) -> tuple[Row, ...]:
    return tuple({name: spell(cell) if isinstance(cell, Mark) else cell for name, cell in row.items()} for row in rows)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A world, its settings, its clock, and audiences of two controllers at both recipients."""
    now = draw(st.sampled_from(NOWS))
    rules = draw(rules_at(now))
    accounts = draw(_accounts(now))
    owners = {str(row["account_id"]): home for row in reversed(accounts) if isinstance(home := row["controller_id"], str)}
    if not draw(st.integers(0, 3)):
        owners["ghost"] = "c1"

    def spell(mark: Mark) -> str:
        return mark.spell(rules, now)

    world = World(
        account=_spelled(accounts, spell),
        consent_event=_spelled(draw(_doubled(draw(_consents(owners)), _CONSENT_DAMAGE)), spell),
        rights_event=_spelled(draw(_doubled(draw(_rights(owners)), _RIGHT_DAMAGE)), spell),
        segment_member=_spelled(draw(_members(owners, now)), spell),
    )
    flags = {controller: (draw(st.booleans()), draw(st.booleans())) for controller in (C1, C2)}
    return Case(
        world,
        rules,
        tuple(
            audience(controller, recipient, uses_orders=orders, uses_site=site)
            for controller, (orders, site) in flags.items()
            for recipient in Recipient
        ),
        now,
    )
