"""The local IngestionService: add, remove, sweep, and what became of it, by the documented rules.

One fault refuses a whole request; nothing is applied at once; the result is counts, never people. It knows no transport: bytes
in, bytes or a `Refusal` out. Addresses (name and place), mobile ids and the other kinds of members are outside the sandbox and
refused.

https://developers.google.com/data-manager/api/devguides/audiences/send-audience-members and .../devguides/limits (read 2026-11).
"""

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any, Final

from google.ads import datamanager_v1 as dm

from nestaudience.sandbox.google_refusals import MOST_VIOLATIONS, Refusal, denied, invalid, precondition
from nestaudience.sandbox.google_state import STATUS, STATUS_KEPT, AcceptedRequest, GoogleState, Part, Person, SandboxAccount

MAX_MEMBERS: Final = 10_000
MAX_IDENTIFIERS: Final = 10
MAX_DESTINATIONS: Final = 10
SMALLEST_MATCHED: Final = 100

_ADS: Final = dm.ProductAccount.AccountType.GOOGLE_ADS
_CONTACT: Final = dm.IngestedUserListInfo.UploadKeyType.CONTACT_ID
_GRANTED, _DENIED = dm.ConsentStatus.CONSENT_GRANTED, dm.ConsentStatus.CONSENT_DENIED
_DENIED_CONSENT: Final = int(dm.ProcessingErrorReason.PROCESSING_ERROR_REASON_DENIED_CONSENT)
_NO_CONSENT: Final = int(dm.ProcessingErrorReason.PROCESSING_ERROR_REASON_NO_CONSENT)
_UNKNOWN_CONSENT: Final = int(dm.ProcessingErrorReason.PROCESSING_ERROR_REASON_UNKNOWN_CONSENT)
_MEMBER_PATH: Final = "audience_members.audience_members[{}]"


def take_members(state: GoogleState, raw: bytes, token: str, *, addition: bool, apply_after: timedelta) -> bytes | Refusal:
    """IngestAudienceMembers or RemoveAudienceMembers: checks everything, then lets the request wait until it is due."""
    kind = dm.IngestAudienceMembersRequest if addition else dm.RemoveAudienceMembersRequest
    answer = dm.IngestAudienceMembersResponse if addition else dm.RemoveAudienceMembersResponse
    request = kind.pb().FromString(raw)
    refusal = _sizes(request) or _destinations(state, request, token, addition=addition)
    if refusal is not None:
        return refusal
    people = _people(state, request, addition=addition)
    if isinstance(people, Refusal):
        return people
    response = answer.pb()()
    if not request.validate_only:
        now = state.clock.now()
        parts = [
            Part(
                item.operating_account.account_id,
                item.product_destination_id,
                [
                    _by_settings(person, state.accounts[item.operating_account.account_id])
                    for person in people
                    if not person.references or item.reference in person.references
                ],
            )
            for item in request.destinations
        ]
        composite = request.audience_members[0].WhichOneof("data") == "composite_data"
        response.request_id = state.accept(AcceptedRequest(addition, composite, now, now + apply_after, parts))
    encoded: bytes = response.SerializeToString()
    return encoded


def sweep_members(state: GoogleState, raw: bytes, token: str, *, apply_after: timedelta) -> bytes | Refusal:
    """RemoveAllAudienceMembers: whoever was last added before `remove_as_of_time` goes, when the request is due."""
    request = dm.RemoveAllAudienceMembersRequest.pb().FromString(raw)
    if len(request.destinations) > MAX_DESTINATIONS:
        return invalid("TOO_MANY_DESTINATIONS", "destinations")
    for name in ("destinations", "remove_as_of_time"):
        if name not in {descriptor.name for descriptor, _ in request.ListFields()}:
            return invalid("REQUIRED_FIELD_MISSING", name)
    refusal = _destinations(state, request, token, addition=False)
    if refusal is not None:
        return refusal
    now, as_of = state.clock.now(), request.remove_as_of_time.ToDatetime(tzinfo=UTC)
    if as_of > now:
        return invalid("INVALID_REMOVE_AS_OF_TIME", "remove_as_of_time")
    response = dm.RemoveAllAudienceMembersResponse.pb()()
    if not request.validate_only:
        parts = [Part(item.operating_account.account_id, item.product_destination_id, []) for item in request.destinations]
        response.request_id = state.accept(AcceptedRequest(False, True, now, now + apply_after, parts, as_of))  # noqa: FBT003
    encoded: bytes = response.SerializeToString()
    return encoded


