"""What the reviewed configuration decides, through real nights: the kill switch, lists that are emptied, what is held, and what the log says."""

from typing import Any

from later_world import LISTS, LaterWorld
from test_bad_input import ALL_NOES, Held, assert_night, assert_silent, digests, findings, texts_of

from nestaudience import sync
from nestaudience.alerts import alerts
from nestaudience.checks import check_everything
from nestaudience.status import status
from nestaudience.wiring import open_evidence, open_parts, settings_in_use
from nestaudience.withdrawals import watermarks, withdrawals_job

AUDIO, LAPTOPS, CRIME, LAPSED, COFFEE = LISTS
OFF = 'position = "off"'


def log(world: LaterWorld, kind: str) -> list[dict[str, Any]]:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return [entry for entry in evidence.reader.entries() if entry["type"] == kind]
    finally:
        evidence.engine.dispose()


def marks(world: LaterWorld) -> dict[str, Any]:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return dict(watermarks(evidence.reader))
    finally:
        evidence.engine.dispose()


def hour(world: LaterWorld) -> sync.Outcome:
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        job = withdrawals_job(parts.evidence.reader, parts.settings, world.clock.now(), due_only=False)
        assert job is not None
        return sync.run(parts, job)


def gate_codes(outcome: sync.Outcome, key: Any) -> list[str]:
    return [gate.code for gate in outcome.gates[key]]


def test_the_switch_for_additions_lets_noes_and_ordinary_removals_leave(world: LaterWorld) -> None:
    world.edit(OFF, 'position = "additions"')
    assert findings(world)["kill_switch.position"] == "stops additions"
    assert_night(world, Held("kill_switch", 5, ALL_NOES, ordinary_waits=False))
    returned = digests(world.past, "returned_orders") - digests(world.past, *ALL_NOES)
    assert returned & frozenset().union(*(world.left(key) for key in LISTS))
    assert log(world, "run_started")[-1]["fields"]["kill_switch"] == "additions"
    world.edit('position = "additions"', OFF)
    assert world.night().exit_code == 0
    world.settle()
    assert any(world.joined(key) for key in LISTS)


def test_the_switch_for_everything_sends_nothing_and_the_clock_runs(world: LaterWorld) -> None:
    """Not at night, not in the hour, no list made or deleted; the noes are owed, people are told, and the first run after it sends them."""
    world.edit(OFF, 'position = "everything"')
    world.edit('code = "c3"', 'code = "c3"\nstate = "divested"')  # a list that would be emptied, and deleted
    writes, before = world.sandbox.writes, marks(world)
    for outcome in (world.night(), hour(world)):
        world.settle()
        assert world.sandbox.writes == writes
        assert world.members() == world.before
        assert outcome.exit_code == 5
        assert "kill_switch" in {error.code for error in outcome.errors}
        assert_silent(world, *texts_of(outcome))
    assert marks(world) == before, "nothing counts as sent"
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    settings = settings_in_use(evidence)
    found = status(evidence, settings, world.clock.now())
    evidence.engine.dispose()
    assert found.exit_code == 5
    assert any(each.open_removals and each.oldest_removal_at for each in found.audiences)
    assert "kill_switch" in {alert.code for alert in alerts(found, settings.alerts, world.clock.now())}
    world.edit('position = "everything"', OFF)
    assert world.night().exit_code == 0
    world.settle()
    assert not frozenset().union(*world.members().values()) & digests(world.past, *ALL_NOES)


def test_the_switch_for_everything_keeps_an_empty_list_from_being_deleted(world: LaterWorld) -> None:
    world.edit('code = "c3"', 'code = "c3"\nstate = "divested"')
    world.night()
    world.settle()
    world.edit(OFF, 'position = "everything"')
    writes, list_id = world.sandbox.writes, world.remote(COFFEE).list_id
    assert world.night().closed == []
    assert (world.sandbox.writes, world.members()[list_id]) == (writes, frozenset())
    world.edit('position = "everything"', OFF)
    assert world.night().closed == [COFFEE]


def test_the_switch_works_in_a_file_that_is_broken_otherwise(world: LaterWorld) -> None:
    world.night()  # accepts the configuration
    world.settle()
    world.edit(OFF, 'position = "everything"')
    world.edit("smallest_list = 100", 'smallest_list = "few"')
    world.edit('kind = "sqlite"', 'kind = "oracle"')
    world.advance_day()
    writes, before = world.sandbox.writes, world.members()
    outcome = world.night()
    assert world.sandbox.writes == writes
    assert world.members() == before
    assert outcome.exit_code == 5


