"""The Google Ads destination: the bytes it builds, what has an effect and what has none, and that nothing leaks. The contract suite has the rest."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import hypothesis
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestaudience.delivery.answers import answer_of
from nestaudience.destinations.google_ads import GoogleAds
from nestaudience.destinations.google_ads_connection import GoogleAdsSettings
from nestaudience.destinations.google_ads_errors import JOB_FAILED
from nestaudience.destinations.google_ads_messages import PreparedJob, Ticket, prepare_job, ticket_of
from nestaudience.destinations.google_ads_versions import NEWEST, VERSIONS, Version
from nestaudience.destinations.google_connection import ApplicationDefault, SandboxEndpoint, SandboxToken
from nestaudience.destinations.port import (
    Accepted,
    Account,
    Batch,
    ConsentSignals,
    ListSpec,
    NeverSeen,
    NoReceipt,
    PartlyRefused,
    Refused,
    StillProcessing,
    Succeeded,
    Target,
)
from nestaudience.errors import NeedsFix, TryAgain
from nestaudience.hashing.digests import Digests
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.google_ads import GoogleAdsSandbox
from nestaudience.sandbox.google_ads_lists import KEY_TYPES
from nestaudience.sandbox.google_state import GoogleState, RemoteList, SandboxAccount
from nestaudience.vocabulary import Operation, Recipient

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ACCOUNT, MANAGED = Account("1112223333"), Account("3334445555", "9998887777")
TARGET = Target(Account("1112223333", "9998887777"), "7000000001")
ODD_ACCOUNTS = (Account("customers/1"), Account(""), Account("1112223333", "111-222-3333"))
CREATE, ADD, RUN = "CreateOfflineUserDataJob", "AddOfflineUserDataJobOperations", "RunOfflineUserDataJob"
CONTACT_INFO, MOBILE = sorted(KEY_TYPES.values())
HOUR = timedelta(hours=1)


def digests(*names: str, recipient: Recipient = Recipient.GOOGLE) -> Digests:
    return Digests(pa.array([hashlib.sha256(name.encode()).digest() for name in names], pa.binary(32)), recipient)


def hexes(*names: str) -> frozenset[str]:
    return frozenset(hashlib.sha256(name.encode()).hexdigest() for name in names)


def batch(operation: Operation, *names: str, user_data: bool = True, personalization: bool = True) -> Batch:
    consent = ConsentSignals(user_data, personalization) if operation is Operation.ADD else None
    return Batch(bytes(16), operation, digests(*names), consent)


def state() -> GoogleState:
    accounts = {
        ACCOUNT.account_id: SandboxAccount(),
        MANAGED.account_id: SandboxAccount(tokens=frozenset(), manager=MANAGED.login_account_id),
        str(MANAGED.login_account_id): SandboxAccount(),
    }
    return GoogleState(accounts, SandboxClock(START), "a-token")


def settings(sandbox: GoogleAdsSandbox, **changed: object) -> GoogleAdsSettings:
    endpoint = SandboxEndpoint(sandbox.endpoint, sandbox.ca_pem)
    return replace(GoogleAdsSettings(SandboxToken("a-token"), True, endpoint, timeout_seconds=20), **changed)  # type: ignore[arg-type]


@pytest.fixture
def sandbox() -> Iterator[GoogleAdsSandbox]:
    with GoogleAdsSandbox(state()) as running:
        yield running


@pytest.fixture
def google(sandbox: GoogleAdsSandbox) -> Iterator[GoogleAds]:
    destination = GoogleAds(settings(sandbox), sleep=lambda _: None)
    yield destination
    destination.close()


def ready(google: GoogleAds, account: Account = ACCOUNT) -> Target:
    return Target(account, google.create_list(account, ListSpec("na-00000001", "na-00000001 x", 30)).list_id)


def outcome(google: GoogleAds, receipt: object) -> object:
    assert isinstance(receipt, Accepted)
    assert receipt.settlement is None
    return google.status(receipt.request_id, Operation.ADD, sent_at=START, now=START)


# --- the message


@hypothesis.settings(deadline=None)
@given(st.booleans(), st.booleans(), st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True))
def test_an_addition_says_exactly_what_the_grants_say(user_data: bool, personalization: bool, names: list[str]) -> None:
    version = Version(NEWEST)
    prepared = prepare_job(version, TARGET, batch(Operation.ADD, *names, user_data=user_data, personalization=personalization))
    created = version.create_job.deserialize(prepared.creation)
    status = version.enum("ConsentStatus")
    said = {True: status.GRANTED, False: status.DENIED}
    metadata = created.job.customer_match_user_list_metadata
    assert (metadata.consent.ad_user_data, metadata.consent.ad_personalization) == (said[user_data], said[personalization])
    assert (created.customer_id, metadata.user_list) == ("1112223333", "customers/1112223333/userLists/7000000001")
    (call,) = prepared.calls
    request = version.add_operations.deserialize(call)
    assert (request.enable_partial_failure, request.validate_only, created.validate_only) == (True, False, False)
    sent = [[one.hashed_email for one in operation.create.user_identifiers] for operation in request.operations]
    assert sent == [[hashlib.sha256(name.encode()).hexdigest()] for name in names]


def test_a_removal_carries_identifiers_and_the_list_and_nothing_else() -> None:
    version = Version(NEWEST)
    prepared = prepare_job(version, TARGET, batch(Operation.REMOVE, "a"))
    created = version.create_job.pb().FromString(prepared.creation)
    assert not created.job.customer_match_user_list_metadata.HasField("consent")
    (operation,) = version.add_operations.pb().FromString(prepared.calls[0]).operations
    assert operation.WhichOneof("operation") == "remove"


def test_contents_show_whatever_does_not_belong() -> None:
    version = Version(NEWEST)
    addition = prepare_job(version, TARGET, batch(Operation.ADD, "a", "b"))

    def read(change: Callable[..., object]) -> list[str]:
        request = version.add_operations.pb().FromString(addition.calls[0])
        change(request.operations)
        changed = replace(addition, calls=(request.SerializeToString(),))
        return ["digest" if one else "" for one in changed.contents().identifiers]

    def phone(operations: object) -> None:
        operations[0].create.user_identifiers[0].hashed_phone_number = "a" * 64  # type: ignore[index]

    assert read(lambda operations: None) == ["digest", "digest"]
    assert read(lambda operations: operations[0].create.user_identifiers.add(hashed_email="0")) == ["", "digest"]
    assert read(lambda operations: setattr(operations[0].create.consent, "ad_user_data", 3)) == ["", "digest"]
    assert read(lambda operations: operations.add()) == ["digest", "digest", ""]
    assert read(lambda operations: operations.add(remove_all=True)) == ["digest", "digest", ""]
    assert read(lambda operations: operations[0].remove.CopyFrom(operations[1].create)) == ["", "digest"]
    assert read(phone) == ["", "digest"]
    created = version.create_job.pb().FromString(addition.creation)
    created.customer_id = "4445556666"
    foreign = replace(addition, creation=created.SerializeToString()).contents()
    assert (foreign.account_id, foreign.list_id) == ("4445556666", "")


def test_what_goes_out_is_what_was_read_and_the_jobs_name(sandbox: GoogleAdsSandbox) -> None:
    sandbox._keep_requests = True
    google = GoogleAds(settings(sandbox))
    prepared = google.prepare(ready(google), batch(Operation.ADD, "a", "b"))
    assert isinstance(prepared, PreparedJob)
    google.send(prepared)
    (raw,) = [raw for method, raw in sandbox.received if method == ADD]
    request = google._version.add_operations.pb().FromString(raw)
    assert request.resource_name == "customers/1112223333/offlineUserDataJobs/1"
    request.resource_name = ""
    assert request.SerializeToString() == prepared.calls[0]


def test_batches_that_are_not_googles_are_not_built(google: GoogleAds) -> None:
    foreign = Batch(bytes(16), Operation.REMOVE, digests("a", recipient=Recipient.META))
    huge = Batch(bytes(16), Operation.REMOVE, Digests(pa.array([bytes(32)] * 100_001, pa.binary(32)), Recipient.GOOGLE))
    for wrong in (foreign, huge):
        with pytest.raises(ValueError, match="100 000 digests"):
            google.prepare(TARGET, wrong)
    for target in (replace(TARGET, list_id="../1"), *(replace(TARGET, account=odd) for odd in ODD_ACCOUNTS)):
        with pytest.raises(NeedsFix):
            google.prepare(target, batch(Operation.ADD, "a"))


def test_ids_that_are_no_numbers_never_reach_google(sandbox: GoogleAdsSandbox, google: GoogleAds) -> None:
    for odd in ODD_ACCOUNTS:
        for ask in (
            lambda odd=odd: google.find_list(odd, "c"),
            lambda odd=odd: google.read_list(Target(odd, "1")),
            lambda odd=odd: google.create_list(odd, ListSpec("c", "n", 30)),
            lambda odd=odd: google.delete_list(Target(odd, "1")),
        ):
            with pytest.raises(NeedsFix) as caught:
                ask()
            assert caught.value.code == "account_wrong"
    assert sum(sandbox._seen.values()) == 0


def test_no_addition_is_built_before_the_terms_are_accepted(sandbox: GoogleAdsSandbox) -> None:
    careless = GoogleAds(settings(sandbox, terms_accepted=False))
    with pytest.raises(NeedsFix) as caught:
        careless.prepare(TARGET, batch(Operation.ADD, "a"))
    assert caught.value.code == "terms_missing"
    assert careless.prepare(TARGET, batch(Operation.REMOVE, "a")).contents().list_id == TARGET.list_id


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="sandbox token"):
        GoogleAdsSettings(SandboxToken("t"), True)
    with pytest.raises(ValueError, match="timeout"):
        GoogleAdsSettings(ApplicationDefault(), True, timeout_seconds=0)
    with pytest.raises(ValueError, match="speaks v23"):
        Version("v22")


# --- what has an effect


@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind is not FaultKind.HANG])
@pytest.mark.parametrize("method", [CREATE, ADD])
@pytest.mark.parametrize("operation", list(Operation))
def test_whatever_happens_before_the_run_is_a_refusal_without_effect(
    sandbox: GoogleAdsSandbox, google: GoogleAds, kind: FaultKind, method: str, operation: Operation
) -> None:
    target = ready(google)
    google.send(google.prepare(target, batch(Operation.ADD, "old")))
    sandbox.advance(HOUR)
    runs = sandbox.seen(RUN)
    sandbox.faults.add(Fault(method, kind))
    receipt = google.send(google.prepare(target, batch(operation, "old", "new")))
    sandbox.advance(timedelta(days=6))
    if (method, kind) == (ADD, FaultKind.NO_REQUEST_ID):  # an empty answer is what a call without bad operations gets
        assert isinstance(receipt, Accepted)
        return
    assert isinstance(receipt, Refused)
    assert not receipt.code.startswith("lost_")
    assert google.error_of(receipt.code, "x").next_step
    assert (sandbox.seen(RUN), sandbox.seen(method)) == (runs, 2)
    assert sandbox.members(ACCOUNT.account_id, target.list_id) == hexes("old")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FaultKind.UNAVAILABLE, "lost_unavailable"),
        (FaultKind.DEADLINE, "lost_deadline_exceeded"),
        (FaultKind.ABORTED, "lost_aborted"),
        (FaultKind.INTERNAL, "lost_internal"),
        (FaultKind.EXHAUSTED_UNEXPLAINED, "lost_exhausted_unexplained"),
        (FaultKind.ANSWER_LOST_BEFORE_EFFECT, "lost_unavailable"),
        (FaultKind.ANSWER_LOST_AFTER_EFFECT, "lost_unavailable"),
        (FaultKind.HTML_OK, "lost_unknown"),
    ],
)
def test_a_run_that_was_not_answered_is_no_receipt(
    sandbox: GoogleAdsSandbox, google: GoogleAds, kind: FaultKind, code: str
) -> None:
    target = ready(google)
    sandbox.faults.add(Fault(RUN, kind))
    assert google.send(google.prepare(target, batch(Operation.ADD, "a"))) == NoReceipt(code)
    assert sandbox.seen(RUN) == 1
    sandbox.advance(HOUR)
    happened = kind is FaultKind.ANSWER_LOST_AFTER_EFFECT
    assert sandbox.members(ACCOUNT.account_id, target.list_id) == (hexes("a") if happened else frozenset())


def test_a_run_that_outlasts_the_timeout_is_no_receipt(sandbox: GoogleAdsSandbox) -> None:
    hasty = GoogleAds(settings(sandbox, timeout_seconds=2.0))
    target = ready(hasty)
    sandbox.faults.add(Fault(RUN, FaultKind.HANG, seconds=4.0))
    assert hasty.send(hasty.prepare(target, batch(Operation.ADD, "a"))) == NoReceipt("lost_deadline_exceeded")


def test_a_job_that_takes_too_long_to_fill_is_not_run(sandbox: GoogleAdsSandbox) -> None:
    """Consents may change while people are added: the last look must be fresh when the job is run."""
    times = iter((0.0, 30.0, 61.0))
    slow = GoogleAds(settings(sandbox), passing=lambda: next(times))
    target = ready(slow)
    many = Batch(bytes(16), Operation.REMOVE, Digests(pa.array([bytes(32)] * 20_001, pa.binary(32)), Recipient.GOOGLE))
    assert slow.send(slow.prepare(target, many)) == Refused("job_took_too_long")
    assert (sandbox.seen(ADD), sandbox.seen(RUN)) == (2, 0)
    assert isinstance(slow.error_of("job_took_too_long", "x"), TryAgain)


def test_a_large_batch_is_one_job_of_several_calls(sandbox: GoogleAdsSandbox, google: GoogleAds) -> None:
    target, names = ready(google), [str(number) for number in range(25_000)]
    prepared = google.prepare(target, batch(Operation.ADD, *names))
    assert len(prepared.contents().identifiers) == 25_000
    receipt = google.send(prepared)
    assert (sandbox.seen(CREATE), sandbox.seen(ADD), sandbox.seen(RUN)) == (1, 3, 1)
    assert outcome(google, receipt) == StillProcessing()
    sandbox.advance(HOUR)
    assert outcome(google, receipt) == Succeeded(25_000, (), "61_to_70")
    assert sandbox.members(ACCOUNT.account_id, target.list_id) == hexes(*names)


def spoiled(google: GoogleAds, target: Target, names: list[str], bad: set[int]) -> PreparedJob:
    """A job some of whose operations Google will not take."""
    prepared = google.prepare(target, batch(Operation.ADD, *names))
    assert isinstance(prepared, PreparedJob)
    calls = []
    for call in prepared.calls:
        request = google._version.add_operations.pb().FromString(call)
        for index in bad:
            request.operations[index].create.user_identifiers[0].hashed_email = "no digest"
        calls.append(request.SerializeToString())
    return replace(prepared, calls=tuple(calls))


def test_refused_operations_are_counted_and_the_rest_is_applied(sandbox: GoogleAdsSandbox, google: GoogleAds) -> None:
    """One packed failure, many errors; known before the run, told by the settlement, and kept in the request id meanwhile."""
    target, names = ready(google), [str(number) for number in range(10_005)]
    receipt = google.send(spoiled(google, target, names, {0, 3, 4}))  # three of each of two calls
    assert outcome(google, receipt) == StillProcessing()
    sandbox.advance(HOUR)
    settled = outcome(google, receipt)
    assert settled == PartlyRefused(10_005, (("member_malformed", 6),))
    answer = answer_of(settled, 10_005)  # type: ignore[arg-type]
    assert answer is not None
    assert (answer.state, answer.rejected) == ("partly", 6)
    assert len(sandbox.members(ACCOUNT.account_id, target.list_id)) == 9_999


def test_a_job_of_which_everybody_was_refused_is_not_run(sandbox: GoogleAdsSandbox, google: GoogleAds) -> None:
    receipt = google.send(spoiled(google, ready(google), ["a", "b"], {0, 1}))
    assert (receipt, sandbox.seen(RUN)) == (Refused("member_malformed"), 0)


def test_a_failed_job_is_not_taken_for_one_that_did_nothing(sandbox: GoogleAdsSandbox, google: GoogleAds) -> None:
    target = ready(google)
    sandbox.jobs.breaking = 1
    receipt = google.send(google.prepare(target, batch(Operation.ADD, "a", "b", "c", "d")))
    sandbox.advance(HOUR)
    assert outcome(google, receipt) == PartlyRefused(4, ((JOB_FAILED, 4),))
    assert len(sandbox.members(ACCOUNT.account_id, target.list_id)) == 2


def test_account_and_terms_and_allow_list_refuse_without_effect(sandbox: GoogleAdsSandbox, google: GoogleAds) -> None:
    target = ready(google)
    prepared = google.prepare(target, batch(Operation.ADD, "a"))
    for account, code in (
        (SandboxAccount(terms_accepted=False), "terms_missing"),
        (SandboxAccount(allowlisted=False), "not_allowlisted"),
        (SandboxAccount(political_declaration=False), "eu_political_declaration_missing"),
        (SandboxAccount(tokens=frozenset()), "permission_denied"),
    ):
        sandbox.state.accounts[ACCOUNT.account_id] = account
        assert google.send(prepared) == Refused(code)
    assert "google_data_manager" in google.error_of("not_allowlisted", "x").next_step
    sandbox.state.accounts[ACCOUNT.account_id] = SandboxAccount()
    denied = google.prepare(target, batch(Operation.ADD, "a", personalization=False))
    assert google.send(denied) == Refused("terms_missing")
    sandbox.operations_a_day = 0
    assert google.send(prepared) == Refused("quota_exhausted")
    with pytest.raises(TryAgain) as caught:
        google.lists(ACCOUNT)
    assert (caught.value.code, caught.value.after) == ("quota_exhausted", 900.0)


def test_after_closing_nothing_is_sent(sandbox: GoogleAdsSandbox, google: GoogleAds) -> None:
    prepared = google.prepare(ready(google), batch(Operation.ADD, "a"))
    google.close()
    assert isinstance(google.send(prepared), Refused)
    assert sandbox.seen(CREATE) == 0


# --- tickets


@given(
    st.integers(0, 10**19),
    st.integers(0, 10**8),
    st.none() | st.from_regex(r"[0-9]{1,20}", fullmatch=True),
    st.dictionaries(st.sampled_from(["member_malformed", "list_gone", "reason_7"]), st.integers(1, 10**6)),
)
def test_a_ticket_is_read_as_it_was_written(number: int, taken: int, login: str | None, refused: dict[str, int]) -> None:
    ticket = Ticket(f"customers/12/offlineUserDataJobs/{number}", taken, login, tuple(sorted(refused.items())))
    assert ticket_of(str(ticket)) == ticket
    assert " " not in str(ticket)


@pytest.mark.parametrize(
    "text", ["", "t-000000000001", "customers/1/offlineUserDataJobs/2", "customers/1/offlineUserDataJobs/2?taken=1' OR 1", "1:2"]
)
def test_the_ids_of_others_were_never_seen(sandbox: GoogleAdsSandbox, google: GoogleAds, text: str) -> None:
    assert google.status(text, Operation.ADD, sent_at=START, now=START) == NeverSeen("request_unknown")
    assert sandbox.seen("SearchStream") == 0


def test_access_through_a_manager_account(sandbox: GoogleAdsSandbox, google: GoogleAds) -> None:
    """Each account has its own; a job is asked for through the one through which it was sent."""
    target = ready(google, MANAGED)
    receipt = google.send(google.prepare(target, batch(Operation.ADD, "a")))
    sandbox.advance(HOUR)
    assert outcome(google, receipt) == Succeeded(1)
    with pytest.raises(NeedsFix):
        google.read_list(replace(target, account=replace(MANAGED, login_account_id=None)))
    assert ready(google).account == ACCOUNT


# --- lists


def outside(name: str, code: str, **changed: object) -> RemoteList:
    return replace(RemoteList("", name, "made by hand", code, timedelta(days=30), CONTACT_INFO), **changed)  # type: ignore[arg-type]


def test_lists_of_others_and_of_other_kinds_are_not_ours(sandbox: GoogleAdsSandbox, google: GoogleAds) -> None:
    lists = sandbox.state
    lists.add_list(ACCOUNT.account_id, outside("shared", "na-shared", shared=True))
    assert google.find_list(ACCOUNT, "na-shared") is None
    lists.add_list(ACCOUNT.account_id, outside("mobile", "na-mobile", key_type=MOBILE))
    with pytest.raises(NeedsFix) as caught:
        google.find_list(ACCOUNT, "na-mobile")
    assert caught.value.code == "list_wrong_type"
    lists.add_list(ACCOUNT.account_id, outside("by hand", ""))
    assert [(facts.code, facts.name) for facts in google.lists(ACCOUNT)] == [("", "by hand")]
    for name in ("one", "two"):
        lists.add_list(ACCOUNT.account_id, outside(name, "na-twice"))
    with pytest.raises(NeedsFix) as caught:
        google.find_list(ACCOUNT, "na-twice")
    assert caught.value.code == "list_code_twice"


def test_a_list_tells_its_size_and_why_it_was_closed(sandbox: GoogleAdsSandbox, google: GoogleAds) -> None:
    target = ready(google)
    made = google.read_list(target)
    assert made is not None
    assert (made.size, made.match_rate, made.closing_reason) == (None, None, None)
    google.send(google.prepare(target, batch(Operation.ADD, *[str(number) for number in range(150)])))
    sandbox.advance(HOUR)
    remote = sandbox.state.lists[ACCOUNT.account_id][target.list_id]
    remote.open, remote.closed_as_unused = False, True
    closed = google.read_list(target)
    assert closed is not None
    assert (closed.size, closed.match_rate, closed.open, closed.closing_reason) == (150, 62, False, "unused")


def test_wishes_that_google_refuses(google: GoogleAds) -> None:
    ready(google)
    for spec, code in ((ListSpec("x", "na-00000001 x", 30), "name_taken"), (ListSpec("x", "y", 541), "membership_too_long")):
        with pytest.raises(NeedsFix) as caught:
            google.create_list(ACCOUNT, spec)
        assert caught.value.code == code


def test_the_accounts_own_word_about_its_terms(sandbox: GoogleAdsSandbox, google: GoogleAds) -> None:
    assert google.terms_accepted(ACCOUNT)
    sandbox.state.accounts[ACCOUNT.account_id] = SandboxAccount(terms_accepted=False)
    assert not google.terms_accepted(ACCOUNT)


# --- versions


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_that_the_sdk_has_is_spoken(version: str) -> None:
    with GoogleAdsSandbox(state(), version=version) as sandbox:
        google = GoogleAds(settings(sandbox, api_version=version))
        target = ready(google)
        receipt = google.send(spoiled(google, target, ["a", "b"], {1}))
        sandbox.advance(HOUR)
        assert outcome(google, receipt) == PartlyRefused(2, (("member_malformed", 1),))
        assert google.read_list(target) is not None
        sandbox.state.lists[ACCOUNT.account_id].clear()
        assert google.send(google.prepare(target, batch(Operation.REMOVE, "a"))) == Refused("list_gone")


def test_a_version_that_is_served_no_more(sandbox: GoogleAdsSandbox) -> None:
    old = GoogleAds(settings(sandbox, api_version="v23"))
    with pytest.raises(NeedsFix) as caught:
        old.lists(ACCOUNT)
    assert caught.value.code == "unsupported"
    assert "api_version" in caught.value.next_step
