"""`nestaudience run backfill` and `nestaudience serve` as they are typed: what they show, ask, refuse and end with."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from canary_site import CanarySite
from typer.testing import CliRunner, Result

from nestaudience.cli import app
from nestaudience.errors import NeedsFix
from tests.flows.grounds import ground, lists_of, log_of, wanted_of, writes_to
from tests.flows.standing import ROOT


@pytest.fixture
def site(tmp_path: Path, prefect_server: Path) -> Iterator[CanarySite]:
    here = ground(tmp_path / "site")
    yield here
    here.close()


def backfill(site: CanarySite, *words: str) -> Result:
    return CliRunner().invoke(app, ["run", "backfill", "--config", str(site.place.config), *words])


def test_it_only_shows_where_nobody_can_answer(site: CanarySite) -> None:
    shown = backfill(site, "--reason", "test", "--controller", "hemkraft")
    assert shown.exit_code == 0
    assert "people in 2 requests" in shown.stdout
    assert "--yes" in shown.stderr
    told = backfill(site, "--reason", "test", "--dry-run", "--json")
    preview = json.loads(told.stdout)["preview"]
    assert json.loads(told.stdout)["started"] is False
    assert preview["people"] == sum(len(people) for people in wanted_of(site).values())
    assert (preview["requests"], writes_to(site), log_of(site)) == (10, 0, [])


def test_it_ends_with_the_code_of_the_gates_that_would_hold_it(site: CanarySite) -> None:
    site.place.store.unlink()
    assert backfill(site, "--reason", "test", "--dry-run").exit_code == 5


def test_yes_sends_and_says_what_was_sent(site: CanarySite) -> None:
    words = ["--reason", "rule_change", "--segment", "crime_readers", "--segment", "lapsed_readers", "--yes", "--json"]
    sent = backfill(site, *words)
    document = json.loads(sent.stdout)
    assert (sent.exit_code, document["started"], document["exit_codes"]) == (0, True, [0])
    added = {key: done["added"] for key, done in document["lists"].items()}
    assert added == {key: len(people) for key, people in lists_of(site).items()}
    assert lists_of(site) == {key: people for key, people in wanted_of(site).items() if key.startswith("bokhyllan/")}


def test_it_refuses_with_everything_at_once(site: CanarySite) -> None:
    refused = backfill(
        site, "--reason", "other_see_case", "--controller", "nobody", "--for-night", "2020-01-01", "--dry-run", "--json"
    )
    assert refused.exit_code == 2
    (error,) = json.loads(refused.stdout)["errors"]
    assert error["code"] == "backfill_refused"
    assert [word in error["next"] for word in ("controllers:", "for_night:", "case:")] == [True] * 3
    assert backfill(site, "--reason", "because").exit_code == 2
    assert backfill(site, "--reason", "test", "--mode", "retract").exit_code == 2
    assert backfill(site).exit_code == 2


@pytest.mark.parametrize("answer", ["n", "y"])
def test_a_person_at_a_terminal_is_asked(site: CanarySite, answer: str) -> None:
    from prefect.settings import PREFECT_API_URL

    ours, theirs = os.openpty()
    words = ["-m", "nestaudience", "run", "backfill", "--reason", "test", "--config", str(site.place.config)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment["PREFECT_API_URL"] = str(PREFECT_API_URL.value())
    process = subprocess.Popen([sys.executable, *words], env=environment, stdin=theirs, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    said, end = b"", time.monotonic() + 60
    while b"Start? [y/N]" not in said and time.monotonic() < end:
        if select.select([ours], [], [], 0.2)[0]:
            said += os.read(ours, 4096)
    os.write(ours, answer.encode() + b"\n")
    while process.poll() is None and time.monotonic() < end + 60:
        with suppress(OSError):  # the terminal is gone with the process
            if select.select([ours], [], [], 0.2)[0]:  # what it says must be read, or it waits
                os.read(ours, 4096)
    assert process.wait(5) == 0
    os.close(ours)
    assert (writes_to(site) > 0) == (answer == "y")


def serve(folder: Path, config: Path, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "nestaudience", "serve", "--config", str(config)],
        env=kept | {"PYTHONPATH": paths, "PREFECT_HOME": str(folder)} | more,
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_serve_says_how_to_start_a_server(site: CanarySite, tmp_path: Path) -> None:
    without = serve(tmp_path, site.place.config)
    assert without.returncode == 2
    assert "no_server" in without.stderr
    assert "prefect server start" in without.stderr
    silent = serve(tmp_path, site.place.config, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert silent.returncode == 3
    assert "server_silent" in silent.stderr
    assert serve(tmp_path, tmp_path / "none.toml", PREFECT_API_URL="http://127.0.0.1:9/api").returncode == 2


def test_a_schedule_that_is_none_is_refused() -> None:
    from flows.serving import HOURLY, deployments

    with pytest.raises(NeedsFix, match="cron_wrong"):
        deployments(Path("nestaudience.toml"), "half past three", HOURLY)


def test_the_nightly_hour_exists_once_every_day() -> None:
    """Prefect's own reckoning over both changes of the clock in 2026."""
    import asyncio
    from datetime import UTC, datetime

    from prefect.server.schemas.schedules import CronSchedule

    from flows.serving import NIGHTLY, ZONE

    for day in (27, 23):
        month = 3 if day == 27 else 10
        start = datetime(2026, month, day, tzinfo=UTC)
        dates = asyncio.run(CronSchedule(cron=NIGHTLY, timezone=ZONE).get_dates(5, start=start))
        assert [(date.day - day, date.hour, date.minute) for date in dates] == [(n, 3, 30) for n in range(5)]
