"""Replacing what a list holds: everybody who should be there is sent, every request of that comes out clean, and then whoever is older is swept off.

It runs across runs, and its memory is the log: `ordered` before the first request, with the moment before which the sweep will take off; `sent_all`
when everybody was sent; `asked` before the sweep's own request; then what became of it. Whatever is not clean ends it (`given_up`), and so does
a run that was cut off. The request itself is sent once: one whose receipt was lost is never repeated, for a list cannot be swept back.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.engine import Connection

from nestaudience.delivery.deliver import Delivery
from nestaudience.delivery.guard import inspect_sweep
from nestaudience.delivery.requests import Sent, Tools, wait_for_turn
from nestaudience.delta.plan import AudiencePlan
from nestaudience.destinations.port import Accepted, Account, Destination, NoReceipt, Receipt, Refused, Sweeping, Target
from nestaudience.errors import MustStop, NeedsFix, TryAgain
from nestaudience.ledger.entries import EntryType, Value, utc_text, uuid7
from nestaudience.ledger.memory import SILENCE, SWEPT, RemoteList, sent_through
from nestaudience.vocabulary import Operation

SKEW: Final = timedelta(minutes=5)
"""The moment of a sweep lies so long before its first request: the platform's clock may be behind ours, and nobody who was just sent may go."""
TOLD_BY: Final = frozenset({EntryType.SWEEP, EntryType.BATCH, EntryType.BATCH_RESULT, EntryType.PLATFORM_STATUS})
"""The entries that tell of sweeps."""
_OPEN: Final = frozenset({"ordered", "sent_all", "asked"})


@dataclass(slots=True)
class _Request:
    """One request that a replacement waits for."""

    people: int
    outcome: str = ""
    state: str = ""
    clean: bool = False


@dataclass(slots=True)
class Sweep:
    """One replacement as the log tells it. `as_of` and `ordered_at` are UTC text; `state` as in the module's words."""

    sweep_id: str
    audience: str
    list_id: str
    as_of: str
    run_id: str
    ordered_at: str
    state: str = "ordered"
    requests: dict[str, _Request] = field(default_factory=dict)

    def ends_by(self, now: datetime) -> str:
        """The code by which it must be given up; empty while it need not."""
        requests = self.requests.values()
        if any(each.outcome in {"refused", "unknown"} or (each.state and not each.clean) for each in requests):
            return "not_clean"
        if not self.clean and datetime.fromisoformat(self.ordered_at) <= now - SILENCE:
            return "no_result"
        return ""

    @property
    def clean(self) -> bool:
        """True when every request was applied in full, without a word of warning."""
        return bool(self.requests) and all(each.clean for each in self.requests.values())


def open_sweeps(entries: Iterable[Mapping[str, Any]]) -> list[Sweep]:
    """The replacements that are not over, from decoded entries of `TOLD_BY` in order of index."""
    sweeps: dict[str, Sweep] = {}
    sending: dict[tuple[str, str], Sweep] = {}
    requests: dict[str, _Request] = {}
    for entry in entries:
        kind, fields = entry["type"], entry["fields"]
        if kind == EntryType.SWEEP:
            _told(entry, fields, sweeps, sending)
        elif kind == EntryType.BATCH:
            sweep = sending.get((entry["run_id"], fields["list_id"]))
            if sweep is not None and fields["operation"] == Operation.ADD:
                requests[fields["batch_id"]] = sweep.requests[fields["batch_id"]] = _Request(fields["count"])
        elif (request := requests.get(fields["batch_id"])) is None:
            continue
        elif kind == EntryType.BATCH_RESULT:
            request.outcome = fields["outcome"]
        else:
            request.state = fields["state"]
            request.clean = (fields["state"], fields["records"], fields["codes"]) == ("succeeded", request.people, {})
    return [sweep for sweep in sweeps.values() if sweep.state in _OPEN]


def _told(entry: Mapping[str, Any], fields: Mapping[str, Any], sweeps: dict[str, Sweep], sending: dict[Any, Sweep]) -> None:
    sweep = sweeps.get(fields["sweep_id"])
    if sweep is None:
        sweep = Sweep(fields["sweep_id"], fields["audience"], fields["list_id"], fields["as_of"], entry["run_id"], entry["at"])
        sweeps[sweep.sweep_id] = sweep
    sweep.state = fields["state"]
    place = sweep.run_id, sweep.list_id
    if sweep.state == "ordered":
        sending[place] = sweep
    else:
        sending.pop(place, None)


def why_not(plan: AudiencePlan, remote: RemoteList | None, *, owed: bool) -> str:
    """Why a list cannot be replaced in this run, in words; empty when it can. Removals are sent all the same."""
    if remote is None or plan.probe is not None:
        return "its first fill is not over: run it as a night"
    if plan.gates or owed:
        return f"{', '.join(gate.code for gate in plan.gates) or 'a removal that could not be sent'} holds a part of it"
    if not plan.counts.wanted:
        return "nobody would stay; retire the list instead"
    if plan.counts.additions != plan.counts.wanted:
        return "earlier requests still wait for their result; run again when they have it, after 48 hours at the latest"
    return ""


