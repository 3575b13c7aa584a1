"""`nestaudience sandbox` as a process of its own: it publishes what clients need, answers another process, and ends on Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def nestaudience(*words: str) -> list[str]:
    return [sys.executable, "-m", "nestaudience", *words]


def test_it_serves_another_terminal_until_interrupted(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(
        nestaudience("sandbox", "--folder", str(folder), "--accounts", "600", "--port", "0", "--google-ads"),
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not (folder / "sandbox" / "ads-endpoint").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        asked = subprocess.run(
            nestaudience("sandbox", "--folder", str(folder), "--lists", "--json"),
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (asked.returncode, json.loads(asked.stdout)) == (0, [])
        checked = subprocess.run(
            nestaudience("plan", "--config", str(folder / "nestaudience.toml"), "--json"),
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert [plan["held"] for plan in json.loads(checked.stdout)["audiences"]] == [0] * 10
    finally:
        server.send_signal(signal.SIGINT)
        told, _ = server.communicate(timeout=30)
    assert server.returncode == 0
    assert "plan --config" in told
    assert (folder / "sandbox" / "ads-endpoint").read_text() in told
    assert (folder / "sandbox" / "ads-ca.pem").read_bytes() != (folder / "sandbox" / "ca.pem").read_bytes()


def test_asking_a_folder_where_none_runs_says_what_to_do(tmp_path: Path) -> None:
    asked = subprocess.run(
        nestaudience("sandbox", "--folder", str(tmp_path), "--lists"),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert asked.returncode == 2
    assert "sandbox_not_running" in asked.stderr
