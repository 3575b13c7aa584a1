"""Replacing a list: everybody is sent, every request comes out clean, and only then whoever is older goes; whatever is not clean ends it."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from later_world import LISTS, LaterWorld

from nestaudience import jobs, sync
from nestaudience.audit.verify import verify
from nestaudience.config.load import load
from nestaudience.errors import NeedsFix
from nestaudience.jobs import SETTLING, Job, Scope
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.vocabulary import STOCKHOLM, Cause, Mode, RunKind
from nestaudience.wiring import open_evidence, open_parts

CRIME = LISTS[2]
SWEEP = "RemoveAllAudienceMembers"
STRANGER = hashlib.sha256(b"put there by hand").digest()
REPLACE = Job(RunKind.BACKFILL, Scope(segments=frozenset({"crime_readers"})), Mode.REPLACE, cause=Cause.PLATFORM_FAULT)


def run(world: LaterWorld, job: Job, **more: Any) -> sync.Outcome:
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        if job == SETTLING:
            with sync.Run(parts, SETTLING) as this:
                this.settle()
                return this.finish()
        return sync.run(parts, job, **more)


def told(world: LaterWorld) -> list[str]:
    """What became of the replacement, in the log's words; its moment is always the same, and before its first request."""
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        entries = list(evidence.reader.entries())
    finally:
        evidence.engine.dispose()
    sweeps = [entry for entry in entries if entry["type"] == "sweep"]
    if sweeps:
        first = sweeps[0]
        assert first["fields"]["as_of"] < first["at"]
        assert {entry["fields"].get("as_of", first["fields"]["as_of"]) for entry in sweeps} == {first["fields"]["as_of"]}
    return [entry["fields"]["state"] for entry in sweeps]


def verified(world: LaterWorld) -> bool:
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        return verify(parts.evidence.engine, parts.signer.verifiers).ok


@pytest.fixture
def place(world: LaterWorld) -> str:
    """A list in line, with somebody on it whom we never sent."""
    world.night()
    world.settle()
    world.night()
    world.settle()
    remote = world.remote(CRIME)
    for each in world.sandbox.lists(remote.ad_account):
        if each.list_id == remote.list_id:
            each.members[STRANGER] = world.clock.now() - timedelta(days=1)
    return remote.list_id


def test_whoever_is_older_goes_when_everybody_was_taken(world: LaterWorld, place: str) -> None:
    ours = world.members()[place] - {STRANGER.hex()}
    outcome = run(world, REPLACE)
    assert (outcome.exit_codes, outcome.sent[CRIME].added) == ((0,), len(ours))
    assert (told(world), world.sandbox.seen(SWEEP)) == (["ordered", "sent_all"], 0)
    assert run(world, SETTLING).exit_codes == (0,)  # no result yet: it waits
    assert world.sandbox.seen(SWEEP) == 0
    world.settle()
    assert run(world, SETTLING).exit_codes == (0,)
    assert (told(world)[2:], world.sandbox.seen(SWEEP)) == (["asked", "accepted"], 1)
    assert world.members()[place] == ours | {STRANGER.hex()}
    world.settle()
    assert world.members()[place] == ours
    assert run(world, SETTLING).exit_codes == (0,)
    assert told(world)[4:] == ["succeeded"]
    quiet = next(plan for plan in world.plan() if plan.key == CRIME)
    assert (quiet.counts.held, quiet.removals_to_send, quiet.additions_to_send) == (len(ours), 0, 0)
    assert run(world, SETTLING).exit_codes == (0,)
    assert world.sandbox.seen(SWEEP) == 1
    assert verified(world)


