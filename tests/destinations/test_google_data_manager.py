"""The Google destination: the bytes it builds, what it makes of answers, and that nothing leaks. The contract suite has the
rest."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import hypothesis
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.ads import datamanager_v1 as dm
from hypothesis import given
from hypothesis import strategies as st

from nestaudience.destinations.google_connection import (
    FIRST_STATUS,
    GoogleDataManagerSettings,
    SandboxEndpoint,
    SandboxToken,
    ServiceAccountFile,
)
from nestaudience.destinations.google_data_manager import GoogleDataManager
from nestaudience.destinations.google_messages import (
    PreparedRequest,
    PreparedSweep,
    prepare_request,
    prepare_sweep,
    settlement_of,
)
from nestaudience.destinations.google_quota import Quota
from nestaudience.destinations.port import (
    Accepted,
    Account,
    Batch,
    ConsentSignals,
    Contents,
    Failed,
    ListSpec,
    NoReceipt,
    PartlyRefused,
    Refused,
    StillProcessing,
    Succeeded,
    Sweeping,
    Target,
)
from nestaudience.errors import NeedsFix, TryAgain
from nestaudience.hashing.digests import Digests
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.google_state import RemoteList, SandboxAccount
from nestaudience.vocabulary import Operation, Recipient

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ACCOUNT = Account("1112223333")
TARGET = Target(Account("1112223333", "9998887777"), "7000000001")
ODD_ACCOUNTS = (Account("customers/1"), Account(""), Account("1112223333", "111-222-3333"))
CONTACT_ID = int(dm.IngestedUserListInfo.UploadKeyType.CONTACT_ID)
STATUS = dm.RequestStatusPerDestination.RequestStatus
INGEST = "IngestAudienceMembers"


def digests(*names: str, recipient: Recipient = Recipient.GOOGLE) -> Digests:
    return Digests(pa.array([hashlib.sha256(name.encode()).digest() for name in names], pa.binary(32)), recipient)


def batch(operation: Operation, *names: str, user_data: bool = True, personalization: bool = True) -> Batch:
    consent = ConsentSignals(user_data, personalization) if operation is Operation.ADD else None
    return Batch(bytes(16), operation, digests(*names), consent)


@pytest.fixture
def sandbox() -> Iterator[DataManagerSandbox]:
    with DataManagerSandbox({ACCOUNT.account_id: SandboxAccount()}, SandboxClock(START)) as running:
        yield running


def settings(sandbox: DataManagerSandbox) -> GoogleDataManagerSettings:
    endpoint = SandboxEndpoint(sandbox.endpoint, sandbox.ca_pem)
    return GoogleDataManagerSettings(SandboxToken(sandbox.token), terms_accepted=True, endpoint=endpoint)


@pytest.fixture
def google(sandbox: DataManagerSandbox) -> Iterator[GoogleDataManager]:
    days = Quota(clock=count(0, 1_000_000).__next__)  # Google's own limits are tried here, not ours
    destination = GoogleDataManager(settings(sandbox), sleep=lambda _: None, quota=days)
    yield destination
    destination.close()


# --- the message


@hypothesis.settings(deadline=None)
@given(st.booleans(), st.booleans(), st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True))
def test_an_addition_says_exactly_what_the_grants_say(user_data: bool, personalization: bool, names: list[str]) -> None:
    addition = batch(Operation.ADD, *names, user_data=user_data, personalization=personalization)
    request = dm.IngestAudienceMembersRequest.deserialize(prepare_request(TARGET, addition).message)
    said = {True: dm.ConsentStatus.CONSENT_GRANTED, False: dm.ConsentStatus.CONSENT_DENIED}
    assert (request.consent.ad_user_data, request.consent.ad_personalization) == (said[user_data], said[personalization])
    assert request.terms_of_service.customer_match_terms_of_service_status == dm.TermsOfServiceStatus.ACCEPTED
    assert (request.encoding, request.validate_only) == (dm.Encoding.HEX, False)
    (destination,) = request.destinations
    ads = dm.ProductAccount.AccountType.GOOGLE_ADS
    assert destination.operating_account == dm.ProductAccount(account_type=ads, account_id="1112223333")
    assert destination.login_account == dm.ProductAccount(account_type=ads, account_id="9998887777")
    assert destination.product_destination_id == "7000000001"
    people = [member.composite_data.user_data.user_identifiers for member in request.audience_members]
    sent = [[one.email_address for one in identifiers] for identifiers in people]
    assert sent == [[hashlib.sha256(name.encode()).hexdigest()] for name in names]


def test_a_removal_carries_identifiers_and_the_list_and_nothing_else() -> None:
    prepared = prepare_request(TARGET, batch(Operation.REMOVE, "a"))
    request = dm.RemoveAudienceMembersRequest.pb().FromString(prepared.message)
    assert {descriptor.name for descriptor, _ in request.ListFields()} == {"destinations", "audience_members", "encoding"}


def test_contents_show_whatever_does_not_belong() -> None:
    addition = prepare_request(TARGET, batch(Operation.ADD, "a", "b"))
    kind = dm.IngestAudienceMembersRequest.pb()

    def read(change: object) -> tuple[str, list[str]]:
        request = kind.FromString(addition.message)
        change(request)  # type: ignore[operator]
        contents = PreparedRequest(Operation.ADD, request.SerializeToString()).contents()
        return contents.account_id, [one if one == "" else "digest" for one in contents.identifiers]

    def person(request: object) -> object:
        return request.audience_members[0].composite_data  # type: ignore[attr-defined]

    def phone(request: object) -> None:
        person(request).user_data.user_identifiers[0].phone_number = "a" * 64  # type: ignore[attr-defined]

    account = "1112223333"
    assert read(lambda request: None) == (account, ["digest", "digest"])
    assert read(lambda request: person(request).user_data.user_identifiers.add(phone_number="0")) == (account, ["", "digest"])
    assert read(lambda request: person(request).ip_data.add(ip_address="::1")) == (account, ["", "digest"])
    assert read(lambda request: request.audience_members.add()) == (account, ["digest", "digest", ""])
    assert read(phone) == (account, ["", "digest"])
    assert read(lambda request: request.destinations.add())[0] == ""
    assert read(lambda request: setattr(request.destinations[0].operating_account, "account_type", 3))[0] == ""


def test_batches_that_are_not_googles_are_not_built(google: GoogleDataManager) -> None:
    foreign = Batch(bytes(16), Operation.REMOVE, digests("a", recipient=Recipient.META))
    huge = Batch(bytes(16), Operation.REMOVE, digests(*[str(number) for number in range(10_001)]))
    for wrong in (foreign, huge):
        with pytest.raises(ValueError, match="10 000 digests"):
            google.prepare(TARGET, wrong)
    for target in (replace(TARGET, list_id="../1"), *(replace(TARGET, account=odd) for odd in ODD_ACCOUNTS)):
        with pytest.raises(NeedsFix):
            google.prepare(target, batch(Operation.ADD, "a"))


def test_ids_that_are_no_numbers_never_reach_google(sandbox: DataManagerSandbox, google: GoogleDataManager) -> None:
    for odd in ODD_ACCOUNTS:
        for ask in (
            lambda odd=odd: google.find_list(odd, "c"),
            lambda odd=odd: google.read_list(Target(odd, "1")),
            lambda odd=odd: google.create_list(odd, ListSpec("c", "n", 30)),
        ):
            with pytest.raises(NeedsFix) as caught:
                ask()
            assert caught.value.code == "account_wrong"
    assert (sandbox.reads, sandbox.writes) == (0, 0)


def test_no_addition_is_built_before_the_terms_are_accepted(sandbox: DataManagerSandbox) -> None:
    careless = GoogleDataManager(replace(settings(sandbox), terms_accepted=False))
    with pytest.raises(NeedsFix) as caught:
        careless.prepare(TARGET, batch(Operation.ADD, "a"))
    assert caught.value.code == "terms_missing"
    assert careless.prepare(TARGET, batch(Operation.REMOVE, "a")).contents().list_id == TARGET.list_id
    careless.close()


# --- receipts of the sandbox


def ready(google: GoogleDataManager) -> Target:
    return Target(ACCOUNT, google.create_list(ACCOUNT, ListSpec("na-00000001", "na-00000001 x", 30)).list_id)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FaultKind.UNAVAILABLE, "lost_unavailable"),
        (FaultKind.DEADLINE, "lost_deadline_exceeded"),
        (FaultKind.ABORTED, "lost_aborted"),
        (FaultKind.INTERNAL, "lost_internal"),
        (FaultKind.EXHAUSTED_UNEXPLAINED, "lost_exhausted_unexplained"),
        (FaultKind.MALFORMED_DETAILS, "lost_unreadable"),
        (FaultKind.NO_REQUEST_ID, "lost_unreadable"),
    ],
)
@pytest.mark.parametrize("operation", list(Operation))
def test_what_proves_nothing_is_no_receipt(
    sandbox: DataManagerSandbox, google: GoogleDataManager, kind: FaultKind, code: str, operation: Operation
) -> None:
    target = ready(google)
    sandbox.faults.add(Fault("*", kind))
    assert google.send(google.prepare(target, batch(operation, "a"))) == NoReceipt(code)
    assert sandbox.writes == 2  # the list, and one request: never a second one


def test_a_call_that_outlasts_the_timeout_is_no_receipt(sandbox: DataManagerSandbox) -> None:
    hasty = GoogleDataManager(replace(settings(sandbox), timeout_seconds=0.3))
    target = ready(hasty)
    sandbox.faults.add(Fault(INGEST, FaultKind.HANG, seconds=1.0))
    assert hasty.send(hasty.prepare(target, batch(Operation.ADD, "a"))) == NoReceipt("lost_deadline_exceeded")
    assert sandbox.seen(INGEST) == 1
    hasty.close()


def test_after_closing_nothing_is_sent(sandbox: DataManagerSandbox, google: GoogleDataManager) -> None:
    prepared = google.prepare(ready(google), batch(Operation.ADD, "a"))
    google.close()
    assert isinstance(google.send(prepared), NoReceipt)
    assert sandbox.seen(INGEST) == 0


def test_account_and_terms_and_quota_refuse_without_effect(sandbox: DataManagerSandbox, google: GoogleDataManager) -> None:
    target = ready(google)
    prepared = google.prepare(target, batch(Operation.ADD, "a"))
    for account, code in (
        (SandboxAccount(terms_accepted=False), "terms_missing"),
        (SandboxAccount(allowlisted=False), "not_allowlisted"),
        (SandboxAccount(political_declaration=False), "eu_political_declaration_missing"),
        (SandboxAccount(tokens=frozenset()), "permission_denied"),
    ):
        sandbox.accounts[ACCOUNT.account_id] = account
        assert google.send(prepared) == Refused(code)
    sandbox.accounts[ACCOUNT.account_id] = SandboxAccount()
    while google.send(prepared) != Refused("quota_exhausted"):
        assert sandbox.seen(INGEST) <= 301
    sandbox.advance(timedelta(days=2))
    sandbox.drop_list(target.account.account_id, target.list_id)
    assert google.send(prepared) == Refused("list_gone")


def test_a_read_over_the_quota_says_how_long_to_wait(sandbox: DataManagerSandbox, google: GoogleDataManager) -> None:
    for _ in range(300):
        google.find_list(ACCOUNT, "na-00000001")
    with pytest.raises(TryAgain) as caught:
        google.find_list(ACCOUNT, "na-00000001")
    assert (caught.value.code, caught.value.after) == ("quota_exhausted", 60.0)


def test_a_result_is_not_asked_for_before_google_can_have_one(sandbox: DataManagerSandbox, google: GoogleDataManager) -> None:
    """Half an hour after the request; the stand-in would have known it at once."""
    receipt = google.send(google.prepare(ready(google), batch(Operation.ADD, "a", "b")))
    assert isinstance(receipt, Accepted)
    sandbox.advance(timedelta(hours=1))
    patient = GoogleDataManager(replace(settings(sandbox), status_after=FIRST_STATUS), sleep=lambda _: None)
    for minutes, expected in (
        (29, StillProcessing()),
        (30, google.status(receipt.request_id, Operation.ADD, sent_at=START, now=START)),
    ):
        now = START + timedelta(minutes=minutes)
        assert patient.status(receipt.request_id, Operation.ADD, sent_at=START, now=now) == expected
    assert isinstance(expected, Succeeded)
    patient.close()


def test_partial_success_is_counted_by_reason(sandbox: DataManagerSandbox, google: GoogleDataManager) -> None:
    receipt = google.send(google.prepare(ready(google), batch(Operation.ADD, "a", "b", personalization=False)))
    sandbox.advance(timedelta(hours=1))
    settled = google.status(receipt.request_id, Operation.ADD, sent_at=START, now=START)  # type: ignore[union-attr]
    assert settled == Failed((("denied_consent", 2),))
    assert sandbox.members(ACCOUNT.account_id, TARGET.list_id) == frozenset()


# --- lists


def outside(name: str, code: str, **changed: object) -> RemoteList:
    wanted = RemoteList("", name, "made by hand", code, timedelta(days=30), CONTACT_ID)
    return replace(wanted, **changed)  # type: ignore[arg-type]


def test_two_lists_with_one_code_are_for_a_person_to_decide(sandbox: DataManagerSandbox) -> None:
    paging = GoogleDataManager(replace(settings(sandbox), page_size=1))
    for name in ("one", "two"):
        sandbox.add_list(ACCOUNT.account_id, outside(name, "na-twice"))
    with pytest.raises(NeedsFix) as caught:
        paging.find_list(ACCOUNT, "na-twice")
    assert caught.value.code == "list_code_twice"
    assert sandbox.seen("ListUserLists") == 2
    paging.close()


def test_lists_of_others_and_of_other_kinds_are_not_ours(sandbox: DataManagerSandbox, google: GoogleDataManager) -> None:
    sandbox.add_list(ACCOUNT.account_id, outside("shared", "na-shared", shared=True))
    assert google.find_list(ACCOUNT, "na-shared") is None
    mobile = int(dm.IngestedUserListInfo.UploadKeyType.MOBILE_ID)
    sandbox.add_list(ACCOUNT.account_id, outside("mobile", "na-mobile", key_type=mobile))
    with pytest.raises(NeedsFix) as caught:
        google.find_list(ACCOUNT, "na-mobile")
    assert caught.value.code == "list_wrong_type"
    sandbox.add_list(ACCOUNT.account_id, outside("by hand", ""))
    assert [(facts.code, facts.name) for facts in google.lists(ACCOUNT)] == [("", "by hand")]


def test_a_list_tells_its_size_and_why_it_was_closed(sandbox: DataManagerSandbox, google: GoogleDataManager) -> None:
    target = ready(google)
    made = google.read_list(target)
    assert made is not None
    assert (made.size, made.match_rate, made.closing_reason) == (None, None, None)
    google.send(google.prepare(target, batch(Operation.ADD, *[str(number) for number in range(150)])))
    sandbox.advance(timedelta(hours=1))
    sandbox.close_list(target.account.account_id, target.list_id)
    closed = google.read_list(target)
    assert closed is not None
    assert (closed.size, closed.match_rate, closed.open, closed.closing_reason) == (150, 62, False, "unused")


def test_wishes_that_google_refuses(google: GoogleDataManager) -> None:
    ready(google)
    for spec, code in ((ListSpec("x", "na-00000001 x", 30), "name_taken"), (ListSpec("x", "y", 541), "membership_too_long")):
        with pytest.raises(NeedsFix) as caught:
            google.create_list(ACCOUNT, spec)
        assert caught.value.code == code


# --- results


def entry(state: int, **changed: object) -> dm.RetrieveRequestStatusResponse:
    one = dm.RequestStatusPerDestination(request_status=state, **changed)
    return dm.RetrieveRequestStatusResponse(request_status_per_destination=[one])


def test_results_that_are_new_or_odd_are_read_with_care() -> None:
    for unfinished in (STATUS.PROCESSING, STATUS.REQUEST_STATUS_UNKNOWN, 99):
        raw = dm.RetrieveRequestStatusResponse.pb()()
        raw.request_status_per_destination.add().request_status = int(unfinished)
        told = dm.RetrieveRequestStatusResponse.deserialize(raw.SerializeToString())
        assert settlement_of(told, Operation.ADD) == StillProcessing()
    assert settlement_of(dm.RetrieveRequestStatusResponse(), Operation.ADD) == StillProcessing()
    raw = dm.RetrieveRequestStatusResponse.pb()(request_status_per_destination=[{"request_status": int(STATUS.FAILED)}])
    raw.request_status_per_destination[0].error_info.error_counts.add(reason=977, record_count=4)
    new = dm.RetrieveRequestStatusResponse.deserialize(raw.SerializeToString())
    assert settlement_of(new, Operation.ADD) == Failed((("reason_977", 4),))
    odd = entry(STATUS.SUCCESS, error_info=dm.ErrorInfo(error_counts=[dm.ErrorCount(reason=6, record_count=2)]))
    assert settlement_of(odd, Operation.ADD) == PartlyRefused(0, (("unknown_consent", 2),))


def test_a_success_keeps_its_warnings_and_its_match_rate() -> None:
    counted = dm.RequestStatusPerDestination.IngestUserDataStatus(record_count=7, upload_match_rate_range=9)
    side = dm.RequestStatusPerDestination.IngestAudienceMembersStatus(user_data_ingestion_status=counted)
    warned = dm.WarningInfo(warning_counts=[dm.WarningCount(reason=8, record_count=1)])
    told = entry(STATUS.SUCCESS, audience_members_ingestion_status=side, warning_info=warned)
    assert settlement_of(told, Operation.ADD) == Succeeded(7, (("internal_error", 1),), "81_to_90")


# --- settings and credentials


def test_settings_cannot_be_built_wrong() -> None:
    endpoint, token = SandboxEndpoint("localhost:1", b"ca"), SandboxToken("t")
    for target in ("datamanager.googleapis.com:443", "10.0.0.1:443", "localhost", "localhost:", "127.0.0.1.example.com:1", ":1"):
        with pytest.raises(ValueError, match="this machine"):
            SandboxEndpoint(target, b"ca")
    for host in ("127.0.0.1:1", "[::1]:1"):
        assert SandboxEndpoint(host, b"ca").target == host
    for wrong in (
        {"credentials": token},
        {"credentials": ServiceAccountFile(Path("key.json")), "endpoint": endpoint},
        {"credentials": token, "endpoint": endpoint, "timeout_seconds": 0.0},
        {"credentials": token, "endpoint": endpoint, "page_size": 0},
        {"credentials": token, "endpoint": endpoint, "read_waits": (-1.0,)},
    ):
        with pytest.raises(ValueError, match=r"."):
            GoogleDataManagerSettings(terms_accepted=True, **wrong)  # type: ignore[arg-type]
    secret = GoogleDataManagerSettings(SandboxToken("very-secret"), terms_accepted=True, endpoint=endpoint)
    assert "very-secret" not in repr(secret)
    assert {field.name for field in fields(secret)} >= {"credentials", "endpoint", "terms_accepted"}


def test_service_account_files(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "client_email": "sync@example.iam.gserviceaccount.com",
        "token_uri": "https://127.0.0.1/",
        "private_key": key.decode(),
    }
    good, torn = tmp_path / "key.json", tmp_path / "torn.json"
    good.write_text(json.dumps(account))
    torn.write_text(json.dumps({"type": "service_account", "private_key": "top-secret-half-a-key"}))
    GoogleDataManager(GoogleDataManagerSettings(ServiceAccountFile(good), terms_accepted=True)).close()
    for path in (torn, tmp_path / "missing.json"):
        with pytest.raises(NeedsFix) as caught:
            GoogleDataManager(GoogleDataManagerSettings(ServiceAccountFile(path), terms_accepted=True))
        assert caught.value.code == "credentials_unusable"
        assert caught.value.__context__ is None
        assert "secret" not in str(caught.value)


# --- sweeps


def test_a_sweep_names_the_list_and_the_moment_and_nobody(sandbox: DataManagerSandbox, google: GoogleDataManager) -> None:
    target = ready(google)
    assert isinstance(google, Sweeping)
    google.send(google.prepare(target, batch(Operation.ADD, "old")))
    sandbox.advance(timedelta(hours=2))
    prepared = google.prepare_sweep(target, sandbox.clock.now())
    assert prepared.contents() == Contents(ACCOUNT.account_id, target.list_id, Operation.REMOVE, [])
    receipt = google.send(prepared)
    assert isinstance(receipt, Accepted)
    sent = sandbox.seen("RemoveAllAudienceMembers")
    settled = google.status(receipt.request_id, Operation.REMOVE, sent_at=START, now=START)
    assert settled == StillProcessing()
    sandbox.advance(timedelta(hours=1))
    assert google.status(receipt.request_id, Operation.REMOVE, sent_at=START, now=START) == Succeeded(0)
    assert sandbox.members(ACCOUNT.account_id, target.list_id) == frozenset()
    for kind in (FaultKind.ANSWER_LOST_BEFORE_EFFECT, FaultKind.ANSWER_LOST_AFTER_EFFECT, FaultKind.DEADLINE):
        sandbox.faults.add(Fault("RemoveAllAudienceMembers", kind))
        assert isinstance(google.send(google.prepare_sweep(target, START)), NoReceipt)
    assert sandbox.seen("RemoveAllAudienceMembers") == sent + 3
    future = google.send(google.prepare_sweep(target, sandbox.clock.now() + timedelta(hours=1)))
    assert future == Refused("moment_refused")
    with pytest.raises(ValueError, match="zone"):
        google.prepare_sweep(target, datetime(2026, 11, 22))  # noqa: DTZ001  (that is the point)


def test_a_sweep_of_several_lists_or_of_another_kind_of_account_is_seen() -> None:
    request = dm.RemoveAllAudienceMembersRequest.pb().FromString(prepare_sweep(TARGET, START).message)
    assert request.remove_as_of_time.ToDatetime(tzinfo=UTC) == START
    request.destinations.add().CopyFrom(request.destinations[0])
    assert PreparedSweep(request.SerializeToString()).contents().list_id == ""
    del request.destinations[1]
    request.destinations[0].operating_account.account_type = dm.ProductAccount.AccountType.GOOGLE_ANALYTICS_PROPERTY
    assert PreparedSweep(request.SerializeToString()).contents().account_id == ""
