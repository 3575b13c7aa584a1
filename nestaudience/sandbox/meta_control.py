"""How a second terminal asks a running Graph sandbox: who is on which list, and move the clock.

JSON under a path of its own on the sandbox's port, with its token. It is no part of Meta's protocol, and works on a sandbox only.
"""

import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

from nestaudience.sandbox.data_manager_control import SandboxQuestions, refused_or_silent

PREFIX: Final = "/nestaudience-sandbox/"


class MetaSandboxControl(SandboxQuestions):
    """The client.

    `endpoint` and token of a running sandbox. Raises `TryAgain` when it is not there, `NeedsFix` when it refuses.
    """

    def __init__(self, endpoint: str, token: str, *, timeout_seconds: float = 10.0) -> None:
        self._connection = HTTPConnection(endpoint, timeout=timeout_seconds)
        self._token = token

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _call(self, name: str, asked: Mapping[str, Any]) -> Any:
        status, answer = 0, b""
        try:
            headers = {"Authorization": f"Bearer {self._token}"}
            self._connection.request("POST", PREFIX + name, json.dumps(asked).encode(), headers)
            response = self._connection.getresponse()
            status, answer = response.status, response.read()
        except (OSError, HTTPException):
            self._connection.close()
        if status == 200:
            return json.loads(answer)
        raise refused_or_silent(refused=status > 0)
