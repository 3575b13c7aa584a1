"""Commands that need no account: the sandbox in the foreground, and the demo."""

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from nestaudience.cli import output
from nestaudience.cli.options import Json, guarded

APPLY_AFTER: Final = timedelta(seconds=5)
"""How long the sandbox takes before a request shows on a list, when somebody waits in front of it."""
RELOAD: Final = timedelta(minutes=10)
"""How often the generated store says that it is complete: nothing is ever late in it."""

Folder = Annotated[Path, typer.Option("--folder", help="The folder in which everything lies.")]


def sandbox(
    folder: Folder = Path(".nestaudience/sandbox"),
    accounts: Annotated[int, typer.Option(help="How many accounts the generated store has.", min=500)] = 50_000,
    port: Annotated[
        int,
        typer.Option(
            help="The port on this machine for Google's stand-in, Meta's takes the next; 0 takes free ones.", min=0, max=65533
        ),
    ] = 50551,
    google_ads: Annotated[
        bool,
        typer.Option(
            "--google-ads",
            help="Let the Google Ads API be there as well, on the port after Meta's: another way to Google's lists.",
        ),
    ] = False,
    lists: Annotated[
        bool, typer.Option("--lists", help="Ask the sandbox that runs in this folder what each list holds.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the platforms' stand-ins on this machine until interrupted, with a generated store to try things on."""
    with guarded(as_json):
        if lists:
            _show_lists(folder, as_json=as_json)
        else:
            _serve(folder, accounts, port, google_ads=google_ads)


def _serve(folder: Path, accounts: int, port: int, *, google_ads: bool) -> None:
    from nestaudience.sandbox import site
    from nestaudience.sandbox.clock import SandboxClock
    from nestaudience.sandbox.world import build_store, reload_store

    now = datetime.now(UTC)
    with site.Platforms(SandboxClock(now, ticking=time.monotonic), port=port, google_takes=APPLY_AFTER) as platforms:
        place = site.Site(folder)
        if not place.config.exists():
            place = site.lay_out(folder, platforms=platforms, randomness=os.urandom)
        if place.store.exists():
            reload_store(place.store, now)
        else:
            build_store(place.store, seed=1, accounts=accounts, now=now)
        site.publish(folder, platforms)
        if google_ads:
            endpoint = platforms.open_google_ads(folder, port=port + 2 if port else 0, takes=APPLY_AFTER)
            output.say(
                f"The Google Ads API's stand-in answers at {endpoint}; its certificate is sandbox/ads-ca.pem, its token Google's."
            )
        output.say(f"Google's stand-in answers at {platforms.google.endpoint}, Meta's at {platforms.meta.endpoint}.")
        output.say("Stop them with Ctrl-C; they forget their lists then.")
        output.say(
            f"What is sent to Google's shows on its lists {APPLY_AFTER.seconds} seconds later; at Google that takes half an hour to a day."
        )
        output.say(f"In another terminal:  nestaudience plan --config {place.config}")
        output.say(f"                      nestaudience run nightly --config {place.config}")
        output.say(f"                      nestaudience sandbox --folder {folder} --lists")
        try:
            while not threading.Event().wait(RELOAD.total_seconds()):
                reload_store(place.store, datetime.now(UTC))
        except KeyboardInterrupt:
            output.hint("Stopped.")


def _show_lists(folder: Path, *, as_json: bool) -> None:
    from nestaudience.errors import NeedsFix
    from nestaudience.sandbox.data_manager_control import SandboxControl
    from nestaudience.sandbox.meta_control import MetaSandboxControl

    place = folder / "sandbox"
    if not (place / "meta-endpoint").exists():
        raise NeedsFix("sandbox_not_running", "the sandbox's folder", "start `nestaudience sandbox` with the same --folder first")
    said = {name: (place / name).read_text() for name in ("endpoint", "token", "meta-endpoint", "meta-token")}
    with (
        SandboxControl(said["endpoint"], (place / "ca.pem").read_bytes(), said["token"]) as google,
        MetaSandboxControl(said["meta-endpoint"], said["meta-token"]) as meta,
    ):
        rows = [
            (platform, held.account_id, held.list_id, held.name, held.members)
            for platform, control in (("google", google), ("meta", meta))
            for held in control.lists()
        ]
    names = ("platform", "account", "list", "name", "members")
    if as_json:
        output.as_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        output.table("What the lists hold", names, rows)


def demo(
    folder: Folder = Path(".nestaudience/demo"),
    accounts: Annotated[int, typer.Option(help="How many accounts the generated store has.", min=500)] = 50_000,
    seed: Annotated[int, typer.Option(help="The same seed and day give the same store.")] = 1,
    as_json: Json = False,
) -> None:
    """Two nights on generated customers and a sandbox: who joins, who leaves and why, and the log. Needs no account and no server."""
    with guarded(as_json):
        from nestaudience.cli.demo import run_demo

        document = run_demo(folder, accounts=accounts, seed=seed, today=datetime.now(UTC), quiet=as_json)
        if as_json:
            output.as_json(document)
        raise typer.Exit(0 if document["as_expected"] else 5)
