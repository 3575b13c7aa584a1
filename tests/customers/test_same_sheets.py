"""The same rows give the same sheets and the same decisions, whatever kind of store they lie in.

Values may be spelled differently where a type spells them (`12` and `12.0`, a fraction of zero seconds); what they say is the same.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgres_server import Postgres
from store_kinds import KINDS, Building
from store_rows import NOW, Rows, account, consent, right, rows_of, write_parquet, write_postgres

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, SEGMENT_MEMBER, VIEWS, View
from nestaudience.customers.parquet import ParquetStore
from nestaudience.customers.port import CustomerStore
from nestaudience.customers.postgres import PostgresStore
from nestaudience.sandbox.world import SEGMENTS, build_store
from nestaudience.sandbox.world_schema import moment
from tests.reference.strategies import Case, cases
from tests.screening.test_equals_reference import compare

BUILT = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)


def said(view: View, name: str, value: object) -> object:
    """What a value says, apart from its spelling."""
    text = str(value)
    kind = next((column.kind for column in view.columns if column.name == name), "text")
    if value is None or kind not in {"time", "number"}:
        return value
    try:
        return Decimal(text) if kind == "number" else datetime.fromisoformat(text)
    except (InvalidOperation, ValueError):
        return text


def content(store: CustomerStore, view: View, **how: object) -> list[tuple[object, ...]]:
    if view is ACCOUNT:
        how["now"] = NOW
    with store.snapshot() as snapshot:
        rows = rows_of(snapshot, view, **how)
    return sorted((tuple(said(view, name, row[name]) for name in sorted(row)) for row in rows), key=repr)


def builders(folder: Path, postgres: Postgres) -> dict[str, Building]:
    return {kind: Building(kind, folder / kind, postgres) for kind in KINDS}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Every row of the generated store, by view."""
    path = tmp_path_factory.mktemp("world") / "store.db"
    build_store(path, seed=5, accounts=900, now=BUILT)
    with closing(sqlite3.connect(path)) as con:
        con.row_factory = sqlite3.Row
        return {view.name: [dict(row) for row in con.execute(f"SELECT * FROM {view.name}")] for view in VIEWS}


@pytest.fixture(scope="module")
def stores(world: Rows, tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> dict[str, CustomerStore]:
    return {kind: build(world) for kind, build in builders(tmp_path_factory.mktemp("stores"), postgres).items()}


def ways(world: Rows) -> Iterator[tuple[View, dict[str, object]]]:
    """Every way in which a view is read: whole, by account, since a time, by segment, and together."""
    some = pa.array([str(row["account_id"]) for row in world["account"][::7]] + ["nobody", None])
    since = BUILT - timedelta(days=40)
    for view in VIEWS:
        yield view, {}
        if view.has_account:
            yield view, {"accounts": some}
    for view in (ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT):
        yield view, {"noes_since": since}
        yield view, {"noes_since": since, "accounts": some}
    pairs = frozenset((fact.controller, fact.code) for fact in SEGMENTS[1:4])
    yield SEGMENT_MEMBER, {"segments": pairs}
    yield SEGMENT_MEMBER, {"segments": pairs, "accounts": some}


def test_the_generated_store_reads_the_same_everywhere(world: Rows, stores: dict[str, CustomerStore]) -> None:
    read = 0
    for view, how in ways(world):
        found = {kind: content(store, view, **how) for kind, store in stores.items()}
        assert found["postgres"] == found["sqlite"], (view.name, how.keys())
        assert found["parquet"] == found["sqlite"], (view.name, how.keys())
        assert len(found["sqlite"]) < len(world[view.name]) if how else len(found["sqlite"]) == len(world[view.name])
        read += bool(found["sqlite"])
    assert read >= 18


def test_check_finds_the_same_in_the_generated_store(stores: dict[str, CustomerStore]) -> None:
    found = {kind: {(p.code, p.where) for p in store.check()} for kind, store in stores.items()}
    assert found["sqlite"] == found["postgres"] == found["parquet"] != set()


_cells = st.sampled_from(
    [
        *(
            "a",
            "b",
            "",
            " ",
            "it's",
            '"; DROP SCHEMA public; --',
            "\\",
            "\\'; --",
            "%s",
            "{}",
            "\u00e5",
            "a\u030a",
            "\U00010400",
            "\x1f",
            "\n",
        ),
        *("1", "0", "01", "-3", "+5", "1e3", "1234567890123456789012", "2009", "\u0663", "NaN", "infinity", "null", "true", "t"),
        *("grant", "withdraw", "object", "erase", "lift_objection", "ad_matching", "newsletter"),
        *(moment(NOW), "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00+02:00", "0001-01-01T00:00:00Z"),
        None,
    ]
) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)


@st.composite
def hostile(draw: st.DrawFn) -> Rows:
    def damaged(row: dict[str, object]) -> dict[str, object]:
        for name in draw(st.lists(st.sampled_from(sorted(row)), max_size=4)):
            row[name] = draw(_cells)
        return row

    ids = draw(st.lists(_cells, min_size=1, max_size=4))
    return {
        "account": [damaged(account(f"x{n}") | {"account_id": who}) for n, who in enumerate(ids)],
        "consent_event": [damaged(consent(str(n), who)) for n, who in enumerate(ids)],
        "rights_event": [damaged(right(str(n), who)) for n, who in enumerate(ids[:2])],
    }


@pytest.fixture
def build_all(tmp_path: Path, postgres: Postgres) -> dict[str, Building]:
    return builders(tmp_path, postgres)


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=25)
@given(rows=hostile())
def test_hostile_values_read_the_same_everywhere(rows: Rows, build_all: dict[str, Building]) -> None:
    stores = {kind: build(rows) for kind, build in build_all.items()}
    ids = pa.array([row["account_id"] for row in rows["account"]][:2], pa.string())
    for view in (ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT):
        for how in ({}, {"accounts": ids}, {"noes_since": NOW}):
            found = {kind: content(store, view, **how) for kind, store in stores.items()}
            assert found["postgres"] == found["sqlite"]
            assert found["parquet"] == found["sqlite"]


def rows_of_case(case: Case) -> Rows:
    return {view.name: getattr(case.world, view.name, ()) for view in VIEWS}


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=40)
@given(case=cases())
def test_screening_decides_by_the_reference_on_postgresql(case: Case, postgres: Postgres) -> None:
    def store(case: Case, _folder: Path) -> CustomerStore:
        schema = write_postgres(postgres.url, "case", rows_of_case(case))
        return PostgresStore(postgres.url, views_schema=schema, irrelevant_purposes=case.rules.irrelevant_purposes)

    compare(case, store)


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
@given(case=cases())
def test_screening_decides_by_the_reference_on_parquet(case: Case) -> None:
    def store(case: Case, folder: Path) -> CustomerStore:
        return ParquetStore(
            write_parquet(folder / "store", rows_of_case(case)), irrelevant_purposes=case.rules.irrelevant_purposes
        )

    compare(case, store)
