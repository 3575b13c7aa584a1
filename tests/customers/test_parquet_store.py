"""What only Parquet files can do: natural types, a layout in which rows could be overlooked, files that change or are torn."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_rows import NOW, account, consent, right, rows_of, write_parquet

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, SEGMENT_MEMBER
from nestaudience.customers.parquet import ParquetStore
from nestaudience.customers.parquet_text import as_text
from nestaudience.errors import NeedsFix, TryAgain

AT = datetime(2026, 7, 1, 10, 0, 0, 123456, tzinfo=UTC)
BARE = AT.replace(tzinfo=None)
TEXTS = [
    (pa.array(["å", None, ""]), ["å", None, ""]),
    (pa.array(["å", None], pa.large_string()), ["å", None]),
    (pa.array(["å", None], pa.string_view()), ["å", None]),
    (pa.array([b"ab", None], pa.binary()), ["ab", None]),
    (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
    (pa.array([True, None, False]), ["1", None, "0"]),
    (pa.array([True, None]).dictionary_encode(), ["1", None]),
    (pa.array([7, None, -3], pa.int16()), ["7", None, "-3"]),
    (pa.array([2**63], pa.uint64()), ["9223372036854775808"]),
    (pa.array([1980.0, 12.5, None]), ["1980", "12.5", None]),
    (pa.array([Decimal("12.50"), None], pa.decimal128(8, 2)), ["12.50", None]),
    (pa.array([AT, None], pa.timestamp("us", "UTC")), ["2026-07-01T10:00:00.123456Z", None]),
    (pa.array([AT], pa.timestamp("us", "Europe/Stockholm")), ["2026-07-01T10:00:00.123456Z"]),
    (pa.array([AT], pa.timestamp("us", "Not/AZone")), ["2026-07-01T10:00:00.123456Z"]),
    (pa.array([AT.replace(microsecond=0)], pa.timestamp("s", "UTC")), ["2026-07-01T10:00:00Z"]),
    (pa.array([AT.replace(microsecond=120000)], pa.timestamp("ms", "UTC")), ["2026-07-01T10:00:00.120000Z"]),
    (pa.array([1_782_900_000_123_456_789], pa.timestamp("ns", "UTC")), ["2026-07-01T10:00:00.123456Z"]),
    (pa.array([-1], pa.timestamp("ns", "UTC")), ["1969-12-31T23:59:59.999999Z"]),
    (pa.array([AT], pa.timestamp("us", "UTC")).dictionary_encode(), ["2026-07-01T10:00:00.123456Z"]),
    (pa.array([BARE], pa.timestamp("us")), ["2026-07-01T10:00:00.123456"]),
    (pa.array([date(2026, 7, 1)]), ["2026-07-01"]),
    (pa.nulls(2), [None, None]),
    (pa.array([[1]]), [None]),
    (pa.array([b"0123456789abcdef"], pa.binary(16)), [None]),
]


@pytest.mark.parametrize(("column", "texts"), TEXTS, ids=lambda value: str(getattr(value, "type", "")))
def test_every_natural_type_has_its_text(column: pa.Array, texts: list[str | None]) -> None:
    assert as_text(column).to_pylist() == texts
    assert as_text(column).type == pa.string()
    assert as_text(column.slice(0, 0)).to_pylist() == []


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_moments_beyond_the_calendar_have_no_spelling_that_a_rule_accepts(unit: str) -> None:
    ticks = {"s": 1, "ms": 10**3, "us": 10**6}[unit]
    seconds = [-62_135_596_801, -62_135_596_800, 253_402_300_799, 253_402_300_800]
    column = pa.array([s * ticks for s in seconds], pa.int64()).cast(pa.timestamp(unit, "UTC"))
    wanted = ["out of range", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "out of range"]
    assert as_text(column).to_pylist() == wanted
    extreme = pa.array([2**63 - 1, -(2**63) + 1, None], pa.int64()).cast(pa.timestamp(unit, "UTC"))
    assert as_text(extreme).to_pylist() == ["out of range", "out of range", None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = {
        "account": [account("a"), account("b")],
        "consent_event": [consent("e1", "a"), consent("e2", "a"), consent("e3", "b", action="withdraw")],
        "rights_event": [right("r", "b")],
    }
    return write_parquet(tmp_path / "views", rows)


def events(folder: Path) -> set[object]:
    with ParquetStore(folder).snapshot() as snapshot:
        return {row["event_id"] for row in rows_of(snapshot, CONSENT_EVENT)}


def test_files_that_come_after_the_opening_are_not_seen(folder: Path) -> None:
    with ParquetStore(folder).snapshot(live=True) as snapshot:
        pq.write_table(pq.read_table(folder / "consent_event" / "0.parquet"), folder / "consent_event" / "9.parquet")
        assert len(rows_of(snapshot, CONSENT_EVENT)) == 3
    assert events(folder) == {"e1", "e2", "e3"}


@pytest.mark.parametrize("how", ["replaced", "gone", "rewritten"])
def test_a_file_that_changes_ends_the_read(folder: Path, how: str) -> None:
    path = folder / "consent_event" / "1.parquet"
    with ParquetStore(folder).snapshot() as snapshot:
        if how == "gone":
            path.unlink()
        elif how == "replaced":
            pq.write_table(pq.read_table(path), folder / "new")
            (folder / "new").rename(path)
        else:
            path.write_bytes(path.read_bytes())
            os.utime(path, ns=(1, 1))
        with pytest.raises(TryAgain) as caught:
            rows_of(snapshot, CONSENT_EVENT)
    assert (caught.value.code, caught.value.__context__) == ("store_changed", None)
    assert str(folder) not in str(caught.value)


def both(folder: Path) -> None:
    (folder / "consent_event.parquet").write_bytes((folder / "consent_event" / "0.parquet").read_bytes())


def nested(folder: Path) -> None:
    (folder / "consent_event" / "day=1").mkdir()


def stray(folder: Path) -> None:
    (folder / "consent_event" / "2.csv").write_text("event_id\n")


def misnamed(folder: Path) -> None:
    (folder / "consent_event").rename(folder / "consent_event.parquet")


@pytest.mark.parametrize("spoil", [both, nested, stray, misnamed])
def test_a_layout_in_which_rows_could_be_overlooked_is_refused(folder: Path, spoil: object) -> None:
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(NeedsFix) as caught, ParquetStore(folder).snapshot():
        pass
    assert (caught.value.code, caught.value.where) == ("store_layout", "consent_event")


def test_marks_of_a_finished_export_are_no_rows(folder: Path) -> None:
    (folder / "consent_event" / "_SUCCESS").touch()
    (folder / "consent_event" / ".0.parquet.crc").touch()
    assert events(folder) == {"e1", "e2", "e3"}


def test_an_empty_folder_is_no_view(folder: Path) -> None:
    for path in (folder / "consent_event").iterdir():
        path.unlink()
    with ParquetStore(folder).snapshot() as snapshot:
        assert ("view_missing", "consent_event") in {(p.code, p.where) for p in snapshot.problems}
        assert rows_of(snapshot, CONSENT_EVENT) == []
        assert {row["account_id"]: row["email_read"] for row in rows_of(snapshot, ACCOUNT, now=NOW)} == {"a": "0", "b": "1"}


@pytest.mark.parametrize("content", [b"", b"PAR1 nothing else", None])
def test_a_torn_file_needs_a_person(folder: Path, content: bytes | None) -> None:
    path = folder / "rights_event" / "0.parquet"
    whole = path.read_bytes()
    if content is None:  # the footer is sound, the pages are not
        content = whole[:4] + bytes(len(whole) // 3) + whole[4 + len(whole) // 3 :]
    path.write_bytes(content)
    with pytest.raises(NeedsFix) as caught, ParquetStore(folder).snapshot() as snapshot:
        rows_of(snapshot, RIGHTS_EVENT)
    assert (caught.value.code, caught.value.__context__) == ("store_unreadable", None)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NeedsFix) as caught, ParquetStore(tmp_path / "none").snapshot():
        pass
    assert caught.value.code == "store_missing"


def test_a_column_that_one_file_lacks_is_a_problem_and_null_there(folder: Path) -> None:
    table = pq.read_table(folder / "consent_event" / "1.parquet").drop_columns(["source"])
    pq.write_table(table, folder / "consent_event" / "1.parquet")
    with ParquetStore(folder).snapshot() as snapshot:
        assert ("column_missing", "consent_event.source") in {(p.code, p.where) for p in snapshot.problems}
        assert {row["event_id"]: row["source"] for row in rows_of(snapshot, CONSENT_EVENT)} == {
            "e1": "web",
            "e2": None,
            "e3": "web",
        }


def test_a_type_without_text_is_a_problem_for_a_run_too(folder: Path) -> None:
    ids = pa.array([b"0123456789abcdef"] * 2, pa.binary(16))
    table = pq.read_table(folder / "account.parquet")
    pq.write_table(table.set_column(0, "account_id", ids), folder / "account.parquet")
    store = ParquetStore(folder)
    with store.snapshot() as snapshot:
        assert [(p.code, p.where, p.is_warning) for p in snapshot.problems] == [("wrong_type", "account.account_id", False)]
        assert [row["account_id"] for row in rows_of(snapshot, ACCOUNT, now=NOW)] == [None, None]
    assert [(p.code, p.where) for p in store.check()].count(("wrong_type", "account.account_id")) == 1


def test_bytes_that_are_no_text_read_as_one_replacement_character(folder: Path) -> None:
    emails = pa.array([b"a@\xff.se", "b@å.se".encode()], pa.binary())
    table = pq.read_table(folder / "account.parquet")
    pq.write_table(table.set_column(table.schema.get_field_index("email"), "email", emails), folder / "account.parquet")
    with ParquetStore(folder).snapshot() as snapshot:
        assert {row["account_id"]: row["email"] for row in rows_of(snapshot, ACCOUNT, now=NOW)} == {"a": "\ufffd", "b": "b@å.se"}


def test_check_counts_what_differs_and_shows_no_value(tmp_path: Path) -> None:
    rows = {
        "account": [
            account("a", email="secret@x.se", phone="070", created_at="2024-01-01 10:00"),
            account("a", protected="true", birth_year="19x", status="Active"),
            account("b", controller_id=None),
        ],
        "consent_event": [consent("e", "a"), consent("e", "a", confirmed=2), consent("f", "a", source_seq="-3")],
        "segment_member": [dict.fromkeys(SEGMENT_MEMBER.names, "x")] * 2,
        "order_line": [{"order_id": "o", "quantity": "two", "amount": "12,50"}],
    }
    folder = write_parquet(tmp_path / "views", rows)
    table = pq.read_table(folder / "rights_event")
    bare = table.set_column(table.schema.get_field_index("recorded_at"), "recorded_at", pa.nulls(0, pa.timestamp("us")))
    for path in (folder / "rights_event").iterdir():
        pq.write_table(bare, path)
    problems = ParquetStore(folder).check()
    assert {(p.code, p.where) for p in problems} >= {
        ("column_not_needed", "account.phone"),
        ("time_unusable", "account.created_at"),
        ("wrong_type", "account.protected"),
        ("wrong_type", "account.birth_year"),
        ("value_unknown", "account.status"),
        ("null_not_allowed", "account.controller_id"),
        ("duplicate_key", "account.account_id"),
        ("duplicate_key", "consent_event.event_id"),
        ("wrong_type", "consent_event.confirmed"),
        ("duplicate_key", "segment_member.segment_code"),
        ("wrong_type", "order_line.quantity"),
        ("wrong_type", "order_line.amount"),
        ("wrong_type", "rights_event.recorded_at"),
    }
    words = " ".join(p.next_step for p in problems)
    assert "1 of 3" in words
    assert not {"secret", "19x", "Active", "12,50"} & set(words.split())


def test_check_is_silent_about_a_good_store(folder: Path) -> None:
    assert ParquetStore(folder).check() == ()


STREAM = """
import resource, sys
from datetime import UTC, datetime
import pyarrow as pa
from nestaudience.customers.contract import ACCOUNT
from nestaudience.customers.parquet import ParquetStore

