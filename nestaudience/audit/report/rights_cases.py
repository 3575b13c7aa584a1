"""The sixth section: what people asked for, and who looked whom up: counts and cases, in the log's own words.

A case is the group's own number for it. No entry says who the person is, and nothing here does.
"""

from typing import Any, Final

from nestaudience.audit.report.material import Material, stockholm, utc
from nestaudience.audit.report.model import Cell, Column, Section, Table, Text
from nestaudience.audit.report.readable import count_of
from nestaudience.audit.report.small import number, plain
from nestaudience.audit.report.words import word
from nestaudience.ledger.entries import EntryType

KINDS: Final = (EntryType.ACCESS, EntryType.ERASURE, EntryType.RECTIFICATION, EntryType.SUPPRESSION, EntryType.LOOKUP)


def rights_cases(m: Material) -> Section:
    """The section."""
    entries = m.of(*KINDS)
    cases = [entry for entry in entries if entry["fields"].get("case_id")]
    counts = {kind: [entry for entry in cases if entry["type"] == kind] for kind in KINDS}
    rows = tuple(
        (
            Cell(word("entry", kind.value, m.language)),
            Cell(plain(len(found))),
            Cell(plain(len({str(entry["fields"]["case_id"]) for entry in found}))),
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
    return Section("rights", title, (Text(_summary(m, entries)), counted, _cases(m, cases)))


def _summary(m: Material, entries: list[dict[str, Any]]) -> str:
    remembered = sum(count_of(entry["fields"], "noes") for entry in entries if entry["fields"].get("what") == "remembered")
    noes = number(remembered, m.language)
    return m.t(
        f"Varje uppslag av en person kräver ett ärende och blir en post i loggen. Under perioden kom {noes} nej "
        "till minnet från kundregistret; de gäller "
        "även om registret glömmer dem.",
        f"Every lookup of a person needs a case and becomes an entry. In the period {noes} noes came into memory "
        "from the customer store; they hold even "
        "if the store forgets them.",
    )


def _cases(m: Material, cases: list[dict[str, Any]]) -> Table:
    columns = (
        Column(m.t("Post", "Entry"), "number"),
        Column(m.t("Tid (Stockholm)", "Time (Stockholm)"), "time"),
        Column(m.t("Ärende", "Case"), "code"),
        Column(m.t("Slag", "Kind")),
        Column(m.t("Vad", "What"), "code"),
        Column(m.t("Av", "By"), "code"),
    )
    rows = tuple(
        (
            Cell(str(entry["index"])),
            Cell(stockholm(entry["at"]), utc(entry["at"])),
            Cell(str(entry["fields"]["case_id"])),
            Cell(word("entry", entry["type"], m.language)),
            Cell(_what(entry["fields"]), _about(m, entry["fields"])),
            Cell(str(entry["actor"]), str(entry["fields"].get("role", ""))),
        )
        for entry in cases
    )
    none = m.t("Inga ärenden i perioden.", "No cases in the period.")
    return Table("rights-cases", m.t("Varje ärende", "Each case"), columns, rows, none)


def _what(fields: dict[str, Any]) -> str:
    return ", ".join(str(fields[name]) for name in ("what", "reason", "state") if fields.get(name)) or "–"


def _about(m: Material, fields: dict[str, Any]) -> str:
    """Purpose and recipient where they are named; every number as a count of people."""
    said = [f"{name} {fields[name]}" for name in ("purpose", "recipient") if fields.get(name)]
    said += [f"{name} {number(value, m.language)}" for name, value in sorted(fields.items()) if type(value) is int and value >= 0]
    return ", ".join(said)
