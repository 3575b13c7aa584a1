"""The report's charts: a calendar, bars up and down, a line with a limit, bars by name, and steps with a limit. Each takes plain numbers.

What is hidden or rounded was hidden before it comes here. Words are given; a chart adds none but numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from nestaudience.audit.report.svg import ADDED, INK, PALE, REMOVED, RULE, WARN, WHITE, Drawing
from nestaudience.audit.small import plain

WIDTH: Final = 720.0
DONE, NOT_CLEAN, UNFINISHED, MISSED = "done", "not_clean", "unfinished", "missed"
STATES: Final = (DONE, NOT_CLEAN, UNFINISHED, MISSED)


@dataclass(frozen=True, slots=True)
class Named:
    """What names a picture: its id in the page, its title, and what it shows."""

    id: str
    title: str
    desc: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One night, week or month: its name, how many joined and how many left; None is hidden: too few to tell."""

    name: str
    added: int | None
    removed: int | None


def calendar(named: Named, nights: Mapping[date, str], words: Mapping[str, str], weekdays: Sequence[str]) -> str:
    """One square a night, in weeks from left to right, Monday on top. `nights` have one of `STATES`; `words` name them below."""
    first = min(nights) - timedelta(days=min(nights).weekday())
    weeks = (max(nights) - first).days // 7 + 1
    side = 26.0 if weeks <= 24 else 12.0
    left, top = 44.0, 22.0
    picture = Drawing(named.id, max(left + weeks * side + 4, WIDTH), top + 7 * side + 34, named.title, named.desc)
    for place, name in enumerate(weekdays):
        picture.text(left - 8, top + place * side + side * 0.7, name, at="end", size=11 if side > 20 else 10)
    named_month, free = "", 0.0
    for week in range(weeks):
        month = (first + timedelta(days=7 * week + 6)).isoformat()[:7]
        if month != named_month and week * side >= free:
            picture.text(left + week * side + 1, top - 7, month, size=11)
            named_month, free = month, week * side + 52
    for night, state in sorted(nights.items()):
        x, y = left + (night - first).days // 7 * side, top + night.weekday() * side
        _night(picture, x, y, side - 2, state, str(night.day))
    x = left
    for state in STATES:
        _night(picture, x, top + 7 * side + 12, 16, state, "")
        picture.text(x + 22, top + 7 * side + 25, words[state])
        x += 40 + 7.2 * len(words[state])
    return picture.svg()


def _night(picture: Drawing, x: float, y: float, side: float, state: str, day: str) -> None:
    """Told apart by fill, edge and sign: a pale square; a thick edge with `!`; a dashed-looking white one with `?`; a dark one with a cross."""
    middle, base = x + side / 2, y + side * 0.72
    size = max(8, int(side * 0.5))
    if state == DONE:
        picture.rect(x, y, side, side, fill=PALE, line=ADDED, thick=0.75)
        if side > 20:
            picture.text(middle, base, day, colour=INK, at="middle", size=10)
    elif state == MISSED:
        picture.rect(x, y, side, side, fill=WARN)
        for near, far in ((0.28, 0.72), (0.72, 0.28)):
            picture.line(x + side * 0.28, y + side * near, x + side * 0.72, y + side * far, colour=WHITE, thick=2)
    else:
        picture.rect(x + 1, y + 1, side - 2, side - 2, fill=WHITE, line=INK, thick=2)
        picture.text(middle, base, "!" if state == NOT_CLEAN else "?", colour=INK, at="middle", bold=True, size=size + 1)


