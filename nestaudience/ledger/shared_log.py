"""One log and several processes of one run that write it: each entry takes its place in the transaction that writes it, each seal in one of its own.

What keeps others out is no longer a size that only one writer knows, but the leases that a process says it holds: they are looked at in the same
transaction. Whoever lost one, because its run was given up or its work was begun anew elsewhere, appends nothing more and so sends nothing more. It
decides nothing about transfers and people.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy.engine import Connection, Engine

from nestaudience.ledger.checkpoint import SignedCheckpoint, Signer
from nestaudience.ledger.engine import Clock, write
from nestaudience.ledger.keys import Randomness
from nestaudience.ledger.lease import Lease
from nestaudience.ledger.log import Also, NewEntry, TransferLog, insert_rows, keep_note, next_index


class SharedLog(TransferLog):
    """The log, for one of the processes that write it now. Safe for threads. `lease` is the one that the whole run holds.

    Opening compares the ledger with the signer's head as for the one writer, while nobody writes.
    """

    def __init__(self, engine: Engine, signer: Signer, lease: Lease, *, clock: Clock, randomness: Randomness) -> None:
        self._leases = [lease]
        write(engine, lambda _: super(SharedLog, self).__init__(engine, signer, clock=clock, randomness=randomness))

    @contextmanager
    def under(self, lease: Lease) -> Iterator[None]:
        """While this holds, nothing is appended unless this lease is held as well."""
        self._leases.append(lease)
        try:
            yield
        finally:
            self._leases.remove(lease)

    def append(self, entries: Sequence[NewEntry], also: Also | None = None) -> tuple[int, ...]:
        """As for the one writer, after whatever others appended. Raises `TryAgain`: `lease_lost`, with nothing appended, and not `second_writer`."""

        def work(connection: Connection) -> tuple[int, ...]:
            self._check(connection)
            start = next_index(connection)
            return insert_rows(connection, self._rows(entries, start), start, also)

        with self._lock:
            return write(self.engine, work)

    def seal(self) -> SignedCheckpoint:
        """As for the one writer: all entries up to now, whoever appended them. Raises `TryAgain`: `lease_lost`, and not `second_writer`."""

        def work(connection: Connection) -> SignedCheckpoint:
            self._check(connection)
            self._size = next_index(connection)  # nobody appends meanwhile
            signed = self._signer.sign(*self._unsealed(), epoch=self.epoch)
            keep_note(connection, signed)
            return signed

        with self._lock:
            return write(self.engine, work)

    def _check(self, connection: Connection) -> None:
        for lease in self._leases:
            if not lease.held(connection):
                raise lease.lost()
