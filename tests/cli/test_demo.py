"""`nestaudience demo` as a person runs it: a process of its own, in an empty folder, with nothing but what the package brings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from leaks import Wanted, found_in_folder

from nestaudience.cli.demo import STAYS_OFF
from nestaudience.sandbox.world import StoreFile

ROOT = Path(__file__).parents[2]


def demo(folder: Path, *words: str, accounts: int = 2_000) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "NESTAUDIENCE_"))}
    return subprocess.run(
        [sys.executable, "-m", "nestaudience", "demo", "--accounts", str(accounts), *words],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


def test_the_demo_ends_as_expected(folder: Path) -> None:
    done = demo(folder, "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["as_expected"] is True
    for platform, kinds in STAYS_OFF.items():
        gone = [told["people"][kind] for kind in kinds]
        assert sum(row[f"{platform}_before"] for row in gone) > 0
        assert {row[f"{platform}_after"] for row in gone} == {0}
        assert sum(count > 0 for name, count in told["second_night"]["lists"].items() if name.startswith(platform)) == 5
    for night in ("first_night", "second_night"):
        assert told[night]["run"]["exit_codes"] == [0]
        assert told[night]["run"]["errors"] == []
    rest = told["rest_of_first_night"]
    assert rest["exit_codes"] == [0]
    assert {key.rpartition("/")[2] for key, sent in rest["lists"].items() if sent["added"]} == {"google"}, "Meta answered at once"
    planned = {plan["audience"]: plan["send_removals"] for plan in told["second_night"]["plan"]["audiences"]}
    did = {key: sent["removed"] for key, sent in told["second_night"]["run"]["lists"].items()}
    assert did == planned
    assert sum(did.values()) > 0
    _says_nobody(folder, done)


@pytest.mark.slow
def test_a_second_demo_is_read_by_people(folder: Path) -> None:
    """In the same folder: it starts anew. Tables fit a terminal, words are whole, and the next commands are named."""
    done = demo(folder)
    assert done.returncode == 0, done.stderr[-2000:]
    signatures = "— "  # a checkpoint is copied whole
    assert [line for line in done.stdout.splitlines() if len(line) > 120 and not line.startswith(signatures)] == []
    for words in (
        "Candidates, refused by their first reason, eligible",
        "gates",
        "consent_withdrawn",
        "hemkraft/coffee_lovers/google",
    ):
        assert words in done.stdout
    for command in ("audit verify", "audit transfers", "status"):
        assert f"nestaudience {command}" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    _says_nobody(folder, done)


@pytest.mark.slow
def test_the_demo_of_the_readme_ends_well(tmp_path: Path) -> None:
    """At its own size: somebody who closes one of two accounts with one address stays by the other, and that is as expected."""
    done = demo(tmp_path, "--json", accounts=50_000)
    assert done.returncode == 0, done.stderr[-2000:]
    closed = json.loads(done.stdout)["people"]["closed"]
    assert closed["google_after"] == closed["google_by_another_account"] > 0, "the case is there"


def _says_nobody(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    """No invented customer's address is on the terminal or in any file of the folder but the store."""
    place = folder / ".nestaudience" / "demo"
    with StoreFile(place / "store.sqlite") as store:
        addresses = {str(row[0]).strip() for row in store.rows("SELECT email FROM shop_account WHERE email LIKE '%_@_%._%'")}
    assert len(addresses) > 1000
    wanted = Wanted(
        {form.encode(): "an address" for address in addresses for form in (address, address.lower()) if len(form) >= 8}
    )
    (place / "terminal").write_text(done.stdout + done.stderr, "utf-8")
    assert found_in_folder(place, wanted, but=[place / "store.sqlite", place / "keys"]) == {}
