"""What is told, when, and how often: real nights whose troubles are made on purpose, told to a real HTTP receiver and a real mail server."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from later_world import LaterWorld
from receivers import PASSWORD, RECIPIENTS, SECRET, SENDER, HttpReceiver, MailReceiver
from typer.testing import CliRunner

from nestaudience.alerts import alerts
from nestaudience.checks import check_everything
from nestaudience.cli import app
from nestaudience.ledger.told import ToldAlerts
from nestaudience.sandbox.world import reload_store
from nestaudience.status import status
from nestaudience.watching import Told, look, watch
from nestaudience.wiring import open_evidence, settings_in_use

HOUR = timedelta(hours=1)
COFFEE, BOOKS, AUDIO = "hemkraft/coffee_lovers/google", "bokhyllan/crime_readers/google", "computime/bought_audio_12m/google"
WEBHOOK, HEARTBEAT = '# webhook = "env:NESTAUDIENCE_ALERTS_URL"', '# heartbeat = "env:NESTAUDIENCE_HEARTBEAT_URL"'


@dataclass
class Site:
    """A world whose alerts go to a receiver. `got()` are the texts that arrived since the last call."""

    world: LaterWorld
    texts: Callable[[], list[str]]
    stop: Callable[[], None]
    start: Callable[[], None]
    seen: int = 0
    watched: list[Told] = field(default_factory=list)

    def watch(self, *, run_ended: bool = False) -> Told:
        evidence = open_evidence(self.world.config, self.world.clock.now)
        try:
            told = watch(evidence, settings_in_use(evidence), self.world.clock.now(), run_ended=run_ended)
        finally:
            evidence.engine.dispose()
        self.watched.append(told)
        return told

    def got(self) -> list[str]:
        texts = self.texts()
        fresh, self.seen = texts[self.seen :], len(texts)
        assert not [text for text in fresh if "@" in text or re.search("[0-9a-fA-F]{32}", text)]  # nobody, in no form
        return fresh

    def revoke(self) -> None:
        self.world.sandbox.revoke(self.world.sandbox.token)

    def renew(self) -> None:
        self.world.sandbox.state.revoked.clear()


def secret(world: LaterWorld, name: str, value: str) -> str:
    (world.folder / name).write_text(value)
    return f"file:{name}"


@pytest.fixture
def http_site(world: LaterWorld) -> Iterator[tuple[Site, HttpReceiver]]:
    with HttpReceiver() as receiver:
        world.edit(WEBHOOK, f'webhook = "{secret(world, "hook", receiver.url)}"')

        def down() -> None:
            receiver.answers = [503] * 20

        def up() -> None:
            receiver.answers = []

        yield Site(world, lambda: [body["text"] for body in receiver.posted], down, up), receiver


@pytest.fixture
def mail_site(world: LaterWorld) -> Iterator[Site]:
    receiver = MailReceiver()
    (world.folder / "mail-ca.pem").write_bytes(receiver.ca_pem)
    names = ", ".join(f'"{name}"' for name in RECIPIENTS)
    smtp = (
        f'smtp = {{ host = "localhost", port = {receiver.port}, user = "robot", password = "{secret(world, "pw", PASSWORD)}", '
        f'sender = "{SENDER}", recipients = [{names}] }}'
    )
    world.edit(WEBHOOK, f'{smtp}\ncertificate = "mail-ca.pem"')
    receiver.start(world.folder)
    try:
        yield Site(world, lambda: [text for _, _, text in receiver.mails], receiver.stop, lambda: _start(receiver, world))
    finally:
        receiver.stop()


def _start(receiver: MailReceiver, world: LaterWorld) -> None:
    receiver.start(world.folder)


@pytest.fixture(params=["webhook", "mail"])
def site(request: pytest.FixtureRequest) -> Site:
    if request.param == "mail":
        found: Site = request.getfixturevalue("mail_site")
        return found
    opened: Site = request.getfixturevalue("http_site")[0]
    return opened


@pytest.fixture(autouse=True)
def nothing_secret(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What the program logs at any level names no secret, no address and no receiver."""
    for name in ("httpx", "httpcore.connection", "httpcore.http11"):
        logging.getLogger(name).disabled = False
    with caplog.at_level(logging.DEBUG):
        yield
    ours = [record.getMessage() for record in caplog.get_records("call") if not record.name.startswith(("mail.", "asyncio"))]
    assert not [text for text in ours if any(word in text for word in (SECRET, PASSWORD, SENDER, *RECIPIENTS, "/hook"))]


