"""A feed that cannot be believed, through real nights: nobody joins where it matters, whoever said no leaves, and what a person lets through goes."""

import shutil
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from later_world import LISTS, LaterWorld
from machine_people import PEOPLE, Life, first_world
from machine_site import Site
from test_bad_input import ALL_NOES, COFFEE, CONSENTS, CRIME, LAPSED, RIGHTS, Held, assert_night, assert_silent, digests, findings
from test_releases import codes, log, look, plan_of, release
from typer.testing import CliRunner

from nestaudience import sync
from nestaudience.cli import app
from nestaudience.sandbox.world import StoreFile, reload_store
from nestaudience.sandbox.world_schema import moment
from nestaudience.vocabulary import AudienceKey, Cause
from nestaudience.wiring import open_parts
from nestaudience.withdrawals import withdrawals_job

BOOKS = frozenset({CRIME, LAPSED})


def reloaded(world: LaterWorld) -> None:
    """The next load finds the store as it is now."""
    assert reload_store(world.store, world.clock.now())


def everybody(world: LaterWorld) -> dict[AudienceKey, frozenset[str]]:
    members = world.members()
    return {key: members[world.remote(key).list_id] for key in LISTS}


# --- how far the views are loaded


def test_a_view_that_is_late_at_one_company(world: LaterWorld) -> None:
    """Its own lists wait altogether; the others could lack a no that was said there, and add nobody."""
    late = moment(world.clock.now() - timedelta(minutes=61))
    world.store_file(f"UPDATE feed_load SET complete_until = '{late}' WHERE view_name = 'rights_event' AND company = 'bokhyllan'")
    assert findings(world) == {"feed_incomplete, bokhyllan": f"rights_event is complete only until {late[:10]} {late[11:16]} UTC"}
    outcome = world.night()
    world.settle()
    for key in LISTS:
        (gate,) = outcome.gates[key]
        assert gate.code == ("feed_incomplete" if key in BOOKS else "feed_incomplete_elsewhere")
        assert "rights_event of bokhyllan" in gate.next_step
        assert not world.joined(key)
    on_lists = frozenset().union(*world.members().values())
    assert not on_lists & digests(world.past, *ALL_NOES)
    ordinary = digests(world.past, "returned_orders") - digests(world.past, *ALL_NOES, "erased", "changed_verified")
    left = {key: world.left(key) & ordinary for key in LISTS}
    assert not any(left[key] for key in BOOKS)
    assert any(left[key] for key in LISTS if key not in BOOKS)
    frozen = {each.audience: each.frozen_removals for each in look(world).audiences}
    assert frozen[CRIME] == plan_of(world, CRIME).counts.ordinary
    assert frozen[COFFEE] == 0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("DELETE FROM feed_load WHERE view_name = 'consent_event'", "has no row in feed_status"),
        ("UPDATE feed_load SET complete_until = 'yesterday' WHERE view_name = 'account'", "does not say readably up to when"),
        ("UPDATE feed_load SET row_count = row_count + 1 WHERE view_name = 'consent_event'", "shows"),
    ],
)
def test_a_view_that_is_not_loaded_in_whole(world: LaterWorld, fault: str, said: str) -> None:
    world.store_file(fault)
    outcome = assert_night(world, Held("feed_incomplete", 5, ALL_NOES))
    assert all(said in gates[0].next_step for gates in outcome.gates.values())


def test_more_rows_than_the_last_load_said_are_no_fault(world: LaterWorld) -> None:
    """A store that is looked into goes on after its load."""
    world.store_file("UPDATE feed_load SET row_count = row_count - 1")
    assert all(codes(plan) == () for plan in world.plan())


def test_a_store_that_does_not_tell_how_fresh_it_is(world: LaterWorld) -> None:
    """Outside production that is allowed; where it is required nobody joins; where it is decided that nobody knows, every report says so."""
    world.store_file("DROP VIEW feed_status", "DROP VIEW segment_status")
    assert findings(world) == {}
    assert all(codes(plan) == () for plan in world.plan())
    world.edit('path = "store.sqlite" ', 'path = "store.sqlite"\nfreshness = "required"\n#')
    assert findings(world)["feed_status"] == findings(world)["segment_status"] == "view_missing"
    assert all(codes(plan) == ("feed_incomplete", "segment_feed") for plan in world.plan())
    world.edit('freshness = "required"', 'freshness = "unknown"')
    for command in ("plan", "status", "check"):
        said = CliRunner().invoke(app, [command, "--config", str(world.config)], env={"COLUMNS": "200"}).output
        assert "unknown" in said
        assert "freshness" in said.lower()
    outcome = world.night()
    assert (outcome.exit_code, outcome.freshness_unknown) == (0, True)
    assert log(world, "snapshot")[-1]["fields"]["freshness"] == "unknown"
    assert "generations" in log(world, "snapshot")[-1]["fields"]["marks"]


