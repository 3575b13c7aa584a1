"""What the Google Ads API refuses, as our own codes: one table, open to reasons that do not exist yet.

It reads a failed call, and the errors that come packed into an answer (partial failure), and keeps codes of this file, counts and a number of
seconds: no message, no trigger (it can echo the value that was refused), no part of a request. It retries nothing and raises nothing. Statuses,
and what they prove about a failed call, are those of `google_errors`.

Reasons and their meaning: the SDK's `errors` types, and
https://developers.google.com/google-ads/api/docs/best-practices/understand-api-errors (read 2026-11).
"""

from collections.abc import Iterable
from typing import Any, Final

from google.api_core.exceptions import GoogleAPICallError
from google.protobuf.message import DecodeError
from grpc import StatusCode

from nestaudience.destinations import google_errors
from nestaudience.destinations.google_ads_versions import Version
from nestaudience.destinations.google_errors import LOST, STATUSES, WITHOUT_EFFECT, Trouble
from nestaudience.destinations.remedies import Remedy
from nestaudience.errors import NeedsFix, NotKnown, TryAgain

JOB_STARTED: Final = "job_started"
"""The answer to a run that says that the job runs already."""
JOB_FAILED: Final = "job_failed"
"""The count of a job that failed: some of its people may have been applied all the same."""

REMEDIES: Final[dict[str, Remedy]] = {
    **{
        code: google_errors.REMEDIES[code]
        for code in (
            "aborted",
            "account_wrong",
            "cancelled",
            "credentials_unusable",
            "deadline_exceeded",
            "eu_political_declaration_missing",
            "exhausted_unexplained",
            "internal",
            "invalid_request",
            "list_code_twice",
            "list_gone",
            "list_not_ours",
            "list_rejected",
            "list_wrong_type",
            "member_malformed",
            "membership_too_long",
            "name_taken",
            "permission_denied",
            "request_too_large",
            "request_unknown",
            "unauthenticated",
            "unavailable",
            "unknown",
            "unreadable",
            "wrong_account",
        )
    },
    "account_not_enabled": Remedy(NeedsFix, "the ad account is closed or suspended; look at it in Google Ads"),
    "api_disabled": Remedy(
        NeedsFix, "enable the Google Ads API in the Cloud project of these credentials, with access to production"
    ),
    "job_busy": Remedy(TryAgain, "something else works on the same job or list; try again later"),
    JOB_FAILED: Remedy(TryAgain, "Google does not say why a job failed; its people are sent once more by the next run"),
    JOB_STARTED: Remedy(NotKnown, "the job runs already; it is settled, or sent again, by the next run"),
    "job_took_too_long": Remedy(
        TryAgain, "the job was not run: adding its people took so long that consents may have changed; name a smaller batch_size"
    ),
    "not_allowlisted": Remedy(
        NeedsFix,
        "Google takes customer lists on this way only from those who used it before April 2026: name google_data_manager as the destination",
    ),
    "quota_exhausted": Remedy(TryAgain, "wait as long as Google says, or some minutes where it says nothing"),
    "terms_missing": Remedy(
        NeedsFix,
        "accept the customer data terms and the Customer Match terms in the ad account, and record it in the configuration",
    ),
    "unsupported": Remedy(NeedsFix, "name a version of the Google Ads API that is still served, as api_version"),
}
"""Code -> remedy. Every code that leaves this destination is here, or is one of these behind `LOST`."""

