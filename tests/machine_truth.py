"""What must hold of the state machine's installation, asked without the code under test: the slow reference, hashlib, what the platforms saw.

    truth = Truth(site)                # listens to every request from now on: rules 1, 5 and 6
    truth.remembered()                 # the platforms hold, and may still come to hold, nobody whom the ledger does not know of
    truth.left(story, ...)             # after a run: whoever had to leave was asked off every list that had no trouble
    truth.equal()                      # every list equals consent
    truth.verified()                   # the auditor finds nothing
    truth.put_back(copy)               # the ledger is an older one now; then truth.recovered(outcome)

The ledger's own rows are opened with its own code (`read_held`): what they should say is known from the platforms.
"""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from machine_memory import Remembered
from machine_platform import Platform, Request, Told, attempts
from machine_site import Copy, Look, RunStory, Site

from nestaudience import sync
from nestaudience.audit.verify import verify
from nestaudience.config.settings import Audience
from nestaudience.delivery.held import read_held
from nestaudience.ledger.memory import RemoteList
from nestaudience.vocabulary import NO_REASONS, AudienceKey, Operation, Reason, Recipient
from tests.reference.decide import Decisions, decide
from tests.reference.events import Event
from tests.reference.rows import World, member
from tests.reference.values import canonical, form_at

SILENCE: Final = timedelta(hours=48)
_OPERATION_BYTE: Final = {Operation.ADD: b"\x01", Operation.REMOVE: b"\x02"}
_ALREADY_TOLD: Final = {Told.DONE, Told.PARTLY, Told.NO_EFFECT}


def digest_of(recipient: Recipient, address: str | None) -> str | None:
    """What an address is at a recipient."""
    form = form_at(recipient, address)
    return None if form is None else hashlib.sha256(form.encode()).hexdigest()


