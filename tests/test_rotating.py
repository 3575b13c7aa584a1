"""Keys that are new from one night to the next: lists, removals, noes, lookups and the log's proofs go on; what cannot be new is refused."""

import json
import os
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from later_world import LaterWorld
from typer.testing import CliRunner, Result

from nestaudience.audit.persons import Sighting, search
from nestaudience.audit.verify import verify
from nestaudience.cli import app
from nestaudience.erasing import persons_of
from nestaudience.errors import NeedsFix
from nestaudience.hashing.commitments import person_keys
from nestaudience.hashing.digests import Addresses
from nestaudience.ledger.checkpoint import Verifier
from nestaudience.ledger.keys import KeyUse, create_keys, load_keys, rotate_key
from nestaudience.rotating import rotate
from nestaudience.wiring import open_parts
from tests.test_suppression import digest_of, entries, forget_the_no, on_a_list, someone_on_a_list, withdraw

ROTATABLE = (KeyUse.SEAL, KeyUse.MASTER, KeyUse.SUPPRESSION, KeyUse.SIGNING)


def opened(world: LaterWorld) -> Any:
    return open_parts(world.config, clock=world.clock.now, randomness=os.urandom)


def command(world: LaterWorld, *words: str) -> Result:
    return CliRunner().invoke(app, ["keys", *words, "--config", str(world.config)])


def sightings(world: LaterWorld, address: str) -> tuple[Sighting, ...]:
    with opened(world) as parts:
        persons = persons_of(parts, Addresses(pa.array([address])))
        salts = b"".join(parts.memory.persons(persons).column("salt").to_pylist())
        rows = np.frombuffer(salts, np.uint8).reshape(-1, 32)
        keys = [person_keys(key.reveal(), rows) for key in parts.keys.all_of(KeyUse.MASTER)]
        return search(parts.evidence.reader, np.concatenate(keys))


def test_four_new_keys_between_nights(world: LaterWorld) -> None:
    """Somebody who was added under old keys leaves by a no, and stays off when the store forgets it after one more new key; both nights are found."""
    account, address = someone_on_a_list(world)
    before = {each.batch.index for each in sightings(world, address)}
    with opened(world) as parts:
        old = [Verifier.parse(text) for text in parts.keys.vkeys(parts.evidence.table.origin)]
        notes = len(parts.evidence.reader.notes())
    for use in ROTATABLE:
        with opened(world) as parts:
            rotate(parts, use)
    withdraw(world, account)
    assert world.night().exit_code in {0, 4}
    world.settle()
    assert not on_a_list(world, address)
    after = {each.batch.index for each in sightings(world, address)}
    assert before
    assert after > before
    with opened(world) as parts:
        rotate(parts, KeyUse.SUPPRESSION)
    forget_the_no(world)
    world.advance(timedelta(days=1))
    world.accept_the_store()
    world.night()
    world.settle()
    assert not any(digest_of(address) in people for people in world.members().values())
    with opened(world) as parts:
        verifiers = [Verifier.parse(text) for text in parts.keys.vkeys(parts.evidence.table.origin)]
        assert verify(parts.evidence.engine, verifiers, head=parts.signer.head()).ok
        assert verifiers[1:] == old
        found = verify(parts.evidence.engine, old)
        assert {each.code for each in found.problems} == {"checkpoint_bad", "sent_before_sealed"}
        seals = {size for size, _ in parts.evidence.reader.notes()[:notes]}
        assert found.sealed >= max(seals)  # everything from before the new signing key, and nothing after it
        assert found.checkpoints < len(parts.evidence.reader.notes())


def test_an_interrupted_rotation_is_shown_and_made_good_once(world: LaterWorld) -> None:
    """The key file is new, and the process ended before the entry: nights go on meanwhile."""
    path = world.folder / "keys" / "keys.json"
    for use in (KeyUse.SIGNING, KeyUse.SEAL):
        rotate_key(path, use, os.urandom)
    assert {each["use"] for each in json.loads(command(world, "show", "--json").stdout)["not_logged"]} == {"signing", "seal"}
    with opened(world) as parts:
        done = rotate(parts, KeyUse.SEAL)
        assert done.change is None
        assert {each.use for each in done.made_good} == {KeyUse.SIGNING, KeyUse.SEAL}
        again = rotate(parts, KeyUse.SEAL)
        assert again.change is not None
        assert again.made_good == ()
    assert [each["fields"]["use"] for each in entries(world, "key_event")] == ["seal", "signing", "seal"]
    assert json.loads(command(world, "show", "--json").stdout)["not_logged"] == []


@pytest.mark.parametrize("use", ["index", "name"])
def test_what_people_and_lists_stand_under_is_refused(world: LaterWorld, use: str) -> None:
    path = world.folder / "keys" / "keys.json"
    before = path.read_bytes()
    result = command(world, "rotate", "--use", use, "--yes")
    assert (result.exit_code, f"{use}_key_in_use" in result.output) == (2, True)
    assert path.read_bytes() == before
    assert entries(world, "key_event") == []


def test_the_commands_ask_first_and_print_no_secret(world: LaterWorld) -> None:
    path = world.folder / "keys" / "keys.json"
    before = path.read_bytes()
    assert "No key was changed" in command(world, "rotate", "--use", "seal").output
    assert path.read_bytes() == before
    said = command(world, "rotate", "--use", "signing", "--yes")
    shown = command(world, "show")
    assert said.exit_code == shown.exit_code == 0
    ring = load_keys(path)
    for text in ring.vkeys("nestit.example/nestaudience/sandbox"):
        assert text in said.output.replace("\n", "") + shown.output.replace("\n", "")
    secrets = [key.reveal().hex() for use in KeyUse for key in ring.all_of(use)]
    assert not any(secret in said.output + shown.output for secret in secrets)


def test_keys_in_the_environment_are_shown_and_not_rewritten(world: LaterWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    path = world.folder / "keys" / "keys.json"
    monkeypatch.setenv("NEST_TEST_KEYS", path.read_text("utf-8"))
    world.edit('keys = "file:keys/keys.json"', 'keys = "env:NEST_TEST_KEYS"')
    assert json.loads(command(world, "show", "--json").stdout)["source"] == "environment"
    with opened(world) as parts, pytest.raises(NeedsFix, match="keys_in_environment"):
        rotate(parts, KeyUse.SEAL)


def test_before_the_first_night_every_key_may_be_new(world: LaterWorld) -> None:
    for name in ("ledger", "keys"):
        for path in (world.folder / name).iterdir():
            path.unlink()
    create_keys(world.folder / "keys" / "keys.json", os.urandom)
    assert command(world, "show").exit_code == 0
    for use in KeyUse:
        with opened(world) as parts:
            assert rotate(parts, use).change is not None
