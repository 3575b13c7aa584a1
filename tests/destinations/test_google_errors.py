"""The table of Google's refusals over the real wire: every status, with and without details, and nothing of a server's words
survives."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pyarrow as pa
import pytest
from answering_server import AnsweringServer, answering
from google.ads import datamanager_v1 as dm

from nestaudience.destinations.google_data_manager import GoogleDataManager
from nestaudience.destinations.google_errors import LOST, REASONS, REMEDIES, STATUSES, remedy_of
from nestaudience.destinations.port import Account, Batch, ConsentSignals, ListSpec, NoReceipt, Refused, Target
from nestaudience.errors import MustStop, NeedsFix, NestAudienceError, NotKnown, TryAgain
from nestaudience.hashing.digests import Digests
from nestaudience.sandbox.google_refusals import Refusal
from nestaudience.vocabulary import Operation, Recipient

PROSE = "anna@example.com is not valid"
ACCOUNT = Account("1112223333")
TARGET = Target(ACCOUNT, "7000000001")
DIGEST = hashlib.sha256(b"anna").hexdigest()
FAILURES = [status for status in grpc.StatusCode if status is not grpc.StatusCode.OK]

# Written down again on purpose, from the guide on errors: a slip in the table must not pass.
NEVER_WITH_EFFECT = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
}


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[AnsweringServer, GoogleDataManager]]:
    with answering() as made:
        yield made


def addition() -> Batch:
    digests = Digests(pa.array([bytes.fromhex(DIGEST)], pa.binary(32)), Recipient.GOOGLE)
    return Batch(bytes(16), Operation.ADD, digests, ConsentSignals(ad_user_data=True, ad_personalization=True))


def plain(status: grpc.StatusCode) -> object:
    return lambda context: context.abort(status, PROSE)


def detailed(status: grpc.StatusCode, reason: str, domain: str = "datamanager.googleapis.com", **metadata: str) -> object:
    refusal = Refusal(status, reason, (("audience_members", PROSE),), tuple(metadata.items()), domain)
    return lambda context: context.abort_with_status(refusal.to_grpc(PROSE))


def test_the_table_is_whole() -> None:
    assert set(STATUSES) == set(FAILURES)
    assert set(REASONS.values()) | set(STATUSES.values()) <= set(REMEDIES)
    of_other_apis = {"RATE_LIMIT_EXCEEDED", "SERVICE_DISABLED"}
    assert set(REASONS) - {reason.name for reason in dm.ErrorReason} == of_other_apis
    assert not [code for code in REMEDIES if code.startswith(LOST)]
    assert remedy_of("lost_anything").error is NotKnown
    assert remedy_of("a code of next year").error is NeedsFix


@pytest.mark.parametrize("status", FAILURES)
def test_every_status_without_details(pair: tuple[AnsweringServer, GoogleDataManager], status: grpc.StatusCode) -> None:
    server, google = pair
    server.answer = plain(status)
    server.calls.clear()
    receipt = google.send(google.prepare(TARGET, addition()))
    assert isinstance(receipt, Refused if status.name in NEVER_WITH_EFFECT else NoReceipt)
    assert server.calls == ["IngestAudienceMembers"]
    assert receipt.code in REMEDIES or receipt.code.removeprefix(LOST) in REMEDIES
    assert PROSE not in repr(receipt)


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_that_we_know(pair: tuple[AnsweringServer, GoogleDataManager], reason: str) -> None:
    server, google = pair
    exhausted = REASONS[reason].startswith("quota")
    status = grpc.StatusCode.RESOURCE_EXHAUSTED if exhausted else grpc.StatusCode.INVALID_ARGUMENT
    server.answer = detailed(status, reason)
    unnamed = () if REASONS[reason] == "member_malformed" else None
    assert google.send(google.prepare(TARGET, addition())) == Refused(REASONS[reason], unnamed)
    # The same reason with a status that proves nothing stays open.
    server.answer = detailed(grpc.StatusCode.INTERNAL, reason)
    assert google.send(google.prepare(TARGET, addition())) == NoReceipt(LOST + REASONS[reason])
    assert remedy_of(LOST + REASONS[reason]).error is NotKnown


ONE = "audience_members.audience_members[{}].composite_data.user_data.user_identifiers[0]"


@pytest.mark.parametrize(
    ("told", "rows"),
    [
        ([(ONE.format(7), "INVALID_HEX_ENCODING"), (ONE.format(2), "A_REASON_OF_NEXT_YEAR")],
         ((2, "member_malformed"), (7, "invalid_hex_encoding"))),
        ([("audience_members[3]", "INVALID_SHA256_FORMAT"), ("audience_members[3]", "INVALID_SHA256_FORMAT")],
         ((3, "invalid_sha256_format"),)),
        ([(ONE.format(7), "INVALID_HEX_ENCODING"), ("destinations[0]", "INVALID_DESTINATION")], ()),
        ([("audience_members[x]", "INVALID_HEX_ENCODING")], ()),
        ([(PROSE, PROSE)], ()),
        ([], ()),
    ],
)  # fmt: skip
def test_a_refusal_about_people_says_which_of_them(
    pair: tuple[AnsweringServer, GoogleDataManager], told: list[tuple[str, str]], rows: tuple[tuple[int, str], ...]
) -> None:
    server, google = pair
    refusal = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_HEX_ENCODING", tuple(told))
    server.answer = lambda context: context.abort_with_status(refusal.to_grpc(PROSE))
    receipt = google.send(google.prepare(TARGET, addition()))
    assert receipt == Refused("member_malformed", rows)
    assert {code for _, code in rows} <= set(REMEDIES)
    # A reason that is not about people, at paths that are not either, is about the whole request.
    refusal = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_DESTINATION", (("destinations[0]", "INVALID_DESTINATION"),))
    assert google.send(google.prepare(TARGET, addition())) == Refused("account_wrong")


def test_reasons_that_are_new_or_not_googles(pair: tuple[AnsweringServer, GoogleDataManager]) -> None:
    server, google = pair
    prepared = google.prepare(TARGET, addition())
    server.answer = detailed(grpc.StatusCode.INVALID_ARGUMENT, "A_REASON_OF_NEXT_YEAR")
    assert google.send(prepared) == Refused("invalid_request")
    server.answer = detailed(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_USER_LIST_ID", domain="googleapis.com.example.org")
    assert google.send(prepared) == Refused("invalid_request")
    server.answer = detailed(grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED", domain="proxy.example.org")
    assert google.send(prepared) == NoReceipt("lost_exhausted_unexplained")
    server.answer = detailed(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "RATE_LIMIT_EXCEEDED",
        "googleapis.com",
        quota_limit="IngestionMutateRequestsPerDayPerProject",
    )
    assert google.send(prepared) == Refused("quota_exhausted_today")


@pytest.mark.parametrize("request_id", ["", " ", "a b", "é", "x" * 300, PROSE])
def test_a_request_id_that_is_none_is_no_receipt(pair: tuple[AnsweringServer, GoogleDataManager], request_id: str) -> None:
    server, google = pair
    body = dm.IngestAudienceMembersResponse.serialize(dm.IngestAudienceMembersResponse(request_id=request_id))
    server.answer = lambda context: body
    assert google.send(google.prepare(TARGET, addition())) == NoReceipt("lost_unreadable")


def test_garbage_for_an_answer_is_no_receipt(pair: tuple[AnsweringServer, GoogleDataManager]) -> None:
    server, google = pair
    server.answer = lambda context: b"\xff\xff\xff garbage"
    assert isinstance(google.send(google.prepare(TARGET, addition())), NoReceipt)
    with pytest.raises(TryAgain):
        google.read_list(TARGET)
    with pytest.raises(NotKnown):
        google.create_list(ACCOUNT, ListSpec("c", "n", 30))


@pytest.mark.parametrize("status", FAILURES)
def test_errors_of_reads_say_nothing_of_the_server(
    pair: tuple[AnsweringServer, GoogleDataManager], status: grpc.StatusCode
) -> None:
    server, google = pair
    for answer in (plain(status), detailed(status, "PERMISSION_DENIED"), detailed(status, PROSE)):
        server.answer = answer
        for ask in (
            lambda: google.find_list(ACCOUNT, "c"),
            lambda: google.read_list(TARGET),
            lambda: google.create_list(ACCOUNT, ListSpec("c", "n", 30)),
        ):
            with pytest.raises(NestAudienceError) as caught:
                ask()
            error = caught.value
            assert PROSE not in str(error) + repr(error) + json.dumps(error.as_dict())
            assert error.__context__ is None
            assert error.__cause__ is None


def test_an_answer_about_another_account_is_never_believed(pair: tuple[AnsweringServer, GoogleDataManager]) -> None:
    server, google = pair
    name = "accountTypes/GOOGLE_ADS/accounts/11122233334/userLists/7000000001"
    other = dm.UserList(name=name, id=7000000001, integration_code="c")
    server.answer = lambda context: dm.UserList.serialize(other)
    with pytest.raises(MustStop) as caught:
        google.read_list(TARGET)
    assert caught.value.code == "wrong_account"
    with pytest.raises(NotKnown):
        google.create_list(ACCOUNT, ListSpec("c", "n", 30))
    page = dm.ListUserListsResponse(user_lists=[other])
    server.answer = lambda context: dm.ListUserListsResponse.serialize(page)
    with pytest.raises(MustStop) as caught:
        google.find_list(ACCOUNT, "c")
    assert caught.value.code == "wrong_account"


def test_a_denied_list_is_gone_only_if_the_account_says_so(pair: tuple[AnsweringServer, GoogleDataManager]) -> None:
    server, google = pair
    listed = dm.UserList(name="accountTypes/GOOGLE_ADS/accounts/1112223333/userLists/7000000001", id=7000000001)

    def serve(pages: dm.ListUserListsResponse | None) -> object:
        def answer(context: grpc.ServicerContext) -> bytes:
            if server.calls[-1] == "GetUserList" or pages is None:
                context.abort(grpc.StatusCode.PERMISSION_DENIED, PROSE)
            return dm.ListUserListsResponse.serialize(pages)

        return answer

    server.answer = serve(dm.ListUserListsResponse())
    assert google.read_list(TARGET) is None
    for hidden in (None, dm.ListUserListsResponse(user_lists=[listed])):
        server.answer = serve(hidden)
        with pytest.raises(NeedsFix) as caught:
            google.read_list(TARGET)
        assert caught.value.code == "permission_denied"


@pytest.mark.parametrize("status", FAILURES)
def test_a_deletion_that_is_refused(pair: tuple[AnsweringServer, GoogleDataManager], status: grpc.StatusCode) -> None:
    """Without effect it is an error by its code, else not known; and "not found" counts only if the account's listing agrees."""
    server, google = pair
    listed = dm.UserList(name="accountTypes/GOOGLE_ADS/accounts/1112223333/userLists/7000000001", id=7000000001)

    def answer(context: grpc.ServicerContext) -> bytes:
        if server.calls[-1] == "ListUserLists":
            return dm.ListUserListsResponse.serialize(dm.ListUserListsResponse(user_lists=[listed]))
        context.abort(status if server.calls[-1] == "DeleteUserList" else grpc.StatusCode.NOT_FOUND, PROSE)
        raise AssertionError

    server.calls.clear()
    server.answer = answer
    with pytest.raises(NestAudienceError) as caught:
        google.delete_list(TARGET)
    assert server.calls.count("DeleteUserList") == 1
    assert isinstance(caught.value, NotKnown) is (status.name not in NEVER_WITH_EFFECT)
    assert PROSE not in str(caught.value)
    assert caught.value.__context__ is None


