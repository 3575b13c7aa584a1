"""A ledger that was restored from a backup: nothing is sent from it, `ledger recover` says what was lost, and the next night's lists equal consent.

Real nights on both platforms. The ledger is copied after the first, people join and leave and say no during two more, then the copy is put back.
"""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from lists_by_rule import wanted_lists
from nights import ACCOUNTS, SandboxWorld
from typer.testing import CliRunner

from nestaudience import endings, sync
from nestaudience.audit.verify import Verification, verify
from nestaudience.checks import check_everything
from nestaudience.cli import app
from nestaudience.config.load import load
from nestaudience.errors import MustStop, TryAgain
from nestaudience.ledger.checkpoint import Verifier, open_note
from nestaudience.ledger.engine import open_engine
from nestaudience.ledger.memory import RemoteList
from nestaudience.recovery import Situation, recover, situation
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.google_state import SandboxAccount
from nestaudience.status import last_due_night, status
from nestaudience.vocabulary import AudienceKey, Cause
from nestaudience.wiring import open_evidence, open_parts, settings_in_use

COFFEE = AudienceKey("hemkraft/coffee_lovers/google")


class LostWorld(SandboxWorld):
    """Three nights; the ledger as it was after the first can be put back, with or without the head. `judged_at`: when the last night was."""

    judged_at: datetime

    def keep(self, name: str) -> None:
        """Copy ledger and head, as a backup of the whole machine does."""
        (self.folder / name).mkdir()
        source, target = open_engine(self.ledger), open_engine(self.folder / name / "ledger.sqlite")
        with source.connect() as one, target.connect() as other:
            one.connection.dbapi_connection.backup(other.connection.dbapi_connection)  # type: ignore[union-attr]
        source.dispose()
        target.dispose()
        shutil.copy(self.head, self.folder / name / "head")

    def put_back(self, name: str, *, head: bool = False) -> None:
        """Put a copy of the ledger back."""
        for left in self.ledger.parent.glob(self.ledger.name + "*"):
            left.unlink()
        shutil.copy(self.folder / name / "ledger.sqlite", self.ledger)
        if head:
            shutil.copy(self.folder / name / "head", self.head)

    @property
    def ledger(self) -> Path:
        return self.folder / load(self.config).ledger.path

    @property
    def head(self) -> Path:
        return self.folder / load(self.config).ledger.head

    def recover(self, randomness: Callable[[int], bytes] | None = None) -> sync.Outcome:
        with open_parts(self.config, clock=self.clock.now, randomness=randomness or self.randomness) as parts:
            return recover(parts)

    def situation(self) -> Situation:
        with open_parts(self.config, clock=self.clock.now, randomness=self.randomness) as parts:
            return situation(parts)

    def verify(self, *notes: str) -> Verification:
        """As `audit verify` does it, with checkpoints that the auditor brings and the one verifier key that she was given at the start."""
        evidence = open_evidence(self.config, self.clock.now, read_only=True)
        try:
            verifiers = [Verifier.parse(text) for text in self.keys.vkeys(evidence.table.origin)]
            head = open_note(json.loads(self.head.read_text("utf-8"))["note"], verifiers).checkpoint
            return verify(evidence.engine, verifiers, brought=notes, head=head, until=last_due_night(self.clock.now()))
        finally:
            evidence.engine.dispose()

    def remotes(self) -> dict[str, RemoteList]:
        evidence = open_evidence(self.config, self.clock.now, read_only=True)
        try:
            return {remote.audience: remote for remote in evidence.memory.lists()}
        finally:
            evidence.engine.dispose()

    def wrong(self) -> dict[str, object]:
        """Lists that do not hold exactly whom the rules let be there, lists of our accounts that nobody knows included; empty when all is well."""
        wanted = wanted_lists(self.store, load(self.config), self.judged_at)
        bound = {remote.list_id: remote.audience for remote in self.remotes().values() if remote.state == "open"}
        found: dict[str, object] = {}
        for list_id, people in self.members().items():
            audience = bound.pop(list_id, None)
            should = wanted.pop(audience, frozenset()) if audience is not None else frozenset()
            if people != should:
                found[list_id] = (audience, len(people - should), len(should - people))
        return found | {key: len(people) for key, people in wanted.items() if people}

    def lived(self) -> sync.Outcome:
        """A night, and the hour in which the platform applies it."""
        self.judged_at = self.clock.now()
        outcome = self.night()
        self.advance(timedelta(hours=1))
        return outcome


