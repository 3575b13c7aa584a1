"""What one person is told who asks what is known of her (art. 15 and 20): which companies sent her address's digest to whom, when, and what she said.

Each look is written to the log with its case before anything is shown. A request whose answer is not known, and one that the recipient turned away,
counts as disclosed. Accounts that share an address are one person here: nothing tells them apart. It sends nothing and changes no list.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from nestaudience.audit.persons import Sighting, search
from nestaudience.audit.transfers import TRANSFER_TYPES, Request, Transfer, read_transfers
from nestaudience.by_hand import A_WHILE, by_hand
from nestaudience.erasing import persons_of
from nestaudience.explaining import Explanation, look
from nestaudience.finding import Note
from nestaudience.hashing.commitments import person_keys
from nestaudience.hashing.digests import Addresses
from nestaudience.hashing.kernel import Bytes2D
from nestaudience.jobs import check_case
from nestaudience.judging import silent
from nestaudience.ledger.entries import EntryType, Value
from nestaudience.ledger.keys import KeyUse
from nestaudience.parts import Parts
from nestaudience.vocabulary import Cause, Operation

MOST: Final = 20
"""Addresses of one person."""


@dataclass(slots=True)
class Disclosure:
    """One list of one recipient to which the digest was sent. Names are those of the transfers; times are UTC text, empty for never. `refused` and
    `unknown` are requests among `added` that the recipient turned away, or of which nobody knows what became.
    """

    audience: str
    recipient: str
    country: str
    controller: str
    purpose: str
    legal_basis: str
    first: str = ""
    last: str = ""
    added: int = 0
    refused: int = 0
    unknown: int = 0
    removal_asked: str = ""
    removal_done: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """The whole answer. `looks`: one for each address, in their order; `lists`: plain names by audience."""

    case_id: str
    looks: tuple[Explanation, ...] = field(repr=False)
    disclosures: tuple[Disclosure, ...] = field(repr=False)
    lists: Mapping[str, str]
    transfers: int


def access(parts: Parts, addresses: list[Addresses], case_id: str, *, actor: str = "cli", note: Note = silent) -> Access:
    """Everything that is known of whoever has these addresses. Raises as `explaining.explain` does."""
    check_case(Cause.OTHER_SEE_CASE, case_id)
    looks = tuple(look(parts, address, case_id, note=note) for address in addresses)
    sightings = _sightings(parts, addresses)
    told = read_transfers(parts.evidence.reader.entries(types=TRANSFER_TYPES))
    disclosures = _disclosures(sightings, told)
    accounts = {account for found in looks for account in found.accounts}
    transfers = len({each.batch.transfer_id for each in sightings})
    fields: dict[str, Value] = {"what": "access", "case_id": case_id, "accounts": len(accounts), "addresses": len(addresses)}
    fields |= {"lists": len(disclosures), "transfers": transfers}
    with by_hand(parts, actor, patience=A_WHILE) as context:
        parts.open_log().append_and_seal([(EntryType.ACCESS, context, fields)])
    names = {str(key): audience.segment.name for key, audience in parts.settings.audiences.items()}
    return Access(case_id, looks, disclosures, names, transfers)


def _sightings(parts: Parts, addresses: list[Addresses]) -> tuple[Sighting, ...]:
    """Every request that she is in, by every key under which she may stand."""
    keys = keys_of(parts, pa.concat_arrays([persons_of(parts, address) for address in addresses]))
    return search(parts.evidence.reader, keys) if len(keys) else ()


def keys_of(parts: Parts, persons: pa.Array) -> Bytes2D:
    """Every key under which these persons (tokens, `fixed_size_binary[16]`) may stand in the log: uint8 [k, 32]; none for whoever has no salt."""
    salts = b"".join(parts.memory.persons(persons).column("salt").to_pylist())
    rows = np.frombuffer(salts, dtype=np.uint8).reshape(-1, 32)
    keys = [person_keys(key.reveal(), rows) for key in parts.keys.all_of(KeyUse.MASTER)] if len(rows) else []
    return np.concatenate(keys) if keys else np.empty((0, 32), dtype=np.uint8)


def _disclosures(sightings: tuple[Sighting, ...], told: Mapping[str, Transfer]) -> tuple[Disclosure, ...]:
    found: dict[tuple[str, str, str], Disclosure] = {}
    for each in sightings:
        transfer = told[each.batch.transfer_id]
        said = transfer.intent
        request = next(one for one in transfer.requests if one.batch_id == each.batch.batch_id.hex())
        new = Disclosure(
            audience=each.batch.audience,
            recipient=str(said.get("recipient_name", "")),
            country=str(said.get("recipient_country", "")),
            controller=transfer.controller,
            purpose=str(said.get("purpose", "")),
            legal_basis=str(said.get("legal_basis", "")),
        )
        _count(found.setdefault((new.audience, new.recipient, new.controller), new), each, request)
    return tuple(found.values())


def _count(one: Disclosure, sighting: Sighting, request: Request) -> None:
    """Sightings come in the order of the log."""
    one.first, one.last = one.first or sighting.batch.at, sighting.batch.at
    if sighting.batch.operation is Operation.ADD:
        one.added += 1
        one.refused += request.outcome == "refused"
        one.unknown += request.settled == "unknown"
        one.removal_asked = one.removal_done = ""
    else:
        one.removal_asked = one.removal_asked or sighting.batch.at
        if request.settled == "succeeded":
            one.removal_done = one.removal_done or request.settled_at or sighting.batch.at
