"""What a platform's word about a request does to the request's batch in memory, and how the log tells it.

Pure: a settlement in, the batch's new state and the fields of its entry out. It asks nobody and writes nothing.
"""

from dataclasses import dataclass
from typing import Final

from nestaudience.destinations.port import Failed, NeverSeen, PartlyRefused, Settlement, StillProcessing, Succeeded
from nestaudience.ledger.entries import Value

CONSENT_CODES: Final = frozenset({"denied_consent", "no_consent", "unknown_consent"})
"""Counts of these in an answer mean that a platform disagrees with us about consent: an incident."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is now known of one batch. `state` is its new state in the ledger, `outcome` the word of the log, `rejected` how many people the
    platform refused, `codes` its own counts by reason.
    """

    state: str
    outcome: str
    records: int
    rejected: int
    codes: tuple[tuple[str, int], ...]

    def fields(self, batch_id: bytes, transfer_id: str, audience: str) -> dict[str, Value]:
        """What a platform status entry says."""
        return {
            "batch_id": batch_id.hex(),
            "transfer_id": transfer_id,
            "audience": audience,
            "state": self.outcome,
            "records": self.records,
            "rejected": self.rejected,
            "codes": dict(self.codes),
        }

    def consent_counts(self) -> dict[str, int]:
        """The counts by which the platform disagrees with us about consent."""
        return {code: count for code, count in self.codes if code in CONSENT_CODES}

    def changes(self, at: str) -> dict[str, object]:
        """The batch's new values; `at` is UTC text. A platform that knows nothing of a request has settled nothing: it may act on it yet."""
        settled = {} if self.state == "unknown" else {"settled_at": at}
        return {"state": self.state, "rejected": self.rejected, **settled}


LAPSED: Final = Answer("lapsed", "lapsed", 0, 0, ())
"""The platform has dropped these people by itself."""


def answer_of(settlement: Settlement, people: int) -> Answer | None:
    """The answer that a settlement of a batch of so many people gives; None while there is no result."""
    match settlement:
        case StillProcessing():
            return None
        case Succeeded(records, warnings):
            return Answer("confirmed", "succeeded", records, 0, warnings)
        case PartlyRefused(records, errors):
            return Answer("partly", "partly_refused", records, sum(count for _, count in errors), errors)
        case Failed(errors):
            return Answer("refused", "failed", 0, people, errors)
        case NeverSeen(code):
            return Answer("unknown", "never_seen", 0, 0, ((code, people),))
