"""Plain HTTP/1.1 on this machine for the local Graph server: a request becomes a `Call`, an `Answer` goes out, or the line is cut.

It knows nothing of Meta. Python's own server stays as it is where it refuses a request line of more than 65,536 bytes: an HTML
page with status 414.
"""

import json
import socket
import socketserver
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

LARGEST_BODY: Final = 32 * 1024 * 1024
JSON: Final = "application/json; charset=UTF-8"
HTML: Final = "text/html; charset=utf-8"
FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Call:
    """One request: verb, path, parameters of the URL and of the form, the bearer token, and its bytes as they came."""

    verb: str
    url: str = field(repr=False)
    path: str
    query: dict[str, str] = field(repr=False)
    form: dict[str, str] = field(repr=False)
    bearer: str = field(repr=False)
    line: bytes = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out. Status 0 cuts the connection without a word."""

    status: int
    body: bytes = field(default=b"", repr=False)
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, value: Any, status: int = 200) -> "Answer":
        """A JSON answer."""
        return cls(status, json.dumps(value).encode())


CUT: Final = Answer(0)
Serve = Callable[[Call], Answer]


class LoopbackServer(ThreadingHTTPServer):
    """The listening server. Raises OSError when the port is taken."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, serve: Serve) -> None:
        self.serve = serve
        self._open: set[socket.socket] = set()
        self._guard = Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking for this machine's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and remember it for as long as it is open."""
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut_all(self) -> None:
        """Cut every connection that is open, so that none outlives the server."""
        with self._guard:
            still_open = list(self._open)
        for connection in still_open:
            cut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away; a fault of the sandbox itself goes to stderr as usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: LoopbackServer

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdecimal()):
            self.send_error(411)
            return
        if int(length) > LARGEST_BODY:
            self.send_error(413)
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return
        self._say(self.server.serve(self._call(body)))

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815  the names that the server looks for

    def _call(self, body: bytes) -> Call:
        parts = urlsplit(self.path)
        is_form = self.headers.get("Content-Type", "").partition(";")[0].strip().lower() == FORM
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return Call(
            verb=self.command,
            url=self.path,
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            form=dict(parse_qsl(body.decode("ascii", "replace"), keep_blank_values=True)) if is_form else {},
            bearer=token if scheme == "Bearer" else "",
            line=self.requestline.encode("latin-1"),
            body=body,
        )

    def _say(self, answer: Answer) -> None:
        if answer.status == 0:
            self.close_connection = True
            cut(self.connection)
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the server's
        """Nothing: a line of the log would hold the token."""


def cut(connection: socket.socket) -> None:
    """End a connection in both directions; one that is closed already is no error."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