def three_nights(world: LostWorld) -> list[str]:
    """Live through them; the checkpoint of each, as anchored."""
    notes = []
    for number in range(3):
        if number:
            world.advance_day()
        notes.append(world.lived().checkpoint)
        world.keep(f"after-{number + 1}")
    return notes


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LostWorld, list[str]]]:
    """Three nights on both platforms, lived once."""
    with LostWorld(Path(tmp_path_factory.mktemp("lost")), accounts=4000, seed=5, meta=True) as world:
        yield world, three_nights(world)


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LostWorld, list[str]]]:
    """Three nights with Google alone, for tests that begin again from there."""
    with LostWorld(Path(tmp_path_factory.mktemp("lost-google")), accounts=4000, seed=5) as world:
        notes = three_nights(world)
        world.sandbox.stop()
        yield world, notes


@pytest.fixture
def later(google: tuple[LostWorld, list[str]], tmp_path: Path) -> Iterator[LostWorld]:
    """The three nights once more, in a folder and on a platform of this test's own, with the first night's ledger put back."""
    before, _ = google
    world = LostWorld.__new__(LostWorld)
    shutil.copytree(before.folder, tmp_path, dirs_exist_ok=True)
    world.__dict__.update(before.__dict__)
    world.folder, world.config, world.store = tmp_path, tmp_path / "nestaudience.toml", tmp_path / "store.sqlite"
    world.randomness = Random(str(tmp_path)).randbytes
    world.clock = type(before.clock)(before.clock.now())
    mine = {account: SandboxAccount() for account in ACCOUNTS}
    port = int(before.sandbox.endpoint.rpartition(":")[2])
    world.sandbox = DataManagerSandbox(mine, world.clock, port=port, token=before.sandbox.token)
    lists = [(account, remote) for account in ACCOUNTS for remote in before.sandbox.lists(account)]
    for account, remote in sorted(lists, key=lambda pair: pair[1].list_id):
        assert world.sandbox.add_list(account, replace(remote, members=dict(remote.members))).list_id == remote.list_id
    world.sandbox.start()
    (tmp_path / "sandbox" / "ca.pem").write_bytes(world.sandbox.ca_pem)
    world.put_back("after-1")
    yield world
    world.close()


def test_from_a_restored_ledger_nothing_is_sent_and_everything_says_what_to_do(later: LostWorld) -> None:
    writes = later.sandbox.writes
    with pytest.raises(MustStop, match=r"ledger_restored.*ledger recover"):
        later.night()
    assert later.sandbox.writes == writes
    evidence = open_evidence(later.config, later.clock.now, read_only=True)
    found = status(evidence, settings_in_use(evidence), later.clock.now())
    evidence.engine.dispose()
    assert found.exit_code == 5
    assert found.stopped is not None
    assert "nestaudience ledger recover" in found.stopped.next_step
    findings = {finding.what: finding for finding in check_everything(later.config, clock=later.clock.now)}
    assert findings["ledger_restored"].exit_code == 5
    shown = CliRunner().invoke(app, ["status", "--config", str(later.config)])
    assert shown.exit_code == 5
    assert "nestaudience ledger recover" in shown.output.replace("\n", " ")


