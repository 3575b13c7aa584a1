"""The third section: what was sent to whom, on which grounds, by which run, and what became of it.

Each transfer has a row up to `ROWS`; beyond, each month, list and operation has. What transfers have in common (grounds, runs) stands once, and the
rows point to it.
"""

from typing import Final

from nestaudience.audit.columns import day_of
from nestaudience.audit.report.material import Material, Run, Sent, stockholm, utc
from nestaudience.audit.report.model import Block, Cell, Column, Section, Table, Text
from nestaudience.audit.report.words import COUNTRIES, word
from nestaudience.audit.small import beside, number, plain, tens, total
from nestaudience.vocabulary import Language

ROWS: Final = 600
"""Up to so many transfers each has a row."""
_RUN_ROWS: Final = 400
_REQUESTS: Final = 3
"""So many of the platform's own ids are printed of one transfer; the rest are counted."""
_GROUNDS: Final = (
    "controller", "recipient", "recipient_name", "recipient_country", "transfer_mechanism",
    "terms_reference", "purpose", "legal_basis",
    "data_category", "disclosed_in", "disclosed_at", "consent_texts", "consent_signals", "dpia",
    "sensitive", "owner", "approved_by", "approved_on",
    "normaliser_version",
)  # fmt: skip
_PEOPLE: Final = ("planned", "accepted", "refused", "unknown", "late")


def sending(m: Material, rows: int = ROWS) -> Section:
    """The section. Beyond so many `rows` transfers are told month by month."""
    grounds = _grounds(m)
    blocks: list[Block] = [Text(_summary(m)), _lists(m)]
    if len(m.sent) <= rows:
        blocks.append(_each(m, grounds))
    else:
        blocks += [Text(_too_many(m)), _by_month(m)]
    return Section("transfers", m.t("Överföringar", "Transfers"), (*blocks, _grounds_table(m, grounds), _runs(m)))


def people_of(sent: Sent) -> dict[str, int]:
    """The counts of one transfer, as `audit transfers` has them."""
    transfer = sent.transfer
    answers = {outcome: transfer.people(outcome) for outcome in ("accepted", "refused", "unknown")}
    return {"planned": transfer.planned, **answers, "late": transfer.late_removals}


def described(m: Material, audience: str) -> str:
    """What an audience's list holds, in the words of the configuration; empty where it has none any more."""
    known = next((each for key, each in m.settings.audiences.items() if key == audience), None)
    return known.segment.name if known is not None else ""


def _summary(m: Material) -> str:
    sums = {
        operation: total(each.transfer.people("accepted") for each in m.sent if each.transfer.operation == operation)
        for operation in ("add", "remove")
    }
    added, removed = (_sum(*sums[operation]) for operation in ("add", "remove"))
    recipients = sorted({_recipient(m, each) for each in m.sent if each.transfer.intent.get("recipient_name")})
    to = "; ".join(recipients) or "–"
    return m.t(
        f"{plain(len(m.sent))} överföringar till {to}. Mottagna personer: {added} tillagda, {removed} borttagna. "
        "En person räknas en gång för varje lista.",
        f"{plain(len(m.sent))} transfers to {to}. People in accepted requests: {added} added, {removed} removed. "
        "A person counts once for each list.",
    )


def _too_many(m: Material) -> str:
    return m.t(
        f"Så många överföringar ({plain(len(m.sent))}) får inte plats var för sig: de står här månad för månad. "
        "Varje överföring för sig finns i "
        "`nestaudience audit export` och `nestaudience audit transfers`, och loggens poster har numren nedan.",
        f"So many transfers ({plain(len(m.sent))}) have no room one by one: they stand here month by month. Each "
        "of them is in `nestaudience audit "
        "export` and `nestaudience audit transfers`, and the log's entries have the numbers below.",
    )


