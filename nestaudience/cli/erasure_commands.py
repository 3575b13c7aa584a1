"""`nestaudience rights erase`, `rights receipt` and `run retention`: forgetting one person, by case, and what is due to be forgotten."""

import os
from typing import Annotated

import typer

from nestaudience.cli import output
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, Yes, clock, guarded
from nestaudience.cli.preview_output import go_ahead
from nestaudience.errors import TryAgain
from nestaudience.vocabulary import Language

Case = Annotated[str, typer.Option("--case", help="Number of the case in which it is written down; it goes to the log.")]
In = Annotated[Language, typer.Option("--language", help="The language of the receipt.")]
Hold = Annotated[bool, typer.Option("--legal-hold", help="Keep her salt for this case, until the command is given without it.")]


def erase(
    case: Case = "", legal_hold: Hold = False, config: Config = DEFAULT_CONFIG, yes: Yes = False, as_json: Json = False
) -> None:
    """Enter one person's erasure: it binds at once, and the next run takes her off everywhere. The address is typed unseen, or on standard input."""
    with guarded(as_json):
        from nestaudience.cli.person import asked_address
        from nestaudience.erasing import erase as enter
        from nestaudience.wiring import open_parts

        address = asked_address()
        done = go_ahead(yes=yes, as_json=as_json, question="Enter it?", nothing="Nothing was entered. Add --yes to do it.")
        lists = 0
        if done:
            with open_parts(config, clock=clock, randomness=os.urandom) as parts:
                lists = enter(parts, address, case, keep_for_claims=legal_hold)
        if as_json:
            output.as_json({"entered": done, "case": case, "lists": lists, "legal_hold": legal_hold})
        elif done:
            output.say(
                f"Entered under {case}. She may be on {lists} lists; the next night takes her off: `nestaudience run nightly`."
            )
            output.say(f"When the platforms have confirmed it: `nestaudience rights receipt --case {case}`.")


def receipt(case: Case = "", language: In = Language.SV, config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Give the signed receipt of an erasure, once every removal is confirmed; else say what is still open, and end with 3."""
    with guarded(as_json):
        from nestaudience.cli.person import asked_address
        from nestaudience.erasing import receipt as ask
        from nestaudience.wiring import open_parts

        address = asked_address()
        with open_parts(config, clock=clock, randomness=os.urandom) as parts:
            found = ask(parts, address, case, language)
        waiting = [{"audience": each.audience, "since": each.since} for each in found.still_open]
        if as_json:
            output.as_json({"done": not waiting, "case": case, "open": waiting, "text": found.text, "note": found.note})
        elif waiting:
            rows = [(each.audience, output.local(each.since)) for each in found.still_open]
            output.table("Not confirmed yet", ("list", "erasure asked for"), rows)
        else:
            output.say(f"{found.text}\n{found.note}")
        raise typer.Exit(TryAgain.exit_code if waiting else 0)


def retention(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Destroy the salts that are due after an erasure, and forget what is older than the configuration's retention."""
    with guarded(as_json):
        from nestaudience.retaining import retain
        from nestaudience.wiring import open_parts

        with open_parts(config, clock=clock, randomness=os.urandom) as parts:
            done = retain(parts)
        counts = {name: getattr(done, name) for name in ("confirmed", "destroyed", "on_hold", "waiting")}
        if as_json:
            output.as_json(counts)
        else:
            output.table("Retention", tuple(counts), [tuple(counts.values())])
