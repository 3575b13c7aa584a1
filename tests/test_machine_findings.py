"""What the state machine found in the path, each in its smallest history. None of it was visible with whole nights that go well."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from machine import Machine
from machine_people import PEOPLE, first_world
from machine_platform import Fault
from machine_settings import GOOGLE, META

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
