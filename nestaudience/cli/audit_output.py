"""How the auditor's answers look in a terminal. It opens nothing and decides nothing: it lays out what `audit` found."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from nestaudience.audit.show import Shown, Step
from nestaudience.audit.transfers import Request, Transfer, read_transfers
from nestaudience.cli import output
from nestaudience.ledger.entries import VERSION, EntryType

_INTENT = (
    ("company", "controller"),
    ("recipient", "recipient_name"),
    ("country of the recipient", "recipient_country"),
    ("transfer mechanism", "transfer_mechanism"),
    ("audience", "audience"),
    ("ad account", "ad_account"),
    ("list", "list_id"),
    ("operation", "operation"),
    ("purpose", "purpose"),
    ("legal basis", "legal_basis"),
    ("consent texts", "consent_texts"),
    ("consent signals", "consent_signals"),
    ("data", "data_category"),
    ("DPIA", "dpia"),
    ("asked for by", "owner"),
    ("approved by", "approved_by"),
    ("approved on", "approved_on"),
    ("planned removals", "planned_removals"),
    ("planned additions", "planned_additions"),
    ("run", "run_id"),
    ("kind of run", "run_kind"),
    ("policy", "policy_version"),
    ("configuration", "config_digest"),
    ("program", "software_version"),
    ("commit", "commit"),
    ("by", "actor"),
)
_RUN = ("run_kind", "policy_version", "config_digest", "software_version", "commit", "actor")
_FUNNEL = ("candidates", "eligible", "wanted", "held", "noes", "ordinary", "additions")


def frame_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows for `--json`: times as ISO 8601 in UTC, null where nothing is known."""
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", date_format="iso"))
    return rows


def show_transfers(frame: pd.DataFrame) -> None:
    """A frame of transfers, one table a run, with sums. Ids are cut where they are still told apart; `--json` has them whole."""
    if frame.empty:
        output.say("No transfer fits.")
        return
    length = _telling_length([str(transfer_id) for transfer_id in frame["transfer_id"]])
    for run_id, of_run in frame.groupby("run_id", sort=False):
        first = of_run.iloc[0]
        rows = [_transfer_row(row, length) for row in of_run.to_dict("records")]
        columns = ["what", "audience", "planned", "accepted", "outcome", "to know", "transfer"]
        output.table(f"{output.local(first['started_at'])} · {first['run_kind']} · run {run_id}", columns, rows)
    recipients = frame[["recipient", "recipient_name"]].drop_duplicates().to_dict("records")
    output.say("Recipients: " + "; ".join(f"{row['recipient']} is {row['recipient_name']}" for row in recipients) + ".")
    sums = frame.groupby("operation")["accepted"].sum()
    said = ", ".join(f"{operation} {int(people)}" for operation, people in sums.items())
    output.say(f"Transfers: {len(frame)}; people in accepted requests: {said}.")


def _transfer_row(row: Mapping[Any, Any], length: int) -> tuple[output.Cell, ...]:
    words = (("refused", "refused"), ("unknown", "without a known effect"), ("late_removals", "late removals"))
    notes = [f"{row[name]} {word}" for name, word in words if row[name]]
    what = (row["operation"], row["audience"], int(row["planned"]), int(row["accepted"]), row["settled"])
    return (*what, ", ".join(notes) or "–", row["transfer_id"][:length])


def _telling_length(ids: list[str]) -> int:
    """How many characters tell these ids apart, and four more for those that are not listed."""
    return next((n + 4 for n in range(8, 33) if len({text[:n] for text in ids}) == len(set(ids))), 36)


def show_shown(shown: Shown) -> None:
    """One thing of the log, end to end."""
    output.say(f"{shown.kind} {shown.id}")
    if shown.kind == "entry":
        _fields("Entry", {**shown.steps[0].context, "type": shown.steps[0].type, **shown.steps[0].fields})
    elif shown.kind == "run":
        _run(shown)
    else:
        for intent in shown.of_type(EntryType.TRANSFER_INTENT):
            known = {**intent.context, **intent.fields}
            _fields("Intent", {label: known[name] for label, name in _INTENT if name in known})
    if shown.kind != "entry":
        _funnels(shown)
        _batches(shown, read_transfers(_as_entry(step) for step in shown.steps))
    _proofs(shown)


