"""Meta through the Custom Audience API: lists, additions, removals, and what became of them.

It speaks through the real SDK (`meta_wire`), and decides nothing about people. A write is sent exactly once. A read may be repeated. No call is made
while Meta asks for silence, and requests about people slow down before it does (`meta_pace`). Nothing that Meta says in words leaves this file: only
codes of `meta_errors`, ids and counts.

https://developers.facebook.com/documentation/ads-commerce/marketing-api/audiences/guides/custom-audiences (read 2026-11).
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from nestaudience.destinations.meta_errors import LOST, WORTH_REPEATING, Trouble, of_opt_out, remedy_of, result_of
from nestaudience.destinations.meta_messages import (
    CUSTOMER_LIST,
    LIST_FIELDS,
    MAX_OPT_OUT,
    MAX_ROWS,
    MOST_DAYS,
    PreparedRequest,
    account_of,
    created_facts,
    facts_of,
    first_word,
    form_of,
    is_updating,
    list_fields,
    prepare_opt_out,
    prepare_request,
    receipt_of,
    settlement_of,
    upload_of,
)
from nestaudience.destinations.meta_pace import Pace
from nestaudience.destinations.meta_reading import ACCOUNT_FIELDS, Served, access_facts_of, account_facts_of, pages, served_by
from nestaudience.destinations.meta_settings import MetaSettings
from nestaudience.destinations.meta_signs import SIGN_FIELDS, signs_of
from nestaudience.destinations.meta_wire import Connection, connect, silence
from nestaudience.destinations.port import (
    AccessFacts,
    Account,
    AccountFacts,
    AccountSigns,
    Batch,
    ListFacts,
    ListSpec,
    NeverSeen,
    NoReceipt,
    Prepared,
    Receipt,
    Refused,
    Settlement,
    Target,
)
from nestaudience.errors import NestAudienceError
from nestaudience.vocabulary import Operation, Recipient

Outcome = dict[str, Any] | Trouble

_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_UPDATE_WAITS: Final = (1.0, 4.0, 10.0, 20.0, 40.0)
"""Seconds between looks at a list that Meta is updating, before a run gives it up for now."""


class Meta:
    """`Destination` to Meta Platforms Ireland Ltd. `sleep` waits (seconds); `clock` counts seconds and never runs backwards."""

    name: str = "meta"
    recipient: Recipient = Recipient.META
    batch_size: int = MAX_ROWS
    opt_out_size: int = MAX_OPT_OUT

    def __init__(
        self,
        settings: MetaSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        silence()
        self._settings = settings
        self._sleep = sleep
        self._connected: Connection | None = connect(settings)
        self._owners: dict[str, str] = {}
        self._wait: float | None = None
        self._pace = Pace(clock=clock, sleep=sleep)
        self._updating: set[str] = set()
        self._served = Served()

    def account_facts(self, account: Account) -> AccountFacts:
        """What Meta says of the ad account: whose it is, and whether the terms were accepted there."""
        where = "meta.account_facts"
        answer = self._ask((_account_path(account, where),), {"fields": ACCOUNT_FIELDS})
        if isinstance(answer, Trouble):
            raise _raised(_of_account(answer), where)
        facts = account_facts_of(answer, self._served)
        if facts is None or facts.account_id != account.account_id:
            raise _error("unreadable" if facts is None else "wrong_account", where)
        return facts

    def access_facts(self, business_id: str | None) -> AccessFacts:
        """What the token may do, and whether the business lists its user as a system user. What Meta does not answer is None."""
        business = None if business_id is None else _number(business_id, "meta.access_facts")
        return access_facts_of(lambda *path: self._ask(path, {} if path[-1] == "permissions" else {"fields": "id"}), business)

    def signs(self, account: Account, list_ids: frozenset[str]) -> AccountSigns:
        """What Meta shows of these lists of the account beyond their facts: codes, flags, owner, sharing, what is built on them."""
        shown = self._all_lists(account, "meta.signs", SIGN_FIELDS)
        return signs_of(account.account_id, shown, list_ids, self._ask)

    def find_list(self, account: Account, code: str) -> ListFacts | None:
        """The account's own list whose name begins with this code, or None when the account, read with our credentials, has none.

        Raises `NeedsFix` when two lists carry the code, or when the one that does is no customer list.
        """
        where = "meta.find_list"
        found = [item for item in self._own_lists(account, where) if code and first_word(str(item.get("name"))) == code]
        if len(found) > 1:
            raise _error("list_code_twice", where)
        if found and found[0].get("subtype") != CUSTOMER_LIST:
            raise _error("list_wrong_type", where)
        return facts_of(found[0]) if found else None

    def create_list(self, account: Account, spec: ListSpec) -> ListFacts:
        """Create a customer list. Sent once; raises `NotKnown` when the answer was lost: look the list up by its code.

        Raises `NeedsFix` for a duration that Meta does not take, and ValueError for a name that does not begin with the code.
        """
        where = "meta.create_list"
        if first_word(spec.name) != spec.code:
            raise ValueError("the name of a list at Meta begins with its code")
        path = (_account_path(account, where), "customaudiences")
        if not 1 <= spec.membership_days <= MOST_DAYS:
            raise _error("membership_too_long", where)
        fields = list_fields(spec)
        answer = self._call("POST", path, fields, form_of(fields))
        if isinstance(answer, Trouble):
            raise _raised(_of_account(answer), where) if answer.without_effect else _error(answer.lost, where)
        list_id = str(answer.get("id"))
        if _NUMBER.fullmatch(list_id) is None:
            raise _error(LOST + "unreadable", where)
        self._owners[list_id] = account.account_id
        return created_facts(list_id, spec)

    def read_list(self, target: Target) -> ListFacts | None:
        """The list with this id. None only when the listing of the account succeeds and does not name it either.

        Meta answers in one way for a list that does not exist and for one that we may not see: that is no proof.
        """
        where = "meta.read_list"
        _account_path(target.account, where)
        answer = self._ask((_number(target.list_id, where),), {"fields": LIST_FIELDS})
        if not isinstance(answer, Trouble):
            if account_of(answer) != target.account.account_id or str(answer.get("id")) != target.list_id:
                raise _error("wrong_account" if account_of(answer) and answer.get("id") else "unreadable", where)
            self._owners[target.list_id] = target.account.account_id
            return facts_of(answer)
        if answer.code != "list_gone":
            raise _raised(answer, where)
        if any(str(item["id"]) == target.list_id for item in self._all_lists(target.account, where)):
            raise _error("permission_denied", where)
        return None

    def lists(self, account: Account) -> tuple[ListFacts, ...]:
        """Every customer list that the account owns, whoever made it. Lists that others share into it are not among them."""
        where = "meta.lists"
        return tuple(facts_of(item) for item in self._own_lists(account, where) if item.get("subtype") == CUSTOMER_LIST)

    def delete_list(self, target: Target) -> None:
        """Delete a list for good, after reading that the bound account owns it. One that is gone already is no error.

        Raises `NeedsFix` while lookalike audiences depend on it, and `NotKnown` when the answer was lost.
        """
        where = "meta.delete_list"
        if self.read_list(target) is None:
            return
        answer = self._call("DELETE", (target.list_id,))
        if not isinstance(answer, Trouble):
            if answer.get("success") is not True:
                raise _error(LOST + "unreadable", where)
            return
        if not answer.without_effect:
            raise _error(answer.lost, where)
        if answer.code != "list_gone":
            raise _raised(answer, where)
        if self.read_list(target) is not None:
            raise _error("permission_denied", where)

    def ready(self, target: Target, operation: Operation, sent_today: int) -> None:
        """Wait as Meta's usage headers advise, and for a list that Meta is updating. Its limits are no number of requests of a day.

        Raises `TryAgain`: `quota_exhausted`, `update_in_progress`.
        """
        where = "meta.ready"
        trouble = self._pace.ready(target.account.account_id, removal=operation is Operation.REMOVE)
        if trouble is not None:
            raise _raised(trouble, where)
        if target.list_id not in self._updating:
            return
        for wait in _UPDATE_WAITS:
            self._sleep(wait)
            answer = self._ask((_number(target.list_id, where),), {"fields": "operation_status"})
            if isinstance(answer, Trouble):
                raise _raised(answer, where)
            if not is_updating(answer):
                self._updating.discard(target.list_id)
                return
        raise _error("update_in_progress", where)

    def prepare(self, target: Target, batch: Batch) -> Prepared:
        """Build the one request of a batch: at most 10 000 digests made by Meta's rule, else ValueError.

        A request to Meta names no ad account, so a list whose account this object has not read yet is read first. Raises `MustStop`
        when the list is another account's, and `NeedsFix` for an addition while the configuration does not record that the terms
        were accepted: no digest leaves then.
        """
        where = "meta.prepare"
        _account_path(target.account, where)
        _number(target.list_id, where)
        if batch.operation is Operation.ADD and not self._settings.terms_accepted:
            raise _error("terms_missing", where)
        if target.list_id not in self._owners and self.read_list(target) is None:
            raise _error("list_gone", where)
        if self._owners[target.list_id] != target.account.account_id:
            raise _error("wrong_account", where)
        return prepare_request(target, batch)

    def prepare_opt_out(self, account: Account, batch: Batch) -> Prepared:
        """Build the one request of a batch of removals for the whole account: at most 200 digests, and never in an URL. Else ValueError."""
        _account_path(account, "meta.prepare_opt_out")
        return prepare_opt_out(account, batch)

    def send(self, prepared: Prepared) -> Receipt:
        """Send it once. `Refused` only where Meta provably did nothing; `Accepted` only where it counts everybody of the batch."""
        if not isinstance(prepared, PreparedRequest):
            raise TypeError("a destination sends what it prepared itself")
        answer = self._call("POST", prepared.path, prepared.fields(), prepared.message)
        if isinstance(answer, Trouble):
            answer = answer if prepared.list_id else of_opt_out(answer)
            self._wait = answer.after
            passing = answer.code == "update_in_progress"
            if passing:
                self._updating.add(prepared.list_id)
            return Refused(answer.code, passing=passing) if answer.without_effect else NoReceipt(answer.lost)
        return receipt_of(prepared, answer)

    def status(self, request_id: str, operation: Operation, *, sent_at: datetime, now: datetime) -> Settlement:
        """What became of an upload, from the list's sessions. Meta says so in the receipt already: this is for receipts of old.

        Neither the operation nor the times are needed here.
        """
        where = "meta.status"
        upload = upload_of(request_id)
        if upload is None:
            return NeverSeen("request_unknown")
        list_id, session_id = upload
        answer = self._ask((list_id, "sessions"), {"session_id": session_id})
        if isinstance(answer, Trouble):
            raise _raised(answer, where)
        return settlement_of(answer, session_id)

    def error_of(self, code: str, where: str) -> NestAudienceError:
        """The error, by remedy, for a code of this destination; with the wait that Meta named when it last refused a request."""
        return _raised(Trouble(code, without_effect=True, after=self._wait), where)

    def close(self) -> None:
        """End the use of this destination and close its connections: a call after it finds nothing to send with."""
        if self._connected is not None:
            self._connected.session.close()
        self._connected = None

    def _own_lists(self, account: Account, where: str) -> Iterator[dict[str, Any]]:
        """The lists that the account owns, and no list that another account shares with it; remembers whose they are."""
        for item in self._all_lists(account, where):
            if account_of(item) == account.account_id:
                self._owners[str(item["id"])] = account.account_id
                yield item

    def _all_lists(self, account: Account, where: str, names: str = LIST_FIELDS) -> Iterator[dict[str, Any]]:
        """Every list that the account shows, page by page. Raises rather than to end early: whoever counts must see all.

        Only the cursor is taken from Meta's `next`, which is a whole URL with the token in it.
        """
        path = (_account_path(account, where), "customaudiences")
        fields = {"fields": names, "limit": str(self._settings.page_size)}
        for page in pages(lambda more: self._ask(path, {**fields, **more})):
            if isinstance(page, Trouble):
                raise _raised(_of_account(page), where)
            yield from page

    def _ask(self, path: tuple[str, ...], fields: Mapping[str, str]) -> Outcome:
        """A read, repeated after the settings' waits while Meta is down."""
        answer = self._call("GET", path, fields)
        for wait in self._settings.read_waits:
            if not isinstance(answer, Trouble) or answer.code not in WORTH_REPEATING:
                break
            self._sleep(wait)
            answer = self._call("GET", path, fields)
        return answer

    def _call(self, method: str, path: tuple[str, ...], fields: Mapping[str, str] | None = None, body: bytes = b"") -> Outcome:
        """One call, once. No exception leaves here: its text may hold a token, or a whole request."""
        silence()
        about = path[0].removeprefix("act_") if path[0].startswith("act_") else self._owners.get(path[0], "")
        held = self._pace.held(about)
        if self._connected is None or held is not None:
            return held or Trouble("unreadable", without_effect=False)
        answer = self._connected.call(method, path, fields or {}, body)
        self._served = served_by(answer)
        if isinstance(answer, Trouble):
            return answer
        found = result_of(answer)
        self._pace.heard(about, answer.headers, found if isinstance(found, Trouble) else None)
        return found


def _of_account(trouble: Trouble) -> Trouble:
    """What is missing, where a call was about the account itself."""
    return Trouble("account_wrong", trouble.without_effect) if trouble.code == "list_gone" else trouble


def _error(code: str, where: str) -> NestAudienceError:
    return remedy_of(code).raised(code, where)


def _raised(trouble: Trouble, where: str) -> NestAudienceError:
    """The error of a read, or of a write without effect, with the seconds to wait where Meta named them."""
    return remedy_of(trouble.code).raised(trouble.code, where, trouble.after)


def _number(text: str, where: str) -> str:
    if _NUMBER.fullmatch(text) is None:
        raise _error("account_wrong", where)
    return text


def _account_path(account: Account, where: str) -> str:
    return f"act_{_number(account.account_id, where)}"
