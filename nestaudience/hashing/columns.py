"""From addresses to everything that the rest of the system may know of them, one batch at a time.

After `hash_addresses` the addresses are no longer needed: screening, the planning engine and the ledger work on tokens, delivery
on digests. It decides nothing about people, and keeps nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.hashing.addresses import Normalised, normalise
from nestaudience.hashing.digests import Addresses, Digests
from nestaudience.hashing.kernel import sha256_column
from nestaudience.hashing.tokens import TOKEN_TYPE, Tokens
from nestaudience.vocabulary import Recipient


@dataclass(frozen=True, slots=True)
class HashedColumns:
    """What one batch of addresses became. Every column has one entry per address, in their order.

    `digests`: by recipient, null where the address is missing or invalid for that recipient. `person_token`: 16 bytes, null
    only where no canonical form exists. `digest_token`: by recipient, 16 bytes, null where the digest is. `unusable`: by
    recipient, boolean without nulls, true where an address was read and gives no digest for that recipient. `kept_tokens`: the
    person's token by each further key that was asked for, in their order, null as `person_token`.
    """

    digests: Mapping[Recipient, Digests]
    person_token: pa.FixedSizeBinaryArray = field(repr=False)
    digest_token: Mapping[Recipient, pa.FixedSizeBinaryArray] = field(repr=False)
    unusable: Mapping[Recipient, pa.BooleanArray] = field(repr=False)
    kept_tokens: tuple[pa.FixedSizeBinaryArray, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not self.digests.keys() == self.digest_token.keys() == self.unusable.keys():
            raise ValueError("digests, their tokens and the unusable rows name the same recipients")
        if any(digests.recipient is not recipient for recipient, digests in self.digests.items()):
            raise ValueError("digests stand under their own recipient")
        if any(column.type != TOKEN_TYPE for column in (self.person_token, *self.digest_token.values(), *self.kept_tokens)):
            raise TypeError("tokens have 16 bytes")
        columns = (*self.digests.values(), *self.digest_token.values(), *self.unusable.values())
        if any(len(column) != len(self) for column in columns):
            raise ValueError("all columns have one entry per address")

    def __len__(self) -> int:
        return len(self.person_token)


def hash_addresses(
    addresses: Addresses, tokens: Tokens, recipients: Iterable[Recipient], kept: tuple[Tokens, ...] = ()
) -> HashedColumns:
    """Normalise, digest and tokenise one batch of addresses for these recipients, and by the keys of what is kept. Raises `MustStop` when a
    hash is wrong (`kernel`).
    """
    normalised = normalise(addresses)
    people = normalised.canonical().reveal()
    read = pc.is_valid(addresses.reveal())
    digests = _digests(normalised, recipients)
    return HashedColumns(
        digests=digests,
        person_token=tokens.of_people(people),
        kept_tokens=tuple(each.of_people(people) for each in kept),
        digest_token={recipient: tokens.of_digests(column) for recipient, column in digests.items()},
        unusable={recipient: pc.and_(read, pc.is_null(column.column)) for recipient, column in digests.items()},
    )


def _digests(normalised: Normalised, recipients: Iterable[Recipient]) -> dict[Recipient, Digests]:
    """The digests for each recipient. Most addresses have one form for all of them, and are hashed once."""
    made: dict[Recipient, Digests] = {}
    first: pa.StringArray | None = None
    for recipient in recipients:
        form = normalised.form(recipient).reveal()
        if first is None:
            first, column = form, sha256_column(form)
            shared = column
        else:
            other = pc.invert(pc.fill_null(pc.equal(form, first), False))  # noqa: FBT003 (a value, not a switch)
            column = pc.replace_with_mask(shared, other, sha256_column(form.filter(other)))
        made[recipient] = Digests(column, recipient)
    return made
