"""A platform in memory, with its transport: lists that hold digests, limits, and faults on demand. A double of Google or of Meta, as one is told.

    google = Platform("google_data_manager", Recipient.GOOGLE, {"111"}, now)           # takes a request, applies it later, is asked what became of it
    meta = MetaPlatform("meta", Recipient.META, {"222"}, now, at_once=True)           # applies it and says so in the same answer
    google.faults["send"].append(Fault.LOST_AFTER)                                    # the next request

It keeps every request that left us, in order, with what really became of it and what it told us. It judges nobody. `heard` is told of each request
as it leaves, and `called` before every call and after every one that changes something: there a test crashes the caller.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, NoReturn

from nestaudience.destinations.port import (
    Accepted,
    Account,
    Batch,
    Contents,
    Failed,
    ListFacts,
    ListSpec,
    NeverSeen,
    NoReceipt,
    PartlyRefused,
    Prepared,
    Receipt,
    Refused,
    Settlement,
    StillProcessing,
    Succeeded,
    Target,
)
from nestaudience.errors import MustStop, NeedsFix, NestAudienceError, NotKnown, TryAgain
from nestaudience.vocabulary import Operation, Recipient

READ_TRIES: Final = 4
REFUSING: Final = ("removal_refused_too_small", "list_flagged")
"""How a platform may refuse to take anybody off a list."""
LOOKALIKES, NOT_TAKEN = "list_has_lookalikes", "opt_out_not_taken"
DROPS_EARLY: Final = timedelta(minutes=5)
"""A platform's clock is not ours: whoever it drops by itself is gone a little before we may know."""


class Fault(Enum):
    """What happens to one call."""

    NONE = "nothing goes wrong"
    LOST_BEFORE = "the request never arrives"
    LOST_AFTER = "the request arrives, its answer does not"
    REFUSED = "refused, without effect"
    PARTLY = "somebody of the batch is not taken"
    FAILED = "taken, and later nothing of it is applied"
    FORGOTTEN = "taken and applied, and later the platform knows nothing of it"
    BUSY = "this read fails"


class Told(Enum):
    """What we were told of a request."""

    NOTHING = "no answer"
    ACCEPTED = "taken, no result"
    DONE = "applied in full"
    PARTLY = "applied in part"
    NO_EFFECT = "refused or failed"
    NEVER_SEEN = "not known"


@dataclass
class Request:
    """One request that left us. `due`: when it is applied (UTC), None when it never is; `told_at`: when we were told last."""

    request_id: str
    batch_id: bytes
    operation: Operation
    account_id: str
    list_id: str
    people: frozenset[str]
    sent_at: datetime
    due: datetime | None = None
    left_out: frozenset[str] = frozenset()
    applied: bool = False
    applied_at: datetime | None = None
    forgotten: bool = False
    fails: bool = False
    told: Told = Told.NOTHING
    told_at: datetime | None = None

    def says(self, told: Told, at: datetime) -> None:
        """Remember what we were told."""
        self.told, self.told_at = told, at

    @property
    def may_still_act(self) -> bool:
        """True while it will be applied."""
        return self.due is not None and not self.applied


@dataclass
class _List:
    facts: ListFacts
    account_id: str
    members: dict[str, datetime | None] = field(default_factory=dict)
    """Digest -> when it is dropped, None for never."""
    doubted: set[str] = field(default_factory=set)
    """Whoever was once not taken is taken the next time."""


class MemoryPrepared:
    """One request, built and not yet sent."""

    def __init__(self, target: Target, batch: Batch) -> None:
        self.target, self.batch = target, batch

    def contents(self) -> Contents:
        """What it holds."""
        return Contents(self.target.account.account_id, self.target.list_id, self.batch.operation, self.batch.digests.hex())

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a request is not stored")

    def __repr__(self) -> str:
        return f"<{len(self.batch.digests)} people>"


