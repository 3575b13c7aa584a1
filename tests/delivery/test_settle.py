"""What an answer of the platform does to memory, and so to the next run: each row of the table, through the sandbox's real answers."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from google.ads import datamanager_v1 as dm
from later_world import LISTS, LaterWorld

from nestaudience import sync
from nestaudience.errors import TryAgain
from nestaudience.jobs import SETTLING
from nestaudience.ledger.lease import WRITER, Lease
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.world_schema import moment
from nestaudience.vocabulary import AudienceKey
from nestaudience.wiring import open_evidence, open_parts

AUDIO, LAPTOPS, CRIME, LAPSED, COFFEE = LISTS
ADD, REMOVE = "IngestAudienceMembers", "RemoveAudienceMembers"


def sent(world: LaterWorld, since: int, operation: str) -> dict[str, set[str]]:
    """List id -> the people of the requests since then."""
    found: dict[str, set[str]] = {}
    for word, list_id, people in world.requests()[since:]:
        if word == operation:
            found.setdefault(list_id, set()).update(people)
    return found


def states(world: LaterWorld, key: AudienceKey) -> list[tuple[str, str]]:
    """(operation, state) of the batches of this list since the past, in order."""
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        everything = frozenset({"prepared", "accepted", "confirmed", "partly", "refused", "unknown", "lapsed"})
        number = next(remote.list_no for remote in evidence.memory.lists() if remote.audience == key)
        batches = [b for b in evidence.memory.batches(everything) if b.list_no == number]
        return [(b.operation.value, b.state) for b in batches if datetime.fromisoformat(b.sent_at) >= world.past.now]
    finally:
        evidence.engine.dispose()


def entries(world: LaterWorld, run_id: str, kind: str) -> list[dict[str, Any]]:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return [entry["fields"] for entry in evidence.reader.entries() if entry["run_id"] == run_id and entry["type"] == kind]
    finally:
        evidence.engine.dispose()


def test_what_is_on_its_way_is_not_sent_again_and_is_confirmed_by_the_answer(world: LaterWorld) -> None:
    world.night()
    assert states(world, CRIME) == [("remove", "accepted"), ("add", "accepted")]
    writes = world.sandbox.writes
    world.advance(timedelta(minutes=10))
    early = world.night()
    assert world.sandbox.writes == writes
    assert (early.settled, early.waiting > 0) == (0, True)
    world.settle()
    late = world.night()
    assert world.sandbox.writes == writes
    assert (late.settled, late.waiting) == (early.waiting, 0)
    assert states(world, CRIME) == [("remove", "confirmed"), ("add", "confirmed")]


def test_who_is_asked_to_end_while_settling_keeps_the_answers_that_came(world: LaterWorld) -> None:
    world.night()
    world.settle()
    with open_parts(world.config, clock=world.clock.now) as parts:
        asked = iter((False, False, True))
        with sync.Run(parts, SETTLING, interrupted=lambda: next(asked, True)) as run:
            run.settle()
            outcome = run.finish()
        assert (outcome.settled, [error.code for error in outcome.errors]) == (2, ["interrupted"])
        with sync.Run(parts, SETTLING) as run:
            run.settle()
            assert run.finish().settled == outcome.waiting > 0


@pytest.mark.parametrize("kind", [FaultKind.ANSWER_LOST_BEFORE_EFFECT, FaultKind.ANSWER_LOST_AFTER_EFFECT])
def test_a_lost_answer_counts_as_disclosed_and_is_sent_again(world: LaterWorld, kind: FaultKind) -> None:
    world.sandbox.faults.add(Fault(ADD, kind))
    world.sandbox.faults.add(Fault(REMOVE, kind))
    first = world.night()
    assert first.exit_code == 4
    unknown = [key for key in LISTS if first.sent[key].unknown]
    assert len(unknown) in (1, 2)
    assert all("unknown" in {state for _, state in states(world, key)} for key in unknown)
    before = len(world.requests())
    world.settle()
    assert world.night().exit_code == 0
    again = sent(world, before, "add")
    removed_again = sent(world, before, "remove")
    for key in unknown:
        list_id = world.remote(key).list_id
        lost = {operation for operation, state in states(world, key) if state == "unknown"}
        assert ("add" not in lost) or again[list_id] == sent_first(world, before, list_id, "add")
        assert ("remove" not in lost) or removed_again[list_id] == sent_first(world, before, list_id, "remove")
    world.settle()
    before = len(world.requests())
    assert world.night().exit_code == 0
    assert sent(world, before, "add") == {}
    for plan in world.plan():
        list_id = world.remote(plan.key).list_id
        assert len(world.members()[list_id]) == plan.counts.wanted
    assert {"repeat" in fields for fields in batches_of(world) if fields["operation"] == "remove"} == {False, True}


def sent_first(world: LaterWorld, before: int, list_id: str, operation: str) -> set[str]:
    """The people of the first request of this kind to this list."""
    return next(set(people) for word, where, people in world.requests()[:before] if (word, where) == (operation, list_id))


def batches_of(world: LaterWorld) -> list[dict[str, Any]]:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return [entry["fields"] for entry in evidence.reader.entries() if entry["type"] == "batch"]
    finally:
        evidence.engine.dispose()


def test_a_refused_addition_is_not_held(world: LaterWorld) -> None:
    world.sandbox.faults.add(Fault(ADD, FaultKind.UNKNOWN_REASON))
    first = world.night()
    assert first.exit_code == 2
    (refused,) = [key for key in LISTS if first.sent[key].refused]
    assert states(world, refused)[-1] == ("add", "refused")
    plan = next(plan for plan in world.plan() if plan.key == refused)
    assert plan.counts.held == plan.counts.wanted - plan.counts.additions + plan.counts.removing
    before = len(world.requests())
    world.night()
    assert set(sent(world, before, "add")) == {world.remote(refused).list_id}


def test_a_refused_removal_is_owed_and_nobody_joins_that_list_before_it(world: LaterWorld) -> None:
    """The others go on. The next night sends the removal again, and says that it is a repetition."""
    world.sandbox.faults.add(Fault(REMOVE, FaultKind.UNKNOWN_REASON))
    first = world.night()
    assert first.exit_code == 2
    refused = LISTS[0]
    list_id = world.remote(refused).list_id
    assert states(world, refused) == [("remove", "refused")]
    assert list_id not in sent(world, 0, "add")
    assert len(sent(world, 0, "add")) >= 3
    before = len(world.requests())
    second = world.night()
    assert second.exit_code == 0
    assert sent(world, before, "remove") == {list_id: sent_first(world, before, list_id, "remove")}
    assert len(sent(world, before, "add")[list_id]) == second.sent[refused].added > 0
    assert [f["repeat"] for f in entries(world, second.run_id, "batch") if f["operation"] == "remove"] == [True]


def test_after_two_days_of_silence_a_request_counts_as_possible_again(world: LaterWorld) -> None:
    world.sandbox.apply_after = timedelta(hours=90)
    world.night()
    added, removed = sent(world, 0, "add"), sent(world, 0, "remove")
    counts = {plan.key: plan.counts for plan in world.plan()}
    world.advance(timedelta(hours=47))
    quiet = {plan.key: plan.counts for plan in world.plan()}
    assert all(quiet[key].additions <= counts[key].additions + 3 for key in LISTS)
    assert all(quiet[key].removing == counts[key].removing for key in LISTS)
    world.advance(timedelta(hours=2))
    before = len(world.requests())
    world.night()
    again, removed_again = sent(world, before, "add"), sent(world, before, "remove")
    for list_id, people in removed.items():
        assert people <= removed_again[list_id]
    for list_id, people in added.items():
        assert people <= again.get(list_id, set()) | removed_again.get(list_id, set())


def test_a_removal_that_overtakes_an_addition_is_sent_again_when_both_have_settled(world: LaterWorld) -> None:
    """The platform takes longer over the addition than over the removal: she is back on the list, and the next run takes her off for good.

    The clock moves on with every look at it, as clocks do: the answer counts in the run that gets it.
    """

    def ticking() -> datetime:
        world.clock.advance(timedelta(milliseconds=1))
        return world.clock.now()

    def night() -> sync.Outcome:
        with open_parts(world.config, clock=ticking, randomness=world.randomness) as parts:
            return sync.run(parts)

    world.sandbox.apply_after = timedelta(hours=10)
    night()
    list_id = world.remote(CRIME).list_id
    digest = min(sent(world, 0, "add")[list_id])
    who = next(who for who, found in digests_now(world).items() if found == digest)
    world.advance(timedelta(minutes=5))
    now = moment(world.clock.now())
    world.store_file(
        f"INSERT INTO shop_consent VALUES ('late', '{who}', 'bokhyllan', 'ad_matching', '*', 'withdraw', '{now}', '{now}',"
        " 'web_account_settings', NULL, 1, NULL)"
    )
    world.sandbox.apply_after = timedelta(minutes=10)
    world.advance(timedelta(minutes=5))
    before = len(world.requests())
    night()
    assert sent(world, before, "remove") == {list_id: {digest}}
    world.advance(timedelta(hours=11))
    assert digest in world.members()[list_id]  # the addition came last
    before = len(world.requests())
    night()
    assert digest in sent(world, before, "remove")[list_id]
    world.settle()
    assert digest not in world.members()[list_id]
    before = len(world.requests())
    night()
    assert digest not in sent(world, before, "remove").get(list_id, set())


def digests_now(world: LaterWorld) -> dict[str, str]:
    """Account -> digest, of the store as it is now."""
    import hashlib

    from lists_by_rule import rows_of

    from tests.reference.values import google_form

    rows = rows_of(world.store).account
    return {str(r["account_id"]): hashlib.sha256(str(google_form(r["email"])).encode()).hexdigest() for r in rows}


def test_a_long_run_keeps_its_leases(world: LaterWorld) -> None:
    """Twenty minutes pass with every request: whoever comes in between is told to wait, to the end."""
    refused = 0
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:

        def note(step: str, _key: str, _done: int) -> None:
            nonlocal refused
            if step in ("add", "remove"):
                world.advance(timedelta(minutes=20))
                with pytest.raises(TryAgain):
                    Lease(parts.evidence.engine, WRITER, "another", world.clock.now).take()
                refused += 1

        outcome = sync.run(parts, note=note)
    assert outcome.exit_code == 0
    assert refused > 4


@pytest.mark.parametrize("reason", ["DENIED_CONSENT", "NO_CONSENT", "UNKNOWN_CONSENT"])
def test_a_platform_that_disagrees_about_consent_is_an_incident(world: LaterWorld, reason: str) -> None:
    """We sent nobody without a grant for both signals: whatever it counts as another consent is a fault of somebody's, and is told by number."""
    world.night()
    error = int(dm.ProcessingErrorReason[f"PROCESSING_ERROR_REASON_{reason}"])
    place = world.remote(CRIME).list_id
    (part,) = [
        part
        for request in world.sandbox.state.requests.values()
        for part in request.parts
        if request.addition and part.list_id == place and part.people
    ]
    part.people[:2] = [person._replace(error=error) for person in part.people[:2]]
    world.settle()
    later = world.night()
    (incident,) = entries(world, later.run_id, "incident")
    assert incident == {"code": "consent_counts", "audience": CRIME, "counts": {reason.lower(): 2}}
