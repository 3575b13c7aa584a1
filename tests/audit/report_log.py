"""A log of some months for the report, written entry by entry as the night and the hour write it: with a gap, a dead run, refusals, small counts, an
unknown result, a released gate, cases, a list that was frozen, and an anchor on most nights. Nobody is in it.
"""

import tomllib
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from ledger_builder import BuiltLedger, members

from nestaudience.audit.frames import Filters
from nestaudience.audit.report.material import Material, gather
from nestaudience.audit.report.readable import readable
from nestaudience.audit.verify import verify
from nestaudience.config.load import from_document
from nestaudience.config.settings import Settings
from nestaudience.ledger.entries import Context, EntryType
from nestaudience.ledger.log import keep_batch_leaves
from nestaudience.ledger.merkle import membership_root
from nestaudience.vocabulary import Language, RunKind

EXAMPLE = Path(__file__).parents[2] / "config" / "nestaudience.toml"
FIRST = date(2026, 3, 1)
GAP, DEAD, NOT_CLEAN = date(2026, 3, 5), date(2026, 3, 7), date(2026, 3, 9)
REASONS = {"consent_missing": 1200, "consent_withdrawn": 251, "minor": 4, "objected": 30}


def settings(change: Any = None) -> Settings:
    """The example configuration, changed by a function of the document."""
    document = tomllib.loads(EXAMPLE.read_text("utf-8"))
    if change is not None:
        change(document)
    return from_document(document)


class Told:
    """Writes nights into a built ledger. `audiences` are of the configuration."""

    def __init__(self, ledger: BuiltLedger, known: Settings) -> None:
        self.ledger, self.known = ledger, known
        self._held: dict[str, int] = {}
        self._number = 0

    def context(self, run_id: str, controller: str = "", kind: RunKind = RunKind.NIGHTLY) -> Context:
        return Context(run_id, kind, controller, "2025-09-08", "0.1.0", "3f1c2ab", self.known.digest, "service")

    def at(self, night: date, hour: int = 2, minute: int = 30) -> None:
        self.ledger.clock.now = datetime(night.year, night.month, night.day, hour, minute, tzinfo=UTC)

    def night(self, night: date, audiences: Iterable[str], *, removed: int = 12, added: int = 40, anchored: bool = True) -> None:
        self.at(night)
        run = f"run-{night}"
        self._write(EntryType.RUN_STARTED, run, "", {"night": night.isoformat(), "environment": "sandbox"})
        if night == DEAD:
            return
        for audience in audiences:
            self._funnel(run, audience, removed, added)
            if removed and audience in self._held:
                self.transfer(run, audience, "remove", removed)
            first = 1500 if audience not in self._held else added
            self.transfer(run, audience, "add", first)
            self._held[audience] = self._held.get(audience, 0) + first - (removed if audience in self._held else 0)
        times = {"people": 40, "p50": 3600, "p95": 7200, "max": 82800}
        fields = {
            "audience": "computime/bought_audio_12m/google",
            "recipient": "google",
            "again": 0,
            "visible_to_accepted": times,
        }
        self._write(EntryType.REMOVAL_TIMES, run, "computime", fields)
        outcome = "not_clean" if night == NOT_CLEAN else "done"
        said = {"outcome": outcome, "exit_codes": [0], "errors": ["quota"] if night == NOT_CLEAN else []}
        self._write(EntryType.RUN_FINISHED, run, "", said)
        if anchored:
            self._write(EntryType.ANCHOR, run, "", {"kind": "directory", "size": self.ledger.log.count()})

    def transfer(
        self, run: str, audience: str, operation: str, people: int, outcome: str = "accepted", state: str = "succeeded"
    ) -> str:
        """One transfer of one request; its batch id. `outcome` empty: no answer was written."""
        self._number += 1
        controller, segment, recipient = audience.split("/")
        a = next(each for key, each in self.known.audiences.items() if key == audience)
        place = {"transfer_id": f"t-{self._number}", "audience": audience, "list_id": f"9{a.table.number:04d}"}
        adds = operation == "add"
        intent = place | {"operation": operation, "segment": segment, "destination": a.table.destination, "recipient": recipient}
        intent |= {
            "recipient_name": a.recipient.legal_name,
            "recipient_country": a.recipient.country,
            "list_code": f"na-{a.table.number:08d}",
        }
        intent |= {"transfer_mechanism": a.recipient.transfer_mechanism, "terms_reference": a.recipient.terms_reference}
        intent |= {
            "ad_account": a.ad_account.account_id,
            "purpose": "ad_matching",
            "legal_basis": "consent",
            "dpia": "DPIA-2026-04",
        }
        intent |= {"data_category": "hashed account e-mail address", "owner": "growth-1", "approved_by": "privacy-1"}
        intent |= {
            "approved_on": "2026-02-01",
            "sensitive": "reviewed_not_sensitive",
            "consent_texts": ["ads-2025-09"] if adds else [],
        }
        intent |= {"planned_additions": people if adds else 0, "planned_removals": 0 if adds else people}
        self._write(EntryType.TRANSFER_INTENT, run, controller, intent)
        leaves, batch_id = members(self.ledger.chance, people), self.ledger.chance(16)
        fields = place | {
            "batch_id": batch_id.hex(),
            "operation": operation,
            "number": 0,
            "count": people,
            "ad_account": a.ad_account.account_id,
        }
        entry = (
            EntryType.BATCH,
            self.context(run, controller),
            fields | {"recipient": recipient, "membership_root": membership_root(leaves).hex()},
        )
        self.ledger.log.append_and_seal([entry], lambda connection, _: keep_batch_leaves(connection, batch_id, leaves))
        answered = {"transfer_id": place["transfer_id"], "batch_id": batch_id.hex()}
        if outcome:
            said = {"outcome": outcome, "code": "" if outcome == "accepted" else "frozen", "request_id": f"r-{self._number}"}
            self._write(EntryType.BATCH_RESULT, run, controller, answered | said)
        if outcome == "accepted" and state:
            said_later = answered | {"audience": audience, "state": state, "records": people, "rejected": 0, "codes": {}}
            self._write(EntryType.PLATFORM_STATUS, run, controller, said_later)
        return batch_id.hex()

    def rare(self, night: date) -> None:
        """What happens seldom, in the afternoon of a day."""
        self.at(night, 13, 0)
        key = "computime/bought_audio_12m/google"
        self._write(
            EntryType.CONFIG_CHANGED,
            "run-c",
            "",
            {"new_digest": "ab" * 32, "first": False, "changes": 1, "changed": ["gates.change_percent"]},
        )
        approval = {
            "segment": "bought_audio_12m",
            "two_people": True,
            "approved_on": "2026-02-01",
            "dpia": "DPIA-2026-04",
            "faults": [],
        }
        self._write(EntryType.APPROVAL, "run-c", "computime", approval | {"sensitive": "reviewed_not_sensitive"})
        release = {
            "audience": key,
            "gates": ["anomaly"],
            "additions": 700,
            "ordinary": 3,
            "until": "2026-03-12T13:00:00.000Z",
            "cause": "campaign_start",
        }
        self._write(EntryType.RELEASE, "run-r", "computime", release | {"case_id": "C-7"})
        self._write(EntryType.INCIDENT, "run-i", "computime", {"code": "list_renamed", "audience": key, "list_id": "90001"})
        for number, kind in enumerate((EntryType.LOOKUP, EntryType.ACCESS, EntryType.ERASURE)):
            self._write(kind, f"run-l{number}", "", {"what": kind.value, "case_id": f"DSR-{number}", "accounts": 2})
        objected = {"what": "objected", "case_id": "DSR-9", "purpose": "ad_matching", "recipient": "*"}
        self._write(EntryType.SUPPRESSION, "run-o", "", objected)

    def _funnel(self, run: str, audience: str, removed: int, added: int) -> None:
        refused = sum(REASONS.values())
        counts = {
            "candidates": 2000 + refused,
            "eligible": 2000,
            "wanted": 1995,
            "noes": removed,
            "ordinary": 0,
            "additions": added,
            "refresh": 0,
        }
        said = counts | {
            "held": self._held.get(audience, 0),
            "refused": REASONS,
            "gates": [],
            "released": [],
            "vanished": 0,
            "ordered": 0,
        }
        self._write(EntryType.FUNNEL, run, audience.split("/")[0], said | {"audience": audience})

    def _write(self, kind: EntryType, run: str, controller: str, fields: dict[str, Any]) -> None:
        self.ledger.log.append_and_seal([(kind, self.context(run, controller), fields)])


