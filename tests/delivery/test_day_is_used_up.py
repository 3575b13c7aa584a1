"""A day whose requests are used up: the ledger knows it, whichever process sent them; additions wait, and noes still leave."""

from datetime import timedelta

import sqlalchemy as sa
from later_world import LISTS, LaterWorld

from nestaudience.ledger.entries import utc_text
from nestaudience.wiring import open_evidence


def sent_before(world: LaterWorld, requests: int) -> None:
    """As many requests as that, in the last hours, by somebody else."""
    number = world.remote(LISTS[0]).list_no
    statement = """
        INSERT INTO batch (batch_no, batch_id, transfer_id, list_no, operation, people, state, sent_at, settled_at, request_id, rejected, attempt,
                           index_key, seal_key, master_key)
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :requests)
        SELECT (SELECT max(batch_no) FROM batch) + i, randomblob(16), 'earlier', :list, 'remove', 1, 'refused', :at, :at, '', 0, 1, '', '', ''
        FROM n"""
    evidence = open_evidence(world.config, world.clock.now)
    try:
        with evidence.engine.begin() as connection:
            at = utc_text(world.clock.now() - timedelta(hours=2))
            connection.execute(sa.text(statement), {"requests": requests, "list": number, "at": at})
    finally:
        evidence.engine.dispose()


def test_noes_leave_on_the_last_requests_of_a_day(world: LaterWorld) -> None:
    sent_before(world, 95_000)
    outcome = world.night()
    world.settle()
    assert {error.code for error in outcome.errors} == {"quota_exhausted_today"}
    assert outcome.exit_code == 3
    assert {operation for operation, _, _ in world.requests()} == {"remove"}
    assert sum(len(world.left(key)) for key in LISTS) == sum(sent.removed for sent in outcome.sent.values()) > 0
    world.advance(timedelta(days=1))
    later = world.night()
    assert later.exit_codes == (0,)
    assert sum(sent.added for sent in later.sent.values()) > 0