def test_a_review_that_says_sensitive_empties_the_list_and_a_better_one_fills_it_again(world: LaterWorld) -> None:
    """More people than the brake lets go: it is a decision. The list stays, empty, and is not deleted."""
    list_id = world.remote(COFFEE).list_id
    held = world.before[list_id]
    world.edit('dpia = "DPIA-2026-06", sensitive = "reviewed_not', 'dpia = "DPIA-2026-06", sensitive = "reviewed')
    outcome = world.night()
    assert gate_codes(outcome, COFFEE) == ["sensitive"]
    assert outcome.sent[COFFEE].removed == len(held) > 100
    assert outcome.exit_code == 5
    assert gate_codes(outcome, CRIME) == []
    world.settle()
    again = world.night()
    assert world.members()[list_id] == frozenset()
    assert again.closed == []
    approvals = [entry["fields"] for entry in log(world, "approval") if entry["fields"]["segment"] == "coffee_lovers"]
    assert [each["sensitive"] for each in approvals][-1] == "reviewed_sensitive"
    changed = log(world, "config_changed")[-1]["fields"]
    assert changed["changed"] == ["segments.hemkraft/coffee_lovers"]
    world.edit('dpia = "DPIA-2026-06", sensitive = "reviewed', 'dpia = "DPIA-2026-06", sensitive = "reviewed_not')
    assert world.night().sent[COFFEE].added > 100


def test_an_undisclosed_input_empties_the_list(world: LaterWorld) -> None:
    world.night()
    world.settle()
    world.edit('data_inputs = ["orders", "visits", "clicks"]', 'data_inputs = ["orders", "support_cases"]')
    outcome = world.night()
    assert gate_codes(outcome, COFFEE) == ["input_undisclosed"]
    world.settle()
    assert world.members()[world.remote(COFFEE).list_id] == frozenset()
    assert gate_codes(outcome, AUDIO) == []


def test_approvals_and_terms_stop_additions_and_nothing_else(world: LaterWorld) -> None:
    world.edit('approver = "privacy-1", approved_on = 2026-09-01, dpia = "DPIA-2026-06"', 'dpia = "DPIA-2026-06"')
    assert findings(world)["segments.coffee_lovers.approval"] == "unapproved"
    assert_night(world, Held("unapproved", 5, ALL_NOES, frozenset({COFFEE}), ordinary_waits=False))


def test_terms_over_a_year_old_stop_additions(world: LaterWorld) -> None:
    world.edit("contract_confirmed_on = 2026-02-10", "contract_confirmed_on = 2025-11-20")
    assert findings(world)["recipients.google.contract_confirmed_on"] == "the contract was last confirmed over a year ago"
    assert_night(world, Held("terms_missing", 5, ALL_NOES, ordinary_waits=False))


def test_a_text_that_the_registry_does_not_know_is_counted_and_not_repeated(world: LaterWorld) -> None:
    """The store of the demo has one such text anyway; a typo in the registry makes it two."""

    def seen() -> str:
        found = {each.where: each for each in check_everything(world.config, clock=world.clock.now)}
        warning = found["consent_event.text_version"]
        assert warning.warning
        assert "ads-" not in warning.what + warning.next_step
        return warning.what

    before = seen()
    assert before.startswith("1 text versions")
    world.edit('version = "ads-2025-09"', 'version = "ads-2025-99"')
    after = seen()
    assert after.startswith("2 text versions")
    assert int(after.split()[-2]) > int(before.split()[-2]) > 0


def test_the_first_configuration_is_logged_with_every_approval(world: LaterWorld) -> None:
    (first,) = log(world, "config_changed")
    assert first["fields"]["first"] is True
    assert {"segments.computime/bought_audio_12m", "texts.ads-2025-09", "purposes.ad_matching"} <= set(first["fields"]["changed"])
    entries = {entry["fields"]["segment"]: entry for entry in log(world, "approval")}
    assert len(entries) == 5
    entry = entries["coffee_lovers"]
    assert entry["controller"] == "hemkraft"
    fields = entry["fields"]
    assert (fields["two_people"], fields["approver_present"], fields["reviewer_present"]) == (True, True, False)
    assert (fields["age_days"], fields["dpia"], fields["faults"]) == (81, "DPIA-2026-06", [])
    (intent, *_) = log(world, "transfer_intent")
    expected = {"legal_basis": "consent", "data_category": "hashed account e-mail address", "disclosed_in": "2025-09-08"}
    assert expected.items() <= intent["fields"].items()
