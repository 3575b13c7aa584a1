"""What can be read of a log, whatever was done to it: a report on a log that does not verify must still come out.

An entry whose bytes are none, or whose head is not of its form, is left out (the verifier names it); a field of another form counts as nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from nestaudience.errors import MustStop
from nestaudience.ledger.entries import VERSION, EntryType, decode
from nestaudience.ledger.log import LogReader

_HEAD: Final = (
    "type", "id", "at", "run_id", "run_kind", "controller", "policy_version", "software_version", "commit",
    "config_digest", "actor",
)  # fmt: skip
_TIME: Final = re.compile(r"[12]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_SPREAD: Final = ("people", "p50", "p95", "max")


def readable(reader: LogReader, types: frozenset[EntryType] | None) -> Iterator[dict[str, Any]]:
    """The entries of these types that can be read, in order. Raises `MustStop`: `ledger_unavailable`."""
    for _, body, _ in reader.bodies(types=types):
        entry = _decoded(body)
        if entry is not None and (types is None or entry["type"] in types):
            yield entry


def count_of(fields: Mapping[str, Any], name: str) -> int:
    """A count of an entry; 0 where it has none, or something else."""
    value = fields.get(name)
    return value if type(value) is int and value >= 0 else 0


def texts_of(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of words of an entry; empty where it has none, or something else."""
    value = fields.get(name)
    return tuple(str(each) for each in value) if isinstance(value, list) else ()


def counts_of(fields: Mapping[str, Any], name: str) -> dict[str, int]:
    """Counts by code; those that are no counts are left out."""
    value = fields.get(name)
    found = value if isinstance(value, Mapping) else {}
    return {str(code): count_of(found, code) for code in found}


def spreads_hold(entry: Mapping[str, Any], clocks: Iterable[str]) -> bool:
    """True when a removal-times entry names its recipient, and each clock of it has its four numbers."""
    fields = entry["fields"]
    if not isinstance(fields.get("recipient"), str):
        return False
    there = [fields[clock] for clock in clocks if clock in fields]
    return all(
        isinstance(each, Mapping) and all(type(each.get(name)) is int and each[name] >= 0 for name in _SPREAD) for each in there
    )


def _decoded(body: bytes) -> dict[str, Any] | None:
    entry: dict[str, Any] | None = None
    try:
        entry = decode(body)
    except MustStop:
        entry = None
    if entry is None or entry.get("version") != VERSION or type(entry.get("index")) is not int:
        return None
    whole = all(isinstance(entry.get(name), str) for name in _HEAD) and _is_time(entry["at"])
    return entry if whole else None


def _is_time(text: str) -> bool:
    try:
        return _TIME.fullmatch(text) is not None and datetime.fromisoformat(text).year > 1
    except ValueError:
        return False
