"""Funnels, removals, looks, nights, sizes and changes say what the runs, the platform and hand-made logs say."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from ledger_builder import START, BuiltLedger, context, members, nights

from nestaudience import audit
from nestaudience.audit.changes import changes
from nestaudience.audit.clocks import removal_clocks
from nestaudience.audit.columns import Filters
from nestaudience.audit.funnels import funnel
from nestaudience.audit.lookups import lookups
from nestaudience.audit.nights import nights as nights_of
from nestaudience.audit.removals import open_removals, removals
from nestaudience.audit.sizes import sizes
from nestaudience.ledger.entries import EntryType, Value
from nestaudience.vocabulary import RunKind
from nestaudience.wiring import Evidence, open_evidence

NOW = START + timedelta(days=30)


@pytest.fixture(scope="module")
def evidence(two_nights: Any) -> Iterator[Evidence]:
    opened = open_evidence(two_nights.world.config, two_nights.world.clock.now, read_only=True)
    yield opened
    opened.engine.dispose()


def entries(ledger: BuiltLedger) -> list[dict[str, Any]]:
    return list(ledger.log.entries())


def write(ledger: BuiltLedger, kind: EntryType, run: str = "run-1", job: RunKind = RunKind.NIGHTLY, **fields: Value) -> None:
    ledger.log.append_and_seal([(kind, context(run, job), fields)])


@pytest.mark.parametrize("name", audit.FRAMES)
def test_every_frame_has_its_columns_with_and_without_rows_and_needs_only_its_own_entries(name: str, evidence: Evidence) -> None:
    kind = audit.FRAMES[name]
    found, nothing = audit.frame(name, evidence.reader, now=NOW), kind.make([], Filters(), NOW)
    assert (len(found) > 0) is (name not in {"lookups"})
    for frame in (found, nothing):
        assert dict(frame.dtypes) == {column: pd.ArrowDtype(said.type) for column, said in kind.columns.items()}
    assert all(column.meaning for column in kind.columns.values())
    assert found.equals(kind.make(evidence.reader.entries(), Filters(), NOW))


@pytest.mark.parametrize("name", audit.FRAMES)
def test_a_filter_takes_the_rows_that_say_so_and_no_other(name: str, evidence: Evidence) -> None:
    found = audit.frame(name, evidence.reader, now=NOW)
    if "controller" in found and len(found):
        wanted = found[found["controller"] == "bokhyllan"].reset_index(drop=True)
        assert audit.frame(name, evidence.reader, Filters(controller="bokhyllan"), NOW).equals(wanted)
        assert 0 < len(wanted) < len(found)
    assert len(audit.frame(name, evidence.reader, Filters(first=date(2001, 1, 1), last=date(2001, 1, 2)), NOW)) == 0


def test_what_a_notebook_types_works(two_nights: Any) -> None:
    lines = (audit.__doc__ or "").splitlines()
    code = "\n".join(line.strip() for line in lines if line.startswith("    "))
    names: dict[str, Any] = {}
    exec(code.replace('"nestaudience.toml"', repr(str(two_nights.world.config))), names)  # noqa: S102
    assert len(names["google"]) > 0
    assert set(names["google"]["recipient"]) == {"google"}
    names["evidence"].engine.dispose()


def test_a_funnel_sums_up_to_its_candidates_and_agrees_with_what_was_sent(evidence: Evidence, two_nights: Any) -> None:
    found = funnel(evidence.reader.entries(), Filters(run=two_nights.second.run_id))
    for _, of_list in found.groupby("audience"):
        assert of_list["people"].sum() == of_list["candidates"].iloc[0]
        assert of_list["reason"].iloc[0] == "eligible"
        assert of_list["people"].iloc[0] == of_list["eligible"].iloc[0]
        assert of_list["people"].iloc[1:].is_monotonic_decreasing
    one = found.drop_duplicates("audience").set_index("audience")
    assert one["additions"].to_dict() == {key: sent.added for key, sent in two_nights.second.sent.items()}
    assert (one["noes"] + one["ordinary"]).to_dict() == {key: sent.removed for key, sent in two_nights.second.sent.items()}


def test_removal_times_have_a_row_a_clock_and_lead_to_the_same_sums(evidence: Evidence) -> None:
    found = removals(evidence.reader.entries())
    for clock in removal_clocks(evidence.reader.entries()):
        mine = found[(found["recipient"] == clock.recipient) & (found["clock"] == clock.clock)]
        assert (mine["people"].sum(), mine["max"].max()) == (clock.people, clock.longest)


def test_people_who_were_only_asked_again_have_a_row_too(ledger: BuiltLedger) -> None:
    write(ledger, EntryType.REMOVAL_TIMES, audience="bok/a/google", recipient="google", again=4)
    (row,) = removals(entries(ledger)).to_dict("records")
    assert (row["clock"], row["people"], row["again"]) == ("", 0, 4)


def transfer(ledger: BuiltLedger, name: str, outcome: str, people: int = 2, **more: object) -> str:
    ledger.log.append_and_seal([ledger.intent(name, additions=0, removals=people)])
    batch_id = ledger.batch(name, "remove", members(ledger.chance, people), **more)
    if outcome:
        ledger.result(name, batch_id, outcome)
    return batch_id


def open_now(ledger: BuiltLedger) -> list[tuple[str, int, str]]:
    found = open_removals(as_removals(entries(ledger)), NOW)
    return [(row["state"], row["people"], row["step"]) for row in found.to_dict("records")]


def as_removals(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The builder's intents do not name their operation: these are all of removals."""
    return [
        {**entry, "fields": {**entry["fields"], "operation": "remove"}} if entry["type"] == "transfer_intent" else entry
        for entry in said
    ]


