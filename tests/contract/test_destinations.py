"""One suite over every destination: what delivery relies on, whatever the platform.

Each destination has a harness: the real transport against a local server that speaks the platform's protocol. A second platform
is one more entry in `HARNESSES`. The doubles that the state machine plays with pass the same suite.
"""

import hashlib
import pickle
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import machine_platform
import pyarrow as pa
import pytest
from machine_platform import Platform

from nestaudience.destinations import DESTINATIONS, destination_class
from nestaudience.destinations.google_ads import GoogleAds
from nestaudience.destinations.google_ads_connection import GoogleAdsSettings
from nestaudience.destinations.google_connection import GoogleDataManagerSettings, SandboxEndpoint, SandboxToken
from nestaudience.destinations.google_data_manager import GoogleDataManager
from nestaudience.destinations.meta import Meta
from nestaudience.destinations.meta_settings import MetaSettings
from nestaudience.destinations.port import (
    Accepted,
    Account,
    Batch,
    ConsentSignals,
    Destination,
    ListSpec,
    NeverSeen,
    NoReceipt,
    Refused,
    StillProcessing,
    Succeeded,
    Target,
)
from nestaudience.errors import MustStop, NeedsFix, NotKnown, TryAgain
from nestaudience.hashing.digests import Digests
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.google_ads import GoogleAdsSandbox
from nestaudience.sandbox.google_state import GoogleState, SandboxAccount
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount
from nestaudience.vocabulary import Operation, Recipient

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


@dataclass
class Harness:
    """A destination, its platform, and the few things that a test must do to the platform."""

    destination: Destination
    account: Account
    foreign_account: Account
    now: Callable[[], datetime]
    settle: Callable[[], None]
    held: Callable[[Target], frozenset[str]]
    writes: Callable[[], int]
    drop: Callable[[Target], None]
    fail_writes: Callable[[str], None]
    fail_reads: Callable[[int], None]
    lock_out: Callable[[], None]
    unknown_request: Callable[[Target], str]
    """The id of a request in the platform's own form, which it never gave."""
    waits: list[float] = field(default_factory=list)


def google_data_manager() -> Iterator[Harness]:
    clock = SandboxClock(START)
    accounts = {"1112223333": SandboxAccount(), "4445556666": SandboxAccount(tokens=frozenset({"somebody-else"}))}
    kinds = {"before": FaultKind.ANSWER_LOST_BEFORE_EFFECT, "after": FaultKind.ANSWER_LOST_AFTER_EFFECT}
    writes = ("IngestAudienceMembers", "RemoveAudienceMembers", "CreateUserList", "DeleteUserList")

    def fail_writes(when: str) -> None:
        for method in writes:
            sandbox.faults.add(Fault(method, kinds[when]))

    def fail_reads(count: int) -> None:
        for method in ("GetUserList", "ListUserLists", "RetrieveRequestStatus"):
            sandbox.faults.add(Fault(method, FaultKind.UNAVAILABLE, count))

    with DataManagerSandbox(accounts, clock) as sandbox:
        settings = GoogleDataManagerSettings(
            SandboxToken(sandbox.token), True, SandboxEndpoint(sandbox.endpoint, sandbox.ca_pem), read_waits=(1.0, 2.0, 4.0)
        )
        waits: list[float] = []
        destination = GoogleDataManager(settings, sleep=waits.append)
        yield Harness(
            destination,
            Account("1112223333"),
            Account("4445556666"),
            now=clock.now,
            settle=lambda: sandbox.advance(timedelta(hours=1)),
            held=lambda target: sandbox.members(target.account.account_id, target.list_id),
            writes=lambda: sandbox.writes,
            drop=lambda target: sandbox.drop_list(target.account.account_id, target.list_id),
            fail_writes=fail_writes,
            fail_reads=fail_reads,
            lock_out=lambda: sandbox.revoke(sandbox.token),
            unknown_request=lambda target: "t-nobody",
            waits=waits,
        )
        destination.close()


