"""How a second terminal asks a running Graph sandbox: who is on which list, and move the clock.

JSON under a path of its own on the sandbox's port, with its token. It is no part of Meta's protocol, and works on a sandbox only.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import Any, Final

from nestaudience.errors import NeedsFix, TryAgain
from nestaudience.sandbox.data_manager_control import ListHeld

PREFIX: Final = "/nestaudience-sandbox/"


class MetaSandboxControl:
    """The client.

    `endpoint` and token of a running sandbox. Raises `TryAgain` when it is not there, `NeedsFix` when it refuses.
    """

    def __init__(self, endpoint: str, token: str, *, timeout_seconds: float = 10.0) -> None:
        self._connection = HTTPConnection(endpoint, timeout=timeout_seconds)
        self._token = token

    def lists(self) -> list[ListHeld]:
        """Every list of every account."""
        return [ListHeld(**item) for item in self._call("Lists", {})]

    def members(self, account_id: str, list_id: str) -> frozenset[str]:
        """Who is on a list now, as lower-case hex."""
        return frozenset(self._call("Members", {"account_id": account_id, "list_id": list_id}))

    def advance(self, by: timedelta) -> datetime:
        """Move the sandbox's clock; its new time."""
        return datetime.fromisoformat(self._call("Advance", {"seconds": by.total_seconds()})["now"])

    def calls(self) -> tuple[int, int]:
        """How many reads and how many writes arrived."""
        told = self._call("Calls", {})
        return told["reads"], told["writes"]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> "MetaSandboxControl":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

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
        if status:
            raise NeedsFix(
                "sandbox_refused", "sandbox.control", "use the token that the sandbox printed, and ask something it knows"
            )
        raise TryAgain("sandbox_unavailable", "sandbox.control", "start the sandbox, and name the endpoint that it printed")
