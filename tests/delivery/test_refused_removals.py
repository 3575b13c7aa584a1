"""Meta will not take somebody off a list who said no: tried again, asked off everywhere once, and in the end the list is deleted. Never in green.

The small installation of the state machine: the real path and ledger, a platform in memory, and a clock that is moved. `machine_truth` listens to
every request. `test_refused_at_meta` tells the same story over the wire.
"""

import os
import shutil
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from machine_people import PEOPLE, Life, first_world
from machine_platform import LOOKALIKES, NOT_TAKEN, REFUSING, Fault, MetaPlatform, Request
from machine_settings import META
from machine_site import Site
from machine_truth import Truth, digest_of

from nestaudience import sync
from nestaudience.audit.transfers import TRANSFER_TYPES, read_transfers
from nestaudience.audit.verify import verify
from nestaudience.config.settings import Settings
from nestaudience.delivery.refused import DELETED_AFTER
from nestaudience.ledger.keys import KeyUse
from nestaudience.ledger.memory import RemoteList
from nestaudience.parts import Parts
from nestaudience.status import AudienceStatus, Status, status
from nestaudience.sync import Outcome
from nestaudience.vocabulary import AudienceKey, KillSwitch, Operation, Recipient
from nestaudience.withdrawals import withdrawals_job

KEY = AudienceKey("c1/s1/meta")
SMALL, FLAGGED = REFUSING
HOUR = timedelta(hours=1)


class Story:
    """A site whose list at Meta holds three people, and what happens there. `earlier`: goes on from where another story stands."""

    def __init__(self, earlier: "Story | None" = None) -> None:
        self.site = Site(first_world(frozenset(PEOPLE), frozenset(PEOPLE)), seed=0 if earlier is None else earlier.seed + 1)
        self.seed = 0 if earlier is None else earlier.seed + 1
        self.truth = Truth(self.site)
        self.life = Life()
        if earlier is None:
            self.night()
            self.after(HOUR)
        else:
            self._take_over(earlier)
        self.list = self.remote()
        assert len(self.people()) == 3 or earlier is not None

    def _take_over(self, earlier: "Story") -> None:
        """Ledger, head, store, platforms and clock as they are there."""
        mine, theirs = self.site, earlier.site
        shutil.copyfile(theirs.folder / "head.json", mine.folder / "head.json")
        mine.put_back(theirs.copy())
        mine.clock.real, mine.store.world, self.life = theirs.clock.real, theirs.store.world, deepcopy(earlier.life)
        for name, platform in mine.platforms.items():
            other = theirs.platforms[name]
            for what in ("_lists", "requests", "_made", "refusing", "keeping", "lag"):
                setattr(platform, what, deepcopy(getattr(other, what)))
        self.meta.opts_out = earlier.meta.opts_out
        self.truth.put_there = deepcopy(earlier.truth.put_there)

    @property
    def meta(self) -> MetaPlatform:
        """The platform."""
        found = self.site.platforms[META]
        assert isinstance(found, MetaPlatform)
        return found

    def remote(self) -> RemoteList:
        """The audience's list now."""
        remote = self.site.remote(KEY)
        assert remote is not None
        return remote

    def people(self, remote: RemoteList | None = None) -> frozenset[str]:
        """Who is on the list that was there at first, or on another."""
        return self.meta.members((remote or self.list).list_id)

    def says(self, what: str, who: str, choice: int = 0) -> str:
        """Something happens to somebody; her digest at Meta."""
        row = next(row for row in self.site.store.world.account if row["account_id"] == who)
        self.site.store.world = self.life.happens(what, self.site.store.world, who, self.site.clock.real, choice)
        self.after(timedelta(minutes=6))
        found = digest_of(Recipient.META, row["email"])
        assert found is not None
        return found

    def after(self, time: timedelta) -> None:
        """Time passes."""
        self.site.pass_time(time)
        self.truth.remembered()

    def night(self) -> Outcome | None:
        """A nightly run; None when it crashed."""
        return self._ran(self.site.run().outcome)

    def hour(self) -> Outcome | None:
        """A run for withdrawals."""
        parts = self.site.parts
        job = withdrawals_job(parts.evidence.reader, parts.settings, self.site.clock.now(), due_only=True)
        assert job is not None
        return self._ran(self.site.run(job).outcome)

    def _ran(self, outcome: Outcome | None) -> Outcome | None:
        self.truth.remembered()
        return outcome

    def entries(self, kind: str, **fields: object) -> list[dict[str, Any]]:
        """Fields of the log's entries of one kind that say this."""
        every = [entry["fields"] for entry in self.site.reader.entries() if entry["type"] == kind]
        return [each for each in every if all(each.get(name) == value for name, value in fields.items())]

    def everywhere(self) -> list[Request]:
        """The requests for a whole account."""
        return [request for request in self.meta.requests if not request.list_id]

    def seen(self) -> Status:
        """The morning's look."""
        parts = self.site.parts
        return status(parts.evidence, parts.settings, self.site.clock.peek())

    def status(self) -> AudienceStatus:
        """What it says of the list."""
        return next(each for each in self.seen().audiences if each.audience == KEY)


