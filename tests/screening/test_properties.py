"""What must hold for the vectorised screening on any generated world, without the reference: a no, a grant elsewhere, and the same question twice."""

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from nestaudience.screening.engine import EngineLimits, open_engine
from nestaudience.screening.intake import read_all
from nestaudience.screening.screen import screen
from nestaudience.vocabulary import AudienceKey, Reason
from tests.reference.edges import edges
from tests.reference.rows import consent, right
from tests.reference.strategies import Case, cases
from tests.screening.test_equals_reference import TOKENS, in_sqlite, remembered, screened

FEW = settings(
    max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
OWNERS = st.sampled_from([*(f"{kind}{number}" for kind in ("a", "s", "ps") for number in range(3)), "ghost"])
APART = "source_of_no_other_event"
"""A raw source of its own: an added event then follows no event of unknown action, whose `malformed` it would end."""
BY_HAND = edges()["inputs"]
Reasons = dict[AudienceKey, dict[str, frozenset[Reason]]]


def reasons(case: Case) -> Reasons:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as before:
        recall = remembered(case, in_sqlite, Path(before))
        return {key: found for key, (found, _) in screened(case, in_sqlite(case, Path(folder)), recall).items()}


def eligible(found: Reasons) -> set[tuple[AudienceKey, str]]:
    return {(key, account) for key, each in found.items() for account, why in each.items() if not why}


def saying(case: Case, **more: tuple[dict[str, str | None], ...]) -> Case:
    return replace(case, world=case.world.plus(**more))


@FEW
@given(
    cases(), OWNERS, st.sampled_from(["withdraw", "object", "restrict", "erase", "close", "nn"]), st.sampled_from([0, 900, None])
)
@example(BY_HAND, "eligible", "withdraw", 0)
@example(BY_HAND, "eligible", "object", None)
@example(BY_HAND, "cookies_granted_again", "restrict", 900)
def test_a_no_never_makes_anyone_eligible(case: Case, owner: str, action: str, days: int | None) -> None:
    clock = None if days is None else (case.now - timedelta(days=days)).isoformat()
    facts = {"source": APART, "occurred_at": clock, "recorded_at": clock}
    if action == "withdraw":
        more = saying(case, consent_event=(consent("new", action, owner, **facts),))
    else:
        more = saying(case, rights_event=(right("new", action, owner, **facts),))
    after = eligible(reasons(more))
    assert after <= eligible(reasons(case))
    if days == 0 and action not in {"nn", "close"}:
        assert owner not in {account for _, account in after}


@FEW
@given(cases(), OWNERS, st.sampled_from(["ad_matching", "web_behaviour", "enhanced_conversions", "newsletter"]))
@example(BY_HAND, "twin_withdrew", "ad_matching")
@example(BY_HAND, "cookies_outdone_by_matching", "web_behaviour")
def test_a_grant_on_another_account_changes_nothing_here(case: Case, owner: str, purpose: str) -> None:
    clock = case.now.isoformat()
    grant = consent("new", "grant", owner, purpose=purpose, occurred_at=clock, recorded_at=clock, source_seq="99")
    before, after = reasons(case), reasons(saying(case, consent_event=(grant,)))
    for key, found in before.items():
        assert found | {owner: frozenset()} == after[key] | {owner: frozenset()}


def answer_bytes(case: Case, threads: int) -> bytes:
    """Every table of the answer as bytes."""
    segments = frozenset((str(a.controller), str(a.segment)) for a in case.audiences)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as before:
        recall = remembered(case, in_sqlite, Path(before))
        store = in_sqlite(case, Path(folder))
        with open_engine(EngineLimits(memory="500MB", threads=threads)) as engine, store.snapshot() as snapshot:
            result = screen(
                engine,
                lambda intake: read_all(intake, snapshot, segments, case.now),
                rules=case.rules,
                audiences=case.audiences,
                tokens=TOKENS,
                now=case.now,
                recall=recall,
            )
            sink = pa.BufferOutputStream()
            for audience in case.audiences:
                table = result.candidates(audience.key)
                with pa.ipc.new_stream(sink, table.schema) as writer:
                    writer.write_table(table.combine_chunks())
                sink.write(repr(result.funnel(audience.key)).encode())
            return bytes(sink.getvalue())


@settings(FEW, max_examples=5)
@given(cases())
@example(BY_HAND)
@example(edges()["memory"])
def test_the_same_snapshot_gives_the_same_bytes(case: Case) -> None:
    """Whatever the number of threads."""
    assert answer_bytes(case, 1) == answer_bytes(case, 1) == answer_bytes(case, 2)