def up_and_down(named: Named, bars: Sequence[Bar], words: tuple[str, str, str]) -> str:
    """Who joined above the line, filled; who left below it, hatched; a small mark where there were too few to tell. `words` name the three."""
    high = _top(max((bar.added or 0 for bar in bars), default=0))
    low = _top(max((bar.removed or 0 for bar in bars), default=0))
    left, right, top, height = 62.0, 8.0, 34.0, 190.0
    # Each side has room for itself: where few left and many joined, both are still seen.
    share = min(max(high / (high + low), 0.3), 0.7)
    zero = top + height * share
    picture = Drawing(named.id, WIDTH, top + height + 44, named.title, named.desc)
    picture.text(0, 14, named.title, colour=INK, bold=True, size=13)
    for value, y in ((high, top), (0, zero), (low, top + height)):
        picture.line(left, y, WIDTH - right, y, colour=INK if not value else RULE)
        picture.text(left - 6, y + 4, plain(value), at="end")
    step = (WIDTH - left - right) / max(len(bars), 1)
    wide = min(step * 0.8, 28)
    for place, bar in enumerate(bars):
        middle = left + (place + 0.5) * step
        up, down = (bar.added or 0) / high * (zero - top), (bar.removed or 0) / low * (top + height - zero)
        if up:
            picture.rect(middle - wide / 2, zero - up, wide, up, fill=ADDED)
        if down:
            picture.hatched(middle - wide / 2, zero, wide, down)
        for count, y in ((bar.added, zero - 5), (bar.removed, zero + 5)):
            if count is None:
                picture.dot(middle, y, min(2.5, wide / 3), fill=INK)
    _names(picture, [bar.name for bar in bars], left, step, top + height + 16)
    _legend(picture, left, top + height + 26, words)
    return picture.svg()


def _legend(picture: Drawing, x: float, y: float, words: tuple[str, str, str]) -> None:
    picture.rect(x, y, 14, 10, fill=ADDED)
    picture.text(x + 20, y + 9, words[0])
    x += 44 + 7 * len(words[0])
    picture.hatched(x, y, 14, 10)
    picture.text(x + 20, y + 9, words[1])
    x += 44 + 7 * len(words[1])
    picture.dot(x + 5, y + 5, 2.5, fill=INK)
    picture.text(x + 14, y + 9, words[2])


