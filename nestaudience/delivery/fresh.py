"""What the store was told since a moment: who spoke, and whom that may reach. Small reads, in one snapshot that the caller holds.

It judges nobody and writes nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT
from nestaudience.customers.port import Sheet, Snapshot
from nestaudience.hashing.columns import hash_addresses
from nestaudience.hashing.tokens import Tokens
from nestaudience.screening.engine import TOKEN

OVERLAP: Final = timedelta(minutes=15)
"""Every incremental read goes back a little further than the one before it ended: feeds are late."""
NOBODY: Final = pa.array([], pa.string())


@dataclass(frozen=True, slots=True)
class Fresh:
    """What was told: who spoke (`account_ids`, `string`), their account tokens and person tokens (`fixed_size_binary[16]`), and the rights events
    that came without an account.
    """

    account_ids: pa.Array
    account_tokens: pa.Array
    person_tokens: pa.Array
    rights: list[Sheet]


def read_fresh(snapshot: Snapshot, tokens: Tokens, since: datetime, now: datetime, *, grants_too: bool = False) -> Fresh:
    """Whoever said a no since then, or became a minor, protected or closed; with `grants_too` whoever said anything. Times are UTC."""
    ids, nameless, persons = [], [], []
    for view in (ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT):
        at = now if view is ACCOUNT else None
        for sheet in snapshot.read(view, noes_since=since, grants_too=grants_too, now=at):
            column = sheet.facts.column("account_id")
            ids.append(column.drop_null())
            if view is RIGHTS_EVENT and column.null_count and sheet.addresses is not None:
                alone = pc.is_null(column)
                nameless.append(Sheet(sheet.facts.filter(alone), sheet.addresses.filter(alone)))
                persons.append(hash_addresses(sheet.addresses.filter(alone), tokens, ()).person_token)
    spoke = pc.unique(pa.concat_arrays(ids)) if ids else NOBODY
    if len(spoke):
        sheets = snapshot.read(ACCOUNT, accounts=spoke, now=now)
        persons += [hash_addresses(sheet.addresses, tokens, ()).person_token for sheet in sheets if sheet.addresses is not None]
    person_tokens = pa.concat_arrays(persons).drop_null() if persons else pa.array([], TOKEN)
    return Fresh(spoke, tokens.of_accounts(spoke), person_tokens, nameless)
