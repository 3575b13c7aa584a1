"""What is left of replacements that began earlier: the sweep, when everything that was sent came out clean; an end without one, when it did not.

Part of the end of every run that may send. It judges nobody: whom a sweep takes off was decided when its list was sent whole.
"""

from nestaudience.delivery.deliver import Tools
from nestaudience.delivery.lists import confirm_list
from nestaudience.delivery.sweeps import TOLD_BY, Sweep, give_up, not_known, open_sweeps, sweep_off
from nestaudience.destinations.port import NoReceipt, Refused
from nestaudience.errors import NeedsFix, NestAudienceError
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.lease import leased
from nestaudience.ledger.memory import RemoteList
from nestaudience.parts import Parts
from nestaudience.vocabulary import RunId

_SWEEPS = frozenset({EntryType.SWEEP})


def sweep_what_is_due(parts: Parts, run_id: RunId, tools: Tools) -> list[NestAudienceError]:
    """Go on with every open replacement; what went wrong with some. What waits for a result waits on. Raises what the ledger raises."""
    errors: list[NestAudienceError] = []
    if not open_sweeps(parts.evidence.reader.entries(types=_SWEEPS)):
        return errors
    remotes = {remote.list_id: remote for remote in parts.memory.lists()}
    for sweep in open_sweeps(parts.evidence.reader.entries(types=TOLD_BY)):
        failure: NestAudienceError | None = None
        try:
            with leased(parts.evidence.engine, f"list:{sweep.audience}", run_id, parts.clock):
                _go_on(sweep, remotes[sweep.list_id], parts, run_id, tools)
        except NestAudienceError as error:
            failure = error.with_traceback(None)
        if failure is not None:
            errors.append(failure)
            if failure.code.startswith("ledger_"):
                raise failure
    return errors


def _go_on(sweep: Sweep, remote: RemoteList, parts: Parts, run_id: RunId, tools: Tools) -> None:
    """One step. Raises the error of a replacement that ends without its sweep, or whose sweep has no good answer."""
    audience = parts.settings.audiences.get(remote.audience)
    if sweep.state == "asked":
        not_known(sweep, remote, tools)
        raise _ended(
            sweep, "its run was cut off while it swept; look at the list, and run a replacement again if it is not right"
        )
    code = sweep.ends_by(tools.clock()) or ("cut_off" if sweep.state == "ordered" else "")
    if audience is None or remote.state != "open":
        code = code or "list_ended"
    if code or audience is None:
        give_up(sweep, remote, code, tools)
        raise _ended(sweep, f"nobody was swept ({code}): everybody was sent once more; run a replacement again")
    if not sweep.clean:
        return
    name = audience.table.destination
    if name in parts.absent:
        raise parts.absent[name]
    destination = parts.destinations[name]
    confirm_list(audience, remote, destination, tools)
    receipt = sweep_off(sweep, remote, destination, tools)
    if isinstance(receipt, Refused | NoReceipt):
        raise destination.error_of(receipt.code, remote.audience)


def _ended(sweep: Sweep, what: str) -> NeedsFix:
    return NeedsFix("replace_ended", sweep.audience, what)
