"""Roots of many trees are those of each alone, whoever hashes them, and leaves that are no tree have none."""

from hypothesis import given
from hypothesis import strategies as st
from ledger_builder import Chance, members

from nestaudience.audit.roots import Membership, membership, membership_roots
from nestaudience.ledger.merkle import is_sorted, root_of

CHANCE = Chance("roots")


def test_two_processes_say_what_one_says_in_the_same_order() -> None:
    rows = [(CHANCE(16), members(CHANCE, 1 + number % 7)) for number in range(130)]
    rows[5] = (rows[5][0], rows[5][1][32:] + rows[5][1][:32])
    rows[90] = (rows[90][0], rows[90][1][:-1])
    alone = list(membership_roots(iter(rows)))
    assert alone == list(membership_roots(iter(rows), shared_from=1000)) == [membership(row) for row in rows]
    assert [each.batch_id for each in alone] == [batch_id for batch_id, _ in rows]
    assert [number for number, each in enumerate(alone) if not each.root] == [5, 90]
    assert alone[0] == Membership(rows[0][0], len(rows[0][1]), root_of(rows[0][1]))


def test_nothing_is_shared_when_there_is_nothing_more() -> None:
    rows = [(CHANCE(16), members(CHANCE, 2))]
    assert list(membership_roots(rows, shared_from=1)) == [membership(rows[0])]
    assert list(membership_roots([])) == []


NEAR = [b"\0" * 32, b"\0" * 31 + b"\1", b"\0" * 8 + b"\1" * 24, b"\1" * 32, b"\xff" * 32, b"\x80" + b"\0" * 31]


@given(st.lists(st.sampled_from(NEAR), max_size=6))
def test_sorted_means_that_no_leaf_falls(leaves: list[bytes]) -> None:
    assert is_sorted(b"".join(leaves)) is (leaves == sorted(leaves))
