"""How fast noes reached the platforms, by the log's own word: the three clocks of removals, over all runs, by recipient.

An entry holds the spread of one run and list, so every number here is an upper bound: people between two of its marks count with the higher one.
It reads entries and nothing else, and says nothing of removals that are still open: `status` does.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from nestaudience.ledger.entries import EntryType

CLOCKS: Final = ("recorded_to_visible", "visible_to_accepted", "accepted_to_done")
PROMISE: Final = timedelta(hours=24)
"""Within what time a no must have reached every platform (rules §9)."""


@dataclass(frozen=True, slots=True)
class RemovalClock:
    """One clock at one recipient, in whole seconds: it took at most `p50` for half of so many people, at most `p95` for 95 of 100, and at most
    `longest` for all. A person counts once for every list that she left.
    """

    recipient: str
    clock: str
    people: int
    p50: int
    p95: int
    longest: int

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {name: getattr(self, name) for name in RemovalClock.__dataclass_fields__}


def removal_clocks(entries: Iterable[dict[str, Any]]) -> tuple[RemovalClock, ...]:
    """The clocks over these entries, of which others than removal times are passed over: by recipient, then in the order of `CLOCKS`."""
    measured: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for entry in entries:
        if entry["type"] == EntryType.REMOVAL_TIMES:
            fields = entry["fields"]
            for clock in CLOCKS:
                if clock in fields:
                    measured.setdefault((str(fields["recipient"]), clock), []).extend(_marks(fields[clock]))
    found = [_clock(recipient, clock, rows) for (recipient, clock), rows in measured.items()]
    return tuple(sorted(found, key=lambda each: (each.recipient, CLOCKS.index(each.clock))))


def _marks(spread: dict[str, Any]) -> list[tuple[int, int]]:
    """A spread as (seconds, people): half of them at its middle, up to 95 of 100 at the next mark, the rest at the last."""
    people = int(spread["people"])
    half, most = -(-people // 2), -(-people * 95 // 100)
    return [(int(spread["p50"]), half), (int(spread["p95"]), most - half), (int(spread["max"]), people - most)]


def _clock(recipient: str, clock: str, rows: list[tuple[int, int]]) -> RemovalClock:
    ordered = sorted(row for row in rows if row[1])
    total = sum(people for _, people in ordered)
    return RemovalClock(
        recipient, clock, total, _at(ordered, -(-total // 2)), _at(ordered, -(-total * 95 // 100)), ordered[-1][0]
    )


def _at(ordered: list[tuple[int, int]], rank: int) -> int:
    seen = 0
    for seconds, people in ordered:
        seen += people
        if seen >= rank:
            return seconds
    return ordered[-1][0]
