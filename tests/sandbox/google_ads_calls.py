"""Calls of the real SDK to the local Google Ads API, for its tests: short forms of Google's long messages."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import grpc
from google.ads.googleads.v26.common.types import offline_user_data as common
from google.ads.googleads.v26.enums.types.consent_status import ConsentStatusEnum
from google.ads.googleads.v26.enums.types.customer_match_upload_key_type import CustomerMatchUploadKeyTypeEnum
from google.ads.googleads.v26.enums.types.offline_user_data_job_status import OfflineUserDataJobStatusEnum
from google.ads.googleads.v26.enums.types.offline_user_data_job_type import OfflineUserDataJobTypeEnum
from google.ads.googleads.v26.errors.types import errors
from google.ads.googleads.v26.services.types import google_ads_service, offline_user_data_job_service, user_list_service
from google.api_core.exceptions import GoogleAPICallError

from nestaudience.destinations.google_ads_connection import Clients, GoogleAdsSettings, Version, connect
from nestaudience.destinations.google_connection import SandboxEndpoint, SandboxToken
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.google_ads import GoogleAdsSandbox
from nestaudience.sandbox.google_state import GoogleState, SandboxAccount

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ACCOUNT, OTHER, MANAGED, MANAGER = "1112223333", "2223334444", "3334445555", "9998887777"
TOKEN = "a-token"
V26 = Version("v26")
GRANTED, DENIED = ConsentStatusEnum.ConsentStatus.GRANTED, ConsentStatusEnum.ConsentStatus.DENIED
JOB = OfflineUserDataJobStatusEnum.OfflineUserDataJobStatus
KEYS = CustomerMatchUploadKeyTypeEnum.CustomerMatchUploadKeyType
ONCE = {"retry": None, "timeout": 20}


def state() -> GoogleState:
    accounts = {
        ACCOUNT: SandboxAccount(),
        OTHER: SandboxAccount(tokens=frozenset({"other-token"})),
        MANAGED: SandboxAccount(tokens=frozenset(), manager=MANAGER),
        MANAGER: SandboxAccount(),
    }
    return GoogleState(accounts, SandboxClock(START), TOKEN)


def clients(sandbox: GoogleAdsSandbox, token: str = TOKEN) -> Clients:
    endpoint = SandboxEndpoint(sandbox.endpoint, sandbox.ca_pem)
    return connect(GoogleAdsSettings(SandboxToken(token), terms_accepted=True, endpoint=endpoint), V26)


def digest(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def mutate(google: Clients, account: str = ACCOUNT, *, validate: bool = False, login: str = "", **operation: Any) -> str:
    request = user_list_service.MutateUserListsRequest(customer_id=account, operations=[operation], validate_only=validate)
    metadata = (("login-customer-id", login),) if login else ()
    answer = google.lists.mutate_user_lists(request=request, metadata=metadata, **ONCE)
    return str(answer.results[0].resource_name) if answer.results else ""


def wish(name: str = "a list", **changed: Any) -> dict[str, Any]:
    kind = {"upload_key_type": KEYS.CONTACT_INFO}
    return {"name": name, "integration_code": "na-1", "membership_life_span": 30, "crm_based_user_list": kind, **changed}


def user_list(google: Clients, name: str = "a list", account: str = ACCOUNT, **changed: Any) -> str:
    return mutate(google, account, create=wish(name, **changed))


def job(google: Clients, name: str, consent: Any = GRANTED, account: str = ACCOUNT, *, validate: bool = False) -> str:
    metadata: dict[str, Any] = {"user_list": name}
    if consent is not None:
        metadata["consent"] = {"ad_user_data": consent, "ad_personalization": consent}
    wanted = {
        "type_": OfflineUserDataJobTypeEnum.OfflineUserDataJobType.CUSTOMER_MATCH_USER_LIST,
        "customer_match_user_list_metadata": metadata,
    }
    request = offline_user_data_job_service.CreateOfflineUserDataJobRequest(
        customer_id=account, job=wanted, validate_only=validate
    )
    return str(google.jobs.create_offline_user_data_job(request=request, **ONCE).resource_name)


def person(*values: str) -> common.UserData:
    return common.UserData(user_identifiers=[common.UserIdentifier(hashed_email=value) for value in values])


def add(google: Clients, name: str, *operations: dict[str, Any], partial: bool = True, validate: bool = False) -> Any:
    request = offline_user_data_job_service.AddOfflineUserDataJobOperationsRequest(
        resource_name=name, operations=operations, enable_partial_failure=partial, validate_only=validate
    )
    return google.jobs.add_offline_user_data_job_operations(request=request, **ONCE)


def run(google: Clients, name: str) -> None:
    google.jobs.run_offline_user_data_job(
        request=offline_user_data_job_service.RunOfflineUserDataJobRequest(resource_name=name), **ONCE
    )


def sent(google: Clients, list_name: str, *operations: dict[str, Any], consent: Any = GRANTED) -> str:
    """A job that was run."""
    name = job(google, list_name, consent)
    if operations:
        add(google, name, *operations)
    run(google, name)
    return name


def rows(google: Clients, query: str, account: str = ACCOUNT) -> list[Any]:
    request = google_ads_service.SearchGoogleAdsStreamRequest(customer_id=account, query=query)
    return [row for page in google.search.search_stream(request=request, **ONCE) for row in page.results]


def status(google: Clients, name: str) -> Any:
    fields = "offline_user_data_job.status, offline_user_data_job.failure_reason, offline_user_data_job.operation_metadata.match_rate_range"
    (row,) = rows(google, f"SELECT {fields} FROM offline_user_data_job WHERE offline_user_data_job.resource_name = '{name}'")
    return row.offline_user_data_job


def refused(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """The status of a call that fails, and the name of its first error."""
    try:
        call()
    except GoogleAPICallError as error:
        trailing = dict(error.errors[0].trailing_metadata())
        failure = errors.GoogleAdsFailure.pb().FromString(trailing["google.ads.googleads.v26.errors.googleadsfailure-bin"])
        return error.grpc_status_code, reason_of(failure.errors[0])
    raise AssertionError("the call was not refused")


def reason_of(error: Any) -> str:
    kind = error.error_code.WhichOneof("error_code")
    numbers = error.error_code.DESCRIPTOR.fields_by_name[kind].enum_type.values_by_number
    return str(numbers[getattr(error.error_code, kind)].name)