def _names(picture: Drawing, names: Sequence[str], left: float, step: float, y: float) -> None:
    """The names below, as many as have room."""
    every = max(1, -(-int(max((len(name) for name in names), default=1) * 7 + 10) // max(int(step), 1)))
    for place in range(0, len(names), every):
        picture.text(left + (place + 0.5) * step, y, names[place], at="middle", size=11)


def size_of_list(named: Named, sizes: Sequence[tuple[date, int]], limit: int, limit_word: str) -> str:
    """One list over time, in steps from night to night, with the line below which it is too small. A small picture."""
    width, left, right, top, height = 300.0, 50.0, 8.0, 40.0, 84.0
    picture = Drawing(named.id, width, top + height + 22, named.title, named.desc)
    picture.text(0, 13, named.title, colour=INK, bold=True)
    high = _top(max([limit, *(size for _, size in sizes)]) * 1.05)
    first, last = sizes[0][0], sizes[-1][0]
    days = max((last - first).days, 1)

    def place(day: date, size: int) -> tuple[float, float]:
        return left + (day - first).days / days * (width - left - right), top + height - size / high * height

    for value in (0, high):
        y = place(first, int(value))[1]
        picture.line(left, y, width - right, y, colour=RULE if value else INK)
        picture.text(left - 5, y + 4, plain(int(value)), at="end", size=10)
    _, y = place(first, limit)
    picture.line(left, y, width - right, y, colour=WARN, thick=1.25, dashes="5 3")
    picture.text(width - right, y - 4, limit_word, colour=WARN, at="end", size=10)
    points = [place(*sizes[0])]
    for day, size in sizes[1:]:
        x, y = place(day, size)
        points += [(x, points[-1][1]), (x, y)]
    picture.path(points, colour=ADDED)
    picture.dot(*points[-1], 3, fill=ADDED)
    picture.text(left, top + height + 15, first.isoformat(), size=10)
    picture.text(width - right, top + height + 15, last.isoformat(), at="end", size=10)
    return picture.svg()


def bars_by_name(named: Named, rows: Sequence[tuple[str, int | None]], too_few: str) -> str:
    """A bar for each name, with its number behind it; None is hidden and has the words for it."""
    left, line = 292.0, 22.0
    picture = Drawing(named.id, WIDTH, max(len(rows), 1) * line + 10, named.title, named.desc)
    high = max((count or 0 for _, count in rows), default=0) or 1
    for place, (name, count) in enumerate(rows):
        y = place * line + 5
        picture.text(left - 8, y + 13, name, colour=INK, at="end")
        long = (count or 0) / high * (WIDTH - left - 84)
        picture.rect(left, y + 2, max(long, 1), line - 8, fill=ADDED)
        picture.text(left + long + 6, y + 13, too_few if count is None else plain(count))
    picture.line(left, 2, left, max(len(rows), 1) * line + 6, colour=INK)
    return picture.svg()


@dataclass(frozen=True, slots=True)
class Steps:
    """One curve: its name, (hours, people of 100 who were done by then), and how it is dashed."""

    name: str
    points: tuple[tuple[float, float], ...]
    dashes: str


def steps(named: Named, curves: Sequence[Steps], limits: Sequence[tuple[float, str]], hours_word: str) -> str:
    """How many of a hundred were done after so many hours, in steps, with lines at the limits."""
    left, right, top, height = 52.0, 16.0, 40.0, 190.0
    picture = Drawing(named.id, WIDTH, top + height + 44 + 18 * len(curves), named.title, named.desc)
    picture.text(0, 14, named.title, colour=INK, bold=True, size=13)
    longest = max([*(hours for hours, _ in limits), *(curve.points[-1][0] for curve in curves if curve.points)]) * 1.08
    across = (WIDTH - left - right) / longest

    def place(hours: float, share: float) -> tuple[float, float]:
        return left + hours * across, top + height * (1 - share / 100)

    for share in (0.0, 50.0, 95.0, 100.0):
        y = place(0, share)[1]
        picture.line(left, y, WIDTH - right, y, colour=INK if not share else RULE)
        picture.text(left - 6, y + (9 if share == 95 else 4 if share != 100 else 1), f"{share:.0f} %", at="end", size=11)
    tick = next((each for each in (1, 2, 6, 12, 24, 48, 96, 240, 720) if longest / each <= 12), 2400)
    for hour in range(0, int(longest) + 1, tick):
        picture.text(place(hour, 0)[0], top + height + 16, str(hour), at="middle", size=11)
    picture.text(WIDTH - right, top + height + 32, hours_word, at="end", size=11)
    for hours, word in limits:
        x = place(hours, 0)[0]
        picture.line(x, top - 6, x, top + height, colour=WARN, thick=1.5, dashes="6 4")
        picture.text(x, top - 10, word, colour=WARN, at="middle", size=11)
    for number, curve in enumerate(curves):
        colour = (ADDED, REMOVED, INK)[number % 3]
        points = [place(0, 0)]
        for hours, share in curve.points:
            x, y = place(hours, share)
            points += [(x, points[-1][1]), (x, y)]
        picture.path([*points, (WIDTH - right, points[-1][1])], colour=colour, dashes=curve.dashes)
        y = top + height + 44 + 18 * number
        picture.path([(left, y), (left + 34, y)], colour=colour, dashes=curve.dashes)
        picture.text(left + 42, y + 4, curve.name, colour=INK)
    return picture.svg()


def _top(value: float) -> int:
    """A round number at or above a value: 1, 1.5, 2, 3, 4, 5 or 7.5 times a power of ten; at least 10."""
    size = 10
    while True:
        for part in (1, 1.5, 2, 3, 4, 5, 7.5):
            if size * part >= value:
                return int(size * part)
        size *= 10
