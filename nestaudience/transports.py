"""From a destination's table and its secrets to an opened destination, one function for each platform.

Secrets are read here, by name, and handed on; they are in no error and no log. It sends nothing.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nestaudience.config.schema import DestinationTable
from nestaudience.destinations import destination_class
from nestaudience.destinations.port import Destination
from nestaudience.errors import MustStop, NeedsFix
from nestaudience.vocabulary import Environment

if TYPE_CHECKING:  # an SDK is imported when its destination is opened
    from nestaudience.destinations import google_connection as google


def secret(name: str, base: Path) -> str:
    """The secret of this name (`env:NAME` or `file:PATH`). Raises `NeedsFix`: `secret_missing`; the message has the name, not the secret."""
    kind, _, place = name.partition(":")
    value: str | None = None
    if kind == "env":
        value = os.environ.get(place)
    else:
        try:
            value = (base / place).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            value = None
    if not value:
        raise NeedsFix("secret_missing", name, "set it, or correct its name in the configuration")
    return value


def open_destination(table: DestinationTable, environment: Environment, base: Path) -> Destination:
    """One destination with its credentials; paths are relative to `base`. An endpoint of our own is for the sandbox only, whatever the file says.

    Raises `NeedsFix`: `destination_unknown`, `secret_missing`, `secret_unusable`, `sandbox_endpoint`, and what the destination raises; `MustStop`:
    `endpoint_override`.
    """
    if environment is not Environment.SANDBOX and table.endpoint is not None:
        raise MustStop("endpoint_override", table.name, "an endpoint may be overridden in the sandbox only; take it out")
    opening = _OPENING.get(table.name)
    if opening is None:
        raise NeedsFix("destination_unknown", table.name, f"name one of: {', '.join(sorted(_OPENING))}")
    return opening(table, environment, base)


def _google(table: DestinationTable, environment: Environment, base: Path) -> Destination:
    from nestaudience.destinations.google_connection import FIRST_STATUS, GoogleDataManagerSettings

    credentials, endpoint = _google_way(table, environment, base)
    after = FIRST_STATUS if endpoint is None else 0.0  # the stand-in's own clock says when it is done
    seconds = table.timeout_seconds
    settings = GoogleDataManagerSettings(credentials, _terms(table), endpoint, timeout_seconds=seconds, status_after=after)
    opened: Destination = destination_class(table.name)(settings)
    return opened


def _google_ads(table: DestinationTable, environment: Environment, base: Path) -> Destination:
    from nestaudience.destinations.google_ads_connection import NEWEST, VERSIONS, GoogleAdsSettings

    version = table.api_version or NEWEST
    if version not in VERSIONS:
        raise NeedsFix("api_version", f"{table.name}.api_version", f"the installed library speaks {', '.join(VERSIONS)}")
    credentials, endpoint = _google_way(table, environment, base)
    settings = GoogleAdsSettings(credentials, _terms(table), endpoint, version, timeout_seconds=table.timeout_seconds)
    opened: Destination = destination_class(table.name)(settings)
    return opened


def _terms(table: DestinationTable) -> bool:
    return table.terms_accepted_by is not None and table.terms_accepted_on is not None


def _google_way(
    table: DestinationTable, environment: Environment, base: Path
) -> tuple["google.ServiceAccountFile | google.ApplicationDefault | google.SandboxToken", "google.SandboxEndpoint | None"]:
    """The credentials, and the endpoint in the sandbox."""
    from nestaudience.destinations import google_connection as google

    if environment is Environment.SANDBOX:
        if table.endpoint is None or table.certificate is None or table.credentials is None:
            raise NeedsFix("sandbox_endpoint", table.name, "name endpoint, certificate and credentials of the sandbox")
        certificate = secret(f"file:{table.certificate}", base).encode()
        try:
            endpoint = google.SandboxEndpoint(table.endpoint, certificate)
        except ValueError:
            endpoint = None
        if endpoint is None:
            raise NeedsFix("sandbox_endpoint", table.name, "the sandbox is on this machine: name it as localhost:PORT")
        return google.SandboxToken(secret(table.credentials, base)), endpoint
    if table.credentials is None:
        return google.ApplicationDefault(), None
    kind, _, place = table.credentials.partition(":")
    path = secret(table.credentials, base) if kind == "env" else place
    return google.ServiceAccountFile(base / path), None


def _meta(table: DestinationTable, environment: Environment, base: Path) -> Destination:
    from nestaudience.destinations import meta_settings as meta

    if table.credentials is None:
        raise NeedsFix("secret_missing", f"{table.name}.credentials", "name the access token of the system user")
    if environment is Environment.SANDBOX and table.endpoint is None:
        raise NeedsFix("sandbox_endpoint", table.name, "name endpoint and credentials of the sandbox")
    token = secret(table.credentials, base)
    app_secret = None if table.app_secret is None else secret(table.app_secret, base)
    fault = meta.fault_of(token, app_secret, table.endpoint)
    if fault == "endpoint":
        raise NeedsFix("sandbox_endpoint", table.name, "the sandbox is on this machine: name it as 127.0.0.1:PORT")
    if fault is not None:
        raise NeedsFix("secret_unusable", f"{table.name}.{fault}", "a secret of Meta is printable characters without spaces")
    settings = meta.MetaSettings(
        token,
        terms_accepted=_terms(table),
        app_secret=app_secret,
        api_version=table.api_version,
        endpoint=None if table.endpoint is None else f"http://{table.endpoint}",
        timeout_seconds=table.timeout_seconds,
    )
    opened: Destination = destination_class(table.name)(settings)
    return opened


_OPENING: Final[dict[str, Callable[[DestinationTable, Environment, Path], Destination]]] = {
    "google_ads": _google_ads,
    "google_data_manager": _google,
    "meta": _meta,
}
"""Name in the configuration -> the function that opens it."""
