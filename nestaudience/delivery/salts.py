"""Each person's random salt, by row number, for the leaves of the batches that a run sends.

The engine joins persons by token and says a row number; the salts themselves stay in one array here. New persons get theirs before anything about
them is written; another process that works for the same run may have given it to them already. No salt is ever derived from anything.
"""

from collections.abc import Callable

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nestaudience.hashing.commitments import person_keys
from nestaudience.ledger.memory import Memory
from nestaudience.screening.engine import ask, fetch, tokens_to_uuid, uuid_to_tokens

Bytes2D = npt.NDArray[np.uint8]


class Salts:
    """The salts of everybody whom this run may name in a batch; `only` are the person tokens of a run that concerns few."""

    def __init__(
        self, engine: duckdb.DuckDBPyConnection, memory: Memory, randomness: Callable[[int], bytes], only: pa.Array | None = None
    ) -> None:
        self._engine = engine
        self._memory = memory
        self._randomness = randomness
        self._last = memory.last_person()
        persons = memory.persons(only)
        self._salts = _rows(persons.column("salt"))
        ask(engine, "CREATE OR REPLACE TABLE person_row (person_token UUID, person_row BIGINT)")
        self._index(persons.column("person_token").combine_chunks(), 0)

    def admit(self, query: str) -> int:
        """Give a salt to every person that this engine query names (one column, `person_token`) and that has none; how many."""
        fresh = fetch(
            self._engine,
            f"SELECT DISTINCT q.person_token FROM ({query}) q ANTI JOIN person_row p ON p.person_token = q.person_token"  # noqa: S608 (ours)
            " WHERE q.person_token IS NOT NULL",
        )
        tokens = uuid_to_tokens(fresh.column("person_token"))
        if not len(tokens):
            return 0
        written, self._last = self._memory.add_persons(tokens, self._randomness, self._last)
        self._index(written.column("person_token").combine_chunks(), len(self._salts))
        self._salts = np.concatenate([self._salts, _rows(written.column("salt"))])
        return len(tokens)

    def keys_of(self, person_tokens: pa.Array, master: bytes) -> Bytes2D:
        """Person keys of these tokens (`uuid`), in their order: uint8 [n, 32]."""
        # Copied before it is joined: beside a table of one row the engine filters what it is lent, and it cannot filter a lent UUID.
        asked = pa.table({"place": pa.array(range(len(person_tokens)), pa.int64()), "person_token": person_tokens})
        self._engine.register("persons_given", asked)
        ask(self._engine, "CREATE OR REPLACE TABLE asked_persons AS SELECT * FROM persons_given")
        self._engine.unregister("persons_given")
        rows = fetch(
            self._engine,
            "SELECT p.person_row FROM asked_persons a JOIN person_row p ON p.person_token = a.person_token ORDER BY a.place",
        )
        numbers = rows.column("person_row").to_numpy()
        if len(numbers) != len(person_tokens):
            raise ValueError("everybody in a batch was admitted before")
        return person_keys(master, self._salts[numbers])

    def _index(self, tokens: pa.Array, first: int) -> None:
        table = pa.table(
            {"person_token": tokens_to_uuid(tokens), "person_row": pa.array(range(first, first + len(tokens)), pa.int64())}
        )
        self._engine.register("new_persons", table)
        # Whoever another process wrote down while the first ones were read may come twice.
        ask(self._engine, "INSERT INTO person_row FROM new_persons n ANTI JOIN person_row p ON p.person_token = n.person_token")
        self._engine.unregister("new_persons")


def _rows(column: pa.ChunkedArray | pa.Array) -> Bytes2D:
    joined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not len(joined):
        return np.empty((0, 32), dtype=np.uint8)
    buffer = np.frombuffer(joined.buffers()[1], dtype=np.uint8)
    return buffer[joined.offset * 32 : (joined.offset + len(joined)) * 32].reshape(len(joined), 32)
