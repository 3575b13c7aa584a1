#!/usr/bin/env python3
"""A second verifier of the transfer log. It needs Python and the package `cryptography`, and nothing of the program that wrote the log.

    python verify.py BUNDLE [--public-key FILE] [--checkpoint FILE]... [--until YYYY-MM-DD] [--json]

BUNDLE is an exported bundle: a folder or a .zip file. Give the public key that you already hold: the copy in the bundle was
written by whoever made it. Give checkpoints that you kept from earlier visits: without one, nobody can see that a whole log was
written anew. The exit code is 0 when nothing breaks the proof, and 5 otherwise; the first bad entry is named.

Read it from top to bottom: hashes, signatures, the bundle, what entries say together, the verdict. It looks nobody up and needs no secret key.
What it cannot show: that a platform did what it was asked; that nothing was sent beside the log; that the customer store told the truth.
"""

import argparse
import base64
import bisect
import datetime as dt
import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# ---- 1. Hashes: the Merkle tree of RFC 6962, section 2.1 -----------------------------------------------------------------------------------------


def sha(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


class Tree:
    """A growing tree: the roots of its full subtrees from left to right, each with its number of leaves."""

    def __init__(self) -> None:
        self.size = 0
        self.parts: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        """Add one leaf hash; two neighbouring subtrees of one size become one."""
        self.size += 1
        part = (1, leaf)
        while self.parts and self.parts[-1][0] == part[0]:
            count, left = self.parts.pop()
            part = (2 * count, sha(b"\x01" + left + part[1]))
        self.parts.append(part)

    def root(self) -> bytes:
        """The root: the subtrees joined from the right."""
        if not self.parts:
            return sha(b"")
        node = self.parts[-1][1]
        for _, left in self.parts[-2::-1]:
            node = sha(b"\x01" + left + node)
        return node


# ---- 2. Signatures: https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint ------------------------------------------------------------


def unbase64(text: str) -> bytes:
    """Standard base64 in its one spelling; ValueError for anything else."""
    value = base64.b64decode(text, validate=True)
    if base64.b64encode(value).decode() != text:
        raise ValueError("not base64")
    return value


def parse_key(line: str) -> tuple[str, bytes]:
    """(name of the log, public key) from `name+id+base64(0x01 || key)`; ValueError for anything else."""
    name, key_id, key = line.strip().split("+", 2)
    value = unbase64(key)
    if len(value) != 33 or value[:1] != b"\x01" or sha(f"{name}\n".encode() + value)[:4].hex() != key_id:
        raise ValueError("not a verifier key")
    return name, value[1:]


def signed_text(note: str, signer: str, publics: list[bytes]) -> str | None:
    """The text of a note that one of these keys signed under the name `signer`; None when none did, or when one of their signatures is wrong."""
    text, blank, rest = note.partition("\n\n")
    if not blank or not rest.endswith("\n"):
        return None
    good = 0
    for line in rest[:-1].split("\n"):
        form = re.fullmatch(r"— (\S+) (\S+)", line)
        if form is None:
            return None
        try:
            value = unbase64(form[2])
        except ValueError:
            return None
        for public in publics:
            if form[1] == signer and value[:4] == sha(f"{signer}\n".encode() + b"\x01" + public)[:4]:
                try:
                    Ed25519PublicKey.from_public_bytes(public).verify(value[4:], f"{text}\n".encode())
                except InvalidSignature:
                    return None
                good += 1
    return f"{text}\n" if good else None


def open_checkpoint(note: str, origin: str, publics: list[bytes]) -> tuple[str, int, bytes] | None:
    """(name, size, root) of a signed checkpoint of this log or of one of its later epochs (`origin/2`, `origin/3`, …); None for anything else."""
    lines = note.split("\n")
    if len(lines) < 4 or epoch_of(origin, lines[0]) == 0 or signed_text(note, lines[0], publics) != "\n".join(lines[:3]) + "\n":
        return None
    if not re.fullmatch("0|[1-9][0-9]{0,15}", lines[1]):
        return None
    try:
        root = unbase64(lines[2])
    except ValueError:
        return None
    return (lines[0], int(lines[1]), root) if len(root) == 32 else None


def epoch_of(origin: str, name: str) -> int:
    """1 for the log's own name, N for `origin/N`, 0 for another log's."""
    if name == origin:
        return 1
    number = name[len(origin) + 1 :] if name.startswith(origin + "/") else ""
    return int(number) if re.fullmatch("[1-9][0-9]{0,8}", number) and number != "1" else 0


# ---- 3. The bundle: files, and the manifest that lists them --------------------------------------------------------------------------------------


def names(root: Any) -> set[str]:
    """Every file of a bundle, by its path inside it. `root` is a pathlib.Path of a folder or a zipfile.Path: both are walked alike."""
    found = set()
    for each in root.iterdir():
        found |= {each.name} if each.is_file() else {f"{each.name}/{name}" for name in names(each)}
    return found


def exactly(file: BinaryIO, size: int) -> bytes:
    """The next `size` bytes, or fewer at the end."""
    found = b""
    while len(found) < size and (more := file.read(size - len(found))):
        found += more
    return found


class Verifier:
    """One verification. `problems` break the proof; `notices` are worth knowing. Both are (entry or None, code)."""

    def __init__(self, root: Any, keys: list[tuple[str, bytes]], brought: list[str], until: dt.date | None = None) -> None:
        self.root, self.origin, self.publics, self.until = root, keys[0][0], [public for _, public in keys], until
        self.brought = [open_checkpoint(note, self.origin, self.publics) for note in brought]
        self.problems: list[tuple[int | None, str]] = []
        self.notices: list[tuple[int | None, str]] = []
        self.tree, self.roots, self.sealed, self.anchored = Tree(), dict[int, bytes](), 0, 0
        self.kept: list[tuple[str, int, bytes]] = []
        self.redactions, self.redacted = dict[int, str](), dict[int, bytes]()
        self.epochs: list[tuple[int, dict[str, Any]]] = []
        self.ids, self.last_at, self.story = set[str](), "", Story(self)

    def run(self, *, watched: bool = False) -> None:
        """Everything, in the order in which one thing rests on another."""
        for step in (self.manifest, self.checkpoints, self.entries, self.compare, self.membership, self.story.end):
            if watched:
                sys.stderr.write(f"{step.__name__} …\n")
            step()
        self.problems += self.story.problems
        self.problems.sort(key=lambda found: (found[0] is None, found[0] or 0))

    def bad(self, place: int | None, code: str) -> None:
        """Something that breaks the proof."""
        self.problems.append((place, code))

    def open(self, name: str) -> BinaryIO:
        """One file of the bundle."""
        return self.root.joinpath(name).open("rb")  # type: ignore[no-any-return]

    def manifest(self) -> None:
        """Every file is the one that the bundle's maker signed, and there is no other."""
        there = names(self.root)
        raw, note = (self.open(name).read() if name in there else b"" for name in ("manifest.json", "manifest.note"))
        said = f"{self.origin}/bundle\nsha256:{sha(raw).hex()}\n"
        if signed_text(note.decode(errors="replace"), f"{self.origin}/bundle", self.publics) != said:
            self.bad(None, "manifest_not_signed")
        try:
            listed = {each["path"]: (each["size"], each["sha256"]) for each in json.loads(raw)["files"]}
        except (ValueError, KeyError, TypeError):
            listed = {}
        for name in sorted((there | set(listed)) - {"manifest.json", "manifest.note"}):
            digest, size = hashlib.sha256(), 0
            if name in there:
                with self.open(name) as file:
                    while block := file.read(1 << 20):
                        digest.update(block)
                        size += len(block)
            if listed.get(name) != (size, digest.hexdigest()):
                self.bad(None, f"file_not_as_listed:{name}")

    def checkpoints(self) -> None:
        """The log's own checkpoints, each signed, with rising sizes."""
        with self.open("log/checkpoints.jsonl") as file:
            for line in file:
                try:
                    said = json.loads(line)
                    opened = open_checkpoint(said["note"], self.origin, self.publics)
                except (ValueError, KeyError, TypeError):
                    opened = None
                if opened is None:
                    self.bad(None, "checkpoint_bad")
                elif opened[1] != said["size"] or (self.kept and opened[1] <= self.kept[-1][1]):
                    self.bad(None, "checkpoint_elsewhere")
                else:
                    self.kept.append(opened)

    def entries(self) -> None:
        """Bytes lead to leaf hashes, leaf hashes to roots; each entry has its place, its own id and a time."""
        wanted = {found[1] for found in (*self.kept, *self.brought) if found}
        with self.open("log/entries.jsonl") as lines, self.open("log/leaves.bin") as leaves:
            while True:
                if self.tree.size in wanted:
                    self.roots[self.tree.size] = self.tree.root()
                line, kept = lines.readline(), exactly(leaves, 32)
                if not line:
                    break
                self.entry(self.tree.size, line.removesuffix(b"\n"), kept)
        if kept:
            self.bad(self.tree.size, "leaf_without_entry")
        for place, leaf in self.redacted.items():
            if self.redactions.get(place) != leaf.hex():
                self.bad(place, "body_missing")

    def entry(self, place: int, body: bytes, kept: bytes) -> None:
        """One entry. An empty line is one whose bytes were taken out: its leaf hash stays, and a redaction elsewhere must name it."""
        leaf = sha(b"\x00" + body) if body else kept
        self.tree.add(leaf)
        if not body:
            self.redacted[place] = kept
            return
        if leaf != kept:
            self.bad(place, "leaf_wrong")
        entry = parse(body)
        version = entry.get("version") if entry else None
        words = ("type", "id", "at", "run_id", "run_kind", "controller")
        whole = entry and type(entry.get("index")) is int and all(isinstance(entry.get(name), str) for name in words)
        if type(version) is int and version > 1:
            self.notices.append((place, "entry_of_newer_version"))
        elif entry is None or type(version) is not int or version != 1 or not whole:
            self.bad(place, "entry_malformed")
        else:
            self.header(place, entry, entry["fields"])
            self.story.take(place, entry, entry["fields"])

    def header(self, place: int, entry: dict[str, Any], fields: dict[str, Any]) -> None:
        """Index, time and id of an entry; and what it says of redactions and of epochs."""
        if entry["index"] != place:
            self.bad(place, "index_wrong")
        millis = milliseconds(entry["at"])
        if millis is None:
            self.bad(place, "time_wrong")
        else:
            if entry["at"] < self.last_at:
                self.notices.append((place, "clock_back"))
            self.last_at = entry["at"]
            form = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
            if not re.fullmatch(form, entry["id"]) or int(entry["id"].replace("-", "")[:12], 16) != millis:
                self.bad(place, "id_wrong")
        if entry["id"] in self.ids:
            self.bad(place, "id_repeated")
        self.ids.add(entry["id"])
        if entry["type"] == "redaction" and type(fields.get("redacted_index")) is int:
            self.redactions[fields["redacted_index"]] = str(fields.get("redacted_leaf", ""))
        if entry["type"] == "epoch_opened":
            first, last, (new, old, root) = (
                fields.get("restored_size"),
                fields.get("head_size"),
                map(fields.get, ("origin", "old_origin", "head_root")),
            )
            good = type(first) is int and type(last) is int and 0 <= first <= last and first <= place
            if good and isinstance(new, str) and isinstance(old, str) and re.fullmatch("[0-9a-f]{64}", str(root)) and new != old:
                self.notices.append((place, "epoch_opened"))
                self.epochs.append((place, fields))
            else:
                self.bad(place, "epoch_malformed")

    def compare(self) -> None:
        """The log against every checkpoint: those it keeps, and those that you brought."""
        size = self.tree.size
        if self.kept and self.kept[-1][1] > size:
            self.bad(size, "shorter_than_checkpoint")
        for name, upto, root in self.kept:
            if upto > size:
                break
            if self.roots[upto] != root:
                wrong = [found for found, _ in self.problems if found is not None and self.sealed <= found < upto]
                self.bad(min(wrong, default=self.sealed), "root_wrong")
                break
            self.sealed = upto
            if name != [self.origin, *(fields["origin"] for place, fields in self.epochs if place < upto)][-1]:
                self.bad(upto - 1, "epoch_unexplained")
        if self.sealed < size:
            self.notices.append((self.sealed, "unsealed"))
        for found in self.brought:
            if found is None:
                self.bad(None, "brought_note_bad")
            elif self.roots.get(found[1]) == found[2]:
                self.anchored = max(self.anchored, found[1])
            elif any(given_up(fields, *found) for _, fields in self.epochs):
                self.notices.append((None, "lost_in_restore"))
            else:
                self.bad(
                    size if found[1] > size else None, "shorter_than_brought" if found[1] > size else "inconsistent_with_brought"
                )

    def membership(self) -> None:
        """Each request's leaves are sorted, as many as its entry says, and give its root. File: id (16 bytes), count (8, big-endian), leaves."""
        missing = dict(self.story.batches)
        with self.open("log/membership.bin") as file:
            while head := exactly(file, 24):
                batch, tree, last, falls = missing.pop(head[:16].hex(), None), Tree(), b"", False
                count = int.from_bytes(head[16:], "big")
                while tree.size < count and len(leaf := exactly(file, 32)) == 32:
                    falls, last = falls or leaf < last, leaf
                    tree.add(leaf)
                if batch is None:
                    self.bad(None, "leaves_without_batch")
                elif count != batch["count"] or tree.size != count:
                    self.bad(batch["index"], "leaves_count")
                elif falls or tree.root().hex() != batch["membership_root"]:
                    self.bad(batch["index"], "leaves_root")
        for batch in missing.values():
            self.bad(batch["index"], "leaves_missing")


def parse(body: bytes) -> dict[str, Any] | None:
    """An entry's bytes as an object; None for what is none: floats, null, a key that stands twice, a number that is too large."""

    def refuse(_: str) -> object:
        raise ValueError

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs) or any(not plain(each) for pair in pairs for each in pair):
            raise ValueError
        return dict(pairs)

    def plain(value: object) -> bool:
        if isinstance(value, list):
            return all(plain(each) for each in value)
        if isinstance(value, str):
            return not re.search("[\ud800-\udfff]", value)
        return isinstance(value, dict) or (isinstance(value, int) and abs(value) < 1 << 53)

    try:
        found = json.loads(body.decode(), parse_float=refuse, parse_constant=refuse, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("fields"), dict) else None


