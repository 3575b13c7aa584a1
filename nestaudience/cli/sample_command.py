"""`nestaudience audit sample`: people drawn from the lists, each traced back. With the keys; no address, account, digest or token is shown."""

from typing import TYPE_CHECKING, Annotated

import typer

from nestaudience.cli import output
from nestaudience.cli.explain_command import Case
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, clock, guarded
from nestaudience.errors import MustStop

if TYPE_CHECKING:
    from nestaudience.sampling import Sampled


def sample(
    n: Annotated[int, typer.Option("--n", help="How many people, at most 1000; each takes some seconds in a large log.")] = 25,
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same people while the lists are the same.")] = 1,
    case: Case = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Draw people from the lists, and show for each her consent, its text, her transfers, and what does not fit (then the code is 5)."""
    with guarded(as_json):
        from nestaudience.sampling import PENDING, WHAT
        from nestaudience.sampling import sample as draw
        from nestaudience.wiring import open_parts

        with open_parts(config, clock=clock) as parts:
            found = draw(parts, n, seed, case)
        wrong = sorted({code for one in found for code, _ in one.findings})
        if as_json:
            people = [_document(number, one) for number, one in enumerate(found, 1)]
            output.as_json({"case": case, "seed": seed, "consistent": not wrong, "people": people})
        else:
            for number, one in enumerate(found, 1):
                _show(number, one)
            output.say(f"{len(found)} people, {sum(not one.findings for one in found)} of them consistent.")
            for code in wrong:
                output.say(f"{code}: {WHAT[code]}.")
            if any(one.pending for one in found):
                output.say(f"pending: {PENDING}.")
        raise typer.Exit(MustStop.exit_code if wrong else 0)


def _document(number: int, one: "Sampled") -> dict[str, object]:
    names = ("transfer", "at", "audience", "operation")
    grants = [
        {"at": e.occurred_at or e.recorded_at, "source": e.source, "text": e.text_version, "recipients": list(e.recipients)}
        for e in one.grants
    ]
    return {
        "person": number,
        "accounts": one.accounts,
        "lists": list(one.lists),
        "grants": grants,
        "transfers": [dict(zip(names, each, strict=True)) for each in one.transfers],
        "findings": [{"code": code, "audience": audience} for code, audience in one.findings],
        "pending": list(one.pending),
    }


def _show(number: int, one: "Sampled") -> None:
    words = ", ".join(f"{code} {audience}".strip() for code, audience in one.findings) or "consistent"
    words += "".join(f", pending {audience}" for audience in one.pending)
    output.say(f"Person {number}: accounts {one.accounts}; on {', '.join(one.lists) or 'no list'}; {words}.")
    for e in one.grants:
        output.say(f"  consent {output.local(e.occurred_at or e.recorded_at or '')}, {e.source}, text {e.text_version}")
    for transfer, at, audience, operation in one.transfers:
        output.say(f"  {operation} {output.local(at)}, {audience}, transfer {transfer}")