def test_a_removal_is_open_until_the_platform_says_that_it_is_done(ledger: BuiltLedger) -> None:
    first = transfer(ledger, "t-1", "accepted")
    assert open_now(ledger) == [("waiting", 2, "")]
    ledger.status(first, "succeeded")
    assert open_now(ledger) == []
    transfer(ledger, "t-2", "")
    transfer(ledger, "t-3", "refused", 3)
    assert open_now(ledger) == [("unknown", 2, ""), ("refused", 3, "")]
    found = open_removals(as_removals(entries(ledger)), NOW).iloc[0]
    assert found["age"] == int((NOW - found["since"].to_pydatetime()).total_seconds())
    assert (found["list_id"], found["controller"], found["requests"]) == ("list-1", "bok", 1)


def test_a_later_run_that_gets_everybody_off_ends_what_was_owed_and_half_of_it_does_not(ledger: BuiltLedger) -> None:
    transfer(ledger, "t-1", "refused", 3)
    ledger.log.append_and_seal([ledger.intent("t-2", additions=0, removals=3)])
    ledger.result("t-2", ledger.batch("t-2", "remove", members(ledger.chance, 2)), "accepted")
    assert open_now(ledger) == [("refused", 3, ""), ("waiting", 2, "")]
    ledger.status(transfer(ledger, "t-3", "accepted", 3), "succeeded")
    assert open_now(ledger) == [("waiting", 2, "")]


def test_what_failed_afterwards_and_part_of_a_request_are_open(ledger: BuiltLedger) -> None:
    ledger.status(transfer(ledger, "t-1", "accepted"), "failed")
    assert open_now(ledger) == [("refused", 2, "")]
    batch_id = transfer(ledger, "t-2", "accepted", 5)
    write(ledger, EntryType.PLATFORM_STATUS, batch_id=batch_id, state="partly_refused", records=4, rejected=1)
    assert open_now(ledger) == [("partly", 1, "")]


def test_the_steps_of_the_ladder_are_named_and_a_deleted_list_has_nothing_open(ledger: BuiltLedger) -> None:
    transfer(ledger, "t-1", "refused", 3)
    transfer(ledger, "t-2", "accepted", 3, everywhere=True)
    assert open_now(ledger) == [("refused", 3, "asked_everywhere")]
    write(ledger, EntryType.BINDING_CHANGED, list_id="list-1", state="deleting")
    assert open_now(ledger) == [("refused", 3, "deletion_ordered")]
    write(ledger, EntryType.INCIDENT, list_id="list-1", code="list_not_deleted")
    assert open_now(ledger) == [("refused", 3, "not_deleted")]
    write(ledger, EntryType.LIST_DELETED, list_id="list-1", audience="bok/list-1/google")
    assert open_now(ledger) == []


def test_every_look_by_hand_has_a_row_and_what_a_run_remembers_by_itself_has_none(ledger: BuiltLedger) -> None:
    write(ledger, EntryType.LOOKUP, job=RunKind.MANUAL, what="explain", case_id="A-1", accounts=2)
    write(ledger, EntryType.SUPPRESSION, what="remembered", noes=7)
    write(ledger, EntryType.SUPPRESSION, job=RunKind.MANUAL, what="objected", case_id="A-2", purpose="ad_matching", recipient="*")
    write(
        ledger, EntryType.ERASURE, job=RunKind.MANUAL, what="erased", case_id="A-3", accounts=1, lists=4, receipt_digest="a" * 64
    )
    write(ledger, EntryType.ACCESS, job=RunKind.MANUAL)
    found = lookups(entries(ledger))
    assert list(found["type"]) == ["lookup", "suppression", "erasure", "access"]
    assert list(found["case_id"]) == ["A-1", "A-2", "A-3", ""]
    assert found["lists"].fillna(-1).tolist() == [-1, -1, 4, -1]
    assert found["receipt_digest"].tolist() == ["", "", "a" * 64, ""]


