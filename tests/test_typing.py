"""The types of the path refuse wrong uses: mypy must reject every line of `typing_must_not_check.py` that claims to be wrong."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WRONG = ROOT / "tests" / "typing_must_not_check.py"
MYPY = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "--enable-error-code", "ignore-without-code"]


def check(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MYPY, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_wrong_uses_do_not_check() -> None:
    done = check(WRONG)
    assert done.returncode == 0, f"a wrong use is legal, or is refused for another reason:\n{done.stdout}"


def test_a_wrong_use_that_is_legal_would_be_found(tmp_path: Path) -> None:
    """The control: an expectation that does not hold is an error."""
    legal = tmp_path / "legal.py"
    legal.write_text('"""."""\n\nx: int = 3  # type: ignore[assignment]\n')
    done = check(legal)
    assert done.returncode == 1
    assert "unused-ignore" in done.stdout


def test_there_is_something_to_check() -> None:
    assert WRONG.read_text("utf-8").count("# type: ignore[") >= 25