def codes(told: Told) -> set[tuple[str, str]]:
    """(code and its second code, audience or place) of what was told now."""
    by_key = {alert.key: alert for alert in told.standing}
    return {(f"{by_key[key].code} {by_key[key].about}".rstrip(), by_key[key].where) for key in told.told}


def test_a_removal_that_gets_old_and_a_night_that_is_missing(site: Site) -> None:
    world = site.world
    start = world.clock.now()  # 03:30 in Stockholm
    site.revoke()
    outcome = world.night()
    assert not any(sent.removed for sent in outcome.sent.values())
    assert (codes(site.watch(run_ended=True)), site.got()) == (set(), [])
    world.advance(6 * HOUR)
    assert codes(site.watch()) == set()  # six hours are not more than six
    world.advance(timedelta(minutes=1))
    first = site.watch()
    due = {each.audience for each in first.status.audiences if each.open_removals}
    assert len(due) >= 3
    assert codes(first) == {("removal_old", audience) for audience in due}
    (text,) = site.got()
    for each in first.status.audiences:
        line = f"removal_old: {each.audience}, {each.open_removals} people, since 2026-11-22 03:30"
        assert (line in text) == (each.audience in due)

    for _ in range(15):
        world.advance(HOUR)
        assert site.watch().told == ()
    assert site.got() == []
    world.advance(start + timedelta(hours=26, minutes=30) - world.clock.now())  # 06:00 of the next day: nobody ran
    missing = site.watch()
    assert codes(missing) == {("night_unfinished", "2026-11-23")}
    assert "since 2026-11-23 05:00" in site.got()[0]
    world.advance(start + timedelta(hours=30, minutes=1) - world.clock.now())
    assert codes(site.watch()) == {("removal_old", audience) for audience in due}  # a day later, and only what is a day old
    assert len(site.got()) == 1

    site.renew()
    world.night()
    world.advance(HOUR)
    world.night()  # its results
    ended = site.watch()
    assert not {alert.code for alert in ended.standing} & {"removal_old", "night_unfinished"}
    cleared = {key for key, row in ended.memory.items() if row.cleared_at}
    assert cleared == {f"removal_old:{audience}" for audience in due} | {"night_unfinished:2026-11-23"}
    assert site.got() == []

    world._days = 2  # the day that passed without a night
    world.advance_day()
    site.revoke()
    world.night()
    world.advance(7 * HOUR)
    again = site.watch()
    assert {alert.key for alert in again.standing if alert.code == "removal_old"} & cleared
    assert codes(again) == {(f"{a.code} {a.about}".rstrip(), a.where) for a in again.standing}
    assert len(site.got()) == 1


def trouble(world: LaterWorld) -> None:
    """A list that somebody deleted, a segment that lost its people, terms that are near their year; and the night that finds it."""
    remote = world.remote(COFFEE)  # type: ignore[arg-type]
    world.sandbox.drop_list(remote.ad_account, remote.list_id)
    world.store_file("DELETE FROM segment_row WHERE segment = 'crime_readers'")
    reload_store(world.store, world.clock.now())
    world.edit("change_people = 500", "change_people = 100")
    world.edit("terms_confirmed_on = 2026-02-10", "terms_confirmed_on = 2025-12-05")
    world.edit("# ends_on = 2027-06-30", "ends_on = 2026-11-30")
    world.night()


