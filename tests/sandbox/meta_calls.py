"""Calls to the local Graph server, for its tests: plain HTTP on one connection that is kept open, short forms of Meta's parameters."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlencode

from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ACCOUNT, OTHER = "2220000001", "2220000002"
MISSING = (100, 33)
INVALID = (100, None)


class Told(NamedTuple):
    """One answer."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def codes(self) -> tuple[int, int | None]:
        """Code and subcode of a refusal."""
        assert self.status >= 400, self.body
        error = self.body["error"]
        assert error["fbtrace_id"]
        return error["code"], error.get("error_subcode")


class Graph:
    """A client with a token."""

    def __init__(self, sandbox: MetaSandbox, token: str | None = None, version: str = "v26.0", **query: str) -> None:
        self._connection = HTTPConnection(sandbox.endpoint, timeout=10)
        self._query = {"access_token": sandbox.token if token is None else token, **query}
        self._version = version

    def ask(self, verb: str, path: str, query: dict[str, Any] | None = None, form: dict[str, Any] | None = None) -> Told:
        body = None if form is None else urlencode({name: _text(value) for name, value in form.items()})
        headers = {} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}
        asked = urlencode({**self._query, **{name: _text(value) for name, value in (query or {}).items()}})
        try:
            self._connection.request(verb, f"/{self._version}/{path}?{asked}", body, headers)
            response = self._connection.getresponse()
            raw = response.read()
        except OSError:
            self._connection.close()
            raise
        return Told(response.status, dict(response.getheaders()), _parsed(raw))

    def get(self, path: str, **query: Any) -> Told:
        return self.ask("GET", path, query)

    def post(self, path: str, **form: Any) -> Told:
        return self.ask("POST", path, form=form)

    def delete(self, path: str, **query: Any) -> Told:
        return self.ask("DELETE", path, query)

    def add(self, list_id: str, *names: object, **fields: Any) -> Told:
        return self.post(f"{list_id}/users", **{"payload": payload(*names), **fields})

    def remove(self, list_id: str, *names: object, **fields: Any) -> Told:
        return self.add(list_id, *names, **{"method": "DELETE", **fields})

    def create(self, name: str = "n", **changed: Any) -> Told:
        fields = {"name": name, "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY", "description": "d", **changed}
        kept = {key: value for key, value in fields.items() if value is not None}
        return self.post(f"act_{ACCOUNT}/customaudiences", **kept)

    def made(self, name: str = "n", **changed: Any) -> str:
        return str(self.create(name, **changed).body["id"])

    def close(self) -> None:
        self._connection.close()


def running_meta(**options: Any) -> Iterator[MetaSandbox]:
    accounts = {ACCOUNT: MetaAccount(), OTHER: MetaAccount(tokens=frozenset({"other-token"}))}
    with MetaSandbox(accounts, SandboxClock(START), keep_requests=True, **options) as running:
        yield running


def digest(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def payload(*names: object, **changed: Any) -> dict[str, Any]:
    return {"schema": ["EMAIL"], "is_raw": True, "data": [[digest(name)] for name in names], **changed}


def session(number: int = 1, session_id: Any = 7, *, last: bool = False) -> dict[str, Any]:
    return {"session_id": session_id, "batch_seq": number, "last_batch_flag": last, "estimated_num_total": 3}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw
