"""`nestaudience serve` and a standing Prefect server, as processes: what schedules and forms start, and what is left when one of them is killed.

Whatever dies, the next run leaves lists that equal consent and a log that verifies; and in all that Prefect wrote there is nobody.
"""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from canary_site import CanarySite
from leaks import found_in_folder
from prefect.exceptions import PrefectHTTPStatusError

from flows import SETTINGS
from nestaudience.vocabulary import STOCKHOLM
from tests.flows.grounds import ground, lists_of, log_of, wanted_of, writes_to
from tests.flows.standing import ROOT, Standing, die

ARTIFACTS = {"nightly-funnel", "nightly-sent", "nightly-run"}


def soon() -> str:
    """A cron line that names one minute, less than a minute and a half from now."""
    at = datetime.now(STOCKHOLM) + timedelta(seconds=85)
    return f"{at.minute} {at.hour} {at.day} {at.month} *"


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with Standing(tmp_path_factory.mktemp("standing")) as server:
        yield server


@pytest.fixture(scope="module")
def site(standing: Standing) -> Iterator[CanarySite]:
    """The site that is served, with a night in the next minute."""
    here = ground(standing.folder / "site")
    try:
        standing.serve(here.place.config, "--nightly-cron", soon())
        yield here
    finally:
        here.close()


@pytest.fixture
def other(site: CanarySite, standing: Standing, request: pytest.FixtureRequest) -> Iterator[CanarySite]:
    """Another site, of the test's own, for the same deployments."""
    here = ground(standing.folder / request.node.name.split("[")[0])
    try:
        yield here
    finally:
        here.close()


def form(here: CanarySite, **parameters: Any) -> dict[str, Any]:
    return {"config": str(here.place.config), **parameters}


def test_the_form_shows_first_and_sends_when_told_to(standing: Standing, other: CanarySite) -> None:
    shown = standing.order("backfill", form(other, reason="feed_fault", controllers=["computime"]))
    kind, message = standing.ended(shown)
    assert kind == "COMPLETED"
    assert message.startswith("would remove 0 and add ")
    assert (writes_to(other), log_of(other)) == (0, [])

    night = (datetime.now(STOCKHOLM) - timedelta(days=1)).date().isoformat()
    orders = {"reason": "feed_fault", "controllers": ["computime"], "for_night": night, "case": "INC-12"}
    sent = standing.order("backfill", form(other, **orders, dry_run=False))
    assert standing.ended(sent) == ("COMPLETED", "exit codes [0]")
    wanted = {key: people for key, people in wanted_of(other).items() if key.startswith("computime/")}
    assert lists_of(other) == wanted
    assert len(wanted) == 4
    begun = next(entry for entry in log_of(other) if entry["type"] == "run_started")
    assert begun["run_kind"] == "backfill"
    told = {"mode": "diff", "controllers": ["computime"], "for_night": night, "cause": "feed_fault", "case_id": "INC-12"}
    assert told.items() <= begun["fields"].items()


@pytest.mark.parametrize(
    "wrong",
    [
        {"reason": "because"},
        {"reason": "test", "mode": "retract"},
        {"reason": "test", "controllers": ["Anna Kanarie"]},
        {"reason": "test", "segments": ["s" * 41]},
        {"reason": "test", "destinations": ["d"] * 51},
        {"reason": "test", "for_night": "nope"},
        {"reason": "test", "case": "anna.kanarie@example.se"},
        {"reason": "test", "dry_run": "perhaps"},
        {"reason": "test", "config": "anna.kanarie@example.se"},
        {},
    ],
    ids=lambda wrong: "-".join(wrong) or "nothing",
)
def test_the_server_refuses_what_a_form_would_not_offer(standing: Standing, site: CanarySite, wrong: dict[str, Any]) -> None:
    before = len(standing.runs_of("backfill"))
    with pytest.raises(PrefectHTTPStatusError, match="409"):
        standing.order("backfill", wrong)
    assert len(standing.runs_of("backfill")) == before


