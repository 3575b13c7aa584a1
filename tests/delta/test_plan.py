"""The delta in SQL equals a plain reading of the rules, row by row, over generated worlds: who leaves, as a no or not, who joins, in which order."""

import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nestaudience.delta.gates import Limits, only_noes, stop_additions
from nestaudience.delta.plan import Delta, Orders, work_out
from nestaudience.hashing.tokens import Tokens
from nestaudience.screening.engine import EngineLimits, open_engine
from nestaudience.screening.rules import AudienceRule, Rules
from nestaudience.screening.screen import HELD_SCHEMA, Screened, screen
from nestaudience.vocabulary import NO_MASK, AudienceKey, ControllerId, Reason, Recipient, SegmentCode

NOW = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
KEYS = (AudienceKey("c1/s1/google"), AudienceKey("c1/s2/google"))
OPEN = Limits(smallest=0, change_percent=50, change_people=1000, ever_held=True)
RULES = Rules(frozenset({ControllerId("c1")}), (Recipient.GOOGLE,), (), {})


@dataclass(frozen=True)
class Member:
    """One candidate of one audience: whose account, which digest she has now, and what speaks against her."""

    audience: int
    account: int
    digest: int
    mask: int


@dataclass(frozen=True)
class Row:
    """One membership in the ledger."""

    audience: int
    account: int
    digest: int
    confirmed: bool
    in_flight: bool
    removing: bool
    owed: bool
    unanswered: bool
    again: int


def token(kind: int, number: int) -> bytes:
    return uuid.UUID(int=kind << 64 | number).bytes


MASKS = st.sampled_from(
    [
        0,
        0,
        0,
        Reason.CONSENT_WITHDRAWN.bit,
        Reason.INACTIVE.bit,
        Reason.INACTIVE.bit | Reason.MINOR.bit,
        Reason.CONSENT_MISSING.bit,
    ]
)
MEMBERS = st.lists(
    st.builds(Member, st.integers(0, 1), st.integers(0, 7), st.integers(0, 7), MASKS),
    max_size=12,
    unique_by=lambda m: (m.audience, m.account),
)
NOTHING = (False, False, False, False, False)
STATES = st.sampled_from(
    [
        (True, False, False, False, False),
        (False, True, False, False, False),
        (False, False, True, True, False),
        (False, False, False, True, False),
        (False, False, False, True, True),
        (False, False, True, False, True),
        NOTHING,
    ]
)
ROWS = st.lists(
    st.builds(
        lambda a, b, c, s, again: Row(a, b, c, *s, again if s == NOTHING else 0),
        st.integers(0, 1),
        st.integers(0, 7),
        st.integers(0, 7),
        STATES,
        st.sampled_from([0, 0, 3, 4]),
    ),
    max_size=14,
)


EMPTIED = st.sampled_from([frozenset(), frozenset(), frozenset({KEYS[1]}), frozenset(KEYS)])
RETRACTED = st.none() | st.frozensets(st.integers(0, 13))


def orders_of(emptied: frozenset[AudienceKey], retracted: frozenset[int] | None, resend: bool) -> Orders:
    return Orders(emptied, None if retracted is None else pa.array(sorted(retracted), pa.int64()), resend)


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with open_engine(EngineLimits(memory="500MB", threads=1)) as connection:
        yield connection


def screened(engine: duckdb.DuckDBPyConnection, members: list[Member], rows: list[Row]) -> Screened:
    """An empty screening whose tables are then filled as screening would leave them. An account has one digest, that of its first member."""
    rules = [
        AudienceRule(key, ControllerId("c1"), SegmentCode(f"s{n + 1}"), Recipient.GOOGLE, uses_orders=False, uses_site=False)
        for n, key in enumerate(KEYS)
    ]
    held = pa.table(
        {
            "audience_no": pa.array([r.audience for r in rows], pa.int32()),
            "held_no": pa.array(range(len(rows)), pa.int64()),
            **{
                name: _uuids([token(kind, getattr(r, field)) for r in rows])
                for name, kind, field in (
                    ("account_token", 1, "account"),
                    ("person_token", 2, "account"),
                    ("digest", 3, "digest"),
                )
            },
            **{
                name: pa.array([getattr(r, name) for r in rows], pa.bool_())
                for name in ("confirmed", "in_flight", "removing", "owed", "unanswered")
            },
            "again": pa.array([r.again for r in rows], pa.int64()),
        },
        schema=HELD_SCHEMA,
    )
    result = screen(engine, lambda intake: None, rules=RULES, audiences=rules, tokens=Tokens(b"k" * 32), now=NOW, held=[held])
    engine.execute("DELETE FROM answer")
    engine.execute("DELETE FROM candidate")
    for number, (account, (digest, mask)) in enumerate(answers(members).items()):
        engine.execute(
            "INSERT INTO answer (subject_no, account_token, controller, row_no, person_token, digest_google, gone, signals, google, meta, analysis) "
            "VALUES (?, ?, 'c1', ?, ?, ?, false, 3, ?, 0, false)",
            [
                number,
                uuid.UUID(bytes=token(1, account)),
                number,
                uuid.UUID(bytes=token(2, account)),
                uuid.UUID(bytes=token(3, digest)),
                mask,
            ],
        )
        for audience in sorted({m.audience for m in members if m.account == account}):
            engine.execute(
                "INSERT INTO candidate (audience_no, account_token, subject_no, row_no, digest, signals, mask) VALUES (?, ?, ?, ?, ?, 3, ?)",
                [audience, uuid.UUID(bytes=token(1, account)), number, number, uuid.UUID(bytes=token(3, digest)), mask],
            )
    return result


