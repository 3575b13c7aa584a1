"""What is about the ledger on PostgreSQL: the role of the runs, triggers that hold the owner too, one writer, other machines, and no URL anywhere."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa
from ledger_builder import ORIGIN, START, BuiltLedger, Clock, context, members
from places import plain
from postgres_server import Postgres

from nestaudience.errors import MustStop
from nestaudience.ledger.engine import PostgresLedger, open_engine, open_ledger, read, write
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.epoch import open_epoch
from nestaudience.ledger.erasures import begin, destroy, wipe_journal
from nestaudience.ledger.grants import RIGHTS, grants, may_change_evidence
from nestaudience.ledger.lease import leased
from nestaudience.ledger.log import NewEntry, TransferLog, keep_batch_leaves
from nestaudience.ledger.memory import Memory
from nestaudience.ledger.on_postgres import lock_key
from nestaudience.ledger.schema import METADATA
from nestaudience.ledger.told import ToldAlerts
from nestaudience.vocabulary import Environment

BEAT: NewEntry = (EntryType.HEARTBEAT, context(), {"count": 1})
EVIDENCE = ("log_entry", "checkpoint", "batch_leaves")


@pytest.fixture
def here(postgres: Postgres) -> Iterator[PostgresLedger]:
    """A schema that is not there yet, for the owner of the database."""
    yield PostgresLedger(postgres.url, postgres.name("alone"))
    postgres.run("SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE application_name = 'nestaudience'")


@pytest.fixture
def ledger(here: PostgresLedger, tmp_path: Path) -> BuiltLedger:
    built = BuiltLedger(tmp_path, place=here)
    built.log.append_and_seal([BEAT, BEAT], lambda c, _: keep_batch_leaves(c, bytes(16), members(built.chance, 2)))
    return built


@pytest.fixture
def role(ledger: BuiltLedger, here: PostgresLedger, postgres: Postgres) -> PostgresLedger:
    """The same ledger for a role that has what `ledger grants` prints."""
    name = postgres.name("runs")
    postgres.run(f"CREATE ROLE {name} LOGIN")
    with psycopg.connect(here.url, autocommit=True) as owner:
        owner.execute(grants(here.schema, name))  # type: ignore[call-overload]
    return PostgresLedger(postgres.as_user(name, here.url), here.schema)


def test_the_role_of_the_runs_adds_evidence_and_changes_none(ledger: BuiltLedger, role: PostgresLedger) -> None:
    forbidden = [f"{what} {table}" for table in EVIDENCE for what in ("DELETE FROM", "TRUNCATE", "DROP TABLE")]
    forbidden += [f"ALTER TABLE {table} DISABLE TRIGGER {table}_no_change" for table in EVIDENCE]
    forbidden += [f"DROP TRIGGER {table}_no_change ON {table}" for table in EVIDENCE]
    forbidden += ["UPDATE log_entry SET body = leaf", "UPDATE checkpoint SET note = ''", "UPDATE batch_leaves SET leaves = ''"]
    forbidden += ["CREATE TABLE more (x int)", "TRUNCATE membership", "UPDATE person SET salt = ''", "DELETE FROM batch"]
    forbidden += [
        "UPDATE meta SET value = 'production'",
        "UPDATE alembic_version SET version_num = '9'",
        "DELETE FROM remote_list",
    ]
    forbidden += [
        "SET session_replication_role = replica",
        "CREATE OR REPLACE FUNCTION log_entry_refused() RETURNS int AS 'SELECT 1' LANGUAGE sql",
    ]
    assert may_change_evidence(ledger.engine)
    assert not may_change_evidence(open_engine(role))
    for statement in forbidden:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), plain(role) as cursor:
            cursor.execute(statement)  # type: ignore[call-overload]
    ledger.place = ledger.path = role
    ledger.heartbeats(1)
    log = ledger.reopen()
    log.append_and_seal([BEAT], lambda c, _: keep_batch_leaves(c, b"x" * 16, members(ledger.chance, 2)))
    assert log.count() == 4
    assert set(RIGHTS) == {*METADATA.tables, "alembic_version"}


def test_the_role_of_the_runs_may_do_what_memory_does(ledger: BuiltLedger, role: PostgresLedger) -> None:
    engine = open_ledger(role, environment=Environment.SANDBOX, origin=ORIGIN, clock=ledger.clock)
    memory = Memory(engine)
    with leased(engine, "writer", "run", ledger.clock) as lease:
        lease.renew()
    tokens = pa.array([bytes([n] * 16) for n in range(3)], pa.binary(16))
    memory.add_persons(tokens, Random(1).randbytes, after=0)
    assert write(engine, lambda c: begin(c, tokens.slice(0, 1), "K-1", "2026-01-01T00:00:00.000Z", known_only=True)) == 1
    assert write(engine, lambda c: destroy(c, [tokens[0].as_py()])) == 1
    assert memory.persons().num_rows == 2
    wipe_journal(engine)
    ToldAlerts(engine).stand({"a": "b"}, START)
    assert memory.forget_gone(START) == 0
    ledger.signer.sign(2, [bytes(32)])  # the head is ahead: a backup was put back
    found = open_epoch(engine, ledger.signer, context(), lambda _: None, clock=ledger.clock, randomness=ledger.chance)
    assert found is not None
    assert found[0].epoch == 2


def test_the_role_of_the_runs_cannot_give_birth(here: PostgresLedger, postgres: Postgres) -> None:
    name = postgres.name("runs")
    postgres.run(f"CREATE ROLE {name} LOGIN")
    stranger = PostgresLedger(postgres.as_user(name, here.url), here.schema)
    for read_only, code in ((False, "ledger_unavailable"), (True, "ledger_missing")):
        with pytest.raises(MustStop) as caught:
            open_ledger(stranger, environment=Environment.SANDBOX, origin=ORIGIN, clock=Clock(), read_only=read_only)
        assert (caught.value.code, caught.value.__context__) == (code, None)


@pytest.mark.parametrize("table", EVIDENCE)
def test_not_even_the_owner_empties_a_table(ledger: BuiltLedger, here: PostgresLedger, table: str) -> None:
    for statement in (f"TRUNCATE {table}", f"TRUNCATE {table} CASCADE", f"DELETE FROM {table}"):
        with pytest.raises(psycopg.IntegrityError, match="append-only"), plain(here) as cursor:
            cursor.execute(statement)  # type: ignore[call-overload]
    assert (ledger.log.count(), len(ledger.log.notes()), ledger.log.batch_leaves(bytes(16)) is not None) == (2, 1, True)


def test_a_lost_connection_is_opened_anew(ledger: BuiltLedger, postgres: Postgres) -> None:
    postgres.run("SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE application_name = 'nestaudience'")
    assert ledger.log.append([BEAT]) == (2,)


def test_a_connection_that_is_lost_in_the_middle_leaves_nothing(ledger: BuiltLedger, postgres: Postgres) -> None:
    def cut_off(connection: sa.Connection, _indices: tuple[int, ...]) -> None:
        number = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        postgres.run(f"SELECT pg_terminate_backend({number})::text")

    with pytest.raises(MustStop) as caught:
        ledger.log.append([BEAT], cut_off)
    assert (caught.value.code, caught.value.__context__, caught.value.__cause__) == ("ledger_unavailable", None, None)
    assert ledger.log.append([BEAT]) == (2,)


def test_a_server_that_is_not_there_and_a_url_that_nobody_sees(tmp_path: Path) -> None:
    secret = "hunter2"
    for url in (
        f"postgresql://runs:{secret}@/ledger?host={tmp_path}&connect_timeout=1",
        f"postgresql://runs:{secret}@/ledger?nonsense=1",
        f"not a url {secret}",
    ):
        place = PostgresLedger(url)
        engine = open_engine(place)
        with pytest.raises(MustStop) as caught:
            open_ledger(place, environment=Environment.SANDBOX, origin=ORIGIN, clock=Clock())
        assert (caught.value.code, caught.value.__context__, caught.value.__cause__) == ("ledger_unavailable", None, None)
        assert "ledger.url" in caught.value.next_step
        assert secret not in f"{caught.value} {place!r} {engine!r} {engine.url!r}"
    for schema in ('x"; DROP', "Upper", "", "a" * 64):
        with pytest.raises(ValueError, match="plain"):
            PostgresLedger("", schema)


def test_two_ledgers_of_one_database_do_not_wait_for_each_other(
    ledger: BuiltLedger, here: PostgresLedger, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = BuiltLedger(tmp_path / "other", place=PostgresLedger(here.url, f"{here.schema}_too"))
    assert lock_key(here.schema) != lock_key(f"{here.schema}_too")
    write(ledger.engine, lambda _: other.log.append([BEAT]))
    assert other.log.count() == 1


def test_what_a_transaction_promises(ledger: BuiltLedger) -> None:
    names = ("transaction_isolation", "transaction_read_only", "synchronous_commit", "search_path")

    def show(connection: sa.Connection) -> list[str]:
        return [connection.execute(sa.text(f"SHOW {name}")).scalar_one() for name in names]

    schema = ledger.path.schema  # type: ignore[union-attr]
    assert write(ledger.engine, show) == ["read committed", "off", "on", schema]
    assert read(ledger.engine, show)[:2] == ["repeatable read", "on"]
    assert read(ledger.engine, show)[3] == schema


def test_text_is_compared_by_its_bytes(ledger: BuiltLedger) -> None:
    query = "SELECT DISTINCT collation_name FROM information_schema.columns WHERE table_schema = current_schema() "
    query += "AND data_type = 'text'"
    assert read(ledger.engine, lambda c: c.execute(sa.text(query)).scalars().all()) == ["C"]


def test_only_the_writer_of_a_ledger_waits(ledger: BuiltLedger, here: PostgresLedger) -> None:
    """Writers one after the other; who reads meanwhile sees what was committed before."""
    reader = TransferLog(open_engine(here), ledger.signer, clock=ledger.clock, randomness=ledger.chance)
    assert write(ledger.engine, lambda _: reader.count()) == 2