def google_ads() -> Iterator[Harness]:
    """A job is three calls; the one that has an effect is the run, so that it is what counts as a write here, and what fails."""
    clock = SandboxClock(START)
    accounts = {"1112223333": SandboxAccount(), "4445556666": SandboxAccount(tokens=frozenset({"somebody-else"}))}
    kinds = {"before": FaultKind.ANSWER_LOST_BEFORE_EFFECT, "after": FaultKind.ANSWER_LOST_AFTER_EFFECT}
    writes = ("RunOfflineUserDataJob", "MutateUserLists")

    def fail_writes(when: str) -> None:
        for method in writes:
            sandbox.faults.add(Fault(method, kinds[when]))

    state = GoogleState(accounts, clock, "a-token")
    with GoogleAdsSandbox(state) as sandbox:
        endpoint = SandboxEndpoint(sandbox.endpoint, sandbox.ca_pem)
        waits: list[float] = []
        destination = GoogleAds(GoogleAdsSettings(SandboxToken("a-token"), True, endpoint), sleep=waits.append)
        yield Harness(
            destination,
            Account("1112223333"),
            Account("4445556666"),
            now=clock.now,
            settle=lambda: sandbox.advance(timedelta(hours=1)),
            held=lambda target: sandbox.members(target.account.account_id, target.list_id),
            writes=lambda: sum(sandbox.seen(method) for method in writes),
            drop=lambda target: state.lists[target.account.account_id].pop(target.list_id),
            fail_writes=fail_writes,
            fail_reads=lambda count: sandbox.faults.add(Fault("SearchStream", FaultKind.UNAVAILABLE, count)),
            lock_out=lambda: state.revoked.add("a-token"),
            unknown_request=lambda target: f"customers/{target.account.account_id}/offlineUserDataJobs/4711?taken=1",
            waits=waits,
        )
        destination.close()


def meta() -> Iterator[Harness]:
    clock = SandboxClock(START)
    accounts = {"1112223333": MetaAccount(), "4445556666": MetaAccount(tokens=frozenset({"somebody-else"}))}
    kinds = {"before": FaultKind.ANSWER_LOST_BEFORE_EFFECT, "after": FaultKind.ANSWER_LOST_AFTER_EFFECT}

    def fail_writes(when: str) -> None:
        for kind in ("AddUsers", "RemoveUsers", "CreateAudience", "DeleteAudience"):
            sandbox.faults.add(Fault(kind, kinds[when]))

    def fail_reads(count: int) -> None:
        for kind in ("ReadAudience", "ListAudiences", "ReadSessions"):
            sandbox.faults.add(Fault(kind, FaultKind.UNAVAILABLE, count))

    with MetaSandbox(accounts, clock, apply_after=timedelta(minutes=40), app_secret="app-secret") as sandbox:
        settings = MetaSettings(sandbox.token, True, "app-secret", endpoint=f"http://{sandbox.endpoint}", page_size=2)
        waits: list[float] = []
        destination = Meta(settings, sleep=waits.append)
        yield Harness(
            destination,
            Account("1112223333"),
            Account("4445556666"),
            now=clock.now,
            settle=lambda: sandbox.advance(timedelta(hours=1)),
            held=lambda target: sandbox.members(target.account.account_id, target.list_id),
            writes=lambda: sandbox.writes,
            drop=lambda target: sandbox.drop_list(target.account.account_id, target.list_id),
            fail_writes=fail_writes,
            fail_reads=fail_reads,
            lock_out=lambda: sandbox.revoke(sandbox.token),
            unknown_request=lambda target: f"{target.list_id}:4711",
            waits=waits,
        )
        destination.close()


def in_memory(recipient: Recipient, *, at_once: bool) -> Iterator[Harness]:
    """The state machine's double: it promises what the real ones promise."""
    clock = SandboxClock(START)
    destination = Platform("double", recipient, frozenset({"1112223333"}), clock.now, at_once=at_once)
    destination.lag = timedelta(minutes=40)
    kinds = {"before": machine_platform.Fault.LOST_BEFORE, "after": machine_platform.Fault.LOST_AFTER}

    def fail_writes(when: str) -> None:
        for call in ("send", "create", "delete"):
            destination.faults[call].append(kinds[when])

    def fail_reads(count: int) -> None:
        for call in ("read", "status"):
            destination.faults[call].extend([machine_platform.Fault.BUSY] * count)

    def settle() -> None:
        clock.advance(timedelta(hours=1))

    def lock_out() -> None:
        destination.locked = True

    yield Harness(
        destination,
        Account("1112223333"),
        Account("4445556666"),
        now=clock.now,
        settle=settle,
        held=lambda target: destination.members(target.list_id),
        writes=lambda: destination.writes,
        drop=lambda target: destination.drop(target.list_id),
        fail_writes=fail_writes,
        fail_reads=fail_reads,
        lock_out=lock_out,
        unknown_request=lambda target: "r9999",
        waits=destination.waits,
    )


