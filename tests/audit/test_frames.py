"""Frames say what the sandbox holds, what the run said, and what the operational tables remember; and filters leave out nothing else."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestaudience.audit.frames import BATCH_COLUMNS, TRANSFER_COLUMNS, Filters, batches, transfers
from nestaudience.audit.transfers import read_transfers
from nestaudience.ledger.entries import EntryType, utc_text
from nestaudience.ledger.memory import Memory
from nestaudience.vocabulary import RunKind
from nestaudience.wiring import Evidence, open_evidence


@pytest.fixture(scope="module")
def evidence(two_nights: Any) -> Iterator[Evidence]:
    opened = open_evidence(two_nights.world.config, two_nights.world.clock.now, read_only=True)
    yield opened
    opened.engine.dispose()


@pytest.fixture(scope="module")
def frame(evidence: Evidence) -> pd.DataFrame:
    return transfers(evidence.reader.entries())


@pytest.fixture(scope="module")
def requests(evidence: Evidence) -> pd.DataFrame:
    return batches(evidence.reader.entries())


def test_every_column_is_documented_and_arrow_backed(frame: pd.DataFrame, requests: pd.DataFrame) -> None:
    for found, columns in ((frame, TRANSFER_COLUMNS), (requests, BATCH_COLUMNS)):
        assert list(found.columns) == list(columns)
        for name, column in columns.items():
            assert column.meaning
            assert found.dtypes[name] == pd.ArrowDtype(column.type), name
    empty = transfers([])
    assert list(empty.columns) == list(TRANSFER_COLUMNS)
    assert empty.dtypes.equals(frame.dtypes)


def test_people_equal_what_the_runs_said(frame: pd.DataFrame, two_nights: Any) -> None:
    for outcome in (two_nights.first, two_nights.second):
        of_run = frame[frame["run_id"] == outcome.run_id]
        for key, sent in outcome.sent.items():
            of_list = of_run[of_run["audience"] == key].set_index("operation")
            assert of_list["accepted"].to_dict() == {
                name: count for name, count in (("remove", sent.removed), ("add", sent.added)) if count
            }
            assert int(of_list["batches"].sum()) == sent.batches
    assert len(frame) == 15


def test_people_equal_what_the_platform_holds(frame: pd.DataFrame, two_nights: Any) -> None:
    first = frame[frame["run_id"] == two_nights.first.run_id]
    assert first.set_index("list_id")["accepted"].to_dict() == {key: len(held) for key, held in two_nights.held_first.items()}
    signs = frame["operation"].map({"add": 1, "remove": -1}).astype("int64[pyarrow]")
    balance = (frame["accepted"] * signs).groupby(frame["list_id"]).sum()
    assert balance.to_dict() == {key: len(held) for key, held in two_nights.held_second.items()}


def test_batches_equal_the_operational_tables(requests: pd.DataFrame, evidence: Evidence) -> None:
    memory: Memory = evidence.memory
    states = frozenset({"prepared", "accepted", "confirmed", "partly", "refused", "unknown", "lapsed"})
    remembered = {batch.batch_id.hex(): batch for batch in memory.batches(states)}
    assert set(requests["batch_id"]) == set(remembered)
    settled = {"accepted": "waiting", "confirmed": "succeeded"}
    for row in requests.to_dict("records"):
        batch = remembered[row["batch_id"]]
        assert (row["transfer_id"], row["operation"], row["people"]) == (batch.transfer_id, batch.operation, batch.people)
        assert (row["request_id"], row["settled"]) == (batch.request_id, settled[batch.state])
        leaves = evidence.reader.batch_leaves(batch.batch_id)
        assert leaves is not None
        assert len(leaves) == 32 * row["people"]


def test_only_what_was_asked_for_has_a_result(requests: pd.DataFrame, two_nights: Any) -> None:
    first = requests["run_id"] == two_nights.first.run_id
    assert (requests[first]["records"] == requests[first]["people"]).all()
    assert requests[first]["settled_at"].notna().all()
    assert requests[~first][["records", "rejected", "settled_at"]].isna().all().all()


def test_batches_add_up_to_their_transfers(frame: pd.DataFrame, requests: pd.DataFrame) -> None:
    sums = requests[~requests["late"]].groupby("transfer_id")["people"].sum()
    assert sums.to_dict() == frame.set_index("transfer_id")["sent"].to_dict()
    assert (frame["sent"] == frame["accepted"] + frame["refused"] + frame["unknown"]).all()
    assert (frame["sent"] <= frame["planned"]).all()


def test_filters_take_what_they_name_and_nothing_else(frame: pd.DataFrame, evidence: Evidence, two_nights: Any) -> None:
    entries = list(evidence.reader.entries())
    night = date(2026, 11, 22)
    cases = {
        Filters(controller="bokhyllan"): frame["controller"] == "bokhyllan",
        Filters(recipient="google"): frame["recipient"] == "google",
        Filters(recipient="meta"): frame["recipient"] == "meta",
        Filters(audience="hemkraft/coffee_lovers/google"): frame["audience"] == "hemkraft/coffee_lovers/google",
        Filters(run=two_nights.second.run_id): frame["run_id"] == two_nights.second.run_id,
        Filters(run=two_nights.second.run_id[:9].upper()): frame["run_id"] == two_nights.second.run_id,
        Filters(kind=RunKind.NIGHTLY): frame["run_kind"] == "nightly",
        Filters(kind=RunKind.BACKFILL): frame["run_kind"] == "backfill",
        Filters(first=night): frame["run_id"] == two_nights.second.run_id,
        Filters(last=night - timedelta(days=1)): frame["run_id"] == two_nights.first.run_id,
        Filters(controller="computime", first=night): (frame["controller"] == "computime")
        & (frame["run_id"] == two_nights.second.run_id),
    }
    for filters, wanted in cases.items():
        expected = list(frame[wanted]["transfer_id"])
        assert list(transfers(entries, filters)["transfer_id"]) == expected
        assert set(batches(entries, filters)["transfer_id"]) == set(expected)
    assert transfers(entries).equals(frame)


class Told:
    """Builds decoded entries by hand."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def say(self, kind: EntryType, at: datetime, **fields: object) -> None:
        self.entries.append(
            {
                "version": 1,
                "index": len(self.entries),
                "type": kind.value,
                "at": utc_text(at),
                "run_id": "r",
                "run_kind": "nightly",
            }
            | {"controller": "c", "fields": fields}
        )

    def transfer(self, transfer: str, planned: int, at: datetime) -> None:
        fields = {"operation": "add", "planned_additions": planned, "planned_removals": 0, "audience": "c/s/google"}
        self.say(EntryType.TRANSFER_INTENT, at, transfer_id=transfer, **fields)


AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (datetime(2026, 1, 10, 22, 59, 59, tzinfo=UTC), date(2026, 1, 10)),
        (datetime(2026, 1, 10, 23, 0, tzinfo=UTC), date(2026, 1, 11)),
        (datetime(2026, 7, 10, 21, 59, 59, tzinfo=UTC), date(2026, 7, 10)),
        (datetime(2026, 7, 10, 22, 0, tzinfo=UTC), date(2026, 7, 11)),
    ],
)
def test_days_are_stockholm_days(at: datetime, day: date) -> None:
    told = Told()
    told.transfer("t", 1, at)
    for number in range(-2, 3):
        other = day + timedelta(days=number)
        assert len(transfers(told.entries, Filters(first=other))) == (other <= day)
        assert len(transfers(told.entries, Filters(last=other))) == (other >= day)


SETTLED = {
    ("", ""): "unknown",  # no answer was written: the run died
    ("unknown", ""): "unknown",
    ("unknown", "lapsed"): "lapsed",
    ("refused", ""): "failed",
    ("accepted", ""): "waiting",
    ("accepted", "succeeded"): "succeeded",
    ("accepted", "partly_refused"): "partly",
    ("accepted", "failed"): "failed",
    ("accepted", "never_seen"): "unknown",
    ("accepted", "lapsed"): "lapsed",
}
ANSWERS = st.lists(st.tuples(st.sampled_from(sorted(SETTLED)), st.integers(1, 10_000), st.booleans()), max_size=6)


@given(ANSWERS, st.booleans())
def test_whatever_happened_is_counted_once(answers: list[tuple[tuple[str, str], int, bool]], lapse_later: bool) -> None:
    told = Told()
    told.transfer("t", 100_000, AT)
    for number, ((outcome, state), people, late) in enumerate(answers):
        batch = {"transfer_id": "t", "batch_id": f"{number:032x}"}
        marks = {"late": True} if late else {}
        told.say(EntryType.BATCH, AT, operation="remove" if late else "add", number=number, count=people, **batch, **marks)
        if outcome:
            told.say(EntryType.BATCH_RESULT, AT, outcome=outcome, code="", request_id="", **batch)
        if state:
            told.say(EntryType.PLATFORM_STATUS, AT, state=state, records=people, rejected=0, **batch)
        if lapse_later and state == "succeeded":
            told.say(EntryType.PLATFORM_STATUS, AT, state="lapsed", records=0, rejected=0, **batch)
    row = transfers(told.entries).iloc[0]
    by_outcome: Counter[str] = Counter()
    for (outcome, _), people, late in answers:
        by_outcome["late" if late else outcome or "unknown"] += people
    assert (row["accepted"], row["refused"], row["unknown"]) == tuple(by_outcome[o] for o in ("accepted", "refused", "unknown"))
    assert (row["late_removals"], row["batches"]) == (by_outcome["late"], len(answers))
    words = [SETTLED[answer] for answer, _, _ in answers]
    if "unknown" in words:
        expected = "unknown"
    elif "waiting" in words:
        expected = "waiting"
    elif words:
        expected = words[0] if words.count(words[0]) == len(words) else "partly"
    else:
        expected = "nothing_sent"
    assert row["settled"] == expected
    assert list(batches(told.entries)["settled"]) == words


def test_a_batch_without_its_intent_is_not_hidden() -> None:
    told = Told()
    told.say(EntryType.BATCH, AT, transfer_id="t", batch_id="b", operation="add", count=7, list_id="l", audience="c/s/google")
    row = transfers(told.entries).iloc[0]
    assert (row["planned"], row["sent"], row["unknown"], row["audience"]) == (0, 7, 7, "c/s/google")


def test_entries_of_a_newer_version_and_strange_answers_are_passed_over() -> None:
    told = Told()
    told.transfer("t", 1, AT)
    told.transfer("newer", 1, AT)
    told.entries[-1]["version"] = 2
    told.say(EntryType.BATCH_RESULT, AT, transfer_id="t", batch_id="nobody", outcome="accepted")
    told.say(EntryType.PLATFORM_STATUS, AT, batch_id="nobody", state="succeeded", records=1, rejected=0)
    assert list(read_transfers(told.entries)) == ["t"]
