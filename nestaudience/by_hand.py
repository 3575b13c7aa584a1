"""What a person's command writes outside a run: the writer's lease, held while it writes, and the context of its entries.

It writes nothing itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from nestaudience.ledger.entries import Context, uuid7
from nestaudience.ledger.lease import WRITER, leased
from nestaudience.parts import Parts
from nestaudience.vocabulary import RunKind

A_WHILE: Final = timedelta(minutes=2)
"""How long somebody who looks a person up, or enters what she said, waits for a run that writes the log."""


@contextmanager
def by_hand(parts: Parts, actor: str, *, controller: str = "", patience: timedelta = timedelta(0)) -> Iterator[Context]:
    """Hold the writer's lease. An empty controller means the whole group. Raises `TryAgain`: `leased` while a run is at work."""
    run_id = uuid7(parts.clock(), parts.randomness(10))
    with leased(parts.evidence.engine, WRITER, run_id, parts.clock, patience=patience):
        yield parts.context(run_id, RunKind.MANUAL, actor, controller)
