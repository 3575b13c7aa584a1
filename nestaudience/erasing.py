"""Erasure of one person, by hand and by case: entered so that it binds at once, confirmed by a signed receipt when she is gone everywhere.

The next run takes her off as a no. Nothing is sent here. The salt is destroyed by `retaining`, some time after the receipt.
"""

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.by_hand import A_WHILE, by_hand
from nestaudience.errors import NeedsFix
from nestaudience.hashing.columns import hash_addresses
from nestaudience.hashing.digests import Addresses
from nestaudience.hashing.tokens import Tokens
from nestaudience.jobs import check_case
from nestaudience.ledger.entries import EntryType, Value, utc_text
from nestaudience.ledger.erasures import begin, confirm, erasures, hold
from nestaudience.ledger.keys import KeyUse
from nestaudience.ledger.memory import RECOVERING, Touched
from nestaudience.ledger.receipts import digest_of, sign_receipt
from nestaudience.ledger.suppression import NOBODY, NOES, append
from nestaudience.letters import receipt_text
from nestaudience.parts import Parts
from nestaudience.remembering import ERASED, key_ids
from nestaudience.screening.engine import naive
from nestaudience.vocabulary import AudienceKey, Cause, Language


@dataclass(frozen=True, slots=True)
class Open:
    """A list on which she may still be; `since`: when her erasure was asked for (UTC text)."""

    audience: AudienceKey
    since: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a request for a receipt gave: the text and its signed note, or what is still open (both texts are empty then)."""

    still_open: tuple[Open, ...]
    text: str = field(default="", repr=False)
    note: str = field(default="", repr=False)


def erase(parts: Parts, address: Addresses, case_id: str, *, keep_for_claims: bool = False, actor: str = "cli") -> int:
    """Enter the erasure of whoever has this address; the number of lists on which she may be now. `keep_for_claims`: a legal hold under this case
    keeps her salt, and nothing else.

    Raises `NeedsFix`: `case_missing`, `address_invalid`; `TryAgain`: `leased`; and what the ledger raises.
    """
    check_case(Cause.OTHER_SEE_CASE, case_id)
    persons = persons_of(parts, address)
    with by_hand(parts, actor, patience=A_WHILE) as context:
        held = _held(parts, persons)
        lists = len(pc.unique(held.column("list_no")))
        rows, at = _noes(parts, address, held, case_id), utc_text(parts.clock())
        fields: dict[str, Value] = {"what": "begun", "case_id": case_id, "people": 1, "lists": lists, "hold": keep_for_claims}

        def also(connection: object, _: tuple[int, ...]) -> None:
            append(connection, rows)  # type: ignore[arg-type]
            begin(connection, persons, case_id, at, known_only=False)  # type: ignore[arg-type]
            hold(connection, persons.to_pylist(), case_id if keep_for_claims else "")  # type: ignore[arg-type]

        parts.open_log().append_and_seal([(EntryType.ERASURE, context, fields)], also)
    return lists


def receipt(parts: Parts, address: Addresses, case_id: str, language: Language, *, actor: str = "cli") -> Receipt:
    """The receipt of an erasure, once her removal is confirmed everywhere; otherwise what is open.

    Raises `NeedsFix`: `erasure_unknown` when none is under way for this address, and as `erase` does.
    """
    check_case(Cause.OTHER_SEE_CASE, case_id)
    persons = persons_of(parts, address).to_pylist()
    with by_hand(parts, actor, patience=A_WHILE) as context:
        mine = [each for each in erasures(parts.evidence.engine) if each.person_token in persons]
        if not mine:
            raise NeedsFix("erasure_unknown", "the address", "enter it first: `nestaudience rights erase`")
        since = min(each.asked_at for each in mine)
        waiting = open_for(parts, persons, since)
        if waiting:
            return Receipt(waiting)
        known = parts.memory.persons(pa.array(persons, pa.binary(16))).num_rows > 0
        now = parts.clock()
        text = receipt_text(case_id, since, utc_text(now), parts.settings.retention.salt_days, language, known=known)
        note = sign_receipt(text, parts.keys.signing_key(), parts.evidence.table.origin)
        fields: dict[str, Value] = {"what": "receipt", "case_id": case_id, "people": 1, "receipt_digest": digest_of(text)}
        at = utc_text(now)
        parts.open_log().append_and_seal(
            [(EntryType.ERASURE, context, fields)], lambda connection, _: confirm(connection, persons, at)
        )
    return Receipt((), text, note)


def open_for(parts: Parts, persons: list[bytes], since: str) -> tuple[Open, ...]:
    """The lists on which these persons may still be, by the ledger; and lists of which it does not know who is on them."""
    names = {remote.list_no: remote.audience for remote in parts.memory.lists()}
    held = _held(parts, pa.array(persons, pa.binary(16)))
    numbers = {*pc.unique(held.column("list_no")).to_pylist(), *_doubtful(parts)}
    return tuple(Open(names[number], since) for number in sorted(numbers))


def still_there(parts: Parts, persons: list[bytes]) -> frozenset[bytes]:
    """Whoever of these persons may be on a list; all of them while the ledger does not know who is on some list."""
    if _doubtful(parts):
        return frozenset(persons)
    return frozenset(_held(parts, pa.array(persons, pa.binary(16))).column("person_token").to_pylist())


def persons_of(parts: Parts, address: Addresses) -> pa.Array:
    """The person by every index key, current first: `fixed_size_binary[16]`. Raises `NeedsFix`: `address_invalid`."""
    made = [hash_addresses(address, Tokens(key.reveal()), ()).person_token for key in parts.keys.all_of(KeyUse.INDEX)]
    found = pa.concat_arrays(made)
    if found.null_count:
        raise NeedsFix("address_invalid", "the address", "give one e-mail address, as the person writes it, and nothing else")
    return found


def _doubtful(parts: Parts) -> set[int]:
    """Lists of which the ledger does not know who is on them."""
    return {remote.list_no for remote in parts.memory.lists() if remote.state == RECOVERING and remote.list_id}


def _held(parts: Parts, persons: pa.Array) -> pa.Table:
    rows = parts.memory.held(parts.clock(), touched=Touched(persons.slice(0, 0), persons))
    return rows.filter(pc.is_in(rows.column("person_token"), value_set=persons))


def _noes(parts: Parts, address: Addresses, held: pa.Table, case_id: str) -> pa.Table:
    """The erasure as a no that is remembered: for the address, and for each account by which it is on a list."""
    token = hash_addresses(address, Tokens(parts.keys.suppression.reveal()), ()).person_token[0].as_py()
    accounts = [NOBODY, *sorted(pc.unique(held.column("account_token")).to_pylist())]
    same = {"kind": ERASED, "purpose": "*", "recipient": "*", "controller": "", "token": token, "key_id": key_ids(parts)}
    same |= {"first_seen": naive(parts.clock()), "case_id": case_id}
    return pa.Table.from_pylist([same | {"account_token": account} for account in accounts], NOES)
