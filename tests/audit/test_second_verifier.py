"""The second verifier finds what the package's own finds: every flipped bit, every kind of tampering, and the same first bad entry."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from bundles import files_of, second, with_manifest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_builder import ORIGIN, BuiltLedger, Chance, context, members

from nestaudience.audit import second_verifier
from nestaudience.audit.verify import Evidence, Verification, verify_evidence
from nestaudience.ledger.checkpoint import Signer
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.keys import new_keys
from nestaudience.ledger.merkle import leaf_hash

FIRST = date(2026, 3, 1)
SOURCE = Path(second_verifier.__file__)


def keys(ledger: BuiltLedger) -> list[str]:
    return list(ledger.keys.vkeys(ORIGIN))


def both(ledger: BuiltLedger, evidence: Evidence, brought: list[str] | None = None) -> tuple[Verification, Any]:
    """Both verdicts on the same evidence, in a bundle whose manifest is in order. They agree on everything that they say."""
    found = verify_evidence(evidence, ledger.verifiers, brought=brought or [])
    other = second(with_manifest(files_of(evidence), ledger.signer), keys(ledger), brought)
    assert {code for _, code in other.problems} == {each.code for each in found.problems}
    assert found.ok is (not other.problems)
    assert found.first_bad_entry == next((place for place, _ in other.problems if place is not None), None)
    assert (found.entries, found.sealed, found.anchored) == (other.tree.size, other.sealed, other.anchored)
    if found.ok:
        assert found.root == other.tree.root()
        balances = {name: other.story.added.get(name, 0) - other.story.removed.get(name, 0) for name in found.balances}
        assert found.balances == balances
        said = {(each.index, each.code) for each in found.notices}
        assert said == {each for each in other.notices if each[1] != "unknown_counts_as_disclosed"}
        assert len(found.unknown_batches) == len([each for each in other.notices if each[1] == "unknown_counts_as_disclosed"])
        assert [(name, night.isoformat()) for name, night in found.gaps] == other.story.gaps
    return found, other


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltLedger:
    ledger = BuiltLedger(tmp_path_factory.mktemp("second"))
    ledger.night(FIRST, additions=5)
    ledger.night(FIRST + timedelta(days=1), additions=2, removals=4)
    ledger.night(FIRST + timedelta(days=3), additions=1)
    ledger.log.append_and_seal([ledger.intent("t-late", additions=3, removals=0)])
    ledger.batch("t-late", "add", members(ledger.chance, 3))
    return ledger


@pytest.fixture(scope="module")
def good(built: BuiltLedger) -> Evidence:
    return built.evidence()


def flips(value: bytes, step: int) -> Iterator[bytes]:
    for place in range(0, len(value) * 8, step):
        yield value[: place // 8] + bytes([value[place // 8] ^ 1 << place % 8]) + value[place // 8 + 1 :]


def test_it_uses_the_standard_library_and_cryptography_and_nothing_else() -> None:
    tree = ast.parse(SOURCE.read_text("utf-8"))
    imported = {alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module).partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    import sys

    assert imported - set(sys.stdlib_module_names) == {"cryptography"}


def test_both_find_nothing_in_a_good_log(built: BuiltLedger, good: Evidence) -> None:
    found, other = both(built, good, [note for _, note in good.notes][4:5])
    assert found.ok
    assert found.anchored > 0
    assert other.story.gaps == [("bok", "2026-03-03")]


def test_empty_logs_verify(tmp_path: Path) -> None:
    ledger = BuiltLedger(tmp_path)
    assert both(ledger, Evidence([], [], []))[0].ok


def every_flip(ledger: BuiltLedger, good: Evidence, step: int) -> int:
    rows, notes, leaves, seen = list(good.entries), list(good.notes), list(good.batch_leaves), 0
    for number, (index, body, leaf) in enumerate(rows):
        for bad in flips(body, step):
            if b"\n" not in bad:
                for kept in (leaf, leaf_hash(bad)):
                    evidence = replace(good, entries=[*rows[:number], (index, bad, kept), *rows[number + 1 :]])
                    seen += not both(ledger, evidence)[0].ok
        for bad in flips(leaf, step):
            seen += not both(ledger, replace(good, entries=[*rows[:number], (index, body, bad), *rows[number + 1 :]]))[0].ok
    for number, (size, note) in enumerate(notes):
        for bad in flips(note.encode(), step):
            text = bad.decode(errors="replace")
            seen += not both(ledger, replace(good, notes=[*notes[:number], (size, text), *notes[number + 1 :]]))[0].ok
            seen += not both(ledger, good, [text])[0].ok
    for number, (batch_id, packed) in enumerate(leaves):
        for bad in flips(packed, step):
            seen += not both(ledger, replace(good, batch_leaves=[*leaves[:number], (batch_id, bad), *leaves[number + 1 :]]))[0].ok
    return seen


def tried(good: Evidence, step: int) -> int:
    def count(value: bytes) -> int:
        return len(range(0, len(value) * 8, step))

    lines = sum(b"\n" not in bad for _, body, _ in good.entries for bad in flips(body, step))
    leaves = sum(count(leaf) for _, _, leaf in good.entries) + sum(count(packed) for _, packed in good.batch_leaves)
    return 2 * lines + leaves + 2 * sum(count(note.encode()) for _, note in good.notes)


@pytest.fixture
def small(ledger: BuiltLedger) -> BuiltLedger:
    ledger.log.append_and_seal([ledger.intent("t", additions=2, removals=0)])
    ledger.batch("t", "add", members(ledger.chance, 2))
    return ledger


def test_flipped_bits_are_found_by_both(small: BuiltLedger) -> None:
    evidence = small.evidence()
    assert every_flip(small, evidence, 131) == tried(evidence, 131)


@pytest.mark.slow
def test_every_flipped_bit_is_found_by_both(small: BuiltLedger) -> None:
    evidence = small.evidence()
    assert every_flip(small, evidence, 1) == tried(evidence, 1)


def test_every_flipped_bit_of_manifest_and_its_signature_is_found(small: BuiltLedger) -> None:
    files = with_manifest(files_of(small.evidence()), small.signer)
    assert second(files, keys(small)).problems == []
    for name in ("manifest.json", "manifest.note"):
        for bad in flips(files[name], 7):
            assert "manifest_not_signed" in {code for _, code in second(files | {name: bad}, keys(small)).problems}


def test_a_file_that_is_changed_added_or_taken_away_is_named(small: BuiltLedger) -> None:
    files = with_manifest(files_of(small.evidence()) | {"frames/a.csv": b"1;2"}, small.signer)
    for bad in (
        {**files, "frames/a.csv": b"1;3"},
        {**files, "frames/b.csv": b""},
        {n: d for n, d in files.items() if "a.csv" not in n},
    ):
        ((place, code),) = second(bad, keys(small)).problems
        assert place is None
        assert code.startswith("file_not_as_listed:frames/")


def test_a_manifest_is_no_checkpoint_and_a_checkpoint_is_no_manifest(small: BuiltLedger) -> None:
    files = with_manifest(files_of(small.evidence()), small.signer)
    note = files["manifest.note"].decode()
    assert {code for _, code in second(files, keys(small), [note]).problems} == {"brought_note_bad"}
    head = small.log.notes()[-1][1].encode()
    assert (None, "manifest_not_signed") in second(files | {"manifest.note": head}, keys(small)).problems


@st.composite
def tamperings(draw: st.DrawFn, good: Evidence) -> Evidence:
    """Evidence after one to three things that somebody did to it."""
    rows = [(body, leaf) for _, body, leaf in good.entries]
    notes, leaves = list(good.notes), list(good.batch_leaves)
    for _ in range(draw(st.integers(1, 3))):
        how = draw(st.sampled_from(HOW))
        at = draw(st.integers(0, max(0, len(rows) - 1)))
        if how == "delete":
            del rows[at : at + 1]
        elif how == "repeat":
            rows[at:at] = rows[at : at + 1]
        elif how == "swap":
            rows[at : at + 2] = reversed(rows[at : at + 2])
        elif how == "truncate":
            del rows[max(1, len(rows) - draw(st.integers(1, 4))) :]
        elif how == "redact" and rows:
            rows[at] = (b"", rows[at][1])
        elif how in ("rewrite", "rewrite_all") and rows:
            old, new = draw(st.sampled_from(WORDS))
            for place in range(at, len(rows) if how == "rewrite_all" else at + 1):
                body = rows[place][0].replace(old, new)
                rows[place] = (body, leaf_hash(body) if body else rows[place][1])
        elif how == "leaf" and rows:
            rows[at] = (rows[at][0], bytes(32))
        elif how == "drop_note" and notes:
            del notes[draw(st.integers(0, len(notes) - 1))]
        elif how == "drop_notes":
            del notes[draw(st.integers(0, len(notes))) :]
        elif how == "move_note" and notes:
            place = draw(st.integers(0, len(notes) - 1))
            notes[place] = (notes[place][0], notes[-1][1])
        elif how == "drop_leaves" and leaves:
            del leaves[draw(st.integers(0, len(leaves) - 1))]
        elif how == "swap_leaves" and len(leaves) > 1:
            leaves[0], leaves[-1] = (leaves[0][0], leaves[-1][1]), (leaves[-1][0], leaves[0][1])
        elif how == "turn_leaves" and leaves:
            batch_id, packed = leaves[0]
            leaves[0] = (batch_id, packed[32:] + packed[:32])
    return Evidence([(index, body, leaf) for index, (body, leaf) in enumerate(rows)], notes, leaves)


HOW = (
    "delete", "repeat", "swap", "truncate", "redact", "rewrite", "rewrite_all", "leaf", "drop_note", "drop_notes", "move_note",
    "drop_leaves", "swap_leaves", "turn_leaves",
)  # fmt: skip
WORDS = (
    (b'"add"', b'"remove"'), (b'"remove"', b'"add"'), (b'"accepted"', b'"refused"'), (b'"count":', b'"count":1'), (b"list-1", b"list-2"),
    (b'"version":1', b'"version":2'), (b"batch_result", b"batch_resulf"), (b"{", b"["), (b':"', b':null,"x":"'), (b"2026", b"2025"),
    (b"transfer-2026", b"transfer-2027"), (b"run_finished", b"run_started"), (b'"index":', b'"index":1'), (b"0", b"1"),
)  # fmt: skip


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_both_agree_on_whatever_is_done_to_a_log(built: BuiltLedger, good: Evidence, data: st.DataObject) -> None:
    evidence = data.draw(tamperings(good))
    both(built, evidence, data.draw(st.sampled_from([[], [list(good.notes)[6][1]], [list(good.notes)[-1][1]]])))


def test_a_whole_log_written_anew_is_found_by_an_anchored_checkpoint_alone(built: BuiltLedger, tmp_path: Path) -> None:
    anchored = list(built.log.notes())[5][1]
    forged = BuiltLedger(tmp_path, seed="forged")
    forged.keys = built.keys  # whoever has the key can write another story
    forged.signer = Signer(built.keys.signing_key(), ORIGIN, tmp_path / "other-head")
    forged.log._signer = forged.signer
    forged.verifiers = built.verifiers
    for number in range(3):
        forged.night(FIRST + timedelta(days=number), additions=2)
    assert both(forged, forged.evidence())[0].ok
    found, _ = both(forged, forged.evidence(), [anchored])
    assert {each.code for each in found.problems} == {"inconsistent_with_brought"}


def test_another_key_is_not_the_logs(built: BuiltLedger, good: Evidence) -> None:
    other = new_keys(Chance("another")).vkeys(ORIGIN)
    codes = {code for _, code in second(with_manifest(files_of(good), built.signer), list(other)).problems}
    assert {"manifest_not_signed", "checkpoint_bad"} <= codes


def test_redactions_are_known_by_their_entry_and_recoveries_by_their_epoch(ledger: BuiltLedger) -> None:
    ledger.heartbeats(3)
    leaf = next(leaf for index, _, leaf in ledger.log.bodies() if index == 1)
    ledger.log.append_and_seal([(EntryType.REDACTION, context(), {"redacted_index": 1, "redacted_leaf": leaf.hex()})])
    good = ledger.evidence()
    rows = [(index, b"" if index == 1 else body, leaf) for index, body, leaf in good.entries]
    found, other = both(ledger, replace(good, entries=rows))
    assert found.ok
    assert found.redacted == len(other.redacted) == 1
    rows[2] = (2, b"", rows[2][2])
    assert not both(ledger, replace(good, entries=rows))[0].ok


def test_a_transfer_to_a_list_that_is_not_its_own_is_found(ledger: BuiltLedger) -> None:
    bound = {"audience": "bok/list-1/google", "ad_account": "1234567890", "list_id": "list-1", "recipient": "google"}
    ledger.log.append_and_seal([(EntryType.LIST_CREATED, context(), bound)])
    ledger.night(FIRST)
    assert both(ledger, ledger.evidence())[0].ok
    kind, where, fields = ledger.intent("t-x", additions=1, removals=0, list_id="list-1")
    ledger.log.append_and_seal([(kind, where, {**fields, "ad_account": "999"})])
    found, _ = both(ledger, ledger.evidence())
    assert {each.code for each in found.problems} == {"bound_elsewhere"}
    ledger.log.append_and_seal([(EntryType.BINDING_CHANGED, context(), {**bound, "state": "begins_anew"})])
    ledger.log.append_and_seal([(kind, where, {**fields, "transfer_id": "t-y", "audience": "bok/other/google"})])
    found, _ = both(ledger, ledger.evidence())
    assert {each.code for each in found.problems} == {"bound_elsewhere", "list_of_two_audiences"}


@pytest.mark.parametrize(
    ("more", "faults", "whole"),
    [
        ({}, [], True),
        ({}, ["approval_old"], False),
        ({"approved_by": ""}, [], False),
        ({"approved_by": "owner-1"}, [], False),
        ({"dpia": ""}, [], False),
        ({"approved_on": ""}, [], False),
    ],
)
def test_additions_without_a_whole_approval_are_worth_knowing(
    ledger: BuiltLedger, more: dict[str, str], faults: list[str], whole: bool
) -> None:
    ledger.log.append_and_seal([(EntryType.APPROVAL, context(), {"segment": "readers", "faults": faults, "review_missing": ""})])
    kind, where, fields = ledger.intent("t", additions=1, removals=0)
    said = {"segment": "readers", "owner": "owner-1", "approved_by": "boss-2", "approved_on": "2026-01-01", "dpia": "D-1"}
    ledger.log.append_and_seal([(kind, where, {**fields, **said, **more})])
    found, _ = both(ledger, ledger.evidence())
    assert found.ok
    assert ("approval_faulty" not in {each.code for each in found.notices}) is whole
