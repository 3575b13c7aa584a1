"""The table from Google Ads' errors to remedies, every row: what a failed call becomes before the run, at the run, and at a read."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pyarrow as pa
import pytest
from answering_server import AnsweringServer, _Handlers
from google.ads.googleads.v26.services.types import google_ads_service as search
from google.ads.googleads.v26.services.types import offline_user_data_job_service as jobs
from google.ads.googleads.v26.services.types import user_list_service as lists
from google.longrunning import operations_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import status_pb2

from nestaudience.destinations import google_ads_errors
from nestaudience.destinations.google_ads import GoogleAds
from nestaudience.destinations.google_ads_connection import GoogleAdsSettings
from nestaudience.destinations.google_ads_errors import JOB_STARTED, REASONS, REMEDIES, refused_rows, remedy_of
from nestaudience.destinations.google_ads_versions import Version
from nestaudience.destinations.google_connection import SandboxEndpoint, SandboxToken
from nestaudience.destinations.google_errors import LOST, STATUSES
from nestaudience.destinations.port import (
    Accepted,
    Account,
    Batch,
    ConsentSignals,
    ListSpec,
    NoReceipt,
    Receipt,
    Refused,
    Target,
)
from nestaudience.errors import MustStop, NeedsFix, NestAudienceError, NotKnown, TryAgain
from nestaudience.hashing.digests import Digests
from nestaudience.sandbox.certificates import make_loopback_certificates
from nestaudience.sandbox.google_ads_refusals import failure_of, packed
from nestaudience.vocabulary import Operation, Recipient

ACCOUNT = Account("1112223333")
TARGET = Target(ACCOUNT, "7000000001")
DIGEST = "ab" * 32
PROSE = "people said things about qx7zwkanarie@example.se"
KEY = "google.ads.googleads.v26.errors.googleadsfailure-bin"
JOB = "customers/1112223333/offlineUserDataJobs/7"
FAILURES = [status for status in grpc.StatusCode if status is not grpc.StatusCode.OK]
NEVER_WITH_EFFECT = {
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "OUT_OF_RANGE",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "UNIMPLEMENTED",
}
Answer = Callable[[grpc.ServicerContext], bytes]


@contextmanager
def answering_ads() -> Iterator[tuple[AnsweringServer, GoogleAds]]:
    """A server that answers as a test decides, and the destination that talks to it."""
    certificates = make_loopback_certificates()
    answers = AnsweringServer()
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((_Handlers(answers),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(certificates.key_pem, certificates.server_pem)]))
    server.start()
    endpoint = SandboxEndpoint(f"localhost:{port}", certificates.ca_pem)
    destination = GoogleAds(GoogleAdsSettings(SandboxToken("t"), True, endpoint, timeout_seconds=15.0), sleep=lambda _: None)
    try:
        yield answers, destination
    finally:
        destination.close()
        server.stop(grace=None).wait()


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[AnsweringServer, GoogleAds]]:
    with answering_ads() as both:
        yield both


def addition() -> Batch:
    column = pa.array([bytes.fromhex(DIGEST)], pa.binary(32))
    return Batch(bytes(16), Operation.ADD, Digests(column, Recipient.GOOGLE), ConsentSignals(True, True))


def failing(status: grpc.StatusCode, reason: str | None = None, wait: timedelta | None = None) -> Answer:
    """A call that fails, with Google's own words and, if named, one of its reasons."""

    def answer(context: grpc.ServicerContext) -> bytes:
        if reason is not None:
            kind, _, name = reason.partition(".")
            failure = failure_of([(None, kind, name)], "v26", wait)
            failure.errors[0].message = PROSE
            failure.errors[0].trigger.string_value = DIGEST
            context.set_trailing_metadata(((KEY, failure.SerializeToString()),))
        context.abort(status, PROSE)
        raise AssertionError

    return answer


def answers(server: AnsweringServer, **special: Answer) -> None:
    """Everything goes well, but for the methods that are named."""
    usual = {
        "CreateOfflineUserDataJob": jobs.CreateOfflineUserDataJobResponse.pb()(resource_name=JOB).SerializeToString(),
        "AddOfflineUserDataJobOperations": b"",
        "RunOfflineUserDataJob": operations_pb2.Operation(name="customers/1112223333/operations/7").SerializeToString(),
        "SearchStream": b"",
        "MutateUserLists": b"",
    }

    def answer(context: grpc.ServicerContext) -> bytes:
        method = server.calls[-1]
        return special[method](context) if method in special else usual[method]

    server.answer = answer


def sent(google: GoogleAds) -> Receipt:
    return google.send(google.prepare(TARGET, addition()))