def _lists(m: Material) -> Table:
    """What the opaque codes mean: list, company, recipient, account."""
    columns = (
        Column(m.t("Lista", "List"), "code"),
        Column(m.t("Vad den innehåller", "What it holds")),
        Column(m.t("Bolag", "Company")),
        Column(m.t("Mottagare", "Recipient")),
        Column(m.t("Annonskonto", "Ad account"), "code"),
        Column(m.t("Listans id", "List id"), "code"),
    )
    rows: dict[tuple[str, ...], tuple[Cell, ...]] = {}
    for each in m.sent:
        intent = each.transfer.intent
        code, audience = (str(intent.get(name, "")) for name in ("list_code", "audience"))
        account, list_id = (str(intent.get(name, "")) for name in ("ad_account", "list_id"))
        cells = (
            Cell(code or "–", audience),
            Cell(described(m, audience) or "–"),
            Cell(m.company(each.transfer.controller), _number(m, each)),
        )
        rows.setdefault((audience, account, list_id), (*cells, Cell(_recipient(m, each)), Cell(account), Cell(list_id)))
    caption = m.t("Listorna och vad deras koder betyder", "The lists, and what their codes mean")
    return Table("lists", caption, columns, tuple(rows[key] for key in sorted(rows)), m.t("Ingen lista.", "No list."))


def _number(m: Material, each: Sent) -> str:
    known = m.settings.controllers.get(each.transfer.controller)
    return known.organisation_number if known is not None else ""


def _recipient(m: Material, each: Sent) -> str:
    intent = each.transfer.intent
    country = str(intent.get("recipient_country", ""))
    named = COUNTRIES.get(country)
    said = country if named is None else named[0] if m.language is Language.SV else named[1]
    return f"{intent.get('recipient_name') or intent.get('recipient', '')}{f', {said} ({country})' if country else ''}"


def _each(m: Material, grounds: dict[tuple[str, ...], str]) -> Table:
    columns = (
        Column(m.t("Post", "Entry"), "number"),
        Column(m.t("Tid (Stockholm, UTC)", "Time (Stockholm, UTC)"), "time"),
        Column(m.t("Från bolag till mottagare", "From company to recipient")),
        Column(m.t("Lista", "List"), "code"),
        Column(m.t("Åtgärd", "Operation")),
        *_people_columns(m),
        Column(m.t("Resultat", "Result")),
        Column(m.t("Grund", "Grounds")),
        Column(m.t("Körning", "Run"), "code"),
        Column(m.t("Plattformens id", "Platform's id"), "code"),
    )
    printed = frozenset(run.run_id for run in _printed(m))
    rows = tuple(_row(m, each, grounds, printed) for each in m.sent)
    caption = m.t("Varje överföring", "Each transfer")
    return Table(
        "each-transfer", caption, columns, rows, m.t("Ingen överföring i perioden.", "No transfer in the period."), _foot(m, 5, 4)
    )


def _people_columns(m: Material) -> tuple[Column, ...]:
    words = (
        ("Planerade", "Planned"),
        ("Mottagna", "Accepted"),
        ("Avvisade", "Refused"),
        ("Okända", "Unknown"),
        ("Sena", "Late"),
    )
    return tuple(Column(m.t(*pair), "number") for pair in words)


def _row(m: Material, each: Sent, grounds: dict[tuple[str, ...], str], printed: frozenset[str]) -> tuple[Cell, ...]:
    transfer, intent = each.transfer, each.transfer.intent
    ids = [request.request_id for request in transfer.requests if request.request_id]
    more = len(ids) - _REQUESTS
    platform = Cell(", ".join(ids[:_REQUESTS]) or "–", m.t(f"och {more} till", f"and {more} more") if more > 0 else "")
    ground = grounds[_ground_of(each)]
    audience = str(intent.get("audience", ""))
    return (
        Cell(str(transfer.index)),
        Cell(stockholm(transfer.started_at), utc(transfer.started_at)),
        Cell(m.company(transfer.controller), f"→ {_recipient(m, each)}, {intent.get('ad_account', '')}"),
        Cell(str(intent.get("list_code") or intent.get("list_id", "")), audience),
        Cell(word("operation", transfer.operation, m.language)),
        *_people(m, people_of(each)),
        Cell(word("settled", transfer.settled, m.language)),
        Cell(ground, link=f"grounds-{ground}"),
        Cell(transfer.run_id[:13], link=f"run-{transfer.run_id}" if transfer.run_id in printed else ""),
        platform,
    )


