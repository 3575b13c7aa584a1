"""The morning's look tells what is so: against the platform's lists, the runs' own outcomes, and faults made on purpose."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from lists_by_rule import wanted_lists
from nights import SandboxWorld

from nestaudience.config.load import load
from nestaudience.config.settings import Problem
from nestaudience.customers.port import StoreProblem
from nestaudience.delta.approvals import EMPTIED
from nestaudience.delta.feeds import Accepted, Computed, Facts, Feed, Marks, feed_gates, stale
from nestaudience.delta.gates import Gate, Limits, brakes
from nestaudience.delta.probing import HELD
from nestaudience.delta.stops import ENDING, FORGETFUL, ListStates, closed_gates
from nestaudience.hashing.digests import Digests
from nestaudience.history import GATE_EXITS, HOLDING_ORDINARY
from nestaudience.judging import RETRACT_ONLY
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.status import AudienceStatus, Status, last_due_night, status
from nestaudience.vocabulary import KillSwitch, Recipient
from nestaudience.wiring import open_evidence, open_parts, settings_in_use

COFFEE = "hemkraft/coffee_lovers/google"


def look(world: SandboxWorld, later: timedelta = timedelta(0)) -> Status:
    """The status as it would be after some time in which nothing happens."""
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return status(evidence, settings_in_use(evidence), world.clock.now() + later)
    finally:
        evidence.engine.dispose()


def of(found: Status, audience: str = COFFEE) -> AudienceStatus:
    return next(each for each in found.audiences if each.audience == audience)


# -- two quiet nights


def test_a_quiet_morning(two_nights: Any) -> None:
    found = look(two_nights.world)
    assert found.exit_codes == (0,)
    assert (found.missing, found.gaps, found.running, found.problems) == (False, (), None, ())
    assert found.last_night is not None
    assert (found.last_night.run_id, found.last_night.night) == (two_nights.second.run_id, two_nights.second.night)
    assert (found.last_night.outcome, found.last_night.exit_codes, found.last_night.errors) == ("done", (0,), ())
    assert [each.audience for each in found.audiences] == list(two_nights.second.sent)
    assert found.checkpoint is not None
    assert found.checkpoint[0] == found.entries


def test_counts_equal_the_platform_and_the_outcomes(two_nights: Any) -> None:
    found = look(two_nights.world)
    assert found.unsettled == sum(sent.batches for sent in two_nights.second.sent.values()) == 10
    for each in found.audiences:
        sent = two_nights.second.sent[each.audience]
        first, second = two_nights.held_first[each.list_id], two_nights.held_second[each.list_id]
        assert each.held == len(first | second)  # nobody is forgotten before the removals are settled
        assert each.open_removals == sent.removed == len(first - second)
        assert (each.state, each.in_flight, each.unknown, each.overdue) == ("open", sent.batches, 0, 0)
        assert each.last_clean_night == two_nights.second.night
        assert each.oldest_removal_at == "2026-11-22T02:30:00.000Z"
        assert (each.gates, each.frozen_removals, each.runs_out_on) == ((), 0, "")


def test_time_alone_makes_it_worse(two_nights: Any) -> None:
    start = look(two_nights.world).at
    expected = {
        timedelta(hours=20): (0,),  # 23:30 in Stockholm: the night of the 23rd is not due
        timedelta(hours=27): (0, 3),  # 06:30 on the 23rd
        timedelta(days=3): (0, 3),
    }
    for later, codes in expected.items():
        assert look(two_nights.world, later).exit_codes == codes
    late = look(two_nights.world, timedelta(days=3))
    assert late.missing
    assert late.gaps == ("2026-11-23", "2026-11-24", "2026-11-25")[: len(late.gaps)]
    assert len(late.gaps) == (last_due_night(late.at) - date(2026, 11, 22)).days
    assert all((each.in_flight, each.overdue) == (0, 2) for each in late.audiences)
    assert not any(each.unknown for each in late.audiences)
    assert late.at == start + timedelta(days=3)


def test_it_tells_when_a_list_runs_out(two_nights: Any) -> None:
    for days, told in ((9, ""), (10, "2026-12-22"), (29, "2026-12-22")):
        found = look(two_nights.world, timedelta(days=days))
        assert {each.runs_out_on for each in found.audiences} == {told}


@pytest.mark.parametrize(
    ("now", "night"),
    [
        (datetime(2026, 1, 10, 3, 59, tzinfo=UTC), date(2026, 1, 9)),
        (datetime(2026, 1, 10, 4, 0, tzinfo=UTC), date(2026, 1, 10)),
        (datetime(2026, 7, 10, 2, 59, tzinfo=UTC), date(2026, 7, 9)),
        (datetime(2026, 7, 10, 3, 0, tzinfo=UTC), date(2026, 7, 10)),
        (datetime(2026, 1, 10, 23, 30, tzinfo=UTC), date(2026, 1, 10)),
    ],
)
def test_a_night_is_due_at_five_in_stockholm(now: datetime, night: date) -> None:
    assert last_due_night(now) == night


def waiting(world: SandboxWorld) -> tuple[dict[str, int], dict[str, int]]:
    """By audience: people whose last request is a removal without an answer; and people whom the rules want though a removal of theirs has none."""
    now = world.clock.now()
    wanted = wanted_lists(world.store, load(world.config), now)
    with open_parts(world.config, clock=world.clock.now) as parts:
        of_list = {remote.list_no: remote.audience for remote in parts.memory.lists()}
        doubtful = Counter[str]()
        for batch in parts.memory.open_batches(now):
            if batch.state == "unknown":
                doubtful[of_list[batch.list_no]] += batch.people
        rows = parts.memory.held(now).to_pylist()
        again: dict[str, int] = {}
        for list_no, audience in of_list.items():
            digests = pa.array([bytes.fromhex(digest) for digest in sorted(wanted[audience])], pa.binary(32))
            tokens = set(parts.tokens.of_digests(Digests(digests, Recipient.GOOGLE)).to_pylist())
            unanswered = {row["digest_token"] for row in rows if row["list_no"] == list_no and row["unanswered"]}
            again |= {audience: len(tokens & unanswered)} if tokens & unanswered else {}
    return dict(doubtful), again


# -- a world in trouble: one story, looked at after each night


@pytest.fixture(scope="module")
def trouble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A story of nights, each with its outcome and the look after it."""
    told: dict[str, Any] = {}
    with SandboxWorld(tmp_path_factory.mktemp("trouble"), accounts=3000, seed=3) as world:

        def night(name: str) -> None:
            outcome = world.night()
            world.advance(timedelta(hours=1))
            told[name] = (outcome, look(world))

        world.sandbox.faults.add(Fault("IngestAudienceMembers", FaultKind.ANSWER_LOST_AFTER_EFFECT))
        night("answer lost")
        world.advance_day()
        night("sent again")
        for number in (1, 2, 3):
            world.advance_day()
            world.sandbox.faults.clear()
            world.sandbox.faults.add(Fault("RemoveAudienceMembers", FaultKind.ANSWER_LOST_BEFORE_EFFECT, count=50))
            night(f"removals lost {number}")
        world.sandbox.faults.clear()
        world.advance_day()
        night("removals sent")
        told["consented again"] = waiting(world)
        world.advance_day()
        coffee = next(remote for remote in world.sandbox.lists("1110000003"))
        world.sandbox.drop_list("1110000003", coffee.list_id)
        night("list gone")
        world.edit('approver = "privacy-1", approved_on = 2026-09-01, dpia = "DPIA-2026-06"', "approver = 5")
        told["config broken"] = (None, look(world))
        yield told