@pytest.mark.slow
def test_after_a_recovery_the_lists_of_both_platforms_equal_consent(past: tuple[LostWorld, list[str]]) -> None:
    world, notes = past
    world.put_back("after-1")
    old = set(world.members())
    outcome = world.recover()
    assert (outcome.exit_codes, len(outcome.begun_anew)) == ((0,), 10)
    assert world.members() == {}, "nobody is left where the ledger does not know who is there"
    assert world.situation().nothing_to_do
    night = world.lived()
    assert night.exit_codes == (0,)
    assert world.wrong() == {}
    assert not old & set(world.members())
    world.advance_day()
    again = world.lived()
    assert again.exit_codes == (0,)
    assert 0 < sum(sent.added for sent in again.sent.values()) < 500, "an ordinary night: nothing is filled twice"
    assert world.wrong() == {}
    found = world.verify(*notes, outcome.checkpoint, again.checkpoint)
    assert found.ok, found.problems
    (epoch,) = found.epochs
    lost = open_note(notes[2], [Verifier.parse(text) for text in world.keys.vkeys(epoch.lost.old_origin)])
    assert epoch.lost.head_size >= lost.size > epoch.lost.restored_size
    assert epoch.origin == f"{epoch.lost.old_origin}/2"
    assert {"epoch_opened", "lost_in_restore"} <= {notice.code for notice in found.notices}
    assert (
        found.anchored == open_note(again.checkpoint, [Verifier.parse(t) for t in world.keys.vkeys(epoch.lost.old_origin)]).size
    )
    assert world.verify().ok


def test_a_recovered_log_still_shows_what_is_done_to_it(later: LostWorld, google: tuple[LostWorld, list[str]]) -> None:
    later.recover()
    later.lived()
    _, notes = google
    assert later.verify(*notes).ok
    with sqlite3.connect(later.ledger) as plain:  # the entry that tells of the recovery is written anew
        (index,) = [e.index for e in later.verify().epochs]
        (body,) = plain.execute("SELECT body FROM log_entry WHERE idx = ?", (index,)).fetchone()
        plain.execute("DROP TRIGGER log_entry_no_update")
        plain.execute("UPDATE log_entry SET body = ? WHERE idx = ?", (body.replace(b'"epoch":2', b'"epoch":3'), index))
    plain.close()
    found = later.verify(*notes)
    assert not found.ok
    assert found.first_bad_entry == index


def test_an_older_head_with_the_older_ledger_is_seen_only_from_outside(
    later: LostWorld, google: tuple[LostWorld, list[str]]
) -> None:
    _, notes = google
    later.put_back("after-1", head=True)
    later.lived()  # nothing here can know
    inside = later.verify()
    assert inside.ok, inside.problems
    assert not inside.epochs
    found = later.verify(notes[2])
    assert {problem.code for problem in found.problems} <= {"inconsistent_with_brought", "shorter_than_brought"}
    assert not found.ok


class PowerCut(Exception):
    """The machine went off."""


def cut_after(later: LostWorld, looks: int) -> Callable[[int], bytes]:
    """Randomness that fails at the given draw."""
    left = [looks]

    def draw(size: int) -> bytes:
        left[0] -= 1
        if left[0] < 0:
            raise PowerCut
        return later.randomness(size)

    return draw


@pytest.mark.timeout(180)
def test_a_recovery_that_is_cut_off_anywhere_is_repeated_to_the_same_end(later: LostWorld) -> None:
    """Each attempt dies one draw of randomness later than the one before; every entry and every run id draws some."""
    cuts, epochs = 0, set()
    while True:
        try:
            later.recover(cut_after(later, cuts))
        except PowerCut:
            cuts += 1
            if later.situation().restored is None:
                epochs.add(len(later.verify().epochs))
            continue
        break
    assert cuts > 8
    assert epochs == {1}, "one restoration, one epoch, however often it was begun"
    assert later.members() == {}
    later.lived()
    assert later.wrong() == {}
    assert later.verify().ok


def test_a_recovery_whose_epoch_is_written_and_not_signed_goes_on_from_there(later: LostWorld) -> None:
    """The head cannot be written at the worst moment: the entry is durable, the signature is not."""
    in_the_way = later.head.with_name(later.head.name + ".new")
    in_the_way.mkdir()
    with pytest.raises(MustStop, match="head_unwritable"):
        later.recover()
    with pytest.raises(MustStop, match="ledger_restored"):
        later.night()
    waiting = later.situation()
    assert waiting.restored is not None
    assert waiting.restored.begun
    in_the_way.rmdir()
    assert later.recover().exit_codes == (0,)
    assert len(later.verify().epochs) == 1


