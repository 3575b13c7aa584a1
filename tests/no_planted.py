"""A ledger that was tampered with: what the tests of verification with keys plant."""

import sqlite3
from contextlib import closing

import pyarrow as pa
from later_world import LaterWorld

from nestaudience.config.load import load
from nestaudience.hashing.columns import hash_addresses
from nestaudience.hashing.digests import Addresses
from nestaudience.hashing.tokens import Tokens
from nestaudience.remembering import key_ids
from nestaudience.wiring import open_parts


def tamper(world: LaterWorld, statement: str, *values: object) -> int:
    with closing(sqlite3.connect(world.folder / load(world.config).ledger.path)) as ledger, ledger:
        return ledger.execute(statement, values).rowcount


def plant_a_no(world: LaterWorld, account: str, address: str, first_seen: str, *, by_address: bool) -> None:
    """As if a run had seen then that she withdrew, by her account or by her address; the store shows nothing of it."""
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        (of_account,) = parts.tokens.of_accounts(pa.array([account])).to_pylist()
        keyed = Tokens(parts.keys.suppression.reveal())
        (of_address,) = hash_addresses(Addresses(pa.array([address])), keyed, ()).person_token.to_pylist()
        keys = key_ids(parts)
    tamper(world, "DELETE FROM suppression WHERE source = '1'")
    row = (of_address if by_address else bytes(16), bytes(16) if by_address else of_account, first_seen, keys)
    tamper(
        world,
        "INSERT INTO suppression (token, account_token, kind, purpose, recipient, controller, source, first_seen_at, case_id, key_id) "
        "VALUES (?, ?, 'withdrawn', 'ad_matching', '*', '', '1', ?, '', ?)",
        *row,
    )
