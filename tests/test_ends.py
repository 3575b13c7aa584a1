"""Ends of life: lists that are retired, audiences past their last day, companies and accounts that are left, runs that are taken back."""

from datetime import timedelta
from typing import Any

import pytest
from later_world import LISTS, LaterWorld
from nights import SandboxWorld

from nestaudience import endings, sync
from nestaudience.checks import check_everything
from nestaudience.errors import NeedsFix
from nestaudience.sync import Outcome
from nestaudience.vocabulary import AudienceKey, Cause
from nestaudience.wiring import open_evidence, open_parts

AUDIO, LAPTOPS, CRIME, LAPSED, COFFEE = LISTS


def retire(world: SandboxWorld, key: AudienceKey, cause: Cause = Cause.TEST, case_id: str = "") -> Outcome:
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        return endings.retire(parts, endings.retire_job(parts, key, cause, case_id))


def retract(world: SandboxWorld, run: str) -> Outcome:
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        return sync.run(parts, endings.retract_job(parts.evidence, run, Cause.FEED_FAULT, ""))


def log(world: SandboxWorld, kind: str) -> list[dict[str, Any]]:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return [entry for entry in evidence.reader.entries() if entry["type"] == kind]
    finally:
        evidence.engine.dispose()


def on_platform(world: LaterWorld) -> set[str]:
    return set(world.members())


def without(world: LaterWorld, table: str) -> None:
    """Take the last entry of this kind out of the configuration."""
    text = world.config.read_text("utf-8")
    start = text.rindex(f"[[{table}]]")
    end = text.find("[[", start + 2)
    world.config.write_text(text[:start] + (text[end:] if end > 0 else ""), "utf-8")


def test_a_retired_list_is_emptied_confirmed_deleted_and_closed(world: LaterWorld) -> None:
    list_id = world.remote(COFFEE).list_id
    others = on_platform(world) - {list_id}
    outcome = retire(world, COFFEE, Cause.OTHER_SEE_CASE, "CASE-9")
    assert outcome.sent[COFFEE].removed == len(world.before[list_id]) > 100
    assert set(outcome.sent) == {COFFEE}
    assert outcome.closed == []
    assert outcome.exit_codes == (0,)
    assert world.remote(COFFEE).state == "retiring"
    assert list_id in on_platform(world), "nobody knows yet that it is empty"
    world.settle()
    assert world.members()[list_id] == frozenset()
    assert world.night().closed == [COFFEE]
    assert on_platform(world) == others
    assert world.remote(COFFEE).state == "closed"
    (marked,) = [entry for entry in log(world, "binding_changed") if entry["fields"].get("state") == "retiring"]
    assert (marked["fields"]["cause"], marked["fields"]["case_id"]) == ("other_see_case", "CASE-9")
    (deleted,) = log(world, "list_deleted")
    assert deleted["fields"]["list_id"] == list_id
    again = world.night()
    assert [gate.code for gate in again.gates[COFFEE]] == ["list_closed"]
    assert (again.sent[COFFEE].added, again.exit_codes) == (0, (0,))
    with pytest.raises(NeedsFix, match="nothing_to_retire"):
        retire(world, COFFEE)


def test_a_retirement_can_be_repeated_while_the_platform_is_silent(world: LaterWorld) -> None:
    assert retire(world, COFFEE).sent[COFFEE].removed > 100
    again = retire(world, COFFEE)
    assert (again.sent[COFFEE].removed, again.closed) == (0, [])
    assert len([entry for entry in log(world, "binding_changed") if entry["fields"].get("state") == "retiring"]) == 1


def test_an_audience_whose_list_is_closed_may_be_taken_out_or_begin_anew(world: LaterWorld) -> None:
    retire(world, COFFEE)
    world.settle()
    world.night()
    world.edit("number = 5", "number = 55")
    outcome = world.night()
    assert outcome.sent[COFFEE].added > 100
    world.settle()
    assert len(world.members()[world.remote(COFFEE).list_id]) == outcome.sent[COFFEE].added


def test_past_its_last_day_an_audience_is_emptied_and_its_list_deleted(world: LaterWorld) -> None:
    yesterday = (world.clock.now() - timedelta(days=1)).date()
    world.edit("# ends_on = 2027-06-30 ", f"ends_on = {yesterday.isoformat()} ")
    list_id = world.remote(COFFEE).list_id
    outcome = world.night()
    assert [gate.code for gate in outcome.gates[COFFEE]] == ["ended"]
    assert outcome.sent[COFFEE].removed == len(world.before[list_id])
    world.settle()
    assert world.night().closed == [COFFEE]
    assert list_id not in on_platform(world)


