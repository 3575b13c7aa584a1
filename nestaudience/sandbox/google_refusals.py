"""How the local Data Manager refuses: a gRPC status with `ErrorInfo`, `BadRequest` and `RequestInfo`, in the documented form.

https://developers.google.com/data-manager/api/devguides/concepts/understand-errors (read 2026-11). It says no value from a
request.
"""

from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

DOMAIN: Final = "datamanager.googleapis.com"
MOST_VIOLATIONS: Final = 10
"""Details travel in the trailing metadata, where gRPC takes 8 kB by default."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A whole request refused. `violations` are (field path, reason); `metadata` goes into the `ErrorInfo`."""

    status: grpc.StatusCode
    reason: str
    violations: tuple[tuple[str, str], ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    domain: str = DOMAIN

    def to_grpc(self, request_id: str) -> grpc.Status:
        """The status as it goes over the wire."""
        details: list[Message] = [
            error_details_pb2.ErrorInfo(reason=self.reason, domain=self.domain, metadata=dict(self.metadata))
        ]
        if self.violations:
            found = [
                error_details_pb2.BadRequest.FieldViolation(field=path, reason=reason, description="The value is not valid.")
                for path, reason in self.violations[:MOST_VIOLATIONS]
            ]
            details.append(error_details_pb2.BadRequest(field_violations=found))
        details.append(error_details_pb2.RequestInfo(request_id=request_id))
        packed = []
        for detail in details:
            wrapped = AnyMessage()
            wrapped.Pack(detail)
            packed.append(wrapped)
        message = status_pb2.Status(code=self.status.value[0], message="There was a problem with the request.", details=packed)
        status: grpc.Status = rpc_status.to_status(message)
        return status


def invalid(reason: str, *fields: str) -> Refusal:
    """INVALID_ARGUMENT with this reason, at these field paths."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, reason, tuple((path, reason) for path in fields))


def precondition(reason: str) -> Refusal:
    """FAILED_PRECONDITION with this reason: the account is not in a state for the call."""
    return Refusal(grpc.StatusCode.FAILED_PRECONDITION, reason)


def denied() -> Refusal:
    """PERMISSION_DENIED: no write access, or no such account. Google does not tell the two apart."""
    return Refusal(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")


def unauthenticated() -> Refusal:
    """UNAUTHENTICATED: no token, or one that nobody knows."""
    return Refusal(grpc.StatusCode.UNAUTHENTICATED, "ACCESS_TOKEN_EXPIRED", domain="googleapis.com")


def exhausted(quota_limit: str) -> Refusal:
    """RESOURCE_EXHAUSTED, with the quota's name as Google gives it."""
    return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED", metadata=(("quota_limit", quota_limit),))
