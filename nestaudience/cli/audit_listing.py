"""`nestaudience audit funnel | removals | lookups | nights | sizes | changes`: one table of the log each, with filters.

They read the log and nothing else. Counts stand in full here; it is exported reports that say less than ten as such.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestaudience.cli import output
from nestaudience.cli.audit_commands import From, To, day_of, opened_evidence
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, clock, guarded
from nestaudience.vocabulary import RunKind

if TYPE_CHECKING:
    import pandas as pd

    from nestaudience.audit.columns import Filters

Controller = Annotated[str | None, typer.Option(help="Key of the company.")]
Recipient = Annotated[str | None, typer.Option(help="google or meta.")]
Audience = Annotated[str | None, typer.Option(help="controller/segment/recipient.")]
Run = Annotated[str | None, typer.Option(help="A run's id, or its beginning.")]
Kind = Annotated[RunKind | None, typer.Option(help="Which job.")]


def funnel(
    config: Config = DEFAULT_CONFIG,
    controller: Controller = None,
    recipient: Recipient = None,
    audience: Audience = None,
    run: Run = None,
    kind: Kind = None,
    first: From = None,
    last: To = None,
    as_json: Json = False,
) -> None:
    """Why a list got the people that it got: candidates, refusals by reason, gates. Without a run or a date, the last night of each list."""
    with guarded(as_json):
        from nestaudience.cli.audit_tables import show_funnels

        filters = _filters(controller, recipient, audience, run, kind, first, last)
        frame = _frame(config, "funnel", filters)
        if run is None and first is None and last is None and len(frame):
            newest = frame.groupby("audience")["at"].transform("max")
            frame = frame[frame["at"] == newest]
        if not _told("funnel", frame, as_json):
            show_funnels(frame)


def removals(
    config: Config = DEFAULT_CONFIG,
    only_open: Annotated[bool, typer.Option("--open", help="What is open, refused or frozen, instead of the clocks.")] = False,
    controller: Controller = None,
    recipient: Recipient = None,
    audience: Audience = None,
    run: Run = None,
    kind: Kind = None,
    first: From = None,
    last: To = None,
    as_json: Json = False,
) -> None:
    """How fast noes reached each platform, by the three clocks; with --open the removals that are not known to be done."""
    with guarded(as_json):
        from nestaudience.cli.audit_tables import show_open, show_removals

        name = "open_removals" if only_open else "removals"
        frame = _frame(config, name, _filters(controller, recipient, audience, run, kind, first, last))
        if not _told(name, frame, as_json):
            (show_open if only_open else show_removals)(frame)


def lookups(
    config: Config = DEFAULT_CONFIG,
    controller: Controller = None,
    run: Run = None,
    kind: Kind = None,
    first: From = None,
    last: To = None,
    as_json: Json = False,
) -> None:
    """Who looked people up or acted for one person, when, and for which case."""
    with guarded(as_json):
        from nestaudience.cli.audit_tables import show_plain

        frame = _frame(config, "lookups", _filters(controller, None, None, run, kind, first, last))
        if not _told("lookups", frame, as_json):
            show_plain("lookups", frame)


def nights(
    config: Config = DEFAULT_CONFIG, controller: Controller = None, first: From = None, last: To = None, as_json: Json = False
) -> None:
    """Which nights had a run, which had none or a failed one, and what each did."""
    with guarded(as_json):
        from nestaudience.cli.audit_tables import show_plain
        from nestaudience.status import last_due_night

        until = last or datetime.combine(last_due_night(clock()), datetime.min.time())
        frame = _frame(config, "nights", _filters(controller, None, None, None, None, first, until))
        if not _told("nights", frame, as_json):
            show_plain("nights", frame)


def sizes(
    config: Config = DEFAULT_CONFIG,
    controller: Controller = None,
    recipient: Recipient = None,
    audience: Audience = None,
    first: From = None,
    last: To = None,
    as_json: Json = False,
) -> None:
    """How large each list was, night by night: the platform's word beside our own count."""
    with guarded(as_json):
        from nestaudience.cli.audit_tables import show_plain

        frame = _frame(config, "sizes", _filters(controller, recipient, audience, None, None, first, last))
        if not _told("sizes", frame, as_json):
            show_plain("sizes", frame)


def changes(
    config: Config = DEFAULT_CONFIG,
    only: Annotated[
        str | None,
        typer.Option(
            "--type", help="One type: config_changed, approval, binding_changed, list_created, incident, epoch_opened, …"
        ),
    ] = None,
    controller: Controller = None,
    recipient: Recipient = None,
    audience: Audience = None,
    run: Run = None,
    kind: Kind = None,
    first: From = None,
    last: To = None,
    as_json: Json = False,
) -> None:
    """What changed: configuration, approvals, lists and their accounts, releases, gates, keys, recoveries, incidents."""
    with guarded(as_json):
        from nestaudience.audit.changes import TYPES
        from nestaudience.cli.audit_tables import show_plain

        if only is not None and only not in TYPES:
            raise typer.BadParameter("one of " + ", ".join(sorted(TYPES)), param_hint="--type")
        frame = _frame(config, "changes", _filters(controller, recipient, audience, run, kind, first, last))
        frame = frame if only is None else frame[frame["type"] == only]
        if not _told("changes", frame, as_json):
            show_plain("changes", frame)


def _filters(
    controller: str | None,
    recipient: str | None,
    audience: str | None,
    run: str | None,
    kind: RunKind | None,
    first: datetime | None,
    last: datetime | None,
) -> "Filters":
    from nestaudience.audit.columns import Filters

    return Filters(controller, recipient, audience, run, kind, day_of(first), day_of(last))


def _frame(config: Any, name: str, filters: "Filters") -> "pd.DataFrame":
    from nestaudience.audit.catalogue import frame

    with opened_evidence(config) as evidence:
        return frame(name, evidence.reader, filters, clock())


def _told(name: str, frame: "pd.DataFrame", as_json: bool) -> bool:
    """True when the answer was given: as JSON, or because there is nothing to show."""
    from nestaudience.audit.catalogue import FRAMES
    from nestaudience.cli.audit_output import frame_rows

    if as_json:
        columns = {column: said.meaning for column, said in FRAMES[name].columns.items()}
        output.as_json({"columns": columns, name: frame_rows(frame)})
    elif frame.empty:
        output.say("Nothing fits.")
    return as_json or bool(frame.empty)