class Platform:
    """One recipient's platform, and the way to it. `lag` is how long a request waits there; `faults` are queues by call: `send`, `create`, `delete`,
    `read`, `status`; `locked`: our credentials are worth nothing; `refusing`: the code with which it refuses every removal, and of a flagged list
    every addition; `keeping`: the code with which it refuses to delete a list.
    """

    batch_size = 10_000

    def __init__(
        self, name: str, recipient: Recipient, accounts: frozenset[str], now: Callable[[], datetime], *, at_once: bool = False
    ) -> None:
        self.name, self.recipient = name, recipient
        self.accounts, self.now, self.at_once = accounts, now, at_once
        self.lag = timedelta(0)
        self.locked = False
        self.refusing = self.keeping = ""
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.requests: list[Request] = []
        self.writes = 0
        self.waits: list[float] = []
        self.troubled: set[str] = set()
        self.heard: Callable[[Request], None] = lambda request: None
        self.called: Callable[[str], None] = lambda call: None
        self._lists: dict[str, _List] = {}
        self._made = 0

    # -- what a test sees and does

    def members(self, list_id: str) -> frozenset[str]:
        """Who is on a list now."""
        self.apply()
        return frozenset(self._lists[list_id].members) if list_id in self._lists else frozenset()

    def there(self, list_id: str) -> bool:
        """True while the list exists."""
        return list_id in self._lists

    @property
    def list_ids(self) -> frozenset[str]:
        """Every list that exists, ours or not."""
        return frozenset(self._lists)

    def drop(self, list_id: str) -> None:
        """Somebody else deletes the list."""
        self._lists.pop(list_id, None)

    def may_come(self, list_id: str) -> frozenset[str]:
        """Who is on a list, or would join it by a request that is still to be applied."""
        waiting = [r for r in self.requests if r.list_id == list_id and r.operation is Operation.ADD and r.may_still_act]
        return self.members(list_id).union(*(request.people for request in waiting))

    def apply(self) -> None:
        """Apply what is due, in the order in which it is due, and drop whoever's time is over."""
        now = self.now()
        due = [r for r in self.requests if r.may_still_act and r.due is not None and r.due <= now]
        for request in sorted(due, key=lambda each: (each.due, each.request_id)):
            self._apply(request)
        for each in self._lists.values():
            for digest in [digest for digest, ends in each.members.items() if ends is not None and ends <= now]:
                del each.members[digest]

    def latest_due(self) -> datetime | None:
        """When the last of what waits is applied."""
        return max((r.due for r in self.requests if r.may_still_act and r.due is not None), default=None)

    def _apply(self, request: Request) -> None:
        request.applied, request.applied_at = True, request.due
        found = self._lists.get(request.list_id)
        if found is None:
            return
        for digest in request.people - request.left_out:
            if request.operation is Operation.REMOVE:
                found.members.pop(digest, None)
            else:
                days = found.facts.membership_days
                drops = self.recipient is Recipient.GOOGLE and days is not None
                ends = request.sent_at + timedelta(days=days or 0) - DROPS_EARLY if drops else None
                found.members[digest] = ends

    # -- lists

    def find_list(self, account: Account, code: str) -> ListFacts | None:
        """As the port says."""
        self._read(account)
        return next((e.facts for e in self._lists.values() if (e.account_id, e.facts.code) == (account.account_id, code)), None)

    def create_list(self, account: Account, spec: ListSpec) -> ListFacts:
        """As the port says."""
        self.called("create")
        self._let_in(account)
        self.writes += 1
        fault = self._fault("create")
        if fault is Fault.LOST_BEFORE:
            raise self.error_of("lost_timeout", spec.code)
        self._made += 1
        list_id = f"{self.name[0]}{self._made:03d}"
        facts = ListFacts(list_id, spec.code, spec.name, True, spec.membership_days, None, None, None)
        self._lists[list_id] = _List(facts, account.account_id)
        self.called("created")
        if fault is Fault.LOST_AFTER:
            raise self.error_of("lost_timeout", spec.code)
        return facts

    def read_list(self, target: Target) -> ListFacts | None:
        """As the port says."""
        self._read(target.account)
        found = self._lists.get(target.list_id)
        return found.facts if found is not None and found.account_id == target.account.account_id else None

    def lists(self, account: Account) -> tuple[ListFacts, ...]:
        """As the port says."""
        self._read(account)
        return tuple(each.facts for each in self._lists.values() if each.account_id == account.account_id)

    def delete_list(self, target: Target) -> None:
        """As the port says."""
        self.called("delete")
        self._let_in(target.account)
        self.writes += 1
        if self.keeping:
            self.called("deleted")
            raise self.error_of(self.keeping, target.list_id)
        fault = self._fault("delete")
        if fault is not Fault.LOST_BEFORE:
            self._lists.pop(target.list_id, None)
        self.called("deleted")
        if fault in {Fault.LOST_BEFORE, Fault.LOST_AFTER}:
            raise self.error_of("lost_timeout", target.list_id)

    # -- requests

    def ready(self, target: Target, operation: Operation, sent_today: int) -> None:
        """As the port says: no limits."""

    def prepare(self, target: Target, batch: Batch) -> Prepared:
        """As the port says."""
        return MemoryPrepared(target, batch)

    def send(self, prepared: Prepared) -> Receipt:
        """As the port says."""
        assert isinstance(prepared, MemoryPrepared)
        self.called("send")
        self.apply()
        batch, target, now = prepared.batch, prepared.target, self.now()
        number = f"r{len(self.requests):04d}"
        request = Request(
            number,
            batch.batch_id,
            batch.operation,
            target.account.account_id,
            target.list_id,
            frozenset(batch.digests.hex()),
            now,
        )
        self.heard(request)
        self.writes += 1
        self.requests.append(request)
        fault = self._fault("send", target.list_id)
        if fault is Fault.LOST_BEFORE:
            self.called("sent")
            return NoReceipt("lost_timeout")
        refusal = self._refusal(target, fault) or self._refuses(request)
        if refusal:
            request.says(Told.NO_EFFECT, now)
            self.called("sent")
            return Refused(refusal)
        return self._take(request, fault)

    def _refusal(self, target: Target, fault: Fault) -> str:
        if self.locked or target.account.account_id not in self.accounts:
            return "permission_denied"
        found = self._lists.get(target.list_id)
        if found is None or found.account_id != target.account.account_id:
            return "list_gone"
        return "busy" if fault is Fault.REFUSED else ""

    def _refuses(self, request: Request) -> str:
        """Why this request is refused whatever else goes on."""
        if not self.refusing or (request.operation is Operation.ADD and self.refusing != "list_flagged"):
            return ""
        self.troubled.add(request.list_id)
        return self.refusing

    def _take(self, request: Request, fault: Fault) -> Receipt:
        """The platform has it."""
        now, here = request.sent_at, self._lists[request.list_id]
        lost = fault is Fault.LOST_AFTER
        request.fails = fault is Fault.FAILED and not self.at_once
        request.forgotten = fault is Fault.FORGOTTEN and not self.at_once
        if fault is Fault.PARTLY and not request.people & here.doubted:
            request.left_out = frozenset({min(request.people)})
            here.doubted |= request.people
        if not request.fails:
            waits = self.lag if lost or not self.at_once else timedelta(0)
            request.due = now + waits
        if request.due is not None and request.due <= now:
            self._apply(request)
        self.called("sent")
        if lost:
            return NoReceipt("lost_timeout")
        if not self.at_once:
            request.says(Told.ACCEPTED, now)
            return Accepted(request.request_id)
        settlement = _result(request)
        request.says(Told.PARTLY if request.left_out else Told.DONE, now)
        return Accepted(request.request_id, settlement)

    def status(self, request_id: str, operation: Operation, *, sent_at: datetime, now: datetime) -> Settlement:
        """As the port says."""
        del operation, sent_at
        self._read(None, "status")
        self.apply()
        request = next((each for each in self.requests if each.request_id == request_id), None)
        if request is None or request.forgotten:
            if request is not None:
                request.says(Told.NEVER_SEEN, now)
            return NeverSeen("unknown_request")
        if request.fails:
            request.says(Told.NO_EFFECT, now)
            return Failed((("internal", len(request.people)),))
        if not request.applied:
            return StillProcessing()
        request.says(Told.PARTLY if request.left_out else Told.DONE, now)
        return _result(request)

    def error_of(self, code: str, where: str) -> NestAudienceError:
        """As the port says."""
        if code in REFUSING:
            return MustStop(code, where, "delete the list")
        if code in {"permission_denied", "list_gone", LOOKALIKES, NOT_TAKEN}:
            return NeedsFix(code, where, "give the account back")
        if code == "lost_timeout":
            return NotKnown(code, where, "ask again")
        return TryAgain(code, where, "run again")

    def close(self) -> None:
        """Nothing is open."""

    # -- faults

    def _fault(self, call: str, list_id: str = "") -> Fault:
        fault = self.faults[call].popleft() if self.faults[call] else Fault.NONE
        if fault is not Fault.NONE or self.locked:
            self.troubled.add(list_id)
        return fault

    def _let_in(self, account: Account | None) -> None:
        if self.locked or (account is not None and account.account_id not in self.accounts):
            self.troubled.add("")
            raise self.error_of("permission_denied", self.name)

    def _read(self, account: Account | None, call: str = "read") -> None:
        """A read: repeated a few times while the platform is busy."""
        self.called(call)
        for _ in range(READ_TRIES):
            if not (self.faults[call] and self.faults[call][0] is Fault.BUSY):
                return self._let_in(account)
            self.faults[call].popleft()
            self.waits.append(1.0)
        self.troubled.add("")
        raise self.error_of("busy", self.name)


