"""Telling people, and the heartbeat: one POST, one mail or one GET, outbound only, each with a time limit and without a second try.

It decides nothing about alerts. URLs and passwords are secrets: they are in no error, no log and no representation. What a server says is not
read beyond its status. A redirection is not followed: it could lead anywhere.
"""

import ipaddress
import logging
import smtplib
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import httpx

from nestaudience.alerts import Alert, local
from nestaudience.config.schema import Alerts, Smtp
from nestaudience.errors import NeedsFix, NestAudienceError, TryAgain
from nestaudience.transports import secret
from nestaudience.vocabulary import Environment

LINES: Final = 50
"""So many alerts are written out for people; JSON has them all."""
_LOUD: Final = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks")
"""Loggers that print URLs. They are named here because some are made at the first request only."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be told: alerts of an environment at a time (UTC)."""

    environment: Environment
    at: datetime
    alerts: tuple[Alert, ...]

    @property
    def subject(self) -> str:
        """One line: how many, and where."""
        count = len(self.alerts)
        return f"nestaudience: {count} {'alert' if count == 1 else 'alerts'} ({self.environment.value})"

    @property
    def text(self) -> str:
        """Plain lines for people; times in Stockholm."""
        lines = [f"{self.subject}, {local(self.at.isoformat())}"]
        lines += [f"- {alert.line}. Next: {alert.next_step}" for alert in self.alerts[:LINES]]
        if len(self.alerts) > LINES:
            lines.append(f"and {len(self.alerts) - LINES} more: run `nestaudience status`")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """For a receiver that reads JSON."""
        told = [alert.as_dict() for alert in self.alerts]
        return {"environment": self.environment.value, "at": self.at.isoformat(), "text": self.text, "alerts": told}


class Channel(Protocol):
    """One way of telling."""

    def tell(self, message: Message) -> tuple[NestAudienceError, ...]:
        """Tell it. What is returned went wrong although somebody was told. Raises `NeedsFix` and `TryAgain`: nobody was told."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver that takes JSON. The URL is https, or http on this machine."""

    url: str = field(repr=False)
    seconds: float
    trust: ssl.SSLContext = field(repr=False)

    def tell(self, message: Message) -> tuple[NestAudienceError, ...]:
        """POST it."""
        _call("alerts.webhook", self, message)
        return ()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """An address that is asked for after each run that ended: whoever hears nothing knows that nothing runs. As a webhook otherwise."""

    url: str = field(repr=False)
    seconds: float
    trust: ssl.SSLContext = field(repr=False)

    def beat(self) -> None:
        """GET it. Raises `NeedsFix` and `TryAgain`."""
        _call("alerts.heartbeat", self, None)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail server. With `starttls` and `tls` its certificate is checked, and nothing is said to it before."""

    table: Smtp
    password: str | None = field(repr=False)
    seconds: float
    trust: ssl.SSLContext = field(repr=False)

    def tell(self, message: Message) -> tuple[NestAudienceError, ...]:
        """Send it to all recipients in one mail."""
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = message.subject, self.table.sender, ", ".join(self.table.recipients)
        mail.set_content(message.text + "\n")
        refused: list[int] = []
        failure = _failure_of(lambda: refused.append(len(self._send(mail))))
        if failure is not None:
            raise failure
        if any(refused):
            return (
                NeedsFix("alerts_recipient_refused", "alerts.smtp.recipients", "correct the addresses; the others were told"),
            )
        return ()

    def _send(self, mail: EmailMessage) -> dict[str, tuple[int, bytes]]:
        table = self.table
        name = table.sender.partition("@")[2]  # otherwise asked of the network, without a time limit
        with ExitStack() as stack:
            server: smtplib.SMTP
            if table.security == "tls":
                server = smtplib.SMTP_SSL(table.host, table.port, name, timeout=self.seconds, context=self.trust)
            else:
                server = smtplib.SMTP(table.host, table.port, name, timeout=self.seconds)
            stack.callback(server.close)  # not `quit`: what comes after the mail was taken can no longer fail it
            if table.security == "starttls":
                server.starttls(context=self.trust)
            if table.user is not None and self.password is not None:
                server.login(table.user, self.password)
            return server.send_message(mail)


def open_channel(limits: Alerts, base: Path) -> Channel | None:
    """The configured way of telling; None without one. Raises `NeedsFix`: `secret_missing`, `alerts_url`, `alerts_certificate`."""
    if limits.webhook is not None:
        return Webhook(_url(limits.webhook, base), limits.timeout_seconds, _trust(limits, base))
    if limits.smtp is None:
        return None
    password = secret(limits.smtp.password, base) if limits.smtp.password is not None else None
    return Mail(limits.smtp, password, limits.timeout_seconds, _trust(limits, base))


def open_heartbeat(limits: Alerts, base: Path) -> Heartbeat | None:
    """The configured heartbeat; None without one. Raises as `open_channel` does."""
    if limits.heartbeat is None:
        return None
    return Heartbeat(_url(limits.heartbeat, base), limits.timeout_seconds, _trust(limits, base))


def silence() -> None:
    """Switch off the loggers that print URLs. Called before each call: a program may have switched all loggers on again."""
    for name in _LOUD:
        logging.getLogger(name).disabled = True


def _url(name: str, base: Path) -> str:
    """The URL of this name, when it may be used."""
    url = secret(name, base)
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "https" or (parts.scheme == "http" and _on_this_machine(parts.hostname or ""))
        usable = usable and bool(parts.hostname) and httpx.URL(url).host != ""
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable:
        raise NeedsFix("alerts_url", name, "it must hold one URL: https, or http on this machine")
    return url


def _on_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _trust(limits: Alerts, base: Path) -> ssl.SSLContext:
    """The machine's certificate authorities, and the one of the configuration."""
    context = ssl.create_default_context()
    failed = False
    try:
        if limits.certificate is not None:
            context.load_verify_locations(cafile=base / limits.certificate)
    except OSError:  # ssl.SSLError is one
        failed = True
    if failed:
        raise NeedsFix("alerts_certificate", "alerts.certificate", "name a PEM file with a certificate authority")
    return context


