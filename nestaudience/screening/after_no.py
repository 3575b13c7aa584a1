"""From when on nobody may have been added: what the remembered noes and the store as it is now say of the past, for whoever verifies.

It reads the engine's tables after `screen` has filled them. It looks at no list and no request, and a night never runs it. A no that the store
does not show and whose account or address it no longer has is compared with nothing: what ended it would be gone as well.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import pyarrow as pa

from nestaudience.screening.engine import ask, fetch, naive, run_file, uuid_to_tokens
from nestaudience.screening.screen import Screened


@dataclass(frozen=True, slots=True)
class AfterNo:
    """When nobody may be added. `barred`: one row a remembered no, company that judges and recipient: `account_token`, `person_token` (uuid, null
    where unknown), `controller`, `bit` (1 google, 2 meta), `orders_only` (it bears on lists built on orders alone), `since` (the run that
    first saw it) and `until` (timestamps, UTC; null: nothing ended it). `noes`: how many are remembered; `compared`: how many of them the
    store can still be asked about. `unseen`: accounts (16-byte tokens) with a no that was recorded after the moment that was asked for, and
    that no run has seen.
    """

    barred: pa.Table = field(repr=False)
    noes: int
    compared: int
    unseen: pa.Array = field(repr=False)


MEMBERS: Final = pa.schema(
    [
        ("batch_no", pa.int64()),
        ("at", pa.timestamp("us")),
        ("controller", pa.string()),
        ("bit", pa.uint8()),
        ("uses_orders", pa.bool_()),
        ("account_token", pa.uuid()),
        ("person_token", pa.uuid()),
    ]
)
"""Somebody on a list, with the request that put her there: when it was written down (UTC), for which company and recipient, and whether the list
is built on orders.
"""


_ADDED_AFTER: Final = """
WITH found AS (
    SELECT m.batch_no, m.person_token FROM member_given m JOIN barred b ON b.account_token = m.account_token WHERE is_barred(b, m)
    UNION ALL
    SELECT m.batch_no, m.person_token FROM member_given m JOIN barred b ON b.person_token = m.person_token WHERE is_barred(b, m))
SELECT batch_no, count(DISTINCT person_token) FROM found GROUP BY batch_no
"""


def after_no(screened: Screened, since: datetime | timedelta) -> AfterNo:
    """Ask a whole screening, with memory. `since`: how far back a no may be unseen, a moment (UTC) or a time before now.

    Raises `MustStop` when the engine fails.
    """
    engine = screened.connection
    run_file(engine, "nestaudience.screening", "08_after_no.sql")
    first = since if isinstance(since, datetime) else screened.now - since
    barred = fetch(engine, "SELECT * FROM barred")
    ((noes, compared),) = ask(engine, "SELECT (SELECT count(*) FROM recalled), (SELECT count(DISTINCT seen_no) FROM faced)")
    unseen = fetch(engine, "SELECT account_token FROM unseen($since)", {"since": naive(first)})
    return AfterNo(barred, noes, compared, uuid_to_tokens(unseen.column("account_token")))


def added_after(screened: Screened, members: Iterable[pa.Table]) -> dict[int, int]:
    """Batch number -> how many people were added by it while they were barred, by account and by address. `members`: tables in the form of
    `MEMBERS`; to be asked after `after_no`. Raises `MustStop` when the engine fails.
    """
    found: dict[int, int] = {}
    for page in members:
        screened.connection.register("member_given", page)
        for number, people in ask(screened.connection, _ADDED_AFTER):
            found[number] = found.get(number, 0) + people
        screened.connection.unregister("member_given")
    return found
