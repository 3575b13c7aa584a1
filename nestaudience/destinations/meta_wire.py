"""The SDK of Meta at its lowest level, and the last step before the network: one body, sent once, and what came back as it came.

The SDK builds URLs, the token's proof and the form; what it makes of answers is not believed, because it takes error pages for success and hides
errors behind its own. This is the only file that names the SDK and its HTTP library, whose exceptions and logs hold tokens and people: none leaves
it. It knows no list, decides nothing and repeats nothing.
"""

import http.client
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import requests
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession
from requests.adapters import HTTPAdapter

from nestaudience.destinations.meta_errors import Answer, Trouble
from nestaudience.destinations.meta_settings import MetaSettings

_SECRETS_IN_URL: Final = frozenset({"access_token", "appsecret_proof"})
_LOUD: Final = ("charset_normalizer", "chardet", "curlify", "facebook_business", "requests", "urllib3")


class Wire(HTTPAdapter):
    """The last step before the network. It lets out only the body that was prepared, once, and keeps what came back as it came.

    Nothing but the token and its proof may be in the URL of a request that is more than a question.
    """

    def __init__(self) -> None:
        super().__init__()
        self.expect(b"")

    def expect(self, body: bytes) -> None:
        """Wait for one request with exactly this body."""
        self._expected = body
        self._left = self.changed = False
        self._answer: Answer | None = None

    def take(self) -> Answer | None:
        """The answer, if one came. It and the body are kept here no longer: both may hold digests."""
        answer = self._answer
        self._expected, self._answer = b"", None
        return answer

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send it; raises ValueError, with nothing sent, for a second request and for one that is not the prepared one."""
        if self._left:
            raise ValueError("a request that was sent already")
        body = request.body or b""
        named = {name for name, _ in parse_qsl(urlsplit(request.url or "").query)}
        in_url = named - _SECRETS_IN_URL if self._expected or request.method != "GET" else set()
        if (body.encode() if isinstance(body, str) else body) != self._expected or in_url:
            self.changed = True
            raise ValueError("a request that is not the prepared one")
        self._left = True
        response = super().send(request, *args, **options)
        headers = {name.lower(): value for name, value in response.headers.items()}
        self._answer = Answer(response.status_code, headers, response.content)
        return response


@dataclass(frozen=True, slots=True)
class Connection:
    """The SDK's client, and the wire below it."""

    api: Any = field(repr=False)
    session: requests.Session = field(repr=False)
    wire: Wire = field(repr=False)

    def call(self, method: str, path: tuple[str, ...], fields: Mapping[str, str], body: bytes) -> Answer | Trouble:
        """One call, once: the answer, or the trouble of a call that brought none. No exception leaves: its text may hold a token, or a request."""
        self.wire.expect(body)
        failure = "unreadable"
        try:
            self.api.call(method, path, params=dict(fields))
        except Exception as error:  # noqa: BLE001  whatever an SDK raises after the first byte, the effect is open
            failure = _kind_of(error)
        answer = self.wire.take()
        if self.wire.changed:
            return Trouble("not_as_prepared", without_effect=True)
        return Trouble(failure, without_effect=False) if answer is None else answer


def connect(settings: MetaSettings) -> Connection:
    """The SDK's objects for these settings. Nothing is sent yet.

    `FacebookAdsApi.init` is not used: it makes the client the whole process's and reports crashes to Meta. No proxy, netrc or CA of
    the environment is heeded, and no redirection is followed: it would send a body and a token a second time.
    """
    sdk = FacebookSession(app_secret=settings.app_secret, access_token=settings.access_token, timeout=settings.timeout_seconds)
    if settings.endpoint is not None:
        sdk.GRAPH = settings.endpoint
    session: requests.Session = sdk.requests
    session.trust_env = False
    session.max_redirects = 0
    wire = Wire()
    session.mount("https://", wire)
    session.mount("http://", wire)
    return Connection(FacebookAdsApi(sdk, api_version=settings.api_version), session, wire)


def _kind_of(error: Exception) -> str:
    """Our code for a call that brought no answer."""
    if isinstance(error, requests.Timeout):
        return "deadline_exceeded"
    return "unavailable" if isinstance(error, requests.ConnectionError) else "unreadable"


def silence() -> None:
    """Switch off every logger of the SDK and below: at DEBUG they print the URL of each call, which holds the token. Python's own HTTP client
    prints whole requests to standard output when its debugging is on.

    Called before each call, because a program that configures its logging later switches all loggers on again.
    """
    http.client.HTTPConnection.debuglevel = 0
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.startswith(_LOUD):
            logger.disabled = True
