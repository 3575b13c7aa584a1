"""Releases through real nights: what a brake holds goes when a person let it through, for a day, and no further than what she was shown."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from later_world import LISTS, LaterWorld, Past

from nestaudience import judging, releasing
from nestaudience.delta.gates import Gate
from nestaudience.delta.plan import AudiencePlan
from nestaudience.delta.releases import Release
from nestaudience.errors import MustStop, NeedsFix
from nestaudience.releasing import used
from nestaudience.status import Status, status
from nestaudience.vocabulary import AudienceKey, Cause
from nestaudience.wiring import open_evidence, open_parts, settings_in_use

AUDIO = LISTS[0]
BOTH = ("anomaly_additions", "anomaly_removals")


@pytest.fixture
def swapped(past: Past, tmp_path: Path) -> Iterator[LaterWorld]:
    """The morning after, with a segment that selects everybody whom it did not select before, and nobody else."""
    with LaterWorld(past, tmp_path / "here") as world:
        world.edit("change_people = 500", "change_people = 100")
        world.store_file(
            "CREATE TABLE kept AS SELECT account_id, oldest_order_at FROM segment_row WHERE segment = 'bought_audio_12m'",
            "DELETE FROM segment_row WHERE segment = 'bought_audio_12m'",
        )
        select(world, 900)
        yield world


def select(world: LaterWorld, at_most: int) -> None:
    """Let the segment select more of those whom it did not select on the first night."""
    world.store_file(
        "INSERT INTO segment_row SELECT 'bought_audio_12m', 'computime', account_id, (SELECT max(oldest_order_at) FROM kept), NULL, NULL "
        "FROM shop_account WHERE company = 'computime' AND account_id NOT IN (SELECT account_id FROM kept) AND account_id NOT IN "
        f"(SELECT account_id FROM segment_row WHERE segment = 'bought_audio_12m') ORDER BY account_id LIMIT {at_most}",
        "UPDATE segment_run SET row_count = (SELECT count(*) FROM segment_row WHERE segment = 'bought_audio_12m') "
        "WHERE segment = 'bought_audio_12m'",
    )


def release(world: LaterWorld, key: AudienceKey, cause: Cause = Cause.CAMPAIGN_START, case_id: str = "") -> Release:
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        releasing.check_order(parts, key, cause, case_id)
        with judging.judge(parts, world.clock.now()) as judged:
            shown = releasing.offer(judged.delta.plans[key], parts.settings.digest)
        return releasing.release(parts, shown, cause, case_id)


def plan_of(world: LaterWorld, key: AudienceKey = AUDIO) -> AudiencePlan:
    return next(plan for plan in world.plan() if plan.key == key)


def log(world: LaterWorld, kind: str) -> list[dict[str, Any]]:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return [entry for entry in evidence.reader.entries() if entry["type"] == kind]
    finally:
        evidence.engine.dispose()


def look(world: LaterWorld) -> Status:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return status(evidence, settings_in_use(evidence), world.clock.now())
    finally:
        evidence.engine.dispose()


def codes(plan: AudiencePlan) -> tuple[str, ...]:
    return tuple(gate.code for gate in plan.gates)


def test_a_full_swap_of_a_list_waits_for_a_person_and_then_goes(swapped: LaterWorld) -> None:
    world = swapped
    held = world.night()
    plan = plan_of(world)
    assert codes(plan) == BOTH
    assert held.exit_codes == (0, 5)
    assert held.sent[AUDIO].added == 0
    assert held.sent[AUDIO].removed > 0, "whoever said no leaves all the same"
    found = next(each for each in look(world).audiences if each.audience == AUDIO)
    assert (found.frozen_additions, found.frozen_removals) == (plan.counts.additions, plan.counts.ordinary)

    writes = world.sandbox.writes
    given = release(world, AUDIO, Cause.OTHER_SEE_CASE, "CASE-12")
    assert world.sandbox.writes == writes, "a release sends nothing"
    (entry,) = log(world, "release")
    fields = entry["fields"]
    assert (fields["gates"], fields["additions"], fields["ordinary"]) == (list(BOTH), plan.counts.additions, plan.counts.ordinary)
    assert (fields["cause"], fields["case_id"], entry["run_kind"]) == ("other_see_case", "CASE-12", "manual")
    assert len(fields["plan_digest"]) == 64
    assert given.until - world.clock.now() == timedelta(hours=24)
    assert look(world).releases == (given,)

    let = plan_of(world)
    assert (codes(let), let.released) == ((), BOTH)
    outcome = world.night()
    assert outcome.exit_codes == (0,)
    assert (outcome.sent[AUDIO].added, outcome.sent[AUDIO].removed) == (plan.counts.additions, plan.counts.ordinary)
    assert {e["fields"]["audience"]: e["fields"]["released"] for e in log(world, "funnel")}[AUDIO] == list(BOTH)
    world.settle()
    world.night()
    assert len(world.members()[world.remote(AUDIO).list_id]) == plan.counts.wanted


def test_a_release_stands_for_a_day(swapped: LaterWorld) -> None:
    given = release(swapped, AUDIO)
    swapped.advance(timedelta(hours=23, minutes=59))
    assert plan_of(swapped).released == BOTH
    swapped.advance(timedelta(minutes=1))
    assert swapped.clock.now() >= given.until
    assert codes(plan_of(swapped)) == BOTH
    assert look(swapped).releases == ()


def test_a_release_that_was_used_covers_no_second_plan_of_the_same_size(swapped: LaterWorld) -> None:
    """What went under it counts: a night later in the same day another swap waits for a person again."""
    world = swapped
    given = release(world, AUDIO)
    assert world.night().sent[AUDIO].removed >= given.ordinary
    world.settle()
    world.night()
    world.store_file(
        "DELETE FROM segment_row WHERE segment = 'bought_audio_12m'",
        "INSERT INTO segment_row SELECT 'bought_audio_12m', 'computime', account_id, oldest_order_at, NULL, NULL FROM kept "
        "ORDER BY account_id LIMIT 300",
        "UPDATE segment_run SET row_count = (SELECT count(*) FROM segment_row WHERE segment = 'bought_audio_12m') "
        "WHERE segment = 'bought_audio_12m'",
    )
    back = plan_of(world)
    assert world.clock.now() < given.until
    assert 100 < back.counts.newcomers < given.additions
    assert "anomaly_additions" in codes(back)
    assert "some went already" in next(gate.next_step for gate in back.gates if gate.code == "anomaly_additions")
    assert look(world).releases[0].until == given.until
    release(world, AUDIO)
    assert codes(plan_of(world)) == ()


def told(kind: str, run: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "run_id": run, "fields": {"audience": AUDIO} | fields}


def batch(run: str, number: int, operation: str, count: int, **marks: bool) -> dict[str, Any]:
    return told("batch", run, batch_id=f"{run}{number}", operation=operation, count=count, **marks)


def test_what_went_under_a_release() -> None:
    """Sent and not refused, in runs that it let through; noes, refreshes and late blocks are nothing that it covers."""
    now = datetime(2026, 11, 22, tzinfo=UTC)
    until = (now + timedelta(hours=20)).isoformat()
    given = told("release", "r", gates=list(BOTH), additions=900, ordinary=500, until=until)
    funnel = {"noes": 30, "ordered": 0, "refresh": 100, "released": list(BOTH)}
    cut_off = [
        told("funnel", "a", **funnel),
        batch("a", 1, "remove", 230),
        batch("a", 2, "remove", 7, late=True),
        batch("a", 3, "add", 400),
        batch("a", 4, "add", 200),
        told("batch_result", "a", batch_id="a4", outcome="refused"),
    ]
    another = [told("funnel", "b", **funnel | {"released": []}), batch("b", 1, "add", 70)]

    def went(*entries: dict[str, Any]) -> list[tuple[int, int]]:
        return [(each.joined, each.left) for each in used(entries, now).get(AUDIO, ())]

    assert went(given) == [(0, 0)]
    assert went(given, *cut_off) == [(300, 200)]
    assert went(given, *another) == [(0, 0)], "it let nobody through there"
    assert went(given, *cut_off, *another, given) == [(300, 200), (0, 0)], "a later release begins anew"
    elsewhere = [entry | {"fields": entry["fields"] | {"audience": LISTS[1]}} for entry in cut_off]
    assert went(given, *elsewhere) == [(0, 0)]
    (release,) = used([given, *cut_off], now)[AUDIO]
    gates = [
        Gate("anomaly_additions", True, False, "x", releasable=True),
        Gate("anomaly_removals", False, True, "x", releasable=True),
    ]
    assert [release.covers(gate, 600, 300) for gate in gates] == [True, True], "the rest of a run that was cut off"
    assert [release.covers(gate, 690, 350) for gate in gates] == [True, True], "110 % together"
    assert [release.covers(gate, 691, 351) for gate in gates] == [False, False]


def test_more_than_was_shown_stays_closed(swapped: LaterWorld) -> None:
    shown = plan_of(swapped)
    release(swapped, AUDIO)
    select(swapped, 4000)
    more = plan_of(swapped)
    assert more.counts.additions * 100 > shown.counts.additions * 110
    assert (codes(more), more.released) == (("anomaly_additions",), ("anomaly_removals",))
    assert "110 %" in more.gates[0].next_step
    outcome = swapped.night()
    assert (outcome.sent[AUDIO].added, outcome.exit_codes) == (0, (0, 5))
    release(swapped, AUDIO)
    assert plan_of(swapped).released == ("anomaly_additions",)


def test_what_no_release_opens(world: LaterWorld) -> None:
    with pytest.raises(NeedsFix, match="nothing_to_release"):
        release(world, AUDIO)
    with pytest.raises(NeedsFix, match="audience_unknown"):
        release(world, AudienceKey("computime/nothing/google"))
    with pytest.raises(NeedsFix, match="case_missing"):
        release(world, AUDIO, Cause.OTHER_SEE_CASE)
    world.edit("smallest_list = 100", "smallest_list = 100000")
    with pytest.raises(MustStop, match="not_releasable") as refused:
        release(world, AUDIO)
    assert "too_small" in refused.value.next_step
    assert log(world, "release") == []


def test_a_campaign_whose_consents_expire_empties_the_list_and_no_brake_holds_it(world: LaterWorld) -> None:
    world.edit("change_people = 500", "change_people = 100")
    world.edit("consent_months = 24", "consent_months = 1")
    plan = plan_of(world)
    assert plan.counts.noes > 100
    assert plan.counts.noes * 2 > plan.counts.held
    assert "anomaly_removals" not in codes(plan)
    outcome = world.night()
    assert outcome.sent[AUDIO].removed >= plan.counts.noes