rows, read, largest = 0, 0, 0
with ParquetStore(sys.argv[1]).snapshot() as snapshot:
    for sheet in snapshot.read(ACCOUNT, now=datetime(2026, 3, 10, tzinfo=UTC)):
        rows += sheet.facts.num_rows
        read += sheet.facts.column("email_read").to_pylist().count("1")
        largest = max(largest, pa.total_allocated_bytes())
print(rows, read, largest)
"""


def batches(schema: pa.Schema, names: tuple[str, ...], count: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, count, 50_000):
        ids = [f"{n:07}" for n in range(start, start + 50_000)]
        yield pa.record_batch(
            {name: ids if name == "account_id" else [f"some value of {name} {n}" for n in ids] for name in names}
        )


def test_a_large_view_streams_in_little_memory(tmp_path: Path) -> None:
    """400 000 accounts, some 150 MB of text, half of whom granted, pass through in batches; only ids are held."""
    folder = tmp_path / "views"
    folder.mkdir()
    schema = pa.schema([(name, pa.string()) for name in ACCOUNT.names])
    with pq.ParquetWriter(folder / "account.parquet", schema) as writer:
        for batch in batches(schema, ACCOUNT.names, 400_000):
            writer.write_batch(batch, row_group_size=50_000)
    ids = [f"{n:07}" for n in range(0, 400_000, 2)]
    granted = {"account_id": ids, "action": ["grant"] * len(ids), "purpose": ["ad_matching"] * len(ids)}
    pq.write_table(pa.table(granted), folder / "consent_event.parquet")
    done = subprocess.run([sys.executable, "-c", STREAM, str(folder)], capture_output=True, text=True, check=True)
    rows, read, largest = map(int, done.stdout.split())
    assert (rows, read) == (400_000, 200_000)
    assert largest < 90_000_000
