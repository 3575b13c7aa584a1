"""Asking a platform to take people off every list of an ad account, because it will not take them off one.

Each request has its batch entry before it, under a checkpoint, with exactly its people, and its result after it. It changes no membership: what
becomes of such a request is documented nowhere, so not even a success proves anything. It decides nothing about people.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from nestaudience.delivery.fields import batch_fields, result_fields
from nestaudience.delivery.guard import inspect_opt_out
from nestaudience.delivery.refused import EVERYWHERE, SAID_NO
from nestaudience.delivery.requests import Line, Tools, wait_for_turn
from nestaudience.delivery.salts import Salts
from nestaudience.destinations.port import Accepted, Account, Batch, OptsOut, Prepared, Receipt
from nestaudience.hashing.commitments import key_of_list, membership_leaves
from nestaudience.hashing.digests import Digests
from nestaudience.interrupting import interruption
from nestaudience.ledger.entries import EntryType, uuid7
from nestaudience.ledger.log import keep_batch_leaves
from nestaudience.vocabulary import Operation

Intend = Callable[[str, Operation, int], None]
"""Records a transfer (its id, operation, people) before its first request."""


def opt_out(line: Line, people: Digests, person_tokens: pa.Array, salts: Salts, tools: Tools, intend: Intend) -> None:
    """Ask for these people (`person_tokens` uuid, in the same order) to be taken off every list of the line's ad account; nothing where the platform
    has no such request. It ends at the first request that is not accepted: the next would not be either.

    Raises what the destination raises before a request, `MustStop` of the guard, and `TryAgain`: `interrupted`.
    """
    destination = line.destination
    if not isinstance(destination, OptsOut):
        return
    way = _Way(line, destination.prepare_opt_out, salts, tools, _new_id(tools))
    intend(way.transfer, Operation.REMOVE, len(people))
    size = destination.opt_out_size
    for number, first in enumerate(range(0, len(people), size)):
        if tools.interrupted():
            raise interruption(line.audience.key)
        wait_for_turn(line.destination, line.target, Operation.REMOVE, tools)
        places = pa.array(range(first, min(first + size, len(people))), pa.int64())
        if not isinstance(_once(way, number, people.take(places), person_tokens.take(places)), Accepted):
            return


@dataclass(frozen=True, slots=True)
class _Way:
    """One transfer, and how its requests are built."""

    line: Line
    prepare: Callable[[Account, Batch], Prepared]
    salts: Salts
    tools: Tools
    transfer: str


def _once(way: _Way, number: int, people: Digests, person_tokens: pa.Array) -> Receipt:
    """One request: built, read back by the guard, recorded, sent once, answered."""
    line, tools = way.line, way.tools
    batch = Batch(bytes.fromhex(_new_id(tools).replace("-", "")), Operation.REMOVE, people)
    prepared = way.prepare(line.target.account, batch)
    inspect_opt_out(prepared.contents(), batch, line.target.account)
    keys = way.salts.keys_of(person_tokens, tools.keys.master.reveal())
    leaves = membership_leaves(keys, batch.batch_id, batch.operation, key_of_list(line.remote.list_id))
    fields = batch_fields(line.audience.key, line.remote, batch, leaves, way.transfer, number, (SAID_NO, EVERYWHERE))
    context = tools.context(line.audience.controller.key)
    tools.log.append_and_seal(
        [(EntryType.BATCH, context, fields)], lambda connection, _: keep_batch_leaves(connection, batch.batch_id, leaves)
    )
    receipt = line.destination.send(prepared)
    tools.log.append_and_seal([(EntryType.BATCH_RESULT, context, result_fields(way.transfer, batch.batch_id, receipt))])
    tools.tell(line.audience.key, batch.operation.value, len(people))
    return receipt


def _new_id(tools: Tools) -> str:
    return uuid7(tools.clock(), tools.randomness(10))
