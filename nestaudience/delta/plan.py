"""What would bring every list into line: removals (noes and ordinary ones), additions, and which gates hold some of them.

Pure over the engine's columns: it sends nothing, writes nothing, and reads neither clock nor platform. Removals are measured against what may be
there, additions against what is confirmed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import duckdb
import pyarrow as pa

from nestaudience.delta.gates import Gate, Limits, brakes
from nestaudience.delta.probing import LETS_A_PROBE, PROBE_CODES, first_fill
from nestaudience.delta.releases import Release, let_through
from nestaudience.screening.engine import ask, fetch, run_file
from nestaudience.screening.rules import Funnel
from nestaudience.screening.screen import Screened
from nestaudience.vocabulary import NO_MASK, URGENT_MASK, AudienceKey, Reason

_PACKAGE: Final = "nestaudience.delta"
PASSED_BY_REFRESH: Final = frozenset({"too_small", "anomaly_additions", "segment_feed"}) | PROBE_CODES
"""Gates on growth, and on what a segment says. They do not hold the refresh of people whose time on a list runs out."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What one list's delta holds, in people (distinct digests)."""

    held: int
    wanted: int
    noes: int
    ordered: int
    """Of those who are no no, how many somebody ordered off: the list is being emptied, or a run is taken back."""
    ordinary: int
    additions: int
    removing: int
    refresh: int
    """Of the additions, how many may be on the list already: their time there runs out, or their answer was lost."""
    vanished: int = 0
    """Of the ordinary removals, how many of people whose account the store no longer has."""

    @property
    def newcomers(self) -> int:
        """Of the additions, those who are not on the list."""
        return self.additions - self.refresh


@dataclass(frozen=True, slots=True)
class AudiencePlan:
    """One audience's delta with its gates. `gates` are the closed ones; what they hold is not sent. `released` are the codes of those that a
    person let the plan through. `probe`: so many people go first, the rest after the platform took them; None when all go at once. `emptied`: nobody
    is wanted, for the list is being emptied.
    """

    key: AudienceKey
    funnel: Funnel
    counts: Counts
    gates: tuple[Gate, ...]
    released: tuple[str, ...] = ()
    probe: int | None = None
    emptied: bool = False

    @property
    def removals_to_send(self) -> int:
        """Noes and ordered removals always; ordinary ones unless a gate holds them."""
        free = self.counts.ordinary - (self.counts.vanished if self.holds_vanished else 0)
        return self.counts.noes + self.counts.ordered + (0 if self.holds_ordinary else free)

    @property
    def additions_to_send(self) -> int:
        """Additions, unless a gate holds them. Of a first fill only the probe is certain to go."""
        fresh, refresh = self.counts.newcomers, self.counts.refresh
        fresh = fresh if self.probe is None else min(fresh, self.probe)
        return (0 if self.holds_additions else fresh) + (0 if self.holds_refresh else refresh)

    @property
    def holds_additions(self) -> bool:
        """True when some gate stops additions."""
        return any(gate.additions and gate.code != LETS_A_PROBE for gate in self.gates)

    @property
    def holds_refresh(self) -> bool:
        """True when some gate also stops the refresh of people who may be on the list already."""
        return any(gate.additions and gate.code not in PASSED_BY_REFRESH for gate in self.gates)

    @property
    def holds_ordinary(self) -> bool:
        """True when some gate stops ordinary removals."""
        return any(gate.ordinary for gate in self.gates)

    @property
    def holds_vanished(self) -> bool:
        """True when some gate stops the ordinary removals of people whose account the store no longer has."""
        return any(gate.vanished for gate in self.gates)

    def as_dict(self) -> dict[str, object]:
        """Keys and counts only."""
        return {
            "audience": self.key,
            "candidates": self.funnel.candidates,
            "eligible": self.funnel.eligible,
            "refused": dict(self.funnel.refused),
            "held": self.counts.held,
            "wanted": self.counts.wanted,
            "noes": self.counts.noes,
            "ordered": self.counts.ordered,
            "ordinary": self.counts.ordinary,
            "additions": self.counts.additions,
            "send_removals": self.removals_to_send,
            "send_additions": self.additions_to_send,
            "gates": [gate.code for gate in self.gates],
            "refresh": self.counts.refresh,
            "vanished": self.counts.vanished,
            "released": list(self.released),
        }


