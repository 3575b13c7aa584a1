"""From the store's sheets to the engine's tables: addresses become digests and tokens while they stream in.

Account ids become keyed tokens here, addresses go through the hashing room batch by batch, and what the engine sees afterwards is
tokens, row numbers and facts. The account ids and digests of people whose address was read stay in Arrow columns in memory, by row
number. Nothing is decided here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, SEGMENT_MEMBER
from nestaudience.customers.port import MOMENT, Sheet, Snapshot
from nestaudience.errors import MustStop, NestAudienceError
from nestaudience.hashing.columns import hash_addresses
from nestaudience.hashing.digests import DIGEST_TYPE, Digests
from nestaudience.hashing.tokens import Tokens
from nestaudience.screening.engine import TOKEN, ask, run_file, tokens_to_uuid
from nestaudience.screening.recall import Aliases, Recall
from nestaudience.vocabulary import Recipient

Progress = Callable[[str, int], None]
"""Told a view's name and how many rows of it have been read since the last call."""

MOST_SOURCES: Final = 10_000
"""With so many names of sources none is noted: whoever writes free text there has no sources."""
_ACCOUNT_FACTS: Final = (*[name for name in ACCOUNT.names if name not in ("email", "account_id")], "email_read")
_CONSENT_FACTS: Final = tuple(name for name in CONSENT_EVENT.names if name != "account_id")
_RIGHTS_FACTS: Final = tuple(name for name in RIGHTS_EVENT.names if name not in ("email", "account_id"))
_MEMBER_FACTS: Final = tuple(name for name in SEGMENT_MEMBER.names if name != "account_id")
_SOURCE: Final = (
    "source",
    "SELECT source, number, kind FROM source_kind",
    (("source_number", pa.uint64()), ("source_kind", pa.string())),
)
_TEXT: Final = ("text_version", "SELECT version, text_no FROM text", (("text_no", pa.int32()),))
Lookup = Callable[[pa.RecordBatch], dict[str, pa.Array]]
"""Facts in, columns by name out."""


@dataclass(frozen=True, slots=True)
class People:
    """Those whose address was read, by row number: their account ids (`string`) and their digests. Most addresses have one digest for all recipients,
    which is kept once; `others` has the rows (int64, ascending) in which a further recipient's is another, and what it is.
    """

    account_ids: pa.Array
    first: Recipient | None
    digests: pa.FixedSizeBinaryArray
    others: dict[Recipient, tuple[pa.Int64Array, pa.FixedSizeBinaryArray]]

    def digests_of(self, recipient: Recipient, rows: pa.Int64Array) -> Digests:
        """The digests of these people for this recipient, in their order."""
        taken = self.digests.take(rows)
        if recipient is self.first:
            return Digests(taken, recipient)
        other_rows, other = self.others[recipient]
        asked, known = rows.to_numpy(zero_copy_only=False), other_rows.to_numpy()
        places = np.searchsorted(known, asked)
        differs = np.append(known, -1)[places] == asked
        mine = other.take(pa.array(places[differs]))
        return Digests(pc.replace_with_mask(taken, pa.array(differs), mine), recipient)

    def __repr__(self) -> str:
        return f"<{len(self.account_ids)} people>"