@pytest.mark.parametrize("kind", [FaultKind.ANSWER_LOST_AFTER_EFFECT, FaultKind.UNAVAILABLE])
def test_nothing_is_swept_unless_everything_was_taken(world: LaterWorld, place: str, kind: FaultKind) -> None:
    world.sandbox.faults.add(Fault("IngestAudienceMembers", kind))
    run(world, REPLACE)
    assert told(world) == ["ordered", "given_up"]
    for _ in range(2):
        world.settle()
        run(world, SETTLING)
    assert world.sandbox.seen(SWEEP) == 0
    assert STRANGER.hex() in world.members()[place]


def test_what_comes_out_in_part_ends_it(world: LaterWorld, place: str) -> None:
    run(world, REPLACE)
    request = max(world.sandbox.state.requests.values(), key=lambda each: each.accepted)
    request.parts[0].people[0] = request.parts[0].people[0]._replace(error=3)
    world.settle()
    outcome = run(world, SETTLING)
    assert [error.code for error in outcome.errors] == ["replace_ended"]
    assert told(world) == ["ordered", "sent_all", "given_up"]
    assert (world.sandbox.seen(SWEEP), STRANGER.hex() in world.members()[place]) == (0, True)


@pytest.mark.parametrize("kind", [FaultKind.ANSWER_LOST_BEFORE_EFFECT, FaultKind.ANSWER_LOST_AFTER_EFFECT])
def test_a_sweep_without_a_receipt_is_never_sent_again(world: LaterWorld, place: str, kind: FaultKind) -> None:
    ours = world.members()[place] - {STRANGER.hex()}
    run(world, REPLACE)
    world.settle()
    world.sandbox.faults.add(Fault(SWEEP, kind))
    outcome = run(world, SETTLING)
    assert ([error.code for error in outcome.errors], outcome.exit_code) == (["lost_unavailable"], 4)
    for _ in range(3):
        world.settle()
        assert run(world, SETTLING).exit_codes == (0,)
    assert told(world) == ["ordered", "sent_all", "asked", "unknown"]
    assert world.sandbox.seen(SWEEP) == 1
    world.advance(timedelta(hours=48))
    run(world, SETTLING)
    assert world.members()[place] - {STRANGER.hex()} == ours
    assert verified(world)


def test_what_cannot_be_replaced_now_is_said_and_nobody_is_sent(world: LaterWorld, place: str) -> None:
    run(world, Job(RunKind.BACKFILL, REPLACE.scope, Mode.RESEND, cause=Cause.TEST))
    writes = world.sandbox.writes
    waiting = run(world, REPLACE)
    assert ([error.code for error in waiting.errors], waiting.exit_code) == (["replace_not_now"], 3)
    world.settle()
    world.edit('position = "off"', 'position = "additions"')
    held = run(world, REPLACE)
    assert "replace_not_now" in [error.code for error in held.errors]
    assert (world.sandbox.writes, told(world)) == (writes, [])


def test_a_run_that_is_cut_off_sweeps_nobody(world: LaterWorld, place: str) -> None:
    outcome = run(world, REPLACE, interrupted=lambda: "ordered" in told(world))
    assert {error.code for error in outcome.errors} == {"interrupted", "replace_ended"}
    world.settle()
    run(world, SETTLING)
    assert told(world) == ["ordered", "given_up"]
    assert (world.sandbox.seen(SWEEP), STRANGER.hex() in world.members()[place]) == (0, True)


def test_meta_cannot_do_it(world: LaterWorld) -> None:
    from nights import EXAMPLE

    today = world.clock.now().astimezone(STOCKHOLM).date()
    orders = {"mode": Mode.REPLACE, "for_night": None, "cause": Cause.TEST, "case_id": ""}
    with pytest.raises(NeedsFix) as caught:
        jobs.backfill(load(EXAMPLE), today, scope=Scope(), **orders)  # type: ignore[arg-type]
    assert "meta cannot take off what is older than a moment" in caught.value.next_step
    google = Scope(destinations=frozenset({"google_data_manager"}))
    assert jobs.backfill(load(EXAMPLE), today, scope=google, **orders).mode is Mode.REPLACE  # type: ignore[arg-type]
