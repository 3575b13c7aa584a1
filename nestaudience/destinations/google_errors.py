"""Google's refusals as our own codes, each with its remedy: one table, open to reasons that do not exist yet.

It reads a failed call of the SDK and keeps a code from this file, nothing else: no message, no metadata, no part of a request. It
decides whether a failed call was provably without effect. It retries nothing and raises nothing.

Reasons and their meaning: the SDK's `ErrorReason`, and
https://developers.google.com/data-manager/api/devguides/concepts/understand-errors (read 2026-11).
"""

import re
from dataclasses import dataclass
from typing import Final

from google.api_core.exceptions import GoogleAPICallError
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from grpc import StatusCode

from nestaudience.destinations.remedies import Remedy
from nestaudience.errors import MustStop, NeedsFix, NotKnown, TryAgain

LOST: Final = "lost_"
"""Prefix of the codes of a request that may have had its effect."""

_MALFORMED: Final = Remedy(NeedsFix, "report a defect: a digest that the wire guard had passed was refused as malformed")

REMEDIES: Final[dict[str, Remedy]] = {
    "account_wrong": Remedy(NeedsFix, "compare the ad account in the binding with the one in Google Ads, id and kind"),
    "api_disabled": Remedy(NeedsFix, "enable the Data Manager API in the Cloud project of these credentials"),
    "credentials_unusable": Remedy(
        NeedsFix, "give a readable service account key file, or working application default credentials"
    ),
    "eu_political_declaration_missing": Remedy(NeedsFix, "make the EU political advertising declaration in the ad account"),
    "invalid_audience_member": _MALFORMED,
    "invalid_base64_encoding": _MALFORMED,
    "invalid_hex_encoding": _MALFORMED,
    "invalid_request": Remedy(NeedsFix, "report a defect: Google refused the form of the request"),
    "invalid_sha256_format": _MALFORMED,
    "list_code_twice": Remedy(NeedsFix, "two lists of the account carry one code: decide which is ours, and change the other's"),
    "list_gone": Remedy(TryAgain, "read the list; when the account proves that it is gone, the next run creates it again"),
    "list_not_ours": Remedy(NeedsFix, "the list belongs to another account or cannot be changed; bind the owner's account"),
    "list_rejected": Remedy(
        MustStop, "Google holds the list as sensitive or rejected: have the segment reviewed before anything is sent"
    ),
    "list_wrong_type": Remedy(
        NeedsFix, "the list does not take contact data; retire it, and let the next run create one that does"
    ),
    "member_malformed": _MALFORMED,
    "membership_too_long": Remedy(NeedsFix, "set a membership duration of whole days, at most 540"),
    "moment_refused": Remedy(NeedsFix, "set this machine's clock: Google holds the moment of a sweep to be in the future"),
    "name_taken": Remedy(NeedsFix, "a list of this name exists already: look it up by its code, or rename the other one"),
    "not_allowlisted": Remedy(NeedsFix, "ask Google to open Customer Match for this ad account"),
    "permission_denied": Remedy(
        NeedsFix, "give the credentials' user write access to the ad account, directly or through its manager"
    ),
    "quota_exhausted": Remedy(TryAgain, "wait a minute; the quota is 300 requests a minute"),
    "quota_exhausted_today": Remedy(TryAgain, "wait until the daily quota is renewed, or ask Google for a larger one"),
    "request_too_large": Remedy(NeedsFix, "report a defect: the batch was above Google's limits"),
    "request_too_old": Remedy(NotKnown, "Google keeps a result about 50 days; treat the request as sent, and send it again"),
    "request_unknown": Remedy(NotKnown, "Google does not know this request; treat it as sent, and send it again"),
    "terms_missing": Remedy(NeedsFix, "accept the Customer Match terms in the ad account, and record it in the configuration"),
    "unauthenticated": Remedy(NeedsFix, "renew the credentials: Google did not accept them"),
    "wrong_account": Remedy(MustStop, "Google says that the list is another account's; compare binding and credentials"),
    "unsupported": Remedy(NeedsFix, "update the Google client library, and check the endpoint: the method is not offered there"),
    # These may come from the network or from a tired server. For a read they mean: later. For a write see `LOST`.
    "aborted": Remedy(TryAgain, "try again later"),
    "cancelled": Remedy(TryAgain, "try again later"),
    "deadline_exceeded": Remedy(TryAgain, "try again later; if it repeats, raise the timeout"),
    "exhausted_unexplained": Remedy(TryAgain, "try again later; something between us and Google is at its limit"),
    "internal": Remedy(TryAgain, "try again later"),
    "unavailable": Remedy(TryAgain, "try again later; if it repeats, check the network and the credentials' token service"),
    "unknown": Remedy(TryAgain, "try again later"),
    "unreadable": Remedy(TryAgain, "try again later; if it repeats, update the Google client library"),
}
"""Code -> remedy. Every code that leaves this destination is here, or is one of these behind `LOST`."""

