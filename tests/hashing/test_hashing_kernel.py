"""The hash kernel against published vectors and the standard library, at every width it can have, and inside a stream that DuckDB reads."""

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import stringzilla
from hypothesis import given, settings
from hypothesis import strategies as st

from nestaudience.errors import MustStop
from nestaudience.hashing import kernel

FIPS_180 = [
    # FIPS 180-4's examples with their digests, https://csrc.nist.gov/projects/cryptographic-standards-and-guidelines/example-values
    (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ),
    (
        b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
        "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
    ),
    (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
]
RFC_4231 = [
    # https://www.rfc-editor.org/rfc/rfc4231, section 4: key, data, HMAC-SHA-256 (test case 5 is cut to 128 bits there)
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        (
            b"This is a test using a larger than block-size key and a larger than block-size data. "
            b"The key needs to be hashed before being used by the HMAC algorithm."
        ),
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
]
FEW_ROWS = 256
"""More than the processor hashes side by side, and fewer than a slice."""
VALUES = st.lists(st.none() | st.binary(max_size=200), max_size=60)


def reference(values: list[bytes | None], function: Callable[[bytes], bytes]) -> list[bytes | None]:
    return [None if value is None else function(value) for value in values]


def sha256(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


@pytest.mark.parametrize("more", [0, FEW_ROWS])
def test_fips_180_examples(more: int) -> None:
    examples = [*FIPS_180, *FIPS_180[:1] * more]
    hashed = kernel.sha256_column(pa.array([message for message, _ in examples], pa.binary()))
    assert [value.hex() for value in hashed.to_pylist()] == [digest for _, digest in examples]
    assert hashed.type == pa.binary(32)


@pytest.mark.parametrize("rows", [1, FEW_ROWS + 1])
@pytest.mark.parametrize(("key", "data", "expected"), RFC_4231)
def test_rfc_4231_vectors(key: bytes, data: bytes, expected: str, rows: int) -> None:
    hashed = kernel.hmac_column(key, pa.array([data] * rows, pa.binary()), size=len(expected) // 2)
    assert hashed.type == pa.binary(len(expected) // 2)
    assert {value.hex() for value in hashed.to_pylist()} == {expected}


@pytest.mark.parametrize("length", [63, 64, 65])
def test_a_key_as_long_as_a_block_is_used_as_it_is_and_a_longer_one_is_hashed_first(length: int) -> None:
    key = bytes(range(length))
    for rows in (1, FEW_ROWS + 1):
        assert kernel.hmac_column(key, pa.array(["a"] * rows), 32).to_pylist() == [hmac.digest(key, b"a", "sha256")] * rows


@settings(max_examples=150, deadline=None)
@given(VALUES, st.booleans(), st.binary(max_size=100), st.binary(max_size=20), st.integers(1, 32), st.integers(0, 3))
def test_any_bytes_hash_as_the_standard_library_does(
    values: list[bytes | None], many: bool, key: bytes, label: bytes, size: int, start: int
) -> None:
    values = values * (FEW_ROWS // max(1, len(values)) * 2) if many else values
    column = pa.array(values, pa.binary()).slice(start)
    values = values[start:]
    assert kernel.sha256_column(column).to_pylist() == reference(values, sha256)
    assert kernel.hmac_column(key, column, size, label=label).to_pylist() == reference(
        values, lambda value: hmac.digest(key, label + value, "sha256")[:size]
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.none() | st.text(max_size=20), max_size=30))
def test_text_is_hashed_as_utf_8(texts: list[str | None]) -> None:
    many = texts * (FEW_ROWS // max(1, len(texts)) * 2)
    for column in (texts, many):
        expected = reference([None if text is None else text.encode() for text in column], sha256)
        assert kernel.sha256_column(pa.array(column, pa.string())).to_pylist() == expected


@pytest.mark.parametrize("rows", [FEW_ROWS - 1, FEW_ROWS, FEW_ROWS + 1])
def test_a_null_in_front_moves_nobody(rows: int) -> None:
    values = [None, *(b"%d" % row for row in range(rows))]
    column = pa.array(values, pa.binary())
    assert kernel.sha256_column(column).to_pylist() == reference(values, sha256)
    tokens = kernel.hmac_column(b"key", column, 16, label=b"a|").to_pylist()
    assert tokens == reference(values, lambda value: hmac.digest(b"key", b"a|" + value, "sha256")[:16])


@pytest.mark.parametrize("nulls", [False, True])
def test_many_rows_keep_their_order_over_pieces_and_threads(nulls: bool) -> None:
    count = 5 * kernel.SLICE_ROWS + 7
    values = [None if nulls and row % 3 == 0 else b"%d" % row for row in range(count)]
    assert kernel.sha256_column(pa.array(values, pa.binary())).to_pylist() == reference(values, sha256)


@pytest.mark.parametrize("width", [1, 33, 64, 81])
def test_rows_of_a_matrix(width: int) -> None:
    rows = np.random.default_rng(width).integers(0, 256, (1000, width), dtype=np.uint8)
    hashed = kernel.sha256_blocks(rows)
    assert hashed.shape == (1000, 32)
    assert [row.tobytes() for row in hashed] == [sha256(row.tobytes()) for row in rows]
    strided = np.asfortranarray(rows)[::2]
    assert np.array_equal(kernel.sha256_blocks(strided), hashed[::2])


def test_nothing_gives_nothing() -> None:
    assert kernel.sha256_column(pa.array([], pa.string())).to_pylist() == []
    assert kernel.sha256_column(pa.nulls(3, pa.binary(32))).to_pylist() == [None] * 3
    assert kernel.sha256_blocks(np.zeros((0, 33), dtype=np.uint8)).shape == (0, 32)
    assert kernel.hmac_column(b"key", pa.array([], pa.string())).type == pa.binary(16)


def test_other_types_and_sizes_are_refused() -> None:
    for column in (pa.array([1]), pa.array(["a"]).dictionary_encode(), pa.array(["a"], pa.large_string())):
        with pytest.raises(TypeError):
            kernel.sha256_column(column)
    for size in (0, 33):
        with pytest.raises(ValueError, match="1-32"):
            kernel.hmac_column(b"key", pa.array(["a"]), size)
    with pytest.raises(TypeError):
        kernel.sha256_blocks(np.zeros((2, 4), dtype=np.int64))


@pytest.fixture
def as_wide_as() -> Iterator[Callable[[tuple[str, ...]], None]]:
    """Makes this processor one that can do less, until the test ends."""
    all_of_them = tuple(stringzilla.__capabilities__)
    yield stringzilla.reset_capabilities
    stringzilla.reset_capabilities(all_of_them)


@pytest.mark.parametrize("last", range(len(stringzilla.__capabilities__)))
def test_every_processor_makes_the_same(last: int, as_wide_as: Callable[[tuple[str, ...]], None]) -> None:
    """Without wide registers and without SHA instructions: what this processor has, one after the other."""
    as_wide_as(tuple(stringzilla.__capabilities__)[: last + 1])
    kernel._prove.__wrapped__()
    values = [b"%d" % row * (row % 40) for row in range(2000)]
    assert kernel.sha256_column(pa.array(values, pa.binary())).to_pylist() == reference(values, sha256)
    tokens = kernel.hmac_column(b"key", pa.array(values, pa.binary()), 32, label=b"a|").to_pylist()
    assert tokens == reference(values, lambda value: hmac.digest(b"key", b"a|" + value, "sha256"))


@pytest.mark.parametrize("where", [0, -1])
def test_a_digest_that_stands_in_the_wrong_row_stops_everything(where: int) -> None:
    values = pa.array([b"anna@example.se", b"bo@example.se", b"cilla@example.se"], pa.binary())
    right = kernel.rows_of(kernel.sha256_column(values))
    kernel._watch(values, right, sha256)
    moved = right.copy()
    moved[where] = right[1]
    with pytest.raises(MustStop) as caught:
        kernel._watch(values, moved, sha256)
    assert caught.value.code == "hashing_wrong"
    assert "anna" not in str(caught.value)


def test_what_is_null_has_no_digest_underneath() -> None:
    """Whoever reads the bytes and forgets to look for null must not find a digest of what was refused."""
    hidden = pa.array(["anna@example.se", "bo@example.se"])
    column = pa.StringArray.from_buffers(2, hidden.buffers()[1], hidden.buffers()[2], pa.py_buffer(b"\x02"))
    assert column.to_pylist() == [None, "bo@example.se"]
    for hashed in (kernel.sha256_column(column), kernel.hmac_column(b"key", column)):
        assert not kernel.rows_of(hashed)[0].any()
        assert kernel.rows_of(hashed)[1].any()


def scanned_through_the_kernel(batches: int, rows: int) -> list[str]:
    """A DuckDB with threads of its own reads a stream whose generator calls the kernel for every batch. Sorted digests."""
    schema = pa.schema([("place", pa.int64()), ("digest", pa.binary(32))])

    def stream() -> Iterator[pa.RecordBatch]:
        for batch in range(batches):
            places = pa.array(range(batch * rows, (batch + 1) * rows), pa.int64())
            yield pa.record_batch([places, kernel.sha256_column(places.cast(pa.string()))], schema=schema)

    connection = duckdb.connect(":memory:", config={"threads": 4})
    connection.register("people", pa.RecordBatchReader.from_batches(schema, stream()))
    query = "SELECT a.place, hex(a.digest) FROM people a JOIN range(1000000) b(place) USING (place) ORDER BY ALL"
    found = connection.execute(query).fetchall()
    assert [place for place, _ in found] == list(range(batches * rows))
    return [digest.lower() for _, digest in found]


@pytest.mark.timeout(60)
def test_another_duckdb_may_read_a_stream_that_calls_the_kernel() -> None:
    digests = scanned_through_the_kernel(batches=40, rows=1000)
    assert digests == [hashlib.sha256(b"%d" % row).hexdigest() for row in range(40_000)]


@pytest.mark.timeout(60)
def test_several_streams_and_direct_calls_at_once_do_not_block_each_other() -> None:
    results: list[list[str]] = []
    threads = [threading.Thread(target=lambda: results.append(scanned_through_the_kernel(20, 500))) for _ in range(3)]
    for thread in threads:
        thread.start()
    direct = [kernel.sha256_column(pa.array([b"abc"] * 2000, pa.binary())).to_pylist() for _ in range(20)]
    for thread in threads:
        thread.join()
    assert direct == [[sha256(b"abc")] * 2000] * 20
    assert results == [[hashlib.sha256(b"%d" % row).hexdigest() for row in range(10_000)]] * 3
