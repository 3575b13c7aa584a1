"""What `audit verify --with-keys` shows of its second level, for people and as JSON. Counts and codes; nobody is named."""

from typing import TYPE_CHECKING

from nestaudience.cli import output

if TYPE_CHECKING:
    from nestaudience.verifying import Keyed

LEVEL = "with keys: memberships, sealed digests, salts and leaves agree, and nobody was added after her no was first seen"


def keyed_document(found: "Keyed", case_id: str) -> dict[str, object]:
    """The second level as JSON."""
    searched = found.searched
    return {
        "ok": found.ok,
        "level": LEVEL,
        "case": case_id,
        "memberships": found.memberships,
        "people": found.people,
        "requests": found.requests,
        "noes": found.noes,
        "noes_compared": found.noes_compared,
        "looked_for": searched.people,
        "looked_for_of": searched.known,
        "later_requests": searched.requests,
        "problems": [{"entry": f.index, "code": f.code, "people": f.people, "what": f.what} for f in found.findings],
        "not_compared": list(found.not_compared),
    }


def show_keyed(found: "Keyed") -> None:
    """The second level for people."""
    searched = found.searched
    output.say("\nEverything that was compared with the keys agrees." if found.ok else "\nWith the keys, not everything agrees.")
    output.say(f"Level: {LEVEL}.")
    output.say(
        f"Compared: {found.memberships} memberships of {found.people} people with the {found.requests} requests that put them on lists: "
        "request, place, sealed digest, salt and leaf."
    )
    output.say(
        f"Noes remembered: {found.noes}; the store can still be asked about {found.noes_compared} of them, and those were compared."
    )
    drawn = "all of them" if searched.people == searched.known else f"drawn from {searched.known}"
    output.say(
        f"People with such a no who have an address and a salt: {searched.people} ({drawn}), looked for in {searched.requests} later additions."
    )
    if found.findings:
        rows = [(f.index, f.code, f.people, f.what) for f in found.findings]
        output.table("Problems found with the keys", ("entry", "code", "people", "what"), rows)
    output.say("\nNot compared:")
    for sentence in found.not_compared:
        output.say(f"  - {sentence}")