def _run(shown: Shown) -> None:
    """What a run says of itself: start, configuration, snapshot, end."""
    facts: dict[str, Any] = {}
    for step in shown.of_type(EntryType.RUN_STARTED):
        facts |= {"begun": output.local(step.at), **step.fields, **{name: step.context[name] for name in _RUN}}
    for step in shown.of_type(EntryType.SNAPSHOT):
        facts |= {f"read: {name}": count for name, count in step.fields.get("counts", {}).items()}
        facts["problems of the store"] = step.fields.get("problems", [])
    ends = shown.of_type(EntryType.RUN_FINISHED)
    for step in ends:
        facts |= {"ended": output.local(step.at), **step.fields}
    if not ends:
        facts["ended"] = "it has no end in the log"
    _fields("Run", facts)


def _funnels(shown: Shown) -> None:
    steps = shown.of_type(EntryType.FUNNEL)
    if steps:
        rows: list[tuple[output.Cell, ...]] = [
            (step.fields["audience"], *(step.fields[name] for name in _FUNNEL), ", ".join(step.fields["gates"]) or "–")
            for step in steps
        ]
        output.table("What was judged", ("audience", *_FUNNEL, "closed gates"), rows)


def _batches(shown: Shown, transfers: Mapping[str, Transfer]) -> None:
    sent = [(transfer, request) for transfer in transfers.values() for request in transfer.requests]
    if not sent:
        return
    leaves = {step.index: step.leaves_hold for step in shown.of_type(EntryType.BATCH)}
    rows: list[tuple[output.Cell, ...]] = [
        (
            request.index,
            str(transfer.intent.get("audience", "")),
            request.operation + (" (late)" if request.late else "") + (" (again)" if request.repeat else ""),
            request.people,
            request.outcome + (f": {request.code}" if request.code else ""),
            request.request_id or "–",
            _platform(request),
            leaves[request.index],
        )
        for transfer, request in sorted(sent, key=lambda pair: pair[1].index)
    ]
    columns = ("entry", "audience", "what", "people", "answer", "platform's id", "platform's later word", "leaves fit")
    output.table("Requests", columns, rows)
    roots = [(request.index, request.batch_id, request.membership_root) for _, request in sent]
    output.table("Their membership roots", ("entry", "batch", "root"), sorted(roots))


def _platform(request: Request) -> str:
    if not request.state:
        return "ran out" if request.lapsed_at else "–"
    words = f"{request.state}: {request.records} records, {request.rejected} rejected"
    return words + (", ran out since" if request.lapsed_at else "")


def _proofs(shown: Shown) -> None:
    rows: list[tuple[output.Cell, ...]] = [
        (
            step.index,
            output.local(step.at),
            step.type,
            str(step.fields.get("audience", "")) or "–",
            None if step.proof is None else step.proof.checkpoint_size,
            "not sealed yet" if step.proof is None else "holds" if step.proof.holds else "DOES NOT HOLD",
        )
        for step in shown.steps
    ]
    output.table("Step by step", ("entry", "time", "type", "audience", "sealed at", "proof"), rows)
    last = next((step.proof for step in reversed(shown.steps) if step.proof is not None), None)
    if last is not None:
        output.say(
            "Sealed at: how many entries the first signed checkpoint over the entry covers. Proof: the entry leads to its root."
        )
        output.say(f"The last of these checkpoints covers {last.checkpoint_size} entries, root {last.checkpoint_root}")
    if not shown.sound:
        output.say("Something here contradicts the signed log: run `nestaudience audit verify`.")


def _fields(title: str, fields: Mapping[str, Any]) -> None:
    output.table(title, ("what", "says"), [(name, _plain(value)) for name, value in fields.items()])


def _plain(value: object) -> output.Cell:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "–"
    return str(value)


def _as_entry(step: Step) -> dict[str, Any]:
    """A step in the form of a decoded entry."""
    return {**step.context, "version": VERSION, "index": step.index, "at": step.at, "type": step.type, "fields": step.fields}
