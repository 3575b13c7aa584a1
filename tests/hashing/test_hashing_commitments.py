"""Person keys and leaves against the formula of the ledger, written out one person at a time."""

import hashlib
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestaudience.hashing.commitments import batch_suffix, key_of_list, leaves, membership_leaves, person_keys
from nestaudience.hashing.kernel import Bytes2D
from nestaudience.vocabulary import Operation

MASTER = b"m" * 32
LIST = key_of_list("na-4f7k2m9q")
BYTES_32 = st.binary(min_size=32, max_size=32)


def sha256(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def matrix(rows: list[bytes], width: int = 32) -> Bytes2D:
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), width)


def reference_leaf(salt: bytes, batch_id: bytes, operation: bytes) -> bytes:
    person = sha256(MASTER + salt)
    return sha256(b"\x00" + sha256(person + batch_id + operation + sha256(b"na-4f7k2m9q")))


@settings(max_examples=60, deadline=None)
@given(st.lists(BYTES_32, max_size=30), st.binary(min_size=16, max_size=16), st.sampled_from(Operation))
def test_leaves_equal_the_formula_and_are_sorted(salts: list[bytes], batch_id: bytes, operation: Operation) -> None:
    packed = membership_leaves(person_keys(MASTER, matrix(salts)), batch_id, operation, LIST)
    mark = {Operation.ADD: b"\x01", Operation.REMOVE: b"\x02"}[operation]
    expected = sorted(reference_leaf(salt, batch_id, mark) for salt in salts)
    assert [packed[at : at + 32] for at in range(0, len(packed), 32)] == expected


def test_a_pinned_leaf() -> None:
    # from the formula, with printf, xxd and sha256sum in a shell
    packed = membership_leaves(person_keys(MASTER, matrix([bytes(32)])), b"\x55" * 16, Operation.ADD, LIST)
    assert packed.hex() == "bf2b5b56692626fa36a3f584a9598217586725aa2681f7b26e9386aa9ea076fd"


def test_one_person_against_many_batches() -> None:
    salt = os.urandom(32)
    key = person_keys(MASTER, matrix([salt]))
    batches = [os.urandom(16) for _ in range(50)]
    suffixes = matrix([batch_suffix(batch_id, Operation.REMOVE, LIST) for batch_id in batches], 49)
    found = leaves(np.broadcast_to(key, (50, 32)), suffixes)
    assert [row.tobytes() for row in found] == [reference_leaf(salt, batch_id, b"\x02") for batch_id in batches]


def test_sorting_is_by_bytes_with_zeros_at_the_end_and_high_bytes() -> None:
    count = 3000
    keys = np.random.default_rng(1).integers(0, 256, (count, 32), dtype=np.uint8)
    packed = membership_leaves(keys, b"b" * 16, Operation.ADD, LIST)
    rows = [packed[at : at + 32] for at in range(0, len(packed), 32)]
    assert rows == sorted(rows)
    assert len(rows) == count
    suffix = batch_suffix(b"b" * 16, Operation.ADD, LIST)
    assert sorted(rows) == sorted(sha256(b"\0" + sha256(key.tobytes() + suffix)) for key in keys)


def test_operation_batch_list_and_person_each_change_the_leaf() -> None:
    keys = person_keys(MASTER, matrix([b"s" * 32]))
    made = {
        membership_leaves(keys, b"b" * 16, Operation.ADD, LIST),
        membership_leaves(keys, b"b" * 16, Operation.REMOVE, LIST),
        membership_leaves(keys, b"c" * 16, Operation.ADD, LIST),
        membership_leaves(keys, b"b" * 16, Operation.ADD, key_of_list("na-other")),
        membership_leaves(person_keys(MASTER, matrix([b"t" * 32])), b"b" * 16, Operation.ADD, LIST),
        membership_leaves(person_keys(b"n" * 32, matrix([b"s" * 32])), b"b" * 16, Operation.ADD, LIST),
    }
    assert len(made) == 6


def test_nobody_gives_no_leaf() -> None:
    assert membership_leaves(person_keys(MASTER, matrix([])), b"b" * 16, Operation.ADD, LIST) == b""


def test_other_lengths_are_refused() -> None:
    keys = person_keys(MASTER, matrix([b"s" * 32]))
    with pytest.raises(ValueError, match="master"):
        person_keys(b"short", keys)
    with pytest.raises(ValueError, match="32 bytes"):
        person_keys(MASTER, keys[:, :31])
    with pytest.raises(ValueError, match="16 bytes"):
        membership_leaves(keys, b"b" * 15, Operation.ADD, LIST)
    with pytest.raises(ValueError, match="16 bytes"):
        membership_leaves(keys, b"b" * 17, Operation.ADD, LIST[:31])
    with pytest.raises(ValueError, match="32"):
        membership_leaves(keys, b"b" * 16, Operation.ADD, LIST + b"x")
    with pytest.raises(ValueError, match="suffix"):
        leaves(keys, matrix([b"x" * 49] * 2, 49))
