"""Who looked people up or acted for one person, for which case: lookups, answers, erasures, corrections, objections by hand.

Made from the log's entries, which name the case and the actor and never the person. What was told or done in a case stands in its file, not here.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import pandas as pd

from nestaudience.audit.columns import ALL, NUMBER, TEXT, TIME, Column, Columns, Filters, frame_of, moment, text, whole
from nestaudience.ledger.entries import EntryType
from nestaudience.vocabulary import RunKind

TYPES: Final = frozenset({EntryType.LOOKUP, EntryType.ACCESS, EntryType.ERASURE, EntryType.RECTIFICATION, EntryType.SUPPRESSION})
"""The entries that this frame is made from."""

COLUMNS: Final[Columns] = {
    "at": Column(TIME, "when it was written down, UTC"),
    "index": Column(NUMBER, "number of the entry"),
    "type": Column(TEXT, "lookup, access, erasure, rectification, or suppression for an objection that was entered or lifted"),
    "what": Column(TEXT, "what was done, as a code"),
    "case_id": Column(TEXT, "the case in which the reason is written down; empty without one"),
    "actor": Column(TEXT, "who did it, as the program knows"),
    "controller": Column(TEXT, "key of the company; empty: the whole group"),
    "purpose": Column(TEXT, "of an objection: against which use"),
    "recipient": Column(TEXT, "of an objection: at which recipient; * everywhere"),
    "accounts": Column(NUMBER, "accounts that were found; null where the entry does not say"),
    "lists": Column(NUMBER, "lists that it was about; null where the entry does not say"),
    "transfers": Column(NUMBER, "transfers that were found or told of; null where the entry does not say"),
    "receipt_digest": Column(TEXT, "SHA-256 of the receipt that was given (64 hexadecimal characters); empty without one"),
    "run_id": Column(TEXT, "id under which it was written"),
    "run_kind": Column(TEXT, "which job"),
}
"""The columns of `lookups`, in order."""


def lookups(entries: Iterable[Mapping[str, Any]], filters: Filters = ALL) -> pd.DataFrame:
    """One row an entry that somebody made by hand, in order, with `COLUMNS`. Noes and erasures that a run takes from the store are none of them."""
    rows: list[dict[str, object]] = []
    for entry in entries:
        fields = entry["fields"]
        if entry["type"] not in TYPES or not _by_hand(entry):
            continue
        if filters.take(entry["at"], controller=entry["controller"], run=entry["run_id"], kind=entry["run_kind"]):
            same = {name: entry[name] for name in ("index", "type", "actor", "controller", "run_id", "run_kind")}
            same |= {name: text(fields, name) for name in ("what", "case_id", "purpose", "recipient", "receipt_digest")}
            same |= {name: whole(fields, name) for name in ("accounts", "lists", "transfers")}
            rows.append(same | {"at": moment(entry["at"])})
    return frame_of(rows, COLUMNS)


def _by_hand(entry: Mapping[str, Any]) -> bool:
    from_the_store = entry["type"] in (EntryType.SUPPRESSION, EntryType.ERASURE)
    return not from_the_store or text(entry["fields"], "case_id") != "" or entry["run_kind"] == RunKind.MANUAL