@dataclass(frozen=True, slots=True)
class Delta:
    """The deltas of all audiences, in the engine's tables `removal` and `addition`. Made by `work_out` only."""

    screened: Screened
    plans: dict[AudienceKey, AudiencePlan]

    def removals(self, key: AudienceKey) -> pa.Table:
        """The removals that may be sent, noes first: `digest` uuid, `held_nos` list<int64>, `person_token` uuid, `is_no`, `says_no`, `mask`,
        `moved`, `owed` (asked for before: a no to this plan, whatever the reason was). `says_no`: a reason that this plan saw is a no.
        """
        plan = self.plans[key]
        held = {"ordinary": not plan.holds_ordinary, "vanished": plan.holds_vanished}
        query = (
            "SELECT digest, held_nos, person_token, is_no, says_no, mask, moved, owed FROM removal "
            "WHERE audience_no = $audience AND (is_no OR ordered OR ($ordinary AND NOT (vanished AND $vanished))) "
            "ORDER BY says_no DESC, is_no DESC, digest"
        )
        return fetch(self._engine, query, {"audience": self.screened.number(key), **held})

    def wanted(self, keys: Iterable[AudienceKey]) -> pa.Table:
        """Whom any of these audiences wants: one column, `digest` uuid. Audiences that were not judged want nobody here."""
        judged = {audience.key for audience in self.screened.audiences}
        numbers = [self.screened.number(key) for key in keys if key in judged]
        query = "SELECT DISTINCT digest FROM wanted WHERE list_contains($audiences::INTEGER[], audience_no)"
        return fetch(self._engine, query, {"audiences": numbers})

    def additions(self, key: AudienceKey) -> pa.Table:
        """The additions that may be sent: `digest`, `account_token`, `person_token` uuid, `row_no` int64, `signals` uint8, `again` int64 (the
        batch of which some were refused and whose people are tried once more, 0 for nobody).
        """
        plan = self.plans[key]
        query = (
            "SELECT digest, account_token, person_token, row_no, signals, again FROM addition WHERE audience_no = $audience "
            "AND NOT CASE WHEN refresh THEN $stale ELSE $held END ORDER BY digest"
        )
        values = {"audience": self.screened.number(key), "held": plan.holds_additions, "stale": plan.holds_refresh}
        return fetch(self._engine, query, values)

    def reasons(self, key: AudienceKey) -> dict[str, int]:
        """Why people leave: reason codes (any of a person's), `left_segment`, `address_changed` and `ordered`, with counts that may overlap."""
        counted = "SELECT mask, moved, ordered, count(*) FROM removal WHERE audience_no = $audience GROUP BY ALL"
        rows = ask(self._engine, counted, {"audience": self.screened.number(key)})
        found: dict[str, int] = {}
        for mask, moved, ordered, count in rows:
            codes = [reason.value for reason in Reason if mask & reason.bit]
            codes += ["address_changed"] if moved else []
            codes += ["ordered"] if ordered else []
            for code in codes or ["left_segment"]:
                found[code] = found.get(code, 0) + count
        return dict(sorted(found.items()))

    @property
    def _engine(self) -> duckdb.DuckDBPyConnection:
        return self.screened.connection


@dataclass(frozen=True, slots=True)
class Orders:
    """What somebody ordered beyond bringing lists into line: lists to empty, rows of `held` (by `held_no`) whose people a retraction takes off, and
    whether everybody who should be there is sent once more. `urgent`: lists where a no that is new leaves only if it waits
    for no cadence.
    """

    emptied: frozenset[AudienceKey] = frozenset()
    retracted: pa.Array | None = None
    resend: bool = False
    urgent: frozenset[AudienceKey] = frozenset()