@pytest.fixture(scope="module")
def night_before() -> Iterator[Story]:
    here = Story()
    yield here
    here.site.__exit__()


@pytest.fixture
def story(night_before: Story) -> Iterator[Story]:
    here = Story(night_before)
    yield here
    here.truth.verified()
    here.site.__exit__()


def codes(outcome: Outcome | None) -> set[str]:
    """What went wrong, of a run that was not green."""
    assert outcome is not None
    assert outcome.exit_code != 0
    return {error.code for error in outcome.errors}


def test_from_the_first_refusal_to_a_new_list(story: Story) -> None:
    her, others = story.says("withdraw", "a1"), story.people()
    story.meta.refusing, story.meta.opts_out = SMALL, False
    assert SMALL in codes(story.night())
    assert (story.everywhere(), story.people()) == ([], others)
    assert len(story.entries("batch_result", code=SMALL)) == 1
    assert len(story.entries("incident", code=SMALL, list_id=story.list.list_id)) == 1
    assert story.entries("batch", noes=True)[-1]["count"] == 1
    for pause in (HOUR, timedelta(hours=17)):
        story.after(pause)
        assert SMALL in codes(story.hour())
        assert [request.people for request in story.everywhere()] == [{her}]  # once
    (asked,) = story.entries("batch", everywhere=True)
    assert (asked["count"], asked["noes"], asked["list_id"]) == (1, True, story.list.list_id)
    (answer,) = story.entries("batch_result", batch_id=asked["batch_id"])
    assert (answer["outcome"], answer["code"]) == ("refused", NOT_TAKEN)
    assert story.people() == others
    seen = story.status()
    assert seen.refused_since
    assert seen.deleted_from > seen.refused_since
    story.after(2 * HOUR)
    deleting = story.hour()
    assert SMALL in codes(deleting)
    assert deleting is not None
    assert deleting.begun_anew == [KEY]
    assert not story.meta.there(story.list.list_id)
    (incident,) = story.entries("incident", code="list_deleted_for_withdrawal")
    assert (incident["list_id"], incident["count"], incident["hours"]) == (story.list.list_id, 1, 20)
    _waited(story, 1)
    story.meta.refusing = ""
    story.after(HOUR)
    hour = story.hour()
    assert hour is not None
    assert hour.exit_code == 0
    _goes_on_with_a_new_list(story, her)


def _waited(story: Story, people: int) -> None:
    """The clock ran since the no, whatever was refused between."""
    (times,) = [each for each in story.entries("removal_times", audience=KEY) if "visible_to_accepted" in each]
    assert times["visible_to_accepted"]["people"] == people
    assert times["visible_to_accepted"]["max"] >= 20 * 3600


def _goes_on_with_a_new_list(story: Story, *gone: str) -> None:
    """The next night fills another list with whoever may be on it."""
    assert story.site.remote(KEY) is None
    story.after(HOUR)
    night = story.night()
    assert night is not None
    assert night.exit_code == 0
    assert story.remote().list_id != story.list.list_id
    assert not story.people(story.remote()) & set(gone)
    story.truth.equal()
    assert story.status().refused_since == ""


def test_an_opt_out_that_meta_says_it_did_proves_nothing(story: Story) -> None:
    """She stays possible, her removal is sent again, and the flagged list goes in the end."""
    her = story.says("withdraw", "a1")
    story.meta.refusing = FLAGGED
    story.night()
    story.after(HOUR)
    assert FLAGGED in codes(story.hour())
    assert her not in story.people()
    assert story.status().open_removals == 1
    told = read_transfers(story.site.reader.entries(types=TRANSFER_TYPES)).values()
    asked = [request for transfer in told for request in transfer.requests if request.everywhere]
    assert [(request.outcome, request.settled) for request in asked] == [("accepted", "unknown")]
    balance = verify(story.site.engine, story.site.signer.verifiers).balances[story.list.list_id]
    assert balance == 3
    story.after(DELETED_AFTER)
    assert FLAGGED in codes(story.hour())
    assert len(story.everywhere()) == 1
    assert story.entries("incident", code="list_deleted_for_withdrawal")


