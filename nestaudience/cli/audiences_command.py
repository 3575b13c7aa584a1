"""`nestaudience audiences`: from neutral codes to plain names, for people and as JSON. It shows what `nestaudience.audiences` finds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestaudience.cli import output
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, clock, guarded

if TYPE_CHECKING:
    from nestaudience.audiences import Named
    from nestaudience.errors import NestAudienceError

Ask = Annotated[bool, typer.Option("--ask", help="Ask the platforms what they say of each list now.")]


def audiences(config: Config = DEFAULT_CONFIG, ask: Ask = False, as_json: Json = False) -> None:
    """Show what each neutral code means: segment, owner, company, recipient, ad account and list, and with --ask size and match rate.

    Ends with 0; with --ask with 2 or 3 when a list or a platform could not be read; the highest, when several.
    """
    with guarded(as_json):
        rows = _rows(config, ask)
        errors = [row.error for row in rows if row.error is not None]
        if as_json:
            output.as_json({"audiences": [row.as_dict() for row in rows]})
        else:
            show_audiences(rows)
            if ask:
                show_platforms(rows)
            output.failed(_each_once(errors), as_json_document=False)
        raise typer.Exit(max((error.exit_code for error in errors), default=0))


def _rows(config: Path, ask: bool) -> "tuple[Named, ...]":
    from nestaudience.audiences import ask as ask_platforms
    from nestaudience.audiences import named
    from nestaudience.status import status
    from nestaudience.wiring import open_destinations, open_evidence, settings_in_use

    evidence = open_evidence(config, clock, read_only=True)
    try:
        settings = settings_in_use(evidence)
        rows = named(status(evidence, settings, clock()), settings, evidence.memory.lists())
        if not ask:
            return rows
        destinations, absent = open_destinations(settings, evidence)
        try:
            return ask_platforms(rows, destinations, absent)
        finally:
            for destination in destinations.values():
                destination.close()
    finally:
        evidence.engine.dispose()


def show_audiences(rows: "tuple[Named, ...]") -> None:
    """Who and what stands behind each code."""
    shown = [(r.code or "–", r.audience, r.name, r.owner, r.controller, r.recipient) for r in rows]
    output.table("Audiences", ("list", "audience", "segment", "owner", "company", "recipient"), shown)
    places = [(r.code or "–", r.destination, r.ad_account, r.list_id or "–", r.state, r.held) for r in rows]
    output.table("Lists", ("list", "destination", "ad account", "list id", "state", "held"), places)


def show_platforms(rows: "tuple[Named, ...]") -> None:
    """What the platforms say now."""
    shown: list[tuple[output.Cell, ...]] = []
    for row in rows:
        said = row.platform
        if said is not None:
            rate = "–" if said.match_rate is None else f"{said.match_rate} %"
            shown.append(
                (row.code, said.size, rate, "open" if said.open else f"closed: {said.closing_reason or 'no reason given'}")
            )
        elif row.error is not None:
            shown.append((row.code, None, "–", row.error.code))
        elif row.list_id:
            shown.append((row.code, None, "–", "gone"))
    output.table("What the platforms say", ("list", "size", "match rate", "state"), shown)


def _each_once(errors: "list[NestAudienceError]") -> "list[NestAudienceError]":
    return list({(error.code, error.where): error for error in errors}.values())