_NOTHING: Final = Orders()
_COUNTED: Final = """
WITH holding AS (
    SELECT audience_no, count(*) AS held, count(*) FILTER (removing) AS removing
    FROM (SELECT audience_no, digest, bool_or(removing) AS removing FROM held GROUP BY audience_no, digest) GROUP BY audience_no
), wanting AS (
    SELECT audience_no, count(*) AS wanted FROM wanted GROUP BY audience_no
), leaving AS (
    SELECT audience_no, count(*) FILTER (is_no) AS noes, count(*) FILTER (NOT is_no AND ordered) AS ordered,
           count(*) FILTER (NOT is_no AND NOT ordered) AS ordinary, count(*) FILTER (vanished AND NOT is_no AND NOT ordered) AS vanished
    FROM removal GROUP BY audience_no
), joining AS (
    SELECT audience_no, count(*) AS additions, count(*) FILTER (refresh) AS refresh FROM addition GROUP BY audience_no
)
SELECT key, coalesce(held, 0), coalesce(wanted, 0), coalesce(noes, 0), coalesce(ordered, 0), coalesce(ordinary, 0), coalesce(additions, 0),
       coalesce(removing, 0), coalesce(refresh, 0), coalesce(vanished, 0)
FROM audience LEFT JOIN holding USING (audience_no) LEFT JOIN wanting USING (audience_no) LEFT JOIN leaving USING (audience_no)
LEFT JOIN joining USING (audience_no) ORDER BY audience_no
"""
"""One row an audience: its key, and the counts in the order of `Counts`."""


def work_out(
    screened: Screened,
    limits: dict[AudienceKey, Limits],
    closed: dict[AudienceKey, tuple[Gate, ...]],
    orders: Orders = _NOTHING,
    releases: Mapping[AudienceKey, tuple[Release, ...]] = MappingProxyType({}),
) -> Delta:
    """The delta of every audience. `closed` are the gates that are closed already, whatever the counts; `limits` those of the brakes; `releases`
    stand now.
    """
    engine = screened.connection
    ask(engine, "SET VARIABLE no_mask = $mask::UBIGINT", {"mask": NO_MASK})
    _give(screened, orders)
    run_file(engine, _PACKAGE, "01_delta.sql")
    rows = ask(engine, _COUNTED)
    plans = {}
    for key, *numbers in rows:
        counts = Counts(*numbers)
        own, probe = ((), None) if key in orders.emptied else _own_gates(counts, limits[key])
        gates, released = let_through((*closed.get(key, ()), *own), counts.newcomers, counts.ordinary, releases.get(key, ()))
        plans[key] = AudiencePlan(key, screened.funnel(key), counts, gates, released, probe, key in orders.emptied)
    return Delta(screened, plans)


def _own_gates(counts: Counts, limits: Limits) -> tuple[tuple[Gate, ...], int | None]:
    """The gates that a list's own counts close, and how many people a probe may hold."""
    closed = brakes(counts.held, counts.wanted, counts.ordinary, counts.newcomers, limits)
    gate, probe = first_fill(counts.newcomers, limits.first_fill)
    return closed if gate is None else (*closed, gate), probe


def _give(screened: Screened, orders: Orders) -> None:
    """Tell the engine what was ordered."""
    engine = screened.connection
    for name, keys in (("emptied", orders.emptied), ("urgent", orders.urgent)):
        numbers = [screened.number(audience.key) for audience in screened.audiences if audience.key in keys]
        ask(engine, f"SET VARIABLE {name} = $numbers::INTEGER[]", {"numbers": numbers})
    ask(engine, "SET VARIABLE urgent_mask = $mask::UBIGINT", {"mask": URGENT_MASK})
    ask(engine, "SET VARIABLE resend = $resend::BOOLEAN", {"resend": orders.resend})
    rows = orders.retracted if orders.retracted is not None else pa.array([], pa.int64())
    engine.register("retracted_given", pa.table({"held_no": rows}))
    ask(engine, "CREATE OR REPLACE TABLE retracted AS SELECT held_no FROM retracted_given")
    engine.unregister("retracted_given")
