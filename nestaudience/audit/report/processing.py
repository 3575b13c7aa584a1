"""The eighth section: the record of processing of article 30(1) GDPR, company by company, from the configuration alone.

What the configuration does not hold is said to be missing, never filled in. Regulation (EU) 2016/679, article 30(1)(a)-(g), read 2026-11-29:
https://eur-lex.europa.eu/eli/reg/2016/679/oj.
"""

from collections.abc import Iterator
from typing import Final

from nestaudience.audit.report.material import Material
from nestaudience.audit.report.model import Block, Facts, Heading, Section, Text
from nestaudience.audit.report.words import COUNTRIES, word
from nestaudience.config.schema import Controller, RecipientTable
from nestaudience.config.settings import Audience
from nestaudience.vocabulary import Language, Purpose

_SHOWN_PURPOSES: Final = (Purpose.AD_MATCHING, Purpose.ORDER_ANALYSIS, Purpose.WEB_BEHAVIOUR)


def processing(m: Material) -> Section:
    """The section."""
    about = m.t(
        "Artikel 30.1 a–g i dataskyddsförordningen, för var och en av de personuppgiftsansvariga, så långt "
        "konfigurationen räcker. Det som saknas där "
        "står i bolagets eget register.",
        "Article 30(1)(a)–(g) GDPR, for each controller, as far as the configuration goes. What it lacks stands "
        "in the company's own record.",
    )
    blocks: list[Block] = [Text(about)]
    for key, controller in m.settings.controllers.items():
        if m.filters.controller in (None, key):
            blocks.append(Heading(f"processing-{key}", controller.legal_name))
            blocks.append(Facts(f"record-{key}", tuple(_record(m, controller))))
    return Section("processing", m.t("Register över behandling (artikel 30)", "Record of processing (article 30)"), tuple(blocks))


def _record(m: Material, controller: Controller) -> Iterator[tuple[str, str]]:
    audiences = [each for each in m.settings.audiences.values() if each.controller.key == controller.key]
    recipients = {each.recipient.key: each.recipient for each in audiences}
    left = m.t("; har lämnat gruppen", "; it left the group") if controller.state == "divested" else ""
    missing = m.t("inte i konfigurationen", "not in the configuration")
    reached = m.t("Kontakt", "Contact"), controller.contact or missing
    officer = m.t("Dataskyddsombud", "Data protection officer"), controller.dpo or missing
    said = ". ".join(f"{name}: {value.rstrip('.')}" for name, value in (reached, officer))
    yield m.t("a) Ansvarig", "(a) Controller"), f"{controller.legal_name}, {controller.organisation_number}{left}. {said}."
    yield m.t("b) Ändamål", "(b) Purposes"), _purposes(m, audiences)
    people = m.t(
        "Kontoinnehavare som har samtyckt; kända minderåriga och företagskonton undantas. Uppgifter: ",
        "Account holders who consented; known minors and business accounts are left out. Data: ",
    )
    yield m.t("c) Registrerade och uppgifter", "(c) Data subjects and data"), people + _data(m, audiences)
    yield m.t("d) Mottagare", "(d) Recipients"), "; ".join(_recipient(m, each) for each in recipients.values()) or "–"
    mechanisms = "; ".join(
        f"{each.legal_name}: {each.transfer_mechanism} ({each.confirmed['transfer_confirmed_on']})"
        for each in recipients.values()
    )
    onward = m.t(
        "Uppgifterna lämnas till mottagare inom EES. Vidare överföring bedöms i: ",
        "Data is sent to recipients inside the EEA. Onward transfer is assessed in: ",
    )
    yield m.t("e) Tredjeland", "(e) Third countries"), onward + (mechanisms or "–")
    yield m.t("f) Tidsfrister", "(f) Time limits"), _limits(m, audiences)
    yield m.t("g) Säkerhet", "(g) Security"), _security(m)


def _purposes(m: Material, audiences: list[Audience]) -> str:
    used = [Purpose.AD_MATCHING] if audiences else []
    used += [Purpose.ORDER_ANALYSIS] if any(each.segment.uses_orders for each in audiences) else []
    used += [Purpose.WEB_BEHAVIOUR] if any(each.segment.uses_site for each in audiences) else []
    tables = (m.settings.purposes[purpose] for purpose in used if purpose in m.settings.purposes)
    said = (f"{t.key.value}: {word('basis', t.basis, m.language)} (policy {t.disclosed_in}, {t.section})" for t in tables)
    segments = ", ".join(sorted({each.segment.name for each in audiences}))
    return "; ".join(said) + (m.t(f". Segment: {segments}.", f". Segments: {segments}.") if segments else "–")


def _data(m: Material, audiences: list[Audience]) -> str:
    used = {Purpose.AD_MATCHING} if audiences else set()
    used |= {Purpose.ORDER_ANALYSIS} if any(each.segment.uses_orders for each in audiences) else set()
    used |= {Purpose.WEB_BEHAVIOUR} if any(each.segment.uses_site for each in audiences) else set()
    tables = (m.settings.purposes[purpose] for purpose in _SHOWN_PURPOSES if purpose in used and purpose in m.settings.purposes)
    return ", ".join(word("data", table.data_category, m.language) for table in tables) or "–"


def _recipient(m: Material, table: RecipientTable) -> str:
    known = COUNTRIES.get(table.country)
    country = table.country if known is None else known[0] if m.language is Language.SV else known[1]
    return f"{table.legal_name}, {country} ({m.t('villkor', 'terms')} {table.terms_reference}, {table.terms_confirmed_on})"


def _limits(m: Material, audiences: list[Audience]) -> str:
    kept = m.settings.retention
    days = sorted({each.table.membership_days for each in audiences})
    span = "–" if not days else f"{days[0]}" if len(days) == 1 else f"{days[0]}–{days[-1]}"
    return m.t(
        "Medlemskap: till dess att borttagningen är bekräftad; plattformen släpper den som inte läggs till igen "
        f"efter {span} dagar. Logg: {kept.log_years} år "
        f"och innevarande. Personens salt: {kept.salt_days} dagar efter kvittot på radering. Återkallelser: "
        f"{kept.withdrawal_months} månader.",
        f"Memberships: until the removal is confirmed; the platform drops whoever is not added again after {span} "
        f"days. Log: {kept.log_years} years and the "
        f"current one. A person's salt: {kept.salt_days} days from the receipt of an erasure. Withdrawals: "
        f"{kept.withdrawal_months} months.",
    )


def _security(m: Material) -> str:
    return m.t(
        "Adresser hashas i minnet och skrivs inte till disk; bara kontrollsummor lämnar huset. Medlemskap är "
        "förseglade (AES-256-GCM) och uppslag nycklade "
        "(HMAC-SHA-256); nycklarna ligger inte i databasen. Loggen är ett Merkleträd med signerade "
        "kontrollpunkter. Varje begäran jämförs med sin sats och sitt "
        "annonskonto innan den skickas. Två personer krävs för varje segment.",
        "Addresses are hashed in memory and not written to disk; only digests leave the house. Memberships are "
        "sealed (AES-256-GCM) and lookups keyed "
        "(HMAC-SHA-256); the keys are not in the database. The log is a Merkle tree with signed checkpoints. "
        "Each request is compared with its batch and its ad "
        "account before it is sent. Each segment needs two people.",
    )