class Truth:
    """Listens to a site's requests, and is asked after every step."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._entries: dict[str, dict[str, Any]] = {}
        self._accepted: set[str] = set()
        self._read = 0
        self._person: dict[str, bytes] = {}
        self._addresses: set[str | None] = set()
        self._accounts: set[str] = set()
        self.put_there: dict[tuple[str, str], set[str]] = {}
        self.memory = Remembered(site)
        self._unsure: set[str] = set()
        self._lost: set[tuple[str, str]] = set()
        self._recoveries = 0
        self._answers: dict[tuple[int, datetime, str, int], tuple[World, dict[str, set[str]]]] = {}
        site.heard = self.heard

    # -- each request, as it leaves

    def heard(self, name: str, request: Request) -> None:
        """Rules 1, 3 and 5: nobody is newly sent without consent, and every request has its entry before it, with exactly its people."""
        if not request.list_id:
            self._everywhere(request)
            return
        remote = next(remote for _, remote in self.site.remotes() if remote.list_id == request.list_id)
        assert remote.destination == name, "a list is spoken to through its own platform"
        assert request.account_id == remote.ad_account, "a request goes to the bound account"
        self._has_its_entry(request, remote)
        if self.site.story.whole and len(self.site.story.requests) == 1:
            self.memory.complete(self.site.story.looks[0])  # before anything is sent
        if request.operation is Operation.ADD:
            self._all_may_be_sent(request, remote)
        else:
            self._all_may_be_there(request)

    def _all_may_be_sent(self, request: Request, remote: RemoteList) -> None:
        assert request.list_id not in self._unsure, "somebody joined a list of which a restored ledger does not know who is on it"
        look = self.site.story.looks[-1]
        eligible = self._eligible(self._audience(remote), look)
        assert request.people <= set(eligible), "somebody without consent was sent"
        self._none_is_on_her_way(request, self.site.platforms[remote.destination], look)
        for digest in request.people:
            known = self.put_there.setdefault((request.list_id, digest), set())
            if digest not in self.site.platforms[remote.destination].may_come(request.list_id):
                known.clear()
            known |= eligible[digest]

    def _none_is_on_her_way(self, request: Request, platform: Platform, look: Look) -> None:
        """What was taken less than two days ago and has no result is not sent again."""
        for digest in request.people:
            last = next(attempts(platform.requests, request.list_id, digest), None)
            if last is not None and last.operation is Operation.ADD and last.told is Told.ACCEPTED:
                known = last.batch_id.hex() in self._accepted  # a crash may have lost the answer
                assert not known or last.sent_at + SILENCE <= look.at + timedelta(minutes=20), (
                    "somebody on her way was sent again"
                )

    def _all_may_be_there(self, request: Request) -> None:
        """Whoever was never sent is not removed: it would be a disclosure. Where a process died between entry and request, nobody can know."""
        unsent = {digest for digest in request.people if (request.list_id, digest) not in self.put_there}
        assert not unsent or unsent <= self._perhaps_sent(request.list_id), "somebody was removed who was never sent"

    def _perhaps_sent(self, list_id: str) -> set[str]:
        """Whom requests that died with their process would have added to a list, as the ledger has them."""
        remote = next(remote for _, remote in self.site.remotes() if remote.list_id == list_id)
        died = [number for number, (batch_id, _) in self.site.memory.batch_keys().items() if batch_id in self.site.died_with]
        held = read_held(self.site.memory, self.site.clock.peek())
        rows = held.rows.filter(pc.is_in(held.rows["batch_added"], value_set=pa.array(died, pa.int64())))
        mine = rows.filter(pc.equal(rows["list_no"], remote.list_no))["member_id"].combine_chunks()
        return set(held.open(mine, Recipient(remote.recipient), self.site.keys, self.site.tokens).hex())

    def _everywhere(self, request: Request) -> None:
        """A request for a whole account: marked so, and only about people who may be on the list that it is written under and are to stay on none."""
        self._read_log()
        fields = self._entries[request.batch_id.hex()]["fields"]
        assert fields.get("everywhere") is True, "a request for a whole account is not marked as one"
        remote = next(remote for _, remote in self.site.remotes() if remote.list_id == fields["list_id"])
        assert (request.account_id, request.operation) == (remote.ad_account, Operation.REMOVE)
        self._has_its_entry(replace(request, list_id=remote.list_id), remote)
        self._all_may_be_there(replace(request, list_id=remote.list_id))
        if self.site.story.whole:  # an hour does not look at everybody
            eligible = set(self._eligible(self._audience(remote), self.site.story.looks[0]))
            assert not request.people & eligible, "somebody who may stay was asked off everywhere"

    def _has_its_entry(self, request: Request, remote: RemoteList) -> None:
        self._read_log()
        entry = self._entries.get(request.batch_id.hex())
        assert entry is not None, "a request left without a batch entry"
        sealed = max((size for size, _ in self.site.reader.notes()), default=0)
        assert entry["index"] < sealed, "a request left before its batch entry was under a checkpoint"
        fields = entry["fields"]
        assert (fields["list_id"], fields["ad_account"], fields["operation"], fields["count"]) == (
            request.list_id,
            request.account_id,
            request.operation.value,
            len(request.people),
        )
        assert fields["membership_root"] == self._root(request, Recipient(remote.recipient)), "the entry is about other people"

    def _read_log(self) -> None:
        for entry in self.site.reader.entries(self._read):
            self._read = entry["index"] + 1
            if entry["type"] == "batch":
                assert entry["fields"]["batch_id"] not in self._entries
                self._entries[entry["fields"]["batch_id"]] = entry
            elif entry["type"] == "batch_result" and entry["fields"]["outcome"] == "accepted":
                self._accepted.add(entry["fields"]["batch_id"])

    def _root(self, request: Request, recipient: Recipient) -> str:
        """The membership root, computed one by one."""
        table = self.site.memory.persons()
        salts = dict(zip(table["person_token"].to_pylist(), table["salt"].to_pylist(), strict=True))
        listed = hashlib.sha256(request.list_id.encode()).digest()
        suffix = request.batch_id + _OPERATION_BYTE[request.operation] + listed
        master = self.site.keys.master.reveal()
        leaves = []
        for digest in request.people:
            key = hashlib.sha256(master + salts[self._token(recipient, digest)]).digest()
            leaves.append(hashlib.sha256(b"\x00" + hashlib.sha256(key + suffix).digest()).digest())
        return _tree(sorted(leaves)).hex()

    def _token(self, recipient: Recipient, digest: str) -> bytes:
        """The person token behind a digest, of everybody who ever had an address here."""
        if digest not in self._person:
            for row in self.site.store.world.account:
                self.knows(row["email"])
        return self._person[digest]

    def knows(self, address: str | None) -> None:
        """An address that somebody has or had."""
        if address in self._addresses:
            return
        self._addresses.add(address)
        one = canonical(address)
        token = self.site.tokens.of_people(pa.array([one], pa.string())).to_pylist()[0]
        for recipient in Recipient:
            digest = digest_of(recipient, address)
            if digest is not None:
                self._person[digest] = token

    # -- after every step

    def remembered(self) -> None:
        """Rule 4: what a platform holds, or may still apply, is within what the ledger remembers as possible. A restored ledger may know too little
        of its lists until they are deleted.
        """
        possible = self._possible()
        for platform in self.site.platforms.values():
            for list_id in platform.list_ids - self._unsure:
                known = possible.get(list_id, set())
                assert platform.may_come(list_id) <= known, "a platform holds somebody whom the ledger does not remember"

    def _possible(self) -> dict[str, set[str]]:
        """List id -> whom the ledger remembers as possible, of every list that somebody may be on."""
        held = read_held(self.site.memory, self.site.clock.peek())
        held_rows, found = held.rows, {}
        for platform, remote in self.site.remotes():
            if platform.may_come(remote.list_id):
                rows = held_rows.filter(pc.equal(held_rows["list_no"], remote.list_no))["member_id"].combine_chunks()
                opened = held.open(rows, Recipient(remote.recipient), self.site.keys, self.site.tokens)
                found[remote.list_id] = set(opened.hex())
        return found

    # -- a ledger that was lost

    def put_back(self, copy: Copy) -> bool:
        """The site's ledger is this copy from now on; True when that is behind what was signed. Then the ledger need not know who is on the lists,
        and nobody may join one; only a list that was being emptied then was joined by nobody since.
        """
        self.site.put_back(copy)
        self._read = self.site.reader.count()
        self._entries = {name: entry for name, entry in self._entries.items() if entry["index"] < self._read}
        self.memory.forgets()
        head = self.site.signer.head()
        mine = [note.partition("\n")[0] for _, note in self.site.reader.notes()]
        if (
            mine[-1:] == [head.origin] and self._read >= head.size
        ):  # after a recovery a log goes on under another name, and may be shorter
            return False
        emptied = {remote.list_id for _, remote in self.site.remotes() if remote.state == "retiring"}
        for name, platform in self.site.platforms.items():
            self._unsure |= platform.list_ids - emptied
            since = [request for request in platform.requests[copy.sent[name] :] if request.operation is Operation.ADD]
            self._lost |= {(request.list_id, digest) for request in since for digest in request.people}
        self._recoveries += 1
        return True

    def recovered(self, outcome: sync.Outcome) -> None:
        """After a recovery that was not cut off: noes are remembered again, and lists are gone unless it says what stands in the way."""
        self.memory.came_back()
        assert outcome.errors or not self._still_unsure(), "a list of which the ledger does not know who is on it was not deleted"

    def _still_unsure(self) -> set[str]:
        there = frozenset[str]().union(*(platform.list_ids for platform in self.site.platforms.values()))
        self._unsure &= there
        return self._unsure

    # -- after a run

    def left(self, story: RunStory, keys: set[AudienceKey], *, only_noes: bool, hourly: bool = False) -> None:
        """Rule 2: after a run, every list in its scope that had no trouble has been asked to drop everybody who had to leave when the run looked.

        `only_noes`: a retraction holds the rest. `hourly`: what nobody said, but time brought, waits for the night as well. What was said between
        the first look and a list's last one must have left too.
        """
        if not only_noes:
            self._noes_came_first(story)
        if story.whole and not story.requests:
            self.memory.complete(story.looks[0])
        possible = self._possible() if self._unsure else {}
        for platform, remote in self.site.remotes():
            if remote.audience not in keys or remote.state == "gone" or not platform.there(remote.list_id):
                continue
            if platform.troubled & {remote.list_id, ""} or platform.locked:
                continue
            known = possible.get(remote.list_id) if remote.list_id in self._unsure else None
            looks = [(story.looks[0], only_noes)]
            if remote.list_id in story.final:
                looks.append((story.final[remote.list_id], True))
            for look, noes in looks:
                self._left_list(platform, remote, look, known, only_noes=noes, hourly=hourly)

    def _noes_came_first(self, story: RunStory) -> None:
        """Whoever had to leave when the run looked is asked off before anybody joins anywhere."""
        joined = False
        for _, request in story.requests:
            joined |= request.operation is Operation.ADD
            if joined and request.list_id and request.operation is Operation.REMOVE:
                remote = next(remote for _, remote in self.site.remotes() if remote.list_id == request.list_id)
                staying = set(self._eligible(self._audience(remote), story.looks[0]))
                earlier = [r for _, r in story.requests if r.list_id == request.list_id and r.sent_at < request.sent_at]
                staying = staying.union(*(r.people for r in earlier))
                assert request.people <= staying, "somebody had to leave before others joined, and did not"

    def _left_list(
        self, platform: Platform, remote: RemoteList, look: Look, known: set[str] | None, *, only_noes: bool, hourly: bool
    ) -> None:
        """`known`: of a list that a restored ledger may know too little of, whom it knows."""
        audience = self._audience(remote)
        wanted = {} if remote.state in {"retiring", "closed"} and not only_noes else self._eligible(audience, look)
        now = self.site.clock.peek()
        everybody = self._everybody(audience, look) if only_noes else {}
        for digest in platform.may_come(remote.list_id) - set(wanted):
            owners = self.put_there[remote.list_id, digest]
            if known is not None and (digest not in known or (remote.list_id, digest) in self._lost):
                continue
            noes = NO_REASONS - {Reason.CONSENT_EXPIRED, Reason.SUPPRESSED} if hourly else NO_REASONS
            if only_noes and not all(_says_no(everybody, look, audience, who, digest, noes) for who in owners):
                continue
            problem = _not_gone(platform, remote.list_id, digest, now)
            assert not problem, f"{remote.audience}: {problem}"

    def equal(self) -> None:
        """Rule 4's other half: every open list equals the reference's answer, and a list that was ended holds nobody."""
        look = Look(self.site.store.world, self.site.clock.peek())
        assert not self._still_unsure(), "a list of which the ledger does not know who is on it was never deleted"
        for platform, remote in self.site.remotes():
            if remote.state == "gone" or "#" in remote.audience or not platform.there(remote.list_id):
                continue
            ended = remote.state in {"retiring", "closed"}
            wanted = set() if ended else set(self._eligible(self._audience(remote), look))
            found = platform.members(remote.list_id)
            assert found == wanted, f"{remote.audience}: {len(found - wanted)} too many, {len(wanted - found)} missing"

    def verified(self) -> None:
        """The auditor, with the head beside the keys, finds nothing but runs that died."""
        found = verify(self.site.engine, self.site.signer.verifiers, head=self.site.signer.head())
        backwards = {"clock_back", "id_wrong"}
        assert [problem for problem in found.problems if problem.code not in backwards] == []
        assert bool(found.epochs) == bool(self._recoveries), "every recovery opens an epoch, and nothing else does"

    # -- the reference

    def _audience(self, remote: RemoteList) -> Audience:
        return self.site.parts.settings.audiences[AudienceKey(remote.audience.partition("#")[0])]

    def _eligible(self, audience: Audience, look: Look) -> dict[str, set[str]]:
        """Digest -> the accounts that give it, of everybody who may be on the list, by what the store shows and what the ledger remembers."""
        noes = self.memory.noes()
        asked = (id(look.world), look.at, str(audience.key), self.memory.version)
        if asked not in self._answers:
            self._answers[asked] = (
                look.world,
                self._judged(audience, look, noes),
            )  # the world stays, so its number is not given twice
        return self._answers[asked][1]

    def _judged(self, audience: Audience, look: Look, noes: tuple[Event, ...]) -> dict[str, set[str]]:
        answers = decide(look.world, self.site.parts.settings.rules(), audience.rule, look.at, noes)
        address = {row["account_id"]: row["email"] for row in look.world.account}
        found: dict[str, set[str]] = {}
        for who, reasons in answers.items():
            if not reasons:
                digest = digest_of(audience.recipient.key, address[who])
                assert digest is not None
                found.setdefault(digest, set()).add(who)
        return found

    def _everybody(self, audience: Audience, look: Look) -> Decisions:
        """The reference's answer for every account that ever was, in the segment or not."""
        self._accounts |= {str(row["account_id"]) for row in look.world.account}
        self._accounts |= {who for owners in self.put_there.values() for who in owners}
        rows = tuple(member(who, controller_id=str(audience.rule.controller)) for who in sorted(self._accounts))
        asked: World = replace(look.world, segment_member=rows)
        return decide(asked, self.site.parts.settings.rules(), audience.rule, look.at, self.memory.noes())


