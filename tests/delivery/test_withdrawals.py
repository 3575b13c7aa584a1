"""Between the nights: whoever said no leaves every list within the hour, by small reads, and nobody else moves."""

from datetime import timedelta

import pytest
from later_world import LISTS, LaterWorld
from lists_by_rule import wanted_lists
from nights import FIRST_NIGHT, SandboxWorld

from nestaudience import sync
from nestaudience.config.load import load
from nestaudience.jobs import Job, Scope
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.world import StoreFile
from nestaudience.sandbox.world_schema import moment
from nestaudience.vocabulary import RunKind
from nestaudience.wiring import open_parts
from nestaudience.withdrawals import watermarks, withdrawals_job

Lists = dict[str, frozenset[str]]


def hour(world: SandboxWorld) -> sync.Outcome | None:
    """What the hourly flow does about noes; None when no destination is due."""
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        job = withdrawals_job(parts.evidence.reader, parts.settings, world.clock.now())
        return None if job is None else sync.run(parts, job)


def marks(world: SandboxWorld) -> dict[str, object]:
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        return dict(watermarks(parts.evidence.reader))


def applied(world: SandboxWorld) -> Lists:
    world.advance(timedelta(minutes=45))
    return world.members()


def night_then_day(world: SandboxWorld) -> Lists:
    """A whole night with its results, and the day's events, an hour before the next night would run: what the lists hold."""
    world.night()
    world.advance(timedelta(hours=1))
    world.night()
    world.advance_day()
    return world.members()


def still_wanted(world: SandboxWorld) -> frozenset[str]:
    """Everybody who should be on some list now, in the platforms' forms."""
    return frozenset().union(*wanted_lists(world.store, load(world.config), world.clock.now()).values())


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lists, Lists, frozenset[str], sync.Outcome, Lists]:
    """One day of noes on both platforms: lists before and after the hourly run, whom the rules want, its outcome, and after the next night."""
    with SandboxWorld(tmp_path_factory.mktemp("hour"), seed=9, meta=True) as world:
        before = night_then_day(world)
        wanted = wanted_lists(world.store, load(world.config), world.clock.now())
        outcome = hour(world)
        assert outcome is not None
        after = applied(world)
        world.night()
        return before, after, frozenset().union(*wanted.values()), outcome, applied(world)


def test_everybody_who_left_may_be_on_no_list_and_nobody_joined(
    both: tuple[Lists, Lists, frozenset[str], sync.Outcome, Lists],
) -> None:
    before, after, _, outcome, _ = both
    left = {list_id: before[list_id] - after[list_id] for list_id in before}
    assert sum(map(len, left.values())) == sum(sent.removed for sent in outcome.sent.values()) > 20
    assert all(after[list_id] <= before[list_id] for list_id in before)
    assert outcome.exit_codes == (0,)


def test_the_night_after_it_finds_no_no_that_was_overlooked(
    both: tuple[Lists, Lists, frozenset[str], sync.Outcome, Lists],
) -> None:
    """Whoever the rules want nowhere was taken off by the small look, unless a reason that is no no, or time alone, speaks against her."""
    before, after, wanted, _, _ = both
    gone_wrong = {digest for list_id in before for digest in before[list_id] - after[list_id]} & wanted
    assert len(gone_wrong) <= 3, "only a closure or a move beside a second account of the same address"


@pytest.mark.parametrize("said", ["withdraw", "object", "erase", "restrict"])
def test_a_no_of_any_kind_leaves_every_list_within_the_hour(world: LaterWorld, said: str) -> None:
    world.night()
    world.settle()
    world.night()
    held = world.members()
    world.advance(timedelta(hours=2))
    _say_no(world, 300, said, purpose="ad_matching")
    wanted = still_wanted(world)
    outcome = hour(world)
    assert outcome is not None
    world.settle()
    after = world.members()
    expected = {list_id: people & wanted for list_id, people in held.items()}
    assert sum(len(held[k] - expected[k]) for k in held) > 20
    assert after == expected


def test_a_quiet_hour_sends_nothing_and_moves_the_watermark(world: LaterWorld) -> None:
    world.night()
    world.settle()
    world.night()
    world.advance(timedelta(hours=2))
    writes, before = world.sandbox.writes, marks(world)
    outcome = hour(world)
    assert outcome is not None
    assert (outcome.exit_codes, sum(sent.batches for sent in outcome.sent.values())) == ((0,), 0)
    assert world.sandbox.writes == writes
    assert marks(world)["google_data_manager"] == world.clock.now() != before["google_data_manager"]
    assert hour(world) is None, "not due again"


def test_what_could_not_be_sent_is_looked_for_again(world: LaterWorld) -> None:
    """A destination that owes a removal keeps its watermark; a refused one is owed whatever the watermark says."""
    world.night()
    world.advance(timedelta(hours=2))
    mark = marks(world)
    world.sandbox.revoke(world.sandbox.token)
    _say_no(world, 5)
    outcome = hour(world)
    assert outcome is not None
    assert outcome.exit_code == 2
    assert marks(world) == mark