def refused(audience: str, why: str) -> TryAgain:
    """The error of a list that cannot be replaced now."""
    return TryAgain("replace_not_now", audience, f"nobody was sent or swept: {why}")


def replacing(work: Callable[[Delivery], None], remote: RemoteList, tools: Tools) -> Callable[[Delivery], None]:
    """The same work as the first half of a replacement: its moment is written down before, and after it whether everybody was sent."""

    def deliver(delivery: Delivery) -> None:
        sweep_id = uuid7(tools.clock(), tools.randomness(10)).replace("-", "")
        as_of = utc_text(tools.clock() - SKEW)
        said = _fields(sweep_id, remote, as_of)
        _write(remote, said | {"state": "ordered"}, tools)
        work(delivery)
        troubled = _troubled(delivery.sent)
        _write(remote, said | ({"state": "given_up", "code": "not_clean"} if troubled else {"state": "sent_all"}), tools)

    return deliver


def _troubled(sent: Sent) -> bool:
    return bool(sent.refused or sent.unknown or sent.set_aside)


def give_up(sweep: Sweep, remote: RemoteList, code: str, tools: Tools) -> None:
    """Write down that a replacement ends without its sweep; everybody who should be on the list was sent, and nobody was taken off."""
    _write(remote, _fields(sweep.sweep_id, remote, sweep.as_of) | {"state": "given_up", "code": code}, tools)


def not_known(sweep: Sweep, remote: RemoteList, tools: Tools) -> None:
    """Write down that nobody knows whether a sweep was sent: its run was cut off between the entry and the answer. It is not sent again."""
    _write(remote, _fields(sweep.sweep_id, remote, sweep.as_of) | {"state": "unknown", "code": "cut_off"}, tools)


def sweep_off(sweep: Sweep, remote: RemoteList, destination: Destination, tools: Tools) -> Receipt:
    """Send the sweep, once. Whoever may be on the list since before its moment, and was not sent after it, is being removed by it.

    Raises what the destination raises while it prepares; nothing is written then.
    """
    if not isinstance(destination, Sweeping):
        raise NeedsFix("replace_unknown", destination.name, "this destination cannot take off what is older than a moment")
    target = Target(Account(remote.ad_account, remote.login_account), remote.list_id)
    prepared = destination.prepare_sweep(target, datetime.fromisoformat(sweep.as_of))
    inspect_sweep(prepared.contents(), target)
    wait_for_turn(destination, target, Operation.REMOVE, tools)
    values = _batch_values(sweep, remote, tools)
    number: list[int] = []

    def also(connection: Connection, _indices: tuple[int, ...]) -> None:
        number.append(tools.memory.prepare_batch(connection, values))
        tools.memory.mark_older(connection, remote.list_no, number[0], sweep.as_of)

    said = _fields(sweep.sweep_id, remote, sweep.as_of)
    tools.log.append_and_seal([(EntryType.SWEEP, tools.context(remote.controller), said | {"state": "asked"})], also)
    receipt = destination.send(prepared)
    answer, changes = _answer(receipt, destination.name, utc_text(tools.clock()))
    tools.log.append_and_seal(
        [(EntryType.SWEEP, tools.context(remote.controller), said | answer)],
        lambda connection, _: tools.memory.set_batch(connection, number[0], changes),
    )
    return receipt


def _answer(receipt: Receipt, name: str, at: str) -> tuple[dict[str, Value], dict[str, object]]:
    match receipt:
        case Accepted(request_id):
            return {"state": "accepted", "request_id": request_id}, {
                "state": "accepted",
                "request_id": sent_through(name, request_id),
            }
        case Refused(code):
            return {"state": "refused", "code": code}, {"state": "refused", "settled_at": at}
        case NoReceipt(code):
            return {"state": "unknown", "code": code}, {"state": "unknown"}
    raise MustStop("receipt_unknown", "a sweep", "report a defect: a receipt of no known kind")


def _batch_values(sweep: Sweep, remote: RemoteList, tools: Tools) -> dict[str, object]:
    keys = tools.keys
    return {
        "batch_id": bytes.fromhex(sweep.sweep_id),
        "transfer_id": sweep.sweep_id,
        "list_no": remote.list_no,
        "operation": Operation.REMOVE.value,
        "people": 0,
        "state": "prepared",
        "sent_at": utc_text(tools.clock()),
        "settled_at": "",
        "request_id": "",
        "rejected": 0,
        "attempt": SWEPT,
        "index_key": keys.index.key_id,
        "seal_key": keys.seal.key_id,
        "master_key": keys.master.key_id,
    }


def _fields(sweep_id: str, remote: RemoteList, as_of: str) -> dict[str, Value]:
    return {
        "sweep_id": sweep_id,
        "audience": remote.audience,
        "list_id": remote.list_id,
        "ad_account": remote.ad_account,
        "as_of": as_of,
    }


def _write(remote: RemoteList, fields: dict[str, Value], tools: Tools) -> None:
    tools.log.append_and_seal([(EntryType.SWEEP, tools.context(remote.controller), fields)])
