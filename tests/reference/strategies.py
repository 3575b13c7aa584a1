"""Hypothesis strategies for whole worlds: a few accounts that share addresses, with adversarial consent and rights histories.

Alphabets are small, so that ties, shared addresses and collisions are frequent; rows start sound and are then damaged, so that
every reason and also "eligible" are common. Not generated, because the rules do not say what they mean: rows without `event_id`,
accounts without `account_id`, two rows of one account with different addresses, rights events of one id that differ in `email`
only.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import strategies as st

from nestaudience.screening.rules import AudienceRule, ConsentText, Rules
from nestaudience.vocabulary import AudienceKey, ControllerId, Purpose, Recipient, SegmentCode

from . import damage, moments
from .contests import Story, duel, flawed, hardly_read, kin, odd_action, sound_account, sound_member
from .damage import SOURCES, Cell, Cells
from .moments import Mark
from .rows import Row, World, account, consent, right

Owners = dict[str, str]
NOTHING: Final = World()
"""Account ids with the controller each belongs to."""

C1, C2, C3 = ControllerId("c1"), ControllerId("c2"), ControllerId("c3")
NOWS: Final = (
    datetime(2026, 11, 22, 2, 30, tzinfo=UTC),
    datetime(2026, 2, 28, 12, 0, tzinfo=UTC),
    datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2026, 8, 31, 0, 0, tzinfo=UTC),
    datetime(2027, 1, 1, 0, 0, 1, tzinfo=UTC),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One question to both implementations."""

    world: World
    rules: Rules
    audiences: tuple[AudienceRule, ...]
    now: datetime
    earlier: World = NOTHING
    seen_at: datetime | None = None
    """When `earlier` was judged, whose noes are remembered; None: nothing is remembered."""


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


@st.composite
def _accounts(draw: st.DrawFn, now: datetime) -> list[Cells]:
    rows: list[Cells] = []
    for number in range(draw(st.integers(0, 4))):
        pool = damage.COMMON if draw(st.integers(0, 2)) else (f"person{number}@post.se", *damage.ADDRESSES)
        start = sound_account(f"a{number}", draw(st.sampled_from(("c1", "c1", "c1", "c2"))), draw(st.sampled_from(pool)), now)
        rows.append(draw(damage.damaged(start, damage.ACCOUNT_DAMAGE, 6)))
    if rows and not draw(st.integers(0, 5)):
        # The same address twice: which of two addresses would be the account's is not the rules' to say.
        wrong = {column: cells for column, cells in damage.ACCOUNT_DAMAGE.items() if column != "email"}
        twin = draw(damage.damaged(account("a0"), wrong, 3))
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
        for purpose in draw(st.sampled_from((damage.BOTH, damage.BOTH, damage.BOTH, damage.BOTH[:1], damage.BOTH[1:], ()))):
            clock, text = draw(moments.GIVEN), draw(st.sampled_from(damage.USUAL_TEXTS))
            start = consent(None, "grant", owner, controller_id=home, purpose=purpose, text_version=text) | {
                "occurred_at": clock,
                "recorded_at": clock,
            }
            rows.append(draw(damage.damaged(start, damage.CONSENT_DAMAGE, 8)))
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
            purpose=draw(st.sampled_from(damage.GRANT_PURPOSES if action == "grant" else damage.NO_PURPOSES)),
            recipient=draw(st.sampled_from(("*", "*", "google", "meta"))),
            controller_id=draw(st.sampled_from((owners[owner], owners[owner], "c1", "c2"))),
        )
        rows.append(draw(damage.damaged(event | draw(_clocks()), damage.CONSENT_DAMAGE, 6)) | {"source_seq": draw(damage.SEQ)})
    return rows


@st.composite
def _rights(draw: st.DrawFn, owners: Owners) -> list[Cells]:
    rows: list[Cells] = []
    for _ in range(draw(st.sampled_from((0, 0, 1, 2, 3, 5)))):
        owner = draw(st.sampled_from([*sorted(owners), None]))
        event = right(
            None,
            draw(st.sampled_from(damage.RIGHTS)),
            owner,
            email=draw(st.sampled_from((*damage.COMMON, *damage.ADDRESSES, None))) if owner is None else None,
            purpose=draw(st.sampled_from(("*", "*", "ad_matching", "order_analysis"))),
            source=draw(st.sampled_from(("prefs", "prefs", "case"))),
            controller_id=draw(st.sampled_from((owners.get(str(owner), "c1"), "c1", "c2"))),
        )
        rows.append(draw(damage.damaged(event | draw(_clocks()), damage.RIGHT_DAMAGE, 6)) | {"source_seq": draw(damage.SEQ)})
    return rows


