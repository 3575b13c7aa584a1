"""A digest is kept once for all recipients where it is the same: everybody still has her own, for each recipient, in any order."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nestaudience.customers.contract import ACCOUNT
from nestaudience.customers.port import Sheet
from nestaudience.hashing.columns import hash_addresses
from nestaudience.hashing.digests import Addresses
from nestaudience.hashing.tokens import Tokens
from nestaudience.screening.engine import EngineLimits, open_engine, prepare, run_file
from nestaudience.screening.intake import Intake
from nestaudience.screening.rules import Rules
from nestaudience.vocabulary import Recipient

NOW = datetime(2026, 3, 10, tzinfo=UTC)
TOKENS = Tokens(bytes(range(32)))
ADDRESSES = [
    "First.Last+shop@gmail.com",
    "a.b@googlemail.com",
    "a.b@example.se",
    "ab@gmail.com",
    "+x@gmail.com",
    "no address",
    "",
    None,
]
SHEETS = st.lists(st.lists(st.tuples(st.sampled_from(ADDRESSES), st.booleans()), min_size=1, max_size=8), max_size=4)


def sheet(rows: Sequence[tuple[str | None, bool]]) -> Sheet:
    columns = {name: pa.nulls(len(rows), pa.string()) for name in ACCOUNT.names if name != "email"}
    columns["account_id"] = pa.array([f"a{number}" for number in range(len(rows))])
    columns["email_read"] = pa.array(["1" if read else "0" for _, read in rows])
    return Sheet(pa.RecordBatch.from_pydict(columns), Addresses(pa.array([address for address, _ in rows], pa.string())))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(SHEETS, st.permutations(list(Recipient)), st.randoms(use_true_random=False))
def test_everybody_keeps_the_digest_of_each_recipient(
    sheets: list[list[tuple[str | None, bool]]], order: list[Recipient], dice: object
) -> None:
    everybody = [address for rows in sheets for address, read in rows if read]
    asked = dice.choices(range(len(everybody)), k=9) if everybody else []  # type: ignore[attr-defined]
    expected = hash_addresses(Addresses(pa.array(everybody, pa.string())), TOKENS, order).digests
    for recipients in (order, order[:1]):
        rules = Rules(frozenset(), tuple(recipients), (), {})
        with open_engine(EngineLimits(memory="200MB", threads=1)) as engine:
            prepare(engine, rules, [], NOW)
            run_file(engine, "nestaudience.screening", "01_tables.sql")
            intake = Intake(engine, TOKENS, rules.recipients)
            intake.accounts(map(sheet, sheets))
            people = intake.people()
        rows = pa.array(asked, pa.int64())
        for recipient in recipients:
            assert people.digests_of(recipient, rows).column.equals(expected[recipient].column.take(rows))
        assert len(people.account_ids) == len(everybody)
