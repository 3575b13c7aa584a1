"""`docs/threat-model.md` names files and tests that exist, and every threat has both."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
NAMED = re.findall(r"`(tests/[a-z_/]+\.py): (test_[a-z0-9_]+)`", TEXT)


def threats() -> list[list[str]]:
    """The cells of every row of the tables of defences."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in TEXT.splitlines() if line.startswith("| ")]
    return [row for row in rows if len(row) == 4 and row[0] != "threat"]


def test_every_named_test_exists() -> None:
    assert len(NAMED) > 40
    missing = []
    for file, name in NAMED:
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            missing.append(f"{file}: {name}")
    assert missing == []


def test_every_named_file_exists() -> None:
    files = set(re.findall(r"`((?:nestaudience|flows)/[a-z_/]+\.py)`", TEXT))
    assert len(files) > 20
    assert [file for file in sorted(files) if not (ROOT / file).is_file()] == []


def test_every_threat_has_its_defence_a_file_and_a_test() -> None:
    rows = threats()
    assert len(rows) > 25
    for threat, meets, where, test in rows:
        assert meets, threat
        assert re.search(r"`(nestaudience|flows)/", where), threat
        assert re.search(r"`tests/.*: test_", test), threat


def test_everything_that_verification_is_tried_with_has_its_test() -> None:
    table = TEXT.partition("## What the verification itself is tried with")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 12
    assert all(re.search(r"`tests/[a-z_/]+\.py: test_", row) for row in rows)


def test_what_is_not_defended_is_said() -> None:
    plain = TEXT.partition("## What is not defended, and why")[2]
    assert len(re.findall(r"^- \*\*", plain, re.MULTILINE)) >= 8
