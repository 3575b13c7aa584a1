"""What the log says when a configuration is accepted: which parts are new, changed or gone, and every approval that came or changed.

Pure: two documents, settings and a day in, fields of entries out. Places and codes only, never a value of the file but keys and references that
transfers name as well. It accepts nothing itself.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final

from nestaudience.config.load import from_text, to_text
from nestaudience.config.schema import Document, Segment
from nestaudience.config.settings import Settings
from nestaudience.delta.approvals import approval_faults, review_missing, sensitive_words
from nestaudience.ledger.entries import Value

_IDENTITY: Final = {
    "controllers": ("key",),
    "recipients": ("key",),
    "purposes": ("key",),
    "texts": ("version",),
    "destinations": ("name",),
    "ad_accounts": ("controller", "destination"),
    "segments": ("controller", "code"),
    "audiences": ("controller", "segment", "destination"),
}
"""By what an entry of a list of tables is named."""
_PLACE: Final = re.compile(r"[A-Za-z0-9_./-]{1,63}")
_LONGEST: Final = 200
"""How many places one entry names."""
Part = dict[str, str]
"""Place -> what stands there, as text."""


def config_fields(settings: Settings, known: str | None) -> dict[str, Value]:
    """The fields of the entry. `known` is the text of the configuration that was accepted before, None for the first. No more than 200 places are
    named; `changes` counts all.
    """
    before, after = from_text(known) if known is not None else {}, from_text(to_text(settings.document))
    return {
        "new_digest": settings.digest,
        "first": known is None,
        "changes": len(_differing(before, after)),
        "changed": list(changed_parts(before, after))[:_LONGEST],
        "kill_switch": settings.kill_switch.value,
    }


def approval_fields(settings: Settings, known: str | None, today: date) -> Iterator[tuple[str, dict[str, Value]]]:
    """(controller, fields of an entry) for each segment that is new, or of which name, inputs or approval changed."""
    before = _segments(from_text(known)) if known is not None else {}
    after = _segments(from_text(to_text(settings.document)))
    words = sensitive_words(settings)
    for segment in {(a.segment.controller, a.segment.code): a.segment for a in settings.audiences.values()}.values():
        key = (segment.controller, segment.code)
        if before.get(key) != after.get(key):
            yield segment.controller, _approval(segment, words, today)


def changed_parts(then: Document, now: Document) -> tuple[str, ...]:
    """The places at which two configurations differ, sorted: a setting of a table, or an entry of a list by its own key; never a value. Where a key
    is no name, the table or list alone.
    """
    return tuple(sorted({place if _PLACE.fullmatch(place) else place.partition(".")[0] for place in _differing(then, now)}))


def _differing(then: Document, now: Document) -> list[str]:
    before, after = parts_of(then), parts_of(now)
    return [place for place in before.keys() | after.keys() if before.get(place) != after.get(place)]


def parts_of(document: Document) -> Part:
    """Every part of a document by its place: `segments.computime/bought_audio_12m`, `gates.smallest_list`, `environment`."""
    found: Part = {}
    for name, value in document.items():
        if name in _IDENTITY and isinstance(value, list):
            for raw in value:
                key = "/".join(str(raw.get(part, "")) for part in _IDENTITY[name]) if isinstance(raw, dict) else ""
                found[f"{name}.{key}"] = _text(raw)
        elif isinstance(value, dict) and name != "sources":
            found |= {f"{name}.{key}": _text(inner) for key, inner in value.items()}
        else:
            found[name] = _text(value)
    return found


def _segments(document: Document) -> dict[tuple[str, str], str]:
    listed = document.get("segments")
    found: dict[tuple[str, str], str] = {}
    for raw in listed if isinstance(listed, list) else []:
        if isinstance(raw, Mapping):
            found[str(raw.get("controller")), str(raw.get("code"))] = _text(raw)
    return found


def _approval(segment: Segment, words: frozenset[str], today: date) -> dict[str, Value]:
    """Whether it was given by two people, how old it is, and under which assessment; who they are stands in each transfer."""
    approval = segment.approval
    fields: dict[str, Value] = {
        "segment": segment.code,
        "data_inputs": list(segment.data_inputs),
        "approver_present": approval.approver is not None,
        "reviewer_present": approval.reviewer is not None,
        "two_people": approval.approver is not None and approval.approver.casefold() != approval.owner.casefold(),
        "dpia": approval.dpia or "",
        "sensitive": approval.sensitive,
        "review_missing": review_missing(segment, words),
        "approval_commit": approval.commit or "",
        "faults": list(approval_faults(approval, today)),
    }
    if approval.approved_on is not None:
        fields |= {"approved_on": approval.approved_on.isoformat(), "age_days": (today - approval.approved_on).days}
    return fields


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
