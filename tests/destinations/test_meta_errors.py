"""The table of Meta's refusals over a real socket, the traps of its SDK, and that nothing of a server's words survives."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest
import requests
from answering_http import APP_SECRET, TOKEN, AnsweringHttp, Reply, answering, listening, refusal, told
from facebook_business.api import FacebookAdsApi

from nestaudience.destinations.meta import Meta
from nestaudience.destinations.meta_errors import LOST, MEANINGS, REMEDIES, remedy_of
from nestaudience.destinations.meta_settings import MetaSettings
from nestaudience.destinations.meta_wire import Wire
from nestaudience.destinations.port import Accepted, Account, Batch, ListSpec, NoReceipt, Prepared, Refused, Target
from nestaudience.errors import MustStop, NeedsFix, NestAudienceError, NotKnown, TryAgain
from nestaudience.hashing.digests import Digests
from nestaudience.vocabulary import Operation, Recipient

PROSE = "anna@example.com is not valid"
ACCOUNT = Account("1112223333")
TARGET = Target(ACCOUNT, "120210000000000001")
SPEC = ListSpec("na-00000001", "na-00000001 n", 30)
DIGEST = hashlib.sha256(b"anna").hexdigest()
OURS = {"id": TARGET.list_id, "account_id": ACCOUNT.account_id, "name": SPEC.name, "subtype": "CUSTOM"}

# Written down again on purpose, from Meta's pages: a slip in the table must not pass.
# (code, subcode) -> what to do next, and whether the refusal proves that nothing happened.
EXPECTED = {
    (1, None): ("unknown", TryAgain, False),
    (2, None): ("unavailable", TryAgain, False),
    (4, None): ("quota_exhausted", TryAgain, True),
    (17, None): ("quota_exhausted", TryAgain, True),
    (17, 2446079): ("quota_exhausted", TryAgain, True),
    (32, None): ("quota_exhausted", TryAgain, True),
    (341, None): ("quota_exhausted", TryAgain, True),
    (613, None): ("quota_exhausted", TryAgain, True),
    (613, 1996): ("quota_exhausted", TryAgain, True),
    (80000, 2446079): ("quota_exhausted", TryAgain, True),
    (80003, 2446079): ("quota_exhausted", TryAgain, True),
    (80004, 2446079): ("quota_exhausted", TryAgain, True),
    (368, None): ("blocked_by_policy", MustStop, True),
    (10, None): ("permission_denied", NeedsFix, True),
    (200, None): ("permission_denied", NeedsFix, True),
    (294, None): ("permission_denied", NeedsFix, True),
    (299, 5): ("permission_denied", NeedsFix, True),
    (200, 1870090): ("terms_missing", NeedsFix, True),
    (200, 1870034): ("terms_missing", NeedsFix, True),
    (200, 1870050): ("account_without_business", NeedsFix, True),
    (200, 1870047): ("removal_refused_too_small", MustStop, True),
    (270, None): ("access_level_too_low", NeedsFix, True),
    (100, 33): ("list_gone", TryAgain, True),
    (100, None): ("invalid_request", NeedsFix, True),
    (100, 99): ("invalid_request", NeedsFix, True),
    (100, 1713228): ("list_flagged", MustStop, True),
    (100, 1713230): ("list_flagged", MustStop, True),
    (100, 1713231): ("list_flagged", MustStop, True),
    (2650, None): ("update_refused", NeedsFix, True),
    (2650, 1870144): ("update_refused", NeedsFix, True),
    (2650, 1870145): ("update_in_progress", TryAgain, True),
    (2650, 1870147): ("session_invalid", NeedsFix, True),
    (2650, 1870148): ("update_incomplete", TryAgain, False),
    (2650, 1870158): ("update_incomplete", TryAgain, False),
    (2650, 1870159): ("session_invalid", NeedsFix, True),
    (2654, None): ("create_refused", NeedsFix, True),
    (2654, 1713092): ("permission_denied", NeedsFix, True),
    (2635, None): ("api_version_expired", NeedsFix, True),
    (190, None): ("unauthenticated", NeedsFix, True),
    (190, 460): ("unauthenticated", NeedsFix, True),
    (102, None): ("unauthenticated", NeedsFix, True),
    (2656, None): ("list_has_lookalikes", NeedsFix, True),
    (99_901, 9_990_001): ("unknown", TryAgain, False),
}

PAGE = f"<!DOCTYPE html><html><body>{PROSE} success error Service Unavailable</body></html>".encode()
UNREADABLE = {
    "an HTML page with 200": Reply(200, PAGE),
    "an HTML page with 400": Reply(400, PAGE),
    "an HTML page with 413": Reply(413, PAGE),
    "an HTML page with 503": Reply(503, PAGE),
    "only words": Reply(200, b"OK"),
    "nothing": Reply(200),
    "nothing with 500": Reply(500),
    "true": told(True),
    "null": told(None),
    "a list": told([1]),
    "an empty object": told({}),
    "half an object": Reply(200, b'{"num_received": 1'),
    "depth": Reply(200, b"[" * 100_000),
    "no text": Reply(200, b"\xff\xfe\x00\xd8"),
    "an error that is null": told({"error": None}, 400),
    "an error that is a word": told({"error": PROSE}, 400),
    "an error that is a list": told({"error": [PROSE]}, 400),
    "an error without a code": told({"error": {"message": PROSE}}, 400),
    "a code that is text": refusal("100"),
    "a code that is true": refusal(True),
    "an error with 200": refusal(100, status=200),
    "an error with counts": told({"error": None, "num_received": 1}),
    "counts with 503": told({"num_received": 1}, 503),
    "counts with 201": told({"num_received": 1}, 201),
    "a redirection": Reply(307, b"", (("Location", "/elsewhere"),)),
    "half an answer": Reply(200, b'{"num_received":1}', cut=4),
}


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[AnsweringHttp, Meta]]:
    with answering() as made:
        yield made


def batch(operation: Operation = Operation.ADD, *names: str) -> Batch:
    digests = [hashlib.sha256(name.encode()).digest() for name in names or ("anna",)]
    return Batch(os.urandom(16), operation, Digests(pa.array(digests, pa.binary(32)), Recipient.META))


def ready(pair: tuple[AnsweringHttp, Meta], operation: Operation = Operation.ADD) -> Prepared:
    """A prepared request whose list the server has told of; the server then says nothing."""
    server, meta = pair
    server.always(told(OURS))
    prepared = meta.prepare(TARGET, batch(operation))
    server.calls.clear()
    return prepared


def test_the_table_is_whole() -> None:
    assert set(MEANINGS.values()) <= set(REMEDIES)
    narrow = {key for key in MEANINGS if not (200 <= key[0] <= 299 and key[1] is None)}
    by_code = {(code, None) for code, _ in EXPECTED}
    assert narrow <= set(EXPECTED) | by_code
    assert {(code, None) in MEANINGS for code in range(200, 300)} == {True}
    assert not [code for code in REMEDIES if code.startswith(LOST)]
    assert remedy_of("lost_anything").error is NotKnown
    assert remedy_of("a code of next year").error is NeedsFix


@pytest.mark.parametrize("operation", list(Operation))
@pytest.mark.parametrize("numbers", sorted(EXPECTED, key=str), ids=str)
def test_every_row_of_the_table(pair: tuple[AnsweringHttp, Meta], numbers: tuple[int, int | None], operation: Operation) -> None:
    server, meta = pair
    code, kind, proven = EXPECTED[numbers]
    prepared = ready(pair, operation)
    server.always(refusal(*numbers, prose=PROSE))
    refused = Refused(code, passing=code == "update_in_progress")
    assert meta.send(prepared) == (refused if proven else NoReceipt(LOST + code))
    assert len(server.calls) == 1
    assert type(meta.error_of(code, "x")) is kind
    # A tired server's refusal proves nothing, and neither does one that says it will pass, unless it only says: later.
    server.always(refusal(*numbers, status=500, prose=PROSE))
    assert meta.send(prepared) == NoReceipt(LOST + code)
    server.always(refusal(*numbers, prose=PROSE, is_transient=True))
    receipt = meta.send(prepared)
    assert receipt == (refused if proven and kind is TryAgain else NoReceipt(receipt.code))
    # What the SDK cannot read does not hide what Meta said.
    server.always(refusal(*numbers, error_data="{"))
    assert meta.send(prepared) == (refused if proven else NoReceipt(LOST + code))


@pytest.mark.parametrize("numbers", sorted(EXPECTED, key=str), ids=str)
def test_reads_and_other_writes_raise_by_the_table(pair: tuple[AnsweringHttp, Meta], numbers: tuple[int, int | None]) -> None:
    server, meta = pair
    code, kind, proven = EXPECTED[numbers]
    code, kind = ("account_wrong", NeedsFix) if code == "list_gone" else (code, kind)
    server.always(refusal(*numbers, prose=PROSE))
    reads = (lambda: meta.find_list(ACCOUNT, "c"), lambda: meta.lists(ACCOUNT), lambda: meta.read_list(TARGET))
    for ask in reads:
        assert_raised(ask, kind, code)
    server.always(refusal(*numbers, prose=PROSE))
    assert_raised(lambda: meta.create_list(ACCOUNT, SPEC), kind if proven else NotKnown, code if proven else LOST + code)
    assert len(server.calls) == 1


def assert_raised(ask: object, kind: type[NestAudienceError], code: str) -> NestAudienceError:
    with pytest.raises(NestAudienceError) as caught:
        ask()  # type: ignore[operator]
    error = caught.value
    assert (type(error), error.code) == (kind, code)
    text = str(error) + repr(error) + json.dumps(error.as_dict()) + repr(vars(error))
    for word in (PROSE, TOKEN, APP_SECRET, DIGEST, "127.0.0.1", "access_token"):
        assert word not in text
    assert error.__context__ is None
    assert error.__cause__ is None
    return error


@pytest.mark.parametrize("name", sorted(UNREADABLE))
@pytest.mark.parametrize("operation", list(Operation))
def test_what_cannot_be_read_is_no_success(pair: tuple[AnsweringHttp, Meta], name: str, operation: Operation) -> None:
    server, meta = pair
    prepared = ready(pair, operation)
    server.always(UNREADABLE[name])
    receipt = meta.send(prepared)
    assert isinstance(receipt, NoReceipt)
    assert receipt.code.removeprefix(LOST) in set(REMEDIES) - {"unknown"}
    assert PROSE not in repr(receipt)
    assert len(server.calls) == 1
    with pytest.raises(NotKnown):
        meta.create_list(ACCOUNT, SPEC)
    assert len(server.calls) == 2


@pytest.mark.parametrize("name", sorted(UNREADABLE))
def test_what_cannot_be_read_proves_nothing_about_lists(pair: tuple[AnsweringHttp, Meta], name: str) -> None:
    server, meta = pair
    server.always(UNREADABLE[name])
    for ask in (lambda: meta.find_list(ACCOUNT, "c"), lambda: meta.lists(ACCOUNT), lambda: meta.read_list(TARGET)):
        with pytest.raises(NestAudienceError) as caught:
            ask()
        assert type(caught.value) is (NeedsFix if name == "an error with 200" else TryAgain) or name.startswith("counts with")
        assert caught.value.__context__ is None


def test_a_lost_answer_to_a_deletion_is_not_known(pair: tuple[AnsweringHttp, Meta]) -> None:
    server, meta = pair
    for reply in (
        Reply(200, PAGE),
        Reply(502, PAGE),
        told({"success": False}),
        told({"success": "true"}),
        refusal(2, status=500),
    ):
        server.always(reply)
        server.answer = lambda call, reply=reply: reply if call.method == "DELETE" else told(OURS)
        with pytest.raises(NotKnown):
            meta.delete_list(TARGET)
        assert [call.method for call in server.calls] == ["GET", "DELETE"]
    server.answer = lambda call: refusal(2656) if call.method == "DELETE" else told(OURS)
    assert_raised(lambda: meta.delete_list(TARGET), NeedsFix, "list_has_lookalikes")


def test_a_list_of_another_account_is_never_deleted(pair: tuple[AnsweringHttp, Meta]) -> None:
    server, meta = pair
    server.always(told({**OURS, "account_id": "9"}))
    assert_raised(lambda: meta.delete_list(TARGET), MustStop, "wrong_account")
    assert [call.method for call in server.calls] == ["GET"]


@dataclass(frozen=True)
class Waiting:
    header: str
    after: float | None


def entry(minutes: object) -> dict[str, object]:
    return {"type": "custom_audience", "estimated_time_to_regain_access": minutes}


@pytest.mark.parametrize(
    "waiting",
    [
        Waiting(json.dumps({"1": [entry(19)]}), 1140.0),
        Waiting(json.dumps({"1": [entry(0), entry(3)], "2": [entry(7)]}), 420.0),
        Waiting(json.dumps({"1": [entry(0)]}), None),
        Waiting(json.dumps({"1": [entry("5")], "2": entry(3), "3": [4], "4": None}), None),
        Waiting(json.dumps({"1": [entry(10**9), entry(-1), entry(True)]}), None),
        Waiting(json.dumps([entry(3)]), None),
        Waiting("{", None),
        Waiting("", None),
    ],
)
def test_a_limit_says_how_long_to_wait(pair: tuple[AnsweringHttp, Meta], waiting: Waiting) -> None:
    server, meta = pair
    error = {"error": {"code": 80003, "error_subcode": 2446079, "message": PROSE}}
    server.always(told(error, 400, X_Business_Use_Case_Usage=waiting.header))
    raised = assert_raised(lambda: meta.find_list(ACCOUNT, "c"), TryAgain, "quota_exhausted")
    assert raised.after == waiting.after  # type: ignore[attr-defined]
    assert len(server.calls) == 1  # further calls would make the wait longer
    reply = server.answer(server.calls[0])
    prepared = ready(pair)
    server.always(reply)
    receipt = meta.send(prepared)
    assert receipt == Refused("quota_exhausted")
    error = meta.error_of(receipt.code, "x")
    assert isinstance(error, TryAgain)
    assert error.after == waiting.after


# --- the wire


def test_a_redirection_is_never_followed(pair: tuple[AnsweringHttp, Meta]) -> None:
    server, meta = pair
    prepared = ready(pair)
    with listening() as elsewhere:
        for status in (301, 302, 303, 307, 308):
            server.always(Reply(status, b"", (("Location", f"http://127.0.0.1:{elsewhere.port}/x"),)))
            assert meta.send(prepared) == NoReceipt("lost_unreadable")
        assert elsewhere.calls == []


@pytest.mark.parametrize("operation", list(Operation))
def test_what_was_prepared_is_what_goes_out_byte_for_byte(pair: tuple[AnsweringHttp, Meta], operation: Operation) -> None:
    server, meta = pair
    prepared = meta.prepare(TARGET, batch(operation, *[str(number) for number in range(10_000)]))
    server.always(Reply())
    meta.send(prepared)
    (call,) = server.calls
    assert call.body == prepared.message  # type: ignore[attr-defined]
    assert call.method == "POST"
    url = urlsplit(call.url)
    assert url.path == f"/{FacebookAdsApi.API_VERSION}/{TARGET.list_id}/users"
    assert set(parse_qs(url.query)) == {"access_token", "appsecret_proof"}
    assert len(call.url) < 300


def test_the_wire_keeps_nothing_of_a_request(pair: tuple[AnsweringHttp, Meta]) -> None:
    server, meta = pair
    prepared = ready(pair)
    server.always(told({"num_received": 1, "num_invalid_entries": 1, "invalid_entry_samples": {"0": DIGEST}}))
    assert isinstance(meta.send(prepared), Accepted)
    connected = meta._connected
    assert connected is not None
    kept = {name: value for name, value in vars(connected.wire).items() if isinstance(value, bytes | str) or value is None}
    assert kept == {"_expected": b"", "_answer": None}
    assert connected.wire.take() is None


def test_a_request_that_was_changed_on_its_way_is_not_sent() -> None:
    with listening() as server:
        session, wire, url = requests.Session(), Wire(), f"http://127.0.0.1:{server.port}/x?access_token=t"
        session.mount("http://", wire)
        wire.expect(b"a=1")
        assert session.post(url, data={"a": "1"}).status_code == 200
        with pytest.raises(ValueError, match="sent already"):
            session.post(url, data={"a": "1"})
        assert not wire.changed
        changed = ({"data": {"a": "2"}}, {"data": {"a": "1", "b": "2"}}, {}, {"data": {"a": "1"}, "params": {"payload": DIGEST}})
        for options in changed:
            wire.expect(b"a=1")
            with pytest.raises(ValueError, match="not the prepared one"):
                session.post(url, **options)  # type: ignore[arg-type]
            assert wire.changed
        assert len(server.calls) == 1


def test_the_sdk_keeps_nothing_for_the_whole_process(pair: tuple[AnsweringHttp, Meta]) -> None:
    hook = sys.excepthook
    with answering() as (server, meta):
        server.always(told(OURS))
        assert meta.read_list(TARGET) is not None
    assert FacebookAdsApi.get_default_api() is None
    assert sys.excepthook is hook
    assert "facebook_business.crashreporter" not in sys.modules


def test_secrets_and_people_are_in_no_picture_of_the_objects(pair: tuple[AnsweringHttp, Meta]) -> None:
    _, meta = pair
    prepared = ready(pair)
    shown = repr(meta) + repr(vars(meta)) + repr(prepared) + str(prepared)
    for word in (TOKEN, APP_SECRET, DIGEST):
        assert word not in shown


def test_nobody_listening_any_more() -> None:
    with answering() as pair:
        prepared = ready(pair)
        server = pair[0]
    meta = Meta(MetaSettings(TOKEN, terms_accepted=True, endpoint=f"http://127.0.0.1:{server.port}", read_waits=()))
    assert meta.send(prepared) == NoReceipt("lost_unavailable")
    assert_raised(lambda: meta.read_list(TARGET), TryAgain, "unavailable")
    meta.close()
    assert meta.send(prepared) == NoReceipt("lost_unreadable")
    assert server.calls == []


_PROGRAM = """
import logging.config
import sys

