"""`nestaudience run backfill`: the nightly run with a filter, by hand, for a reason. It shows what it would do, asks, and runs through Prefect."""

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nestaudience.cli import output
from nestaudience.cli.options import DEFAULT_CONFIG, Case, Config, Json, Why, Yes, clock, guarded
from nestaudience.cli.preview_output import go_ahead, show_preview
from nestaudience.cli.run_commands import begin_flow, outcome_document, outcome_of, show_outcome
from nestaudience.jobs import Job, Scope
from nestaudience.vocabulary import STOCKHOLM, Cause, Mode

if TYPE_CHECKING:
    from nestaudience.preview import Preview
    from nestaudience.sync import Outcome


def backfill(
    reason: Why,
    controller: Annotated[list[str] | None, typer.Option(help="Only lists of this company (its key). Repeatable.")] = None,
    segment: Annotated[list[str] | None, typer.Option(help="Only lists of this segment (its code). Repeatable.")] = None,
    destination: Annotated[list[str] | None, typer.Option(help="Only lists at this destination. Repeatable.")] = None,
    mode: Annotated[
        Literal["diff", "resend", "replace"],
        typer.Option(
            help="What brings the lists into line; or everybody who should be there as well; or that and, when Google took everybody, "
            "off with whoever else is on the list."
        ),
    ] = "diff",
    for_night: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The night that is repaired; today's consents decide.")
    ] = None,
    case: Case = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and do not ask.")] = False,
    yes: Yes = False,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Bring some lists into line now, with the consents of now: shows people, requests, minutes and closed gates, and asks first."""
    with guarded(as_json):
        scope = Scope(
            controllers=frozenset(controller or ()), segments=frozenset(segment or ()), destinations=frozenset(destination or ())
        )
        job, found, code = _look(config, scope, Mode(mode), for_night.date() if for_night else None, reason, case)
        if not as_json:
            show_preview(found)
        if dry_run or not go_ahead(yes=yes, as_json=as_json):
            if as_json:
                output.as_json({"started": False, "preview": found.as_dict()})
            raise typer.Exit(code)
        with output.progress(watched=not as_json) as watch:
            outcome = run_backfill(config, job, watch)
        if as_json:
            output.as_json({"started": True, "preview": found.as_dict(), **outcome_document(outcome)})
        else:
            show_outcome(outcome)
        raise typer.Exit(outcome.exit_code)


def _look(config: Path, scope: Scope, mode: Mode, for_night: date | None, cause: Cause, case: str) -> tuple[Job, "Preview", int]:
    """The checked orders, what they would do now, and the exit code that this asks for. Nothing is written or sent."""
    from nestaudience import jobs
    from nestaudience.judging import judge
    from nestaudience.preview import preview
    from nestaudience.wiring import open_parts

    with open_parts(config, clock=clock) as parts:
        today = clock().astimezone(STOCKHOLM).date()
        job = jobs.backfill(parts.settings, today, scope=scope, mode=mode, for_night=for_night, cause=cause, case_id=case)
        with judge(parts, clock(), job=job) as judged:
            found = preview(parts, judged)
            codes = [gate.exit_code for plan in judged.plans for gate in plan.gates]
            codes += [error.exit_code for error in (*judged.unreachable, *parts.absent.values())]
        return job, found, max([2 if parts.settings.problems else 0, *codes])


def run_backfill(config: Path, job: Job, watch: output.Watcher) -> "Outcome":
    """One backfill through Prefect, in this process; it waits for a run that is at work. Raises as `run_nightly` does."""
    begin_flow()
    from flows.backfill import backfill as flow
    from flows.steps import PATIENCE, session

    with session(config.absolute(), clock=clock, actor="cli", note=watch, patience=PATIENCE) as (key, held):
        flow(
            reason=job.cause.value if job.cause else "",
            config=str(config),
            controllers=sorted(job.scope.controllers) or None,
            segments=sorted(job.scope.segments) or None,
            destinations=sorted(job.scope.destinations) or None,
            mode=job.mode.value,
            for_night=job.for_night.isoformat() if job.for_night else None,
            case=job.case_id,
            dry_run=False,
            session_key=key,
            return_state=True,
        )
        return outcome_of(held)
