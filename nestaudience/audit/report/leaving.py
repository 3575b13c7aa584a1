"""The fifth section: removals. How fast noes reached the platforms by the three clocks, and which removals are still open, with their age.

Clocks are upper bounds, as `audit.clocks` says. What is open, `audit.removals` says.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from nestaudience.audit import removals
from nestaudience.audit.clocks import CLOCKS, PROMISE, RemovalClock, removal_clocks
from nestaudience.audit.columns import Filters, day_of
from nestaudience.audit.report.charts import Named, Steps, bars_by_name, steps
from nestaudience.audit.report.exceptions import Remark
from nestaudience.audit.report.material import Material, in_numbers, stockholm, utc
from nestaudience.audit.report.model import Block, Cell, Column, Figure, Section, Table, Text
from nestaudience.audit.report.readable import spreads_hold
from nestaudience.audit.report.words import word
from nestaudience.audit.small import number, total
from nestaudience.ledger.entries import EntryType, utc_text

_HOURS: Final = PROMISE // timedelta(hours=1)
_AGES: Final = ((1, "< 1 h"), (6, "1–6 h"), (24, "6–24 h"), (48, "24–48 h"))
_OLDER: Final = "> 48 h"
_DASHES: Final = {"recorded_to_visible": "2 3", "visible_to_accepted": "", "accepted_to_done": "7 4"}


@dataclass(frozen=True, slots=True)
class Open:
    """Removals of one list that have no good end yet, as `audit removals` tells of them; `since` the oldest was asked for (UTC text)."""

    since: str
    age: timedelta
    audience: str
    state: str
    people: int
    requests: int
    code: str
    step: str

    @property
    def late(self) -> bool:
        """True when they are older than the promise, or the platform did not take them, or nobody knows."""
        return self.state != "waiting" or self.age > PROMISE


def leaving(m: Material, found: Sequence[Open]) -> Section:
    """The section."""
    clocks = removal_clocks(_times(m))
    about = m.t(
        "Ett nej har tre klockor: från kundregistrets anteckning till att vi såg den; från att vi kunde se den "
        "till plattformens kvitto; från kvittot till "
        "plattformens besked att det är gjort. De två första är våra, den tredje plattformens. Alla tider är övre gränser.",
        "A no has three clocks: from the store's record to when we saw it; from when we could see it to the "
        "platform's receipt; from the receipt to the "
        "platform's word that it is done. The first two are ours, the third is the platform's. All times are upper bounds.",
    )
    blocks: list[Block] = [Text(about), _curve(m, clocks) if clocks else _clock_table(m, clocks), _ages(m, found)]
    return Section("removals", m.t("Borttagningar", "Removals"), tuple(blocks))


def open_removals(m: Material) -> tuple[Open, ...]:
    """Every open removal of the whole log, whatever the period: one a list and state, the oldest first."""
    frame = removals.open_removals(m.entries(removals.OPEN_TYPES), m.now, Filters(controller=m.filters.controller))
    return tuple(
        Open(
            since=utc_text(row["since"]),
            age=timedelta(seconds=int(row["age"])),
            people=int(row["people"]),
            requests=int(row["requests"]),
            **{name: str(row[name]) for name in ("audience", "state", "code", "step")},
        )
        for row in frame.to_dict("records")
    )


def removal_remarks(m: Material, found: Sequence[Open]) -> tuple[Remark, ...]:
    """What the exceptions say of removals: those that are late or were not taken. An unknown result stands there by itself."""
    remarks = []
    for each in found:
        if each.late and each.state != "unknown":
            frozen = each.state == "refused"
            kind = m.t("fryst borttagning", "frozen removal") if frozen else m.t("öppen borttagning", "open removal")
            people = number(each.people, m.language)
            what = m.t(f"{people} personer, {_hours(each.age)} gammal", f"{people} people, {_hours(each.age)} old")
            codes = ", ".join(code for code in (each.code, each.step) if code)
            remarks.append(Remark(kind, each.since, each.audience, what, codes, None, open=True))
    return tuple(remarks)


def _times(m: Material) -> Iterable[dict[str, Any]]:
    f = m.filters
    for entry in m.entries(frozenset({EntryType.REMOVAL_TIMES})):
        day = day_of(str(entry["at"]))
        mine = f.controller is None or entry["controller"] == f.controller
        if mine and spreads_hold(entry, CLOCKS) and (f.first is None or f.first <= day) and (f.last is None or day <= f.last):
            yield entry


def _curve(m: Material, clocks: Sequence[RemovalClock]) -> Figure:
    """Three steps of each clock: half, 95 of 100, all. More than that the log does not hold."""
    caption = m.t("Från återkallelse till borttagning", "From withdrawal to removal")
    says = " ".join(_clock_says(m, each) for each in clocks if each.clock == "visible_to_accepted")
    says = says or m.t("Ingen borttagning har mätts hela vägen.", "No removal was measured to its end.")
    panels = []
    for recipient in sorted({each.recipient for each in clocks}):
        curves = [
            Steps(
                word("clock", each.clock, m.language),
                ((each.p50 / 3600, 50), (each.p95 / 3600, 95), (each.longest / 3600, 100)),
                _DASHES[each.clock],
            )
            for each in clocks
            if each.recipient == recipient
        ]
        named = Named(f"clock-{recipient}", recipient.capitalize(), says)
        panels.append(steps(named, curves, [(_HOURS, m.t("24 timmar", "24 hours"))], m.t("timmar", "hours")))
    return Figure("clocks", caption, says, tuple(panels), _clock_table(m, clocks))


def _clock_says(m: Material, clock: RemovalClock) -> str:
    kept = clock.longest <= PROMISE.total_seconds()
    sv = "inom 24 timmar" if kept else "SENARE än 24 timmar"
    en = "within 24 hours" if kept else "LATER than 24 hours"
    longest, p95 = _hours(timedelta(seconds=clock.longest)), _hours(timedelta(seconds=clock.p95))
    return m.t(
        f"{clock.recipient.capitalize()}: 95 av 100 nej togs emot inom {p95}, det långsammaste efter {longest}, {sv}.",
        f"{clock.recipient.capitalize()}: 95 of 100 noes were accepted within {p95}, the slowest after {longest}, {en}.",
    )


def _clock_table(m: Material, clocks: Sequence[RemovalClock]) -> Table:
    columns = (
        Column(m.t("Mottagare", "Recipient")),
        Column(m.t("Klocka", "Clock")),
        Column(m.t("Personer", "People"), "number"),
        Column(m.t("Hälften inom", "Half within"), "number"),
        Column(m.t("95 av 100 inom", "95 of 100 within"), "number"),
        Column(m.t("Alla inom", "All within"), "number"),
    )
    rows = tuple(
        (
            Cell(each.recipient),
            Cell(word("clock", each.clock, m.language), each.clock),
            Cell(number(each.people, m.language)),
            *(Cell(_hours(timedelta(seconds=seconds))) for seconds in (each.p50, each.p95, each.longest)),
        )
        for each in clocks
    )
    none = m.t("Ingen borttagning har mätts i perioden.", "No removal was measured in the period.")
    return Table("clock-table", m.t("De tre klockorna", "The three clocks"), columns, rows, none)


def _ages(m: Material, found: Sequence[Open]) -> Figure:
    people: dict[str, list[int]] = {name: [] for name in (*(name for _, name in _AGES), _OLDER)}
    for each in found:
        people[_age(each.age)].append(each.people)
    caption = m.t("Öppna borttagningar efter ålder", "Open removals by age")
    late = len({each.audience for each in found if each.late})
    says = m.t(
        f"{sum(each.requests for each in found)} begäranden saknar slut; på {late} listor är de sena, avvisade eller okända.",
        f"{sum(each.requests for each in found)} requests have no end; on {late} lists they are late, refused or unknown.",
    )
    sums = {name: total(parts)[0] for name, parts in people.items()}
    rows = [(name, sums[name] if sums[name] or not people[name] else None) for name in people]
    picture = bars_by_name(Named("ages-picture", caption, says), rows, number(1, m.language))
    return Figure("ages", caption, says, (picture,), _open_table(m, found, in_numbers(m, caption)))


def _open_table(m: Material, found: Sequence[Open], caption: str) -> Table:
    columns = (
        Column(m.t("Äldsta (Stockholm)", "Oldest (Stockholm)"), "time"),
        Column(m.t("Ålder", "Age")),
        Column(m.t("Målgrupp", "Audience"), "code"),
        Column(m.t("Begäranden", "Requests"), "number"),
        Column(m.t("Personer", "People"), "number"),
        Column(m.t("Tillstånd", "State")),
        Column(m.t("Kod, åtgärd", "Code, step taken"), "code"),
    )
    rows = tuple(
        (
            Cell(stockholm(each.since), utc(each.since)),
            Cell(_age(each.age), _hours(each.age)),
            Cell(each.audience),
            Cell(str(each.requests)),
            Cell(number(each.people, m.language)),
            Cell(word("open", each.state, m.language)),
            Cell(each.code or "–", each.step),
        )
        for each in found
    )
    return Table("open-removals", caption, columns, rows, m.t("Inga öppna borttagningar.", "No open removals."))


def _age(age: timedelta) -> str:
    return next((name for hours, name in _AGES if age < timedelta(hours=hours)), _OLDER)


def _hours(span: timedelta) -> str:
    """A span as people read it: minutes below two hours, days above four."""
    minutes = int(span.total_seconds()) // 60
    if minutes < 1:
        return "< 1 min"
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 96 * 60 else f"{minutes // 1440} d {minutes // 60 % 24} h"