def test_what_is_required_and_missing_stops_no_no(world: LaterWorld) -> None:
    world.store_file("DROP VIEW feed_status")
    world.edit('path = "store.sqlite" ', 'path = "store.sqlite"\nfreshness = "required"\n#')
    assert_night(world, Held("feed_incomplete", 5, ALL_NOES))


def test_the_hour_asks_no_feed(world: LaterWorld) -> None:
    world.store_file("DELETE FROM feed_load", "DELETE FROM segment_run", "DROP VIEW segment_status")
    world.edit('path = "store.sqlite" ', 'path = "store.sqlite"\nfreshness = "required"\n#')
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        job = withdrawals_job(parts.evidence.reader, parts.settings, world.clock.now())
        assert job is not None
        outcome = sync.run(parts, job)
    world.settle()
    assert outcome.exit_code == 0
    assert not frozenset().union(*world.members().values()) & digests(world.past, *CONSENTS, *RIGHTS)
    assert log(world, "run_finished")[-1]["fields"]["watermarks"] != {}


# --- a backup of the store


def test_an_older_store_after_a_newer_one_adds_nobody(world: LaterWorld) -> None:
    """Two days, then the store of the first of them again, loaded as if nothing were wrong. A release of a list accepts it for that list."""
    kept = world.folder / "kept.sqlite"
    assert world.night().exit_code == 0
    shutil.copyfile(world.store, kept)
    world.advance_day()
    assert world.night().exit_code == 0
    world.settle()
    before = everybody(world)
    shutil.copyfile(kept, world.store)
    world.advance(timedelta(days=1))
    outcome = world.night()
    world.settle()
    assert outcome.exit_code == 5
    assert_silent(world, *(gate.next_step for gates in outcome.gates.values() for gate in gates))
    for key in LISTS:
        assert [gate.code for gate in outcome.gates[key]] == ["source_rollback"]
        assert not everybody(world)[key] - before[key]
    assert sum(plan.counts.newcomers for plan in world.plan()) > 0, "somebody would have joined"
    asked = plan_of(world, CRIME)
    release(world, CRIME, Cause.FEED_FAULT)
    released = world.night()
    world.settle()
    assert released.gates[CRIME] == ()
    assert released.sent[CRIME].added == asked.counts.newcomers
    assert [gate.code for gate in released.gates[COFFEE]] == ["source_rollback"]
    world.advance(timedelta(days=2))
    after = {plan.key: codes(plan) for plan in world.plan()}
    assert after[CRIME] == ()
    assert after[COFFEE] == ("source_rollback",)


def test_another_load_without_notice(world: LaterWorld) -> None:
    world.store_file("UPDATE feed_load SET generation = 'restored-7' WHERE view_name = 'account' AND company = 'hemkraft'")
    outcome = assert_night(world, Held("source_rollback", 5, ALL_NOES, ordinary_waits=False))
    assert all("account of hemkraft" in gates[0].next_step for gates in outcome.gates.values())
    assert "restored-7" not in str(log(world, "snapshot"))


def test_the_log_says_what_a_night_saw_and_nothing_that_a_shop_may_write_freely(world: LaterWorld) -> None:
    marks = log(world, "snapshot")[-1]["fields"]["marks"]
    with StoreFile(world.store) as store:
        sources = {str(row[0]) for row in store.rows("SELECT source FROM shop_consent UNION SELECT source FROM shop_right")}
        accounts = dict(store.rows("SELECT company, count(*) FROM shop_account GROUP BY 1"))
    assert len(sources) > 5
    assert not any(source in str(marks) for source in (*sources, "demo-1"))
    assert {key.partition(" ")[0] for key in marks["latest"]} == set(accounts) == set(marks["accounts"])
    assert len({key.partition(" ")[2] for key in marks["latest"]}) == len(sources)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("grant", "withdraw", "rights", "segment", "move", "vanish")),
            st.sampled_from(PEOPLE),
            st.integers(0, 11),
        ),
        max_size=4,
    ),
    st.frozensets(st.sampled_from(PEOPLE), min_size=1),
)
def test_whatever_happened_an_older_snapshot_after_a_newer_one_adds_nobody(
    events: list[tuple[str, str, int]], granted: frozenset[str]
) -> None:
    """In the machine's small group, where lists have three people: only what the events themselves say is known of its feeds."""
    life = Life()
    with Site(first_world(granted, frozenset(PEOPLE))) as site:
        site.run()
        site.pass_time(timedelta(hours=5))
        older = site.store.world
        for event, who, choice in (*events, ("grant", PEOPLE[0], 0)):
            site.store.world = life.happens(event, site.store.world, who, site.clock.real, choice)
            site.clock.real += timedelta(minutes=10)
        site.run()
        site.pass_time(timedelta(hours=5))
        site.store.world = older
        story = site.run()
        assert story.outcome is not None
        assert [request for _, request in story.requests if request.operation.value == "add"] == []
        assert all("source_rollback" in [gate.code for gate in gates] for gates in story.outcome.gates.values())