def _sizes(request: Any) -> Refusal | None:
    if len(request.audience_members) > MAX_MEMBERS:
        return invalid("TOO_MANY_AUDIENCE_MEMBERS", "audience_members")
    if len(request.destinations) > MAX_DESTINATIONS:
        return invalid("TOO_MANY_DESTINATIONS", "destinations")
    for name in ("audience_members", "destinations", "encoding"):
        if not getattr(request, name):
            return invalid("REQUIRED_FIELD_MISSING", name)
    references = [item.reference for item in request.destinations if item.reference]
    if len(references) != len(set(references)):
        return invalid("DUPLICATE_DESTINATION_REFERENCE", "destinations")
    return None


def _destinations(state: GoogleState, request: Any, token: str, *, addition: bool) -> Refusal | None:
    for index, item in enumerate(request.destinations):
        refusal = _destination(state, item, f"destinations.destinations[{index}]", token)
        if refusal is not None:
            return refusal
    if not addition:
        return None
    accepted = request.terms_of_service.customer_match_terms_of_service_status == dm.TermsOfServiceStatus.ACCEPTED
    for item in request.destinations:
        account = state.accounts[item.operating_account.account_id]
        if not accepted or not account.terms_accepted:
            return precondition("TERMS_AND_CONDITIONS_NOT_SIGNED")
        if not account.allowlisted:
            return precondition("ADVERTISER_NOT_ALLOWLISTED_FOR_UPLOADED_DATA")
        if not account.political_declaration:
            return precondition("EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED")
    return None


def _destination(state: GoogleState, item: Any, path: str, token: str) -> Refusal | None:
    account, login = item.operating_account, item.login_account
    if not account.account_id or not account.account_type:
        return invalid("REQUIRED_FIELD_MISSING", f"{path}.operating_account")
    if account.account_type != _ADS:
        return invalid("DESTINATION_ACCOUNT_TYPE_MISMATCH", f"{path}.operating_account.account_type")
    if not item.product_destination_id.isdecimal():
        return invalid("INVALID_DESTINATION", f"{path}.product_destination_id")
    if not state.may_write(token, account.account_id, login.account_id or None):
        return denied()
    remote = state.lists[account.account_id].get(item.product_destination_id)
    if remote is None:
        return invalid("INVALID_USER_LIST_ID", f"{path}.product_destination_id")
    if remote.key_type != _CONTACT:
        return invalid("INVALID_USER_LIST_TYPE", f"{path}.product_destination_id")
    return None


def _people(state: GoogleState, request: Any, *, addition: bool) -> list[Person] | Refusal:
    """Every member of a request, or the refusal of all of them because some are malformed."""
    decode = _decoder(request.encoding)
    kinds = {member.WhichOneof("data") for member in request.audience_members}
    if len(kinds - {None}) > 1:
        return invalid("MULTIPLE_DATA_TYPES_NOT_ALLOWED", "audience_members")
    of_request = (request.consent.ad_user_data, request.consent.ad_personalization) if addition else (0, 0)
    usual = _consent_error(of_request, None) if addition else 0
    people: list[Person] = []
    faults: list[tuple[str, str]] = []
    for index, member in enumerate(request.audience_members):
        found = _welcome(state, _identifiers(member, decode))
        if isinstance(found, tuple):
            error = _consent_error(of_request, member.consent) if addition and member.HasField("consent") else usual
            people.append(Person(found, error, tuple(member.destination_references)))
        else:
            place = _MEMBER_PATH.format(index) + found.violations[0][0]
            faults.append((place if state.locates else "audience_members", found.reason))
            if len(faults) == MOST_VIOLATIONS:
                break
    if faults:
        first = invalid(faults[0][1])
        return Refusal(first.status, first.reason, tuple(faults))
    return people


def _welcome(state: GoogleState, found: tuple[bytes, ...] | Refusal) -> tuple[bytes, ...] | Refusal:
    """The same, unless a test has made one of these identifiers unwelcome."""
    reason = (
        next((state.unwelcome[each] for each in found if each in state.unwelcome), None) if isinstance(found, tuple) else None
    )
    return found if reason is None else invalid(reason, ".composite_data.user_data.user_identifiers[0]")


