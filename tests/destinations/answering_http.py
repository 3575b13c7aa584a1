"""An HTTP server on loopback that answers every Graph call as a test decides. It knows no rules: that is the sandbox's part."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from typing import Any

from nestaudience.destinations.meta import Meta
from nestaudience.destinations.meta_settings import MetaSettings

TOKEN = "very-secret-token"
APP_SECRET = "very-secret-app"


@dataclass(frozen=True)
class Call:
    """One request as it arrived."""

    method: str
    url: str
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Reply:
    """What to answer; `cut` closes the connection after that many bytes of the body, without telling."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    cut: int | None = None


def told(document: Any, status: int = 200, **headers: str) -> Reply:
    """A JSON answer; names of headers with `_` for `-`."""
    names = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Reply(status, json.dumps(document).encode(), names)


def refusal(code: Any, subcode: Any = None, status: int = 400, prose: str = "", **more: Any) -> Reply:
    """An error object in Meta's form."""
    error = {"message": prose, "type": "OAuthException", "code": code, "error_user_msg": prose, "fbtrace_id": "A", **more}
    return told({"error": error if subcode is None else {**error, "error_subcode": subcode}}, status)


class AnsweringHttp:
    """`answer` is called for each call; `calls` are what arrived, in order."""

    def __init__(self) -> None:
        self.answer: Callable[[Call], Reply] = lambda call: Reply()
        self.calls: list[Call] = []
        self.port = 0

    def always(self, reply: Reply) -> None:
        """Answer everything in one way, and forget what arrived."""
        self.calls.clear()
        self.answer = lambda call: reply


@contextmanager
def listening() -> Iterator[AnsweringHttp]:
    """A server that runs."""
    server = AnsweringHttp()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            call = Call(self.command, self.path, body)
            server.calls.append(call)
            reply = server.answer(call)
            self.send_response(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: reply.cut])
            self.wfile.flush()
            self.close_connection = reply.cut is not None

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815  the names that http.server looks for

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.port = http.server_port
    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@contextmanager
def answering(**changed: Any) -> Iterator[tuple[AnsweringHttp, Meta]]:
    """A server, and the destination that talks to it."""
    with listening() as server:
        fields = {"access_token": TOKEN, "terms_accepted": True, "app_secret": APP_SECRET, "timeout_seconds": 5.0, **changed}
        settings = MetaSettings(endpoint=f"http://127.0.0.1:{server.port}", **fields)
        days = count(0.0, 86_400.0)  # a day passes between any two calls: what was said of a limit is over by then
        destination = Meta(settings, sleep=lambda _: None, clock=lambda: next(days))
        try:
            yield server, destination
        finally:
            destination.close()
