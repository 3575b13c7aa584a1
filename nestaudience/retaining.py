"""Retention: what is kept no longer than its time. Confirmed erasures get their day, due salts are destroyed, old withdrawals are forgotten,
and so is that an alert ended.

The log itself is not pruned here: its oldest year may go after `log_years`, and no installation is that old. Memberships go when their removal is
confirmed, in every nightly run. It sends nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import pyarrow as pa

from nestaudience.by_hand import A_WHILE, by_hand
from nestaudience.erasing import still_there
from nestaudience.ledger.entries import EntryType, Value, utc_text
from nestaudience.ledger.erasures import Erasure, confirm, destroy, erasures, wipe_journal
from nestaudience.ledger.memberships import TOKEN
from nestaudience.ledger.told import ToldAlerts
from nestaudience.parts import Parts
from nestaudience.remembering import forget_old

ALERTS_KEPT: Final = timedelta(days=90)
"""How long it is remembered that an alert ended. One that comes back counts as new anyway, and the row is no evidence: no entry tells of it."""


@dataclass(frozen=True, slots=True)
class Retained:
    """What a run did, in people: removals confirmed without a receipt that anybody asked for, salts destroyed, kept by a legal hold, and erasures
    of which a removal is still open.
    """

    confirmed: int
    destroyed: int
    on_hold: int
    waiting: int


def retain(parts: Parts, *, actor: str = "cli") -> Retained:
    """One retention run, now. Raises `TryAgain`: `leased`; and what the ledger raises."""
    with by_hand(parts, actor, patience=A_WHILE) as context:
        now, log, keep = parts.clock(), parts.open_log(), parts.settings.retention
        known = erasures(parts.evidence.engine)
        there = still_there(parts, [each.person_token for each in known])
        unconfirmed = [each.person_token for each in known if not each.receipt_at]
        done = [person for person in unconfirmed if person not in there]
        if done:
            fields: dict[str, Value] = {"what": "confirmed", "case_id": "", "people": len(done)}
            log.append([(EntryType.ERASURE, context, fields)], lambda connection, _: confirm(connection, done, utc_text(now)))
        due, held = _due(erasures(parts.evidence.engine), there, now - timedelta(days=keep.salt_days))
        forget_old(parts, log, context, now, keep.withdrawal_months)
        salts = parts.memory.persons(pa.array(due, TOKEN)).num_rows if due else 0
        found = Retained(len(done), salts, held, len(unconfirmed) - len(done))
        said: dict[str, Value] = {"what": "salts", "days": keep.salt_days, "confirmed": found.confirmed}
        said |= {"destroyed": found.destroyed, "on_hold": found.on_hold, "waiting": found.waiting}
        log.append_and_seal([(EntryType.RETENTION, context, said)], lambda connection, _: _destroy(connection, due))
        ToldAlerts(parts.evidence.engine).forget_ended(now - ALERTS_KEPT)
        if due:
            wipe_journal(parts.evidence.engine)
    return found


def _due(known: tuple[Erasure, ...], there: frozenset[bytes], before: datetime) -> tuple[list[bytes], int]:
    """Whose salts are due, and how many are due and held. Whoever consented anew and is on a list again keeps hers until she is off it: nobody
    could tell her otherwise who has her address now.
    """
    over = [each for each in known if each.receipt_at and each.person_token not in there]
    old = [each for each in over if each.receipt_at <= utc_text(before)]
    return [each.person_token for each in old if not each.hold_case], sum(bool(each.hold_case) for each in old)


def _destroy(connection: object, tokens: list[bytes]) -> None:
    destroy(connection, tokens)  # type: ignore[arg-type]
