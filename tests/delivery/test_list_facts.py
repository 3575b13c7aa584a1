"""What a platform says of our lists is in the log after each night, and in the status."""

from typing import Any

from later_world import LISTS, LaterWorld

from nestaudience.cli.status_command import notes_on
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.status import AudienceStatus, status
from nestaudience.wiring import open_evidence, settings_in_use

AUDIO, _, CRIME, _, COFFEE = LISTS


def told(world: LaterWorld) -> dict[str, AudienceStatus]:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return {each.audience: each for each in status(evidence, settings_in_use(evidence), world.clock.now()).audiences}
    finally:
        evidence.engine.dispose()


def facts(world: LaterWorld) -> list[dict[str, Any]]:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return [entry["fields"] for entry in evidence.reader.entries() if entry["type"] == "list_facts"]
    finally:
        evidence.engine.dispose()


def test_size_match_rate_eligibility_and_why_a_list_was_closed(world: LaterWorld) -> None:
    coffee = world.remote(COFFEE)
    world.sandbox.close_list(coffee.ad_account, coffee.list_id)
    world.night()
    found = told(world)
    for key, each in found.items():
        size = len(world.before[each.list_id])
        said = {
            "size": size,
            "match_rate": 62,
            "open": key != COFFEE,
            "eligible_for": [] if key == COFFEE else ["display", "search"],
        }
        closed = {"closing_reason": "unused"} if key == COFFEE else {}
        assert {name: value for name, value in each.platform.items() if name != "at"} == said | closed
    assert any("closed by the platform (unused)" in note for note in notes_on(found[COFFEE], world.clock.now()))
    assert not any("closed" in note for note in notes_on(found[CRIME], world.clock.now()))


def test_a_platform_that_cannot_be_asked_leaves_what_it_said_before(world: LaterWorld) -> None:
    world.night()
    before, entries = told(world), len(facts(world))
    world.settle()
    world.sandbox.faults.add(Fault("ListUserLists", FaultKind.MALFORMED_DETAILS, 50))
    assert world.night().errors == []
    assert len(facts(world)) == entries
    assert {key: each.platform for key, each in told(world).items()} == {key: each.platform for key, each in before.items()}
