"""How this program reaches the Google Ads API: its settings, and the SDK's service clients on channels of our own.

The SDK's `GoogleAdsClient` is not used: it refreshes credentials while it reads its configuration, knows one manager account for all calls, and
puts an interceptor into each channel that writes a failed request, with everybody in it, to its log. Its service clients are the same without it.
It sends nothing.
"""

from dataclasses import dataclass
from typing import Any, Final

from nestaudience.destinations.google_ads_errors import remedy_of
from nestaudience.destinations.google_ads_versions import NEWEST as NEWEST
from nestaudience.destinations.google_ads_versions import VERSIONS as VERSIONS
from nestaudience.destinations.google_ads_versions import Version
from nestaudience.destinations.google_connection import (
    ApplicationDefault,
    SandboxEndpoint,
    SandboxToken,
    ServiceAccountFile,
    load_credentials,
    loopback_channel,
)

SCOPE: Final = "https://www.googleapis.com/auth/adwords"
"""https://developers.google.com/google-ads/api/docs/oauth/internals (read 2026-11)."""
HOST: Final = "googleads.googleapis.com"
"""Named so that no variable of the environment can choose another."""


@dataclass(frozen=True, slots=True)
class GoogleAdsSettings:
    """Everything that the destination is told, decided beforehand.

    `terms_accepted`: the configuration records that the terms were accepted in the ad accounts. `timeout_seconds` holds for each call.
    `job_seconds`: a job whose operations are not all added so long after its first call is not run. `read_waits`: seconds before each repetition of
    a read that found Google down; writes are never repeated.
    """

    credentials: ServiceAccountFile | ApplicationDefault | SandboxToken
    terms_accepted: bool
    endpoint: SandboxEndpoint | None = None
    api_version: str = NEWEST
    timeout_seconds: float = 60.0
    job_seconds: float = 60.0
    read_waits: tuple[float, ...] = (1.0, 2.0, 4.0)

    def __post_init__(self) -> None:
        if (self.endpoint is None) == isinstance(self.credentials, SandboxToken):
            raise ValueError("a sandbox token goes with an endpoint on this machine, and with nothing else")
        if not 0 < self.timeout_seconds <= 600 or self.job_seconds <= 0 or any(wait < 0 for wait in self.read_waits):
            raise ValueError("a timeout is above 0 and at most 600 seconds, and no wait is negative")


@dataclass(frozen=True, slots=True)
class Clients:
    """The three services of the SDK that this destination uses."""

    jobs: Any
    lists: Any
    search: Any


def connect(settings: GoogleAdsSettings, version: Version) -> Clients:
    """The SDK's clients for these settings. Nothing is sent yet. Raises `NeedsFix` for credentials that cannot be loaded."""
    credentials: Any = None
    if settings.endpoint is None:
        credentials = load_credentials(settings.credentials, SCOPE)
        if credentials is None:
            raise remedy_of("credentials_unusable").raised("credentials_unusable", "google_ads.credentials")
    return Clients(
        *(_client(kind, settings, credentials) for kind in (version.jobs_client, version.lists_client, version.search_client))
    )


def _client(kind: Any, settings: GoogleAdsSettings, credentials: Any) -> Any:
    transport = kind.get_transport_class("grpc")
    if settings.endpoint is not None and isinstance(settings.credentials, SandboxToken):
        channel = loopback_channel(settings.endpoint, settings.credentials)
    else:
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        channel = transport.create_channel(host=HOST, credentials=credentials, scopes=[SCOPE], options=options)
    return kind(transport=transport(channel=channel, host=HOST))
