"""What the state machine found in the path, each in its smallest history, and what chance meets too rarely. Nights that go well show none of it."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from machine import Machine
from machine_people import ADDRESSES, PEOPLE, first_world
from machine_platform import Fault, Request
from machine_settings import GOOGLE, META

from nestaudience import recovery
from nestaudience.errors import NeedsFix
from nestaudience.vocabulary import Operation

HOUR = timedelta(hours=1)


@pytest.fixture
def history() -> Iterator[Machine]:
    """Six people who consented; no night yet."""
    machine = Machine()
    machine.site.store.world = first_world(frozenset(PEOPLE), frozenset(PEOPLE))
    yield machine
    machine.site.__exit__()


def fail(history: Machine, place: str, fault: Fault) -> None:
    history.site.platforms[place].faults["send"].append(fault)


def night(history: Machine, hours: float = 1.0) -> None:
    history.look_at(history.site.run())
    history.site.pass_time(timedelta(hours=hours))
    history.truth.remembered()


def hour(history: Machine) -> None:
    history.hour()
    history.site.pass_time(HOUR)


def members(history: Machine) -> dict[str, set[str]]:
    """List id -> who is on it."""
    return {list_id: each.members(list_id) for each in history.site.platforms.values() for list_id in each.list_ids}


def says(history: Machine, what: str, *everybody: str) -> None:
    for who in everybody:
        history.site.store.world = history.life.happens(what, history.site.store.world, who, history.site.clock.real, 0)


def test_whoever_speaks_while_a_run_is_at_work_is_heard(history: Machine) -> None:
    """Three say no as soon as they were sent to Google: they leave that list in the same run, and are not sent to Meta."""
    heard = history.site.heard

    def speaks(name: str, request: Request) -> None:
        heard(name, request)
        if len(history.site.story.requests) == 1:
            says(history, "withdraw", "a1", "a2", "a3")

    history.site.heard = speaks
    night(history)


def test_after_three_days_whoever_says_no_leaves_before_anybody_joins(history: Machine) -> None:
    """Google holds its people for seven days, and has said that it has them."""
    history.site.store.world = first_world(frozenset(PEOPLE) - {"a2"}, frozenset(PEOPLE))
    night(history)
    night(history, hours=72)
    says(history, "withdraw", "a1")
    says(history, "grant", "a2")
    night(history)


@pytest.mark.parametrize("waits", ["the addition", "the removal"])
def test_whoever_may_be_on_a_list_is_remembered(history: Machine, waits: str) -> None:
    """At Meta the answer to an addition was lost. At Google her addition waits longer than her removal, which is done; or her removal waits."""
    google = history.site.platforms[GOOGLE]
    fail(history, META, Fault.LOST_AFTER)
    google.lag = (10 if waits == "the addition" else 0) * HOUR
    night(history)
    google.lag = 10 * HOUR - google.lag
    says(history, "withdraw", "a1")
    night(history)
    night(history, hours=10)


@pytest.mark.parametrize(("place", "fault"), [(GOOGLE, Fault.LOST_BEFORE), (GOOGLE, Fault.FAILED), (META, Fault.LOST_BEFORE)])
def test_whoever_was_not_taken_at_first_is_tried_until_the_second_try_has_an_answer(
    history: Machine, place: str, fault: Fault
) -> None:
    """Somebody of the first batch is not taken; of the second try, in two halves, one never arrives. It used to count as done: she stayed out."""
    fail(history, place, Fault.PARTLY)
    night(history)
    fail(history, place, fault)
    night(history)
    history.converge()


def test_a_request_that_the_platform_does_not_know_may_still_act(history: Machine) -> None:
    """An addition waits at the platform, which says that it knows nothing of it. The removal that comes in between used to count as the end of it:
    the ledger forgot her, and she joined.
    """
    history.site.platforms[GOOGLE].lag = 10 * HOUR
    fail(history, GOOGLE, Fault.FORGOTTEN)
    night(history)
    history.site.platforms[GOOGLE].lag = 0 * HOUR
    for who in ("a1", "a2", "a3"):
        history.site.store.world = history.life.happens("withdraw", history.site.store.world, who, history.site.clock.real, 0)
    night(history)
    night(history)
    history.site.pass_time(10 * HOUR)
    history.truth.remembered()
    history.converge()


def test_a_list_of_one_person_is_served(history: Machine) -> None:
    """The engine cannot filter a lent table of UUIDs, and tries when the table beside it has one row: the run used to end there, for all lists."""
    history.site.store.world = first_world(frozenset({"b3"}), frozenset({"b3"}))
    night(history)
    remote = history.site.remote(next(key for key in history.site.parts.settings.audiences if key.startswith("c2")))
    assert remote is not None
    assert len(history.site.platforms[GOOGLE].members(remote.list_id)) == 1
    history.site.store.world = history.life.happens("withdraw", history.site.store.world, "b3", history.site.clock.real, 0)
    night(history)
    assert history.site.platforms[GOOGLE].members(remote.list_id) == frozenset()
    history.converge()


@pytest.mark.parametrize("again", [0, 2])
def test_an_addition_waits_for_a_removal_of_which_nobody_knows_the_end(history: Machine, again: int) -> None:
    """The answer of a removal is lost; it waits at the platform. She consents again, perhaps after a second removal was done and she was forgotten.
    An addition at once used to be undone by the first removal, while the ledger had her as confirmed.
    """
    site, life = history.site, history.life
    night(history)
    night(history)
    site.platforms[META].lag = 30 * HOUR
    fail(history, META, Fault.LOST_AFTER)
    site.store.world = life.happens("withdraw", site.store.world, "a1", site.clock.real, 0)
    night(history)
    for _ in range(again):
        night(history)
    site.store.world = life.happens("grant", site.store.world, "a1", site.clock.real, 0)
    night(history)
    night(history, hours=49)
    history.converge()


def test_nobody_joins_in_the_run_that_ordered_her_off(history: Machine) -> None:
    """She says no while a run is at work, and yes before her own batch is sent: the removal may still be on its way."""
    site, life = history.site, history.life
    night(history)
    site.pass_time(21 * 24 * HOUR)  # everybody at Meta is due for a refresh
    site.platforms[META].lag = 30 * HOUR
    fail(history, META, Fault.LOST_AFTER)
    said = iter(("withdraw", "grant"))
    heard = site.heard

    def speaks(name: str, request: Request) -> None:
        heard(name, request)
        what = next(said, "") if name == META else ""
        if what:
            site.store.world = life.happens(what, site.store.world, "a3", site.clock.real, 0)

    site.heard = speaks
    night(history, hours=49)
    history.converge()


def test_a_store_that_is_put_back_brings_nobody_in_again(history: Machine) -> None:
    """It shows her consent and no longer her no. Whoever has her address is off as well, when the account that said it is gone."""
    before = history.site.store.world
    night(history)
    says(history, "withdraw", "a1", "a2")
    night(history)
    history.site.store.world = before
    says(history, "vanish", "a1")
    night(history)
    history.converge()


def test_whoever_a_dead_process_may_have_sent_is_asked_off(history: Machine) -> None:
    """The process died between an entry and its request, and nobody is wanted any more when that comes to light: what has an entry counts as sent."""
    history.site.run()  # the same night, to find the place
    crash = 1 + history.site.points.index("send")
    other = Machine()
    other.site.store.world = first_world(frozenset(PEOPLE), frozenset(PEOPLE))
    other.site.crash_at = crash
    night(other, hours=120)
    assert other.site.died_with
    assert not other.site.story.requests
    says(other, "withdraw", *PEOPLE)
    night(other)
    assert [request.operation for _, request in other.site.story.requests] == [Operation.REMOVE]
    other.site.__exit__()


@pytest.mark.parametrize("crash", [0, 12])
def test_a_recovery_brings_noes_back_and_begins_lists_anew(history: Machine, crash: int) -> None:
    """The ledger and the store are put back as they were before she joined and said no; nothing is sent before the recovery, which may be cut off."""
    site = history.site
    night(history)
    before = site.store.world
    night(history)
    says(history, "withdraw", "a1", "b2")
    night(history)
    site.store.world = before
    assert history.truth.put_back(site.copies[1])
    history.refused()
    history.recover(crash)
    history.converge()
    history.truth.verified()


def test_a_recovery_asks_a_person_about_noes_that_were_cut_off(history: Machine) -> None:
    """A run died while its noes left this machine, and the ledger that had them was lost: whoever recovers is told, moves the file away, goes on."""
    night(history)
    says(history, "withdraw", "a1", "b2")
    history.site.run()  # the same night, to find the place
    for crash in range(len(history.site.points), 0, -1):
        other = Machine()
        other.site.store.world = first_world(frozenset(PEOPLE), frozenset(PEOPLE))
        night(other)
        says(other, "withdraw", "a1", "b2")
        other.site.crash_at = crash
        other.site.run()
        if [file for file in (other.site.folder / "anchors").glob("noes-*.jsonl") if not file.stat().st_size]:
            break
        other.site.__exit__()
    assert other.truth.put_back(other.site.copies[1])
    with pytest.raises(NeedsFix, match="anchor_unreadable"):
        other.site.run(work=recovery.recover)
    other.recover()
    other.converge()
    other.site.__exit__()


def test_nobody_joins_a_list_that_waits_for_its_deletion(history: Machine) -> None:
    """After a recovery that could delete nothing whoever says no leaves, and whoever says yes waits for the new list."""
    site = history.site
    site.store.world = first_world(frozenset(PEOPLE) - {"a2"}, frozenset(PEOPLE))
    night(history)
    says(history, "withdraw", "b3")
    night(history)
    assert history.truth.put_back(site.copies[-1])
    for platform in site.platforms.values():
        platform.faults["delete"].extend([Fault.LOST_BEFORE] * 6)
    history.recover()
    says(history, "grant", "a2")
    says(history, "withdraw", "a3")
    night(history)
    history.converge()


def test_what_was_refused_was_not_done(history: Machine) -> None:
    """The additions are refused in the first night and a removal in the second: both are tried again."""
    for fault in (Fault.REFUSED, Fault.NONE):
        fail(history, GOOGLE, fault)
        fail(history, META, fault)
    night(history)
    night(history)
    fail(history, META, Fault.REFUSED)
    says(history, "withdraw", "a1")
    night(history)
    history.converge()


def test_an_hour_sends_what_is_owed_to_whoever_looks_wanted(history: Machine) -> None:
    """She has the address of a protected person, of whom the hour reads nothing, and Google took her off in part, then did not answer."""
    site = history.site
    address = next(row["email"] for row in site.store.world.account if row["account_id"] == "b1")
    choice = ADDRESSES.index(str(address))
    night(history)
    site.store.world = history.life.happens("guardian", site.store.world, "a1", site.clock.real, choice)
    for fault in (Fault.PARTLY, Fault.LOST_BEFORE):
        for _ in range(2):  # somebody of the other company has this address too
            fail(history, GOOGLE, fault)
        night(history)
    says(history, "return", "b1")
    hour(history)
    history.converge()


def test_an_hour_takes_nobody_off_who_was_added_again(history: Machine) -> None:
    """Her removal was refused once; she consented again and was added, and says nothing more."""
    night(history)
    says(history, "withdraw", "b1", "b2")
    for _ in range(2):
        fail(history, GOOGLE, Fault.REFUSED)
    night(history)
    says(history, "grant", "b1", "b2")
    night(history)
    night(history)
    before = members(history)
    hour(history)
    assert members(history) == before
    history.converge()
