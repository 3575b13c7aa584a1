"""Finding one person: the accounts whose address is hers, and what she said without an account.

It streams the whole `account` view, because an address is compared in its canonical form and stands nowhere as a key. An address that the store does
not give (nobody asked for her list, and she said no nowhere) finds nobody: that is how it should be. It judges nobody and writes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.customers.contract import ACCOUNT, RIGHTS_EVENT
from nestaudience.customers.port import Sheet, Snapshot
from nestaudience.errors import NeedsFix
from nestaudience.hashing.columns import hash_addresses
from nestaudience.hashing.digests import Addresses
from nestaudience.hashing.tokens import Tokens

Note = Callable[[str, str, int], None]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whose address was given: her token (16 bytes), her account ids (`string`), and her rights events that came without an account."""

    token: bytes = field(repr=False)
    account_ids: pa.Array = field(repr=False)
    rights: tuple[Sheet, ...] = field(repr=False)


def person_token(address: Addresses, tokens: Tokens) -> bytes:
    """The token of one address (a column of one). Raises `NeedsFix`: `address_invalid` when it is no address."""
    (token,) = hash_addresses(address, tokens, ()).person_token.to_pylist()
    if token is None:
        raise NeedsFix("address_invalid", "the address", "give one e-mail address, as the person writes it, and nothing else")
    found: bytes = token
    return found


def find_person(snapshot: Snapshot, token: bytes, tokens: Tokens, now: datetime, note: Note) -> Person:
    """Everything in the store that has this person's address."""
    ids: list[pa.Array] = []
    for sheet in snapshot.read(ACCOUNT, now=now):
        ids.append(sheet.facts.column("account_id").filter(_hers(sheet, token, tokens)))
        note("read", ACCOUNT.name, sheet.facts.num_rows)
    rights = []
    for sheet in snapshot.read(RIGHTS_EVENT):
        hers = pc.and_(_hers(sheet, token, tokens), pc.is_null(sheet.facts.column("account_id")))
        if sheet.addresses is not None and pc.any(hers).as_py():
            rights.append(Sheet(sheet.facts.filter(hers), sheet.addresses.filter(hers)))
    found = pc.unique(pa.concat_arrays(ids)) if ids else pa.array([], pa.string())
    return Person(token, found.take(pc.array_sort_indices(found)), tuple(rights))


def _hers(sheet: Sheet, token: bytes, tokens: Tokens) -> pa.BooleanArray:
    if sheet.addresses is None:
        raise TypeError("these sheets have addresses")
    same = pc.equal(hash_addresses(sheet.addresses, tokens, ()).person_token, pa.scalar(token, pa.binary(len(token))))
    return pc.fill_null(same, False)  # noqa: FBT003 (a value, not a switch)