sys.path.insert(0, sys.argv[1])
from answering_http import Reply, answering, refusal
from test_meta_errors import ACCOUNT, TARGET, ready, PAGE, PROSE
import logging

with answering() as (server, meta):
    logging.config.dictConfig({
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"all": {"format": "%(name)s %(message)s"}},
        "handlers": {"all": {"class": "logging.StreamHandler", "formatter": "all"}},
        "root": {"level": "DEBUG", "handlers": ["all"]},
    })
    prepared = ready((server, meta))
    for logger in logging.Logger.manager.loggerDict.values():
        logger.disabled = False
    for reply in (refusal(100, prose=PROSE), Reply(200, PAGE), Reply(503, PAGE), Reply(200, b"{}", cut=1)):
        server.always(reply)
        if sys.argv[2] == "ours":
            meta.send(prepared)
            try:
                meta.find_list(ACCOUNT, "c")
            except Exception:
                pass
        else:
            meta._connected.wire.expect(prepared.message)
            try:
                meta._connected.api.call("POST", (TARGET.list_id, "users"), params=prepared.fields())
            except Exception as error:
                logging.getLogger("a careless caller").error(error)
    assert server.calls
"""


@pytest.mark.parametrize("way", ["ours", "the SDK alone"])
def test_logging_at_its_loudest_shows_nobody_and_no_proxy_is_heeded(way: str) -> None:
    """Everything at DEBUG, and a proxy in the environment. The SDK alone shows that it does print."""
    proxies = {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1", "NO_PROXY": "", "no_proxy": ""}
    command = [sys.executable, "-c", _PROGRAM, str(Path(__file__).parent), way]
    done = subprocess.run(command, env={**os.environ, **proxies}, capture_output=True, text=True, check=True, timeout=60)
    printed = done.stdout + done.stderr
    for word in (DIGEST, TOKEN, PROSE):
        assert (word in printed) is (way != "ours")


def test_no_url_holds_a_person(pair: tuple[AnsweringHttp, Meta]) -> None:
    server, meta = pair
    server.always(told(OURS))
    meta.read_list(TARGET)
    for operation in Operation:
        meta.send(meta.prepare(TARGET, batch(operation)))
    server.answer = lambda call: told({"data": []})
    meta.find_list(ACCOUNT, "c")
    assert {call.method for call in server.calls} == {"GET", "POST"}
    assert not [call for call in server.calls if DIGEST in call.url]
    assert [DIGEST.encode() in call.body for call in server.calls] == [False, True, True, False]
