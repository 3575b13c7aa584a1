"""RFC 6962 Merkle trees over SHA-256: roots, inclusion proofs, consistency proofs.

Pure. It knows neither entries nor people, signs nothing and stores nothing. Rule:
https://www.rfc-editor.org/rfc/rfc6962#section-2.1. Leaf hashes travel as one packed byte string, 32 bytes
each, because trees are large.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import numpy as np

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data)."""
    return sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(_NODE + left + right).digest()


def root_of(leaves: bytes) -> bytes:
    """The root over packed leaf hashes, in their order. Raises ValueError when the length is no multiple of 32."""
    count = _count(leaves)
    if count == 0:
        return EMPTY_ROOT
    level = leaves
    while len(level) > HASH_SIZE:
        level = _level_above(level)
    return level


def membership_root(leaves: bytes) -> bytes:
    """The root of a batch's membership tree: packed leaf hashes that must be sorted and all different.

    Raises ValueError when they are not: an unsorted tree could not prove that somebody is absent.
    """
    if not is_sorted(leaves):
        raise ValueError("membership leaves are sorted and all different")
    return root_of(leaves)


def is_sorted(leaves: bytes) -> bool:
    """True when packed leaf hashes never fall (whoever is in a batch with two digests has one leaf twice).

    Raises ValueError when the length is no multiple of 32.
    """
    if _count(leaves) < 2:
        return True
    firsts = np.frombuffer(leaves, ">u8")[::4]
    close = np.flatnonzero(firsts[:-1] >= firsts[1:])  # nearly always none: eight bytes tell hashes apart
    return all(_node(leaves, place) <= _node(leaves, place + 1) for place in close.tolist())


