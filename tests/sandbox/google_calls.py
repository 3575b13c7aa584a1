"""Calls of the real SDK to the local Data Manager, for its tests: short forms of Google's long messages."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.ads import datamanager_v1 as dm
from google.api_core.exceptions import GoogleAPICallError

from nestaudience.destinations.google_connection import (
    Clients,
    GoogleDataManagerSettings,
    SandboxEndpoint,
    SandboxToken,
    connect,
)
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.data_manager import DataManagerSandbox
from nestaudience.sandbox.google_state import SandboxAccount

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ACCOUNT, OTHER, MANAGED, MANAGER = "1112223333", "2223334444", "3334445555", "9998887777"
GRANTED, DENIED = dm.ConsentStatus.CONSENT_GRANTED, dm.ConsentStatus.CONSENT_DENIED
STATUS = dm.RequestStatusPerDestination.RequestStatus
REASONS = dm.ProcessingErrorReason
INVALID, PRECONDITION = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION
NO_PERMISSION = (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")


def running_sandbox() -> Iterator[DataManagerSandbox]:
    accounts = {
        ACCOUNT: SandboxAccount(),
        OTHER: SandboxAccount(tokens=frozenset({"other-token"})),
        MANAGED: SandboxAccount(tokens=frozenset(), manager=MANAGER),
        MANAGER: SandboxAccount(),
    }
    with DataManagerSandbox(accounts, SandboxClock(START), keep_requests=True) as running:
        yield running


def clients(sandbox: DataManagerSandbox, token: str | None = None) -> Clients:
    endpoint = SandboxEndpoint(sandbox.endpoint, sandbox.ca_pem)
    return connect(GoogleDataManagerSettings(SandboxToken(token or sandbox.token), terms_accepted=True, endpoint=endpoint))


def digest(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def member(*values: str, plain: bool = False, **fields: Any) -> dm.AudienceMember:
    data = dm.UserData(user_identifiers=[dm.UserIdentifier(email_address=value) for value in values])
    if plain:
        return dm.AudienceMember(user_data=data, **fields)
    return dm.AudienceMember(composite_data=dm.CompositeData(user_data=data), **fields)


def destination(list_id: str, account: str = ACCOUNT, login: str | None = None, reference: str = "") -> dm.Destination:
    kind = dm.ProductAccount.AccountType.GOOGLE_ADS
    login_account = None if login is None else dm.ProductAccount(account_type=kind, account_id=login)
    return dm.Destination(
        operating_account=dm.ProductAccount(account_type=kind, account_id=account),
        login_account=login_account,
        product_destination_id=list_id,
        reference=reference,
    )


def addition(list_id: str, *members: dm.AudienceMember, **changed: Any) -> dm.IngestAudienceMembersRequest:
    fields: dict[str, Any] = {
        "destinations": [destination(list_id)],
        "audience_members": list(members),
        "consent": dm.Consent(ad_user_data=GRANTED, ad_personalization=GRANTED),
        "encoding": dm.Encoding.HEX,
        "terms_of_service": dm.TermsOfService(customer_match_terms_of_service_status=dm.TermsOfServiceStatus.ACCEPTED),
    }
    return dm.IngestAudienceMembersRequest(**{**fields, **changed})


def removal(list_id: str, *members: dm.AudienceMember) -> dm.RemoveAudienceMembersRequest:
    return dm.RemoveAudienceMembersRequest(
        destinations=[destination(list_id)], audience_members=list(members), encoding=dm.Encoding.HEX
    )


def ingest(google: Clients, request: dm.IngestAudienceMembersRequest, timeout: float = 10.0) -> str:
    return str(google.ingestion.ingest_audience_members(request=request, retry=None, timeout=timeout).request_id)


def remove(google: Clients, request: dm.RemoveAudienceMembersRequest) -> str:
    return str(google.ingestion.remove_audience_members(request=request, retry=None, timeout=10.0).request_id)


def status(google: Clients, request_id: str) -> list[dm.RequestStatusPerDestination]:
    request = dm.RetrieveRequestStatusRequest(request_id=request_id)
    answer = google.ingestion.retrieve_request_status(request=request, retry=None, timeout=10.0)
    return list(answer.request_status_per_destination)


def user_list(name: str, **changed: Any) -> dm.UserList:
    info = dm.IngestedUserListInfo(upload_key_types=[dm.IngestedUserListInfo.UploadKeyType.CONTACT_ID])
    fields: dict[str, Any] = {
        "display_name": name,
        "description": "d",
        "integration_code": f"code {name}",
        "membership_duration": timedelta(days=30),
        "ingested_user_list_info": info,
    }
    return dm.UserList(**{**fields, **changed})


def create(google: Clients, wanted: dm.UserList, account: str = ACCOUNT, **options: Any) -> dm.UserList:
    request = dm.CreateUserListRequest(parent=f"accountTypes/GOOGLE_ADS/accounts/{account}", user_list=wanted)
    return google.lists.create_user_list(request=request, retry=None, timeout=10.0, **options)


def list_id(google: Clients, name: str = "n") -> str:
    return str(create(google, user_list(name)).id)


def refused(call: Callable[[], object]) -> GoogleAPICallError:
    with pytest.raises(GoogleAPICallError) as caught:
        call()
    return caught.value


def reason(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    error = refused(call)
    return error.grpc_status_code, error.reason
