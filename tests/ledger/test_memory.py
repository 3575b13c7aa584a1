"""What the ledger remembers between runs, against a plain model of the states; and that migrations make the tables that the program knows."""

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.engine import Engine

from nestaudience.ledger.engine import Place, open_ledger, read, write
from nestaudience.ledger.entries import utc_text
from nestaudience.ledger.memory import HELD_FIELDS, SILENCE, TRIED_AGAIN, Memory
from nestaudience.ledger.schema import BATCH, MEMBERSHIP, METADATA
from nestaudience.vocabulary import AudienceKey, Environment, Operation

NOW = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
STATES = ("prepared", "accepted", "confirmed", "partly", "refused", "unknown", "lapsed")
SETTLED = {"confirmed", "partly", "refused", "lapsed"}
SLOWLY = pytest.mark.slow_on_postgres
FLAGS = ("confirmed", "in_flight", "removing", "owed", "unanswered")


@pytest.fixture
def engine(place: Place) -> Engine:
    return open_ledger(place, environment=Environment.SANDBOX, origin="nestit.example/test", clock=lambda: NOW)


@pytest.fixture
def memory(engine: Engine) -> Memory:
    return Memory(engine)


def bound(memory: Memory, audience: str = "c1/s1/google", code: str = "na-1") -> int:
    values = {
        "audience": audience, "controller": "c1", "segment": "s1", "recipient": "google", "destination": "google_data_manager",
        "ad_account": "111", "login_account": "", "code": code, "list_id": "7", "data_inputs": "orders visits", "state": "open",
        "membership_days": 30,
    }  # fmt: skip
    write(memory.engine, lambda c: memory.bind(c, values))
    return next(remote.list_no for remote in memory.lists() if remote.audience == audience)


def batch(
    number: int, list_no: int, operation: str, state: str, sent: datetime, settled: datetime | None = None
) -> dict[str, Any]:
    return {
        "batch_no": number, "batch_id": number.to_bytes(16, "big"), "transfer_id": "t", "list_no": list_no, "operation": operation, "people": 1,
        "state": state, "sent_at": utc_text(sent), "settled_at": utc_text(settled) if settled else "", "request_id": "", "rejected": 0,
        "attempt": 1, "index_key": "k", "seal_key": "s", "master_key": "m",
    }  # fmt: skip


def tokens(count: int, seed: int, width: int = 16) -> pa.Array:
    return pa.array([random.Random(f"{seed} {n}").randbytes(width) for n in range(count)], pa.binary(width))


def columns(count: int, seed: int) -> dict[str, pa.Array]:
    names = ("account_token", "person_token", "digest_token")
    return {**{name: tokens(count, seed * 10 + n) for n, name in enumerate(names)}, "sealed_digest": tokens(count, seed, 32)}


def test_migrations_make_the_tables_that_the_program_knows(engine: Engine) -> None:
    def look(connection: sa.Connection) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = [d for d in compare_metadata(context, METADATA) if "alembic_version" not in str(d)]
        inspector = sa.inspect(connection)
        keys = {name: inspector.get_pk_constraint(name)["constrained_columns"] for name in METADATA.tables}
        nullable = {name: {c["name"]: c["nullable"] for c in inspector.get_columns(name)} for name in METADATA.tables}
        return differences, keys, nullable

    differences, keys, nullable = read(engine, look)
    assert differences == []
    for name, table in METADATA.tables.items():
        assert keys[name] == [column.name for column in table.primary_key]
        expected = {column.name: bool(column.nullable) for column in table.columns}
        assert {n: v for n, v in nullable[name].items() if n not in keys[name]} == {
            n: v for n, v in expected.items() if n not in keys[name]
        }


