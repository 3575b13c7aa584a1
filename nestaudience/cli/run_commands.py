"""Commands of the operator: check, plan, run nightly, keys init. Each parses, calls one function, and shows what it returns."""

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestaudience.cli import output
from nestaudience.cli.options import DEFAULT_CONFIG, Config, Json, clock, guarded
from nestaudience.cli.plan_output import compare, show_against, show_why
from nestaudience.errors import MustStop

if TYPE_CHECKING:
    from flows.steps import Session
    from nestaudience.delta.gates import Gate
    from nestaudience.delta.plan import AudiencePlan
    from nestaudience.judging import Judged
    from nestaudience.sync import Outcome

run_app = typer.Typer(no_args_is_help=True, help="Run a flow now.")
keys_app = typer.Typer(no_args_is_help=True, help="The keys of this installation.")


def check(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Check configuration, store, ledger, keys, credentials and due dates: all problems at once."""
    with guarded(as_json):
        from nestaudience.checks import check_everything

        findings = check_everything(config, clock=clock)
        problems = [finding for finding in findings if not finding.warning]
        if as_json:
            output.as_json({"ok": not problems, "findings": [finding.as_dict() for finding in findings]})
        elif findings:
            rows = [("warning" if f.warning else "problem", f.where, f.what, f.next_step) for f in findings]
            output.table("Check", ("kind", "where", "what", "what to do"), rows)
        else:
            output.say("Nothing to mend.")
        raise typer.Exit(max((finding.exit_code for finding in problems), default=0))


def plan(
    config: Config = DEFAULT_CONFIG,
    against: Annotated[
        bool, typer.Option("--against-last-night", help="Compare with the last completed night: for the review of a change.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what a run would do now: who would leave and join each list, who is refused and why, which gates are closed.

    In words: why a list gets nobody. With --against-last-night: what is different from the last completed night, by cause.
    """
    with guarded(as_json):
        from nestaudience.judging import judge
        from nestaudience.wiring import open_parts

        with (
            open_parts(config, clock=clock) as parts,
            output.progress(watched=not as_json) as watch,
            judge(parts, clock(), watch) as judged,
        ):
            found = compare(parts, judged) if against else None
            if as_json:
                compared = {"against": None if found is None else found.as_dict()} if against else {}
                output.as_json(plan_document(judged, parts.settings.problems) | compared)
            else:
                show_plan(judged)
                if against:
                    show_against(found)
                show_problems([(problem.path, problem.message, problem.remedy) for problem in parts.settings.problems])
            codes = [gate.exit_code for each in judged.plans for gate in each.gates]
            codes += [error.exit_code for error in (*judged.unreachable, *parts.absent.values())]
            code = max([2 if parts.settings.problems else 0, *codes])
        raise typer.Exit(code)


def plan_document(judged: "Judged", problems: object) -> dict[str, object]:
    """A plan as JSON: keys and counts."""
    from nestaudience.why import why

    return {
        "audiences": [
            {**each.as_dict(), "leave_because": judged.delta.reasons(each.key), "why": [said.as_dict() for said in why(each)]}
            for each in judged.plans
        ],
        "freshness": "unknown" if judged.freshness_unknown else "",
        "store_problems": [{"code": p.code, "where": p.where} for p in judged.problems],
        "config_problems": [problem.as_dict() for problem in problems],  # type: ignore[attr-defined]
        "errors": [error.as_dict() for error in judged.unreachable],
    }


def show_plan(judged: "Judged") -> None:
    """A plan for people: one line a list, then the funnels and the closed gates."""
    show_deltas(judged.plans)
    show_funnels(judged.plans)
    show_leaving(judged)
    gates = [(each.key, gate.code, _held_back(gate), gate.next_step) for each in judged.plans for gate in each.gates]
    if gates:
        output.table("Closed gates", ("audience", "gate", "holds", "what opens it"), gates)
    show_why(judged)
    output.freshness(judged.freshness_unknown)
    show_problems([(problem.where, problem.code, problem.next_step) for problem in judged.problems])


def show_deltas(plans: "tuple[AudiencePlan, ...]") -> None:
    """What would leave and join each list."""
    rows = [
        (p.key, p.counts.held, p.counts.noes, p.counts.ordinary, p.counts.additions, p.removals_to_send, p.additions_to_send)
        for p in plans
    ]
    names = ("audience", "held", "noes", "ordinary\nremovals", "additions", "would be\nremoved", "would be\nadded")
    output.table("Lists", names, rows)


def show_funnels(plans: "tuple[AudiencePlan, ...]") -> None:
    """Per audience: candidates, refused by primary reason, eligible; five audiences side by side."""
    for some in _fives(plans):
        reasons = _in_order({reason for p in some for reason in p.funnel.refused})
        rows: list[list[output.Cell]] = [["candidates", *[p.funnel.candidates for p in some]]]
        rows += [[reason, *[p.funnel.refused.get(reason, 0) for p in some]] for reason in reasons]
        rows += [["eligible", *[p.funnel.eligible for p in some]]]
        output.table("Candidates, refused by their first reason, eligible", ("", *[_heading(p) for p in some]), rows)


def show_leaving(judged: "Judged") -> None:
    """Why people would leave, by audience; somebody may have several reasons."""
    for some in _fives(judged.plans):
        because = {p.key: judged.delta.reasons(p.key) for p in some}
        codes = sorted({code for counts in because.values() for code in counts})
        if codes:
            rows: list[list[output.Cell]] = [[code, *[because[p.key].get(code, 0) for p in some]] for code in codes]
            output.table("Why people leave (somebody may have several reasons)", ("", *[_heading(p) for p in some]), rows)


def _heading(plan: "AudiencePlan") -> str:
    """An audience's key over several lines: five of them side by side would leave the reasons no room."""
    return plan.key.replace("/", "\n").replace("_", "\n")


def _fives(plans: "tuple[AudiencePlan, ...]") -> "list[tuple[AudiencePlan, ...]]":
    return [plans[first : first + 5] for first in range(0, len(plans), 5)]


def _in_order(reasons: set[str]) -> list[str]:
    from nestaudience.vocabulary import Reason

    return [reason.value for reason in Reason if reason.value in reasons]


def _held_back(gate: "Gate") -> str:
    words = (("additions", gate.additions), ("ordinary removals", gate.ordinary), ("the vanished", gate.vanished))
    return " and ".join(word for word, yes in words if yes)


def show_problems(problems: list[tuple[str, str, str]]) -> None:
    """What a person must mend."""
    if problems:
        output.table("To mend", ("where", "what", "what to do"), problems)


@run_app.command()
def nightly(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Bring every list into line now, through Prefect: removals first, then additions."""
    with guarded(as_json):
        with output.progress(watched=not as_json) as watch:
            outcome = run_nightly(config, watch)
        if as_json:
            output.as_json(outcome_document(outcome))
        else:
            show_outcome(outcome)
        raise typer.Exit(outcome.exit_code)


def run_nightly(config: Path, watch: output.Watcher, clock: Callable[[], datetime] = clock) -> "Outcome":
    """One night through Prefect, in this process. Raises the error that stopped it, and `MustStop`: `prefect_failed` when Prefect itself did."""
    begin_flow()
    from flows.nightly import nightly as flow
    from flows.steps import session

    with session(config.absolute(), clock=clock, actor="cli", note=watch) as (key, held):
        flow(config=str(config), session_key=key, return_state=True)
        return outcome_of(held)


def begin_flow() -> None:
    """Before Prefect is imported: a command shows its own result, and of Prefect's log the warnings."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")


def outcome_of(held: "Session") -> "Outcome":
    """What a flow did in a session. Raises as `run_nightly` does."""
    if held.stopped is not None:
        raise held.stopped.as_error()
    if held.outcome is None:
        raise MustStop("prefect_failed", "the flow", "look at Prefect's own log; `nestaudience status` says what was sent")
    return held.outcome


def outcome_document(outcome: "Outcome") -> dict[str, object]:
    """A run's outcome as JSON: keys and counts."""
    return {
        "run": outcome.run_id,
        "night": outcome.night,
        "exit_codes": list(outcome.exit_codes),
        "settled": outcome.settled,
        "checkpoint": outcome.checkpoint,
        "waiting": outcome.waiting,
        "closed": list(outcome.closed),
        "begun_anew": list(outcome.begun_anew),
        "lists": {key: _sent(sent) for key, sent in outcome.sent.items()},
        "gates": {key: [gate.code for gate in gates] for key, gates in outcome.gates.items() if gates},
        "errors": [error.as_dict() for error in outcome.errors],
        "freshness": "unknown" if outcome.freshness_unknown else "",
    }


def _sent(sent: object) -> Mapping[str, object]:
    names = ("removed", "added", "batches", "refused", "unknown", "kept_back", "late")
    return {name: getattr(sent, name) for name in names}


def show_outcome(outcome: "Outcome") -> None:
    """A run's outcome for people."""
    rows: list[tuple[output.Cell, ...]] = []
    for key, sent in outcome.sent.items():
        held = ", ".join(gate.code for gate in outcome.gates.get(key, ()))
        refused, unknown = sum(sent.refused.values()), sum(sent.unknown.values())
        rows.append((key, sent.removed, sent.added, refused, unknown, sent.kept_back, sent.late, held))
    names = ("audience", "removed", "added", "refused", "no\nreceipt", "kept\nback", "late", "closed\ngates")
    output.table(f"Night of {outcome.night} · run {outcome.run_id}", names, rows)
    if outcome.closed:
        output.say(f"Lists that were empty and are deleted now: {', '.join(outcome.closed)}.")
    if outcome.begun_anew:
        output.say(f"Lists that are deleted now, for the next night to begin others: {', '.join(outcome.begun_anew)}.")
    if any(sent.kept_back or sent.late for sent in outcome.sent.values()):
        output.say(
            "Kept back: no longer eligible at the last look before sending. Late: removed because they said no during the run."
        )
    if outcome.checkpoint:
        output.say(f"Checkpoint of the log (keep a copy elsewhere):\n{outcome.checkpoint.rstrip()}")
    output.freshness(outcome.freshness_unknown)
    output.say(f"Results of earlier requests: {outcome.settled} came in, {outcome.waiting} are awaited.")
    output.failed(outcome.errors, as_json_document=False)


@keys_app.command("init")
def keys_init(
    path: Annotated[Path, typer.Argument(help="The new key file; its folder is closed to others.")] = Path("keys/keys.json"),
) -> None:
    """Make the keys of a new installation in a private file. Nothing is overwritten."""
    with guarded(False):
        from nestaudience.ledger.keys import create_keys

        ring = create_keys(path, os.urandom)
        output.table("Keys", ("use", "key id"), list(ring.key_ids().items()))
        output.say(f"Written to {path}. Keep a copy where no copy of the ledger is; without them no membership can be opened.")
