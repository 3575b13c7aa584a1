"""`nestaudience retire` and `nestaudience retract`: ends by hand. Each shows what it would do, asks, and runs."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from nestaudience.cli import output
from nestaudience.cli.options import DEFAULT_CONFIG, Case, Config, Json, Why, Yes, clock, guarded
from nestaudience.cli.preview_output import go_ahead, show_preview
from nestaudience.cli.run_commands import outcome_document, show_outcome
from nestaudience.vocabulary import AudienceKey

if TYPE_CHECKING:
    from nestaudience.jobs import Job
    from nestaudience.parts import Parts
    from nestaudience.sync import Outcome


def retire(
    audience: Annotated[str, typer.Argument(metavar="AUDIENCE", help="controller/segment/recipient.")],
    reason: Why,
    case: Case = "",
    config: Config = DEFAULT_CONFIG,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """End an audience: take everybody off its list, and delete the list when the platform says that it is empty."""
    with guarded(as_json):
        from nestaudience.endings import retire as do
        from nestaudience.endings import retire_job
        from nestaudience.interrupting import interruptible
        from nestaudience.wiring import open_parts

        with open_parts(config, clock=clock, randomness=os.urandom) as parts:
            job = retire_job(parts, AudienceKey(audience), reason, case)
            held = _held(parts, AudienceKey(audience))
            if not as_json:
                output.say(
                    f"{held} people may be on the list of {audience}; all of them would be asked off, and the list deleted."
                )
            if not go_ahead(yes=yes, as_json=as_json):
                raise typer.Exit(0)
            with interruptible() as interrupted, output.progress(watched=not as_json) as watch:
                outcome = do(parts, job, note=watch, interrupted=interrupted)
        _show(outcome, as_json=as_json)
        if AudienceKey(audience) not in outcome.closed and not as_json:
            output.say(
                "The list is deleted by the first night that knows it to be empty. Leave the audience in the configuration until then."
            )
        raise typer.Exit(outcome.exit_code)


def retract(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its beginning.")],
    reason: Why,
    case: Case = "",
    config: Config = DEFAULT_CONFIG,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Take off exactly the people whom a run added. Mend what put them there first: the next night adds whoever is still wanted."""
    with guarded(as_json):
        from nestaudience.endings import retract_job
        from nestaudience.interrupting import interruptible
        from nestaudience.sync import run as do
        from nestaudience.wiring import open_parts

        with open_parts(config, clock=clock, randomness=os.urandom) as parts:
            job = retract_job(parts.evidence, run, reason, case)
            _preview(parts, job, as_json=as_json)
            if not go_ahead(yes=yes, as_json=as_json):
                raise typer.Exit(0)
            with interruptible() as interrupted, output.progress(watched=not as_json) as watch:
                outcome = do(parts, job, note=watch, interrupted=interrupted)
        _show(outcome, as_json=as_json)
        raise typer.Exit(outcome.exit_code)


def _held(parts: "Parts", key: AudienceKey) -> int:
    sizes = parts.memory.sizes(parts.clock())
    return sum(sizes.get(remote.list_no, 0) for remote in parts.memory.lists() if remote.audience == key)


def _preview(parts: "Parts", job: "Job", *, as_json: bool) -> None:
    from nestaudience.judging import judge
    from nestaudience.preview import preview

    if as_json:
        return
    with judge(parts, parts.clock(), job=job) as judged:
        show_preview(preview(parts, judged))


def _show(outcome: "Outcome", *, as_json: bool) -> None:
    if as_json:
        output.as_json(outcome_document(outcome))
    else:
        show_outcome(outcome)
