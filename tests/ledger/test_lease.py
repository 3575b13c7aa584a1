"""Leases: one owner at a time, free again when the owner's process is no more or its term has passed."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledger_builder import BuiltLedger
from places import argument
from sqlalchemy.engine import Engine

from nestaudience.errors import TryAgain
from nestaudience.ledger.engine import Place, open_ledger, read, write
from nestaudience.ledger.lease import TERM, Lease, holder, leased, this_machine
from nestaudience.ledger.schema import LEASE
from nestaudience.vocabulary import Environment


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def engine(place: Place, clock: Hands) -> Engine:
    return open_ledger(place, environment=Environment.SANDBOX, origin="nestit.example/test", clock=clock)


def owners(engine: Engine) -> dict[str, str]:
    return {row.name: row.owner for row in read(engine, lambda c: c.execute(sa.select(LEASE)).all())}


def test_one_at_a_time_and_free_afterwards(engine: Engine, clock: Hands) -> None:
    with leased(engine, "list:a", "first", clock):
        with pytest.raises(TryAgain) as caught, leased(engine, "list:a", "second", clock):
            pytest.fail("two owners")
        assert (caught.value.code, caught.value.exit_code) == ("leased", 3)
        with leased(engine, "list:b", "second", clock):
            assert owners(engine) == {"list:a": "first", "list:b": "second"}
    assert owners(engine) == {}


def test_it_is_given_back_when_the_work_fails(engine: Engine, clock: Hands) -> None:
    with pytest.raises(RuntimeError), leased(engine, "list:a", "first", clock):
        raise RuntimeError
    assert owners(engine) == {}


def test_it_is_free_when_its_term_has_passed_and_the_first_owner_learns_it(engine: Engine, clock: Hands) -> None:
    first, second = Lease(engine, "writer", "first", clock), Lease(engine, "writer", "second", clock)
    first.take()
    clock.time += TERM - timedelta(seconds=1)
    with pytest.raises(TryAgain):
        second.take()
    first.renew()
    clock.time += TERM - timedelta(seconds=1)
    with pytest.raises(TryAgain):
        second.take()
    clock.time += timedelta(seconds=1)
    second.take()
    with pytest.raises(TryAgain) as caught:
        first.renew()
    assert caught.value.code == "lease_lost"
    first.give_back()  # not its own any more
    assert owners(engine) == {"writer": "second"}


def test_the_same_owner_takes_it_again(engine: Engine, clock: Hands) -> None:
    Lease(engine, "writer", "first", clock).take()
    Lease(engine, "writer", "first", clock).take()
    assert owners(engine) == {"writer": "first"}


def test_a_dead_process_holds_nothing(engine: Engine, clock: Hands, place: Place) -> None:
    code = (
        "import sys; from datetime import datetime, UTC; sys.path.insert(0, sys.argv[1])\n"
        "from places import place_of\nfrom nestaudience.ledger.engine import open_engine\n"
        "from nestaudience.ledger.lease import Lease\n"
        "engine, now = open_engine(place_of(sys.argv[2])), datetime(2026, 11, 22, 2, 30, tzinfo=UTC)\n"
        "Lease(engine, 'writer', 'dead', lambda: now).take()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), argument(place)], check=True, timeout=60)
    assert owners(engine) == {"writer": "dead"}
    Lease(engine, "writer", "alive", clock).take()
    assert owners(engine) == {"writer": "alive"}


def test_a_process_number_used_again_is_not_its_owner(engine: Engine, clock: Hands) -> None:
    Lease(engine, "writer", "first", clock).take()
    row = read(engine, lambda c: c.execute(sa.select(LEASE.c.process)).scalar_one())
    number = row.partition(":")[0]
    write(engine, lambda c: c.execute(sa.update(LEASE).values(process=f"{number}:1")))
    Lease(engine, "writer", "second", clock).take()
    assert owners(engine) == {"writer": "second"}


def test_a_process_that_cannot_be_seen_counts_as_living_until_its_term_has_passed(engine: Engine, clock: Hands) -> None:
    machine = this_machine().partition("/")[0]
    Lease(engine, "writer", "first", clock).take()
    write(engine, lambda c: c.execute(sa.update(LEASE).values(process=f"1:1:{machine}/pid:[1]")))  # in another container
    with pytest.raises(TryAgain):
        Lease(engine, "writer", "second", clock).take()
    clock.time += TERM
    Lease(engine, "writer", "second", clock).take()
    assert owners(engine) == {"writer": "second"}


def test_after_a_restart_of_the_machine_a_ledger_in_a_file_is_free(engine: Engine, clock: Hands) -> None:
    Lease(engine, "writer", "first", clock).take()
    write(engine, lambda c: c.execute(sa.update(LEASE).values(process="1:1:another/pid:[1]")))
    if engine.dialect.name == "postgresql":  # it may be another machine, and at work
        assert holder(engine, "writer", clock) == "first"
        return
    Lease(engine, "writer", "second", clock).take()
    assert owners(engine) == {"writer": "second"}


TOGETHER = """
import sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from ledger_builder import BuiltLedger, context
from places import place_of
from nestaudience.ledger.engine import open_engine
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.lease import WRITER, leased
engine, folder, owner = open_engine(place_of(sys.argv[3])), Path(sys.argv[2]), sys.argv[4]
for _ in range(10):
    with leased(engine, WRITER, owner, lambda: datetime.now(UTC), patience=timedelta(days=1), sleep=lambda _: time.sleep(0.01)):
        built = BuiltLedger(folder, place=place_of(sys.argv[3]))
        built.log.append_and_seal([(EntryType.HEARTBEAT, context(owner), {"n": 1})] * 3)
        built.engine.dispose()
"""


@pytest.mark.slow
def test_two_processes_write_one_after_the_other(place: Place, tmp_path: Path) -> None:
    built = BuiltLedger(tmp_path, place=place)
    told = [str(Path(__file__).parent), str(tmp_path), argument(place)]
    children = [subprocess.Popen([sys.executable, "-c", TOGETHER, *told, owner]) for owner in ("one", "two")]
    assert [child.wait(120) for child in children] == [0, 0]
    runs = [entry["run_id"] for entry in built.reopen().entries()]
    assert (runs.count("one"), runs.count("two")) == (30, 30)
    assert all(len(set(runs[at : at + 3])) == 1 for at in range(0, 60, 3)), "nobody wrote into another's turn"
    assert built.signer.head().size == 60
    assert owners(built.engine) == {}
