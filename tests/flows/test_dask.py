"""A run that is spread over a Dask cluster: the same decisions and lists as in one process, and exact lists when a worker is killed.

The cluster is real: a scheduler and workers as processes of their own, over loopback, with TLS.
"""

import shutil
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from canary_site import CanarySite
from dask_cluster import DaskCluster
from leaks import found_in_file

from nestaudience.audit.verify import verify
from nestaudience.config.schema import LedgerTable
from nestaudience.ledger.engine import read
from nestaudience.ledger.schema import LEASE
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.vocabulary import AudienceKey
from nestaudience.wiring import open_evidence, open_signer
from tests.flows.grounds import ground, lists_of, log_of, on_postgres, wanted_of

Lists = dict[AudienceKey, frozenset[str]]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with DaskCluster(tmp_path_factory.mktemp("dask") / "cluster") as made:
        made.worker("one")
        made.worker("two")
        yield made


@pytest.fixture
def site(tmp_path: Path, prefect_server: Path) -> Iterator[CanarySite]:
    here = ground(tmp_path / "site", batch_size=400)
    here.edit("timeout_seconds = 1\n", "timeout_seconds = 60\n")
    yield here
    here.close()


LEDGERS = ("sqlite", "postgres") if "url" in LedgerTable.model_fields else ("sqlite",)


def night(site: CanarySite) -> tuple[str, list[dict[str, Any]], list[str]]:
    """One night through the flow: the state's message, the plans, and the codes of what went wrong."""
    from flows.nightly import nightly, session

    with session(site.place.config, clock=lambda: datetime.now(UTC), actor="test") as (key, here):
        state = nightly(config=str(site.place.config), session_key=key, return_state=True)
        plans = [] if here.run is None else [plan.as_dict() for plan in here.run.verdict.plans]
        errors = [] if here.run is None else [error.code for error in here.run.outcome.errors]
    return str(state.message), sorted(plans, key=lambda plan: str(plan["audience"])), errors


def nobody_in(cluster: DaskCluster, site: CanarySite) -> None:
    """What the scheduler and the workers said holds no person."""
    for path in cluster.folder.glob("*.log"):
        assert not found_in_file(path, site.needles.everything), path


def audited(site: CanarySite) -> list[str]:
    """What breaks the proof."""
    evidence = open_evidence(site.place.config, site.clock.now, read_only=True)
    try:
        signer = open_signer(evidence)
        found = verify(evidence.engine, signer.verifiers, head=signer.head())
        assert found.sealed == found.entries
        return [problem.code for problem in found.problems]
    finally:
        evidence.engine.dispose()


def spread(site: CanarySite) -> list[dict[str, Any]]:
    """A night on the cluster that went well: its plans."""
    message, plans, errors = night(site)
    assert (message, errors) == ("exit codes [0]", []), message
    return plans


def said_of_run(site: CanarySite) -> tuple[dict[str, int], dict[str, Any], list[dict[str, Any]]]:
    """How many entries of each type the log has, what its one snapshot says, and its funnels. Times and ids are left out."""
    entries = log_of(site)
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry["type"]] = counts.get(entry["type"], 0) + 1
    (snapshot,) = (entry["fields"] for entry in entries if entry["type"] == "snapshot")
    assert snapshot.pop("taken_at")
    funnels = [entry["fields"] for entry in entries if entry["type"] == "funnel"]
    return counts, snapshot, sorted(funnels, key=lambda each: str(each["audience"]))


def sender(site: CanarySite) -> int:
    """The process that works on a list now, by the ledger's word."""
    evidence = open_evidence(site.place.config, site.clock.now, read_only=True)
    try:
        query = sa.select(LEASE.c.process).where(LEASE.c.name.startswith("list:"), LEASE.c.name.endswith("/google"))
        (process, *_) = read(evidence.engine, lambda connection: connection.execute(query).scalars().all())
        return int(process.partition(":")[0])
    finally:
        evidence.engine.dispose()


def caught_sending(site: CanarySite, method: str, after: int) -> int:
    """The process whose request a platform holds, once so many of this kind have arrived."""
    for seen, fault in ((after, Fault(method, FaultKind.HANG, seconds=8.0)), (after + 1, None)):
        end = time.monotonic() + 240
        while site.sandbox.seen(method) < seen and time.monotonic() < end:
            time.sleep(0.01)
        if fault is not None:
            site.sandbox.faults.add(fault)
    time.sleep(0.2)
    return sender(site)


