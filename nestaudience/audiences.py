"""What the neutral words mean: each audience with its plain name, its owner, its company and recipient, and the list that stands for it.

From a status, the configuration and the ledger's lists. `ask` reads the lists at the platforms, and that is all it does there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from nestaudience.config.settings import Audience, Settings
from nestaudience.destinations.port import Account, Destination, Target
from nestaudience.errors import NeedsFix, NestAudienceError, TryAgain
from nestaudience.ledger.memory import RemoteList
from nestaudience.status import AudienceStatus, Status


@dataclass(frozen=True, slots=True)
class Platform:
    """What a platform says of a list now. `size` and `match_rate` (percent) are None while it does not know them."""

    size: int | None
    match_rate: int | None
    open: bool
    closing_reason: str | None

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {name: getattr(self, name) for name in Platform.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Named:
    """One audience. `code` and `list_id` are empty until it has a list; `name`, `owner` and `controller` (legal name) when the configuration no
    longer says them. `held`: who may be on the list. `platform` and `error` are None until the platform is asked.
    """

    audience: str
    name: str
    owner: str
    controller: str
    recipient: str
    destination: str
    ad_account: str
    login_account: str | None
    code: str
    list_id: str
    state: str
    held: int
    platform: Platform | None = None
    error: NestAudienceError | None = None

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        values: dict[str, object] = {name: getattr(self, name) for name in Named.__dataclass_fields__}
        values["platform"] = None if self.platform is None else self.platform.as_dict()
        values["error"] = None if self.error is None else self.error.as_dict()
        return values


def named(found: Status, settings: Settings, lists: Iterable[RemoteList]) -> tuple[Named, ...]:
    """Every audience of a status, in its order."""
    remotes: dict[str, RemoteList] = {remote.audience: remote for remote in lists}
    configured: dict[str, Audience] = dict(settings.audiences.items())
    return tuple(_named(each, configured.get(each.audience), remotes.get(each.audience), settings) for each in found.audiences)


def ask(
    rows: Iterable[Named], destinations: Mapping[str, Destination], absent: Mapping[str, NestAudienceError]
) -> tuple[Named, ...]:
    """The same rows with what the platforms say now, or with what went wrong. A platform that cannot be reached is asked once."""
    failed: dict[tuple[str, str], NestAudienceError] = {(name, ""): error for name, error in absent.items()}
    return tuple(_asked(row, destinations, failed) if row.list_id else row for row in rows)


def _named(each: AudienceStatus, audience: Audience | None, remote: RemoteList | None, settings: Settings) -> Named:
    """The list's own account counts where there is a list: it is the one that holds people."""
    controller = settings.controllers.get(each.audience.partition("/")[0])
    account = audience.ad_account if audience is not None else None
    transport = (
        remote.destination if remote is not None else ""
    )  # made through this one; the configuration may have moved it since
    return Named(
        audience=each.audience,
        name=audience.segment.name if audience is not None else "",
        owner=audience.segment.approval.owner if audience is not None else "",
        controller=controller.legal_name if controller is not None else "",
        recipient=audience.recipient.legal_name if audience is not None else (remote.recipient if remote is not None else ""),
        destination=audience.table.destination if audience is not None else transport,
        ad_account=remote.ad_account if remote is not None else (account.account_id if account is not None else ""),
        login_account=remote.login_account if remote is not None else (account.login_account_id if account is not None else None),
        code=each.code,
        list_id=each.list_id,
        state=each.state,
        held=each.held or 0,
    )


def _asked(row: Named, destinations: Mapping[str, Destination], failed: dict[tuple[str, str], NestAudienceError]) -> Named:
    known = failed.get((row.destination, "")) or failed.get((row.destination, row.ad_account))
    destination = destinations.get(row.destination)
    if known is not None:
        return replace(row, error=known)
    if destination is None:
        remedy = "put the destination back into the configuration"
        return replace(row, error=NeedsFix("destination_absent", row.destination, remedy))
    try:
        facts = destination.read_list(Target(Account(row.ad_account, row.login_account), row.list_id))
    except NestAudienceError as error:
        whole = isinstance(error, TryAgain)  # down for one account, down for all
        failed[(row.destination, "" if whole else row.ad_account)] = error.with_traceback(None)
        return replace(row, error=error)
    if facts is None:
        remedy = "the list was deleted there; give the audience another number, or take it out"
        return replace(row, error=None if row.state == "gone" else NeedsFix("list_gone", row.audience, remedy))
    return replace(row, platform=Platform(facts.size, facts.match_rate, facts.open, facts.closing_reason))
