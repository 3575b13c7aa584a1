"""The wire guard: the last look at a message before it leaves this process.

It takes what the message really holds, read back from its bytes, and refuses it unless that is exactly the batch: lower-case hexadecimal
SHA-256 digests, none of the known-bad ones, all of the batch and nobody else, on the bound account and list. It repairs nothing.
"""

import hashlib
import re
from typing import Final

from nestaudience.destinations.port import Account, Batch, Contents, Target
from nestaudience.errors import MustStop
from nestaudience.vocabulary import Operation

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

KNOWN_BAD: Final = frozenset(
    hashlib.sha256(text.encode()).hexdigest()
    for text in (
        "",
        " ",
        "@",
        "null",
        "none",
        "None",
        "NULL",
        "nan",
        "NaN",
        "undefined",
        "n/a",
        "test@test.com",
        "[object Object]",
    )
)
"""Digests of what broken exports hash instead of an address. One of them on the wire means a fault upstream."""


def inspect(contents: Contents, batch: Batch, target: Target) -> None:
    """Let the message pass or raise `MustStop`: `guard_account`, `guard_list`, `guard_operation`, `guard_not_digests`, `guard_known_bad`,
    `guard_people`. Nothing was sent then.
    """
    if contents.account_id != target.account.account_id:
        raise _stop("guard_account", "the message names another ad account than the binding")
    if contents.list_id != target.list_id:
        raise _stop("guard_list", "the message names another list than the binding")
    if contents.operation is not batch.operation:
        raise _stop("guard_operation", "the message asks for another operation than the batch")
    found = contents.identifiers
    if any(_DIGEST.fullmatch(identifier) is None for identifier in found):
        raise _stop("guard_not_digests", "the message holds something that is no lower-case hexadecimal digest")
    people = set(found)
    if people & KNOWN_BAD:
        raise _stop("guard_known_bad", "the message holds the digest of no address")
    if len(found) != len(people) or people != set(batch.digests.hex()):
        raise _stop("guard_people", "the message does not hold exactly the people of its batch")


def inspect_opt_out(contents: Contents, batch: Batch, account: Account) -> None:
    """The same for a request that takes its people off every list of an ad account: it is for the bound account, and names no list."""
    inspect(contents, batch, Target(account, ""))
    if batch.operation is not Operation.REMOVE:
        raise _stop("guard_operation", "the message asks for another operation than a removal")


def inspect_sweep(contents: Contents, target: Target) -> None:
    """The same for a request that takes off whoever is older than a moment: it is for the bound list, and names nobody."""
    if contents.account_id != target.account.account_id:
        raise _stop("guard_account", "the message names another ad account than the binding")
    if contents.list_id != target.list_id:
        raise _stop("guard_list", "the message names another list than the binding")
    if contents.operation is not Operation.REMOVE:
        raise _stop("guard_operation", "the message asks for another operation than a removal")
    if contents.identifiers:
        raise _stop("guard_people", "the message names people")


def _stop(code: str, what: str) -> MustStop:
    return MustStop(code, "the wire guard", f"nothing was sent: {what}; report it, and do not send again before it is understood")
