"""Reads a report as a reader's program would: its tables, headings, pictures, links. Standard library only."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "wbr", "br"}


@dataclass
class Read(HTMLParser):
    """`tables` are caption -> rows of texts, the head first; a second line of a cell is left out. `tags` are all elements with their attributes."""

    html: str
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self._caption = ""
        self._under = False
        self.feed(self.html)
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        elif tag == "span" and given.get("class") == "under":
            self._under = True

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self._open.pop() == tag, f"</{tag}> closes something else"
        if tag == "table":
            assert self._caption, "a table without a caption"
            assert self._caption not in self.tables, self._caption
            self.tables[self._caption] = self._rows
        elif tag == "span":
            self._under = False

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data
        if "caption" in self._open:
            self._caption += data
        elif ("td" in self._open or "th" in self._open) and not self._under:
            self._rows[-1][-1] += data

    def of(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every element of this name, in order."""
        return [given for name, given in self.tags if name == tag]


def people(said: str) -> int | None:
    """A count as the report writes it; None where it is hidden or not whole."""
    plain = said.replace("\u00a0", "")
    return int(plain) if plain.isdecimal() else None