class Intake:
    """Streams one snapshot's views into one engine. Whoever reads sets `whole` to False when the store did not show everything, or was not asked for
    everything: then it cannot show what outdid a no that is only remembered.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        tokens: Tokens,
        recipients: tuple[Recipient, ...],
        progress: Progress = lambda view, rows: None,
        recall: Recall | None = None,
    ) -> None:
        self._connection = connection
        self._tokens = tokens
        self._recipients = recipients
        self._progress = progress
        self._rows = 0
        self._account_ids: list[pa.Array] = []
        self._digests: list[pa.Array] = []
        self._others: dict[Recipient, tuple[list[pa.Array], list[pa.Array]]] = {each: ([], []) for each in recipients[1:]}
        self.counts: dict[str, int] = {}
        self._sources: set[str | None] = set()
        self.whole = True
        self.aliases = Aliases(recall)

    def accounts(self, sheets: Iterator[Sheet]) -> None:
        """Fill `subject`; the people read are counted on, and numbered in the order in which they come."""
        self._load("account", (self._account_batch(sheet) for sheet in sheets))

    def _account_batch(self, sheet: Sheet) -> pa.RecordBatch:
        facts, addresses = sheet.facts, sheet.addresses
        if addresses is None:
            raise TypeError("a sheet of accounts has addresses")
        hashed = hash_addresses(addresses, self._tokens, self._recipients, self.aliases.keys)
        account_token = self._tokens.of_accounts(facts.column("account_id"))
        self.aliases.accounts(facts.column("account_id"), account_token)
        read = pc.fill_null(pc.equal(facts.column("email_read"), "1"), False)  # noqa: FBT003 (a value, not a switch)
        places = pc.cast(pc.cumulative_sum(pc.cast(read, pa.int64())), pa.int64())
        row_no = pc.if_else(read, pc.add(places, self._rows - 1), pa.scalar(None, pa.int64()))
        self._account_ids.append(facts.column("account_id").filter(read))
        self._keep_digests([hashed.digests[recipient].column.filter(read) for recipient in self._recipients])
        self._rows += len(self._account_ids[-1])
        columns = {
            "account_token": tokens_to_uuid(account_token),
            "person_token": tokens_to_uuid(hashed.person_token),
            "kept_token": tokens_to_uuid(self.aliases.people(hashed.kept_tokens, hashed.person_token)),
            "row_no": row_no,
        }
        for recipient in Recipient:
            known = recipient in self._recipients
            token = hashed.digest_token[recipient] if known else pa.nulls(len(read), TOKEN)
            missing = pc.and_(read, pc.is_null(token)) if known else pa.array([False] * len(read))
            columns[f"digest_{recipient.value}"] = tokens_to_uuid(token)
            columns[f"unusable_{recipient.value}"] = missing
        return pa.record_batch(columns | _facts_of(sheet, _ACCOUNT_FACTS))

    def _keep_digests(self, columns: list[pa.FixedSizeBinaryArray]) -> None:
        """The next people's digests, a column a recipient."""
        if not columns:
            return
        first, *others = columns
        self._digests.append(first)
        for (rows, kept), column in zip(self._others.values(), others, strict=True):
            differs = pc.invert(pc.fill_null(pc.equal(column, first), False))  # noqa: FBT003 (a value, not a switch)
            rows.append(pc.add(pc.cast(pc.indices_nonzero(differs), pa.int64()), self._rows))
            kept.append(column.filter(differs))

    def consents(self, sheets: Iterator[Sheet]) -> None:
        """Fill `consent`."""
        self._load("consent", self._spoken(sheets, _CONSENT_FACTS, [self._lookup(*_SOURCE), self._lookup(*_TEXT)]))

    def members(self, sheets: Iterator[Sheet]) -> None:
        """Fill `member`."""
        self._load("member", self._spoken(sheets, _MEMBER_FACTS, []))

    def rights(self, sheets: Iterator[Sheet]) -> None:
        """Fill `rights`; an address that comes without an account becomes a token at once."""
        source = self._lookup(*_SOURCE)

        def batch(sheet: Sheet) -> pa.RecordBatch:
            if sheet.addresses is None:
                raise TypeError("a sheet of rights events has addresses")
            ids = sheet.facts.column("account_id")
            self._note_sources(sheet)
            hashed = hash_addresses(sheet.addresses, self._tokens, (), self.aliases.keys)
            kept, accounts = self.aliases.people(hashed.kept_tokens, hashed.person_token), self._tokens.of_accounts(ids)
            self.aliases.accounts(ids, accounts)
            alone = [pc.if_else(pc.is_null(ids), column, pa.scalar(None, TOKEN)) for column in (hashed.person_token, kept)]
            columns = zip(("account_token", "address_token", "kept_token"), (accounts, *alone), strict=True)
            tokens = {name: tokens_to_uuid(column) for name, column in columns}
            return pa.record_batch(tokens | _facts_of(sheet, _RIGHTS_FACTS) | source(sheet.facts))

        self._load("rights", (batch(sheet) for sheet in sheets))

    def _spoken(self, sheets: Iterator[Sheet], names: tuple[str, ...], lookups: list[Lookup]) -> Iterator[pa.RecordBatch]:
        """Sheets of a view without addresses: the account's token, these facts, and what is looked up."""
        for sheet in sheets:
            ids = sheet.facts.column("account_id")
            self._note_sources(sheet)
            token = self._tokens.of_accounts(ids)
            self.aliases.accounts(ids, token)
            columns = {"account_token": tokens_to_uuid(token)} | _facts_of(sheet, names)
            for look in lookups:
                columns |= look(sheet.facts)
            yield pa.record_batch(columns)

    def _lookup(self, column: str, query: str, fields: tuple[tuple[str, pa.DataType], ...]) -> Lookup:
        """What the rules say of the texts in a column of facts: these fields, null for a text that the query's first column does not have.

        Asked here and not in the load's SQL, where a join would carry every column of every row through it.
        """
        rows = list(zip(*ask(self._connection, query), strict=True)) or [()] * (1 + len(fields))
        keys = pa.array(rows[0], pa.string())
        values = {name: pa.array(found, kind) for found, (name, kind) in zip(rows[1:], fields, strict=True)}

        def look(facts: pa.RecordBatch) -> dict[str, pa.Array]:
            places = pc.index_in(facts.column(column), value_set=keys, skip_nulls=True)
            return {name: each.take(places) for name, each in values.items()}

        return look

    def _load(self, name: str, batches: Iterator[pa.RecordBatch]) -> None:
        """Stream the batches through the load's SQL; nothing is planned where there are none."""
        failures: list[NestAudienceError] = []

        def counted() -> Iterator[pa.RecordBatch]:
            try:
                for batch in batches:
                    self.counts[name] = self.counts.get(name, 0) + batch.num_rows
                    self._progress(name, batch.num_rows)
                    yield batch
            except NestAudienceError as error:  # the engine would wrap it in words of its own
                failures.append(error)
                raise

        self.counts.setdefault(name, 0)
        failed = False
        try:
            self._stream(name, counted())
        except (duckdb.Error, pa.ArrowException, MemoryError, NestAudienceError):
            failed = True
        if failures:
            raise failures[0].with_traceback(None)
        if failed:
            raise MustStop("engine_failed", f"reading {name}", "nothing was sent; see the memory and spill settings")

    def _stream(self, name: str, batches: Iterator[pa.RecordBatch]) -> None:
        first = next(batches, None)
        if first is None:
            return
        stream = pa.RecordBatchReader.from_batches(first.schema, _alike(first, batches))
        self._connection.register(f"{name}_stream", stream)
        run_file(self._connection, "nestaudience.screening", f"01_load_{name}.sql")
        self._connection.unregister(f"{name}_stream")

    def _note_sources(self, sheet: Sheet) -> None:
        if "source" in sheet.facts.schema.names and len(self._sources) < MOST_SOURCES:
            self._sources.update(pc.unique(sheet.facts.column("source")).to_pylist())

    def sources(self) -> pa.Table:
        """The raw names of sources: `name` (`string`)."""
        names = self._sources if len(self._sources) < MOST_SOURCES else ()
        return pa.table({"name": pa.array(sorted(name for name in names if name is not None), pa.string())})

    def people(self) -> People:
        """The people read so far, handed over: they are let go here piece by piece, so that nobody is in memory twice for long."""
        ids = _joined(self._account_ids, pa.string())
        others = {each: (_joined(rows, pa.int64()), _joined(kept, DIGEST_TYPE)) for each, (rows, kept) in self._others.items()}
        return People(ids, next(iter(self._recipients), None), _joined(self._digests, DIGEST_TYPE), others)


