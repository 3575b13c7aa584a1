"""What every adapter does with a view before and after it reads: refuse misuse, go in stretches, name what is missing, make a sheet.

It opens no store and knows no dialect.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.customers.contract import ACCOUNT, SEGMENT_MEMBER, VIEWS, View
from nestaudience.customers.port import Sheet, StoreProblem
from nestaudience.hashing.digests import Addresses

EMAIL_READ: Final = "email_read"
"""The extra last column of `account`: `1` where the rules allow to read the address."""
CLOCK_OF: Final = {"account": "changed_at", "consent_event": "recorded_at", "rights_event": "recorded_at"}
"""The views that hold noes, and the clock by which new ones are found."""
MINOR_YEARS: Final = 18
BATCH_ROWS: Final = 65_536
"""How many rows a sheet has at most."""
IDS_AT_ONCE: Final = 10_000
"""How many account ids one statement names at most."""
_DAYS: Final = "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
_LEAP_DAY: Final = "([0-9][0-9](0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29"
READABLE_TIME: Final = f"^([0-9]{{4}}-{_DAYS}|{_LEAP_DAY})T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]+)?(Z|\\+00:00)$"
"""A moment of the contract as text, ISO 8601 in UTC: a regular expression that PostgreSQL and Arrow read alike."""
UNREADABLE: Final = "\ufffd"
"""What a text that is no UTF-8 reads as; no rule accepts it as a value."""


def names_of(view: View) -> tuple[str, ...]:
    """The columns that are read of a view, in the order in which they come."""
    return (*view.names, EMAIL_READ) if view is ACCOUNT else view.names


def missing(present: Mapping[str, Mapping[str, str]]) -> tuple[StoreProblem, ...]:
    """A problem for every view and column of the contract that a store does not have."""
    problems = []
    for view in VIEWS:
        if view.name not in present:
            code = "optional_view_missing" if view.needed == "if_used" else "view_missing"
            problems.append(StoreProblem(code, view.name, "create the view, or repair it; `nestaudience contract` prints it"))
            continue
        problems.extend(
            StoreProblem("column_missing", f"{view.name}.{column}", "add the column to the view; until then it reads as null")
            for column in view.names
            if column not in present[view.name]
        )
    return tuple(problems)


def refuse_misuse(
    view: View,
    accounts: pa.StringArray | None,
    noes_since: datetime | None,
    segments: frozenset[tuple[str, str]] | None,
    now: datetime | None,
) -> None:
    """Raises `ValueError` for an argument of `Snapshot.read` that the view has no use for."""
    if accounts is not None and not view.has_account:
        raise ValueError("this view has no accounts")
    if noes_since is not None and (view.name not in CLOCK_OF or noes_since.tzinfo is None):
        raise ValueError("noes_since needs a view that holds noes, and a time zone")
    if segments is not None and view is not SEGMENT_MEMBER:
        raise ValueError("only segment_member is read by segment")
    if (now is not None) != (view is ACCOUNT) or (now is not None and now.tzinfo is None):
        raise ValueError("account, and only account, is read at a time with a zone: `now`")


def stretches(accounts: pa.StringArray) -> Iterator[list[str]]:
    """The distinct ids, at most `IDS_AT_ONCE` at a time, in the order in which an index has them: its pages are then read once."""
    distinct = pc.drop_null(pc.unique(accounts))
    distinct = distinct.take(pc.sort_indices(distinct))
    for start in range(0, len(distinct), IDS_AT_ONCE):
        yield [str(account) for account in distinct.slice(start, IDS_AT_ONCE).to_pylist()]


def sheet(view: View, names: Sequence[str], batch: pa.RecordBatch) -> Sheet:
    """The sheet of a batch whose columns are these: the address apart from the facts, and every text valid."""
    return sealed(view, names, valid_text(batch))


def sealed(view: View, names: Sequence[str], batch: pa.RecordBatch) -> Sheet:
    """The sheet of a batch whose texts are known to be valid."""
    columns: dict[str, Any] = dict(zip(names, batch.columns, strict=True))
    addresses = Addresses(columns.pop("email")) if view.has_email else None
    return Sheet(pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)), addresses)


def valid_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, with every text that is not UTF-8 replaced. Not every store enforces an encoding."""
    valid = True
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        valid = False
    return batch if valid else pa.RecordBatch.from_arrays([_repaired(c) for c in batch.columns], names=batch.schema.names)


def _repaired(column: Any) -> Any:
    """Row by row, and only for a stretch that holds such a text."""
    if not pa.types.is_string(column.type):
        return column
    return pa.array([_decoded(raw) for raw in column.cast(pa.binary()).to_pylist()], pa.string())


def _decoded(raw: bytes | None) -> str | None:
    if raw is None:
        return None
    text = raw.decode("utf-8", "replace")
    return text if text.encode() == raw else UNREADABLE
