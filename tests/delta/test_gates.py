"""The brakes, exactly at their limits, and what each kind of gate holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestaudience.delta.gates import Gate, Limits, brakes, only_noes, stop_additions

LIMITS = Limits(smallest=1000, change_percent=20, change_people=500, ever_held=True)
COUNT = st.integers(0, 20_000)


def codes(held: int, wanted: int, ordinary: int, additions: int, limits: Limits = LIMITS) -> set[str]:
    return {gate.code for gate in brakes(held, wanted, ordinary, additions, limits)}


@pytest.mark.parametrize(
    ("held", "wanted", "ordinary", "additions", "closed"),
    [
        (5000, 5000, 1000, 1000, set()),
        (5000, 5000, 1001, 0, {"anomaly_removals"}),
        (5000, 5000, 0, 1001, {"anomaly_additions"}),
        (5000, 5000, 1001, 1001, {"anomaly_removals", "anomaly_additions"}),
        (5004, 5000, 1001, 0, {"anomaly_removals"}),  # a share of a person is nobody
        (5005, 5000, 1001, 0, set()),
        (2000, 2000, 500, 500, set()),  # 20 % are 400 here, and so many people always may
        (2000, 2000, 501, 0, {"anomaly_removals"}),
        (0, 1000, 0, 500, set()),
        (0, 999, 0, 500, {"too_small"}),
        (5000, 0, 5000, 0, {"too_small", "anomaly_removals"}),
    ],
)
def test_the_limits(held: int, wanted: int, ordinary: int, additions: int, closed: set[str]) -> None:
    assert codes(held, wanted, ordinary, additions) == closed


def test_the_first_fill_is_exempt_from_the_brake_on_additions_only() -> None:
    first = Limits(smallest=1000, change_percent=20, change_people=500, ever_held=False)
    assert codes(0, 90_000, 0, 90_000, first) == set()
    assert codes(0, 90_000, 0, 90_000) == {"anomaly_additions"}
    assert codes(100, 90_000, 501, 0, first) == {"anomaly_removals"}


@given(held=COUNT, wanted=COUNT, ordinary=COUNT, additions=COUNT, percent=st.integers(5, 50), people=st.integers(100, 1000))
def test_more_change_never_opens_a_brake(
    held: int, wanted: int, ordinary: int, additions: int, percent: int, people: int
) -> None:
    limits = Limits(1000, percent, people, ever_held=True)
    assert codes(held, wanted, ordinary, additions, limits) <= codes(held, wanted, ordinary + 1, additions + 1, limits)
    assert codes(held + 1, wanted + 1, ordinary, additions, limits) <= codes(held, wanted, ordinary, additions, limits)


@given(held=COUNT, wanted=COUNT, ordinary=COUNT, additions=COUNT)
def test_what_a_brake_holds_and_says(held: int, wanted: int, ordinary: int, additions: int) -> None:
    for gate in brakes(held, wanted, ordinary, additions, LIMITS):
        assert gate.additions == (gate.code in {"too_small", "anomaly_additions"})
        assert gate.ordinary == (gate.code == "anomaly_removals")
        assert gate.exit_code == (0 if gate.code == "too_small" else 5)
        assert any(char.isdigit() for char in gate.next_step)


def test_gates_that_are_closed_from_outside() -> None:
    assert stop_additions("config", "mend it", exit_code=2) == Gate(
        "config", additions=True, ordinary=False, next_step="mend it", exit_code=2
    )
    assert only_noes("feed_incomplete", "mend it") == Gate("feed_incomplete", additions=True, ordinary=True, next_step="mend it")
    with pytest.raises(ValueError, match="holds something"):
        Gate("nothing", additions=False, ordinary=False, next_step="")
