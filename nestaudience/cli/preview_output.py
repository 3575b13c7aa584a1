"""How a run that is not the nightly one is shown before it starts, and how a person says that it may."""

import sys
from typing import TYPE_CHECKING

import typer

from nestaudience.cli import output

if TYPE_CHECKING:
    from nestaudience.preview import Preview


def show_preview(found: "Preview") -> None:
    """People, requests, minutes, and which gates would hold how many."""
    rows: list[tuple[output.Cell, ...]] = [
        (
            each.audience,
            each.removals,
            each.additions,
            each.requests,
            f"{each.minutes:.1f}",
            each.held_back,
            ", ".join(each.gates),
        )
        for each in found.lists
    ]
    names = ("audience", "would be\nremoved", "would be\nadded", "requests", "minutes", "held\nback", "closed\ngates")
    output.table("Before it starts", names, rows)
    output.say(f"{found.people} people in {found.requests} requests, about {found.minutes:.1f} minutes of sending.")


def go_ahead(
    *, yes: bool, as_json: bool, question: str = "Start?", nothing: str = "Nothing was sent. Add --yes to start it."
) -> bool:
    """True when it may start: `--yes`, or a person at a terminal who says so. Without either nothing is done, and the next step is said."""
    if yes:
        return True
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        output.hint(nothing)
        return False
    return typer.confirm(question, default=False, err=True)
