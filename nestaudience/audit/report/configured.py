"""The seventh section: which segments there are, who let them pass, what changed in the configuration, and which lists were made and ended.

Approvals are data of a reviewed file: presence, difference and age are what the program checks. It authenticates nobody, and the report says so.
"""

from typing import Any, Final

from nestaudience.audit.report.material import Material, stockholm, utc
from nestaudience.audit.report.model import Cell, Column, Section, Table, Text
from nestaudience.audit.report.readable import count_of, texts_of
from nestaudience.audit.report.words import word
from nestaudience.ledger.entries import EntryType

_PLACES: Final = 12
"""So many changed places are named of one change; the rest are counted."""
_BINDINGS: Final = (
    EntryType.LIST_CREATED,
    EntryType.BINDING_CHANGED,
    EntryType.LIST_DELETED,
    EntryType.KEY_EVENT,
    EntryType.LEDGER_MIGRATED,
)


def configured(m: Material) -> Section:
    """The section."""
    about = m.t(
        "Namn och datum är uppgifter i en granskad fil. Programmet prövar att de finns, att två personer har "
        "sett segmentet och hur gammalt godkännandet "
        "är; det loggar in ingen.",
        "Names and dates are data of a reviewed file. The program checks that they are there, that two people "
        "looked, and how old an approval is; it "
        "authenticates nobody.",
    )
    title = m.t("Konfiguration och godkännanden", "Configuration and approvals")
    return Section("configuration", title, (Text(about), _segments(m), _changes(m), _approvals(m), _bindings(m)))


def _segments(m: Material) -> Table:
    columns = (
        Column(m.t("Segment", "Segment"), "code"),
        Column(m.t("Bolag", "Company")),
        Column(m.t("Bygger på", "Built on")),
        Column(m.t("Begärt av", "Asked for by"), "code"),
        Column(m.t("Godkänt av", "Approved by"), "code"),
        Column(m.t("Konsekvensbedömning (DPIA)", "DPIA"), "code"),
        Column(m.t("Känslighet", "Sensitivity")),
    )
    segments = {(a.segment.controller, a.segment.code): a.segment for a in m.settings.audiences.values()}
    rows = []
    for (controller, code), segment in sorted(segments.items()):
        if m.filters.controller in (None, controller):
            approval = segment.approval
            inputs = ", ".join(word("inputs", name, m.language) for name in segment.data_inputs)
            when = approval.approved_on.isoformat() if approval.approved_on is not None else "–"
            reviewer = m.t(f"av {approval.reviewer}", f"by {approval.reviewer}") if approval.reviewer else ""
            rows.append(
                (
                    Cell(code, segment.name),
                    Cell(m.company(controller)),
                    Cell(inputs),
                    Cell(approval.owner),
                    Cell(approval.approver or "–", when),
                    Cell(approval.dpia or "–", approval.commit or ""),
                    Cell(word("sensitive", approval.sensitive, m.language), reviewer),
                )
            )
    caption = m.t("Segmenten i dag", "The segments today")
    return Table("segments", caption, columns, tuple(rows), m.t("Inget segment.", "No segment."))


def _changes(m: Material) -> Table:
    columns = (
        Column(m.t("Post", "Entry"), "number"),
        Column(m.t("Tid (Stockholm)", "Time (Stockholm)"), "time"),
        Column(m.t("Ny kontrollsumma", "New digest"), "code"),
        Column(m.t("Ändringar", "Changes"), "number"),
        Column(m.t("Var", "Where"), "code"),
    )
    rows = []
    for entry in m.of(EntryType.CONFIG_CHANGED):
        fields = entry["fields"]
        places = texts_of(fields, "changed")
        count = count_of(fields, "changes")
        named = ", ".join(places[:_PLACES])
        more = count - min(len(places), _PLACES)
        under = m.t(f"och {more} till", f"and {more} more") if more > 0 else ""
        first = m.t("den första konfigurationen", "the first configuration") if fields.get("first") else ""
        digest = Cell(str(fields.get("new_digest", ""))[:16], first)
        rows.append(
            (
                Cell(str(entry["index"])),
                Cell(stockholm(entry["at"]), utc(entry["at"])),
                digest,
                Cell(str(count)),
                Cell(named or "–", under),
            )
        )
    none = m.t("Konfigurationen ändrades inte i perioden.", "The configuration did not change in the period.")
    return Table("config-changes", m.t("Ändringar i konfigurationen", "Changes of the configuration"), columns, tuple(rows), none)


def _approvals(m: Material) -> Table:
    columns = (
        Column(m.t("Post", "Entry"), "number"),
        Column(m.t("Tid (Stockholm)", "Time (Stockholm)"), "time"),
        Column(m.t("Segment", "Segment"), "code"),
        Column(m.t("Två personer", "Two people")),
        Column(m.t("Godkänt", "Approved on"), "time"),
        Column(m.t("Konsekvensbedömning (DPIA)", "DPIA"), "code"),
        Column(m.t("Känslighet, brister", "Sensitivity, faults")),
    )
    rows = []
    for entry in m.of(EntryType.APPROVAL):
        fields = entry["fields"]
        faults = ", ".join(texts_of(fields, "faults"))
        rows.append(
            (
                Cell(str(entry["index"])),
                Cell(stockholm(entry["at"]), utc(entry["at"])),
                Cell(str(fields.get("segment", "")), m.company(str(entry["controller"]))),
                Cell(m.t("ja", "yes") if fields.get("two_people") else m.t("nej", "no")),
                Cell(str(fields.get("approved_on", "–"))),
                Cell(str(fields.get("dpia") or "–")),
                Cell(word("sensitive", str(fields.get("sensitive", "")), m.language), faults),
            )
        )
    none = m.t("Inga godkännanden i perioden.", "No approvals in the period.")
    return Table("approvals", m.t("Godkännanden som loggen har sett", "Approvals that the log saw"), columns, tuple(rows), none)


def _bindings(m: Material) -> Table:
    columns = (
        Column(m.t("Post", "Entry"), "number"),
        Column(m.t("Tid (Stockholm)", "Time (Stockholm)"), "time"),
        Column(m.t("Händelse", "Event"), "code"),
        Column(m.t("Bolag", "Company")),
        Column(m.t("Målgrupp", "Audience"), "code"),
        Column(m.t("Annonskonto, lista", "Ad account, list"), "code"),
    )
    rows = tuple(
        (
            Cell(str(entry["index"])),
            Cell(stockholm(entry["at"]), utc(entry["at"])),
            Cell(str(entry["type"]), _state(entry["fields"])),
            Cell(m.company(str(entry["controller"]))),
            Cell(str(entry["fields"].get("audience", "–")), str(entry["fields"].get("code", ""))),
            Cell(str(entry["fields"].get("ad_account", "–")), str(entry["fields"].get("list_id", ""))),
        )
        for entry in m.of(*_BINDINGS)
    )
    caption = m.t(
        "Listor, annonskonton, nycklar: vad som skapades, ändrades och avslutades",
        "Lists, ad accounts, keys: made, changed and ended",
    )
    return Table("bindings", caption, columns, rows, m.t("Inget i perioden.", "Nothing in the period."))


def _state(fields: dict[str, Any]) -> str:
    return ", ".join(str(fields[name]) for name in ("state", "cause", "what") if fields.get(name))
