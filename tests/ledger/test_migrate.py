"""`ledger migrate`: a ledger that an older release made is backed up, brought to today's tables, and says so in its log; or stays as it is."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from nights import FIRST_NIGHT
from places import drop_triggers, plain
from typer.testing import CliRunner

import nestaudience.ledger
from nestaudience.cli import app
from nestaudience.config.load import ledger_of, parse
from nestaudience.errors import MustStop, NeedsFix, TryAgain
from nestaudience.ledger.engine import (
    Place,
    PostgresLedger,
    newest_revision,
    open_engine,
    open_ledger,
    read,
    schema_revision,
    write,
)
from nestaudience.ledger.entries import Context, EntryType
from nestaudience.ledger.keys import create_keys
from nestaudience.ledger.lease import leased
from nestaudience.ledger.migrate import Migrated
from nestaudience.ledger.on_postgres import make_room
from nestaudience.ledger.told import ToldAlerts
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.vocabulary import RunKind
from nestaudience.wiring import migrate_ledger, open_evidence, open_keys, open_parts

EXAMPLE = Path(__file__).parents[2] / "config" / "nestaudience.toml"
OLD = "0002"
RANDOM = Random(5).randbytes


class Older:
    """An installation whose ledger was born at revision 0002, with three entries under a checkpoint; in its folder, or on a server."""

    def __init__(self, folder: Path, clock: SandboxClock, server: PostgresLedger | None = None) -> None:
        self.config, self.clock = folder / "nestaudience.toml", clock
        shutil.copy(EXAMPLE, self.config)
        for name in ("keys", "ledger"):
            (folder / name).mkdir(mode=0o700)
        create_keys(folder / "keys" / "keys.json", RANDOM)
        self.path = folder / "ledger" / "ledger.sqlite"
        self.place: Place = server or self.path
        if server is not None:
            (folder / "ledger-url").write_text(server.url)
            text = self.config.read_text().replace('path = "ledger/ledger.sqlite"', 'url = "file:ledger-url"')
            self.config.write_text(text.replace("# tables_schema = ", f'tables_schema = "{server.schema}" # '))
        self.engine = open_engine(self.place)
        environment, table = ledger_of(parse(self.config))

        def born(connection: sa.Connection) -> None:
            make_room(connection)
            config = Config()
            config.set_main_option("script_location", str(Path(nestaudience.ledger.__file__).parent / "migrations"))
            config.set_main_option("path_separator", "os")
            config.attributes["connection"] = connection
            command.upgrade(config, OLD)
            facts = {
                "environment": environment.value,
                "origin": table.origin,
                "created_at": "2026-01-01T00:00:00.000Z",
                "created_by": "0.0",
            }
            for key, value in facts.items():
                connection.execute(sa.text("INSERT INTO meta VALUES (:key, :value)"), {"key": key, "value": value})

        write(self.engine, born)
        self._three_entries()

    def _three_entries(self) -> None:
        from nestaudience.ledger.checkpoint import Signer
        from nestaudience.ledger.keys import load_keys
        from nestaudience.ledger.log import TransferLog

        folder = self.config.parent
        _, table = ledger_of(parse(self.config))
        keys = load_keys(folder / "keys" / "keys.json")
        signer = Signer(keys.signing_key(), table.origin, folder / table.head, keys.older_signing_keys())
        log = TransferLog(self.engine, signer, clock=self.clock.now, randomness=RANDOM)
        context = Context("run-1", RunKind.NIGHTLY, "", "2025-09-08", "0.0", "unknown", "0" * 64, "cli")
        log.append_and_seal([(EntryType.HEARTBEAT, context, {"n": n}) for n in range(3)])

    def migrate(self, *, backed_up: bool = True) -> Migrated:
        return migrate_ledger(self.config, clock=self.clock.now, actor="cli", backed_up=backed_up, randomness=RANDOM)

    def bodies(self) -> list[bytes]:
        with plain(self.place) as cursor:
            return [row[0] for row in cursor.execute("SELECT body FROM log_entry ORDER BY idx").fetchall()]

    def dump(self) -> dict[str, list[tuple[object, ...]]]:
        """Every table with its columns and rows, but for who holds a lease."""

        def look(connection: sa.Connection) -> dict[str, list[tuple[object, ...]]]:
            inspector = sa.inspect(connection)
            found = {}
            for name in sorted(inspector.get_table_names()):
                columns = [column["name"] for column in inspector.get_columns(name)]
                rows = connection.execute(sa.text(f"SELECT * FROM {name}")).all() if name != "lease" else []
                found[name] = [tuple(columns), *sorted((tuple(row) for row in rows), key=repr)]
            return found

        return read(self.engine, look)

    def backups(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"ledger.sqlite.{OLD}.*"))


@pytest.fixture
def older(place: Place, tmp_path: Path) -> Iterator[Older]:
    made = Older(tmp_path, SandboxClock(FIRST_NIGHT), None if isinstance(place, Path) else place)
    yield made
    made.engine.dispose()


@pytest.fixture
def older_file(tmp_path: Path) -> Iterator[Older]:
    made = Older(tmp_path, SandboxClock(FIRST_NIGHT))
    yield made
    made.engine.dispose()


def test_an_older_ledger_is_refused_and_named(older: Older) -> None:
    for read_only in (True, False):
        with pytest.raises(NeedsFix) as caught:
            open_evidence(older.config, older.clock.now, read_only=read_only)
        assert caught.value.code == "ledger_older"
        assert "nestaudience ledger migrate" in caught.value.next_step


def test_it_is_migrated_and_an_entry_says_so(older: Older) -> None:
    before = older.bodies()
    done = older.migrate()
    assert (done.before, done.after) == (OLD, newest_revision())
    assert older.bodies()[:-1] == before
    evidence = open_evidence(older.config, older.clock.now)
    try:
        (last,) = evidence.reader.entries(first=3)
        assert last["type"] == EntryType.LEDGER_MIGRATED
        assert last["fields"] == {"before": OLD, "after": newest_revision()}
        assert evidence.reader.notes()[-1][0] == 4
        assert ToldAlerts(evidence.engine).all() == {}
        assert open_keys(evidence)
    finally:
        evidence.engine.dispose()
    assert CliRunner().invoke(app, ["audit", "verify", "--config", str(older.config)]).exit_code == 0
    again = older.migrate(backed_up=False)
    assert (again.before, again.backup, len(older.bodies())) == (again.after, None, 4)


def test_a_file_is_backed_up_first(older_file: Older) -> None:
    with sqlite3.connect(older_file.path) as plain_file:
        dump = list(plain_file.iterdump())
    done = older_file.migrate(backed_up=False)
    (backup,) = older_file.backups()
    assert backup == done.backup
    assert backup.stat().st_mode & 0o077 == 0
    with sqlite3.connect(backup) as copy:
        assert [line for line in copy.iterdump() if "lease" not in line or "TABLE" in line] == dump
    assert older_file.migrate().backup is None
    copies = [path for path in older_file.backups() if not path.name.endswith(("-wal", "-shm"))]  # looking at the copy made these
    assert copies == [backup]


def test_a_person_backs_a_server_up_and_says_so(older: Older) -> None:
    if isinstance(older.place, Path):
        return
    before = older.dump()
    command = ["ledger", "migrate", "--config", str(older.config)]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2
    assert "backup_missing" in refused.output
    assert "--backed-up" in refused.output
    assert older.dump() == before
    done = CliRunner().invoke(app, [*command, "--backed-up"])
    assert done.exit_code == 0, done.output
    assert "ledger grants" in done.stdout


def test_a_run_goes_on_after_it(older: Older) -> None:
    older.migrate()
    (older.config.parent / "sandbox").mkdir()
    for name in ("token", "ca.pem"):
        (older.config.parent / "sandbox" / name).write_text("x")
    with open_parts(older.config, clock=older.clock.now, randomness=RANDOM) as parts:
        assert parts.open_log().count() == 4


@pytest.mark.parametrize("lease", ["writer", "list:c/s/google"])
def test_it_is_refused_while_somebody_works(older: Older, lease: str) -> None:
    with leased(older.engine, lease, "run-7", older.clock.now):
        before = older.dump()
        with pytest.raises(TryAgain) as caught:
            older.migrate()
        assert caught.value.code == "leased"
        assert older.dump() == before
        assert older.backups() == []
    older.migrate()


def test_a_log_that_is_not_the_signed_one_is_left_alone(older: Older) -> None:
    with plain(older.place) as cursor:
        drop_triggers(cursor, "log_entry")
        cursor.execute("DELETE FROM log_entry WHERE idx = 2")
    with pytest.raises(MustStop) as caught:
        older.migrate()
    assert caught.value.code == "ledger_inconsistent"
    assert read(older.engine, schema_revision) == OLD
    assert older.backups() == []


def test_without_a_backup_nothing_is_changed(older_file: Older) -> None:
    older = older_file
    name = f"ledger.sqlite.{OLD}.{older.clock.now():%Y%m%dT%H%M%SZ}"
    (older.path.parent / name).write_text("somebody else's")
    with pytest.raises(MustStop) as caught:
        older.migrate()
    assert caught.value.code == "ledger_backup"
    assert (older.path.parent / name).read_text() == "somebody else's"
    assert read(older.engine, schema_revision) == OLD
    assert len(older.bodies()) == 3


def test_a_step_that_fails_leaves_everything_as_it_was(older: Older) -> None:
    with plain(older.place) as cursor:
        cursor.execute("CREATE TABLE told_alert (x int)")  # the new table cannot be made
    before = older.dump()
    with pytest.raises(MustStop):
        older.migrate()
    assert read(older.engine, schema_revision) == OLD
    assert older.dump() == before


def test_other_ledgers_are_refused(older: Older, tmp_path: Path) -> None:
    text = older.config.read_text()
    older.config.write_text(text.replace("nestaudience/sandbox", "nestaudience/other"))
    with pytest.raises(MustStop) as caught:
        older.migrate()
    assert caught.value.code == "ledger_origin"
    here = "ledger/ledger.sqlite" if isinstance(older.place, Path) else older.place.schema
    older.config.write_text(text.replace(f'"{here}"', '"none"'))
    with pytest.raises(MustStop) as caught:
        older.migrate()
    assert caught.value.code == "ledger_missing"
    assert not (tmp_path / "none").exists()


def test_the_command(older_file: Older) -> None:
    older = older_file
    runner = CliRunner()
    first = runner.invoke(app, ["ledger", "migrate", "--config", str(older.config)])
    assert first.exit_code == 0, first.output
    assert f"Migrated from {OLD} to {newest_revision()}" in first.stdout
    second = runner.invoke(app, ["ledger", "migrate", "--json", "--config", str(older.config)])
    assert '"backup": ""' in second.stdout
    environment, table = ledger_of(parse(older.config))
    open_ledger(older.path, environment=environment, origin=table.origin, clock=older.clock.now).dispose()


def test_a_backup_from_before_an_upgrade_is_migrated_and_then_recovered(older_file: Older) -> None:
    older = older_file
    backup = older.config.parent / "backup.sqlite"
    with sqlite3.connect(older.path) as source, sqlite3.connect(backup) as target:
        source.backup(target)
    older.migrate()
    older.engine.dispose()
    for left in older.path.parent.glob("ledger.sqlite*"):
        left.unlink()
    shutil.copy(backup, older.path)
    command = ["--config", str(older.config)]
    refused = CliRunner().invoke(app, ["ledger", "recover", "--yes", *command])
    assert refused.exit_code == 2
    assert "ledger migrate" in refused.output.replace("\n", " ")
    assert CliRunner().invoke(app, ["ledger", "migrate", *command]).exit_code == 0
    recovered = CliRunner().invoke(app, ["ledger", "recover", "--yes", "--json", *command])
    said = json.loads(recovered.stdout)
    assert (said["done"], said["entries_lost"], said["epoch"]) == (True, 1, 2)
    verified = CliRunner().invoke(app, ["audit", "verify", *command])
    assert verified.exit_code == 0, verified.output
