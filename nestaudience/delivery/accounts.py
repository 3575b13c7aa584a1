"""Ad accounts: each is read once a run before anything is sent there, and compared with its binding.

What is compared is whose the account is. Terms and permissions are the platform's to refuse: a removal never waits for them here. It writes nothing
down; `lists` does.
"""

from nestaudience.config.settings import Audience
from nestaudience.destinations.port import Account, AccountFacts, Destination, TellsAccount
from nestaudience.errors import NestAudienceError


class Accounts:
    """What the platforms said of the ad accounts in one run. A read that failed is tried once more, when somebody is to be added."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, Account], AccountFacts] = {}
        self._failed: dict[tuple[str, Account, bool], NestAudienceError] = {}

    def read(self, destination: Destination, account: Account, *, adding: bool) -> AccountFacts | None:
        """What the platform says of an account, asked once; None from a platform that says nothing of the kind. Raises as the destination does."""
        if not isinstance(destination, TellsAccount):
            return None
        place = destination.name, account
        failure = self._failed.get((*place, adding))
        if place not in self._told and failure is None:
            try:
                self._told[place] = destination.account_facts(account)
            except NestAudienceError as error:
                failure = error.with_traceback(None)
                self._failed[(*place, adding)] = failure
        if failure is not None:
            raise failure
        return self._told[place]


def difference(audience: Audience, facts: AccountFacts) -> str | None:
    """In what the platform's word differs from the binding; None when it does not. An owner that is not told, or not bound, is no difference."""
    bound = audience.ad_account
    if facts.account_id != bound.account_id:
        return "the platform speaks of another ad account than the binding; compare binding and credentials"
    if bound.business_id is not None and facts.business_id not in (None, bound.business_id):
        return "another business portfolio owns the ad account than the binding names; find out whose it is, and mend the binding"
    return None


def owner_untold(audience: Audience, facts: AccountFacts) -> bool:
    """True when the binding names the account's owner and the platform does not: nobody joins there, and removals go on."""
    return audience.ad_account.business_id is not None and facts.business_id is None
