"""Each chart draws what it was given, names itself, escapes words, and can be read without colour."""

import re
from datetime import date, timedelta
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from nestaudience.audit.report.charts import STATES, Bar, Named, Steps, bars_by_name, calendar, size_of_list, steps, up_and_down
from nestaudience.audit.report.page import style
from nestaudience.audit.report.svg import ADDED, PALE, PALETTE, WHITE

SVG = "{http://www.w3.org/2000/svg}"
NAMED = Named("a-picture", "What <it> shows", 'Two & "three"')


def drawn(text: str) -> ElementTree.Element:
    """The picture as XML; every picture has a role, a title and a description that its own ids name."""
    root = ElementTree.fromstring(text)  # noqa: S314 (made here)
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert (root.get("role"), title is not None, desc is not None) == ("img", True, True)
    assert title is not None
    assert desc is not None
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert (title.text, desc.text) == (NAMED.title, NAMED.desc)
    return root


def words(root: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in root.iter(f"{SVG}text")]


def test_the_calendar_has_a_square_a_night_and_a_sign_for_each_state() -> None:
    first = date(2026, 3, 1)
    nights = {first + timedelta(days=number): STATES[number % 4] for number in range(40)}
    said = dict(zip(STATES, ("done", "remarks", "no end", "no run"), strict=True))
    root = drawn(calendar(NAMED, nights, said, ["m", "t", "w", "t", "f", "s", "s"]))
    legend = len(STATES)
    assert len(root.findall(f"{SVG}rect")) == 40 + legend
    assert words(root).count("!") == words(root).count("?") == 10 + 1, "in the nights and in the legend"
    assert len(root.findall(f"{SVG}line")) == 2 * (10 + 1), "a cross is two lines"
    assert set(said.values()) | {"2026-03"} <= set(words(root))


def test_bars_up_and_down_are_as_long_as_their_counts_and_hidden_ones_are_dots() -> None:
    bars = [Bar("a", 100, 0), Bar("b", 50, 20), Bar("c", None, 10), Bar("d", 0, None)]
    root = drawn(up_and_down(NAMED, bars, ("added", "removed", "too few")))
    rects = root.findall(f"{SVG}rect")
    up = [float(each.get("height", 0)) for each in rects if each.get("fill") == ADDED]
    down = [float(each.get("height", 0)) for each in rects if each.get("fill", "").startswith("url")]
    assert up[0] == pytest.approx(2 * up[1], abs=0.2)
    assert down[0] == pytest.approx(2 * down[1], abs=0.2)
    assert (len(up), len(down)) == (2 + 1, 2 + 1), "and one each in the legend"
    assert len(root.findall(f"{SVG}circle")) == 2 + 1
    assert root.find(f"{SVG}defs/{SVG}pattern") is not None, "removals are told apart by a pattern"


def test_names_of_many_bars_do_not_overlap() -> None:
    root = drawn(up_and_down(NAMED, [Bar(f"2026-{number:02d}", 10, 10) for number in range(60)], ("a", "b", "c")))
    places = [float(each.get("x", 0)) for each in root.iter(f"{SVG}text") if re.fullmatch(r"2026-\d\d", each.text or "")]
    assert min(b - a for a, b in pairwise(places)) > 50


def test_a_list_over_time_stands_above_or_below_its_limit() -> None:
    days = [date(2026, 3, 1) + timedelta(days=number) for number in range(3)]
    root = drawn(size_of_list(NAMED, list(zip(days, (500, 1500, 900), strict=True)), 1000, "limit 1 000"))
    line = root.find(f"{SVG}polyline")
    assert line is not None
    heights = [float(point.split(",")[1]) for point in line.get("points", "").split()]
    limit = next(float(each.get("y1", 0)) for each in root.findall(f"{SVG}line") if each.get("stroke-dasharray"))
    assert heights[0] > limit > heights[2]
    assert heights[-1] > limit, "higher is further down"
    assert {"limit 1 000", "2026-03-01", "2026-03-03"} <= set(words(root))


def test_one_night_alone_is_drawn() -> None:
    assert drawn(size_of_list(NAMED, [(date(2026, 3, 1), 0)], 1000, "limit"))


def test_bars_by_name_have_their_numbers_and_words_for_what_is_hidden() -> None:
    root = drawn(bars_by_name(NAMED, [("first", 1000), ("second <b>", 500), ("few", None), ("none", 0)], "fewer than 10"))
    assert words(root) == ["first", "1\u00a0000", "second <b>", "500", "few", "fewer than 10", "none", "0"]
    long = [float(each.get("width", 0)) for each in root.findall(f"{SVG}rect")]
    assert long[0] == pytest.approx(2 * long[1], abs=0.2)
    assert long[2:] == [1, 1]
    assert drawn(bars_by_name(NAMED, [], "few"))


def test_steps_rise_at_their_hours_and_the_limit_stands_where_it_is() -> None:
    curves = [Steps("ours", ((6, 50), (12, 95), (24, 100)), ""), Steps("theirs", ((1, 50), (1, 95), (48, 100)), "7 4")]
    root = drawn(steps(NAMED, curves, [(24, "24 hours")], "hours"))
    lines = root.findall(f"{SVG}polyline")
    assert [line.get("stroke-dasharray") for line in lines] == [None, None, "7 4", "7 4"], "each curve, and its legend"
    limit = next(each for each in root.findall(f"{SVG}line") if each.get("stroke-dasharray"))
    ours = [tuple(map(float, point.split(","))) for point in lines[0].get("points", "").split()]
    assert float(limit.get("x1", 0)) in [x for x, _ in ours]
    assert {"24 hours", "hours", "ours", "theirs", "95 %"} <= set(words(root))


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """As https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio has it (read 2026-11-29)."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_everything_that_is_written_can_be_read() -> None:
    """WCAG 2.2 AA: 4.5 : 1 for text, 3 : 1 for shapes."""
    assert contrast("#000000", WHITE) == pytest.approx(21)
    assert {name: contrast(colour, WHITE) >= 4.5 for name, colour in PALETTE.items()} == dict.fromkeys(PALETTE, True)
    assert contrast(PALETTE["ink"], PALE) >= 4.5, "the day stands on its square"
    named = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", style()))
    assert set(named) == {"ink", "quiet", "rule", "link", "good", "bad"}
    assert all(contrast(colour, WHITE) >= 4.5 for name, colour in named.items() if name != "rule")
    assert set(re.findall(r"#[0-9a-f]{3,6}\b", style())) - set(named.values()) <= {"#fff"}, "no colour beside the palette"
