"""Remembered noes come back as they were written, beyond one page too, and only old withdrawals are ever forgotten."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from nestaudience.ledger.bulk import PAGE
from nestaudience.ledger.engine import Place, open_engine, read, write
from nestaudience.ledger.on_postgres import make_room
from nestaudience.ledger.schema import SUPPRESSION
from nestaudience.ledger.suppression import NOBODY, NOES, WITHDRAWALS, append, count, forget_withdrawals, remembered
from nestaudience.ledger.suppression_files import lacking, take_back, write_new

SEEN = datetime(2026, 11, 22, 2, 30, 0, 123456, tzinfo=UTC).replace(tzinfo=None)
_MOMENTS = st.none() | st.datetimes(SEEN.replace(year=1000), SEEN.replace(year=2999))
_NUMBERS = st.integers(-(10**18) + 1, 10**18 - 1)
_ROWS = st.fixed_dictionaries(
    {
        "token": st.binary(min_size=16, max_size=16),
        "account_token": st.just(NOBODY) | st.binary(min_size=16, max_size=16),
        "kind": st.sampled_from(("withdrawn", "cookies_conversions", "objected_analysis", "erased")),
        "purpose": st.sampled_from(("ad_matching", "enhanced_conversions", "*")),
        "recipient": st.sampled_from(("*", "google", "meta")),
        "controller": st.sampled_from(("", "c1", "hemkraft", "bolag å", "-")),
        "source": st.none() | st.integers(0, 2**64 - 1),
        "seq": st.none() | _NUMBERS,
        "occurred": _MOMENTS,
        "recorded": _MOMENTS,
        "first_seen": st.just(SEEN),
        "case_id": st.sampled_from(("", "K-1")),
        "key_id": st.just("0123abcd 4567cdef"),
    }
)


@pytest.fixture
def engine(place: Place) -> Engine:
    opened = open_engine(place)
    write(opened, lambda c: (make_room(c), SUPPRESSION.create(c)))
    return opened


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, NOES)


def by_words(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In the order in which they are read: by controller and case, and then as they were written."""
    return sorted(rows, key=lambda row: (row["controller"].encode(), row["case_id"]))


def no(number: int = 1, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "token": number.to_bytes(16, "big"),
        "account_token": NOBODY,
        "kind": "withdrawn",
        "purpose": "ad_matching",
    }
    row |= {
        "recipient": "*",
        "controller": "c1",
        "source": None,
        "seq": None,
        "occurred": SEEN,
        "recorded": SEEN,
        "first_seen": SEEN,
    }
    return row | {"case_id": "", "key_id": "0123abcd 4567cdef"} | changes


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=40)
@given(st.lists(_ROWS, max_size=8))
def test_what_was_remembered_is_known(engine: Engine, rows: list[dict[str, Any]]) -> None:
    write(engine, lambda c: c.execute(sa.delete(SUPPRESSION)))
    write(engine, lambda c: append(c, table(rows)))
    assert remembered(engine).to_pylist() == by_words(rows)
    assert count(engine) == len(rows)


def test_more_than_a_page(engine: Engine) -> None:
    rows = [no(number) for number in range(PAGE + 2)]
    write(engine, lambda c: append(c, table(rows)))
    assert remembered(engine).equals(table(rows))


def test_the_tables_hold_words_and_nulls_that_people_can_read(engine: Engine) -> None:
    write(engine, lambda c: append(c, table([no(source=2**64 - 1, seq=7, recorded=None)])))
    row = read(engine, lambda c: c.execute(sa.select(SUPPRESSION)).one())
    assert (row.kind, row.source, row.source_seq, row.recorded_at) == ("withdrawn", str(2**64 - 1), 7, None)
    assert row.occurred_at == "2026-11-22T02:30:00.123456Z"


SLOWLY = pytest.mark.slow_on_postgres


@pytest.mark.parametrize(
    "kind",
    [WITHDRAWALS[0], "objected"]
    + [pytest.param(kind, marks=SLOWLY) for kind in (*WITHDRAWALS[1:], "objected_analysis", "restricted", "erased")],
)
def test_only_old_withdrawals_are_forgotten(engine: Engine, kind: str) -> None:
    """By when they were recorded, or first seen; never what was entered with a case."""
    old = SEEN - timedelta(days=1200)
    rows = [no(1), no(2, recorded=old), no(3, recorded=None, first_seen=old), no(4, recorded=old, case_id="K-1")]
    write(engine, lambda c: append(c, table([row | {"kind": kind} for row in rows])))
    gone = write(engine, lambda c: forget_withdrawals(c, (SEEN - timedelta(days=1100)).replace(tzinfo=UTC)))
    left = {int.from_bytes(row["token"], "big") for row in remembered(engine).to_pylist()}
    assert (gone, left) == ((2, {1, 4}) if kind in WITHDRAWALS else (0, {1, 2, 3, 4}))


def test_the_lines_that_leave_the_machine_are_the_same_on_either_database(engine: Engine, tmp_path: Path) -> None:
    rows = [
        no(1, source=2**64 - 1, seq=-7, recorded=None),
        no(2, controller='b "å" \\', account_token=b"\xab" * 16, case_id="K-1"),
    ]
    write(engine, lambda c: append(c, table(rows)))
    write(engine, lambda c: c.execute(sa.update(SUPPRESSION).where(SUPPRESSION.c.case_id == "").values(account_token=None)))
    written = write_new(engine, tmp_path / "away", 0, b"key")
    (file,) = (tmp_path / "away").glob("*.jsonl")
    times = ["2026-11-22T02:30:00.123456Z"] * 3
    expected = [
        [
            f"{1:032X}",
            "",
            "withdrawn",
            "ad_matching",
            "*",
            "c1",
            str(2**64 - 1),
            -7,
            times[0],
            None,
            times[0],
            "",
            "0123abcd 4567cdef",
        ],
        [f"{2:032X}", "AB" * 16, "withdrawn", "ad_matching", "*", 'b "å" \\', "", None, *times, "K-1", "0123abcd 4567cdef"],
    ]
    first = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in expected]
    assert file.read_text("utf-8").splitlines()[:-1] == first
    assert (written.until, written.noes) == (2, 2)
    write(engine, lambda c: c.execute(sa.delete(SUPPRESSION)))
    write(engine, lambda c: take_back(c, lacking(engine, tmp_path / "away", [b"key"])))
    assert lacking(engine, tmp_path / "away", [b"key"]) == []
    assert count(engine) == 2
