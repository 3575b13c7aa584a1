"""What all frames share: documented Arrow columns, the filters that people type, and how an entry's words become values.

It knows no entry type and reads no ledger.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, NamedTuple

import pandas as pd
import pyarrow as pa

from nestaudience.vocabulary import STOCKHOLM, RunKind


class Column(NamedTuple):
    """One column of a frame: its Arrow type, and what it means, with its unit."""

    type: pa.DataType
    meaning: str


Columns = Mapping[str, Column]

TIME: Final = pa.timestamp("ms", tz="UTC")
DAY: Final = pa.date32()
TEXT: Final = pa.string()
NUMBER: Final = pa.int64()
FLAG: Final = pa.bool_()


@dataclass(frozen=True, slots=True)
class Filters:
    """Which rows; None lets everything through. Dates are days in Stockholm, both included; `run` may be a beginning of its id.

    What a frame has no column for does not apply to it.
    """

    controller: str | None = None
    recipient: str | None = None
    audience: str | None = None
    run: str | None = None
    kind: RunKind | None = None
    first: date | None = None
    last: date | None = None

    def take(self, at: str, **found: str) -> bool:
        """True for something of this UTC time that is asked for. `found` are its own words, by the names of the fields here; `run` its whole id."""
        for name, value in found.items():
            wanted = getattr(self, name)
            if name == "run":
                if wanted is not None and not value.startswith(wanted.lower()):
                    return False
            elif wanted is not None and value != wanted:
                return False
        return self.take_day(day_of(at)) if self.first or self.last else True

    def take_day(self, day: date) -> bool:
        """True for a day of the period."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


ALL: Final = Filters()
"""Everything."""


def frame_of(rows: list[dict[str, object]], columns: Columns) -> pd.DataFrame:
    """Rows as a frame with these columns, in this order, Arrow-backed also when there is no row."""
    schema = pa.schema([(name, column.type) for name, column in columns.items()])
    frame: pd.DataFrame = pa.Table.from_pylist(rows, schema).to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def moment(said: str) -> datetime:
    """An entry's time."""
    return datetime.fromisoformat(said)


def day_of(at: str) -> date:
    """The day in Stockholm of an entry's time."""
    return datetime.fromisoformat(at).astimezone(STOCKHOLM).date()


def night_of(started: Mapping[str, Any]) -> date:
    """The night that a run's start names; the day of the entry where it names none."""
    said = started["fields"].get("night")
    try:
        return date.fromisoformat(said) if isinstance(said, str) else day_of(started["at"])
    except ValueError:
        return day_of(started["at"])


def text(fields: Mapping[str, Any], name: str) -> str:
    """A field as text; empty where there is none."""
    return str(fields.get(name, ""))


def whole(fields: Mapping[str, Any], name: str) -> int | None:
    """A field as a whole number; None where there is none."""
    value = fields.get(name)
    return value if type(value) is int else None


def words(values: Iterable[object]) -> str:
    """Several words as one text, sorted and all different."""
    return " ".join(sorted({str(value) for value in values}))