def test_an_answer_that_was_lost_is_sent_again_within_the_hour(world: LaterWorld) -> None:
    world.night()
    world.settle()
    world.night()
    held = world.members()
    world.advance(timedelta(hours=2))
    _say_no(world, 60)
    wanted = still_wanted(world)
    world.sandbox.faults.add(Fault("RemoveAudienceMembers", FaultKind.ANSWER_LOST_BEFORE_EFFECT, 20))
    first = hour(world)
    assert first is not None
    assert first.exit_code == 4
    world.sandbox.faults.clear()
    world.advance(timedelta(hours=1))
    second = hour(world)
    assert second is not None
    assert second.exit_codes == (0,)
    world.settle()
    assert world.members() == {list_id: people & wanted for list_id, people in held.items()}


def test_a_store_that_cannot_be_read_keeps_the_watermark_and_says_so(world: LaterWorld) -> None:
    world.night()
    world.advance(timedelta(hours=2))
    mark = marks(world)
    world.store_file("DROP VIEW rights_event")
    outcome = hour(world)
    assert outcome is not None
    assert outcome.exit_code == 2
    assert marks(world) == mark


def test_a_cadence_is_kept_and_only_urgent_noes_do_not_wait_for_it(world: LaterWorld) -> None:
    """Objections, erasures and minors leave within the hour; withdrawals at a list with a longer cadence when it is due."""
    world.edit("removals_every_minutes = 60 ", "removals_every_minutes = 240 ")
    world.night()
    world.settle()
    world.night()
    held, mark = world.members(), marks(world)
    assert hour(world) is None, "looked at just now"
    world.advance(timedelta(hours=1))
    _say_no(world, 40, "object")
    _say_no(world, 40, "withdraw", first=40)
    may_stay = still_wanted(world)
    outcome = hour(world)
    assert outcome is not None
    assert outcome.exit_codes == (0,)
    assert marks(world) == mark, "the withdrawals are still to be found"
    world.settle()
    urgent = {list_id: held[list_id] - people for list_id, people in world.members().items()}
    assert sum(map(len, urgent.values())) > 5
    assert not frozenset().union(*urgent.values()) & may_stay
    waiting = {digest for people in world.members().values() for digest in people} - may_stay
    assert len(waiting) > 5
    world.advance(timedelta(hours=2))
    outcome = hour(world)
    assert outcome is not None
    assert marks(world) != mark
    world.settle()
    assert world.members() == {list_id: people & may_stay for list_id, people in held.items()}


def test_orders_for_urgent_noes_name_where() -> None:
    with pytest.raises(ValueError, match="urgent"):
        Job(RunKind.WITHDRAWALS, Scope(destinations=frozenset({"meta"})), since=FIRST_NIGHT, urgent=frozenset({"google_ads"}))


def test_people_whose_audience_is_no_longer_configured_are_reached(world: LaterWorld) -> None:
    world.night()
    world.settle()
    world.night()
    coffee = world.remote(LISTS[4]).list_id
    text = world.config.read_text("utf-8")
    world.config.write_text(text[: text.rindex("[[audiences]]")], "utf-8")
    world.advance(timedelta(hours=2))
    at = moment(world.clock.now() - timedelta(minutes=20))
    with StoreFile(world.store) as store:
        rows = store.rows("SELECT account_id FROM segment_row WHERE segment = 'coffee_lovers'")
        values = "(?, ?, NULL, 'hemkraft', 'object', '*', ?, ?, 'privacy_request', NULL, 'CASE-1')"
        store.many(f"INSERT INTO shop_right VALUES {values}", [(f"c{n}", row[0], at, at) for n, row in enumerate(rows)])
        store.run("DELETE FROM segment_row WHERE segment = 'coffee_lovers'")
    assert len(world.members()[coffee]) > 100
    assert hour(world) is not None
    world.settle()
    assert world.members()[coffee] == frozenset()


def test_people_who_are_no_longer_in_the_store_are_reached_by_their_noes(world: LaterWorld) -> None:
    world.night()
    world.settle()
    world.night()
    held = world.members()
    world.advance(timedelta(hours=2))
    _say_no(world, 40, "erase")
    wanted = still_wanted(world)
    world.store_file(
        "DELETE FROM shop_account WHERE account_id IN (SELECT account_id FROM shop_right WHERE event_id LIKE 'no-%')"
    )
    assert hour(world) is not None
    world.settle()
    assert world.members() == {list_id: people & wanted for list_id, people in held.items()}


def test_a_small_look_names_its_moment() -> None:
    with pytest.raises(ValueError, match="moment"):
        Job(RunKind.NIGHTLY, since=FIRST_NIGHT)


def _say_no(world: LaterWorld, count: int, action: str = "object", *, purpose: str = "*", first: int = 0) -> None:
    """So many of those who are in a segment, from this one on, said no of this kind twenty minutes ago. `purpose`: of a right."""
    at = moment(world.clock.now() - timedelta(minutes=20))
    with StoreFile(world.store) as store:
        members = "SELECT DISTINCT account_id FROM segment_row JOIN shop_account USING (account_id) ORDER BY 1"
        people = [row[0] for row in store.rows(members)][first : first + count]
        rows = [(f"no-{n}", who, at, at) for n, who in enumerate(people, first)]
        if action == "withdraw":
            values = "(?, ?, 'computime', 'ad_matching', '*', 'withdraw', ?, ?, 'web_account_settings', NULL, 1, NULL)"
            store.many(f"INSERT INTO shop_consent VALUES {values}", rows)
        else:
            values = f"(?, ?, NULL, 'computime', '{action}', '{purpose}', ?, ?, 'privacy_request', NULL, 'CASE-1')"
            store.many(f"INSERT INTO shop_right VALUES {values}", rows)
