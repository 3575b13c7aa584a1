"""`docs/first-night.md`, tried as a newcomer would: its files and commands in their order, in an empty folder, on free ports."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "first-night.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass
class Told:
    """What every command said, by the command, in order."""

    said: list[tuple[str, int, str]] = field(default_factory=list)

    def of(self, command: str) -> list[str]:
        return [text for line, _, text in self.said if line == f"nestaudience {command}"]


def free_port() -> int:
    """A free port whose neighbour is free too."""
    for _ in range(50):
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no two free ports in a row")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    last_month = (date.today() - timedelta(days=30)).isoformat()  # noqa: DTZ011 - the guide is followed today
    folder, port, found = tmp_path_factory.mktemp("first"), free_port(), Told()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "NESTAUDIENCE_"))}
    environment = kept | {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(folder / "prefect"), "COLUMNS": "160"}
    platforms: list[subprocess.Popen[bytes]] = []
    try:
        for kind, body in BLOCK.findall(GUIDE.read_text("utf-8")):
            text = body.replace("50551", str(port)).replace("50552", str(port + 1)).replace("2026-10-01", last_month)
            first, _, rest = text.partition("\n")
            how, _, name = first.lstrip("#- ").partition(": ")
            if kind != "sh":
                assert how in {"file", "append"}, first
                with (folder / name).open("w" if how == "file" else "a", encoding="utf-8") as file:
                    file.write(rest)
            elif how == "in the background":
                words = [*_words(rest.strip()), "--port", str(port)]
                platforms.append(subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.DEVNULL))
                _wait_for(folder / "platforms" / "sandbox" / "meta-endpoint")
            else:
                for line in text.strip().splitlines():
                    _run(line, folder, environment, found)
        yield found
    finally:
        for process in platforms:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def _words(line: str) -> list[str]:
    words = shlex.split(line)
    return [sys.executable, "-m", "nestaudience", *words[1:]] if words[0] == "nestaudience" else [sys.executable, *words[1:]]


def _run(line: str, folder: Path, environment: dict[str, str], found: Told) -> None:
    command, _, target = line.partition(" > ")
    done = subprocess.run(_words(command), cwd=folder, env=environment, capture_output=True, text=True, timeout=170, check=False)
    if target:
        (folder / target).write_text(done.stdout, "utf-8")
    found.said.append((command, done.returncode, done.stdout + done.stderr))


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 90
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert path.exists(), "the platforms did not start"


def test_every_command_of_the_guide_ends_well(told: Told) -> None:
    assert len(told.said) == 17
    assert {line: (code, text[-1500:]) for line, code, text in told.said if code} == {}


def test_the_first_plan_shows_nobody_and_says_why(told: Told) -> None:
    first, second = told.of("plan")
    assert re.search(r"consent_text_insufficient\W+1 500\W+1 500", first)
    assert re.search(r"eligible\W+0\W+0", first)
    assert "all 1 500 candidates refused, most by consent_text_insufficient (1 500)" in first
    assert re.search(r"eligible\W+1 350\W+1 350", second)
    assert re.search(r"address_unverified\W+150\W+150", second)


def test_the_first_night_fills_both_lists(told: Told) -> None:
    night, rest = told.of("run nightly")
    assert re.search(r"shop/buyers/google\W+0\W+1 000\W.*probe", night)
    assert re.search(r"shop/buyers/meta\W+0\W+1 350", night)
    assert re.search(r"shop/buyers/google\W+0\W+350", rest)
    assert re.search(r"shop/buyers/meta\W+0\W+0", rest)
    (lists,) = told.of("sandbox --folder platforms --lists")
    assert re.search(r"google .*1 350", lists)
    assert re.search(r"meta .*1 350", lists)
    (morning,) = told.of("status")
    assert "probing" not in morning
    (verified,) = told.of("audit verify")
    assert "shop-" not in verified


def test_a_no_leaves_both_lists_at_once(told: Told) -> None:
    (hour,) = told.of("run withdrawals")
    for platform in ("google", "meta"):
        assert re.search(rf"shop/buyers/{platform}\W+1\W+0", hour)
