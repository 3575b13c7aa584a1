"""The local Graph server as a server: faults on demand, limits, counts, its clock, its control, and the real SDK on it."""

import json
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from http.client import HTTPConnection, RemoteDisconnected
from threading import Thread
from typing import Any

import pytest
from facebook_business.adobjects.adaccount import AdAccount
from facebook_business.adobjects.customaudience import CustomAudience
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession
from meta_calls import ACCOUNT, MISSING, OTHER, START, Graph, digest, payload, running_meta, session

from nestaudience.errors import NeedsFix, TryAgain
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.meta_control import MetaSandboxControl
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount, MetaList

USAGE = "X-Business-Use-Case-Usage"


def usage(headers: dict[str, str]) -> dict[str, Any]:
    """The only entry of the header, with whose it is."""
    ((owner, (entry,)),) = json.loads(headers[USAGE]).items()
    return {"owner": owner, **entry}


def test_m33_usage_is_told(meta: MetaSandbox, graph: Graph) -> None:
    meta.accounts[ACCOUNT] = MetaAccount(calls_per_hour=20, business_id="9")
    told = graph.create()
    assert usage(told.headers) == {
        "owner": "9",
        "type": "custom_audience",
        "call_count": 5,
        "total_cputime": 0,
        "total_time": 0,
        "estimated_time_to_regain_access": 0,
    }
    assert usage(graph.create(name="").headers)["call_count"] == 10
    assert USAGE not in graph.get("act_1").headers
    meta.advance(timedelta(hours=1))
    assert usage(graph.get(f"act_{ACCOUNT}").headers)["call_count"] == 5


