"""Deleting a list because its platform will not take off it whoever said no: ordered in the log, asked for, and written down as an incident.

The order stands before the request, so that a run that was cut off between the two is understood by the next: a list that is gone after such an order
was deleted by us. It decides nothing: that the deletion is due is known already.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy.engine import Connection

from nestaudience.delivery.clocks import RemovalTimes
from nestaudience.delivery.refused import DELETING, TOLD_BY, read_refusals
from nestaudience.delivery.requests import Line, Tools
from nestaudience.errors import MustStop, NeedsFix, NestAudienceError
from nestaudience.ledger.entries import EntryType, Value, utc_text
from nestaudience.ledger.log import NewEntry
from nestaudience.ledger.memory import RemoteList

DELETED: Final = "list_deleted_for_withdrawal"
"""Code of the incident of a list that was deleted so."""
NOT_DELETED: Final = "list_not_deleted"
"""Code of the incident of a deletion that the platform refused; `reason` has its code."""
_CAUSE: Final = "withdrawal_refused"


def delete_refusing(line: Line, noes: int, since: datetime, tools: Tools) -> None:
    """Delete the list of a line, on which so many people are who said no; `since`: the first refusal (UTC).

    Raises what the destination raises; a refusal, lookalike audiences among the reasons, is an incident before that. The next run tries again.
    """
    remote = line.remote
    order: dict[str, Value] = {
        "audience": remote.audience,
        "list_id": remote.list_id,
        "ad_account": remote.ad_account,
        "state": DELETING,
        "cause": _CAUSE,
        "count": noes,
        "refused_since": utc_text(since),
        "visible_since": "" if line.watermark is None else utc_text(line.watermark),
    }
    context = tools.context(remote.controller)
    tools.log.append_and_seal([(EntryType.BINDING_CHANGED, context, order)])
    failure: NestAudienceError | None = None
    try:
        line.destination.delete_list(line.target)
    except NestAudienceError as error:
        failure = error.with_traceback(None)
    if failure is None:
        finish_deletion(remote, order, tools)
        return
    if isinstance(failure, NeedsFix | MustStop):
        incident: dict[str, Value] = {"code": NOT_DELETED, "audience": remote.audience, "list_id": remote.list_id}
        tools.log.append_and_seal([(EntryType.INCIDENT, context, incident | {"reason": failure.code, "count": noes})])
    raise failure


def deletion_ordered(remote: RemoteList, tools: Tools) -> Mapping[str, Any] | None:
    """The order to delete this list, if there is one that nothing has overtaken: nobody's removal was carried out since."""
    refusals = read_refusals(tools.log.entries(types=TOLD_BY)).get(remote.list_id)
    return None if refusals is None else refusals.ordered


def finish_deletion(remote: RemoteList, order: Mapping[str, Any], tools: Tools) -> None:
    """Write down that the list is gone by this order: an incident, the clocks of whoever said no, and nobody is on it any more.

    The audience begins a new list, with a first fill and its probe, unless its list was being emptied for good.
    """
    now, noes = tools.clock(), int(order["count"])
    hours = int((now - datetime.fromisoformat(str(order["refused_since"]))).total_seconds() // 3600)
    known = next(each for each in tools.memory.lists() if each.list_no == remote.list_no)
    for_good = known.state == "retiring"
    place: dict[str, Value] = {"audience": remote.audience, "list_id": remote.list_id, "ad_account": remote.ad_account}
    incident: dict[str, Value] = {"code": DELETED, **place, "count": noes, "hours": hours}
    context = tools.context(remote.controller)
    entries: list[NewEntry] = [
        (EntryType.LIST_DELETED, context, place | {"code": remote.code, "cause": _CAUSE}),
        (EntryType.INCIDENT, context, incident),
    ]
    if not for_good:
        entries.insert(1, (EntryType.BINDING_CHANGED, context, place | {"state": "begins_anew"}))
    times = _times(remote, order, noes, now)
    if times:
        entries.append((EntryType.REMOVAL_TIMES, context, times))

    def also(connection: Connection, _indices: tuple[int, ...]) -> None:
        if for_good:
            tools.memory.set_list_state(connection, remote.list_no, "closed")
            tools.memory.lapse_list(connection, remote.list_no)
        else:
            tools.memory.unbind(connection, remote.list_no)

    tools.log.append_and_seal(entries, also)


def _times(remote: RemoteList, order: Mapping[str, Any], noes: int, now: datetime) -> dict[str, Value]:
    """The clocks of the noes that went with the list: a deletion is done when it is accepted."""
    times = RemovalTimes()
    seen = str(order["visible_since"])
    times.add("visible_to_accepted", datetime.fromisoformat(seen) if seen else None, now, noes)
    times.add("accepted_to_done", now, now, noes)
    return times.fields(remote.audience, remote.recipient)
