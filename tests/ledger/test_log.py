"""The transfer log on a real database: durable appends, seals, crashes, second writers, and a database that fails."""

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledger_builder import ORIGIN, START, BuiltLedger, Clock, context, members
from places import REFUSED, argument, beside, copy_ledger, drop_triggers, plain

from nestaudience.errors import MustStop, NeedsFix
from nestaudience.ledger import merkle
from nestaudience.ledger.checkpoint import Signer, open_note
from nestaudience.ledger.engine import Place, born_with, migrate_schema, open_engine, open_ledger, read, schema_revision, write
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.log import LogReader, NewEntry, TransferLog, keep_batch_leaves
from nestaudience.ledger.on_postgres import make_room
from nestaudience.ledger.schema import BATCH_LEAVES, LOG_ENTRY, METADATA
from nestaudience.vocabulary import Environment

BEAT: NewEntry = (EntryType.HEARTBEAT, context(), {"count": 1})
OPENED = {"environment": Environment.SANDBOX, "origin": ORIGIN, "clock": Clock()}


def stopped(caught: pytest.ExceptionInfo[MustStop]) -> str:
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    return caught.value.code


def test_appended_entries_read_back_with_index_time_and_id(ledger: BuiltLedger) -> None:
    assert ledger.log.append([BEAT, (EntryType.FUNNEL, context("run-2"), {"eligible": 3})]) == (0, 1)
    assert ledger.log.append([BEAT]) == (2,)
    assert ledger.log.append([]) == ()
    entries = list(ledger.log.entries())
    assert [entry["index"] for entry in entries] == [0, 1, 2]
    assert [entry["type"] for entry in entries] == ["heartbeat", "funnel", "heartbeat"]
    assert entries[0]["at"] == entries[1]["at"] < entries[2]["at"]
    assert len({entry["nonce"] for entry in entries}) == len({entry["id"] for entry in entries}) == 3
    assert [entry["index"] for entry in ledger.log.entries(1, 1)] == [1]
    assert [entry["index"] for entry in ledger.log.entries(types=frozenset({EntryType.FUNNEL}))] == [1]
    assert ledger.log.count() == 3
    assert ledger.log.origin == ORIGIN


def test_reading_goes_on_over_many_pages(ledger: BuiltLedger) -> None:
    ledger.log.append([BEAT] * 5_100)
    assert [index for index, _, _ in ledger.log.bodies(4)] == list(range(4, 5_100))
    assert [index for index, _, _ in ledger.log.bodies(4_990, 5_010)] == list(range(4_990, 5_011))


def test_a_seal_covers_everything_and_proves_each_entry(ledger: BuiltLedger) -> None:
    for count in (1, 2, 5):
        ledger.log.append([BEAT] * count)
        signed = ledger.log.seal()
        assert signed.root == merkle.root_of(ledger.log.leaves()) == merkle.root_of(ledger.log.leaves(signed.size))
        assert ledger.log.seal() == signed
    assert [size for size, _ in ledger.log.notes()] == [1, 3, 8]
    reader = LogReader(ledger.engine)
    for index in range(8):
        proof = reader.proof(index, ledger.verifiers)
        assert proof.holds()
        assert open_note(proof.checkpoint.note, ledger.verifiers).size == 8
        assert not type(proof)(index, proof.body + b" ", proof.path, proof.checkpoint).holds()
    roots = {size: open_note(note, ledger.verifiers).root for size, note in reader.notes()}
    assert merkle.verify_consistency(3, 8, reader.consistency(3, 8), roots[3], roots[8])
    ledger.log.append([BEAT])
    with pytest.raises(ValueError, match="no checkpoint"):
        reader.proof(8, ledger.verifiers)
    with pytest.raises(ValueError, match="fewer entries"):
        reader.consistency(3, 10)


def test_rows_beside_an_entry_stand_and_fall_with_it(ledger: BuiltLedger) -> None:
    leaves = members(ledger.chance, 4)
    seen: list[tuple[int, ...]] = []

    def also(connection: sa.Connection, indices: tuple[int, ...]) -> None:
        seen.append(indices)
        keep_batch_leaves(connection, bytes(16), leaves)

    ledger.log.append([BEAT, BEAT], also)
    assert seen == [(0, 1)]
    assert ledger.log.batch_leaves(bytes(16)) == leaves
    assert ledger.log.batch_leaves(bytes(15) + b"x") is None
    with pytest.raises(MustStop) as caught:
        ledger.log.append([BEAT], also)  # the same batch again
    assert stopped(caught) == "ledger_inconsistent"
    assert ledger.log.count() == 2
    assert ledger.log.append([BEAT]) == (2,)
    for batch_id, packed in ((b"short", leaves), (bytes(16), b""), (bytes(16), leaves[32:] + leaves[:32])):
        with pytest.raises(ValueError, match="sorted leaves"):
            write(ledger.engine, lambda connection, one=batch_id, two=packed: keep_batch_leaves(connection, one, two))


