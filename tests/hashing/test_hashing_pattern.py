"""Which rows are addresses: every short text of the characters that decide, in columns longer than what is looked at together."""

from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from nestaudience.hashing.addresses import Normalised, normalise, normalise_one
from nestaudience.hashing.digests import Addresses
from nestaudience.hashing.pattern import LOOKED_AT_ROWS, ascii_addresses
from nestaudience.vocabulary import Recipient


def texts_of(alphabet: str, longest: int) -> list[str]:
    """All texts of these characters up to this length, so mixed that neighbours have other lengths and other ends."""
    texts = ["".join(text) for length in range(longest + 1) for text in product(alphabet, repeat=length)]
    return [texts[place] for place in np.random.default_rng(8).permutation(len(texts))]


@pytest.mark.parametrize(("alphabet", "longest"), [("a.@", 8), ("~.@\x7f", 6), ("!.@ ", 6), ("a.@\xe5", 6)])
def test_every_short_text_is_judged_as_the_reference_judges_it(alphabet: str, longest: int) -> None:
    texts = texts_of(alphabet, longest)
    found, other = ascii_addresses(pa.array([*texts, None]))
    assert set(other) == {row for row, text in enumerate(texts) if not text.isascii()}
    expected = [text.isascii() and text == normalise_one(text, Recipient.META) for text in texts]
    assert found.tolist() == [*expected, False]


def test_a_column_may_begin_anywhere_and_what_lies_under_a_null_is_not_looked_at() -> None:
    texts = ["anna@example.se", "no address", "åsa@example.se"] * LOOKED_AT_ROWS
    whole = pa.array(texts)
    valid = pa.array([row % 4 != 0 for row in range(len(texts))]).buffers()[1]
    column = pa.StringArray.from_buffers(len(whole), whole.buffers()[1], whole.buffers()[2], valid).slice(5)
    found, other = ascii_addresses(column)
    rows = np.arange(5, len(texts))
    assert (found == ((rows % 3 == 0) & (rows % 4 != 0))).all()
    assert (other == np.flatnonzero((rows % 3 == 2) & (rows % 4 != 0))).all()


@pytest.mark.parametrize("texts", [[], [""], [None, ""], ["@"], ["é"], ["", "a@b.se", ""]])
def test_columns_with_next_to_nothing_in_them(texts: list[str | None]) -> None:
    found, other = ascii_addresses(pa.array(texts, pa.string()))
    assert found.tolist() == [text == "a@b.se" for text in texts]
    assert other.tolist() == [row for row, text in enumerate(texts) if text == "é"]


def test_normalised_addresses_cannot_be_built_wrong() -> None:
    good = normalise(Addresses(pa.array(["an.na@gmail.com", "bo@example.se"])))
    with pytest.raises(ValueError, match="place"):
        Normalised(good.written, good.places[1:], good.refused, good.sent, good.persons, good.folded)
    with pytest.raises(ValueError, match="place"):
        Normalised(good.written, good.places, good.refused, good.sent, good.written, good.folded)
