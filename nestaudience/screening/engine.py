"""The engine that joins: DuckDB in this process, without a file of its own.

It opens a bounded, private connection, defines the reasons and rules as macros and variables, and runs the numbered SQL files beside it.
What it may spill to disk are keyed tokens, row numbers and facts without names; addresses and digests never enter it.
It decides nothing: the rules stand in the SQL.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb
import pyarrow as pa

from nestaudience.errors import MustStop
from nestaudience.screening.rules import AudienceRule, Rules
from nestaudience.vocabulary import EventSource, Reason, Recipient

T = TypeVar("T")
Connection = duckdb.DuckDBPyConnection
"""An engine that is open."""

TOKEN: Final = pa.binary(16)
_BITS: Final = {Recipient.GOOGLE: 1, Recipient.META: 2}
_SIGNALS: Final = {"ad_user_data": 1, "ad_personalization": 2}
_REASONS: Final = ";".join(f"CREATE MACRO r_{reason.value}() AS {reason.bit}::UBIGINT" for reason in Reason)
_KINDS: Final = f"CREATE TYPE kind_of_source AS ENUM ({', '.join(repr(kind.value) for kind in EventSource)})"


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much of the machine the engine takes. `spill` is a private directory, emptied at the start of each run."""

    memory: str = "2GB"
    threads: int = 2
    spill: Path | None = None


