"""Epochs of a log: what is lost by a restoration is computed, cited, and signed away once; whatever stops it, the next try ends the same."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_builder import ORIGIN, BuiltLedger, Chance, context
from places import beside, copy_ledger
from places import put_back as restore

from nestaudience.audit.verify import verify
from nestaudience.errors import MustStop
from nestaudience.ledger.checkpoint import Checkpoint, Lost, epoch_name, epoch_of, glance, open_note
from nestaudience.ledger.engine import Place, ledger_epoch, open_engine, read
from nestaudience.ledger.epoch import Restored, examine, looks_restored, open_epoch
from nestaudience.ledger.log import TransferLog


def keep(built: BuiltLedger, name: str) -> Place:
    """A copy of the ledger as it is now."""
    copy = beside(built.path, name)
    copy_ledger(built.path, copy)
    return copy


def put_back(built: BuiltLedger, copy: Place) -> None:
    built.engine.dispose()
    restore(copy, built.path)
    built.engine = open_engine(built.path)


def recover(built: BuiltLedger) -> Restored | None:
    done = open_epoch(built.engine, built.signer, context(), lambda _: None, clock=built.clock, randomness=built.chance)
    built.reopen()
    return None if done is None else done[0]


def seen(built: BuiltLedger) -> tuple[Restored | None, bool]:
    return examine(built.engine, built.signer), looks_restored(built.engine, ORIGIN, built.head_path)


def test_a_ledger_at_its_head_has_nothing_to_recover(ledger: BuiltLedger) -> None:
    assert seen(ledger) == (None, False)
    ledger.heartbeats(2)
    assert seen(ledger) == (None, False)
    assert recover(ledger) is None
    assert glance(ledger.head_path, ORIGIN) == (1, 2)


def test_a_restored_ledger_goes_on_under_a_new_name_and_cites_the_old_head(ledger: BuiltLedger) -> None:
    ledger.heartbeats(3)
    backup = keep(ledger, "backup")
    ledger.heartbeats(4)
    head = ledger.signer.head()
    put_back(ledger, backup)
    found, warned = seen(ledger)
    assert warned
    assert found == Restored(2, 3, (Lost(ORIGIN, 3, 7, head.root),))
    assert found.entries_lost == 4
    assert recover(ledger) == found
    assert (ledger.log.epoch, ledger.log.origin, ledger.signer.past()) == (2, ORIGIN + "/2", found.lost)
    ledger.heartbeats(1)
    assert ledger.signer.head().origin == ORIGIN + "/2"
    assert glance(ledger.head_path, ORIGIN) == (2, 5)
    verified = verify(ledger.engine, ledger.verifiers, head=ledger.signer.head())
    assert verified.ok, verified.problems
    assert [(each.index, each.origin, each.lost) for each in verified.epochs] == [(3, ORIGIN + "/2", found.lost[0])]
    assert seen(ledger) == (None, False)


def test_a_ledger_that_lost_nothing_signed_is_not_recovered_but_its_unsealed_end_is_kept(ledger: BuiltLedger) -> None:
    """The copy was made between an append and its seal: those entries are under no kept checkpoint, so only what is proven counts as restored."""
    from nestaudience.ledger.entries import EntryType

    ledger.heartbeats(2)
    ledger.log.append([(EntryType.HEARTBEAT, context(), {"n": 1})])
    backup = keep(ledger, "backup")
    ledger.log.seal()
    ledger.heartbeats(2)
    anchored = [note for _, note in ledger.log.notes()]
    put_back(ledger, backup)
    found = recover(ledger)
    assert found is not None
    assert (found.entries, found.head.restored_size, found.entries_lost) == (3, 2, 3)
    verified = verify(ledger.engine, ledger.verifiers, brought=anchored)
    assert verified.ok, verified.problems
    assert verified.anchored == 3, "the end that was not sealed in the copy is what was signed elsewhere"


@pytest.mark.slow_on_postgres
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_restorations_leave_every_checkpoint_explained(
    place: Place, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Entries, copies and restorations in any order: every checkpoint that was ever signed is in the log or declared lost, and no other is."""
    folder = Path(tmp_path_factory.mktemp("epochs"))
    here = folder / "ledger.db" if isinstance(place, Path) else beside(place, "epochs")
    built = BuiltLedger(folder, seed=str(data.draw(st.integers(0, 999))), place=here)
    copies, signed = [], []
    for step in data.draw(st.lists(st.sampled_from(["write", "write", "keep", "restore"]), min_size=4, max_size=12)):
        if step == "write":
            built.heartbeats(data.draw(st.integers(1, 3)))
            signed += [note for _, note in built.log.notes()]
        elif step == "keep":
            copies.append(keep(built, f"copy-{len(copies)}"))
        elif copies:
            put_back(built, data.draw(st.sampled_from(copies)))
            found, warned = seen(built)
            assert (found is not None) == warned
            recover(built)
            signed += [note for _, note in built.log.notes()]
    verified = verify(built.engine, built.verifiers, brought=sorted(set(signed)), head=built.signer.head())
    assert verified.ok, verified.problems
    assert seen(built) == (None, False)
    forged = Checkpoint(built.signer.head().origin, built.signer.head().size, Chance("forged")(32))
    assert not any(epoch.lost.covers(forged) for epoch in verified.epochs)
    built.engine.dispose()


