"""One question to the reference, for tests written by hand: a sound world with a few rows exchanged."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from nestaudience.screening.rules import Rules
from nestaudience.vocabulary import Recipient

from .damage import SOURCES
from .decide import decide
from .rows import Row, World, account, consent, member
from .strategies import C1, C2, C3, audience, registered_texts

NOW: Final = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
RULES: Final = Rules(frozenset({C1, C2, C3}), tuple(Recipient), registered_texts(NOW), SOURCES, frozenset({"newsletter", "sms"}))
GRANT: Final = consent("g")


def ask(
    *,
    accounts: tuple[Row, ...] = (account(),),
    consents: tuple[Row, ...] = (GRANT,),
    rights: tuple[Row, ...] = (),
    members: tuple[Row, ...] = (member(),),
    recipient: Recipient = Recipient.GOOGLE,
    uses: str = "",
    now: datetime = NOW,
    account_id: str = "a1",
    **settings: Any,
) -> set[str]:
    """The reasons of one account for an audience of `c1` that `uses` "orders" or "site"; the empty set is eligible."""
    asked = audience(C1, recipient, uses_orders="orders" in uses, uses_site="site" in uses)
    answer = decide(World(accounts, consents, rights, members), replace(RULES, **settings), asked, now)
    return {reason.value for reason in answer[account_id]}
