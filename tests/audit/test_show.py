"""`show` gives each thing end to end, proves every step against an independent tree, and sees what was tampered with."""

import shutil
import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from nestaudience.audit.show import Shown, show
from nestaudience.audit.transfers import TRANSFER_TYPES, read_transfers
from nestaudience.errors import MustStop, NeedsFix
from nestaudience.ledger.checkpoint import Verifier
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.keys import new_keys
from nestaudience.ledger.log import LogReader
from nestaudience.wiring import Evidence, open_evidence, open_keys


@pytest.fixture(scope="module")
def evidence(two_nights: Any) -> Iterator[Evidence]:
    opened = open_evidence(two_nights.world.config, two_nights.world.clock.now, read_only=True)
    yield opened
    opened.engine.dispose()


@pytest.fixture(scope="module")
def verifiers(evidence: Evidence) -> tuple[Verifier, ...]:
    return tuple(Verifier.parse(text) for text in open_keys(evidence).vkeys(evidence.table.origin))


def root_by_the_book(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + root_by_the_book(leaves[:split]) + root_by_the_book(leaves[split:])).digest()


def types(shown: Shown) -> list[str]:
    return [step.type for step in shown.steps]


def test_a_transfer_end_to_end(evidence: Evidence, verifiers: tuple[Verifier, ...], two_nights: Any) -> None:
    key = "hemkraft/coffee_lovers/google"
    found = read_transfers(evidence.reader.entries(types=TRANSFER_TYPES)).values()
    wanted = next(t for t in found if t.intent["audience"] == key and t.run_id == two_nights.first.run_id)
    shown = show(evidence.reader, wanted.transfer_id, verifiers)
    assert (shown.kind, shown.id) == ("transfer", wanted.transfer_id)
    assert types(shown) == [
        "run_started", "snapshot", "funnel", "transfer_intent", "batch", "batch_result", "run_finished", "platform_status",
    ]  # fmt: skip
    (intent,) = shown.of_type(EntryType.TRANSFER_INTENT)
    assert intent.fields["recipient_name"] == "Google Ireland Limited"
    assert (intent.fields["legal_basis"], intent.fields["dpia"], intent.fields["approved_by"]) == (
        "consent",
        "DPIA-2026-06",
        "privacy-1",
    )
    assert intent.context["controller"] == "hemkraft"
    (batch,) = shown.of_type(EntryType.BATCH)
    assert batch.fields["count"] == two_nights.first.sent[key].added
    assert batch.leaves_hold is True
    (funnel,) = shown.of_type(EntryType.FUNNEL)
    assert funnel.fields["audience"] == key
    assert shown.sound
    assert shown.sealed


def test_a_run_has_its_entries_and_what_was_said_of_it_later(
    evidence: Evidence, verifiers: tuple[Verifier, ...], two_nights: Any
) -> None:
    shown = show(evidence.reader, two_nights.first.run_id, verifiers)
    own = [entry["index"] for entry in evidence.reader.entries() if entry["run_id"] == two_nights.first.run_id]
    later = [step for step in shown.steps if step.context["run_id"] == two_nights.second.run_id]
    assert [step.index for step in shown.steps] == own + [step.index for step in later]
    assert [step.type for step in later] == ["platform_status"] * 5
    assert types(shown)[0] == "run_started"
    assert types(shown).count("funnel") == 5
    assert shown.as_dict()["sound"] is True


def test_a_batch_and_an_entry(evidence: Evidence, verifiers: tuple[Verifier, ...]) -> None:
    entries = list(evidence.reader.entries())
    batch = next(entry for entry in entries if entry["type"] == "batch")
    shown = show(evidence.reader, batch["fields"]["batch_id"], verifiers)
    assert shown.kind == "batch"
    assert types(shown) == ["transfer_intent", "batch", "batch_result", "platform_status"]
    for index in (0, 7, len(entries) - 1):
        shown = show(evidence.reader, str(index), verifiers)
        assert (shown.kind, shown.id) == ("entry", str(index))
        (step,) = shown.steps
        assert (step.index, step.type, step.fields) == (index, entries[index]["type"], entries[index]["fields"])


