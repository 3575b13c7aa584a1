"""`audit sample`: a sound installation is consistent, the draw repeats, nobody is named, and planted faults are found."""

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from later_world import LaterWorld
from lists_by_rule import rows_of
from typer.testing import CliRunner, Result

from nestaudience.cli import app
from nestaudience.delivery.held import read_held
from nestaudience.sampling import sample
from nestaudience.wiring import open_parts
from tests.no_planted import plant_a_no
from tests.test_suppression import digest_of, entries, withdraw

CASE = "DSR-2026-0013"


def drawn(world: LaterWorld, n: int, seed: int = 3) -> Any:
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        return sample(parts, n, seed, CASE)


def command(world: LaterWorld, *words: str) -> Result:
    return CliRunner().invoke(app, ["audit", "sample", *words, "--config", str(world.config)])


def nobody_named(world: LaterWorld, text: str) -> None:
    for row in (each for each in rows_of(world.store).account if "@" in str(each["email"])):
        for word in (str(row["account_id"]), str(row["email"]), digest_of(str(row["email"]))):
            assert word not in text


def test_a_sound_sample_is_consistent_and_repeats(world: LaterWorld) -> None:
    world.night()
    found = drawn(world, 25)
    assert [one.findings for one in found] == [()] * 25
    assert all(one.grants and one.transfers and one.accounts for one in found if one.lists)
    assert any(one.lists for one in found)
    assert drawn(world, 25) == found
    for words in ((), ("--json",)):
        told = command(world, "--seed", "3", "--case", CASE, *words)
        assert found[0].transfers[0][0] in told.output
        nobody_named(world, told.output)
    assert drawn(world, 25, seed=4) != found
    assert entries(world, "lookup")[0]["fields"] == {"what": "sample", "case_id": CASE, "people": 25, "seed": 3}


def test_planted_faults_are_found(world: LaterWorld) -> None:
    world.night()
    (ledger,) = [path for path in world.folder.rglob("*.sqlite") if "ledger" in str(path)]
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute(
            "UPDATE membership SET person_token = (SELECT person_token FROM membership ORDER BY member_id LIMIT 1)"
        )
    (one,) = drawn(world, 25)  # everybody's rows are hers now
    assert "no_proof" in {code for code, _ in one.findings}
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("DELETE FROM person")
    assert ("no_salt", "") in drawn(world, 1)[0].findings


def test_nobody_without_consent_passes_and_nobody_is_named(world: LaterWorld) -> None:
    world.night()
    world.change_view("consent_event", "FROM shop_consent", "FROM shop_consent WHERE 1 = 0")
    found = drawn(world, 10)
    on = [one for one in found if one.lists]
    assert on
    assert all({"not_eligible"} == {code for code, _ in one.findings} and not one.grants for one in on)
    assert command(world, "--n", "3").exit_code == 2  # no case
    assert command(world, "--n", "0", "--case", CASE).exit_code == 2
    for words in ((), ("--json",)):
        told = command(world, "--n", "10", "--seed", "3", "--case", CASE, *words)
        assert told.exit_code == 5, told.output
        nobody_named(world, told.output)
    assert not json.loads(told.stdout)["consistent"]


def test_a_no_of_this_morning_is_pending_until_a_run_should_have_seen_it(world: LaterWorld) -> None:
    seed = somebody(world)
    withdraw(world, account_of(world, seed))
    (found,) = drawn(world, 1, seed)
    assert (found.findings, found.pending) == ((), found.lists)
    world.advance(timedelta(hours=25))
    (found,) = drawn(world, 1, seed)
    assert {code for code, _ in found.findings} == {"not_eligible"}
    assert found.pending == ()


def somebody(world: LaterWorld) -> int:
    """A seed that draws somebody with one account who is on a list, and of whom all fits."""
    return next(seed for seed in range(99) if (one := drawn(world, 1, seed)[0]).lists and one.accounts == 1 and not one.findings)


def account_of(world: LaterWorld, seed: int) -> str:
    """The account of the one person whom this seed draws."""
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        held = read_held(parts.memory, world.clock.now())
        (token,) = Random(seed).sample(sorted(held.persons().to_pylist()), 1)
        ids = pa.array([str(row["account_id"]) for row in rows_of(world.store).account])
        mine = held.rows.filter(pc.equal(held.rows.column("person_token"), pa.scalar(token, pa.binary(16))))
        hers = pc.is_in(parts.tokens.of_accounts(ids), value_set=mine.column("account_token"))
        return str(ids.filter(hers)[0])


def test_an_addition_after_her_no_is_found(world: LaterWorld) -> None:
    seed = somebody(world)
    account = account_of(world, seed)
    address = next(str(row["email"]) for row in rows_of(world.store).account if row["account_id"] == account)
    first = datetime.fromisoformat(entries(world, "batch")[0]["at"]) - timedelta(seconds=1)
    for by_address in (False, True):
        plant_a_no(world, account, address, first.strftime("%Y-%m-%dT%H:%M:%S.000000Z"), by_address=by_address)
        (found,) = drawn(world, 1, seed)
        assert {("sent_after_no", name) for name in found.lists} <= set(found.findings)
        plant_a_no(world, account, address, "2001-01-01T00:00:00.000000Z", by_address=by_address)
        assert drawn(world, 1, seed)[0].findings == ()
