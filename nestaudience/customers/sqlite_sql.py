"""The SQL text that reads a contract's views out of a SQLite file. Pure: it opens nothing.

Two facts of the driver shape it. It infers a column's type from the first rows, so every column is cast to text and
the result starts with a row of empty text (`FIRST_ROW`) that the reader drops again. And values are literals, because
ids come from the store itself and are quoted here; an address is never one.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Final

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, View

EMAIL_READ: Final = "email_read"
"""The extra last column of `account`: `1` where the rules allow to read the address."""

_SINCE: Final = {"account": "changed_at", "consent_event": "recorded_at", "rights_event": "recorded_at"}
_NO_ACTIONS: Final = {
    "account": "1",
    "consent_event": "coalesce({action} <> 'grant', 1)",
    "rights_event": "coalesce({action} NOT IN ('lift_objection', 'unrestrict'), 1)",
}
_MINOR_YEARS: Final = 18


def name(word: str) -> str:
    """A quoted identifier."""
    return '"' + word.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A quoted text. A NUL would end the statement, so a text that has one goes as its bytes."""
    if "\0" in value:
        return f"CAST(x'{value.encode().hex()}' AS TEXT)"
    return "'" + value.replace("'", "''") + "'"


def literals(values: Iterable[str]) -> str:
    """A parenthesised list of quoted texts."""
    return "(" + ", ".join(literal(value) for value in values) + ")"


def readable_time(column: str) -> str:
    """A condition: true where this SQL expression is a moment of the contract, ISO 8601 text in UTC. Never null."""
    zone = f"substr({column}, 20)"
    short = f"({zone} GLOB '.[0-9]*Z' AND {_digits(f'substr({column}, 21, length({column}) - 21)')})"
    long = f"({zone} GLOB '.[0-9]*+00:00' AND {_digits(f'substr({column}, 21, length({column}) - 26)')})"
    zoned = f"({zone} IN ('Z', '+00:00') OR {short} OR {long})"
    calendar = f"substr({column}, 1, 19) = strftime('%Y-%m-%dT%H:%M:%S', substr({column}, 1, 19))"
    return f"coalesce(typeof({column}) = 'text' AND {calendar} AND {zoned}, 0)"


def _digits(expression: str) -> str:
    return f"{expression} NOT GLOB '*[^0-9]*'"


class Reading:
    """Statements for one store: which views and columns it has, how its views are prefixed, which consents do not matter."""

    def __init__(self, present: dict[str, frozenset[str]], prefix: str, irrelevant_purposes: frozenset[str]) -> None:
        self._present = present
        self._prefix = prefix
        self._irrelevant = irrelevant_purposes

    def view(self, view: View) -> str:
        """The quoted name of a view in the file."""
        return name(self._prefix + view.name)

    def has(self, view: View, *columns: str) -> bool:
        """True when the store has the view with all these columns."""
        return view.name in self._present and self._present[view.name].issuperset(columns)

    def select(
        self,
        view: View,
        *,
        accounts: Collection[str] | None,
        noes_since: datetime | None,
        segments: frozenset[tuple[str, str]] | None,
        now: datetime | None,
    ) -> str:
        """The whole statement: a first row of empty text, then the view's rows in the contract's columns, all text."""
        columns = [self._as_text(view, column) for column in view.names]
        joined = before = ""
        if view is ACCOUNT:
            if now is None:
                raise ValueError("account is read at a time: name `now`")
            asked = self._asked(accounts)
            may = f"({self._own_reason(now)} OR asked.account_id IS NOT NULL)"
            columns[view.names.index("email")] = f"CASE WHEN {may} THEN {columns[view.names.index('email')]} END"
            columns.append(f"CASE WHEN {may} THEN '1' ELSE '0' END")
            before = f"WITH asked AS MATERIALIZED ({asked}) "
            joined = f" LEFT JOIN asked ON asked.account_id = {self._raw(view, 'account_id')}"
        first = ", ".join("''" for _ in columns)
        where = self._where(view, accounts, noes_since, segments)
        source = f"{self.view(view)} AS v{joined}{where}"
        return f"{before}SELECT {first} UNION ALL SELECT {', '.join(columns)} FROM {source}"  # noqa: S608 - quoted above

    def _raw(self, view: View, column: str) -> str:
        return f"v.{name(column)}" if self.has(view, column) else "NULL"

    def _as_text(self, view: View, column: str) -> str:
        return f"CAST({self._raw(view, column)} AS TEXT)"

    def _where(
        self,
        view: View,
        accounts: Collection[str] | None,
        noes_since: datetime | None,
        segments: frozenset[tuple[str, str]] | None,
    ) -> str:
        terms = []
        if accounts is not None:
            terms.append(f"{self._raw(view, 'account_id')} IN {literals(accounts)}")
        if noes_since is not None:
            terms.append(self._noes(view, noes_since))
        if segments is not None:
            controller, code = self._raw(view, "controller_id"), self._raw(view, "segment_code")
            pairs = (f"({controller} = {literal(c)} AND {code} = {literal(s)})" for c, s in sorted(segments))
            terms.append("(" + " OR ".join(pairs) + ")")
        return " WHERE " + " AND ".join(terms) if terms else ""

    def _noes(self, view: View, since: datetime) -> str:
        """Rows that may hold a new no. Seconds decide, rounded down: a few rows too many, never one too few."""
        clock = self._raw(view, _SINCE[view.name])
        moment = literal(since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"))
        late = f"CASE WHEN {readable_time(clock)} THEN substr({clock}, 1, 19) >= {moment} ELSE 1 END"
        return f"{_NO_ACTIONS[view.name].format(action=self._raw(view, 'action'))} AND {late}"

    def _own_reason(self, now: datetime) -> str:
        """Why an account row alone allows to read its address: a minor, or a protected person."""
        year = self._as_text(ACCOUNT, "birth_year")
        born = f"({year} NOT GLOB '*[^0-9]*' AND {year} <> '' AND {now.astimezone(UTC).year} - CAST({year} AS INTEGER) <= {_MINOR_YEARS})"
        return f"coalesce({self._as_text(ACCOUNT, 'protected')} = '1', 0) OR coalesce({born}, 0)"

    def _asked(self, accounts: Collection[str] | None) -> str:
        """The accounts with a grant for list matching, or with a no of their own."""
        only = f"v.account_id IN {literals(accounts)}" if accounts is not None else "1"
        parts = []
        if self.has(CONSENT_EVENT, "account_id", "action", "purpose"):
            granted = "(v.action = 'grant' AND v.purpose = 'ad_matching')"
            withdrawn = "v.action = 'withdraw'"
            if self._irrelevant:
                withdrawn += f" AND coalesce(v.purpose NOT IN {literals(sorted(self._irrelevant))}, 1)"
            parts.append(self._ids(CONSENT_EVENT, f"{only} AND ({granted} OR ({withdrawn}))"))
        if self.has(RIGHTS_EVENT, "account_id", "action"):
            parts.append(self._ids(RIGHTS_EVENT, f"{only} AND v.action IN ('object', 'restrict', 'erase')"))
        return " UNION ".join(parts) if parts else "SELECT NULL AS account_id WHERE 0"

    def _ids(self, view: View, where: str) -> str:
        return f"SELECT v.account_id AS account_id FROM {self.view(view)} AS v WHERE {where}"  # noqa: S608 - quoted