def test_a_recovery_that_is_signed_and_not_kept_goes_on_from_there(later: LostWorld) -> None:
    """The ledger refuses the checkpoint right after the head was signed: the head is one step ahead of what the ledger keeps."""
    with closing(sqlite3.connect(later.ledger)) as plain:
        plain.execute("CREATE TRIGGER full BEFORE INSERT ON checkpoint BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(MustStop, match="ledger_inconsistent"):
        later.recover()
    with closing(sqlite3.connect(later.ledger)) as plain:
        plain.execute("DROP TRIGGER full")
    assert len(later.situation().lists) == 5
    assert later.recover().exit_codes == (0,)
    found = later.verify()
    assert (found.ok, len(found.epochs)) == (True, 1)
    assert later.members() == {}


def test_noes_leave_a_list_that_cannot_be_deleted_yet(later: LostWorld) -> None:
    """The platform takes removals and refuses deletions: whoever is known to have said no leaves, nobody joins."""
    later.sandbox.faults.add(Fault("DeleteUserList", FaultKind.UNAVAILABLE, count=1000))
    outcome = later.recover()
    assert (outcome.begun_anew, outcome.exit_code) == ([], 4), "whether they were deleted is not known"
    before = later.members()
    later.advance_day()
    night = later.lived()
    assert sum(sent.removed for sent in night.sent.values()) > 0
    assert sum(sent.added for sent in night.sent.values()) == 0
    after = later.members()
    assert after.keys() == before.keys()
    assert all(after[list_id] <= people for list_id, people in before.items())
    assert after != before
    later.sandbox.faults.clear()
    later.lived()
    assert later.wrong() == {}
    assert later.verify().ok


def test_a_deletion_whose_answer_is_lost_is_done_once_more(later: LostWorld) -> None:
    later.sandbox.faults.add(Fault("DeleteUserList", FaultKind.ANSWER_LOST_AFTER_EFFECT))
    outcome = later.recover()
    assert len(outcome.begun_anew) < 5
    assert len(later.lived().begun_anew) == 5 - len(outcome.begun_anew)
    assert later.wrong() == {}


@pytest.mark.slow
def test_while_a_platform_is_down_nobody_joins_and_every_run_tries_again(later: LostWorld) -> None:
    old = later.members()
    later.sandbox.stop()
    outcome = later.recover()
    assert outcome.exit_code == 3
    assert outcome.begun_anew == []
    assert {remote.state for remote in later.remotes().values()} == {"recovering"}
    night = later.night()
    assert all("recovering" in [gate.code for gate in gates] for gates in night.gates.values())
    assert night.exit_code == 3
    with pytest.raises(TryAgain, match="recovering"), open_parts(later.config, clock=later.clock.now) as parts:
        endings.retire(parts, endings.retire_job(parts, COFFEE, Cause.TEST, ""))
    assert later.members() == old
    later.sandbox.start()
    again = later.lived()
    assert len(again.begun_anew) == 5
    assert again.exit_codes == (0,)
    assert later.wrong() == {}


def test_a_list_that_the_ledger_never_heard_of_is_deleted_too(later: LostWorld) -> None:
    """The backup is so old that there is no ledger at all."""
    for left in later.ledger.parent.glob(later.ledger.name + "*"):
        left.unlink()
    assert sum(map(len, later.members().values())) > 500
    found = later.situation()
    assert found.restored is not None
    assert (found.restored.entries, len(found.lists)) == (0, 5)
    outcome = later.recover()
    assert (outcome.exit_codes, later.members()) == ((0,), {})
    later.lived()
    assert later.wrong() == {}
    assert later.verify().ok


def test_a_list_of_an_audience_that_is_not_configured_is_reported_and_never_adopted(later: LostWorld) -> None:
    """Nothing here knows the audience when the ledger is recovered. When it comes back its old list is deleted: who is on it is not known."""
    for left in later.ledger.parent.glob(later.ledger.name + "*"):
        left.unlink()
    whole = later.config.read_text("utf-8")
    later.config.write_text(whole[: whole.rindex("[[audiences]]")], "utf-8")
    assert len(later.recover().begun_anew) == 4
    (left_over,) = later.members()
    evidence = open_evidence(later.config, later.clock.now, read_only=True)
    incidents = [entry["fields"] for entry in evidence.reader.entries() if entry["type"] == "incident"]
    evidence.engine.dispose()
    assert [(each["code"], each["list_id"]) for each in incidents] == [("list_unknown", left_over)]
    later.config.write_text(whole, "utf-8")
    later.lived()
    assert left_over not in later.members()
    assert later.wrong() == {}
    assert later.verify().ok


def test_a_second_backup_put_back_is_another_epoch_and_all_checkpoints_are_explained(
    later: LostWorld, google: tuple[LostWorld, list[str]]
) -> None:
    """The wrong copy first, then a later one, from before the recovery."""
    _, notes = google
    first = later.recover().checkpoint
    second = later.lived().checkpoint
    later.put_back("after-2")
    with pytest.raises(MustStop, match="ledger_restored"):
        later.night()
    later.recover()
    later.lived()
    assert later.wrong() == {}
    found = later.verify(*notes, first, second)
    assert found.ok, found.problems
    assert {epoch.origin.rpartition("/")[2] for epoch in found.epochs} == {"3"}
    assert [epoch.lost.old_origin.rpartition("/")[2] for epoch in found.epochs] == ["sandbox", "2"]


def test_the_command_shows_asks_and_does(later: LostWorld, tmp_path: Path) -> None:
    def call(*words: str) -> Any:
        return CliRunner().invoke(app, ["ledger", "recover", "--config", str(later.config), *words])

    lists = later.members()
    shown = call()
    assert shown.exit_code == 0
    assert "signed entries are lost" in shown.output
    assert later.members() == lists
    assert later.situation().restored is not None
    done = call("--yes", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["done"]
    assert len(said["begun_anew"]) == 5
    assert said["entries_lost"] > 0
    assert "Nothing to do" in call("--yes").output
    verified = CliRunner().invoke(app, ["audit", "verify", "--config", str(later.config)])
    assert verified.exit_code == 0, verified.output
    assert "Recovered" in verified.output


def test_a_retired_list_stays_retired(later: LostWorld) -> None:
    later.put_back("after-3")
    with open_parts(later.config, clock=later.clock.now, randomness=later.randomness) as parts:
        endings.retire(parts, endings.retire_job(parts, COFFEE, Cause.TEST, ""))
    later.keep("retiring")
    later.advance(timedelta(hours=1))
    later.lived()
    later.put_back("retiring")
    later.recover()
    later.lived()
    later.advance(
        timedelta(hours=49)
    )  # this platform knows nothing of the nights before: their requests count as possible for two days
    later.lived()
    later.lived()
    assert later.remotes()[COFFEE].state in {"gone", "closed"}
    assert len(later.members()) == 4


def test_the_successor_of_a_retired_list_begins_anew_as_well(later: LostWorld) -> None:
    """The backup knows only the list that was being emptied; its audience has another number, and another list full of people, by now."""
    later.put_back("after-3")
    with open_parts(later.config, clock=later.clock.now, randomness=later.randomness) as parts:
        endings.retire(parts, endings.retire_job(parts, COFFEE, Cause.TEST, ""))
    later.keep("retiring")
    later.edit('"google_data_manager"\nnumber = 5', '"google_data_manager"\nnumber = 55')
    for hours in (1, 49, 1, 1):
        later.advance(timedelta(hours=hours))
        later.lived()
    (successor,) = {later.remotes()[COFFEE].list_id} & later.members().keys()
    assert later.members()[successor]
    later.put_back("retiring")
    assert COFFEE in later.situation().lists
    assert later.recover().exit_codes == (0,)
    assert successor not in later.members()
    later.lived()
    later.lived()
    assert later.wrong() == {}


def test_without_a_readable_head_or_with_another_past_nothing_is_recovered(later: LostWorld) -> None:
    kept = later.head.read_text("utf-8")
    later.head.write_text("nothing", "utf-8")
    with pytest.raises(MustStop, match="head_unreadable"):
        later.recover()
    later.head.write_text(kept, "utf-8")
    with closing(sqlite3.connect(later.ledger)) as plain, plain:
        plain.execute("DROP TRIGGER log_entry_no_update")
        plain.execute("UPDATE log_entry SET leaf = zeroblob(32) WHERE idx = 1")
    with pytest.raises(MustStop, match="ledger_inconsistent"):
        later.recover()
    assert later.members() != {}
