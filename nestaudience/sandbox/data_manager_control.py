"""How a second terminal asks a running Data Manager sandbox: who is on which list, and move the clock.

JSON over the sandbox's own gRPC port, with its token. It is no part of Google's protocol, and works on a sandbox only.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Protocol, Self

import grpc

from nestaudience.errors import NeedsFix, NestAudienceError, TryAgain
from nestaudience.sandbox.clock import SandboxClock

CONTROL: Final = ("Lists", "Members", "Advance", "Calls")


@dataclass(frozen=True, slots=True)
class ListHeld:
    """One list of the sandbox and how many are on it now."""

    account_id: str
    list_id: str
    name: str
    code: str
    open: bool
    members: int


class Remote(Protocol):
    """What is told of a list, whichever platform's it is."""

    list_id: str
    display_name: str

    @property
    def integration_code(self) -> str:
        """The code by which a client finds its list again."""

    @property
    def open(self) -> bool:
        """True while people can be added."""


class Controlled(Protocol):
    """A sandbox that a second terminal can ask."""

    clock: SandboxClock

    @property
    def accounts(self) -> Mapping[str, object]:
        """The ad accounts by id."""

    @property
    def reads(self) -> int:
        """How many calls arrived that only ask."""

    @property
    def writes(self) -> int:
        """How many calls arrived that would change something."""

    def lists(self, account_id: str) -> Sequence[Remote]:
        """The lists of an account."""

    def members(self, account_id: str, list_id: str) -> frozenset[str]:
        """Who is on a list now."""

    def advance(self, by: timedelta) -> None:
        """Move the clock."""


def answer_control(sandbox: Controlled, name: str, raw: bytes) -> bytes | None:
    """The answer to one question as JSON, or None for a question that makes no sense."""
    try:
        asked = json.loads(raw or b"{}")
    except ValueError:
        return None
    if not isinstance(asked, dict):
        return None
    answer = _answer(sandbox, name, asked)
    return None if answer is None else json.dumps(answer).encode()


def _answer(sandbox: Controlled, name: str, asked: dict[str, Any]) -> Any:
    if name == "Lists":
        return [
            {
                "account_id": account_id,
                "list_id": held.list_id,
                "name": held.display_name,
                "code": held.integration_code,
                "open": held.open,
                "members": len(sandbox.members(account_id, held.list_id)),
            }
            for account_id in sorted(sandbox.accounts)
            for held in sandbox.lists(account_id)
        ]
    if name == "Members":
        return sorted(sandbox.members(str(asked.get("account_id", "")), str(asked.get("list_id", ""))))
    if name == "Calls":
        return {"reads": sandbox.reads, "writes": sandbox.writes}
    seconds = asked.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 3650 * 86_400:
        return None
    sandbox.advance(timedelta(seconds=seconds))
    return {"now": sandbox.clock.now().isoformat()}


class SandboxQuestions(ABC):
    """What can be asked of any running sandbox, whatever carries the question. A context manager that closes its connection."""

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

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @abstractmethod
    def _call(self, name: str, asked: Mapping[str, Any]) -> Any:
        """The answer to one question. Raises `TryAgain` when the sandbox is not there, `NeedsFix` when it refuses."""


def refused_or_silent(*, refused: bool) -> NestAudienceError:
    """The error of a question without an answer."""
    if refused:
        return NeedsFix(
            "sandbox_refused", "sandbox.control", "use the token that the sandbox printed, and ask something it knows"
        )
    return TryAgain("sandbox_unavailable", "sandbox.control", "start the sandbox, and name the endpoint that it printed")


class SandboxControl(SandboxQuestions):
    """The client.

    `endpoint`, CA and token of a running sandbox. Raises `TryAgain` when it is not there, `NeedsFix` when it refuses.
    """

    def __init__(self, endpoint: str, ca_pem: bytes, token: str, *, timeout_seconds: float = 10.0) -> None:
        secure = grpc.composite_channel_credentials(
            grpc.ssl_channel_credentials(root_certificates=ca_pem), grpc.access_token_call_credentials(token)
        )
        options = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.secure_channel(endpoint, secure, options=options)
        self._timeout = timeout_seconds

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _call(self, name: str, asked: Mapping[str, Any]) -> Any:
        call = self._channel.unary_unary(
            f"/nestaudience.sandbox.Control/{name}", request_serializer=None, response_deserializer=None
        )
        try:
            return json.loads(call(json.dumps(asked).encode(), timeout=self._timeout))
        except grpc.RpcError as error:
            refused = error.code() in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT}
        raise refused_or_silent(refused=refused)
