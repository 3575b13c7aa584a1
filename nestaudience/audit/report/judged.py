"""The fourth section: whom the nights judged, list by list, and why people were refused; with additions and removals over time, and sizes.

What it tells of a list is its last funnel in the period; a chart adds over lists, and a person counts once for each list that she was judged for.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from nestaudience.audit.report.charts import Named, bars_by_name
from nestaudience.audit.report.material import NIGHTLY, Material, in_numbers, night_of
from nestaudience.audit.report.model import Block, Cell, Column, Figure, Section, Table, Text
from nestaudience.audit.report.over_time import movement, sizes
from nestaudience.audit.report.readable import count_of, counts_of, texts_of
from nestaudience.audit.report.sending import described
from nestaudience.audit.small import beside, hidden, number, plain, rough, total
from nestaudience.ledger.entries import EntryType
from nestaudience.sentences import REASONS, said
from nestaudience.vocabulary import Reason

Funnel = Mapping[str, Any]
_STEPS: Final = ("candidates", "eligible", "wanted")
_MOVES: Final = ("noes", "ordinary", "additions")


def judged(m: Material) -> Section:
    """The section."""
    found = funnels(m)
    last = {audience: nights[-1] for audience, nights in found.items()}
    blocks: list[Block] = [
        Text(
            m.t(
                "Tratten: från kontoinnehavare i segmentet till dem som får stå på listan. Den som nekas räknas på sin "
                "första orsak.",
                "The funnel: from account holders in the segment to those who may be on the list. Who is refused counts "
                "with the first reason.",
            )
        ),
        _funnel_table(m, last),
    ]
    if last:
        blocks.append(_reasons(m, {audience: funnel for audience, (_, funnel) in last.items()}))
    if m.sent:
        blocks.append(movement(m))
    if found:
        blocks.append(sizes(m, found))
    return Section("funnel", m.t("Prövning och listor", "Screening and lists"), tuple(blocks))


def funnels(m: Material) -> dict[str, list[tuple[date, Funnel]]]:
    """Audience -> (night, funnel) of the nightly runs of the period, in order."""
    nightly = {run.run_id: night for run in m.runs if run.kind in NIGHTLY and (night := night_of(run)) is not None}
    controller = m.filters.controller
    found: dict[str, list[tuple[date, Funnel]]] = {}
    for entry in m.entries(frozenset({EntryType.FUNNEL})):
        if entry["run_id"] in nightly and (controller is None or entry["controller"] == controller):
            fields = entry["fields"]
            found.setdefault(str(fields.get("audience", "")), []).append(
                (nightly[entry["run_id"]], fields | {"run_id": entry["run_id"]})
            )
    return dict(sorted(found.items()))


def _funnel_table(m: Material, last: Mapping[str, tuple[date, Funnel]]) -> Table:
    columns = (
        Column(m.t("Målgrupp", "Audience"), "code"),
        Column(m.t("Natt", "Night"), "time"),
        Column(m.t("I segmentet", "In the segment"), "number"),
        Column(m.t("Får vara med", "Eligible"), "number"),
        Column(m.t("Nekade", "Refused"), "number"),
        Column(m.t("Ska stå på listan", "Wanted"), "number"),
        Column(m.t("Nej", "Noes"), "number"),
        Column(m.t("Övriga bort", "Other removals"), "number"),
        Column(m.t("Nya", "Additions"), "number"),
        Column(m.t("Stängda spärrar", "Closed gates"), "code"),
    )
    rows = []
    for audience, (night, funnel) in last.items():
        parts = list(counts_of(funnel, "refused").values())
        candidates, eligible, wanted = (count_of(funnel, name) for name in _STEPS)
        steps = (_total(m, candidates, [eligible, *parts]), _total(m, eligible, [wanted]))
        refused = _total(m, sum(parts), parts)
        moves = (Cell(rough(count_of(funnel, name), m.language)) for name in _MOVES)
        gates = ", ".join(texts_of(funnel, "gates")) or "–"
        opened = ", ".join(texts_of(funnel, "released"))
        under = m.t(f"frisläppta: {opened}", f"released: {opened}") if opened else ""
        head = (Cell(audience, described(m, audience)), Cell(night.isoformat()))
        rows.append((*head, *steps, refused, Cell(number(wanted, m.language)), *moves, Cell(gates, under)))
    caption = m.t("Varje lista, senaste natten i perioden", "Each list, last night of the period")
    return Table("funnel-table", caption, columns, tuple(rows), m.t("Ingen lista prövades.", "No list was judged."))


def _total(m: Material, whole: int, parts: list[int]) -> Cell:
    if hidden(whole) or not whole:
        return Cell(number(whole, m.language))
    value, exact = beside(whole, parts)
    return Cell(number(value, m.language) if exact else f"≈ {plain(value)}")


def _reasons(m: Material, last: Mapping[str, Funnel]) -> Figure:
    order = [reason.value for reason in Reason]
    counts: dict[str, list[int]] = {}
    for funnel in last.values():
        for code, people in counts_of(funnel, "refused").items():
            counts.setdefault(code, []).append(people)
    sums = {code: total(parts) for code, parts in counts.items()}
    ranked = sorted(sums, key=lambda code: (-sums[code][0], order.index(code) if code in order else len(order)))
    ranked = [code for code in ranked if sum(counts[code])]
    caption = m.t("Varför människor nekades", "Why people were refused")
    too_few = number(1, m.language)
    rows = [(code, sums[code][0] if sums[code][0] else None) for code in ranked]
    first = _why(m, ranked[0]) if ranked else ""
    says = m.t(
        f"{len(ranked)} orsaker, senaste natten på varje lista. Vanligast: {first} Den som kunde stå på flera "
        "listor räknas på varje.",
        f"{len(ranked)} reasons, last night of each list. Most common: {first} Who could be on several lists counts on each.",
    )
    columns = (
        Column(m.t("Orsakskod", "Reason code"), "code"),
        Column(m.t("I ord", "In words")),
        Column(m.t("Personer", "People"), "number"),
    )
    lines = []
    for code in ranked:
        people, whole = sums[code]
        people_said = too_few if not people else plain(people) if whole else f"≥ {plain(people)}"
        lines.append((Cell(code), Cell(_why(m, code)), Cell(people_said)))
    table = Table("reasons-table", in_numbers(m, caption), columns, tuple(lines), m.t("Ingen nekades.", "Nobody was refused."))
    return Figure("reasons", caption, says, (bars_by_name(Named("reasons-picture", caption, says), rows, too_few),), table)


def _why(m: Material, code: str) -> str:
    known = next((reason for reason in Reason if reason.value == code), None)
    return code if known is None else said(REASONS[known], m.language)