def test_members_come_back_as_they_went_in(memory: Memory) -> None:
    list_no = bound(memory)
    first, second = columns(70_000, 1), columns(3, 2)

    def work(connection: Any) -> tuple[int, int]:
        memory.prepare_batch(connection, batch(1, list_no, "add", "confirmed", NOW, NOW))
        following = batch(2, list_no, "add", "accepted", NOW)
        del following["batch_no"]
        assert memory.prepare_batch(connection, following) == 2
        return memory.add_members(connection, list_no, 1, first), memory.add_members(connection, list_no, 2, second)

    assert write(memory.engine, work) == (1, 70_001)
    held = memory.held(NOW)
    assert held.schema == HELD_FIELDS
    assert held.num_rows == 70_003
    for name, values in first.items():
        if name == "sealed_digest":
            continue
        assert held.column(name).combine_chunks().equals(pa.concat_arrays([values, second[name]]))
    sealed = memory.sealed(pa.array([70_002, 1, 70_000], pa.int64()))
    assert sealed.select(["member_id", "batch_added", "position"]).to_pylist() == [
        {"member_id": 70_002, "batch_added": 2, "position": 1},
        {"member_id": 1, "batch_added": 1, "position": 0},
        {"member_id": 70_000, "batch_added": 1, "position": 69_999},
    ]
    assert sealed.column("sealed_digest")[0] == second["sealed_digest"][1]
    assert held.column("confirmed").to_pylist() == [1] * 70_000 + [0] * 3
    assert held.column("in_flight").to_pylist() == [0] * 70_000 + [1] * 3
    assert memory.sizes(NOW) == {list_no: 70_003}
    assert memory.batch_keys() == {1: ((1).to_bytes(16, "big"), "s"), 2: ((2).to_bytes(16, "big"), "s")}


@dataclass(frozen=True)
class Pair:
    """An addition, and perhaps the removal of the same person."""

    add: str
    added: datetime
    add_settled: datetime | None
    remove: str | None
    removed: datetime
    remove_settled: datetime | None
    attempt: int = 1


def model(pair: Pair, now: datetime) -> dict[str, int] | None:
    """The rules' table by hand: None when she is held no longer."""
    certain = pair.add_settled or pair.added + SILENCE
    gone = (
        pair.add in {"refused", "lapsed"} or pair.remove == "lapsed" or (pair.remove == "confirmed" and pair.removed >= certain)
    )
    fresh = now - SILENCE
    unanswered = pair.remove in {"prepared", "unknown"} and pair.removed > fresh
    if gone:
        return dict.fromkeys(FLAGS, 0) | {"removing": 1, "unanswered": 1, "again": 0} if unanswered else None
    on_its_way = pair.remove == "accepted" and pair.removed > fresh
    waits = pair.remove == "confirmed" and now < certain
    return {
        "confirmed": int((pair.add == "confirmed" or (pair.add == "partly" and pair.attempt == 2)) and pair.remove is None),
        "in_flight": int(pair.add == "accepted" and pair.added > fresh and pair.remove is None),
        "removing": int(on_its_way or waits),
        "owed": int(pair.remove is not None),
        "unanswered": int(unanswered),
        "again": int(pair.add == "partly" and pair.attempt == 1 and pair.remove is None),
    }


def every_pair() -> list[Pair]:
    hours = [timedelta(hours=h) for h in (1, 30, 47, 48, 49, 100)]
    found = []
    for add, remove, added, removed in product(STATES, (None, *STATES), hours, hours):
        for lag in (timedelta(minutes=30), timedelta(hours=20)):
            if removed <= added and added - lag >= timedelta(0):
                settled = NOW - added + lag if add in SETTLED else None
                pair = Pair(add, NOW - added, settled, remove, NOW - removed, NOW if remove in SETTLED else None)
                found += [pair, replace(pair, attempt=2), replace(pair, attempt=TRIED_AGAIN)] if add == "partly" else [pair]
    return found


