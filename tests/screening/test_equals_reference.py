"""The vectorised screening equals the row-by-row reference on every candidate, every reason, and the funnel."""

import tempfile
from pathlib import Path

import pyarrow as pa
from hypothesis import HealthCheck, given, note, settings

from nestaudience.customers.sqlite import SqliteStore
from nestaudience.hashing.tokens import Tokens
from nestaudience.screening.engine import EngineLimits, open_engine, uuid_to_tokens
from nestaudience.screening.intake import read_all
from nestaudience.screening.rules import Funnel
from nestaudience.screening.screen import screen
from nestaudience.vocabulary import AudienceKey, Reason, reasons_in
from tests.reference import decide as reference
from tests.reference import store as reference_store
from tests.reference.strategies import Case, cases

TOKENS = Tokens(b"k" * 32)
Answer = tuple[dict[str, frozenset[Reason]], Funnel]


def screened(case: Case, path: Path) -> dict[AudienceKey, Answer]:
    """Account id -> reasons, and the funnel, by the engine, for every audience of the case."""
    reference_store.write(case.world, path)
    segments = frozenset((str(a.controller), str(a.segment)) for a in case.audiences)
    ids = sorted({str(row["account_id"]) for row in case.world.segment_member if row["account_id"] is not None})
    names = dict(zip(TOKENS.of_accounts(pa.array(ids, pa.string())).to_pylist(), ids, strict=True))
    with open_engine(EngineLimits(memory="500MB", threads=1)) as engine, SqliteStore(path).snapshot() as snapshot:
        result = screen(
            engine,
            lambda intake: read_all(intake, snapshot, segments, case.now),
            rules=case.rules,
            audiences=case.audiences,
            tokens=TOKENS,
            now=case.now,
        )
        answers: dict[AudienceKey, Answer] = {}
        for audience in case.audiences:
            table = result.candidates(audience.key)
            tokens = uuid_to_tokens(table.column("account_token")).to_pylist()
            masks = table.column("mask").to_pylist()
            reasons = {names[token]: frozenset(reasons_in(mask)) for token, mask in zip(tokens, masks, strict=True)}
            answers[audience.key] = (reasons, result.funnel(audience.key))
        return answers


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=200)
@given(cases())
def test_every_reason_of_every_candidate(case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = screened(case, Path(folder) / "store.sqlite")
    for audience in case.audiences:
        expected = reference.decide(case.world, case.rules, audience, case.now)
        note(str(audience))
        assert found[audience.key][0] == expected
        assert found[audience.key][1] == reference.funnel(expected)
