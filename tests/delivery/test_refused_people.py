"""A request that the platform refuses because of some of its people: they are set aside and counted, the others go, and the log balances."""

from typing import Any

import pytest
from later_world import LISTS, LaterWorld, Past

from nestaudience import sync
from nestaudience.audit.verify import verify
from nestaudience.delivery.requests import MOST_REFUSALS
from nestaudience.jobs import Job, Scope
from nestaudience.vocabulary import Cause, Mode, RunKind
from nestaudience.wiring import open_evidence, open_parts

CRIME = LISTS[2]


@pytest.fixture(scope="module")
def usual(past: Past, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Whom the night sends to the list when nothing goes wrong, by operation, in their order."""
    with LaterWorld(past, tmp_path_factory.mktemp("usual")) as world:
        world.night()
        list_id = world.remote(CRIME).list_id
        return {word: people for word, where, people in world.requests() if where == list_id}


def entries(world: LaterWorld, run_id: str, kind: str) -> list[dict[str, Any]]:
    """What a run wrote of the list, and what it wrote of no list by name."""
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        found = [entry["fields"] for entry in evidence.reader.entries() if entry["run_id"] == run_id and entry["type"] == kind]
        return [fields for fields in found if fields.get("audience", CRIME) == CRIME]
    finally:
        evidence.engine.dispose()


def problems(world: LaterWorld) -> object:
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        found = verify(parts.evidence.engine, parts.signer.verifiers)
        return found.problems, [notice.code for notice in found.notices if notice.code == "above_plan"]


@pytest.mark.parametrize("located", [True, False], ids=["with their places", "without a word of whom"])
def test_the_others_join_and_whom_it_is_about_is_counted(world: LaterWorld, usual: dict[str, list[str]], located: bool) -> None:
    people = usual["add"]
    bad = {people[0], people[len(people) // 2], people[-1]}
    world.sandbox.refuse_people(bad, "INVALID_HEX_ENCODING", located=located)
    outcome = world.night()
    world.settle()
    assert world.joined(CRIME) == set(people) - bad
    sent = outcome.sent[CRIME]
    code = "invalid_hex_encoding" if located else "member_malformed"
    assert (sent.set_aside, sent.refused, sent.added) == (3, {code: 3}, len(people) - 3)
    assert outcome.exit_codes == (0, 2)
    requests = [set(told) for word, where, told in world.requests() if (word, where) == ("add", world.remote(CRIME).list_id)]
    batches = [fields for fields in entries(world, outcome.run_id, "batch") if fields["operation"] == "add"]
    assert [fields["count"] for fields in batches] == [len(told) for told in requests]
    assert (len(requests) == 2) == located
    incident = {"code": "people_set_aside", "audience": CRIME, "operation": "add", "counts": {code: 3}}
    assert [fields | {"transfer_id": ""} for fields in entries(world, outcome.run_id, "incident")] == [
        incident | {"transfer_id": ""}
    ]
    assert problems(world) == ((), [])
    # Nothing is remembered against them: once the platform takes them, they join, and nobody else is sent.
    world.sandbox.refuse_people([])
    again = world.night()
    world.settle()
    assert again.sent[CRIME].added == 3
    assert world.joined(CRIME) == set(people)


def test_a_removal_that_is_refused_for_some_is_owed_and_nobody_joins_before(
    world: LaterWorld, usual: dict[str, list[str]]
) -> None:
    people = usual["remove"]
    world.sandbox.refuse_people(people[:1])
    outcome = world.night()
    world.settle()
    assert world.left(CRIME) == set(people[1:])
    assert world.joined(CRIME) == frozenset()
    assert (outcome.sent[CRIME].set_aside, outcome.sent[CRIME].refused) == (1, {"invalid_sha256_format": 1})
    assert {error.code for error in outcome.errors} == {"invalid_sha256_format"}
    world.sandbox.refuse_people([])
    world.night()
    world.settle()
    assert world.left(CRIME) == set(people)
    assert world.joined(CRIME) == set(usual["add"])
    assert problems(world) == ((), [])


def test_a_batch_of_nothing_but_refusals_is_given_up(world: LaterWorld, usual: dict[str, list[str]]) -> None:
    """What is wrong with everybody is no matter of single people, and the quota is not for finding that out."""
    world.sandbox.refuse_people([*usual["add"], *world.before[world.remote(CRIME).list_id] - set(usual["remove"])], located=False)
    scope = Scope(segments=frozenset({"crime_readers"}))
    job = Job(RunKind.BACKFILL, scope, Mode.RESEND, cause=Cause.TEST)
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        outcome = sync.run(parts, job)
    requests = [told for word, where, told in world.requests() if (word, where) == ("add", world.remote(CRIME).list_id)]
    assert len(requests) <= MOST_REFUSALS + 1
    assert world.joined(CRIME) == frozenset()
    assert "member_malformed" in [error.code for error in outcome.errors]
    assert problems(world) == ((), [])