HARNESSES: dict[str, Callable[[], Iterator[Harness]]] = {
    "google_ads": google_ads,
    "google_data_manager": google_data_manager,
    "meta": meta,
}
DOUBLES: dict[str, Callable[[], Iterator[Harness]]] = {
    "double_asked_later": lambda: in_memory(Recipient.GOOGLE, at_once=False),
    "double_at_once": lambda: in_memory(Recipient.META, at_once=True),
}


@pytest.fixture(params=sorted(HARNESSES | DOUBLES))
def platform(request: pytest.FixtureRequest) -> Iterator[Harness]:
    yield from (HARNESSES | DOUBLES)[request.param]()


def digests(platform: Harness, *names: str) -> Digests:
    column = pa.array([hashlib.sha256(name.encode()).digest() for name in names], pa.binary(32))
    return Digests(column, platform.destination.recipient)


def batch(platform: Harness, operation: Operation, *names: str) -> Batch:
    signals = operation is Operation.ADD and platform.destination.recipient is Recipient.GOOGLE
    consent = ConsentSignals(ad_user_data=True, ad_personalization=True) if signals else None
    return Batch(uuid.uuid4().bytes, operation, digests(platform, *names), consent)


def fresh_list(platform: Harness, code: str = "na-00000001") -> Target:
    facts = platform.destination.create_list(platform.account, ListSpec(code, f"{code} name", 30))
    return Target(platform.account, facts.list_id)


def send(platform: Harness, target: Target, operation: Operation, *names: str) -> object:
    return platform.destination.send(platform.destination.prepare(target, batch(platform, operation, *names)))


def refused(ask: Callable[[], object]) -> bool:
    """Refused by the platform, or not even built."""
    try:
        return isinstance(ask(), Refused)
    except (NeedsFix, MustStop):
        return True


def hexes(*names: str) -> frozenset[str]:
    return frozenset(hashlib.sha256(name.encode()).hexdigest() for name in names)


def test_every_registered_destination_has_a_harness() -> None:
    assert set(HARNESSES) == set(DESTINATIONS)


def test_the_registry_names_what_it_knows() -> None:
    for name in DESTINATIONS:
        assert destination_class(name).name == name
    with pytest.raises(NeedsFix) as caught:
        destination_class("carrier_pigeon")
    assert caught.value.code == "destination_unknown"


def test_a_list_is_created_found_and_read(platform: Harness) -> None:
    spec = ListSpec("na-a1b2c3d4", "na-a1b2c3d4 B1", 30)
    assert platform.destination.find_list(platform.account, spec.code) is None
    made = platform.destination.create_list(platform.account, spec)
    assert (made.code, made.name, made.membership_days, made.open) == (spec.code, spec.name, 30, True)
    assert platform.destination.find_list(platform.account, spec.code) == made
    assert platform.destination.read_list(Target(platform.account, made.list_id)) == made


def test_a_list_is_found_by_its_whole_code_only(platform: Harness) -> None:
    fresh_list(platform, "na-00000001")
    for code in ("na-0000000", "na-00000001 ", "NA-00000001", 'na-00000001" OR "', "\\", '"'):
        assert platform.destination.find_list(platform.account, code) is None


def test_additions_and_removals_reach_the_list(platform: Harness) -> None:
    target = fresh_list(platform)
    first = send(platform, target, Operation.ADD, "a", "b", "c")
    assert isinstance(first, Accepted)
    platform.settle()
    assert platform.held(target) == hexes("a", "b", "c")
    second = send(platform, target, Operation.REMOVE, "b", "never there")
    assert isinstance(second, Accepted)
    platform.settle()
    assert platform.held(target) == hexes("a", "c")
    for receipt, operation, count in ((first, Operation.ADD, 3), (second, Operation.REMOVE, 2)):
        settled = platform.destination.status(receipt.request_id, operation, sent_at=START, now=platform.now())
        assert isinstance(settled, Succeeded)
        assert settled.records == count
        # Who answers at once answers the same later.
        assert receipt.settlement in {None, settled}