def test_what_the_server_lets_through_is_refused_with_everything_at_once(standing: Standing, other: CanarySite) -> None:
    """A date that no calendar has, and names that only the configuration can judge."""
    wrong = {"reason": "other_see_case", "for_night": "2026-02-30", "segments": ["knitters"], "dry_run": False}
    run = standing.order("backfill", form(other, **wrong))
    kind, message = standing.ended(run)
    assert kind == "FAILED"
    assert message.startswith("backfill_refused at the backfill's parameters (needs_fix): for_night: a date")
    assert "; segments: name only bought_audio_12m, " in message
    assert message.endswith("; case: other_see_case needs one")
    assert standing.tasks_of(run) == {}
    assert (writes_to(other), log_of(other)) == (0, [])


def test_a_run_has_the_settings_of_flows_and_a_masked_log(standing: Standing, other: CanarySite) -> None:
    """Nothing of them is in the environment that `serve` was started with. A run's name is what Prefect itself logs of a run."""
    started: dict[str, str] = {}

    def see() -> bool:
        for pid in standing.children("serve"):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/environ").read_text().split("\0")
                started.update(word.split("=", 1) for word in words if "PREFECT__FLOW_RUN_ID=" in "".join(words) and "=" in word)
        return bool(started)

    name = "anna.kanarie@example.se"
    run = standing.client.create_flow_run_from_deployment(standing.deployment("nightly"), parameters=form(other), name=name)
    standing.until(see, "a run's process")
    assert started["PREFECT_LOGGING_SETTINGS_PATH"] == str(ROOT / "flows" / "logging.yml")
    assert {name: started[name].lower() for name in SETTINGS} == SETTINGS
    assert standing.ended(run.id)[0] == "COMPLETED"
    standing.until(lambda: any("[address]" in line for line in standing.logged(run.id)), "the run's log")
    assert name not in " ".join(standing.logged(run.id))
    assert name not in (standing.folder / "serve.log").read_text()
    assert "Beginning flow run '[address]'" in (standing.folder / "serve.log").read_text()


@pytest.mark.slow
def test_the_hour_settles_what_a_run_left(standing: Standing, other: CanarySite) -> None:
    assert standing.ended(standing.order("hourly", form(other))) in {
        ("COMPLETED", "nothing to settle"),
        ("COMPLETED", "exit codes [0]"),  # between four and nine in Stockholm it begins the night
    }
    assert standing.ended(standing.order("nightly", form(other)))[0] == "COMPLETED"
    kind, message = standing.ended(standing.order("hourly", form(other)))
    assert kind == "COMPLETED"
    assert message.endswith((" results came in, 0 are awaited", "nothing to settle"))
    assert lists_of(other) == wanted_of(other)


def test_the_schedule_starts_a_night(standing: Standing, site: CanarySite) -> None:
    """Last of those that need no killing: its minute has come by now, or comes soon."""

    def done() -> bool:
        return any(run.auto_scheduled and run.state and run.state.is_final() for run in standing.runs_of("nightly"))

    standing.until(done, "the scheduled night")
    (run,) = [run for run in standing.runs_of("nightly") if run.auto_scheduled and run.state and run.state.is_final()]
    assert run.state is not None
    assert (run.state.type.value, run.state.message) == ("COMPLETED", "exit codes [0]")
    assert run.parameters == {"config": str(site.place.config)}
    assert lists_of(site) == wanted_of(site)
    assert {row[0] for row in standing.rows("SELECT key FROM artifact")} >= ARTIFACTS
    run_id = next(entry["run_id"] for entry in log_of(site) if entry["type"] == "run_started")
    assert any(run_id in row[0] for row in standing.rows("SELECT data FROM artifact WHERE key = 'nightly-run'"))


def kill_run(standing: Standing) -> None:
    for pid in standing.children("serve"):
        die(pid)


def kill_serve_and_run(standing: Standing) -> None:
    pids = standing.children("serve")
    standing.kill("serve")
    for pid in pids:
        die(pid)


def kill_server(standing: Standing) -> None:
    standing.kill("server")


