"""A drawn sample of the people on the lists now, each traced back: her consent, its text, her transfers, and whether all of it fits together.

It needs the keys and the store. It sends nothing and changes no list, names nobody, and does not compare the time of an addition with that of a no.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.accessing import keys_of
from nestaudience.audit.persons import PRESENT, LoggedBatch, Sighting, logged_batches, prove, search, verify_proof
from nestaudience.by_hand import A_WHILE, by_hand
from nestaudience.customers.contract import ACCOUNT
from nestaudience.delivery.held import Held, held_of, read_held
from nestaudience.errors import NeedsFix
from nestaudience.explaining import Explanation, judged
from nestaudience.finding import Person
from nestaudience.hashing.columns import hash_addresses
from nestaudience.jobs import check_case
from nestaudience.ledger.checkpoint import Verifier
from nestaudience.ledger.entries import EntryType, Value
from nestaudience.ledger.memory import HELD_FIELDS
from nestaudience.parts import Parts
from nestaudience.screening.tracing import TracedEvent, Verdict
from nestaudience.vocabulary import Cause, Operation

MOST: Final = 1000
"""People in one sample. Each costs one reading of all kept leaves."""
WHAT: Final = {
    "no_salt": "the ledger has no salt for somebody whom it has on a list",
    "no_proof": "the request that put her on a list, as memory says, does not hold her in the log",
    "not_eligible": "she is on a list, and by the rules and the store as it is now none of her accounts may be; a no since the last run shows so too",
}
"""What each finding says."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """One person. `accounts`: how many she has; `lists`: audiences from which no removal was asked; `grants`: consents that count now, `account` by
    her own numbering from 0; `transfers`: (id, UTC text, audience, operation) in the order of the log; `findings`: (code, audience), none is good.
    """

    accounts: int
    lists: tuple[str, ...]
    grants: tuple[TracedEvent, ...] = field(repr=False)
    transfers: tuple[tuple[str, str, str, str], ...]
    findings: tuple[tuple[str, str], ...]


def sample(parts: Parts, n: int, seed: int, case_id: str, *, actor: str = "cli") -> tuple[Sampled, ...]:
    """Draw `n` people (fewer when fewer are on lists) and trace them. The same seed draws the same people as long as the memberships and the index
    key are the same: the distinct person tokens are sorted, and Python's `random.Random(seed)` chooses.

    Raises `NeedsFix`: `case_missing`, `sample_size`; `TryAgain`: `leased`; and what the store and the ledger raise.
    """
    check_case(Cause.OTHER_SEE_CASE, case_id)
    if not 1 <= n <= MOST:
        raise NeedsFix("sample_size", "--n", f"a number from 1 to {MOST}")
    now = parts.clock()
    held = read_held(parts.memory, now)
    everyone = sorted(held.persons().to_pylist())
    drawn = Random(seed).sample(everyone, min(n, len(everyone)))  # noqa: S311 (a sample that can be drawn again)
    mine = pa.Table.from_batches(
        [page.filter(pc.is_in(page.column("person_token"), value_set=pa.array(drawn, pa.binary(16)))) for page in held.pages()],
        HELD_FIELDS,
    )
    found, owners = _explained(parts, held_of(parts.memory, mine), case_id)
    fields: dict[str, Value] = {"what": "sample", "case_id": case_id, "people": len(drawn), "seed": seed}
    with by_hand(parts, actor, patience=A_WHILE) as context:
        parts.open_log().append_and_seal([(EntryType.LOOKUP, context, fields)])
    batches = logged_batches(parts.evidence.reader)
    return tuple(_traced(parts, token, mine, found, owners.get(token, []), batches) for token in drawn)


def _explained(parts: Parts, held: Held, case_id: str) -> tuple[Explanation, dict[bytes, list[int]]]:
    """All accounts of these people judged at once; person token -> places of her accounts. Hers are those of her rows, and those with her address."""
    now, rows = parts.clock(), held.rows
    of_account = dict(zip(rows.column("account_token").to_pylist(), rows.column("person_token").to_pylist(), strict=True))
    tokens, people = pa.array(list(of_account), pa.binary(16)), held.persons()
    owner: dict[str, bytes] = {}
    with parts.store.snapshot(live=True) as snapshot:
        for sheet in snapshot.read(ACCOUNT, now=now):
            ids = sheet.facts.column("account_id")
            ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
            made = parts.tokens.of_accounts(ids)
            if sheet.addresses is None:
                raise TypeError("these sheets have addresses")
            persons = hash_addresses(sheet.addresses, parts.tokens, ()).person_token
            hers = pc.or_(pc.is_in(made, value_set=tokens), pc.is_in(persons, value_set=people))
            for at in pc.indices_nonzero(pc.fill_null(hers, False)).to_pylist():  # noqa: FBT003 (a value, not a switch)
                person = persons[at].as_py()
                owner[ids[at].as_py()] = of_account.get(made[at].as_py(), person)
        account_ids = pa.array(sorted(owner), pa.string())
        found = judged(parts, Person(b"", account_ids, ()), held, snapshot, now, case_id)
    places: dict[bytes, list[int]] = {}
    for place, (account, _) in enumerate(found.accounts):
        places.setdefault(owner[account], []).append(place)
    return found, places


def _traced(
    parts: Parts, token: bytes, rows: pa.Table, found: Explanation, places: list[int], batches: list[LoggedBatch]
) -> Sampled:
    reader = parts.evidence.reader
    keys = keys_of(parts, pa.array([token], pa.binary(16)))
    sightings = search(reader, keys, batches)
    proven = {each.batch.batch_id: each for each in sightings}
    verifiers = [Verifier.parse(text) for text in parts.keys.vkeys(parts.evidence.table.origin)]
    names = {remote.list_no: str(remote.audience) for remote in parts.memory.lists()}
    ids = parts.memory.batch_keys()
    findings: set[tuple[str, str]] = set() if len(keys) else {("no_salt", "")}
    lists: set[str] = set()
    eligible = {answer.audience for answer in found.answers if answer.account in places and answer.eligible}
    known = {answer.audience for answer in found.answers} | set(parts.settings.audiences)
    for row in rows.filter(pc.equal(rows.column("person_token"), pa.scalar(token, pa.binary(16)))).to_pylist():
        name, sight = names[row["list_no"]], proven.get(ids[row["batch_added"]][0])
        if sight is None or not _added_by(parts, sight, verifiers):
            findings.add(("no_proof", name))
        if not (row["removing"] or row["owed"]):
            lists.add(name)
            if name in known and name not in eligible:
                findings.add(("not_eligible", name))
    grants = tuple(e for e in found.events if e.account in places and e.action == "grant" and e.verdict is Verdict.COUNTS)
    seen = tuple((s.batch.transfer_id, s.batch.at, s.batch.audience, s.batch.operation.value) for s in sightings)
    return Sampled(len(places), tuple(sorted(lists)), grants, seen, tuple(sorted(findings)))


def _added_by(parts: Parts, sight: Sighting, verifiers: list[Verifier]) -> bool:
    """True when the request is an addition, and her proof of presence in it holds."""
    document = prove(parts.evidence.reader, sight.commitment, sight.batch, verifiers)
    return sight.batch.operation is Operation.ADD and verify_proof(document, verifiers).kind == PRESENT
