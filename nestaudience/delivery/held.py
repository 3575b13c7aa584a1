"""What the lists may hold: rows from the ledger for the engine, and sealed digests for delivery.

The engine gets tokens and flags, a page at a time, and names a row by the ledger's own id. Sealed digests stay in the ledger, and are opened only for
the people of one batch. It changes no state.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.errors import MustStop
from nestaudience.hashing.digests import DIGEST_TYPE, Digests
from nestaudience.hashing.sealing import matches, unseal
from nestaudience.hashing.tokens import TOKEN_TYPE, Tokens
from nestaudience.ledger.keys import KeyRing, KeyUse
from nestaudience.ledger.memory import HELD_FIELDS, Memory, Touched
from nestaudience.screening.engine import tokens_to_uuid
from nestaudience.screening.screen import HELD_SCHEMA
from nestaudience.vocabulary import Recipient

_FLAGS = ("confirmed", "in_flight", "removing", "owed", "unanswered")


@dataclass(frozen=True, slots=True)
class Held:
    """Every membership that may stand on a list at one moment. `pages` reads them anew each time it is asked, in the form of `HELD_FIELDS`."""

    memory: Memory = field(repr=False)
    pages: Callable[[], Iterable[pa.RecordBatch]] = field(repr=False)

    @property
    def rows(self) -> pa.Table:
        """All of them at once (`HELD_FIELDS`): for the few of somebody, not for a night."""
        return pa.Table.from_batches(self.pages(), HELD_FIELDS)

    def for_engine(self, audience_numbers: Mapping[int, int]) -> Iterator[pa.Table]:
        """The rows as screening and delta see them (`HELD_SCHEMA`), a page at a time; `held_no` is the ledger's row id.

        `audience_numbers`: list number -> audience's number; rows of other lists are left out.
        """
        lists = pa.array(list(audience_numbers), pa.int64())
        numbers = pa.array(list(audience_numbers.values()), pa.int32())
        for page in self.pages():
            place = pc.index_in(page.column("list_no"), value_set=lists)
            columns = {"audience_no": numbers.take(place), "held_no": page.column("member_id"), "again": page.column("again")}
            columns |= {name: tokens_to_uuid(page.column(name)) for name in ("account_token", "person_token")}
            columns["digest"] = tokens_to_uuid(page.column("digest_token"))
            columns |= {name: pc.cast(page.column(name), pa.bool_()) for name in _FLAGS}
            yield pa.table([columns[name] for name in HELD_SCHEMA.names], schema=HELD_SCHEMA).filter(pc.is_valid(place))

    def persons(self) -> pa.Array:
        """The distinct person tokens of these rows: `fixed_size_binary[16]`."""
        found = [pc.unique(page.column("person_token")) for page in self.pages()]
        return pc.unique(pa.concat_arrays(found)) if found else pa.array([], TOKEN_TYPE)

    def added_by(self, batch_nos: frozenset[int]) -> pa.Array:
        """The ledger's ids of the rows that these batches added: int64."""
        asked = pa.array(sorted(batch_nos), pa.int64())
        found = [page.column("member_id").filter(pc.is_in(page.column("batch_added"), value_set=asked)) for page in self.pages()]
        return pa.concat_arrays(found) if found else pa.array([], pa.int64())

    def open(self, member_ids: pa.Array, recipient: Recipient, keys: KeyRing, tokens: Tokens) -> Digests:
        """The digests of these rows, by the ledger's ids. Raises `MustStop`: `sealed_digest_damaged` when one does not fit the token kept beside it,
        `seal_key_missing`, `ledger_inconsistent`.
        """
        rows = self.memory.sealed(member_ids)
        batches = self.memory.batch_keys(pc.unique(rows.column("batch_added")).to_pylist())
        added = rows.column("batch_added").to_pylist()
        batch_ids = pa.array([batches[number][0] for number in added], pa.binary(16))
        key_ids = pa.array([batches[number][1] for number in added], pa.string())
        parts: list[tuple[pa.Array, Digests]] = []
        for key_id in pc.unique(key_ids).to_pylist():
            key = keys.by_id(KeyUse.SEAL, key_id)
            if key is None:
                raise MustStop("seal_key_missing", "the key ring", "put the retired seal key back; it opens older memberships")
            places = pc.indices_nonzero(pc.equal(key_ids, key_id))
            some = rows.take(places).combine_chunks()
            sealed, position, token = (
                some.column(name).combine_chunks() for name in ("sealed_digest", "position", "digest_token")
            )
            opened = unseal(key.reveal(), batch_ids.take(places), position.cast(pa.int32()), sealed, recipient)
            if not pc.all(matches(tokens, opened, token)).as_py():
                raise MustStop(
                    "sealed_digest_damaged", "the ledger", "run `nestaudience audit verify`; a membership does not open"
                )
            parts.append((places, opened))
        if not parts:
            return Digests(pa.array([], DIGEST_TYPE), recipient)
        order = pc.array_sort_indices(pa.concat_arrays([places for places, _ in parts]))
        return Digests(pa.concat_arrays([opened.column for _, opened in parts]), recipient).take(order)


def read_held(memory: Memory, now: datetime, news: Mapping[int, str] | None = None, touched: Touched | None = None) -> Held:
    """What the ledger says that the lists may hold at this moment (UTC); `news` and `touched` as in `Memory.held`.

    Everything is read when it is asked for; what is touched, at once.
    """
    if touched is None:
        return Held(memory, partial(memory.held_pages, now, news))
    return held_of(memory, memory.held(now, news, touched))


def held_of(memory: Memory, rows: pa.Table) -> Held:
    """These rows of it (`HELD_FIELDS`) and no others."""
    return Held(memory, rows.to_batches)