def _people(m: Material, people: dict[str, int]) -> list[Cell]:
    """The five counts, of which the plan is a total of those beside it."""
    planned, parts = people["planned"], [people[name] for name in ("accepted", "refused", "unknown")]
    whole, exact = beside(planned, parts) if planned >= 10 else (planned, True)
    first = number(whole, m.language) if exact else f"≈ {plain(tens(whole))}"
    return [Cell(first), *(Cell(number(people[name], m.language)) for name in _PEOPLE[1:])]


def _foot(m: Material, before: int, after: int) -> tuple[tuple[Cell, ...], ...]:
    if not m.sent:
        return ()
    counts = []
    for operation in ("add", "remove"):
        mine = [people_of(each) for each in m.sent if each.transfer.operation == operation]
        if mine:
            head = Cell(f"{m.t('Summa', 'Sum')}, {word('operation', operation, m.language)}", span=before)
            counts.append((head, *_sums(m, mine), *[Cell("")] * after))
    return tuple(counts)


def _sums(m: Material, rows: list[dict[str, int]]) -> list[Cell]:
    """Sums of columns. The plan's is rounded to tens: what is hidden beside it would show otherwise."""
    sums = [total(people[name] for people in rows) for name in _PEOPLE[1:]]
    planned = sum(people["planned"] for people in rows)
    exact = all(whole for _, whole in sums) and all(beside(p["planned"], [p["accepted"]])[1] for p in rows)
    first = number(planned, m.language) if exact else f"≈ {plain(tens(planned))}"
    return [Cell(first), *(Cell(_sum(*each)) for each in sums)]


def _sum(people: int, whole: bool) -> str:  # noqa: FBT001 (it comes as a pair)
    return plain(people) if whole else f"≥ {plain(people)}"


def _by_month(m: Material) -> Table:
    groups: dict[tuple[str, str, str], list[Sent]] = {}
    for each in m.sent:
        month = day_of(each.transfer.started_at).isoformat()[:7]
        groups.setdefault((month, str(each.transfer.intent.get("audience", "")), each.transfer.operation), []).append(each)
    columns = (
        Column(m.t("Månad", "Month"), "time"),
        Column(m.t("Lista", "List"), "code"),
        Column(m.t("Åtgärd", "Operation")),
        Column(m.t("Överföringar", "Transfers"), "number"),
        *_people_columns(m),
        Column(m.t("Utan känt resultat", "Without a known result"), "number"),
        Column(m.t("Första–sista post", "First–last entry"), "code"),
    )
    rows = []
    for (month, audience, operation), mine in sorted(groups.items()):
        sums = {name: sum(people_of(each)[name] for each in mine) for name in _PEOPLE}
        code = str(mine[-1].transfer.intent.get("list_code", ""))
        unknown = sum(each.transfer.settled == "unknown" for each in mine)
        head = (Cell(month), Cell(code, audience), Cell(word("operation", operation, m.language)), Cell(plain(len(mine))))
        entries = f"{mine[0].transfer.index}–{mine[-1].transfer.index}"
        rows.append((*head, *_people(m, sums), Cell(plain(unknown)), Cell(entries)))
    caption = m.t("Överföringar månad för månad", "Transfers month by month")
    return Table("monthly-transfers", caption, columns, tuple(rows), "–", _foot(m, 4, 2))


def _ground_of(each: Sent) -> tuple[str, ...]:
    intent = each.transfer.intent
    said = {"controller": each.transfer.controller, **intent}
    return (*(_text(said.get(name, "")) for name in _GROUNDS), each.policy_version)


def _text(value: object) -> str:
    return ", ".join(str(each) for each in value) if isinstance(value, list | tuple) else str(value)