def _identifiers(member: Any, decode: Callable[[str], bytes | str]) -> tuple[bytes, ...] | Refusal:
    kind = member.WhichOneof("data")
    if kind == "composite_data":
        items, path = member.composite_data.user_data.user_identifiers, ".composite_data.user_data.user_identifiers"
    elif kind == "user_data":
        items, path = member.user_data.user_identifiers, ".user_data.user_identifiers"
    elif kind is None:
        return invalid("REQUIRED_FIELD_MISSING", ".data")
    else:
        return invalid("INVALID_AUDIENCE_MEMBER", f".{kind}")
    if not items:
        return invalid("REQUIRED_FIELD_MISSING", path)
    if len(items) > MAX_IDENTIFIERS:
        return invalid("TOO_MANY_USER_IDENTIFIERS", path)
    values = []
    for place, item in enumerate(items):
        value = decode(item.email_address or item.phone_number)
        if isinstance(value, str):
            return invalid(value, f"{path}[{place}]")
        values.append(value)
    return tuple(values)


def _decoder(encoding: int) -> Callable[[str], bytes | str]:
    """Turns an identifier's text into 32 bytes, or into the reason why it cannot."""
    return _from_base64 if encoding == dm.Encoding.BASE64 else _from_hex


def _from_hex(text: str) -> bytes | str:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        return "INVALID_HEX_ENCODING"
    return value if len(text) == 64 and len(value) == 32 else "INVALID_SHA256_FORMAT"


def _from_base64(text: str) -> bytes | str:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return "INVALID_BASE64_ENCODING"
    return value if len(value) == 32 else "INVALID_SHA256_FORMAT"


def _consent_error(of_request: tuple[int, int], of_member: Any | None) -> int:
    """Both signals must be granted; a member's own signal goes before the request's."""
    own = (0, 0) if of_member is None else (of_member.ad_user_data, of_member.ad_personalization)
    signals = [mine or shared for mine, shared in zip(own, of_request, strict=True)]
    if _DENIED in signals:
        return _DENIED_CONSENT
    return 0 if signals == [_GRANTED, _GRANTED] else _NO_CONSENT


def _by_settings(person: Person, account: SandboxAccount) -> Person:
    """Where nothing was said, the account's settings speak; where they do not either, nobody knows."""
    unknown = person.error == _NO_CONSENT and not account.consent_settings
    return person._replace(error=_UNKNOWN_CONSENT) if unknown else person


def tell_status(state: GoogleState, raw: bytes) -> bytes | Refusal:
    """RetrieveRequestStatus: one entry per destination; counts only when it is done, and for 50 days."""
    asked = dm.RetrieveRequestStatusRequest.pb().FromString(raw)
    request = state.requests.get(asked.request_id)
    if request is None:
        return invalid("INVALID_REQUEST_ID", "request_id")
    if state.clock.now() - request.accepted > STATUS_KEPT:
        return invalid("REQUEST_TOO_OLD", "request_id")
    response = dm.RetrieveRequestStatusResponse.pb()()
    for part in request.parts:
        _fill_status(response.request_status_per_destination.add(), part, request)
    encoded: bytes = response.SerializeToString()
    return encoded


def _fill_status(entry: Any, part: Part, request: AcceptedRequest) -> None:
    entry.destination.operating_account.account_type = _ADS
    entry.destination.operating_account.account_id = part.account_id
    entry.destination.product_destination_id = part.list_id
    entry.request_status = part.status
    if part.status == STATUS.PROCESSING:
        return
    for reason, count in sorted(part.errors.items()):
        entry.error_info.error_counts.add(reason=reason, record_count=count)
    if request.as_of is not None:
        entry.remove_all_audience_members_status.SetInParent()
        return
    if request.addition:
        side = entry.audience_members_ingestion_status
        counted = side.composite_data_ingestion_status if request.composite else side.user_data_ingestion_status
        ranges = dm.MatchRateRange
        small = part.records < SMALLEST_MATCHED
        counted.upload_match_rate_range = ranges.MATCH_RATE_RANGE_NOT_ELIGIBLE if small else ranges.MATCH_RATE_RANGE_61_TO_70
    else:
        removal = entry.audience_members_removal_status
        counted = removal.composite_data_removal_status if request.composite else removal.user_data_removal_status
    counted.record_count = part.records
    if request.composite:
        emails = counted.data_type_counts.add()
        emails.type_ = dm.RequestStatusPerDestination.DataType.EMAIL
        emails.count = part.identifiers
    else:
        counted.user_identifier_count = part.identifiers