_PROGRAM = """
import logging.config
import sys

sys.path.insert(0, sys.argv[1])
from answering_server import answering
from test_google_errors import ACCOUNT, TARGET, addition, plain
import grpc

with answering() as (server, google):
    if sys.argv[3] == "an orchestrator's configuration":
        handler = {"class": "logging.StreamHandler", "formatter": "all"}
        logging.config.dictConfig({
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"all": {"format": "%(name)s %(message)s %(request)s", "defaults": {"request": ""}}},
            "handlers": {"all": handler},
            "root": {"level": "DEBUG", "handlers": ["all"]},
        })
        logging.getLogger("google").propagate = True
    for logger in logging.Logger.manager.loggerDict.values():
        logger.disabled = False
    server.answer = plain(grpc.StatusCode.INVALID_ARGUMENT)
    prepared = google.prepare(TARGET, addition())
    if sys.argv[2] == "ours":
        google.send(prepared)
        try:
            google.find_list(ACCOUNT, "c")
        except Exception:
            pass
    else:
        try:
            google._clients.ingestion.ingest_audience_members(request=prepared.to_sdk(), retry=None, timeout=5)
        except Exception:
            pass
"""


@pytest.mark.parametrize("switch", ["the SDK's own variable", "an orchestrator's configuration"])
@pytest.mark.parametrize("way", ["ours", "the SDK alone"])
def test_logging_at_its_loudest_shows_nobody(way: str, switch: str) -> None:
    """Everything at DEBUG, switched on before or after the client was made. The SDK alone shows that the switch does print."""
    loud = {"GOOGLE_SDK_PYTHON_LOGGING_SCOPE": "google.ads.datamanager_v1"} if switch == "the SDK's own variable" else {}
    command = [sys.executable, "-c", _PROGRAM, str(Path(__file__).parent), way, switch]
    done = subprocess.run(command, env={**os.environ, **loud}, capture_output=True, text=True, check=True, timeout=60)
    printed = done.stdout + done.stderr
    assert (DIGEST in printed) is (way != "ours")
    assert PROSE not in printed or way != "ours"