def test_a_removal_that_is_taken_after_all_ends_it(story: Story) -> None:
    her = story.says("withdraw", "a1")
    story.meta.refusing, story.meta.opts_out = SMALL, False
    story.night()
    story.meta.refusing = ""
    story.after(DELETED_AFTER)
    outcome = story.hour()
    assert outcome is not None
    assert (outcome.exit_code, her in story.people(), story.meta.there(story.list.list_id)) == (0, False, True)
    _waited(story, 1)
    assert story.status().refused_since == ""
    # Another no, another clock.
    story.says("withdraw", "a2")
    story.meta.refusing = SMALL
    story.night()
    assert story.everywhere() == []
    assert story.meta.there(story.list.list_id)


def test_an_ordinary_removal_is_tried_again_and_no_more(story: Story) -> None:
    her = story.says("segment", "a1")
    story.meta.refusing = SMALL
    assert SMALL in codes(story.night())
    story.after(DELETED_AFTER)
    assert SMALL in codes(story.hour())
    story.after(DELETED_AFTER)
    assert SMALL in codes(story.night())
    assert (story.everywhere(), story.entries("incident", code="list_deleted_for_withdrawal")) == ([], [])
    seen = story.status()
    assert (bool(seen.refused_since), seen.deleted_from, her in story.people()) == (True, "", True)


def test_a_no_goes_in_a_request_of_its_own(story: Story) -> None:
    """Whoever left the segment must not keep somebody on the list who said no; and only the no climbs."""
    no, ordinary = story.says("withdraw", "a1"), story.says("segment", "a2")
    night = story.night()
    assert night is not None
    sent = [request.people for request in story.meta.requests if request.operation is Operation.REMOVE]
    assert sent == [{no}, {ordinary}]
    assert [each.get("noes", False) for each in story.entries("batch", operation="remove", recipient="meta")] == [True, False]


def test_only_the_noes_of_a_list_are_asked_off_everywhere(story: Story) -> None:
    story.says("segment", "a2")
    story.meta.refusing = SMALL
    story.night()
    no = story.says("withdraw", "a1")
    story.hour()
    story.hour()
    assert [request.people for request in story.everywhere()] == [{no}]


@pytest.mark.slow
def test_a_later_no_is_asked_off_as_well_and_the_first_one_once(story: Story) -> None:
    first = story.says("withdraw", "a1")
    story.meta.refusing, story.meta.opts_out = FLAGGED, False
    story.night()
    story.after(HOUR)
    story.hour()
    second = story.says("withdraw", "a2")
    story.hour()
    story.hour()
    assert [request.people for request in story.everywhere()] == [{first}, {second}]


def test_whoever_was_asked_under_an_older_master_key_is_asked_once(story: Story) -> None:
    """A new master key hides nobody's earlier request."""
    first = story.says("withdraw", "a1")
    story.meta.refusing, story.meta.opts_out = FLAGGED, False
    story.night()
    story.after(HOUR)
    story.site.keys = story.site.keys.rotated(KeyUse.MASTER, os.urandom)
    story.site.run()
    assert [request.people for request in story.everywhere()] == [{first}]


def test_nobody_is_added_to_a_list_whose_removals_are_refused(story: Story) -> None:
    story.says("withdraw", "a1")
    story.night()
    story.says("grant", "a1")
    story.says("withdraw", "a2")
    story.meta.refusing = FLAGGED
    before = len(story.entries("batch", operation="add", recipient="meta"))
    assert FLAGGED in codes(story.night())
    assert len(story.entries("batch", operation="add", recipient="meta")) == before


def test_a_deletion_that_is_refused_is_an_incident_and_tried_again(story: Story) -> None:
    story.says("withdraw", "a1")
    story.meta.refusing, story.meta.keeping = SMALL, LOOKALIKES
    story.night()
    story.after(DELETED_AFTER)
    for tries in (1, 2):
        assert {SMALL, LOOKALIKES} <= codes(story.hour())
        refused = story.entries("incident", code="list_not_deleted")
        assert [each["reason"] for each in refused] == [LOOKALIKES] * tries
        story.after(HOUR)
    assert story.remote().list_id == story.list.list_id
    assert story.status().deleted_from < story.site.clock.peek().isoformat()
    told = [each.code for each in story.seen().incidents if each.code in REFUSING or each.code == "list_not_deleted"]
    assert sorted(told) == ["list_not_deleted", SMALL]  # in the log every hour, told once a day
    story.meta.keeping = ""
    assert SMALL in codes(story.hour())
    assert not story.meta.there(story.list.list_id)
    assert story.site.remote(KEY) is None


