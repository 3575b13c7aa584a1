"""From the store's table and its secrets to an opened customer store, of whatever kind.

A store that cannot be opened holds no no back: it is handed out with its error, which whoever reads gets. It reads no row.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn

from nestaudience.config.schema import Store
from nestaudience.customers import store_of
from nestaudience.customers.port import CustomerStore, Snapshot, StoreProblem
from nestaudience.errors import NestAudienceError
from nestaudience.transports import secret


class AbsentStore:
    """A store that cannot be opened, for example because its secret is missing."""

    def __init__(self, reason: NestAudienceError) -> None:
        self._reason = reason

    def snapshot(self, *, live: bool = False) -> AbstractContextManager[Snapshot]:
        """Raises the reason."""
        self._refuse()

    def check(self) -> tuple[StoreProblem, ...]:
        """Raises the reason."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise self._reason.with_traceback(None)


def open_store(table: Store, base: Path, irrelevant_purposes: frozenset[str]) -> CustomerStore:
    """The store that the table names; paths are relative to `base`. Raises nothing: an error comes with the first reading."""
    reason: NestAudienceError | None = None
    try:
        return store_of(table.kind)(*_place(table, base), irrelevant_purposes=irrelevant_purposes, **_options(table, base))
    except NestAudienceError as error:
        reason = error.with_traceback(None)
    return AbsentStore(reason)


def _place(table: Store, base: Path) -> tuple[str | Path]:
    return (base / (table.path or "") if table.url is None else secret(table.url, base),)


def _options(table: Store, base: Path) -> dict[str, Any]:
    if table.kind != "postgres":
        return {}
    live = secret(table.live_url, base) if table.live_url is not None else None
    return {"live_url": live, "views_schema": table.views_schema}