def test_every_proof_leads_to_the_first_checkpoint_over_its_entry(
    evidence: Evidence, verifiers: tuple[Verifier, ...], two_nights: Any
) -> None:
    leaves = [sha256(b"\x00" + body).digest() for _, body, _ in evidence.reader.bodies()]
    sizes = [size for size, _ in evidence.reader.notes()]
    for run in (two_nights.first, two_nights.second):
        for step in show(evidence.reader, run.run_id, verifiers).steps:
            assert step.proof is not None
            assert step.proof.checkpoint_size == min(size for size in sizes if size > step.index)
            assert bytes.fromhex(step.proof.checkpoint_root) == root_by_the_book(leaves[: step.proof.checkpoint_size])
            assert step.proof.holds


def test_a_batch_was_sealed_before_its_answer(evidence: Evidence, verifiers: tuple[Verifier, ...], two_nights: Any) -> None:
    steps = show(evidence.reader, two_nights.second.run_id, verifiers).steps
    answers = {step.fields["batch_id"]: step.index for step in steps if step.type == "batch_result"}
    sent = [step for step in steps if step.type == "batch"]
    assert len(sent) == 10
    for step in sent:
        assert step.proof is not None
        assert step.index < step.proof.checkpoint_size <= answers[step.fields["batch_id"]]


def test_an_id_may_be_cut_short_while_it_is_unique(evidence: Evidence, verifiers: tuple[Verifier, ...], two_nights: Any) -> None:
    entries = list(evidence.reader.entries())
    ids = {
        str(value)
        for e in entries
        for value in (e["run_id"], e["fields"].get("transfer_id"), e["fields"].get("batch_id"))
        if value
    }
    whole = two_nights.second.run_id
    for length in (2, 3, 4, 8, 13, 14, 17, 20, 24, 36):
        start = whole[:length]
        alike = [other for other in ids if other.replace("-", "").startswith(start.replace("-", ""))]
        expected = "" if len(alike) == 1 else "id_ambiguous"
        expected = expected if len(start) >= 4 else "id_too_short"
        for spelt in (start, start.upper(), start.replace("-", "")):
            if expected:
                with pytest.raises(NeedsFix) as caught:
                    show(evidence.reader, spelt, verifiers)
                assert caught.value.code == expected
            else:
                assert show(evidence.reader, spelt, verifiers).id == whole


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ("ffffffff", "id_unknown"),
        ("anna.andersson@example.org", "id_unknown"),
        ("0000", "id_unknown"),
        ("99999", "entry_unknown"),
        ("9" * 400, "entry_unknown"),
        ("", "id_too_short"),
        ("²³", "id_too_short"),
    ],
)
def test_what_is_not_there_is_said_without_repeating_it(
    evidence: Evidence, verifiers: tuple[Verifier, ...], wanted: str, code: str
) -> None:
    with pytest.raises(NeedsFix) as caught:
        show(evidence.reader, wanted, verifiers)
    assert caught.value.code == code
    assert "anna" not in str(caught.value)


def test_without_the_logs_key_nothing_counts_as_sealed(evidence: Evidence, two_nights: Any) -> None:
    stranger = Verifier.parse(
        new_keys(lambda size: b"\x07" * size if size != 32 else next(_values)).vkeys(evidence.table.origin)[0]
    )
    shown = show(evidence.reader, two_nights.first.run_id, [stranger])
    assert shown.sound
    assert not shown.sealed
    assert all(step.proof is None for step in shown.steps)


_values = iter(bytes([number]) * 32 for number in range(1, 100))


