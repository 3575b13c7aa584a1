"""Columns go into the ledger's tables by the ten thousand and come out as they went in, also beyond one page."""

import random

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from nestaudience.ledger.bulk import PAGE, insert_packed, packed_bytes, read_pages
from nestaudience.ledger.column_types import WHOLE, numbered
from nestaudience.ledger.engine import Place, open_engine, write
from nestaudience.ledger.on_postgres import make_room

THING = sa.Table(
    "thing",
    sa.MetaData(),
    numbered("no"),
    sa.Column("kind", WHOLE),
    sa.Column("place", WHOLE),
    sa.Column("short", sa.LargeBinary),
    sa.Column("long", sa.LargeBinary),
)


@pytest.fixture
def engine(place: Place) -> Engine:
    opened = open_engine(place)
    write(opened, lambda c: (make_room(c), THING.create(c)))
    return opened


def column(count: int, width: int, seed: int) -> pa.Array:
    content = random.Random(seed).randbytes(count * width)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), count, [None, pa.py_buffer(content)])


SLOWLY = pytest.mark.slow_on_postgres


@pytest.mark.parametrize(
    "count", [0, 1, PAGE + 1, *(pytest.param(count, marks=SLOWLY) for count in (2, PAGE - 1, PAGE, 2 * PAGE + 3))]
)
def test_what_goes_in_comes_out(engine: Engine, count: int) -> None:
    short, long = column(count, 16, 1), column(count, 32, 2)
    write(
        engine,
        lambda c: insert_packed(
            c, "thing", count, packed={"short": short, "long": long}, constants={"kind": 7}, position="place"
        ),
    )
    pages = list(read_pages(engine, "SELECT * FROM thing", "no", ["kind", "place"], {"short": 16, "long": 32}))
    assert [page.rows for page in pages] == [PAGE] * (count // PAGE) + ([count % PAGE] if count % PAGE else [])
    if count:
        assert np.array_equal(np.concatenate([page.numbers["place"] for page in pages]), np.arange(count))
        assert np.array_equal(np.concatenate([page.numbers["no"] for page in pages]), np.arange(1, count + 1))
        assert {int(kind) for page in pages for kind in np.unique(page.numbers["kind"])} == {7}
        assert pa.concat_arrays([page.binaries["short"] for page in pages]).equals(short)
        assert pa.concat_arrays([page.binaries["long"] for page in pages]).equals(long)


def test_pages_follow_the_row_id_over_gaps(engine: Engine) -> None:
    count = PAGE + 10
    values = column(count, 16, 3)
    write(
        engine,
        lambda c: insert_packed(c, "thing", count, packed={"short": values, "long": column(count, 32, 4)}, constants={"kind": 1}),
    )
    write(engine, lambda c: c.execute(sa.text("DELETE FROM thing WHERE no % 3 = 0")))
    pages = list(read_pages(engine, "SELECT * FROM thing WHERE no > 5", "no", [], {"short": 16}))
    numbers = np.concatenate([page.numbers["no"] for page in pages])
    expected = np.array([n for n in range(6, count + 1) if n % 3])
    assert np.array_equal(numbers, expected)
    assert pa.concat_arrays([page.binaries["short"] for page in pages]).equals(values.take(pa.array(expected - 1)))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.binary(min_size=4, max_size=4), max_size=20), st.integers(0, 5), st.integers(0, 5))
def test_packed_bytes_of_a_slice(values: list[bytes], start: int, length: int) -> None:
    part = pa.array(values, pa.binary(4)).slice(start, length)
    assert packed_bytes(part) == b"".join(values[start : start + length])


def test_a_null_is_refused() -> None:
    with pytest.raises(ValueError, match="no null"):
        packed_bytes(pa.array([b"abcd", None], pa.binary(4)))
