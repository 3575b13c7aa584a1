"""Events of a consent or rights history as the rules see them: clocks, "beats", duplicates (rules §2, §4 rules 1, 3, 4).

Decides about single events and pairs of them, never about an account. Where the rules leave room, "Read as:" says what was
chosen.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from nestaudience.screening.rules import Rules
from nestaudience.vocabulary import EventSource

from .rows import Row
from .values import canonical, moment, whole

NEVER: Final = datetime.max.replace(tzinfo=UTC)
"""The clock of a no that cannot be beaten by being later."""
ACTIONS: Final = {
    "consent_event": frozenset({"grant", "withdraw"}),
    "rights_event": frozenset({"object", "lift_objection", "restrict", "unrestrict", "erase", "close"}),
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event, its values read. `address` is the canonical address of a rights event without account.

    `conflicting` is true where the same id stands in the view with another content; then only the noes count.

    Read as: the `email` of a rights event that has an account is not looked at. Any text that differs in any column is another
    content. Rows without an id share one "id" (doubt goes to the no).

    `remembered` is true for a no that memory brings; `kept` is then the canonical address for which it was seen. `first_seen` is known for those, and
    for a no of the store that memory has as well.
    """

    view: str
    account: str | None
    address: str | None
    controller: str | None
    purpose: str | None
    recipient: str | None
    action: str | None
    occurred: datetime | None
    recorded: datetime | None
    source: str | None
    seq: int | None
    confirmed: bool
    text: str | None
    case: str | None
    conflicting: bool
    kept: str | None = None
    remembered: bool = False
    event_id: str | None = None
    first_seen: datetime | None = None

    @property
    def holder(self) -> tuple[str, str] | None:
        """Whose event it is: an account's, or, without one, an address's. None when neither can be told."""
        if self.account is not None:
            return ("account", self.account)
        return ("address", self.address) if self.address is not None else None


def read_events(view: str, rows: Iterable[Row]) -> list[Event]:
    """The events of a view; identical rows are one."""
    versions: dict[str | None, list[Row]] = defaultdict(list)
    for row in rows:
        if row not in versions[row["event_id"]]:
            versions[row["event_id"]].append(row)
    return [_event(view, row, conflicting=len(same) > 1) for same in versions.values() for row in same]


def _event(view: str, row: Row, *, conflicting: bool) -> Event:
    return Event(
        view=view,
        account=row["account_id"],
        address=canonical(row.get("email")) if row["account_id"] is None else None,
        controller=row["controller_id"],
        purpose=row["purpose"],
        recipient=row.get("recipient"),
        action=row["action"],
        occurred=moment(row["occurred_at"]),
        recorded=moment(row["recorded_at"]),
        source=row["source"],
        seq=whole(row["source_seq"]),
        confirmed=row.get("confirmed") == "1",
        text=row.get("text_version"),
        case=row.get("case_id"),
        conflicting=conflicting,
        event_id=row["event_id"],
    )


def clocks_of_no(no: Event) -> tuple[datetime, datetime]:
    """When a no was said and when it was recorded (rule 3), `NEVER` where it cannot be beaten.

    Read as: without a usable `recorded_at` nothing beats it by clocks, whatever `occurred_at` says.
    """
    if no.recorded is None and no.occurred is None and no.first_seen is not None:
        return (no.first_seen, no.first_seen)
    if no.recorded is None:
        return (NEVER if no.occurred is None else no.occurred, NEVER)
    return (no.recorded if no.occurred is None else min(no.occurred, no.recorded), no.recorded)


def clocks_usable(yes: Event, now: datetime, skew: timedelta) -> bool:
    """Rule 4: both clocks of a grant, lift or unrestrict are there, in order, and not in the future.

    Read as: "by more than the skew" belongs to every "later" of the sentence. A yes under a conflicting id is not usable either.
    """
    if yes.conflicting or yes.occurred is None or yes.recorded is None:
        return False
    return yes.occurred <= yes.recorded + skew and yes.occurred <= now + skew and yes.recorded <= now + skew


def beats(yes: Event, no: Event, skew: timedelta) -> bool:
    """Rule 1. `yes` must have usable clocks.

    Read as: a missing source or controller is the same as nothing, not even as another missing one.
    """
    related = None not in (yes.holder, yes.source, yes.controller)
    related = related and (yes.holder, yes.source, yes.controller) == (no.holder, no.source, no.controller)
    if related and yes.seq is not None and no.seq is not None:
        return yes.seq > no.seq
    if yes.occurred is None or yes.recorded is None:
        return False
    said, recorded = clocks_of_no(no)
    margin = timedelta(0) if related else skew
    return yes.occurred - margin > said and yes.recorded > recorded


def mapped_source(event: Event, rules: Rules) -> EventSource | None:
    """What the configuration says the raw source is, or None."""
    return rules.sources.get(event.source) if event.source is not None else None


def usable_grant(event: Event, now: datetime, rules: Rules) -> bool:
    """Rules 4 and 5 without the text: confirmed, clocks, and a source that may give consent."""
    source = mapped_source(event, rules)
    may = source is not None and source not in {EventSource.SIGNUP, EventSource.NEWSLETTER}
    return may and event.confirmed and clocks_usable(event, now, rules.skew)


def unfollowed(event: Event, events: Iterable[Event]) -> bool:
    """True for an event of unknown action that no later, well-formed event of its account, raw source and view follows.

    Read as: later means recorded later; without a recording time of its own, or without a source, nothing follows it. An event
    under a conflicting id is well-formed if its action and its recording time are.
    """
    known = ACTIONS[event.view]
    if event.action in known:
        return False
    if event.recorded is None or event.source is None:
        return True
    return not any(
        other.view == event.view
        and (other.account, other.source) == (event.account, event.source)
        and other.action in known
        and other.recorded is not None
        and other.recorded > event.recorded
        for other in events
    )