def test_every_state_of_an_addition_and_its_removal(memory: Memory) -> None:
    list_no, pairs = bound(memory), every_pair()
    batches, members = [], []
    person = {name: values[0].as_py() for name, values in columns(1, 1).items()}
    for n, pair in enumerate(pairs):
        added, removed = 2 * n + 1, None if pair.remove is None else 2 * n + 2
        batches.append(batch(added, list_no, "add", pair.add, pair.added, pair.add_settled) | {"attempt": pair.attempt})
        if removed is not None:
            batches.append(batch(removed, list_no, "remove", str(pair.remove), pair.removed, pair.remove_settled))
        members.append({"list_no": list_no, "batch_added": added, "position": 0, "batch_removed": removed, **person})

    def work(connection: Any) -> None:
        connection.execute(sa.insert(BATCH), batches)
        connection.execute(sa.insert(MEMBERSHIP), members)

    write(memory.engine, work)
    assert len(pairs) > 1000
    expected = {n + 1: found for n, pair in enumerate(pairs) if (found := model(pair, NOW)) is not None}
    held = memory.held(NOW)
    rows = held.select(["member_id", "batch_added", "again", *FLAGS]).to_pylist()
    assert all(row["again"] in (0, row["batch_added"]) for row in rows)
    got = {row["member_id"]: {**{flag: row[flag] for flag in FLAGS}, "again": int(row["again"] > 0)} for row in rows}
    assert got == expected
    gone = sum(1 for row in expected.values() if row["removing"] and not row["owed"])
    assert gone > 0
    assert sum(memory.sizes(NOW).values()) == 1 < len(expected) - gone  # they are all one digest
    assert memory.forget_gone(NOW) == len(pairs) - len(expected)
    assert memory.held(NOW).equals(held)


@pytest.mark.parametrize(
    "state", ["prepared", "accepted", *(pytest.param(state, marks=SLOWLY) for state in ("unknown", "refused", "confirmed"))]
)
@pytest.mark.parametrize(("transfer", "hours"), [("u", 47), ("u", 49), ("t", 47)])
def test_an_earlier_removal_without_an_answer_is_remembered(memory: Memory, state: str, transfer: str, hours: int) -> None:
    """One removal is lost, the next one is confirmed: until the first one cannot act any more, an addition waits. Nobody is counted as held for it,
    and whoever was asked off in another part of the same transfer waits for nothing.
    """
    list_no, lost = bound(memory), NOW - timedelta(hours=hours)

    def work(connection: Any) -> None:
        memory.prepare_batch(
            connection, batch(1, list_no, "add", "confirmed", NOW - timedelta(hours=90), NOW - timedelta(hours=89))
        )
        memory.add_members(connection, list_no, 1, columns(2, 1))
        memory.prepare_batch(connection, batch(2, list_no, "remove", state, lost) | {"transfer_id": transfer})
        memory.mark_removed(connection, [1], 2)
        memory.prepare_batch(connection, batch(3, list_no, "remove", "confirmed", lost, NOW))
        memory.mark_removed(connection, [1], 3)

    write(memory.engine, work)
    waits = state in {"prepared", "unknown"} and (transfer, hours) == ("u", 47)
    assert memory.forget_gone(NOW) == (0 if waits else 1)
    rows = memory.held(NOW).select(["member_id", *FLAGS]).to_pylist()
    gone = [dict.fromkeys(FLAGS, 0) | {"member_id": 1, "removing": 1, "unanswered": 1}] if waits else []
    assert rows == [*gone, dict.fromkeys(FLAGS, 0) | {"member_id": 2, "confirmed": 1}]
    assert memory.sizes(NOW) == {list_no: 1}
    assert memory.open_batches(NOW) == ()
    assert memory.forget_gone(NOW + timedelta(hours=1)) == (1 if waits else 0)


def test_news_are_seen_before_they_are_written(memory: Memory) -> None:
    """A plan sees with `news` what a run sees after writing the same states."""
    list_no = bound(memory)
    changes = {1: "confirmed", 2: "refused", 3: "partly", 4: "unknown", 6: "confirmed", 8: "refused"}

    def work(connection: Any) -> None:
        for number in range(1, 6):
            memory.prepare_batch(connection, batch(number, list_no, "add", "accepted", NOW - timedelta(hours=number)))
            memory.add_members(connection, list_no, number, columns(2, number))
        for number, member in ((6, 1), (7, 3), (8, 5)):
            memory.prepare_batch(connection, batch(number, list_no, "remove", "accepted", NOW - timedelta(minutes=number)))
            memory.mark_removed(connection, [member], number)

    write(memory.engine, work)
    told = memory.held(NOW, changes)
    for number, state in changes.items():
        settled = "" if state == "unknown" else utc_text(NOW)  # a platform that knows nothing of a request has settled nothing
        values = {"state": state, "settled_at": settled}
        write(memory.engine, lambda c, n=number, v=values: memory.set_batch(c, n, v))
    assert memory.held(NOW).equals(told)
    assert {b.batch_no for b in memory.batches(frozenset({"confirmed"}))} == {1, 6}
    assert all(b.operation is Operation.REMOVE for b in memory.batches(frozenset({"accepted"})) if b.batch_no > 5)


