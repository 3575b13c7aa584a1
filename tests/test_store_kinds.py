"""Whole runs on stores of other kinds: the configuration names them, a night sends the same, and the last look reads the primary."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from customers.store_rows import Rows, write_parquet, write_postgres
from nights import SandboxWorld
from postgres_server import Postgres

from nestaudience import sync
from nestaudience.checks import check_everything
from nestaudience.customers.contract import VIEWS
from nestaudience.errors import NeedsFix
from nestaudience.sandbox.world_schema import moment
from nestaudience.stores import AbsentStore
from nestaudience.vocabulary import AudienceKey
from nestaudience.wiring import open_parts

CRIME = AudienceKey("bokhyllan/crime_readers/google")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SandboxWorld]:
    """At the time of now: a server has a clock of its own, and what it says is compared."""
    with SandboxWorld(tmp_path, accounts=2000, start=datetime.now(UTC)) as opened:
        yield opened


def rows_in(world: SandboxWorld) -> Rows:
    with closing(sqlite3.connect(world.store)) as con:
        con.row_factory = sqlite3.Row
        return {view.name: [dict(row) for row in con.execute(f"SELECT * FROM {view.name}")] for view in VIEWS}


def use(world: SandboxWorld, table: str) -> None:
    world.edit('kind = "sqlite" ', f"{table}\n# ")
    world.edit('path = "store.sqlite" ', "# ")


def use_postgres(world: SandboxWorld, bulk: str, live: str) -> None:
    for name, url in (("bulk", bulk), ("live", live)):
        (world.folder / name).write_text(url + "\n")
    use(world, 'kind = "postgres"\nurl = "file:bulk"\nlive_url = "file:live"\nviews_schema = "ads"')


def shown(outcome: sync.Outcome) -> dict[str, tuple[int, int, int]]:
    return {key: (sent.removed, sent.added, sent.kept_back) for key, sent in outcome.sent.items()}


def test_a_night_sends_the_same_from_every_kind_of_store(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> None:
    found, start = [], datetime.now(UTC)
    for kind in ("sqlite", "postgres", "parquet"):
        with SandboxWorld(tmp_path_factory.mktemp(kind), accounts=2000, start=start) as world:
            rows = rows_in(world)
            if kind == "postgres":
                url = postgres.database()
                write_postgres(url, "ads", rows)
                use_postgres(world, url, url)
            elif kind == "parquet":
                write_parquet(world.folder / "views", rows)
                use(world, 'kind = "parquet"\npath = "views"')
            outcome = world.night()
            world.advance(timedelta(hours=1))
            assert set(outcome.exit_codes) == {0}, kind
            found.append((shown(outcome), sorted(world.members().values(), key=sorted)))
    assert found[0] == found[1] == found[2]
    assert sum(added for _, added, _ in found[0][0].values()) > 300


def test_the_last_look_reads_the_primary_and_the_run_the_replica(world: SandboxWorld, postgres: Postgres) -> None:
    """Whoever said no to the primary alone, before the run began, is kept back by the look; the plan, read from the replica, still has them."""
    replica, primary = postgres.database(), postgres.database()
    for url in (replica, primary):
        write_postgres(url, "ads", rows_in(world))
    use_postgres(world, replica, primary)
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts, sync.Run(parts) as run:
        keys = run.judge()
        wanted = run.judged.delta.additions(CRIME)
        rows = wanted.column("row_no").combine_chunks().slice(0, 5)
        chosen = run.judged.screened.people.account_ids.take(rows).to_pylist()
        now = moment(world.clock.now())
        postgres.run(
            *(
                "INSERT INTO ads.consent_event (event_id, account_id, controller_id, purpose, recipient, action, occurred_at, recorded_at, source,"
                f" confirmed) VALUES ('late-{who}', '{who}', 'bokhyllan', 'ad_matching', '*', 'withdraw', '{now}', '{now}',"
                " 'web_account_settings', true)"
                for who in chosen
            ),
            url=primary,
        )
        for key in keys:
            run.remove(key)
        for key in keys:
            run.add(key)
        outcome = run.finish()
    assert outcome.sent[CRIME].kept_back == len(chosen) == 5
    assert outcome.sent[CRIME].added == wanted.num_rows - 5


def test_a_server_whose_clock_is_another_adds_nobody(tmp_path: Path, postgres: Postgres) -> None:
    """This machine's clock is three minutes late."""
    with SandboxWorld(tmp_path, accounts=2000, start=datetime.now(UTC) - timedelta(minutes=3)) as world:
        url = postgres.database()
        write_postgres(url, "ads", rows_in(world))
        use_postgres(world, url, url)
        plans = world.plan()
        assert {gate.code for plan in plans for gate in plan.gates} == {"clock_skew"}
        assert all("ahead of this machine's" in plan.gates[0].next_step for plan in plans)
        assert all(plan.additions_to_send == 0 < plan.counts.additions for plan in plans if plan.counts.wanted)
        assert "clock_skew, the store" in {finding.where for finding in check_everything(world.config, clock=world.clock.now)}


def test_a_store_that_cannot_be_opened_stops_additions_and_says_why(world: SandboxWorld) -> None:
    use(world, 'kind = "postgres"\nurl = "env:NESTAUDIENCE_NO_SUCH_URL"')
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        assert isinstance(parts.store, AbsentStore)
        with pytest.raises(NeedsFix) as caught:
            parts.store.snapshot(live=True)
        assert caught.value.code == "secret_missing"
    outcome = world.night()
    assert not any(sent.added for sent in outcome.sent.values())
    assert 2 in outcome.exit_codes
    found = {finding.what for finding in check_everything(world.config, clock=world.clock.now)}
    assert "secret_missing" in found
