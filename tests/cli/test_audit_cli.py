"""The auditor's and the operator's commands, as they are typed, on a ledger that real nights wrote."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nestaudience.audit import FRAMES
from nestaudience.audit.frames import TRANSFER_COLUMNS
from nestaudience.audit.limits import CANNOT_PROVE
from nestaudience.cli import app
from nestaudience.status import status
from nestaudience.wiring import open_evidence, open_keys, settings_in_use


def run(config: Path, *words: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(config)], env=env)


def document(config: Path, *words: str, code: int = 0) -> dict[str, Any]:
    result = run(config, *words, "--json")
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def config(two_nights: Any) -> Path:
    found: Path = two_nights.world.config
    return found


@pytest.fixture
def copied(config: Path, tmp_path: Path) -> Path:
    """The configuration of a copy of ledger and keys, to do harm to."""
    for name in ("ledger", "keys"):
        shutil.copytree(config.parent / name, tmp_path / name, copy_function=shutil.copy)
        (tmp_path / name).chmod(0o700)
    return Path(shutil.copy(config, tmp_path / "nestaudience.toml"))


@pytest.fixture
def public_key(config: Path, tmp_path: Path) -> Path:
    evidence = open_evidence(config, lambda: datetime.now().astimezone(), read_only=True)
    file = tmp_path / "public-key.txt"
    file.write_text("\n".join(open_keys(evidence).vkeys(evidence.table.origin)) + "\n")
    evidence.engine.dispose()
    return file


def change(config: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(config.parent / "ledger" / "ledger.sqlite") as plain:
        for (name,) in plain.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            plain.execute(f"DROP TRIGGER {name}")
        assert plain.execute(statement, values).rowcount >= 1


LISTINGS = ("funnel", "removals", "lookups", "nights", "sizes", "changes")


# -- transfers


def test_transfers_as_json(config: Path, two_nights: Any) -> None:
    found = document(config, "audit", "transfers")
    assert found["columns"] == {name: column.meaning for name, column in TRANSFER_COLUMNS.items()}
    assert len(found["transfers"]) == 15
    for row in found["transfers"]:
        assert list(row) == list(TRANSFER_COLUMNS)
        outcome = two_nights.first if row["run_id"] == two_nights.first.run_id else two_nights.second
        sent = outcome.sent[row["audience"]]
        assert row["accepted"] == (sent.added if row["operation"] == "add" else sent.removed)
        assert datetime.fromisoformat(row["started_at"]).utcoffset() is not None


def test_transfers_by_filter(config: Path, two_nights: Any) -> None:
    def count(*words: str) -> int:
        return len(document(config, "audit", "transfers", *words)["transfers"])

    assert count("--from", "2026-11-22") == 10
    assert count("--to", "2026-11-21") == 5
    assert count("--from", "2026-11-21", "--to", "2026-11-22") == 15
    assert count("--controller", "hemkraft") == 3
    assert count("--recipient", "meta") == 0
    assert count("--audience", "computime/bought_audio_12m/google", "--run", two_nights.first.run_id) == 1


def test_transfers_for_people(config: Path, two_nights: Any) -> None:
    result = run(config, "audit", "transfers")
    assert result.exit_code == 0
    added = sum(sent.added for outcome in (two_nights.first, two_nights.second) for sent in outcome.sent.values())
    removed = sum(sent.removed for sent in two_nights.second.sent.values())
    assert f"people in accepted requests: add {added}, remove {removed}." in result.stdout
    assert "google is Google Ireland Limited" in result.stdout
    assert two_nights.first.run_id in result.stdout
    assert run(config, "audit", "transfers", "--to", "2026-01-01").stdout == "No transfer fits.\n"
    assert run(config, "audit", "transfers", "--from", "yesterday").exit_code == 2


def test_transfers_by_kind_and_those_whose_effect_is_unknown(copied: Path) -> None:
    every = document(copied, "audit", "transfers")["transfers"]
    assert document(copied, "audit", "transfers", "--kind", "nightly")["transfers"] == every
    assert document(copied, "audit", "transfers", "--kind", "drill")["transfers"] == []
    assert document(copied, "audit", "transfers", "--unknown")["transfers"] == []
    change(
        copied,
        'UPDATE log_entry SET body = CAST(replace(CAST(body AS TEXT), \'"outcome":"accepted"\', \'"outcome":"unknown"\') AS BLOB)',
    )
    lost = document(copied, "audit", "transfers", "--unknown")["transfers"]
    assert 0 < len(lost) <= len(every)
    assert all(row["unknown"] > 0 for row in lost)


# -- one table of the log each


@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing_says_the_same_as_its_frame_and_names_its_columns(config: Path, name: str, two_nights: Any) -> None:
    found = document(config, "audit", name)
    assert set(found["columns"]) == set(FRAMES[name].columns)
    result = run(config, "audit", name)
    assert result.exit_code == 0
    assert max(len(line) for line in result.stdout.splitlines()) <= 160
    if name in ("lookups",):
        assert result.stdout == "Nothing fits.\n"
        assert found[name] == []
    else:
        assert found[name]
        assert all(row["controller"] == "hemkraft" for row in document(config, "audit", name, "--controller", "hemkraft")[name])


def test_a_funnel_is_the_last_night_unless_somebody_asks_for_more(config: Path, two_nights: Any) -> None:
    last = document(config, "audit", "funnel")["funnel"]
    assert {row["run_id"] for row in last} == {two_nights.second.run_id}
    both = document(config, "audit", "funnel", "--from", "2001-01-01")["funnel"]
    assert {row["run_id"] for row in both} == {two_nights.first.run_id, two_nights.second.run_id}
    said = run(config, "audit", "funnel", "--audience", "hemkraft/coffee_lovers/google").stdout
    assert "eligible" in said
    assert "closed gates: none" in said


def test_open_removals_and_one_type_of_changes(config: Path) -> None:
    assert document(config, "audit", "removals", "--open", "--recipient", "meta")["open_removals"] == []
    waiting = document(config, "audit", "removals", "--open")["open_removals"]
    assert {row["state"] for row in waiting} == {"waiting"}
    assert "waiting" in run(config, "audit", "removals", "--open").stdout
    assert {row["type"] for row in document(config, "audit", "changes", "--type", "approval")["changes"]} == {"approval"}
    assert run(config, "audit", "changes", "--type", "nonsense").exit_code == 2


# -- show


def test_the_ids_that_transfers_shows_can_be_shown(config: Path) -> None:
    for row in document(config, "audit", "transfers")["transfers"]:
        shown = document(config, "audit", "show", row["transfer_id"])
        assert (shown["kind"], shown["id"], shown["sound"], shown["sealed"]) == ("transfer", row["transfer_id"], True, True)
    start = next(
        line.split("│")[7].strip()
        for line in run(config, "audit", "transfers").stdout.splitlines()
        if line.startswith("│") and line.split("│")[1].strip() == "remove"
    )
    assert document(config, "audit", "show", start)["kind"] == "transfer"


def test_show_for_people(config: Path, two_nights: Any) -> None:
    result = run(config, "audit", "show", two_nights.second.run_id)
    assert result.exit_code == 0
    for word in ("What was judged", "Requests", "Their membership roots", "Step by step", "holds", "run_finished"):
        assert word in result.stdout
    assert "DOES NOT HOLD" not in result.stdout
    transfer = document(config, "audit", "transfers")["transfers"][0]
    said = run(config, "audit", "show", transfer["transfer_id"]).stdout
    for word in ("Google Ireland Limited", "IE", "DPF-2026-01", "DPIA-2026-04", "privacy-1", "consent", transfer["list_id"]):
        assert word in said


def test_show_of_nothing_names_what_to_do(config: Path) -> None:
    result = run(config, "audit", "show", "anna.andersson@example.org")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "id_unknown" in result.stderr
    assert "anna" not in result.stderr
    assert document(config, "audit", "show", "01a", code=2)["errors"][0]["code"] == "id_too_short"


def test_show_sees_a_changed_entry(copied: Path) -> None:
    change(copied, "UPDATE log_entry SET body = replace(body, 'run_started', 'run_stopped') WHERE idx = 0")
    result = run(copied, "audit", "show", "0")
    assert result.exit_code == 5
    assert "DOES NOT HOLD" in result.stdout


# -- verify


def test_verify_says_what_it_checked_and_what_it_cannot(config: Path) -> None:
    found = document(config, "audit", "verify")
    assert found["ok"] is True
    assert found["entries"] == found["sealed"] == found["head"]
    assert (found["problems"], found["unknown_batches"], found["first_bad_entry"]) == ([], [], None)
    assert found["cannot_prove"] == list(CANNOT_PROVE)
    result = run(config, "audit", "verify")
    assert result.exit_code == 0
    assert result.stdout.startswith("Nothing breaks the proof.\nLevel: without keys")
    assert all(sentence in result.stdout for sentence in CANNOT_PROVE)


def test_verify_names_the_first_bad_entry(copied: Path) -> None:
    change(copied, "UPDATE log_entry SET body = replace(body, 'nightly', 'drillly') WHERE idx IN (11, 30)")
    found = document(copied, "audit", "verify", code=5)
    assert (found["ok"], found["first_bad_entry"]) == (False, 11)
    result = run(copied, "audit", "verify")
    assert result.exit_code == 5
    assert "First bad entry: 11" in result.stdout


def test_an_auditor_needs_no_secret(copied: Path, public_key: Path, two_nights: Any) -> None:
    shutil.rmtree(copied.parent / "keys")
    result = run(copied, "audit", "verify")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "public_key_missing" in result.stderr
    found = document(copied, "audit", "verify", "--public-key", str(public_key))
    assert (found["ok"], found["head"]) == (True, None)
    shown = document(copied, "audit", "show", two_nights.first.run_id, "--public-key", str(public_key))
    assert shown["sealed"]
    public_key.write_text("nonsense\n")
    assert document(copied, "audit", "verify", "--public-key", str(public_key), code=2)["errors"][0]["code"] == "vkey_malformed"
    assert document(copied, "audit", "verify", "--public-key", "none", code=2)["errors"][0]["code"] == "file_unreadable"


def test_checkpoints_from_elsewhere_anchor_the_log(copied: Path, tmp_path: Path) -> None:
    with sqlite3.connect(copied.parent / "ledger" / "ledger.sqlite") as plain:
        notes = plain.execute("SELECT size, note FROM checkpoint ORDER BY size").fetchall()
    files = []
    for size, note in (notes[3], notes[-1]):
        files.append(tmp_path / f"{size}.txt")
        files[-1].write_text(note, "utf-8")
    words = [word for file in files for word in ("--checkpoint", str(file))]
    found = document(copied, "audit", "verify", *words)
    assert (found["brought"], found["anchored"]) == (2, notes[-1][0])
    last = notes[-1][0] - 1
    (copied.parent / "keys" / "head.json").unlink()
    change(copied, "DELETE FROM checkpoint WHERE size > ?", last)
    change(copied, "DELETE FROM log_entry WHERE idx >= ?", last)
    assert document(copied, "audit", "verify")["ok"] is True  # without an anchor nothing shows that the end is gone
    found = document(copied, "audit", "verify", *words, code=5)
    assert [problem["code"] for problem in found["problems"]] == ["shorter_than_brought"]


def test_a_head_that_does_not_fit_is_told(copied: Path) -> None:
    last = document(copied, "audit", "verify")["entries"] - 1
    change(copied, "DELETE FROM checkpoint WHERE size > ?", last)
    change(copied, "DELETE FROM log_entry WHERE idx >= ?", last)
    assert [p["code"] for p in document(copied, "audit", "verify", code=5)["problems"]] == ["behind_head"]
    (copied.parent / "keys" / "head.json").write_text("{}")
    assert document(copied, "audit", "verify", code=5)["errors"][0]["code"] == "head_unreadable"


# -- status


def test_status_is_what_the_function_says(config: Path) -> None:
    evidence = open_evidence(config, lambda: datetime.now().astimezone(), read_only=True)
    expected = status(evidence, settings_in_use(evidence), datetime.now().astimezone())
    evidence.engine.dispose()
    found = document(config, "status", code=expected.exit_code)
    standing = found.pop("alerts")
    assert found | {"at": ""} == json.loads(json.dumps(expected.as_dict())) | {"at": ""}
    assert {alert["told_at"] for alert in standing} <= {""}
    result = run(config, "status")
    assert result.exit_code == expected.exit_code
    assert "Last night: 2026-11-22" in result.stdout
    for audience in expected.audiences:
        assert audience.code in result.stdout


# -- all of them


TELLING = ("status", "--tell")
COMMANDS = (
    *((("audit", name)) for name in LISTINGS),
    ("audit", "transfers"),
    ("audit", "show", "0"),
    ("audit", "verify"),
    ("status",),
    ("audiences",),
)


@pytest.fixture
def unchanged(config: Path) -> Iterator[None]:
    with sqlite3.connect(config.parent / "ledger" / "ledger.sqlite") as plain:
        before = list(plain.iterdump())
    yield
    with sqlite3.connect(config.parent / "ledger" / "ledger.sqlite") as plain:
        assert list(plain.iterdump()) == before


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.usefixtures("unchanged")
def test_nothing_is_written_and_nobody_is_asked(config: Path, two_nights: Any, words: tuple[str, ...]) -> None:
    calls = two_nights.world.sandbox.reads + two_nights.world.sandbox.writes
    assert run(config, *words).exit_code in (0, 3)
    assert two_nights.world.sandbox.reads + two_nights.world.sandbox.writes == calls


@pytest.mark.parametrize("words", [*COMMANDS, TELLING])
def test_a_missing_configuration_or_ledger_is_told(tmp_path: Path, config: Path, words: tuple[str, ...]) -> None:
    assert document(tmp_path / "none.toml", *words, code=2)["errors"][0]["code"] == "config_unreadable"
    alone = Path(shutil.copy(config, tmp_path / "nestaudience.toml"))
    assert document(alone, *words, code=5)["errors"][0]["code"] == "ledger_missing"
    assert not (tmp_path / "ledger").exists()


def test_the_configuration_may_be_named_by_the_environment(config: Path) -> None:
    result = CliRunner().invoke(app, ["audit", "transfers", "--json"], env={"NESTAUDIENCE_CONFIG": str(config)})
    assert result.exit_code == 0


@pytest.mark.parametrize(
    "words", [("--help",), ("audit", "--help"), ("audit", "transfers", "--help"), ("status", "--help"), ("audiences", "--help")]
)
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    heavy = ("pandas", "pyarrow", "duckdb", "sqlalchemy", "prefect", "grpc", "google.ads", "cryptography")
    program = (
        "import sys\nfrom nestaudience.cli import app\n"
        f"try:\n    app({list(words)!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('loaded:', [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.splitlines()[-1] == "loaded: []"
