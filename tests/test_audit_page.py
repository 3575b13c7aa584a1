"""`docs/audit.md`: the twenty-five questions stand there, their commands exist, and in the long form every one is run on a demo of its own."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from nestaudience.cli import app
from tests.audit_page import ENDS, PAGE, commands, filled, said


def options_of(words: list[str]) -> set[str]:
    """The options of the command that a line names, and of which the words are the rest. Raises KeyError for a command that does not exist."""
    command = get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def test_every_question_stands_there_once_in_order() -> None:
    numbers = re.findall(r"^## (\d+)\. ", PAGE.read_text("utf-8"), re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 26)]


def test_every_command_exists_with_its_options() -> None:
    lines = re.findall(r"\bnestaudience ((?:audit|rights|plan|demo|keys)\b[^|\n`)#]*)", PAGE.read_text("utf-8"))
    assert len(lines) > 25
    for line in lines:
        words = shlex.split(line)
        known = options_of([word for word in words if not word.startswith(("-", "$"))])
        assert {word for word in words if word.startswith("--")} <= known, line


def test_what_a_block_says_is_cut_to_its_lines() -> None:
    page = "a\n\n```sh\necho one; echo two; echo three\n```\n\n```text 2\nold\n```\n"
    assert filled(page, ["one\ntwo\nthree\n"]) == page.replace("old", "one\ntwo\n…")
    assert filled(page, ["one\n"]) == page.replace("old", "one")


def test_a_block_that_ends_otherwise_is_no_answer(tmp_path: Path) -> None:
    assert said(["echo one", "echo two; (exit 5)    # ends with 5"], tmp_path) == ["one\n", "two\n"]
    with pytest.raises(RuntimeError, match="instead of"):
        said(["(exit 3)"], tmp_path)


@pytest.mark.slow
def test_every_command_says_something_on_a_demo(tmp_path: Path) -> None:
    demo = [sys.executable, "-m", "nestaudience", "demo", "--folder", "demo", "--accounts", "20000"]
    subprocess.run(demo, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    blocks = commands(PAGE.read_text("utf-8"))
    answers = said(blocks, tmp_path)
    assert all(answer.strip() for answer in answers)
    forged = [answer for block, answer in zip(blocks, answers, strict=True) if "forged-" in block]
    assert len(forged) == 5
    assert all(answer.startswith("THE PROOF IS BROKEN") and "first_bad_entry" in answer for answer in forged)
    assert sum(ENDS.search(block) is not None for block in blocks) == 6