REASONS: Final[dict[str, str]] = {
    "authentication_error.CLIENT_CUSTOMER_ID_INVALID": "account_wrong",
    "authentication_error.CUSTOMER_NOT_FOUND": "account_wrong",
    "authentication_error.OAUTH_TOKEN_EXPIRED": "unauthenticated",
    "authentication_error.OAUTH_TOKEN_INVALID": "unauthenticated",
    "authentication_error.OAUTH_TOKEN_REVOKED": "unauthenticated",
    "authorization_error.ACTION_NOT_PERMITTED_FOR_SUSPENDED_ACCOUNT": "account_not_enabled",
    "authorization_error.DEVELOPER_TOKEN_NOT_APPROVED": "api_disabled",
    "authorization_error.CUSTOMER_NOT_ENABLED": "account_not_enabled",
    "authorization_error.INVALID_LOGIN_CUSTOMER_ID_SERVING_CUSTOMER_ID_COMBINATION": "account_wrong",
    "authorization_error.MISSING_TOS": "terms_missing",
    "authorization_error.PROJECT_DISABLED": "api_disabled",
    "authorization_error.USER_PERMISSION_DENIED": "permission_denied",
    "database_error.CONCURRENT_MODIFICATION": "job_busy",
    "database_error.REQUEST_TOO_LARGE": "request_too_large",
    "header_error.INVALID_LOGIN_CUSTOMER_ID": "account_wrong",
    "internal_error.DEADLINE_EXCEEDED": "deadline_exceeded",
    "internal_error.INTERNAL_ERROR": "internal",
    "internal_error.TRANSIENT_ERROR": "internal",
    "mutate_error.EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED": "eu_political_declaration_missing",
    "mutate_error.RESOURCE_NOT_FOUND": "list_gone",
    "not_allowlisted_error.CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE": "not_allowlisted",
    "offline_user_data_job_error.CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS": "terms_missing",
    "offline_user_data_job_error.INCOMPATIBLE_UPLOAD_KEY_TYPE": "list_wrong_type",
    "offline_user_data_job_error.INVALID_ENCODING": "member_malformed",
    "offline_user_data_job_error.INVALID_SHA256_FORMAT": "member_malformed",
    "offline_user_data_job_error.INVALID_USER_LIST_ID": "list_gone",
    "offline_user_data_job_error.INVALID_USER_LIST_TYPE": "list_wrong_type",
    "offline_user_data_job_error.JOB_ALREADY_STARTED": JOB_STARTED,
    "offline_user_data_job_error.MISSING_USER_IDENTIFIER": "member_malformed",
    "offline_user_data_job_error.TOO_MANY_USER_IDENTIFIERS": "request_too_large",
    "quota_error.RESOURCE_EXHAUSTED": "quota_exhausted",
    "quota_error.RESOURCE_TEMPORARILY_EXHAUSTED": "quota_exhausted",
    "range_error.TOO_HIGH": "membership_too_long",
    "request_error.INVALID_CUSTOMER_ID": "account_wrong",
    "request_error.TOO_MANY_MUTATE_OPERATIONS": "request_too_large",
    "request_error.UNSUPPORTED_VERSION": "unsupported",
    "user_data_error.OPERATIONS_FOR_CUSTOMER_MATCH_NOT_ALLOWED": "not_allowlisted",
    "user_list_error.ADVERTISER_NOT_ON_ALLOWLIST_FOR_USING_UPLOADED_DATA": "not_allowlisted",
    "user_list_error.ADVERTISER_TOS_NOT_ACCEPTED": "terms_missing",
    "user_list_error.CAN_NOT_MUTATE_SENSITIVE_USERLIST": "list_rejected",
    "user_list_error.INVALID_NAME": "name_taken",
    "user_list_error.NAME_ALREADY_USED": "name_taken",
    "user_list_error.OWNERSHIP_REQUIRED_FOR_SET": "list_not_ours",
    "user_list_error.USER_LIST_MUTATE_NOT_SUPPORTED": "list_not_ours",
}
"""Google's reason, as kind and name -> our code. A reason that is not here takes the code of its gRPC status."""


def trouble_of(error: Exception, version: Version) -> Trouble:
    """What a failed call says. Nothing of the exception survives but a code of this file and a number of seconds.

    RESOURCE_EXHAUSTED proves that nothing happened only with Google's own reason, as in `google_errors`.
    """
    if not isinstance(error, GoogleAPICallError) or error.grpc_status_code is None:
        return Trouble("unreadable", None, without_effect=False)
    status: StatusCode = error.grpc_status_code
    failure = _failure_of(error, version)
    reason = next((code for each in failure if (code := _code(each)) is not None), None)
    explained = status is StatusCode.RESOURCE_EXHAUSTED and reason is not None
    code = reason or STATUSES.get(status, "unknown")
    return Trouble(code, status, without_effect=status in WITHOUT_EFFECT or explained, after=_delay(failure))


def refused_rows(partial_failure: Any, version: Version) -> tuple[tuple[str, int], ...]:
    """Code -> how many operations were refused with it, from the packed errors of an answer. An operation with several errors counts once.

    Raises ValueError for an answer that does not say which operations it speaks of.
    """
    codes: dict[int, str] = {}
    for packed in partial_failure.details:
        failure = version.failure()
        if not packed.Unpack(failure):
            raise ValueError("a partial failure of another form")
        for error in failure.errors:
            path = error.location.field_path_elements
            if not path or path[0].field_name != "operations" or not path[0].HasField("index"):
                raise ValueError("a partial failure of another form")
            codes.setdefault(path[0].index, _code(error) or "invalid_request")
    if not codes:
        raise ValueError("a partial failure of another form")
    return _counted(codes.values())


def _counted(codes: Iterable[str]) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for code in codes:
        counts[code] = counts.get(code, 0) + 1
    return tuple(sorted(counts.items()))


def remedy_of(code: str) -> Remedy:
    """The remedy of any code that this destination gives: in a receipt, a settlement or an error."""
    if code.startswith(LOST):
        return Remedy(NotKnown, "treat the request as sent; it is settled, or sent again, by the next run")
    return REMEDIES.get(code, Remedy(NeedsFix, "report a defect: this code has no remedy"))


def _failure_of(error: GoogleAPICallError, version: Version) -> list[Any]:
    """The errors in the trailing metadata of a failed call, none where there are none that can be read."""
    for cause in error.errors:
        trailing = getattr(cause, "trailing_metadata", None)
        for key, value in (trailing() if trailing is not None else None) or ():
            if key == version.failure_key:
                try:
                    return list(version.failure.FromString(value).errors)
                except DecodeError:
                    return []
    return []


def _code(error: Any) -> str | None:
    """Our code of one error of Google's, None for one that we do not know."""
    kind = error.error_code.WhichOneof("error_code")
    if kind is None:
        return None
    field = error.error_code.DESCRIPTOR.fields_by_name[kind]
    value = field.enum_type.values_by_number.get(getattr(error.error_code, kind))
    return None if value is None else REASONS.get(f"{kind}.{value.name}")


def _delay(failure: list[Any]) -> float | None:
    """The seconds that Google asks to wait, the longest of them."""
    delays = [
        float(error.details.quota_error_details.retry_delay.ToTimedelta().total_seconds())
        for error in failure
        if error.details.quota_error_details.HasField("retry_delay")
    ]
    return max(delays, default=None)
