"""The second section: everything that is not as it should be, or that a person let pass. What is open comes first, then by time.

Open is what nobody has answered yet: a broken proof, a result that nobody knows, a removal that is late or refused, a run without an end, a
stop by hand.
A gap, an incident or a release stays in the list, and is not open: it happened.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from nestaudience.audit.incidents import incident
from nestaudience.audit.report.material import Material, stockholm, utc
from nestaudience.audit.report.model import Cell, Column, Section, Table, Text
from nestaudience.audit.report.readable import count_of, texts_of
from nestaudience.audit.report.words import WHAT_SV
from nestaudience.audit.small import number, rough
from nestaudience.audit.story import Finding
from nestaudience.ledger.entries import EntryType
from nestaudience.vocabulary import KillSwitch, Language

_RUN_UNFINISHED: Final = "run_unfinished"
ROWS: Final = 1000
"""So many exceptions are printed, the open ones first; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One line: whether it is open, what kind, when (UTC text, or a day), where, what it says, its code, and the entry (None: about no one entry)."""

    kind: str
    at: str
    where: str
    what: str
    code: str
    entry: int | None
    open: bool


def remarks_of(m: Material, removals: tuple[Remark, ...]) -> tuple[Remark, ...]:
    """Every remark: problems of the proof, then what else is open, then the rest by time. `removals` are those that `leaving` found."""
    problems = tuple(
        _finding(m, each, m.t("beviskedjan bruten", "proof broken"), is_open=True) for each in m.verification.problems
    )
    others = [*_notices(m), *_gaps(m), *_unknown(m), *_incidents(m), *_releases(m), *_standing(m), *removals]
    return (*problems, *sorted(others, key=lambda each: (not each.open, each.at, each.entry or 0)))


def exceptions(m: Material, remarks: tuple[Remark, ...]) -> Section:
    """The section."""
    counted = sum(remark.open for remark in remarks)
    says = m.t(
        f"{len(remarks)} avvikelser, varav {counted} öppna. Öppet är det som ingen har besvarat; det övriga hände och står kvar.",
        f"{len(remarks)} exceptions, {counted} of them open. Open is what nobody has answered; the rest happened, and stays.",
    )
    more = len(remarks) - ROWS
    if more > 0:
        says += m.t(f" De första {ROWS} står här.", f" The first {ROWS} stand here.")
    columns = (
        Column(m.t("Läge", "State")),
        Column(m.t("Slag", "Kind")),
        Column(m.t("Tid (Stockholm)", "Time (Stockholm)"), "time"),
        Column(m.t("Var", "Where"), "code"),
        Column(m.t("Vad", "What")),
        Column(m.t("Kod", "Code"), "code"),
        Column(m.t("Post", "Entry"), "number"),
    )
    rows = []
    for each in remarks[:ROWS]:
        moment = Cell(stockholm(each.at), utc(each.at)) if "T" in each.at else Cell(each.at or "–")
        place = Cell("–" if each.entry is None else str(each.entry))
        state = Cell(m.t("ÖPPEN", "OPEN") if each.open else m.t("noterad", "noted"))
        rows.append((state, Cell(each.kind), moment, Cell(each.where or "–"), Cell(each.what), Cell(each.code or "–"), place))
    caption = m.t("Avvikelser", "Exceptions")
    table = Table("exceptions-table", caption, columns, tuple(rows), m.t("Inga avvikelser.", "No exceptions."))
    return Section("exceptions", caption, (Text(says), table))


def gaps_of(m: Material) -> list[tuple[str, date]]:
    """(company, night) of the nights of the period without a run; '' is the whole group."""
    filters = m.filters
    return [
        (controller, night)
        for controller, night in m.verification.gaps
        if (filters.controller is None or controller in ("", filters.controller))
        and (filters.first is None or filters.first <= night)
        and (filters.last is None or night <= filters.last)
    ]


def _finding(m: Material, found: Finding, kind: str, *, is_open: bool) -> Remark:
    what = WHAT_SV.get(found.code, found.what) if m.language is Language.SV else found.what
    return Remark(kind, "", "", what, found.code, found.index, open=is_open)


def _notices(m: Material) -> Iterator[Remark]:
    for each in m.verification.notices:
        yield _finding(m, each, m.t("anmärkning", "remark"), is_open=each.code == _RUN_UNFINISHED)


def _gaps(m: Material) -> Iterator[Remark]:
    for controller, night in gaps_of(m):
        what = m.t("ingen nattkörning", "no nightly run")
        yield Remark(m.t("lucka", "gap"), night.isoformat(), m.company(controller), what, "", None, open=False)


def _unknown(m: Material) -> Iterator[Remark]:
    """Requests of which nobody knows the effect. They count as disclosed, and nobody counts as removed by them."""
    wanted = set(m.verification.unknown_batches)
    controller = m.filters.controller
    for each in m.every:
        if controller is not None and each.transfer.controller != controller:
            continue
        for request in each.transfer.requests:
            if request.batch_id in wanted:
                people = number(request.people, m.language)
                what = m.t(
                    f"resultat okänt, {people} personer: räknas som utlämnat och som inte borttaget",
                    f"result unknown, {people} people: counts as disclosed, and as not removed",
                )
                where = str(each.transfer.intent.get("audience", ""))
                kind, is_open = m.t("okänt resultat", "unknown result"), request.settled != "lapsed"
                yield Remark(kind, request.at, where, what, request.code, request.index, open=is_open)


def _incidents(m: Material) -> Iterator[Remark]:
    for entry in m.of(EntryType.INCIDENT):
        fields = entry["fields"]
        where = str(fields.get("audience") or fields.get("list_id") or fields.get("ad_account") or "")
        count = count_of(fields, "count")
        people = f", {number(count, m.language)} {m.t('personer', 'people')}" if count else ""
        kind, code = m.t("händelse", "incident"), str(fields.get("code", ""))
        what = (incident(code, m.language).rstrip(".") or kind) + people
        yield Remark(kind, entry["at"], where, what, code, int(entry["index"]), open=False)


def _releases(m: Material) -> Iterator[Remark]:
    for entry in m.of(EntryType.RELEASE):
        fields = entry["fields"]
        where, gates = str(fields.get("audience", "")), ", ".join(texts_of(fields, "gates"))
        kind = m.t("frisläppt spärr", "released gate")
        yield Remark(kind, entry["at"], where, _released(m, fields), gates, int(entry["index"]), open=False)


def _released(m: Material, fields: Mapping[str, Any]) -> str:
    joined, left = (rough(count_of(fields, name), m.language) for name in ("additions", "ordinary"))
    cause, case = str(fields.get("cause", "")), str(fields.get("case_id", "")) or "–"
    return m.t(
        f"släppt av en person: {joined} tillägg, {left} borttagningar; skäl {cause}, ärende {case}",
        f"let through by a person: {joined} additions, {left} removals; cause {cause}, case {case}",
    )


def _standing(m: Material) -> Iterator[Remark]:
    """What the configuration says of today."""
    if m.settings.kill_switch is not KillSwitch.OFF:
        what = m.t("någon har stoppat för hand", "somebody stopped it by hand")
        yield Remark(
            m.t("nödstopp", "kill switch"), "", "kill_switch.position", what, m.settings.kill_switch.value, None, open=True
        )
    if m.settings.freshness_unknown:
        what = m.t(
            "ingen vet hur färskt kundregistret är: konfigurationen säger så",
            "nobody knows how fresh the customer store is: the configuration says so",
        )
        yield Remark(m.t("färskhet", "freshness"), "", "store.freshness", what, "unknown", None, open=True)
    for problem in m.settings.problems:
        what = m.t("fel i konfigurationen: ", "fault in the configuration: ") + problem.message
        yield Remark(m.t("konfiguration", "configuration"), "", problem.path, what, "", None, open=True)
    for epoch in m.verification.epochs:
        what = m.t(
            f"återställd från säkerhetskopia: {epoch.entries_lost} signerade poster gick förlorade",
            f"recovered from a backup: {epoch.entries_lost} signed entries were lost",
        )
        yield Remark(m.t("återställning", "recovery"), epoch.at, epoch.origin, what, "epoch_opened", epoch.index, open=False)
