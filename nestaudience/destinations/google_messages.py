"""Google's messages: a batch turned into the bytes of one request, and answers turned into the port's values.

It builds and reads; it opens no connection and asks nobody. A request exists here only as its serialised bytes, so what the wire
guard reads back is what goes out. The raw protobuf classes are used, not the SDK's wrappers: 10 000 members take 10 ms, not 130.

Limits: 10 000 members a request, 10 identifiers a member; `composite_data.user_data` is the form that Google recommends
(https://developers.google.com/data-manager/api/devguides/audiences/send-audience-members and .../devguides/limits, read 2026-11).
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from google.ads import datamanager_v1 as dm

from nestaudience.destinations.port import (
    Batch,
    ConsentSignals,
    Contents,
    Failed,
    ListFacts,
    ListSpec,
    PartlyRefused,
    Settlement,
    StillProcessing,
    Succeeded,
    Target,
)
from nestaudience.vocabulary import Operation, Recipient

MAX_MEMBERS: Final = 10_000
DAY_SECONDS: Final = 86_400

_ADS: Final = dm.ProductAccount.AccountType.GOOGLE_ADS
_STATUS: Final = dm.RequestStatusPerDestination.RequestStatus
_REQUESTS: Final[dict[Operation, Any]] = {
    Operation.ADD: dm.IngestAudienceMembersRequest,
    Operation.REMOVE: dm.RemoveAudienceMembersRequest,
}
_MEMBER_BYTES: Final = 72
"""Size of a member that holds one 64-character e-mail digest and nothing else: 64, and four nested headers of 2 bytes."""


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """One request of this destination as bytes. It prints nothing of them and cannot be pickled."""

    operation: Operation
    message: bytes = field(repr=False)

    def contents(self) -> Contents:
        """Parse the bytes afresh. Whatever is not exactly one e-mail digest of one destination shows as an empty string."""
        request = _REQUESTS[self.operation].pb().FromString(self.message)
        account_id = list_id = ""
        if len(request.destinations) == 1:
            destination = request.destinations[0]
            account_id = destination.operating_account.account_id if destination.operating_account.account_type == _ADS else ""
            list_id = destination.product_destination_id
        return Contents(account_id, list_id, self.operation, [_sole_identifier(member) for member in request.audience_members])

    def to_sdk(self) -> Any:
        """The SDK's own object made from the bytes: an ingestion or a removal request."""
        return _REQUESTS[self.operation].deserialize(self.message)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a prepared request cannot be pickled or copied")


@dataclass(frozen=True, slots=True)
class PreparedSweep:
    """One request to take off whoever was last added before a moment, as bytes. It names nobody."""

    message: bytes = field(repr=False)

    def contents(self) -> Contents:
        """Parse the bytes afresh. A request for several lists, or one that is only tried, shows as one of no list."""
        request = dm.RemoveAllAudienceMembersRequest.pb().FromString(self.message)
        account_id = list_id = ""
        if len(request.destinations) == 1 and not request.validate_only:
            account = request.destinations[0].operating_account
            account_id = account.account_id if account.account_type == _ADS else ""
            list_id = request.destinations[0].product_destination_id
        return Contents(account_id, list_id, Operation.REMOVE, [])

    def to_sdk(self) -> Any:
        """The SDK's own object made from the bytes."""
        return dm.RemoveAllAudienceMembersRequest.deserialize(self.message)


def prepare_sweep(target: Target, as_of: datetime) -> PreparedSweep:
    """The bytes of a sweep. Raises ValueError for a moment without a zone.

    https://developers.google.com/data-manager/api/devguides/audiences/google-ads/customer-match/remove-all-members (read 2026-11).
    """
    if as_of.tzinfo is None:
        raise ValueError("a moment has a zone")
    request = dm.RemoveAllAudienceMembersRequest.pb()()
    _name_list(request.destinations.add(), target)
    request.remove_as_of_time.FromDatetime(as_of.astimezone(UTC))
    return PreparedSweep(request.SerializeToString())


