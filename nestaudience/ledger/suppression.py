"""Remembered noes: every no that was ever seen or entered by hand, so that it holds when the store forgets it. Appended, read, and forgotten by age.

An address stands here as a token of the suppression key, an account as one of the index key, a source of events as the number by which it is
compared. Times are UTC text with microseconds. It decides nothing about people: that is screening's work.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nestaudience.ledger.bulk import Page, insert_packed, read_pages
from nestaudience.ledger.engine import read
from nestaudience.ledger.schema import SUPPRESSION
from nestaudience.ledger.spelling import spelling_of

TOKEN: Final = pa.binary(16)
NOBODY: Final = bytes(16)
"""Stands where the address, or the account, of a no is not known."""
_TIME: Final = pa.timestamp("us")
NOES: Final = pa.schema(
    [
        ("token", TOKEN),
        ("account_token", TOKEN),
        ("kind", pa.string()),
        ("purpose", pa.string()),
        ("recipient", pa.string()),
        ("controller", pa.string()),
        ("source", pa.uint64()),
        ("seq", pa.int64()),
        ("occurred", _TIME),
        ("recorded", _TIME),
        ("first_seen", _TIME),
        ("case_id", pa.string()),
        ("key_id", pa.string()),
    ]
)
"""One remembered no. Tokens are never null (`NOBODY`), nor are kind, purpose, recipient (`*` for both), controller, case and keys (empty for none);
`key_id` names the suppression key and the index key. Clocks are those that the rules compare, null for one that cannot be read."""

WITHDRAWALS: Final = ("withdrawn", "cookies_web", "cookies_conversions", "cookies_unknown")
"""The kinds that may be forgotten after a time."""

_WIDTHS: Final = {
    "kind": 20,
    "purpose": 20,
    "recipient": 6,
    "source": 20,
    "source_seq": 20,
    "occurred_at": 27,
    "recorded_at": 27,
    "first_seen_at": 27,
    "key_id": 17,
}
_COLUMNS: Final = {"seq": "source_seq", "occurred": "occurred_at", "recorded": "recorded_at", "first_seen": "first_seen_at"}
_NONE: Final = "-"
_WORDS: Final = ("controller", "case_id")
"""Words of any length: a page holds rows that have them in common."""


def append(connection: Connection, noes: pa.Table) -> None:
    """Remember these noes (`NOES`), in the transaction of the entry that counts them. Whoever calls leaves out what is known."""
    for values in noes.select(_WORDS).group_by(list(_WORDS)).aggregate([]).to_pylist():
        mine = noes.filter(pc.and_(*(pc.equal(noes.column(name), values[name]) for name in _WORDS))).combine_chunks()
        columns = {_COLUMNS.get(name, name): mine.column(name).combine_chunks() for name in NOES.names if name not in _WORDS}
        insert_packed(
            connection,
            SUPPRESSION.name,
            mine.num_rows,
            packed={name: columns[name] for name in ("token", "account_token")},
            texts={name: _padded(columns[name], width) for name, width in _WIDTHS.items()},
            constants=values,
        )


def remembered(engine: Engine, *, by_hand: bool = False) -> pa.Table:
    """Every remembered no, or those with a case, in the form of `NOES`: those of one controller and case together, in the order in which they were
    remembered.
    """
    groups = [words for words in _groups(engine) if words["case_id"] or not by_hand]
    tables = [table for words in groups for table in _of_group(engine, words)]
    return pa.concat_tables(tables) if tables else NOES.empty_table()


def count(engine: Engine) -> int:
    """How many noes are remembered."""
    return int(read(engine, lambda c: c.execute(sa.select(sa.func.count()).select_from(SUPPRESSION)).scalar_one()))


def forget_withdrawals(connection: Connection, before: datetime) -> int:
    """Forget remembered withdrawals and refusals of cookies that were recorded before then (first seen, where that cannot be read); how many.
    Everything else stays, and so does whatever was entered by hand.
    """
    old = sa.and_(
        SUPPRESSION.c.kind.in_(WITHDRAWALS),
        SUPPRESSION.c.case_id == "",
        sa.func.coalesce(SUPPRESSION.c.recorded_at, SUPPRESSION.c.first_seen_at) < _time_text(before),
    )
    return int(connection.execute(sa.delete(SUPPRESSION).where(old)).rowcount)


def packed_text(column: pa.Array, width: int) -> pa.Array:
    """Texts as fixed-width bytes, filled up with spaces. Raises `ValueError` for one that is too long or null."""
    padded = pc.utf8_rpad(column, width)
    if padded.null_count or pc.any(pc.not_equal(pc.binary_length(padded), width)).as_py():
        raise ValueError("a packed text fits its width")
    return padded.cast(pa.binary()).cast(pa.binary(width))


def _padded(column: pa.Array, width: int) -> pa.Array:
    if column.type == _TIME:
        column = pc.binary_join_element_wise(pc.replace_substring(column.cast(pa.string()), " ", "T"), "Z", "")
    elif column.type == pa.uint64():
        return packed_text(pc.fill_null(column.cast(pa.string()), ""), width)
    return packed_text(pc.fill_null(column.cast(pa.string()), _NONE), width)


def _groups(engine: Engine) -> list[dict[str, str]]:
    query = sa.select(SUPPRESSION.c.controller, SUPPRESSION.c.case_id).distinct().order_by("controller", "case_id")
    return [dict(row._mapping) for row in read(engine, lambda c: c.execute(query).all())]  # noqa: SLF001 (SQLAlchemy's documented name)


def _of_group(engine: Engine, words: dict[str, str]) -> Iterator[pa.Table]:
    cells = [
        f"substr(coalesce(CAST({name} AS text), '{_NONE}') || '{' ' * width}', 1, {width}) AS {name}"
        for name, width in _WIDTHS.items()
    ]
    query = (
        f"SELECT suppression_no, token, coalesce(account_token, {spelling_of(engine).no_token()}) AS account_token, {', '.join(cells)} "  # noqa: S608 (ours)
        "FROM suppression WHERE controller = :controller AND case_id = :case_id"
    )
    widths = {"token": 16, "account_token": 16, **_WIDTHS}
    for page in read_pages(engine, query, "suppression_no", (), widths, words):
        yield pa.table([_cells(page, name, words) for name in NOES.names], schema=NOES)


def _cells(page: Page, name: str, words: dict[str, str]) -> pa.Array:
    if name in words:
        return pa.repeat(pa.scalar(words[name], pa.string()), page.rows)
    column, wanted = page.binaries[_COLUMNS.get(name, name)], NOES.field(name).type
    if wanted == TOKEN:
        return column
    text = pc.utf8_rtrim(column.cast(pa.binary()).cast(pa.string()), " ")
    if wanted == pa.string():
        return text
    text = pc.if_else(pc.is_in(text, value_set=pa.array([_NONE, ""])), pa.scalar(None, pa.string()), text)
    return (pc.utf8_slice_codeunits(text, 0, 26) if wanted == _TIME else text).cast(wanted)


def _time_text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
