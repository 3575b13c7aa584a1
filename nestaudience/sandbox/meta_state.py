"""What the local Graph server remembers: ad accounts, lists, members, upload sessions, changes on their way, and calls per hour.

It speaks no protocol. Time comes from the sandbox's clock; changes are applied when somebody looks and their time has come, in
the order of their times. The caller holds a lock.
"""

import hashlib
import hmac
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from nestaudience.sandbox.clock import SandboxClock

HOUR: Final = timedelta(hours=1)
CALLS_PER_HOUR: Final = {"standard_access": 5_000, "development_access": 5_000, "advanced_access": 190_000}
CALLS_PER_LIST: Final = 40
"""Per ad account: https://developers.facebook.com/docs/graph-api/overview/rate-limiting (read 2026-11)."""
NORMAL, NO_UPLOAD, INVALID_ENTRIES, REPLACING, POPULATING, FLAGGED = 200, 410, 412, 414, 441, 471
"""Values of `operation_status`."""


@dataclass(frozen=True, slots=True)
class MetaAccount:
    """An ad account. `tokens` may use it (None: the sandbox's own token); `business_id` None: no business owns it.

    `calls_per_hour` None: the documented limit of the access tier. `refuse_small_removals_below`: a removal that would leave fewer
    people on a list is refused; 0: never.
    """

    tokens: frozenset[str] | None = None
    name: str = "An ad account"
    business_id: str | None = "4440000001"
    business_name: str = "A business"
    currency: str = "SEK"
    tos_accepted: bool = True
    access_tier: str = "standard_access"
    calls_per_hour: int | None = None
    refuse_small_removals_below: int = 0


@dataclass(slots=True)
class MetaList:
    """One audience. `members` maps an identifier (lower-case hex) to when it was last added.

    `lookalikes` is how many audiences are built on it; `status` is an `operation_status` that was set by hand, None for its own.
    `refuse_small_removals_below` goes before the account's. `shared_with`: ad accounts that may use it as well; `deleted_at`: when it goes.
    """

    list_id: str
    display_name: str
    description: str
    retention_days: int | None = None
    subtype: str = "CUSTOM"
    source: str = "USER_PROVIDED_ONLY"
    lookalikes: int = 0
    status: int | None = None
    refuse_small_removals_below: int | None = None
    shared_with: tuple[str, ...] = ()
    deleted_at: datetime | None = None
    shape: str | None = None
    created: datetime | None = None
    changed: datetime | None = None
    last_invalid_share: float = 0.0
    members: dict[str, datetime] = field(default_factory=dict, repr=False)

    @property
    def integration_code(self) -> str:
        """The code of a client that keeps one: Meta has no field for it, so it is the first word of the name."""
        return self.display_name.partition(" ")[0]

    @property
    def open(self) -> bool:
        """True while members may be changed."""
        return self.status != FLAGGED

    def current(self, now: datetime) -> frozenset[str]:
        """The members whose time has not run out, as hex text."""
        if self.retention_days is None:
            return frozenset(self.members)
        oldest = now - timedelta(days=self.retention_days)
        return frozenset(member for member, added in self.members.items() if added > oldest)


@dataclass(slots=True)
class Session:
    """One upload session: what it is for, the batches that came, and the counts so far. `list_id` None: the whole account."""

    session_id: int
    list_id: str | None
    addition: bool
    started: datetime
    batches: set[int] = field(default_factory=set)
    finished: datetime | None = None
    received: int = 0
    invalid: int = 0


class Change(NamedTuple):
    """Members to add to a list or to take off it (`list_id` None: off every list of the account), applied at `due`."""

    account_id: str
    list_id: str | None
    addition: bool
    members: list[str]
    due: datetime


class Usage(NamedTuple):
    """Calls of the last hour as a percentage of the limit, and minutes until one more is allowed (0: it is)."""

    percent: int
    wait_minutes: int