def _sole_identifier(member: Any) -> str:
    if member.ByteSize() != _MEMBER_BYTES:
        return ""
    identifiers = member.composite_data.user_data.user_identifiers
    return str(identifiers[0].email_address) if len(identifiers) == 1 else ""


def prepare_request(target: Target, batch: Batch) -> PreparedRequest:
    """The bytes of a batch's one request. Raises ValueError for one that is too large or not for Google."""
    if len(batch.digests) > MAX_MEMBERS or batch.digests.recipient is not Recipient.GOOGLE:
        raise ValueError("a batch for Google has at most 10 000 digests made by Google's rule")
    request = _REQUESTS[batch.operation].pb()()
    _name_list(request.destinations.add(), target)
    request.encoding = dm.Encoding.HEX
    if batch.consent is not None:
        _declare(request, batch.consent)
    add = request.audience_members.add
    for digest in batch.digests.hex():
        add().composite_data.user_data.user_identifiers.add().email_address = digest
    return PreparedRequest(batch.operation, request.SerializeToString())


def _name_list(destination: Any, target: Target) -> None:
    _name_account(destination.operating_account, target.account.account_id)
    if target.account.login_account_id is not None:
        _name_account(destination.login_account, target.account.login_account_id)
    destination.product_destination_id = target.list_id


def _name_account(product_account: Any, account_id: str) -> None:
    product_account.account_type = _ADS
    product_account.account_id = account_id


def _declare(request: Any, consent: ConsentSignals) -> None:
    """Consent exactly as the grants of these people say, and the terms; a removal has neither field.

    https://developers.google.com/data-manager/api/devguides/concepts/destinations and
    support.google.com/google-ads/answer/14310715 (read 2026-11): a person is processed only if both signals are granted.
    """
    said = {True: dm.ConsentStatus.CONSENT_GRANTED, False: dm.ConsentStatus.CONSENT_DENIED}
    request.consent.ad_user_data = said[consent.ad_user_data]
    request.consent.ad_personalization = said[consent.ad_personalization]
    request.terms_of_service.customer_match_terms_of_service_status = dm.TermsOfServiceStatus.ACCEPTED


def parent_of(account_id: str) -> str:
    """The resource name of a Google Ads account."""
    return f"accountTypes/GOOGLE_ADS/accounts/{account_id}"


def list_request(parent: str, spec: ListSpec) -> Any:
    """The request that creates a list of contact data, first party, with our code to find it again.

    https://developers.google.com/data-manager/api/devguides/audiences/google-ads/customer-match/create-audience (read 2026-11).
    """
    request = dm.CreateUserListRequest.pb()()
    request.parent = parent
    wanted = request.user_list
    wanted.display_name = spec.name
    wanted.description = "Customer list"
    wanted.integration_code = spec.code
    wanted.membership_status = dm.UserList.MembershipStatus.OPEN
    wanted.membership_duration.seconds = spec.membership_days * DAY_SECONDS
    wanted.ingested_user_list_info.upload_key_types.append(dm.IngestedUserListInfo.UploadKeyType.CONTACT_ID)
    wanted.ingested_user_list_info.contact_id_info.data_source_type = dm.DataSourceType.DATA_SOURCE_TYPE_FIRST_PARTY
    return dm.CreateUserListRequest.deserialize(request.SerializeToString())


