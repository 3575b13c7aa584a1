"""A no holds when the store forgets it: what a night remembers of one world, judged on another."""

import hashlib
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from nestaudience.hashing.tokens import Tokens
from nestaudience.screening.engine import EngineLimits, open_engine, prepare, run_file
from nestaudience.screening.recall import Recall
from nestaudience.screening.rules import Rules
from nestaudience.vocabulary import AudienceKey, Reason, Recipient
from tests.reference.damage import SOURCES
from tests.reference.decide import decide, remembered_noes
from tests.reference.rows import Row, World, account, consent, member, right
from tests.reference.strategies import C1, C2, C3, Case, audience, registered_texts
from tests.screening.test_equals_reference import TOKENS, in_sqlite, remembered, screened

NOW = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
RULES = Rules(frozenset({C1, C2, C3}), tuple(Recipient), registered_texts(NOW), SOURCES)
AUDIENCES = tuple(audience(C1, recipient, uses_orders=True, uses_site=False) for recipient in Recipient)
HERS = {"email": "hon@post.se"}
SUPPRESSED, NOTHING = {Reason.SUPPRESSED}, set[Reason]()


def at(day: int) -> Row:
    """Both clocks on that day of October 2026; the noes of these stories are said on the tenth."""
    return dict.fromkeys(("occurred_at", "recorded_at"), f"2026-10-{day:02d}T10:00:00Z")


GRANT, NO = consent("g", **at(1)), consent("n", "withdraw", **at(10))
FIRST = World((account(**HERS),), (GRANT, NO))
"""She said yes on the first, and no on the tenth."""
NEW = account("a2", created_at="2026-10-15T08:00:00Z", **HERS)
"""Another account of the same address, made after the no."""


def judged(before: World, after: World, rules: Rules = RULES, person: str = "a1") -> tuple[set[Reason], set[Reason]]:
    """Her reasons at Google and at Meta in the later world, of which the reference says the same."""
    members = (member(person),)
    case = Case(replace(after, segment_member=members), rules, AUDIENCES, NOW, before, NOW - timedelta(days=20))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        found = screened(case, in_sqlite(case, Path(one)), remembered(case, in_sqlite, Path(other)))
    kept = remembered_noes(before, rules, NOW - timedelta(days=20))
    for each in AUDIENCES:
        assert found[each.key][0] == decide(case.world, rules, each, NOW, kept)
    google, meta = (set(found[AudienceKey(f"c1/s1/{each.value}")][0][person]) for each in Recipient)
    return google, meta


def test_a_store_that_still_shows_the_no_gives_its_own_code() -> None:
    assert judged(FIRST, FIRST) == ({Reason.CONSENT_WITHDRAWN}, {Reason.CONSENT_WITHDRAWN})


def test_a_store_that_forgets_the_no_does_not_undo_it() -> None:
    assert judged(FIRST, World((account(**HERS),), (GRANT,))) == (SUPPRESSED, SUPPRESSED)


@pytest.mark.parametrize(("day", "expected"), [(1, SUPPRESSED), (10, SUPPRESSED), (11, NOTHING)])
def test_the_same_address_comes_back_with_another_account(day: int, expected: set[Reason]) -> None:
    """Account and event are gone. A consent older than the no, or of the same moment, does not count; a newer one does."""
    after = World((NEW | {"email": " HON@post.se"},), (consent("g2", account_id="a2", **at(day)),))
    assert judged(FIRST, after, person="a2") == (expected, expected)


def test_a_withdrawal_for_one_recipient_suppresses_that_one_only() -> None:
    before = World((account(**HERS),), (GRANT, NO | {"recipient": "google"}))
    assert judged(before, World((account(**HERS),), (GRANT,))) == (SUPPRESSED, NOTHING)


def test_the_sequence_of_one_account_and_source_still_decides() -> None:
    before = World((account(**HERS),), (NO | {"source_seq": "7"},))
    for seq, expected in (("6", SUPPRESSED), ("8", NOTHING)):
        after = World((account(**HERS),), (GRANT | {"source_seq": seq},))
        assert judged(before, after) == (expected, expected)


