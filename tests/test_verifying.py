"""`audit verify --with-keys`: a sound installation agrees, through yes and no; every planted fault is found under its own code; nobody is named."""

import json
from datetime import datetime, timedelta

import pytest
from later_world import LaterWorld
from typer.testing import CliRunner, Result

from nestaudience.cli import app
from nestaudience.verifying import STORE_INCOMPLETE, Keyed, verify_with_keys
from nestaudience.wiring import open_parts
from tests.no_planted import plant_a_no, tamper
from tests.test_sample import nobody_named
from tests.test_suppression import consent_again, entries, memory, someone_on_a_list

CASE = "DSR-2026-0014"


def compared(world: LaterWorld) -> Keyed:
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        return verify_with_keys(parts, CASE)


def codes(world: LaterWorld) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in compared(world).findings:
        found[each.code] = found.get(each.code, 0) + each.people
    return found


def command(world: LaterWorld, *words: str) -> Result:
    return CliRunner().invoke(app, ["audit", "verify", "--with-keys", *words, "--config", str(world.config)])


def test_a_sound_installation_agrees_and_says_what_it_compared(world: LaterWorld) -> None:
    found = compared(world)
    assert found.findings == ()
    assert found.memberships >= found.people > 1000
    assert 0 < found.noes_compared <= found.noes == len(memory(world))
    assert 0 < found.searched.people == found.searched.known
    assert entries(world, "lookup")[-1]["fields"]["what"] == "verify"
    for words in ((), ("--json",)):
        told = command(world, "--case", CASE, *words)
        assert told.exit_code == 0, told.output
        nobody_named(world, told.output)
    assert json.loads(told.stdout)["with_keys"]["memberships"] == found.memberships
    assert command(world).exit_code == 2  # no case


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE membership SET sealed_digest = zeroblob(32) WHERE member_id = 7", {"digest_damaged": 1}),
        ("UPDATE membership SET position = 99999 WHERE member_id = 7", {"membership_position": 1}),
        ("UPDATE membership SET position = 1 WHERE member_id = 7", {"membership_position": 1, "digest_damaged": 1}),
        ("UPDATE person SET salt = zeroblob(32) WHERE person_no = 7", {"leaf_missing": 1}),
        (
            "DELETE FROM person WHERE person_token = (SELECT person_token FROM membership WHERE member_id = 7)",
            {"salt_missing": 1},
        ),
        ("UPDATE batch SET batch_id = zeroblob(16) WHERE batch_no = 1", {"membership_unlogged": -1}),
        ("UPDATE batch SET seal_key = '00000000' WHERE batch_no = 1", {"key_missing": -1}),
    ],
)
def test_planted_faults_are_found(world: LaterWorld, statement: str, found: dict[str, int]) -> None:
    assert tamper(world, statement)
    seen = codes(world)
    assert set(seen) == set(found)
    for code, people in found.items():
        assert seen[code] >= 1
        assert people < 0 or seen[code] <= 5 * people  # somebody may be on several lists


def test_an_addition_after_her_no_is_found(world: LaterWorld) -> None:
    """By her account, for whoever is on a list, and by her address, in the leaves; unless a yes came between the no and the addition."""
    account, address = someone_on_a_list(world)
    first = datetime.fromisoformat(entries(world, "batch")[0]["at"])
    before = (first - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    after = world.clock.now().strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    for by_address, harmless in ((False, "2001-01-01T00:00:00.000000Z"), (True, after)):
        plant_a_no(world, account, address, harmless, by_address=by_address)
        assert codes(world) == {}
        plant_a_no(world, account, address, before, by_address=by_address)
        found = compared(world)
        assert {(each.code, each.people) for each in found.findings} == {("sent_after_no", 1)}
        assert bool(found.searched.found) is by_address
    told = command(world, "--case", CASE, "--json")
    assert told.exit_code == 5
    (problem, *_) = json.loads(told.stdout)["with_keys"]["problems"]
    assert (problem["code"], problem["people"]) == ("sent_after_no", 1)
    assert entries(world, "batch")[0]["index"] <= problem["entry"]


def test_too_many_pairs_are_drawn_and_a_store_that_fails_is_said(world: LaterWorld) -> None:
    tamper(world, "UPDATE suppression SET first_seen_at = '2001-01-01T00:00:00.000000Z'")
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        found = verify_with_keys(parts, CASE, pairs=100)
        assert found.findings == ()
        assert 0 < found.searched.people < found.searched.known
        world.store_file("DROP VIEW consent_event")
        found = verify_with_keys(parts, CASE)
    assert STORE_INCOMPLETE in found.not_compared
    assert found.findings == ()
    assert found.searched.people == 0


@pytest.mark.slow
def test_nights_with_noes_that_were_ended_and_kept_agree(world: LaterWorld) -> None:
    consent_again(world)
    world.advance_day()
    world.night()
    world.settle()
    found = compared(world)
    assert found.findings == ()
    assert found.searched.requests > 0
