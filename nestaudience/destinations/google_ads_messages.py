"""Messages of the Google Ads API: a batch turned into the bytes of one job, and rows of GAQL turned into the port's values.

It builds and reads; it opens no connection and asks nobody. The operations of a job exist here only as serialised bytes: what the wire guard reads
back is what goes out, with nothing but the job's name put in front.

A job takes operations in calls of at most 10 000 identifiers; one operation is one person
(https://developers.google.com/google-ads/api/docs/remarketing/audience-segments/customer-match/get-started, read 2026-11).
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, cast
from urllib.parse import parse_qsl, urlencode

from nestaudience.destinations.google_ads_errors import JOB_FAILED
from nestaudience.destinations.google_ads_versions import Version
from nestaudience.destinations.port import (
    Batch,
    Contents,
    ListFacts,
    ListSpec,
    PartlyRefused,
    Settlement,
    StillProcessing,
    Succeeded,
    Target,
)
from nestaudience.vocabulary import Operation, Recipient

MOST_IN_A_CALL: Final = 10_000
MOST_IN_A_JOB: Final = 100_000
LIST_FIELDS: Final = (
    "resource_name",
    "id",
    "name",
    "integration_code",
    "membership_status",
    "membership_life_span",
    "size_for_display",
    "size_for_search",
    "match_rate_percentage",
    "closing_reason",
    "access_reason",
    "crm_based_user_list.upload_key_type",
)

_JOB: Final = re.compile(r"customers/([0-9]{1,20})/offlineUserDataJobs/[0-9]{1,20}")
_TICKET: Final = re.compile(
    r"(customers/([0-9]{1,20})/offlineUserDataJobs/[0-9]{1,20})\?taken=([0-9]{1,9})((?:&[a-z0-9_]+=[0-9]+)*)"
)
_LIST: Final = re.compile(r"customers/([0-9]{1,20})/userLists/([0-9]{1,20})")
_OPERATION_BYTES: Final = 70
"""Size of an operation that holds one 64-character e-mail digest and nothing else: 64, and three nested headers of 2 bytes."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What must be known to ask for a job later, as the text that the ledger keeps: the job, how many operations Google took into it, the manager
    account through which access goes, and how many operations it refused while they were added, by code.
    """

    job: str
    taken: int
    login_account: str | None = None
    refused: tuple[tuple[str, int], ...] = ()

    @property
    def account_id(self) -> str:
        """The ad account of the job."""
        return self.job.split("/")[1]

    def __str__(self) -> str:
        login = [] if self.login_account is None else [("login", self.login_account)]
        return f"{self.job}?{urlencode([('taken', self.taken), *login, *self.refused])}"


def ticket_of(text: str) -> Ticket | None:
    """The ticket in a text of ours, None for any other text."""
    parts = _TICKET.fullmatch(text)
    if parts is None:
        return None
    rest = parse_qsl(parts[4].removeprefix("&"))
    login = next((value for name, value in rest if name == "login"), None)
    return Ticket(parts[1], int(parts[3]), login, tuple((name, int(value)) for name, value in rest if name != "login"))


def job_of(resource_name: str, account_id: str) -> str | None:
    """The name of a job if it is one of this account, else None."""
    parts = _JOB.fullmatch(resource_name)
    return resource_name if parts is not None and parts[1] == account_id else None


@dataclass(frozen=True, slots=True)
class PreparedJob:
    """One job of this destination as bytes: its creation, and its operations in calls. It prints nothing of them and cannot be pickled."""

    version: Version = field(repr=False)
    operation: Operation
    target: Target
    people: int
    creation: bytes = field(repr=False)
    calls: tuple[bytes, ...] = field(repr=False)

    def contents(self) -> Contents:
        """Parse the bytes afresh. Whatever is not exactly one e-mail digest of the one operation shows as an empty string."""
        created = self.version.create_job.pb().FromString(self.creation)
        account_id = str(created.customer_id)
        named = _LIST.fullmatch(created.job.customer_match_user_list_metadata.user_list)
        list_id = named[2] if named is not None and named[1] == account_id else ""
        identifiers: list[str] = []
        kind = _KINDS[self.operation]
        for call in self.calls:
            request = self.version.add_operations.pb().FromString(call)
            identifiers += [_sole_identifier(operation, kind) for operation in request.operations]
        return Contents(account_id, list_id, self.operation, identifiers)

    def call(self, number: int, job: str) -> Any:
        """The SDK's own request that adds one call's operations to a job: the bytes that the guard read, and the job's name."""
        name: bytes = self.version.add_operations.pb()(resource_name=job).SerializeToString()
        return self.version.add_operations.deserialize(self.calls[number] + name)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a prepared request cannot be pickled or copied")


_KINDS: Final = {Operation.ADD: "create", Operation.REMOVE: "remove"}


def _sole_identifier(operation: Any, kind: str) -> str:
    if operation.WhichOneof("operation") != kind or operation.ByteSize() != _OPERATION_BYTES:
        return ""
    identifiers = getattr(operation, kind).user_identifiers
    return str(identifiers[0].hashed_email) if len(identifiers) == 1 else ""


