"""Keyed tokens of accounts, people and digests: 16 bytes that join and tell nothing without the key.

Tokens are what the planning engine and the ledger see instead of an account id, an address or a digest. This module neither
normalises an address nor stores a token.
"""

from typing import Final, NoReturn, final

import pyarrow as pa

from nestaudience.hashing.digests import Digests
from nestaudience.hashing.kernel import hmac_column

TOKEN_BYTES: Final = 16
TOKEN_TYPE: Final = pa.binary(TOKEN_BYTES)
"""Arrow type of every token: `fixed_size_binary[16]`."""


@final
class Tokens:
    """Makes tokens with one index key: HMAC-SHA-256 of a label and the value, its first 16 bytes.

    The label keeps the kinds apart, so that an account id that looks like an address never gives that person's token. The index
    key has at least 32 bytes (`ValueError`); it is in no text that this object gives, and the object cannot be pickled or
    copied. Every method raises `TypeError` for a column of another type, and `MustStop` when a hash is wrong (`kernel`).
    """

    __slots__ = ("__index_key",)

    def __init__(self, index_key: bytes) -> None:
        if len(index_key) < 32:
            raise ValueError("an index key has at least 32 bytes")
        self.__index_key = bytes(index_key)

    def of_accounts(self, account_ids: pa.StringArray) -> pa.FixedSizeBinaryArray:
        """One token per account id (`string`), `fixed_size_binary[16]`; null stays null."""
        return self._of_text(b"account|", account_ids)

    def of_people(self, canonical: pa.StringArray) -> pa.FixedSizeBinaryArray:
        """One token per canonical address (`string`, from `addresses.normalise`): equal for the same person. Null stays null."""
        return self._of_text(b"person|", canonical)

    def of_digests(self, digests: Digests) -> pa.FixedSizeBinaryArray:
        """One token per digest; the same bytes give different tokens for different recipients. Null stays null."""
        label = b"digest|" + digests.recipient.value.encode() + b"|"
        return hmac_column(self.__index_key, digests.column, TOKEN_BYTES, label=label)

    def _of_text(self, label: bytes, column: pa.StringArray) -> pa.FixedSizeBinaryArray:
        if not pa.types.is_string(column.type):
            raise TypeError("tokens are made of a string column")
        return hmac_column(self.__index_key, column, TOKEN_BYTES, label=label)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("Tokens cannot be pickled or copied")

    def __repr__(self) -> str:
        return "<Tokens>"
