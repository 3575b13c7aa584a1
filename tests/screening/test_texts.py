"""What the engine makes of a text, against the reference: times, whole numbers, and texts that a list of the rules has or has not."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestaudience.customers.parquet_text import as_moments, as_text
from nestaudience.customers.port import BEYOND, MOMENT
from nestaudience.screening.engine import EngineLimits, open_engine, prepare, run_file
from tests.reference.values import moment, whole
from tests.screening.test_remembered_noes import RULES

NOW = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
TWO = st.integers(0, 99).map("{:02}".format)
LIKELY = st.sampled_from(["00", "01", "02", "12", "13", "23", "24", "28", "29", "30", "31", "59", "60"])
FRACTION = st.sampled_from(["", ".", ".0", ".5", ".000001", ".999999", ".1234567", ",5", ".5 "])
ZONE = st.sampled_from(
    ["Z", "+00:00", "", "z", "+00", "+0000", "-00:00", "+01:00", " Z", "Z ", "Z+00:00", "+00:00Z", "UTC", " Europe/Stockholm"]
)
SPELLED = st.builds(
    "{}-{}-{}{}{}:{}:{}{}{}".format,
    st.integers(0, 99_999).map(str)
    | st.sampled_from(["0999", "1000", "1900", "2000", "2024", "2025", "2999", "3000", "-2024", "+2024"]),
    LIKELY | TWO,
    LIKELY | TWO | st.sampled_from(["1", "٣1"]),
    st.sampled_from(["T", " ", "t", "", "  ", "\n"]),
    LIKELY | TWO,
    LIKELY | TWO,
    LIKELY | TWO,
    FRACTION,
    ZONE,
)
FIRST, LAST = datetime(1000, 1, 1, tzinfo=UTC), datetime(2999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
INSIDE = st.integers(0, (LAST - FIRST) // timedelta(microseconds=1)).map(lambda ticks: FIRST + timedelta(microseconds=ticks))
SOUND = INSIDE.map(datetime.isoformat) | st.sampled_from([FIRST, LAST]).map(lambda at: at.isoformat().replace("+00:00", "Z"))
ODD = st.sampled_from(
    [
        "",
        "Z",
        "infinity",
        "-infinity",
        "epoch",
        "now",
        "2024-01-01",
        "2024-01-01 (BC) 00:00:00Z",
        "2024-01-01T00:00:00Z\0",
        "2024-01-01T00:00:00Z\n",
    ]
)


def damaged(text: str, place: int, char: str) -> str:
    """The text with one character replaced."""
    return text[: place % (len(text) + 1)] + char + text[place % (len(text) + 1) + 1 :]


DAMAGED = st.builds(damaged, SOUND, st.integers(0, 40), st.characters(codec="utf-8"))
NUMBERS = (
    st.from_regex(r"\A[-+ ]?[0-9]{0,20}[0-9.eE_ \n]{0,2}\Z")
    | st.integers().map(str)
    | st.sampled_from(["٣", "0x1", "1e3", "١٢", "-", "--1"])
)


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """An engine with the rules and the macros."""
    with open_engine(EngineLimits(threads=1)) as engine:
        prepare(engine, RULES, [], NOW)
        run_file(engine, "nestaudience.screening", "01_tables.sql")
        yield engine


def answers(engine: duckdb.DuckDBPyConnection, expression: str, values: pa.Array) -> list[object]:
    """An expression over the column `t`, in the column's order."""
    engine.register("given_texts", pa.table({"n": range(len(values)), "t": values}))
    found = [row[0] for row in engine.execute(f"SELECT {expression} FROM given_texts ORDER BY n").fetchall()]
    engine.unregister("given_texts")
    return found


@settings(max_examples=120, deadline=None)
@given(texts=st.lists(st.none() | SPELLED | SOUND | DAMAGED | ODD | st.text(max_size=30), min_size=1, max_size=60))
def test_a_time_reads_as_the_reference_reads_it(engine: duckdb.DuckDBPyConnection, texts: list[str | None]) -> None:
    wanted = [found and found.replace(tzinfo=None) for found in map(moment, texts)]
    assert answers(engine, "clock(t)", pa.array(texts, pa.string())) == wanted
    unreadable = [text is not None and found is None for text, found in zip(texts, wanted, strict=True)]
    assert answers(engine, "unreadable(t, clock(t))", pa.array(texts, pa.string())) == unreadable


TICKS = INSIDE.map(lambda at: (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))
EDGES = [
    (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) + more for at in (FIRST, LAST) for more in (-1, 0, 1)
]


@settings(max_examples=60, deadline=None)
@given(
    ticks=st.lists(
        st.none() | TICKS | st.sampled_from([*EDGES, BEYOND, 0, -1]) | st.integers(-BEYOND, BEYOND), min_size=1, max_size=30
    )
)
def test_a_moment_reads_as_its_text_would(engine: duckdb.DuckDBPyConnection, ticks: list[int | None]) -> None:
    moments = as_moments(pa.array(ticks, pa.int64()).cast(MOMENT))
    for expression in ("clock(t)", "unreadable(t, clock(t))"):
        naive = answers(engine, expression, moments.view(pa.timestamp("us")))
        assert naive == answers(engine, expression, as_text(moments))


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.none() | NUMBERS | st.text(max_size=20), min_size=1, max_size=60))
def test_a_whole_number_reads_as_the_reference_reads_it(engine: duckdb.DuckDBPyConnection, texts: list[str | None]) -> None:
    assert answers(engine, "whole(t)", pa.array(texts, pa.string())) == [whole(text) for text in texts]


def test_a_list_has_a_text_or_has_it_not_and_never_neither(engine: duckdb.DuckDBPyConnection) -> None:
    texts = pa.array([*sorted(RULES.controllers), "SE", "", "#1", None])
    for name in ("controllers", "countries", "irrelevant"):
        listed = set(engine.execute(f"SELECT unnest(getvariable('{name}'))").fetchall())
        assert answers(engine, f"among('{name}', t)", texts) == [(text,) in listed for text in texts.to_pylist()]
    engine.execute("SET VARIABLE nothing = $value", {"value": []})
    assert answers(engine, "among('nothing', t)", texts) == [False] * len(texts)
