"""What a screening saw of the store, counted: rows by company, the latest event of each source, and accounts that are gone.

Counts, times and labels only. It judges nobody and says nothing about whether the counts are right. The raw names of sources are the shop's own words
and may be free text: they leave as labels.
"""

from datetime import UTC, datetime

from nestaudience.screening.engine import ask
from nestaudience.screening.screen import Screened
from nestaudience.vocabulary import NO_MASK


def rows_read(screened: Screened) -> dict[tuple[str, str], int]:
    """(view, company) -> rows that were read, of the views that are read in whole. Rows without a company count nowhere."""
    tables = (
        ("account", "subject WHERE own AND controller IS NOT NULL"),
        ("consent_event", "consent WHERE controller IS NOT NULL"),
    )
    found: dict[tuple[str, str], int] = {}
    for view, table in (*tables, ("rights_event", "rights WHERE controller IS NOT NULL")):
        rows = ask(screened.connection, f"SELECT controller, count(*) FROM {table} GROUP BY 1")  # noqa: S608 (ours)
        found |= {(view, controller): count for controller, count in rows}
    return found


def members_read(screened: Screened) -> dict[tuple[str, str], int]:
    """(company, segment) -> rows of the segments that were asked for."""
    rows = ask(screened.connection, "SELECT controller, segment, count(*) FROM member GROUP BY ALL")
    return {(controller, segment): count for controller, segment, count in rows}


def latest_recorded(screened: Screened) -> dict[tuple[str, str], datetime]:
    """(company, label of a source) -> when its latest event was recorded (UTC), those with the most events first.

    Times ahead of now, by more than the skew, are passed over: a clock that once ran ahead would hide whatever comes later.
    """
    rows = ask(
        screened.connection,
        """SELECT e.controller, s.label, max(e.recorded) AS latest
           FROM (SELECT controller, source, recorded FROM consent UNION ALL SELECT controller, source, recorded FROM rights) e
           JOIN source_name s ON s.source = e.source
           WHERE e.controller IN (SELECT unnest(getvariable('controllers'))) AND e.recorded <= getvariable('now') + getvariable('skew')
           GROUP BY ALL ORDER BY count(*) DESC, e.controller, s.label""",
    )
    return {(controller, label): latest.replace(tzinfo=UTC) for controller, label, latest in rows}


def accounts_gone(screened: Screened) -> dict[str, tuple[int, int]]:
    """Company -> (accounts on its lists that the store does not have, whose removal is no no and was not asked for yet, accounts on its lists)."""
    rows = ask(
        screened.connection,
        """SELECT controller, count(*) FILTER (gone), count(*)
           FROM (SELECT au.controller, h.account_token,
                        bool_or(coalesce(a.gone AND NOT h.removing AND NOT h.owed AND ((a.google | a.meta) & $noes) = 0, false)) AS gone
                 FROM held h JOIN audience au USING (audience_no)
                 LEFT JOIN answer a ON a.account_token = h.account_token AND a.controller = au.controller
                 GROUP BY ALL)
           GROUP BY controller""",
        {"noes": NO_MASK},
    )
    return {controller: (gone, held) for controller, gone, held in rows}
