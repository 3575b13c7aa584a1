"""What is read from the rows of a list's additions: who is kept, which of them go again in halves, and what their grants cover. It sends nothing."""

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.destinations.port import ConsentSignals
from nestaudience.errors import MustStop


def staying(rows: pa.Table, keep: pa.BooleanArray, left: list[pa.ChunkedArray]) -> pa.Table:
    """The rows that the last look keeps, but those whose `digest` was ordered off the list earlier in this run: a consent that came back since then
    waits for the next run, because the removal may still be on its way.
    """
    gone = pa.chunked_array([chunk.storage for column in left for chunk in column.chunks], pa.binary(16))
    here = pa.chunked_array([chunk.storage for chunk in rows.column("digest").chunks], pa.binary(16))
    return rows.filter(pc.and_not(keep, pc.is_in(here, value_set=gone)))


def tried_before(rows: pa.Table) -> tuple[pa.Table, dict[int, list[pa.Table]]]:
    """The additions that are sent as usual; and, by the batch of which the platform refused some, the two halves in which its people go once more."""
    column = rows.column("again")
    groups = {}
    for batch_no in pc.unique(column.filter(pc.greater(column, 0))).to_pylist():
        some = rows.filter(pc.equal(column, batch_no))
        middle = (some.num_rows + 1) // 2
        groups[int(batch_no)] = [half for half in (some.slice(0, middle), some.slice(middle)) if half.num_rows]
    return rows.filter(pc.equal(column, 0)), groups


def signals_of(rows: pa.Table) -> ConsentSignals:
    """What all grants of a batch cover. Raises `MustStop`: `consent_signals` when one of them covers less: nobody such is eligible."""
    signals = pc.unique(rows.column("signals")).to_pylist()
    if signals != [3]:
        raise MustStop(
            "consent_signals", "a batch of additions", "nothing was sent: a grant does not cover both signals; report it"
        )
    return ConsentSignals(ad_user_data=bool(signals[0] & 1), ad_personalization=bool(signals[0] & 2))
