"""What people must be told without asking: which conditions stand now, each under a key that stays the same while it does.

Pure: from a status and the limits of the configuration to alerts. Keys, codes and counts only. It tells nobody and remembers nothing;
`watching` does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from nestaudience.config.schema import Alerts
from nestaudience.due import DueDate
from nestaudience.status import AudienceStatus, Status
from nestaudience.vocabulary import STOCKHOLM, KillSwitch

REMOVE_NOW: Final = "look at the platform and the credentials, then run `nestaudience run nightly`"


@dataclass(frozen=True, slots=True)
class Alert:
    """One condition that stands. `code`: `stopped`, `kill_switch`, `night_unfinished`, `removal_refused`, `removal_old`, `incident`, `gate_closed`,
    `list_retires` or `date_due`.

    `where` is a night, an audience or a place in the configuration; `about` the second code, when there is one: the gate, the incident, the kind
    of date. `since` is UTC text, or a day in Stockholm. `count` is people. `repeats` is False for what is told once only.
    """

    key: str
    code: str
    where: str
    since: str
    next_step: str
    about: str = ""
    audience: str = ""
    count: int | None = None
    repeats: bool = True

    @property
    def line(self) -> str:
        """What a person reads, without what to do: times in Stockholm."""
        about = f" {self.about}" if self.about else ""
        count = "" if self.count is None else f", {self.count} people"
        return f"{self.code}{about}: {self.where}{count}, {'on' if self.code in ('date_due', 'list_retires') else 'since'} {local(self.since)}"

    def as_dict(self) -> dict[str, object]:
        """For `--json`, and for a receiver."""
        values: dict[str, object] = {"code": self.code, "where": self.where, "since": self.since, "next": self.next_step}
        values |= {name: value for name in ("about", "audience") if (value := getattr(self, name))}
        return values if self.count is None else values | {"count": self.count}


def local(moment: str) -> str:
    """UTC text as people in Stockholm read it; a day stays a day."""
    return datetime.fromisoformat(moment).astimezone(STOCKHOLM).strftime("%Y-%m-%d %H:%M") if "T" in moment else moment


def alerts(found: Status, limits: Alerts, now: datetime) -> tuple[Alert, ...]:
    """Every condition that stands, the most pressing first."""
    return (
        *_stopped(found),
        *_switched(found),
        *_night(found, limits),
        *_refused(found),
        *_removals(found, limits, now),
        *_incidents(found),
        *_gates(found),
        *_retiring(found),
        *_dates(found, now.astimezone(STOCKHOLM).date()),
    )


def _stopped(found: Status) -> Iterator[Alert]:
    if found.stopped is not None:
        code = found.stopped.code
        yield Alert(f"stopped:{code}", "stopped", found.stopped.where, found.at.isoformat(), found.stopped.next_step, code)


def _switched(found: Status) -> Iterator[Alert]:
    """Told daily while it stands: what is owed waits for a person."""
    if found.kill_switch is not KillSwitch.OFF:
        position, next_step = found.kill_switch.value, "set [kill_switch] back to off when runs may go on"
        yield Alert(
            f"kill_switch:{position}", "kill_switch", "kill_switch.position", found.at.isoformat(), next_step, about=position
        )


def _night(found: Status, limits: Alerts) -> Iterator[Alert]:
    if found.unfinished:
        deadline = datetime.combine(date.fromisoformat(found.due_night), time.fromisoformat(limits.night_by), STOCKHOLM)
        since = deadline.astimezone(found.at.tzinfo).isoformat()
        next_step = "look whether a run is at work; if not, run `nestaudience run nightly`"
        yield Alert(f"night_unfinished:{found.due_night}", "night_unfinished", found.due_night, since, next_step)


def _refused(found: Status) -> Iterator[Alert]:
    """Told at once, and daily while it stands."""
    for each in found.audiences:
        if each.refused_since:
            until, key = each.deleted_from, f"removal_refused:{each.audience}"
            end = (
                f"the first run after {local(until)} deletes the list"
                if until
                else "nobody who said no is among them: every run tries again"
            )
            next_step = f"{end}; look at the list at the platform, and see docs/runbook.md"
            count = each.open_removals
            yield Alert(key, "removal_refused", each.audience, each.refused_since, next_step, audience=each.audience, count=count)


def _removals(found: Status, limits: Alerts, now: datetime) -> Iterator[Alert]:
    oldest = now - timedelta(hours=limits.removal_hours)
    for each in found.audiences:
        asked = each.oldest_removal_at
        if each.open_removals and asked and datetime.fromisoformat(asked) < oldest:
            key = f"removal_old:{each.audience}"
            yield Alert(key, "removal_old", each.audience, asked, REMOVE_NOW, audience=each.audience, count=each.open_removals)


def _incidents(found: Status) -> Iterator[Alert]:
    for each in found.incidents:
        next_step = f"read it: `nestaudience audit show {each.index}`"
        where = each.audience or "the log"
        yield Alert(each.key, "incident", where, each.at, next_step, each.code, each.audience, repeats=False)


def _gates(found: Status) -> Iterator[Alert]:
    for each in found.audiences:
        for gate, night in each.held_by:
            next_step = "run `nestaudience plan`: it says what opens the gate"
            yield Alert(
                f"gate_closed:{each.audience}:{gate}", "gate_closed", each.audience, night, next_step, gate, each.audience
            )


def _retiring(found: Status) -> Iterator[Alert]:
    """Told daily until the list is big enough, or gone."""
    for each in found.audiences:
        if each.retires_on:
            next_step = "it stays too small: widen the segment, lower `smallest_list`, or let the list go"
            key = f"list_retires:{each.audience}"
            yield Alert(key, "list_retires", each.audience, each.retires_on, next_step, audience=each.audience)


def _dates(found: Status, today: date) -> Iterator[Alert]:
    """What is ahead is told once at each stage; what is over stays until somebody renews it."""
    lists = [due for each in found.audiences if (due := _runs_out(each)) is not None]
    for due in (*found.due, *lists):
        stage = due.stage(today)
        if stage is not None:
            key = f"date_due:{due.what}:{due.where}:{due.on.isoformat()}:{stage}"
            audience = due.where if due.what in ("ends", "runs_out") else ""
            yield Alert(
                key, "date_due", due.where, due.on.isoformat(), due.next_step, due.what, audience, repeats=due.past(today)
            )


def _runs_out(each: AudienceStatus) -> DueDate | None:
    """The day on which a platform drops the last people of a list that nobody was added to."""
    if not each.runs_out_on or each.held == 0:
        return None
    return DueDate("runs_out", each.audience, date.fromisoformat(each.runs_out_on), "find out why nobody joins the list")
