"""The first fill of a list, through real nights: a probe goes first, and the rest when the platform took it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from nights import SandboxWorld

from nestaudience.delivery.filling import probe_answer
from nestaudience.delta.probing import FirstFill, first_fill
from nestaudience.ledger.entries import utc_text
from nestaudience.ledger.memory import SentBatch
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.status import status
from nestaudience.unfinished import unfinished_night
from nestaudience.vocabulary import AudienceKey, Operation
from nestaudience.wiring import open_evidence, settings_in_use

PROBE = 100


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SandboxWorld]:
    """Google alone: there a result comes later."""
    with SandboxWorld(tmp_path, accounts=2400, seed=5) as made:
        made.edit("probe_people = 1000", f"probe_people = {PROBE}")
        yield made


@pytest.fixture
def both(tmp_path: Path) -> Iterator[SandboxWorld]:
    """Both platforms; Meta says at once what became of a request."""
    with SandboxWorld(tmp_path, accounts=2400, seed=5, meta=True) as made:
        made.edit("probe_people = 1000", f"probe_people = {PROBE}")
        yield made


def test_the_rest_follows_the_platforms_word(both: SandboxWorld) -> None:
    world = both
    wanted = {plan.key: plan.counts.wanted for plan in world.plan()}
    assert sum(people > PROBE for people in wanted.values()) >= 6
    first = world.night()
    for key, people in wanted.items():
        waits = key.endswith("google") and people > PROBE
        assert first.sent[key].added == (PROBE if waits else people), key
        assert [gate.code for gate in first.gates[key]] == (["probe"] if waits else [])
        assert state(world, key) == ("probing" if waits else "open")
    assert first.exit_codes == (0,), "a result that comes later is no fault"
    again = world.night()
    assert sum(sent.added for sent in again.sent.values()) == 0, "the platform has not said anything yet"
    assert {gate.code for gates in again.gates.values() for gate in gates} == {"probe"}
    world.advance(timedelta(hours=1))
    second = world.night()
    world.advance(timedelta(hours=1))
    assert {key: first.sent[key].added + second.sent[key].added for key in wanted} == wanted
    assert second.exit_codes == (0,), "the rest of a first fill is not held by the brake on additions"
    assert second.gates == dict.fromkeys(wanted, ())
    assert {state(world, key) for key in wanted} == {"open"}
    assert sum(len(members) for members in world.members().values()) == sum(wanted.values())


def test_the_hour_after_the_platforms_word_completes_the_night(world: SandboxWorld) -> None:
    world.night()
    world.advance(timedelta(minutes=35))
    assert not night_waits(world), "nothing is known yet"
    world.advance(timedelta(minutes=10))
    settle(world)
    assert night_waits(world)
    world.night()
    assert not night_waits(world)


def test_a_lost_answer_is_no_clean_result(world: SandboxWorld) -> None:
    world.sandbox.faults.add(Fault("IngestAudienceMembers", FaultKind.ANSWER_LOST_AFTER_EFFECT, count=50))
    first = world.night()
    keys = [key for key, gates in first.gates.items() if gates]
    assert len(keys) >= 3
    assert {gate.code for key in keys for gate in first.gates[key]} == {"probe_unknown"}
    assert first.exit_codes == (0, 4)
    world.sandbox.faults.clear()
    second = world.night()
    assert {key: second.sent[key].added for key in keys} == dict.fromkeys(keys, PROBE), "the same people once more, and no others"
    world.advance(timedelta(hours=1))
    third = world.night()
    assert all(third.sent[key].added > 0 for key in keys)
    assert third.exit_codes == (0,)


def test_a_refused_probe_is_sent_anew_and_alone(world: SandboxWorld) -> None:
    world.sandbox.faults.add(Fault("IngestAudienceMembers", FaultKind.UNAVAILABLE, count=50))
    first = world.night()
    assert sum(sent.added for key, sent in first.sent.items() if key.endswith("google")) == 0
    assert first.exit_code > 0
    world.sandbox.faults.clear()
    second = world.night()
    assert {sent.added for key, sent in second.sent.items() if key.endswith("google")} == {PROBE}
    assert "probe_refused" not in {gate.code for gates in second.gates.values() for gate in gates}


NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def sent(number: int, state: str, *, attempt: int = 1, hours: int = 1) -> SentBatch:
    at = utc_text(NOW - timedelta(hours=hours))
    return SentBatch(number, bytes([number]), "t", 1, Operation.ADD, PROBE, state, at, "", "", 0, attempt)


@pytest.mark.parametrize(
    ("batches", "answer", "exit_code"),
    [
        ((), "not_sent", None),
        ((sent(1, "accepted"),), "waits", 0),
        ((sent(1, "accepted", hours=49),), "unknown", 4),
        ((sent(1, "prepared"),), "unknown", 4),
        ((sent(1, "refused"),), "refused", 3),
        ((sent(1, "lapsed"),), "not_sent", None),
        ((sent(1, "confirmed"),), "clean", None),
        ((sent(1, "unknown"), sent(2, "confirmed")), "clean", None),
        ((sent(1, "confirmed"), sent(2, "accepted")), "waits", 0),
        ((sent(1, "partly"),), "waits", 0),  # its people go once more, in halves
        ((sent(1, "partly", attempt=0), sent(2, "partly", attempt=2), sent(3, "partly", attempt=2)), "partly", 5),
        ((sent(1, "partly", attempt=0), sent(2, "partly", attempt=2), sent(3, "confirmed", attempt=2)), "clean", None),
    ],
)
def test_what_the_requests_of_a_first_fill_came_to(batches: tuple[SentBatch, ...], answer: str, exit_code: int | None) -> None:
    said = probe_answer(batches, NOW, {})
    assert said == answer
    gate, probe = first_fill(PROBE + 1, FirstFill(PROBE, said))
    assert (None if gate is None else gate.exit_code) == exit_code
    assert probe == (PROBE if answer in ("not_sent", "refused") else None)
    assert gate is None or gate.releasable == (answer == "partly")
    if answer in ("not_sent", "refused"):
        assert first_fill(PROBE, FirstFill(PROBE, said)) == (None, None), "a probe holds everybody"


def test_a_result_that_is_known_and_not_written_down_counts() -> None:
    assert probe_answer((sent(1, "accepted"),), NOW, {1: "confirmed"}) == "clean"


def night_waits(world: SandboxWorld) -> bool:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return unfinished_night(evidence, world.clock.now() + timedelta(hours=1)) is not None
    finally:
        evidence.engine.dispose()


def settle(world: SandboxWorld) -> None:
    from nestaudience.jobs import SETTLING
    from nestaudience.sync import Run
    from nestaudience.wiring import open_parts

    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts, Run(parts, SETTLING) as run:
        run.settle()
        run.finish()


def state(world: SandboxWorld, key: AudienceKey) -> str:
    return str(look(world, key).state)


def look(world: SandboxWorld, key: AudienceKey) -> Any:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        found = status(evidence, settings_in_use(evidence), world.clock.now())
    finally:
        evidence.engine.dispose()
    return next(each for each in found.audiences if each.audience == key)