def equals_filter(field_name: str, value: str) -> str:
    """A filter of Google's list call (AIP-160): this field is exactly this text."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{field_name} = "{escaped}"'


def takes_contacts(user_list: Any) -> bool:
    """True when the list is one of contact data, which is what digests of addresses need."""
    return list(user_list.ingested_user_list_info.upload_key_types) == [dm.IngestedUserListInfo.UploadKeyType.CONTACT_ID]


def is_owned(user_list: Any) -> bool:
    """True when the account owns the list, or Google does not say; lists shared into the account are not ours to fill."""
    return user_list.access_reason in {dm.UserList.AccessReason.ACCESS_REASON_UNSPECIFIED, dm.UserList.AccessReason.OWNED}


def facts_of(user_list: Any) -> ListFacts:
    """What Google says of a list. Its size is the largest of the four networks' estimates, its match rate None while it is 0."""
    raw = dm.UserList.pb(user_list)
    sizes = raw.size_info
    largest = max(
        sizes.display_network_members_count,
        sizes.search_network_members_count,
        sizes.youtube_members_count,
        sizes.gmail_members_count,
    )
    reasons = {dm.UserList.ClosingReason.CLOSING_REASON_UNSPECIFIED: None, dm.UserList.ClosingReason.UNUSED: "unused"}
    return ListFacts(
        list_id=str(raw.id),
        code=raw.integration_code,
        name=raw.display_name,
        open=raw.membership_status == dm.UserList.MembershipStatus.OPEN,
        membership_days=raw.membership_duration.seconds // DAY_SECONDS if raw.HasField("membership_duration") else None,
        size=largest if raw.HasField("size_info") else None,
        match_rate=raw.ingested_user_list_info.contact_id_info.match_rate_percentage or None,
        closing_reason=reasons.get(raw.closing_reason, f"reason_{raw.closing_reason}"),
        eligible_for=_eligible(raw.target_network_info) if raw.HasField("target_network_info") else None,
    )


def _eligible(networks: Any) -> tuple[str, ...]:
    words = ("display", "search")
    return tuple(word for word in words if getattr(networks, f"eligible_for_{word}"))


def settlement_of(response: Any, operation: Operation) -> Settlement:
    """The result of a request with one destination. A state that is not known yet counts as still being processed.

    While a request is processed its counts are empty, which does not mean clean; a success may carry warnings
    (https://developers.google.com/data-manager/api/devguides/diagnostics, read 2026-11).
    """
    entries = dm.RetrieveRequestStatusResponse.pb(response).request_status_per_destination
    if len(entries) != 1:
        return StillProcessing()
    entry = entries[0]
    errors = _counts(entry.error_info.error_counts, _ERROR_CODES)
    if entry.request_status == _STATUS.FAILED:
        return Failed(errors)
    counted = _counted(entry, operation)
    records = int(counted.record_count)
    if entry.request_status == _STATUS.PARTIAL_SUCCESS or (entry.request_status == _STATUS.SUCCESS and errors):
        return PartlyRefused(records, errors)
    if entry.request_status != _STATUS.SUCCESS:
        return StillProcessing()
    rate = _MATCH_RATES.get(counted.upload_match_rate_range) if operation is Operation.ADD else None
    return Succeeded(records, _counts(entry.warning_info.warning_counts, _WARNING_CODES), rate)


def _counted(entry: Any, operation: Operation) -> Any:
    """The part of a status that counts records; Google fills the one of the form in which the members were sent."""
    if operation is Operation.ADD:
        part = entry.audience_members_ingestion_status
        composite, plain = part.composite_data_ingestion_status, part.user_data_ingestion_status
    else:
        part = entry.audience_members_removal_status
        composite, plain = part.composite_data_removal_status, part.user_data_removal_status
    return plain if str(part.WhichOneof("status")).startswith("user_data") else composite


def _counts(counts: Any, codes: dict[int, str]) -> tuple[tuple[str, int], ...]:
    return tuple((codes.get(count.reason, f"reason_{count.reason}"), int(count.record_count)) for count in counts)


def _codes(names: Any, *prefixes: str) -> dict[int, str]:
    """Number -> our lower-case code of an enum of the SDK."""
    codes = {}
    for member in names:
        name = str(member.name)
        for prefix in prefixes:
            name = name.removeprefix(prefix)
        codes[int(member.value)] = name.lower()
    return codes


_ERROR_CODES: Final = _codes(dm.ProcessingErrorReason, "PROCESSING_ERROR_REASON_", "PROCESSING_ERROR_")
_WARNING_CODES: Final = _codes(dm.ProcessingWarningReason, "PROCESSING_WARNING_REASON_")
_MATCH_RATES: Final = {
    number: code
    for number, code in _codes(dm.MatchRateRange, "MATCH_RATE_RANGE_").items()
    if code not in {"unknown", "not_eligible"}
}