def test_every_code_has_one_remedy_and_every_reason_a_code() -> None:
    assert set(REASONS.values()) <= set(REMEDIES)
    assert set(STATUSES.values()) <= set(REMEDIES)
    for code, remedy in REMEDIES.items():
        assert remedy.error in {NeedsFix, TryAgain, NotKnown, MustStop}
        assert remedy.next_step
        assert remedy_of(LOST + code).error is NotKnown
    assert remedy_of("nonsense").error is NeedsFix
    assert google_ads_errors.REMEDIES["not_allowlisted"].error is NeedsFix


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_becomes_its_code(pair: tuple[AnsweringServer, GoogleAds], reason: str) -> None:
    server, google = pair
    code = REASONS[reason]
    refuses = failing(grpc.StatusCode.INVALID_ARGUMENT, reason)
    for method in ("CreateOfflineUserDataJob", "AddOfflineUserDataJobOperations"):
        for status in (
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.INTERNAL,
        ):  # nothing was run: the status proves nothing new
            answers(server, **{method: failing(status, reason)})
            assert sent(google) == Refused(code)
    answers(server, RunOfflineUserDataJob=refuses)
    assert sent(google) == (Accepted(f"{JOB}?taken=1") if code == JOB_STARTED else Refused(code))
    answers(server, RunOfflineUserDataJob=failing(grpc.StatusCode.INTERNAL, reason))
    assert sent(google) == (Accepted(f"{JOB}?taken=1") if code == JOB_STARTED else NoReceipt(LOST + code))
    answers(server, SearchStream=refuses)
    with pytest.raises(remedy_of(code).error) as caught:
        google.lists(ACCOUNT)
    assert caught.value.code == code


@pytest.mark.parametrize("status", FAILURES)
def test_every_status_without_a_reason(pair: tuple[AnsweringServer, GoogleAds], status: grpc.StatusCode) -> None:
    server, google = pair
    answers(server, RunOfflineUserDataJob=failing(status))
    receipt = sent(google)
    assert isinstance(receipt, Refused) is (status.name in NEVER_WITH_EFFECT)
    assert isinstance(receipt, NoReceipt) is (status.name not in NEVER_WITH_EFFECT)
    for method in ("CreateOfflineUserDataJob", "AddOfflineUserDataJobOperations"):
        server.calls.clear()
        answers(server, **{method: failing(status)})
        assert sent(google) == Refused(STATUSES[status])
        assert "RunOfflineUserDataJob" not in server.calls


@pytest.mark.parametrize("status", FAILURES)
def test_errors_say_nothing_of_the_server(pair: tuple[AnsweringServer, GoogleAds], status: grpc.StatusCode) -> None:
    server, google = pair
    for reason in (None, "authorization_error.USER_PERMISSION_DENIED"):
        answers(server, SearchStream=failing(status, reason), MutateUserLists=failing(status, reason))
        for ask in (
            lambda: google.find_list(ACCOUNT, "c"),
            lambda: google.read_list(TARGET),
            lambda: google.create_list(ACCOUNT, ListSpec("c", "n", 30)),
            lambda: google.delete_list(TARGET),
            lambda: google.terms_accepted(ACCOUNT),
        ):
            with pytest.raises(NestAudienceError) as caught:
                ask()
            error = caught.value
            said = str(error) + repr(error) + json.dumps(error.as_dict())
            assert PROSE not in said
            assert DIGEST not in said
            assert error.__context__ is None
            assert error.__cause__ is None


def test_quotas_name_their_wait(pair: tuple[AnsweringServer, GoogleAds]) -> None:
    server, google = pair
    wait = failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "quota_error.RESOURCE_TEMPORARILY_EXHAUSTED", timedelta(seconds=77))
    answers(server, SearchStream=wait, RunOfflineUserDataJob=wait)
    with pytest.raises(TryAgain) as caught:
        google.lists(ACCOUNT)
    assert (caught.value.code, caught.value.after) == ("quota_exhausted", 77.0)
    assert sent(google) == Refused("quota_exhausted")
    answers(server, RunOfflineUserDataJob=failing(grpc.StatusCode.RESOURCE_EXHAUSTED))
    assert sent(google) == NoReceipt("lost_exhausted_unexplained")


def test_answers_about_others_are_never_believed(pair: tuple[AnsweringServer, GoogleAds]) -> None:
    server, google = pair
    foreign = "customers/4445556666"
    row = {"user_list": {"resource_name": f"{foreign}/userLists/7000000001", "id": 7000000001, "integration_code": "c"}}
    page = search.SearchGoogleAdsStreamResponse.serialize(search.SearchGoogleAdsStreamResponse(results=[row]))
    answers(server, SearchStream=lambda _: page)
    for ask in (lambda: google.read_list(TARGET), lambda: google.find_list(ACCOUNT, "c"), lambda: google.lists(ACCOUNT)):
        with pytest.raises(MustStop) as caught:
            ask()
        assert caught.value.code == "wrong_account"
    made = lists.MutateUserListsResponse(results=[{"resource_name": f"{foreign}/userLists/7000000001"}])
    answers(server, MutateUserLists=lambda _: lists.MutateUserListsResponse.serialize(made))
    with pytest.raises(NotKnown):
        google.create_list(ACCOUNT, ListSpec("c", "n", 30))
    other = jobs.CreateOfflineUserDataJobResponse.pb()(resource_name=f"{foreign}/offlineUserDataJobs/7").SerializeToString()
    server.calls.clear()
    answers(server, CreateOfflineUserDataJob=lambda _: other)
    assert sent(google) == Refused("unreadable")
    assert server.calls == ["CreateOfflineUserDataJob"]
    told = search.SearchGoogleAdsStreamResponse(results=[{"customer": {"resource_name": foreign, "id": 4445556666}}])
    answers(server, SearchStream=lambda _: search.SearchGoogleAdsStreamResponse.serialize(told))
    with pytest.raises(MustStop):
        google.terms_accepted(ACCOUNT)


