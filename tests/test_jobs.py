"""A backfill is the nightly run with a filter: the same gates, the same log, no list beyond its scope touched."""

from datetime import date, timedelta
from typing import Any

import pytest
from later_world import LISTS, LaterWorld
from lists_by_rule import wanted_lists
from nights import SandboxWorld

from nestaudience import sync
from nestaudience.config.load import load
from nestaudience.errors import NeedsFix
from nestaudience.jobs import Job, Scope, backfill
from nestaudience.judging import judge
from nestaudience.preview import UNTRIED_SECONDS, preview, request_seconds
from nestaudience.vocabulary import AudienceKey, Cause, Mode, RunKind
from nestaudience.wiring import open_evidence, open_parts, settings_in_use

AUDIO, LAPTOPS, CRIME, LAPSED, COFFEE = LISTS


def job_for(world: SandboxWorld, scope: Scope, mode: Mode = Mode.DIFF, **more: Any) -> Job:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    settings, today = settings_in_use(evidence), world.clock.now().date()
    evidence.engine.dispose()
    orders = {"for_night": None, "cause": Cause.TEST, "case_id": ""} | more
    return backfill(settings, today, scope=scope, mode=mode, **orders)


def did(world: SandboxWorld, job: Job) -> sync.Outcome:
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        return sync.run(parts, job)


def requests_to(world: LaterWorld) -> set[str]:
    return {list_id for _, list_id, _ in world.requests()}


def test_only_the_lists_in_scope_are_touched_and_come_into_line(world: LaterWorld) -> None:
    now = world.clock.now()
    wanted = wanted_lists(world.store, load(world.config), now)
    outcome = did(world, job_for(world, Scope(controllers=frozenset({"computime"}))))
    assert set(outcome.sent) == {AUDIO, LAPTOPS}
    assert requests_to(world) == {world.remote(AUDIO).list_id, world.remote(LAPTOPS).list_id}
    world.settle()
    for key in LISTS:
        held = world.members()[world.remote(key).list_id]
        assert held == (wanted[key] if key in outcome.sent else world.before[world.remote(key).list_id])
    world.night()
    world.settle()
    assert {key: world.members()[world.remote(key).list_id] for key in LISTS} == wanted


@pytest.mark.parametrize(
    ("scope", "keys"),
    [
        (Scope(), set(LISTS)),
        (Scope(segments=frozenset({"crime_readers", "coffee_lovers"})), {CRIME, COFFEE}),
        (Scope(segments=frozenset({"crime_readers"}), controllers=frozenset({"bokhyllan"})), {CRIME}),
        (Scope(destinations=frozenset({"google_data_manager"}), controllers=frozenset({"hemkraft"})), {COFFEE}),
    ],
)
def test_a_scope_is_what_all_its_parts_let_through(world: LaterWorld, scope: Scope, keys: set[AudienceKey]) -> None:
    audiences = load(world.config).audiences
    assert {key for key, audience in audiences.items() if scope.takes(audience) and key in LISTS} == keys


def test_everybody_is_sent_once_more_and_nobody_else(world: LaterWorld) -> None:
    scope = Scope(segments=frozenset({"bought_audio_12m"}))
    wanted = wanted_lists(world.store, load(world.config), world.clock.now())[AUDIO]
    outcome = did(world, job_for(world, scope, Mode.RESEND))
    assert outcome.sent[AUDIO].added == len(wanted)
    assert outcome.gates[AUDIO] == ()
    sent = [set(people) for word, _, people in world.requests() if word == "add"]
    assert set().union(*sent) == wanted
    again = did(world, job_for(world, scope, Mode.RESEND))
    assert again.sent[AUDIO].added == 0, "what is in flight is not sent again"
    world.settle()
    assert world.members()[world.remote(AUDIO).list_id] == wanted


def test_a_gate_holds_a_resend_as_it_holds_a_night(world: LaterWorld) -> None:
    world.edit("[gates]", "[gates]\nno_such_limit = 3")
    outcome = did(world, job_for(world, Scope(), Mode.RESEND))
    assert sum(sent.added for sent in outcome.sent.values()) == 0
    assert sum(sent.removed for sent in outcome.sent.values()) > 0, "whoever said no leaves all the same"


