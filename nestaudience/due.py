"""Days that a configuration runs into: what must be confirmed again each year, and the last days of audiences.

Pure; `check`, `status` and the alerts say the same because they all ask here. A day is a day in Stockholm. What follows from what was sent
(when a list runs out) stands in `status`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from nestaudience.config.meta_versions import NEWEST, TOLD_AHEAD, last_day
from nestaudience.config.settings import Settings
from nestaudience.delta.approvals import last_day_of_approval, last_day_of_confirmation

_LOOK_AGAIN: Final = {
    "terms": "read the terms again and renew the date",
    "contract": "look whether the contract still holds and renew the date",
    "transfer": "look whether the transfer mechanism still stands and renew the date",
}
"""What must be confirmed once a year. One that has no day of its own goes with the terms."""
STAGES: Final = (45, 14, 3)
"""So many days ahead it is told that something must be confirmed."""
ENDING: Final = 14
"""So many days ahead it is told that an audience has its last day."""


@dataclass(frozen=True, slots=True)
class DueDate:
    """One day. `what`: `terms`, `contract`, `transfer`, `approval`, `api_version` (Meta serves it no longer), `ends` (an audience's last day) or
    `runs_out` (a list's): the last day on which all is well. `where` is a place in the configuration, or an audience.
    """

    what: str
    where: str
    on: date
    next_step: str

    def past(self, today: date) -> bool:
        """True when the day is over."""
        return today > self.on

    def stage(self, today: date) -> int | None:
        """The smallest number of days ahead that was reached: 45 (a version: 60), 14 or 3; 0 when the day is over; None while it is far off."""
        if self.past(today):
            return 0
        ahead = {"ends": (ENDING,), "api_version": TOLD_AHEAD}.get(self.what, STAGES)
        return min((days for days in ahead if self.on - today <= timedelta(days=days)), default=None)

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {"what": self.what, "where": self.where, "on": self.on.isoformat(), "next": self.next_step}


def due_dates(settings: Settings, today: date) -> tuple[DueDate, ...]:
    """Every day that is near or over. An audience that is past its last day is none: it ended as it should."""
    near = (due for due in (*_yearly(settings), *_versions(settings), *_endings(settings)) if due.stage(today) is not None)
    return tuple(due for due in near if due.what != "ends" or not due.past(today))


def _yearly(settings: Settings) -> Iterator[DueDate]:
    for recipient in settings.recipients.values():
        for what, next_step in _LOOK_AGAIN.items():
            day = getattr(recipient, f"{what}_confirmed_on")
            if day is not None:
                place = f"recipients.{recipient.key.value}.{what}_confirmed_on"
                yield DueDate(what, place, last_day_of_confirmation(day), next_step)
    segments = {(a.segment.controller, a.segment.code): a.segment for a in settings.audiences.values()}
    for segment in segments.values():
        place = f"segments.{segment.code}.approval"
        if segment.approval.approved_on is not None:
            on = last_day_of_approval(segment.approval.approved_on)
            yield DueDate("approval", place, on, "have the segment approved again")


def _versions(settings: Settings) -> Iterator[DueDate]:
    table = settings.destinations.get("meta")
    on = None if table is None else last_day(table.api_version or NEWEST)
    if on is not None:
        next_step = f"name a version that Meta serves ({NEWEST}), or leave it out and update this program"
        yield DueDate("api_version", "destinations.meta.api_version", on, next_step)


def _endings(settings: Settings) -> Iterator[DueDate]:
    for key, audience in settings.audiences.items():
        if audience.table.ends_on is not None:
            yield DueDate("ends", key, audience.table.ends_on, "let it end, or move ends_on")
