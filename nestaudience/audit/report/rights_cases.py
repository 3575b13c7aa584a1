"""The sixth section: what people asked for, and who looked whom up: counts and cases, in the log's own words.

A case is the group's own number for it. No entry says who the person is, and nothing here does.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nestaudience.audit.lookups import TYPES, lookups
from nestaudience.audit.report.material import Material, stockholm, utc
from nestaudience.audit.report.model import Cell, Column, Section, Table, Text
from nestaudience.audit.report.readable import count_of
from nestaudience.audit.report.words import word
from nestaudience.audit.small import number, plain
from nestaudience.ledger.entries import EntryType, utc_text

KINDS: Final = (EntryType.ACCESS, EntryType.ERASURE, EntryType.RECTIFICATION, EntryType.SUPPRESSION, EntryType.LOOKUP)
Row = Mapping[Any, Any]


def rights_cases(m: Material) -> Section:
    """The section: the rows of `audit lookups`."""
    cases = lookups(m.entries(TYPES), m.filters).to_dict("records")
    counts = {kind: [row for row in cases if row["type"] == kind.value] for kind in KINDS}
    rows = tuple(
        (
            Cell(word("entry", kind.value, m.language)),
            Cell(plain(len(found))),
            Cell(plain(len({row["case_id"] for row in found if row["case_id"]}))),
        )
        for kind, found in counts.items()
    )
    columns = (
        Column(m.t("Slag", "Kind")),
        Column(m.t("Poster", "Entries"), "number"),
        Column(m.t("Ärenden", "Cases"), "number"),
    )
    counted = Table("rights-counts", m.t("Ärenden efter slag", "Cases by kind"), columns, rows, "–")
    title = m.t("Rättigheter och uppslag", "Rights and lookups")
    return Section("rights", title, (Text(_summary(m)), counted, _cases(m, cases)))


def _summary(m: Material) -> str:
    said = (entry["fields"] for entry in m.of(EntryType.SUPPRESSION))
    noes = number(sum(count_of(fields, "noes") for fields in said if fields.get("what") == "remembered"), m.language)
    return m.t(
        "Varje uppslag av en person kräver ett ärende och blir en post i loggen. "
        f"Under perioden kom {noes} nej till minnet från kundregistret; de gäller även om registret glömmer dem.",
        "Every lookup of a person needs a case and becomes an entry. "
        f"In the period {noes} noes came into memory from the customer store; they hold even if the store forgets them.",
    )


def _cases(m: Material, cases: Sequence[Row]) -> Table:
    columns = (
        Column(m.t("Post", "Entry"), "number"),
        Column(m.t("Tid (Stockholm)", "Time (Stockholm)"), "time"),
        Column(m.t("Ärende", "Case"), "code"),
        Column(m.t("Slag", "Kind")),
        Column(m.t("Vad", "What"), "code"),
        Column(m.t("Omfattning", "Extent")),
        Column(m.t("Av", "By"), "code"),
    )
    rows = tuple(_row(m, row) for row in cases)
    none = m.t("Inga ärenden i perioden.", "No cases in the period.")
    return Table("rights-cases", m.t("Varje ärende", "Each case"), columns, rows, none)


def _row(m: Material, row: Row) -> tuple[Cell, ...]:
    at = utc_text(row["at"])
    about = ", ".join(str(row[name]) for name in ("purpose", "recipient") if row[name])
    words = {
        "accounts": m.t("konton", "accounts"),
        "lists": m.t("listor", "lists"),
        "transfers": m.t("överföringar", "transfers"),
    }
    extent = [f"{number(row[name], m.language)} {said}" for name, said in words.items() if isinstance(row[name], int)]
    return (
        Cell(str(row["index"])),
        Cell(stockholm(at), utc(at)),
        Cell(row["case_id"] or "–"),
        Cell(word("entry", row["type"], m.language)),
        Cell(row["what"] or "–", about),
        Cell(", ".join(extent) or "–", row["receipt_digest"][:16]),
        Cell(row["actor"]),
    )
