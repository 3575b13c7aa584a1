"""The SQL text that reads a contract's views, in the words that every dialect shares. Pure: it opens nothing.

What a dialect says differently, it says in a `Dialect`: how a column is compared, how it becomes text, and when a clock is late.
Values are literals, because bound parameters would end streaming in one store and ids come from the store itself; an address is never one.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, View
from nestaudience.customers.port import PEOPLE_VIEWS
from nestaudience.customers.sheets import CLOCK_OF, MINOR_YEARS

Present = Mapping[str, Mapping[str, str]]
"""View -> its columns, each with the store's own word for its type (empty where columns have none)."""

_NO_ACTIONS: Final = {
    "account": "TRUE",
    "consent_event": "coalesce({action} <> 'grant', TRUE)",
    "rights_event": "coalesce({action} NOT IN ('lift_objection', 'unrestrict'), TRUE)",
}


def name(word: str) -> str:
    """A quoted identifier."""
    return '"' + word.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Late:
    """Rows of this time (UTC) or later: those that may hold a no, or all."""

    since: datetime
    grants_too: bool = False


class Dialect(ABC):
    """What one kind of store says in its own way. `column` is a quoted column, `kind` the store's word for its type."""

    first_row: bool = False
    """True where a result must start with a row of empty text."""
    nothing: str = "NULL"
    """A null where a text is expected."""

    @abstractmethod
    def literal(self, value: str) -> str:
        """A quoted text."""

    @abstractmethod
    def compared(self, column: str, kind: str) -> str:
        """The column as it is compared with texts."""

    @abstractmethod
    def text(self, column: str, kind: str) -> str:
        """The column as the port's text."""

    @abstractmethod
    def late(self, column: str, kind: str, since: datetime) -> str:
        """A condition, never null: true where this clock is at `since` (UTC) or later, or cannot be read. Seconds may be rounded down."""

    def time(self, column: str, kind: str) -> str:
        """A time by which people are judged: as text, or as the port's `MOMENT`."""
        return self.text(column, kind)

    @abstractmethod
    def born_since(self, column: str, kind: str, first: int) -> str:
        """A condition: true where this column's text is a whole number of at least `first`."""

    def literals(self, values: Iterable[str]) -> str:
        """A parenthesised list of quoted texts."""
        return "(" + ", ".join(self.literal(value) for value in values) + ")"