def _says_no(everybody: Decisions, look: Look, audience: Audience, who: str, digest: str, noes: frozenset[Reason]) -> bool:
    """A no of the account's own, or of its address, or the address is no longer the account's."""
    if everybody[who] & noes:
        return True
    address = next((row["email"] for row in look.world.account if row["account_id"] == who), None)
    return address is not None and digest_of(audience.recipient.key, address) != digest


def _not_gone(platform: Platform, list_id: str, digest: str, now: datetime) -> str:
    """Why somebody who may be on the list has not been asked off it as the rules §8 want; empty when she has."""
    history = list(attempts(platform.requests, list_id, digest))
    last = history[0]
    if last.operation is not Operation.REMOVE:
        return "no removal was sent after the last addition"
    if last.told is Told.ACCEPTED:
        return "a removal was silent for 48 hours and was not sent again" if last.sent_at + SILENCE < now else ""
    if last.told is not Told.DONE:
        return f"a removal was not done ({last.told.value}) and was not sent again"
    for earlier in history[1:]:
        if earlier.operation is not Operation.ADD or earlier.told is Told.NO_EFFECT:
            continue
        told = earlier.told_at if earlier.told in _ALREADY_TOLD else None
        certain = told if told is not None else earlier.sent_at + SILENCE
        if last.sent_at < certain <= now - timedelta(minutes=20):
            return "a removal that an addition could overtake was not sent again"
    return ""


def _tree(leaves: list[bytes]) -> bytes:
    """RFC 6962, by its definition."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + _tree(leaves[:split]) + _tree(leaves[split:])).digest()
