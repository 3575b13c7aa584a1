"""`rights access`: it names exactly the lists that the platform held her on, is logged before it is shown, and prints no address."""

import json

from later_world import LaterWorld
from typer.testing import CliRunner, Result

from nestaudience.cli import app
from tests.test_suppression import digest_of, entries, someone_on_a_list

CASE = "DSR-2026-0011"


def run(world: LaterWorld, given: str, *words: str) -> Result:
    return CliRunner().invoke(app, ["rights", "access", "--case", CASE, *words, "--config", str(world.config)], input=given)


def test_she_hears_of_every_list_that_held_her(world: LaterWorld) -> None:
    account, address = someone_on_a_list(world)
    result = run(world, f"{address}\nnobody.at.all@kund.example\n", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    on = {list_id for list_id, people in world.members().items() if digest_of(address) in people}
    names = {entry["fields"]["audience"] for entry in entries(world, "batch") if entry["fields"]["list_id"] in on}
    assert {one["audience"] for one in found["disclosed"] if one["on_it_now"]} == names
    assert {one["recipient"] for one in found["disclosed"]} == {"Google Ireland Limited"} or all(
        one["recipient"] and one["country"] == "IE" for one in found["disclosed"]
    )
    assert found["provided"][0]["accounts"][0]["account_id"] == account
    assert found["provided"][1] == {"accounts": [], "said": []}
    assert digest_of(address) not in result.output
    assert address not in result.output
    (said,) = entries(world, "access")
    assert said["fields"] == {
        "what": "access",
        "case_id": CASE,
        "accounts": 1,
        "addresses": 2,
        "lists": len(found["disclosed"]),
        "transfers": found["transfers"],
    }


def test_it_is_said_in_both_languages(world: LaterWorld) -> None:
    _, address = someone_on_a_list(world)
    for language, word in (("sv", "klagomål"), ("en", "complain")):
        result = run(world, address, "--language", language)
        assert (result.exit_code, word in result.output, address in result.output) == (0, True, False)
    assert "ingen" not in run(world, "nobody.at.all@kund.example", "--language", "en").output
    assert run(world, "one@kund.example\n\nthree@kund.example\n").exit_code == 2
