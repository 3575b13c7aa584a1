"""What led to the answers of a few accounts, event by event, for somebody who asks why. Made for one person's accounts, never for a night.

It reads the engine's tables after `screen` has filled them, and decides nothing anew: whether a consent counts, and whether a no stands, is what the
rules found. Times are UTC.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from nestaudience.screening.engine import ask, run_file
from nestaudience.screening.screen import Screened
from nestaudience.vocabulary import AudienceKey, Reason, reasons_in

_BITS: Final = {1: ("google",), 2: ("meta",), 3: ("google", "meta"), 4: ("*",)}
_END_OF_TIME: Final = 9999


class Verdict(StrEnum):
    """What the rules made of one event."""

    COUNTS = "counts"
    """A consent that makes somebody eligible, for the recipients named beside it, unless a no outdoes it."""
    EXPIRED = "expired"
    UNCONFIRMED = "unconfirmed"
    UNUSABLE = "unusable"
    """Its clocks or its source cannot be relied on."""
    TEXT_INSUFFICIENT = "text_insufficient"
    OTHER_SCOPE = "other_scope"
    """Given to another company than the account's, or for something else."""
    STANDS = "stands"
    """A no that nothing has ended."""
    OUTDONE = "outdone"
    """A no that a later consent outdoes, that was lifted, or that ended."""
    NOTED = "noted"
    """A lift or an end of a restriction; what it ended says so itself."""


@dataclass(frozen=True, slots=True)
class TracedEvent:
    """One event. `account` is the account's place among those asked for, None for an event that came with an address alone; `recipients` those that
    it names, for a consent that counts those for which it does.
    """

    account: int | None
    controller: str
    action: str
    purpose: str
    recipients: tuple[str, ...]
    occurred_at: datetime | None
    recorded_at: datetime | None
    source: str
    text_version: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class TracedAnswer:
    """What holds for one account and one audience of a company at which it is judged."""

    account: int
    audience: AudienceKey
    in_segment: bool
    reasons: tuple[Reason, ...]

    @property
    def eligible(self) -> bool:
        """True when the account's address may be on the list."""
        return self.in_segment and not self.reasons


def trace(screened: Screened, tokens: list[bytes]) -> tuple[tuple[TracedEvent, ...], tuple[TracedAnswer, ...]]:
    """Every event that matters here, oldest first, and the answer for each of these accounts (by token, in their order) and each audience."""
    engine = screened.connection
    run_file(engine, "nestaudience.screening", "07_trace.sql")
    place = {token: number for number, token in enumerate(tokens)}
    events = ask(
        engine,
        "SELECT * EXCLUDE no_or_event FROM trace ORDER BY coalesce(least(occurred, recorded), recorded), action, purpose, account_token, controller, "
        "bits, source_kind, text_version, recorded, verdict",
    )
    answers = ask(engine, "SELECT * FROM traced_answer ORDER BY account_token, audience_no")
    told = [
        TracedAnswer(place[token.bytes], screened.audiences[number].key, in_segment, reasons_in(mask))
        for token, number, in_segment, mask in answers
        if token.bytes in place
    ]
    return tuple(_event(place, *row) for row in events), tuple(sorted(told, key=lambda each: each.account))


def _event(
    place: dict[bytes, int],
    token: Any,
    controller: str | None,
    action: str,
    purpose: str,
    bits: int | None,
    occurred: Any,
    recorded: Any,
    source: str | None,
    text_version: str | None,
    verdict: str,
) -> TracedEvent:
    return TracedEvent(
        None if token is None else place.get(token.bytes),
        controller or "",
        action,
        purpose,
        _BITS.get(bits or 0, ()),
        _utc(occurred),
        _utc(recorded),
        source or "",
        text_version or "",
        Verdict(verdict),
    )


def _utc(moment: Any) -> datetime | None:
    """A time of the engine's; None for none, and for the end of time, which stands for a clock that cannot be read."""
    return moment.replace(tzinfo=UTC) if isinstance(moment, datetime) and moment.year < _END_OF_TIME else None
