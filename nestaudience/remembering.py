"""Memory of noes: what a run brings to its screening, and what it remembers of it before anything is sent.

A no holds when the store forgets it, and when the account is gone and the address comes back with another. Screening judges by it; this module
judges nobody.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.hashing.tokens import Tokens
from nestaudience.ledger.entries import Context, EntryType, Value, utc_text
from nestaudience.ledger.erasures import begin, erasures
from nestaudience.ledger.keys import KeyUse
from nestaudience.ledger.log import NewEntry, TransferLog
from nestaudience.ledger.suppression import NOBODY, NOES, TOKEN, append, forget_withdrawals, remembered
from nestaudience.ledger.suppression_files import lacking, write_new
from nestaudience.parts import Parts
from nestaudience.screening.engine import naive
from nestaudience.screening.recall import REMEMBERED_SCHEMA, Recall
from nestaudience.screening.screen import Screened

MONTHS: Final = 36
"""The longest life of a consent: a withdrawal older than this has nothing left to speak against."""
ERASED: Final = "erased"
"""The kind of an erasure, from the store and by hand."""
LIFTS: Final = {"objected": "lift_objected", "objected_analysis": "lift_analysis"}
"""Kind of an objection by hand -> kind of the row that lifts it."""
_PURPOSES: Final = {
    "withdrawn": "ad_matching",
    "cookies_web": "web_behaviour",
    "cookies_conversions": "enhanced_conversions",
    "cookies_unknown": "unknown",
    "objected": "ad_matching",
    "objected_analysis": "order_analysis",
}
_RECIPIENTS: Final = {1: "google", 2: "meta", 3: "*"}
_BITS: Final = {name: bits for bits, name in _RECIPIENTS.items()}


def recall(parts: Parts) -> Recall:
    """Every remembered no, with what compares it with tonight's addresses and accounts. What stands under a key that is not on the ring is forgotten,
    and `missing` says so: nobody may join then, and whoever says no still leaves.
    """
    rows = remembered(parts.evidence.engine)
    ids = [str(each).split() for each in pc.unique(rows.column("key_id")).to_pylist()]
    first = Tokens(parts.keys.suppression.reveal())
    older, lacking_people = _older(parts, KeyUse.SUPPRESSION, {each[0] for each in ids})
    accounts, lacking_accounts = _older(parts, KeyUse.INDEX, {each[1] for each in ids})
    return Recall(to_engine(rows), (first, *older), accounts, lacking_people or lacking_accounts)


def remember(parts: Parts, screened: Screened, log: TransferLog, context: Context, at: datetime, *, shared: bool = False) -> int:
    """Remember every no that the store shows and memory does not have, with one entry that counts them; how many. `shared`: several screenings of one
    moment are remembered one after the other, and most of their noes are the same.
    """
    begin_erasures(parts, screened.erased_persons(), log, context, at)
    found = screened.new_noes(MONTHS)
    if not found.num_rows:
        return 0
    noes = to_ledger(found, at, key_ids(parts))
    noes = _without(noes, remembered(parts.evidence.engine)) if shared else noes
    if not noes.num_rows:
        return 0
    log.append([(EntryType.SUPPRESSION, context, _counts(noes))], lambda connection, _: append(connection, noes))
    return int(noes.num_rows)


def begin_erasures(parts: Parts, persons: pa.Array, log: TransferLog, context: Context, at: datetime) -> None:
    """What the store shows as erased is an erasure under way from now on, where a salt is kept. One entry counts those that are new."""
    known = {each.person_token for each in erasures(parts.evidence.engine)}
    fresh = pa.array([each for each in persons.to_pylist() if each not in known], TOKEN)
    fresh = parts.memory.persons(fresh).column("person_token").combine_chunks() if len(fresh) else fresh
    if len(fresh):
        fields: dict[str, Value] = {"what": "begun", "case_id": "", "people": len(fresh)}
        log.append(
            [(EntryType.ERASURE, context, fields)],
            lambda connection, _: _begin(connection, fresh, utc_text(at)),
        )


def anchor_noes(parts: Parts, directory: Path) -> dict[str, Value]:
    """Let what was remembered since the last anchor leave this machine; what the anchor's entry says of it.

    Raises `NeedsFix`: `anchor_unwritable`.
    """
    said = [entry["fields"] for entry in parts.evidence.reader.entries(types=frozenset({EntryType.ANCHOR}))]
    after = max((int(fields["noes_until"]) for fields in said if "noes_until" in fields), default=0)
    written = write_new(parts.evidence.engine, directory, after, parts.keys.suppression.reveal())
    fields: dict[str, Value] = {"noes_until": written.until, "noes": written.noes}
    return fields | ({"noes_digest": written.digest} if written.noes else {})


def lost_noes(parts: Parts) -> list[dict[str, Any]]:
    """What left this machine and the ledger lacks, as `take_back` takes it. Changes nothing.

    Raises `NeedsFix`: `anchor_unreadable`.
    """
    place = parts.settings.ledger.anchor_directory
    keys = [key.reveal() for key in parts.keys.all_of(KeyUse.SUPPRESSION)]
    return lacking(parts.evidence.engine, parts.evidence.base / place, keys) if place is not None else []


def taken_back(rows: list[dict[str, Any]], context: Context) -> list[NewEntry]:
    """The entry that counts noes that are remembered again; none for none."""
    return [(EntryType.SUPPRESSION, context, {"what": "taken_back", "noes": len(rows)})] if rows else []


def forget_old(parts: Parts, log: TransferLog, context: Context, now: datetime, months: int = MONTHS) -> None:
    """Forget withdrawals that have nothing left to speak against, with an entry that says so. For the holder of the writer's lease."""
    month = now.year * 12 + now.month - 1 - months
    before = now.replace(year=month // 12, month=month % 12 + 1, day=min(now.day, 28))
    fields: dict[str, Value] = {"what": "remembered_withdrawals", "months": months}
    log.append([(EntryType.RETENTION, context, fields)], lambda connection, _: _forget(connection, before))


def key_ids(parts: Parts) -> str:
    """The keys under which a no is written now, as its row names them."""
    return f"{parts.keys.suppression.key_id} {parts.keys.index.key_id}"


def _without(noes: pa.Table, known: pa.Table) -> pa.Table:
    """Those that were not first seen at the same moment already: the same event gives the same row, whoever screens it."""
    known = known.filter(pc.equal(known.column("first_seen"), noes.column("first_seen")[0]))
    if not known.num_rows:
        return noes
    compared, keys = [_comparable(each) for each in (noes, known)], [f"{name}_" for name in NOES.names]
    places = pa.array(range(noes.num_rows), pa.int64())
    fresh = compared[0].append_column("place", places).join(compared[1], keys, join_type="left anti")
    return noes.take(fresh.column("place").sort())


def _comparable(noes: pa.Table) -> pa.Table:
    """The rows with a value where there is none: a join finds no null again."""
    times = {name: pc.fill_null(noes.column(name).cast(pa.int64()), -1) for name in ("occurred", "recorded", "first_seen")}
    numbers = {name: pc.fill_null(noes.column(name), 0) for name in ("source", "seq")}
    return pa.table({f"{name}_": (times | numbers).get(name, noes.column(name)) for name in NOES.names})


def _begin(connection: Any, persons: pa.Array, at: str) -> None:
    begin(connection, persons, "", at, known_only=True)


def _forget(connection: Any, before: datetime) -> None:
    forget_withdrawals(connection, before)


def _older(parts: Parts, use: KeyUse, ids: set[str]) -> tuple[tuple[Tokens, ...], bool]:
    """The retired keys among these, and whether one is lacking."""
    wanted = ids - {parts.keys.current(use).key_id}
    keys = [key for key in parts.keys.all_of(use) if key.key_id in wanted]
    return tuple(Tokens(key.reveal()) for key in keys), len(keys) < len(wanted)


def _counts(noes: pa.Table) -> dict[str, Value]:
    kinds: dict[str, Value] = {
        str(each["values"]): int(each["counts"]) for each in pc.value_counts(noes.column("kind")).to_pylist()
    }
    return {"what": "remembered", "noes": noes.num_rows, "kinds": dict(sorted(kinds.items()))}


def to_ledger(found: pa.Table, at: datetime, keys: str) -> pa.Table:
    """Noes as `Screened.new_noes` gives them, first seen at this time, as the ledger keeps them."""
    rows = found.num_rows
    columns: dict[str, Any] = {name: _tokens(found.column(name)) for name in ("token", "account_token")}
    columns["kind"] = found.column("kind")
    columns["purpose"] = _translated(found.column("kind"), _PURPOSES, "*")
    columns["recipient"] = _translated(found.column("bits").cast(pa.string()), {str(k): v for k, v in _RECIPIENTS.items()}, "*")
    columns["controller"] = pc.fill_null(found.column("controller"), "")
    columns |= {name: found.column(name) for name in ("source", "seq", "occurred", "recorded")}
    columns["first_seen"] = pa.repeat(pa.scalar(naive(at), pa.timestamp("us")), rows)
    columns["case_id"] = pa.repeat(pa.scalar("", pa.string()), rows)
    columns["key_id"] = pa.repeat(pa.scalar(keys, pa.string()), rows)
    return pa.table([columns[name] for name in NOES.names], schema=NOES)


def to_engine(rows: pa.Table) -> pa.Table:
    """The rows as screening reads them; of what was entered by hand, what stands or was lifted, recipient by recipient."""
    by_hand = pc.not_equal(rows.column("case_id"), "")
    seen = rows.filter(pc.invert(by_hand))
    columns: dict[str, Any] = {name: _uuids(seen.column(name)) for name in ("token", "account_token")}
    columns |= {name: seen.column(name) for name in ("kind", "source", "seq", "occurred", "recorded", "first_seen")}
    columns["bits"] = _translated(seen.column("recipient"), {k: str(v) for k, v in _BITS.items()}, "3").cast(pa.uint8())
    columns["controller"] = _or_null(seen.column("controller"), "", pa.string())
    columns["by_hand"] = pa.repeat(pa.scalar(value=False), seen.num_rows)
    columns["lifted"] = pa.nulls(seen.num_rows, pa.timestamp("us"))
    own = pa.table([columns[name] for name in REMEMBERED_SCHEMA.names], schema=REMEMBERED_SCHEMA)
    return pa.concat_tables([own, _hand_rows(rows.filter(by_hand).to_pylist())])


def _hand_rows(rows: list[dict[str, Any]]) -> pa.Table:
    lists: dict[str, list[Any]] = {name: [] for name in REMEMBERED_SCHEMA.names}
    lifts = _lifts(rows)
    for row in rows:
        if row["kind"] == ERASED:  # nothing lifts it; by the rules an account that is created later is another matter
            values = {"kind": ERASED, "token": row["token"], "bits": 3, "by_hand": False, "lifted": None}
            values |= dict.fromkeys(("occurred", "recorded", "first_seen"), row["first_seen"])
            values |= {"account_token": None if row["account_token"] == NOBODY else row["account_token"]}
            for name, column in lists.items():
                column.append(values.get(name))
        for bits in (1, 2) if row["kind"] in LIFTS else ():
            if not bits & _BITS[row["recipient"]]:
                continue
            seen = row["first_seen"]
            later = [at for at in lifts.get((LIFTS[row["kind"]], row["token"], bits), ()) if at > seen]
            values = {
                "kind": row["kind"],
                "token": row["token"],
                "bits": bits,
                "occurred": seen,
                "recorded": seen,
                "first_seen": seen,
            }
            values |= {"account_token": None if row["account_token"] == NOBODY else row["account_token"]}
            values |= {"by_hand": True, "lifted": min(later, default=None)}
            for name, column in lists.items():
                column.append(values.get(name))
    storage = [
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array(lists[field.name], TOKEN))
        if field.type == pa.uuid()
        else pa.array(lists[field.name], field.type)
        for field in REMEMBERED_SCHEMA
    ]
    return pa.table(storage, schema=REMEMBERED_SCHEMA)


