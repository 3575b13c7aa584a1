"""`nestaudience run withdrawals` and `run settle`: what the hourly flow does, by hand and without Prefect, so that a no waits for no server."""

import typer

from nestaudience.cli import output
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, clock, guarded
from nestaudience.cli.run_commands import outcome_document, show_outcome


def withdrawals(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Take off every list, now, whoever said no since the last look; nobody joins, and what merely went missing waits for the night."""
    with guarded(as_json):
        from nestaudience.errors import NeedsFix
        from nestaudience.interrupting import interruptible
        from nestaudience.sync import run
        from nestaudience.wiring import open_parts
        from nestaudience.withdrawals import withdrawals_job

        with open_parts(config, clock=clock) as parts:
            job = withdrawals_job(parts.evidence.reader, parts.settings, parts.clock(), due_only=False)
            if job is None:
                raise NeedsFix("no_watermark", "the transfer log", "run `nestaudience run nightly` first: it reads everything")
            with interruptible() as interrupted, output.progress(watched=not as_json) as watch:
                outcome = run(parts, job, note=watch, interrupted=interrupted)
        if as_json:
            output.as_json(outcome_document(outcome))
        else:
            show_outcome(outcome)
        raise typer.Exit(outcome.exit_code)


def settle(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Ask the platforms what became of earlier requests, and write it down; nothing is sent to a list."""
    with guarded(as_json):
        from nestaudience.interrupting import interruptible
        from nestaudience.jobs import SETTLING
        from nestaudience.sync import Run
        from nestaudience.wiring import open_parts

        with interruptible() as interrupted, open_parts(config, clock=clock) as parts:
            run = Run(parts, SETTLING, interrupted=interrupted)
            with run:
                run.settle()
                outcome = run.finish()
        if as_json:
            output.as_json(outcome_document(outcome))
        else:
            output.say(f"Results of earlier requests: {outcome.settled} came in, {outcome.waiting} are awaited.")
            output.failed(outcome.errors, as_json_document=False)
        raise typer.Exit(outcome.exit_code)
