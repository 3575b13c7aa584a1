"""The ten traps that Meta's library and its limits set: what holds each of them shut. Where it can be shown, the library falls in and we do not.

1 people in a URL, 2 error pages taken for success, 3 addresses sent as they are, 4 digests hashed again, 5 secrets in errors, 6 crash reports and one
client for the whole process, 7 calls that hang or are repeated, 8 removals that Meta refuses, 9 counts of a session, 10 no word for consent.
"""

import hashlib
import json
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest
from facebook_business.adobjects.customaudience import CustomAudience
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession

from nestaudience.destinations.meta import Meta
from nestaudience.destinations.meta_settings import MetaSettings
from nestaudience.destinations.port import (
    Accepted,
    Account,
    Batch,
    ConsentSignals,
    ListSpec,
    NoReceipt,
    Refused,
    Succeeded,
    Target,
)
from nestaudience.errors import MustStop
from nestaudience.hashing.digests import Digests
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount
from nestaudience.vocabulary import Operation, Recipient

ACCOUNT = Account("1112223333")
ADD, REMOVE = Operation.ADD, Operation.REMOVE
ADDRESS = "anna@example.se"


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def batch(operation: Operation, *names: str, batch_id: bytes = bytes(16)) -> Batch:
    return Batch(batch_id, operation, Digests(pa.array([bytes.fromhex(digest(n)) for n in names], pa.binary(32)), Recipient.META))


@pytest.fixture
def sandbox() -> Iterator[MetaSandbox]:
    clock = SandboxClock(datetime(2026, 11, 22, 3, 0, tzinfo=UTC))
    with MetaSandbox({ACCOUNT.account_id: MetaAccount()}, clock, keep_requests=True) as running:
        yield running


@pytest.fixture
def meta(sandbox: MetaSandbox) -> Iterator[Meta]:
    made = Meta(MetaSettings(sandbox.token, terms_accepted=True, endpoint=f"http://{sandbox.endpoint}", timeout_seconds=5.0))
    yield made
    made.close()


@pytest.fixture
def target(meta: Meta) -> Target:
    return Target(ACCOUNT, meta.create_list(ACCOUNT, ListSpec("na-00000001", "na-00000001 x", 30)).list_id)


def library(sandbox: MetaSandbox, target: Target) -> CustomAudience:
    """A list as Meta's library alone would use it."""
    session = FacebookSession(access_token=sandbox.token, timeout=5.0)
    session.GRAPH = f"http://{sandbox.endpoint}"
    session.requests.trust_env = False
    return CustomAudience(target.list_id, api=FacebookAdsApi(session))


def lines(sandbox: MetaSandbox) -> list[tuple[str, bytes]]:
    """(request line, body) of everything that arrived."""
    parts = [raw.partition(b"\r\n\r\n") for _, raw in sandbox.received]
    return [(line.decode("latin-1"), body) for line, _, body in parts]


def test_fact_1_no_person_is_in_a_url(sandbox: MetaSandbox, meta: Meta, target: Target) -> None:
    names = [str(number) for number in range(10_000)]
    for operation in (ADD, REMOVE):
        assert isinstance(
            meta.send(meta.prepare(target, batch(operation, *names, batch_id=operation.value.encode()[:1] * 16))), Accepted
        )
    assert sandbox.members(ACCOUNT.account_id, target.list_id) == frozenset()
    for line, _ in lines(sandbox):
        assert len(line) < 1000
        assert set(parse_qs(urlsplit(line.split(" ")[1]).query)) <= {
            "access_token",
            "appsecret_proof",
            "fields",
            "limit",
            "after",
        }
    with pytest.raises(Exception, match=r"(?i)connection|remote"):
        library(sandbox, target).remove_users(["EMAIL"], [[digest(n)] for n in names[:300]], is_raw=True, pre_hashed=True)


@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.HTML_OK, FaultKind.DEADLINE])
def test_fact_2_a_page_is_no_success(sandbox: MetaSandbox, meta: Meta, target: Target, kind: FaultKind) -> None:
    prepared = meta.prepare(target, batch(REMOVE, "a"))
    sandbox.faults.add(Fault("RemoveUsers", kind))
    assert isinstance(meta.send(prepared), NoReceipt)
    sandbox.faults.add(Fault("RemoveUsers", kind))
    believed = library(sandbox, target).remove_users(["EMAIL"], [[digest("a")]], is_raw=True, pre_hashed=True)
    assert believed.is_success()  # the trap: should the library mend this, the test says so


def test_fact_3_only_digests_can_be_sent(sandbox: MetaSandbox, meta: Meta, target: Target) -> None:
    for column in (pa.array([ADDRESS]), pa.array([ADDRESS.encode()]), pa.array([digest("a")]), pa.array([ADDRESS.encode() * 3])):
        with pytest.raises((TypeError, ValueError)):
            Batch(bytes(16), ADD, Digests(column, Recipient.META))
    with pytest.raises(FacebookRequestError):
        library(sandbox, target).add_users("EMAIL", [ADDRESS])
    assert ADDRESS in parse_qs(lines(sandbox)[-1][1].decode())["payload"][0]  # the trap
    meta.send(meta.prepare(target, batch(ADD, ADDRESS)))
    assert ADDRESS.encode() not in lines(sandbox)[-1][1]
    assert b"%40" not in lines(sandbox)[-1][1]


