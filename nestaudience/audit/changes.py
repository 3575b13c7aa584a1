"""What changed around the transfers: configuration, approvals, lists and their bindings, releases, gates, keys, the ledger itself, incidents.

Made from the log's entries, one row each, so an auditor reads what was allowed, by whom and when. It judges nothing; `verify` does.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import pandas as pd

from nestaudience.audit.columns import ALL, NUMBER, TEXT, TIME, Column, Columns, Filters, frame_of, moment, text, whole
from nestaudience.audit.incidents import incident
from nestaudience.ledger.entries import EntryType

TYPES: Final = frozenset(
    {
        EntryType.CONFIG_CHANGED,
        EntryType.APPROVAL,
        EntryType.BINDING_CHANGED,
        EntryType.LIST_CREATED,
        EntryType.LIST_DELETED,
        EntryType.RELEASE,
        EntryType.GATE,
        EntryType.KEY_EVENT,
        EntryType.INCIDENT,
        EntryType.LEDGER_CREATED,
        EntryType.LEDGER_MIGRATED,
        EntryType.EPOCH_OPENED,
        EntryType.REDACTION,
        EntryType.RETENTION,
    }
)
"""The entries that this frame is made from."""

COLUMNS: Final[Columns] = {
    "at": Column(TIME, "when it was written down, UTC"),
    "index": Column(NUMBER, "number of the entry"),
    "type": Column(TEXT, "type of the entry: config_changed, approval, binding_changed, list_created, incident, gate, ..."),
    "code": Column(
        TEXT, "what happened, as a code: of an incident, a gate with its state, a list's state or cause; empty without one"
    ),
    "what": Column(TEXT, "of an incident: its code in words; empty for everything else"),
    "controller": Column(TEXT, "key of the company; empty: the whole group"),
    "recipient": Column(TEXT, "key of the recipient; empty where it is about none"),
    "audience": Column(TEXT, "controller/segment/recipient; of an approval controller/segment; empty where it is about none"),
    "ad_account": Column(TEXT, "id of the ad account; empty where it is about none"),
    "list_id": Column(TEXT, "the platform's id of the list; empty where it is about none"),
    "people": Column(NUMBER, "people whom it is about; null where the entry does not say"),
    "details": Column(TEXT, "all fields of the entry, as JSON"),
    "actor": Column(TEXT, "who, as the program knows"),
    "run_id": Column(TEXT, "id of the run"),
    "run_kind": Column(TEXT, "which job"),
    "config_digest": Column(TEXT, "SHA-256 of the configuration in use (64 hexadecimal characters)"),
}
"""The columns of `changes`, in order."""

_SAYS: Final[Mapping[str, tuple[str, ...]]] = {
    EntryType.GATE: ("gate", "state"),
    EntryType.INCIDENT: ("code",),
    EntryType.BINDING_CHANGED: ("state", "cause"),
    EntryType.LIST_DELETED: ("cause",),
    EntryType.RELEASE: ("cause",),
    EntryType.KEY_EVENT: ("what", "use"),
    EntryType.RETENTION: ("what",),
    EntryType.APPROVAL: ("sensitive",),
    EntryType.EPOCH_OPENED: ("origin",),
    EntryType.LEDGER_MIGRATED: ("after",),
}
"""The fields that say what happened; `code` of other types, the list's own code among them, is none."""
_COUNTS: Final = ("count", "additions", "noes")


def changes(entries: Iterable[Mapping[str, Any]], filters: Filters = ALL) -> pd.DataFrame:
    """One row an entry of `TYPES`, in order, with `COLUMNS`. `entries` are decoded and in order."""
    rows: list[dict[str, object]] = []
    for entry in entries:
        if entry["type"] not in TYPES:
            continue
        row = _row(entry, entry["fields"])
        place = {name: str(row[name]) for name in ("controller", "recipient", "audience")}
        if filters.take(entry["at"], run=entry["run_id"], kind=entry["run_kind"], **place):
            rows.append(row)
    return frame_of(rows, COLUMNS)


def _row(entry: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, object]:
    audience = text(fields, "audience")
    if entry["type"] == EntryType.APPROVAL:
        audience = f"{entry['controller']}/{text(fields, 'segment')}"
    said = [text(fields, name) for name in _SAYS.get(entry["type"], ())]
    counts = (whole(fields, name) for name in _COUNTS)
    return {name: entry[name] for name in ("index", "type", "controller", "actor", "run_id", "run_kind", "config_digest")} | {
        "at": moment(entry["at"]),
        "code": " ".join(word for word in said if word),
        "what": incident(text(fields, "code")) if entry["type"] == EntryType.INCIDENT else "",
        "recipient": text(fields, "recipient") or (audience.rpartition("/")[2] if audience.count("/") > 1 else ""),
        "audience": audience,
        "ad_account": text(fields, "ad_account"),
        "list_id": text(fields, "list_id"),
        "people": next((count for count in counts if count is not None), None),
        "details": json.dumps(fields, ensure_ascii=False, sort_keys=True),
    }