def test_a_refused_entry_leaves_nothing(ledger: BuiltLedger) -> None:
    with pytest.raises(MustStop) as caught:
        ledger.log.append([BEAT, (EntryType.LOOKUP, context(), {"case": "anna@example.se"})])
    assert stopped(caught) == "entry_refused"
    assert ledger.log.count() == 0


CHANGES = [
    "UPDATE log_entry SET body = leaf WHERE idx = 0",
    "UPDATE log_entry SET idx = 9 WHERE idx = 0",
    "DELETE FROM log_entry WHERE idx = 1",
    "DELETE FROM log_entry",
    "INSERT INTO log_entry SELECT 5, body, leaf FROM log_entry WHERE idx = 0",
    "INSERT INTO log_entry SELECT idx, leaf, leaf FROM log_entry WHERE true ON CONFLICT (idx) DO UPDATE SET body = excluded.body",
    "UPDATE checkpoint SET note = ''",
    "DELETE FROM checkpoint",
    "INSERT INTO checkpoint VALUES (2, '') ON CONFLICT (size) DO UPDATE SET note = ''",
    "UPDATE batch_leaves SET leaves = batch_id",
    "DELETE FROM batch_leaves",
    "INSERT INTO batch_leaves SELECT batch_id, batch_id FROM batch_leaves WHERE true ON CONFLICT DO NOTHING",
]


def test_the_tables_refuse_changes_even_to_their_owner(ledger: BuiltLedger) -> None:
    ledger.log.append_and_seal(
        [BEAT, BEAT], lambda connection, _: keep_batch_leaves(connection, bytes(16), members(ledger.chance, 2))
    )
    before = (list(ledger.log.bodies()), ledger.log.notes(), ledger.log.batch_leaves(bytes(16)))
    for statement in CHANGES:
        with pytest.raises(REFUSED, match="append-only"), plain(ledger.path) as cursor:
            cursor.execute(statement)
    assert (list(ledger.log.bodies()), ledger.log.notes(), ledger.log.batch_leaves(bytes(16))) == before


def test_a_crash_between_append_and_seal_is_healed_by_the_next_seal(ledger: BuiltLedger) -> None:
    ledger.log.append_and_seal([BEAT])
    ledger.log.append([BEAT, BEAT])
    log = ledger.reopen()
    assert [size for size, _ in log.notes()] == [1]
    assert log.append([BEAT]) == (3,)
    assert log.seal().size == 4


def test_a_crash_between_head_and_checkpoint_row_is_healed_by_the_next_seal(ledger: BuiltLedger) -> None:
    ledger.log.append_and_seal([BEAT])
    ledger.log.append([BEAT])
    lost = ledger.signer.sign(1, [ledger.log.leaves()[32:]])
    assert [size for size, _ in ledger.log.notes()] == [1]
    log = ledger.reopen()
    assert log.seal() == lost
    assert log.notes()[-1] == (2, lost.note)


def test_a_second_writer_stops_the_first(ledger: BuiltLedger) -> None:
    first = ledger.log
    first.append_and_seal([BEAT])
    second = ledger.reopen()
    second.append([BEAT])
    for call in (lambda: first.append([BEAT]), first.seal):
        with pytest.raises(MustStop) as caught:
            call()
        assert stopped(caught) == "second_writer"
    assert second.append_and_seal([BEAT])[1].size == 3
    with pytest.raises(MustStop) as caught:
        first.append([])
    assert stopped(caught) == "second_writer"
    assert ledger.reopen().append([BEAT]) == (3,)


def test_threads_share_one_writer(ledger: BuiltLedger) -> None:
    found: list[int] = []

    def work() -> None:
        for _ in range(10):
            indices, signed = ledger.log.append_and_seal([BEAT, BEAT])
            assert signed.size > indices[-1]
            found.extend(indices)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(80))
    assert [entry["index"] for entry in ledger.log.entries()] == list(range(80))


def test_a_clock_that_goes_back_does_not_stop_the_log(ledger: BuiltLedger) -> None:
    ledger.log.append([BEAT])
    ledger.clock.now -= timedelta(hours=1)
    assert ledger.log.append([BEAT]) == (1,)
    first, second = ledger.log.entries()
    assert second["at"] < first["at"]
    assert (first["index"], second["index"]) == (0, 1)


