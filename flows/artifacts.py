"""What a run leaves in Prefect for people to look at: tables of keys and counts, and where the log tells the rest.

They are a convenience. A failure to leave them is told in the log and fails nothing. Nothing reads them back.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

import flows  # noqa: F401  (sets Prefect's settings before Prefect is imported)
from flows.fence import Stopped, fenced
from nestaudience.delta.plan import AudiencePlan
from nestaudience.preview import Preview
from nestaudience.sync import Outcome
from nestaudience.vocabulary import Reason

_LOGGER = logging.getLogger("nestaudience.flows")

Row = dict[str, str | int]


def leave_run(kind: str, plans: Iterable[AudiencePlan], outcome: Outcome) -> None:
    """The funnel, what was sent, and the command that shows the run: `<kind>-funnel`, `<kind>-sent`, `<kind>-run`."""
    about = f"Run {outcome.run_id}, night of {outcome.night}."
    _leave(create_table_artifact, key=f"{kind}-funnel", table=funnel_rows(plans), description=f"{about} Refused by first reason.")
    _leave(create_table_artifact, key=f"{kind}-sent", table=sent_rows(outcome), description=f"{about} People, by list.")
    shown = f"`nestaudience audit show {outcome.run_id}` shows what this run sent, to whom, and under which checkpoint."
    _leave(create_markdown_artifact, key=f"{kind}-run", markdown=shown, description=about)


def leave_preview(kind: str, preview: Preview) -> None:
    """What a run would do: `<kind>-preview`."""
    _leave(create_table_artifact, key=f"{kind}-preview", table=preview_rows(preview), description=in_words(preview))


def funnel_rows(plans: Iterable[AudiencePlan]) -> list[Row]:
    """One row an audience: candidates, eligible, and the refused by their first reason."""
    plans = tuple(plans)
    reasons = [reason.value for reason in Reason if any(plan.funnel.refused.get(reason.value) for plan in plans)]
    rows: list[Row] = []
    for plan in plans:
        row: Row = {"audience": str(plan.key), "candidates": plan.funnel.candidates, "eligible": plan.funnel.eligible}
        row.update({reason: plan.funnel.refused.get(reason, 0) for reason in reasons})
        rows.append(row)
    return rows


def sent_rows(outcome: Outcome) -> list[Row]:
    """One row a list: people removed and added, refused by the platform, without a receipt, and the closed gates."""
    return [
        {
            "audience": str(key),
            "removed": sent.removed,
            "added": sent.added,
            "refused": sum(sent.refused.values()),
            "no receipt": sum(sent.unknown.values()),
            "closed gates": ", ".join(gate.code for gate in outcome.gates.get(key, ())),
        }
        for key, sent in outcome.sent.items()
    ]


def preview_rows(preview: Preview) -> list[Row]:
    """One row a list: people to remove and add, requests, minutes, the closed gates and whom they hold back."""
    return [
        {
            "audience": str(each.audience),
            "to remove": each.removals,
            "to add": each.additions,
            "requests": each.requests,
            "minutes": f"{each.minutes:.1f}",
            "closed gates": ", ".join(each.gates),
            "held back": each.held_back,
        }
        for each in preview.lists
    ]


def in_words(preview: Preview) -> str:
    """A preview in one sentence."""
    removals, additions = sum(each.removals for each in preview.lists), sum(each.additions for each in preview.lists)
    gates = sorted({gate for each in preview.lists for gate in each.gates})
    held = f"; closed gates: {', '.join(gates)}" if gates else ""
    return (
        f"would remove {removals} and add {additions} in {preview.requests} requests, about {preview.minutes:.0f} minutes{held}"
    )


def _leave(create: Callable[..., Any], **values: Any) -> None:
    kept = False
    with suppress(Stopped):  # said below
        fenced(create)(**values)
        kept = True
    if not kept:
        _LOGGER.warning("an artifact was not kept; the run is not touched by that")