@pytest.mark.slow
@pytest.mark.parametrize("ledger", LEDGERS)
def test_the_same_decisions_and_lists_as_in_one_process(
    cluster: DaskCluster, site: CanarySite, tmp_path: Path, ledger: str, request: pytest.FixtureRequest
) -> None:
    other = ground(tmp_path / "other", batch_size=400)
    other.edit("timeout_seconds = 1\n", "timeout_seconds = 60\n")
    try:
        shutil.copy(site.place.store, other.place.store)
        if ledger == "postgres":
            on_postgres(other, request.getfixturevalue("postgres"))
        cluster.use(other)
        _, plans, _ = night(site)
        assert spread(other) == plans
        assert len(plans) == 10
        assert lists_of(other) == lists_of(site) == wanted_of(site)
        assert said_of_run(other) == said_of_run(site)
        for each in (site, other):
            each.withdraw("plain", "plus")
        assert lists_of(site) != wanted_of(site)
        _, plans, _ = night(site)
        assert spread(other) == plans
        assert sum(int(plan["noes"]) for plan in plans) > 1  # type: ignore[call-overload]
        assert lists_of(other) == lists_of(site) == wanted_of(site)
        assert audited(other) == []
        assert not list((other.folder / "scratch").glob("*")), "what was spilled is gone"
        workers = {
            path for name in ("one", "two") for path in [cluster.folder / f"{name}.log"] if "task_runs" in path.read_text()
        }
        assert len(workers) == 2, "both worked"
        nobody_in(cluster, other)
    finally:
        other.close()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["IngestAudienceMembers", "RemoveAudienceMembers"])
def test_a_worker_that_is_killed_leaves_the_lists_exact(cluster: DaskCluster, site: CanarySite, method: str) -> None:
    """In the middle of one list's requests, one of which the platform has and did not answer. Another worker begins anew, in the same run."""
    cluster.use(site)
    site.edit("batch_size = 400", "batch_size = 40")
    if method == "RemoveAudienceMembers":
        spread(site)
        site.withdraw("plain", "plus")
    arrived = site.sandbox.seen(method)
    later = arrived + (3 if method == "IngestAudienceMembers" else 0)
    killed: list[str] = []

    killer = threading.Thread(target=lambda: killed.append(cluster.kill(caught_sending(site, method, later))))
    killer.start()
    message, _, errors = night(site)
    killer.join()
    assert len(killed) == 1
    cluster.worker(killed[0])
    assert message.startswith(("exit codes", "finished, but not clean: exit codes")), message
    assert set(errors) <= {"worker_lost"}
    if lists_of(site) != wanted_of(site):
        spread(site)
    assert lists_of(site) == wanted_of(site)
    assert audited(site) == []
    nobody_in(cluster, site)


@pytest.mark.slow
def test_workers_that_would_write_what_they_hold_to_disk_are_refused(cluster: DaskCluster, site: CanarySite) -> None:
    cluster.use(site)
    spilling = {"DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "0.7", "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "0.6"}
    cluster.worker("spilling", **spilling)
    try:
        message, _, _ = night(site)
    finally:
        cluster.stop("spilling")
    assert message.startswith("workers_spill at execution.scheduler (needs_fix)")
    assert log_of(site) == [], "no run was begun"


@pytest.mark.slow
def test_a_scheduler_that_is_gone_ends_the_run_and_keeps_its_workers_from_sending(cluster: DaskCluster, site: CanarySite) -> None:
    """Last: there is no cluster afterwards. A worker that still works for that run appends nothing more; the next night, in one process,
    makes it good.
    """
    cluster.use(site)
    site.edit("batch_size = 400", "batch_size = 40")
    method = "IngestAudienceMembers"
    killer = threading.Thread(target=lambda: caught_sending(site, method, 2) and cluster.kill(cluster.scheduler))
    killer.start()
    message, _, _ = night(site)
    killer.join()
    assert message.startswith("scheduler_lost at execution.scheduler (try_again)"), message
    site.edit('runner = "dask"', 'runner = "here"')
    end = time.monotonic() + 120
    while (
        lists_of(site) != wanted_of(site) and time.monotonic() < end
    ):  # the list at hand is that worker's until its request is answered
        night(site)
    assert lists_of(site) == wanted_of(site)
    assert audited(site) == []