@pytest.mark.slow_on_postgres
def test_backups_from_before_earlier_recoveries_give_up_all_that_came_after_them(ledger: BuiltLedger) -> None:
    """A copy of 2 entries, one of 5, 6 signed. The first copy is recovered, then the second, then the first once more."""
    ledger.heartbeats(2)
    two = keep(ledger, "two")
    ledger.heartbeats(3)
    five = keep(ledger, "five")
    ledger.heartbeats(1)
    signed = [note for _, note in ledger.log.notes()]
    expected = [
        (two, [(ORIGIN, 2, 6)]),
        (five, [(ORIGIN, 5, 6), (ORIGIN + "/2", 2, 4)]),
        (two, [(ORIGIN, 2, 6), (ORIGIN + "/2", 2, 4), (ORIGIN + "/3", 2, 8)]),
    ]
    for copy, lost in expected:
        put_back(ledger, copy)
        found = recover(ledger)
        assert found is not None
        assert [(each.old_origin, each.restored_size, each.head_size) for each in found.lost] == lost
        ledger.heartbeats(1)
        signed += [note for _, note in ledger.log.notes()]
        verified = verify(ledger.engine, ledger.verifiers, brought=signed, head=ledger.signer.head())
        assert verified.ok, verified.problems


def test_what_is_declared_lost_is_no_more_than_that() -> None:
    lost = Lost(ORIGIN, 3, 7, b"r" * 32)
    assert [size for size in range(1, 10) if lost.covers(Checkpoint(ORIGIN, size, b"r" * 32))] == [4, 5, 6, 7]
    assert not lost.covers(Checkpoint(ORIGIN, 7, b"x" * 32)), "the head is cited with its root"
    assert not lost.covers(Checkpoint(ORIGIN + "/2", 5, b"r" * 32))
    assert Lost.parse(lost.fields()) == lost
    for change in ({"head_root": "z" * 64}, {"head_size": 2}, {"restored_size": True}, {"old_origin": 3}, {"head_size": None}):
        assert Lost.parse({**lost.fields(), **change}) is None


@pytest.mark.parametrize(
    ("name", "epoch"),
    [("a", 1), ("a/2", 2), ("a/10", 10), ("a/1", 0), ("a/0", 0), ("a/02", 0), ("a/2/2", 0), ("b/2", 0), ("a2", 0), ("a/x", 0)],
)
def test_names_of_epochs(name: str, epoch: int) -> None:
    assert epoch_of("a", name) == epoch
    if epoch:
        assert epoch_name("a", epoch) == name


def test_a_verifier_of_a_log_verifies_its_epochs_and_no_other_log(ledger: BuiltLedger) -> None:
    ledger.heartbeats(1)
    backup = keep(ledger, "backup")
    ledger.heartbeats(1)
    put_back(ledger, backup)
    recover(ledger)
    note = ledger.log.notes()[-1][1]
    assert open_note(note, ledger.verifiers).checkpoint.origin == ORIGIN + "/2"
    stranger = BuiltLedger(_made(ledger.directory / "stranger"), seed="stranger", place=beside(ledger.path, "stranger.db"))
    with pytest.raises(MustStop, match="note_unsigned"):
        open_note(note, stranger.verifiers)
    with pytest.raises(MustStop, match="note_forged"):
        open_note(note.replace("\n2\n", "\n3\n"), ledger.verifiers)


def test_the_signer_gives_up_only_the_head_that_is_cited(ledger: BuiltLedger) -> None:
    ledger.heartbeats(3)
    head = ledger.signer.head()
    for lost, epoch in (
        (Lost(ORIGIN, 1, 2, head.root), 2),
        (Lost(ORIGIN, 1, 3, b"x" * 32), 2),
        (Lost(ORIGIN, 1, 3, head.root), 1),
    ):
        with pytest.raises(MustStop, match="head_changed"):
            ledger.signer.open_epoch(lost, epoch, [])
    assert ledger.signer.head() == head


def test_another_ledger_or_an_older_head_is_not_recovered(ledger: BuiltLedger) -> None:
    ledger.heartbeats(2)
    old_head = ledger.head_path.read_bytes()
    backup = keep(ledger, "backup")
    ledger.heartbeats(3)
    put_back(ledger, backup)
    recover(ledger)
    ledger.head_path.write_bytes(old_head)  # the head is older than the recovered ledger
    with pytest.raises(MustStop, match="head_behind_ledger"):
        examine(ledger.engine, ledger.signer)
    with pytest.raises(MustStop, match="head_behind_ledger"):
        TransferLog(ledger.engine, ledger.signer, clock=ledger.clock, randomness=ledger.chance)
    other = BuiltLedger(_made(ledger.directory / "other"), seed="other", place=beside(ledger.path, "other.db"))
    other.heartbeats(1)
    mine = BuiltLedger(_made(ledger.directory / "mine"), seed="mine", place=beside(ledger.path, "mine.db"))
    mine.heartbeats(3)
    with pytest.raises(MustStop, match="note_unsigned"):
        examine(other.engine, mine.signer)


def test_a_log_opened_for_mending_seals_nothing(ledger: BuiltLedger) -> None:
    ledger.heartbeats(1)
    backup = keep(ledger, "backup")
    ledger.heartbeats(2)
    put_back(ledger, backup)
    log = TransferLog(ledger.engine, ledger.signer, clock=ledger.clock, randomness=ledger.chance, restored=True)
    with pytest.raises(MustStop):
        log.seal()
    assert read(ledger.engine, ledger_epoch) == 1


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
