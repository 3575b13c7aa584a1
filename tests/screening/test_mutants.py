"""The comparison with the reference finds what it is for: every mutant of the rules' SQL is killed, three of them in the short form."""

from pathlib import Path

import pytest

from tests.machine_mutants import Mutant, mutilated
from tests.reliability import Row, collect
from tests.screening.mutants import MUTANTS, hunted

WORLDS, SEED = 400, 1
"""Generated worlds, after those written by hand, in which every mutant of today dies."""
QUICK = {"a no reaches its own account only", "an unconfirmed grant counts", "a no is as late as its later clock"}


@pytest.mark.parametrize(
    "mutant", [pytest.param(m, id=m.name, marks=() if m.name in QUICK else pytest.mark.slow) for m in MUTANTS]
)
@pytest.mark.timeout(1800)
def test_every_mutant_is_killed(mutant: Mutant, tmp_path: Path) -> None:
    """By a difference in reasons or funnel, and not because the copy does not run."""
    folder = mutilated(mutant, tmp_path)
    code, said = hunted(folder, WORLDS, SEED)
    assert code == 1, "no difference was found"
    assert "AssertionError" in said, said[-2000:]
    assert "test_equals_reference.py" in said
    collect("screening", [Row(f"mutant of the rules: {mutant.name}", wrong=None, mutants=1, caught=1)])


def test_there_are_enough_of_them_and_each_still_fits_the_code(tmp_path: Path) -> None:
    """Whoever changes a line that a mutant changes must change the mutant."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20
    assert {mutant.name for mutant in MUTANTS} >= QUICK
    for number, mutant in enumerate(MUTANTS):
        mutilated(mutant, tmp_path / str(number))
