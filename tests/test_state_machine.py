"""Random histories of a small group: the short form always, the long form with `--long`. What happens, and what must hold, stands in `machine`."""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from machine import STEPS, Machine, tell

SHORT, LONG = 8, 4_000
_HOW = settings(stateful_step_count=STEPS, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def test_short_histories() -> None:
    """The same histories every time."""
    run_state_machine_as_test(Machine, settings=settings(_HOW, max_examples=SHORT, derandomize=True))


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
def test_many_histories() -> None:
    """New ones every time; MACHINE_HISTORIES says another number of them."""
    histories = int(os.environ.get("MACHINE_HISTORIES", LONG))
    run_state_machine_as_test(Machine, settings=settings(_HOW, max_examples=histories, stateful_step_count=2 * STEPS))
    tell(histories, 2 * STEPS, "new seeds")