def test_a_list_that_is_gone_holds_nobody_and_its_audience_can_be_bound_again(memory: Memory) -> None:
    first = bound(memory)

    def work(connection: Any) -> None:
        memory.prepare_batch(connection, batch(1, first, "add", "confirmed", NOW, NOW))
        memory.add_members(connection, first, 1, columns(4, 1))

    write(memory.engine, work)
    assert memory.sizes(NOW) == {first: 4}

    def lapse(connection: Any) -> None:
        memory.set_list_state(connection, first, "gone")
        memory.lapse_list(connection, first)

    write(memory.engine, lapse)
    assert memory.sizes(NOW) == {}
    second = bound(memory, code="na-2")
    assert second != first
    assert {remote.list_no: (remote.audience, remote.state, remote.code) for remote in memory.lists()} == {
        first: (AudienceKey(f"c1/s1/google#{first}"), "gone", "na-1"),
        second: (AudienceKey("c1/s1/google"), "open", "na-2"),
    }
    assert memory.lists()[1].data_inputs == ("orders", "visits")
    assert memory.lists()[1].login_account is None
    assert memory.forget_gone(NOW) == 4


@SLOWLY
def test_persons_and_their_salts(memory: Memory) -> None:
    randomness = random.Random(1).randbytes
    first, second = tokens(66_000, 1), tokens(2, 2)
    written, last = memory.add_persons(first, randomness, memory.last_person())
    assert (written.num_rows, last, memory.last_person()) == (66_000, 66_000, 66_000)
    # Somebody else who knew the first 65 999 only wants two of them and two more: nobody gets a second salt.
    more, last = memory.add_persons(pa.concat_arrays([first.slice(65_999), second]), randomness, 65_999)
    assert last == 66_002
    assert more.slice(0, 1).equals(written.slice(65_999))
    assert memory.add_persons(second.slice(0, 0), randomness, last)[0].num_rows == 0
    persons = memory.persons()
    assert persons.column("person_token").combine_chunks().equals(pa.concat_arrays([first, second]))
    assert persons.combine_chunks().equals(pa.concat_tables([written, more.slice(1)]).combine_chunks())
    assert len(set(persons.column("salt").to_pylist())) == 66_002


def test_the_last_accepted_configuration(memory: Memory) -> None:
    assert memory.accepted_config() is None
    for text in ("{}", '{"a":1}'):
        write(memory.engine, lambda c, text=text: memory.accept_config(c, "d", text, NOW))
    assert memory.accepted_config() == '{"a":1}'


@pytest.mark.parametrize(("days", "slices"), [(7, 1), (12, 2), (30, 5), pytest.param(540, 90, marks=SLOWLY)])
def test_a_fill_is_refreshed_over_several_nights_and_none_of_it_too_late(memory: Memory, days: int, slices: int) -> None:
    """A long list goes in many batches of one night; their refreshes fall on as many nights as a sixth of its days, before two thirds."""
    list_no, batches = bound(memory), 2 * slices + 1

    def work(connection: Any) -> None:
        connection.execute(sa.text("UPDATE remote_list SET membership_days = :days"), {"days": days})
        for number in range(1, batches + 1):
            memory.prepare_batch(connection, batch(number, list_no, "add", "confirmed", NOW, NOW))
            memory.add_members(connection, list_no, number, columns(1, number))

    write(memory.engine, work)
    due_on: dict[int, int] = {}
    for night in range(1, days + 1):
        held = memory.held(NOW + timedelta(days=night))
        rows = zip(held.column("batch_added").to_pylist(), held.column("confirmed").to_pylist(), strict=True)
        for number in [number for number, confirmed in rows if not confirmed]:
            due_on.setdefault(number, night)
    last = -(-days * 2 // 3)
    assert set(due_on) == set(range(1, batches + 1))
    assert (len(set(due_on.values())), max(due_on.values())) == (slices, last)
    nights = list(due_on.values())
    assert max(map(nights.count, nights)) <= 3  # of 2 * slices + 1
