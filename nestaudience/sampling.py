"""A drawn sample of the people on the lists now, each traced back: her consent, its text, her transfers, and whether all of it fits together.

It needs the keys and the store. It sends nothing, changes no list and names nobody. A no that no run has seen yet is pending, and no finding, as
long as the withdrawal promise lasts. What of a person's noes is not compared, `verifying` says.
"""

from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.accessing import keys_of
from nestaudience.audit.after_no import SIDES
from nestaudience.audit.clocks import PROMISE
from nestaudience.audit.memberships import WHAT as MEMBERSHIPS_WHAT
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
from nestaudience.ledger.entries import EntryType, Value, utc_text
from nestaudience.ledger.memory import HELD_FIELDS
from nestaudience.parts import Parts
from nestaudience.screening.tracing import TracedEvent, Verdict
from nestaudience.vocabulary import NO_REASONS, AudienceKey, Cause, Operation

MOST: Final = 1000
"""People in one sample. Each costs one reading of all kept leaves."""
WHAT: Final = {
    "no_salt": "the ledger has no salt for somebody whom it has on a list",
    "no_proof": "the request that put her on a list, as memory says, does not hold her in the log",
    "not_eligible": "she is on a list, and by the rules and the store as it is now none of her accounts may be; a birthday, an expiry or a segment "
    "that changed since the last run shows so too",
    "sent_after_no": MEMBERSHIPS_WHAT["sent_after_no"],
}
"""What each finding says."""
PENDING: Final = "a no that no run has seen yet, recorded within the promise: the next run takes her off"
"""What is pending, in words."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """One person. `accounts`: how many she has; `lists`: audiences from which no removal was asked; `grants`: consents that count now, `account`
    by her own numbering from 0; `transfers`: (id, UTC text, audience, operation) in the order of the log; `findings`: (code, audience), none
    is good; `pending`: audiences from whose lists the next run takes her off, for a no that none has seen yet.
    """

    accounts: int
    lists: tuple[str, ...]
    grants: tuple[TracedEvent, ...] = field(repr=False)
    transfers: tuple[tuple[str, str, str, str], ...]
    findings: tuple[tuple[str, str], ...]
    pending: tuple[str, ...] = ()


def sample(parts: Parts, n: int, seed: int, case_id: str, *, actor: str = "cli") -> tuple[Sampled, ...]:
    """Draw `n` people (fewer when fewer are on lists) and trace them. The same seed draws the same people as long as the memberships and the
    index key are the same: the distinct person tokens are sorted, and Python's `random.Random(seed)` chooses.

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
    """All accounts of these people judged at once; person token -> places of her accounts. Hers are those of her rows, and those with her
    address.
    """
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
        found = judged(parts, Person(b"", account_ids, ()), held, snapshot, now, case_id, PROMISE)
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
    hers = rows.filter(pc.equal(rows.column("person_token"), pa.scalar(token, pa.binary(16)))).to_pylist()
    ids, noes = parts.memory.batch_keys({row["batch_added"] for row in hers}), _Noes(parts, found, places)
    findings: set[tuple[str, str]] = set() if len(keys) else {("no_salt", "")}
    findings |= {("sent_after_no", each.batch.audience) for each in sightings if noes.forbid(each.batch, token)}
    lists: set[str] = set()
    pending: set[str] = set()
    for row in hers:
        name, sight = names[row["list_no"]], proven.get(ids[row["batch_added"]][0])
        if sight is None or not _added_by(parts, sight, verifiers):
            findings.add(("no_proof", name))
        elif noes.forbid(sight.batch, row["account_token"]):
            findings.add(("sent_after_no", name))
        if not (row["removing"] or row["owed"]):
            lists.add(name)
            if noes.ineligible(name):
                pending.add(name) if noes.pending(name, token) else findings.add(("not_eligible", name))
    grants = tuple(e for e in found.events if e.account in places and e.action == "grant" and e.verdict is Verdict.COUNTS)
    seen = tuple((s.batch.transfer_id, s.batch.at, s.batch.audience, s.batch.operation.value) for s in sightings)
    return Sampled(len(places), tuple(sorted(lists)), grants, seen, tuple(sorted(findings)), tuple(sorted(pending)))


class _Noes:
    """What speaks against one person's lists: `places` are those of her accounts in what was found."""

    def __init__(self, parts: Parts, found: Explanation, places: list[int]) -> None:
        if found.after is None:
            raise TypeError("a sample asks for the noes as well")
        self._now = utc_text(found.at)
        self._rules = {str(key): audience.rule for key, audience in parts.settings.audiences.items()}
        self._answers = [answer for answer in found.answers if answer.account in places]
        self._known = {answer.audience for answer in found.answers} | set(self._rules)
        self._barred = found.after.barred.to_pylist()
        accounts = pa.array([found.accounts[place][0] for place in places], pa.string())
        self._tokens = parts.tokens.of_accounts(accounts).to_pylist()
        unseen = set(found.after.unseen.to_pylist())
        self._unseen = {place for place, token in zip(places, self._tokens, strict=True) if token in unseen}

    def forbid(self, batch: LoggedBatch, token: bytes) -> bool:
        """True when an addition came while the account or person with this token was barred."""
        return batch.operation is Operation.ADD and self._bar(batch.audience, batch.at, {token})

    def ineligible(self, audience: str) -> bool:
        """True when none of her accounts may be on the list now."""
        return audience in self._known and not any(each.audience == audience and each.eligible for each in self._answers)

    def pending(self, audience: str, person: bytes) -> bool:
        """True when what keeps her off is a no that no run has seen, and nothing else."""
        hers = [each for each in self._answers if each.audience == audience]
        fresh = any(each.account in self._unseen for each in hers)
        return (
            fresh
            and all(set(each.reasons) <= NO_REASONS for each in hers)
            and not self._bar(audience, self._now, {person, *self._tokens})
        )

    def _bar(self, audience: str, at: str, tokens: set[bytes]) -> bool:
        controller, _, recipient = audience.split("/")
        moment, rule = datetime.fromisoformat(at).replace(tzinfo=None), self._rules.get(AudienceKey(audience))
        return any(
            {token.bytes for token in (row["account_token"], row["person_token"]) if token is not None} & tokens
            and (row["controller"], row["bit"]) == (controller, SIDES.get(recipient))
            and (not row["orders_only"] or (rule is not None and rule.uses_orders))
            and row["since"] < moment
            and (row["until"] is None or moment < row["until"])
            for row in self._barred
        )


def _added_by(parts: Parts, sight: Sighting, verifiers: list[Verifier]) -> bool:
    """True when the request is an addition, and her proof of presence in it holds."""
    document = prove(parts.evidence.reader, sight.commitment, sight.batch, verifiers)
    return sight.batch.operation is Operation.ADD and verify_proof(document, verifiers).kind == PRESENT
