"""The wire guard lets exactly the batch pass and stops everything else, one deviation at a time."""

import hashlib
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestaudience.delivery.guard import KNOWN_BAD, inspect
from nestaudience.destinations.port import Account, Batch, Contents, Target
from nestaudience.errors import MustStop
from nestaudience.hashing.digests import DIGEST_TYPE, Digests
from nestaudience.vocabulary import Operation, Recipient

TARGET = Target(Account("111"), "777")
PEOPLE = tuple(hashlib.sha256(f"p{n}@post.se".encode()).hexdigest() for n in range(4))


def batch(people: tuple[str, ...] = PEOPLE) -> Batch:
    column = pa.array([bytes.fromhex(text) for text in people], DIGEST_TYPE)
    return Batch(b"b" * 16, Operation.REMOVE, Digests(column, Recipient.GOOGLE), None)


def contents(people: tuple[str, ...] = PEOPLE) -> Contents:
    return Contents(account_id="111", list_id="777", operation=Operation.REMOVE, identifiers=people)


def refusal(found: Contents, sent: Batch | None = None) -> str:
    with pytest.raises(MustStop) as caught:
        inspect(found, sent or batch(), TARGET)
    text = str(caught.value)
    assert not any(identifier and identifier in text for identifier in found.identifiers if len(identifier) > 8)
    return caught.value.code


@given(st.permutations(PEOPLE))
def test_the_batch_in_any_order_passes(people: list[str]) -> None:
    inspect(contents(tuple(people)), batch(), TARGET)


@given(st.integers(0, 3), st.integers(0, 63), st.sampled_from("0123456789abcdef"))
def test_one_changed_character_does_not(person: int, place: int, char: str) -> None:
    text = PEOPLE[person]
    changed = text[:place] + char + text[place + 1 :]
    if changed != text:
        assert refusal(contents((*PEOPLE[:person], changed, *PEOPLE[person + 1 :]))) == "guard_people"


@pytest.mark.parametrize(
    ("people", "code"),
    [
        (PEOPLE[:3], "guard_people"),
        ((*PEOPLE, PEOPLE[0]), "guard_people"),
        ((*PEOPLE[:3], PEOPLE[0]), "guard_people"),
        ((), "guard_people"),
        ((*PEOPLE, hashlib.sha256(b"somebody@else.se").hexdigest()), "guard_people"),
        ((*PEOPLE[:3], PEOPLE[3].upper()), "guard_not_digests"),
        ((*PEOPLE[:3], "p3@post.se"), "guard_not_digests"),
        ((*PEOPLE[:3], PEOPLE[3] + "\n"), "guard_not_digests"),
        ((*PEOPLE[:3], PEOPLE[3][:63]), "guard_not_digests"),
        ((*PEOPLE[:3], ""), "guard_not_digests"),
    ],
)
def test_other_people_or_no_digests(people: tuple[str, ...], code: str) -> None:
    assert refusal(contents(people)) == code


def test_another_account_list_or_operation() -> None:
    assert refusal(replace(contents(), account_id="112")) == "guard_account"
    assert refusal(replace(contents(), list_id="778")) == "guard_list"
    assert refusal(replace(contents(), operation=Operation.ADD)) == "guard_operation"


def test_the_digest_of_nothing_stops_even_when_the_batch_holds_it() -> None:
    # SHA-256 of no bytes: FIPS 180-4, the test vector of length 0.
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert empty in KNOWN_BAD
    for bad in sorted(KNOWN_BAD):
        people = (*PEOPLE[:3], bad)
        assert refusal(contents(people), batch(people)) == "guard_known_bad"
