"""Drawing: shapes on a plane of whole and half pixels, as SVG text with a title and a description. Small and plain, and nothing is left unescaped.

It knows no log and no language. Colours are few and dark on white; whatever a colour says, a pattern, a shape or a word says too.
"""

from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

INK: Final = "#1d2733"
QUIET: Final = "#4d5966"
RULE: Final = "#c3cbd4"
ADDED: Final = "#1f5f99"
REMOVED: Final = "#8a3b12"
WARN: Final = "#9a1c1c"
PALE: Final = "#dfe9f3"
WHITE: Final = "#ffffff"
PALETTE: Final = {"ink": INK, "quiet": QUIET, "added": ADDED, "removed": REMOVED, "warn": WARN}
"""What is drawn or written on white: each has at least 4.5 : 1 against it."""

_FONT: Final = "system-ui, 'Segoe UI', 'Noto Sans', 'Liberation Sans', 'DejaVu Sans', sans-serif"


class Drawing:
    """One SVG picture of this size. `id` must be the only one of its page; `title` names it and `desc` says what it shows."""

    def __init__(self, id_: str, width: float, height: float, title: str, desc: str) -> None:
        self._id = id_
        self._root = Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {_n(width)} {_n(height)}",
                "role": "img",
                "aria-labelledby": f"{id_}-t {id_}-d",
                "font-family": _FONT,
                "font-size": "12",
            },
        )
        SubElement(self._root, "title", {"id": f"{id_}-t"}).text = title
        SubElement(self._root, "desc", {"id": f"{id_}-d"}).text = desc
        self._has_hatch = False

    def rect(self, x: float, y: float, width: float, height: float, *, fill: str, line: str = "", thick: float = 1) -> None:
        """A rectangle; without `line` it has no edge."""
        self._add("rect", x=x, y=y, width=width, height=height, fill=fill, **_edge(line, thick))

    def hatched(self, x: float, y: float, width: float, height: float) -> None:
        """A rectangle of slanted lines with an edge: what is taken away."""
        if not self._has_hatch:
            self._has_hatch = True
            definitions = Element("defs")
            tile = {"id": f"{self._id}-h", "width": "5", "height": "5", "patternUnits": "userSpaceOnUse"}
            pattern = SubElement(definitions, "pattern", tile | {"patternTransform": "rotate(45)"})
            SubElement(pattern, "rect", {"width": "5", "height": "5", "fill": WHITE})
            SubElement(pattern, "rect", {"width": "2", "height": "5", "fill": REMOVED})
            self._root.insert(2, definitions)
        self._add("rect", x=x, y=y, width=width, height=height, fill=f"url(#{self._id}-h)", **_edge(REMOVED, 1))

    def line(self, x1: float, y1: float, x2: float, y2: float, *, colour: str = RULE, thick: float = 1, dashes: str = "") -> None:
        """A straight line; `dashes` like `6 4`."""
        more = {"stroke-dasharray": dashes} if dashes else {}
        self._add("line", x1=x1, y1=y1, x2=x2, y2=y2, **_edge(colour, thick), **more)

    def path(self, points: list[tuple[float, float]], *, colour: str, thick: float = 2, dashes: str = "") -> None:
        """A line through points, in order."""
        more = {"stroke-dasharray": dashes} if dashes else {}
        said = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self._add("polyline", points=said, fill="none", **_edge(colour, thick), **more)

    def dot(self, x: float, y: float, radius: float, *, fill: str) -> None:
        """A filled circle."""
        self._add("circle", cx=x, cy=y, r=radius, fill=fill)

    def text(
        self, x: float, y: float, said: str, *, colour: str = QUIET, at: str = "start", bold: bool = False, size: int = 12
    ) -> None:
        """Words; `at` is start, middle or end."""
        weight = {"font-weight": "600"} if bold else {}
        self._add("text", x=x, y=y, fill=colour, **{"text-anchor": at, "font-size": str(size)}, **weight).text = said

    def svg(self) -> str:
        """The picture as text for a page."""
        return tostring(self._root, encoding="unicode")

    def _add(self, tag: str, **given: object) -> Element:
        return SubElement(
            self._root, tag, {name: _n(value) if isinstance(value, float | int) else str(value) for name, value in given.items()}
        )


def _edge(colour: str, thick: float) -> dict[str, object]:
    return {"stroke": colour, "stroke-width": thick} if colour else {}


def _n(value: float) -> str:
    """A number with no more than one decimal."""
    return f"{value:.1f}".removesuffix(".0")
