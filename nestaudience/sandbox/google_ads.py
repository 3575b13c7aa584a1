"""A local server that speaks the Google Ads API's real protocol: gRPC over TLS with a CA of its own, the SDK's own messages.

It stands in for Google in tests and demos, beside the local Data Manager: both ways lead to the same accounts, lists and members. What it does, and
from which source, is in `google_ads_behaviour.md`. It listens on this machine only, matches nobody, and never talks to Google.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from types import TracebackType
from typing import Any, Final, NoReturn

import grpc

from nestaudience.sandbox import google_ads_lists
from nestaudience.sandbox.certificates import make_loopback_certificates
from nestaudience.sandbox.faults import Fault, FaultKind, FaultQueue
from nestaudience.sandbox.google_ads_jobs import Jobs
from nestaudience.sandbox.google_ads_refusals import Refused, unauthenticated
from nestaudience.sandbox.google_ads_search import search
from nestaudience.sandbox.google_state import GoogleState

LARGEST_MESSAGE: Final = 64 * 1024 * 1024
WAIT: Final = timedelta(minutes=15)
"""What a refusal for a quota asks to wait."""
_METHODS: Final = {
    "CreateOfflineUserDataJob": "OfflineUserDataJobService",
    "AddOfflineUserDataJobOperations": "OfflineUserDataJobService",
    "RunOfflineUserDataJob": "OfflineUserDataJobService",
    "MutateUserLists": "UserListService",
    "SearchStream": "GoogleAdsService",
}
"""Method -> its service."""
_FAILURES: Final = {
    FaultKind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    FaultKind.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    FaultKind.ABORTED: grpc.StatusCode.ABORTED,
    FaultKind.INTERNAL: grpc.StatusCode.INTERNAL,
    FaultKind.EXHAUSTED_UNEXPLAINED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    FaultKind.MALFORMED_DETAILS: grpc.StatusCode.INVALID_ARGUMENT,
    FaultKind.UNKNOWN_REASON: grpc.StatusCode.INVALID_ARGUMENT,
    # What gRPC makes of an answer that is no gRPC at all.
    FaultKind.HTML_OK: grpc.StatusCode.UNKNOWN,
    FaultKind.EMPTY_BODY: grpc.StatusCode.UNKNOWN,
}
_ODD_FAILURES: Final = {FaultKind.MALFORMED_DETAILS: b"\xff\xff\xff", FaultKind.UNKNOWN_REASON: b"\x0a\x05\x0a\x03\xd8\x05\x63"}
"""The failure in the trailing metadata: bytes that are none, and one error of a kind that does not exist yet."""


class GoogleAdsSandbox:
    """The server and its state; a context manager that starts and stops it.

    `state`: accounts, lists and members, shared with a local Data Manager or made for this server; its own token is the one to use. `apply_after`:
    how long a job takes once it is run, changeable through `jobs`. `version`: the one that is served. `operations_a_day`: calls until the quota is
    used up. With `keep_requests` the bytes of every request are kept in `received`. `faults` makes calls fail.
    """

    def __init__(
        self,
        state: GoogleState,
        apply_after: timedelta = timedelta(minutes=40),
        port: int = 0,
        *,
        version: str = "v26",
        keep_requests: bool = False,
    ) -> None:
        self.state = state
        self.version = version
        self.jobs = Jobs(state, version, apply_after)
        self.operations_a_day = 15_000
        self.faults = FaultQueue()
        self.received: list[tuple[str, bytes]] = []
        self._keep_requests = keep_requests
        self._port = port
        self._certificates = make_loopback_certificates()
        self._seen: Counter[str] = Counter()
        self._spent: Counter[str] = Counter()
        self._stopping = Event()
        self._server: grpc.Server | None = None

    def start(self) -> None:
        """Listen on this machine, on `endpoint`. Raises RuntimeError when the port is taken (gRPC's own)."""
        options = [("grpc.max_receive_message_length", LARGEST_MESSAGE), ("grpc.so_reuseport", 0)]
        server = grpc.server(ThreadPoolExecutor(max_workers=8, thread_name_prefix="google-ads-sandbox"), options=options)
        for service in sorted(set(_METHODS.values())):
            handlers = {name: self._handler(name) for name, owner in _METHODS.items() if owner == service}
            path = f"google.ads.googleads.{self.version}.services.{service}"
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(path, handlers),))
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

    def __enter__(self) -> "GoogleAdsSandbox":
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

    def seen(self, method: str) -> int:
        """How many calls of one method arrived, e.g. `RunOfflineUserDataJob`."""
        return self._seen[method]

    def members(self, account_id: str, list_id: str) -> frozenset[str]:
        """Who is on a list now, as lower-case hex; empty when there is no such list. Jobs that are due are applied first."""
        with self.state.lock:
            self.state.catch_up()
            remote = self.state.lists.get(account_id, {}).get(list_id)
            return frozenset() if remote is None else remote.current(self.state.clock.now())

    def advance(self, by: timedelta) -> None:
        """Move the clock, and apply what became due."""
        self.state.clock.advance(by)
        with self.state.lock:
            self.state.catch_up()

    def _handler(self, method: str) -> Any:
        if method == "SearchStream":

            def stream(raw: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
                yield self._serve(method, raw, context)

            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(lambda raw, context: self._serve(method, raw, context))

    def _serve(self, method: str, raw: bytes, context: grpc.ServicerContext) -> bytes:
        with self.state.lock:
            self._seen[method] += 1
            if self._keep_requests:
                self.received.append((method, raw))
        fault = self.faults.take(method)
        busy = self._begin(method, raw)
        try:
            if fault is not None:
                self._before(fault, context)
            with self.state.lock:
                self.state.catch_up()
                answer = (
                    Refused("database_error", "CONCURRENT_MODIFICATION") if busy is None else self._decide(method, raw, context)
                )
        finally:
            self.jobs.adding.discard(busy or "")
        if fault is not None and fault.kind is FaultKind.ANSWER_LOST_AFTER_EFFECT:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        if isinstance(answer, Refused):
            return self._refuse(context, answer.status, answer.failure(self.version))
        if fault is not None and fault.kind is FaultKind.NO_REQUEST_ID:
            return b""
        return answer

    def _begin(self, method: str, raw: bytes) -> str | None:
        """The job that this call adds to (empty: none), or None when another call adds to it just now."""
        if method != "AddOfflineUserDataJobOperations":
            return ""
        with self.state.lock:
            job = self.jobs.name_in(raw)
            if job in self.jobs.adding:
                return None
            self.jobs.adding.add(job)
            return job

    def _decide(self, method: str, raw: bytes, context: grpc.ServicerContext) -> bytes | Refused:
        token, login_id = _credentials(context)
        if not self.state.knows(token):
            return unauthenticated()
        day = f"{self.state.clock.now():%Y-%m-%d}"
        if self._spent[day] >= self.operations_a_day:
            return Refused("quota_error", "RESOURCE_EXHAUSTED", grpc.StatusCode.RESOURCE_EXHAUSTED, WAIT)
        self._spent[day] += 1
        asked: dict[str, Callable[[], bytes | Refused]] = {
            "CreateOfflineUserDataJob": lambda: self.jobs.create(raw, token, login_id),
            "AddOfflineUserDataJobOperations": lambda: self.jobs.add(raw, token, login_id),
            "RunOfflineUserDataJob": lambda: self.jobs.run(raw, token, login_id),
            "MutateUserLists": lambda: google_ads_lists.mutate(self.state, raw, token, login_id),
            "SearchStream": lambda: search(self.state, self.jobs, raw, token, login_id),
        }
        return asked[method]()

    def _before(self, fault: Fault, context: grpc.ServicerContext) -> None:
        """What a fault does before the call has any effect."""
        if fault.kind is FaultKind.HANG:
            self._stopping.wait(fault.seconds)
        elif fault.kind is FaultKind.ANSWER_LOST_BEFORE_EFFECT:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        elif fault.kind in _ODD_FAILURES:
            self._refuse(context, _FAILURES[fault.kind], _ODD_FAILURES[fault.kind])
        elif fault.kind in _FAILURES:
            context.abort(_FAILURES[fault.kind], "The service is not well.")

    def _refuse(self, context: grpc.ServicerContext, status: grpc.StatusCode, failure: bytes) -> NoReturn:
        key = f"google.ads.googleads.{self.version}.errors.googleadsfailure-bin"
        context.set_trailing_metadata(((key, failure), ("request-id", "sandbox")))
        context.abort(status, "Request contains an invalid argument.")
        raise AssertionError("a call that was aborted goes no further")


def _credentials(context: grpc.ServicerContext) -> tuple[str, str | None]:
    """The bearer token of a call (empty: none), and the account in its `login-customer-id` header."""
    metadata = {str(key): value for key, value in context.invocation_metadata()}
    scheme, _, token = str(metadata.get("authorization", "")).partition(" ")
    return token if scheme == "Bearer" else "", str(metadata.get("login-customer-id", "")) or None
