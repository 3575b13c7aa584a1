"""The sides that benchmarks compare do the same work: at a size that takes no time."""

from functools import partial
from pathlib import Path

import pytest

from nestaudience.customers import store_of
from tests.benchmarks import hashing, store_reading


def test_every_side_of_hashing_runs_and_the_digests_are_googles(tmp_path: Path) -> None:
    file = tmp_path / "addresses.parquet"
    hashing.make(file, 2_000)
    for side in (*hashing.ROWS, "profile"):
        hashing.SIDES[side](file)
    same = hashing.same(file)["same"]
    assert same == {"the same digest": 1993, "refused by both": 4, "refused by us alone": 2, "another digest": 1}


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def test_both_sides_read_the_same_rows_of_a_store(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    place = str(tmp_path / "store.sqlite") if kind == "sqlite" else request.getfixturevalue("postgres").database()
    store_reading.make(kind, place, 700)
    for side in (partial(store_reading.read_whole, store_of(kind)(place)), partial(store_reading.pandas, kind, place)):
        assert side()["rows_of"] == {"account": 700, "consent_event": 700}
