"""Which accounts of a directory of Parquet files have spoken: those with a grant for list matching, or with a no of their own.

Files have no index, so the whole of what was said is put beside all accounts in an engine of its own, in memory alone: account ids go to no disk. It
sees no address and reads no file.
"""

from collections.abc import Iterator
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from nestaudience.errors import MustStop, NestAudienceError

_ASKED: Final = """
SELECT account_id FROM consent_event
WHERE (action = 'grant' AND purpose = 'ad_matching')
   OR (action = 'withdraw' AND NOT coalesce(list_contains($irrelevant::VARCHAR[], purpose), false))
UNION
SELECT account_id FROM rights_event WHERE action IN ('object', 'restrict', 'erase')
"""
SAID: Final = {"consent_event": ("account_id", "action", "purpose"), "rights_event": ("account_id", "action")}
"""What is read of which view."""


def have_spoken(
    account_ids: pa.ChunkedArray, said: dict[str, Iterator[pa.RecordBatch]], irrelevant: frozenset[str]
) -> pa.BooleanArray:
    """For every account id (`string`), in its order, whether it has spoken; a null has not. `said` streams the columns of `SAID`, all `string`,
    of the views that there are; a withdrawal of an `irrelevant` purpose does not count.

    Raises what a stream raises, and `MustStop`: `engine_failed` (out of memory).
    """
    failures: list[NestAudienceError] = []
    spoke = np.zeros(len(account_ids), dtype=bool)
    failed = False
    with duckdb.connect(":memory:", config={"temp_directory": "", "preserve_insertion_order": False}) as engine:
        for view, names in SAID.items():
            schema = pa.schema([(name, pa.string()) for name in names])
            stream = _heard(said.get(view, iter(())), failures)
            engine.register(view, pa.RecordBatchReader.from_batches(schema, stream))
        places = pa.array(np.arange(len(account_ids)), pa.int64())
        engine.register("account", pa.table({"account_id": account_ids, "place": places}))
        try:
            engine.execute(f"CREATE TABLE asked AS {_ASKED}", {"irrelevant": sorted(irrelevant)})
            found = engine.execute("SELECT place FROM account SEMI JOIN asked USING (account_id)").to_arrow_reader()
            for batch in found:
                spoke[batch.column(0).to_numpy()] = True
        except (duckdb.Error, pa.ArrowException, MemoryError, NestAudienceError):
            failed = True
    if failures:
        raise failures[0].with_traceback(None)
    if failed:
        raise MustStop("engine_failed", "reading account", "nothing was sent; this machine has too little memory for so many ids")
    return pa.array(spoke)


def _heard(batches: Iterator[pa.RecordBatch], failures: list[NestAudienceError]) -> Iterator[pa.RecordBatch]:
    """The same; what goes wrong is kept, because the engine would wrap it in words of its own."""
    try:
        yield from batches
    except NestAudienceError as error:
        failures.append(error)
        raise
