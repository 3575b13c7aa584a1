"""Roots of many membership trees at once: what takes a verification of years most of its time, shared by two processes when there is much of it.

Hashing small nodes holds Python's lock, so threads would not help. It judges nothing: it says what the leaves give.
"""

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from typing import Final, NamedTuple

from nestaudience.ledger import merkle

WORKERS: Final = 2
SHARED_FROM: Final = 64 * 1024 * 1024
"""Bytes of leaves from which on other processes are begun; hashing so much takes about a second."""

_ROWS: Final = 24
_AHEAD: Final = 3 * WORKERS


class Membership(NamedTuple):
    """One request's leaves: its id, their size in bytes, and their root; empty when they are not sorted or no whole leaves."""

    batch_id: bytes
    size: int
    root: bytes


def membership_roots(rows: Iterable[tuple[bytes, bytes]], *, shared_from: int = SHARED_FROM) -> Iterator[Membership]:
    """The roots of (id, packed leaves), in their order; a few hundred requests are in memory at most."""
    waiting = iter(rows)
    size = 0
    while size < shared_from:
        row = next(waiting, None)
        if row is None:
            return
        size += len(row[1])
        yield membership(row)
    yield from _shared(waiting)


def membership(row: tuple[bytes, bytes]) -> Membership:
    """One of them."""
    batch_id, leaves = row
    whole = len(leaves) % merkle.HASH_SIZE == 0 and merkle.is_sorted(leaves)
    return Membership(batch_id, len(leaves), merkle.root_of(leaves) if whole else b"")


def _shared(rows: Iterator[tuple[bytes, bytes]]) -> Iterator[Membership]:
    chunks = iter(lambda: list(islice(rows, _ROWS)), [])
    first = next(chunks, None)
    if first is None:
        return
    running: deque[Future[list[Membership]]] = deque()
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        for chunk in chain([first], chunks):
            running.append(pool.submit(_all, chunk))
            if len(running) > _AHEAD:
                yield from running.popleft().result()
        while running:
            yield from running.popleft().result()


def _all(rows: list[tuple[bytes, bytes]]) -> list[Membership]:
    return [membership(row) for row in rows]