class Frontier:
    """A growing tree's right edge: the roots of its perfect subtrees, largest first. Enough to append and to know the root."""

    __slots__ = ("_nodes", "_size")

    def __init__(self, size: int = 0, nodes: Sequence[bytes] = ()) -> None:
        if size < 0 or len(nodes) != size.bit_count() or any(len(node) != HASH_SIZE for node in nodes):
            raise ValueError("a frontier has one 32-byte node for each bit of its size")
        self._size = size
        self._nodes = list(nodes)

    @classmethod
    def of(cls, leaves: bytes) -> "Frontier":
        """The frontier of a tree over packed leaf hashes."""
        frontier = cls()
        for start in range(0, _count(leaves) * HASH_SIZE, HASH_SIZE):
            frontier.append(leaves[start : start + HASH_SIZE])
        return frontier

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash at the end."""
        if len(leaf) != HASH_SIZE:
            raise ValueError("a leaf hash has 32 bytes")
        node, size = leaf, self._size
        while size & 1:
            node = node_hash(self._nodes.pop(), node)
            size >>= 1
        self._nodes.append(node)
        self._size += 1

    def root(self) -> bytes:
        """The root of the tree as it stands."""
        if not self._nodes:
            return EMPTY_ROOT
        root = self._nodes[-1]
        for node in reversed(self._nodes[:-1]):
            root = node_hash(node, root)
        return root

    def to_bytes(self) -> bytes:
        """Eight bytes of size, big-endian, then the nodes."""
        return self._size.to_bytes(8, "big") + b"".join(self._nodes)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Frontier":
        """The reverse of `to_bytes`. Raises ValueError for anything else."""
        if len(data) < 8 or (len(data) - 8) % HASH_SIZE:
            raise ValueError("not a frontier")
        nodes = [data[start : start + HASH_SIZE] for start in range(8, len(data), HASH_SIZE)]
        return cls(int.from_bytes(data[:8], "big"), nodes)


def inclusion_proof(leaves: bytes, index: int) -> tuple[bytes, ...]:
    """The audit path of leaf `index` in the tree over these packed leaf hashes, from the leaf upwards.

    Raises ValueError when there is no such leaf.
    """
    if not 0 <= index < _count(leaves):
        raise ValueError("no such leaf")
    path = []
    level = leaves
    while len(level) > HASH_SIZE:
        sibling = _node(level, index ^ 1)
        if sibling:  # the last node of an odd level rises as it is
            path.append(sibling)
        level = _level_above(level)
        index >>= 1
    return tuple(path)


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """True when the path proves that `leaf` (a leaf hash) is number `index` of the `size` leaves under `root`.

    Algorithm: https://www.rfc-editor.org/rfc/rfc9162#section-2.1.3.2 . False for anything malformed.
    """
    if not 0 <= index < size or not _well_formed((leaf, root, *path)):
        return False
    place, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = node_hash(sibling, node)
            while place and not place & 1:
                place >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        place >>= 1
        last >>= 1
    return last == 0 and node == root


def consistency_proof(leaves: bytes, first: int) -> tuple[bytes, ...]:
    """The proof that the tree over the first `first` leaves is a beginning of the tree over all of them.

    Empty when `first` is 0 or everything. Raises ValueError when `first` is larger than the tree.
    """
    size = _count(leaves)
    if not 0 <= first <= size:
        raise ValueError("the older tree is not larger than the newer one")
    if first in (0, size):
        return ()
    path: list[bytes] = []
    start, stop, whole = 0, size, True
    while first - start != stop - start:
        middle = start + _split(stop - start)
        if first <= middle:
            path.append(root_of(leaves[middle * HASH_SIZE : stop * HASH_SIZE]))
            stop = middle
        else:
            path.append(root_of(leaves[start * HASH_SIZE : middle * HASH_SIZE]))
            start, whole = middle, False
    if not whole:
        path.append(root_of(leaves[start * HASH_SIZE : stop * HASH_SIZE]))
    return tuple(reversed(path))


def verify_consistency(first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes) -> bool:
    """True when the path proves that the tree of `first` leaves is a beginning of the tree of `second` leaves.

    Algorithm: https://www.rfc-editor.org/rfc/rfc9162#section-2.1.4.2 . A tree of no leaves begins every tree
    and needs no proof. False for anything malformed.
    """
    if not 0 <= first <= second or not _well_formed((first_root, second_root, *path)):
        return False
    if first == second:
        return not path and first_root == second_root and (first > 0 or first_root == EMPTY_ROOT)
    if first == 0:
        return not path and first_root == EMPTY_ROOT
    steps = [first_root, *path] if first & (first - 1) == 0 else list(path)
    if not steps:
        return False
    old_place, new_place = first - 1, second - 1
    while old_place & 1:
        old_place >>= 1
        new_place >>= 1
    old_node = new_node = steps[0]
    for step in steps[1:]:
        if new_place == 0:
            return False
        if old_place & 1 or old_place == new_place:
            old_node = node_hash(step, old_node)
            new_node = node_hash(step, new_node)
            while old_place and not old_place & 1:
                old_place >>= 1
                new_place >>= 1
        else:
            new_node = node_hash(new_node, step)
        old_place >>= 1
        new_place >>= 1
    return new_place == 0 and old_node == first_root and new_node == second_root


def _level_above(level: bytes) -> bytes:
    even = len(level) // (2 * HASH_SIZE) * 2 * HASH_SIZE
    pairs = [sha256(_NODE + level[start : start + 64]).digest() for start in range(0, even, 64)]
    return b"".join(pairs) + level[even:]


def _node(level: bytes, index: int) -> bytes:
    return level[index * HASH_SIZE : (index + 1) * HASH_SIZE]


def _count(leaves: bytes) -> int:
    count, rest = divmod(len(leaves), HASH_SIZE)
    if rest:
        raise ValueError("packed leaf hashes have 32 bytes each")
    return count


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _well_formed(hashes: Sequence[bytes]) -> bool:
    return all(len(value) == HASH_SIZE for value in hashes)
