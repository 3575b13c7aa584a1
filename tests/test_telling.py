"""Telling: real receivers that take, refuse, are slow, lie about TLS or are not there; and nothing secret in whatever comes back."""

import logging
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from receivers import PASSWORD, RECIPIENTS, SECRET, SENDER, HttpReceiver, MailReceiver, refused_port

from nestaudience.alerts import Alert
from nestaudience.config.schema import Alerts, Smtp
from nestaudience.errors import NeedsFix, NestAudienceError, TryAgain
from nestaudience.telling import Message, open_channel, open_heartbeat
from nestaudience.vocabulary import Environment

ALERTS = (
    Alert("removal_old:a", "removal_old", "c/s/google", "2026-11-22T02:30:00.000Z", "look", audience="c/s/google", count=7),
    Alert("date_due:terms:x:2026-12-01:14", "date_due", "recipients.google", "2026-12-01", "read", "terms", repeats=False),
)
MESSAGE = Message(Environment.PRODUCTION, datetime(2026, 11, 22, 9, 30, tzinfo=UTC), ALERTS)
HIDDEN = (SECRET, PASSWORD, SENDER, *RECIPIENTS, "the server's own words", "127.0.0.1")


@pytest.fixture(autouse=True)
def nothing_secret(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Everything that is logged below DEBUG's door, by anybody but the servers of the tests, is read afterwards."""
    for name in ("httpx", "httpcore.connection", "httpcore.http11"):
        logging.getLogger(name).disabled = False  # as a program that configures its logging does
    with caplog.at_level(logging.DEBUG):
        yield
    ours = [r for r in caplog.get_records("call") if not r.name.startswith(("mail.", "asyncio"))]
    assert not [record for record in ours if any(word in record.getMessage() for word in HIDDEN)]


@pytest.fixture
def http() -> Iterator[HttpReceiver]:
    with HttpReceiver() as receiver:
        yield receiver


def named(base: Path, name: str, value: str) -> str:
    (base / name).write_text(value)
    return f"file:{name}"


def webhook(base: Path, url: str, seconds: int = 5) -> Any:
    return open_channel(Alerts(webhook=named(base, "url", url), timeout_seconds=seconds), base)


def mail(base: Path, receiver: MailReceiver, **changes: Any) -> Any:
    values = {
        "host": "127.0.0.1", "port": receiver.port, "security": "starttls", "user": "robot", "password": named(base, "pw", PASSWORD),
        "sender": SENDER, "recipients": RECIPIENTS,
    } | changes  # fmt: skip
    (base / "ca.pem").write_bytes(receiver.ca_pem)
    return open_channel(Alerts(smtp=Smtp(**values), certificate="ca.pem", timeout_seconds=2), base)


def failed(work: Any) -> NestAudienceError:
    """The error of ours; it carries nothing secret, neither in itself nor in what its traceback would show."""
    with pytest.raises((NeedsFix, TryAgain)) as caught:
        work()
    error = caught.value
    assert isinstance(error, NestAudienceError)
    assert error.__context__ is None
    assert error.__cause__ is None
    shown = "".join(traceback.format_exception(error)) + str(error.as_dict())
    assert not [word for word in HIDDEN if word in shown]
    return error


# -- the message


def test_people_read_stockholm_time_and_machines_read_utc() -> None:
    assert MESSAGE.subject == "nestaudience: 2 alerts (production)"
    assert MESSAGE.text.splitlines() == [
        "nestaudience: 2 alerts (production), 2026-11-22 10:30",
        "- removal_old: c/s/google, 7 people, since 2026-11-22 03:30. Next: look",
        "- date_due terms: recipients.google, on 2026-12-01. Next: read",
    ]
    assert MESSAGE.as_dict()["at"] == "2026-11-22T09:30:00+00:00"


def test_people_get_the_first_fifty_and_a_number() -> None:
    many = Message(Environment.PRODUCTION, MESSAGE.at, ALERTS[:1] * 53)
    assert many.text.count("removal_old") == 50
    assert many.text.splitlines()[-1] == "and 3 more: run `nestaudience status`"
    assert len(many.as_dict()["alerts"]) == 53  # type: ignore[arg-type]


# -- webhook and heartbeat


def test_a_webhook_gets_json_with_a_text(http: HttpReceiver, tmp_path: Path) -> None:
    assert webhook(tmp_path, http.url).tell(MESSAGE) == ()
    (body,) = http.posted
    assert set(body) == {"environment", "at", "text", "alerts"}
    assert body["alerts"] == [
        {"code": "removal_old", "where": "c/s/google", "since": "2026-11-22T02:30:00.000Z", "next": "look",
         "audience": "c/s/google", "count": 7},
        {"code": "date_due", "where": "recipients.google", "since": "2026-12-01", "next": "read", "about": "terms"},
    ]  # fmt: skip
    assert body["text"] == MESSAGE.text


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (500, TryAgain, "alerts_unreachable"),
        (503, TryAgain, "alerts_unreachable"),
        (429, TryAgain, "alerts_unreachable"),
        (400, NeedsFix, "alerts_refused"),
        (404, NeedsFix, "alerts_refused"),
        (302, NeedsFix, "alerts_refused"),
        (307, NeedsFix, "alerts_refused"),
        ("hang", TryAgain, "alerts_unreachable"),
        ("drop", TryAgain, "alerts_unreachable"),
    ],
)
def test_what_a_receiver_answers(http: HttpReceiver, tmp_path: Path, answer: Any, kind: type, code: str) -> None:
    with HttpReceiver() as elsewhere:
        http.answers, http.elsewhere = [answer, answer], elsewhere.url
        seconds = 1
        channel = webhook(tmp_path, http.url, seconds)
        error = failed(lambda: channel.tell(MESSAGE))
        assert (type(error), error.code, error.where) == (kind, code, "alerts.webhook")
        heartbeat = open_heartbeat(Alerts(heartbeat="file:url", timeout_seconds=seconds), tmp_path)
        assert heartbeat is not None
        assert failed(heartbeat.beat).where == "alerts.heartbeat"
        assert (elsewhere.posted, elsewhere.asked, http.posted, http.asked) == ([], [], [], [])
    assert channel.tell(MESSAGE) == ()
    heartbeat.beat()
    assert (len(http.posted), http.asked) == (1, [f"/hook/{SECRET}"])