def test_a_night_without_a_run_and_one_without_an_end_are_told_apart(ledger: BuiltLedger) -> None:
    for night in nights(date(2026, 3, 1), 5):
        if night.day != 3:
            ledger.night(night, additions=3, removals=1 if night.day == 5 else 0)
    write(ledger, EntryType.RUN_STARTED, run="run-x", night="2026-03-06")
    found = nights_of(entries(ledger), last=date(2026, 3, 7))
    assert found["outcome"].tolist() == ["done", "done", "none", "done", "done", "unfinished", "none"]
    assert found["additions"].tolist() == [3, 3, 0, 3, 3, 0, 0]
    assert found["removals"].tolist() == [0, 0, 0, 0, 1, 0, 0]
    assert set(found["controller"]) == {"bok"}
    part = nights_of(entries(ledger), date(2026, 3, 3), date(2026, 3, 4))
    assert part["outcome"].tolist() == ["none", "done"]


def test_gaps_are_those_of_verification(ledger: BuiltLedger) -> None:
    from nestaudience.audit.verify import verify

    for night in nights(date(2026, 3, 1), 9):
        if night.day not in (3, 4, 7):
            ledger.night(night)
    gaps = {night for _, night in verify(ledger.engine, ledger.verifiers, until=date(2026, 3, 11)).gaps}
    found = nights_of(entries(ledger), last=date(2026, 3, 11))
    assert set(found[found["outcome"] == "none"]["night"]) == gaps == {date(2026, 3, day) for day in (3, 4, 7, 10, 11)}


def test_sizes_set_the_platforms_word_beside_our_count(evidence: Evidence, two_nights: Any) -> None:
    found = sizes(evidence.reader.entries())
    last = found[found["run_id"] == two_nights.second.run_id].set_index("list_id")
    assert last["net"].to_dict() == {key: len(held) for key, held in two_nights.held_second.items()}
    assert last["size"].notna().all()
    assert not found.duplicated(["list_id", "night"]).any()


def test_our_count_leaves_out_what_had_no_effect(ledger: BuiltLedger) -> None:
    ledger.log.append_and_seal([ledger.intent("t", additions=20, removals=0)])
    refused, failed, taken = (ledger.batch("t", "add", members(ledger.chance, count)) for count in (3, 4, 5))
    ledger.result("t", refused, "refused")
    ledger.result("t", failed)
    ledger.status(failed, "failed")
    ledger.result("t", taken)
    write(ledger, EntryType.PLATFORM_STATUS, batch_id=taken, state="partly_refused", records=5, rejected=2)
    ledger.result("t", ledger.batch("t", "remove", members(ledger.chance, 1), repeat=True))
    write(ledger, EntryType.LIST_FACTS, list_id="list-1", audience="bok/list-1/google", open=True, size=10)
    assert sizes(entries(ledger))["net"].tolist() == [3]


def test_changes_name_what_changed(ledger: BuiltLedger) -> None:
    write(ledger, EntryType.CONFIG_CHANGED, new_digest="b" * 64, changes=1, changed=["gates.smallest_list"])
    write(ledger, EntryType.APPROVAL, segment="readers", sensitive="no", dpia="D-1")
    write(ledger, EntryType.GATE, gate="probe", audience="bok/readers/google", state="open", additions=9)
    write(ledger, EntryType.HEARTBEAT)
    write(ledger, EntryType.EPOCH_OPENED, origin="x/2", old_origin="x", restored_size=1, head_size=2, head_root="c" * 64)
    found = changes(entries(ledger))
    assert found["type"].tolist() == ["config_changed", "approval", "gate", "epoch_opened"]
    assert found["code"].tolist() == ["", "no", "probe open", "x/2"]
    assert found["audience"].tolist() == ["", "bok/readers", "bok/readers/google", ""]
    assert found["recipient"].tolist() == ["", "", "google", ""]
    assert found["people"].fillna(-1).tolist() == [-1, -1, 9, -1]
    assert '"changed": ["gates.smallest_list"]' in found["details"].iloc[0]
    assert datetime(2026, 3, 1, tzinfo=UTC) < found["at"].iloc[0].to_pydatetime()
