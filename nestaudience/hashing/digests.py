"""Digests of addresses as a column, and raw addresses as a sealed one.

`Addresses` may be opened only inside this room; `Digests` becomes hex text only at a platform's wire. Neither is a string, prints its
contents, or can be pickled, so neither can end in a log line, an exception or an orchestrator's database by accident.
"""

from typing import Final, NoReturn, final

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.vocabulary import Recipient

DIGEST_TYPE: Final = pa.binary(32)


class _Private:
    """A column that refuses to leave the process."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be pickled or copied")

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, spec: str) -> str:
        return repr(self)


@final
class Addresses(_Private):
    """E-mail addresses as they stand in the store: one `string` column, null where none was read."""

    __slots__ = ("_column",)

    def __init__(self, column: pa.StringArray) -> None:
        if not pa.types.is_string(column.type):
            raise TypeError("addresses are a string column")
        self._column = column

    def reveal(self) -> pa.StringArray:
        """The addresses themselves. Called in `nestaudience.hashing` only; a test holds it."""
        return self._column

    def filter(self, keep: pa.BooleanArray) -> "Addresses":
        """The addresses of the rows that are kept, in their order."""
        return Addresses(self._column.filter(keep))

    def __len__(self) -> int:
        return len(self._column)

    def __repr__(self) -> str:
        return f"<{len(self)} addresses>"


@final
class Digests(_Private):
    """SHA-256 digests of addresses normalised by one recipient's rule: `fixed_size_binary[32]`."""

    __slots__ = ("_column", "recipient")

    def __init__(self, column: pa.FixedSizeBinaryArray, recipient: Recipient) -> None:
        if column.type != DIGEST_TYPE:
            raise TypeError("digests are a column of 32 bytes each")
        self._column = column
        self.recipient = recipient

    @property
    def column(self) -> pa.FixedSizeBinaryArray:
        """The digests as bytes, for sealing and comparing; null where an address gave none."""
        return self._column

    def take(self, rows: pa.Array) -> "Digests":
        """The digests at these row numbers, in their order."""
        return Digests(self._column.take(rows), self.recipient)

    def hex(self) -> list[str]:
        """Lower-case hexadecimal text, 64 characters each: for the wire, and for nothing else."""
        return [value.hex() for value in self._column.to_pylist()]

    def without_null(self) -> bool:
        """True when every row has a digest."""
        return bool(pc.all(pc.is_valid(self._column)).as_py())

    def __len__(self) -> int:
        return len(self._column)

    def __repr__(self) -> str:
        return f"<{len(self)} digests for {self.recipient.value}>"