def test_a_lost_answer_is_unknown_until_the_people_are_sent_again(trouble: dict[str, Any]) -> None:
    outcome, found = trouble["answer lost"]
    (hit,) = [key for key, sent in outcome.sent.items() if sent.unknown]
    assert found.exit_codes == (0, 4)
    assert {each.audience for each in found.audiences if each.unknown} == {hit}
    assert of(found, hit).unknown == 1
    assert of(found, hit).last_clean_night == ""
    assert {each.last_clean_night for each in found.audiences if each.audience != hit} == {outcome.night}
    outcome, found = trouble["sent again"]
    in_doubt = sum(trouble["answer lost"][0].sent[hit].unknown.values())
    assert outcome.sent[hit].added + outcome.sent[hit].removed >= in_doubt  # whoever was in the lost request is in a new one
    assert of(found, hit).unknown == 0
    assert of(found, hit).in_flight == outcome.sent[hit].batches
    assert of(found, hit).last_clean_night == outcome.night
    assert found.exit_codes == (0,)


def test_open_removals_grow_old_until_they_are_done(trouble: dict[str, Any]) -> None:
    first, _ = trouble["removals lost 1"]
    unsettled = {
        key for key, sent in trouble["answer lost"][0].sent.items() if sent.unknown
    }  # removed while still uncertain: older
    lost = {key for key, sent in first.sent.items() if sent.unknown} - unsettled
    assert len(lost) >= 3
    for number, hours in ((1, 1), (2, 25), (3, 49)):
        outcome, found = trouble[f"removals lost {number}"]
        for key in lost:
            each = of(found, key)
            assert each.open_removals >= sum(first.sent[key].unknown.values())
            assert found.at - datetime.fromisoformat(each.oldest_removal_at) == timedelta(hours=hours)
            assert each.unknown >= 1
            assert each.last_clean_night < first.night
        assert found.last_night.night == outcome.night
        assert 4 in found.exit_codes
        assert 3 in found.exit_codes or hours < 48
    _, found = trouble["removals sent"]
    doubtful, again = trouble["consented again"]
    assert doubtful == again  # nobody's removal is in doubt but theirs who consented again, and wait for the end of it
    assert {each.audience for each in found.audiences if each.unknown} == set(doubtful)
    assert all(of(found, key).oldest_removal_at for key in lost)  # asked again, not answered yet
    assert (4 in found.exit_codes) == any(each.unknown for each in found.audiences)
    outcome, found = trouble["list gone"]
    for key in lost:
        assert of(found, key).open_removals == outcome.sent[key].removed
        assert of(found, key).oldest_removal_at[:10] == outcome.night
    assert 3 not in found.exit_codes


