"""`docs/audit.md` with real output: every command of the page is run, in order, and what it says is put behind it.

    .venv/bin/nestaudience demo --folder /tmp/auditor/demo && .venv/bin/python -m tests.audit_page /tmp/auditor

The page itself says what is run: a block of `sh` is pasted into one shell, and the block of `text` after it gets what came out, cut to the lines that
its first line names (`text 12`). Commands that end with a code other than 0 say so in a comment at their end (`# ends with 5`).
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[1] / "docs" / "audit.md"
PAIR: Final = re.compile(r"(^```sh\n(.*?)^```\n\n)(^```text (\d+)\n)(.*?)(^```\n)", re.MULTILINE | re.DOTALL)
"""A block of commands, and the block of what they say: whole head, commands, opening line, lines to show, what was said, end."""
ENDS: Final = re.compile(r"# ends with (\d)$", re.MULTILINE)
_MARK: Final = "----8<---- {} ----"


def commands(page: str) -> list[str]:
    """The blocks of commands that have an answer, in order."""
    return [found[1] for found in PAIR.findall(page)]


def said(blocks: list[str], folder: Path) -> list[str]:
    """What each block says, run in one shell in this folder. Raises RuntimeError when one ends otherwise than the page says."""
    script = "".join(f"{block}\necho $? >&2; echo '{_MARK.format(number)}'\n" for number, block in enumerate(blocks))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "NESTAUDIENCE_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    environment = kept | {"PATH": path, "NESTAUDIENCE_CONFIG": "demo/nestaudience.toml", "COLUMNS": "100"}
    done = subprocess.run(
        ["bash"], input=script, cwd=folder, env=environment, capture_output=True, text=True, timeout=550, check=False
    )
    codes = [line for line in done.stderr.splitlines() if line.isdecimal() and len(line) == 1]
    wanted = [ends.group(1) if (ends := ENDS.search(block)) else "0" for block in blocks]
    if codes != wanted:
        wrong = [block for block, code, right in zip(blocks, codes, wanted, strict=False) if code != right]
        raise RuntimeError(f"{codes} instead of {wanted}: {wrong}\n{done.stderr[-3000:]}")
    parts = re.split(r"^----8<---- \d+ ----\n", done.stdout, flags=re.MULTILINE)
    return parts[: len(blocks)]


def filled(page: str, answers: list[str]) -> str:
    """The page with what was said now."""
    waiting = iter(answers)

    def put(found: re.Match[str]) -> str:
        lines, most = [line.rstrip() for line in next(waiting).rstrip().splitlines()], int(found[4])
        shown = lines if len(lines) <= most else [*lines[:most], "…"]
        return f"{found[1]}{found[3]}" + "".join(f"{line}\n" for line in shown) + found[6]

    return PAIR.sub(put, page)


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    PAGE.write_text(filled(text, said(commands(text), Path(sys.argv[1]))), "utf-8")