REASONS: Final[dict[str, str]] = {
    "ADVERTISER_NOT_ALLOWLISTED_FOR_UPLOADED_DATA": "not_allowlisted",
    "ADVERTISER_TOS_NOT_ACCEPTED": "terms_missing",
    "DESTINATION_ACCOUNT_TYPE_MISMATCH": "account_wrong",
    "DISPLAY_NAME_ALREADY_USED": "name_taken",
    "EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED": "eu_political_declaration_missing",
    "INVALID_AUDIENCE_MEMBER": "member_malformed",
    "INVALID_BASE64_ENCODING": "member_malformed",
    "INVALID_DESTINATION": "account_wrong",
    "INVALID_HEX_ENCODING": "member_malformed",
    "INVALID_REMOVE_AS_OF_TIME": "moment_refused",
    "INVALID_REQUEST_ID": "request_unknown",
    "INVALID_SHA256_FORMAT": "member_malformed",
    "INVALID_USER_LIST_ID": "list_gone",
    "INVALID_USER_LIST_TYPE": "list_wrong_type",
    "MEMBERSHIP_DURATION_TOO_LONG": "membership_too_long",
    "MISMATCHED_ACCOUNT_TYPE": "account_wrong",
    "NOT_ALLOWLISTED": "not_allowlisted",
    "OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH": "account_wrong",
    "OWNERSHIP_REQUIRED_FOR_UPDATE": "list_not_ours",
    "PERMISSION_DENIED": "permission_denied",
    "RATE_LIMIT_EXCEEDED": "quota_exhausted",
    "REQUEST_TOO_OLD": "request_too_old",
    "RESOURCE_EXHAUSTED": "quota_exhausted",
    "SENSITIVE_USER_LIST_IMMUTABLE": "list_rejected",
    "SERVICE_DISABLED": "api_disabled",
    "TERMS_AND_CONDITIONS_NOT_SIGNED": "terms_missing",
    "TOO_MANY_AUDIENCE_MEMBERS": "request_too_large",
    "TOO_MANY_DESTINATIONS": "request_too_large",
    "TOO_MANY_USER_IDENTIFIERS": "request_too_large",
    "UNSUPPORTED_ACCOUNT_TYPES_FOR_USER_LIST_TYPE": "account_wrong",
    "USER_LIST_MUTATION_NOT_SUPPORTED": "list_not_ours",
    "USER_LIST_TYPE_NOT_SUPPORTED_FOR_ACCOUNT": "account_wrong",
}
"""Google's reason -> our code. A reason that is not here takes the code of its gRPC status."""

ROW_REASONS: Final[dict[str, str]] = {
    "INVALID_AUDIENCE_MEMBER": "invalid_audience_member",
    "INVALID_BASE64_ENCODING": "invalid_base64_encoding",
    "INVALID_HEX_ENCODING": "invalid_hex_encoding",
    "INVALID_SHA256_FORMAT": "invalid_sha256_format",
}
"""Google's reason at the path of one member -> the code by which that person is counted. Any other reason there counts as `member_malformed`."""

_ROW: Final = re.compile(r"audience_members(?:\.audience_members)?\[([0-9]{1,5})\](?:\..*)?", re.DOTALL)
"""The path of one member. Google shows the doubled form for events; its own for members is not shown anywhere, so both are read."""

STATUSES: Final[dict[StatusCode, str]] = {
    StatusCode.ABORTED: "aborted",
    StatusCode.ALREADY_EXISTS: "name_taken",
    StatusCode.CANCELLED: "cancelled",
    StatusCode.DATA_LOSS: "internal",
    StatusCode.DEADLINE_EXCEEDED: "deadline_exceeded",
    StatusCode.FAILED_PRECONDITION: "invalid_request",
    StatusCode.INTERNAL: "internal",
    StatusCode.INVALID_ARGUMENT: "invalid_request",
    StatusCode.NOT_FOUND: "list_gone",
    StatusCode.OUT_OF_RANGE: "invalid_request",
    StatusCode.PERMISSION_DENIED: "permission_denied",
    StatusCode.RESOURCE_EXHAUSTED: "exhausted_unexplained",
    StatusCode.UNAUTHENTICATED: "unauthenticated",
    StatusCode.UNAVAILABLE: "unavailable",
    StatusCode.UNIMPLEMENTED: "unsupported",
    StatusCode.UNKNOWN: "unknown",
}
"""gRPC status -> our code, where Google names no reason that we know."""