def test_an_accepted_request_is_not_a_success_yet(platform: Harness) -> None:
    target = fresh_list(platform)
    receipt = send(platform, target, Operation.ADD, "a")
    assert isinstance(receipt, Accepted)
    early = platform.destination.status(receipt.request_id, Operation.ADD, sent_at=START, now=platform.now())
    assert isinstance(early, StillProcessing | Succeeded)
    platform.settle()
    late = platform.destination.status(receipt.request_id, Operation.ADD, sent_at=START, now=platform.now())
    assert isinstance(late, Succeeded)


def test_a_request_nobody_knows_was_never_seen(platform: Harness) -> None:
    target = fresh_list(platform)
    for request_id in (platform.unknown_request(target), "an id of no form", ""):
        settled = platform.destination.status(request_id, Operation.ADD, sent_at=START, now=platform.now())
        assert isinstance(settled, NeverSeen)


@pytest.mark.parametrize("operation", list(Operation))
def test_contents_are_what_was_put_in(platform: Harness, operation: Operation) -> None:
    target = fresh_list(platform)
    contents = platform.destination.prepare(target, batch(platform, operation, "a", "b")).contents()
    assert (contents.account_id, contents.list_id, contents.operation) == (target.account.account_id, target.list_id, operation)
    assert set(contents.identifiers) == hexes("a", "b")
    assert platform.writes() == 1  # the list; preparing sends nothing