def answers(members: list[Member]) -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for member in members:
        found.setdefault(member.account, (member.digest, member.mask))
    return found


def _uuids(values: list[bytes]) -> pa.Array:
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array(values, pa.binary(16)))


@dataclass
class Expected:
    """What the rules say of one audience."""

    noes: set[int]
    ordered: set[int]
    ordinary: set[int]
    additions: set[int]


def added_again(rows: list[Row], owed: Row) -> bool:
    """Whether somebody joined the list once more after her removal had been tried: she was wanted then."""
    after = rows[next(n for n, row in enumerate(rows) if row is owed) + 1 :]
    same = [row for row in after if (row.audience, row.digest) == (owed.audience, owed.digest)]
    return any(not row.owed and not row.removing for row in same)


def by_hand(members: list[Member], rows: list[Row], audience: int, orders: Orders) -> Expected:
    known = answers(members)
    mine = [row for row in rows if row.audience == audience]
    taken_back = set() if orders.retracted is None else set(orders.retracted.to_pylist())
    ordered = {row.digest for row in mine if KEYS[audience] in orders.emptied}
    for row in mine:
        first = min(n for n, each in enumerate(rows) if each.audience == audience and each.digest == row.digest)
        ordered |= {row.digest} if first in taken_back else set()
    wanted = {known[m.account][0] for m in members if m.audience == audience and known[m.account][1] == 0} - ordered
    if KEYS[audience] in orders.emptied:
        wanted = set()
    of: dict[int, list[Row]] = defaultdict(list)
    for row in mine:
        if not row.removing and row.digest not in wanted:
            of[row.digest].append(row)
    noes = set()
    for digest, same in of.items():
        for row in same:
            now = known.get(row.account)
            moved = now is not None and now[0] != row.digest
            if (row.owed and not added_again(rows, row)) or moved or (now is not None and now[1] & NO_MASK):
                noes.add(digest)
    under_way = {row.digest for row in mine if row.in_flight or row.removing or row.unanswered}
    blocked = under_way | {row.digest for row in mine if row.confirmed and not orders.resend}
    left = set(of) - noes
    return Expected(noes, left & ordered, left - ordered, wanted - blocked)


def numbers(table: pa.Table) -> list[int]:
    return [value.int & (1 << 64) - 1 for value in table.column("digest").to_pylist()]


ASKED_AND_ADDED = [Row(0, 0, 0, *state, 0) for state in [(False, False, False, True, False), (True, False, False, False, False)]]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@example([], ASKED_AND_ADDED, "open", orders_of(frozenset(), None, resend=False))
@example([], ASKED_AND_ADDED, "noes", orders_of(frozenset(), None, resend=False))
@example([], ASKED_AND_ADDED[::-1], "noes", orders_of(frozenset(), None, resend=False))
@given(MEMBERS, ROWS, st.sampled_from(["open", "additions", "noes"]), st.builds(orders_of, EMPTIED, RETRACTED, st.booleans()))
def test_the_delta_equals_a_reading_by_hand(
    engine: duckdb.DuckDBPyConnection, members: list[Member], rows: list[Row], gate: str, orders: Orders
) -> None:
    closed = {"open": (), "additions": (stop_additions("x", "y"),), "noes": (only_noes("x", "y"),)}[gate]
    delta: Delta = work_out(screened(engine, members, rows), dict.fromkeys(KEYS, OPEN), {KEYS[0]: closed}, orders)
    for audience, key in enumerate(KEYS):
        expected, plan = by_hand(members, rows, audience, orders), delta.plans[key]
        held = gate if audience == 0 else "open"
        removed, added = delta.removals(key), delta.additions(key)
        always = expected.noes | expected.ordered
        assert set(numbers(removed)) == always | (set() if held == "noes" else expected.ordinary)
        assert set(numbers(added)) == (expected.additions if held == "open" else set())
        assert removed.column("is_no").to_pylist() == sorted(removed.column("is_no").to_pylist(), reverse=True)
        assert {n for n, no in zip(numbers(removed), removed.column("is_no").to_pylist(), strict=True) if no} == expected.noes
        assert len(numbers(removed)) == len(set(numbers(removed))) == plan.removals_to_send
        assert len(numbers(added)) == plan.additions_to_send
        assert (plan.counts.noes, plan.counts.ordered, plan.counts.ordinary, plan.counts.additions) == (
            len(expected.noes),
            len(expected.ordered),
            len(expected.ordinary),
            len(expected.additions),
        )
        told = {row for lists in removed.column("held_nos").to_pylist() for row in lists}
        assert told == {
            n for n, r in enumerate(rows) if r.audience == audience and not r.removing and r.digest in set(numbers(removed))
        }
