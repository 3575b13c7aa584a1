"""One log that several processes of one run write: nothing is lost or written twice, it verifies, and whoever lost a lease writes nothing."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from ledger_builder import ORIGIN, BuiltLedger, Chance, context

from nestaudience.audit.verify import verify
from nestaudience.errors import MustStop, TryAgain
from nestaudience.ledger.checkpoint import Signer
from nestaudience.ledger.engine import Place, open_engine
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.lease import TERM, WRITER, Lease
from nestaudience.ledger.log import NewEntry
from nestaudience.ledger.shared_log import SharedLog

HEARTBEAT: NewEntry = (EntryType.HEARTBEAT, context(), {})


@pytest.fixture
def ledger(place: Place, tmp_path: Path) -> BuiltLedger:
    built = BuiltLedger(tmp_path, place=place)
    built.heartbeats(2)
    return built


def opened(ledger: BuiltLedger, name: str, owner: str = "run-1") -> SharedLog:
    """The log as another process opens it: with an engine and a signer of its own."""
    engine, signer = open_engine(ledger.path), Signer(ledger.keys.signing_key(), ORIGIN, ledger.head_path)
    return SharedLog(engine, signer, Lease(engine, WRITER, owner, ledger.clock), clock=ledger.clock, randomness=Chance(name))


def taken(ledger: BuiltLedger, name: str = WRITER, owner: str = "run-1") -> Lease:
    lease = Lease(ledger.engine, name, owner, ledger.clock)
    lease.take()
    return lease


def test_several_write_at_once_and_the_log_verifies(ledger: BuiltLedger) -> None:
    taken(ledger)
    logs = [opened(ledger, f"worker {n}") for n in range(3)]
    rows: list[tuple[int, ...]] = []

    def work(log: SharedLog) -> None:
        rows.extend(log.append_and_seal([HEARTBEAT, HEARTBEAT])[0] for _ in range(10))

    threads = [threading.Thread(target=work, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(rows) == [(index, index + 1) for index in range(2, 62, 2)]
    assert ledger.signer.head().size == 62
    assert verify(ledger.engine, ledger.verifiers).ok
    with pytest.raises(MustStop, match="second_writer"):
        ledger.heartbeats(1)  # whoever thinks that it writes alone learns that it does not


def test_whoever_lost_the_run_or_its_own_work_appends_and_seals_nothing(ledger: BuiltLedger) -> None:
    run, log = taken(ledger), opened(ledger, "worker")
    first = taken(ledger, "list:a", "run-1/first")
    with log.under(first):
        log.append([HEARTBEAT])
        taken(ledger, "list:a", "run-1/second")  # begun anew elsewhere: at once, for the run is the same
        for write in (lambda: log.append([HEARTBEAT]), log.seal):
            with pytest.raises(TryAgain) as caught:
                write()
            assert (caught.value.code, caught.value.where) == ("lease_lost", "list:a")
    assert log.append_and_seal([HEARTBEAT])[0] == (3,)
    ledger.clock.now += TERM
    taken(ledger, owner="run-2")
    with pytest.raises(TryAgain, match="lease_lost at writer"):
        log.append([HEARTBEAT])
    with pytest.raises(TryAgain):
        run.renew()
    assert log.count() == 4


def test_a_head_that_is_behind_is_noticed(ledger: BuiltLedger) -> None:
    taken(ledger)
    ledger.head_path.unlink()
    with pytest.raises(MustStop, match=r"ledger_restored|head_behind_ledger"):
        opened(ledger, "worker")


def test_a_later_attempt_takes_over_and_another_run_does_not(ledger: BuiltLedger) -> None:
    taken(ledger, "list:a", "run-1/first")
    with pytest.raises(TryAgain, match="leased"):
        taken(ledger, "list:a", "run-2/first")
    taken(ledger, "list:a", "run-1/second")
    ledger.clock.now += TERM + timedelta(seconds=1)
    taken(ledger, "list:a", "run-2/first")