def test_a_restored_backup_is_noticed(ledger: BuiltLedger) -> None:
    backup = beside(ledger.path, "backup.db")
    ledger.heartbeats(2)
    copy_ledger(ledger.path, backup)
    ledger.heartbeats(1)
    engine = open_ledger(backup, **OPENED)
    with pytest.raises(MustStop) as caught:
        TransferLog(engine, ledger.signer, clock=ledger.clock, randomness=ledger.chance)
    assert stopped(caught) == "ledger_restored"
    empty = open_ledger(beside(ledger.path, "empty.db"), **OPENED)
    with pytest.raises(MustStop) as caught:
        TransferLog(empty, ledger.signer, clock=ledger.clock, randomness=ledger.chance)
    assert stopped(caught) == "ledger_restored"


def test_a_new_epoch_signs_the_restored_log_under_its_own_name(ledger: BuiltLedger, tmp_path: Path) -> None:
    backup = beside(ledger.path, "backup.db")
    ledger.heartbeats(2)
    copy_ledger(ledger.path, backup)
    ledger.heartbeats(1)
    epoch = Signer(ledger.keys.signing_key(), ORIGIN + "/2", tmp_path / "head-2")
    engine = open_ledger(backup, **OPENED)
    log = TransferLog(engine, epoch, clock=ledger.clock, randomness=ledger.chance)
    _, signed = log.append_and_seal(
        [(EntryType.EPOCH_OPENED, context(), {"old_origin": ORIGIN, "head_size": 3, "restored_size": 2})]
    )
    assert (signed.size, signed.checkpoint.origin) == (3, ORIGIN + "/2")
    assert len(log.notes()) == 3


def test_a_ledger_that_is_not_the_one_that_was_signed_is_refused(ledger: BuiltLedger, tmp_path: Path) -> None:
    ledger.heartbeats(3)
    other = BuiltLedger(_made(tmp_path / "other"), seed="other", place=beside(ledger.path, "other.db"))
    other.heartbeats(4)
    with pytest.raises(MustStop) as caught:
        TransferLog(other.engine, ledger.signer, clock=ledger.clock, randomness=ledger.chance)
    assert stopped(caught) == "ledger_inconsistent"


def test_an_old_or_missing_head_is_refused(ledger: BuiltLedger) -> None:
    ledger.heartbeats(2)
    old = ledger.head_path.read_bytes()
    ledger.heartbeats(1)
    ledger.head_path.write_bytes(old)
    for _ in range(2):
        with pytest.raises(MustStop) as caught:
            ledger.reopen()
        assert stopped(caught) == "head_behind_ledger"
        ledger.head_path.unlink(missing_ok=True)


def test_bytes_changed_before_their_seal_are_not_signed(ledger: BuiltLedger) -> None:
    ledger.log.append_and_seal([BEAT])
    ledger.log.append([BEAT])
    with plain(ledger.path) as cursor:
        drop_triggers(cursor, "log_entry")
        cursor.execute("UPDATE log_entry SET body = (SELECT o.body FROM log_entry o WHERE o.idx = 0) WHERE idx = 1")
    with pytest.raises(MustStop) as caught:
        ledger.log.seal()
    assert stopped(caught) == "ledger_inconsistent"
    assert ledger.signer.head().size == 1


def test_a_locked_ledger_stops(ledger: BuiltLedger) -> None:
    ledger.heartbeats(1)
    log = TransferLog(open_engine(ledger.path, busy_seconds=0.05), ledger.signer, clock=ledger.clock, randomness=ledger.chance)

    def another_writes(_: sa.Connection) -> None:
        with pytest.raises(MustStop) as caught:
            log.append([BEAT])
        assert stopped(caught) == "ledger_unavailable"
        assert len(list(log.entries())) == 1  # reading goes on beside a writer

    write(ledger.engine, another_writes)
    assert log.append([BEAT]) == (1,)


def test_a_read_only_ledger_reads_and_refuses_to_write(ledger: BuiltLedger) -> None:
    ledger.heartbeats(2)
    engine = open_ledger(ledger.path, read_only=True, **OPENED)
    assert LogReader(engine).count() == 2
    log = TransferLog(engine, ledger.signer, clock=ledger.clock, randomness=ledger.chance)
    with pytest.raises(MustStop) as caught:
        log.append([BEAT])
    assert stopped(caught) == "ledger_unavailable"


def test_a_place_that_holds_no_ledger(place: Place) -> None:
    with pytest.raises(MustStop) as caught:
        open_ledger(place, read_only=True, **OPENED)
    assert stopped(caught) == "ledger_missing"
    engine = open_engine(place)
    write(engine, lambda c: (make_room(c), c.execute(sa.text("CREATE TABLE customers (id int)"))))
    for read_only in (True, False):
        with pytest.raises(MustStop) as caught:
            open_ledger(place, read_only=read_only, **OPENED)
        assert stopped(caught) == "ledger_unrecognised"


