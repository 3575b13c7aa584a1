"""What a log tells of refused removals, and the step that follows: every boundary, without a run."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nestaudience.delivery.refused import (
    DELETED_AFTER,
    AskEverywhere,
    DeleteList,
    Refusals,
    Standing,
    Step,
    TryAgainOnly,
    Why,
    next_step,
    read_refusals,
)

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
SMALL = "removal_refused_too_small"


@pytest.mark.parametrize(
    ("noes", "old", "runs", "to_ask", "step"),
    [
        (0, 0, 1, 0, TryAgainOnly(Why.NOBODY_SAID_NO)),
        (0, 100, 9, 0, TryAgainOnly(Why.NOBODY_SAID_NO)),
        (1, 0, 1, 1, TryAgainOnly(Why.FIRST_TIME)),
        (1, 1, 2, 1, AskEverywhere(NOW - timedelta(hours=1))),
        (5, 1, 2, 0, TryAgainOnly(Why.ASKED_ALREADY)),
        (1, 19.99, 20, 0, TryAgainOnly(Why.ASKED_ALREADY)),
        (1, 20, 20, 0, DeleteList(NOW - DELETED_AFTER)),
        (1, 20, 2, 1, DeleteList(NOW - DELETED_AFTER)),
        (1, 90, 2, 0, DeleteList(NOW - timedelta(hours=90))),
    ],
)
def test_the_step_that_is_due(noes: int, old: float, runs: int, to_ask: int, step: Step) -> None:
    assert next_step(Standing(noes, NOW - timedelta(hours=old), runs, to_ask), NOW) == step


class Log:
    """Entries, as a run writes them."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._made = 0

    def _add(self, kind: str, run: str, **fields: Any) -> None:
        at = (NOW + timedelta(minutes=len(self.entries))).isoformat()
        self.entries.append({"type": kind, "run_id": run, "at": at, "fields": fields})

    def transfer(self, run: str, planned: int, list_id: str = "1") -> str:
        self._add(
            "transfer_intent", run, transfer_id=f"t{run}{list_id}", list_id=list_id, operation="remove", planned_removals=planned
        )
        return f"t{run}{list_id}"

    def request(self, run: str, transfer: str, people: int, outcome: str, code: str = "", **marks: Any) -> bytes:
        self._made += 1
        batch_id, list_id = f"{self._made:032x}", transfer[-1]
        batch = {"transfer_id": transfer, "batch_id": batch_id, "list_id": list_id, "operation": "remove", "count": people}
        self._add("batch", run, **batch | marks)
        if outcome:
            self._add("batch_result", run, transfer_id=transfer, batch_id=batch_id, outcome=outcome, code=code)
        return bytes.fromhex(batch_id)

    def refused(self, list_id: str = "1") -> Refusals | None:
        return read_refusals(self.entries).get(list_id)


def test_a_refusal_stands_until_everything_is_taken() -> None:
    log = Log()
    first = log.request("a", log.transfer("a", 2), 2, "refused", SMALL, noes=True)
    # A later no is taken, what is owed is not: that ends nothing.
    again = log.transfer("b", 3)
    log.request("b", again, 1, "accepted", noes=True)
    log.request("b", again, 2, "refused", SMALL, repeat=True)
    found = log.refused()
    assert found is not None
    assert [(each.run_id, each.noes) for each in found.removals] == [("a", True), ("b", False)]
    assert found.removals[0].batch_id == first
    assert found.since == found.no_since == datetime.fromisoformat(log.entries[2]["at"])
    # A run that was cut off after its first request ends nothing either.
    log.request("c", log.transfer("c", 2), 1, "accepted")
    assert log.refused() is not None
    whole = log.transfer("d", 2)
    log.request("d", whole, 1, "accepted")
    log.request("d", whole, 1, "accepted")
    assert log.refused() is None


def test_other_refusals_and_other_lists_are_no_matter_of_it() -> None:
    log = Log()
    log.request("a", log.transfer("a", 1), 1, "refused", "unauthenticated", noes=True)
    log.request("b", log.transfer("b", 1), 1, "unknown", "lost_unavailable", noes=True)
    log.request("c", log.transfer("c", 1), 1, "", noes=True)
    assert log.refused() is None
    log.request("d", log.transfer("d", 1, "2"), 1, "refused", "list_flagged")
    log.request("e", log.transfer("e", 1), 1, "accepted")
    found = log.refused("2")
    assert found is not None
    assert found.no_since is None


def test_what_was_asked_and_ordered_belongs_to_the_refusal() -> None:
    log = Log()
    log.request("a", log.transfer("a", 1), 1, "refused", SMALL, noes=True)
    asked = log.request("b", "tx1", 1, "accepted", noes=True, everywhere=True)
    log.request("c", "ty1", 1, "unknown", "lost_unavailable", noes=True, everywhere=True)
    log.request("c", "tz1", 1, "", noes=True, everywhere=True)
    log._add("binding_changed", "c", list_id="1", state="deleting", count=1)
    found = log.refused()
    assert found is not None
    assert [each.batch_id for each in found.asked] == [asked]
    assert found.ordered is not None
    log._add("list_deleted", "c", list_id="1")
    assert log.refused() is None
