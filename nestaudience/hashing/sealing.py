"""Digests as the ledger keeps them: sealed, so that a stolen ledger tells nobody whether a known address is on a list.

AES-256 in counter mode (NIST SP 800-38A §6.5, https://csrc.nist.gov/pubs/sp/800/38/a/final) under a key of the batch's own.
Sealing hides and does not authenticate: whether a row came back whole is told by `matches`, against the digest token kept
beside it (docs/adr/0004-sealed-digests.md). A batch id is sealed once, with one list of digests; sealing different digests
under the same id would give away their difference.
"""

import hmac
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from nestaudience.errors import MustStop
from nestaudience.hashing.digests import DIGEST_TYPE, Digests
from nestaudience.hashing.kernel import DIGEST_BYTES, Bytes2D, column_of, rows_of
from nestaudience.hashing.tokens import TOKEN_TYPE, Tokens
from nestaudience.vocabulary import Recipient

BATCH_ID_TYPE: Final = pa.binary(16)
POSITION_TYPE: Final = pa.int32()
MAX_ROWS: Final = 1 << 20
"""The most rows a batch may have. Platforms take 100 000 at most; the bound keeps a damaged position from claiming all memory."""

_BLOCKS_A_ROW: Final = DIGEST_BYTES // 16


def seal(seal_key: bytes, batch_id: bytes, digests: Digests) -> pa.FixedSizeBinaryArray:
    """The digests of one batch, sealed: `fixed_size_binary[32]`, row by row. Their row numbers are the positions for `unseal`.

    Raises `ValueError` for a seal key below 32 bytes, a batch id that has not 16, a null, or more than 1 048 576 rows.
    """
    _check_key(seal_key)
    if len(batch_id) != BATCH_ID_TYPE.byte_width:
        raise ValueError("a batch id has 16 bytes")
    if len(digests) > MAX_ROWS or digests.column.null_count:
        raise ValueError("a batch has a digest in every row, and no more rows than positions")
    return column_of(rows_of(digests.column) ^ _keystream(seal_key, batch_id, 0, len(digests)))


def unseal(
    seal_key: bytes,
    batch_ids: pa.FixedSizeBinaryArray,
    positions: pa.Int32Array,
    sealed: pa.FixedSizeBinaryArray,
    recipient: Recipient,
) -> Digests:
    """The digests of rows from any batches, in the order of the rows.

    `batch_ids` is `fixed_size_binary[16]`, `positions` int32 (row in the batch, from 0), `sealed` `fixed_size_binary[32]`; all of
    one length and without nulls. A wrong key, id or position gives wrong digests, not an error: compare with `matches`. Raises
    `TypeError` and `ValueError` for columns that do not fit, `MustStop` for a position that no batch can have.
    """
    _check_key(seal_key)
    if (batch_ids.type, positions.type, sealed.type) != (BATCH_ID_TYPE, POSITION_TYPE, DIGEST_TYPE):
        raise TypeError("batch ids have 16 bytes, positions are int32, sealed digests have 32 bytes")
    if not len(batch_ids) == len(positions) == len(sealed) or batch_ids.null_count + positions.null_count + sealed.null_count:
        raise ValueError("every sealed digest has a batch id and a position")
    places = positions.to_numpy()
    if len(places) and not 0 <= places.min() <= places.max() < MAX_ROWS:
        raise MustStop("sealed_position_impossible", "hashing.sealing", "the ledger is damaged: run audit verify")
    opened = np.array(rows_of(sealed))
    batches = batch_ids.dictionary_encode()
    number = batches.indices.to_numpy()
    order = np.argsort(number)
    stretches = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    for batch_id, rows in zip(batches.dictionary.to_pylist(), stretches, strict=False):
        at = places[rows]
        first = int(at.min())
        opened[rows] ^= _keystream(seal_key, batch_id, first, int(at.max()) + 1 - first)[at - first]
    return Digests(column_of(opened), recipient)


def matches(tokens: Tokens, digests: Digests, kept: pa.FixedSizeBinaryArray) -> pa.BooleanArray:
    """Where a digest has the token that was kept beside it (`fixed_size_binary[16]`); a boolean in every row, false for a null.

    False after `unseal` means a wrong key or a damaged row, and such a digest must not be sent.
    """
    if kept.type != TOKEN_TYPE or len(kept) != len(digests):
        raise ValueError("one token of 16 bytes was kept for each digest")
    return pc.fill_null(pc.equal(tokens.of_digests(digests), kept), fill_value=False)


def _check_key(seal_key: bytes) -> None:
    if len(seal_key) < 32:
        raise ValueError("a seal key has at least 32 bytes")


def _keystream(seal_key: bytes, batch_id: bytes, first: int, count: int) -> Bytes2D:
    """The key stream of `count` rows of a batch from row `first` on: [count, 32]. Row p owns the counters 2p and 2p + 1."""
    counter = (first * _BLOCKS_A_ROW).to_bytes(16, "big")
    stream = Cipher(AES(hmac.digest(seal_key, batch_id, "sha256")), CTR(counter)).encryptor()
    return np.frombuffer(stream.update(bytes(count * DIGEST_BYTES)), dtype=np.uint8).reshape(count, DIGEST_BYTES)
