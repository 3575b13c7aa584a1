"""A local server that speaks the Data Manager's real protocol: gRPC over TLS, the SDK's own messages, Google's documented limits.

It stands in for Google in tests, demos and `nestaudience sandbox`. What it does, and from which source, is in
`data_manager_behaviour.md`. It listens on this machine only, matches nobody, and never talks to Google. Requests are applied
late, when its clock passes their time.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from types import TracebackType
from typing import Any, Final

import grpc

from nestaudience.sandbox import google_ingestion, google_lists
from nestaudience.sandbox.certificates import make_loopback_certificates
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.data_manager_control import CONTROL, answer_control
from nestaudience.sandbox.faults import Fault, FaultKind, FaultQueue
from nestaudience.sandbox.google_refusals import Refusal, exhausted, invalid, unauthenticated
from nestaudience.sandbox.google_state import GoogleState, RemoteList, SandboxAccount

INGESTION: Final = "google.ads.datamanager.v1.IngestionService"
USER_LISTS: Final = "google.ads.datamanager.v1.UserListService"
LARGEST_MESSAGE: Final = 32 * 1024 * 1024

_METHODS: Final = {
    "IngestAudienceMembers": (INGESTION, True),
    "RemoveAudienceMembers": (INGESTION, True),
    "RemoveAllAudienceMembers": (INGESTION, True),
    "RetrieveRequestStatus": (INGESTION, False),
    "CreateUserList": (USER_LISTS, True),
    "DeleteUserList": (USER_LISTS, True),
    "GetUserList": (USER_LISTS, False),
    "ListUserLists": (USER_LISTS, False),
}
"""Method -> its service, and whether it writes."""

_FAILURES: Final = {
    FaultKind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    FaultKind.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    FaultKind.ABORTED: grpc.StatusCode.ABORTED,
    FaultKind.INTERNAL: grpc.StatusCode.INTERNAL,
    FaultKind.EXHAUSTED_UNEXPLAINED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    FaultKind.MALFORMED_DETAILS: grpc.StatusCode.INVALID_ARGUMENT,
    # What gRPC makes of an answer that is no gRPC at all.
    FaultKind.HTML_OK: grpc.StatusCode.UNKNOWN,
    FaultKind.EMPTY_BODY: grpc.StatusCode.UNKNOWN,
}


class DataManagerSandbox:
    """The server and its state; a context manager that starts and stops it.

    `accounts`: ad accounts by id; a test may change them while it runs. `apply_after`: how long an accepted request takes
    (changeable; it holds for requests accepted from then on). `port` 0 takes a free one. `token`: the bearer token, random when
    it is not given. With `keep_requests` the bytes of every request are kept in `received`. `faults` makes calls fail. `state` may be
    given to a `GoogleAdsSandbox`: both ways lead to the same accounts.
    """

    def __init__(
        self,
        accounts: dict[str, SandboxAccount],
        clock: SandboxClock,
        apply_after: timedelta = timedelta(minutes=40),
        port: int = 0,
        *,
        token: str | None = None,
        keep_requests: bool = False,
    ) -> None:
        self.token: str = token or secrets.token_urlsafe(24)
        self.clock = clock
        self.accounts = accounts
        self.apply_after = apply_after
        self.faults = FaultQueue()
        self.received: list[tuple[str, bytes]] = []
        self._keep_requests = keep_requests
        self._port = port
        self._certificates = make_loopback_certificates()
        self.state = GoogleState(accounts, clock, self.token)
        self._seen: Counter[str] = Counter()
        self._lock = self.state.lock
        self._stopping = Event()
        self._server: grpc.Server | None = None

    def start(self) -> None:
        """Listen on this machine, on `endpoint`. Raises RuntimeError when the port is taken (gRPC's own)."""
        options = [("grpc.max_receive_message_length", LARGEST_MESSAGE), ("grpc.so_reuseport", 0)]
        server = grpc.server(ThreadPoolExecutor(max_workers=16, thread_name_prefix="data-manager-sandbox"), options=options)
        for service in (INGESTION, USER_LISTS):
            handlers = {name: self._handler(name) for name, (owner, _) in _METHODS.items() if owner == service}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        control = {name: grpc.unary_unary_rpc_method_handler(self._control(name)) for name in CONTROL}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("nestaudience.sandbox.Control", control),))
        pair = [(self._certificates.key_pem, self._certificates.server_pem)]
        self._port = server.add_secure_port(f"127.0.0.1:{self._port}", grpc.ssl_server_credentials(pair))
        server.start()
        self._server = server

    def stop(self) -> None:
        """Stop listening; calls that hang are let go."""
        self._stopping.set()
        if self._server is not None:
            self._server.stop(grace=0.2).wait()
            self._server = None

    def __enter__(self) -> "DataManagerSandbox":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """`localhost:PORT`, once started."""
        return f"localhost:{self._port}"

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the authority that a client must trust."""
        return self._certificates.ca_pem

    @property
    def writes(self) -> int:
        """How many calls arrived that would change something, refused ones included."""
        return sum(count for name, count in self._seen.items() if _METHODS[name][1])

    @property
    def reads(self) -> int:
        """How many calls arrived that only ask."""
        return sum(count for name, count in self._seen.items() if not _METHODS[name][1])

    def seen(self, method: str) -> int:
        """How many calls of one method arrived, e.g. `IngestAudienceMembers`."""
        return self._seen[method]

    def members(self, account_id: str, list_id: str) -> frozenset[str]:
        """Who is on a list now, as lower-case hex; empty when there is no such list. Requests that are due are applied first."""
        with self._lock:
            self.state.catch_up()
            remote = self.state.lists.get(account_id, {}).get(list_id)
            return frozenset() if remote is None else remote.current(self.clock.now())

    def lists(self, account_id: str) -> list[RemoteList]:
        """The lists of an account, in the order in which they were made."""
        with self._lock:
            self.state.catch_up()
            return list(self.state.lists.get(account_id, {}).values())

    def advance(self, by: timedelta) -> None:
        """Move the clock, and apply what became due."""
        self.clock.advance(by)
        with self._lock:
            self.state.catch_up()

    def add_list(self, account_id: str, remote: RemoteList) -> RemoteList:
        """Put a list into an account from outside, as a person in Google's own pages would."""
        with self._lock:
            return self.state.add_list(account_id, remote)

    def close_list(self, account_id: str, list_id: str) -> None:
        """Close a list as Google closes one that no campaign used: nobody is added any more."""
        with self._lock:
            remote = self.state.lists[account_id][list_id]
            remote.open, remote.closed_as_unused = False, True

    def drop_list(self, account_id: str, list_id: str) -> None:
        """Delete a list from outside, with everybody on it."""
        with self._lock:
            self.state.catch_up()
            del self.state.lists[account_id][list_id]

    def refuse_people(self, digests: Iterable[str], reason: str = "INVALID_SHA256_FORMAT", *, located: bool = True) -> None:
        """Take a request with one of these digests (hex), and no others, for malformed from now on. `located`: with the path of each such member."""
        with self._lock:
            self.state.unwelcome = {bytes.fromhex(digest): reason for digest in digests}
            self.state.locates = located

    def revoke(self, token: str) -> None:
        """Let a token be unknown from now on."""
        with self._lock:
            self.state.revoked.add(token)

    def _handler(self, method: str) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda raw, context: self._serve(method, raw, context))

    def _serve(self, method: str, raw: bytes, context: grpc.ServicerContext) -> bytes:
        with self._lock:
            self._seen[method] += 1
            if self._keep_requests:
                self.received.append((method, raw))
        fault = self.faults.take(method)
        if fault is not None:
            self._before(fault, context)
        token, login_id = _credentials(context)
        with self._lock:
            self.state.catch_up()
            answer = self._decide(method, raw, token, login_id)
        if fault is not None and fault.kind is FaultKind.ANSWER_LOST_AFTER_EFFECT:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        if isinstance(answer, Refusal):
            context.abort_with_status(answer.to_grpc(f"t-refused-{self._seen[method]}"))
        if fault is not None and fault.kind is FaultKind.NO_REQUEST_ID:
            return b""
        return bytes(answer)

    def _decide(self, method: str, raw: bytes, token: str, login_id: str | None) -> bytes | Refusal:
        if not self.state.knows(token):
            return unauthenticated()
        service, write = _METHODS[method]
        broken = self.state.over_quota("Ingestion" if service == INGESTION else "Management", write=write)
        if broken is not None:
            return exhausted(broken)
        return self._ask(method)(raw, token, login_id)

    def _ask(self, method: str) -> Callable[[bytes, str, str | None], bytes | Refusal]:
        state, after = self.state, self.apply_after
        asked: dict[str, Callable[[bytes, str, str | None], bytes | Refusal]] = {
            "IngestAudienceMembers": lambda raw, token, _: google_ingestion.take_members(
                state, raw, token, addition=True, apply_after=after
            ),
            "RemoveAudienceMembers": lambda raw, token, _: google_ingestion.take_members(
                state, raw, token, addition=False, apply_after=after
            ),
            "RemoveAllAudienceMembers": lambda raw, token, _: google_ingestion.sweep_members(
                state, raw, token, apply_after=after
            ),
            "RetrieveRequestStatus": lambda raw, *_: google_ingestion.tell_status(state, raw),
            "CreateUserList": lambda raw, token, login_id: google_lists.create(state, raw, token, login_id),
            "DeleteUserList": lambda raw, token, login_id: google_lists.delete(state, raw, token, login_id),
            "GetUserList": lambda raw, token, login_id: google_lists.get(state, raw, token, login_id),
            "ListUserLists": lambda raw, token, login_id: google_lists.list_all(state, raw, token, login_id),
        }
        return asked[method]

    def _before(self, fault: Fault, context: grpc.ServicerContext) -> None:
        """What a fault does before the call has any effect."""
        if fault.kind is FaultKind.HANG:
            self._stopping.wait(fault.seconds)
        elif fault.kind is FaultKind.ANSWER_LOST_BEFORE_EFFECT:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        elif fault.kind is FaultKind.UNKNOWN_REASON:
            context.abort_with_status(invalid("A_REASON_OF_NEXT_YEAR").to_grpc("t-refused"))
        elif fault.kind in _FAILURES:
            if fault.kind is FaultKind.MALFORMED_DETAILS:
                context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff\xff"),))
            context.abort(_FAILURES[fault.kind], "The service is not well.")

    def _control(self, name: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def serve(raw: bytes, context: grpc.ServicerContext) -> bytes:
            if not secrets.compare_digest(_credentials(context)[0].encode(), self.token.encode()):
                context.abort_with_status(unauthenticated().to_grpc("t-control"))
            answer = answer_control(self, name, raw)
            if answer is None:
                context.abort_with_status(invalid("INVALID_ARGUMENT").to_grpc("t-control"))
            return bytes(answer or b"")

        return serve


def _credentials(context: grpc.ServicerContext) -> tuple[str, str | None]:
    """The bearer token of a call (empty: none), and the account in its `login-account` header."""
    metadata = {str(key): value for key, value in context.invocation_metadata()}
    scheme, _, token = str(metadata.get("authorization", "")).partition(" ")
    login = str(metadata.get("login-account", "")).removeprefix("accountTypes/GOOGLE_ADS/accounts/")
    return token if scheme == "Bearer" else "", login or None
