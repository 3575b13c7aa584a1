"""What the Meta destination is told, checked when it is built: token, terms, version, an endpoint on this machine, and patience.

It reads no file and no environment, imports no SDK, and sends nothing.
"""

import re
from dataclasses import dataclass, field
from typing import Final

LARGEST_PAGE: Final = 100

_SECRET: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_VERSION: Final = re.compile(r"v[0-9]{1,3}\.[0-9]")
_ENDPOINT: Final = re.compile(r"http://(?:localhost|127\.0\.0\.1|\[::1\]):[0-9]{1,5}")


def fault_of(access_token: str, app_secret: str | None, endpoint: str | None) -> str | None:
    """Which of a configuration's words cannot be used, if one cannot: `credentials`, `app_secret` or `endpoint` (`HOST:PORT`)."""
    if _SECRET.fullmatch(access_token) is None:
        return "credentials"
    if app_secret is not None and _SECRET.fullmatch(app_secret) is None:
        return "app_secret"
    return None if endpoint is None or _ENDPOINT.fullmatch(f"http://{endpoint}") else "endpoint"


@dataclass(frozen=True, slots=True)
class MetaSettings:
    """Everything that the destination is told, decided beforehand.

    `access_token` of a system user. `terms_accepted`: the configuration records that the Custom Audience terms were accepted.
    `app_secret`: with it each call carries a proof that the token is used by its own app. `api_version` None: the one that the SDK
    was made for. `endpoint`: a server on this machine that stands in for Meta, as `http://127.0.0.1:PORT`. `timeout_seconds` holds
    for connecting and for each wait for bytes. `read_waits`: seconds before each repetition of a read that found Meta down; writes
    are never repeated. `page_size` of the list call: larger pages can be refused
    (https://developers.facebook.com/documentation/ads-commerce/marketing-api/audiences/guides/custom-audiences, read 2026-11).
    """

    access_token: str = field(repr=False)
    terms_accepted: bool
    app_secret: str | None = field(default=None, repr=False)
    api_version: str | None = None
    endpoint: str | None = None
    timeout_seconds: float = 60.0
    read_waits: tuple[float, ...] = (1.0, 2.0, 4.0)
    page_size: int = 20

    def __post_init__(self) -> None:
        for secret in (self.access_token, self.app_secret):
            if secret is not None and _SECRET.fullmatch(secret) is None:
                raise ValueError("a token and an app secret are printable characters without spaces")
        if self.api_version is not None and _VERSION.fullmatch(self.api_version) is None:
            raise ValueError("a version of the API is written like v26.0")
        if self.endpoint is not None and _ENDPOINT.fullmatch(self.endpoint) is None:
            raise ValueError("an endpoint other than Meta's own must be on this machine, as http://127.0.0.1:PORT")
        if not 0 < self.timeout_seconds <= 600 or any(wait < 0 for wait in self.read_waits):
            raise ValueError("a timeout is above 0 and at most 600 seconds, and no wait is negative")
        if not 1 <= self.page_size <= LARGEST_PAGE:
            raise ValueError("a page has 1 to 100 lists")
