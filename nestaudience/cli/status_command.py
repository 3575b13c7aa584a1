"""`nestaudience status`: the morning's one look, for people and as JSON. It shows what `nestaudience.watching` finds, and with `--tell` tells it."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from nestaudience.cli import output
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, clock, guarded

if TYPE_CHECKING:
    from nestaudience.audit.clocks import RemovalClock
    from nestaudience.delta.releases import Release
    from nestaudience.ledger.told import ToldAlert
    from nestaudience.status import AudienceStatus, Status
    from nestaudience.watching import Told

_SIGNS = {
    "list_flagged": "the platform flagged it ({}): appeal there, or delete the list",
    "list_expires": "the platform deletes it on {}, unless an ad uses it",
    "list_renamed": "its name there is not the one that the configuration gives it: find out who changed it",
    "list_owner_changed": "ad account {} owns it now: find out who moved it",
    "list_shared": "ad account {} may use it: end the sharing, or tell the data protection officer",
    "list_lookalike": "audience {} is built on it, which no consent covers: delete it",
}

Tell = Annotated[bool, typer.Option("--tell", help="Tell the people that the configuration names of alerts that are due.")]


def status(config: Config = DEFAULT_CONFIG, tell: Tell = False, as_json: Json = False) -> None:
    """Show how every list stands, what happened last night, what waits for an answer, and what a person must do.

    Ends with 0 when nothing must be done, 2 for the configuration, 3 when something waits for more than 48 hours or a night is
    missing, 4 when requests have no known effect, 5 when a gate is closed; the highest, when several. With --tell what could not be told
    counts as well.
    """
    with guarded(as_json):
        from nestaudience.watching import look, watch
        from nestaudience.wiring import open_evidence, settings_in_use

        if tell:  # opening it for writing would give birth to a ledger that is missing
            open_evidence(config, clock, read_only=True).engine.dispose()
        evidence = open_evidence(config, clock, read_only=not tell)
        try:
            settings = settings_in_use(evidence)
            seen = watch(evidence, settings, clock()) if tell else look(evidence, settings, clock())
        finally:
            evidence.engine.dispose()
        if as_json:
            told = {"told_now": list(seen.told), "errors": [error.as_dict() for error in seen.errors]} if tell else {}
            output.as_json(seen.status.as_dict() | {"alerts": seen.as_dicts()} | told)
        else:
            show_status(seen.status)
            show_alerts(seen)
            output.failed(seen.errors, as_json_document=False)
        raise typer.Exit(max([seen.status.exit_code, *(error.exit_code for error in seen.errors)]))


def _show_stopped(found: "Status") -> None:
    if found.stopped is not None:
        output.say(f"STOPPED · {found.stopped.code} · {found.stopped.where}\n  {found.stopped.next_step}")
    if found.kill_switch.value != "off":
        output.say(f"STOPPED BY HAND · the kill switch stops {found.kill_switch.value}")


def show_status(found: "Status") -> None:
    """A status for people: what stops everything, the night, the lists, what to do."""
    _show_stopped(found)
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
    output.freshness(found.freshness_unknown)
    if found.missing:
        output.say(f"The night of {found.due_night} has no run that ended: run `nestaudience run nightly`.")
    if found.gaps:
        output.say(f"Nights without a run in the last 30 days: {', '.join(found.gaps)}")
    columns = ("audience", "list", "state", "held", "last clean\nnight", "unsettled", "removals\nopen")
    rows: list[tuple[output.Cell, ...]] = [
        (a.audience, a.code or "–", a.state, a.held, a.last_clean_night or "–", a.in_flight + a.overdue + a.unknown, a.open_removals)
        for a in found.audiences
    ]  # fmt: skip
    output.table("Lists", columns, rows)
    notes = [f"- {a.audience}: {note}" for a in found.audiences for note in notes_on(a, found.at)]
    for line in (*notes, *map(release_line, found.releases)):
        output.say(line)
    output.say(f"Requests that were accepted and have no result yet: {found.unsettled}.")
    if found.clocks:
        output.say(f"Noes of the last 30 days, at most: {'; '.join(clock_line(clock) for clock in found.clocks)}.")
    if found.checkpoint is not None:
        output.say(f"Log: {found.entries} entries; last checkpoint covers {found.checkpoint[0]}, root {found.checkpoint[1]}")
    if found.due:
        due = [(each.on.isoformat(), each.what, each.where, each.next_step) for each in found.due]
        output.table("Due dates", ("on", "what", "where", "what to do"), due)
    if found.problems:
        problems = [(problem.path, problem.message, problem.remedy) for problem in found.problems]
        output.table("To mend in the configuration", ("where", "what", "what to do"), problems)


def show_alerts(seen: "Told") -> None:
    """The alerts that stand, each with when people were told of it, or why not."""
    if not seen.standing:
        output.say("No alert stands.")
        return
    output.say(f"Alerts that stand: {len(seen.standing)}")
    for alert in seen.standing:
        output.say(f"- {alert.line}\n  {_told(seen.memory.get(alert.key))}. Next: {alert.next_step}")


def _told(row: "ToldAlert | None") -> str:
    if row is None or row.cleared_at:
        return "Not told yet"
    told = f"Told {output.local(row.last_told_at)}" if row.last_told_at else "Not told yet"
    return f"{told}; could not be told {output.local(row.failed_at)} ({row.failure})" if row.failure else told


def notes_on(audience: "AudienceStatus", now: datetime) -> list[str]:
    """What is worth knowing about one list, in a few words each."""
    notes = []
    if audience.unknown:
        notes.append(f"{audience.unknown} requests without a known effect")
    if audience.overdue:
        notes.append(f"{audience.overdue} requests without a result for more than 48 hours")
    if audience.open_removals:
        notes.append(f"{audience.open_removals} removals open, the oldest for {age(audience.oldest_removal_at, now)}")
    if audience.refused_since:
        end = (
            f"the first run after {output.local(audience.deleted_from)} deletes the list"
            if audience.deleted_from
            else "tried again by every run"
        )
        notes.append(f"the platform refuses removals since {output.local(audience.refused_since)}; {end}")
    if audience.frozen_removals:
        notes.append(f"{audience.frozen_removals} ordinary removals held by a gate")
    if audience.frozen_additions:
        notes.append(f"{audience.frozen_additions} additions held by a gate")
    if audience.released:
        notes.append(f"the last run used a release of {', '.join(audience.released)}")
    if audience.state == "probing":
        notes.append("first fill: the rest follows when the platform took the first people")
    if audience.platform.get("open") is False:
        reason = audience.platform.get("closing_reason", "no reason given")
        notes.append(f"closed by the platform ({reason}): nobody can join it there until somebody opens it")
    notes += [sentence_of(sign) for sign in audience.platform.get("signs", ())]
    if audience.retires_on:
        notes.append(f"too small; will be retired on {audience.retires_on} if it stays so")
    for gate, night in zip(audience.gates, audience.closed_since, strict=True):
        notes.append(f"{'held by' if (gate, night) in audience.held_by else 'closed gate'} {gate} since the night of {night}")
    if audience.runs_out_on:
        notes.append(f"nobody joins; runs out on {audience.runs_out_on}")
    return notes


def sentence_of(sign: str) -> str:
    """A sign that a list is not as we left it, in a few words; a sign that is not known as it is."""
    code, _, detail = sign.partition(":")
    return _SIGNS[code].format(detail or "some day") if code in _SIGNS else sign


def release_line(release: "Release") -> str:
    """A release that stands, in one line."""
    held = f"{release.additions} additions, {release.ordinary} ordinary removals"
    why = f"{release.cause} {release.case_id}".rstrip()
    return f"Release of {', '.join(sorted(release.gates))} for {release.audience} until {output.local(release.until)}: {held} ({why})"


def clock_line(clock: "RemovalClock") -> str:
    """One clock at one recipient in a few words, in minutes."""
    words = clock.clock.replace("_to_", " to ")
    return (
        f"{clock.recipient} {words}: 95 of 100 in {-(-clock.p95 // 60)} min, all {clock.people} in {-(-clock.longest // 60)} min"
    )


def age(since: str, now: datetime) -> str:
    """How long ago a UTC time was, in whole hours or days."""
    hours = int((now - datetime.fromisoformat(since)).total_seconds() // 3600)
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"
