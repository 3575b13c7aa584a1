"""From a page's parts to one HTML file that needs nothing else: no script, no font, no request. Every value is escaped.

It takes parts as they are and decides nothing.
"""

from functools import cache
from importlib.resources import files
from typing import Final

from jinja2 import Environment, StrictUndefined, Template

from nestaudience.audit.report import model

_HERE: Final = files("nestaudience.audit.report")
_KINDS: Final = {
    model.Text: "text",
    model.Points: "points",
    model.Facts: "facts",
    model.Table: "table",
    model.Figure: "figure",
    model.Heading: "heading",
    model.Verdict: "verdict",
}


def to_html(page: model.Page) -> str:
    """The page as one document."""
    return _template().render(page=page, style=style(), kind=lambda block: _KINDS[type(block)])


@cache
def style() -> str:
    """The page's style sheet."""
    return _HERE.joinpath("page.css").read_text("utf-8")


@cache
def _template() -> Template:
    made = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )  # nothing is loaded by name
    return made.from_string(_HERE.joinpath("page.html").read_text("utf-8"))