# --- segments


def test_a_segment_that_fell_by_half_waits_for_a_person(world: LaterWorld) -> None:
    most = "SELECT count(*) * 3 / 5 FROM segment_row WHERE segment = 'crime_readers'"
    some = f"SELECT account_id FROM segment_row WHERE segment = 'crime_readers' ORDER BY account_id LIMIT ({most})"
    world.store_file(f"DELETE FROM segment_row WHERE segment = 'crime_readers' AND account_id IN ({some})")
    reloaded(world)
    outcome = assert_night(world, Held("segment_feed", 5, ALL_NOES, frozenset({CRIME})))
    (gate,) = outcome.gates[CRIME]
    assert "candidates fell from" in gate.next_step
    assert codes(plan_of(world, CRIME)) == ("segment_feed",), "a night with the gate closed is no measure"
    waits = plan_of(world, CRIME).counts.ordinary
    assert waits > 20
    release(world, CRIME, Cause.RULE_CHANGE)
    after = world.night()
    assert (after.gates[CRIME], after.sent[CRIME].removed) == ((), waits)
    world.advance(timedelta(days=2))
    assert codes(plan_of(world, CRIME)) == ()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("DELETE FROM segment_run WHERE segment = 'crime_readers'", "no row in segment_status"),
        (
            "UPDATE segment_run SET computed_at = '2026-11-20T14:00:00Z' WHERE segment = 'crime_readers'",
            "was computed 2026-11-20 14:00 UTC",
        ),
        ("UPDATE segment_run SET row_count = row_count - 1 WHERE segment = 'crime_readers'", "shows"),
        ("UPDATE segment_run SET computed_at = 'now' WHERE segment = 'crime_readers'", "does not say readably"),
    ],
)
def test_a_segment_whose_status_does_not_fit(world: LaterWorld, fault: str, said: str) -> None:
    world.store_file(fault)
    plan = plan_of(world, CRIME)
    assert codes(plan) == ("segment_feed",)
    assert said in plan.gates[0].next_step
    assert (plan.additions_to_send, plan.removals_to_send) == (0, plan.counts.noes)
    assert [each.key for each in world.plan() if each.gates] == [CRIME]


# --- accounts that vanish


def test_accounts_that_vanish_together_wait_for_a_person(world: LaterWorld) -> None:
    """Everything else goes on: noes, and ordinary removals of people who are there."""
    world.store_file(
        "CREATE TABLE gone AS SELECT account_id FROM shop_account WHERE company = 'bokhyllan' AND account_id IN (SELECT account_id FROM segment_row)"
        " AND substr(account_id, -1) = '7'",
        "DELETE FROM shop_account WHERE account_id IN (SELECT account_id FROM gone)",
        "DELETE FROM segment_row WHERE segment = 'crime_readers' AND substr(account_id, -1) = '3'",
    )
    reloaded(world)
    with StoreFile(world.store) as store:
        vanished = {str(row[0]) for row in store.rows("SELECT account_id FROM gone")}
    plan = plan_of(world, CRIME)
    assert codes(plan) == ("mass_vanishing",)
    assert "accounts of bokhyllan vanished" in plan.gates[0].next_step
    assert 0 < plan.counts.vanished < plan.counts.ordinary
    outcome = world.night()
    world.settle()
    assert outcome.sent[CRIME].removed == plan.counts.noes + plan.counts.ordinary - plan.counts.vanished
    assert {key for key in LISTS if outcome.gates[key]} == BOOKS
    assert not any(world.joined(key) for key in BOOKS)
    assert not frozenset().union(*world.members().values()) & (digests(world.past, *ALL_NOES))
    assert next(each for each in look(world).audiences if each.audience == CRIME).frozen_removals == plan.counts.vanished
    assert len(vanished) > 10
    release(world, CRIME, Cause.FEED_FAULT)
    after = world.night()
    assert (after.gates[CRIME], after.sent[CRIME].removed) == ((), plan.counts.vanished)
    assert [gate.code for gate in after.gates[LAPSED]] == ["mass_vanishing"]


# --- the snapshot itself


def test_a_snapshot_that_is_old_when_the_first_request_could_be_sent(world: LaterWorld) -> None:
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts, sync.Run(parts) as run:
        keys = run.judge()
        world.sandbox.advance(timedelta(hours=6, seconds=1))
        for key in keys:
            run.remove(key)
        for key in keys:
            run.add(key)
        outcome = run.finish()
    assert outcome.exit_code == 5
    assert all(outcome.sent[key].added == 0 < outcome.sent[key].removed for key in (CRIME, COFFEE))
    assert {gate.code for gates in outcome.gates.values() for gate in gates} == {"snapshot_stale"}
    said = {each.audience: each for each in look(world).audiences}
    assert "snapshot_stale" in said[CRIME].gates
    world.settle()
    assert all(codes(plan) == () for plan in world.plan())
