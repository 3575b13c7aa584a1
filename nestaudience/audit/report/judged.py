"""The fourth section: whom the nights judged, list by list, and why people were refused; with additions and removals over time, and sizes.

What it tells of a list is its last funnel in the period; a chart adds over lists, and a person counts once for each list that she was judged for.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any, Final

from nestaudience.audit.report.charts import Bar, Named, bars_by_name, size_of_list, up_and_down
from nestaudience.audit.report.material import NIGHTLY, Material, day_of, in_numbers, night_of
from nestaudience.audit.report.model import Block, Cell, Column, Figure, Section, Table, Text
from nestaudience.audit.report.readable import count_of, counts_of, texts_of
from nestaudience.audit.report.sending import described
from nestaudience.audit.report.small import beside, hidden, number, plain, shown, tens, total
from nestaudience.ledger.entries import EntryType
from nestaudience.sentences import REASONS, said
from nestaudience.vocabulary import Reason

Funnel = Mapping[str, Any]
_STEPS: Final = ("candidates", "eligible", "wanted")
_MOVES: Final = ("noes", "ordinary", "additions")
_BY_NIGHT, _BY_WEEK = 62, 420


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
        blocks.append(_movement(m))
    if found:
        blocks.append(_sizes(m, found))
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
        moves = (Cell(number(count_of(funnel, name), m.language)) for name in _MOVES)
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


def _movement(m: Material) -> Figure:
    """Additions and removals per night and platform. Beyond two months they are counted by week, beyond fourteen by month."""
    days = [day_of(each.transfer.started_at) for each in m.sent]
    span = (max(days) - min(days)).days + 1
    unit = m.t("natt", "night") if span <= _BY_NIGHT else m.t("vecka", "week") if span <= _BY_WEEK else m.t("månad", "month")
    counts: dict[tuple[str, str, str], list[int]] = {}
    for each, day in zip(m.sent, days, strict=True):
        name = str(each.transfer.intent.get("recipient", ""))
        removed = each.transfer.late_removals + (each.transfer.people("accepted") if each.transfer.operation == "remove" else 0)
        added = each.transfer.people("accepted") if each.transfer.operation == "add" else 0
        counts.setdefault((name, _bucket(day, span), "add"), []).append(added)
        counts.setdefault((name, _bucket(day, span), "remove"), []).append(removed)
    names = list(dict.fromkeys(_bucket(min(days) + timedelta(days=number), span) for number in range(span)))
    platforms = sorted({key[0] for key in counts})
    caption = m.t(f"Tillagda och borttagna per {unit} och plattform", f"Additions and removals per {unit} and platform")
    says = " ".join(_movement_says(m, counts, platform) for platform in platforms)
    words = (m.t("tillagda", "added"), m.t("borttagna", "removed"), m.t("färre än 10", "fewer than 10"))
    panels, rows = [], []
    for platform in platforms:
        sums = {(name, what): sum(counts.get((platform, name, what), [0])) for name in names for what in ("add", "remove")}
        bars = [Bar(_short(name, span), shown(sums[name, "add"]), shown(sums[name, "remove"])) for name in names]
        panels.append(up_and_down(Named(f"movement-{platform}", platform.capitalize(), says), bars, words))
        rows += [
            (
                Cell(name),
                Cell(platform),
                Cell(number(sums[name, "add"], m.language)),
                Cell(number(sums[name, "remove"], m.language)),
            )
            for name in names
            if (platform, name, "add") in counts
        ]
    columns = (Column(unit.capitalize(), "time"), Column(m.t("Plattform", "Platform")), Column(words[0].capitalize(), "number"))
    table = Table(
        "movement-table",
        in_numbers(m, caption),
        (*columns, Column(words[1].capitalize(), "number")),
        tuple(sorted(rows, key=lambda r: (r[0].text, r[1].text))),
        "–",
    )
    return Figure("movement", caption, says, tuple(panels), table)


def _movement_says(m: Material, counts: Mapping[tuple[str, str, str], list[int]], platform: str) -> str:
    sums = {}
    for what in ("add", "remove"):
        nights = [sum(parts) for key, parts in counts.items() if (key[0], key[2]) == (platform, what)]
        people, whole = total(nights)
        sums[what] = plain(people) if whole else f"≥ {plain(people)}"
    return m.t(
        f"{platform.capitalize()}: {sums['add']} tillagda, {sums['remove']} borttagna.",
        f"{platform.capitalize()}: {sums['add']} added, {sums['remove']} removed.",
    )


def _bucket(day: date, span: int) -> str:
    if span <= _BY_NIGHT:
        return day.isoformat()
    return (day - timedelta(days=day.weekday())).isoformat() if span <= _BY_WEEK else day.isoformat()[:7]


def _short(name: str, span: int) -> str:
    return name[5:] if span <= _BY_NIGHT else name


def _sizes(m: Material, found: Mapping[str, list[tuple[date, Funnel]]]) -> Figure:
    """What the ledger assumes of each list after each night, rounded to tens."""
    limits = {str(key): m.settings.smallest_list(key) for key in m.settings.audiences}
    caption = m.t("Listornas storlek över tid", "List size over time")
    panels, rows, below_now, moved = [], [], 0, _moved(m)
    for place, (audience, nights) in enumerate(found.items()):
        sizes = list(_after(moved, audience, nights))
        limit = limits.get(audience, m.settings.gates.smallest_list)
        values = [size for _, size in sizes]
        below = sum(size < limit for size in values)
        below_now += values[-1] < limit
        desc = m.t(
            f"Sist {plain(values[-1])} personer, gränsen är {plain(limit)}.",
            f"Last {plain(values[-1])} people; the limit is {plain(limit)}.",
        )
        panels.append(
            size_of_list(
                Named(f"size-{place}", audience, desc), sizes, limit, m.t(f"gräns {plain(limit)}", f"limit {plain(limit)}")
            )
        )
        people = (Cell(plain(value)) for value in (values[0], min(values), max(values), values[-1], limit))
        rows.append((Cell(audience, described(m, audience)), *people, Cell(plain(below))))
    says = m.t(
        f"{len(found)} listor; {below_now} står under gränsen efter sista natten. Avrundat till tiotal.",
        f"{len(found)} lists; {below_now} are below the limit after the last night. Rounded to tens.",
    )
    labels = (
        ("Första", "First"),
        ("Minsta", "Smallest"),
        ("Största", "Largest"),
        ("Sista", "Last"),
        ("Gräns", "Limit"),
        ("Nätter under gränsen", "Nights below"),
    )
    columns = (Column(m.t("Målgrupp", "Audience"), "code"), *(Column(m.t(*pair), "number") for pair in labels))
    table = Table("sizes-table", in_numbers(m, caption), columns, tuple(rows), "–")
    return Figure("sizes", caption, says, tuple(panels), table, small=True)


def _after(moved: Mapping[tuple[str, str], int], audience: str, nights: list[tuple[date, Funnel]]) -> Iterator[tuple[date, int]]:
    """(night, people): who was held when the night began, and what its transfers added and took off."""
    for night, funnel in nights:
        yield night, tens(max(0, count_of(funnel, "held") + moved.get((str(funnel["run_id"]), audience), 0)))


def _moved(m: Material) -> dict[tuple[str, str], int]:
    """(run, audience) -> how many more its transfers left on the list. What may have been added counts; what may have been taken off does not."""
    moved: dict[tuple[str, str], int] = {}
    for each in m.sent:
        transfer = each.transfer
        adds = (
            transfer.people("accepted") + transfer.people("unknown")
            if transfer.operation == "add"
            else -transfer.people("accepted")
        )
        key = (transfer.run_id, str(transfer.intent.get("audience")))
        moved[key] = moved.get(key, 0) + adds - transfer.late_removals
    return moved
