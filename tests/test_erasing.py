"""An erasure by hand: it takes her off, its receipt is signed when she is gone everywhere, and after its days nobody can find her any more."""

import json
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from later_world import LaterWorld
from lists_by_rule import rows_of
from typer.testing import CliRunner, Result

from nestaudience.audit.persons import search
from nestaudience.audit.verify import verify
from nestaudience.cli import app
from nestaudience.erasing import erase, persons_of, receipt
from nestaudience.errors import NeedsFix
from nestaudience.hashing.commitments import person_keys
from nestaudience.hashing.digests import Addresses
from nestaudience.ledger.checkpoint import Verifier
from nestaudience.ledger.erasures import begin, confirm, erasures
from nestaudience.ledger.receipts import receipt_holds
from nestaudience.retaining import retain
from nestaudience.vocabulary import Language
from nestaudience.wiring import open_parts
from tests.test_suppression import entries, on_a_list, someone_on_a_list

CASE = "DSR-2026-0009"


def opened(world: LaterWorld) -> Any:
    return open_parts(world.config, clock=world.clock.now, randomness=world.randomness)


def seen(world: LaterWorld, address: str) -> int:
    """In how many requests she is found."""
    with opened(world) as parts:
        salts = parts.memory.persons(persons_of(parts, Addresses(pa.array([address])))).column("salt").to_pylist()
        rows = np.frombuffer(b"".join(salts), np.uint8).reshape(-1, 32)
        return len(search(parts.evidence.reader, person_keys(parts.keys.master.reveal(), rows)))


def test_from_the_erasure_to_the_last_trace(world: LaterWorld) -> None:
    _, address = someone_on_a_list(world)
    hers = Addresses(pa.array([address]))
    assert seen(world, address) > 0
    with opened(world) as parts:
        with pytest.raises(NeedsFix, match="erasure_unknown"):
            receipt(parts, hers, CASE, Language.SV)
        assert erase(parts, hers, CASE) > 0
        assert receipt(parts, hers, CASE, Language.SV).still_open
    world.night()
    world.settle()
    assert not on_a_list(world, address)
    world.night()
    with opened(world) as parts:
        given = receipt(parts, hers, CASE, Language.SV)
        assert given.still_open == ()
        verifiers = [Verifier.parse(text) for text in parts.keys.vkeys(parts.evidence.table.origin)]
        assert receipt_holds(given.text, given.note, verifiers)
        assert not receipt_holds(given.text + " ", given.note, verifiers)
        assert address not in given.text
        salts = parts.memory.persons(persons_of(parts, hers)).column("salt").to_pylist()
        assert retain(parts).destroyed == 0
    world.clock.advance(timedelta(days=30, minutes=1))
    with opened(world) as parts:
        assert retain(parts).destroyed >= 1
        assert all(salt not in path.read_bytes() for salt in salts for path in (world.folder / "ledger").glob("*"))
        assert verify(parts.evidence.engine, verifiers).ok
    assert seen(world, address) == seen(world, "nobody.at.all@kund.example") == 0
    assert [each["fields"]["what"] for each in entries(world, "erasure") if each["fields"]["case_id"]] == ["begun", "receipt"]


def test_a_legal_hold_delays_the_salt_and_not_the_removal(world: LaterWorld) -> None:
    _, address = someone_on_a_list(world)
    hers = Addresses(pa.array([address]))
    with opened(world) as parts:
        erase(parts, hers, CASE, keep_for_claims=True)
    world.night()
    world.settle()
    world.night()
    assert not on_a_list(world, address)
    with opened(world) as parts:
        retain(parts)  # nobody asked for a receipt
        assert all(each.receipt_at for each in erasures(parts.evidence.engine) if each.case_id == CASE)
    world.clock.advance(timedelta(days=31))
    with opened(world) as parts:
        assert retain(parts).on_hold == 1
    assert seen(world, address) > 0
    with opened(world) as parts:
        erase(parts, hers, CASE)
        assert retain(parts).destroyed == 1
    assert seen(world, address) == 0


def test_whoever_is_on_a_list_again_can_still_be_told(world: LaterWorld) -> None:
    """As after an erasure that was confirmed, and a new account with a new consent: her salt goes when she has left the list."""
    _, address = someone_on_a_list(world)
    with opened(world) as parts:
        persons = persons_of(parts, Addresses(pa.array([address])))
        with parts.evidence.engine.begin() as connection:
            begin(connection, persons, CASE, "2020-01-01T00:00:00.000Z", known_only=True)
            confirm(connection, persons.to_pylist(), "2020-01-02T00:00:00.000Z")
        assert retain(parts).destroyed == 0
    assert seen(world, address) > 0


def run(world: LaterWorld, address: str, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(world.config)], input=address)


def test_the_commands_never_say_the_address(world: LaterWorld) -> None:
    row = rows_of(world.store).account[0]
    address = f"never.sent.{row['email']}"
    entered = run(world, address, "rights", "erase", "--case", CASE, "--yes", "--json")
    assert (entered.exit_code, json.loads(entered.stdout)["lists"]) == (0, 0)
    given = run(world, address, "rights", "receipt", "--case", CASE, "--language", "en")
    assert given.exit_code == 0
    assert "knows of no disclosure" in given.output
    _, other = someone_on_a_list(world)
    assert run(world, other, "rights", "erase", "--case", CASE, "--yes").exit_code == 0
    waiting = run(world, other, "rights", "receipt", "--case", CASE, "--json")
    assert (waiting.exit_code, json.loads(waiting.stdout)["done"]) == (3, False)
    for result in (entered, given, waiting):
        assert address not in result.output
        assert other not in result.output
    assert run(world, "", "run", "retention", "--json").exit_code == 0


def test_the_flow_does_the_same(world: LaterWorld) -> None:
    from flows.retention import forget
    from flows.steps import session

    with session(world.config, clock=world.clock.now, actor="schedule") as (key, _):
        assert forget(key).codes == (0,)
    assert entries(world, "retention")[-1]["actor"] == "schedule"