def test_m34_too_many_calls(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    meta.accounts[ACCOUNT] = MetaAccount(calls_per_hour=4)
    for number in range(3):
        assert graph.add(target, number).status == 200
        meta.advance(timedelta(minutes=10))
    refused = graph.add(target, 3)
    assert (refused.codes, usage(refused.headers)["estimated_time_to_regain_access"]) == ((80003, 2446079), 30)
    assert usage(graph.get(target).headers)["estimated_time_to_regain_access"] == 40
    meta.advance(timedelta(minutes=39))
    assert graph.add(target, 3).codes == (80003, 2446079)
    assert len(meta.members(ACCOUNT, target)) == 3
    meta.advance(timedelta(hours=1))
    assert graph.add(target, 3).status == 200


@pytest.mark.parametrize(("tier", "base"), [("standard_access", 5_000), ("advanced_access", 190_000)])
def test_m34_the_documented_limits(meta: MetaSandbox, graph: Graph, tier: str, base: int) -> None:
    meta.accounts[ACCOUNT] = MetaAccount(access_tier=tier)
    meta.add_list(ACCOUNT, MetaList("", "n", "d"))
    for _ in range(base + 40):
        assert meta._state.count_call(ACCOUNT).wait_minutes == 0
    assert graph.get(f"act_{ACCOUNT}").codes == (80003, 2446079)


@pytest.mark.parametrize(
    ("kind", "status", "codes", "effect"),
    [
        (FaultKind.UNAVAILABLE, 503, None, False),
        (FaultKind.DEADLINE, 504, None, False),
        (FaultKind.HTML_OK, 200, None, False),
        (FaultKind.EMPTY_BODY, 200, None, False),
        (FaultKind.NO_REQUEST_ID, 200, None, True),
        (FaultKind.INTERNAL, 500, (2, None), False),
        (FaultKind.ABORTED, 400, (2650, 1870145), False),
        (FaultKind.EXHAUSTED_UNEXPLAINED, 400, (17, None), False),
        (FaultKind.UNKNOWN_REASON, 400, (99901, 9990001), False),
        (FaultKind.MALFORMED_DETAILS, 400, None, False),
        (FaultKind.ANSWER_LOST_BEFORE_EFFECT, 0, None, False),
        (FaultKind.ANSWER_LOST_AFTER_EFFECT, 0, None, True),
    ],
)
def test_faults_hit_the_calls_they_wait_for(
    meta: MetaSandbox, graph: Graph, kind: FaultKind, status: int, codes: tuple[int, int | None] | None, *, effect: bool
) -> None:
    target = graph.made()
    meta.faults.add(Fault("AddUsers", kind, count=2))
    assert graph.remove(target, 9).status == 200
    for number in range(2):
        if status == 0:
            with pytest.raises((RemoteDisconnected, ConnectionResetError)):
                graph.add(target, number)
            continue
        told = graph.add(target, number)
        assert told.status == status
        if codes is not None:
            assert told.codes == codes
        elif kind in {FaultKind.UNAVAILABLE, FaultKind.DEADLINE, FaultKind.HTML_OK}:
            assert (b"<html" in told.body, told.headers["Content-Type"][:9]) == (True, "text/html")
        elif kind is FaultKind.EMPTY_BODY:
            assert told.body == b""
    assert graph.add(target, 2).status == 200
    assert meta.members(ACCOUNT, target) == ({digest(0), digest(1), digest(2)} if effect else {digest(2)})


def test_odd_errors_are_odd_in_several_ways(meta: MetaSandbox, graph: Graph) -> None:
    meta.faults.add(Fault("*", FaultKind.MALFORMED_DETAILS, count=4))
    found = [graph.get(f"act_{ACCOUNT}").body["error"] for _ in range(4)]
    assert {type(error) for error in found} == {type(None), str, dict, list}


def test_a_hang_outlasts_the_clients_patience_and_has_its_effect(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    meta.faults.add(Fault("*", FaultKind.HANG, seconds=0.4))
    graph._connection.sock.settimeout(0.1)
    with pytest.raises(TimeoutError):
        graph.add(target, 1)
    for _ in range(100):
        if meta.members(ACCOUNT, target):
            break
        time.sleep(0.02)
    assert meta.members(ACCOUNT, target) == {digest(1)}


def test_a_stopped_sandbox_answers_nobody_and_can_start_again(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    endpoint = meta.endpoint
    meta.faults.add(Fault("AddUsers", FaultKind.HANG, seconds=30))
    cut: list[OSError] = []

    def wait() -> None:
        with pytest.raises(OSError, match=r".") as caught:
            graph.add(target, 1)
        cut.append(caught.value)

    waiting = Thread(target=wait)
    waiting.start()
    while not meta.seen("AddUsers"):
        time.sleep(0.01)
    meta.stop()
    waiting.join(5)
    assert len(cut) == 1
    with pytest.raises(OSError, match=r"."):
        graph.get(target)
    meta.start()
    assert meta.endpoint == endpoint
    assert graph.get(target).status == 200


def test_a_port_that_is_taken(meta: MetaSandbox) -> None:
    second = MetaSandbox({}, meta.clock, port=int(meta.endpoint.partition(":")[2]))
    with pytest.raises(OSError, match="in use"):
        second.start()


def test_calls_are_counted(meta: MetaSandbox, graph: Graph) -> None:
    assert (meta.reads, meta.writes) == (0, 0)
    target = graph.made()
    graph.add(target, 1)
    graph.get(target)
    graph.get(f"act_{ACCOUNT}/customaudiences")
    graph.remove("123", 1)
    graph.delete(f"act_{OTHER}/usersofanyaudience")
    graph.delete(target)
    assert (meta.reads, meta.writes) == (2, 5)
    kinds = ["CreateAudience", "AddUsers", "ReadAudience", "ListAudiences", "RemoveUsers", "OptOut", "DeleteAudience"]
    assert [kind for kind, _ in meta.received] == kinds


def test_bodies_that_are_no_form(meta: MetaSandbox, graph: Graph, capfd: pytest.CaptureFixture[str]) -> None:
    target = graph.made()
    host, _, port = meta.endpoint.partition(":")
    path = f"/v26.0/{target}/users?access_token={meta.token}"
    for headers, body, status in (
        ("Content-Type: application/json\r\nContent-Length: 2", "{}", b"400"),
        ("Transfer-Encoding: chunked", "0\r\n\r\n", b"411"),
        ("Content-Length: many", "", b"411"),
        (f"Content-Length: {2**40}", "", b"413"),
    ):
        with socket.create_connection((host, int(port)), timeout=5) as raw:
            raw.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}".encode())
            assert raw.recv(100).split()[1] == status
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        form = "payload=" + json.dumps(payload(1))
        kind = "Content-Type: application/x-www-form-urlencoded"
        raw.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{kind}\r\nContent-Length: {len(form) + 1}\r\n\r\n{form}".encode())
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(100) == b""
    assert meta.members(ACCOUNT, target) == frozenset()
    assert capfd.readouterr() == ("", "")


def test_many_at_once(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    counts: list[int] = []

    def upload(worker: int) -> None:
        own = Graph(meta)
        for number in range(20):
            told = own.add(target, *[(worker, number, row) for row in range(20)], session=session(number + 1, worker + 1))
            counts.append(told.body["num_received"])
        own.close()

    workers = [Thread(target=upload, args=(worker,)) for worker in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(meta.members(ACCOUNT, target)) == 8 * 20 * 20
    assert sorted(counts) == sorted([20 * number for number in range(1, 21)] * 8)


def test_large_uploads_are_fast(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    fields = {"payload": payload(*range(10_000))}
    best = min(_seconds(lambda: graph.add(target, **fields)) for _ in range(5))
    assert best < 0.5  # some 50 ms on a quiet machine, most of it the client's and the form's


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def test_a_second_terminal_can_ask(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made("shown", description="shown")
    meta.apply_after = timedelta(hours=1)
    graph.add(target, 1)
    with MetaSandboxControl(meta.endpoint, meta.token) as control:
        assert [held.members for held in control.lists()] == [0]
        assert control.advance(timedelta(hours=1)) == START + timedelta(hours=1)
        (held,) = control.lists()
        assert (held.account_id, held.list_id, held.name, held.code, held.open, held.members) == (
            ACCOUNT,
            target,
            "shown",
            "shown",
            True,
            1,
        )
        assert control.members(ACCOUNT, target) == {digest(1)}
        assert control.calls() == (0, 2)
        with pytest.raises(NeedsFix):
            control.advance(timedelta(seconds=-1))
        with pytest.raises(NeedsFix):
            control._call("Nothing", {})
    with MetaSandboxControl(meta.endpoint, "other-token") as control, pytest.raises(NeedsFix):
        control.lists()
    meta.stop()
    with MetaSandboxControl(meta.endpoint, meta.token, timeout_seconds=2) as control, pytest.raises(TryAgain):
        control.lists()
    assert len(meta.received) == 2


def sdk(meta: MetaSandbox) -> FacebookAdsApi:
    session = FacebookSession(app_secret=meta.app_secret, access_token=meta.token, timeout=10)
    session.GRAPH = f"http://{meta.endpoint}"
    session.requests.trust_env = False
    return FacebookAdsApi(session)


def test_the_real_sdk_makes_fills_and_deletes_a_list() -> None:
    for meta in running_meta(app_secret="s3cret"):
        api = sdk(meta)
        account = AdAccount(f"act_{ACCOUNT}", api=api)
        wanted = {"name": "n", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY", "retention_days": 30}
        made = account.create_custom_audience(params=wanted)
        rows = [[digest(1)], [digest(2)]]
        added = made.add_users(["EMAIL"], rows, is_raw=True, pre_hashed=True, session=session(last=True))
        assert (added.json()["num_received"], added.headers()["facebook-api-version"]) == (2, "v26.0")
        made.remove_users(["EMAIL"], rows[:1], is_raw=True, pre_hashed=True)
        assert meta.members(ACCOUNT, made["id"]) == {digest(2)}
        (told,) = made.get_sessions(params={"session_id": 7})
        assert (told["num_received"], told["stage"]) == ("2", "finished")
        assert made.api_get(fields=["name", "retention_days"])["retention_days"] == 30
        account.opt_out_user_from_targeting(["EMAIL"], rows, is_raw=True, pre_hashed=True)
        assert meta.members(ACCOUNT, made["id"]) == frozenset()
        assert account.api_get(fields=["tos_accepted", "business"])["tos_accepted"] == {"custom_audience_tos": 1}
        made.api_delete()
        assert meta.lists(ACCOUNT) == []
        kinds = ["CreateAudience", "AddUsers", "RemoveUsers", "ReadSessions", "ReadAudience", "OptOut", "ReadAccount"]
        assert [kind for kind, _ in meta.received] == [*kinds, "DeleteAudience"]


def test_the_real_sdk_pages_through_a_listing(meta: MetaSandbox) -> None:
    for number in range(45):
        meta.add_list(ACCOUNT, MetaList("", f"n{number}", "d"))
    found = AdAccount(f"act_{ACCOUNT}", api=sdk(meta)).get_custom_audiences(fields=["name"], params={"limit": 20})
    assert [item["name"] for item in found] == [f"n{number}" for number in range(45)]
    assert meta.seen("ListAudiences") == 3


def test_the_real_sdk_sees_errors_as_meta_sends_them_and_takes_pages_for_success(meta: MetaSandbox) -> None:
    api = sdk(meta)
    with pytest.raises(FacebookRequestError) as caught:
        CustomAudience("123", api=api).remove_users(["EMAIL"], [[digest(1)]], is_raw=True, pre_hashed=True)
    error = caught.value
    assert (error.api_error_code(), error.api_error_subcode(), error.http_status()) == (*MISSING, 400)
    assert error.api_transient_error() is False
    target = meta.add_list(ACCOUNT, MetaList("", "n", "d"))
    meta.faults.add(Fault("RemoveUsers", FaultKind.UNAVAILABLE))
    answer = CustomAudience(target.list_id, api=api).remove_users(["EMAIL"], [[digest(1)]], is_raw=True, pre_hashed=True)
    assert (answer.status(), answer.is_success()) == (503, True)


def test_the_sandbox_listens_on_this_machine_only(meta: MetaSandbox) -> None:
    assert meta.endpoint.startswith("127.0.0.1:")
    other = HTTPConnection("127.0.0.2", int(meta.endpoint.partition(":")[2]), timeout=2)
    with pytest.raises(ConnectionRefusedError):
        other.request("GET", "/")
