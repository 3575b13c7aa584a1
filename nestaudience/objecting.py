"""Objections by hand: somebody wrote or called, and a case says so. Entered into memory, lifted by a case, never by anything in the store.

An objection that was lifted still needs a new consent before anybody joins a list. The address becomes a token at once and stands nowhere; the
log gets the case. Accounts by which the address is on a list are named in the objection: the store may have lost them, and then only the ledger
knows that the address was theirs. Nothing is sent: the next run takes the person off.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.by_hand import A_WHILE, by_hand
from nestaudience.errors import NeedsFix
from nestaudience.hashing.columns import hash_addresses
from nestaudience.hashing.digests import Addresses
from nestaudience.hashing.tokens import Tokens
from nestaudience.jobs import check_case
from nestaudience.ledger.entries import EntryType, Value
from nestaudience.ledger.keys import KeyUse
from nestaudience.ledger.memory import Touched
from nestaudience.ledger.suppression import NOBODY, NOES, append, remembered
from nestaudience.parts import Parts
from nestaudience.remembering import LIFTS, key_ids
from nestaudience.screening.engine import naive
from nestaudience.vocabulary import Cause, Purpose, Recipient

_KINDS: Final = {Purpose.AD_MATCHING: "objected", Purpose.ORDER_ANALYSIS: "objected_analysis"}


@dataclass(frozen=True, slots=True)
class Objection:
    """What to enter: for one recipient or (None) for both, `lift` to take an earlier one back. Raises `NeedsFix`: `purpose_unknown`,
    `recipient_without_meaning` (orders are analysed for nobody in particular).
    """

    case_id: str
    purpose: Purpose = Purpose.AD_MATCHING
    recipient: Recipient | None = None
    lift: bool = False

    def __post_init__(self) -> None:
        if self.purpose not in _KINDS:
            raise NeedsFix("purpose_unknown", "--purpose", "name ad_matching or order_analysis")
        if self.recipient is not None and self.purpose is not Purpose.AD_MATCHING:
            raise NeedsFix("recipient_without_meaning", "--recipient", "leave it out: order_analysis is for every list")

    @property
    def word(self) -> str:
        """The recipient as entries name it."""
        return "*" if self.recipient is None else self.recipient.value


@dataclass(frozen=True, slots=True)
class _Hers:
    """The address by every key, current first: token and keys as a row names them; and by the index key, as memberships have it."""

    tokens: tuple[tuple[bytes, str], ...] = field(repr=False)
    person: pa.Array = field(repr=False)


def enter(parts: Parts, address: Addresses, what: Objection, *, actor: str = "cli") -> None:
    """Enter an objection for this address, or lift those that were entered for it.

    Raises `NeedsFix`: `case_missing`, `address_invalid`, `nothing_to_lift`; `TryAgain`: `leased`; and what the ledger raises.
    """
    check_case(Cause.OTHER_SEE_CASE, what.case_id)
    hers = _tokens(parts, address)
    with by_hand(parts, actor, patience=A_WHILE) as context:
        rows = _rows(parts, hers, what)
        fields: dict[str, Value] = {"what": "lifted" if what.lift else "objected", "case_id": what.case_id}
        fields |= {"purpose": what.purpose.value, "recipient": what.word}
        entry = (EntryType.SUPPRESSION, context, fields)
        parts.open_log().append_and_seal([entry], lambda connection, _: append(connection, rows))


def _tokens(parts: Parts, address: Addresses) -> _Hers:
    keys = parts.keys.all_of(KeyUse.SUPPRESSION)
    hashed = hash_addresses(address, parts.tokens, (), tuple(Tokens(key.reveal()) for key in keys))
    first = [column[0].as_py() for column in hashed.kept_tokens]
    if None in first:
        raise NeedsFix("address_invalid", "the address", "give one e-mail address, as the person writes it, and nothing else")
    index = key_ids(parts).split()[1]
    return _Hers(tuple((token, f"{key.key_id} {index}") for token, key in zip(first, keys, strict=True)), hashed.person_token)


def _rows(parts: Parts, hers: _Hers, what: Objection) -> pa.Table:
    """The rows to write: under the key that writes, one for the address alone and one for each account by which it is on a list; or, to lift, one
    under each key under which something was entered.
    """
    kind, tokens = _KINDS[what.purpose], dict(hers.tokens)
    named = list(hers.tokens[:1])
    if what.lift:
        entered = {row["token"] for row in _by_hand(parts) if row["kind"] == kind and row["token"] in tokens}
        named = [pair for pair in hers.tokens if pair[0] in entered]
        kind = LIFTS[kind]
    if not named:
        raise NeedsFix(
            "nothing_to_lift", "the address", "nothing was entered by hand for it; the store keeps what was said there"
        )
    accounts = [NOBODY] if what.lift else [NOBODY, *_on_lists(parts, hers)]
    same: dict[str, Any] = {
        "kind": kind,
        "purpose": what.purpose.value,
        "recipient": what.word,
        "controller": "",
    }
    same |= {"first_seen": naive(parts.clock()), "case_id": what.case_id}
    rows = [
        same | {"token": token, "key_id": key_id, "account_token": account} for token, key_id in named for account in accounts
    ]
    return pa.Table.from_pylist(rows, NOES)


def _on_lists(parts: Parts, hers: _Hers) -> list[bytes]:
    """The account tokens by which this address may be on a list."""
    held = parts.memory.held(parts.clock(), touched=Touched(hers.person.slice(0, 0), hers.person))
    mine = held.filter(pc.equal(held.column("person_token"), hers.person[0]))
    return sorted(pc.unique(mine.column("account_token")).to_pylist())


def _by_hand(parts: Parts) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = remembered(parts.evidence.engine, by_hand=True).to_pylist()
    return rows