def some_months(folder: Path, nights: int = 12, known: Settings | None = None) -> Told:
    """Nights from FIRST with two lists, and on the last a removal that nobody answered, one that was refused, and additions of few."""
    told = Told(BuiltLedger(folder), known or settings())
    lists = ["computime/bought_audio_12m/google", "bokhyllan/crime_readers/meta"]
    for number in range(nights):
        night = FIRST + timedelta(days=number)
        if night != GAP:
            told.night(
                night, lists, removed=(12, 3, 25)[number % 3], added=(40, 7, 0)[number % 3] or 11, anchored=number % 4 != 3
            )
        if number == 10:
            told.rare(night)
    run = f"run-{FIRST + timedelta(days=nights - 1)}"
    told.transfer(run, lists[0], "remove", 15, outcome="")
    told.transfer(run, lists[1], "remove", 4, outcome="refused")
    told.transfer(run, lists[1], "add", 500, outcome="accepted", state="")
    return told


def material(
    told: Told, language: Language = Language.SV, filters: Filters | None = None, known: Settings | None = None
) -> Material:
    """What the report is made from, two days after the last entry."""
    ledger = told.ledger
    now = ledger.clock.now + timedelta(days=2)
    found = verify(ledger.engine, ledger.verifiers, head=ledger.signer.head())
    return gather(
        lambda types: readable(ledger.log, types),
        known or told.known,
        found,
        language=language,
        filters=filters or Filters(),
        now=now,
        head=ledger.signer.head(),
    )