class Reading:
    """Statements for one store: its dialect, which views and columns it has, where each view stands (quoted), which consents do not matter."""

    def __init__(
        self, dialect: Dialect, present: Present, sources: Mapping[str, str], irrelevant_purposes: frozenset[str]
    ) -> None:
        self._dialect = dialect
        self._present = present
        self._sources = sources
        self._irrelevant = irrelevant_purposes

    def has(self, view: View, *columns: str) -> bool:
        """True when the store has the view with all these columns."""
        return view.name in self._present and self._present[view.name].keys() >= set(columns)

    def select(
        self,
        view: View,
        *,
        accounts: Collection[str] | None,
        late: Late | None,
        segments: frozenset[tuple[str, str]] | None,
        now: datetime | None,
    ) -> str:
        """The whole statement: the view's rows in the contract's columns, text or moments, after a row of empty text where the dialect needs one."""
        columns = [self._crossing(view, column) for column in view.names]
        joined = before = ""
        if view is ACCOUNT:
            if now is None:
                raise ValueError("account is read at a time: name `now`")
            may = f"(asked.account_id IS NOT NULL OR {self._own_reason(now)})"
            columns[view.names.index("email")] = f"CASE WHEN {may} THEN {columns[view.names.index('email')]} END"
            columns.append(f"CASE WHEN {may} THEN '1' ELSE '0' END")
            before = f"WITH asked AS MATERIALIZED ({self._asked(accounts, late)}) "
            joined = f" LEFT JOIN asked ON asked.account_id = {self._compared(view, 'account_id')}"
        if self._dialect.first_row:
            before += "SELECT " + ", ".join(["''"] * len(columns)) + " UNION ALL "
        where = self._where(view, accounts, late, segments)
        return f"{before}SELECT {', '.join(columns)} FROM {self._sources[view.name]} AS v{joined}{where}"  # noqa: S608 - quoted

    def _compared(self, view: View, column: str) -> str:
        if not self.has(view, column):
            return self._dialect.nothing
        return self._dialect.compared(f"v.{name(column)}", self._present[view.name][column])

    def _crossing(self, view: View, column: str) -> str:
        if view.name in PEOPLE_VIEWS and view.column(column).kind == "time" and self.has(view, column):
            return self._dialect.time(f"v.{name(column)}", self._present[view.name][column])
        return self._as_text(view, column)

    def _as_text(self, view: View, column: str) -> str:
        if not self.has(view, column):
            return "CAST(NULL AS TEXT)"
        return self._dialect.text(f"v.{name(column)}", self._present[view.name][column])

    def _where(
        self,
        view: View,
        accounts: Collection[str] | None,
        late: Late | None,
        segments: frozenset[tuple[str, str]] | None,
    ) -> str:
        terms = []
        if accounts is not None:
            terms.append(f"{self._compared(view, 'account_id')} IN {self._dialect.literals(accounts)}")
        if late is not None:
            terms.append(self._late(view, late))
        if segments is not None:
            controller, code = self._compared(view, "controller_id"), self._compared(view, "segment_code")
            literal = self._dialect.literal
            pairs = (f"({controller} = {literal(c)} AND {code} = {literal(s)})" for c, s in sorted(segments))
            terms.append("(" + " OR ".join(pairs) + ")")
        return " WHERE " + " AND ".join(terms) if terms else ""

    def _late(self, view: View, late: Late) -> str:
        """Rows that may hold a new no, or anything new: a few rows too many, never one too few."""
        action = _NO_ACTIONS[view.name].format(action=self._compared(view, "action") if view is not ACCOUNT else "")
        if late.grants_too:
            action = "TRUE"
        clock = CLOCK_OF[view.name]
        if not self.has(view, clock):
            return action
        new = self._dialect.late(f"v.{name(clock)}", self._present[view.name][clock], late.since.astimezone(UTC))
        return f"{action} AND {new}"

    def _own_reason(self, now: datetime) -> str:
        """Why an account row alone allows to read its address: a minor, or a protected person."""
        born = "FALSE"
        if self.has(ACCOUNT, "birth_year"):
            kind, first = self._present[ACCOUNT.name]["birth_year"], now.astimezone(UTC).year - MINOR_YEARS
            born = self._dialect.born_since(f"v.{name('birth_year')}", kind, first)
        return f"coalesce({self._as_text(ACCOUNT, 'protected')} = '1', FALSE) OR coalesce({born}, FALSE)"

    def _asked(self, accounts: Collection[str] | None, late: Late | None) -> str:
        """The accounts with a grant for list matching, or with a no of their own; only those that can be read, so that an index serves."""
        only = f"IN {self._dialect.literals(accounts)}" if accounts is not None else ""
        if not only and late is not None:
            changed = self._late(ACCOUNT, late)
            only = f"IN (SELECT {self._compared(ACCOUNT, 'account_id')} FROM {self._sources[ACCOUNT.name]} AS v WHERE {changed})"  # noqa: S608 - quoted
        parts = []
        if self.has(CONSENT_EVENT, "account_id", "action", "purpose"):
            action, purpose = self._compared(CONSENT_EVENT, "action"), self._compared(CONSENT_EVENT, "purpose")
            granted = f"({action} = 'grant' AND {purpose} = 'ad_matching')"
            withdrawn = f"{action} = 'withdraw'"
            if self._irrelevant:
                withdrawn += f" AND coalesce({purpose} NOT IN {self._dialect.literals(sorted(self._irrelevant))}, TRUE)"
            parts.append(self._ids(CONSENT_EVENT, only, f"({granted} OR ({withdrawn}))"))
        if self.has(RIGHTS_EVENT, "account_id", "action"):
            action = self._compared(RIGHTS_EVENT, "action")
            parts.append(self._ids(RIGHTS_EVENT, only, f"{action} IN ('object', 'restrict', 'erase')"))
        return " UNION ".join(parts) if parts else "SELECT CAST(NULL AS TEXT) AS account_id WHERE FALSE"

    def _ids(self, view: View, only: str, where: str) -> str:
        account_id = self._compared(view, "account_id")
        chosen = f"{account_id} {only} AND " if only else ""
        return f"SELECT {account_id} AS account_id FROM {self._sources[view.name]} AS v WHERE {chosen}{where}"  # noqa: S608 - quoted