@pytest.mark.slow
@pytest.mark.parametrize("killed", [kill_run, kill_server, kill_serve_and_run])
def test_whatever_is_killed_the_next_run_makes_it_good(
    standing: Standing, site: CanarySite, killed: Callable[[Standing], None]
) -> None:
    """What is left of a machine that is gone holds its deployment's slot in Prefect for minutes: the next run is another deployment's."""
    here = ground(standing.folder / killed.__name__, batch_size=40)
    try:
        cut_off = standing.order("nightly", form(here))
        standing.until(lambda: writes_to(here) > 5, "a run that is sending")
        killed(standing)
        if killed is kill_serve_and_run:
            standing.serve(site.place.config, "--nightly-cron", "0 0 1 1 *")
        if killed is kill_server:
            standing.start_server()
        else:
            assert len(lists_of(here)) < 10, "it was cut off before every audience had its list"
        if killed is not kill_serve_and_run:  # of a machine that is gone nobody tells Prefect; its states are a hint
            assert standing.ended(cut_off)[0] in {"CRASHED", "COMPLETED"}
        here.withdraw("plain", "plus")
        again = standing.order("backfill", form(here, reason="missed_night", dry_run=False))
        assert standing.ended(again)[0] == "COMPLETED"
        assert lists_of(here) == wanted_of(here)
        verified = standing.call("-m", "nestaudience", "audit", "verify", "--config", str(here.place.config))
        assert verified.returncode == 0, verified.stdout
    finally:
        here.close()


@pytest.mark.slow
def test_a_work_pool_runs_the_same_deployments(standing: Standing, other: CanarySite) -> None:
    """`config/prefect.yaml` as its comment says, and one run by a worker."""
    standing.stop("serve")
    assert not any(each.paused for each in standing.client.read_deployments()), "a machine that restarts pauses no night"
    made = standing.call("-m", "prefect", "work-pool", "create", "nestaudience", "--type", "process")
    assert made.returncode == 0, made.stderr
    words = ["-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", "config/prefect.yaml"]
    deployed = standing.call(*words, cwd=ROOT)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    found = {each.name: each for each in standing.client.read_deployments()}
    schedules = {name: [(s.schedule.cron, s.schedule.timezone) for s in each.schedules] for name, each in found.items()}  # type: ignore[union-attr]
    assert schedules["nightly"][-1] == ("30 3 * * *", "Europe/Stockholm")
    assert schedules["hourly"][-1] == ("10 * * * *", "Europe/Stockholm")
    assert schedules["backfill"] == []
    assert {each.work_pool_name for each in found.values()} == {"nestaudience"}
    env = found["nightly"].job_variables["env"]
    assert {**SETTINGS, "PREFECT_LOGGING_SETTINGS_PATH": str(ROOT / "flows" / "logging.yml")}.items() >= env.items()

    run = standing.order("backfill", form(other, reason="test", dry_run=False))
    standing.start("worker", "-m", "prefect", "worker", "start", "--pool", "nestaudience", "--name", "test")
    assert standing.ended(run) == ("COMPLETED", "exit codes [0]")
    assert lists_of(other) == wanted_of(other)
    told = standing.folder / "worker.log"
    standing.until(lambda: "| prefect.flow_runs - Finished in state Completed" in told.read_text(), "a line of the masked form")
    standing.stop("worker")


def test_prefect_kept_keys_and_counts_and_nobody(standing: Standing, site: CanarySite) -> None:
    """After everything above: its database, its storage, and what all processes said."""
    kept = standing.rows("SELECT data FROM flow_run_state UNION SELECT data FROM task_run_state")
    assert {row[0] for row in kept} <= {None, "null"}
    assert [path for path in standing.home.rglob("storage/**/*") if path.is_file()] == []
    assert len(standing.rows("SELECT 1 FROM flow_run WHERE state_type = 'COMPLETED'")) >= 3
    for path in (standing.home, *standing.folder.glob("*.log")):
        found = found_in_folder(path, site.needles.everything) if path.is_dir() else _in_file(path, site)
        assert not found, path


def _in_file(path: Path, site: CanarySite) -> set[str]:
    from leaks import found_in_file

    return found_in_file(path, site.needles.everything)
