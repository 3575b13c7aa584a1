"""The vectorised screening equals the row-by-row reference: on every candidate, every reason, and the funnel.

`--long` tries many more worlds.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from nestaudience.customers.port import CustomerStore
from nestaudience.customers.sqlite import SqliteStore
from nestaudience.hashing.tokens import Tokens
from nestaudience.remembering import MONTHS, to_engine, to_ledger
from nestaudience.screening.engine import EngineLimits, open_engine, uuid_to_tokens
from nestaudience.screening.intake import read_all
from nestaudience.screening.recall import REMEMBERED_SCHEMA, Recall
from nestaudience.screening.rules import Funnel
from nestaudience.screening.screen import screen
from nestaudience.vocabulary import NO_REASONS, AudienceKey, Reason, reasons_in
from tests.reference import decide as reference
from tests.reference import store as reference_store
from tests.reference.edges import edges
from tests.reference.strategies import Case, cases
from tests.reliability import Row, collect

TOKENS = Tokens(b"k" * 32)
KEEPING = Tokens(b"s" * 32)
Answer = tuple[dict[str, frozenset[Reason]], Funnel]


def in_sqlite(case: Case, folder: Path) -> CustomerStore:
    """The case's world as a SQLite file."""
    reference_store.write(case.world, folder / "store.sqlite")
    return SqliteStore(folder / "store.sqlite", irrelevant_purposes=case.rules.irrelevant_purposes)


def remembered(case: Case, store_of: Callable[[Case, Path], CustomerStore], folder: Path) -> Recall | None:
    """What the earlier night remembers, by the engine."""
    if case.seen_at is None:
        return None
    seen_at = case.seen_at
    nothing = Recall(REMEMBERED_SCHEMA.empty_table(), (KEEPING,))
    store = store_of(replace(case, world=case.earlier), folder)
    with open_engine(EngineLimits(memory="500MB", threads=1)) as engine, store.snapshot() as snapshot:
        result = screen(
            engine,
            lambda intake: read_all(intake, snapshot, frozenset(), seen_at),
            rules=case.rules,
            audiences=(),
            tokens=TOKENS,
            now=seen_at,
            recall=nothing,
        )
        return Recall(to_engine(to_ledger(result.new_noes(MONTHS), seen_at, "k k")), (KEEPING,))


def screened(case: Case, store: CustomerStore, recall: Recall | None = None, keyed: Tokens = TOKENS) -> dict[AudienceKey, Answer]:
    """Account id -> reasons, and the funnel, by the engine, for every audience of the case."""
    segments = frozenset((str(a.controller), str(a.segment)) for a in case.audiences)
    ids = sorted({str(row["account_id"]) for row in case.world.segment_member if row["account_id"] is not None})
    names = dict(zip(keyed.of_accounts(pa.array(ids, pa.string())).to_pylist(), ids, strict=True))
    with open_engine(EngineLimits(memory="500MB", threads=1)) as engine, store.snapshot() as snapshot:
        result = screen(
            engine,
            lambda intake: read_all(intake, snapshot, segments, case.now),
            rules=case.rules,
            audiences=case.audiences,
            tokens=keyed,
            now=case.now,
            recall=recall,
        )
        answers: dict[AudienceKey, Answer] = {}
        for audience in case.audiences:
            table = result.candidates(audience.key)
            tokens = uuid_to_tokens(table.column("account_token")).to_pylist()
            masks = table.column("mask").to_pylist()
            reasons = {names[token]: frozenset(reasons_in(mask)) for token, mask in zip(tokens, masks, strict=True)}
            answers[audience.key] = (reasons, result.funnel(audience.key))
        return answers


def compare(case: Case, store_of: Callable[[Case, Path], CustomerStore] = in_sqlite) -> None:
    """Both answer the same. Of an account id that stands twice both must say malformed, and the engine every no of the reference: which
    row's other facts are reported is nobody's promise."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as before:
        recall = remembered(case, store_of, Path(before))  # first: a store may take the place of the one before it
        found = screened(case, store_of(case, Path(folder)), recall)
    kept = [] if case.seen_at is None else reference.remembered_noes(case.earlier, case.rules, case.seen_at)
    ids = [row["account_id"] for row in case.world.account]
    twins = {account_id for account_id in ids if ids.count(account_id) > 1}
    for audience in case.audiences:
        expected = reference.decide(case.world, case.rules, audience, case.now, kept)
        answered, funnel = found[audience.key]
        single = [account_id for account_id in expected if account_id not in twins]
        assert {key: answered[key] for key in single} == {key: expected[key] for key in single}, audience.key
        assert answered.keys() == expected.keys()
        for account_id in expected.keys() & twins:
            assert Reason.MALFORMED in answered[account_id]
            assert answered[account_id] >= expected[account_id] & NO_REASONS
        if not expected.keys() & twins:
            assert funnel == reference.funnel(expected)


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in edges().items()])
def test_worlds_written_by_hand(case: Case) -> None:
    compare(case)


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=80)
@given(cases())
def test_every_reason_of_every_candidate(case: Case) -> None:
    compare(case)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_reason_of_every_candidate_in_many_worlds() -> None:
    worlds = 3000

    @settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=worlds)
    @given(cases())
    def in_many(case: Case) -> None:
        compare(case)

    in_many()
    collect("screening", [Row("generated worlds in which every candidate is judged as the slow reference judges", worlds)])
