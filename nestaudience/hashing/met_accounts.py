"""Tokens of account ids that come again and again, without hashing an id that was met before.

The accounts themselves are met first, and their events and segments name the same ids four or five times more. A token that is looked up is the token
that would be made: an id is found by a number, and then compared with the one that was met as text, so a number that two ids share costs time and
nothing else. Ids that were not met are hashed. Nothing is stored, and at most `MOST_IDS` are held in memory, 30 to 40 bytes each.
"""

from typing import Final, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.hashing.kernel import lookup_numbers
from nestaudience.hashing.tokens import TOKEN_TYPE, Tokens

MOST_IDS: Final = 1 << 24
FEW_ROWS: Final = 256
"""So many ids are hashed: gathering what was met takes longer."""
MOST_BYTES: Final = 1 << 30
"""Of the text of all ids together."""


_Numbers = npt.NDArray[np.uint64]
_Rows = npt.NDArray[np.int32]


class _Places:
    """Says for a number which row to look at, by `bits` of its bits after the first `skip`. Of rows that share a place one is named."""

    __slots__ = ("_rows", "_shift", "_skip")

    def __init__(self, bits: int, skip: int) -> None:
        self._rows: _Rows = np.zeros(1 << bits, dtype=np.int32)
        self._skip, self._shift = np.uint64(skip), np.uint64(64 - bits)

    def put(self, numbers: _Numbers, rows: _Rows) -> None:
        self._rows[(numbers << self._skip) >> self._shift] = rows

    def at(self, numbers: _Numbers) -> _Rows:
        rows: _Rows = self._rows[(numbers << self._skip) >> self._shift]
        return rows


@final
class MetAccounts:
    """Makes the tokens of account ids, as `Tokens.of_accounts` does, and remembers those that it is shown, up to `most`. Raises as that does."""

    __slots__ = ("_bytes", "_ids", "_met", "_most", "_parts", "_places", "_rows", "_tokens")

    def __init__(self, tokens: Tokens, most: int = MOST_IDS) -> None:
        self._tokens = tokens
        self._most = most
        self._parts: list[tuple[pa.StringArray, pa.FixedSizeBinaryArray]] = []
        self._rows = self._bytes = 0
        self._ids: pa.StringArray = pa.array([], pa.string())
        self._met: pa.FixedSizeBinaryArray = pa.array([], TOKEN_TYPE)
        self._places: tuple[_Places, ...] = ()

    def meet(self, ids: pa.StringArray) -> pa.FixedSizeBinaryArray:
        """Their tokens, which are remembered from here on."""
        made = self._tokens.of_accounts(ids)
        self._rows += len(ids)
        self._bytes += ids.nbytes
        if len(ids) and self._rows <= self._most and self._bytes <= MOST_BYTES:
            self._parts.append((ids, made))
        return made

    def again(self, ids: pa.StringArray) -> pa.FixedSizeBinaryArray:
        """The tokens of ids most of which were met."""
        if len(ids) <= FEW_ROWS or not (self._parts or len(self._ids)):
            return self._tokens.of_accounts(ids)
        if self._parts:
            self._gather()
        rows, other = self._found(ids)
        return pc.replace_with_mask(self._met.take(rows), other, self._tokens.of_accounts(ids.filter(other)))

    def _found(self, ids: pa.StringArray) -> tuple[pa.Int32Array, pa.BooleanArray]:
        """The row of each id among those met, and which of them have none: an id is found where the text is the same."""
        numbers = lookup_numbers(ids)
        rows = np.zeros(len(ids), dtype=np.int32)
        other = np.ones(len(ids), dtype=np.bool_)
        for places in self._places:
            rows[other] = places.at(numbers[other])
            same = pc.equal(self._ids.take(pa.array(rows[other])), ids.filter(pa.array(other)))
            other[other] = ~pc.fill_null(same, False).to_numpy(zero_copy_only=False)  # noqa: FBT003 (a value, not a switch)
        return pa.array(rows), pa.array(other)

    def _gather(self) -> None:
        """Make what was met ready to be looked up: in a table of twice as many places or more, and in a smaller one what others there covered."""
        parts, self._parts = [(self._ids, self._met), *self._parts], []
        self._ids, self._met = (pa.concat_arrays([part[side] for part in parts]) for side in (0, 1))
        bits = max(3, (2 * len(self._ids) - 1).bit_length())
        first, second = self._places = (_Places(bits, 0), _Places(bits - 2, bits))
        numbers, rows = lookup_numbers(self._ids), np.arange(len(self._ids), dtype=np.int32)
        first.put(numbers, rows)
        covered = first.at(numbers) != rows
        second.put(numbers[covered], rows[covered])

    def __repr__(self) -> str:
        return f"<{self._rows} accounts met>"
