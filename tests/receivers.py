"""Real receivers on this machine, for tests of telling: an HTTP server and a mail server that keep what they get and fail as they are told.

with HttpReceiver() as receiver:
    receiver.answers = [500]           # the next answers; 200 afterwards
    receiver.url                       # its path is the secret
    receiver.posted, receiver.asked    # bodies of POSTs, paths of GETs
with MailReceiver(password="...") as receiver:
    receiver.mails                     # (sender, recipients, text)
"""

import json
import socket
import ssl
import time
from collections.abc import Callable
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from nestaudience.sandbox.certificates import make_loopback_certificates

SECRET = "T0pSecretPath-7f3a9c"
PASSWORD = "pw-9f-Zweihander"
SENDER, RECIPIENTS = "robot@nestit.example", ("ops1@nestit.example", "ops2@nestit.example")


class HttpReceiver:
    """Listens on 127.0.0.1. `answers`: statuses for the next requests, or `hang` and `drop`; a redirection names `elsewhere`."""

    def __init__(self) -> None:
        self.answers: list[int | str] = []
        self.elsewhere = ""
        self.posted: list[dict[str, Any]] = []
        self.asked: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.answer(lambda: receiver.posted.append(json.loads(body)))

            def do_GET(self) -> None:
                self.answer(lambda: receiver.asked.append(self.path))

            def answer(self, take: Callable[[], None]) -> None:
                status = receiver.answers.pop(0) if receiver.answers else 200
                if status == "hang":
                    time.sleep(2)
                if isinstance(status, str):
                    self.close_connection = True
                    return
                if 200 <= status < 300:
                    take()
                self.send_response(status)
                if receiver.elsewhere:
                    self.send_header("Location", receiver.elsewhere)
                words = f"the server's own words about {self.path}".encode()
                self.send_header("Content-Length", str(len(words)))
                self.end_headers()
                self.wfile.write(words)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/hook/{SECRET}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> "HttpReceiver":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class MailReceiver:
    """A mail server on 127.0.0.1. `refuse`: address -> reply to RCPT; `reply`: to DATA. `tls`: `starttls`, `tls` or `none`."""

    def __init__(self, *, tls: str = "starttls", password: str | None = PASSWORD) -> None:
        self.mails: list[tuple[str, tuple[str, ...], str]] = []
        self.subjects: list[str] = []
        self.refuse: dict[str, str] = {}
        self.reply = "250 taken"
        self.logins: list[bool] = []
        made = make_loopback_certificates()
        self.ca_pem = made.ca_pem
        self._certificates = made
        self._password = password
        self._tls = tls
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._controller: Controller | None = None

    def start(self, folder: Path) -> "MailReceiver":
        """Listen. The folder takes the server's certificate for a moment."""
        files = folder / "server.pem", folder / "server.key"
        files[0].write_bytes(self._certificates.server_pem)
        files[1].write_bytes(self._certificates.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        for file in files:
            file.unlink()
        options: dict[str, Any] = {}
        if self._password is not None:
            options = {"authenticator": self._check, "auth_required": True, "auth_require_tls": self._tls == "starttls"}
        if self._tls == "starttls":
            options |= {"tls_context": context, "require_starttls": True}
        ssl_context = context if self._tls == "tls" else None
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, ssl_context=ssl_context, **options)
        self._controller.start()
        return self

    def stop(self) -> None:
        """Stop listening; `start` begins again on the same port."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def __enter__(self) -> "MailReceiver":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _check(self, _server: object, _session: object, _envelope: object, _mechanism: str, data: object) -> AuthResult:
        assert isinstance(data, LoginPassword)
        right = data.password.decode() == self._password
        self.logins.append(right)
        return AuthResult(success=right, handled=False)

    async def handle_RCPT(self, _server: object, _session: object, envelope: Any, address: str, _options: object) -> str:  # noqa: N802
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802
        if self.reply.startswith("2"):
            mail = message_from_bytes(envelope.content, policy=policy.default)
            body = mail.get_body()
            assert body is not None
            self.mails.append((envelope.mail_from, tuple(envelope.rcpt_tos), body.get_content()))
            self.subjects.append(mail["Subject"])
        return self.reply


def refused_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