class Copied:
    """A copy of the ledger for somebody who has the database file."""

    def __init__(self, evidence: Evidence, folder: Path) -> None:
        self.path = folder / "ledger.sqlite"
        source = evidence.base / evidence.table.path
        for suffix in ("", "-wal"):
            if source.with_name(source.name + suffix).exists():
                shutil.copy(source.with_name(source.name + suffix), self.path.with_name(self.path.name + suffix))
        with sqlite3.connect(self.path) as plain:
            for (name,) in plain.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                plain.execute(f"DROP TRIGGER {name}")

    def change(self, statement: str, *values: object) -> LogReader:
        from nestaudience.ledger.engine import open_engine

        with sqlite3.connect(self.path) as plain:
            assert plain.execute(statement, values).rowcount == 1
        return LogReader(open_engine(self.path, read_only=True))


@pytest.fixture
def copied(evidence: Evidence, tmp_path: Path) -> Copied:
    return Copied(evidence, tmp_path)


def first_batch(evidence: Evidence) -> dict[str, Any]:
    return next(entry for entry in evidence.reader.entries() if entry["type"] == "batch")


def test_a_changed_entry_does_not_lead_to_the_root(evidence: Evidence, verifiers: tuple[Verifier, ...], copied: Copied) -> None:
    batch = first_batch(evidence)
    count = batch["fields"]["count"]
    body = next(body for _, body, _ in evidence.reader.bodies(batch["index"], batch["index"]))
    changed = body.replace(f'"count":{count}'.encode(), f'"count":{count - 1}'.encode())
    reader = copied.change("UPDATE log_entry SET body = ? WHERE idx = ?", changed, batch["index"])
    shown = show(reader, batch["fields"]["batch_id"], verifiers)
    wrong = [step.index for step in shown.steps if step.proof is None or not step.proof.holds]
    assert wrong == [batch["index"]]
    assert not shown.sound


def test_a_changed_leaf_hash_breaks_the_proofs(evidence: Evidence, verifiers: tuple[Verifier, ...], copied: Copied) -> None:
    reader = copied.change("UPDATE log_entry SET leaf = ? WHERE idx = 0", b"\x00" * 32)
    shown = show(reader, first_batch(evidence)["fields"]["batch_id"], verifiers)
    assert not shown.sound


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("DELETE FROM batch_leaves WHERE batch_id = ?", ()),
        ("UPDATE batch_leaves SET leaves = substr(leaves, 33) WHERE batch_id = ?", ()),
        ("UPDATE batch_leaves SET leaves = substr(leaves, 33) || ? WHERE batch_id = ?", (b"\xff" * 32,)),
    ],
)
def test_membership_leaves_must_be_whole(
    evidence: Evidence, verifiers: tuple[Verifier, ...], copied: Copied, statement: str, values: tuple[bytes, ...]
) -> None:
    batch_id = first_batch(evidence)["fields"]["batch_id"]
    reader = copied.change(statement, *values, bytes.fromhex(batch_id))
    shown = show(reader, batch_id, verifiers)
    assert [step.leaves_hold for step in shown.of_type(EntryType.BATCH)] == [False]
    assert not shown.sound


def test_a_forged_checkpoint_is_refused(evidence: Evidence, verifiers: tuple[Verifier, ...], copied: Copied) -> None:
    size, note = evidence.reader.notes()[0]
    lines = note.split("\n")
    lines[2] = evidence.reader.notes()[1][1].split("\n")[2]
    reader = copied.change("UPDATE checkpoint SET note = ? WHERE size = ?", "\n".join(lines), size)
    with pytest.raises(MustStop) as caught:
        show(reader, "0", verifiers)
    assert caught.value.code == "note_forged"


def test_a_redacted_entry_is_named_so(evidence: Evidence, verifiers: tuple[Verifier, ...], copied: Copied) -> None:
    reader = copied.change("UPDATE log_entry SET body = ? WHERE idx = 3", b"")
    with pytest.raises(NeedsFix) as caught:
        show(reader, "3", verifiers)
    assert caught.value.code == "entry_redacted"
