"""Which rows of a column are addresses in plain ASCII, and which are not ASCII: the part of the address rule that looks at characters.

It sees text that is trimmed and in small letters, changes nothing, and says nothing of addresses in other letters: those are for the reference
(`addresses.normalise_one`). The rule is `ASCII_FORM`, a regular expression. It costs 0.08 µs a row, so it is asked only about rows that a cheaper
look leaves open. That look takes the bytes of many rows at once and is sound, not complete: a row that it calls an address has

    one at sign, which is not its first byte,
    no byte outside `!` to `~`,
    no dot after a dot and none after the at sign, and none at its end,
    a dot three or four bytes before its end (`.se`, `.com`), and no at sign after that dot,

so the dot belongs to the domain, and no label is empty. All others that are ASCII (some in a hundred: `.info`, two dots in a local part, no address)
the pattern judges.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Flags = npt.NDArray[np.bool_]
"""One flag per row: shape [n]."""
Rows = npt.NDArray[np.intp]
"""Numbers of rows, rising: shape [k]."""

_PLAIN: Final = r"\x21-\x2d\x2f-\x3f\x41-\x7e"
"""Printable ASCII without the space, the dot and the at sign."""
ASCII_FORM: Final = rf"\A[.{_PLAIN}]+@[{_PLAIN}]+(?:\.[{_PLAIN}]+)+\z"
LOOKED_AT_ROWS: Final = 8_192
"""How many rows are looked at together: few enough that what is made on the way stays in the processor's cache."""
_AT: Final = ord("@")
_DOT: Final = ord(".")
_LEAST: Final = ord("!")
_GREATEST: Final = ord("~")


def ascii_addresses(column: pa.StringArray) -> tuple[Flags, Rows]:
    """Which rows are ASCII and have the form of an address, and the numbers of those that are not ASCII. Null is neither."""
    found, other = np.zeros(len(column), np.bool_), np.zeros(len(column), np.bool_)
    for start in range(0, len(column), LOOKED_AT_ROWS):
        rows = slice(start, start + LOOKED_AT_ROWS)
        _look(column[rows], found[rows], other[rows])
    if column.null_count:
        valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
        found &= valid
        other &= valid
    left = np.flatnonzero(~(found | other))
    matching = pc.match_substring_regex(column.take(pa.array(left)), ASCII_FORM)
    found[left] = pc.fill_null(matching, fill_value=False).to_numpy(zero_copy_only=False)
    return found, np.flatnonzero(other)


def _look(column: pa.StringArray, found: Flags, other: Flags) -> None:
    """Mark the rows that the module's text says are addresses, and those that are not ASCII; both sets of flags come in false."""
    _, offsets, content = column.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(column) + 1, 4 * column.offset).astype(np.int64)
    text = np.frombuffer(content or b"", np.uint8)[bounds[0] : bounds[-1]]
    if not len(text):
        return
    bounds -= bounds[0]
    first, end = bounds[:-1], bounds[1:]
    at, dot = text == _AT, text == _DOT
    strange = np.subtract(text, _LEAST) > _GREATEST - _LEAST  # below the least it wraps round to a large number
    strange[1:] |= dot[1:] & (at | dot)[:-1]
    spots = np.flatnonzero(strange)
    rows = np.searchsorted(bounds, spots, "right") - 1
    other[rows[text[spots] > 0x7F]] = True
    found[:] = _counted(at, bounds) == 1
    found[rows] = False
    # what is read outside of a row with fewer than four bytes does not matter: its at sign is its first byte or among its last two
    head = text.take(first, mode="clip")
    last, second, third, fourth = (text.take(end - back, mode="clip") for back in (1, 2, 3, 4))
    found &= (head != _AT) & (last != _AT) & (last != _DOT) & (second != _AT)
    found &= (third == _DOT) | ((fourth == _DOT) & (third != _AT))


def _counted(flags: Flags, bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """How many of the flags are set between each bound and the next, by counting bits, 64 at a time."""
    packed = np.packbits(flags, bitorder="little")
    words = np.zeros(len(flags) // 64 + 1, "<u8")
    words.view(np.uint8)[: len(packed)] = packed
    until = np.cumsum(np.bitwise_count(words), dtype=np.int32)
    word = bounds >> 6
    beyond = np.bitwise_count(words.take(word) >> (bounds & 63).view(np.uint64))
    return np.diff(until.take(word) - beyond)
