"""What was accepted last: per audience, what the last run saw on which no gate on the feeds was closed, by the log's own word.

A release opens such a gate, so that the run that uses it is the one to measure later runs by. How many people there were is taken from runs that
came to their end; what the sources showed from any, because a run that was cut off has sent as well. It verifies nothing and holds counts, times
and labels only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any, Final

from nestaudience.delta.approvals import EMPTIED
from nestaudience.delta.feeds import FEED_GATES, SNAPSHOT_STALE, Accepted, Facts, Marks
from nestaudience.delta.stops import ENDING
from nestaudience.ledger.entries import EntryType, Value, utc_text
from nestaudience.vocabulary import AudienceKey

ACCEPTED_BY: Final = frozenset({EntryType.SNAPSHOT, EntryType.FUNNEL, EntryType.RUN_FINISHED})
"""The entries that `accepted_last` needs; give them to `LogReader.entries`."""
MOST_SOURCES: Final = 100
"""So many sources, of all companies together, are written down: those with the most events."""
_SAYS_NOTHING: Final = FEED_GATES | ENDING.keys() | EMPTIED.keys() | {SNAPSHOT_STALE, "retract"}
"""Gates with which a funnel is no measure. A list that is being emptied closes no gate on its feeds, whatever they are."""


@dataclass(slots=True)
class _Run:
    marks: Marks
    funnels: dict[AudienceKey, Mapping[str, Any]] = field(default_factory=dict)


def snapshot_fields(
    taken_at: datetime, counts: Mapping[str, int], problems: Iterable[str], facts: Facts | None, *, freshness_unknown: bool
) -> dict[str, Value]:
    """What a snapshot's entry says: rows by view, codes of what was wrong, and the marks of a store that was read in whole."""
    fields: dict[str, Value] = {"taken_at": utc_text(taken_at), "counts": dict(counts), "problems": sorted(set(problems))}
    if facts is not None and facts.whole:
        fields["marks"] = {
            "latest": {key: utc_text(at) for key, at in islice(facts.marks.latest.items(), MOST_SOURCES)},
            "generations": dict(sorted(facts.marks.generations.items())),
            "accounts": dict(sorted(facts.marks.accounts.items())),
        }
    return fields | ({"freshness": "unknown"} if freshness_unknown else {})


def accepted_last(entries: Iterable[Mapping[str, Any]], keys: Iterable[AudienceKey]) -> dict[AudienceKey, Accepted]:
    """What was accepted last of each of these audiences. One that never was judged is measured by the marks of the others: a list that is new on the
    day on which a backup was put back is filled from that backup.
    """
    runs: dict[str, _Run] = {}
    found: dict[AudienceKey, Accepted] = {}
    last: Accepted | None = None
    for entry in entries:
        kind, fields, run_id = entry["type"], entry["fields"], entry["run_id"]
        if kind == EntryType.SNAPSHOT and "marks" in fields:
            runs[run_id] = _Run(_marks(fields["marks"]))
        elif kind == EntryType.FUNNEL and run_id in runs and not _SAYS_NOTHING & set(fields.get("gates", ())):
            key, marks = AudienceKey(str(fields["audience"])), runs[run_id].marks
            runs[run_id].funnels[key] = fields
            found[key] = replace(found.get(key, Accepted(marks)), marks=marks)
            last = Accepted(marks)
        elif kind == EntryType.RUN_FINISHED:
            for key, funnel in (runs.pop(run_id).funnels if run_id in runs else {}).items():
                company = key.partition("/")[0]
                counts = int(funnel.get("candidates", 0)), int(funnel.get("eligible", 0))
                found[key] = Accepted(found[key].marks, *counts, found[key].marks.accounts.get(company, 0))
    return {key: each for key in keys if (each := found.get(key, last)) is not None}


def _marks(fields: Mapping[str, Any]) -> Marks:
    latest = {str(key): datetime.fromisoformat(str(at)) for key, at in fields.get("latest", {}).items()}
    generations = {str(key): str(load) for key, load in fields.get("generations", {}).items()}
    return Marks(latest, generations, {str(key): int(count) for key, count in fields.get("accounts", {}).items()})
