"""What SQLite and PostgreSQL spell differently in statements that are otherwise the same. It opens nothing and runs nothing.

Every function gives a piece of SQL; names of columns and parameters are this program's own.
"""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

POSTGRES: Final = "postgresql"


@dataclass(frozen=True, slots=True)
class Spelling:
    """One of the two."""

    postgres: bool

    def counting(self, parameter: str) -> str:
        """A table `n (i)` of the numbers from 0 up to this parameter, which is left out, in order; for a statement that begins with `before`."""
        return f"generate_series(0, CAST(:{parameter} AS bigint) - 1) AS n (i)" if self.postgres else "n"

    def before(self, parameter: str) -> str:
        """What a statement that counts up to this parameter (at least 1) begins with."""
        recursive = f"WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :{parameter}) "  # noqa: S608 (ours)
        return "" if self.postgres else recursive

    def cut(self, parameter: str, width: int) -> str:
        """The `i`-th piece of this width of the bytes in a parameter."""
        if self.postgres:
            return f"substring(:{parameter} from CAST(i * {width} + 1 AS int) for {width})"
        return f"substr(:{parameter}, i * {width} + 1, {width})"

    def words(self, piece: str, *, whole: bool) -> str:
        """A piece of bytes as text, or as the whole number that it spells, without the spaces at its end; a lone `-` is null."""
        text = f"convert_from({piece}, 'UTF8')" if self.postgres else f"CAST({piece} AS TEXT)"
        text = f"nullif(rtrim({text}), '-')"
        return f"CAST({text} AS bigint)" if whole and self.postgres else text

    def tokens(self, parameter: str) -> str:
        """A subquery of one column: the 16-byte tokens that are packed, one after the other, in this parameter."""
        if self.postgres:
            return f"SELECT {self.cut(parameter, 16)} FROM generate_series(0, octet_length(:{parameter}) / 16 - 1) AS n (i)"  # noqa: S608 (ours)
        return (
            f"WITH RECURSIVE n(i) AS (SELECT 0 WHERE length(:{parameter}) > 0 "  # noqa: S608 (ours)
            f"UNION ALL SELECT i + 1 FROM n WHERE (i + 1) * 16 < length(:{parameter})) SELECT {self.cut(parameter, 16)} FROM n"
        )

    def numbers(self, parameter: str) -> str:
        """A subquery of one column: the whole numbers in this parameter, a JSON array."""
        if self.postgres:
            return f"SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST(:{parameter} AS json))"  # noqa: S608 (ours)
        return f"SELECT value FROM json_each(:{parameter})"  # noqa: S608 (ours)

    def later(self, moment: str, hours: str) -> str:
        """A UTC text time moved by so many hours (an expression), in the same text form; null for an empty text."""
        if not self.postgres:
            return f"strftime('%Y-%m-%dT%H:%M:%S', {moment}, ({hours}) || ' hours') || substr({moment}, 20)"
        at = f"CAST(nullif(substr({moment}, 1, 19), '') AS timestamp) + ({hours}) * interval '1 hour'"
        return f"""to_char({at}, 'YYYY-MM-DD"T"HH24\\:MI\\:SS') || substr({moment}, 20)"""

    def no_token(self) -> str:
        """Sixteen bytes of nothing."""
        return r"decode(repeat('00', 16), 'hex')" if self.postgres else "zeroblob(16)"

    def json_line(self, columns: "dict[str, bool]") -> str:
        """A JSON array of these columns without spaces, True for those that are bytes: they stand in capital hexadecimal, empty for null."""
        if not self.postgres:
            return f"json_array({', '.join(f'hex({name})' if binary else name for name, binary in columns.items())})"
        cells = [
            f"""'"' || coalesce(upper(encode({name}, 'hex')), '') || '"'"""
            if binary
            else f"coalesce(CAST(to_json({name}) AS text), 'null')"
            for name, binary in columns.items()
        ]
        return "'[' || " + " || ',' || ".join(cells) + " || ']'"

    def lines(self, column: str, order: str) -> str:
        """These texts of all rows, a line each, in this order."""
        return f"string_agg({column}, chr(10) ORDER BY {order})" if self.postgres else f"group_concat({column}, char(10))"


class bytes_at(FunctionElement[int]):  # noqa: N801 (it reads as the function that it is)
    """At which place, from 1, some bytes stand in others; 0 for nowhere. Takes the whole, then the piece."""

    type = sa.Integer()
    name = "bytes_at"
    inherit_cache = True


@compiles(bytes_at)
def _instr(element: bytes_at, compiler: SQLCompiler, **kw: Any) -> str:
    whole, piece = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"instr({whole}, {piece})"


@compiles(bytes_at, POSTGRES)
def _position(element: bytes_at, compiler: SQLCompiler, **kw: Any) -> str:
    whole, piece = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"position({piece} IN {whole})"


class text_bytes(FunctionElement[bytes]):  # noqa: N801
    """The bytes of a text."""

    type = sa.LargeBinary()
    name = "text_bytes"
    inherit_cache = True


@compiles(text_bytes)
def _cast(element: text_bytes, compiler: SQLCompiler, **kw: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **kw)} AS BLOB)"


@compiles(text_bytes, POSTGRES)
def _convert(element: text_bytes, compiler: SQLCompiler, **kw: Any) -> str:
    return f"convert_to({compiler.process(element.clauses, **kw)}, 'UTF8')"


def spelling_of(bind: Engine | Connection) -> Spelling:
    """How the database behind this engine or connection spells."""
    return Spelling(bind.dialect.name == POSTGRES)
