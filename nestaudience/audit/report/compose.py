"""The whole report, from what was gathered: its sections in their order, what the log cannot prove, the rule for small counts, and the glossary."""

from typing import Final

import nestaudience
from nestaudience.audit.limits import CANNOT_PROVE
from nestaudience.audit.report.configured import configured
from nestaudience.audit.report.exceptions import exceptions, remarks_of
from nestaudience.audit.report.judged import judged
from nestaudience.audit.report.leaving import leaving, open_removals, removal_remarks
from nestaudience.audit.report.material import Material, stockholm
from nestaudience.audit.report.model import Cell, Column, Heading, Page, Points, Section, Table, Text
from nestaudience.audit.report.page import to_html
from nestaudience.audit.report.processing import processing
from nestaudience.audit.report.rights_cases import rights_cases
from nestaudience.audit.report.sending import ROWS, sending
from nestaudience.audit.report.verdict import verdict
from nestaudience.audit.report.words import GLOSSARY, LIMITS_SV
from nestaudience.ledger.entries import utc_text
from nestaudience.vocabulary import Environment, Language

_SMALL: Final = (
    (
        "Ett antal personer från 1 till 9 visas inte: «färre än 10». Noll visas.",
        "A count of one to nine people is not shown: “fewer than 10”. Nobody is 0, and is shown.",
    ),
    (
        (
            "En summa är hel bara när det som är dolt i den är flera rutor och minst tio personer tillsammans. "
            "Annars räknar den bara det som visas, med ≥."
        ),
        (
            "A sum is whole only when what is hidden in it is several cells and ten people together. Otherwise it "
            "adds only what is shown, with ≥."
        ),
    ),
    (
        (
            "Ett tal vars delar står i samma rad, eller som skiljer sig med 1 till 9 från ett tal bredvid, avrundas "
            "till tiotal, med ≈. Listors storlek och nattens plan avrundas alltid."
        ),
        (
            "A number whose parts stand in the same row, or that differs by one to nine from one beside it, is "
            "rounded to tens, with ≈. Sizes of lists, and a night's plan, always are."
        ),
    ),
    (
        (
            "Begäranden, nätter, ärenden och poster är inte personer och räknas som de är. Regeln skyddar inte mot "
            "den som lägger ihop flera rapporter."
        ),
        (
            "Requests, nights, cases and entries are not people, and are counted as they are. The rule is no "
            "protection against who combines several reports."
        ),
    ),
)


def to_report(m: Material, rows: int = ROWS) -> str:
    """The report as one HTML document. It comes out whether or not the log verifies, and says so first. More than
    `rows` transfers are told month by month.
    """
    return to_html(compose(m, rows))


def compose(m: Material, rows: int = ROWS) -> Page:
    """The report's parts."""
    still_open = open_removals(m)
    remarks = remarks_of(m, removal_remarks(m, still_open))
    sections = (
        verdict(m, remarks),
        exceptions(m, remarks),
        sending(m, rows),
        judged(m),
        leaving(m, still_open),
        rights_cases(m),
        configured(m),
        processing(m),
        _limits(m),
        _glossary(m),
    )
    made = stockholm(utc_text(m.now))
    first, last = m.first_night, m.last_night
    lines = [
        m.t(
            f"{m.company(m.filters.controller or '')} · {first or '–'} till {last or '–'}",
            f"{m.company(m.filters.controller or '')} · {first or '–'} to {last or '–'}",
        ),
        m.t(
            f"Gjord {made} (Stockholm) ur konfiguration och logg, av ingen person.",
            f"Made {made} (Stockholm) from configuration and log, by nobody's hand.",
        ),
    ]
    if m.settings.environment is Environment.SANDBOX:
        lines.append(
            m.t(
                f"Miljö: {m.settings.environment.value}. Påhittade personer.",
                f"Environment: {m.settings.environment.value}. Made-up people.",
            )
        )
    title = m.t("Rapport över utlämnade kundlistor", "Report on customer lists that were sent")
    return Page(m.language.value, title, tuple(lines), sections, _words(m))


def _words(m: Material) -> dict[str, str]:
    return {
        "skip": m.t("Hoppa till innehållet", "Skip to the content"),
        "contents": m.t("Innehåll", "Contents"),
        "made": f"nestaudience {nestaudience.__version__} · {m.verification.root.hex()}",
    }


def _limits(m: Material) -> Section:
    sentences = LIMITS_SV if m.language is Language.SV else CANNOT_PROVE
    intro = m.t(
        "Loggen bevisar vad vi beslutade, skickade och frågade. Den kan inte bevisa:",
        "The log proves what we decided, sent and asked. It cannot prove:",
    )
    heading = Heading("small-counts", m.t("Små tal visas inte", "Small counts are not shown"))
    rule = Points(tuple(m.t(*pair) for pair in _SMALL))
    return Section(
        "limits", m.t("Bevisens gränser", "Limits of the evidence"), (Text(intro), Points(tuple(sentences)), heading, rule)
    )


def _glossary(m: Material) -> Section:
    mine, other = (0, 1) if m.language is Language.SV else (1, 0)
    columns = (
        Column(m.t("Ord", "Word")),
        Column(m.t("Engelska", "Swedish")),
        Column(m.t("Betydelse", "Meaning")),
    )
    rows = tuple((Cell(words[mine]), Cell(words[other]), Cell(meanings[mine])) for words, meanings in GLOSSARY)
    title = m.t("Ordlista", "Glossary")
    return Section("glossary", title, (Table("glossary-table", title, columns, rows, "–"),))
