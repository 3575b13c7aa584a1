"""The backfill flow in this process, on a real Prefect server: what it shows, what it sends, what it refuses, and for whom it waits."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from lists_by_rule import wanted_lists
from nights import SandboxWorld

from nestaudience.config.load import load
from nestaudience.ledger.lease import WRITER, leased
from nestaudience.vocabulary import Cause
from nestaudience.wiring import open_evidence
from tests.test_lists_equal_consent import entries, lists_of


@pytest.fixture
def world(tmp_path: Path, prefect_server: Path) -> Iterator[SandboxWorld]:
    with SandboxWorld(tmp_path) as made:
        yield made


def order(world: SandboxWorld, *, patience: timedelta = timedelta(0), **parameters: Any) -> tuple[str, str]:
    """A backfill through Prefect: the state's type and message."""
    from flows.backfill import backfill
    from flows.steps import session

    with session(world.config, clock=world.clock.now, actor="test", patience=patience) as (key, _):
        state = backfill(**{"reason": "test", **parameters}, config=str(world.config), session_key=key, return_state=True)
    return state.type.value, str(state.message)


def artifact(server: Path, key: str) -> Any:
    """The latest artifact of a key."""
    with closing(sqlite3.connect(f"file:{server}?mode=ro", uri=True)) as database:
        row = database.execute("SELECT data FROM artifact WHERE key = ? ORDER BY created DESC", [key]).fetchone()
    data = json.loads(row[0])
    return json.loads(data) if data.startswith(("[", "{")) else data


def test_a_dry_run_shows_what_the_run_then_does(world: SandboxWorld, prefect_server: Path) -> None:
    kind, message = order(world)
    shown = artifact(prefect_server, "backfill-preview")
    assert (world.sandbox.writes, entries(world)[0] if (world.folder / "ledger").exists() else []) == (0, [])
    assert (kind, message.partition(" in ")[0]) == ("COMPLETED", f"would remove 0 and add {sum(row['to add'] for row in shown)}")
    assert order(world, dry_run=False) == ("COMPLETED", "exit codes [0]")
    sent = artifact(prefect_server, "backfill-sent")
    assert [(row["audience"], row["to add"], row["to remove"]) for row in shown] == [
        (row["audience"], row["added"], row["removed"]) for row in sent
    ]
    funnel = artifact(prefect_server, "backfill-funnel")
    assert all(row["candidates"] == sum(v for k, v in row.items() if k not in {"audience", "candidates"}) for row in funnel)
    assert f"nestaudience audit show {entries(world)[0][0]['run_id']}" in artifact(prefect_server, "backfill-run")
    world.advance(timedelta(hours=1))
    assert lists_of(world) == wanted_lists(world.store, load(world.config), world.clock.now())


def test_a_closed_gate_is_told_before(world: SandboxWorld, prefect_server: Path) -> None:
    world.edit("smallest_list = 100", "smallest_list = 250")
    _, message = order(world)
    assert message.endswith("; closed gates: too_small")
    shown = artifact(prefect_server, "backfill-preview")
    assert {(row["closed gates"], row["to add"] == 0, row["held back"] > 0) for row in shown} == {
        ("", False, False),
        ("too_small", True, True),
    }


def test_resend_sends_everybody_once_more(world: SandboxWorld, prefect_server: Path) -> None:
    order(world, dry_run=False)
    world.advance(timedelta(hours=1))
    before = lists_of(world)
    assert order(world, dry_run=False, mode="resend", segments=["crime_readers"]) == ("COMPLETED", "exit codes [0]")
    (row,) = artifact(prefect_server, "backfill-sent")
    assert (row["audience"], row["added"]) == ("bokhyllan/crime_readers/google", len(before[row["audience"]]))
    world.advance(timedelta(hours=1))
    assert lists_of(world) == before


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"controllers": ["nobody"]}, ["controllers: name only bokhyllan, computime, hemkraft"]),
        ({"segments": "crime_readers"}, ["segments: a list of"]),
        ({"mode": "retract"}, ["mode: diff, resend or replace"]),
        ({"for_night": "2026-13-01"}, ["for_night: a date"]),
        ({"for_night": date(2026, 11, 22)}, ["for_night: a day from 2026-10-21 to 2026-11-21"]),
        ({"case": "anna.kanarie@example.se"}, ["case: letters"]),
        ({"dry_run": "perhaps"}, ["dry_run: true or false"]),
        ({"controllers": ["hemkraft"], "segments": ["crime_readers"]}, ["no audience is in all of"]),
        (
            {"reason": "because", "mode": "x", "for_night": "nope", "destinations": ["meta_ads"], "case": "?"},
            ["reason: one of", "mode: diff", "for_night: a date", "destinations: name only", "case: letters"],
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_orders_end_with_everything_that_is_wrong(world: SandboxWorld, wrong: dict[str, Any], told: list[str]) -> None:
    kind, message = order(world, dry_run=wrong.get("dry_run", False), **{k: v for k, v in wrong.items() if k != "dry_run"})
    assert kind == "FAILED"
    assert message.startswith("backfill_refused at the backfill's parameters (needs_fix): ")
    assert [words for words in told if words not in message] == []
    assert "anna" not in message
    assert world.sandbox.writes == 0


def test_it_waits_for_a_run_that_is_at_work(world: SandboxWorld) -> None:
    """As long as its patience lasts, and then says so. Somebody else holds the writer's lease meanwhile."""
    evidence = open_evidence(world.config, world.clock.now)
    try:
        with leased(evidence.engine, WRITER, "another", world.clock.now):
            kind, message = order(world, dry_run=False)
        assert (kind, message.partition(" ")[0]) == ("FAILED", "leased")
        holding, free = threading.Event(), threading.Event()
        ended_at: list[float] = []

        def another() -> None:
            with leased(evidence.engine, WRITER, "another", world.clock.now):
                holding.set()
                free.wait(30)
                ended_at.append(time.monotonic())

        holder = threading.Thread(target=another)
        holder.start()
        holding.wait(10)
        threading.Timer(3.0, free.set).start()
        assert order(world, dry_run=False, patience=timedelta(minutes=1)) == ("COMPLETED", "exit codes [0]")
        holder.join()
    finally:
        evidence.engine.dispose()
    assert ended_at
    assert ended_at[0] < time.monotonic()
    assert world.sandbox.writes > 0


def test_the_form_offers_every_reason() -> None:
    from flows.backfill import Why

    assert set(get_args(Why)) == {cause.value for cause in Cause}
