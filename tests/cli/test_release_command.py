"""`nestaudience release` and `plan --against-last-night` as a person types them, on an installation whose night was two hours ago."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from nights import SandboxWorld
from typer.testing import CliRunner, Result

from nestaudience.cli import app
from nestaudience.sandbox.world import StoreFile

AUDIO = "computime/bought_audio_12m/google"
BOTH = ["anomaly_additions", "anomaly_removals"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxWorld]:
    """Its segment selects other people now than on the night."""
    start = datetime.now(UTC) - timedelta(hours=2)
    with SandboxWorld(tmp_path_factory.mktemp("typed"), accounts=3000, start=start) as made:
        made.edit("change_people = 500", "change_people = 100")
        made.night()
        made.advance(timedelta(hours=2))
        with StoreFile(made.store) as store:
            store.run(
                "CREATE TABLE kept AS SELECT account_id, oldest_order_at FROM segment_row WHERE segment = 'bought_audio_12m'",
                "DELETE FROM segment_row WHERE segment = 'bought_audio_12m'",
                "INSERT INTO segment_row SELECT 'bought_audio_12m', 'computime', account_id, (SELECT max(oldest_order_at) FROM kept), NULL, NULL "
                "FROM shop_account WHERE company = 'computime' AND account_id NOT IN (SELECT account_id FROM kept)",
                "UPDATE segment_run SET row_count = (SELECT count(*) FROM segment_row WHERE segment = 'bought_audio_12m') "
                "WHERE segment = 'bought_audio_12m'",
            )
        yield made


def run(world: SandboxWorld, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(world.config)], env={"COLUMNS": "100"})


def document(result: Result, code: int = 0) -> dict[str, Any]:
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def of(found: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in found["audiences"] if each["audience"] == AUDIO)


def test_a_held_plan_is_explained_released_and_shown(world: SandboxWorld) -> None:
    held = document(run(world, "plan", "--against-last-night", "--json"), code=5)
    plan, compared = of(held), of(held["against"])
    assert plan["gates"] == compared["gates_closed"] == BOTH
    assert [each["code"] for each in plan["why"]] == ["held", "held"]
    assert held["against"]["configuration_changed"] == []
    assert compared["candidates"]["then"] < compared["candidates"]["now"]
    text = run(world, "plan", "--against-last-night")
    assert "held by anomaly_additions" in text.stdout
    assert "Against the night of" in text.stdout
    assert [line for line in text.stdout.splitlines() if len(line) > 100 and set(line) & set("│┃━")] == []

    asked = run(world, "release", AUDIO, "--reason", "rule_change")
    assert asked.exit_code == 0
    assert "Nothing was released" in asked.output
    assert of(document(run(world, "plan", "--json"), code=5))["gates"] == BOTH

    given = document(run(world, "release", AUDIO, "--reason", "rule_change", "--yes", "--json"))
    assert given["released"] is True
    assert (given["offer"]["gates"], given["offer"]["stay_closed"]) == (BOTH, [])
    assert (given["offer"]["additions"], given["offer"]["ordinary"]) == (plan["additions"], plan["ordinary"])
    assert timedelta(hours=23) < datetime.fromisoformat(given["until"]) - datetime.now(UTC) <= timedelta(hours=24)

    let = of(document(run(world, "plan", "--json")))
    assert (let["gates"], let["released"]) == ([], BOTH)
    assert let["send_additions"] == plan["additions"]
    (shown,) = json.loads(run(world, "status", "--json").stdout)["releases"]
    assert (shown["audience"], shown["cause"]) == (AUDIO, "rule_change")
    assert f"for {AUDIO} until" in run(world, "status").stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((AUDIO, "--reason", "because"), 2, "because"),
        ((AUDIO, "--reason", "other_see_case"), 2, "case_missing"),
        (("a/b/google", "--reason", "test"), 2, "audience_unknown"),
        (("computime/viewed_laptops_30d/google", "--reason", "test", "--yes"), 2, "nothing_to_release"),
    ],
)
def test_what_is_refused(world: SandboxWorld, words: tuple[str, ...], code: int, said: str) -> None:
    result = run(world, "release", *words)
    assert result.exit_code == code
    assert said in result.output