def _lifts(rows: list[dict[str, Any]]) -> dict[tuple[str, bytes, int], list[datetime]]:
    """(kind, token, recipient's bit) -> when a case lifted it."""
    found: dict[tuple[str, bytes, int], list[datetime]] = {}
    for row in rows:
        for bits in (1, 2):
            if row["kind"] in LIFTS.values() and bits & _BITS[row["recipient"]]:
                found.setdefault((row["kind"], row["token"], bits), []).append(row["first_seen"])
    return found


def _translated(column: pa.ChunkedArray, words: dict[str, str], otherwise: str) -> pa.ChunkedArray:
    places = pc.index_in(column, value_set=pa.array(list(words), pa.string()))
    return pc.fill_null(pc.take(pa.array(list(words.values()), pa.string()), places), otherwise)


def _or_null(column: pa.ChunkedArray, nothing: Any, kind: pa.DataType) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(column, pa.scalar(nothing, kind)), pa.scalar(None, kind), column)


def _tokens(column: pa.ChunkedArray) -> pa.Array:
    """The engine's tokens as the ledger keeps them: nobody's where there is none."""
    chunks = [chunk.storage for chunk in column.chunks]
    return pc.fill_null(pa.concat_arrays(chunks) if chunks else pa.array([], TOKEN), pa.scalar(NOBODY, TOKEN))


def _uuids(column: pa.ChunkedArray) -> pa.Array:
    return pa.ExtensionArray.from_storage(pa.uuid(), _or_null(column.combine_chunks(), NOBODY, TOKEN))
