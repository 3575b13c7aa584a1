"""`nestaudience release`: shows what a gate holds back now, asks, and writes down that a person lets it through."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from nestaudience.cli import output
from nestaudience.cli.options import DEFAULT_CONFIG, Case, Config, Json, Why, Yes, clock, guarded
from nestaudience.cli.preview_output import go_ahead
from nestaudience.vocabulary import AudienceKey, RunKind

if TYPE_CHECKING:
    from nestaudience.delta.releases import Release
    from nestaudience.releasing import Offer


def release(
    audience: Annotated[str, typer.Argument(metavar="AUDIENCE", help="controller/segment/recipient.")],
    reason: Why,
    case: Case = "",
    config: Config = DEFAULT_CONFIG,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Let through what a gate holds back on one list: for 24 hours, and up to 110 % of the people that are shown.

    Every run within that time uses it, the next nightly or one by hand. It opens only gates that a person may open; what stays closed is named.
    """
    with guarded(as_json):
        from nestaudience.jobs import Job, Scope
        from nestaudience.judging import judge
        from nestaudience.releasing import check_order, offer
        from nestaudience.releasing import release as write
        from nestaudience.wiring import open_parts

        key = AudienceKey(audience)
        with open_parts(config, clock=clock, randomness=os.urandom) as parts:
            check_order(parts, key, reason, case)
            with judge(parts, clock(), job=Job(RunKind.MANUAL, Scope(audiences=frozenset({key})))) as judged:
                shown = offer(judged.delta.plans[key], parts.settings.digest)
            if not as_json:
                show_offer(shown)
            started = go_ahead(
                yes=yes, as_json=as_json, question="Release it?", nothing="Nothing was released. Add --yes to do it."
            )
            written = write(parts, shown, reason, case) if started else None
        if as_json:
            output.as_json({"released": written is not None, "offer": shown.as_dict(), "until": _until(written)})
        elif written is not None:
            output.say(f"Released until {output.local(written.until)}. The next run uses it: `nestaudience run nightly`.")
        raise typer.Exit(shown.exit_code)


def show_offer(shown: "Offer") -> None:
    """What could be released, and what stays closed."""
    plan, counts = shown.plan, shown.plan.counts
    names = ("audience", "held", "noes\n(leave anyway)", "ordinary\nremovals", "additions")
    output.table("What the plan is now", names, [(plan.key, counts.held, counts.noes, shown.ordinary, shown.additions)])
    rows = [(gate.code, "yes", gate.next_step) for gate in shown.gates]
    rows += [(gate.code, "no, it stays closed", gate.next_step) for gate in shown.stay]
    output.table("Closed gates", ("gate", "can be\nreleased", "what it says"), rows)


def _until(written: "Release | None") -> str:
    return "" if written is None else written.until.isoformat()
