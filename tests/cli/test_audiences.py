"""`nestaudience audiences`: what the neutral words mean, from the configuration, the ledger, and with `--ask` the platform itself."""

import json
from typing import Any

from later_world import LISTS, LaterWorld
from typer.testing import CliRunner, Result

from nestaudience.cli import app
from nestaudience.sandbox.world import LEGAL_NAMES

COFFEE = LISTS[4]


def run(world: LaterWorld, *words: str) -> Result:
    return CliRunner().invoke(app, ["audiences", *words, "--config", str(world.config)])


def rows(world: LaterWorld, *words: str, code: int = 0) -> dict[str, dict[str, Any]]:
    result = run(world, *words, "--json")
    assert result.exit_code == code, result.output
    return {row["audience"]: row for row in json.loads(result.stdout)["audiences"]}


def test_every_code_has_its_plain_name(world: LaterWorld) -> None:
    calls = world.sandbox.reads + world.sandbox.writes
    found = rows(world)
    assert list(found) == list(LISTS)
    coffee, remote = found[COFFEE], world.remote(COFFEE)
    assert coffee == {
        "audience": COFFEE, "name": "Bought or looked at coffee machines", "owner": "growth-3",
        "controller": LEGAL_NAMES["hemkraft"][0], "recipient": "Google Ireland Limited", "destination": "google_data_manager",
        "ad_account": "1110000003", "login_account": None, "code": remote.code, "list_id": remote.list_id, "state": "open",
        "held": len(world.before[remote.list_id]), "platform": None, "error": None,
    }  # fmt: skip
    assert world.sandbox.reads + world.sandbox.writes == calls
    text = run(world).stdout
    assert all(row["code"] in text and row["list_id"] in text for row in found.values())


def test_what_the_platform_says(world: LaterWorld) -> None:
    remote = world.remote(COFFEE)
    world.sandbox.close_list(remote.ad_account, remote.list_id)
    found = rows(world, "--ask")
    for key, row in found.items():
        assert row["platform"]["size"] == len(world.before[row["list_id"]])
        assert row["platform"]["open"] == (key != COFFEE)
        assert (row["platform"]["closing_reason"] is None) == (key != COFFEE)
    assert world.sandbox.writes == 0
    assert f"closed: {found[COFFEE]['platform']['closing_reason']}" in run(world, "--ask").stdout


def test_a_list_that_is_gone_and_a_platform_that_is_away(world: LaterWorld) -> None:
    remote = world.remote(COFFEE)
    world.sandbox.drop_list(remote.ad_account, remote.list_id)
    found = rows(world, "--ask", code=2)
    assert found[COFFEE]["error"]["code"] == "list_gone"
    assert all(row["platform"] for key, row in found.items() if key != COFFEE)
    world.edit("timeout_seconds = 120", "timeout_seconds = 1")
    world.sandbox.stop()
    away = rows(world, "--ask", code=3)
    assert {row["error"]["remedy"] for row in away.values()} == {"try_again"}
    assert {row["name"] for row in away.values()} == {row["name"] for row in found.values()}  # the rest is told all the same
    (world.folder / "sandbox" / "token").unlink()
    missing = rows(world, "--ask", code=2)
    assert {row["error"]["code"] for row in missing.values()} == {"secret_missing"}
    shown = run(world, "--ask")
    assert (shown.exit_code, shown.stderr.count("secret_missing")) == (2, 1)


def test_before_the_first_run(world: LaterWorld) -> None:
    world.edit("number = 5", "number = 5\nends_on = 2026-01-01")
    world.edit('code = "coffee_lovers"', 'code = "tea_lovers"')
    world.edit('segment = "coffee_lovers"', 'segment = "tea_lovers"')
    found = rows(world, "--ask")
    assert (found["hemkraft/tea_lovers/google"]["code"], found["hemkraft/tea_lovers/google"]["state"]) == ("", "not_yet")
    assert found[COFFEE]["list_id"] == world.remote(COFFEE).list_id  # still holds people, so it is still told
