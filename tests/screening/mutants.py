"""Faults that somebody could write into the rules' SQL, one by one: each is a small edit of a copy of the package, and the comparison with the slow
reference must find it.

    python -m tests.screening.mutants 300 1      # the worlds written by hand, then 300 generated ones of seed 1
    python -m tests.screening.mutants 0 1        # only those written by hand

The exit code is 1 when a difference is found, which is shown with the number of worlds that it took.
"""

import sys
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.machine_mutants import Mutant, said_in
from tests.reference.edges import edges
from tests.reference.strategies import Case, cases
from tests.screening.test_equals_reference import compare

_ACCOUNT, _NOES, _SUBJECTS = "screening/sql/01_load_account.sql", "screening/sql/03_noes.sql", "screening/sql/02_subjects.sql"
_RECALL, _REACHED = "screening/sql/02_recall.sql", "screening/sql/03_reached.sql"
_CONSENT, _RIGHTS, _ANSWER = "screening/sql/04_consent.sql", "screening/sql/05_rights.sql", "screening/sql/06_answer.sql"


_JOINED = (
    "SELECT rowid, * REPLACE (max(occurred) OVER (PARTITION BY subject_no, purpose) AS occurred,"
    " max(recorded) OVER (PARTITION BY subject_no, purpose) AS recorded) FROM yes"
)
"""The grants as they are, but each with the latest clocks that any grant of its account and purpose has."""