def test_garbage_for_an_answer(pair: tuple[AnsweringServer, GoogleAds]) -> None:
    server, google = pair
    for method, expected in (
        ("CreateOfflineUserDataJob", Refused("unreadable")),
        ("AddOfflineUserDataJobOperations", Refused("unreadable")),
        ("RunOfflineUserDataJob", NoReceipt("lost_unreadable")),
    ):
        answers(server, **{method: lambda _: b"\xff\xff\xff garbage"})
        receipt = sent(google)
        assert type(receipt) is type(expected)
    answers(server, SearchStream=lambda _: b"\xff\xff\xff garbage")
    with pytest.raises(TryAgain):
        google.read_list(TARGET)


@pytest.mark.parametrize(
    "details",
    [
        [],
        [AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"")],
        list(packed([(None, "range_error", "TOO_HIGH")], "v26").details),
        list(packed([(0, "range_error", "TOO_HIGH")], "v25").details),
    ],
)
def test_a_partial_failure_of_another_form_stops_the_job(
    pair: tuple[AnsweringServer, GoogleAds], details: list[AnyMessage]
) -> None:
    """Which rows were refused cannot be said then, so the job is not run."""
    server, google = pair
    answer = jobs.AddOfflineUserDataJobOperationsResponse.pb()()
    answer.partial_failure_error.CopyFrom(status_pb2.Status(code=3, message=PROSE, details=details))
    server.calls.clear()
    answers(server, AddOfflineUserDataJobOperations=lambda _: answer.SerializeToString())
    assert sent(google) == Refused("unreadable")
    assert "RunOfflineUserDataJob" not in server.calls


def test_an_operation_with_several_errors_counts_once_and_unknown_ones_count() -> None:
    version = Version("v26")
    found = [
        (4, "offline_user_data_job_error", "INVALID_SHA256_FORMAT"),
        (4, "offline_user_data_job_error", "MISSING_USER_IDENTIFIER"),
        (1, "offline_user_data_job_error", "INVALID_EVENT_VALUE"),
        (9, "offline_user_data_job_error", "INVALID_ENCODING"),
    ]
    assert refused_rows(packed(found, "v26"), version) == (("invalid_request", 1), ("member_malformed", 2))


_PROGRAM = """
import logging.config
import sys

sys.path.insert(0, sys.argv[1])
from test_google_ads_errors import ACCOUNT, TARGET, addition, answering_ads, failing
import grpc

with answering_ads() as (server, google):
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
    server.answer = failing(grpc.StatusCode.INVALID_ARGUMENT, "range_error.TOO_HIGH")
    prepared = google.prepare(TARGET, addition())
    if sys.argv[2] == "ours":
        google.send(prepared)
        server.answer = lambda context: b""
        google._filled(prepared)
        try:
            google.find_list(ACCOUNT, "c")
        except Exception:
            pass
    try:
        if sys.argv[2] == "ours":
            google._outcome(lambda: google._add(prepared, 0, "customers/1/offlineUserDataJobs/1", google._options(ACCOUNT, "x")))
        else:
            google._clients.jobs.add_offline_user_data_job_operations(request=prepared.call(0, "x"), retry=None, timeout=5)
    except Exception:
        pass
"""


@pytest.mark.parametrize("switch", ["the SDK's own variable", "an orchestrator's configuration"])
@pytest.mark.parametrize("way", ["ours", "the SDK alone"])
def test_logging_at_its_loudest_shows_nobody(way: str, switch: str) -> None:
    """Everything at DEBUG, switched on before or after the client was made. The SDK alone shows that the switch does print."""
    loud = {"GOOGLE_SDK_PYTHON_LOGGING_SCOPE": "google.ads.googleads"} if switch == "the SDK's own variable" else {}
    command = [sys.executable, "-c", _PROGRAM, str(Path(__file__).parent), way, switch]
    done = subprocess.run(command, env={**os.environ, **loud}, capture_output=True, text=True, check=True, timeout=60)
    printed = done.stdout + done.stderr
    assert (DIGEST in printed) is (way != "ours")
    assert PROSE not in printed or way != "ours"
