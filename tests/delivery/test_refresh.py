"""Nobody who may stay falls off a list because her time there runs out: she is sent again at two thirds of it, whatever the brakes on growth say."""

from datetime import timedelta
from pathlib import Path

import pytest
from later_world import LISTS
from nights import SandboxWorld

AUDIO = LISTS[0]


def test_a_list_is_refreshed_before_its_time_runs_out(tmp_path: Path) -> None:
    """A list of a week: it is full on the first day, refreshed on the fifth, and still full on the eighth."""
    with SandboxWorld(tmp_path, accounts=4000) as world:
        world.edit("membership_days = 30 ", "membership_days = 7 ")
        world.edit("change_people = 500", "change_people = 100")
        world.night()
        world.advance(timedelta(hours=1))
        world.night()
        for _ in range(4):
            world.advance_day()
        before = {plan.key: plan.counts for plan in world.plan()}
        assert before[AUDIO].refresh == 0
        world.advance_day()
        plan = next(plan for plan in world.plan() if plan.key == AUDIO)
        assert plan.counts.refresh > 200
        assert plan.counts.additions - plan.counts.refresh <= 100
        assert plan.gates == ()
        outcome = world.night()
        assert outcome.exit_codes == (0,)
        assert outcome.sent[AUDIO].added == plan.counts.additions
        world.advance(timedelta(hours=1))
        full = world.members()
        world.advance(timedelta(days=2))
        assert world.members()[min(full)] == full[min(full)]
        quiet = next(plan for plan in world.plan() if plan.key == AUDIO)
        assert quiet.counts.refresh == 0
        assert quiet.counts.held >= len(full[min(full)])


def test_a_list_runs_out_when_nobody_runs(tmp_path: Path) -> None:
    """A pipeline that is dead holds nobody for longer than the platform was told: everybody is gone after the list's days, and no day before."""
    with SandboxWorld(tmp_path, accounts=4000) as world:
        world.edit("membership_days = 30 ", "membership_days = 7 ")
        world.night()
        world.advance(timedelta(hours=1))
        world.night()
        world.advance(timedelta(hours=1))
        audio = min(world.members())
        full = world.members()[audio]
        world.advance(timedelta(days=6, hours=21))
        assert world.members()[audio] == full != frozenset()
        world.advance(timedelta(hours=4))
        assert world.members()[audio] == frozenset()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_list_never_runs_out_while_the_nights_run(tmp_path: Path) -> None:
    """A list of twelve days in batches of 50, for thirteen nights: nobody falls off, and no night has to send everybody."""
    with SandboxWorld(tmp_path, accounts=2500) as world:
        world.edit("membership_days = 30 ", "membership_days = 12 ")
        world.edit("batch_size = 10_000 ", "batch_size = 50 ")
        world.night()
        audio, refreshed = min(world.members()), []
        for _ in range(13):
            world.advance_day()
            plan = next(plan for plan in world.plan() if plan.key == AUDIO)
            refreshed.append(plan.counts.refresh)
            assert plan.counts.held == len(world.members()[audio])
            assert world.night().exit_codes == (0,)
        assert sum(night > 0 for night in refreshed) >= 2
        assert 0 < max(refreshed) < len(world.members()[audio])
