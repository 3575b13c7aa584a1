"""A no that is said while a run is at work: whoever says it is in no later request, and whoever was sent already leaves in the same run."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from later_world import LISTS, LaterWorld
from nights import SandboxWorld

from nestaudience import judging, sync
from nestaudience.sandbox.world import StoreFile
from nestaudience.sandbox.world_schema import moment
from nestaudience.vocabulary import AudienceKey, Recipient
from nestaudience.wiring import open_parts
from tests.reference.values import google_form

CRIME = LISTS[2]
NOES = 6


def candidates(run: sync.Run, key: AudienceKey) -> list[tuple[str, str]]:
    """Account id and digest of everybody who would join a list, in the order in which they would be sent."""
    rows = run.judged.delta.additions(key).column("row_no").combine_chunks()
    people = run.judged.screened.people
    return list(zip(people.account_ids.take(rows).to_pylist(), people.digests_of(Recipient.GOOGLE, rows).hex(), strict=True))


def say_no(world: LaterWorld, number: int, account: str, address: str) -> None:
    """One of six ways of saying no, now: a withdrawal, a guardian's account, an objection by address alone, a closure, a new address, and an erasure
    that leaves nothing of the account behind.
    """
    now, company = moment(world.clock.now()), {"c": "computime", "b": "bokhyllan", "h": "hemkraft"}[account[0]]
    clocks = f"'{now}', '{now}'"
    withdrawal = f"'late-{number}', '{account}', '{company}', 'ad_matching', '*', 'withdraw', {clocks}, 'web_account_settings', NULL, 1, NULL"
    guardian = f"'p-{number}', '{company}', 'active', 'private', '{address}', 'account', '{now}', NULL, 'SE', 1950, 1, 0, {clocks}, '{now}'"
    by_address = f"'late-{number}', NULL, '{address}', '{company}', '{{}}', '*', {clocks}, 'privacy_request', NULL, 'K-7'"
    hers = f"WHERE account_id = '{account}'"
    ways = [
        [f"INSERT INTO shop_consent VALUES ({withdrawal})"],
        [f"INSERT INTO shop_account VALUES ({guardian})"],
        [f"INSERT INTO shop_right VALUES ({by_address.format('object')})"],
        [f"UPDATE shop_account SET state = 'closed', changed_at = '{now}' {hers}"],
        [f"UPDATE shop_account SET email = 'ny.{number}@example.se', email_changed_at = '{now}', changed_at = '{now}' {hers}"],
        [
            f"INSERT INTO shop_right VALUES ({by_address.format('erase')})",
            f"DELETE FROM segment_row {hers}",
            f"DELETE FROM shop_account {hers}",
        ],
    ]
    world.store_file(*ways[number % NOES])


def address_of(world: LaterWorld, account: str) -> str:
    with StoreFile(world.store) as store:
        return str(store.rows(f"SELECT email FROM shop_account WHERE account_id = '{account}'")[0][0])


def run_night(
    world: LaterWorld, between: Callable[[sync.Run], None], note: judging.Note = judging.silent
) -> tuple[sync.Outcome, list[dict[str, Any]]]:
    """A night in its steps, with something between the removals and the additions; the outcome, and the run's entries."""
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts, sync.Run(parts, note=note) as run:
        keys = run.judge()
        for key in keys:
            run.remove(key)
        between(run)
        for key in keys:
            run.add(key)
        outcome = run.finish()
        return outcome, [entry for entry in run.log.entries() if entry["run_id"] == outcome.run_id]


def digest_of(address: str) -> str:
    return hashlib.sha256(str(google_form(address)).encode()).hexdigest()


def added(world: LaterWorld) -> set[str]:
    return {digest for operation, _, people in world.requests() if operation == "add" for digest in people}


def test_whoever_says_no_after_the_screening_is_in_no_request(world: LaterWorld) -> None:
    chosen: list[str] = []
    wanted = 0

    def between(run: sync.Run) -> None:
        nonlocal wanted
        world.advance(timedelta(minutes=1))
        everybody = candidates(run, CRIME)
        wanted = len(everybody)
        for number, (account, digest) in enumerate(everybody[:NOES]):
            chosen.append(digest)
            say_no(world, number, account, address_of(world, account))

    outcome, entries = run_night(world, between)
    assert len(chosen) == NOES < wanted
    assert not added(world) & set(chosen)
    assert outcome.sent[CRIME].kept_back == NOES
    assert outcome.sent[CRIME].added == wanted - NOES
    assert outcome.exit_codes == (0,)
    counts = [
        e["fields"]["count"]
        for e in entries
        if e["type"] == "batch" and e["fields"]["audience"] == CRIME and e["fields"]["operation"] == "add"
    ]
    assert sum(counts) == wanted - NOES
    world.settle()
    assert not world.joined(CRIME) & set(chosen)


