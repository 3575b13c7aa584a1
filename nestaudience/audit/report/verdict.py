"""The first section: is the log whole, by which level, which checkpoint, which anchors each night had, and what is open."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

import nestaudience
from nestaudience.audit.report.charts import DONE, MISSED, NOT_CLEAN, STATES, UNFINISHED, Named, calendar
from nestaudience.audit.report.exceptions import Remark, gaps_of
from nestaudience.audit.report.material import NIGHTLY, Material, Run, night_of, stockholm
from nestaudience.audit.report.model import Block, Cell, Column, Facts, Figure, Section, Table, Verdict
from nestaudience.audit.report.words import WORDS, word
from nestaudience.audit.small import plain

NIGHTS_LISTED: Final = 92
"""Up to so many nights each has a row; beyond, each month has."""
YEAR: Final = 380
"""More nights than this are drawn year by year."""
_WEEKDAYS: Final = (("mån", "tis", "ons", "tor", "fre", "lör", "sön"), ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))


def verdict(m: Material, remarks: tuple[Remark, ...]) -> Section:
    """The section."""
    blocks: list[Block] = [_box(m, remarks), _proof(m)]
    found = nights(m)
    if found:
        blocks.append(_calendar(m, found))
    return Section("verdict", m.t("Utlåtande", "Verdict"), tuple(blocks))


def _box(m: Material, remarks: tuple[Remark, ...]) -> Verdict:
    v, still_open = m.verification, sum(remark.open for remark in remarks)
    if v.ok:
        line = m.t("Loggen är verifierad: inget bryter beviskedjan.", "The log is verified: nothing breaks the proof.")
        says = m.t(
            "Varje post ger sin kontrollsumma, posterna ger de signerade kontrollpunkternas rötter, och avsikter, "
            "satser och resultat hör ihop.",
            "Every entry gives its hash, the entries give the roots of the signed checkpoints, and intents, batches "
            "and results fit together.",
        )
    else:
        line = m.t("Loggen är INTE verifierad: beviskedjan är bruten.", "The log is NOT verified: the proof is broken.")
        first = (
            ""
            if v.first_bad_entry is None
            else m.t(f" Första felaktiga post: {v.first_bad_entry}.", f" First bad entry: {v.first_bad_entry}.")
        )
        says = m.t(
            f"{len(v.problems)} fel hittades; de står först i nästa avsnitt.{first} Det som rapporten i övrigt säger "
            "är vad loggen säger, inte vad den bevisar.",
            f"{len(v.problems)} problems were found; they stand first in the next section.{first} What else this "
            "report says is what the log says, not what it proves.",
        )
    counts = (
        (plain(v.entries), m.t("poster i loggen", "entries in the log")),
        (plain(v.sealed), m.t("under signerad kontrollpunkt", "under a signed checkpoint")),
        (plain(len(m.sent)), m.t("överföringar i perioden", "transfers in the period")),
        (plain(still_open), m.t("öppna avvikelser", "open exceptions")),
    )
    return Verdict(v.ok, line, says, counts)


def _proof(m: Material) -> Facts:
    v, none = m.verification, m.t("ingen", "none")
    first, last = m.first_night, m.last_night
    period = f"{first} – {last}" if first and last else m.t("tom logg", "empty log")
    head = m.t("kunde inte läsas här; inte jämfört", "not readable here; not compared")
    if m.head is not None:
        head = m.t(f"täcker {plain(m.head.size)} poster; jämfört", f"covers {plain(m.head.size)} entries; compared")
    brought = m.t(
        f"{m.brought} medförda; den största som stämmer täcker {plain(v.anchored)} poster",
        f"{m.brought} brought; the largest that fits covers {plain(v.anchored)} entries",
    )
    level = m.t(
        "utan nycklar: innehåll, rötter, signaturer och vad posterna säger tillsammans; ingen person slogs upp",
        "without keys: bytes, roots, signatures, and what the entries say together; no person was looked up",
    )
    pairs = (
        (m.t("Period", "Period"), period),
        (m.t("Bolag", "Company"), m.company(m.filters.controller or "")),
        (m.t("Miljö", "Environment"), m.settings.environment.value),
        (m.t("Nivå", "Level"), level),
        (m.t("Loggens rot", "The log's root"), v.root.hex()),
        (m.t("Kontrollpunkter i loggen", "Checkpoints kept"), plain(v.checkpoints)),
        (m.t("Kontrollpunkter från annat håll", "Checkpoints from elsewhere"), brought if m.brought else none),
        (m.t("Huvudet vid nycklarna", "The head beside the keys"), head),
        (m.t("Återställningar", "Recoveries"), plain(len(v.epochs)) if v.epochs else none),
        (m.t("Strukna poster", "Redacted entries"), plain(v.redacted) if v.redacted else none),
        (m.t("Gjord med", "Made with"), f"nestaudience {nestaudience.__version__}"),
    )
    return Facts("proof", pairs)


def nights(m: Material) -> dict[date, tuple[str, list[Run]]]:
    """Night -> (state, its nightly runs), for every night of the period that had a run or should have had one."""
    runs: dict[date, list[Run]] = {}
    for run in m.runs:
        if run.kind in NIGHTLY and (night := night_of(run)) is not None:
            runs.setdefault(night, []).append(run)
    found: dict[date, tuple[str, list[Run]]] = {night: (_state(of), of) for night, of in runs.items()}
    for _, night in gaps_of(m):
        found.setdefault(night, (MISSED, []))
    return dict(sorted(found.items()))


def _state(runs: list[Run]) -> str:
    ended = [run for run in runs if run.outcome]
    if not ended:
        return UNFINISHED
    return DONE if any(run.outcome == "done" for run in ended) else NOT_CLEAN


def _calendar(m: Material, found: dict[date, tuple[str, list[Run]]]) -> Figure:
    words = {state: word("night", state, m.language) for state in STATES}
    counts = {state: sum(told == state for told, _ in found.values()) for state in STATES}
    anchored = sum(any(run.anchors for run in runs) for _, runs in found.values())
    said = ", ".join(f"{words[state]} {counts[state]}" for state in STATES if counts[state])
    says = m.t(
        f"{len(found)} nätter: {said}. {anchored} av dem fick minst ett ankare.",
        f"{len(found)} nights: {said}. {anchored} of them had at least one anchor.",
    )
    caption = m.t("Nätternas kalender", "Calendar of nights")
    weekdays = [m.t(*pair) for pair in zip(*_WEEKDAYS, strict=True)]
    years = sorted({night.year for night in found}) if len(found) > YEAR else [0]
    pictures = []
    for year in years:
        named = Named(f"calendar-{year}", f"{caption} {year or ''}".strip(), says)
        mine = {night: state for night, (state, _) in found.items() if year in (0, night.year)}
        pictures.append(calendar(named, mine, words, weekdays))
    table = _by_night(m, found) if len(found) <= NIGHTS_LISTED else _by_month(m, found)
    return Figure("calendar", caption, says, tuple(pictures), table)


def _by_night(m: Material, found: dict[date, tuple[str, list[Run]]]) -> Table:
    columns = (
        Column(m.t("Natt", "Night"), "time"),
        Column(m.t("Tillstånd", "State")),
        Column(m.t("Ankare", "Anchors")),
        Column(m.t("Började (Stockholm)", "Began (Stockholm)"), "time"),
        Column(m.t("Slutade (Stockholm)", "Ended (Stockholm)"), "time"),
        Column(m.t("Koder", "Codes"), "code"),
    )
    rows = []
    for night, (state, runs) in found.items():
        anchors = sorted({word("anchor", kind, m.language) for run in runs for kind in run.anchors})
        rows.append(
            (
                Cell(night.isoformat()),
                Cell(word("night", state, m.language)),
                Cell(", ".join(anchors) or m.t("inget", "none")),
                Cell(stockholm(runs[0].started_at) if runs else "–"),
                Cell((stockholm(runs[-1].ended_at) if runs else "") or "–"),
                Cell(", ".join(sorted({code for run in runs for code in run.errors})) or "–"),
            )
        )
    return Table("nights", m.t("Varje natt och dess ankare", "Each night and its anchors"), columns, tuple(rows), "–")


def _by_month(m: Material, found: dict[date, tuple[str, list[Run]]]) -> Table:
    months: dict[str, list[date]] = {}
    for night in found:
        months.setdefault(night.isoformat()[:7], []).append(night)
    columns = (
        Column(m.t("Månad", "Month"), "time"),
        *(Column(m.t(*WORDS["night"][state]), "number") for state in STATES),
        Column(m.t("Med ankare", "Anchored"), "number"),
        Column(m.t("Nätter med anmärkning, utan slut eller utan körning", "Nights with remarks, no end, or no run")),
    )
    rows = []
    for month, mine in months.items():
        states = [found[night][0] for night in mine]
        anchored = sum(any(run.anchors for run in found[night][1]) for night in mine)
        bad = ", ".join(_spans([night for night in mine if found[night][0] != DONE])) or "–"
        counts = (Cell(plain(states.count(state))) for state in STATES)
        rows.append((Cell(month), *counts, Cell(plain(anchored)), Cell(bad)))
    caption = m.t("Nätterna månad för månad", "The nights month by month")
    return Table("nights", caption, columns, tuple(rows), "–")


def _spans(days: list[date]) -> Iterator[str]:
    """Days as days of their month, those in a row together: `3`, `7-9`."""
    start = 0
    for place, day in enumerate(days):
        if place + 1 == len(days) or days[place + 1] != day + timedelta(days=1):
            yield str(days[start].day) if start == place else f"{days[start].day}–{day.day}"
            start = place + 1