def milliseconds(at: str) -> int | None:
    """A time in UTC with milliseconds and Z, as milliseconds since 1970; None for anything else."""
    try:
        moment = dt.datetime.fromisoformat(at) if re.fullmatch(r"[0-9-]{10}T[0-9:]{8}\.[0-9]{3}Z", at) else None
    except ValueError:
        moment = None
    return None if moment is None else (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)


def given_up(lost: dict[str, Any], name: str, size: int, root: bytes) -> bool:
    """True for a checkpoint of what a recovery declared lost; one of the head's own size must have the head's root."""
    inside = name == lost["old_origin"] and lost["restored_size"] < size <= lost["head_size"]
    return bool(inside and (size < lost["head_size"] or root.hex() == lost["head_root"]))


# ---- 4. What the entries say together ------------------------------------------------------------------------------------------------------------

FORMS: dict[str, dict[str, Any]] = {
    "transfer_intent": {"transfer_id": str, "audience": str, "list_id": str, "planned_additions": int},
    "batch": {"transfer_id": str, "batch_id": str, "audience": str, "list_id": str, "operation": {"add", "remove"}, "count": int}
    | {"membership_root": str},
    "batch_result": {"transfer_id": str, "batch_id": str, "outcome": {"accepted", "refused", "unknown"}},
    "platform_status": {"batch_id": str, "state": {"succeeded", "partly_refused", "failed", "never_seen", "lapsed"}},
}