def test_a_list_that_is_gone_holds_nobody(trouble: dict[str, Any]) -> None:
    outcome, found = trouble["list gone"]
    assert "list_gone" in {error.code for error in outcome.errors}
    each = of(found)
    assert (each.state, each.held, each.in_flight, each.unknown, each.open_removals) == ("gone", 0, 0, 0, 0)
    assert found.last_night.outcome == "not_clean"
    assert "list_gone" in found.last_night.errors
    assert each.last_clean_night < outcome.night


def test_a_wrong_configuration_stops_only_what_depends_on_it(trouble: dict[str, Any]) -> None:
    _, found = trouble["config broken"]
    assert 2 in found.exit_codes
    assert found.problems
    assert all(problem.audiences == {COFFEE} for problem in found.problems)
    assert {each.state for each in found.audiences if each.audience != COFFEE} == {"open"}


# -- what the log keeps of gates


def test_lists_too_small_to_open_are_no_alarm(tmp_path: Any) -> None:
    with SandboxWorld(tmp_path, accounts=600, seed=2) as world:
        assert not look_before_the_first_run(world)
        outcome = world.night()
        found = look(world, timedelta(hours=1))
        assert outcome.exit_code == 0
        assert found.exit_codes == (0,)
        assert {each.state for each in found.audiences} == {"not_yet"}
        assert {each.gates for each in found.audiences} == {("too_small",)}
        assert {each.last_clean_night for each in found.audiences} == {outcome.night}


def look_before_the_first_run(world: SandboxWorld) -> bool:
    """A ledger that was born and never ran: a night is missing. True when the look claims otherwise."""
    open_evidence(world.config, world.clock.now).engine.dispose()
    found = look(world)
    assert (found.last_night, found.checkpoint, found.gaps, found.entries) == (None, None, (), 0)
    assert found.exit_codes == (0, 3)
    return not found.missing


class NoPeople:
    """A screening of nobody, with many malformed values."""

    def accounts(self) -> dict[str, int]:
        return {"computime": 1000}

    def malformed(self) -> dict[str, dict[str, int]]:
        return {"consent": {"": 5000}}


BAD_FEEDS = Facts(
    skew=timedelta(hours=1),
    feeds={("account", "computime"): Feed(None, None)},
    marks=Marks(accounts={"computime": 1}),
    segments={("computime", "x"): Computed(None, None)},
)
BELIEVED = Accepted(Marks({"computime x": datetime(2026, 1, 1, tzinfo=UTC)}), 1000, 1000, 1000)


def every_gate(two_nights: Any) -> list[Gate]:
    """Every gate that a run can close, by closing all of them."""
    evidence = open_evidence(two_nights.world.config, two_nights.world.clock.now, read_only=True)
    settings = settings_in_use(evidence)
    evidence.engine.dispose()
    settings = replace(settings, problems=(Problem("policy", "missing", "add it", None),))
    problems = [StoreProblem("environment", "x", "y"), StoreProblem("missing_view", "x", "y")]
    people: Any = NoPeople()
    absent, every = frozenset(settings.destinations), frozenset(settings.audiences)
    today = two_nights.world.clock.now().date()
    settings = replace(settings, kill_switch=KillSwitch.EVERYTHING)
    lists = [
        ListStates(every, every, every, every, every),
        *(ListStates(endings=dict.fromkeys(every, code)) for code in (*ENDING, *EMPTIED)),
    ]
    first = next(iter(settings.audiences))
    closed = [closed_gates(settings, people, problems, absent, states, today) for states in lists]
    gates = [RETRACT_ONLY, FORGETFUL, *brakes(1000, 5, 900, 2000, Limits(100, 20, 100, ever_held=True))]
    gates += HELD.values()
    gates += list(
        feed_gates(
            settings, BAD_FEEDS, dict.fromkeys(every, BELIEVED), dict.fromkeys(every, (1, 1)), two_nights.world.clock.now()
        )[first]
    )
    gates += [gate for gate in (stale(timedelta(hours=7)),) if gate is not None]
    return gates + [gate for each in closed for found in each.values() for gate in found]


def test_gate_codes_mean_here_what_they_mean_in_a_run(two_nights: Any) -> None:
    gates = every_gate(two_nights)
    assert {gate.code for gate in gates} >= set(GATE_EXITS) | HOLDING_ORDINARY
    for gate in gates:
        assert GATE_EXITS.get(gate.code, 5) == gate.exit_code, gate.code
        assert (gate.code in HOLDING_ORDINARY) == gate.ordinary, gate.code
