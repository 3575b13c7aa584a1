"""What a run is asked to do: which lists, how, for which night, and why. Pure; it opens nothing and judges nobody.

The nightly run is the job without a filter. A backfill is the same job with one: the same steps and gates, no way around either.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from nestaudience.config.settings import Audience, Settings
from nestaudience.errors import NeedsFix
from nestaudience.vocabulary import AudienceKey, Cause, Mode, RunId, RunKind

OLDEST_NIGHT: Final = timedelta(days=31)
"""A backfill uses the consents of today; a night longer ago is no night that it could repair."""
REPLACING: Final = frozenset({"google_data_manager"})
"""Destinations whose lists can be replaced."""
_CASE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,79}")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which audiences: those that every non-empty set lets through. Empty sets mean all."""

    audiences: frozenset[AudienceKey] = frozenset()
    controllers: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    destinations: frozenset[str] = frozenset()

    def takes(self, audience: Audience) -> bool:
        """True for an audience that the run is about."""
        return all(
            not wanted or found in wanted
            for wanted, found in (
                (self.audiences, audience.key),
                (self.controllers, audience.controller.key),
                (self.segments, audience.segment.code),
                (self.destinations, audience.table.destination),
            )
        )

    @property
    def whole(self) -> bool:
        """True when nothing is filtered."""
        return not (self.audiences or self.controllers or self.segments or self.destinations)


@dataclass(frozen=True, slots=True)
class Job:
    """One run's orders. `for_night` names the night that is repaired; `cause` and `case_id` say why a person started it; `retracts` is the run
    whose additions are taken off again. `since` (UTC): a run for withdrawals looks at what is new since then; without it, it only settles. `urgent`:
    destinations where only noes leave that wait for no cadence, because the others are not due there.
    """

    kind: RunKind = RunKind.NIGHTLY
    scope: Scope = Scope()
    mode: Mode = Mode.DIFF
    for_night: date | None = None
    cause: Cause | None = None
    case_id: str = ""
    retracts: RunId | None = None
    since: datetime | None = None
    urgent: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if (self.retracts is not None) != (self.mode is Mode.RETRACT):
            raise ValueError("a retraction, and nothing else, names the run that it takes back")
        if self.since is not None and self.kind is not RunKind.WITHDRAWALS:
            raise ValueError("only a run for withdrawals looks at what is new since a moment")
        if self.urgent and (self.since is None or not self.urgent <= self.scope.destinations):
            raise ValueError("only a run for withdrawals at named destinations is for urgent noes alone at some of them")
        if self.kind is RunKind.NIGHTLY and (self.mode is not Mode.DIFF or not self.scope.whole or self.for_night is not None):
            raise ValueError("the nightly run brings every list into line, for its own night")

    def fields(self) -> dict[str, str | list[str]]:
        """What the log says of the orders; empty words are left out."""
        said: dict[str, str | list[str]] = {
            "mode": self.mode.value,
            "audiences": sorted(self.scope.audiences),
            "controllers": sorted(self.scope.controllers),
            "segments": sorted(self.scope.segments),
            "destinations": sorted(self.scope.destinations),
            "for_night": self.for_night.isoformat() if self.for_night is not None else "",
            "cause": self.cause.value if self.cause is not None else "",
            "case_id": self.case_id,
            "retracts": self.retracts or "",
            "since": self.since.isoformat() if self.since is not None else "",
            "urgent": sorted(self.urgent),
        }
        return {name: value for name, value in said.items() if value}


NIGHTLY: Final = Job()
"""Every list in line, for its own night."""
SETTLING: Final = Job(RunKind.WITHDRAWALS)
"""What became of earlier requests, and nothing else: it judges nobody."""


def backfill(
    settings: Settings, today: date, *, scope: Scope, mode: Mode, for_night: date | None, cause: Cause, case_id: str
) -> Job:
    """A checked backfill. `today` is the day in Stockholm.

    Raises `NeedsFix`: `backfill_refused`, with everything that is wrong at once: names that the configuration does not know, a filter that
    leaves no audience, a night in the future or too long ago, a case that is missing or no reference.
    """
    wrong = [*_unknown(settings, scope), *_wrong_night(for_night, today), *_wrong_case(cause, case_id)]
    taken = [audience for audience in settings.audiences.values() if scope.takes(audience)]
    if not wrong and not taken:
        wrong.append("no audience is in all of the named controllers, segments and destinations")
    others = sorted({audience.table.destination for audience in taken} - REPLACING)
    if mode is Mode.REPLACE and others:
        wrong.append(
            f"mode: {', '.join(others)} cannot take off what is older than a moment; name other destinations, or use resend"
        )
    if wrong:
        raise NeedsFix("backfill_refused", "the backfill's parameters", "; ".join(wrong))
    return Job(RunKind.BACKFILL, scope, mode, for_night, cause, case_id)


def _unknown(settings: Settings, scope: Scope) -> list[str]:
    audiences = settings.audiences.values()
    known: dict[str, tuple[frozenset[str], set[str]]] = {
        "controllers": (scope.controllers, {audience.controller.key for audience in audiences}),
        "segments": (scope.segments, {audience.segment.code for audience in audiences}),
        "destinations": (scope.destinations, {audience.table.destination for audience in audiences}),
    }
    return [f"{word}: name only {', '.join(sorted(have))}" for word, (asked, have) in known.items() if asked - have]


def _wrong_night(for_night: date | None, today: date) -> list[str]:
    if for_night is None or today - OLDEST_NIGHT <= for_night <= today:
        return []
    return [f"for_night: a day from {(today - OLDEST_NIGHT).isoformat()} to {today.isoformat()}"]


def check_case(cause: Cause, case_id: str) -> None:
    """Raises `NeedsFix`: `case_missing` for a case that is missing or no reference."""
    wrong = _wrong_case(cause, case_id)
    if wrong:
        raise NeedsFix("case_missing", "--case", "; ".join(wrong))


def _wrong_case(cause: Cause, case_id: str) -> list[str]:
    if case_id and _CASE.fullmatch(case_id) is None:
        return ["case: letters, digits and _ . / - only, at most 80"]
    return ["case: other_see_case needs one"] if cause is Cause.OTHER_SEE_CASE and not case_id else []