def _grounds(m: Material) -> dict[tuple[str, ...], str]:
    """What transfers rest on -> a short name, in order of first use."""
    found: dict[tuple[str, ...], str] = {}
    for each in m.sent:
        found.setdefault(_ground_of(each), f"G{len(found) + 1}")
    return found


def _grounds_table(m: Material, grounds: dict[tuple[str, ...], str]) -> Table:
    columns = (
        Column(m.t("Grund", "Grounds")),
        Column(m.t("Bolag och mottagare", "Company and recipient")),
        Column(m.t("Ändamål och rättslig grund", "Purpose and legal basis")),
        Column(m.t("Uppgifter", "Data")),
        Column(m.t("Samtyckestexter", "Consent texts"), "code"),
        Column(m.t("Policy", "Policy"), "code"),
        Column(m.t("Överföringsmekanism, villkor", "Transfer mechanism, terms"), "code"),
        Column(m.t("Konsekvensbedömning (DPIA)", "DPIA"), "code"),
        Column(m.t("Begärd och godkänd av", "Asked for and approved by")),
    )
    rows = []
    for key, name in grounds.items():
        said = dict(zip((*_GROUNDS, "policy_version"), key, strict=True))
        signals = f"{m.t('signaler', 'signals')}: {said['consent_signals']}" if said["consent_signals"] else ""
        rows.append(
            (
                Cell(name, anchor=f"grounds-{name}"),
                Cell(
                    m.company(said["controller"]),
                    f"→ {said['recipient_name'] or said['recipient']} ({said['recipient_country']})",
                ),
                Cell(said["purpose"], word("basis", said["legal_basis"], m.language)),
                Cell(word("data", said["data_category"], m.language), said["normaliser_version"]),
                Cell(said["consent_texts"] or m.t("– (borttagning)", "– (removal)"), signals),
                Cell(said["policy_version"], f"{said['disclosed_in']} § {said['disclosed_at']}"),
                Cell(said["transfer_mechanism"], said["terms_reference"]),
                Cell(said["dpia"] or "–", word("sensitive", said["sensitive"], m.language)),
                Cell(said["owner"] or "–", f"{said['approved_by'] or '–'}, {said['approved_on'] or '–'}"),
            )
        )
    caption = m.t("Vad överföringarna vilar på", "What the transfers rest on")
    return Table("grounds", caption, columns, tuple(rows), "–")


def _runs(m: Material) -> Table:
    """The runs that sent something, or each month of them when they are many."""
    printed = _printed(m)
    columns = (
        Column(m.t("Körning", "Run"), "code"),
        Column(m.t("Slag", "Kind")),
        Column(m.t("Började", "Began"), "time"),
        Column(m.t("Slutade", "Ended"), "time"),
        Column(m.t("Program", "Software"), "code"),
        Column(m.t("Konfiguration", "Configuration"), "code"),
        Column(m.t("Startad av", "Started by"), "code"),
    )
    rows = [
        (
            Cell(run.run_id, anchor=f"run-{run.run_id}"),
            Cell(word("run_kind", run.kind, m.language), run.outcome),
            Cell(stockholm(run.started_at), utc(run.started_at)),
            Cell(stockholm(run.ended_at) or "–", utc(run.ended_at)),
            Cell(run.software_version, run.commit),
            Cell(run.config_digest[:16], f"policy {run.policy_version}"),
            Cell(run.actor),
        )
        for run in printed
    ]
    many = len({each.transfer.run_id for each in m.sent})
    left_out = m.t(f" (de sista {len(rows)} av {many})", f" (the last {len(rows)} of {many})") if many > len(rows) else ""
    caption = m.t("Körningarna som skickade", "The runs that sent") + left_out
    return Table("runs", caption, columns, tuple(rows), "–")


def _printed(m: Material) -> list[Run]:
    """The runs that sent something, as many as have room: the last."""
    used = {each.transfer.run_id for each in m.sent}
    return [run for run in m.runs if run.run_id in used][-_RUN_ROWS:]
