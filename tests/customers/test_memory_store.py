"""The state machine's store in memory hands over what the SQLite store hands over, whatever is asked."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine_people import PEOPLE, START, Life, first_world
from machine_store import MemoryStore

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, FEED_STATUS, RIGHTS_EVENT, SEGMENT_MEMBER, View
from nestaudience.customers.port import CustomerStore
from nestaudience.customers.sqlite import SqliteStore
from tests.reference import store as file_store
from tests.reference.rows import World

WHAT = ("grant", "withdraw", "rights", "lift", "close", "move", "vanish", "return", "segment", "guardian")
EVENTS = st.lists(st.tuples(st.sampled_from(WHAT), st.sampled_from(PEOPLE), st.integers(0, 11)), min_size=6, max_size=14)
IRRELEVANT = frozenset({"newsletter"})


def sheets(store: CustomerStore, view: View, **how: object) -> list[tuple[str | None, ...]]:
    """Every row, with its address last where the view has one, in an order of its own."""
    rows: list[tuple[str | None, ...]] = []
    with store.snapshot() as snapshot:
        for sheet in snapshot.read(view, **how):  # type: ignore[arg-type]
            facts = [tuple(row.values()) for row in sheet.facts.to_pylist()]
            emails = sheet.addresses.reveal().to_pylist() if sheet.addresses is not None else [None] * len(facts)
            rows += [(*fact, email) for fact, email in zip(facts, emails, strict=True)]
            assert list(sheet.facts.schema.names)[: len(view.names) - view.has_email] == [n for n in view.names if n != "email"]
    return sorted(rows, key=repr)


def lived(events: list[tuple[str, str, int]]) -> World:
    life, world, now = Life(), first_world(frozenset({"a1", "b1", "b2"}), frozenset(PEOPLE)), START
    for what, who, choice in events:
        now += timedelta(minutes=20)
        world = life.happens(what, world, who, now, choice)
    return world


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(events=EVENTS, asked=st.lists(st.sampled_from((*PEOPLE, "nobody")), max_size=3), minutes=st.integers(0, 200))
def test_both_stores_say_the_same(tmp_path: Path, events: list[tuple[str, str, int]], asked: list[str], minutes: int) -> None:
    world = lived(events)
    file_store.write(world, tmp_path / "store.sqlite")
    here: CustomerStore = MemoryStore(world, IRRELEVANT)
    there: CustomerStore = SqliteStore(tmp_path / "store.sqlite", irrelevant_purposes=IRRELEVANT)
    accounts, since = pa.array(asked, pa.string()), START + timedelta(minutes=minutes)
    later = START + timedelta(days=1)
    for view in (ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, SEGMENT_MEMBER):
        now: dict[str, object] = {"now": later} if view is ACCOUNT else {}
        questions: list[dict[str, object]] = [{}, {"accounts": accounts}]
        if view is SEGMENT_MEMBER:
            questions += [{"segments": frozenset({("c1", "s1")})}, {"segments": frozenset()}]
        else:
            questions += [{"noes_since": since}, {"noes_since": since, "grants_too": True}]
        for question in questions:
            assert sheets(here, view, **question, **now) == sheets(there, view, **question, **now), (view.name, question)
    assert sheets(here, FEED_STATUS) == []


def test_an_open_snapshot_does_not_see_what_happens(tmp_path: Path) -> None:
    store = MemoryStore(lived([]), IRRELEVANT)
    with store.snapshot() as snapshot:
        before = [sheet.facts.num_rows for sheet in snapshot.read(CONSENT_EVENT)]
        store.world = lived([("withdraw", "a1", 0)])
        assert [sheet.facts.num_rows for sheet in snapshot.read(CONSENT_EVENT)] == before
    with store.snapshot() as snapshot:
        assert [sheet.facts.num_rows for sheet in snapshot.read(CONSENT_EVENT)] == [before[0] + 1]
