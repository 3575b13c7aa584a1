"""What a page is made of: sections with paragraphs, facts, tables and figures. Plain values; it knows no log and draws nothing.

Text is text here, never markup: the page escapes all of it. Drawings come from `svg`, which escapes what it draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "number", "code", "time"]
"""How a column is set: numbers to the right, codes in a fixed width that may break anywhere."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell. `under` is a second line, smaller; `anchor` a place that links lead to, `link` a place that this one leads to (without `#`).
    `span`: how many columns it takes.
    """

    text: str
    under: str = ""
    anchor: str = ""
    link: str = ""
    span: int = 1


@dataclass(frozen=True, slots=True)
class Column:
    """One column's head."""

    label: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """A table. The first cell of a row is its head. Raises ValueError when a row has not as many cells as there are columns.

    `rows` may be empty: `empty` is said then. `foot` are rows of totals.
    """

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str
    foot: tuple[tuple[Cell, ...], ...] = ()

    def __post_init__(self) -> None:
        if any(sum(cell.span for cell in row) != len(self.columns) for row in (*self.rows, *self.foot)):
            raise ValueError("a row has a cell for each column")

    @property
    def wide(self) -> bool:
        """True for a table that may need a box of its own to scroll in, and a line of its own in print."""
        return len(self.columns) > 7


@dataclass(frozen=True, slots=True)
class Facts:
    """Pairs of a word and what it says."""

    id: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart: what it shows, the sentence that says what one sees, its panels (SVG that `svg` made), what the marks mean, and its table."""

    id: str
    caption: str
    says: str
    panels: tuple[str, ...]
    table: Table
    small: bool = False
    """Many small panels side by side instead of broad ones."""


@dataclass(frozen=True, slots=True)
class Text:
    """One paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Points:
    """Sentences as a list."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside a section."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The box at the top: whether the log is verified, in one line, and what follows from it. `counts` are (number, what) pairs."""

    good: bool
    line: str
    says: str
    counts: tuple[tuple[str, str], ...]


Block = Text | Points | Facts | Table | Figure | Heading | Verdict


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report with its heading."""

    id: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Page:
    """The whole report. `lines` stand under the title; `words` are the page's own words (`contents`, `skip`, `table`, ...)."""

    language: str
    title: str
    lines: tuple[str, ...]
    sections: tuple[Section, ...]
    words: dict[str, str]
