"""No process that sees addresses leaves an image of its memory when it dies. Children are looked at through /proc."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WIDE = (
    "import resource; hard = resource.getrlimit(resource.RLIMIT_CORE)[1]; resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))"
)
SHOW = (
    "print([line for line in open('/proc/self/limits') if 'core file' in line][0]); print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
)
COMMAND = f"""
{WIDE}
import ctypes, sys
from nestaudience.cli import main
sys.argv = ["nestaudience", "--help"]
try:
    main()
except SystemExit:
    pass
{SHOW}
"""
FLOW = f"""
{WIDE}
import ctypes
from flows.steps import End, conclude
def work(key):
    {SHOW}
    return End("done")
assert conclude("nowhere.toml", "", "schedule", work).type.value == "COMPLETED"
"""
NOTHING = f"{WIDE}\nimport ctypes\n{SHOW}"


def said_by(program: str) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=90, check=True
    )
    return done.stdout.splitlines()[-3:]


@pytest.mark.parametrize("program", [COMMAND, FLOW], ids=["command", "flow"])
def test_a_process_that_sees_addresses_leaves_no_core(program: str) -> None:
    limits, _, dumpable = said_by(program)
    assert limits.split()[4:6] == ["0", "0"]
    assert dumpable == "0"


def test_another_process_would_leave_one() -> None:
    """The control: the kernel says 1 for a process that may be dumped."""
    assert said_by(NOTHING)[-1] == "1"