def test_a_company_that_leaves_the_group_has_all_its_lists_emptied(world: LaterWorld) -> None:
    world.edit('code = "c2"', 'code = "c2"\nstate = "divested"')
    outcome = world.night()
    for key in (CRIME, LAPSED):
        assert [gate.code for gate in outcome.gates[key]] == ["divested"]
        assert outcome.sent[key].removed == len(world.before[world.remote(key).list_id])
        assert outcome.sent[key].added == 0
    assert outcome.sent[AUDIO].added > 0
    world.settle()
    assert set(world.night().closed) == {CRIME, LAPSED}


def test_an_account_is_left_in_two_steps(world: LaterWorld) -> None:
    """Closed while people are on its lists: the configuration is wrong, and its removals still run. Retiring empties it."""
    account = 'account_id = "1110000003"'
    world.edit(account, f'{account}\nstate = "closed"')
    findings = {finding.where: finding for finding in check_everything(world.config, clock=world.clock.now)}
    assert "is closed here" in findings["ad_accounts.state"].what
    world.edit('state = "closed"', 'state = "retiring"')
    outcome = world.night()
    assert [gate.code for gate in outcome.gates[COFFEE]] == ["account_retiring"]
    assert outcome.sent[COFFEE].removed > 100
    world.settle()
    assert world.night().closed == [COFFEE]
    world.edit('state = "retiring"', 'state = "closed"')
    assert "ad_accounts.state" not in {finding.where for finding in check_everything(world.config, clock=world.clock.now)}


def test_credentials_stay_while_people_are_on_lists(world: LaterWorld) -> None:
    world.night()  # accepts the configuration
    world.settle()
    world.edit('credentials = "file:sandbox/token"', "# no credentials")
    findings = {finding.where: finding for finding in check_everything(world.config, clock=world.clock.now)}
    assert "5 of its lists still hold people" in findings["destinations.credentials"].what
    world.advance_day()
    outcome = world.night()
    assert 2 in outcome.exit_codes
    assert sum(sent.removed for sent in outcome.sent.values()) > 0, "removals go on with the credentials that were accepted"
    assert sum(sent.added for sent in outcome.sent.values()) == 0


def test_a_list_is_emptied_although_the_store_cannot_be_read(world: LaterWorld) -> None:
    world.store.unlink()
    outcome = retire(world, COFFEE)
    assert outcome.sent[COFFEE].removed == len(world.before[world.remote(COFFEE).list_id])


def test_a_retraction_takes_off_exactly_those_whom_the_run_added(world: LaterWorld) -> None:
    outcome = world.night()
    world.settle()
    world.night()
    full = world.members()
    joined = {key: world.joined(key) for key in LISTS}
    assert sum(map(len, joined.values())) > 10
    back = retract(world, outcome.run_id[:18])
    assert {key: sent.removed for key, sent in back.sent.items()} == {key: len(joined[key]) for key in back.sent}
    assert sum(sent.added for sent in back.sent.values()) == 0
    assert back.exit_codes == (0,)
    world.settle()
    for key in LISTS:
        list_id = world.remote(key).list_id
        assert world.members()[list_id] == full[list_id] - joined[key]
    world.night()
    world.settle()
    assert world.members() == full, "who is still wanted is added again"


def test_whoever_was_there_before_stays_when_a_refresh_is_taken_back(world: LaterWorld) -> None:
    from test_jobs import did, job_for

    from nestaudience.jobs import Scope
    from nestaudience.vocabulary import Mode

    world.night()
    world.settle()
    world.night()
    full = world.members()
    again = did(world, job_for(world, Scope(segments=frozenset({"bought_audio_12m"})), Mode.RESEND))
    assert again.sent[AUDIO].added > 100
    world.settle()
    back = retract(world, again.run_id)
    assert back.sent[AUDIO].removed == 0
    world.settle()
    assert world.members() == full


@pytest.mark.parametrize(("run", "code"), [("zzz", "run_unknown"), ("", "run_unknown"), ("0", "run_ambiguous")])
def test_a_run_that_cannot_be_taken_back(world: LaterWorld, run: str, code: str) -> None:
    with pytest.raises(NeedsFix, match=code):
        retract(world, run)


def test_ends_by_hand_need_a_known_audience_and_their_case(world: LaterWorld) -> None:
    with pytest.raises(NeedsFix, match="audience_unknown"):
        retire(world, AudienceKey("computime/nothing/google"))
    with pytest.raises(NeedsFix, match="case_missing"):
        retire(world, COFFEE, Cause.OTHER_SEE_CASE)
    assert log(world, "list_deleted") == []
