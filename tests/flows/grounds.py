"""An installation for flows that run in processes of their own: real time, both platforms, canaries among its people.

site = ground(folder)
lists_of(site) == wanted_of(site)     # what the platforms hold, and what the rules let be there
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from canary_site import CanarySite
from lists_by_rule import wanted_lists
from postgres_server import Postgres
from typer.testing import CliRunner

from nestaudience.cli import app
from nestaudience.config.load import load
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.vocabulary import AudienceKey
from nestaudience.wiring import open_evidence

LEDGER_FILE = 'path = "ledger/ledger.sqlite"'
Lists = dict[AudienceKey, frozenset[str]]


def ground(folder: Path, *, batch_size: int = 10_000) -> CanarySite:
    """A site whose sandbox has the machine's own time. Close it."""
    site = CanarySite(folder, SandboxClock(datetime.now(UTC), ticking=time.monotonic), accounts=3000)
    site.edit("batch_size = 10_000", f"batch_size = {batch_size}")
    return site


def on_postgres(site: CanarySite, server: Postgres) -> None:
    """Let the site's ledger lie in a database of its own, made by the owner and used by a role that can change no evidence."""
    database, role, url = server.database(), server.name("runs"), site.folder / "ledger-url"
    site.edit(LEDGER_FILE, 'url = "file:ledger-url"')
    url.write_text(server.as_user("postgres", database))
    server.run(f"CREATE ROLE {role} LOGIN")
    command = CliRunner()
    assert command.invoke(app, ["ledger", "create", "--config", str(site.place.config)]).exit_code == 0
    server.script(command.invoke(app, ["ledger", "grants", role, "--config", str(site.place.config)]).stdout, database)
    url.write_text(server.as_user(role, database))


def lists_of(site: CanarySite) -> Lists:
    """What the platforms hold, by audience."""
    evidence = open_evidence(site.place.config, site.clock.now, read_only=True)
    remotes = evidence.memory.lists()
    evidence.engine.dispose()
    platforms = {"google": site.sandbox, "meta": site.meta}
    return {remote.audience: platforms[remote.recipient].members(remote.ad_account, remote.list_id) for remote in remotes}


def writes_to(site: CanarySite) -> int:
    """How many requests that change something have reached the platforms."""
    return site.sandbox.writes + site.meta.writes


def wanted_of(site: CanarySite) -> Lists:
    """What the lists should hold now."""
    return wanted_lists(site.place.store, load(site.place.config), site.clock.now())


def log_of(site: CanarySite) -> list[dict[str, Any]]:
    """The whole log; empty without a ledger."""
    in_a_file = LEDGER_FILE in site.place.config.read_text("utf-8")
    if in_a_file and not (site.folder / "ledger" / "ledger.sqlite").exists():
        return []
    evidence = open_evidence(site.place.config, site.clock.now, read_only=True)
    try:
        return list(evidence.reader.entries())
    finally:
        evidence.engine.dispose()
