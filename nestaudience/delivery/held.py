"""What the lists may hold, in memory: rows from the ledger for the engine, and sealed digests by row number for delivery.

The engine gets tokens and flags; the sealed digests stay here and are opened only for the people of one batch. It changes no state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.errors import MustStop
from nestaudience.hashing.digests import DIGEST_TYPE, Digests
from nestaudience.hashing.sealing import matches, unseal
from nestaudience.hashing.tokens import Tokens
from nestaudience.ledger.keys import KeyRing, KeyUse
from nestaudience.ledger.memory import Memory, Touched
from nestaudience.screening.engine import tokens_to_uuid
from nestaudience.screening.screen import HELD_SCHEMA
from nestaudience.vocabulary import Recipient


@dataclass(frozen=True, slots=True)
class Held:
    """Every membership that may stand on a list at one moment; `rows` in the form of `HELD_FIELDS`, numbered from 0."""

    rows: pa.Table
    batch_keys: Mapping[int, tuple[bytes, str]]

    def for_engine(self, audience_numbers: Mapping[int, int]) -> pa.Table:
        """The rows as screening and delta see them (`HELD_SCHEMA`). `audience_numbers`: list number -> audience's number; rows of
        other lists are left out.
        """
        lists = pa.array(list(audience_numbers), pa.int64())
        numbers = pa.array(list(audience_numbers.values()), pa.int32())
        place = pc.index_in(self.rows.column("list_no"), value_set=lists)
        columns = {
            "audience_no": numbers.take(place.combine_chunks() if isinstance(place, pa.ChunkedArray) else place),
            "held_no": pa.array(range(self.rows.num_rows), pa.int64()),
        }
        columns |= {name: _uuid(self.rows.column(name)) for name in ("account_token", "person_token")}
        columns["digest"] = _uuid(self.rows.column("digest_token"))
        flags = ("confirmed", "in_flight", "removing", "owed", "unanswered")
        columns |= {name: pc.cast(self.rows.column(name), pa.bool_()) for name in flags}
        columns["again"] = _one(self.rows.column("again"))
        table = pa.table([columns[name] for name in HELD_SCHEMA.names], schema=HELD_SCHEMA)
        return table.filter(pc.is_valid(table.column("audience_no")))

    def member_ids(self, numbers: pa.Array) -> pa.Array:
        """The ledger's row ids of these rows."""
        return _one(self.rows.column("member_id").take(numbers))

    def member_lists(self, numbers: pa.Array) -> pa.Array:
        """The same for lists of rows: `list<int64>` of ids for `list<int64>` of row numbers, in one order."""
        ends = pc.cumulative_sum(pc.list_value_length(numbers).fill_null(0))
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends.cast(pa.int32())])
        return pa.ListArray.from_arrays(offsets, self.member_ids(numbers.flatten()))

    def persons(self) -> pa.Array:
        """The distinct person tokens of these rows: `fixed_size_binary[16]`."""
        return _one(pc.unique(self.rows.column("person_token")))

    def added_by(self, batch_nos: frozenset[int]) -> pa.Array:
        """The numbers of the rows that these batches added: int64."""
        mine = pc.is_in(self.rows.column("batch_added"), value_set=pa.array(sorted(batch_nos), pa.int64()))
        return pa.array(pc.indices_nonzero(mine), pa.int64())

    def open(self, numbers: pa.Array, recipient: Recipient, keys: KeyRing, tokens: Tokens) -> Digests:
        """The digests of these rows. Raises `MustStop`: `sealed_digest_damaged` when one does not fit the token kept beside it."""
        rows = self.rows.take(numbers)
        added = rows.column("batch_added").to_pylist()
        batch_ids = pa.array([self.batch_keys[number][0] for number in added], pa.binary(16))
        key_ids = pa.array([self.batch_keys[number][1] for number in added], pa.string())
        parts: list[tuple[pa.Array, Digests]] = []
        for key_id in pc.unique(key_ids).to_pylist():
            key = keys.by_id(KeyUse.SEAL, key_id)
            if key is None:
                raise MustStop("seal_key_missing", "the key ring", "put the retired seal key back; it opens older memberships")
            places = pc.indices_nonzero(pc.equal(key_ids, key_id))
            some = rows.take(places)
            opened = unseal(
                key.reveal(),
                batch_ids.take(places),
                _one(some.column("position").cast(pa.int32())),
                _one(some.column("sealed_digest")),
                recipient,
            )
            if not pc.all(matches(tokens, opened, _one(some.column("digest_token")))).as_py():
                raise MustStop(
                    "sealed_digest_damaged", "the ledger", "run `nestaudience audit verify`; a membership does not open"
                )
            parts.append((places, opened))
        if not parts:
            return Digests(pa.array([], DIGEST_TYPE), recipient)
        order = pc.array_sort_indices(pa.concat_arrays([places for places, _ in parts]))
        return Digests(pa.concat_arrays([opened.column for _, opened in parts]), recipient).take(order)


def read_held(memory: Memory, now: datetime, news: Mapping[int, str] | None = None, touched: Touched | None = None) -> Held:
    """What the ledger says that the lists may hold at this moment (UTC); `news` and `touched` as in `Memory.held`."""
    return Held(memory.held(now, news, touched), memory.batch_keys())


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column


def _uuid(column: pa.ChunkedArray) -> pa.Array:
    return tokens_to_uuid(_one(column))
