"""What must hold for the reference on any generated world, and that the generated worlds are worth asking about."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nestaudience.customers import contract
from nestaudience.vocabulary import Reason, Recipient

from . import rows
from .decide import Decisions, decide, funnel, remembered_noes
from .rows import account, consent, right
from .store import write
from .strategies import Case, cases
from .values import canonical, moment

FEW = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
OWNERS = st.sampled_from([*(f"{kind}{number}" for kind in ("a", "s", "ps") for number in range(3)), "ghost"])
APART = "source_of_no_other_event"
"""A raw source of its own: an added event then follows no event of unknown action, whose `malformed` it would end."""


def answers(case: Case) -> list[Decisions]:
    return [decide(case.world, case.rules, audience, case.now) for audience in case.audiences]


def with_memory(case: Case) -> list[Decisions]:
    kept = [] if case.seen_at is None else remembered_noes(case.earlier, case.rules, case.seen_at)
    return [decide(case.world, case.rules, audience, case.now, kept) for audience in case.audiences]


def eligible(decisions: Decisions) -> set[str]:
    return {account_id for account_id, reasons in decisions.items() if not reasons}


@FEW
@given(cases(), OWNERS, st.sampled_from(["withdraw", "object", "restrict", "erase", "close", "nn"]), st.data())
def test_a_no_never_makes_anyone_eligible(case: Case, owner: str, action: str, data: st.DataObject) -> None:
    clock = data.draw(st.sampled_from([case.now.isoformat(), (case.now - timedelta(days=900)).isoformat(), None]))
    facts = {
        "source": APART,
        "occurred_at": clock,
        "recorded_at": clock,
        "controller_id": data.draw(st.sampled_from(["c1", "c2", None])),
    }
    if action == "withdraw":
        purpose = data.draw(st.sampled_from(["ad_matching", "web_behaviour", "order_analysis", "nn", None]))
        more = case.world.plus(consent_event=(consent("new", action, owner, **facts, purpose=purpose),))
    else:
        more = case.world.plus(rights_event=(right("new", action, owner, **facts),))
    for before, after in zip(answers(case), answers(replace(case, world=more)), strict=True):
        assert eligible(after) <= eligible(before)


@FEW
@given(cases(), OWNERS, st.sampled_from(["withdraw", "object", "restrict", "erase"]))
def test_a_fresh_no_holds_for_every_account_of_the_address(case: Case, owner: str, action: str) -> None:
    case = replace(case, rules=replace(case.rules, withdrawals_group_wide=True))
    clock = (case.now + 2 * case.rules.skew).isoformat()
    facts = {"source": APART, "occurred_at": clock, "recorded_at": clock}
    if action == "withdraw":
        world = case.world.plus(consent_event=(consent("new", action, owner, **facts),))
    else:
        world = case.world.plus(rights_event=(right("new", action, owner, **facts),))
    addresses = {row["account_id"]: canonical(row["email"]) for row in case.world.account}
    address = addresses.get(owner)
    reached = {other for other, theirs in addresses.items() if address is not None and theirs == address} | {owner}
    for decisions in answers(replace(case, world=world)):
        assert not eligible(decisions) & reached


@FEW
@given(cases(), OWNERS, st.sampled_from(["ad_matching", "web_behaviour", "enhanced_conversions", "newsletter"]))
def test_a_grant_on_another_account_changes_nothing_here(case: Case, owner: str, purpose: str) -> None:
    clock = case.now.isoformat()
    grant = consent("new", "grant", owner, purpose=purpose, occurred_at=clock, recorded_at=clock, source_seq="99")
    for before, after in zip(answers(case), answers(replace(case, world=case.world.plus(consent_event=(grant,)))), strict=True):
        assert before | {owner: frozenset()} == after | {owner: frozenset()}


@FEW
@given(cases(), OWNERS)
def test_a_grant_for_another_controller_or_recipient_makes_nobody_eligible(case: Case, owner: str) -> None:
    clock = case.now.isoformat()
    for audience in case.audiences:
        other = next(recipient for recipient in Recipient if recipient is not audience.recipient)
        facts = {"occurred_at": clock, "recorded_at": clock, "source": APART}
        here = consent("new", "grant", owner, controller_id=audience.controller, recipient=other.value, **facts)
        there = consent("new", "grant", owner, controller_id="c3", **facts)
        rules = replace(case.rules, sources=case.rules.sources | {APART: case.rules.sources["prefs"]})
        before = decide(case.world, rules, audience, case.now)
        for grant in (here, there):
            assert eligible(decide(case.world.plus(consent_event=(grant,)), rules, audience, case.now)) <= eligible(before)


@FEW
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_a_repeated_event_change_nothing(case: Case, random: Random) -> None:
    views = (*case.world.consent_event, *case.world.consent_event[:2]), (*case.world.rights_event, *case.world.rights_event[:2])
    shuffled = [tuple(random.sample(view, len(view))) for view in (case.world.account, *views, case.world.segment_member)]
    assert answers(case) == answers(replace(case, world=rows.World(*shuffled)))


@FEW
@given(cases())
def test_every_candidate_counts_once_and_never_as_suppressed(case: Case) -> None:
    for audience, decisions in zip(case.audiences, answers(case), strict=True):
        members = [row for row in case.world.segment_member if row["segment_code"] == audience.segment]
        candidates = {row["account_id"] for row in members if row["controller_id"] == audience.controller}
        answer = funnel(decisions)
        assert set(decisions) == candidates
        assert answer.candidates == len(candidates) == answer.eligible + sum(answer.refused.values())
        assert not any(Reason.SUPPRESSED in reasons for reasons in decisions.values())
        assert decisions.get("ghost") != frozenset()


def test_generated_worlds_show_every_reason_and_many_eligible() -> None:
    seen: Counter[str] = Counter()

    @settings(FEW, max_examples=500, database=None, derandomize=True, phases=[Phase.generate])
    @given(cases())
    def count(case: Case) -> None:
        for decisions in with_memory(case):
            for reasons in decisions.values():
                seen.update([reason.value for reason in reasons] or ["eligible", "all"])
                seen["all"] += bool(reasons)

    count()
    assert {reason.value for reason in Reason} <= set(seen)
    assert seen["eligible"] > seen["all"] / 20


@FEW
@given(cases())
def test_memory_never_makes_anyone_eligible_and_keeps_every_other_code(case: Case) -> None:
    clockless = (row for row in (*case.world.consent_event, *case.world.rights_event) if moment(row["recorded_at"]) is None)
    if next(clockless, None) is None:  # memory knows when those were said
        for before, after in zip(answers(case), with_memory(case), strict=True):
            assert before.keys() == after.keys()
            extra = {Reason.SUPPRESSED, Reason.BEHAVIOUR_CONSENT_MISSING}
            assert all(before[key] <= after[key] <= before[key] | extra for key in before)


@FEW
@given(cases())
def test_a_world_survives_its_store(tmp_path_factory: pytest.TempPathFactory, case: Case) -> None:
    write(case.world, tmp_path_factory.getbasetemp() / "world.sqlite")


def test_a_store_says_so_when_a_value_would_be_respelled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="account"):
        write(rows.World(account=(account(birth_year="01980"),)), tmp_path / "world.sqlite")


@pytest.mark.parametrize("view", [contract.ACCOUNT, contract.CONSENT_EVENT, contract.RIGHTS_EVENT, contract.SEGMENT_MEMBER])
def test_rows_have_the_columns_of_the_contract(view: contract.View) -> None:
    assert getattr(rows, view.name.upper()) == view.names
