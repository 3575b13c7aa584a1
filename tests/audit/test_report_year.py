"""A year of nights and forty lists, 29 200 transfers: the report tells of them month by month, in seconds and in a file that can be sent."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from report_log import REASONS, settings
from report_tables import Read

from nestaudience.audit.frames import Filters
from nestaudience.audit.report.compose import to_report
from nestaudience.audit.report.material import gather
from nestaudience.audit.verify import Verification
from nestaudience.config.settings import Settings
from nestaudience.ledger.entries import EntryType, utc_text
from nestaudience.vocabulary import Language

NIGHTS, LISTS = 365, 40
BEGINS = datetime(2025, 11, 1, 2, 30, tzinfo=UTC)
ANSWERED = {"outcome": "accepted", "code": "", "request_id": "r"}
SETTLED = {"state": "succeeded", "records": 20, "rejected": 0}
SPREAD = {"people": 20, "p50": 3600, "p95": 7200, "max": 80_000}


class Year:
    """Entries as bytes, kept as a ledger would keep them, and decoded whenever they are asked for."""

    def __init__(self, known: Settings) -> None:
        self.bodies: list[tuple[str, str]] = []
        self._known = known
        keys = list(known.audiences)
        self._lists = [
            (f"{key.split('/')[0]}/segment_{n}/{key.split('/')[2]}", key) for n, key in enumerate(keys * (LISTS // len(keys)))
        ]
        for number in range(NIGHTS):
            self._night(BEGINS + timedelta(days=number))

    def entries(self, types: frozenset[EntryType] | None) -> Iterator[dict[str, Any]]:
        assert types is not None
        wanted = {kind.value for kind in types}
        return (json.loads(body) for kind, body in self.bodies if kind in wanted)

    def _night(self, at: datetime) -> None:
        run = f"run-{at.date()}"
        self._say(EntryType.RUN_STARTED, at, run, "", night=at.date().isoformat())
        for place, (audience, _) in enumerate(self._lists):
            company, _, recipient = audience.split("/")
            counts = {
                "candidates": 9000,
                "eligible": 7000,
                "wanted": 7000,
                "held": 5000,
                "noes": 20,
                "ordinary": 3,
                "additions": 30,
            }
            self._say(EntryType.FUNNEL, at, run, company, audience=audience, refused=REASONS, gates=[], **counts)
            for operation in ("remove", "add"):
                self._transfer(at, run, place, operation)
            self._say(
                EntryType.REMOVAL_TIMES,
                at,
                run,
                company,
                audience=audience,
                recipient=recipient,
                again=0,
                visible_to_accepted=SPREAD,
            )
        self._say(EntryType.RUN_FINISHED, at, run, "", outcome="done", errors=[])
        self._say(EntryType.ANCHOR, at, run, "", kind="directory")

    def _transfer(self, at: datetime, run: str, place: int, operation: str) -> None:
        audience, key = self._lists[place]
        known = next(each for name, each in self._known.audiences.items() if name == key)
        number = len(self.bodies)
        ids = {"transfer_id": f"t-{number}", "batch_id": f"{number:032x}", "audience": audience, "list_id": str(place)}
        intent = ids | {
            "operation": operation,
            "recipient": known.recipient.key.value,
            "recipient_name": known.recipient.legal_name,
        }
        intent |= {
            "recipient_country": "IE",
            "ad_account": known.ad_account.account_id,
            "list_code": f"na-{place:08d}",
            "dpia": "D",
        }
        intent |= {"legal_basis": "consent", "purpose": "ad_matching", "consent_texts": ["ads-2025-09"], "planned_additions": 30}
        company = known.controller.key
        self._say(EntryType.TRANSFER_INTENT, at, run, company, **intent)
        self._say(
            EntryType.BATCH, at, run, company, **ids, operation=operation, number=0, count=20 if operation == "remove" else 30
        )
        self._say(EntryType.BATCH_RESULT, at, run, company, **ids, **ANSWERED)
        self._say(EntryType.PLATFORM_STATUS, at, run, company, **ids, **SETTLED)

    def _say(self, entry_type: EntryType, at: datetime, run: str, company: str, **fields: Any) -> None:
        header = {
            "version": 1,
            "index": len(self.bodies),
            "type": entry_type.value,
            "at": utc_text(at),
            "run_id": run,
            "run_kind": "nightly",
        }
        header |= {
            "controller": company,
            "policy_version": "p",
            "software_version": "s",
            "commit": "c",
            "config_digest": "d",
            "actor": "a",
        }
        self.bodies.append((entry_type.value, json.dumps(header | {"fields": fields})))


@pytest.mark.slow
def test_a_year_of_forty_lists_is_told_in_a_small_file_in_seconds() -> None:
    known = settings()
    year = Year(known)
    whole = Verification(len(year.bodies), bytes(32), 1, len(year.bodies), 0, 0, (), (), (), (), {})
    began = time.process_time()
    now = BEGINS + timedelta(days=NIGHTS)
    html = to_report(gather(year.entries, known, whole, language=Language.SV, filters=Filters(), now=now))
    took = time.process_time() - began
    assert took < 40, f"{took:.0f} s"
    assert len(html.encode()) < 2_000_000
    rows = [row for row in Read(html).tables["Överföringar månad för månad"][1:] if not row[0].startswith("Summa")]
    assert len(rows) == 12 * LISTS * 2
    assert sum(int(row[3]) for row in rows) == NIGHTS * LISTS * 2
