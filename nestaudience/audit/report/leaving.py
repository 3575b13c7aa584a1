"""The fifth section: removals. How fast noes reached the platforms by the three clocks, and which removals are still open, with their age.

Clocks are upper bounds, as `audit.clocks` says. Open is a removal that was asked for and has no good end: it waits for an answer, its answer is
unknown, or it was refused (frozen) and nothing was carried out since.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from nestaudience.audit.clocks import CLOCKS, RemovalClock, removal_clocks
from nestaudience.audit.report.charts import Named, Steps, bars_by_name, steps
from nestaudience.audit.report.exceptions import Remark
from nestaudience.audit.report.material import Material, Sent, day_of, in_numbers, stockholm, utc
from nestaudience.audit.report.model import Block, Cell, Column, Figure, Section, Table, Text
from nestaudience.audit.report.readable import spreads_hold
from nestaudience.audit.report.small import number, total
from nestaudience.audit.report.words import word
from nestaudience.audit.transfers import Request
from nestaudience.ledger.entries import EntryType
from nestaudience.vocabulary import Operation

PROMISE: Final = 24
"""Hours within which a no must have reached every platform (rules §9)."""
_AGES: Final = ((1, "< 1 h"), (6, "1–6 h"), (24, "6–24 h"), (48, "24–48 h"))
_OLDER: Final = "> 48 h"
_DASHES: Final = {"recorded_to_visible": "2 3", "visible_to_accepted": "", "accepted_to_done": "7 4"}


@dataclass(frozen=True, slots=True)
class Open:
    """One removal that has no good end yet. `frozen`: the platform refused it."""

    sent: Sent
    request: Request
    age: timedelta
    frozen: bool

    @property
    def late(self) -> bool:
        """True when it is older than the promise, refused, or has no known result."""
        return self.frozen or self.request.settled == "unknown" or self.age > timedelta(hours=PROMISE)


def leaving(m: Material) -> Section:
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
    blocks: list[Block] = [Text(about), _curve(m, clocks) if clocks else _clock_table(m, clocks), _ages(m, open_removals(m))]
    return Section("removals", m.t("Borttagningar", "Removals"), tuple(blocks))


def open_removals(m: Material) -> tuple[Open, ...]:
    """Every open removal of the whole log, whatever the period: oldest first."""
    controller = m.filters.controller
    by_list: dict[str, list[tuple[Sent, Request]]] = {}
    for each in m.every:
        if controller is None or each.transfer.controller == controller:
            asked = (
                request for request in each.transfer.requests if request.operation == Operation.REMOVE and not request.everywhere
            )
            by_list.setdefault(str(each.transfer.intent.get("list_id", "")), []).extend((each, request) for request in asked)
    found = [open_ for list_id, asked in by_list.items() for open_ in _open(m, asked, m.deleted.get(list_id, -1))]
    return tuple(sorted(found, key=lambda each: each.request.index))


def removal_remarks(m: Material) -> tuple[Remark, ...]:
    """What the exceptions say of removals: those that are late, refused or unknown."""
    found = []
    for each in open_removals(m):
        if each.late and each.request.settled != "unknown":  # an unknown result stands there by itself
            kind = m.t("fryst borttagning", "frozen removal") if each.frozen else m.t("öppen borttagning", "open removal")
            people = number(each.request.people, m.language)
            what = m.t(f"{people} personer, {_hours(each.age)} gammal", f"{people} people, {_hours(each.age)} old")
            where = str(each.sent.transfer.intent.get("audience", ""))
            found.append(Remark(kind, each.request.at, where, what, each.request.code, each.request.index, open=True))
    return tuple(found)


def _open(m: Material, asked: Sequence[tuple[Sent, Request]], deleted: int) -> Iterable[Open]:
    """The open ones of one list. A refused one is over when a later one that repeats was taken; only the last of several refusals counts."""
    asked = sorted((pair for pair in asked if pair[1].index > deleted), key=lambda pair: pair[1].index)
    for place, (sent, request) in enumerate(asked):
        age = m.now - datetime.fromisoformat(request.at).astimezone(UTC)
        if request.settled in ("waiting", "unknown"):
            yield Open(sent, request, age, frozen=False)
        elif request.settled == "failed" and not any(
            later.repeat or later.settled == "failed" for _, later in asked[place + 1 :]
        ):
            yield Open(sent, request, age, frozen=True)


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
        panels.append(steps(named, curves, [(PROMISE, m.t("24 timmar", "24 hours"))], m.t("timmar", "hours")))
    return Figure("clocks", caption, says, tuple(panels), _clock_table(m, clocks))


def _clock_says(m: Material, clock: RemovalClock) -> str:
    kept = clock.longest <= PROMISE * 3600
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
        people[_age(each.age)].append(each.request.people)
    caption = m.t("Öppna borttagningar efter ålder", "Open removals by age")
    late = sum(each.late for each in found)
    says = m.t(
        f"{len(found)} begäranden saknar slut, {late} av dem är sena, avvisade eller okända.",
        f"{len(found)} requests have no end, {late} of them are late, refused or unknown.",
    )
    sums = {name: total(parts)[0] for name, parts in people.items()}
    rows = [(name, sums[name] if sums[name] or not people[name] else None) for name in people]
    picture = bars_by_name(Named("ages-picture", caption, says), rows, number(1, m.language))
    return Figure("ages", caption, says, (picture,), _open_table(m, found, in_numbers(m, caption)))


def _open_table(m: Material, found: Sequence[Open], caption: str) -> Table:
    columns = (
        Column(m.t("Post", "Entry"), "number"),
        Column(m.t("Begärd (Stockholm)", "Asked for (Stockholm)"), "time"),
        Column(m.t("Ålder", "Age")),
        Column(m.t("Målgrupp", "Audience"), "code"),
        Column(m.t("Personer", "People"), "number"),
        Column(m.t("Tillstånd", "State")),
        Column(m.t("Kod", "Code"), "code"),
    )
    rows = tuple(
        (
            Cell(str(each.request.index)),
            Cell(stockholm(each.request.at), utc(each.request.at)),
            Cell(_age(each.age), _hours(each.age)),
            Cell(str(each.sent.transfer.intent.get("audience", ""))),
            Cell(number(each.request.people, m.language)),
            Cell(m.t("fryst: avvisad", "frozen: refused") if each.frozen else word("settled", each.request.settled, m.language)),
            Cell(each.request.code or "–"),
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
