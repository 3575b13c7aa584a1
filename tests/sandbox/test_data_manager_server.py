"""The local Data Manager as a server: faults on demand, counts, TLS, its clock, its control."""

from datetime import timedelta

import grpc
import pytest
from google.ads import datamanager_v1 as dm
from google_calls import (
    ACCOUNT,
    START,
    addition,
    digest,
    ingest,
    list_id,
    member,
    refused,
    removal,
    remove,
    status,
)

from nestaudience.destinations.google_connection import (
    Clients,
    GoogleDataManagerSettings,
    SandboxEndpoint,
    SandboxToken,
    connect,
)
from nestaudience.errors import NeedsFix, TryAgain
from nestaudience.sandbox.certificates import make_loopback_certificates
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.data_manager_control import SandboxControl
from nestaudience.sandbox.faults import Fault, FaultKind


@pytest.mark.parametrize(
    ("kind", "expected", "effect"),
    [
        (FaultKind.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE, False),
        (FaultKind.DEADLINE, grpc.StatusCode.DEADLINE_EXCEEDED, False),
        (FaultKind.ABORTED, grpc.StatusCode.ABORTED, False),
        (FaultKind.INTERNAL, grpc.StatusCode.INTERNAL, False),
        (FaultKind.EXHAUSTED_UNEXPLAINED, grpc.StatusCode.RESOURCE_EXHAUSTED, False),
        (FaultKind.UNKNOWN_REASON, grpc.StatusCode.INVALID_ARGUMENT, False),
        (FaultKind.HTML_OK, grpc.StatusCode.UNKNOWN, False),
        (FaultKind.EMPTY_BODY, grpc.StatusCode.UNKNOWN, False),
        (FaultKind.ANSWER_LOST_BEFORE_EFFECT, grpc.StatusCode.UNAVAILABLE, False),
        (FaultKind.ANSWER_LOST_AFTER_EFFECT, grpc.StatusCode.UNAVAILABLE, True),
    ],
)
def test_faults_hit_the_calls_they_wait_for(
    sandbox: DataManagerSandbox, google: Clients, kind: FaultKind, expected: grpc.StatusCode, effect: bool
) -> None:
    target = list_id(google)
    sandbox.faults.add(Fault("IngestAudienceMembers", kind, count=2))
    remove(google, removal(target, member(digest(9))))
    for number in range(2):
        call = addition(target, member(digest(number)))
        assert refused(lambda call=call: ingest(google, call)).grpc_status_code is expected
    ingest(google, addition(target, member(digest(2))))
    sandbox.advance(timedelta(hours=1))
    assert sandbox.members(ACCOUNT, target) == ({digest(0), digest(1), digest(2)} if effect else {digest(2)})


def test_a_hang_outlasts_the_clients_patience_and_has_its_effect(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google)
    sandbox.faults.add(Fault("*", FaultKind.HANG, seconds=0.6))
    slow = addition(target, member(digest(1)))
    assert refused(lambda: ingest(google, slow, timeout=0.2)).grpc_status_code is grpc.StatusCode.DEADLINE_EXCEEDED
    for _ in range(50):
        if sandbox.members(ACCOUNT, target):
            break
        sandbox._stopping.wait(0.05)
        sandbox.advance(timedelta(hours=1))
    assert sandbox.members(ACCOUNT, target) == {digest(1)}


def test_calls_are_counted_and_kept(sandbox: DataManagerSandbox, google: Clients) -> None:
    assert (sandbox.reads, sandbox.writes) == (0, 0)
    target = list_id(google)
    request = addition(target, member(digest(1)))
    ingest(google, request)
    refused(lambda: status(google, "t-nobody"))
    assert (sandbox.reads, sandbox.writes, sandbox.seen("IngestAudienceMembers")) == (1, 2, 1)
    assert sandbox.received[1] == ("IngestAudienceMembers", dm.IngestAudienceMembersRequest.serialize(request))


def test_only_who_trusts_its_authority_connects(sandbox: DataManagerSandbox) -> None:
    stranger = SandboxEndpoint(sandbox.endpoint, make_loopback_certificates().ca_pem)
    connected = connect(GoogleDataManagerSettings(SandboxToken(sandbox.token), terms_accepted=True, endpoint=stranger))
    assert refused(lambda: status(connected, "t-1")).grpc_status_code is grpc.StatusCode.UNAVAILABLE
    connected.close()
    assert sandbox.reads == 0


def test_a_second_terminal_can_ask(sandbox: DataManagerSandbox, google: Clients) -> None:
    target = list_id(google, "shown")
    ingest(google, addition(target, member(digest(1))))
    with SandboxControl(sandbox.endpoint, sandbox.ca_pem, sandbox.token) as control:
        assert [held.members for held in control.lists()] == [0]
        assert control.advance(timedelta(hours=1)) == START + timedelta(hours=1)
        (held,) = control.lists()
        assert (held.account_id, held.list_id, held.name, held.code, held.open, held.members) == (
            ACCOUNT,
            target,
            "shown",
            "code shown",
            True,
            1,
        )
        assert control.members(ACCOUNT, target) == {digest(1)}
        assert control.calls() == (0, 2)
        with pytest.raises(NeedsFix):
            control.advance(timedelta(seconds=-1))
    with SandboxControl(sandbox.endpoint, sandbox.ca_pem, "other-token") as control, pytest.raises(NeedsFix):
        control.lists()
    sandbox.stop()
    with SandboxControl(sandbox.endpoint, sandbox.ca_pem, sandbox.token, timeout_seconds=2) as control, pytest.raises(TryAgain):
        control.lists()


def test_the_clock_does_not_run_backwards() -> None:
    clock = SandboxClock(START)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(timedelta(seconds=-1))
    with pytest.raises(ValueError, match="zone"):
        SandboxClock(START.replace(tzinfo=None))
    seconds = iter([100.0, 107.5])
    assert SandboxClock(START, ticking=lambda: next(seconds)).now() == START + timedelta(seconds=7.5)


def test_faults_that_make_no_sense_are_refused() -> None:
    for wrong in ({"count": 0}, {"seconds": -1.0}, {"seconds": 3.0}):
        with pytest.raises(ValueError, match=r"fault|hang"):
            Fault("*", FaultKind.ABORTED, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hang"):
        Fault("*", FaultKind.HANG)