def test_nobody_listens(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{refused_port()}/{SECRET}"
    error = failed(lambda: webhook(tmp_path, url).tell(MESSAGE))
    assert error.code == "alerts_unreachable"


@pytest.mark.parametrize(
    "url",
    [
        f"http://hooks.nestit.example/{SECRET}",
        f"http://127.0.0.1.nestit.example/{SECRET}",
        f"http://localhost@hooks.nestit.example/{SECRET}",
        f"http://10.0.0.1/{SECRET}",
        f"http://[::2]/{SECRET}",
        f"ftp://127.0.0.1/{SECRET}",
        f"file:///{SECRET}",
        f"https:///{SECRET}",
        f"http://127.0.0.1:port/{SECRET}",
        f"http://[127.0.0.1/{SECRET}",
        f"https://a\x00b/{SECRET}",
        SECRET,
    ],
)
def test_a_url_that_may_not_be_used(tmp_path: Path, url: str) -> None:
    error = failed(lambda: webhook(tmp_path, url))
    assert (error.code, error.where) == ("alerts_url", "file:url")


@pytest.mark.parametrize(
    "url", ["https://hooks.nestit.example/x", "http://localhost:1/x", "http://[::1]:1/x", "http://127.9.9.9/x"]
)
def test_a_url_that_may_be_used(tmp_path: Path, url: str) -> None:
    assert webhook(tmp_path, url) is not None


def test_secrets_stand_in_no_representation(tmp_path: Path) -> None:
    channel = webhook(tmp_path, f"https://hooks.nestit.example/{SECRET}")
    post = mail(tmp_path, MailReceiver())
    assert SECRET not in repr(channel)
    assert PASSWORD not in repr(post)


def test_a_missing_secret_is_named_by_its_name(tmp_path: Path) -> None:
    error = failed(lambda: open_channel(Alerts(webhook="env:NESTAUDIENCE_NO_SUCH"), tmp_path))
    assert (error.code, error.where) == ("secret_missing", "env:NESTAUDIENCE_NO_SUCH")
    assert open_channel(Alerts(), tmp_path) is None
    assert open_heartbeat(Alerts(), tmp_path) is None


# -- mail


@pytest.mark.parametrize("tls", ["starttls", "tls", "none"])
def test_a_mail_goes_to_all_recipients(tmp_path: Path, tls: str) -> None:
    open_to_all = tls == "none"
    with MailReceiver(tls=tls, password=None if open_to_all else PASSWORD).start(tmp_path) as receiver:
        changes = {"user": None, "password": None} if open_to_all else {}
        assert mail(tmp_path, receiver, security=tls, **changes).tell(MESSAGE) == ()
    ((sender, recipients, text),) = receiver.mails
    assert (sender, recipients, text.split()) == (SENDER, RECIPIENTS, MESSAGE.text.split())
    assert receiver.subjects == ["nestaudience: 2 alerts (production)"]
    assert receiver.logins == ([] if open_to_all else [True])


def test_without_starttls_no_password_is_said(tmp_path: Path) -> None:
    with MailReceiver(tls="none").start(tmp_path) as receiver:
        error = failed(lambda: mail(tmp_path, receiver).tell(MESSAGE))
    assert (type(error), error.code) == (NeedsFix, "alerts_not_supported")
    assert (receiver.logins, receiver.mails) == ([], [])


def test_a_wrong_password(tmp_path: Path) -> None:
    with MailReceiver(password="another").start(tmp_path) as receiver:
        error = failed(lambda: mail(tmp_path, receiver).tell(MESSAGE))
    assert (type(error), error.code) == (NeedsFix, "alerts_login_refused")
    assert set(receiver.logins) == {False}
    assert receiver.mails == []


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_certificate_of_somebody_else(tmp_path: Path, tls: str) -> None:
    with MailReceiver(tls=tls).start(tmp_path) as receiver:
        receiver.ca_pem = MailReceiver().ca_pem
        error = failed(lambda: mail(tmp_path, receiver, security=tls).tell(MESSAGE))
    assert (type(error), error.code) == (NeedsFix, "alerts_certificate")
    assert (receiver.logins, receiver.mails) == ([], [])


@pytest.mark.parametrize(
    ("refuse", "reply", "expected"),
    [
        (dict.fromkeys(RECIPIENTS, "550 no such person here"), "250 taken", (NeedsFix, "alerts_refused")),
        (dict.fromkeys(RECIPIENTS, "450 later"), "250 taken", (TryAgain, "alerts_unreachable")),
        ({}, "554 not this", (NeedsFix, "alerts_refused")),
        ({}, "451 later", (TryAgain, "alerts_unreachable")),
    ],
)
def test_a_mail_that_is_not_taken(tmp_path: Path, refuse: dict[str, str], reply: str, expected: tuple[type, str]) -> None:
    with MailReceiver().start(tmp_path) as receiver:
        receiver.refuse, receiver.reply = refuse, reply
        error = failed(lambda: mail(tmp_path, receiver).tell(MESSAGE))
    assert (type(error), error.code) == expected
    assert receiver.mails == []


def test_one_recipient_is_refused_and_the_other_told(tmp_path: Path) -> None:
    with MailReceiver().start(tmp_path) as receiver:
        receiver.refuse = {RECIPIENTS[0]: "550 no such person here"}
        (error,) = mail(tmp_path, receiver).tell(MESSAGE)
    assert error.code == "alerts_recipient_refused"
    assert [recipients for _, recipients, _ in receiver.mails] == [RECIPIENTS[1:]]
    assert not [word for word in HIDDEN if word in str(error)]


def test_no_mail_server(tmp_path: Path) -> None:
    error = failed(lambda: mail(tmp_path, MailReceiver()).tell(MESSAGE))
    assert (type(error), error.code) == (TryAgain, "alerts_unreachable")


def test_a_certificate_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    limits = Alerts(webhook=named(tmp_path, "url", "https://hooks.nestit.example/x"), certificate="ca.pem")
    assert failed(lambda: open_channel(limits, tmp_path)).code == "alerts_certificate"
