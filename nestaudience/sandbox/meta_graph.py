"""A local server that speaks Meta's Graph protocol for customer lists: form fields over HTTP, JSON back, Meta's documented limits.

It stands in for Meta in tests, demos and `nestaudience sandbox`. What it does, and from which source, is in
`meta_graph_behaviour.md`. It listens on this machine only, matches nobody, and never talks to Meta. `usersreplace`, editing a list
and the Batch API are outside.
"""

import json
import secrets
from collections import Counter
from datetime import timedelta
from threading import Event, RLock, Thread
from types import TracebackType
from typing import Any, Final

from nestaudience.sandbox import meta_refusals as refuse
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.data_manager_control import CONTROL, answer_control
from nestaudience.sandbox.faults import Fault, FaultKind, FaultQueue
from nestaudience.sandbox.meta_access import TO_WRITE, MetaAccess
from nestaudience.sandbox.meta_control import PREFIX
from nestaudience.sandbox.meta_http import CUT, HTML, Answer, Call, LoopbackServer
from nestaudience.sandbox.meta_refusals import Refusal
from nestaudience.sandbox.meta_routes import OF_THE_TOKEN, UNKNOWN, WRITES, Route, carry_out, route_of
from nestaudience.sandbox.meta_state import FLAGGED, MetaAccount, MetaList, MetaState, Usage

VERSIONS: Final = ("v25.0", "v26.0")
LONGEST_URL: Final = 20_000
PAGE: Final = b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Sorry, something went wrong.</h1></body></html>"
ODD_ERRORS: Final[tuple[dict[str, Any], ...]] = (
    {"error": None},
    {"error": "unwell"},
    {"error": {"code": "100", "error_data": "{"}},
    {"error": []},
)


