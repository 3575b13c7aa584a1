"""Sealed digests: they come back, only with the right key, batch and place, and a damaged one is noticed."""

import hmac
import os

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from hypothesis import given, settings
from hypothesis import strategies as st

from nestaudience.errors import MustStop
from nestaudience.hashing.digests import Digests
from nestaudience.hashing.sealing import MAX_ROWS, matches, seal, unseal
from nestaudience.hashing.tokens import Tokens
from nestaudience.vocabulary import Recipient

META = Recipient.META
KEY = b"a seal key that has 32 bytes too"
TOKENS = Tokens(b"an index key of thirty-two bytes")


def digests_of(values: list[bytes]) -> Digests:
    return Digests(pa.array(values, pa.binary(32)), META)


def ids(*values: bytes) -> pa.FixedSizeBinaryArray:
    return pa.array(values, pa.binary(16))


def places(*values: int) -> pa.Int32Array:
    return pa.array(values, pa.int32())


def test_the_cipher_is_aes_256_ctr() -> None:
    # NIST SP 800-38A, F.5.5 CTR-AES256.Encrypt: the first two blocks, from its own counter. It pins the primitive under `seal`
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
    stream = Cipher(AES(key), CTR(bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"))).encryptor()
    assert stream.update(plain).hex() == "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=32, max_size=32), max_size=20), st.binary(min_size=16, max_size=16))
def test_every_row_is_sealed_with_its_own_stretch_of_the_batchs_stream(values: list[bytes], batch_id: bytes) -> None:
    # the slow reference: one cipher per row, its counter set to the row's first block
    key = hmac.digest(KEY, batch_id, "sha256")
    expected = [
        Cipher(AES(key), CTR((2 * row).to_bytes(16, "big"))).encryptor().update(value) for row, value in enumerate(values)
    ]
    assert seal(KEY, batch_id, digests_of(values)).to_pylist() == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 19)), max_size=40), st.integers(0, 3))
def test_rows_of_several_batches_come_back_in_any_order(wanted: list[tuple[int, int]], start: int) -> None:
    # ids that end in zero bytes are ids like any other
    batch_ids = [b"\0" * 16, b"a" + b"\0" * 15, b"a" * 16, b"\xff" * 16, os.urandom(16)]
    values = [[os.urandom(32) for _ in range(20)] for _ in batch_ids]
    sealed = [seal(KEY, batch_id, digests_of(rows)).to_pylist() for batch_id, rows in zip(batch_ids, values, strict=True)]
    opened = unseal(
        KEY,
        pa.array([batch_ids[batch] for batch, _ in wanted], pa.binary(16)).slice(start),
        pa.array([row for _, row in wanted], pa.int32()).slice(start),
        pa.array([sealed[batch][row] for batch, row in wanted], pa.binary(32)).slice(start),
        META,
    )
    assert opened.column.to_pylist() == [values[batch][row] for batch, row in wanted[start:]]
    assert opened.recipient is META


def test_a_sliced_column_seals_its_own_rows() -> None:
    values = [os.urandom(32) for _ in range(5)]
    part = Digests(pa.array(values, pa.binary(32)).slice(2), META)
    assert seal(KEY, b"b" * 16, part).equals(seal(KEY, b"b" * 16, digests_of(values[2:])))


def test_a_wrong_key_batch_place_or_bit_does_not_match() -> None:
    digests = digests_of([os.urandom(32)])
    kept = TOKENS.of_digests(digests)
    sealed = seal(KEY, b"b" * 16, digests)
    damaged = bytearray(sealed[0].as_py())
    damaged[31] ^= 1
    attempts = {
        "right": (KEY, b"b" * 16, 0, sealed),
        "key": (b"x" * 32, b"b" * 16, 0, sealed),
        "batch": (KEY, b"c" * 16, 0, sealed),
        "place": (KEY, b"b" * 16, 1, sealed),
        "bit": (KEY, b"b" * 16, 0, pa.array([bytes(damaged)], pa.binary(32))),
    }
    for name, (key, batch_id, place, column) in attempts.items():
        opened = unseal(key, ids(batch_id), places(place), column, META)
        assert matches(TOKENS, opened, kept).to_pylist() == [name == "right"]
    other = unseal(KEY, ids(b"b" * 16), places(0), sealed, Recipient.GOOGLE)
    assert matches(TOKENS, other, kept).to_pylist() == [False]


def test_equal_digests_and_the_digest_itself_cannot_be_seen() -> None:
    digest = os.urandom(32)
    seen = [value for batch_id in (b"a" * 16, b"b" * 16) for value in seal(KEY, batch_id, digests_of([digest] * 3)).to_pylist()]
    assert len({digest, *seen}) == 7


def test_what_does_not_fit_is_refused() -> None:
    digests = digests_of([b"d" * 32])
    sealed = seal(KEY, b"b" * 16, digests)
    for key in (b"", b"short"):
        with pytest.raises(ValueError, match="seal key"):
            seal(key, b"b" * 16, digests)
        with pytest.raises(ValueError, match="seal key"):
            unseal(key, ids(b"b" * 16), places(0), sealed, META)
    with pytest.raises(ValueError, match="16 bytes"):
        seal(KEY, b"short", digests)
    with pytest.raises(ValueError, match="every row"):
        seal(KEY, b"b" * 16, Digests(pa.array([None], pa.binary(32)), META))
    for batch_ids, positions in ((ids(), places(0)), (ids(b"b" * 16), places())):
        with pytest.raises(ValueError, match="batch id and a position"):
            unseal(KEY, batch_ids, positions, sealed, META)
    with pytest.raises(ValueError, match="batch id and a position"):
        unseal(KEY, ids(b"b" * 16), places(0), pa.array([None], pa.binary(32)), META)
    with pytest.raises(TypeError):
        unseal(KEY, ids(b"b" * 16), pa.array([0]), sealed, META)
    with pytest.raises(ValueError, match="each digest"):
        matches(TOKENS, digests, TOKENS.of_digests(digests_of([])))


@pytest.mark.parametrize("place", [-1, MAX_ROWS, 2**31 - 1])
def test_a_place_that_no_batch_has_stops(place: int) -> None:
    sealed = seal(KEY, b"b" * 16, digests_of([b"d" * 32]))
    with pytest.raises(MustStop):
        unseal(KEY, ids(b"b" * 16), places(place), sealed, META)


def test_the_last_place_of_the_largest_batch_opens() -> None:
    rows = np.zeros((MAX_ROWS, 32), dtype=np.uint8)
    rows[-1] = 7
    digests = Digests(pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), MAX_ROWS, [None, pa.py_buffer(rows)]), META)
    sealed = seal(KEY, b"b" * 16, digests)
    opened = unseal(KEY, ids(b"b" * 16), places(MAX_ROWS - 1), sealed.slice(MAX_ROWS - 1), META)
    assert opened.column.to_pylist() == [b"\x07" * 32]
    one_more = Digests(
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), MAX_ROWS + 1, [None, pa.py_buffer(bytes(32 * MAX_ROWS + 32))]), META
    )
    with pytest.raises(ValueError, match="no more rows"):
        seal(KEY, b"b" * 16, one_more)