class Story:
    """Intent, then batch, then result; removals first; nobody taken off who was never put on; each list where it is bound; a run every night."""

    def __init__(self, log: Verifier) -> None:
        self.log = log
        self.problems: list[tuple[int | None, str]] = []
        self.intents, self.batches = dict[str, dict[str, Any]](), dict[str, dict[str, Any]]()
        self.added, self.removed = dict[str, int](), dict[str, int]()
        self.runs, self.open_runs = set[str](), dict[str, int]()
        self.nights: dict[str, set[dt.date]] = {}
        self.bound, self.owner = dict[str, tuple[str, str]](), dict[str, str]()
        self.faulty: dict[tuple[str, str], bool] = {}
        self.gaps: list[tuple[str, str]] = []

    def bad(self, place: int, code: str) -> None:
        """An entry that does not fit those before it. Kept apart: it says nothing of whose bytes were changed."""
        self.problems.append((place, code))

    def take(self, place: int, entry: dict[str, Any], fields: dict[str, Any]) -> None:
        """Judge one entry in the light of those before it."""
        for name, form in FORMS.get(entry["type"], {}).items():
            value = fields.get(name)
            if not (
                value in form
                if isinstance(form, set)
                else type(value) is form and (form is str or (isinstance(value, int) and value >= 0))
            ):
                self.bad(place, "field_missing")
                return
        if entry["type"] in ("run_started", "run_finished", "transfer_intent", "batch", "batch_result", "platform_status"):
            getattr(self, entry["type"])(place, entry, fields)
        elif entry["type"] in ("list_created", "binding_changed", "list_deleted"):
            self.binding(fields, entry["type"])
        elif entry["type"] == "approval":
            self.faulty[entry["controller"], str(fields.get("segment"))] = bool(
                fields.get("faults") or fields.get("review_missing")
            )

    def run_started(self, place: int, entry: dict[str, Any], fields: dict[str, Any]) -> None:
        """A run begins once; a nightly one names its night."""
        if entry["run_id"] in self.runs:
            self.bad(place, "run_started_twice")
        self.runs.add(entry["run_id"])
        self.open_runs[entry["run_id"]] = place
        if entry["run_kind"] in ("nightly", "sandbox") and "night" in fields:
            try:
                night = dt.date.fromisoformat(fields["night"])
                self.nights.setdefault(entry["controller"], set()).add(night)
            except (ValueError, TypeError):
                self.bad(place, "field_missing")

    def run_finished(self, place: int, entry: dict[str, Any], _fields: dict[str, Any]) -> None:
        """A run that ends had begun."""
        if self.open_runs.pop(entry["run_id"], None) is None:
            self.bad(place, "run_finished_without_start")

    def binding(self, fields: dict[str, Any], kind: str) -> None:
        """An audience is bound to one list of one ad account, until the list is given up."""
        audience, place = str(fields.get("audience")), (str(fields.get("ad_account")), str(fields.get("list_id")))
        if kind == "list_deleted" or fields.get("state") == "begins_anew":
            if self.bound.get(audience) == place:
                del self.bound[audience]
        elif "state" not in fields:
            self.bound[audience] = place

    def transfer_intent(self, place: int, entry: dict[str, Any], fields: dict[str, Any]) -> None:
        """A transfer is announced once, goes to the list where its audience is bound, and adds people by approval of a second person."""
        if fields["transfer_id"] in self.intents:
            self.bad(place, "intent_repeated")
            return
        self.intents[fields["transfer_id"]] = {**fields, "added": 0, "above": False}
        there = (str(fields.get("ad_account")), fields["list_id"])
        if self.bound.get(fields["audience"], there) != there:
            self.bad(place, "bound_elsewhere")
        if self.owner.setdefault(fields["list_id"], fields["audience"]) != fields["audience"]:
            self.bad(place, "list_of_two_audiences")
        if fields["planned_additions"] and "approved_by" in fields:
            alone = fields["approved_by"] in ("", fields.get("owner")) or not fields.get("approved_on") or not fields.get("dpia")
            if alone or self.faulty.get((entry["controller"], str(fields.get("segment"))), False):
                self.log.notices.append((place, "approval_faulty"))

    def batch(self, place: int, _entry: dict[str, Any], fields: dict[str, Any]) -> None:
        """A request belongs to an intent and its list; removals come before additions, but for those that the last look found."""
        if fields["batch_id"] in self.batches:
            self.bad(place, "batch_repeated")
            return
        self.batches[fields["batch_id"]] = {**fields, "index": place, "outcome": "unknown", "state": ""}
        intent, list_id, adds = self.intents.get(fields["transfer_id"]), fields["list_id"], fields["operation"] == "add"
        if intent is None:
            self.bad(place, "batch_without_intent")
        elif (fields["audience"], list_id) != (intent["audience"], intent["list_id"]):
            self.bad(place, "batch_of_other_intent")
        elif adds:
            intent["added"] += fields["count"]
            if intent["added"] > intent["planned_additions"] and fields.get("repeat") is not True and not intent["above"]:
                intent["above"] = True
                self.log.notices.append((place, "above_plan"))
        elif intent["added"] and fields.get("late") is not True:
            self.bad(place, "added_before_removed")
        if adds:
            self.added[list_id] = self.added.get(list_id, 0) + fields["count"]

    def batch_result(self, place: int, _entry: dict[str, Any], fields: dict[str, Any]) -> None:
        """An answer belongs to a request that was under a checkpoint before it, and a known answer does not change."""
        batch = self.batches.get(fields["batch_id"])
        if batch is None:
            self.bad(place, "result_without_batch")
            return
        if fields["transfer_id"] != batch["transfer_id"]:
            self.bad(place, "result_of_other_transfer")
        if batch["outcome"] != "unknown":
            self.bad(place, "result_repeated")
            return
        newest = bisect.bisect_right(self.log.kept, place, key=lambda kept: kept[1])
        if newest == 0 or self.log.kept[newest - 1][1] <= batch["index"]:
            self.bad(place, "sent_before_sealed")
        batch["outcome"] = fields["outcome"]
        if batch["outcome"] == "refused" and batch["operation"] == "add":
            self.added[batch["list_id"]] -= batch["count"]
            if batch["transfer_id"] in self.intents:
                self.intents[batch["transfer_id"]]["added"] -= batch["count"]
        counts = batch["operation"] == "remove" and batch.get("repeat") is not True and batch.get("everywhere") is not True
        if batch["outcome"] == "accepted" and counts:
            self.take_off(place, batch["list_id"], batch["count"])

    def platform_status(self, place: int, _entry: dict[str, Any], fields: dict[str, Any]) -> None:
        """The platform's later word on a request that it had not refused."""
        batch = self.batches.get(fields["batch_id"])
        if batch is None or batch["outcome"] == "refused":
            self.bad(place, "status_without_batch" if batch is None else "status_of_refused")
            return
        if batch["operation"] == "remove" and batch.get("repeat") is not True and batch["outcome"] == "accepted":
            was, now = (state not in ("failed", "never_seen") for state in (batch["state"], fields["state"]))
            self.take_off(place, batch["list_id"], (now - was) * batch["count"])
        batch["state"] = fields["state"]

    def take_off(self, place: int, list_id: str, count: int) -> None:
        """So many people left a list; more than were ever put on it cannot."""
        self.removed[list_id] = self.removed.get(list_id, 0) + count
        if count > 0 and self.removed[list_id] > self.added.get(list_id, 0):
            self.bad(place, "more_removed_than_added")

    def end(self) -> None:
        """What only the end can show: runs without an end, requests without an answer, nights without a run."""
        self.log.notices += [(place, "run_unfinished") for place in self.open_runs.values()]
        unknown = [each for each in self.batches.values() if each["outcome"] == "unknown" and not each["state"]]
        self.log.notices += [(each["index"], "unknown_counts_as_disclosed") for each in unknown]
        every = set().union(*self.nights.values())
        spans = [(name, min(nights), max(nights), nights) for name, nights in sorted(self.nights.items())]
        if every and self.log.until:
            spans.append(("", max(every), self.log.until, every))
        for name, first, last, nights in spans:
            days = (first + dt.timedelta(days=number) for number in range((last - first).days + 1))
            self.gaps += [(name, day.isoformat()) for day in days if day not in nights]


