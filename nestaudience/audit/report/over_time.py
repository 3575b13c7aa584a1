"""Over time: who joined and who left, night by night and platform by platform, and how large each list was.

Counts are of people in requests that the platforms took; a size is what the ledger assumes, not what a platform says.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

from nestaudience.audit.columns import day_of
from nestaudience.audit.report.charts import Bar, Named, size_of_list, up_and_down
from nestaudience.audit.report.material import Material, in_numbers
from nestaudience.audit.report.model import Cell, Column, Figure, Table
from nestaudience.audit.report.readable import count_of
from nestaudience.audit.report.sending import described
from nestaudience.audit.small import number, plain, shown, tens, total

Funnel = Mapping[str, Any]
_BY_NIGHT: Final = 62
_BY_WEEK: Final = 420
"""Up to so many days there is a bar a night; up to so many, a week."""


def movement(m: Material) -> Figure:
    """Additions and removals per night and platform. Beyond two months they are counted by week, beyond fourteen by month."""
    days = [day_of(each.transfer.started_at) for each in m.sent]
    span = (max(days) - min(days)).days + 1
    unit = m.t("natt", "night") if span <= _BY_NIGHT else m.t("vecka", "week") if span <= _BY_WEEK else m.t("månad", "month")
    counts = _counted(m, days, span)
    names = list(dict.fromkeys(_bucket(min(days) + timedelta(days=number), span) for number in range(span)))
    platforms = sorted({key[0] for key in counts})
    caption = m.t(f"Tillagda och borttagna per {unit} och plattform", f"Additions and removals per {unit} and platform")
    says = " ".join(_movement_says(m, counts, platform) for platform in platforms)
    says += m.t(" Skalorna uppåt och nedåt är olika.", " The scales upwards and downwards differ.")
    words = (m.t("tillagda", "added"), m.t("borttagna", "removed"), m.t("färre än 10", "fewer than 10"))
    panels = []
    for platform in platforms:
        sums = ((name, *_both(counts, platform, name)) for name in names)
        bars = [Bar(name[5:] if span <= _BY_NIGHT else name, shown(added), shown(removed)) for name, added, removed in sums]
        panels.append(up_and_down(Named(f"movement-{platform}", platform.capitalize(), says), bars, words))
    columns = (
        Column(unit.capitalize(), "time"),
        Column(m.t("Plattform", "Platform")),
        *(Column(each.capitalize(), "number") for each in words[:2]),
    )
    rows = [
        (Cell(name), Cell(platform), *(Cell(number(people, m.language)) for people in _both(counts, platform, name)))
        for name in names
        for platform in platforms
        if (platform, name, "add") in counts
    ]
    return Figure(
        "movement", caption, says, tuple(panels), Table("movement-table", in_numbers(m, caption), columns, tuple(rows), "–")
    )


def _counted(m: Material, days: Sequence[date], span: int) -> dict[tuple[str, str, str], list[int]]:
    """(platform, night, add or remove) -> people of each transfer. Late removals are removals."""
    counts: dict[tuple[str, str, str], list[int]] = {}
    for each, day in zip(m.sent, days, strict=True):
        transfer, place = each.transfer, (str(each.transfer.intent.get("recipient", "")), _bucket(day, span))
        adds, accepted = transfer.operation == "add", transfer.people("accepted")
        counts.setdefault((*place, "add"), []).append(accepted if adds else 0)
        counts.setdefault((*place, "remove"), []).append(transfer.late_removals + (0 if adds else accepted))
    return counts


def _both(counts: Mapping[tuple[str, str, str], list[int]], platform: str, name: str) -> tuple[int, int]:
    added, removed = (sum(counts.get((platform, name, what), ())) for what in ("add", "remove"))
    return added, removed


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


def sizes(m: Material, found: Mapping[str, list[tuple[date, Funnel]]]) -> Figure:
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
