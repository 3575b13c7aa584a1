"""What a run would ask of whom, before it starts: people, requests, minutes, and the gates that would hold some of it.

Made from a judgement that wrote nothing. Minutes are an estimate from how long earlier requests to the same destination took; it promises nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any, Final

from nestaudience.judging import Judged
from nestaudience.ledger.entries import EntryType
from nestaudience.ledger.log import LogReader
from nestaudience.parts import Parts
from nestaudience.vocabulary import AudienceKey

LAST_REQUESTS: Final = 200
"""How many of the latest requests to a destination an estimate looks at."""
UNTRIED_SECONDS: Final = 3.0
"""How long a request to a destination that was never used is taken to last: its last look, its entries, its answer."""


@dataclass(frozen=True, slots=True)
class ListPreview:
    """One list. `gates` are those that are closed; what they hold is not counted in `removals` and `additions`."""

    audience: AudienceKey
    removals: int
    additions: int
    requests: int
    minutes: float
    gates: tuple[str, ...]
    held_back: int

    def as_dict(self) -> dict[str, object]:
        """Keys and counts."""
        values = {name: getattr(self, name) for name in ListPreview.__dataclass_fields__}
        return values | {"gates": list(self.gates), "minutes": round(self.minutes, 1)}


@dataclass(frozen=True, slots=True)
class Preview:
    """Every list in a job's scope, and the sums."""

    lists: tuple[ListPreview, ...]

    @property
    def people(self) -> int:
        """People in requests, somebody on two lists twice."""
        return sum(each.removals + each.additions for each in self.lists)

    @property
    def requests(self) -> int:
        """Requests to the platforms that carry people."""
        return sum(each.requests for each in self.lists)

    @property
    def minutes(self) -> float:
        """How long sending would take; judging comes before it and takes as long as it just took."""
        return sum(each.minutes for each in self.lists)

    def as_dict(self) -> dict[str, object]:
        """Keys and counts."""
        sums = {"people": self.people, "requests": self.requests, "minutes": round(self.minutes, 1)}
        return {**sums, "lists": [each.as_dict() for each in self.lists]}


def preview(parts: Parts, judged: Judged) -> Preview:
    """What the judged job would send now."""
    seconds = request_seconds(parts.evidence.reader)
    return Preview(tuple(_of(parts, judged, key, seconds) for key in judged.delta.plans))


def _of(parts: Parts, judged: Judged, key: AudienceKey, seconds: dict[str, float]) -> ListPreview:
    plan, table = judged.delta.plans[key], parts.settings.audiences[key].table
    size = parts.settings.destinations[table.destination].batch_size
    if table.destination in parts.destinations:
        size = min(size, parts.destinations[table.destination].batch_size)
    requests = sum(-(-people // size) for people in (plan.removals_to_send, plan.additions_to_send))
    counts = plan.counts
    wished = counts.noes + counts.ordered + counts.ordinary + counts.additions
    return ListPreview(
        audience=key,
        removals=plan.removals_to_send,
        additions=plan.additions_to_send,
        requests=requests,
        minutes=requests * seconds.get(table.destination, UNTRIED_SECONDS) / 60,
        gates=tuple(gate.code for gate in plan.gates),
        held_back=wished - plan.removals_to_send - plan.additions_to_send,
    )


def request_seconds(reader: LogReader) -> dict[str, float]:
    """Destination -> how long a request to it took lately, from one batch entry to the next of the same transfer (median, in seconds).

    A transfer of one request is measured from its batch entry to its answer.
    """
    kinds = frozenset({EntryType.TRANSFER_INTENT, EntryType.BATCH, EntryType.BATCH_RESULT})
    destination: dict[str, str] = {}
    began: dict[str, datetime] = {}
    took: dict[str, list[float]] = {}
    for entry in reader.entries(types=kinds):
        fields: dict[str, Any] = entry["fields"]
        transfer, at = str(fields.get("transfer_id", "")), datetime.fromisoformat(entry["at"])
        if entry["type"] == EntryType.TRANSFER_INTENT:
            destination[transfer] = str(fields.get("destination", ""))
            continue
        if transfer in began and transfer in destination:
            took.setdefault(destination[transfer], []).append((at - began.pop(transfer)).total_seconds())
        if entry["type"] == EntryType.BATCH:
            began[transfer] = at
    return {name: median(values[-LAST_REQUESTS:]) for name, values in took.items() if values}
