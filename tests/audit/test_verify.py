"""Verification without keys: everything that is tampered with is found, and what is merely worth knowing is told."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from ledger_builder import ORIGIN, BuiltLedger, Chance, Clock, context, members, nights

from nestaudience.audit.verify import WHAT, Evidence, Verification, verify, verify_evidence
from nestaudience.ledger.checkpoint import Checkpoint, Signer, Verifier
from nestaudience.ledger.engine import open_ledger
from nestaudience.ledger.entries import EntryType, canonical, decode
from nestaudience.ledger.log import TransferLog
from nestaudience.ledger.merkle import leaf_hash
from nestaudience.vocabulary import Environment, RunKind

FIRST = date(2026, 3, 1)
TRIGGERS = [
    f"DROP TRIGGER {table}_no_{action}"
    for table in ("log_entry", "checkpoint", "batch_leaves")
    for action in ("update", "delete")
]


def check(ledger: BuiltLedger, **more: object) -> Verification:
    return verify(ledger.engine, ledger.verifiers, **more)  # type: ignore[arg-type]


def check_lists(ledger: BuiltLedger, evidence: Evidence, **more: object) -> Verification:
    return verify_evidence(evidence, ledger.verifiers, **more)  # type: ignore[arg-type]


def codes(found: Verification) -> set[str]:
    assert all(finding.what == WHAT[finding.code] for finding in (*found.problems, *found.notices))
    return {finding.code for finding in found.problems}


def notices(found: Verification) -> set[str]:
    return {finding.code for finding in found.notices}


def tamper(ledger: BuiltLedger, *statements: str) -> None:
    """What somebody with the database file can do."""
    with sqlite3.connect(ledger.path) as plain:
        for trigger in (*TRIGGERS, "DROP TRIGGER log_entry_no_insert"):
            plain.execute(trigger)
        for statement in statements:
            plain.execute(statement)


def flips(value: bytes) -> Iterator[bytes]:
    for place in range(len(value)):
        for bit in range(8):
            yield value[:place] + bytes([value[place] ^ 1 << bit]) + value[place + 1 :]


@pytest.fixture
def three_nights(ledger: BuiltLedger) -> BuiltLedger:
    ledger.night(FIRST, additions=5)
    ledger.night(FIRST + timedelta(days=1), additions=2, removals=4)
    ledger.night(FIRST + timedelta(days=2), additions=1)
    return ledger


def test_an_untouched_log_verifies(three_nights: BuiltLedger) -> None:
    found = check(three_nights, head=three_nights.signer.head(), brought=[three_nights.log.notes()[3][1]])
    assert found.ok, found.problems
    assert found.first_bad_entry is None
    assert found.entries == found.sealed == three_nights.log.count()
    assert found.checkpoints == len(three_nights.log.notes())
    assert found.anchored == three_nights.log.notes()[3][0]
    assert found.root == three_nights.signer.head().root
    assert (found.notices, found.unknown_batches, found.gaps, found.redacted) == ((), (), (), 0)
    assert found.balances == {"list-1": 4}
    assert check_lists(three_nights, three_nights.evidence()).problems == ()


def test_an_empty_log_verifies(ledger: BuiltLedger) -> None:
    assert check(ledger, until=FIRST) == check_lists(ledger, Evidence([], [], []))
    assert check(ledger).ok


def test_an_open_ledger_is_verified_read_only(three_nights: BuiltLedger) -> None:
    clock = Clock()
    engine = open_ledger(three_nights.path, environment=Environment.SANDBOX, origin=ORIGIN, clock=clock, read_only=True)
    assert verify(engine, three_nights.verifiers).ok


def test_every_flipped_bit_of_an_entry_is_found(ledger: BuiltLedger) -> None:
    ledger.log.append_and_seal([(EntryType.HEARTBEAT, context(), {}), (EntryType.LATE_BLOCK, context(), {"count": 2})])
    good = ledger.evidence()
    rows = list(good.entries)
    assert check_lists(ledger, good).ok
    for number, (index, body, leaf) in enumerate(rows):
        for bad in flips(body):
            for kept in (leaf, leaf_hash(bad)):  # the careful forger keeps the leaf hash in step
                found = check_lists(ledger, replace(good, entries=[*rows[:number], (index, bad, kept), *rows[number + 1 :]]))
                assert not found.ok
                assert found.first_bad_entry == number if kept == leaf else found.first_bad_entry in range(number + 1)
        for bad in flips(leaf):
            found = check_lists(ledger, replace(good, entries=[*rows[:number], (index, body, bad), *rows[number + 1 :]]))
            assert codes(found) == {"leaf_wrong"}
            assert found.first_bad_entry == number


def test_every_flipped_bit_of_a_checkpoint_is_found(ledger: BuiltLedger) -> None:
    ledger.heartbeats(2)
    good = ledger.evidence()
    kept = list(good.notes)
    for number, (size, note) in enumerate(kept):
        for bad in flips(note.encode()):  # every bit, first kept and then brought
            text = bad.decode(errors="replace")
            found = check_lists(ledger, replace(good, notes=[*kept[:number], (size, text), *kept[number + 1 :]]))
            assert codes(found) == {"checkpoint_bad"}
            assert not check_lists(ledger, good, brought=[text]).ok
    assert codes(check_lists(ledger, replace(good, notes=[(3, kept[0][1])]))) == {"checkpoint_elsewhere"}


def test_every_flipped_bit_of_membership_leaves_is_found(ledger: BuiltLedger) -> None:
    ledger.night(FIRST, additions=4)
    good = ledger.evidence()
    ((batch_id, leaves),) = good.batch_leaves
    for bad in flips(leaves):
        found = check_lists(ledger, replace(good, batch_leaves=[(batch_id, bad)]))
        assert codes(found) == {"leaves_root"}
        assert found.first_bad_entry == 2
    for bad in flips(batch_id):
        assert codes(check_lists(ledger, replace(good, batch_leaves=[(bad, leaves)]))) == {
            "leaves_without_batch",
            "leaves_missing",
        }
    for bad in (leaves[:-32], leaves + leaves[-32:], leaves[:-1], b""):
        assert codes(check_lists(ledger, replace(good, batch_leaves=[(batch_id, bad)]))) == {"leaves_count"}
    swapped = leaves[32:64] + leaves[:32] + leaves[64:]
    assert codes(check_lists(ledger, replace(good, batch_leaves=[(batch_id, swapped)]))) == {"leaves_root"}
    assert codes(check_lists(ledger, replace(good, batch_leaves=[]))) == {"leaves_missing"}


@pytest.mark.parametrize("number", range(8))
def test_a_deleted_entry_is_found(three_nights: BuiltLedger, number: int) -> None:
    tamper(three_nights, f"DELETE FROM log_entry WHERE idx = {number}")
    found = check(three_nights)
    assert "index_wrong" in codes(found)
    assert found.first_bad_entry == number
    tamper_again = f"UPDATE log_entry SET idx = idx - 1 WHERE idx > {number}"  # and the gap closed
    with sqlite3.connect(three_nights.path) as plain:
        plain.execute(tamper_again)
    found = check(three_nights)
    assert {"index_wrong", "root_wrong", "shorter_than_checkpoint"} <= codes(found)
    assert found.first_bad_entry == number


def test_reordered_and_inserted_entries_are_found(three_nights: BuiltLedger) -> None:
    good = three_nights.evidence()
    rows = list(good.entries)
    for first in range(len(rows) - 1):
        swapped = rows.copy()
        (_, body, leaf), (_, other, other_leaf) = rows[first], rows[first + 1]
        swapped[first], swapped[first + 1] = (first, other, other_leaf), (first + 1, body, leaf)
        found = check_lists(three_nights, replace(good, entries=swapped))
        assert {"index_wrong", "root_wrong"} <= codes(found)
        assert found.first_bad_entry == first
        doubled = [*rows[:first], *((index, *row) for index, (_, *row) in enumerate([rows[first], *rows[first:]], first))]
        found = check_lists(three_nights, replace(good, entries=doubled))
        assert {"index_wrong", "root_wrong", "id_repeated"} <= codes(found)


def test_a_truncated_log_is_found_by_its_own_checkpoints(three_nights: BuiltLedger) -> None:
    count = three_nights.log.count()
    tamper(three_nights, f"DELETE FROM log_entry WHERE idx >= {count - 2}")
    found = check(three_nights)
    assert "shorter_than_checkpoint" in codes(found)
    assert found.first_bad_entry == count - 2


def test_a_log_truncated_with_its_checkpoints_is_found_only_from_outside(three_nights: BuiltLedger) -> None:
    head, (_, last) = three_nights.signer.head(), three_nights.log.notes()[-1]
    size = three_nights.log.notes()[2][0]
    keep = decode({index: body for index, body, _ in three_nights.log.bodies()}[size - 1])
    assert keep["index"] == size - 1
    batches = [entry["fields"]["batch_id"] for entry in three_nights.log.entries(size, types=frozenset({EntryType.BATCH}))]
    leaves = [f"DELETE FROM batch_leaves WHERE batch_id = x'{batch_id}'" for batch_id in batches]
    tamper(three_nights, f"DELETE FROM log_entry WHERE idx >= {size}", f"DELETE FROM checkpoint WHERE size > {size}", *leaves)
    assert check(three_nights).ok
    assert codes(check(three_nights, brought=[last])) == {"shorter_than_brought"}
    assert codes(check(three_nights, head=head)) == {"behind_head"}


def test_a_log_written_anew_with_the_stolen_key_is_found_only_from_outside(three_nights: BuiltLedger, tmp_path: Path) -> None:
    (tmp_path / "forged").mkdir()
    forged = BuiltLedger(tmp_path / "forged")  # the same seed: the same keys
    forged.clock.now += timedelta(days=30)
    for night in nights(FIRST, 4):
        forged.night(night, additions=9)
    assert forged.verifiers == three_nights.verifiers
    assert check(forged).ok
    for size, note in three_nights.log.notes():
        found = check(forged, brought=[note])
        assert codes(found) == {"inconsistent_with_brought"}, size
        assert found.anchored == 0
    assert codes(check(forged, head=three_nights.signer.head())) == {"inconsistent_with_head"}
    both = check(forged, brought=[three_nights.log.notes()[0][1], forged.log.notes()[1][1]])
    assert codes(both) == {"inconsistent_with_brought"}
    assert both.anchored == forged.log.notes()[1][0]


def test_a_stranger_cannot_bring_or_keep_checkpoints(three_nights: BuiltLedger, tmp_path: Path) -> None:
    (tmp_path / "stranger").mkdir()
    stranger = BuiltLedger(tmp_path / "stranger", seed="stranger")
    stranger.heartbeats(2)
    note = stranger.log.notes()[-1][1]
    assert codes(check(three_nights, brought=[note])) == {"brought_note_bad"}
    assert codes(check(stranger)) == set()
    assert codes(verify(stranger.engine, three_nights.verifiers)) == {"checkpoint_bad"}
    assert verify(stranger.engine, three_nights.verifiers).sealed == 0


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE log_entry SET body = 'text' WHERE idx = 3", "entry_malformed"),
        ("UPDATE log_entry SET body = '' WHERE idx = 3", "body_missing"),
        ("UPDATE log_entry SET leaf = 'text' WHERE idx = 3", "leaf_wrong"),
        ("UPDATE log_entry SET body = x'', leaf = x'00' WHERE idx = 3", "root_wrong"),
        ("UPDATE checkpoint SET note = x'ff' || note WHERE size = 3", "checkpoint_bad"),
        ("UPDATE checkpoint SET note = x'ff' WHERE size = 3", "checkpoint_bad"),
        ("UPDATE batch_leaves SET leaves = 'text'", "leaves_count"),
        ("UPDATE batch_leaves SET batch_id = 'text' || rowid", "leaves_without_batch"),
    ],
)
def test_odd_values_in_the_database_are_findings_and_not_crashes(three_nights: BuiltLedger, statement: str, code: str) -> None:
    tamper(three_nights, statement)
    assert code in codes(check(three_nights))


def test_a_crash_before_the_seal_is_a_notice(three_nights: BuiltLedger) -> None:
    sealed = three_nights.log.count()
    three_nights.log.append([(EntryType.HEARTBEAT, context(), {})])
    found = check(three_nights)
    assert found.ok
    assert (found.sealed, found.entries) == (sealed, sealed + 1)
    assert [(notice.index, notice.code) for notice in found.notices] == [(sealed, "unsealed")]


def test_a_clock_that_went_back_is_a_notice(ledger: BuiltLedger) -> None:
    ledger.heartbeats(2)
    ledger.clock.now -= timedelta(hours=1)
    ledger.heartbeats(2)
    found = check(ledger)
    assert found.ok
    assert [(notice.index, notice.code) for notice in found.notices] == [(2, "clock_back")]


def rebuilt(ledger: BuiltLedger, change: Callable[[dict[str, object]], None]) -> Verification:
    """What verification says of a properly signed log whose second entry was written wrong by the program itself."""
    ledger.log.append([(EntryType.HEARTBEAT, context(), {}), (EntryType.HEARTBEAT, context(), {})])
    rows = list(ledger.log.bodies())
    entry = decode(rows[1][1])
    change(entry)
    body = canonical(entry)
    rows[1] = (1, body, leaf_hash(body))
    signer = Signer(ledger.keys.signing_key(), ORIGIN, ledger.directory / "head-rebuilt")
    note = signer.sign(0, [leaf for _, _, leaf in rows]).note
    return check_lists(ledger, Evidence(rows, [(2, note)], []))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"index": 5}, "index_wrong"),
        ({"at": "2026-03-01 02:30:00"}, "time_wrong"),
        ({"at": "2026-02-30T02:30:00.000Z"}, "time_wrong"),
        ({"at": "2026-03-01T02:31:00.000Z"}, "id_wrong"),
        ({"id": "x"}, "id_wrong"),
        ({"version": 0}, "entry_malformed"),
        ({"version": "1"}, "entry_malformed"),
        ({"version": True}, "entry_malformed"),
        ({"type": 7}, "entry_malformed"),
        ({"run_id": ["x"]}, "entry_malformed"),
        ({"index": "1"}, "entry_malformed"),
        ({"type": "batch"}, "field_missing"),
        ({"type": "run_started", "fields": {"night": "soon"}}, "field_missing"),
        ({"type": "run_started", "fields": {"night": 20260301}}, "field_missing"),
    ],
)
def test_wrong_headers_are_found(ledger: BuiltLedger, change: dict[str, object], code: str) -> None:
    assert codes(rebuilt(ledger, lambda entry: entry.update(change))) == {code}


def test_newer_entries_and_unknown_types_are_passed_over(ledger: BuiltLedger) -> None:
    found = rebuilt(ledger, lambda entry: entry.update({"version": 2, "type": 9, "id": 1}))
    assert found.ok
    assert notices(found) == {"entry_of_newer_version"}
    (ledger.directory / "second").mkdir()
    assert rebuilt(BuiltLedger(ledger.directory / "second"), lambda entry: entry.update({"type": "something_new"})).ok


def test_a_redacted_entry_is_counted_when_the_log_says_so(three_nights: BuiltLedger) -> None:
    leaf = three_nights.log.leaves()[:32].hex()
    redaction = {"redacted_index": 0, "redacted_leaf": leaf, "case": "case-1"}
    three_nights.log.append_and_seal([(EntryType.REDACTION, context(), redaction)])
    tamper(three_nights, "UPDATE log_entry SET body = x'' WHERE idx = 0")
    found = check(three_nights)
    assert codes(found) == {"run_finished_without_start"}  # the entry was a run's start; its absence shows
    assert found.redacted == 1
    three_nights.log.append_and_seal([(EntryType.REDACTION, context(), {"redacted_index": 1, "redacted_leaf": leaf})])
    with sqlite3.connect(three_nights.path) as plain:
        plain.execute("UPDATE log_entry SET body = x'' WHERE idx = 1")
    assert "body_missing" in codes(check(three_nights))


def test_batches_without_a_result_are_unknown_and_no_error(ledger: BuiltLedger) -> None:
    ledger.log.append_and_seal([ledger.intent("t", additions=9, removals=9)])
    first = ledger.batch("t", "remove", members(ledger.chance, 1))
    ledger.result("t", first, "refused")
    silent = ledger.batch("t", "add", members(ledger.chance, 2))
    said_unknown = ledger.batch("t", "add", members(ledger.chance, 3))
    ledger.result("t", said_unknown, "unknown")
    refused = ledger.batch("t", "add", members(ledger.chance, 1))
    ledger.result("t", refused, "refused")
    settled = ledger.batch("t", "add", members(ledger.chance, 1))
    ledger.result("t", settled, "unknown")
    ledger.status(settled, "succeeded")
    lost = ledger.batch("t", "remove", members(ledger.chance, 5), late=True)
    found = check(ledger)
    assert found.ok, found.problems
    assert found.unknown_batches == (silent, said_unknown, lost)
    assert found.balances == {"list-1": 6}  # disclosed: all but the refused one; the lost removal took nobody off


def test_an_unknown_result_may_be_followed_by_a_known_one(ledger: BuiltLedger) -> None:
    ledger.log.append_and_seal([ledger.intent("t", additions=2, removals=0)])
    batch_id = ledger.batch("t", "add", members(ledger.chance, 2))
    ledger.result("t", batch_id, "unknown")
    ledger.result("t", batch_id, "accepted")
    assert check(ledger).ok
    ledger.result("t", batch_id, "accepted")
    assert codes(check(ledger)) == {"result_repeated"}


def story(ledger: BuiltLedger, name: str) -> None:
    """One thing that a correct program never writes."""
    batch = ledger.intent("t", additions=5, removals=5)
    ledger.log.append_and_seal([batch])
    added = ledger.batch("t", "add", members(ledger.chance, 3))
    if name == "added_before_removed":
        ledger.batch("t", "remove", members(ledger.chance, 1))
    elif name == "batch_of_other_intent":
        ledger.batch("t", "add", members(ledger.chance, 1), list_id="list-2")
    elif name == "batch_without_intent":
        ledger.batch("u", "add", members(ledger.chance, 1))
    elif name == "intent_repeated":
        ledger.log.append([batch])
    elif name == "result_without_batch":
        ledger.result("t", "00" * 16)
    elif name == "result_of_other_transfer":
        ledger.result("u", added)
    elif name == "status_without_batch":
        ledger.status("00" * 16, "succeeded")
    elif name == "status_of_refused":
        ledger.result("t", added, "refused")
        ledger.status(added, "succeeded")
    elif name == "more_removed_than_added":
        gone = ledger.batch("t", "remove", members(ledger.chance, 4), late=True)
        ledger.result("t", gone)
    elif name == "batch_repeated":
        (entry,) = ledger.log.entries(types=frozenset({EntryType.BATCH}))
        ledger.log.append([(EntryType.BATCH, context(), entry["fields"])])
    elif name == "field_missing":
        ledger.log.append([(EntryType.BATCH_RESULT, context(), {"transfer_id": "t", "batch_id": added, "outcome": "perhaps"})])
    elif name == "run_finished_without_start":
        ledger.log.append([(EntryType.RUN_FINISHED, context("never"), {})])
    elif name == "run_started_twice":
        ledger.log.append([(EntryType.RUN_STARTED, context("r"), {}), (EntryType.RUN_STARTED, context("r"), {})])
    ledger.log.seal()


@pytest.mark.parametrize(
    "name",
    [
        "added_before_removed",
        "batch_of_other_intent",
        "batch_repeated",
        "batch_without_intent",
        "field_missing",
        "intent_repeated",
        "more_removed_than_added",
        "result_of_other_transfer",
        "result_without_batch",
        "run_finished_without_start",
        "run_started_twice",
        "status_of_refused",
        "status_without_batch",
    ],
)
def test_stories_that_do_not_fit_are_named_with_their_entry(ledger: BuiltLedger, name: str) -> None:
    story(ledger, "nothing wrong")
    assert check(ledger).ok
    (ledger.directory / "wrong").mkdir()
    wrong = BuiltLedger(ledger.directory / "wrong")
    story(wrong, name)
    found = check(wrong)
    assert codes(found) == {name}
    assert found.first_bad_entry is not None
    assert found.first_bad_entry >= 2


def test_negative_counts_and_wrong_forms_of_fields_are_found(ledger: BuiltLedger) -> None:
    ledger.log.append([ledger.intent("t", additions=-1, removals=0)])
    entry, where, fields = ledger.intent("u", additions=1, removals=0)
    ledger.log.append([(entry, where, dict(fields) | {"planned_additions": True}), (entry, where, dict(fields) | {"list_id": 5})])
    assert [(bad.index, bad.code) for bad in check(ledger).problems] == [(number, "field_missing") for number in range(3)]


def test_a_batch_that_was_sent_before_its_checkpoint_is_found(ledger: BuiltLedger) -> None:
    ledger.log.append_and_seal([ledger.intent("t", additions=1, removals=0)])
    fields = {"transfer_id": "t", "batch_id": "ab" * 16, "audience": "bok/list-1/google", "list_id": "list-1", "operation": "add"}
    root = leaf_hash(b"x").hex()
    ledger.log.append([(EntryType.BATCH, context(), fields | {"number": 1, "count": 0, "membership_root": root})])
    ledger.result("t", "ab" * 16)
    ledger.log.seal()
    found = check(ledger)
    assert codes(found) == {"sent_before_sealed", "leaves_missing"}
    assert [bad.index for bad in found.problems if bad.code == "sent_before_sealed"] == [2]


def test_adding_more_than_planned_is_a_notice_once(ledger: BuiltLedger) -> None:
    ledger.log.append_and_seal([ledger.intent("t", additions=2, removals=0)])
    for repeat in (False, True, False, False):
        ledger.batch("t", "add", members(ledger.chance, 2), repeat=repeat)
    found = check(ledger)
    assert found.ok
    assert [(notice.index, notice.code) for notice in found.notices] == [(3, "above_plan")]


def test_a_removal_sent_again_does_not_count_twice(ledger: BuiltLedger) -> None:
    ledger.log.append_and_seal([ledger.intent("t", additions=0, removals=9)])
    ledger.log.append_and_seal([ledger.intent("before", additions=3, removals=0)])
    ledger.result("before", ledger.batch("before", "add", members(ledger.chance, 3)))
    for repeat in (False, True):
        batch_id = ledger.batch("t", "remove", members(ledger.chance, 3), repeat=repeat)
        ledger.result("t", batch_id)
        ledger.status(batch_id, "succeeded")
    assert check(ledger).balances == {"list-1": 0}
    assert check(ledger).ok


def test_a_removal_that_failed_took_nobody_off(ledger: BuiltLedger) -> None:
    ledger.log.append_and_seal([ledger.intent("before", additions=3, removals=0), ledger.intent("t", additions=0, removals=9)])
    ledger.result("before", ledger.batch("before", "add", members(ledger.chance, 3)))
    for state, left in (("failed", 3), ("never_seen", 3), ("succeeded", 0)):
        batch_id = ledger.batch("t", "remove", members(ledger.chance, 3))
        ledger.result("t", batch_id)
        ledger.status(batch_id, state)
        assert check(ledger).balances == {"list-1": left}
    assert check(ledger).ok


def test_unfinished_runs_are_named(ledger: BuiltLedger) -> None:
    ledger.night(FIRST)
    started = ledger.log.append([(EntryType.RUN_STARTED, context("dead"), {"night": "2026-03-02"})])
    ledger.night(FIRST + timedelta(days=2))
    found = check(ledger)
    assert found.ok
    assert [(notice.index, notice.code) for notice in found.notices] == [(*started, "run_unfinished")]


def test_gaps_in_nights_are_named_by_controller(ledger: BuiltLedger) -> None:
    for day in (0, 1, 4):
        ledger.night(FIRST + timedelta(days=day))
    for number, (controller, kind, night) in enumerate(
        [
            ("", RunKind.NIGHTLY, "2026-03-02"),
            ("", RunKind.NIGHTLY, "2026-03-04"),
            ("bok", RunKind.BACKFILL, "2026-03-03"),
            ("bok", RunKind.WITHDRAWALS, "2026-03-04"),
        ]
    ):
        run = context(f"other-{number}", kind, controller)
        ledger.log.append_and_seal(
            [(EntryType.RUN_STARTED, run, {"night": night}), (EntryType.RUN_FINISHED, run, {"night": night})]
        )
    inside = (("", date(2026, 3, 3)), ("bok", date(2026, 3, 3)), ("bok", date(2026, 3, 4)))
    assert check(ledger).gaps == inside
    assert check(ledger, until=date(2026, 3, 5)).gaps == inside
    assert check(ledger, until=date(2026, 3, 7)).gaps == (*inside, ("", date(2026, 3, 6)), ("", date(2026, 3, 7)))
    assert check(ledger).ok


def test_a_recovery_explains_the_checkpoints_of_what_was_lost(ledger: BuiltLedger) -> None:
    ledger.heartbeats(3)
    with sqlite3.connect(ledger.path) as source, sqlite3.connect(ledger.directory / "backup.db") as target:
        source.backup(target)
    ledger.heartbeats(2)
    lost = [note for size, note in ledger.log.notes() if size > 3]
    engine = open_ledger(ledger.directory / "backup.db", environment=Environment.SANDBOX, origin=ORIGIN, clock=ledger.clock)
    epoch = Signer(ledger.keys.signing_key(), ORIGIN + "/2", ledger.directory / "head-2")
    log = TransferLog(engine, epoch, clock=ledger.clock, randomness=ledger.chance)
    keys = [*ledger.verifiers, *(Verifier.parse(text) for text in ledger.keys.vkeys(ORIGIN + "/2"))]
    log.append_and_seal([(EntryType.HEARTBEAT, context(), {})])
    unexplained = {"inconsistent_with_brought", "shorter_than_brought", "epoch_unexplained"}
    assert codes(verify(engine, keys, brought=lost)) == unexplained
    cited = {"old_origin": ORIGIN, "restored_size": 3, "head_size": 5, "head_root": ledger.signer.head().root.hex()}
    log.append_and_seal([(EntryType.EPOCH_OPENED, context(), cited | {"origin": ORIGIN + "/2"})])
    found = verify(engine, keys, brought=[*lost, log.notes()[0][1]], head=epoch.head())
    assert codes(found) == {"epoch_unexplained"}, "a checkpoint was signed under the new name before an entry opened it"
    assert notices(found) == {"lost_in_restore", "epoch_opened"}
    assert [(each.index, each.entries_lost) for each in found.epochs] == [(4, 2)]
    assert found.anchored == 1
    other = Checkpoint(ORIGIN, 6, bytes(32))
    assert codes(verify(engine, keys, head=other)) == {"behind_head", "epoch_unexplained"}


@pytest.mark.timeout(120)
def test_years_of_nights_verify_in_time(tmp_path: Path) -> None:
    """A tenth of five years with ten lists, written in bulk, against a tenth of the 60 s that five years may take."""
    built = BuiltLedger(tmp_path)
    chance = Chance("years")
    rows: list[tuple[int, bytes, bytes]] = []
    notes: list[tuple[int, str]] = []
    leaves: list[tuple[bytes, bytes]] = []
    signer = Signer(built.keys.signing_key(), ORIGIN, tmp_path / "head-years")
    template = {key: value for key, value in _a_batch(built).items() if key != "nonce"}
    for number, night in enumerate(nights(date(2021, 1, 1), 183)):
        at = datetime(night.year, night.month, night.day, 2, 30, tzinfo=UTC)
        fresh = [leaf for row in range(20) for leaf in _transfer(len(rows) + 3 * row, at, chance, leaves, template)]
        rows += fresh
        signed = signer.sign(number * 60, [leaf for _, _, leaf in fresh])
        notes.append((signed.size, signed.note))
    start = time.process_time()
    found = verify_evidence(Evidence(rows, notes, leaves), built.verifiers)
    assert time.process_time() - start < 6
    assert found.entries == found.sealed == 183 * 60
    assert codes(found) <= {"sent_before_sealed"}  # one checkpoint a night here, which is not how delivery works


def _a_batch(built: BuiltLedger) -> dict[str, object]:
    built.log.append([built.intent("t", additions=1, removals=0)])
    (entry,) = built.log.entries()
    return entry


def _transfer(
    index: int, at: datetime, chance: Chance, leaves: list[tuple[bytes, bytes]], template: dict[str, object]
) -> Iterator[tuple[int, bytes, bytes]]:
    from nestaudience.ledger.entries import encode, uuid7
    from nestaudience.ledger.merkle import membership_root

    batch_id, packed = chance(16), members(chance, 10)
    leaves.append((batch_id, packed))
    fields = dict(template["fields"]) | {"transfer_id": f"t-{index}", "planned_additions": 10}  # type: ignore[call-overload]
    batch = {name: fields[name] for name in ("transfer_id", "audience", "list_id")} | {
        "batch_id": batch_id.hex(),
        "operation": "add",
    }
    batch |= {"number": 1, "count": 10, "membership_root": membership_root(packed).hex()}
    result = {"transfer_id": f"t-{index}", "batch_id": batch_id.hex(), "outcome": "accepted", "code": "ok", "request_id": "r"}
    kinds = (EntryType.TRANSFER_INTENT, EntryType.BATCH, EntryType.BATCH_RESULT)
    for place, (kind, held) in enumerate(zip(kinds, (fields, batch, result), strict=True), index):
        body = encode(kind, context(), held, index=place, at=at, entry_id=uuid7(at, chance(10)), nonce=chance(32))
        yield place, body, leaf_hash(body)