@contextmanager
def open_engine(limits: EngineLimits) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own to an engine that has no tables yet, and knows the reasons. Nothing is downloaded and no file is kept."""
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": limits.memory,
        "threads": limits.threads,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": str(limits.spill) if limits.spill else "",
        "arrow_lossless_conversion": True,
        "preserve_insertion_order": False,
    }
    if limits.spill is not None:
        shutil.rmtree(limits.spill, ignore_errors=True)
        limits.spill.mkdir(mode=0o700, parents=True)
    connection = duckdb.connect(":memory:", config=settings)
    try:
        connection.execute("SET enable_progress_bar = false")
        # What a step has given back would stay with the allocator: 400 MB at ten million. As a setting of `connect` it changes nothing.
        connection.execute("SET allocator_flush_threshold = '16MB'")
        connection.execute(_REASONS)
        connection.execute(_KINDS)
        yield connection
    finally:
        connection.close()
        if limits.spill is not None:
            shutil.rmtree(limits.spill, ignore_errors=True)


def run_file(connection: duckdb.DuckDBPyConnection, package: str, name: str) -> None:
    """Run one SQL file of the package. Raises `MustStop` when the engine fails: its own words could quote a value."""
    script = _script(package, name)
    _answered(lambda: connection.execute(script), name, "see the memory and spill settings, then report the file and version")


@cache
def _script(package: str, name: str) -> str:
    return (resources.files(package) / "sql" / name).read_text("utf-8")


def _answered(asking: Callable[[], T], where: str = "the engine", remedy: str = "see the memory and spill settings") -> T:
    """What the engine says; its own words when it fails could quote a value, and go no further."""
    answers: list[T] = []
    try:
        answers.append(asking())
    except duckdb.Error:
        answers.clear()
    if not answers:
        raise MustStop("engine_failed", where, f"nothing was sent; {remedy}")
    return answers[0]


def ask(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, Any] | list[Any] | None = None
) -> list[tuple[Any, ...]]:
    """A statement of ours and its rows, none for one that gives none. Raises `MustStop` when the engine fails, as `run_file` does."""
    return _answered(lambda: connection.execute(query, parameters or {}).fetchall())


def fetch(connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, Any] | None = None) -> pa.Table:
    """A query's result as Arrow: tokens as `uuid`, truth values as `bool` (the engine's own form of them is an extension type).

    Raises `MustStop` when the engine fails.
    """
    table = _answered(lambda: connection.execute(query, parameters or {}).to_arrow_table())
    for number, field in enumerate(table.schema):
        if isinstance(field.type, pa.Bool8Type):
            chunks = [chunk.storage.cast(pa.bool_()) for chunk in table.column(number).chunks]
            table = table.set_column(number, field.name, pa.chunked_array(chunks, pa.bool_()))
    return table


def tokens_to_uuid(column: pa.Array) -> pa.Array:
    """16-byte tokens in the form that the engine joins fastest; no copy."""
    return pa.ExtensionArray.from_storage(pa.uuid(), column.cast(TOKEN))


def uuid_to_tokens(column: pa.ChunkedArray) -> pa.Array:
    """The way back."""
    chunks = [chunk.storage for chunk in column.chunks]
    return pa.concat_arrays(chunks) if chunks else pa.array([], TOKEN)


def prepare(connection: duckdb.DuckDBPyConnection, rules: Rules, audiences: Iterable[AudienceRule], now: datetime) -> None:
    """Tell the engine the rules, the registered texts, the sources, the audiences and the time (UTC)."""
    variables: dict[str, Any] = {
        "now": naive(now),
        "skew": rules.skew,
        "consent_months": rules.consent_months,
        "cookie_months": rules.cookie_months,
        "inactive_months": rules.inactive_months,
        "order_months": rules.order_lookback_months,
        "site_days": rules.site_lookback_days,
        "countries": sorted(rules.countries),
        "controllers": sorted(rules.controllers),
        "irrelevant": sorted(rules.irrelevant_purposes) or [""],
        "require_verified": rules.require_verified_address,
        "cookies_block": rules.cookies_block,
        "group_wide": rules.withdrawals_group_wide,
    }
    wanted = list(audiences)
    variables["uses_site"] = any(audience.uses_site for audience in wanted)
    for name, value in variables.items():
        ask(connection, f"SET VARIABLE {name} = $value", {"value": value})
    _texts(connection, rules)
    ask(connection, "CREATE OR REPLACE TABLE source_kind (source VARCHAR, kind VARCHAR, number UBIGINT)")
    _insert(connection, "source_kind", [(name, kind.value, None) for name, kind in rules.sources.items()])
    ask(
        connection,
        "CREATE OR REPLACE TABLE audience (audience_no INTEGER, key VARCHAR, controller VARCHAR, segment VARCHAR, recipient VARCHAR, "
        "uses_orders BOOLEAN, uses_site BOOLEAN)",
    )
    rows = [(n, a.key, a.controller, a.segment, a.recipient.value, a.uses_orders, a.uses_site) for n, a in enumerate(wanted)]
    _insert(connection, "audience", rows)


def naive(moment: datetime) -> datetime:
    """A moment as the engine holds it: UTC without a zone. Raises `ValueError` for a moment that has no zone."""
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone")
    return moment.astimezone(UTC).replace(tzinfo=None)


def _texts(connection: duckdb.DuckDBPyConnection, rules: Rules) -> None:
    ask(
        connection,
        "CREATE OR REPLACE TABLE text (text_no INTEGER, version VARCHAR, recipients UTINYINT, valid_from TIMESTAMP, signals UTINYINT)",
    )
    ask(connection, "CREATE OR REPLACE TABLE text_cover (text_no INTEGER, controller VARCHAR, purpose UTINYINT)")
    purposes = {"ad_matching": 1, "web_behaviour": 2, "enhanced_conversions": 3}
    texts, covers = [], []
    for number, text in enumerate(rules.texts):
        bits = sum(_BITS[recipient] for recipient in text.recipients)
        signals = sum(_SIGNALS[signal] for signal in text.google_signals)
        texts.append((number, text.version, bits, naive(text.valid_from), signals))
        covers += [(number, c, purposes[p.value]) for c in text.controllers for p in text.purposes if p.value in purposes]
    _insert(connection, "text", texts)
    _insert(connection, "text_cover", covers)


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        marks = ", ".join([f"({', '.join('?' for _ in rows[0])})"] * len(rows))
        ask(connection, f"INSERT INTO {table} VALUES {marks}", list(chain.from_iterable(rows)))  # noqa: S608 (table names are ours)
