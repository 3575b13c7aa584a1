"""Every byte that Meta gets in two whole nights: digests of people who may be listed, opaque names, ids and counts. Anything else fails."""

from pathlib import Path

from meta_bytes import digests_in
from nights import SandboxWorld

from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.site import META_ACCOUNTS


def test_nothing_but_digests_reaches_meta(tmp_path: Path) -> None:
    with SandboxWorld(tmp_path, accounts=2000, meta=True, keep_requests=True) as world:
        assert isinstance(world.meta, MetaSandbox)
        world.meta.faults.add(Fault("AddUsers", FaultKind.ABORTED))  # an update on its way: waited for, and sent again
        first = world.night()
        assert first.exit_code == 0
        filled = {
            d
            for account in META_ACCOUNTS
            for each in world.meta.lists(account)
            for d in world.meta.members(account, each.list_id)
        }
        added = world.meta.received[:]
        world.advance_day()
        world.night()
        kinds = {kind for kind, _ in world.meta.received}
        sent = [digests_in(raw) for _, raw in world.meta.received]
    assert {"AddUsers", "RemoveUsers", "CreateAudience", "ReadAudience"} <= kinds
    assert sum(counted.added for key, counted in first.sent.items() if str(key).endswith("/meta")) > 200
    assert {
        d for found in sent[: len(added)] for d in found
    } == filled  # everybody who was sent is listed, and the other way round