def _call(where: str, receiver: Webhook | Heartbeat, message: Message | None) -> None:
    silence()
    status: int | None = None
    # A proxy of the environment would read what goes to this machine by http.
    by_environment = receiver.url.lower().startswith("https:")
    try:
        with (
            httpx.Client(
                timeout=receiver.seconds, verify=receiver.trust, follow_redirects=False, trust_env=by_environment
            ) as client,
            client.stream(
                "GET" if message is None else "POST", receiver.url, json=None if message is None else message.as_dict()
            ) as answer,
        ):
            status = answer.status_code  # the body is not read
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
        status = None
    if status is None or status in (408, 425, 429) or status >= 500:
        raise TryAgain("alerts_unreachable", where, "nothing to do unless it stays; then look at the receiver and its URL")
    if not 200 <= status < 300:
        raise NeedsFix("alerts_refused", where, "the receiver does not take it: renew its URL")


def _failure_of(send: Callable[[], object]) -> NestAudienceError | None:
    """What came of a mail: None when it was taken, otherwise the error. Nothing of the server's words is kept."""
    kind: type[BaseException] | None = None
    replies: Sequence[int] = ()
    try:
        send()
    except smtplib.SMTPRecipientsRefused as error:
        kind, replies = smtplib.SMTPRecipientsRefused, [code for code, _ in error.recipients.values()]
    except smtplib.SMTPResponseException as error:
        kind, replies = type(error), [error.smtp_code]
    except (smtplib.SMTPException, OSError, ValueError) as error:
        kind = type(error)
    if kind is None:
        return None
    return _mail_error(kind, replies)


def _mail_error(kind: type[BaseException], replies: Sequence[int]) -> NestAudienceError:
    place = "alerts.smtp"
    if issubclass(kind, smtplib.SMTPNotSupportedError):
        return NeedsFix(
            "alerts_not_supported", place, "the server offers no STARTTLS or no login: correct host, port or security"
        )
    if issubclass(kind, smtplib.SMTPAuthenticationError) and all(reply >= 500 for reply in replies):
        return NeedsFix("alerts_login_refused", f"{place}.password", "correct user and password")
    if issubclass(kind, ssl.SSLCertVerificationError):
        return NeedsFix("alerts_certificate", place, "the server's certificate is not trusted: correct host or certificate")
    if replies and all(reply >= 500 for reply in replies):
        return NeedsFix("alerts_refused", place, "the server refuses sender or recipients: correct them")
    return TryAgain("alerts_unreachable", place, "nothing to do unless it stays; then look at the mail server")
