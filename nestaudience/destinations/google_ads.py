"""Google through the Google Ads API, for projects that used it for customer lists before April 2026: the same recipient as `google_data_manager`.

A batch is one job: it is created, its people are added in calls, one after another, and then it is run. Google applies a job only after it was run,
and one that was not is thrown away after five days. So everything that goes wrong before the run is provably without effect and a refusal; only a
run of which the answer was lost is no receipt. (Google has received what such a job holds all the same, as it has with any refused request; the log
keeps its batch, refused.) What became of a job is asked by GAQL; the SDK's own waiting for it is not used.

Google refuses single operations while they are added and takes the rest. How many, and why, is known before the job runs, but the rest of the job
has no result then. So the counts travel in the request id, which the ledger keeps, and the settlement of the job tells them: `PartlyRefused`. A job
of which everybody was refused is not run: a refusal.

Jobs of one list run in any order, so a removal must have its result before the addition that it could undo is sent. Who waits for whom is the
delta's to say, and it says it by person: nobody is added while a removal of the same digest is on its way or may still act. No whole list has to
wait, because operations on different digests commute: each touches its own digest's place only. Where Google knows two digests as one customer of
its own, the worst order leaves somebody off a list who might be on it, never the reverse; the next refresh puts that right.

It decides nothing about people. Nothing that Google says in words leaves this file: only codes of `google_ads_errors`, ids and counts.
https://developers.google.com/google-ads/api/docs/remarketing/audience-segments/customer-match/get-started (read 2026-11).
"""

import re
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

from nestaudience.destinations import google_ads_messages as messages
from nestaudience.destinations.google_ads_connection import Clients, GoogleAdsSettings, connect
from nestaudience.destinations.google_ads_errors import JOB_STARTED, refused_rows, remedy_of, trouble_of
from nestaudience.destinations.google_ads_messages import MOST_IN_A_JOB, PreparedJob, Ticket, ticket_of
from nestaudience.destinations.google_ads_versions import Version
from nestaudience.destinations.google_connection import repeated, silence
from nestaudience.destinations.google_errors import LOST, Trouble
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
    Target,
)
from nestaudience.errors import NestAudienceError
from nestaudience.vocabulary import Operation, Recipient

T = TypeVar("T")

_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_ENDED: Final[list[Clients]] = []
"""Clients that are not used any more; see `GoogleAds.close`."""


