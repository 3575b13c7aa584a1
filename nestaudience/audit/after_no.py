"""Whether anybody was added after her no was first seen: in the memberships of now, and in the leaves of every addition that was ever logged.

For people whose no is remembered, their leaf in every later addition of that company and recipient is made and looked for: as many pairs of
person and request as there are. Where they are too many, people are drawn by a seed. Why somebody is barred, and from when to when, was decided
by screening.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.audit.memberships import Disagreement, Salted, leaves_in
from nestaudience.audit.persons import LoggedBatch
from nestaudience.hashing.commitments import key_of_list, leaves_of
from nestaudience.hashing.kernel import Bytes2D
from nestaudience.ledger.log import LogReader
from nestaudience.vocabulary import Operation

PAIRS: Final = 50_000_000
"""So many pairs of a person and a later request are made at most: about half a minute of two cores."""
SIDES: Final[Mapping[str, int]] = {"google": 1, "meta": 2}
_NEVER: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Searched:
    """What was found, and how far: `people` with a no that were looked for, of `known` that have an address and a salt; `requests`: later
    additions in which somebody was looked for.
    """

    found: tuple[Disagreement, ...]
    people: int
    known: int
    requests: int


class Barred:
    """Who may not be added, in arrays: place among the salts, company, recipient, and from when to when (microseconds since 1970).

    `rows` are those of `AfterNo.barred`; `master_keys` every maker of person keys, by id.
    """

    def __init__(self, rows: pa.Table, salted: Salted) -> None:
        rows = rows.filter(pc.is_valid(rows.column("person_token"))).combine_chunks()
        tokens = [chunk.storage for chunk in rows.column("person_token").chunks]
        places = salted.places(pa.concat_arrays(tokens)) if tokens else np.empty(0, np.int64)
        known = places >= 0
        self.places = places[known]
        self._since, self._until = (micros(rows.column(name))[known] for name in ("since", "until"))
        self._orders = rows.column("orders_only").to_numpy()[known].astype(bool)
        self._bits = rows.column("bit").to_numpy()[known]
        names = rows.column("controller").combine_chunks().dictionary_encode()
        self._names = {name: number for number, name in enumerate(names.dictionary.to_pylist())}
        self._controller = names.indices.to_numpy()[known]

    def __len__(self) -> int:
        return len(self.places)

    def keep(self, places: np.ndarray) -> None:
        """Leave out everybody who is not at one of these places."""
        mine = np.isin(self.places, places)
        for name in ("places", "_since", "_until", "_orders", "_bits", "_controller"):
            setattr(self, name, getattr(self, name)[mine])

    def by_list(self, batches: Sequence[LoggedBatch], uses_orders: Callable[[str], bool]) -> Iterator["_Line"]:
        """For each audience that got somebody: its additions, and whom they may concern."""
        of_audience: dict[str, list[LoggedBatch]] = {}
        for batch in batches:
            if batch.operation is Operation.ADD:
                of_audience.setdefault(batch.audience, []).append(batch)
        for audience, mine in of_audience.items():
            controller, _, recipient = audience.split("/")
            here = (self._controller == self._names.get(controller, -1)) & (self._bits == SIDES.get(recipient, 0))
            rows = np.flatnonzero(here & (~self._orders | uses_orders(audience)))
            rows = rows[np.argsort(self._since[rows], kind="stable")]
            yield _Line(mine, self.places[rows], self._since[rows], self._until[rows])


@dataclass(frozen=True, slots=True)
class _Line:
    """The additions of one audience, and who may not be in them, by when that begins."""

    batches: list[LoggedBatch]
    places: np.ndarray
    since: np.ndarray
    until: np.ndarray

    def pairs(self) -> int:
        """How many leaves would be made, at most."""
        return int(sum(np.searchsorted(self.since, at_micros(batch.at)) for batch in self.batches))

    def barred(self, batch: LoggedBatch) -> np.ndarray:
        """The places of everybody who may not be in it."""
        at = at_micros(batch.at)
        first = int(np.searchsorted(self.since, at))
        return np.unique(self.places[:first][self.until[:first] > at])


def sent_after_no(
    barred: Barred,
    batches: Sequence[LoggedBatch],
    keys_of: Callable[[LoggedBatch, np.ndarray], Bytes2D],
    reader: LogReader,
    uses_orders: Callable[[str], bool],
    *,
    seed: int,
    pairs: int = PAIRS,
) -> Searched:
    """Look for everybody in every later addition. `keys_of` gives the person keys of places, as many rows a person as there are keys that may
    have made the request's leaves. Raises what the ledger and the engine raise.
    """
    everybody = np.unique(barred.places)
    most = sum(line.pairs() for line in barred.by_list(batches, uses_orders))
    looked = everybody
    if most > pairs:
        number = max(1, len(everybody) * pairs // most)
        looked = everybody[sorted(Random(seed).sample(range(len(everybody)), number))]  # noqa: S311 (a sample that can be drawn again)
        barred.keep(looked)
    found, requests = [], 0
    for line in barred.by_list(batches, uses_orders):
        for batch in line.batches:
            places = line.barred(batch)
            if not len(places):
                continue
            requests += 1
            wanted = leaves_of(keys_of(batch, places), batch.batch_id, batch.operation, key_of_list(batch.list_id))
            people = int(leaves_in(reader.batch_leaves(batch.batch_id) or b"", wanted).sum())
            if people:
                found.append(Disagreement(batch.index, "sent_after_no", people))
    return Searched(tuple(found), len(looked), len(everybody), requests)


def micros(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Moments (UTC, without a zone) as microseconds since 1970; a null is later than everything."""
    return np.asarray(pc.fill_null(column.cast(pa.timestamp("us")).cast(pa.int64()), _NEVER).to_numpy(), dtype=np.int64)


def at_micros(at: str) -> int:
    """The time of an entry, likewise."""
    moment = datetime.fromisoformat(at)
    since = moment - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
