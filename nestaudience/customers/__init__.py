"""The customer store: the contract of its views, what it must be able to do, and one adapter per kind.

An adapter's module is loaded when a store of its kind is opened, so that a kind which is not used needs no driver.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from nestaudience.errors import NeedsFix

if TYPE_CHECKING:
    from nestaudience.customers.port import CustomerStore

STORES: Final = {
    "sqlite": "nestaudience.customers.sqlite:SqliteStore",
    "postgres": "nestaudience.customers.postgres:PostgresStore",
    "parquet": "nestaudience.customers.parquet:ParquetStore",
}
"""Kind of store -> `module:class`. A new kind is one file and one line."""


def store_of(kind: str) -> "Callable[..., CustomerStore]":
    """The class that opens stores of this kind. Raises `NeedsFix` for a kind that is not in `STORES`."""
    if kind not in STORES:
        raise NeedsFix("store_kind_unknown", "store.kind", f"use one of: {', '.join(sorted(STORES))}")
    module, name = STORES[kind].split(":")
    return cast("Callable[..., CustomerStore]", getattr(import_module(module), name))
