"""How this program reaches Google: credentials, an optional endpoint on this machine, the SDK's clients, and their silence.

It reads a key file, or the application default credentials, and opens channels. It reads no environment variable of its own and
sends nothing.
"""

import hashlib
import ipaddress
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import google.auth
import grpc
from google.ads import datamanager_v1 as dm
from google.api_core.client_options import ClientOptions
from google.auth.exceptions import GoogleAuthError
from google.oauth2 import service_account

from nestaudience.destinations.google_errors import WORTH_REPEATING, Trouble, remedy_of

T = TypeVar("T")

SCOPE: Final = "https://www.googleapis.com/auth/datamanager"
"""https://developers.google.com/data-manager/api/devguides/quickstart/set-up-access (read 2026-11)."""
FIRST_STATUS: Final = 1800.0
"""Seconds until Google can tell the result of a request; after that once a run, so at most hourly:
https://developers.google.com/data-manager/api/devguides/diagnostics (read 2026-11)."""


@dataclass(frozen=True, slots=True)
class ServiceAccountFile:
    """Credentials in a service account's key file (JSON)."""

    path: Path


@dataclass(frozen=True, slots=True)
class ApplicationDefault:
    """The credentials that the machine offers: workload identity, impersonation, or a login of gcloud."""


@dataclass(frozen=True, slots=True)
class SandboxToken:
    """The sandbox's bearer token."""

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.token:
            raise ValueError("a sandbox token is not empty")


@dataclass(frozen=True, slots=True)
class SandboxEndpoint:
    """A server on this machine that stands in for Google: `localhost:PORT` or a loopback address, and its CA (PEM)."""

    target: str
    ca_pem: bytes = field(repr=False)

    def __post_init__(self) -> None:
        host, _, port = self.target.rpartition(":")
        if not port.isdecimal() or not _is_loopback(host.strip("[]")):
            raise ValueError("an endpoint other than Google's own must be on this machine, as host:port")
        if not self.ca_pem:
            raise ValueError("an endpoint needs the certificate of its CA")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class GoogleDataManagerSettings:
    """Everything that the destination is told, decided beforehand.

    `terms_accepted`: the configuration records that the Customer Match terms were accepted in the ad accounts. `timeout_seconds`
    holds for each call. `read_waits`: seconds before each repetition of a read that found Google down; writes are never repeated.
    `page_size` of the list call, at most 1 000. `status_after`: seconds from a request until its result is asked for the first time.
    """

    credentials: ServiceAccountFile | ApplicationDefault | SandboxToken
    terms_accepted: bool
    endpoint: SandboxEndpoint | None = None
    timeout_seconds: float = 60.0
    read_waits: tuple[float, ...] = (1.0, 2.0, 4.0)
    page_size: int = 1000
    status_after: float = 0.0

    def __post_init__(self) -> None:
        if (self.endpoint is None) == isinstance(self.credentials, SandboxToken):
            raise ValueError("a sandbox token goes with an endpoint on this machine, and with nothing else")
        if not 0 < self.timeout_seconds <= 600 or any(wait < 0 for wait in (*self.read_waits, self.status_after)):
            raise ValueError("a timeout is above 0 and at most 600 seconds, and no wait is negative")
        if not 1 <= self.page_size <= 1000:
            raise ValueError("a page has 1 to 1 000 lists")


@dataclass(frozen=True, slots=True)
class Clients:
    """The two services of the SDK that this destination uses, and a key of the Cloud project whose quota they spend."""

    ingestion: dm.IngestionServiceClient
    lists: dm.UserListServiceClient
    project: str = ""

    def close(self) -> None:
        """Close their channels."""
        self.ingestion.transport.close()  # type: ignore[no-untyped-call]  # the SDK says no types here
        self.lists.transport.close()  # type: ignore[no-untyped-call]  # the SDK says no types here


def connect(settings: GoogleDataManagerSettings) -> Clients:
    """The SDK's clients for these settings. Nothing is sent yet. Raises `NeedsFix` for credentials that cannot be loaded."""
    if settings.endpoint is not None and isinstance(settings.credentials, SandboxToken):
        return Clients(
            dm.IngestionServiceClient(
                transport=dm.IngestionServiceClient.get_transport_class("grpc")(
                    channel=loopback_channel(settings.endpoint, settings.credentials)
                )
            ),
            dm.UserListServiceClient(
                transport=dm.UserListServiceClient.get_transport_class("grpc")(
                    channel=loopback_channel(settings.endpoint, settings.credentials)
                )
            ),
            "sandbox " + hashlib.sha256(settings.endpoint.ca_pem).hexdigest()[:16],
        )
    credentials = load_credentials(settings.credentials, SCOPE)
    if credentials is None:
        raise remedy_of("credentials_unusable").raised("credentials_unusable", "google_data_manager.credentials")
    # The endpoint is named so that no variable of the environment can choose another.
    options = ClientOptions(api_endpoint=dm.IngestionServiceClient.DEFAULT_ENDPOINT, universe_domain="googleapis.com")
    return Clients(
        dm.IngestionServiceClient(credentials=credentials, client_options=options),
        dm.UserListServiceClient(credentials=credentials, client_options=options),
        _project_of(credentials),
    )


def _project_of(credentials: Any) -> str:
    """The project that pays for the calls: the one named for the quota, else the credentials' own; one for all that name none."""
    return str(getattr(credentials, "quota_project_id", None) or getattr(credentials, "project_id", None) or "")


def load_credentials(source: ServiceAccountFile | ApplicationDefault | SandboxToken, scope: str) -> Any:
    """Credentials of the SDK's kind for one API, or None when they cannot be had."""
    try:
        if isinstance(source, ServiceAccountFile):
            return service_account.Credentials.from_service_account_file(str(source.path), scopes=[scope])  # type: ignore[no-untyped-call]
        return google.auth.default(scopes=[scope])[0]
    except (OSError, ValueError, GoogleAuthError):
        return None


def loopback_channel(endpoint: SandboxEndpoint, credentials: SandboxToken) -> grpc.Channel:
    """A TLS channel that trusts one CA only and carries the token; message sizes as the SDK sets them, and no proxy."""
    secure = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(root_certificates=endpoint.ca_pem), grpc.access_token_call_credentials(credentials.token)
    )
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
    return grpc.secure_channel(endpoint.target, secure, options=options)


def repeated(ask: Callable[[], T | Trouble], waits: Iterable[float], sleep: Callable[[float], None]) -> T | Trouble:
    """A read, asked again after each of these waits (seconds) while Google is down."""
    answer = ask()
    for wait in waits:
        if not isinstance(answer, Trouble) or answer.status not in WORTH_REPEATING:
            break
        sleep(wait)
        answer = ask()
    return answer


_LOUD: Final = ("google.ads.datamanager_v1", "google.ads.googleads", "google.api_core", "google.auth", "grpc")


def silence() -> None:
    """Switch off every logger of the SDK and below: at DEBUG they print whole requests, and on a failure what the server said.

    Called before each call, because a program that configures its logging later switches all loggers on again.
    """
    for logger in _loud_loggers():
        logger.disabled = True


def _loud_loggers() -> Iterator[logging.Logger]:
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.startswith(_LOUD):
            yield logger
