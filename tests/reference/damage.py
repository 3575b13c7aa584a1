"""Alphabets of generated worlds, and the damage that sound rows take: wrong words, nulls, garbage and edges, column by column.

Makes cells, not worlds. Cells that SQLite would respell in an integer column are left out.
"""

from typing import Final

from hypothesis import strategies as st

from nestaudience.vocabulary import EventSource

from . import moments
from .moments import Mark
from .rows import Row

Cell = str | Mark | None
Cells = dict[str, Cell]


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
COMMON: Final = ADDRESSES[:7]
ALIKE: Final = (
    ADDRESSES[:4],
    ADDRESSES[4:10],
    ("åsa@post.se", "a\u030asa@post.se", "\u212bsa@POST.se", "asa@post.se"),
    ("an\u0300\u0323na@post.se", "an\u0323\u0300na@post.se"),
    ("İ@post.se", "i\u0307@post.se", "i@post.se"),
    ("straße@post.se", "strasse@post.se", "STRASSE@post.se"),
    ("ΟΔΟΣ@post.se", "οδος@post.se", "οδοσ@post.se"),
    ("+ads@gmail.com", "+ads@gmail.com", "+Ads@gmail.com", "+ads@googlemail.com"),
)
"""Groups of addresses of which some are the same person's, and some only look like it."""


def one(*cells: Cell) -> st.SearchStrategy[Cell]:
    return st.sampled_from(cells)


_NOT_WHOLE: Final = ("x", "", "12a", "--1", "1234567890123456789x", "1.5")
_NOT_BOOLEAN: Final = one(None, "", "2", "true", "-1")
CONTROLLER: Final = one("c1", "c1", "c1", "c2", "c2", "c3", "cX", None)
SOURCE: Final = one(*["prefs"] * 8, *["banner", "case"] * 2, *SOURCES, "mystery", None)
SEQ: Final = one(*[None] * 8, "1", "2", "2", "3", "9", "10", "-1", "0", *_NOT_WHOLE)
TEXT: Final = one("t1", "t_google", "t_meta", "t_signal", "t_late", "t_c2", "t_cookies", "t_gone", None)
USUAL_TEXTS: Final = (*["t1"] * 12, "t_google", "t_signal", "t_late", "t_late", "t_c2")
RECIPIENT: Final = one("*", "*", "google", "meta", "tiktok", None)
BOTH: Final = ("ad_matching", "web_behaviour")
GRANT_PURPOSES: Final = (*BOTH * 3, "ad_matching", "enhanced_conversions", "order_analysis", "newsletter", "nn")
NO_PURPOSES: Final = (
    *["ad_matching"] * 4,
    *["web_behaviour", "enhanced_conversions"] * 2,
    *("order_analysis", "newsletter", "nn", "Ad_Matching", None),
)
RIGHTS: Final = (*["object", "lift_objection"] * 3, *["restrict", "unrestrict"] * 2, "erase", "close")

ACCOUNT_DAMAGE: Final = {
    "status": one("locked", "closed", "pending_deletion", "ACTIVE", None),
    "account_type": one("business", "b2b", None),
    "email": one(None, *ADDRESSES),
    "email_source": one("checkout", "newsletter", "import", "form", None),
    "email_verified_at": st.one_of(moments.NEAR, moments.NOW_EDGE, moments.BROKEN),
    "email_changed_at": st.one_of(moments.NEAR, moments.NEAR, moments.NOW_EDGE, moments.BROKEN),
    "country": one("NO", "se", "", None),
    "birth_year": one(None, "2004", "2005", "2006", "2008", "2009", "2010", "2030", *_NOT_WHOLE),
    "protected": st.one_of(one("1"), _NOT_BOOLEAN),
    "test_or_staff": st.one_of(one("1"), _NOT_BOOLEAN),
    "created_at": st.one_of(moments.NEAR, moments.NEAR, moments.INACTIVE_EDGE, moments.BROKEN),
    "last_active_at": st.one_of(moments.INACTIVE_EDGE, moments.INACTIVE_EDGE, moments.BROKEN),
    "changed_at": moments.BROKEN,
    "controller_id": CONTROLLER,
}
MEMBER_DAMAGE: Final = {
    "oldest_order_at": st.one_of(moments.ORDER_EDGE, moments.BROKEN),
    "oldest_site_at": st.one_of(moments.SITE_EDGE, moments.BROKEN),
    "consented_when_collected": st.one_of(one("0"), _NOT_BOOLEAN),
}
CONSENT_DAMAGE: Final = {
    "controller_id": CONTROLLER,
    "recipient": RECIPIENT,
    "action": one("revoke", "GRANT", "object", None),
    "occurred_at": moments.CLOCK,
    "recorded_at": moments.CLOCK,
    "source": SOURCE,
    "source_seq": SEQ,
    "confirmed": st.one_of(one("0"), _NOT_BOOLEAN),
    "text_version": TEXT,
}
RIGHT_DAMAGE: Final = {
    "controller_id": CONTROLLER,
    "action": one("withdraw", "OBJECT", None),
    "purpose": one("ad_matching", "order_analysis", "*", "web_behaviour", "newsletter", "nn", None),
    "occurred_at": moments.CLOCK,
    "recorded_at": moments.CLOCK,
    "source": SOURCE,
    "source_seq": SEQ,
    "case_id": one(None, "", "K-2"),
}


@st.composite
def damaged(draw: st.DrawFn, row: Row | Cells, damage: dict[str, st.SearchStrategy[Cell]], often: int) -> Cells:
    """The row with at most two columns replaced; `often` in ten rows stay sound."""
    cells: Cells = dict(row)
    if draw(st.integers(0, 9)) >= often:
        for column in draw(st.lists(st.sampled_from(sorted(damage)), min_size=1, max_size=2)):
            cells[column] = draw(damage[column])
    return cells