def test_whoever_was_sent_in_the_same_run_leaves_at_once(world: LaterWorld) -> None:
    """Batches of six: six are sent, six say no, and the look before the next batch takes them off again."""
    world.edit("batch_size = 10_000", f"batch_size = {NOES}")
    run_of: list[sync.Run] = []
    chosen: list[tuple[str, str]] = []

    def note(step: str, key: str, _people: int) -> None:
        if step == "add" and key == CRIME and not chosen:
            chosen.extend(candidates(run_of[0], CRIME)[:NOES])
            for number, (account, _) in enumerate(chosen):
                say_no(world, number, account, address_of(world, account))

    outcome, entries = run_night(world, run_of.append, note)
    digests = {digest for _, digest in chosen}
    list_id = world.remote(CRIME).list_id
    mine = [(operation, set(people)) for operation, where, people in world.requests() if where == list_id]
    first = next(n for n, (operation, _) in enumerate(mine) if operation == "add")
    assert mine[first] == ("add", digests)
    later = mine[first + 1 :]
    assert set().union(*(people for operation, people in later if operation == "remove")) == digests
    assert not set().union(*(people for operation, people in later if operation == "add")) & digests
    assert later[0][0] == "remove"
    assert all(len(people) <= NOES for _, people in mine)
    assert outcome.sent[CRIME].late == NOES
    assert sum(e["fields"]["count"] for e in entries if e["type"] == "late_block" and e["fields"]["audience"] == CRIME) == NOES
    assert {
        e["fields"].get("late")
        for e in entries
        if e["type"] == "batch" and e["fields"]["operation"] == "remove" and e["index"] > 0
    } >= {True}
    world.settle()
    assert not world.members()[list_id] & digests
    assert_sent_again_once(world, list_id, digests)


def assert_sent_again_once(world: SandboxWorld, list_id: str, digests: set[str]) -> None:
    """The removals were accepted before their additions had settled: they are sent once more, and then all is quiet."""
    assert isinstance(world, LaterWorld)
    known = len(world.requests())
    world.night()
    again = [(operation, set(people)) for operation, where, people in world.requests()[known:] if where == list_id]
    assert [operation for operation, _ in again] == ["remove"]
    assert again[0][1] == digests
    world.settle()
    known = len(world.requests())
    world.night()
    assert world.requests()[known:] == []


def test_whoever_was_on_the_list_before_leaves_in_the_run_in_which_she_says_no(world: LaterWorld) -> None:
    """She is in no batch of this night; the look at the list finds her."""
    here = world.before[world.remote(CRIME).list_id]
    chosen: list[str] = []

    def between(_run: sync.Run) -> None:
        leaving = {digest for operation, _, people in world.requests() if operation == "remove" for digest in people}
        everybody = ((who, digest_of(address)) for who, address in world.past.address.items())
        staying = [(who, digest) for who, digest in everybody if digest in here - leaving and who.startswith("b")][:NOES]
        for number, (account, digest) in enumerate(staying):
            chosen.append(digest)
            say_no(world, number, account, address_of(world, account))

    outcome, _ = run_night(world, between)
    assert len(chosen) == NOES
    assert outcome.sent[CRIME].late == NOES
    world.settle()
    assert not world.members()[world.remote(CRIME).list_id] & set(chosen)


def test_a_quiet_run_keeps_its_look(world: LaterWorld) -> None:
    """The look takes nobody who said nothing: as many leave and join as the plan told."""
    plans = {plan.key: plan for plan in world.plan()}
    outcome, entries = run_night(world, lambda run: None)
    for key, sent in outcome.sent.items():
        assert (sent.removed, sent.added) == (plans[key].removals_to_send, plans[key].additions_to_send)
        assert (sent.kept_back, sent.late) == (0, 0)
    assert not [entry for entry in entries if entry["type"] == "late_block"]
