"""Which night still waits to be finished: asked by the hourly flow in the morning. It reads the log, and starts nothing."""

from datetime import date, datetime, time
from typing import Final

from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.memory import PROBING, SentBatch
from nestaudience.parts import Evidence
from nestaudience.vocabulary import STOCKHOLM, RunKind

NIGHT_BEGINS: Final = time(3, 30)
"""When the nightly run is scheduled, in Stockholm: a time that exists once every day."""
OVERDUE_FROM: Final = time(4, 0)
"""From then on a night that nobody began is begun by the hourly flow."""
GIVEN_UP_AT: Final = time(9, 0)
"""From then on an unfinished night waits for the next one, or for a person."""
WORTH_ANOTHER_TRY: Final = 3
"""The exit code of a run in which something may work a little later."""


def unfinished_night(evidence: Evidence, now: datetime) -> date | None:
    """The night (its day in Stockholm) that a run should finish now; None when there is none, or it is no longer morning.

    A night is unfinished when no nightly run of it came to its end, when the last one that did met something that may work later, or when the
    platform has taken the probe of a new list since that one began: the rest of the list can follow.
    """
    local = now.astimezone(STOCKHOLM)
    if not OVERDUE_FROM <= local.time() < GIVEN_UP_AT:
        return None
    tonight = local.date().isoformat()
    mine: set[str] = set()
    codes: list[int] | None = None
    begun = ""
    for entry in evidence.reader.entries(types=frozenset({EntryType.RUN_STARTED, EntryType.RUN_FINISHED})):
        fields = entry["fields"]
        if entry["type"] == EntryType.RUN_STARTED:
            if entry["run_kind"] == RunKind.NIGHTLY and fields.get("night") == tonight:
                mine.add(entry["run_id"])
                codes, begun = None, str(entry["at"])
        elif entry["run_id"] in mine:
            codes = [int(code) for code in fields.get("exit_codes", ())]
    more = codes is None or WORTH_ANOTHER_TRY in codes or _probe_taken_since(evidence, begun)
    return local.date() if more else None


def _probe_taken_since(evidence: Evidence, begun: str) -> bool:
    """True when a list whose first fill is not over has results since then (UTC text), and none to wait for."""
    probing = [remote.list_no for remote in evidence.memory.lists() if remote.state == PROBING]
    of_list: dict[int, list[SentBatch]] = {}
    for batch in evidence.memory.additions_to(probing) if probing else ():
        of_list.setdefault(batch.list_no, []).append(batch)
    return any(
        all(batch.state != "accepted" for batch in batches)
        and any(batch.state == "confirmed" and batch.settled_at > begun for batch in batches)
        for batches in of_list.values()
    )