class MetaState:
    """The memory of one sandbox: one app and the ad accounts that it may use."""

    def __init__(self, accounts: dict[str, MetaAccount], clock: SandboxClock, own_token: str, app_secret: str | None) -> None:
        self.accounts = accounts
        self.clock = clock
        self.own_token = own_token
        self.revoked: set[str] = set()
        self.lists: dict[str, dict[str, MetaList]] = {account_id: {} for account_id in accounts}
        self.sessions: dict[tuple[str, int], Session] = {}
        self._app_secret = app_secret
        self._waiting: list[Change] = []
        self._calls: dict[str, deque[datetime]] = {}
        self._next_list = 120_210_000_000_000_001
        self._next_session = 9_000_000_000_001

    def knows(self, token: str) -> bool:
        """True for a token that some account accepts and nobody revoked."""
        known = {self.own_token}.union(*(account.tokens or () for account in self.accounts.values()))
        return token in known and token not in self.revoked

    def proven(self, token: str, proof: str | None) -> bool:
        """True when no app secret is asked for, or `proof` is made with it from this token."""
        if self._app_secret is None:
            return True
        expected = hmac.new(self._app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected.encode(), (proof or "").encode())

    def may_use(self, token: str, account_id: str) -> bool:
        """True when the account is there and the token's system user is assigned to it."""
        account = self.accounts.get(account_id)
        return account is not None and token in ({self.own_token} if account.tokens is None else account.tokens)

    def owner_of(self, list_id: str) -> str | None:
        """The account of a list."""
        return next((account_id for account_id, held in self.lists.items() if list_id in held), None)

    def shown_to(self, account_id: str) -> list[tuple[str, MetaList]]:
        """(owner, list) of every list that an account shows: its own, then those that others share with it."""
        own = [(account_id, remote) for remote in self.lists.get(account_id, {}).values()]
        others = [(owner, remote) for owner, held in self.lists.items() if owner != account_id for remote in held.values()]
        return own + [(owner, remote) for owner, remote in others if account_id in remote.shared_with]

    def add_list(self, account_id: str, wanted: MetaList) -> MetaList:
        """Keep a new list under the next free id."""
        wanted.list_id = str(self._next_list)
        wanted.created = self.clock.now()
        self._next_list += 1
        self.lists.setdefault(account_id, {})[wanted.list_id] = wanted
        return wanted

    def own_session_id(self) -> int:
        """The id of a session for a request that names none."""
        self._next_session += 1
        return self._next_session

    def accept(self, change: Change) -> None:
        """Take a change; it waits until the clock passes its time."""
        self._waiting.append(change)
        self.catch_up()

    def catch_up(self) -> None:
        """Apply every change whose time has come, earliest first; changes of one moment in the order in which they came."""
        if not self._waiting:
            return
        now = self.clock.now()
        due = sorted((change for change in self._waiting if change.due <= now), key=lambda change: change.due)
        self._waiting = [change for change in self._waiting if change.due > now]
        for change in due:
            held = self.lists.get(change.account_id, {})
            hit = list(held.values()) if change.list_id is None else [held[change.list_id]] if change.list_id in held else []
            for remote in hit:
                self._apply(remote, change)

    def _apply(self, remote: MetaList, change: Change) -> None:
        if change.addition:
            remote.members.update(dict.fromkeys(change.members, change.due))
        else:
            for member in change.members:
                remote.members.pop(member, None)
        remote.changed = change.due

    def status_of(self, account_id: str, remote: MetaList) -> int:
        """The list's `operation_status`: the one set by hand, or what its uploads make of it."""
        if remote.status is not None:
            return remote.status
        if any(change.account_id == account_id and change.list_id == remote.list_id for change in self._waiting):
            return POPULATING
        if remote.shape is None and not remote.members:
            return NO_UPLOAD
        return INVALID_ENTRIES if remote.last_invalid_share > 0.5 else NORMAL

    def count_call(self, account_id: str) -> Usage:
        """Count one call of an account. Calls over the limit are counted too: they make the wait longer."""
        now, account = self.clock.now(), self.accounts[account_id]
        limit = account.calls_per_hour
        if limit is None:
            limit = CALLS_PER_HOUR[account.access_tier] + CALLS_PER_LIST * len(self.lists.get(account_id, {}))
        calls = self._calls.setdefault(account_id, deque())
        while calls and calls[0] <= now - HOUR:
            calls.popleft()
        calls.append(now)
        if len(calls) <= limit:
            return Usage(100 * len(calls) // max(limit, 1), 0)
        free_again = calls[len(calls) - max(limit, 1)] + HOUR
        return Usage(100 * len(calls) // max(limit, 1), max(1, -(-int((free_again - now).total_seconds()) // 60)))