@pytest.mark.parametrize("operation", list(Operation))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_answer_is_no_receipt_and_nothing_is_sent_twice(platform: Harness, operation: Operation, when: str) -> None:
    target = fresh_list(platform)
    send(platform, target, Operation.ADD, "old")
    platform.settle()
    platform.fail_writes(when)
    before = platform.writes()
    receipt = send(platform, target, operation, "old", "new")
    assert isinstance(receipt, NoReceipt)
    assert platform.writes() == before + 1
    platform.settle()
    expected = {"before": hexes("old"), "after": hexes("old", "new") if operation is Operation.ADD else frozenset()}
    assert platform.held(target) == expected[when]
    # Sending it again is always safe.
    assert isinstance(send(platform, target, operation, "old", "new"), Accepted)
    platform.settle()
    assert platform.held(target) == expected["after"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_list_whose_creation_was_not_answered_is_found_by_its_code(platform: Harness, when: str) -> None:
    platform.fail_writes(when)
    before = platform.writes()
    with pytest.raises(NotKnown):
        platform.destination.create_list(platform.account, ListSpec("na-lost0001", "na-lost0001 x", 30))
    assert platform.writes() == before + 1
    assert (platform.destination.find_list(platform.account, "na-lost0001") is not None) is (when == "after")


def test_a_refusal_leaves_no_trace(platform: Harness) -> None:
    target = fresh_list(platform)
    platform.drop(target)
    assert isinstance(send(platform, target, Operation.ADD, "a"), Refused)
    assert isinstance(send(platform, target, Operation.REMOVE, "a"), Refused)
    platform.settle()
    assert platform.held(target) == frozenset()
    assert platform.destination.read_list(target) is None


def test_every_customer_list_is_told_whoever_made_it(platform: Harness) -> None:
    assert platform.destination.lists(platform.account) == ()
    made = [
        platform.destination.create_list(platform.account, ListSpec(word, f"{word} name", 30))
        for word in ("na-00000001", "na-00000002", "newsletter", "na-00000003", "clients")
    ]
    told = platform.destination.lists(platform.account)
    assert {facts.list_id: facts.name for facts in told} == {facts.list_id: facts.name for facts in made}
    assert len(told) == len(made)


def test_a_list_is_deleted_for_good_and_alone(platform: Harness) -> None:
    target, other = fresh_list(platform, "na-00000001"), fresh_list(platform, "na-00000002")
    for each in (target, other):
        send(platform, each, Operation.ADD, "a")
    platform.settle()
    before = platform.writes()
    platform.destination.delete_list(target)
    assert platform.writes() == before + 1
    assert platform.destination.read_list(target) is None
    assert [facts.list_id for facts in platform.destination.lists(platform.account)] == [other.list_id]
    assert platform.held(other) == hexes("a")
    platform.destination.delete_list(target)  # gone already: no error
    assert platform.destination.read_list(other) is not None


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deletion_that_was_not_answered_is_not_known(platform: Harness, when: str) -> None:
    target = fresh_list(platform)
    platform.fail_writes(when)
    before = platform.writes()
    with pytest.raises(NotKnown):
        platform.destination.delete_list(target)
    assert platform.writes() == before + 1
    assert (platform.destination.read_list(target) is None) is (when == "after")
    platform.destination.delete_list(target)  # asking again is always safe
    assert platform.destination.read_list(target) is None


def test_a_foreign_account_is_never_taken_for_an_empty_one(platform: Harness) -> None:
    target = fresh_list(platform)
    elsewhere = Target(platform.foreign_account, target.list_id)
    for ask in (
        lambda: platform.destination.find_list(platform.foreign_account, "na-00000001"),
        lambda: platform.destination.read_list(elsewhere),
        lambda: platform.destination.create_list(platform.foreign_account, ListSpec("na-00000002", "na-00000002 n", 30)),
        lambda: platform.destination.lists(platform.foreign_account),
        lambda: platform.destination.delete_list(elsewhere),
    ):
        with pytest.raises((NeedsFix, MustStop)):  # no access, or the platform's word that the list is another's
            ask()
    for operation in Operation:
        assert refused(lambda operation=operation: send(platform, elsewhere, operation, "a"))
    platform.settle()
    assert platform.held(target) == frozenset()
    assert platform.destination.read_list(target) is not None


def test_without_credentials_nothing_is_proven(platform: Harness) -> None:
    target = fresh_list(platform)
    platform.lock_out()
    with pytest.raises(NeedsFix):
        platform.destination.read_list(target)
    with pytest.raises(NeedsFix):
        platform.destination.find_list(platform.account, "na-00000001")
    with pytest.raises(NeedsFix):
        platform.destination.lists(platform.account)
    with pytest.raises(NeedsFix):
        platform.destination.delete_list(target)
    with pytest.raises(NeedsFix):
        platform.destination.status(platform.unknown_request(target), Operation.ADD, sent_at=START, now=platform.now())
    assert isinstance(send(platform, target, Operation.ADD, "a"), Refused)


def test_reads_are_repeated_a_few_times_and_then_given_up(platform: Harness) -> None:
    target = fresh_list(platform)
    platform.fail_reads(2)
    assert platform.destination.read_list(target) is not None
    assert len(platform.waits) == 2
    platform.fail_reads(100)
    for ask in (
        lambda: platform.destination.read_list(target),
        lambda: platform.destination.find_list(platform.account, "na-00000001"),
        lambda: platform.destination.lists(platform.account),
        lambda: platform.destination.status(platform.unknown_request(target), Operation.ADD, sent_at=START, now=platform.now()),
    ):
        with pytest.raises(TryAgain):
            ask()
    assert len(platform.waits) < 20


def test_a_prepared_request_shows_nobody_and_cannot_be_stored(platform: Harness) -> None:
    target = fresh_list(platform)
    prepared = platform.destination.prepare(target, batch(platform, Operation.ADD, "a"))
    (digest,) = hexes("a")
    assert digest not in repr(prepared) + str(prepared) + f"{prepared}" + repr(prepared.contents())
    with pytest.raises(TypeError):
        pickle.dumps(prepared)


def test_it_says_beforehand_when_no_more_requests_may_start(platform: Harness) -> None:
    """Nothing is sent to find out; and whoever runs out of requests keeps some for removals."""
    target = fresh_list(platform)
    before = platform.writes()
    for operation in Operation:
        platform.destination.ready(target, operation, 0)
    refusing = []
    for operation in Operation:
        try:
            platform.destination.ready(target, operation, 95_000)
        except TryAgain:
            refusing.append(operation)
    assert Operation.REMOVE not in refusing
    assert platform.writes() == before


def test_a_full_batch_goes_in_one_request(platform: Harness) -> None:
    target = fresh_list(platform)
    names = [str(number) for number in range(platform.destination.batch_size)]
    before = platform.writes()
    assert isinstance(send(platform, target, Operation.ADD, *names), Accepted)
    assert platform.writes() == before + 1
    platform.settle()
    assert len(platform.held(target)) == platform.destination.batch_size
