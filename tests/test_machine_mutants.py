"""The state machine finds what it is for: every mutant of the package is caught, three of them in the short form."""

from pathlib import Path

import pytest
from machine_mutants import MUTANTS, Mutant, hunted, mutilated, played

from tests.reliability import Row, collect

HISTORIES, SEEDS = 60, (1, 2, 3)
JUDGES = ("machine_truth.py", "machine_memory.py")
"""Where the assertions about the path stand."""
QUICK = {"marked after sending", "the last look keeps everybody", "forgotten before the removal is answered"}


@pytest.mark.parametrize(
    "mutant", [pytest.param(m, id=m.name, marks=() if m.name in QUICK else pytest.mark.slow) for m in MUTANTS]
)
@pytest.mark.timeout(3600)
def test_every_mutant_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    """By an assertion of the machine's own, and not because the copy does not run. Situations that need four things in a row stand among the smallest
    histories, which are played first; all others are found by chance.
    """
    folder = mutilated(mutant, tmp_path)
    code, said = played(folder)
    found = code == 1 and any(name in said for name in JUDGES)
    for seed in () if found else SEEDS:
        code, said = hunted(folder, HISTORIES, seed)
        if code:
            break
    assert code == 1, "nothing was found"
    assert "AssertionError: " in said, said[-2000:]
    assert any(name in said for name in (*JUDGES, "machine.py"))
    collect("mutants", [Row(f"mutant: {mutant.name}", wrong=None, mutants=1, caught=1)])


def test_there_are_enough_of_them() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 23
    assert {mutant.name for mutant in MUTANTS} >= QUICK


def test_every_mutant_still_fits_the_code(tmp_path: Path) -> None:
    """Whoever changes a line that a mutant changes must change the mutant."""
    for number, mutant in enumerate(MUTANTS):
        mutilated(mutant, tmp_path / str(number))
