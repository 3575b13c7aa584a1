"""The local OfflineUserDataJobService: create a job, add operations to it, run it, by the documented rules.

Bytes in, bytes or a `Refused` out. A job that is run becomes a request of the state that the local Data Manager shares, so both ways end on the same
lists. Only hashed addresses are taken: other identifiers are outside the sandbox and refused.

https://developers.google.com/google-ads/api/docs/remarketing/audience-segments/customer-match/get-started and the SDK's types (read 2026-11).
"""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from google.ads import datamanager_v1 as dm
from google.ads.googleads.v26.enums.types.consent_status import ConsentStatusEnum
from google.ads.googleads.v26.enums.types.offline_user_data_job_status import OfflineUserDataJobStatusEnum
from google.ads.googleads.v26.enums.types.offline_user_data_job_type import OfflineUserDataJobTypeEnum
from google.ads.googleads.v26.services.types import offline_user_data_job_service as service
from google.longrunning import operations_pb2

from nestaudience.sandbox.google_ads_refusals import Refused, denied, packed
from nestaudience.sandbox.google_state import STATUS, AcceptedRequest, GoogleState, Part, Person

MOST_IN_A_CALL: Final = 100_000
MOST_IN_AN_OPERATION: Final = 20
RUN_WITHIN: Final = timedelta(days=5)

_CONTACT: Final = dm.IngestedUserListInfo.UploadKeyType.CONTACT_ID
_NO_CONSENT: Final = int(dm.ProcessingErrorReason.PROCESSING_ERROR_REASON_NO_CONSENT)
_CONSENT: Final = ConsentStatusEnum.ConsentStatus
_LIST: Final = re.compile(r"customers/([0-9]+)/userLists/([0-9]+)")
_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")
_JOBS: Final = "offline_user_data_job_error"
JOB_STATUS: Final = OfflineUserDataJobStatusEnum.OfflineUserDataJobStatus


@dataclass(slots=True)
class Job:
    """One job. `unconsented` is why its additions will not be processed (0: they will); `request` is what it became when it was run."""

    resource_name: str
    account_id: str
    list_id: str
    created: datetime
    unconsented: int
    addition: bool | None = None
    everybody: bool = False
    people: list[Person] = field(default_factory=list, repr=False)
    request: AcceptedRequest | None = None
    broken: bool = False

    @property
    def status(self) -> int:
        """Where the job is, in Google's words: a job fails when its list cannot take it; people who were not processed are no failure."""
        if self.request is None:
            return int(JOB_STATUS.PENDING)
        part = self.request.parts[0]
        if part.status == STATUS.PROCESSING:
            return int(JOB_STATUS.RUNNING)
        unprocessed = sum(part.errors.values()) == part.records
        failed = self.broken or (part.status == STATUS.FAILED and not unprocessed)
        return int(JOB_STATUS.FAILED if failed else JOB_STATUS.SUCCESS)


