"""One person in the log: found in exactly the batches that she is in, with proofs that hold and that no flipped bit survives."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from postgres_server import Postgres

from nestaudience.audit.persons import (
    ABSENT,
    PRESENT,
    commitments_in,
    logged_batches,
    place_of,
    prove,
    search,
    verify_proof,
)
from nestaudience.audit.verify import verify
from nestaudience.errors import NestAudienceError
from nestaudience.hashing.commitments import key_of_list, membership_leaves, person_keys
from nestaudience.ledger.engine import PostgresLedger
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.log import keep_batch_leaves
from nestaudience.ledger.merkle import membership_root
from nestaudience.vocabulary import Operation
from tests.ledger.ledger_builder import BuiltLedger, context

MASTER = bytes(range(32))
PEOPLE = person_keys(MASTER, np.random.default_rng(3).integers(0, 256, (40, 32), dtype=np.uint8))
BATCHES = {
    "one": (Operation.ADD, [0]),
    "two": (Operation.REMOVE, [0, 1]),
    "some": (Operation.ADD, list(range(0, 30, 2))),
    "many": (Operation.ADD, list(range(33))),
    "twice": (Operation.ADD, [5, 5, 6]),
}


def send(ledger: BuiltLedger, name: str, operation: Operation, people: list[int]) -> bytes:
    batch_id = ledger.chance(16)
    leaves = membership_leaves(PEOPLE[people], batch_id, operation, key_of_list(name))
    fields = {"transfer_id": "t", "batch_id": batch_id.hex(), "audience": f"bok/{name}/google", "list_id": name}
    fields |= {"operation": operation.value, "number": 1, "count": len(people), "membership_root": membership_root(leaves).hex()}
    entry = (EntryType.BATCH, context(), fields)
    ledger.log.append_and_seal([entry], lambda connection, _: keep_batch_leaves(connection, batch_id, leaves))
    return batch_id


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuiltLedger]:
    built = BuiltLedger(tmp_path_factory.mktemp("ledger"))
    built.heartbeats(2)
    for name, (operation, people) in BATCHES.items():
        send(built, name, operation, people)
    yield built
    built.engine.dispose()


def test_everybody_is_found_where_she_is_and_nowhere_else(ledger: BuiltLedger) -> None:
    for person in range(len(PEOPLE)):
        found = search(ledger.log, PEOPLE[[person]])
        assert [each.batch.list_id for each in found] == [name for name, (_, people) in BATCHES.items() if person in people]
    assert len(search(ledger.log, PEOPLE[[0, 1]])) == 4 + 2  # two salts of one person: both are looked for
    assert search(ledger.log, PEOPLE[:0]) == ()


@pytest.mark.slow
def test_a_ledger_on_postgresql_is_searched_alike(ledger: BuiltLedger, postgres: Postgres, tmp_path: Path) -> None:
    built = BuiltLedger(tmp_path, place=PostgresLedger(postgres.url, postgres.name("searched")))
    for name, (operation, people) in BATCHES.items():
        send(built, name, operation, people)
    for person in range(len(PEOPLE)):
        found, other = search(built.log, PEOPLE[[person]]), search(ledger.log, PEOPLE[[person]])
        assert [(each.batch.list_id, each.place >= 0) for each in found] == [(each.batch.list_id, True) for each in other]
    assert verify(built.engine, built.verifiers, head=built.signer.head()).root == built.signer.head().root
    built.engine.dispose()


@pytest.mark.parametrize("name", BATCHES)
def test_everybody_has_her_proof_in_every_batch(ledger: BuiltLedger, name: str) -> None:
    """Presence of everybody in it, absence of everybody else; both ends of the sorted leaves are among them."""
    (batch,) = [each for each in logged_batches(ledger.log) if each.list_id == name]
    ends: set[int] = set()
    for person, commitment in enumerate(commitments_in(PEOPLE, [batch])):
        document = prove(ledger.log, commitment.tobytes(), batch, ledger.verifiers)
        proven = verify_proof(json.loads(json.dumps(document)), ledger.verifiers)
        assert proven.kind == (PRESENT if person in BATCHES[name][1] else ABSENT)
        assert proven.entry["fields"]["list_id"] == name
        ends.add(len(document["leaves"]))  # type: ignore[arg-type]
    for commitment in (number.to_bytes(32, "big") for number in range(300)):  # so many that both edges are met
        document = prove(ledger.log, commitment, batch, ledger.verifiers)
        assert verify_proof(document, ledger.verifiers).kind == ABSENT
        ends.add(document["leaves"][0]["place"] if len(document["leaves"]) == 1 else -1)  # type: ignore[index, arg-type]
    assert {0, len(set(BATCHES[name][1])) - 1} <= ends | {0} or name == "twice"


def strings(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where texts and numbers stand in a document."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from strings(item, (*at, key))
    else:
        yield at


@pytest.mark.parametrize(("name", "person"), [("many", 4), ("some", 1), ("one", 0), ("one", 3), ("twice", 5)])
def test_every_flipped_bit_is_refused(ledger: BuiltLedger, name: str, person: int) -> None:
    (batch,) = [each for each in logged_batches(ledger.log) if each.list_id == name]
    (commitment,) = commitments_in(PEOPLE[[person]], [batch])
    document = prove(ledger.log, commitment.tobytes(), batch, ledger.verifiers)
    for at in strings(document):
        if (document["kind"] == ABSENT and at == ("commitment",)) or (name == "twice" and at[-1] == "place"):
            continue  # what is left is true as well: of another commitment, of the other of two equal leaves
        place: Any = json.loads(json.dumps(document))
        whole = place
        for key in at[:-1]:
            place = place[key]
        value = place[at[-1]]
        flips: list[Any] = (
            [value ^ 1 << bit for bit in range(20)]
            if isinstance(value, int)
            else [value[:n] + chr(ord(c) ^ 1 << bit) + value[n + 1 :] for n, c in enumerate(value) for bit in range(8)]
        )
        for flipped in flips[:: 1 if len(flips) < 600 else 7]:
            place[at[-1]] = flipped
            with pytest.raises(NestAudienceError):
                verify_proof(whole, ledger.verifiers)


def test_neighbours_that_are_none_prove_no_absence(ledger: BuiltLedger) -> None:
    """Somebody who is in the batch cannot be proven away by leaves left and right of her, or by one that is no edge."""
    (batch,) = [each for each in logged_batches(ledger.log) if each.list_id == "many"]
    proofs = [prove(ledger.log, c.tobytes(), batch, ledger.verifiers) for c in commitments_in(PEOPLE, [batch])]
    present = sorted((each for each in proofs if each["kind"] == PRESENT), key=lambda each: each["leaves"][0]["place"])  # type: ignore[index]
    left, hers, right = present[3], present[4], present[5]
    for leaves in ([*left["leaves"], *right["leaves"]], left["leaves"], right["leaves"], [], hers["leaves"]):  # type: ignore[misc]
        with pytest.raises(NestAudienceError):
            verify_proof({**hers, "kind": ABSENT, "leaves": leaves}, ledger.verifiers)
    for broken in (None, [], {}, {**hers, "more": 1}, {**hers, "leaves": 3}, {**hers, "entry": 3}, {**hers, "leaves": [None]}):
        with pytest.raises(NestAudienceError):
            verify_proof(broken, ledger.verifiers)
    with pytest.raises(NestAudienceError):
        verify_proof({**hers, "leaves": [*hers["leaves"], *hers["leaves"]]}, ledger.verifiers)  # type: ignore[misc]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(-1, 41))
def test_a_place_is_where_it_would_be_sorted_in(numbers: list[int], wanted: int) -> None:
    kept = b"".join((n + 1).to_bytes(32, "big") for n in sorted(numbers))
    assert place_of(kept, (wanted + 1).to_bytes(32, "big")) == sum(n < wanted for n in numbers)


def test_two_of_the_same_are_no_absence(tmp_path: Path) -> None:
    ledger = BuiltLedger(tmp_path)
    send(ledger, "same", Operation.ADD, [5, 5])
    (batch,) = logged_batches(ledger.log)
    (commitment,) = commitments_in(PEOPLE[[5]], [batch])
    assert prove(ledger.log, commitment.tobytes(), batch, ledger.verifiers)["kind"] == PRESENT
    ledger.engine.dispose()
