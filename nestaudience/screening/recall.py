"""Remembered noes on their way into a screening: their rows, and the keys by which the addresses of tonight are compared with them.

An address is compared by a token of the suppression key, made where the address is read; an account by its token under the index key, and under
older ones where rows still stand under them. It reads no ledger and decides nothing.
"""

from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.hashing.tokens import TOKEN_TYPE, Tokens

REMEMBERED_SCHEMA: Final = pa.schema(
    [
        ("kind", pa.string()),
        ("token", pa.uuid()),
        ("account_token", pa.uuid()),
        ("controller", pa.string()),
        ("bits", pa.uint8()),
        ("occurred", pa.timestamp("us")),
        ("recorded", pa.timestamp("us")),
        ("source", pa.uint64()),
        ("seq", pa.int64()),
        ("first_seen", pa.timestamp("us")),
        ("by_hand", pa.bool_()),
        ("lifted", pa.timestamp("us")),
    ]
)
"""One remembered no. `token`: the address, by a suppression key; `account_token` is null without an account. Clocks are those that the rules
compare, null for one that cannot be read. `by_hand`: entered with a case, and ended only by `lifted`, the time of a case that lifted it."""
ALIAS_SCHEMA: Final = pa.schema([("kept", pa.uuid()), ("now", pa.uuid())])


@dataclass(frozen=True, slots=True)
class Recall:
    """What memory brings to a screening. `keys`: makers of address tokens, the one that writes first; `accounts`: makers of account tokens by older
    index keys under which rows stand. `missing`: there are rows under keys that nobody has any more; they are compared with nothing.
    """

    rows: pa.Table = field(repr=False)
    keys: tuple[Tokens, ...]
    accounts: tuple[Tokens, ...] = ()
    missing: bool = False


class Aliases:
    """Which tokens of memory are which tokens of tonight, collected while sheets stream in. Only those that memory has are kept."""

    def __init__(self, recall: Recall | None) -> None:
        self.keys = recall.keys if recall else ()
        self._accounts = recall.accounts if recall else ()
        self._parts: list[tuple[pa.Array, pa.Array]] = []
        self._persons = _values(recall, "token")
        self._owners = _values(recall, "account_token")

    def people(self, kept: tuple[pa.Array, ...], now: pa.Array) -> pa.Array:
        """Compare a batch of addresses: `kept` by each of `keys`, `now` by the index key. Gives the token that writes; nulls without keys."""
        for column in kept[1:]:
            self._match(column, now, self._persons)
        return kept[0] if kept else pa.nulls(len(now), TOKEN_TYPE)

    def accounts(self, ids: pa.Array, now: pa.Array) -> None:
        """Compare a batch of account ids with rows under older index keys."""
        for tokens in self._accounts:
            self._match(tokens.of_accounts(ids), now, self._owners)

    def table(self) -> pa.Table:
        """What was found, in the form of `ALIAS_SCHEMA`, for tokens under older keys."""
        columns = [pa.chunked_array([pair[side] for pair in self._parts], TOKEN_TYPE) for side in (0, 1)]
        uuids = [pa.ExtensionArray.from_storage(pa.uuid(), column.combine_chunks()) for column in columns]
        return pa.table(uuids, schema=ALIAS_SCHEMA)

    def _match(self, kept: pa.Array, now: pa.Array, wanted: pa.Array) -> None:
        found = pc.is_in(kept, value_set=wanted, skip_nulls=True)
        if pc.any(found).as_py():
            self._parts.append((kept.filter(found), now.filter(found)))


def _values(recall: Recall | None, name: str) -> pa.Array:
    if recall is None:
        return pa.array([], TOKEN_TYPE)
    chunks = [chunk.storage for chunk in recall.rows.column(name).chunks]
    return pc.unique(pa.concat_arrays(chunks)).drop_null() if chunks else pa.array([], TOKEN_TYPE)
