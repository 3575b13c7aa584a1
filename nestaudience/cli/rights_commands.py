"""`nestaudience rights`: what one person asked for, under a case. `object` enters an objection by hand, or lifts one."""

import os
from enum import StrEnum
from typing import Annotated

import typer

from nestaudience.cli import output
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, Yes, clock, guarded
from nestaudience.cli.preview_output import go_ahead
from nestaudience.vocabulary import Purpose, Recipient

rights_app = typer.Typer(help="What one person asked for, under a case.", no_args_is_help=True)


@rights_app.callback()
def _rights() -> None:
    """What one person asked for, under a case."""


class For(StrEnum):
    """What an objection by hand may be to."""

    AD_MATCHING = "ad_matching"
    ORDER_ANALYSIS = "order_analysis"


@rights_app.command("object")
def object_(
    case: Annotated[str, typer.Option("--case", help="Number of the case in which it is written down; it goes to the log.")] = "",
    recipient: Annotated[Recipient | None, typer.Option("--recipient", help="One recipient alone; both otherwise.")] = None,
    purpose: Annotated[For, typer.Option("--purpose", help="What she objects to.")] = For.AD_MATCHING,
    lift: Annotated[
        bool, typer.Option("--lift", help="Take back what was entered by hand; a new consent is needed as well.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Enter one person's objection by hand, or lift it. The address is typed unseen, or read from standard input; the log gets the case alone."""
    with guarded(as_json):
        from nestaudience.cli.person import asked_address
        from nestaudience.objecting import Objection, enter
        from nestaudience.wiring import open_parts

        what = Objection(case, Purpose(purpose.value), recipient, lift)
        address = asked_address()
        done = go_ahead(
            yes=yes,
            as_json=as_json,
            question="Lift it?" if lift else "Enter it?",
            nothing="Nothing was entered. Add --yes to do it.",
        )
        if done:
            with open_parts(config, clock=clock, randomness=os.urandom) as parts:
                enter(parts, address, what)
        if as_json:
            output.as_json({"entered": done, "case": case, "lift": lift, "purpose": purpose.value, "recipient": what.word})
        elif done:
            output.say(
                f"Lifted under {case}. She may join a list again when she consents anew."
                if lift
                else f"Entered under {case}. The next night takes her off; now: `nestaudience run nightly`."
            )
