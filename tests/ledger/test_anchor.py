"""Checkpoints that leave the machine: one file a size, never written over; a full or closed directory is a person's to mend."""

from pathlib import Path

import pytest
from ledger_builder import BuiltLedger
from nights import SandboxWorld

from nestaudience.errors import NeedsFix
from nestaudience.ledger.anchor import anchor
from nestaudience.ledger.checkpoint import Signer, Verifier, open_note


def test_a_run_anchors_its_checkpoint_and_says_so(tmp_path: Path) -> None:
    with SandboxWorld(tmp_path, accounts=600, smallest_list=100) as world:
        text = world.config.read_text()
        world.config.write_text(
            text.replace('head = "keys/head.json"', 'anchor_directory = "elsewhere"\nhead = "keys/head.json"')
        )
        outcome = world.night()
        notes = sorted((tmp_path / "elsewhere").glob("checkpoint-*"))
        assert [note.read_text() for note in notes] == [outcome.checkpoint]
        verifiers = [Verifier.parse(key) for key in world.keys.vkeys("nestit.example/nestaudience/sandbox")]
        signed = open_note(outcome.checkpoint, verifiers)
        anchor(tmp_path / "elsewhere", signed)  # again: left as it is
        assert len(list((tmp_path / "elsewhere").glob("checkpoint-*"))) == 1


def test_a_directory_that_cannot_be_written_is_said_and_named_by_its_setting(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    (tmp_path / "w").mkdir()
    with SandboxWorld(tmp_path / "w", accounts=600, smallest_list=100) as world:
        outcome = world.night()
        signed = open_note(
            outcome.checkpoint, [Verifier.parse(k) for k in world.keys.vkeys("nestit.example/nestaudience/sandbox")]
        )
    with pytest.raises(NeedsFix, match="anchor_unwritable"):
        anchor(blocked / "below", signed)


def test_a_checkpoint_of_a_new_epoch_stands_beside_the_lost_one_of_its_size(ledger: BuiltLedger, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    ledger.heartbeats(3)
    (lost,) = [open_note(note, ledger.verifiers) for size, note in ledger.log.notes() if size == 3]
    anchor(place, lost)
    signer = Signer(ledger.keys.signing_key(), lost.checkpoint.origin + "/2", tmp_path / "head-2")
    fresh = signer.sign(0, [bytes(32)] * 3)
    for _ in range(2):
        anchor(place, fresh)
    assert sorted(file.read_text("utf-8") for file in place.iterdir()) == sorted([lost.note, fresh.note])
