"""What is left of a recovery: lists of which a restored ledger does not know who is on them are deleted, so that they begin anew.

Part of every run, before anything else. It judges nobody; a list that cannot be deleted stays marked, and nobody joins it.
"""

from nestaudience.delivery.deliver import Tools
from nestaudience.delivery.lists import begin_anew, report_strangers
from nestaudience.destinations.port import Account, Destination
from nestaudience.errors import NeedsFix, NestAudienceError, TryAgain
from nestaudience.ledger.lease import leased
from nestaudience.ledger.memory import RECOVERING, RemoteList
from nestaudience.parts import Parts
from nestaudience.vocabulary import AudienceKey, RunId


def lists_anew(parts: Parts, run_id: RunId, tools: Tools) -> tuple[list[AudienceKey], list[NestAudienceError]]:
    """The audiences whose lists were deleted now, and what went wrong with others. A platform that is down is asked once.

    Raises what the ledger raises.
    """
    begun: list[AudienceKey] = []
    errors: list[NestAudienceError] = []
    down: set[str] = set()
    for remote in parts.memory.lists():
        if remote.state != RECOVERING or _transport_of(parts, remote) in down:
            continue
        failure: NestAudienceError | None = None
        try:
            with leased(parts.evidence.engine, f"list:{remote.audience}", run_id, parts.clock):
                begin_anew(remote, parts.settings.audiences.get(remote.audience), _way_to(parts, remote), tools)
        except NestAudienceError as error:
            failure = error.with_traceback(None)
        if failure is None:
            begun.append(remote.audience)
            continue
        if failure.code.startswith("ledger_"):
            raise failure
        errors.append(failure)
        if isinstance(failure, TryAgain) and failure.code != "leased":
            down.add(_transport_of(parts, remote))
    if begun:
        errors += _strangers(parts, tools)
    return begun, errors


def _strangers(parts: Parts, tools: Tools) -> list[NestAudienceError]:
    """Lists on our accounts that neither the restored ledger nor the configuration knows: a person must look at them."""
    errors: list[NestAudienceError] = []
    for bound in parts.settings.ad_accounts:
        destination = parts.destinations.get(bound.destination)
        try:
            if destination is not None:
                report_strangers(Account(bound.account_id, bound.login_account_id), destination, tools)
        except NestAudienceError as error:
            errors.append(error.with_traceback(None))
    return errors


def _transport_of(parts: Parts, remote: RemoteList) -> str:
    """The name of the transport that reaches a list today: it may have moved since it was made."""
    audience = parts.settings.audiences.get(remote.audience)
    return remote.destination if audience is None else audience.table.destination


def _way_to(parts: Parts, remote: RemoteList) -> Destination:
    name = _transport_of(parts, remote)
    if name in parts.absent:
        raise parts.absent[name]
    if name not in parts.destinations:
        raise NeedsFix(
            "destination_absent", name, "put the destination back into the configuration; a list there must be deleted"
        )
    return parts.destinations[name]