@st.composite
def _doubled(draw: st.DrawFn, rows: list[Cells], wrong: dict[str, st.SearchStrategy[Cell]]) -> list[Cells]:
    """The rows in another order; sometimes one of them twice, the same or changed."""
    if rows and not draw(st.integers(0, 3)):
        rows = [*rows, draw(damage.damaged(draw(st.sampled_from(rows)), wrong, 3))]
    return draw(st.permutations(rows)) if draw(st.booleans()) else rows


@st.composite
def _members(draw: st.DrawFn, owners: Owners, now: datetime) -> list[Cells]:
    rows: list[Cells] = []
    for owner, home in owners.items():
        controller, segment = draw(st.sampled_from((*[(home, "s1")] * 5, ("c1", "s1"), ("c2", "s1"), (home, "s2"))))
        start = sound_member(owner, controller, now) | {"segment_code": segment}
        rows.append(draw(damage.damaged(start, damage.MEMBER_DAMAGE, 8)))
    if rows and draw(st.integers(0, 9)) == 9:
        rows.append(draw(damage.damaged(draw(st.sampled_from(rows)), damage.MEMBER_DAMAGE, 5)))
    return rows


@st.composite
def _stories(draw: st.DrawFn, now: datetime) -> Story:
    """Some accounts on the edge of one rule each, all their rows together."""
    together = Story([], [])
    for number in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from((*[duel] * 5, *[flawed] * 4, kin, hardly_read, odd_action)))
        story = draw(kind(f"s{number}", draw(st.sampled_from(("c1", "c1", "c2"))), now))
        together.accounts.extend(story.accounts)
        together.members.extend(story.members)
        together.consents.extend(story.consents)
        together.rights.extend(story.rights)
    return together


def _numbered(rows: list[Cells]) -> list[Cells]:
    return [row | {"event_id": f"e{number}"} for number, row in enumerate(rows)]


def _spelled(row: Cells, rules: Rules, now: datetime) -> Row:
    return {name: cell.spell(rules, now) if isinstance(cell, Mark) else cell for name, cell in row.items()}


@st.composite
def _parted(draw: st.DrawFn, rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """The rows that an earlier night saw, and those that the store shows now: most are in both."""
    fates = [draw(st.sampled_from(("both", "both", "both", "earlier", "now"))) for _ in rows]
    pairs = list(zip(rows, fates, strict=True))
    return [row for row, fate in pairs if fate != "now"], [row for row, fate in pairs if fate != "earlier"]


@st.composite
def _parted_accounts(draw: st.DrawFn, rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Accounts of an earlier night and of now: some came, some went, and some had another address."""
    before, after = draw(_parted(rows))
    moved = {row["account_id"]: draw(st.sampled_from(damage.COMMON)) for row in rows if not draw(st.integers(0, 5))}
    return [row | {"email": moved.get(row["account_id"], row["email"])} for row in before], after


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A world, its settings, its clock, and audiences of two controllers at both recipients."""
    now = draw(st.sampled_from(NOWS))
    rules = draw(rules_at(now))
    accounts, story = draw(_accounts(now)), draw(_stories(now))
    owners = {str(row["account_id"]): home for row in reversed(accounts) if isinstance(home := row["controller_id"], str)}
    if not owners or not draw(st.integers(0, 3)):
        owners["ghost"] = "c1"
    consents = draw(_doubled(_numbered(story.consents + draw(_consents(owners))), damage.CONSENT_DAMAGE))
    rights = draw(_doubled(_numbered(story.rights + draw(_rights(owners))), damage.RIGHT_DAMAGE))
    members = story.members + draw(_members(owners, now))
    views = [[_spelled(row, rules, now) for row in rows] for rows in (story.accounts + accounts, consents, rights, members)]
    world, earlier, seen_at = World(*(tuple(rows) for rows in views)), NOTHING, None
    if not draw(st.integers(0, 2)):
        parts = [draw(_parted_accounts(views[0])), draw(_parted(views[1])), draw(_parted(views[2]))]
        earlier = World(*(tuple(before) for before, _ in parts))
        world = World(*(tuple(after) for _, after in parts), tuple(views[3]))
        seen_at = now - draw(st.sampled_from((timedelta(hours=1), timedelta(days=1), timedelta(days=40))))
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
        earlier,
        seen_at,
    )