WITHOUT_EFFECT: Final = frozenset(
    {
        StatusCode.ALREADY_EXISTS,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.INVALID_ARGUMENT,
        StatusCode.NOT_FOUND,
        StatusCode.OUT_OF_RANGE,
        StatusCode.PERMISSION_DENIED,
        StatusCode.UNAUTHENTICATED,
        StatusCode.UNIMPLEMENTED,
    }
)
"""Statuses that prove that nothing happened: Google fails a whole request before it applies any of it. RESOURCE_EXHAUSTED proves
it only with Google's own reason: gRPC itself gives the same status for an answer that is too large, and when the connection is
told to calm down."""

QUOTA_CODES: Final = frozenset({"quota_exhausted", "quota_exhausted_today"})
"""The codes by which Google's own quota refuses."""

WORTH_REPEATING: Final = frozenset({StatusCode.UNAVAILABLE, StatusCode.ABORTED, StatusCode.INTERNAL, StatusCode.UNKNOWN})
"""Statuses after which a read is asked again. A write never is."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failed call, reduced to what we may keep. `after` is seconds until another try, where Google named them; `rows` as in `Refused`."""

    code: str
    status: StatusCode | None
    without_effect: bool
    after: float | None = None
    rows: tuple[tuple[int, str], ...] | None = None

    @property
    def lost(self) -> str:
        """The code of a write that ended like this and may have had its effect."""
        return LOST + self.code


def trouble_of(error: Exception) -> Trouble:
    """What a failed call of the SDK says. Nothing of the exception survives but a code of this file and a number of seconds."""
    if not isinstance(error, GoogleAPICallError) or error.grpc_status_code is None:
        return Trouble("unreadable", None, without_effect=False)
    status: StatusCode = error.grpc_status_code
    reason = error.reason if _is_google(error.domain) else None
    code = REASONS.get(reason or "", STATUSES.get(status, "unknown"))
    if status is StatusCode.RESOURCE_EXHAUSTED:
        return _exhausted(error, explained=reason is not None)
    rows = _rows(error, code) if status is StatusCode.INVALID_ARGUMENT else None
    return Trouble("member_malformed" if rows else code, status, without_effect=status in WITHOUT_EFFECT, rows=rows)


def _rows(error: GoogleAPICallError, code: str) -> tuple[tuple[int, str], ...] | None:
    """The members that the refusal is about. A path that leads elsewhere makes the whole request wrong, whatever the other paths say."""
    told = [violation for detail in error.details if isinstance(detail, BadRequest) for violation in detail.field_violations]
    found = [(_ROW.fullmatch(violation.field), violation.reason) for violation in told]
    if not found or any(path is None for path, _ in found):
        return () if code == "member_malformed" else None
    rows = {int(path[1]): ROW_REASONS.get(reason, "member_malformed") for path, reason in found if path is not None}
    return tuple(sorted(rows.items()))


def remedy_of(code: str) -> Remedy:
    """The remedy of any code that this destination gives: in a receipt, a settlement or an error."""
    if code.startswith(LOST):
        return Remedy(NotKnown, "treat the request as sent; it is settled, or sent again, by the next run")
    return REMEDIES.get(code, Remedy(NeedsFix, "report a defect: this code has no remedy"))


def _is_google(domain: str | None) -> bool:
    return domain is not None and (domain == "googleapis.com" or domain.endswith(".googleapis.com"))


def _exhausted(error: GoogleAPICallError, *, explained: bool) -> Trouble:
    """A quota, by minute or by day: Google names it in the metadata `quota_limit`."""
    if not explained:
        return Trouble("exhausted_unexplained", StatusCode.RESOURCE_EXHAUSTED, without_effect=False)
    named = next(
        (detail.retry_delay.ToTimedelta().total_seconds() for detail in error.details if isinstance(detail, RetryInfo)), None
    )
    if "PerDay" in str((error.metadata or {}).get("quota_limit", "")):
        return Trouble("quota_exhausted_today", StatusCode.RESOURCE_EXHAUSTED, without_effect=True, after=named)
    return Trouble("quota_exhausted", StatusCode.RESOURCE_EXHAUSTED, without_effect=True, after=60.0 if named is None else named)