def _one(name: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(name, ((file, old, new),))


MUTANTS: Final = (
    _one("a no is as late as its later clock", _NOES, "ELSE least(coalesce(occurred", "ELSE greatest(coalesce(occurred"),
    _one("a yes needs no skew", _REACHED, "y_occurred > n_occurred + getvariable('skew')", "y_occurred > n_occurred"),
    _one(
        "a yes is later on one clock only",
        _REACHED,
        "getvariable('skew') AND y_recorded > n_recorded END",
        "getvariable('skew') END",
    ),
    _one("a tie of sequence numbers goes to the yes", _REACHED, "THEN y_seq > n_seq", "THEN y_seq >= n_seq"),
    _one(
        "a grant may be recorded long before it was given",
        _REACHED,
        "AND (occurred <= recorded OR occurred <= recorded + getvariable('skew')) THEN",
        "THEN",
    ),
    _one(
        "a no reaches its own account only",
        _REACHED,
        "ON s.person_token = n.person_token",
        "ON s.account_token = n.account_token",
    ),
    _one("a closure reaches everybody with the address", _REACHED, "WHERE n.kind <> 'closed'", "WHERE true"),
    _one("an unknown recipient is one of them", _NOES, "THEN recipient ELSE 3 END", "THEN recipient ELSE 1 END"),
    _one(
        "an unknown purpose is no purpose",
        _NOES,
        "FROM withdrawal WHERE purpose IN (0, 1)",
        "FROM withdrawal WHERE purpose IN (1)",
    ),
    _one("anybody's unrestrict ends a restriction", _REACHED, "AND (u.account_token = no_event.account_token", "AND (true"),
    _one(
        "a disputed grant counts",
        _CONSENT,
        "AND c.event NOT IN (SELECT event FROM disputed WHERE view_name = 'consent') THEN",
        "THEN",
    ),
    _one("an unconfirmed grant counts", _CONSENT, "AND c.confirmed AND usable(", "AND usable("),
    _one(
        "a text counts before it was in force",
        _CONSENT,
        "v.text_no IS NOT NULL AND t.valid_from <= c.occurred",
        "v.text_no IS NOT NULL",
    ),
    _one("half of Google's signals suffice", _CONSENT, "CASE WHEN signals = 3 THEN 3 ELSE 2 END", "3"),
    _one("consent holds on the day it ends", _CONSENT, "> getvariable('now') AS fresh", ">= getvariable('now') AS fresh"),
    _one(
        "any cookie grant ends any refusal",
        _CONSENT,
        "AND y.purpose = CASE n.kind WHEN 'cookies_web' THEN 2 WHEN 'cookies_conversions' THEN 3 END",
        "AND y.purpose IN (2, 3) AND n.kind IN ('cookies_web', 'cookies_conversions', 'cookies_unknown')",
    ),
    _one(
        "one withdrawal outdone is all of them",
        _CONSENT,
        "bit_and(left_of_it) FILTER (withdrawal)",
        "bit_or(left_of_it) FILTER (withdrawal)",
    ),
    _one(
        "two grants share the work of one",
        _CONSENT,
        "bit_or(all_noes) AS any_both",
        "coalesce(bit_or(withdrawals), 3) & coalesce(bit_or(refusals), 3) AS any_both",
    ),
    _one(
        "a grant for one recipient is for both",
        _CONSENT,
        "CASE c.recipient WHEN 4 THEN coalesce(t.recipients, 3) WHEN 0 THEN 0 ELSE c.recipient END",
        "CASE c.recipient WHEN 0 THEN 0 ELSE 3 END",
    ),
    _one(
        "refused cookies never end",
        _CONSENT,
        "y.seq, y.occurred, y.recorded, n.seq, n.occurred, n.recorded);",
        "y.seq, y.occurred, y.recorded, n.seq, n.occurred, n.recorded) AND false;",
    ),
    _one(
        "a lift counts at any company",
        _RIGHTS,
        "ON l.account_token = st.account_token AND l.controller = st.controller",
        "ON l.account_token = st.account_token",
    ),
    _one(
        "a lift counts from anywhere",
        _RIGHTS,
        "(r.source_kind = 'account_prefs' OR (r.source_kind IN ('support_case', 'dsr') AND r.has_case))",
        "true",
    ),
    _one(
        "a grant older than the lift counts after it",
        _RIGHTS,
        "  AND y.occurred >= l.lift_occurred AND y.recorded >= l.lift_recorded\n",
        "",
    ),
    _one(
        "an account is newer by one clock",
        _RIGHTS,
        "st.created_at > st.occurred AND st.created_at > st.recorded",
        "st.created_at > st.occurred OR st.created_at > st.recorded",
    ),
    _one(
        "behaviour consent outlives its refusal",
        _RIGHTS,
        "n.kind IN ('cookies_web', 'cookies_unknown')",
        "n.kind IN ('cookies_unknown')",
    ),
    _one(
        "somebody who is gone has reasons of the segment",
        _ANSWER,
        "CASE WHEN a.gone THEN 0::UBIGINT ELSE",
        "CASE WHEN false THEN 0::UBIGINT ELSE",
    ),
    _one(
        "a visit on the last day is too old",
        _ANSWER,
        "oldest_site + to_days(getvariable('site_days')) <",
        "oldest_site + to_days(getvariable('site_days')) <=",
    ),
    _one(
        "two blocked accounts of one address do not see each other",
        _ANSWER,
        "b.accounts > 1 OR b.account_token <> s.account_token",
        "b.account_token <> s.account_token",
    ),
    _one(
        "whoever turns eighteen this year is grown up",
        _ACCOUNT,
        "year(getvariable('now')) - born <= 18, r_minor()",
        "year(getvariable('now')) - born < 18, r_minor()",
    ),
    _one("a changed address needs no new verification", _ACCOUNT, "true) OR coalesce(moved > verified, false)", "true)"),
    _one(
        "an unclear action is forgotten by another of the same moment",
        _SUBJECTS,
        "later.recorded > e.recorded",
        "later.recorded >= e.recorded",
    ),
    _one(
        "memory is forgotten when the account is gone",
        _RECALL,
        "person.now AS person_token",
        "CASE WHEN m.account_token IS NULL THEN person.now END AS person_token",
    ),
    _one(
        "what memory holds of consent is for one recipient",
        _CONSENT,
        "contest_mask(withdrawn, refused, expired, 1) AS google, contest_mask(withdrawn, refused, expired, 2) AS meta",
        "contest_mask(withdrawn, refused, expired, CASE WHEN with_memory THEN 3 ELSE 1 END) AS google,"
        " contest_mask(withdrawn, refused, expired, CASE WHEN with_memory THEN 3 ELSE 2 END) AS meta",
    ),
    _one("a code of the store's is said to be memory's", _RIGHTS, "(kept_google & ~google) > 0", "kept_google > 0"),
    _one(
        "the clocks of two grants are joined",
        _CONSENT,
        "FROM against a JOIN yes y ON",
        f"FROM against a JOIN ({_JOINED}) y ON",
    ),
    _one(
        "the clocks of two cookie grants are joined",
        _CONSENT,
        "FROM reached n JOIN yes y ON",
        f"FROM reached n JOIN ({_JOINED}) y ON",
    ),
    _one(
        "the clocks of two grants after a lift are joined",
        _RIGHTS,
        "USING (subject_no, no_no) JOIN yes y ON",
        f"USING (subject_no, no_no) JOIN ({_JOINED}) y ON",
    ),
    Mutant(
        "a grant may follow one lift on one clock and another on the other",
        (
            (
                _RIGHTS,
                "st.kind, l.occurred AS lift_occurred, l.recorded AS lift_recorded",
                "st.kind, min(l.occurred) OVER whose AS lift_occurred, min(l.recorded) OVER whose AS lift_recorded",
            ),
            (
                _RIGHTS,
                "UNION ALL SELECT subject_no, no_no, kind, lifted",
                "WINDOW whose AS (PARTITION BY st.subject_no, st.no_no)\nUNION ALL SELECT subject_no, no_no, kind, lifted",
            ),
        ),
    ),
    _one("nothing is remembered", _RECALL, "ON owner.kept = m.account_token\n", "ON owner.kept = m.account_token WHERE false\n"),
    _one(
        "what was said to one recipient is remembered for both",
        _RECALL,
        "m.controller, m.bits,",
        "m.controller, 3::UTINYINT AS bits,",
    ),
    _one(
        "what is remembered needs no skew",
        _RECALL,
        "ELSE coalesce(m.occurred, 'infinity'::TIMESTAMP) END AS occurred",
        "ELSE coalesce(m.occurred - getvariable('skew'), 'infinity'::TIMESTAMP) END AS occurred",
    ),
    _one(
        "memory has no sequence",
        _RECALL,
        "m.source, m.seq, m.occurred IS NULL",
        "m.source, NULL::BIGINT AS seq, m.occurred IS NULL",
    ),
    _one(
        "what has no clock is remembered as never outdone",
        _RECALL,
        "THEN m.first_seen\n            ELSE coalesce(m.occurred,",
        "THEN 'infinity'::TIMESTAMP\n            ELSE coalesce(m.occurred,",
    ),
    _one("memory reaches no other account of the address", _RECALL, "person.now AS person_token", "NULL::UUID AS person_token"),
    _one(
        "a remembered objection is lifted by nothing",
        _RIGHTS,
        "WHERE ((st.kind = 'objected' AND l.for_matching)",
        "WHERE NOT st.remembered AND ((st.kind = 'objected' AND l.for_matching)",
    ),
    _one(
        "a remembered restriction ends by nothing",
        _REACHED,
        "DELETE FROM no_event WHERE kind = 'restricted' AND EXISTS (",
        "DELETE FROM no_event WHERE kind = 'restricted' AND NOT remembered AND EXISTS (",
    ),
    _one("a remembered objection to analysis is forgotten", _RIGHTS, "kept_analysis AND NOT analysis AS", "false AS"),
)


def hunt(worlds: int, first: int) -> None:
    """Compare the worlds written by hand and so many of one seed, and stop at the first difference, without making it smaller."""
    compared = 0

    def comparing(case: Case) -> None:
        nonlocal compared
        compared += 1
        try:
            compare(case)
        except AssertionError:
            print(f"a difference in world {compared}")  # noqa: T201 - it is what this program says
            raise

    for case in edges().values():
        comparing(case)
    if worlds:
        settled = settings(
            max_examples=worlds,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=False,
        )
        seed(first)(settled(given(cases())(comparing)))()


def hunted(folder: Path, worlds: int, first: int) -> tuple[int, str]:
    """Compare on such a copy: the exit code and what was said."""
    return said_in(folder, "-m", "tests.screening.mutants", str(worlds), str(first))


if __name__ == "__main__":
    hunt(int(sys.argv[1]), int(sys.argv[2]))
