"""A token that is looked up is the token that would be made, whatever was met before."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestaudience.hashing.kernel import lookup_numbers
from nestaudience.hashing.met_accounts import FEW_ROWS, MetAccounts
from nestaudience.hashing.tokens import TOKEN_TYPE, Tokens

TOKENS = Tokens(b"an index key of thirty-two bytes")
IDS = st.lists(st.none() | st.text(max_size=12) | st.integers(0, 99).map(str), max_size=40)


def many(ids: list[str | None]) -> pa.StringArray:
    """The ids, over and over, so that they are looked up."""
    return pa.array(ids * (FEW_ROWS // max(1, len(ids)) + 1), pa.string())


@settings(max_examples=60, deadline=None)
@given(met=st.lists(IDS, max_size=3), asked=IDS, later=IDS, start=st.integers(0, 3))
def test_any_ids_have_the_tokens_that_they_always_have(
    met: list[list[str | None]], asked: list[str | None], later: list[str | None], start: int
) -> None:
    accounts = MetAccounts(TOKENS)
    for ids in (*met, asked[: len(asked) // 2]):
        assert accounts.meet(pa.array(ids, pa.string())).equals(TOKENS.of_accounts(pa.array(ids, pa.string())))
    for column in (many(asked).slice(start), many(later), pa.array(asked, pa.string())):
        assert accounts.again(column).equals(TOKENS.of_accounts(column))
    accounts.meet(many(later))
    assert accounts.again(many([*later, *asked])).equals(TOKENS.of_accounts(many([*later, *asked])))


def test_among_many_that_share_places_each_has_its_own() -> None:
    """50 000 ids, a fifth of which lie where another does; every third that is asked for was never met."""
    accounts = MetAccounts(TOKENS)
    ids = pa.array([f"a{number}" for number in range(50_000)])
    for start in range(0, len(ids), 7_000):
        accounts.meet(ids.slice(start, 7_000))
    asked = pa.array([None if number % 100 == 7 else f"a{number * 7919 % 75_000}" for number in range(100_000)])
    assert accounts.again(asked).equals(TOKENS.of_accounts(asked))
    assert repr(accounts) == "<50000 accounts met>"


def test_beyond_what_it_may_hold_it_hashes() -> None:
    accounts = MetAccounts(TOKENS, most=2)
    column = many(["a", "b", "c", None])
    for ids in (["a", "b"], ["c"]):
        accounts.meet(pa.array(ids))
    assert accounts.again(column).equals(TOKENS.of_accounts(column))
    none = MetAccounts(TOKENS, most=0)
    none.meet(column)
    assert none.again(column).equals(TOKENS.of_accounts(column))


def test_nothing_and_other_types() -> None:
    accounts = MetAccounts(TOKENS)
    assert accounts.again(pa.array([], pa.string())).type == accounts.meet(pa.array([], pa.string())).type == TOKEN_TYPE
    accounts.meet(pa.array(["a"]))
    for call in (accounts.meet, accounts.again):
        with pytest.raises(TypeError):
            call(pa.array([1, 2]))


def test_numbers_by_which_texts_are_looked_up_are_the_same_for_the_same_text() -> None:
    column = many(["a", "b", "", None, "anna@example.se"])
    numbers = lookup_numbers(column)
    assert numbers.dtype == np.uint64
    assert np.array_equal(numbers, lookup_numbers(column.slice(5).take(pa.array([*range(len(column) - 5), *range(5)]))))
    assert len(set(numbers.tolist())) == 5
    assert lookup_numbers(pa.array([], pa.string())).tolist() == []
