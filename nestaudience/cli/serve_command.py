"""`nestaudience serve`: the scheduled runs on this machine, for a standing Prefect server."""

from typing import Annotated

import typer

from nestaudience.cli import output
from nestaudience.cli.options import DEFAULT_CONFIG, Config, guarded


def serve(
    config: Config = DEFAULT_CONFIG,
    nightly_cron: Annotated[
        str, typer.Option("--nightly-cron", help="When the nightly run starts, in Stockholm's time.")
    ] = "30 3 * * *",
) -> None:
    """Run the scheduled flows here until interrupted: nightly at 03:30, hourly, and backfills from Prefect's form.

    Needs a standing Prefect server at PREFECT_API_URL. The address of its pages is that without `/api`; a backfill is started there.
    """
    with guarded(False):
        from flows.serving import require_server, serve_all
        from nestaudience.config.load import parse

        parse(config)
        require_server()
        output.say(f"Serving nightly ({nightly_cron}), hourly and backfill with {config.absolute()}. Stop with Ctrl-C.")
        serve_all(config, nightly_cron=nightly_cron)