class GoogleAds:
    """`Destination` to Google Ireland Ltd. `sleep` waits between repetitions of a read (seconds), `passing` is a clock that only runs forward."""

    name: str = "google_ads"
    recipient: Recipient = Recipient.GOOGLE
    batch_size: int = MOST_IN_A_JOB

    def __init__(
        self,
        settings: GoogleAdsSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        passing: Callable[[], float] = time.monotonic,
    ) -> None:
        silence()
        self._settings = settings
        self._sleep = sleep
        self._passing = passing
        self._version = Version(settings.api_version)
        self._connected: Clients | None = connect(settings, self._version)

    def find_list(self, account: Account, code: str) -> ListFacts | None:
        """The account's own list with this code, or None when the account, read with our credentials, has none.

        Raises `NeedsFix` when two lists carry the code or the list takes another kind of data, and `MustStop` when the answer is of another account.
        """
        where = "google_ads.find_list"
        condition = f"user_list.integration_code = {messages.quoted(code)}"
        found = [row for row in self._lists(account, condition, where) if row.user_list.integration_code == code]
        if len(found) > 1:
            raise _error("list_code_twice", where)
        if found and not messages.takes_contacts(self._version, found[0]):
            raise _error("list_wrong_type", where)
        return messages.facts_of(self._version, found[0]) if found else None

    def create_list(self, account: Account, spec: ListSpec) -> ListFacts:
        """Create a list of contact data. Sent once; raises `NotKnown` when the answer was lost: look the list up by its code."""
        where = "google_ads.create_list"
        request = messages.creation_of(self._version, _number(account.account_id, where), spec)
        options = self._options(account, where)
        answer = self._outcome(lambda: self._clients.lists.mutate_user_lists(request=request, **options))
        if isinstance(answer, Trouble):
            raise _raised(answer, where) if answer.without_effect else _error(answer.lost, where)
        named = [messages.list_of(str(result.resource_name), account.account_id) for result in answer.results]
        if len(named) != 1 or named[0] is None:
            raise _error(LOST + "unreadable", where)
        return ListFacts(named[0], spec.code, spec.name, True, spec.membership_days, None, None, None)  # noqa: FBT003  open

    def read_list(self, target: Target) -> ListFacts | None:
        """The list with this id; None only when the account, read with our credentials, does not have it. Says also how Data Manager filled it."""
        where = "google_ads.read_list"
        condition = f"user_list.id = {_number(target.list_id, where)}"
        found = [row for row in self._lists(target.account, condition, where) if str(row.user_list.id) == target.list_id]
        return messages.facts_of(self._version, found[0]) if found else None

    def lists(self, account: Account) -> tuple[ListFacts, ...]:
        """Every list of contact data that the account owns, whoever made it. Lists that are shared into it are not among them."""
        rows = self._lists(account, "", "google_ads.lists")
        return tuple(messages.facts_of(self._version, row) for row in rows if messages.takes_contacts(self._version, row))

    def terms_accepted(self, account: Account) -> bool:
        """Whether the customer data terms are accepted in this account, by its own word."""
        where = "google_ads.terms_accepted"
        query = "SELECT customer.id, customer.conversion_tracking_setting.accepted_customer_data_terms FROM customer"
        rows = self._rows(account, query, where)
        if len(rows) != 1 or str(rows[0].customer.id) != account.account_id:
            raise _error("wrong_account" if rows else "unreadable", where)
        return bool(rows[0].customer.conversion_tracking_setting.accepted_customer_data_terms)

    def delete_list(self, target: Target) -> None:
        """Delete a list for good. Sent once; a refusal counts as "gone already" only if the account's own lists prove it.

        Raises `NotKnown` when the answer was lost.
        """
        where = "google_ads.delete_list"
        _number(target.list_id, where)
        options = self._options(target.account, where)
        request = messages.deletion_of(self._version, target)
        answer = self._outcome(lambda: self._clients.lists.mutate_user_lists(request=request, **options))
        if not isinstance(answer, Trouble):
            return
        if not answer.without_effect:
            raise _error(answer.lost, where)
        if answer.code != "list_gone" or self.read_list(target) is not None:
            raise _raised(answer, where)

    def ready(self, target: Target, operation: Operation, sent_today: int) -> None:
        """Nothing to wait for: a day's operations depend on the project's access, and Google says itself when they are used up."""

    def prepare(self, target: Target, batch: Batch) -> Prepared:
        """Build the one job of a batch: at most 100 000 digests made by Google's rule, else ValueError.

        Raises `NeedsFix` for an addition while the configuration does not record that the terms were accepted: no digest leaves then.
        """
        where = "google_ads.prepare"
        self._options(target.account, where)
        _number(target.list_id, where)
        if batch.operation is Operation.ADD and not self._settings.terms_accepted:
            raise _error("terms_missing", where)
        return messages.prepare_job(self._version, target, batch)

    def send(self, prepared: Prepared) -> Receipt:
        """Create the job, add its people, run it; each once. `NoReceipt` only where the run may have reached Google."""
        if not isinstance(prepared, PreparedJob):
            raise TypeError("a destination sends what it prepared itself")
        filled = self._filled(prepared)
        if isinstance(filled, Refused):
            return filled
        options = self._options(prepared.target.account, "google_ads.send")
        request = self._version.run_job(resource_name=filled.job)
        answer = self._outcome(lambda: self._clients.jobs.run_offline_user_data_job(request=request, **options))
        if isinstance(answer, Trouble) and answer.code != JOB_STARTED:
            return Refused(answer.code) if answer.without_effect else NoReceipt(answer.lost)
        return Accepted(str(filled))

    def _filled(self, prepared: PreparedJob) -> Ticket | Refused:
        """A job with its people in it, not yet run: until then nothing has any effect, so that whatever goes wrong is a refusal."""
        began, account = self._passing(), prepared.target.account
        options = self._options(account, "google_ads.send")
        creation = self._version.create_job.deserialize(prepared.creation)
        created = self._outcome(lambda: self._clients.jobs.create_offline_user_data_job(request=creation, **options))
        if isinstance(created, Trouble):
            return Refused(created.code)
        job = messages.job_of(str(created.resource_name), account.account_id)
        if job is None:
            return Refused("unreadable")
        refused: dict[str, int] = {}
        for number in range(len(prepared.calls)):
            counts = self._outcome(partial(self._add, prepared, number, job, options))
            if isinstance(counts, Trouble):
                return Refused(counts.code)
            for code, count in counts:
                refused[code] = refused.get(code, 0) + count
            if self._passing() - began > self._settings.job_seconds:
                return Refused("job_took_too_long")
        taken = prepared.people - sum(refused.values())
        if taken <= 0:
            return Refused(max(refused, key=lambda code: refused[code]))
        return Ticket(job, taken, account.login_account_id, tuple(sorted(refused.items())))

    def _add(self, prepared: PreparedJob, number: int, job: str, options: dict[str, Any]) -> tuple[tuple[str, int], ...]:
        """Add one call's operations; code -> how many of them Google did not take."""
        answer = self._clients.jobs.add_offline_user_data_job_operations(request=prepared.call(number, job), **options)
        partial = self._version.added.pb(answer).partial_failure_error
        return refused_rows(partial, self._version) if partial.code else ()

    def status(self, request_id: str, operation: Operation, *, sent_at: datetime, now: datetime) -> Settlement:
        """What became of a job. Google takes ten minutes to a day. The times are not needed here."""
        ticket = ticket_of(request_id)
        if ticket is None:
            return NeverSeen("request_unknown")
        account = Account(ticket.account_id, ticket.login_account)
        rows = self._rows(account, messages.job_query(ticket.job), "google_ads.status")
        found = [row for row in rows if row.offline_user_data_job.resource_name == ticket.job]
        if not found:
            return NeverSeen("request_unknown")
        return messages.settlement_of(self._version, found[0], ticket, operation)

    def error_of(self, code: str, where: str) -> NestAudienceError:
        """The error, by remedy, for a code of this destination."""
        return _error(code, where)

    def close(self) -> None:
        """End the use of this destination: a call after it finds nothing to send with. Its channels end with the process, as those of
        `google_data_manager` do.
        """
        if self._connected is not None:
            _ENDED.append(self._connected)
        self._connected = None

    @property
    def _clients(self) -> Clients:
        if self._connected is None:
            raise ValueError("the destination is closed")
        return self._connected

    def _lists(self, account: Account, condition: str, where: str) -> list[Any]:
        """The account's own customer lists that meet a condition. Raises for a list that names another account."""
        rows = self._rows(account, messages.lists_query(condition), where)
        for row in rows:
            if messages.list_of(row.user_list.resource_name, account.account_id) != str(row.user_list.id):
                raise _error("wrong_account", where)
        return rows

    def _rows(self, account: Account, query: str, where: str) -> list[Any]:
        """The rows of a query as raw messages. A read, repeated after the settings' waits while Google is down."""
        request = self._version.search(customer_id=_number(account.account_id, where), query=query)
        options = self._options(account, where)

        def ask() -> list[Any]:
            pages = self._clients.search.search_stream(request=request, **options)
            return [self._version.row.pb(row) for page in pages for row in page.results]

        answer = repeated(lambda: self._outcome(ask), self._settings.read_waits, self._sleep)
        if isinstance(answer, Trouble):
            raise _raised(answer, where)
        return answer

    def _options(self, account: Account, where: str) -> dict[str, Any]:
        """No retry of the SDK's, a timeout always, and the manager account through which access goes, as a header.

        https://developers.google.com/google-ads/api/docs/concepts/call-structure (read 2026-11).
        """
        _number(account.account_id, where)
        login = () if account.login_account_id is None else (("login-customer-id", _number(account.login_account_id, where)),)
        return {"retry": None, "timeout": self._settings.timeout_seconds, "metadata": login}

    def _outcome(self, call: Callable[[], T]) -> T | Trouble:
        """The answer of one call, or its trouble. No exception of the SDK leaves here: its text may hold a request."""
        silence()
        try:
            return call()
        except Exception as error:  # noqa: BLE001  whatever an SDK raises after the first byte, the effect is open
            return trouble_of(error, self._version)


def _error(code: str, where: str) -> NestAudienceError:
    return remedy_of(code).raised(code, where)


def _raised(trouble: Trouble, where: str) -> NestAudienceError:
    """The error of a read, or of a write without effect, with the seconds to wait where Google named them."""
    return remedy_of(trouble.code).raised(trouble.code, where, trouble.after)


def _number(text: str, where: str) -> str:
    if _NUMBER.fullmatch(text) is None:
        raise _error("account_wrong", where)
    return text
