"""A long list through the real SDK: everybody who was added and not removed is on it, nobody else, and sending needs no more memory than a batch."""

import resource
import uuid
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from google_apart import ACCOUNT, google_apart

from nestaudience.destinations.google_messages import MAX_MEMBERS
from nestaudience.destinations.port import Accepted, Batch, ConsentSignals, ListSpec, Succeeded, Target
from nestaudience.hashing.digests import Digests
from nestaudience.vocabulary import Operation, Recipient

GRANTED = ConsentSignals(ad_user_data=True, ad_personalization=True)


def digests(number: int) -> np.ndarray:
    """The people of one batch, the same every time: rows of 32 bytes."""
    return np.random.default_rng(number).integers(0, 256, (MAX_MEMBERS, 32), np.uint8)


def batch(operation: Operation, rows: np.ndarray) -> Batch:
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(rows), [None, pa.py_buffer(rows.tobytes())])
    return Batch(
        uuid.uuid4().bytes, operation, Digests(column, Recipient.GOOGLE), GRANTED if operation is Operation.ADD else None
    )


def removed(rows: np.ndarray) -> np.ndarray:
    """Whoever leaves again: all but the first tenth of a thousand."""
    return rows[MAX_MEMBERS // 1000 :]


def peak() -> int:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@pytest.mark.parametrize("people", [50_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_everybody_who_was_added_and_not_removed_is_on_the_list(people: int) -> None:
    numbers = range(people // MAX_MEMBERS)
    with google_apart() as (google, control):
        target = Target(ACCOUNT, google.create_list(ACCOUNT, ListSpec("na-00000001", "na-00000001 x", 30)).list_id)

        def send_all(operation: Operation) -> Iterator[tuple[str, int]]:
            for number in numbers:
                rows = digests(number) if operation is Operation.ADD else removed(digests(number))
                receipt = google.send(google.prepare(target, batch(operation, rows)))
                assert isinstance(receipt, Accepted)
                yield receipt.request_id, len(rows)

        usual = 0
        for operation in (Operation.ADD, Operation.REMOVE):
            sent = []
            for request in send_all(operation):
                sent.append(request)
                usual = peak() if len(sent) == 3 and not usual else usual
            assert peak() - usual < 64  # a batch has 5 MiB in all its forms; a million people would have 500
            now = control.advance(timedelta(hours=1))
            for request_id, count in sent:
                settled = google.status(request_id, operation, sent_at=now, now=now)
                assert isinstance(settled, Succeeded)
                assert settled.records == count
        expected = {bytes(row).hex() for number in numbers for row in digests(number)[: MAX_MEMBERS // 1000]}
        assert control.members(ACCOUNT.account_id, target.list_id) == expected
        assert len(expected) == people // 1000
