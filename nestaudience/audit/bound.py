"""Whether each transfer went to the list where its audience was bound, and people joined by somebody's approval: by the entries before it.

Takes decoded entries in order. It judges what was written down when the transfer was announced; whether the approver may approve stands in no log.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from nestaudience.ledger.entries import EntryType

WHAT: Final = {
    "approval_faulty": "people were added without a whole approval: no second person, no date, no assessment, or one with faults",
    "bound_elsewhere": "the intent names another list or ad account than the one to which its audience was bound",
    "list_of_two_audiences": "the intent sends to a list of another audience",
}
"""What each code says, in words for a person."""

PROBLEMS: Final = ("bound_elsewhere", "list_of_two_audiences")
"""Those that break the proof; the others are worth knowing."""


class Bound:
    """Takes entries in order of index and knows, for each audience, its list; for each segment, its approval."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[str, str]] = {}
        self._audiences: dict[str, str] = {}
        self._faulty: dict[tuple[str, str], bool] = {}

    def take(self, entry: Mapping[str, Any], fields: Mapping[str, Any]) -> Iterator[str]:
        """The codes of what is wrong with this entry."""
        kind = entry["type"]
        if kind == EntryType.APPROVAL:
            faults = bool(fields.get("faults") or fields.get("review_missing"))
            self._faulty[entry["controller"], str(fields.get("segment"))] = faults
        elif kind in (EntryType.LIST_CREATED, EntryType.BINDING_CHANGED, EntryType.LIST_DELETED):
            self._binding(kind, fields)
        elif kind == EntryType.TRANSFER_INTENT:
            yield from self._intent(entry, fields)

    def _binding(self, kind: str, fields: Mapping[str, Any]) -> None:
        audience, place = str(fields.get("audience")), _place(fields)
        if kind == EntryType.LIST_DELETED or fields.get("state") == "begins_anew":
            if self._places.get(audience) == place:
                del self._places[audience]
        elif "state" not in fields:  # a state says what becomes of the list, and binds nothing
            self._places[audience] = place

    def _intent(self, entry: Mapping[str, Any], fields: Mapping[str, Any]) -> Iterator[str]:
        audience, place = fields["audience"], _place(fields)
        if self._places.get(audience, place) != place:
            yield "bound_elsewhere"
        if self._audiences.setdefault(fields["list_id"], audience) != audience:
            yield "list_of_two_audiences"
        if fields["planned_additions"] and "approved_by" in fields:
            second = fields["approved_by"] not in ("", fields.get("owner"))
            whole = second and fields.get("approved_on") and fields.get("dpia")
            if not whole or self._faulty.get((entry["controller"], str(fields.get("segment"))), False):
                yield "approval_faulty"


def _place(fields: Mapping[str, Any]) -> tuple[str, str]:
    return str(fields.get("ad_account")), str(fields.get("list_id"))
