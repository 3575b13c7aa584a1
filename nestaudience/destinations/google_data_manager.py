"""Google through the Data Manager API: lists, additions, removals, and what became of them.

It speaks the real SDK and decides nothing about people. A write is sent exactly once: the SDK's own retry is off, because a
request that was received twice leaves one receipt only. A read may be repeated. Nothing that Google says in words leaves this
file: only codes of `google_errors`, ids and counts.

https://developers.google.com/data-manager/api/reference (read 2026-11). `google_ads` is needed only by those who may still use
the old way in.
"""

import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, TypeVar

from google.ads import datamanager_v1 as dm
from grpc import StatusCode

from nestaudience.destinations.google_connection import Clients, GoogleDataManagerSettings, connect, repeated, silence
from nestaudience.destinations.google_errors import LOST, QUOTA_CODES, Trouble, remedy_of, trouble_of
from nestaudience.destinations.google_messages import (
    MAX_MEMBERS,
    PreparedRequest,
    PreparedSweep,
    equals_filter,
    facts_of,
    is_owned,
    list_request,
    parent_of,
    prepare_request,
    prepare_sweep,
    settlement_of,
    takes_contacts,
)
from nestaudience.destinations.google_quota import Kind, Quota, quota_of
from nestaudience.destinations.port import (
    Accepted,
    Account,
    Batch,
    ListFacts,
    ListSpec,
    NeverSeen,
    NoReceipt,
    Prepared,
    Receipt,
    Refused,
    Settlement,
    StillProcessing,
    Target,
)
from nestaudience.errors import NestAudienceError
from nestaudience.vocabulary import Operation, Recipient

T = TypeVar("T")

_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,256}")
_NUMBER: Final = re.compile(r"[0-9]{1,20}")


_ENDED: Final[list[Clients]] = []
"""Clients that are not used any more; see `GoogleDataManager.close`."""