# ---- 5. The verdict ------------------------------------------------------------------------------------------------------------------------------


def main(words: list[str] | None = None) -> int:
    """Verify one bundle, and say what was found."""
    parser = argparse.ArgumentParser(description="Verify an exported bundle of the transfer log.")
    parser.add_argument("bundle", type=Path, help="folder or .zip file")
    parser.add_argument("--public-key", type=Path, help="file with the verifier keys that you hold, one a line")
    parser.add_argument("--checkpoint", type=Path, action="append", default=[], help="a checkpoint that you kept")
    parser.add_argument("--until", type=dt.date.fromisoformat, help="the last night that must have had a run")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    asked = parser.parse_args(words)
    try:
        root: Any = asked.bundle if asked.bundle.is_dir() else zipfile.Path(asked.bundle)
        lines = (asked.public_key or root / "verifier-keys.txt").read_text(encoding="utf-8").split("\n")
        keys = [parse_key(line) for line in lines if line.strip()]
        check = Verifier(root, keys, [each.read_text(encoding="utf-8") for each in asked.checkpoint], asked.until)
        check.run(watched=True)
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        sys.stderr.write(f"The bundle, a key or a checkpoint cannot be read: {type(error).__name__}: {error}\n")
        return 5
    said = verdict(check) | {"keys": [line for line in lines if line.strip()], "keys_from_bundle": asked.public_key is None}
    sys.stdout.write(json.dumps(said, indent=1) + "\n" if asked.json else in_words(said))
    return 0 if said["ok"] else 5


def verdict(check: Verifier) -> dict[str, Any]:
    """Everything that was found."""
    return {
        "ok": not check.problems,
        "first_bad_entry": check.problems[0][0] if check.problems else None,
        "entries": check.tree.size,
        "root": check.tree.root().hex(),
        "checkpoints": len(check.kept),
        "sealed": check.sealed,
        "brought": len(check.brought),
        "anchored": check.anchored,
        "redacted": len(check.redacted),
        "batches": len(check.story.batches),
        "gaps": check.story.gaps,
        "problems": check.problems,
        "notices": check.notices,
    }


def in_words(said: dict[str, Any]) -> str:
    """The same for people."""
    lines = ["Nothing breaks the proof." if said["ok"] else f"THE PROOF IS BROKEN: {len(said['problems'])} problems."]
    lines += [f"  {name}: {value}" for name, value in said.items() if name not in ("problems", "notices")]
    for title in ("problems", "notices"):
        lines += [f"{title}: entry {'-' if place is None else place}: {code.replace('_', ' ')}" for place, code in said[title]]
    if said["keys_from_bundle"]:
        lines.append(
            "The public key came with the bundle: compare it with the one that you hold, or give yours with --public-key."
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
