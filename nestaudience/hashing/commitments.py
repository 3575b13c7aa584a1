"""Person keys and membership leaves, in bulk: how the log speaks of people without naming them.

    person key  = SHA-256(master ‖ salt)
    commitment  = SHA-256(person key ‖ batch id ‖ operation ‖ list)
    leaf        = SHA-256(0x00 ‖ commitment)

Every part has a fixed length, so no two sets of parts give the same bytes. Once the salt is destroyed nobody can compute the
leaf again, and the leaf that was logged is a random number. This module builds no tree, draws no salt and keeps no key.
"""

import hashlib
from typing import Final

import numpy as np

from nestaudience.hashing.kernel import DIGEST_BYTES, Bytes2D, sha256_blocks
from nestaudience.vocabulary import Operation

SUFFIX_BYTES: Final = 16 + 1 + 32
OPERATION_BYTE: Final = {Operation.ADD: b"\x01", Operation.REMOVE: b"\x02"}
"""How an operation is written into a commitment. Part of the format: never change or reuse a value."""


def key_of_list(name: str) -> bytes:
    """A list's name as 32 bytes: SHA-256 of its UTF-8."""
    return hashlib.sha256(name.encode()).digest()


def person_keys(master: bytes, salts: Bytes2D) -> Bytes2D:
    """Person keys [n, 32] from the master (32 bytes) and salts (uint8 [n, 32]). Raises `ValueError` for other lengths."""
    if len(master) != DIGEST_BYTES:
        raise ValueError("the master has 32 bytes")
    _check(salts)
    return sha256_blocks(np.hstack([_repeated(master, len(salts)), salts]))


def batch_suffix(batch_id: bytes, operation: Operation, list_key: bytes) -> bytes:
    """The part of a commitment that the whole batch shares: batch id (16 bytes), operation (1), list (32): 49 bytes.

    Raises `ValueError` for other lengths.
    """
    suffix = batch_id + OPERATION_BYTE[operation] + list_key
    if len(batch_id) != 16 or len(suffix) != SUFFIX_BYTES:
        raise ValueError("a batch id has 16 bytes, and the key of a list 32")
    return suffix


def leaves(keys: Bytes2D, suffixes: Bytes2D) -> Bytes2D:
    """The leaves of person keys [n, 32] with suffixes [n, 49], row by row and unsorted: [n, 32].

    One person against many batches is a lookup: repeat the key (`np.broadcast_to`), one suffix a row.
    """
    return sha256_blocks(np.hstack([np.zeros((len(keys), 1), dtype=np.uint8), commitments(keys, suffixes)]))


def commitments(keys: Bytes2D, suffixes: Bytes2D) -> Bytes2D:
    """What the leaves are hashes of, row by row: [n, 32]. Shapes as in `leaves`."""
    _check(keys)
    if suffixes.shape != (len(keys), SUFFIX_BYTES) or suffixes.dtype != np.uint8:
        raise ValueError("one suffix of 49 bytes for each person key")
    return sha256_blocks(np.hstack([keys, suffixes]))


def leaves_of(person_keys: Bytes2D, batch_id: bytes, operation: Operation, list_key: bytes) -> Bytes2D:
    """The leaves that these people have in one batch, if they are in it: [n, 32], in their order."""
    return leaves(person_keys, _repeated(batch_suffix(batch_id, operation, list_key), len(person_keys)))


def membership_leaves(person_keys: Bytes2D, batch_id: bytes, operation: Operation, list_key: bytes) -> bytes:
    """The sorted leaves of one batch, packed: 32 bytes each, as many as there are person keys.

    `list_key` has 32 bytes (`key_of_list(name)`). A person who is in the batch with two digests has the same leaf twice.
    """
    return sorted_leaves(leaves_of(person_keys, batch_id, operation, list_key))


def sorted_leaves(found: Bytes2D) -> bytes:
    """Leaves [n, 32] as a batch keeps them: sorted and packed."""
    return np.sort(np.ascontiguousarray(found).view(f"S{DIGEST_BYTES}"), axis=0).tobytes()


def _repeated(value: bytes, count: int) -> Bytes2D:
    return np.broadcast_to(np.frombuffer(value, dtype=np.uint8), (count, len(value)))


def _check(rows: Bytes2D) -> None:
    if rows.ndim != 2 or rows.shape[1] != DIGEST_BYTES or rows.dtype != np.uint8:
        raise ValueError("keys and salts are rows of 32 bytes")
