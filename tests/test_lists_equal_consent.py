"""After every night each list holds exactly the people whom the rules let be there: three nights, compared with an independent computation.

The same three nights show what a night leaves in the log, that a plan tells what the next run does and changes nothing, and that a night without
anything to do sends nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from lists_by_rule import wanted_lists
from nights import SandboxWorld

from nestaudience import sync
from nestaudience.config.load import load
from nestaudience.delta.plan import AudiencePlan
from nestaudience.vocabulary import AudienceKey
from nestaudience.wiring import open_evidence

Lists = dict[AudienceKey, frozenset[str]]


@dataclass
class Night:
    """One night: what the plan had said, what the run did, what the lists held before and after, and what they should hold."""

    plans: tuple[AudiencePlan, ...]
    writes_of_plan: int
    entries_of_plan: int
    outcome: sync.Outcome
    before: Lists
    after: Lists
    wanted: Lists


@dataclass
class Story:
    """Three nights, and a fourth run an hour after the third."""

    nights: list[Night] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    seals: list[int] = field(default_factory=list)
    idle_writes: int = 0
    idle: sync.Outcome | None = None


def _writes(world: SandboxWorld) -> int:
    assert world.meta is not None
    return world.sandbox.writes + world.meta.writes


def lists_of(world: SandboxWorld) -> Lists:
    """What the platform holds, by audience."""
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    remotes = evidence.memory.lists()
    evidence.engine.dispose()
    held = world.members()
    return {remote.audience: held[remote.list_id] for remote in remotes}


def entries(world: SandboxWorld) -> tuple[list[dict[str, Any]], list[int]]:
    """The whole log, and the sizes of its checkpoints."""
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return list(evidence.reader.entries()), [size for size, _ in evidence.reader.notes()]
    finally:
        evidence.engine.dispose()


def live(world: SandboxWorld) -> Night:
    """A plan, the night, and the hour in which the platform applies it."""
    settings, now = load(world.config), world.clock.now()
    before = lists_of(world) if (world.folder / "ledger").exists() else {}
    writes = _writes(world)
    count = len(entries(world)[0]) if before else 0
    plans = world.plan()
    writes_of_plan, entries_of_plan = _writes(world) - writes, len(entries(world)[0]) - count
    outcome = world.night()
    world.advance(timedelta(hours=1))
    return Night(
        plans, writes_of_plan, entries_of_plan, outcome, before, lists_of(world), wanted_lists(world.store, settings, now)
    )


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    told = Story()
    with SandboxWorld(Path(tmp_path_factory.mktemp("nights")), accounts=4000, seed=5, meta=True) as world:
        world.edit("batch_size = 10_000", "batch_size = 100")
        for number in range(3):
            if number:
                world.advance_day()
            told.nights.append(live(world))
        writes = _writes(world)
        told.idle = world.night()
        told.idle_writes = _writes(world) - writes
        told.log, told.seals = entries(world)
        yield told


def test_every_list_equals_consent_after_every_night(story: Story) -> None:
    for night in story.nights:
        assert len(night.after) == 10
        assert night.after == night.wanted
        assert min(len(people) for people in night.after.values()) > 100
        assert night.outcome.exit_codes == (0,)


def test_exactly_those_left_and_joined(story: Story) -> None:
    for night in story.nights[1:]:
        for key, sent in night.outcome.sent.items():
            assert sent.removed == len(night.before[key] - night.wanted[key])
            assert sent.added == len(night.wanted[key] - night.before[key])
        assert sum(sent.removed for sent in night.outcome.sent.values()) > 10
        assert sum(sent.added for sent in night.outcome.sent.values()) > 10


def test_a_plan_tells_what_the_run_does_and_changes_nothing(story: Story) -> None:
    for night in story.nights:
        assert (night.writes_of_plan, night.entries_of_plan) == (0, 0)
        for plan in night.plans:
            sent = night.outcome.sent[plan.key]
            assert (plan.removals_to_send, plan.additions_to_send) == (sent.removed, sent.added)
            assert plan.counts.wanted == len(night.wanted[plan.key])
            assert plan.funnel.eligible >= plan.counts.wanted
    runs = [entry["run_id"] for entry in story.log if entry["type"] == "run_started"]
    for night, run in zip(story.nights, runs, strict=False):
        logged = {e["fields"]["audience"]: e["fields"] for e in story.log if e["type"] == "funnel" and e["run_id"] == run}
        for plan in night.plans:
            told = plan.as_dict()
            assert {name: told[name] for name in logged[plan.key]} == logged[plan.key]


def test_a_night_with_nothing_to_do_sends_nothing_and_says_so(story: Story) -> None:
    assert story.idle is not None
    assert story.idle_writes == 0
    assert story.idle.exit_codes == (0,)
    said = [entry["type"] for entry in story.log if entry["run_id"] == story.idle.run_id]
    settled = said.count("platform_status")
    times = ["removal_times"] * 5  # Google's lists: the night's removals are done by now
    judged = ["snapshot", *["funnel"] * 10, *["list_facts"] * 10]
    assert said == ["run_started", *["platform_status"] * settled, *judged, *times, "run_finished"]
    assert settled == sum(sent.batches for key, sent in story.nights[-1].outcome.sent.items() if key.endswith("/google"))


def test_meta_says_at_once_what_became_of_a_request(story: Story) -> None:
    batches = {e["fields"]["batch_id"]: e for e in story.log if e["type"] == "batch" and e["fields"]["recipient"] == "meta"}
    told = [e for e in story.log if e["type"] == "platform_status" and e["fields"]["batch_id"] in batches]
    assert len(told) == len(batches) > 15
    for entry in told:
        batch = batches[entry["fields"]["batch_id"]]
        assert (entry["run_id"], entry["fields"]["state"]) == (batch["run_id"], "succeeded")
        assert entry["fields"]["records"] == batch["fields"]["count"]


def test_removals_stand_before_additions_over_the_whole_run(story: Story) -> None:
    for night in story.nights:
        batches = [e["fields"] for e in story.log if e["type"] == "batch" and e["run_id"] == night.outcome.run_id]
        operations = [fields["operation"] for fields in batches if not fields.get("late")]
        assert operations == sorted(operations, reverse=True)
        assert sum(fields["count"] for fields in batches if fields["operation"] == "remove") == sum(
            sent.removed for sent in night.outcome.sent.values()
        )


def test_a_batch_is_under_a_checkpoint_before_its_answer(story: Story) -> None:
    results = {e["fields"]["batch_id"]: e["index"] for e in story.log if e["type"] == "batch_result"}
    intents = {e["fields"]["transfer_id"]: e["index"] for e in story.log if e["type"] == "transfer_intent"}
    batches = [entry for entry in story.log if entry["type"] == "batch"]
    assert len(batches) == len(results) > 15
    for entry in batches:
        answer, intent = results[entry["fields"]["batch_id"]], intents[entry["fields"]["transfer_id"]]
        assert any(entry["index"] < size <= answer for size in story.seals)
        assert any(intent < size <= entry["index"] for size in story.seals)
        assert entry["fields"]["count"] <= 100
    assert story.seals[-1] == len(story.log)