class Jobs:
    """The jobs of one sandbox. `apply_after`: how long a job takes once it is run. `breaking`: so many jobs fail, with half their people applied."""

    def __init__(self, state: GoogleState, version: str, apply_after: timedelta) -> None:
        self.state = state
        self.version = version
        self.apply_after = apply_after
        self.breaking = 0
        self.by_name: dict[str, Job] = {}
        self.adding: set[str] = set()

    def create(self, raw: bytes, token: str, login_id: str | None) -> bytes | Refused:
        """CreateOfflineUserDataJob: everything about account, list and consent is decided here."""
        request = service.CreateOfflineUserDataJobRequest.pb().FromString(raw)
        if not self.state.may_write(token, request.customer_id, login_id):
            return denied()
        wanted = request.job.customer_match_user_list_metadata
        refused = self._account(request.customer_id) or self._list(request.customer_id, wanted.user_list)
        if refused is not None:
            return refused
        if request.job.type_ != OfflineUserDataJobTypeEnum.OfflineUserDataJobType.CUSTOMER_MATCH_USER_LIST:
            return Refused("field_error", "REQUIRED")
        signals = {wanted.consent.ad_user_data, wanted.consent.ad_personalization}
        if _CONSENT.DENIED in signals:
            return Refused(_JOBS, "CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS")
        name = f"customers/{request.customer_id}/offlineUserDataJobs/{len(self.by_name) + 1}"
        if not request.validate_only:
            error = 0 if signals == {_CONSENT.GRANTED} else _NO_CONSENT
            list_id = wanted.user_list.rpartition("/")[2]
            self.by_name[name] = Job(name, request.customer_id, list_id, self.state.clock.now(), error)
        return _encode(service.CreateOfflineUserDataJobResponse.pb()(resource_name="" if request.validate_only else name))

    def _account(self, account_id: str) -> Refused | None:
        account = self.state.accounts[account_id]
        if not account.allowlisted:
            return Refused("not_allowlisted_error", "CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE")
        if not account.terms_accepted:
            return Refused(_JOBS, "CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS")
        if not account.political_declaration:
            return Refused("mutate_error", "EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED")
        return None

    def _list(self, account_id: str, name: str) -> Refused | None:
        parts = _LIST.fullmatch(name)
        remote = None if parts is None or parts[1] != account_id else self.state.lists[account_id].get(parts[2])
        if remote is None:
            return Refused(_JOBS, "INVALID_USER_LIST_ID")
        return None if remote.key_type == _CONTACT else Refused(_JOBS, "INVALID_USER_LIST_TYPE")

    def add(self, raw: bytes, token: str, login_id: str | None) -> bytes | Refused:
        """AddOfflineUserDataJobOperations. With partial failure the good operations are taken and the bad ones told, else all or none are."""
        request = service.AddOfflineUserDataJobOperationsRequest.pb().FromString(raw)
        job = self._job(request.resource_name, token, login_id)
        if isinstance(job, Refused):
            return job
        refused = _shape(job, request.operations)
        if refused is not None:
            return refused
        people, wrong = [], []
        for index, operation in enumerate(request.operations):
            found = _person(operation, job)
            if isinstance(found, str):
                wrong.append((index, _JOBS, found))
            elif found is not None:
                people.append(found)
        if wrong and not request.enable_partial_failure:
            return Refused(_JOBS, wrong[0][2])
        if not request.validate_only:
            kinds = {operation.WhichOneof("operation") for operation in request.operations}
            job.everybody = job.everybody or "remove_all" in kinds
            job.addition = "create" in kinds
            job.people += people
        answer = service.AddOfflineUserDataJobOperationsResponse.pb()()
        if wrong:
            answer.partial_failure_error.CopyFrom(packed(wrong, self.version))
        return _encode(answer)

    def name_in(self, raw: bytes) -> str:
        """The job that an addition names."""
        return str(service.AddOfflineUserDataJobOperationsRequest.pb().FromString(raw).resource_name)

    def run(self, raw: bytes, token: str, login_id: str | None) -> bytes | Refused:
        """RunOfflineUserDataJob: answers at once with an operation that is not done; the job is applied later."""
        request = service.RunOfflineUserDataJobRequest.pb().FromString(raw)
        job = self._job(request.resource_name, token, login_id)
        if isinstance(job, Refused):
            return job
        if not request.validate_only:
            now = self.state.clock.now()
            remote = self.state.lists[job.account_id].get(job.list_id)
            if job.everybody and remote is not None:
                job.people += [Person((member,), 0, ()) for member in remote.members]
            if self.breaking:
                self.breaking -= 1
                job.broken, job.people = True, job.people[: len(job.people) // 2]
            part = Part(job.account_id, job.list_id, job.people)
            job.request = AcceptedRequest(bool(job.addition), False, now, now + self.apply_after, [part])  # noqa: FBT003  the form
            job.people = []
            self.state.accept(job.request)
        return _encode(operations_pb2.Operation(name=job.resource_name.replace("offlineUserDataJobs", "operations")))

    def _job(self, name: str, token: str, login_id: str | None) -> Job | Refused:
        """The job, if it may still be changed."""
        job = self.by_name.get(name)
        account_id = name.split("/")[1] if name.count("/") == 3 else ""
        if not self.state.may_write(token, account_id, login_id):
            return denied()
        if job is None or (job.request is None and self.state.clock.now() - job.created > RUN_WITHIN):
            return Refused("mutate_error", "RESOURCE_NOT_FOUND")
        return Refused(_JOBS, "JOB_ALREADY_STARTED") if job.request is not None else job


def _shape(job: Job, operations: Any) -> Refused | None:
    """What refuses a whole call: sizes, and operations that do not go together."""
    identifiers = sum(
        len(getattr(each, each.WhichOneof("operation") or "create").user_identifiers)
        for each in operations
        if not each.remove_all
    )
    if identifiers > MOST_IN_A_CALL:
        return Refused(_JOBS, "TOO_MANY_USER_IDENTIFIERS")
    if not operations:
        return Refused("request_error", "OPERATION_REQUIRED")
    kinds = [operation.WhichOneof("operation") for operation in operations]
    if "remove_all" in kinds and (kinds[0] != "remove_all" or kinds.count("remove_all") > 1 or job.addition is not None):
        return Refused(_JOBS, "INVALID_OPERATION_ORDER")
    people = set(kinds) - {"remove_all", None} | ({"create" if job.addition else "remove"} if job.addition is not None else set())
    return Refused(_JOBS, "CONFLICTING_OPERATION") if len(people) > 1 else None


def _person(operation: Any, job: Job) -> Person | str | None:
    """The person of an operation, None for one that names nobody in particular, or the reason why it is not taken."""
    kind = operation.WhichOneof("operation")
    if kind == "remove_all":
        return None
    data = operation.create if kind == "create" else operation.remove
    if kind is None or not data.user_identifiers:
        return "MISSING_USER_IDENTIFIER"
    if len(data.user_identifiers) > MOST_IN_AN_OPERATION:
        return "TOO_MANY_USER_IDENTIFIERS"
    values = []
    for identifier in data.user_identifiers:
        if identifier.WhichOneof("identifier") != "hashed_email":
            return "INCOMPATIBLE_USER_IDENTIFIER"
        if _SHA256.fullmatch(identifier.hashed_email) is None:
            return "INVALID_SHA256_FORMAT"
        values.append(bytes.fromhex(identifier.hashed_email))
    return Person(tuple(values), job.unconsented if kind == "create" else 0, ())


def _encode(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded
