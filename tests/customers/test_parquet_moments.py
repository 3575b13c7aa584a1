"""Times that a Parquet store keeps as timestamps cross as moments, and say what their text would have said."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_rows import NOW, account, consent, right, rows_of, write_parquet

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, FEED_STATUS, RIGHTS_EVENT, SEGMENT_MEMBER, View
from nestaudience.customers.parquet import ParquetStore
from nestaudience.customers.parquet_text import as_moments, as_text, is_moment
from nestaudience.customers.port import BEYOND, MOMENT

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EDGES = (-62_135_596_801, -62_135_596_800, -1, 0, 253_402_300_799, 253_402_300_800)
STATUS = {
    "view_name": "account",
    "controller_id": "c1",
    "complete_until": "2026-03-10T00:00:00Z",
    "loaded_at": "2026-03-10T00:00:00Z",
    "row_count": 1,
    "generation": "g",
    "environment": "sandbox",
}


@st.composite
def moments(draw: st.DrawFn) -> pa.Array:
    """Timestamps with a zone: ordinary ones, those at the ends of the calendar, and any that the type can hold."""
    unit = draw(st.sampled_from(sorted(PER_SECOND)))
    wide = st.integers(-(2**63) + 1, 2**63 - 1)
    edge = st.builds(lambda second, more: second * PER_SECOND[unit] + more, st.sampled_from(EDGES), st.integers(-2, 2))
    near = st.integers(-(2**61), 2**61).map(lambda ticks: ticks * PER_SECOND[unit] // 10**9)
    inside = edge.filter(lambda ticks: abs(ticks) < 2**63)
    ticks = draw(st.lists(st.none() | near | inside | wide, max_size=12))
    zone = draw(st.sampled_from(["UTC", "Europe/Stockholm", "+02:00"]))
    column = pa.array(ticks, pa.int64()).cast(pa.timestamp(unit, zone))
    return column.dictionary_encode() if draw(st.booleans()) else column.slice(draw(st.integers(0, 2)))


@settings(max_examples=300, deadline=None)
@given(column=moments())
def test_a_moment_has_the_text_of_the_timestamp_that_it_was(column: pa.Array) -> None:
    assert is_moment(column.type)
    found = as_moments(column)
    assert found.type == MOMENT
    assert as_text(found).to_pylist() == as_text(column).to_pylist()


def test_what_has_no_text_is_beyond_and_not_null() -> None:
    for unit in ("s", "ms", "us"):
        column = pa.array([EDGES[0] * PER_SECOND[unit], None, EDGES[-1] * PER_SECOND[unit], 2**63 - 1], pa.int64())
        found = as_moments(column.cast(pa.timestamp(unit, "UTC")))
        assert found.cast(pa.int64()).to_pylist() == [BEYOND, None, BEYOND, BEYOND]
    assert as_moments(pa.nulls(2)).to_pylist() == [None, None]
    assert not any(map(is_moment, (pa.timestamp("us"), pa.string(), pa.null(), pa.date32(), pa.int64())))


def types(folder: Path, view: View, **how: object) -> dict[str, pa.DataType]:
    """The types of a view's times, the same in all its sheets."""
    times = [column.name for column in view.columns if column.kind == "time"]
    with ParquetStore(folder).snapshot() as snapshot:
        schemas = [sheet.facts.schema for sheet in snapshot.read(view, **how)]
    assert all(schema == schemas[0] for schema in schemas)
    return {name: schemas[0].field(name).type for name in times}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every time is a timestamp; each view but `account` lies in two files."""
    rows = {
        "account": [account("a", email_changed_at="2025-06-01T00:00:00Z", last_active_at="2025-06-01T00:00:00Z")],
        "consent_event": [consent("e1", "a"), consent("e2", "a")],
        "rights_event": [right("r1", "a"), right("r2", "a")],
        "segment_member": [
            {"segment_code": "s", "controller_id": "c", "account_id": "a", "oldest_order_at": "2026-01-01T00:00:00Z"}
        ]
        * 2,
        "feed_status": [STATUS, STATUS],
    }
    return write_parquet(tmp_path / "views", rows)


def replaced(path: Path, name: str, column: pa.Array | None) -> None:
    """The file again, with another column of this name, or without it."""
    table = pq.read_table(path)
    place = table.schema.get_field_index(name)
    table = table.remove_column(place)
    pq.write_table(table if column is None else table.add_column(place, name, column), path)


def test_times_cross_as_moments_where_people_are_judged_and_as_text_elsewhere(folder: Path) -> None:
    for view in (ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT):
        assert set(types(folder, view, now=NOW if view is ACCOUNT else None).values()) == {MOMENT}
    assert types(folder, SEGMENT_MEMBER) == {"oldest_order_at": MOMENT, "oldest_site_at": pa.string()}
    assert set(types(folder, FEED_STATUS).values()) == {pa.string()}


def test_one_file_that_keeps_a_time_otherwise_makes_it_text_in_all_of_them(folder: Path) -> None:
    path = folder / "consent_event" / "0.parquet"
    for other in (pa.array(["soon"]), pa.array([datetime(2026, 1, 1)], pa.timestamp("us"))):  # noqa: DTZ001 - no zone on purpose
        replaced(path, "recorded_at", other)
        assert types(folder, CONSENT_EVENT) == {"occurred_at": MOMENT, "recorded_at": pa.string()}
    for nothing in (pa.nulls(1), None):
        replaced(path, "recorded_at", nothing)
        assert types(folder, CONSENT_EVENT) == {"occurred_at": MOMENT, "recorded_at": MOMENT}
        with ParquetStore(folder).snapshot() as snapshot:
            found = {row["event_id"]: row["recorded_at"] for row in rows_of(snapshot, CONSENT_EVENT)}
        assert found == {"e1": None, "e2": "2025-10-01T10:00:01Z"}


def test_a_text_that_is_not_utf_8_is_repaired_beside_a_moment(folder: Path) -> None:
    replaced(folder / "rights_event" / "0.parquet", "case_id", pa.array([b"\xff"], pa.binary()))
    with ParquetStore(folder).snapshot() as snapshot:
        found = {row["event_id"]: (row["case_id"], row["recorded_at"]) for row in rows_of(snapshot, RIGHTS_EVENT)}
    assert found["r1"] == ("\ufffd", "2025-10-01T10:00:01Z")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ticks=st.lists(st.none() | st.integers(-3_000_000, 3_000_000) | st.sampled_from([-(2**62), 2**62]), min_size=1, max_size=8),
    since=st.integers(-2_000_000, 2_000_000),
    grants_too=st.booleans(),
)
def test_what_is_new_is_the_same_for_a_moment_and_its_text(
    folder: Path, ticks: list[int | None], since: int, grants_too: bool
) -> None:
    base = 1_750_000_000_000_000
    column = pa.array([t if t is None or abs(t) > 10**9 else base + t for t in ticks], pa.int64()).cast(MOMENT)
    at = datetime.fromtimestamp(base // 10**6, UTC) + timedelta(microseconds=since)
    (folder / "consent_event" / "1.parquet").unlink(missing_ok=True)
    found = []
    for clock in (column, as_text(column)):
        rows = {"event_id": [f"e{n}" for n in range(len(ticks))], "action": ["withdraw", "grant"] * len(ticks)}
        table = pa.table({"event_id": rows["event_id"], "action": rows["action"][: len(ticks)], "recorded_at": clock})
        pq.write_table(table, folder / "consent_event" / "0.parquet")
        with ParquetStore(folder).snapshot() as snapshot:
            found.append(rows_of(snapshot, CONSENT_EVENT, noes_since=at, grants_too=grants_too))
    assert found[0] == found[1]