def test_the_log_says_what_was_ordered(world: LaterWorld) -> None:
    night = world.clock.now().date()
    scope = Scope(controllers=frozenset({"computime"}), destinations=frozenset({"google_data_manager"}))
    did(world, job_for(world, scope, for_night=night, cause=Cause.OTHER_SEE_CASE, case_id="CASE-7"))
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    started = [entry for entry in evidence.reader.entries() if entry["type"] == "run_started"][-1]
    evidence.engine.dispose()
    assert started["run_kind"] == RunKind.BACKFILL
    assert {name: started["fields"][name] for name in started["fields"] if name != "environment"} == {
        "night": night.isoformat(),
        "mode": "diff",
        "controllers": ["computime"],
        "destinations": ["google_data_manager"],
        "for_night": night.isoformat(),
        "cause": "other_see_case",
        "case_id": "CASE-7",
        "kill_switch": "off",
    }


def test_everything_that_is_wrong_is_said_at_once_and_no_name_is_quoted(world: LaterWorld) -> None:
    scope = Scope(controllers=frozenset({"nobody-1"}), segments=frozenset({"nothing-1"}), destinations=frozenset({"pigeon-1"}))
    tomorrow = world.clock.now().date() + timedelta(days=1)
    with pytest.raises(NeedsFix) as caught:
        job_for(world, scope, for_night=tomorrow, cause=Cause.OTHER_SEE_CASE, case_id="a@b")
    said = caught.value.next_step
    assert all(f"{word}:" in said for word in ("controllers", "segments", "destinations", "for_night", "case"))
    assert not any(word in said for word in ("nobody-1", "nothing-1", "pigeon-1", "a@b"))


@pytest.mark.parametrize(
    ("scope", "more", "word"),
    [
        (Scope(controllers=frozenset({"hemkraft"}), segments=frozenset({"crime_readers"})), {}, "no audience"),
        (Scope(), {"for_night": date(2026, 1, 1)}, "for_night"),
        (Scope(), {"cause": Cause.OTHER_SEE_CASE}, "case"),
    ],
)
def test_a_backfill_that_makes_no_sense_is_refused(world: LaterWorld, scope: Scope, more: dict[str, Any], word: str) -> None:
    with pytest.raises(NeedsFix, match=word):
        job_for(world, scope, **more)


def test_a_night_has_no_filter() -> None:
    for wrong in ({"scope": Scope(segments=frozenset({"x"}))}, {"mode": Mode.RESEND}, {"for_night": date(2026, 11, 21)}):
        with pytest.raises(ValueError, match="nightly"):
            Job(**wrong)
    with pytest.raises(ValueError, match="retraction"):
        Job(RunKind.MANUAL, mode=Mode.RETRACT)


def test_a_preview_tells_what_is_then_sent_and_what_is_held(world: LaterWorld) -> None:
    world.edit("batch_size = 10_000", "batch_size = 10")
    job = job_for(world, Scope(controllers=frozenset({"bokhyllan"})))
    entries = _entries(world)
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        with judge(parts, world.clock.now(), job=job) as judged:
            found = preview(parts, judged)
        assert _entries(world) == entries
        assert world.sandbox.writes == 0
        outcome = sync.run(parts, job)
    assert found.people == sum(sent.removed + sent.added for sent in outcome.sent.values()) > 0
    assert found.requests == sum(sent.batches for sent in outcome.sent.values()) > 2
    assert {each.audience: each.gates for each in found.lists} == {
        key: tuple(gate.code for gate in gates) for key, gates in outcome.gates.items()
    }
    assert set(found.as_dict()) == {"people", "requests", "minutes", "lists"}


def test_minutes_come_from_what_earlier_requests_took(world: LaterWorld) -> None:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    seconds = request_seconds(evidence.reader)
    evidence.engine.dispose()
    assert set(seconds) == {"google_data_manager"}
    assert 0 <= seconds["google_data_manager"] < UNTRIED_SECONDS  # the sandbox's clock stands still during a request


def _entries(world: SandboxWorld) -> int:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return evidence.reader.count()
    finally:
        evidence.engine.dispose()