def test_an_incident_a_gate_and_dates(site: Site) -> None:
    trouble(site.world)
    first = site.watch()
    expected = {
        ("incident list_gone", COFFEE),
        ("gate_closed segment_feed", BOOKS),
        ("gate_closed anomaly_removals", BOOKS),
        ("date_due terms", "recipients.google.terms_confirmed_on"),
        ("date_due ends", COFFEE),
    }
    assert codes(first) == expected
    (text,) = site.got()
    assert f"incident list_gone: {COFFEE}, since" in text
    assert "audit show" in text

    site.world.advance(timedelta(hours=24))
    repeated = site.watch()
    assert ("gate_closed anomaly_removals", BOOKS) in codes(repeated)
    assert not {what for what, _ in codes(repeated)} & {"incident list_gone", "date_due terms", "date_due ends"}  # once each
    assert len(site.got()) == 1
    held = next(each for each in repeated.status.audiences if each.audience == BOOKS)
    assert held.held_by == (("segment_feed", "2026-11-22"), ("anomaly_removals", "2026-11-22"))
    assert held.frozen_removals > 100

    site.world.advance(timedelta(hours=1))
    site.world.night()  # the second night in a row; the list is known to be gone now
    found = site.watch()
    assert codes(found) == {("gate_closed list_gone", COFFEE), ("gate_closed anomaly_additions", COFFEE)}
    held = next(each for each in found.status.audiences if each.audience == BOOKS)
    assert held.held_by == (("segment_feed", "2026-11-22"), ("anomaly_removals", "2026-11-22"))
    site.world.edit("ends_on = 2026-11-30", "ends_on = 2027-11-30")
    ended = site.watch()
    assert not [alert for alert in ended.standing if alert.about == "ends"]
    assert site.watch().told == ()