def prepare_job(version: Version, target: Target, batch: Batch) -> PreparedJob:
    """The bytes of a batch's one job. Raises ValueError for one that is too large or not for Google."""
    if len(batch.digests) > MOST_IN_A_JOB or batch.digests.recipient is not Recipient.GOOGLE:
        raise ValueError("a batch for Google has at most 100 000 digests made by Google's rule")
    created = version.create_job.pb()()
    created.customer_id = target.account.account_id
    created.job.type_ = version.enum("OfflineUserDataJobType").CUSTOMER_MATCH_USER_LIST
    wanted = created.job.customer_match_user_list_metadata
    wanted.user_list = list_name(target)
    if batch.consent is not None:  # as the grants of these people say; a removal needs none
        status = version.enum("ConsentStatus")
        said = {True: status.GRANTED, False: status.DENIED}
        wanted.consent.ad_user_data = said[batch.consent.ad_user_data]
        wanted.consent.ad_personalization = said[batch.consent.ad_personalization]
    digests, calls = batch.digests.hex(), []
    for first in range(0, len(digests), MOST_IN_A_CALL):
        request = version.add_operations.pb()(enable_partial_failure=True)
        for digest in digests[first : first + MOST_IN_A_CALL]:
            operation = request.operations.add()
            getattr(operation, _KINDS[batch.operation]).user_identifiers.add().hashed_email = digest
        calls.append(request.SerializeToString())
    return PreparedJob(version, batch.operation, target, len(digests), created.SerializeToString(), tuple(calls))


def list_name(target: Target) -> str:
    """The resource name of a list."""
    return f"customers/{target.account.account_id}/userLists/{target.list_id}"


def list_of(resource_name: str, account_id: str) -> str | None:
    """The id in a list's name if it is one of this account, else None."""
    parts = _LIST.fullmatch(resource_name)
    return parts[2] if parts is not None and parts[1] == account_id else None


def creation_of(version: Version, account_id: str, spec: ListSpec) -> Any:
    """The request that creates a list of contact data, first party, with our code to find it again."""
    request = version.mutate_lists.pb()(customer_id=account_id)
    wanted = request.operations.add().create
    wanted.name = spec.name
    wanted.description = "Customer list"
    wanted.integration_code = spec.code
    wanted.membership_status = version.enum("UserListMembershipStatus").OPEN
    wanted.membership_life_span = spec.membership_days
    wanted.crm_based_user_list.upload_key_type = version.enum("CustomerMatchUploadKeyType").CONTACT_INFO
    wanted.crm_based_user_list.data_source_type = version.enum("UserListCrmDataSourceType").FIRST_PARTY
    return version.mutate_lists.deserialize(request.SerializeToString())


def deletion_of(version: Version, target: Target) -> Any:
    """The request that removes a list."""
    request = version.mutate_lists.pb()(customer_id=target.account.account_id)
    request.operations.add().remove = list_name(target)
    return version.mutate_lists.deserialize(request.SerializeToString())


def lists_query(condition: str = "") -> str:
    """GAQL for the customer lists of an account that are its own, narrowed by one more condition."""
    fields = ", ".join(f"user_list.{name}" for name in LIST_FIELDS)
    more = f" AND {condition}" if condition else ""
    return f"SELECT {fields} FROM user_list WHERE user_list.type = CRM_BASED AND user_list.access_reason = OWNED{more}"  # noqa: S608  GAQL; values are quoted or digits


def quoted(text: str) -> str:
    """A text as a string of GAQL (https://developers.google.com/google-ads/api/docs/query/grammar, read 2026-11)."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def facts_of(version: Version, row: Any) -> ListFacts:
    """What Google says of a list. Its size is the larger of the two networks' estimates, its match rate None while it is 0."""
    told = row.user_list
    reasons = version.enum("UserListClosingReason")
    closed = {reasons.UNSPECIFIED: None, reasons.UNUSED: "unused"}
    sizes = [int(getattr(told, name)) for name in ("size_for_display", "size_for_search") if told.HasField(name)]
    return ListFacts(
        list_id=str(told.id),
        code=told.integration_code,
        name=told.name,
        open=told.membership_status == version.enum("UserListMembershipStatus").OPEN,
        membership_days=int(told.membership_life_span) if told.HasField("membership_life_span") else None,
        size=max(sizes, default=None),
        match_rate=int(told.match_rate_percentage) or None,
        closing_reason=closed.get(told.closing_reason, f"reason_{told.closing_reason}"),
    )


def takes_contacts(version: Version, row: Any) -> bool:
    """True when the list is one of contact data, which is what digests of addresses need."""
    return cast(
        "bool", row.user_list.crm_based_user_list.upload_key_type == version.enum("CustomerMatchUploadKeyType").CONTACT_INFO
    )


def job_query(job: str) -> str:
    """GAQL for the state of one job."""
    fields = ("resource_name", "status", "failure_reason", "operation_metadata.match_rate_range")
    selected = ", ".join(f"offline_user_data_job.{name}" for name in fields)
    return f"SELECT {selected} FROM offline_user_data_job WHERE offline_user_data_job.resource_name = {quoted(job)}"  # noqa: S608  GAQL; a job's name is digits


def settlement_of(version: Version, row: Any, ticket: Ticket, operation: Operation) -> Settlement:
    """What became of a job. A state that is not known yet counts as still being processed.

    Google counts nobody here: what it took into the job is what it applied when the job succeeded. A job that failed may have applied some of its
    operations, so it is never taken for one that did nothing.
    """
    states, told = version.enum("OfflineUserDataJobStatus"), row.offline_user_data_job
    everybody = ticket.taken + sum(count for _, count in ticket.refused)
    if told.status == states.FAILED:
        return PartlyRefused(everybody, (*ticket.refused, (JOB_FAILED, ticket.taken)))
    if told.status != states.SUCCESS:
        return StillProcessing()
    if ticket.refused:
        return PartlyRefused(everybody, ticket.refused)
    rates = version.enum("OfflineUserDataJobMatchRateRange")
    found = told.operation_metadata.match_rate_range
    known = found in {rate.value for rate in rates} - {rates.UNSPECIFIED, rates.UNKNOWN}
    rate = rates(found).name.removeprefix("MATCH_RANGE_").lower() if known and operation is Operation.ADD else None
    return Succeeded(ticket.taken, (), rate)
