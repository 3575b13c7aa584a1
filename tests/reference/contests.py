"""Accounts on the edge of one rule: sound but for one thing, or with one yes against one no at clocks that hardly differ.

A wild world rarely turns on a single comparison, because something else is wrong with nearly everybody. Here nothing else is.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from hypothesis import strategies as st

from . import damage, moments
from .damage import Cell, Cells
from .moments import Mark
from .rows import Row, account, consent, member, right

_EARLY: Final[Cells] = {"occurred_at": Mark("anchor", 0, -5), "recorded_at": Mark("anchor", 0, -5)}


@dataclass(frozen=True, slots=True)
class Story:
    """The rows of one account, and of a second one with the same address where the contest has one."""

    accounts: list[Cells]
    members: list[Cells]
    consents: list[Cells] = field(default_factory=list)
    rights: list[Cells] = field(default_factory=list)


def _with(row: Row, *more: Cells) -> Cells:
    """The row with other cells in it."""
    cells: Cells = dict(row)
    for changes in more:
        cells |= changes
    return cells


def sound_account(owner: str, home: str, address: str, now: datetime) -> Cells:
    """An account that no rule refuses at `now`."""
    facts = account(owner, controller_id=home, email=address, last_active_at=(now - timedelta(days=5)).isoformat())
    return _with(facts, {"created_at": "2019-01-01T00:00:00Z", "email_verified_at": "2020-01-01T00:00:00Z", "birth_year": "1980"})


def sound_member(owner: str, home: str, now: datetime) -> Cells:
    """A member of `s1` with inputs fresh at `now`."""
    orders, site = (now - timedelta(days=90)).isoformat(), (now - timedelta(days=9)).isoformat()
    return {**member(owner, controller_id=home, oldest_order_at=orders, oldest_site_at=site)}


def _granted(owner: str, home: str, clocks: Cells) -> list[Cells]:
    return [_with(consent(None, "grant", owner, controller_id=home, purpose=purpose), clocks) for purpose in damage.BOTH]


_FLAWS: Final = (
    *[("account", column) for column in damage.ACCOUNT_DAMAGE],
    *[("member", column) for column in damage.MEMBER_DAMAGE],
    *[("matching", column) for column in damage.CONSENT_DAMAGE],
    *[("cookies", column) for column in damage.CONSENT_DAMAGE],
    *[("pair", name) for name in ("changed", "verified", "text", "age", "future", "skew")],
)


@st.composite
def flawed(draw: st.DrawFn, owner: str, home: str, now: datetime) -> Story:
    """Sound but for one value."""
    facts, row = sound_account(owner, home, f"{owner}@post.se", now), sound_member(owner, home, now)
    grants = _granted(owner, home, _EARLY)
    place, name = draw(st.sampled_from(_FLAWS))
    if place == "account":
        facts[name] = draw(damage.ACCOUNT_DAMAGE[name])
        if name == "created_at" and draw(st.booleans()):
            facts["last_active_at"] = None
    elif place == "member":
        row[name] = draw(damage.MEMBER_DAMAGE[name])
    elif place == "pair":
        _pair(draw, name, facts, grants)
    else:
        grants[place == "cookies"][name] = draw(damage.CONSENT_DAMAGE[name])
    return Story([facts], [row], grants)


@st.composite
def kin(draw: st.DrawFn, owner: str, home: str, now: datetime) -> Story:
    """Two accounts of nearly or quite the same address; only the second one gives a reason against both."""
    ours, theirs = (draw(st.sampled_from(group)) for group in [draw(st.sampled_from(damage.ALIKE))] * 2)
    facts, other = sound_account(owner, home, ours, now), sound_account(f"p{owner}", "c2", theirs, now)
    story = Story([facts, other], [sound_member(owner, home, now)], _granted(owner, home, _EARLY))
    trouble = draw(st.sampled_from(("protected", "minor", "restrict", "restrict without account", "withdraw", "close", "close")))
    if trouble == "withdraw":
        story.consents.append(_with(consent(None, "withdraw", f"p{owner}")))
    elif trouble == "close":
        story.rights.append(_with(right(None, "close", f"p{owner}")))
        story.consents.extend(_granted(f"p{owner}", "c2", _EARLY))
    elif trouble.startswith("restrict"):
        event = right(None, "restrict", f"p{owner}") if trouble == "restrict" else right(None, "restrict", None, email=theirs)
        story.rights.append(_with(event))
    else:
        other |= {"protected": "1"} if trouble == "protected" else {"birth_year": "2020"}
    return story


_ODD_ACTIONS: Final = (
    *[
        ("consent_event", "withdraw", purpose)
        for purpose in ("newsletter", "newsletter", "order_analysis", "nn", "web_behaviour")
    ],
    *[("consent_event", "grant", purpose) for purpose in ("web_behaviour", "newsletter")],
    *[("rights_event", action, "*") for action in damage.RIGHTS],
)


@st.composite
def hardly_read(draw: st.DrawFn, owner: str, home: str, now: datetime) -> Story:
    """No grant for matching, an address with something wrong, and one event that may or may not allow to read it."""
    facts, event = sound_account(owner, home, "anna", now), draw(st.sampled_from(_ODD_ACTIONS))
    story = Story([facts | {"email_source": "import"}], [sound_member(owner, home, now)])
    view, action, purpose = event
    if view == "consent_event":
        story.consents.append(_with(consent(None, action, owner, purpose=purpose, controller_id=home)))
    else:
        story.rights.append(_with(right(None, action, owner, controller_id=home)))
    return story


@st.composite
def odd_action(draw: st.DrawFn, owner: str, home: str, now: datetime) -> Story:
    """An event of an unknown action, and another one that may or may not be its sound successor."""
    source, after = draw(st.sampled_from((("prefs", "prefs"), ("prefs", "prefs"), ("prefs", "prefs_app"), (None, None))))
    odd = consent(None, draw(st.sampled_from(("revoke", None))), owner, source=source)
    recorded = draw(st.sampled_from((Mark("anchor"), Mark("anchor", 0, 0, 1), Mark("anchor", 0, 0, -1), None)))
    follower = consent(None, draw(st.sampled_from(("withdraw", "withdraw", "nn"))), owner, source=after, purpose="newsletter")
    story = Story(
        [sound_account(owner, home, f"{owner}@post.se", now)], [sound_member(owner, home, now)], _granted(owner, home, _EARLY)
    )
    story.consents.append(_with(odd, {"recorded_at": draw(st.sampled_from((Mark("anchor"), Mark("anchor"), None)))}))
    story.consents.append(_with(follower, {"recorded_at": recorded}))
    return story


def _pair(draw: st.DrawFn, name: str, facts: Cells, grants: list[Cells]) -> None:
    """Two values that are compared with each other, with the clock or with a setting."""
    edge, skews = draw(st.sampled_from((-1, 0, 1))), draw(st.sampled_from((0, 1)))
    if name == "changed":
        facts |= {"email_verified_at": Mark("anchor") if skews else None, "email_changed_at": Mark("anchor", 0, 0, edge)}
    elif name == "verified":
        facts["email_verified_at"] = Mark("now", 0, 0, edge)
    elif name == "text":
        at = Mark("anchor", 0, 0, edge)
        grants[0] |= {"text_version": "t_late", "occurred_at": at, "recorded_at": at}
    elif name == "age":
        grants[0]["occurred_at"] = grants[0]["recorded_at"] = draw(moments.CONSENT_EDGE)
        grants[1]["occurred_at"] = grants[1]["recorded_at"] = draw(moments.COOKIE_EDGE)
    elif name == "future":
        grants[0] |= {"recorded_at": Mark("now", 1, 0, edge), "occurred_at": Mark("now", 1, 0, draw(st.sampled_from((-1, 0, 1))))}
    else:
        grants[0] |= {"recorded_at": Mark("anchor"), "occurred_at": Mark("anchor", 1, 0, edge)}


_CONTESTS: Final = (
    *(*["matching"] * 3, *["cookies", "object", "analysis"] * 2),
    *("conversions", "unknown", "denied", "restrict", "restrict", "erase", "erase", "both", "both", "around", "around"),
)
_PURPOSES: Final = {
    "matching": "ad_matching",
    "cookies": "web_behaviour",
    "conversions": "enhanced_conversions",
    "unknown": "nn",
    "denied": "order_analysis",
}
_SOURCES: Final = (*[("prefs", "prefs")] * 2, ("comm", "prefs"), ("case", "case"), ("prefs_app", "prefs"))
_SEQUENCES: Final = (("1", "2"), *[("2", "2")] * 3, ("3", "2"), ("9", "10"), ("10", "9"), ("-1", "0"), (None, "2"), ("1", "x"))


@st.composite
def duel(draw: st.DrawFn, owner: str, home: str, now: datetime) -> Story:
    """One no, on this account or on another one with its address, against one yes that may or may not beat it."""
    contest = draw(st.sampled_from(_CONTESTS))
    facts = sound_account(owner, home, f"{owner}@gmail.com", now)
    twin = sound_account(f"p{owner}", draw(st.sampled_from(("c1", "c2"))), f"{owner[0]}.{owner[1:]}+x@googlemail.com", now)
    speaker = draw(st.sampled_from((owner, owner, owner, f"p{owner}")))
    no_source, yes_source = draw(st.sampled_from(_SOURCES))
    said, answered = draw(_meeting())
    said |= {"source": no_source, "controller_id": draw(st.sampled_from((home, home, home, "c1", "c2", None)))}
    answered |= {"source": yes_source, "controller_id": home}
    accounts = [facts] if speaker == owner else [facts, twin]
    rows = Story(accounts, [sound_member(owner, home, now)], _granted(owner, home, _EARLY))
    if contest == "erase":
        said["recorded_at"] = draw(st.sampled_from((said["recorded_at"], Mark("anchor", 2))))
        facts["created_at"] = draw(st.sampled_from((said["recorded_at"], Mark("anchor", 0, 0, 1), Mark("anchor", 2, 0, 1))))
        rows.rights.append(_with(right(None, "erase", speaker), said))
    elif contest in {"object", "analysis"}:
        _objection(draw, contest, rows, (owner, speaker), said, answered)
    elif contest == "restrict":
        # Whoever ends it has the same source, or both have none, which is no common source.
        common: Cells = {} if draw(st.booleans()) else {"source": draw(st.sampled_from(("prefs", None)))}
        rows.rights.append(_with(right(None, "restrict", speaker), said, common))
        ended: Cells = {"controller_id": draw(st.sampled_from((home, said["controller_id"])))}
        rows.rights.append(_with(right(None, "unrestrict", speaker), answered, ended, common))
    elif contest == "both":
        _two_noes(draw, rows, (owner, speaker), home)
    elif contest == "around":
        _two_yeses(draw, rows, (owner, speaker), home)
    else:
        _withdrawal(draw, contest, rows, (owner, speaker), said, answered)
    return rows


def _withdrawal(draw: st.DrawFn, contest: str, rows: Story, people: tuple[str, str], said: Cells, answered: Cells) -> None:
    owner, speaker = people
    purpose = _PURPOSES[contest]
    recipient = draw(st.sampled_from(("*", "*", "google", "meta", "tiktok", None)))
    rows.consents.append(_with(consent(None, "withdraw", speaker, purpose=purpose, recipient=recipient), said))
    if contest == "denied":
        rows.rights.append(_with(right(None, "lift_objection", owner), answered))
        return
    same = contest in {"cookies", "conversions"} and draw(st.booleans())
    rows.consents.append(_with(consent(None, "grant", owner, purpose=purpose if same else "ad_matching"), answered))


def _two_noes(draw: st.DrawFn, rows: Story, people: tuple[str, str], home: str) -> None:
    """A withdrawal and a refusal, and two grants of which each may beat one of them, or both, or none: by clocks alone, or by sequence too."""
    owner, speaker = people
    if draw(st.booleans()):
        noes = [(0, 8, None), (4, 5, None)]
        yeses = draw(st.sampled_from((((3, 9, None), (6, 7, None)), ((3, 7, None), (6, 7, None)), ((3, 9, None), (6, 9, None)))))
    else:
        noes = [(0, 0, draw(st.sampled_from(("2", "2", None)))), (0, 0, None)]
        early, late = (-4, -4, draw(st.sampled_from(("3", "3", "1")))), (1, 1, draw(st.sampled_from(("1", "1", "3"))))
        yeses = (early, late)
    for (purpose, source), no in zip((("ad_matching", "comm"), ("web_behaviour", "banner")), noes, strict=True):
        facts: Cells = {"source": source, "controller_id": home}
        rows.consents.append(_with(consent(None, "withdraw", speaker, purpose=purpose), facts, _said(*no)))
    for yes in yeses:
        rows.consents.append(_with(consent(None, "grant", owner, controller_id=home, source="comm"), _said(*yes)))
    rows.consents[0] |= {"occurred_at": Mark("anchor", 0, -15), "recorded_at": Mark("anchor", 0, -15)}


def _said(occurred: int, recorded: int, seq: str | None) -> Cells:
    return {"occurred_at": Mark("anchor", 0, occurred), "recorded_at": Mark("anchor", 0, recorded), "source_seq": seq}


def _two_yeses(draw: st.DrawFn, rows: Story, people: tuple[str, str], home: str) -> None:
    """One no, and two of what could end it around it: the first later on one clock, the second on the other, perhaps one of them on both."""
    owner, speaker = people
    purpose = draw(
        st.sampled_from(("ad_matching", "ad_matching", "web_behaviour", "enhanced_conversions", "lift", "after a lift"))
    )
    edge = st.sampled_from((-1, 0, 0, 1))
    source, seq = draw(st.sampled_from(("comm", "prefs"))), draw(st.sampled_from((None, None, "2")))
    no: Cells = {"occurred_at": Mark("anchor"), "recorded_at": Mark("anchor", 0, 4), "source": source, "source_seq": seq}
    given: Cells = {"occurred_at": Mark("anchor", 1, 0, 1), "recorded_at": Mark("anchor", 0, 4, draw(edge))}
    written: Cells = {
        "occurred_at": Mark("anchor", draw(st.sampled_from((0, 1))), 0, draw(edge)),
        "recorded_at": Mark("anchor", 0, 5),
    }
    yeses = [
        yes
        | {"source": draw(st.sampled_from(("prefs", "comm"))), "source_seq": draw(st.sampled_from((None, None, "1", "2", "3")))}
        for yes in (given, written)
    ]
    if "lift" not in purpose:
        rows.consents.append(_with(consent(None, "withdraw", speaker, controller_id=home, purpose=purpose), no))
        rows.consents.extend(_with(consent(None, "grant", owner, controller_id=home, purpose=purpose), yes) for yes in yeses)
        return
    late: Cells = {"occurred_at": Mark("anchor", 0, 6), "recorded_at": Mark("anchor", 0, 6), "source": "prefs"}
    rows.rights.append(_with(right(None, "object", speaker, controller_id=home), no))
    if purpose == "lift":
        rows.rights.extend(
            _with(right(None, "lift_objection", owner, controller_id=home), yes, {"source": "prefs"}) for yes in yeses
        )
        rows.consents.append(_with(consent(None, "grant", owner, controller_id=home), late))
        return
    lifts = [(2, 8), (5, 6)] if draw(st.booleans()) else [(4, 6)]
    rows.rights.extend(
        _with(right(None, "lift_objection", owner, controller_id=home), _said(*clocks, None), {"source": "prefs"})
        for clocks in lifts
    )
    for clocks in ((5, 5), (3, 7)) if draw(st.booleans()) else ((4, 7),):
        rows.consents.append(_with(consent(None, "grant", owner, controller_id=home), _said(*clocks, None), {"source": "prefs"}))


def _objection(draw: st.DrawFn, contest: str, rows: Story, people: tuple[str, str], said: Cells, answered: Cells) -> None:
    owner, speaker = people
    named = "ad_matching" if contest == "object" else "order_analysis"
    objection = right(None, "object", speaker, purpose=draw(st.sampled_from(("*", named, named, "nn", None))))
    lift = _with(right(None, "lift_objection", owner, purpose=draw(st.sampled_from(("*", named, named)))), answered)
    if not draw(st.integers(0, 3)):
        column = draw(st.sampled_from(("case_id", "case_id", "source", "controller_id", "purpose")))
        lift |= {"source": "case"} if column == "case_id" else {}
        lift[column] = draw(damage.RIGHT_DAMAGE[column])
    rows.rights.extend((_with(objection, said), lift))
    if contest == "object":
        grant = _with(consent(None, "grant", owner), answered)
        if draw(st.booleans()):
            column = draw(st.sampled_from(("occurred_at", "recorded_at")))
            grant[column] = draw(st.sampled_from(_beside(lift[column])))
        elif draw(st.booleans()):
            grant["source"] = draw(st.sampled_from(("case", "checkout", "dsr", "prefs_app")))
        elif draw(st.booleans()):
            grant["source_seq"] = draw(st.sampled_from(("99", "0", None)))
        rows.consents.append(grant)


def _beside(mark: Cell) -> list[Cell]:
    """The moments one microsecond before and after."""
    if not isinstance(mark, Mark):
        return [mark]
    return [Mark(mark.base, mark.skews, mark.days, mark.micros + step) for step in (-1, 1)]


@st.composite
def _meeting(draw: st.DrawFn) -> tuple[Cells, Cells]:
    """The clocks and sequences of a no and of a yes that meet it on the edge of one comparison."""
    edge = st.sampled_from((-1, 0, 1))
    kind = draw(st.sampled_from(("won", "won", "occurred", "close", "recorded", "later", "sequence", "sequence", "broken")))
    no: Cells = {"occurred_at": Mark("anchor"), "recorded_at": Mark("anchor"), "source_seq": None}
    yes: Cells = {"occurred_at": Mark("anchor", 1, 0, draw(edge)), "recorded_at": Mark("anchor", 0, 1), "source_seq": None}
    if kind == "won":
        yes["occurred_at"] = Mark("anchor", 0, 1)
    elif kind == "close":
        yes["occurred_at"] = Mark("anchor", 0, 0, draw(edge))
    elif kind == "recorded":
        no["recorded_at"] = Mark("anchor", 2)
        yes |= {"occurred_at": Mark("anchor", 2), "recorded_at": Mark("anchor", 2, 0, draw(edge))}
    elif kind == "later":
        no["occurred_at"] = Mark("anchor", 2)
    elif kind == "sequence":
        no["source_seq"], yes["source_seq"] = draw(st.sampled_from(_SEQUENCES))
        yes["occurred_at"] = yes["recorded_at"] = Mark("anchor", 0, draw(edge))
    elif kind == "broken":
        no[draw(st.sampled_from(("occurred_at", "recorded_at")))] = draw(moments.BROKEN)
    return no, yes