def test_a_remembered_objection_needs_a_lift_and_a_consent() -> None:
    before = World((account(**HERS),), (GRANT,), (right("o", "object", purpose="ad_matching", **at(10)),))
    lift, again = right("l", "lift_objection", purpose="ad_matching", **at(12)), consent("g2", **at(13))
    accounts = (account(**HERS),)
    assert judged(before, World(accounts, (GRANT, again))) == (SUPPRESSED, SUPPRESSED)
    assert judged(before, World(accounts, (GRANT,), (lift,))) == (SUPPRESSED, SUPPRESSED)
    assert judged(before, World(accounts, (GRANT, again), (lift,))) == (NOTHING, NOTHING)


def test_a_remembered_restriction_ends_on_its_account_only() -> None:
    before = World((account(**HERS),), (GRANT,), (right("r", "restrict", **at(10)),))
    accounts = (account(**HERS), NEW)
    ends = (right("u", "unrestrict", **at(12)), right("u", "unrestrict", "a2", **at(12)))
    assert judged(before, World(accounts, (GRANT,), ends[:1])) == (NOTHING, NOTHING)
    assert judged(before, World(accounts, (GRANT,), ends[1:])) == (SUPPRESSED, SUPPRESSED)


def test_no_company_is_not_the_same_company() -> None:
    """Without a company the sequence of an account decides nothing, for what is shown and for what is remembered."""
    nowhere = {"controller_id": None}
    restrict = right("r", "restrict", **nowhere, **at(10)) | {"source_seq": "1"}
    before = World((account(**HERS),), (GRANT,), (restrict,))
    ends = right("u", "unrestrict", **nowhere, **at(10)) | {"source_seq": "2"}
    assert judged(before, World((account(**HERS),), (GRANT,), (restrict, ends))) == ({Reason.RESTRICTED}, {Reason.RESTRICTED})
    assert judged(before, World((account(**HERS),), (GRANT,), (ends,))) == (SUPPRESSED, SUPPRESSED)


def test_what_nobody_configured_is_remembered_as_a_number() -> None:
    """A company's name comes from the store and could be any text, an address too."""
    odd = World((account(**HERS),), (NO | {"controller_id": "hon@post.se"},))
    case = Case(World(), RULES, AUDIENCES, NOW, odd, NOW - timedelta(days=20))
    with tempfile.TemporaryDirectory() as folder:
        kept = remembered(case, in_sqlite, Path(folder))
    assert kept is not None
    (name,) = kept.rows.column("controller").to_pylist()
    assert name.startswith("#")
    assert name[1:].isdigit()
    shown = World((account(**HERS),), (GRANT, NO | {"controller_id": "hon@post.se"}))
    assert judged(odd, shown) == ({Reason.CONSENT_WITHDRAWN}, {Reason.CONSENT_WITHDRAWN})


def test_a_remembered_erasure_does_not_reach_an_account_made_after_it() -> None:
    before = World((account(**HERS),), (GRANT,), (right("e", "erase", None, **HERS, **at(10)),))
    late, early = NEW, NEW | {"created_at": "2026-10-09T08:00:00Z"}
    for row, expected in ((late, NOTHING), (early, SUPPRESSED)):
        assert judged(before, World((row,), (consent("g2", account_id="a2", **at(13)),)), person="a2") == (expected, expected)


def test_a_remembered_objection_to_order_analysis_suppresses_lists_built_on_orders() -> None:
    before = World((account(**HERS),), (GRANT,), (right("o", "object", purpose="order_analysis", **at(10)),))
    after = World((account(**HERS),), (GRANT,))
    assert judged(before, after) == (SUPPRESSED, SUPPRESSED)


def test_narrow_withdrawals_stay_narrow() -> None:
    narrow = replace(RULES, withdrawals_group_wide=False)
    before = World((account(controller_id="c2", **HERS),), (NO | {"controller_id": "c2"},))
    after = World((NEW,), (consent("g2", account_id="a2", **at(1)),))
    assert judged(before, after, narrow, "a2") == (NOTHING, NOTHING)
    assert judged(before, after, RULES, "a2") == (SUPPRESSED, SUPPRESSED)


