"""Small counts of people, in what leaves the house: fewer than ten are not shown, and cannot be had from what stands beside them.

The rule, which every report prints, and by which the tables of a bundle are made: 1. A count of one to nine people is hidden. Nobody is 0, and is
shown. 2. A sum is whole only when what is hidden in it is several cells and ten people together, or nothing. Otherwise it adds what is shown,
with `≥`. 3. A total whose parts stand in the same row, or another count that differs from one beside it by one to nine, is rounded to tens, with
`≈`. 4. The size of a list, and what a night planned for it, are rounded to tens: neither two nights nor plan and transfer tell of the few between
them.

It is about people alone: requests, nights, cases and entries are counted as they are. It is no protection against somebody who combines several
reports, or a report with the log; a bundle has the log beside its tables.
"""

from collections.abc import Iterable, Sequence
from typing import Final

LEAST: Final = 10
"""Fewer people than this are not told of."""
Count = int | None
"""A count of people as it may be shown: None is hidden."""


def hidden(people: int) -> bool:
    """True for a count that is not shown."""
    return 0 < people < LEAST


def shown(people: int) -> Count:
    """The count, or None."""
    return None if hidden(people) else people


def tens(people: int) -> int:
    """The nearest ten; half of ten goes up."""
    return (people + 5) // 10 * 10


def total(parts: Iterable[int]) -> tuple[int, bool]:
    """(sum, whole): everything when that gives no hidden part away, else the sum of what is shown."""
    every = list(parts)
    small = [people for people in every if hidden(people)]
    if not small or (len(small) > 1 and sum(small) >= LEAST):
        return sum(every), True
    return sum(every) - sum(small), False


def beside(whole: int, parts: Sequence[int]) -> tuple[int, bool]:
    """(number, exact) for a total whose parts stand in its row: rounded to tens when it would give a hidden part, or a small difference, away.

    One that is hidden by itself must not be asked for.
    """
    gaps = [abs(whole - part) for part in parts] + [abs(whole - sum(parts))]
    if any(hidden(part) for part in parts) or any(hidden(gap) for gap in gaps):
        return tens(whole), False
    return whole, True


def rough(people: int, language: str = "sv") -> str:
    """A count in tens as people read it, with `≈`; hidden when it is small, and nobody is 0."""
    return f"≈ {plain(tens(people))}" if people >= LEAST else number(people, language)


def number(people: int, language: str = "sv") -> str:
    """A count as people read it: groups of three with a space that does not break, hidden when it is small."""
    if hidden(people):
        return "färre än 10" if language == "sv" else "fewer than 10"
    return plain(people)


def plain(count: int) -> str:
    """A whole number in groups of three, whatever it counts."""
    return f"{count:,}".replace(",", "\u00a0")
