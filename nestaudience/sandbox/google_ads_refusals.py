"""How the local Google Ads API refuses: a gRPC status, and a `GoogleAdsFailure` in the trailing metadata, as the real one does.

https://developers.google.com/google-ads/api/docs/best-practices/understand-api-errors (read 2026-11). It says no value from a request.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
from google.ads.googleads.v26.errors.types import errors
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import status_pb2


@dataclass(frozen=True, slots=True)
class Refused:
    """A whole call refused. `kind` and `name` are those of the error code, e.g. `range_error` and `TOO_HIGH`; `wait` goes with a quota."""

    kind: str
    name: str
    status: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT
    wait: timedelta | None = None

    def failure(self, version: str) -> bytes:
        """The failure as it goes over the wire."""
        return failure_of([(None, self.kind, self.name)], version, self.wait).SerializeToString()  # type: ignore[no-any-return]


def failure_of(found: Iterable[tuple[int | None, str, str]], version: str, wait: timedelta | None = None) -> Any:
    """A `GoogleAdsFailure` with these errors: the operation's index (None for the whole call), kind and name."""
    failure = errors.GoogleAdsFailure.pb()(request_id=f"sandbox-{version}")
    for index, kind, name in found:
        error = failure.errors.add(message="There was a problem with the request.")
        enum = error.error_code.DESCRIPTOR.fields_by_name[kind].enum_type
        setattr(error.error_code, kind, enum.values_by_name[name].number)
        if index is not None:
            error.location.field_path_elements.add(field_name="operations", index=index)
            error.location.field_path_elements.add(field_name="create")
        if wait is not None:
            error.details.quota_error_details.retry_delay.FromTimedelta(wait)
    return failure


def packed(found: Iterable[tuple[int | None, str, str]], version: str) -> status_pb2.Status:
    """Errors of single operations as an answer carries them: one packed failure, many errors."""
    wrapped = AnyMessage(
        type_url=f"type.googleapis.com/google.ads.googleads.{version}.errors.GoogleAdsFailure",
        value=failure_of(found, version).SerializeToString(),
    )
    return status_pb2.Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message="Multiple errors.", details=[wrapped])


def unauthenticated() -> Refused:
    """No token, or one that nobody knows."""
    return Refused("authentication_error", "OAUTH_TOKEN_INVALID", grpc.StatusCode.UNAUTHENTICATED)


def denied() -> Refused:
    """No access, or no such account."""
    return Refused("authorization_error", "USER_PERMISSION_DENIED", grpc.StatusCode.PERMISSION_DENIED)