class MetaPlatform(Platform):
    """A platform that can be asked to take people off every list of an account. `opts_out`: it does so, and says so; otherwise it refuses."""

    opt_out_size = 2
    opts_out = True

    def prepare_opt_out(self, account: Account, batch: Batch) -> Prepared:
        """As the port says."""
        return MemoryPrepared(Target(account, ""), batch)

    def send(self, prepared: Prepared) -> Receipt:
        """As the port says."""
        assert isinstance(prepared, MemoryPrepared)
        if prepared.target.list_id:
            return super().send(prepared)
        self.called("send")
        batch, account, now = prepared.batch, prepared.target.account.account_id, self.now()
        number, people = f"r{len(self.requests):04d}", frozenset(batch.digests.hex())
        request = Request(number, batch.batch_id, batch.operation, account, "", people, now)
        self.heard(request)
        self.writes += 1
        self.requests.append(request)
        fault = self._fault("send")
        if self.opts_out and not self.locked and fault is not Fault.LOST_BEFORE:
            for each in self._lists.values():
                for digest in people if each.account_id == account else ():
                    each.members.pop(digest, None)
        self.called("sent")
        if fault in {Fault.LOST_BEFORE, Fault.LOST_AFTER}:
            return NoReceipt("lost_timeout")
        return Accepted(number) if self.opts_out and not self.locked else Refused(NOT_TAKEN)


def _result(request: Request) -> Succeeded | PartlyRefused:
    taken = len(request.people) - len(request.left_out)
    if request.left_out:
        return PartlyRefused(taken, (("not_taken", len(request.left_out)),))
    return Succeeded(taken)


def attempts(requests: list[Request], list_id: str, digest: str) -> Iterator[Request]:
    """The requests that named somebody for a list, the last one first."""
    return (request for request in reversed(requests) if request.list_id == list_id and digest in request.people)
