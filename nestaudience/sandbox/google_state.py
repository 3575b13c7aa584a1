"""What the local Google remembers, for both ways in: accounts, lists, members, requests on their way, and Data Manager's quotas.

It speaks no protocol. Time comes from the sandbox's clock; requests are applied when somebody looks and their time has come, in
the order of their times. The caller holds its lock.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import RLock
from typing import Final, NamedTuple

from google.ads import datamanager_v1 as dm

from nestaudience.sandbox.clock import SandboxClock

STATUS: Final = dm.RequestStatusPerDestination.RequestStatus
STATUS_KEPT: Final = timedelta(days=50)
PER_MINUTE: Final = 300
PER_DAY: Final = {"Ingestion": 100_000, "Management": 50_000}
"""Per project: https://developers.google.com/data-manager/api/devguides/limits (read 2026-11)."""


@dataclass(frozen=True, slots=True)
class SandboxAccount:
    """An ad account. `tokens` may write to it (None: the sandbox's own token); `manager` is the account through which others may.

    The rest is the account's state at Google: Customer Match terms, allow-list, declaration on political advertising, and whether its own settings
    say anything of consent where a request does not.
    """

    tokens: frozenset[str] | None = None
    manager: str | None = None
    terms_accepted: bool = True
    allowlisted: bool = True
    political_declaration: bool = True
    consent_settings: bool = True


@dataclass(slots=True)
class RemoteList:
    """One list. `members` maps an identifier (32 bytes) to when it was last added."""

    list_id: str
    display_name: str
    description: str
    integration_code: str
    duration: timedelta
    key_type: int
    shared: bool = False
    closed_as_unused: bool = False
    open: bool = True
    filled: bool = False
    members: dict[bytes, datetime] = field(default_factory=dict, repr=False)

    def current(self, now: datetime) -> frozenset[str]:
        """The members whose time has not run out, as hex text."""
        oldest = now - self.duration
        return frozenset(member.hex() for member, added in self.members.items() if added > oldest)


class Person(NamedTuple):
    """One audience member of a request.

    Identifiers, why it will not be processed (0: it will), and where it goes (empty: everywhere).
    """

    identifiers: tuple[bytes, ...]
    error: int
    references: tuple[str, ...]


@dataclass(slots=True)
class Part:
    """What a request asks of one destination, and what became of it."""

    account_id: str
    list_id: str
    people: list[Person] = field(repr=False)
    status: int = STATUS.PROCESSING
    records: int = 0
    identifiers: int = 0
    errors: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class AcceptedRequest:
    """A request that was accepted: applied at `due`, and forgotten some 50 days after `accepted`. With `as_of` it takes off whoever was last added
    before that moment.
    """

    addition: bool
    composite: bool
    accepted: datetime
    due: datetime
    parts: list[Part]
    as_of: datetime | None = None


class GoogleState:
    """The memory of one sandbox: one Cloud project and its accounts."""

    def __init__(self, accounts: dict[str, SandboxAccount], clock: SandboxClock, own_token: str) -> None:
        self.accounts = accounts
        self.clock = clock
        self.lock = RLock()
        self.own_token = own_token
        self.revoked: set[str] = set()
        self.unwelcome: dict[bytes, str] = {}
        self.locates = True
        self.lists: dict[str, dict[str, RemoteList]] = {account_id: {} for account_id in accounts}
        self.requests: dict[str, AcceptedRequest] = {}
        self._waiting: list[AcceptedRequest] = []
        self._spent: Counter[tuple[str, str]] = Counter()
        self._next_list = 7_000_000_001

    def knows(self, token: str) -> bool:
        """True for a token that some account accepts and nobody revoked."""
        known = {self.own_token}.union(*(account.tokens or () for account in self.accounts.values()))
        return token in known and token not in self.revoked

    def may_write(self, token: str, account_id: str, login_id: str | None) -> bool:
        """True when the token has write access.

        On the account itself, or on its manager when that one is named as login account.
        """
        account = self.accounts.get(account_id)
        if account is None or login_id not in {None, account_id, account.manager}:
            return False
        door = self.accounts.get(login_id or account_id)
        return door is not None and token in ({self.own_token} if door.tokens is None else door.tokens)

    def add_list(self, account_id: str, wanted: RemoteList) -> RemoteList:
        """Keep a new list under the next free id."""
        wanted.list_id = str(self._next_list)
        self._next_list += 1
        self.lists.setdefault(account_id, {})[wanted.list_id] = wanted
        return wanted

    def accept(self, request: AcceptedRequest) -> str:
        """Take a request; its id. It waits until the clock passes its time."""
        request_id = f"t-{len(self.requests) + 1:012d}"
        self.requests[request_id] = request
        self._waiting.append(request)
        return request_id

    def catch_up(self) -> None:
        """Apply every request whose time has come, earliest first; requests of one moment in the order in which they came."""
        now = self.clock.now()
        due = sorted((request for request in self._waiting if request.due <= now), key=lambda request: request.due)
        self._waiting = [request for request in self._waiting if request.due > now]
        for request in due:
            for part in request.parts:
                self._apply(part, request)

    def _apply(self, part: Part, request: AcceptedRequest) -> None:
        remote = self.lists.get(part.account_id, {}).get(part.list_id)
        part.records = len(part.people)
        part.identifiers = sum(len(person.identifiers) for person in part.people)
        part.errors = Counter(person.error for person in part.people if person.error)
        good = [identifier for person in part.people if not person.error for identifier in person.identifiers]
        failed = sum(part.errors.values())
        part.people = []
        if remote is None or (request.addition and not remote.open):
            part.status = STATUS.FAILED
            return
        if request.as_of is not None:
            remote.members = {member: added for member, added in remote.members.items() if added >= request.as_of}
            part.status = STATUS.SUCCESS
            return
        if request.addition:
            remote.members.update(dict.fromkeys(good, request.due))
            remote.filled = remote.filled or bool(good)
        else:
            for identifier in good:
                remote.members.pop(identifier, None)
        part.status = STATUS.SUCCESS if not failed else STATUS.FAILED if failed == part.records else STATUS.PARTIAL_SUCCESS

    def over_quota(self, service: str, *, write: bool) -> str | None:
        """Count one call; the name of the quota that it breaks, if it breaks one. Calls over the quota are not counted."""
        now = self.clock.now()
        if service == "Ingestion":
            group = f"Ingestion{'Mutate' if write else 'Read'}"
            name = group
        else:
            group, name = "Management", f"Management{'Mutate' if write else 'Read'}"
        minute, day = (group, f"{now:%Y-%m-%dT%H:%M}"), (group, f"{now:%Y-%m-%d}")
        if self._spent[minute] >= PER_MINUTE:
            return f"{name}RequestsPerMinutePerProject"
        if self._spent[day] >= PER_DAY[service]:
            return f"{name}RequestsPerDayPerProject"
        self._spent[minute] += 1
        self._spent[day] += 1
        return None