def test_a_ledger_remembers_its_birth(ledger: BuiltLedger) -> None:
    born = read(ledger.engine, born_with)
    assert (born["environment"], born["origin"], born["created_at"][:10]) == ("sandbox", ORIGIN, START.date().isoformat())
    for change, code in (
        ({"environment": Environment.PRODUCTION}, "environment"),
        ({"origin": "other.example/log"}, "ledger_origin"),
    ):
        with pytest.raises(MustStop) as caught:
            open_ledger(ledger.path, **(OPENED | change))
        assert stopped(caught) == code
    with pytest.raises(ValueError, match="origin"):
        open_ledger(ledger.path, **(OPENED | {"origin": "two words"}))


def test_a_newer_ledger_is_refused_and_an_older_one_is_migrated(ledger: BuiltLedger) -> None:
    before, after = migrate_schema(ledger.engine)
    assert before == after == read(ledger.engine, schema_revision)
    with plain(ledger.path) as cursor:
        cursor.execute("UPDATE alembic_version SET version_num = '9999'")
    for call in (lambda: open_ledger(ledger.path, **OPENED), lambda: migrate_schema(ledger.engine)):
        with pytest.raises(MustStop) as caught:
            call()
        assert stopped(caught) == "ledger_newer"
    fresh = open_engine(beside(ledger.path, "fresh.db"))
    write(fresh, make_room)
    assert migrate_schema(fresh) == ("", after)
    older = migrated_to_first(beside(ledger.path, "older.db"))
    if after != "0001":
        with pytest.raises(NeedsFix) as fix:
            open_ledger(older, **OPENED)
        assert fix.value.code == "ledger_older"
        assert migrate_schema(open_engine(older)) == ("0001", after)


def migrated_to_first(place: Place) -> Place:
    """A database at revision 0001, as its first release made it."""
    from alembic import command
    from alembic.config import Config

    import nestaudience.ledger

    config = Config()
    config.set_main_option("script_location", str(Path(nestaudience.ledger.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")

    def work(connection: sa.Connection) -> None:
        make_room(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    write(open_engine(place), work)
    return place


def test_the_migrations_make_the_tables_that_the_code_describes(ledger: BuiltLedger) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    assert read(ledger.engine, lambda connection: compare_metadata(MigrationContext.configure(connection), METADATA)) == []


def test_reading_is_one_view_while_another_writes(ledger: BuiltLedger) -> None:
    ledger.heartbeats(1)
    counts: list[int] = []

    def work(connection: sa.Connection) -> None:
        count = sa.select(sa.func.count()).select_from(LOG_ENTRY)
        counts.append(connection.execute(count).scalar_one())
        ledger.log.append([BEAT])
        counts.append(connection.execute(count).scalar_one())

    read(ledger.engine, work)
    assert counts == [1, 1]
    assert ledger.log.count() == 2
    assert read(ledger.engine, lambda connection: connection.execute(sa.select(BATCH_LEAVES)).all()) == []


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from ledger_builder import BuiltLedger, context
from places import place_of
from nestaudience.ledger.entries import EntryType
built = BuiltLedger(Path(sys.argv[1]), place=place_of(sys.argv[3]))
while True:
    indices, signed = built.log.append_and_seal([(EntryType.HEARTBEAT, context(), {})] * 3)
    print(signed.size, flush=True)
"""


SLOWLY = pytest.mark.slow_on_postgres


@pytest.mark.parametrize("lines", [pytest.param(1, marks=SLOWLY), 7, pytest.param(20, marks=SLOWLY)])
def test_a_killed_writer_leaves_a_ledger_that_goes_on(place: Place, tmp_path: Path, lines: int) -> None:
    arguments = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent), argument(place)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(lines):
            promised = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
    built = BuiltLedger(tmp_path, place=place)
    assert built.log.count() >= promised
    assert built.signer.head().size >= promised
    assert built.log.count() % 3 == 0  # an append is whole or not there
    signed = built.log.append_and_seal([BEAT])[1]
    assert signed.root == merkle.root_of(built.log.leaves())


def test_the_clock_needs_a_zone(ledger: BuiltLedger) -> None:
    log = TransferLog(ledger.engine, ledger.signer, clock=lambda: datetime(2026, 1, 1), randomness=ledger.chance)  # noqa: DTZ001
    with pytest.raises(ValueError, match="zone"):
        log.append([BEAT])
    assert datetime(2026, 1, 1, tzinfo=UTC) < START


def _made(path: Path) -> Path:
    path.mkdir()
    return path