def test_fact_4_the_library_changes_no_digest(sandbox: MetaSandbox, meta: Meta, target: Target) -> None:
    meta.send(meta.prepare(target, batch(ADD, "a", "b")))
    sent = json.loads(parse_qs(lines(sandbox)[-1][1].decode())["payload"][0])
    assert sent["data"] == [[digest("a")], [digest("b")]]
    assert sandbox.members(ACCOUNT.account_id, target.list_id) == {digest("a"), digest("b")}
    library(sandbox, target).add_users(["EMAIL"], [[digest("c")]], is_raw=True)
    assert digest(digest("c")) in sandbox.members(ACCOUNT.account_id, target.list_id)  # the trap


def test_fact_5_no_error_holds_a_person_or_a_secret(sandbox: MetaSandbox, meta: Meta, target: Target) -> None:
    prepared = meta.prepare(target, batch(REMOVE, "a"))
    sandbox.flag_list(ACCOUNT.account_id, target.list_id)
    receipt = meta.send(prepared)
    assert isinstance(receipt, Refused)
    with pytest.raises(MustStop) as ours:
        raise meta.error_of(receipt.code, "a list")
    with pytest.raises(FacebookRequestError) as caught:
        library(sandbox, target).create_user(params={"payload": {"schema": ["EMAIL"], "data": [[digest("a")], []]}})
    assert digest("a") in str(caught.value)  # the trap
    told = "".join(traceback.format_exception(ours.value)) + repr(ours.value) + str(ours.value.args)
    assert ours.value.__context__ is None
    assert digest("a") not in told
    assert sandbox.token not in told


def test_fact_6_nothing_is_reported_and_nothing_is_the_whole_processs(meta: Meta, target: Target) -> None:
    meta.send(meta.prepare(target, batch(ADD, "a")))
    assert FacebookAdsApi.get_default_api() is None
    assert "facebook" not in sys.excepthook.__module__


def test_fact_7_a_call_ends_and_a_write_is_made_once(sandbox: MetaSandbox, target: Target) -> None:
    settings = MetaSettings(sandbox.token, terms_accepted=True, endpoint=f"http://{sandbox.endpoint}", timeout_seconds=0.3)
    hasty = Meta(settings)
    prepared = hasty.prepare(target, batch(REMOVE, "a"))
    sandbox.faults.add(Fault("RemoveUsers", FaultKind.HANG, seconds=1.0))
    assert hasty.send(prepared) == NoReceipt("lost_deadline_exceeded")
    assert sandbox.seen("RemoveUsers") == 1
    hasty.close()


@pytest.mark.parametrize("why", ["too small", "flagged"])
def test_fact_8_a_refused_removal_must_stop(sandbox: MetaSandbox, meta: Meta, target: Target, why: str) -> None:
    meta.send(meta.prepare(target, batch(ADD, "a", "b")))
    if why == "flagged":
        sandbox.flag_list(ACCOUNT.account_id, target.list_id)
    else:
        sandbox.accounts[ACCOUNT.account_id] = MetaAccount(refuse_small_removals_below=2)
    receipt = meta.send(meta.prepare(target, batch(REMOVE, "a", batch_id=b"r" * 16)))
    assert receipt == Refused("list_flagged" if why == "flagged" else "removal_refused_too_small")
    assert isinstance(meta.error_of(receipt.code, "a list"), MustStop)
    assert digest("a") in sandbox.members(ACCOUNT.account_id, target.list_id)


def test_fact_9_counts_are_those_of_one_batch(meta: Meta, target: Target) -> None:
    for batch_id in (b"1" * 16, b"2" * 16):
        receipt = meta.send(meta.prepare(target, batch(ADD, "a", "b", batch_id=batch_id)))
        assert isinstance(receipt, Accepted)
        assert receipt.settlement == Succeeded(2)
    again = meta.send(meta.prepare(target, batch(ADD, "a", "b", batch_id=b"1" * 16)))
    assert again == NoReceipt("lost_counts_differ")  # Meta counts the session: four, and two were sent


def test_fact_10_meta_is_told_of_no_consent(sandbox: MetaSandbox, meta: Meta, target: Target) -> None:
    column = pa.array([bytes.fromhex(digest("a"))], pa.binary(32))
    with pytest.raises(ValueError, match="consent signals"):
        Batch(bytes(16), ADD, Digests(column, Recipient.META), ConsentSignals(ad_user_data=True, ad_personalization=True))
    meta.send(meta.prepare(target, batch(ADD, "a")))
    form = parse_qs(lines(sandbox)[-1][1].decode())
    assert set(form) == {"payload", "session"}
    assert set(json.loads(form["payload"][0])) == {"schema", "is_raw", "data"}
