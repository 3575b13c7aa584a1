"""`audit report` as it is typed, on a ledger that real nights wrote: the numbers of `audit transfers`, the exit codes, and what cannot be written."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nestaudience.cli import app


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(config)])


@pytest.fixture(scope="module")
def config(two_nights: Any) -> Path:
    found: Path = two_nights.world.config
    return found


@pytest.fixture(scope="module")
def report(config: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("out") / "report.html"
    result = run(config, "audit", "report", "--out", str(place), "--language", "en")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"Nothing breaks the proof.\nWritten: {place}\n"
    return place.read_text("utf-8")


def test_it_has_the_numbers_of_audit_transfers(config: Path, report: str, tables: Any) -> None:
    said = json.loads(run(config, "audit", "transfers", "--json").stdout)["transfers"]
    rows = [row for row in tables(report)["Each transfer"][1:] if not row[0].startswith("Sum")]
    assert len(rows) == len(said) == 15
    for row, wanted in zip(rows, said, strict=True):
        for text, name in zip(row[5:10], ("planned", "accepted", "refused", "unknown", "late_removals"), strict=True):
            shown = "fewer than 10" if 0 < wanted[name] < 10 else str(wanted[name])
            rounded = f"≈ {(wanted[name] + 5) // 10 * 10}"
            assert text.replace("\u00a0", "") in {shown, rounded if name == "planned" else shown}, (name, wanted[name])


def test_it_tells_of_what_the_funnel_and_the_lists_say(config: Path, report: str, tables: Any) -> None:
    found = tables(report)
    assert len(found["Each list, last night of the period"]) == 1 + 5
    assert len(found["List size over time, in numbers"]) == 1 + 5
    assert {row[1] for row in found["Each night and its anchors"][1:]} >= {"done"}


@pytest.fixture(scope="module")
def tables() -> Any:
    import sys

    sys.path.append(str(Path(__file__).parents[1] / "audit"))
    from report_tables import Read

    return lambda html: Read(html).tables


def test_a_broken_log_has_a_report_and_exit_code_5(config: Path, tmp_path: Path) -> None:
    for name in ("ledger", "keys"):
        shutil.copytree(config.parent / name, tmp_path / name, copy_function=shutil.copy)
        (tmp_path / name).chmod(0o700)
    copied = Path(shutil.copy(config, tmp_path / "nestaudience.toml"))
    with sqlite3.connect(tmp_path / "ledger" / "ledger.sqlite") as plain:
        plain.execute("DROP TRIGGER log_entry_no_update")
        plain.execute("UPDATE log_entry SET body = replace(body, '\"count\":', '\"count\": ') WHERE idx > 3")
    result = run(copied, "audit", "report", "--out", str(tmp_path / "r.html"), "--json")
    assert result.exit_code == 5, result.output
    assert json.loads(result.stdout)["ok"] is False
    assert "INTE verifierad" in (tmp_path / "r.html").read_text("utf-8")


def test_what_cannot_be_done_is_said(config: Path, tmp_path: Path) -> None:
    def code(*words: str) -> str:
        result = run(config, "audit", "report", *words, "--json")
        assert result.exit_code == 2, result.output
        found: str = json.loads(result.stdout)["errors"][0]["code"]
        return found

    assert code("--out", str(tmp_path / "none" / "r.html")) == "file_unwritable"
    assert code("--out", str(tmp_path / "r.html"), "--controller", "nobody") == "controller_unknown"
    assert code("--out", str(tmp_path / "r.html"), "--checkpoint", str(tmp_path / "none")) == "file_unreadable"
    assert list(tmp_path.iterdir()) == []
