"""Watching: what stands now, who is told of it, and the heartbeat. Called at the end of each run, every hour, and by a person.

Each alert is told once when it begins, again after `repeat_hours` while it stays, and anew when it comes back. What cannot be told fails no run:
it goes to the program's own log as a code, stands in `status`, and is tried again at the next call. Two calls at one time may tell
something twice; none is lost.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from nestaudience.alerts import Alert, alerts
from nestaudience.config.settings import Settings
from nestaudience.errors import NestAudienceError
from nestaudience.ledger.told import ToldAlert, ToldAlerts
from nestaudience.parts import Evidence
from nestaudience.status import Status, status
from nestaudience.telling import Message, open_channel, open_heartbeat

SLACK: Final = timedelta(minutes=5)
"""A call every hour is never to the second; without this, what is told once a day would be told an hour later each day."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """What a call found and did. `told` are keys of alerts, now; `memory` is what is remembered of each alert that stands."""

    status: Status
    standing: tuple[Alert, ...]
    told: tuple[str, ...]
    memory: Mapping[str, ToldAlert]
    errors: tuple[NestAudienceError, ...]

    @property
    def not_told(self) -> tuple[str, ...]:
        """Alerts of which nobody could be told at the last try."""
        return tuple(alert.key for alert in self.standing if (row := self.memory.get(alert.key)) is not None and row.failure)

    def as_dicts(self) -> list[dict[str, object]]:
        """Each alert that stands, with when it was told, for `--json`."""
        return [alert.as_dict() | _remembered(self.memory.get(alert.key)) for alert in self.standing]


def look(evidence: Evidence, settings: Settings, now: datetime) -> Told:
    """What stands, and what is remembered of it. Tells nobody and changes nothing. Raises `MustStop` as the ledger does."""
    found = status(evidence, settings, now)
    return Told(found, alerts(found, settings.alerts, now), (), ToldAlerts(evidence.engine).all(), ())


def watch(evidence: Evidence, settings: Settings, now: datetime, *, run_ended: bool = False, counted: bool = True) -> Told:
    """Tell what is due, and remember it; with `run_ended`, send the heartbeat as well. `counted` as in `status`: no alert needs it.

    Raises `MustStop` as the ledger does, and nothing else: what cannot be told is in the answer. Without a readable ledger nothing is told and no
    heartbeat goes out: then whoever waits for the heartbeat tells.
    """
    found = status(evidence, settings, now, counted=counted)
    standing = alerts(found, settings.alerts, now)
    memory = ToldAlerts(evidence.engine)
    known = memory.stand({alert.key: alert.code for alert in standing}, now)
    due = [alert for alert in standing if is_due(alert, known[alert.key], settings.alerts.repeat_hours, now)]
    told, errors = _tell(due, evidence, settings, now)
    keys = [alert.key for alert in due]
    if told:
        memory.told(keys, now)
    elif errors:
        memory.not_told(keys, errors[0].code, now)
    if run_ended:
        errors += _beat(evidence, settings)
    for error in errors:
        _LOG.warning("alerts: %s at %s", error.code, error.where)
    return Told(found, standing, tuple(keys) if told else (), memory.all(), tuple(errors))


def is_due(alert: Alert, row: ToldAlert, repeat_hours: int, now: datetime) -> bool:
    """True for an alert of which nobody was told yet, and for one that stays and was told long ago."""
    if not row.last_told_at:
        return True
    return alert.repeats and now - datetime.fromisoformat(row.last_told_at) >= timedelta(hours=repeat_hours) - SLACK


def _tell(due: Sequence[Alert], evidence: Evidence, settings: Settings, now: datetime) -> tuple[bool, list[NestAudienceError]]:
    """(whether somebody was told, what went wrong). The channel is opened for something to tell only."""
    if not due:
        return False, []
    try:
        channel = open_channel(settings.alerts, evidence.base)
        if channel is None:
            return False, []
        return True, list(channel.tell(Message(evidence.environment, now, tuple(due))))
    except NestAudienceError as error:
        return False, [error.with_traceback(None)]


def _beat(evidence: Evidence, settings: Settings) -> list[NestAudienceError]:
    try:
        heartbeat = open_heartbeat(settings.alerts, evidence.base)
        if heartbeat is not None:
            heartbeat.beat()
    except NestAudienceError as error:
        return [error.with_traceback(None)]
    return []


def _remembered(row: ToldAlert | None) -> dict[str, object]:
    if row is None or row.cleared_at:
        return {"told_at": "", "not_told": ""}
    return {"told_at": row.last_told_at, "not_told": row.failure}