def test_under_the_kill_switch_nothing_is_asked_or_deleted(story: Story) -> None:
    story.says("withdraw", "a1")
    story.meta.refusing = SMALL
    story.night()
    story.after(2 * DELETED_AFTER)
    parts = story.site.parts
    writes = story.meta.writes
    story.site.run(work=lambda _: _run_with(parts, KillSwitch.EVERYTHING))
    assert story.meta.writes == writes
    assert story.meta.there(story.list.list_id)
    story.site.run(work=lambda _: _run_with(parts, KillSwitch.ADDITIONS))
    assert not story.meta.there(story.list.list_id)


def _run_with(parts: Parts, position: KillSwitch) -> Outcome:
    values = {name: getattr(parts.settings, name) for name in Settings.__dataclass_fields__}
    return sync.run(replace(parts, settings=Settings(**values | {"kill_switch": position})))


@pytest.mark.slow
def test_an_answer_that_was_lost_is_no_try(story: Story) -> None:
    her = story.says("withdraw", "a1")
    story.meta.refusing, story.meta.opts_out = SMALL, False
    story.night()
    story.after(HOUR)
    story.meta.faults["send"].extend([Fault.NONE, Fault.LOST_BEFORE])
    story.hour()
    story.after(HOUR)
    story.hour()
    story.after(HOUR)
    story.hour()
    assert [request.people for request in story.everywhere()] == [{her}, {her}]


@pytest.mark.slow
def test_a_deletion_whose_answer_was_lost(story: Story) -> None:
    her = story.says("withdraw", "a1")
    story.meta.refusing = SMALL
    story.night()
    story.after(DELETED_AFTER)
    story.meta.faults["delete"].append(Fault.LOST_AFTER)
    assert "lost_timeout" in codes(story.hour())
    story.meta.refusing = ""
    story.after(HOUR)
    assert "list_begins_anew" in codes(story.hour())
    _deleted_once(story)
    _goes_on_with_a_new_list(story, her)


def _deleted_once(story: Story) -> None:
    """By us, by the log's own word."""
    (incident,) = story.entries("incident", code="list_deleted_for_withdrawal")
    assert (incident["count"], incident["list_id"]) == (1, story.list.list_id)
    assert story.entries("incident", code="list_gone") == []
    _waited(story, 1)


@pytest.fixture(scope="module")
def twenty_hours_later(night_before: Story) -> Iterator[Story]:
    """A no was refused in one night, and the next run is the one that asks everywhere and deletes the list."""
    here = Story(night_before)
    here.says("withdraw", "a1")
    here.meta.refusing, here.meta.opts_out = SMALL, False
    here.night()
    here.after(DELETED_AFTER)
    yield here
    here.site.__exit__()


@pytest.fixture(scope="module")
def points(twenty_hours_later: Story) -> list[str]:
    """Where that run can be killed: every beginning and end of a transaction, and every call of a platform, by name."""
    here = Story(twenty_hours_later)
    here.hour()
    _deleted_once(here)
    here.site.__exit__()
    return here.site.points


def _killed_at(twenty_hours_later: Story, number: int) -> None:
    """Whatever is lost, the next runs end where a run that was not killed ends."""
    here = Story(twenty_hours_later)
    try:
        here.site.crash_at = number
        here.hour()
        for _ in range(3):
            here.after(timedelta(minutes=10))
            if here.site.remote(KEY) is not None:
                assert codes(here.hour())
        _deleted_once(here)
        here.meta.refusing = ""
        _goes_on_with_a_new_list(here)
        here.truth.verified()
    finally:
        here.site.__exit__()


@pytest.mark.parametrize("where", ["sent", "deleted"])
def test_a_run_that_is_killed(twenty_hours_later: Story, points: list[str], where: str) -> None:
    """After the request for the whole account has left, and before it is written down that the list is deleted."""
    _killed_at(twenty_hours_later, len(points) - points[::-1].index(where))


@pytest.mark.slow
def test_a_run_that_is_killed_anywhere(twenty_hours_later: Story, points: list[str]) -> None:
    for number in range(1, len(points) + 1):
        _killed_at(twenty_hours_later, number)