def test_a_no_without_a_clock_was_said_when_it_was_first_seen() -> None:
    """Twenty days ago. Until memory knows it, nothing outdoes it."""
    blank = {"occurred_at": None, "recorded_at": None}
    seen = NOW - timedelta(days=20)
    accounts, no = (account(**HERS),), NO | blank
    before = World(accounts, (no,))
    for minutes, expected in ((-6, {Reason.CONSENT_WITHDRAWN}), (6, NOTHING)):
        clock = (seen + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")
        grant = consent("g2") | dict.fromkeys(("occurred_at", "recorded_at"), clock)
        assert judged(before, World(accounts, (grant, no))) == (expected, expected)
        gone = SUPPRESSED if expected else NOTHING
        assert judged(before, World(accounts, (grant,))) == (gone, gone)
        assert judged(World(), World(accounts, (grant, no))) == ({Reason.CONSENT_WITHDRAWN}, {Reason.CONSENT_WITHDRAWN})


def test_of_two_noes_without_a_clock_nobody_knows_which_was_seen() -> None:
    """The second of them may have been said a minute ago."""
    blank = {"occurred_at": None, "recorded_at": None}
    accounts, no, again = (account(**HERS),), NO | blank, NO | blank | {"event_id": "n2"}
    clocks = dict.fromkeys(("occurred_at", "recorded_at"), "2026-11-20T10:00:00Z")
    withdrawn = {Reason.CONSENT_WITHDRAWN}
    for noes, expected in (((no,), NOTHING), ((no, again), withdrawn)):
        after = World(accounts, (consent("g2", **clocks), *noes))
        assert judged(World(accounts, (no,)), after) == (expected, expected)


def test_a_word_has_the_same_number_for_ever() -> None:
    """Sources are remembered as numbers: another number after an update of the engine would make them strangers."""
    digest = hashlib.md5("butik-å".encode(), usedforsecurity=False).digest()
    with open_engine(EngineLimits(memory="100MB", threads=1)) as engine:
        prepare(engine, RULES, AUDIENCES, NOW)
        run_file(engine, "nestaudience.screening", "01_tables.sql")
        found = engine.execute("SELECT number_of('butik-å'), number_of(NULL)").fetchall()
    assert found == [(int.from_bytes(digest[8:], "little"), None)]


def test_the_old_address_keeps_the_no_after_a_change() -> None:
    """Her account moves on with its no; whoever comes with the old address is suppressed."""
    moved = account(email="ny@post.se")
    after = World((moved, NEW), (NO, consent("g2", account_id="a2", **at(1))))
    assert judged(FIRST, after, person="a2") == (SUPPRESSED, SUPPRESSED)


@pytest.mark.parametrize(
    ("after", "person", "expected"),
    [
        (World((account(**HERS),), (GRANT | {"source_seq": "6"},)), "a1", SUPPRESSED),
        (World((account(**HERS),), (GRANT | {"source_seq": "8"},)), "a1", NOTHING),
        (World((NEW,), (consent("g2", account_id="a2", **at(1)),)), "a2", SUPPRESSED),
        (World((NEW,), (consent("g2", account_id="a2", **at(12)),)), "a2", NOTHING),
        (World((account(**HERS),), (GRANT, NO | {"source_seq": "7"})), "a1", {Reason.CONSENT_WITHDRAWN}),
    ],
)
def test_memory_survives_new_keys(after: World, person: str, expected: set[Reason]) -> None:
    """Both keys are new since: the address, and the account with its sequence, are known again by the old ones."""
    before = World((account(**HERS),), (NO | {"source_seq": "7"},))
    case = Case(replace(after, segment_member=(member(person),)), RULES, AUDIENCES, NOW, before, NOW - timedelta(days=20))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        old = remembered(case, in_sqlite, Path(other))
        assert old is not None
        recall = Recall(old.rows, (Tokens(b"n" * 32), *old.keys), (TOKENS,))
        found = screened(case, in_sqlite(case, Path(one)), recall, Tokens(b"i" * 32))
    assert [set(found[each.key][0][person]) for each in AUDIENCES] == [expected, expected]


def test_tokens_of_memory_tell_nothing_without_their_key() -> None:
    """An address has another token there than everywhere else."""
    address = pa.array(["hon@post.se"])
    assert Tokens(b"s" * 32).of_people(address) != Tokens(b"k" * 32).of_people(address)
