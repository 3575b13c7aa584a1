"""A proof for one person that she was, or was not, in one transfer, written to the log with its case before anything is shown.

It sends nothing and changes no list. Who holds the document cannot learn her address from it.
"""

from typing import Any

from nestaudience.accessing import keys_of
from nestaudience.audit.persons import logged_batches
from nestaudience.audit.transfer_proof import batches_of, prove_transfer
from nestaudience.by_hand import A_WHILE, by_hand
from nestaudience.erasing import persons_of
from nestaudience.errors import NeedsFix
from nestaudience.hashing.digests import Addresses
from nestaudience.jobs import check_case
from nestaudience.ledger.checkpoint import Verifier
from nestaudience.ledger.entries import EntryType, Value
from nestaudience.parts import Parts
from nestaudience.vocabulary import Cause


def proof(parts: Parts, address: Addresses, wanted: str, case_id: str, *, actor: str = "cli") -> dict[str, Any]:
    """The document of `prove_transfer` for whoever has this address and the transfer whose id begins with `wanted`. The look is in the log when this
    returns, and also when it finds that nothing can be proven.

    Raises `NeedsFix`: `case_missing`, `address_invalid`, what `batches_of` raises, and `salt_unknown` when the ledger has no salt for the address
    (she was never sent, or her salt was destroyed after an erasure: nobody can tell which); `TryAgain`: `leased`; and what the ledger raises.
    """
    check_case(Cause.OTHER_SEE_CASE, case_id)
    persons, reader = persons_of(parts, address), parts.evidence.reader
    batches = batches_of(logged_batches(reader), wanted)
    keys = keys_of(parts, persons)
    with by_hand(parts, actor, patience=A_WHILE) as context:
        log = parts.open_log()
        log.seal()  # a crash may have left a request without a checkpoint, and a proof needs one
        verifiers = [Verifier.parse(text) for text in parts.keys.vkeys(parts.evidence.table.origin)]
        made = prove_transfer(reader, keys, batches, verifiers, case_id) if len(keys) else None
        fields: dict[str, Value] = {"what": "proof", "case_id": case_id, "transfer_id": batches[0].transfer_id}
        log.append_and_seal([(EntryType.LOOKUP, context, fields | {"transfers": 1, "batches": len(batches)})])
    if made is None:
        raise NeedsFix("salt_unknown", "the address", "nothing can be proven of it: it was never sent, or its salt was destroyed")
    return made
