"""`rights proof` and `audit proof`: it says what the platform's lists say, holds without the ledger, and no changed document survives."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from later_world import LaterWorld
from typer.testing import CliRunner, Result

from nestaudience.cli import app
from nestaudience.wiring import open_parts
from tests.test_suppression import digest_of, entries, someone_on_a_list

CASE = "DSR-2026-0012"


def run(world: LaterWorld, given: str, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(world.config)], input=given)


def made(world: LaterWorld, address: str, transfer: str, *words: str) -> Result:
    return run(world, address, "rights", "proof", transfer, "--case", CASE, *words)


def check(folder: Path, document: object) -> Result:
    (folder / "given.json").write_text(json.dumps(document))
    words = ["audit", "proof", str(folder / "given.json"), "--public-key", str(folder / "keys.txt"), "--json"]
    return CliRunner().invoke(app, [*words, "--config", str(folder / "no-such-installation.toml")])


def test_it_says_of_every_transfer_what_its_list_says(world: LaterWorld, tmp_path: Path) -> None:
    _, address = someone_on_a_list(world)
    with open_parts(world.config, clock=world.clock.now) as parts:
        (tmp_path / "keys.txt").write_text("\n".join(parts.keys.vkeys(parts.evidence.table.origin)))
    on = {list_id for list_id, people in world.members().items() if digest_of(address) in people}
    in_list = {e["fields"]["transfer_id"]: e["fields"]["list_id"] in on for e in entries(world, "batch")}
    assert set(in_list.values()) == {True, False}
    proofs: dict[bool, dict[str, Any]] = {}
    for number, (transfer, expected) in enumerate(in_list.items()):
        out = tmp_path / f"{number}.json"
        result = made(world, address, transfer, "--json", "--out", str(out))
        assert result.exit_code == 0, result.output
        document = json.loads(out.read_text())
        assert (document, document["was_in"]) == (json.loads(result.stdout), expected)
        assert out.stat().st_mode & 0o077 == 0
        told = check(tmp_path, document)
        assert (told.exit_code, json.loads(told.stdout)["was_in"]) == (0, expected)
        for shown in (result.output, out.read_text(), told.output):
            assert address not in shown
            assert digest_of(address) not in shown
        proofs[expected] = document
    assert [e["fields"]["case_id"] for e in entries(world, "lookup") if e["fields"]["what"] == "proof"] == [CASE] * len(in_list)
    for document in proofs.values():
        for broken in changed(document, proofs[not document["was_in"]]):
            assert check(tmp_path, broken).exit_code == 5


def changed(document: dict[str, Any], other: dict[str, Any]) -> list[object]:
    """What somebody might make of a document."""
    turned, flipped = deepcopy(document), deepcopy(document)
    turned["was_in"] = not document["was_in"]
    leaf = flipped["proofs"][0]["leaves"][0]["leaf"]
    flipped["proofs"][0]["leaves"][0]["leaf"] = ("0" if leaf[0] != "0" else "1") + leaf[1:]
    return [
        turned,
        flipped,
        document | {"transfer": other["transfer"]},
        document | {"proofs": other["proofs"]},
        document | {"proofs": []},
        document | {"keys": document["keys"] + 1},
        document | {"proofs": document["proofs"] * 2, "keys": document["keys"] * 2},
        document | {"more": 1},
        None,
    ]


def test_what_cannot_be_proven_is_said_and_logged(world: LaterWorld, tmp_path: Path) -> None:
    _, address = someone_on_a_list(world)
    transfer = entries(world, "batch")[0]["fields"]["transfer_id"]
    nobody = made(world, "nobody.at.all@kund.example", transfer)
    assert (nobody.exit_code, "salt_unknown" in nobody.output) == (2, True)
    assert len([e for e in entries(world, "lookup") if e["fields"]["what"] == "proof"]) == 1
    assert made(world, address, "ffffffff").exit_code == 2
    assert run(world, address, "rights", "proof", transfer).exit_code == 2  # no case
    (tmp_path / "there").write_text("mine")
    assert made(world, address, transfer, "--out", str(tmp_path / "there")).exit_code == 2
    assert (tmp_path / "there").read_text() == "mine"
    for language, word in (("sv", "Beviset"), ("en", "The proof")):
        told = made(world, address, transfer, "--language", language)
        assert (told.exit_code, word in told.output, address in told.output) == (0, True, False)