def _joined(parts: list[pa.Array], kind: pa.DataType) -> pa.Array:
    """One column of the parts, which are taken out of their list."""
    whole = pa.concat_arrays(parts) if parts else pa.array([], kind)
    parts.clear()
    return whole


def _facts_of(sheet: Sheet, names: tuple[str, ...]) -> dict[str, pa.Array]:
    """These facts; a moment as the engine holds it, without its zone."""
    columns = {name: sheet.facts.column(name) for name in names}
    return {name: column.view(pa.timestamp("us")) if column.type == MOMENT else column for name, column in columns.items()}


def _alike(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """All of them. Raises `TypeError` for one with other types than the first: the engine would read it as if it had them."""
    yield first
    for batch in rest:
        if batch.schema != first.schema:
            raise TypeError("the sheets of one snapshot have the same types")
        yield batch


def read_all(intake: Intake, snapshot: Snapshot, segments: frozenset[tuple[str, str]], now: datetime) -> None:
    """Every view that screening needs, in whole: the segments' members of these (controller, segment) pairs."""
    intake.accounts(snapshot.read(ACCOUNT, now=now))
    intake.consents(snapshot.read(CONSENT_EVENT))
    intake.rights(snapshot.read(RIGHTS_EVENT))
    intake.members(snapshot.read(SEGMENT_MEMBER, segments=segments))