def test_who_cannot_be_told_is_told_next_time(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    trouble(site.world)
    site.stop()
    failed = site.watch()
    assert (failed.told, site.got()) == ((), [])
    assert {error.code for error in failed.errors} == {"alerts_unreachable"}
    warned = [record.getMessage() for record in caplog.records if record.name == "nestaudience.watching"]
    assert warned == [f"alerts: alerts_unreachable at {failed.errors[0].where}"]
    assert failed.not_told == tuple(alert.key for alert in failed.standing)
    assert len(failed.standing) == 5
    shown = status_of(site.world, "status")
    assert shown.count("alerts_unreachable") == 5
    site.world.advance(HOUR)
    site.start()
    told = site.watch()
    assert set(told.told) == set(failed.not_told)
    assert (told.not_told, told.errors) == ((), ())
    assert len(site.got()) == 1


def status_of(world: LaterWorld, *words: str) -> str:
    """What a command says, on both outputs, folded lines joined."""
    result = CliRunner().invoke(app, [*words, "--config", str(world.config)])
    assert not [word for word in (SECRET, PASSWORD, SENDER, *RECIPIENTS) if word in result.output]
    return result.output


def test_the_heartbeat_goes_out_once_for_each_run_and_does_no_harm(http_site: tuple[Site, HttpReceiver]) -> None:
    site, receiver = http_site
    with HttpReceiver() as beats:
        site.world.edit(HEARTBEAT, f'heartbeat = "{secret(site.world, "beat", beats.url)}"')
        assert site.watch(run_ended=True).errors == ()
        assert beats.asked == [f"/hook/{SECRET}"]
        site.watch()
        assert len(beats.asked) == 1
        beats.answers = [500]
        receiver.answers = [500]
        site.world.advance(timedelta(hours=8))  # the night is missing
        both = site.watch(run_ended=True)
        assert [(error.code, error.where) for error in both.errors] == [
            ("alerts_unreachable", "alerts.webhook"),
            ("alerts_unreachable", "alerts.heartbeat"),
        ]
    down = site.watch(run_ended=True)  # nobody listens for the heartbeat any more, the alert is told
    assert [error.where for error in down.errors] == ["alerts.heartbeat"]
    assert codes(down) == {("night_unfinished", "2026-11-22")}
    (site.world.folder / "beat").unlink()
    assert [error.code for error in site.watch(run_ended=True).errors] == ["secret_missing"]


def test_a_secret_that_changes_is_read_anew(http_site: tuple[Site, HttpReceiver]) -> None:
    site, receiver = http_site
    site.world.advance(timedelta(hours=8))
    (site.world.folder / "hook").write_text("http://hooks.nestit.example/")
    assert [error.code for error in site.watch().errors] == ["alerts_url"]
    (site.world.folder / "hook").unlink()
    assert [error.code for error in site.watch().errors] == ["secret_missing"]
    (site.world.folder / "hook").write_text(receiver.url)
    assert len(site.watch().told) == 1


def test_a_wrong_table_stops_no_list(world: LaterWorld) -> None:
    world.edit("removal_hours = 6", "removal_hours = 600")
    outcome = world.night()
    assert sum(sent.removed for sent in outcome.sent.values()) > 0
    assert sum(sent.added for sent in outcome.sent.values()) > 0
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    found = look(evidence, settings_in_use(evidence), world.clock.now())
    evidence.engine.dispose()
    assert [(problem.path, problem.audiences) for problem in found.status.problems] == [("alerts.removal_hours", frozenset())]
    assert {each.state for each in found.status.audiences} == {"open"}
    assert 2 in found.status.exit_codes


def test_nobody_to_tell_is_no_error(world: LaterWorld) -> None:
    world.advance(timedelta(hours=8))
    site = Site(world, list, lambda: None, lambda: None)
    found = site.watch(run_ended=True)
    assert [alert.code for alert in found.standing] == ["night_unfinished"]
    assert (found.told, found.errors, found.not_told) == ((), (), ())


def test_the_commands_show_and_tell(http_site: tuple[Site, HttpReceiver]) -> None:
    site, receiver = http_site
    trouble(site.world)
    before = snapshot(site.world)
    document = json.loads(status_of(site.world, "status", "--json"))
    assert snapshot(site.world) == before
    assert "told_now" not in document
    assert {alert["told_at"] for alert in document["alerts"]} == {""}
    told = json.loads(status_of(site.world, "status", "--tell", "--json"))
    assert len(told["told_now"]) == len(told["alerts"])
    (body,) = receiver.posted
    assert [alert["code"] for alert in body["alerts"]] == [alert["code"] for alert in told["alerts"]]
    after = json.loads(status_of(site.world, "status", "--json"))
    assert all(alert["told_at"] for alert in after["alerts"])
    assert "incident" not in {alert["code"] for alert in after["alerts"]}  # told, and so no longer something to tell
    text = status_of(site.world, "status")
    for word in ("gate_closed", "held by anomaly_removals since the night of 2026-11-22", "told 2026", "Due dates", "2026-12-05"):
        assert word.lower() in text.lower(), word


def snapshot(world: LaterWorld) -> Any:
    evidence = open_evidence(world.config, world.clock.now, read_only=True)
    try:
        return ToldAlerts(evidence.engine).all()
    finally:
        evidence.engine.dispose()


def test_no_secret_in_the_ledger(http_site: tuple[Site, HttpReceiver]) -> None:
    site, _ = http_site
    site.world.night()
    site.world.advance(timedelta(hours=30))
    site.watch()
    for path in sorted(Path(site.world.folder / "ledger").iterdir()):
        assert SECRET.encode() not in path.read_bytes()


def test_check_finds_what_would_not_be_told(world: LaterWorld) -> None:
    world.edit(WEBHOOK, 'webhook = "env:NESTAUDIENCE_NO_SUCH"')
    world.edit("terms_confirmed_on = 2026-02-10", "terms_confirmed_on = 2025-12-05")
    world.edit('approved_on = 2026-09-01, dpia = "DPIA-2026-06"', 'approved_on = 2025-09-01, dpia = "DPIA-2026-06"')
    found = {(each.where, each.what, each.warning) for each in check_everything(world.config, clock=world.clock.now)}
    assert {
        ("env:NESTAUDIENCE_NO_SUCH", "secret_missing", False),
        ("recipients.google.terms_confirmed_on", "due on 2026-12-05", True),
        ("segments.coffee_lovers.approval", "the approval is over a year old", False),
    } <= found


def test_the_hour_finds_what_stands_without_counting_anybody(http_site: tuple[Site, HttpReceiver]) -> None:
    """The same alerts as a look that counts every list; who is on the lists is not said then."""
    site, _ = http_site
    trouble(site.world)
    evidence = open_evidence(site.world.config, site.world.clock.now, read_only=True)
    settings, now = settings_in_use(evidence), site.world.clock.now()
    counted, uncounted = status(evidence, settings, now), status(evidence, settings, now, counted=False)
    evidence.engine.dispose()
    assert alerts(counted, settings.alerts, now) == alerts(uncounted, settings.alerts, now) != ()
    assert {each.held for each in uncounted.audiences} == {None}
    assert [replace(each, held=None) for each in counted.audiences] == list(uncounted.audiences)