class GoogleDataManager:
    """`Destination` to Google Ireland Ltd. `sleep` waits between repetitions of a read (seconds); `quota`: the project's own when left out."""

    name: str = "google_data_manager"
    recipient: Recipient = Recipient.GOOGLE
    batch_size: int = MAX_MEMBERS

    def __init__(
        self, settings: GoogleDataManagerSettings, *, sleep: Callable[[float], None] = time.sleep, quota: Quota | None = None
    ) -> None:
        silence()
        self._settings = settings
        self._sleep = sleep
        clients = connect(settings)
        self._connected: Clients | None = clients
        self._quota = quota or quota_of(clients.project)

    def ready(self, target: Target, operation: Operation, sent_today: int) -> None:
        """Wait for at most 90 seconds until the project's quota lets one more request start; the last tenth of a day is for removals.

        Raises `TryAgain`: `quota_exhausted`, `quota_exhausted_today`.
        """
        trouble = self._quota.ready(Kind.WRITE, removal=operation is Operation.REMOVE, sent_today=sent_today)
        if trouble is not None:
            raise _raised(trouble, "google_data_manager.ready")

    def count_elsewhere(self, requests: int) -> None:
        """So many requests were sent by other processes within the last minute."""
        self._quota.elsewhere(Kind.WRITE, requests)

    def find_list(self, account: Account, code: str) -> ListFacts | None:
        """The account's own list with this code, or None when the account, read with our credentials, has none.

        Raises `NeedsFix` when two lists carry the code or the list takes another kind of data, and `MustStop` when the answer is
        of another account.
        """
        where = "google_data_manager.find_list"
        found = [
            item for item in self._lists(account, equals_filter("integration_code", code), where) if item.integration_code == code
        ]
        if len(found) > 1:
            raise _error("list_code_twice", where)
        if found and not takes_contacts(found[0]):
            raise _error("list_wrong_type", where)
        return facts_of(found[0]) if found else None

    def create_list(self, account: Account, spec: ListSpec) -> ListFacts:
        """Create a list of contact data. Sent once; raises `NotKnown` when the answer was lost: look the list up by its code."""
        where = "google_data_manager.create_list"
        parent = _parent(account, where)
        request = list_request(parent, spec)
        options = self._options(account, where)
        answer = self._once(Kind.LISTS, lambda: self._clients.lists.create_user_list(request=request, **options))
        if isinstance(answer, Trouble):
            raise _raised(answer, where) if answer.without_effect else _error(answer.lost, where)
        if not _is_of(answer, parent):
            raise _error(LOST + "unreadable", where)
        return facts_of(answer)

    def read_list(self, target: Target) -> ListFacts | None:
        """The list with this id. None only when the list call of the account succeeds and does not name it either.

        Google may answer "no permission" for a list that does not exist, and "not found" for one that we may not see: neither is
        proof.
        """
        where = "google_data_manager.read_list"
        parent = _parent(target.account, where)
        request = dm.GetUserListRequest(name=f"{parent}/userLists/{_number(target.list_id, where)}")
        options = self._options(target.account, where)
        answer = self._ask(Kind.LISTS, lambda: self._clients.lists.get_user_list(request=request, **options))
        if not isinstance(answer, Trouble):
            if not _is_of(answer, parent):
                raise _error("wrong_account" if answer.name else "unreadable", where)
            return facts_of(answer)
        if answer.status not in {StatusCode.NOT_FOUND, StatusCode.PERMISSION_DENIED} and answer.code != "list_gone":
            raise _raised(answer, where)
        listed = [item for item in self._lists(target.account, f"id = {target.list_id}", where) if str(item.id) == target.list_id]
        if listed and answer.status is StatusCode.PERMISSION_DENIED:
            raise _raised(answer, where)
        return facts_of(listed[0]) if listed else None

    def lists(self, account: Account) -> tuple[ListFacts, ...]:
        """Every list of contact data that the account owns, whoever made it. Lists that are shared into it are not among them."""
        return tuple(facts_of(item) for item in self._lists(account, "", "google_data_manager.lists") if takes_contacts(item))

    def delete_list(self, target: Target) -> None:
        """Delete a list for good. Sent once; a refusal counts as "gone already" only if the account's listing proves it.

        Raises `NotKnown` when the answer was lost.
        """
        where = "google_data_manager.delete_list"
        parent = _parent(target.account, where)
        request = dm.DeleteUserListRequest(name=f"{parent}/userLists/{_number(target.list_id, where)}")
        options = self._options(target.account, where)
        answer = self._once(Kind.LISTS, lambda: self._clients.lists.delete_user_list(request=request, **options))
        if not isinstance(answer, Trouble):
            return
        if not answer.without_effect:
            raise _error(answer.lost, where)
        gone = answer.status is StatusCode.NOT_FOUND or answer.code == "list_gone"
        if not gone or self.read_list(target) is not None:
            raise _raised(answer, where)

    def prepare(self, target: Target, batch: Batch) -> Prepared:
        """Build the one request of a batch: at most 10 000 digests made by Google's rule, else ValueError.

        Raises `NeedsFix` for an addition while the configuration does not record that the terms were accepted: no digest leaves
        then.
        """
        where = "google_data_manager.prepare"
        _parent(target.account, where)
        _login(target.account, where)
        _number(target.list_id, where)
        if batch.operation is Operation.ADD and not self._settings.terms_accepted:
            raise _error("terms_missing", where)
        return prepare_request(target, batch)

    def prepare_sweep(self, target: Target, as_of: datetime) -> Prepared:
        """Build the request that takes off whoever was last added before `as_of` (UTC). A person added later stays, whatever came before."""
        where = "google_data_manager.prepare_sweep"
        _parent(target.account, where)
        _login(target.account, where)
        _number(target.list_id, where)
        return prepare_sweep(target, as_of)

    def send(self, prepared: Prepared) -> Receipt:
        """Send it once. `Refused` only where Google provably did nothing; everything else without a request id is `NoReceipt`."""
        if not isinstance(prepared, PreparedRequest | PreparedSweep):
            raise TypeError("a destination sends what it prepared itself")
        answer = self._once(Kind.WRITE, lambda: self._send(prepared))
        if isinstance(answer, Trouble):
            return Refused(answer.code, answer.rows) if answer.without_effect else NoReceipt(answer.lost)
        if _REQUEST_ID.fullmatch(answer) is None:
            return NoReceipt(LOST + "unreadable")
        return Accepted(answer)

    def status(self, request_id: str, operation: Operation, *, sent_at: datetime, now: datetime) -> Settlement:
        """What became of a request. Google takes 30 minutes to 24 hours, keeps the answer about 50 days, and says itself when a request is too old.

        Sooner than the settings' `status_after` nobody is asked.
        """
        if (now - sent_at).total_seconds() < self._settings.status_after:
            return StillProcessing()
        where = "google_data_manager.status"
        request = dm.RetrieveRequestStatusRequest(request_id=request_id)
        timeout = self._settings.timeout_seconds
        call = self._clients.ingestion.retrieve_request_status
        answer = self._ask(Kind.READ, lambda: call(request=request, retry=None, timeout=timeout))
        if not isinstance(answer, Trouble):
            return settlement_of(answer, operation)
        if answer.code in {"request_unknown", "request_too_old"}:
            return NeverSeen(answer.code)
        if answer.status is StatusCode.NOT_FOUND:
            return NeverSeen("request_unknown")
        raise _raised(answer, where)

    def error_of(self, code: str, where: str) -> NestAudienceError:
        """The error, by remedy, for a code of this destination."""
        return _error(code, where)

    def close(self) -> None:
        """End the use of this destination: a call after it finds nothing to send with. Its channels end with the process.

        gRPC's own close was seen to wait for ever, with the interpreter's lock held, at the end of about one night in fifty
        (grpcio 1.85.1, 2026-11-22): a process that has done its work must not hang on that. Letting go of a channel closes it too.
        """
        if self._connected is not None:
            _ENDED.append(self._connected)
        self._connected = None

    @property
    def _clients(self) -> Clients:
        if self._connected is None:
            raise ValueError("the destination is closed")
        return self._connected

    def _send(self, prepared: PreparedRequest | PreparedSweep) -> str:
        ingestion = self._clients.ingestion
        if isinstance(prepared, PreparedSweep):
            call: Callable[..., Any] = ingestion.remove_all_audience_members
        else:
            adds = prepared.operation is Operation.ADD
            call = ingestion.ingest_audience_members if adds else ingestion.remove_audience_members
        return str(call(request=prepared.to_sdk(), retry=None, timeout=self._settings.timeout_seconds).request_id)

    def _lists(self, account: Account, filter_text: str, where: str) -> Iterator[Any]:
        """The account's own lists that match a filter, page by page. Raises for a list that names another account."""
        parent = _parent(account, where)
        options = self._options(account, where)
        page_token = ""
        while True:
            request = dm.ListUserListsRequest(
                parent=parent, filter=filter_text, page_size=self._settings.page_size, page_token=page_token
            )
            page = self._ask(Kind.LISTS, self._page_call(request, options))
            if isinstance(page, Trouble):
                raise _error("account_wrong", where) if page.status is StatusCode.NOT_FOUND else _raised(page, where)
            for item in page.user_lists:
                if not is_owned(item):
                    continue
                if not _is_of(item, parent):
                    raise _error("wrong_account", where)
                yield item
            if not page.next_page_token or page.next_page_token == page_token:
                return
            page_token = page.next_page_token

    def _page_call(self, request: dm.ListUserListsRequest, options: dict[str, Any]) -> Callable[[], Any]:
        # The pager's own paging would repeat nothing; one page a call keeps each under our own repetition.
        return lambda: next(iter(self._clients.lists.list_user_lists(request=request, **options).pages))

    def _options(self, account: Account, where: str) -> dict[str, Any]:
        """No retry of the SDK's, a timeout always, and the manager account through which access goes, as a header.

        `login-account`: SDK, `UserListServiceClient`, "Authorization Headers".
        """
        login = _login(account, where)
        metadata = () if login is None else (("login-account", login),)
        return {"retry": None, "timeout": self._settings.timeout_seconds, "metadata": metadata}

    def _once(self, kind: Kind, call: Callable[[], T]) -> T | Trouble:
        """One call, when it is its turn. What Google says of a quota holds for everybody who shares it."""
        with self._quota.turn(kind) as refused:
            answer = _outcome(call) if refused is None else refused
        if refused is None and isinstance(answer, Trouble) and answer.code in QUOTA_CODES:
            self._quota.hold(kind, answer)
        return answer

    def _ask(self, kind: Kind, call: Callable[[], T]) -> T | Trouble:
        """A read, repeated after the settings' waits while Google is down."""
        return repeated(lambda: self._once(kind, call), self._settings.read_waits, self._sleep)


def _outcome(call: Callable[[], T]) -> T | Trouble:
    """The answer of one call, or its trouble. No exception of the SDK leaves here: its text may hold a request."""
    silence()
    try:
        return call()
    except Exception as error:  # noqa: BLE001  whatever an SDK raises after the first byte, the effect is open
        return trouble_of(error)


def _error(code: str, where: str) -> NestAudienceError:
    return remedy_of(code).raised(code, where)


def _raised(trouble: Trouble, where: str) -> NestAudienceError:
    """The error of a read, or of a write without effect, with the seconds to wait where Google named them."""
    return remedy_of(trouble.code).raised(trouble.code, where, trouble.after)


def _number(text: str, where: str) -> str:
    if _NUMBER.fullmatch(text) is None:
        raise _error("account_wrong", where)
    return text


def _parent(account: Account, where: str) -> str:
    return parent_of(_number(account.account_id, where))


def _login(account: Account, where: str) -> str | None:
    return None if account.login_account_id is None else parent_of(_number(account.login_account_id, where))


def _is_of(user_list: Any, parent: str) -> bool:
    """True when Google speaks of the bound account."""
    return str(user_list.name).startswith(f"{parent}/userLists/")
