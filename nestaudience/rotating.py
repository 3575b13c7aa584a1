"""New keys for one use, by hand: the key file first, then the entry that says so, sealed.

The key file comes first because an entry cannot be taken back: it would speak of a key that a crash has lost, and a new signing key must seal its
own entry. Cut off between the two, the file has a retired key of which the log does not know. `unlogged` finds it by the key ids, `keys show` says
it, and the next `rotate` writes it down. Nothing breaks meanwhile: retired keys go on reading.

It re-encrypts nothing and destroys no key. Two uses stay as they are once they are in use: rows are joined by tokens of the current index key alone,
and a list's code is made of the current name key.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from nestaudience.by_hand import A_WHILE, by_hand
from nestaudience.errors import NeedsFix
from nestaudience.ledger.checkpoint import Signer
from nestaudience.ledger.entries import Context, EntryType
from nestaudience.ledger.keys import KeyRing, KeyUse, load_keys, note_key_id, public_bytes, rotate_key
from nestaudience.ledger.log import NewEntry, TransferLog
from nestaudience.ledger.under_keys import under_index
from nestaudience.parts import Parts

ROTATED: Final = "rotated"
_OVER: Final = frozenset({"gone", "closed"})


@dataclass(frozen=True, slots=True)
class Change:
    """One use that got a new key, by key ids. A signing key's id is the one in its verifier key."""

    use: KeyUse
    old_key_id: str
    new_key_id: str

    def fields(self) -> dict[str, str]:
        """For the entry."""
        return {"what": ROTATED, "use": self.use.value, "old_key_id": self.old_key_id, "new_key_id": self.new_key_id}


@dataclass(frozen=True, slots=True)
class Rotated:
    """What was done. `made_good`: changes of an earlier call that was cut off; `change` is None when this use's own was among them, and no other
    was made. `vkeys`: the log's verifier keys now, the current one first.
    """

    change: Change | None
    made_good: tuple[Change, ...]
    vkeys: tuple[str, ...]


def ids_of(ring: KeyRing, origin: str) -> dict[KeyUse, tuple[str, ...]]:
    """Use -> the ids of its keys, the current one first. Not secret."""
    publics = (public_bytes(ring.signing_key().public_key()), *ring.retired_signing_public)
    found = {use: tuple(key.key_id for key in ring.all_of(use)) for use in KeyUse if use is not KeyUse.SIGNING}
    return found | {KeyUse.SIGNING: tuple(note_key_id(origin, public).hex() for public in publics)}


def unlogged(ring: KeyRing, origin: str, events: Iterable[Mapping[str, Any]]) -> tuple[Change, ...]:
    """Changes of keys that the ring shows and no entry names, the oldest first within a use. `events` are the entries of type `key_event`."""
    said = {(e["fields"].get("use"), e["fields"].get("old_key_id"), e["fields"].get("new_key_id")) for e in events}
    found: list[Change] = []
    for use, ids in ids_of(ring, origin).items():
        pairs = [Change(use, old, new) for new, old in pairwise(ids)]
        found += [each for each in reversed(pairs) if (use.value, each.old_key_id, each.new_key_id) not in said]
    return tuple(found)


def check_rotation(parts: Parts, use: KeyUse) -> None:
    """Raises `NeedsFix` when this use cannot have a new key now: `keys_in_environment`, `index_key_in_use`, `name_key_in_use`."""
    if parts.evidence.table.keys.partition(":")[0] != "file":
        raise NeedsFix(
            "keys_in_environment",
            "the keys",
            "a variable cannot be rewritten: put its text into a private file, name that as `ledger.keys`, rotate, and put the new text back",
        )
    if use is KeyUse.INDEX and under_index(parts.evidence.engine):
        raise NeedsFix(
            "index_key_in_use",
            "the index key",
            "people in the ledger are found by it alone: it can be new before the first night only. If others know it, see docs/runbook.md",
        )
    if use is KeyUse.NAME and any(each.state not in _OVER for each in parts.memory.lists()):
        raise NeedsFix(
            "name_key_in_use",
            "the name key",
            "lists are found again by codes made of it: retire every list first, or leave it; it opens nothing but names",
        )


def rotate(parts: Parts, use: KeyUse, *, actor: str = "cli") -> Rotated:
    """Give this use a new key in the key file, and write it down in a sealed entry; both under the writer's lease.

    Called again after it was cut off, it writes down what is missing, and makes no second new key for the same use. Parts opened before have the old
    ring: open them anew. Raises as `check_rotation` does; `TryAgain`: `leased`; and what the key file, the head and the ledger raise.
    """
    place = parts.evidence.base / parts.evidence.table.keys.partition(":")[2]
    origin = parts.evidence.table.origin
    with by_hand(parts, actor, patience=A_WHILE) as context:
        check_rotation(parts, use)
        ring = load_keys(place)
        missing = unlogged(ring, origin, parts.evidence.reader.entries(types=frozenset({EntryType.KEY_EVENT})))
        change: Change | None = None
        _open_log(parts, ring)  # a log that cannot be written is found before the keys change
        if all(each.use is not use for each in missing):
            ring = rotate_key(place, use, parts.randomness)
            new, old = ids_of(ring, origin)[use][:2]
            change = Change(use, old, new)
        changes = [*missing, *([change] if change is not None else [])]
        _open_log(parts, ring).append_and_seal(_entries(changes, context))
    return Rotated(change, missing, ring.vkeys(origin))


def _entries(changes: Sequence[Change], context: Context) -> list[NewEntry]:
    return [(EntryType.KEY_EVENT, context, each.fields()) for each in changes]


def _open_log(parts: Parts, ring: KeyRing) -> TransferLog:
    """The log, sealed by this ring's signing key; the head may still have the signature of an older one."""
    evidence = parts.evidence
    head = evidence.base / evidence.table.head
    signer = Signer(ring.signing_key(), evidence.table.origin, head, ring.older_signing_keys())
    return TransferLog(evidence.engine, signer, clock=parts.clock, randomness=parts.randomness)