class MetaSandbox:
    """The server and its state; a context manager that starts and stops it.

    `accounts`: ad accounts by id, without `act_`; a test may change them while it runs. `apply_after`: how long an accepted change
    takes (changeable; it holds for requests accepted from then on). `port` 0 takes a free one. `token`: the access token, random
    when it is not given. `app_secret`: when it is given, every call needs its proof. With `keep_requests` the request line and the
    body of every request are kept in `received`. `opt_out_by_post` (changeable): a POST that says `method=DELETE` is taken for people to be
    taken off every list as well; Meta documents it for one list only. `faults` makes calls fail. `access`: what the token may do; `upgrades`:
    versions that have ended and whose calls the newest answers.
    """

    def __init__(
        self,
        accounts: dict[str, MetaAccount],
        clock: SandboxClock,
        apply_after: timedelta = timedelta(0),
        port: int = 0,
        *,
        token: str | None = None,
        app_secret: str | None = None,
        keep_requests: bool = False,
        opt_out_by_post: bool = False,
    ) -> None:
        self.token: str = token or secrets.token_urlsafe(24)
        self.app_secret = app_secret
        self.clock = clock
        self.accounts = accounts
        self.apply_after = apply_after
        self.opt_out_by_post = opt_out_by_post
        self.faults = FaultQueue()
        self.received: list[tuple[str, bytes]] = []
        self.access = MetaAccess()
        self.upgrades: frozenset[str] = frozenset()
        self._keep_requests = keep_requests
        self._port = port
        self._state = MetaState(accounts, clock, self.token, app_secret)
        self._seen: Counter[str] = Counter()
        self._answers = 0
        self._lock = RLock()
        self._stopping = Event()
        self._server: LoopbackServer | None = None

    def start(self) -> None:
        """Listen on this machine, on `endpoint`. Raises OSError when the port is taken."""
        self._stopping.clear()
        self._server = LoopbackServer(self._port, self._serve)
        self._port = self._server.server_port
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name="meta-sandbox", daemon=True).start()

    def stop(self) -> None:
        """Stop listening, and cut what is open; calls that hang are let go and get no answer."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut_all()
            self._server = None
        self._stopping.set()

    def __enter__(self) -> "MetaSandbox":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """`127.0.0.1:PORT`, once started. It speaks plain HTTP."""
        return f"127.0.0.1:{self._port}"

    @property
    def writes(self) -> int:
        """How many calls arrived that would change something, refused ones included."""
        return sum(count for kind, count in self._seen.items() if kind in WRITES)

    @property
    def reads(self) -> int:
        """How many calls arrived that only ask, or ask for nothing that there is."""
        return sum(count for kind, count in self._seen.items() if kind not in WRITES)

    def seen(self, kind: str) -> int:
        """How many calls of one kind arrived, e.g. `AddUsers`."""
        return self._seen[kind]

    def members(self, account_id: str, list_id: str) -> frozenset[str]:
        """Who is on a list now, as lower-case hex; empty when there is no such list. Changes that are due are applied first."""
        with self._lock:
            self._state.catch_up()
            remote = self._state.lists.get(account_id, {}).get(list_id)
            return frozenset() if remote is None else remote.current(self.clock.now())

    def lists(self, account_id: str) -> list[MetaList]:
        """The lists of an account, in the order in which they were made."""
        with self._lock:
            self._state.catch_up()
            return list(self._state.lists.get(account_id, {}).values())

    def advance(self, by: timedelta) -> None:
        """Move the clock, and apply what became due."""
        self.clock.advance(by)
        with self._lock:
            self._state.catch_up()

    def add_list(self, account_id: str, remote: MetaList) -> MetaList:
        """Put a list into an account from outside, as a person in Meta's own pages would."""
        with self._lock:
            return self._state.add_list(account_id, remote)

    def drop_list(self, account_id: str, list_id: str) -> None:
        """Delete a list from outside, with everybody on it."""
        with self._lock:
            self._state.catch_up()
            del self._state.lists[account_id][list_id]

    def hand_over(self, account_id: str, list_id: str, to: str) -> None:
        """Give a list to another account; the one that had it may go on using it."""
        with self._lock:
            self._state.catch_up()
            remote = self._state.lists[account_id].pop(list_id)
            remote.shared_with = (*remote.shared_with, account_id)
            self._state.lists[to][list_id] = remote

    def flag_list(self, account_id: str, list_id: str) -> None:
        """Flag a list as Meta flags one whose name suggests health or money: nobody is added or removed any more."""
        self.set_status(account_id, list_id, FLAGGED)

    def set_status(self, account_id: str, list_id: str, code: int | None) -> None:
        """Set a list's `operation_status`, e.g. 414 for a replacement on its way; None gives it back its own."""
        with self._lock:
            self._state.catch_up()
            self._state.lists[account_id][list_id].status = code

    def revoke(self, token: str) -> None:
        """Let a token be unknown from now on."""
        with self._lock:
            self._state.revoked.add(token)

    def _serve(self, call: Call) -> Answer:
        if call.path.startswith(PREFIX):
            return self._control(call)
        route = route_of(call, opt_out_by_post=self.opt_out_by_post)
        with self._lock:
            self._seen[route.kind] += 1
            if self._keep_requests:
                self.received.append((route.kind, call.line + b"\r\n\r\n" + call.body))
        if call.verb == "DELETE" and len(call.url) > LONGEST_URL:
            return CUT
        fault = self.faults.take(route.kind)
        broken = None if fault is None else self._before(fault)
        if broken is not None:
            return broken
        with self._lock:
            self._state.catch_up()
            answer = self._decide(call, route)
        if fault is not None and fault.kind is FaultKind.ANSWER_LOST_AFTER_EFFECT:
            return CUT
        if fault is not None and fault.kind is FaultKind.NO_REQUEST_ID:
            return Answer.of({})
        return answer

    def _decide(self, call: Call, route: Route) -> Answer:
        state, token = self._state, call.query.get("access_token", "")
        if not state.knows(token):
            return self._told(refuse.unknown_token(revoked=token in state.revoked))
        if not state.proven(token, call.query.get("appsecret_proof")):
            return self._told(refuse.bad_proof())
        if route.kind != UNKNOWN and route.version not in {*VERSIONS, *self.upgrades}:
            return self._told(refuse.expired_version())
        if route.kind in OF_THE_TOKEN:
            return self._told(self.access.told(route.kind), version=route.version)
        account_id = route.account_id if route.account_id is not None else state.owner_of(route.list_id or "")
        if route.kind == UNKNOWN or account_id is None or not state.may_use(token, account_id):
            return self._told(refuse.missing())
        usage = state.count_call(account_id)
        if usage.wait_minutes:
            return self._told(refuse.too_many_calls(usage.wait_minutes), account_id, usage)
        if route.kind in WRITES and not self.access.has(TO_WRITE):
            return self._told(refuse.not_permitted(), account_id, usage)
        own_url = f"http://{self.endpoint}{call.url}"
        told = carry_out(state, route, account_id, call, own_url, self.apply_after)
        return self._told(told, account_id, usage, route.version)

    def _told(
        self,
        what: dict[str, Any] | Refusal,
        account_id: str | None = None,
        usage: Usage | None = None,
        version: str | None = None,
    ) -> Answer:
        """The answer on the wire; with the version that served it, and the usage header once it is known whose call it was."""
        self._answers += 1
        headers = [("facebook-api-version", version if version in VERSIONS else VERSIONS[-1])]
        if version in self.upgrades:
            headers.append(("X-Ad-Api-Version-Warning", "The call was upgraded to another version."))
        if account_id is not None and usage is not None:
            headers.append(("X-Business-Use-Case-Usage", self._usage(account_id, usage)))
        if isinstance(what, Refusal):
            return Answer(what.status, what.body(f"A{self._answers:08d}"), headers=tuple(headers))
        return Answer(200, json.dumps(what).encode(), headers=tuple(headers))

    def _usage(self, account_id: str, usage: Usage) -> str:
        account = self.accounts[account_id]
        entry = {
            "type": "custom_audience",
            "call_count": usage.percent,
            "total_cputime": 0,
            "total_time": 0,
            "estimated_time_to_regain_access": usage.wait_minutes,
        }
        return json.dumps({account.business_id or account_id: [entry]})

    def _before(self, fault: Fault) -> Answer | None:
        """What a fault answers before the call has any effect; None when the call goes on."""
        if fault.kind is FaultKind.HANG:
            self._stopping.wait(fault.seconds)
            return None
        if fault.kind is FaultKind.MALFORMED_DETAILS:
            self._answers += 1
            return Answer.of(ODD_ERRORS[self._answers % len(ODD_ERRORS)], 400)
        return _FAILURES.get(fault.kind)

    def _control(self, call: Call) -> Answer:
        name = call.path.removeprefix(PREFIX)
        if not secrets.compare_digest(call.bearer.encode(), self.token.encode()):
            return Answer.of({}, 401)
        answer = answer_control(self, name, call.body) if name in CONTROL else None
        return Answer.of({}, 400) if answer is None else Answer(200, answer)


def _failure(refusal: Refusal) -> Answer:
    return Answer(refusal.status, refusal.body("A-unwell"))


_FAILURES: Final = {
    FaultKind.UNAVAILABLE: Answer(503, PAGE, HTML),
    FaultKind.DEADLINE: Answer(504, PAGE, HTML),
    FaultKind.ABORTED: _failure(refuse.update_in_progress()),
    FaultKind.INTERNAL: _failure(Refusal(2, status=500, transient=True)),
    FaultKind.EXHAUSTED_UNEXPLAINED: _failure(Refusal(17)),
    FaultKind.ANSWER_LOST_BEFORE_EFFECT: CUT,
    FaultKind.UNKNOWN_REASON: _failure(Refusal(99_901, 9_990_001)),
    FaultKind.HTML_OK: Answer(200, PAGE, HTML),
    FaultKind.EMPTY_BODY: Answer(200),
}
"""How each fault that comes before the effect looks on this wire."""
