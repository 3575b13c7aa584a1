"""The first fill of a list, through real nights: a probe goes first, and the rest when the platform took it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from nights import SandboxWorld

from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.status import status
from nestaudience.unfinished import unfinished_night
from nestaudience.vocabulary import AudienceKey
from nestaudience.wiring import open_evidence, settings_in_use

PROBE = 100


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SandboxWorld]:
    with SandboxWorld(tmp_path, accounts=3000, seed=5, meta=True) as made:
        made.edit("probe_people = 1000", f"probe_people = {PROBE}")
        yield made


def test_the_rest_follows_the_platforms_word(world: SandboxWorld) -> None:
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
