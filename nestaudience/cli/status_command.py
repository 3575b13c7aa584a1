"""`nestaudience status`: the morning's one look, for people and as JSON. It shows what `nestaudience.status` finds, and nothing else."""

from datetime import datetime
from typing import TYPE_CHECKING

import typer

from nestaudience.cli import output
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, clock, guarded

if TYPE_CHECKING:
    from nestaudience.status import AudienceStatus, Status


def status(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Show how every list stands, what happened last night, what waits for an answer, and what a person must do.

    Ends with 0 when nothing must be done, 2 for the configuration, 3 when something waits for more than 48 hours or a night is
    missing, 4 when requests have no known effect, 5 when a gate is closed; the highest, when several.
    """
    with guarded(as_json):
        from nestaudience.status import status as look
        from nestaudience.wiring import open_evidence, settings_in_use

        evidence = open_evidence(config, clock, read_only=True)
        try:
            found = look(evidence, settings_in_use(evidence), clock())
        finally:
            evidence.engine.dispose()
        if as_json:
            output.as_json(found.as_dict())
        else:
            show_status(found)
        raise typer.Exit(found.exit_code)


def show_status(found: "Status") -> None:
    """A status for people: the night, the lists, what to do."""
    night = found.last_night
    if night is None:
        output.say("No night has run yet.")
    else:
        codes = ", ".join(str(code) for code in night.exit_codes if code)
        said = {"": "has no end", "done": "done", "not_clean": f"not clean (exit codes {codes})"}.get(
            night.outcome, night.outcome
        )
        errors = f"; errors: {', '.join(night.errors)}" if night.errors else ""
        output.say(f"Last night: {night.night}, begun {output.local(night.started_at)}, {said}{errors} · run {night.run_id}")
    if found.running is not None:
        output.say(f"At work now: run {found.running}")
    if found.missing:
        output.say(f"The night of {found.due_night} has no run that ended: run `nestaudience run nightly`.")
    if found.gaps:
        output.say(f"Nights without a run in the last 30 days: {', '.join(found.gaps)}")
    rows: list[tuple[output.Cell, ...]] = [
        (a.audience, a.code, a.state, a.held, a.last_clean_night or "–", "; ".join(notes_on(a, found.at)))
        for a in found.audiences
    ]
    output.table("Lists", ("audience", "list", "state", "held", "last clean night", "to know"), rows)
    output.say(f"Requests that were accepted and have no result yet: {found.unsettled}.")
    if found.checkpoint is not None:
        output.say(f"Log: {found.entries} entries; last checkpoint covers {found.checkpoint[0]}, root {found.checkpoint[1]}")
    if found.problems:
        problems = [(problem.path, problem.message, problem.remedy) for problem in found.problems]
        output.table("To mend in the configuration", ("where", "what", "what to do"), problems)


def notes_on(audience: "AudienceStatus", now: datetime) -> list[str]:
    """What is worth knowing about one list, in a few words each."""
    notes = []
    if audience.unknown:
        notes.append(f"{audience.unknown} requests without a known effect")
    if audience.overdue:
        notes.append(f"{audience.overdue} requests without a result for more than 48 hours")
    if audience.in_flight:
        notes.append(f"{audience.in_flight} requests in flight")
    if audience.open_removals:
        notes.append(f"{audience.open_removals} removals open, the oldest for {age(audience.oldest_removal_at, now)}")
    if audience.frozen_removals:
        notes.append(f"{audience.frozen_removals} ordinary removals held by a gate")
    if audience.gates:
        notes.append(f"closed gates: {', '.join(audience.gates)}")
    if audience.runs_out_on:
        notes.append(f"runs out on {audience.runs_out_on}")
    return notes


def age(since: str, now: datetime) -> str:
    """How long ago a UTC time was, in whole hours or days."""
    hours = int((now - datetime.fromisoformat(since)).total_seconds() // 3600)
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"
