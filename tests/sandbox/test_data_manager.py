"""The local Data Manager, asked by the real SDK over TLS: what it refuses, and its table of behaviours."""

import base64
import re
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import grpc
import pytest
from google.ads import datamanager_v1 as dm
from google.rpc import error_details_pb2
from google_calls import (
    ACCOUNT,
    INVALID,
    MANAGED,
    MANAGER,
    NO_PERMISSION,
    OTHER,
    PRECONDITION,
    addition,
    clients,
    create,
    destination,
    digest,
    ingest,
    list_id,
    member,
    reason,
    refused,
    removal,
    remove,
    status,
    user_list,
)

from nestaudience.destinations.google_connection import (
    Clients,
)
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.google_state import SandboxAccount


def test_every_row_of_the_table_has_a_test_and_every_such_test_a_row() -> None:
    table = files("nestaudience.sandbox").joinpath("data_manager_behaviour.md").read_text()
    rows = re.findall(r"^\| B(\d\d) \|", table, re.MULTILINE)
    sources = [path.read_text() for path in Path(__file__).parent.glob("test_data_manager*.py")]
    assert rows == sorted({number for text in sources for number in re.findall(r"^def test_b(\d\d)_", text, re.MULTILINE)})


def test_b01_tokens(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    stranger = clients(sandbox, "stranger")
    assert (
        refused(lambda: ingest(stranger, addition(target, member(digest(1))))).grpc_status_code is grpc.StatusCode.UNAUTHENTICATED
    )
    sandbox.revoke(sandbox.token)
    assert refused(lambda: status(google, "t-1")).grpc_status_code is grpc.StatusCode.UNAUTHENTICATED
    bare = grpc.secure_channel(sandbox.endpoint, grpc.ssl_channel_credentials(sandbox.ca_pem))
    path = "/google.ads.datamanager.v1.IngestionService/RetrieveRequestStatus"
    with pytest.raises(grpc.RpcError) as caught:
        bare.unary_unary(path)(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    bare.close()
    stranger.close()


def test_b02_accounts(sandbox: DataManagerSandbox, google: Clients) -> None:
    for account in (OTHER, "5550001111"):
        there = addition("7000000001", member(digest(1)), destinations=[destination("7000000001", account)])
        assert reason(lambda request=there: ingest(google, request)) == NO_PERMISSION
        assert reason(lambda account=account: create(google, user_list("n"), account)) == NO_PERMISSION
    assert sandbox.lists(OTHER) == []


def test_b03_managers(sandbox: DataManagerSandbox, google: Clients) -> None:
    header = (("login-account", f"accountTypes/GOOGLE_ADS/accounts/{MANAGER}"),)
    assert reason(lambda: create(google, user_list("n"), MANAGED)) == NO_PERMISSION
    made = str(create(google, user_list("n"), MANAGED, metadata=header).id)
    people = [member(digest(1))]
    without = addition(made, *people, destinations=[destination(made, MANAGED)])
    assert reason(lambda: ingest(google, without)) == NO_PERMISSION
    ingest(google, addition(made, *people, destinations=[destination(made, MANAGED, login=MANAGER)]))
    wrong = addition(made, *people, destinations=[destination(made, MANAGED, login=ACCOUNT)])
    assert reason(lambda: ingest(google, wrong)) == NO_PERMISSION
    sandbox.advance(timedelta(hours=1))
    assert sandbox.members(MANAGED, made) == {digest(1)}


def test_b04_too_many_members(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    crowd = [member(digest(number)) for number in range(10_001)]
    assert reason(lambda: ingest(google, addition(target, *crowd))) == (INVALID, "TOO_MANY_AUDIENCE_MEMBERS")
    assert reason(lambda: remove(google, removal(target, *crowd))) == (INVALID, "TOO_MANY_AUDIENCE_MEMBERS")
    ingest(google, addition(target, *crowd[:10_000]))
    sandbox.advance(timedelta(hours=1))
    assert len(sandbox.members(ACCOUNT, target)) == 10_000


def test_b05_too_many_identifiers(google: Clients) -> None:
    target = list_id(google)
    eleven = member(*[digest(number) for number in range(11)])
    assert reason(lambda: ingest(google, addition(target, eleven))) == (INVALID, "TOO_MANY_USER_IDENTIFIERS")
    assert ingest(google, addition(target, member(*[digest(number) for number in range(10)])))


def test_b06_too_many_destinations(google: Clients) -> None:
    targets = [list_id(google, str(number)) for number in range(11)]
    request = addition("", member(digest(1)), destinations=[destination(target) for target in targets])
    assert reason(lambda: ingest(google, request)) == (INVALID, "TOO_MANY_DESTINATIONS")
    assert ingest(google, addition("", member(digest(1)), destinations=[destination(target) for target in targets[:10]]))


@pytest.mark.parametrize(
    ("value", "expected", "encoding"),
    [
        ("anna@example.com", "INVALID_HEX_ENCODING", dm.Encoding.HEX),
        (digest(1)[:-1], "INVALID_HEX_ENCODING", dm.Encoding.HEX),
        (digest(1)[:-2], "INVALID_SHA256_FORMAT", dm.Encoding.HEX),
        (digest(1)[:-2] + "  ", "INVALID_SHA256_FORMAT", dm.Encoding.HEX),
        (digest(1) + "00", "INVALID_SHA256_FORMAT", dm.Encoding.HEX),
        ("***", "INVALID_BASE64_ENCODING", dm.Encoding.BASE64),
        (base64.b64encode(b"short").decode(), "INVALID_SHA256_FORMAT", dm.Encoding.BASE64),
    ],
)
def test_b07_one_malformed_member(
    sandbox: DataManagerSandbox, google: Clients, value: str, expected: str, encoding: dm.Encoding
) -> None:
    target = list_id(google)
    good = base64.b64encode(bytes.fromhex(digest(2))).decode() if encoding == dm.Encoding.BASE64 else digest(2)
    error = refused(lambda: ingest(google, addition(target, member(good), member(good, value), encoding=encoding)))
    assert (error.grpc_status_code, error.reason, error.domain) == (INVALID, expected, "datamanager.googleapis.com")
    (violations,) = [detail for detail in error.details if isinstance(detail, error_details_pb2.BadRequest)]
    paths = [violation.field for violation in violations.field_violations]
    assert paths == ["audience_members.audience_members[1].composite_data.user_data.user_identifiers[1]"]
    assert value not in str(error)
    sandbox.advance(timedelta(hours=1))
    assert sandbox.members(ACCOUNT, target) == frozenset()
    ingest(google, addition(target, member(good), encoding=encoding))
    sandbox.advance(timedelta(hours=1))
    assert sandbox.members(ACCOUNT, target) == {digest(2)}


def test_b07_many_malformed_members_still_fit_into_an_answer(google: Clients) -> None:
    bad = [member("x") for _ in range(5000)]
    assert reason(lambda: ingest(google, addition(list_id(google), *bad))) == (INVALID, "INVALID_HEX_ENCODING")


def test_b08_missing_fields(google: Clients) -> None:
    target = list_id(google)
    missing = (INVALID, "REQUIRED_FIELD_MISSING")
    for broken in (
        addition(target),
        addition(target, member(digest(1)), encoding=0),
        addition(target, member(digest(1)), destinations=[]),
        addition(target, member(digest(1)), destinations=[dm.Destination(product_destination_id=target)]),
        addition(target, member()),
        addition(target, dm.AudienceMember()),
    ):
        assert reason(lambda request=broken: ingest(google, request)) == missing


def test_b09_two_kinds_of_data(google: Clients) -> None:
    mixed = addition(list_id(google), member(digest(1)), member(digest(2), plain=True))
    assert reason(lambda: ingest(google, mixed)) == (INVALID, "MULTIPLE_DATA_TYPES_NOT_ALLOWED")


def test_b10_wrong_destinations(google: Clients) -> None:
    target = list_id(google)
    display = destination(target)
    display.operating_account.account_type = dm.ProductAccount.AccountType.DISPLAY_VIDEO_ADVERTISER
    request = addition(target, member(digest(1)), destinations=[display])
    assert reason(lambda: ingest(google, request)) == (INVALID, "DESTINATION_ACCOUNT_TYPE_MISMATCH")
    named = addition(target, member(digest(1)), destinations=[destination(f"customers/1/userLists/{target}")])
    assert reason(lambda: ingest(google, named)) == (INVALID, "INVALID_DESTINATION")


def test_b11_wrong_lists(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    mobile = dm.IngestedUserListInfo(upload_key_types=[dm.IngestedUserListInfo.UploadKeyType.MOBILE_ID])
    phones = str(create(google, user_list("phones", ingested_user_list_info=mobile)).id)
    assert reason(lambda: ingest(google, addition(phones, member(digest(1))))) == (INVALID, "INVALID_USER_LIST_TYPE")
    sandbox.drop_list(ACCOUNT, target)
    for gone in (target, "1"):
        assert reason(lambda gone=gone: ingest(google, addition(gone, member(digest(1))))) == (INVALID, "INVALID_USER_LIST_ID")
        assert reason(lambda gone=gone: remove(google, removal(gone, member(digest(1))))) == (INVALID, "INVALID_USER_LIST_ID")


def test_b12_terms(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    unsigned = (PRECONDITION, "TERMS_AND_CONDITIONS_NOT_SIGNED")
    assert reason(lambda: ingest(google, addition(target, member(digest(1)), terms_of_service=None))) == unsigned
    sandbox.accounts[ACCOUNT] = SandboxAccount(terms_accepted=False)
    assert reason(lambda: ingest(google, addition(target, member(digest(1))))) == unsigned
    assert remove(google, removal(target, member(digest(1))))


def test_b13_state_of_the_account(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    for account, expected in (
        (SandboxAccount(allowlisted=False), "ADVERTISER_NOT_ALLOWLISTED_FOR_UPLOADED_DATA"),
        (SandboxAccount(political_declaration=False), "EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED"),
    ):
        sandbox.accounts[ACCOUNT] = account
        assert reason(lambda: ingest(google, addition(target, member(digest(1))))) == (PRECONDITION, expected)
        assert reason(lambda: create(google, user_list("another"))) == (PRECONDITION, expected)
        assert remove(google, removal(target, member(digest(1))))
