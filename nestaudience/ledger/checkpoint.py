"""Signed checkpoints: their text form, their verification, and the signer that never contradicts itself.

Forms: https://c2sp.org/tlog-checkpoint and https://c2sp.org/signed-note (read 2026-11-22). A checkpoint is strict here: three
lines, no extensions. A log that was restored from a backup goes on under a new name, its next epoch: the origin with a number behind it. The signer
keeps its head (the last checkpoint it signed, and the tree's frontier) in a file beside the
keys, not in the ledger: a ledger that was restored from a backup is then behind its own signer. This module reads no entry.
"""

import binascii
import fcntl
import json
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from nestaudience.errors import MustStop, NeedsFix
from nestaudience.ledger.keys import note_key_id, public_bytes, sync_directory
from nestaudience.ledger.merkle import EMPTY_ROOT, HASH_SIZE, Frontier

_MARK: Final = "— "
_LIMIT: Final = 1 << 53


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log said of itself: its name, how many entries it had, and the root over them. Not yet trusted."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        check_origin(self.origin)
        if not 0 <= self.size < _LIMIT or len(self.root) != HASH_SIZE:
            raise ValueError("a checkpoint has a size and a root of 32 bytes")

    def text(self) -> str:
        """The signed text: three lines."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint whose signature was verified or has just been made. `note` is the whole text that leaves the host."""

    checkpoint: Checkpoint
    note: str

    @property
    def size(self) -> int:
        """How many entries it covers."""
        return self.checkpoint.size

    @property
    def root(self) -> bytes:
        """The root over them."""
        return self.checkpoint.root


@dataclass(frozen=True, slots=True)
class Lost:
    """What one recovery gave up: of the checkpoints signed under `old_origin`, those of more than `restored_size` entries, up to the head."""

    old_origin: str
    restored_size: int
    head_size: int
    head_root: bytes

    def fields(self) -> dict[str, str | int]:
        """For an entry, and for the head file."""
        return {
            "old_origin": self.old_origin,
            "restored_size": self.restored_size,
            "head_size": self.head_size,
            "head_root": self.head_root.hex(),
        }

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> "Lost | None":
        """From the fields of an entry; None when they say no such thing."""
        name, sizes, root = (
            fields.get("old_origin"),
            (fields.get("restored_size"), fields.get("head_size")),
            fields.get("head_root"),
        )
        if not isinstance(name, str) or not isinstance(root, str) or not re.fullmatch("[0-9a-f]{64}", root):
            return None
        first, last = sizes
        if type(first) is not int or type(last) is not int or not 0 <= first <= last:
            return None
        return cls(name, first, last, bytes.fromhex(root))

    def covers(self, checkpoint: Checkpoint) -> bool:
        """True for a checkpoint of what was given up. One of the head's size must have the head's root."""
        if checkpoint.origin != self.old_origin or not self.restored_size < checkpoint.size <= self.head_size:
            return False
        return checkpoint.size < self.head_size or checkpoint.root == self.head_root


@final
@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key and the name of the log whose checkpoints it verifies, those of its later epochs included."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        check_origin(self.name)
        if len(self.public) != 32:
            raise ValueError("a public key has 32 bytes")

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """Read a C2SP verifier key `name+id+base64`. Raises `NeedsFix`: `vkey_malformed`."""
        verifier: Verifier | None = None
        try:
            name, key_id, key = text.strip().split("+", 2)
            value = _unbase64(key)
            verifier = cls(name, value[1:])
            if value[:1] != b"\x01" or verifier.key_id.hex() != key_id:
                verifier = None
        except ValueError:
            verifier = None
        if verifier is None:
            raise NeedsFix("vkey_malformed", "the verifier key", "copy the whole line that `nestaudience keys show` prints")
        return verifier

    @property
    def key_id(self) -> bytes:
        """The four bytes that a signature line begins with."""
        return note_key_id(self.name, self.public)

    def signed(self, text: str, signature: bytes) -> bool:
        """True when this key signed this text."""
        try:
            _public_key(self.public).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


def open_note(note: str, verifiers: Sequence[Verifier]) -> SignedCheckpoint:
    """The checkpoint in a signed note that at least one of these verifiers signed. Who verifies a log verifies its later epochs.

    Lines of unknown keys (witnesses) are passed over; a wrong signature of a known key is refused. Raises `MustStop`:
    `note_malformed`, `note_unsigned` (no known key signed it), `note_forged` (a known key's signature is wrong, or the note
    names another log).
    """
    text, signatures = split_note(note)
    checkpoint = _parse_text(text)
    if checkpoint is None or not signatures:
        raise MustStop("note_malformed", "a checkpoint", "compare it with another copy; this text is no signed checkpoint")
    mine = [Verifier(checkpoint.origin, each.public) for each in verifiers if epoch_of(each.name, checkpoint.origin)]
    known = {(verifier.name, verifier.key_id): verifier for verifier in (*verifiers, *mine)}
    signed = 0
    for name, value in signatures:
        verifier = known.get((name, value[:4]))
        if verifier is None:
            continue
        if checkpoint.origin != name or not verifier.signed(text, value[4:]):
            raise MustStop(
                "note_forged", "a checkpoint", "keep this copy and tell the auditor: its signature does not fit its text"
            )
        signed += 1
    if not signed:
        raise MustStop("note_unsigned", "a checkpoint", "bring the verifier key of this log; no known key signed it")
    return SignedCheckpoint(checkpoint, note)


@final
class Signer:
    """Signs a log's checkpoints, each one an extension of the last.

    It extends its own frontier with the new leaves, so it never takes a root from the ledger. The head is read from its file at
    each signature, under a file lock: two processes cannot sign two stories. `origin` names the log; its first epoch has that very name.
    """

    def __init__(self, private: Ed25519PrivateKey, origin: str, head_path: Path, older: Sequence[Ed25519PublicKey] = ()) -> None:
        """`older` are retired public keys: the head may still carry the signature of one. Raises ValueError for a bad origin."""
        self._private = private
        self._path = head_path
        self.origin = origin
        self.verifier = Verifier(origin, public_bytes(private.public_key()))
        self.verifiers = (self.verifier, *(Verifier(origin, public_bytes(key)) for key in older))

    def __repr__(self) -> str:
        return f"<Signer {self.origin} {self.verifier.key_id.hex()}>"

    def head(self) -> Checkpoint:
        """The last checkpoint signed, of whatever epoch; size 0 when nothing was. Raises `MustStop`: `head_unreadable`."""
        return self._load().checkpoint

    def past(self) -> tuple[Lost, ...]:
        """What each recovery so far gave up, in order. Raises `MustStop`: `head_unreadable`."""
        return self._load().past

    def sign(self, first_index: int, new_leaves: Sequence[bytes], *, epoch: int = 1) -> SignedCheckpoint:
        """Extend the log by these leaf hashes, the first of which has this index, and sign the result under the epoch's name.

        The new head is durable before the signature is returned. No new leaves: the head is signed again, with the same bytes.
        Raises `MustStop`: `ledger_behind_head` (the leaves begin before the head, or the head is of another epoch), `ledger_inconsistent`
        (they begin after it), `head_unreadable`, `head_unwritable`.
        """
        with self._locked():
            head = self._load()
            frontier = head.frontier
            if first_index < frontier.size or epoch_of(self.origin, head.checkpoint.origin) != epoch:
                raise MustStop(
                    "ledger_behind_head", "the signer", "the ledger was restored from a backup; run `nestaudience ledger recover`"
                )
            if first_index > frontier.size:
                raise MustStop(
                    "ledger_inconsistent", "the signer", "entries before these were never signed; run `nestaudience audit verify`"
                )
            return self._advance(head, new_leaves, epoch)

    def open_epoch(self, lost: Lost, epoch: int, leaves: Sequence[bytes]) -> SignedCheckpoint:
        """Give up what a recovery declares lost, and sign the restored log from its first leaf on under the name of a new epoch.

        Raises `MustStop`: `head_changed` when the head is not the one that the recovery cites, or the epoch is not a later one, and as `sign` does.
        """
        with self._locked():
            head = self._load()
            cited = Checkpoint(lost.old_origin, lost.head_size, lost.head_root)
            if head.checkpoint != cited or epoch <= epoch_of(self.origin, cited.origin):
                raise MustStop(
                    "head_changed", "the signer's head file", "somebody else signed meanwhile; look at `nestaudience status`"
                )
            return self._advance(_Head(cited, Frontier(), (*head.past, lost)), leaves, epoch)

    def sign_manifest(self, digest: bytes) -> str:
        """A note over the SHA-256 of an exported bundle's manifest, and over nothing else: its name and its second line are no checkpoint's.

        It changes no head. Raises ValueError for what is no digest.
        """
        if len(digest) != HASH_SIZE:
            raise ValueError("a digest has 32 bytes")
        name = f"{self.origin}/bundle"
        text = f"{name}\nsha256:{digest.hex()}\n"
        return signed_note(text, name, self._private)

    def _advance(self, head: "_Head", leaves: Sequence[bytes], epoch: int) -> SignedCheckpoint:
        for leaf in leaves:
            head.frontier.append(leaf)
        signed = self._signed(Checkpoint(epoch_name(self.origin, epoch), head.frontier.size, head.frontier.root()))
        self._store(signed, head)
        return signed

    def _signed(self, checkpoint: Checkpoint) -> SignedCheckpoint:
        return SignedCheckpoint(checkpoint, signed_note(checkpoint.text(), checkpoint.origin, self._private))

    def _load(self) -> "_Head":
        head: _Head | None = None
        try:
            head = self._parse(json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            head = _Head(Checkpoint(self.origin, 0, EMPTY_ROOT), Frontier(), ())
        except (OSError, ValueError, TypeError, KeyError, AttributeError, MustStop):
            head = None
        if head is None:
            raise MustStop(
                "head_unreadable", "the signer's head file", "restore it from its copy; without it nothing more is signed"
            )
        return head

    def _parse(self, document: dict[str, Any]) -> "_Head":
        checkpoint = open_note(document["note"], self.verifiers).checkpoint
        frontier = Frontier.from_bytes(bytes.fromhex(document["frontier"]))
        past = [lost for fields in document.get("past", ()) if (lost := Lost.parse(fields)) is not None]
        if frontier.size != checkpoint.size or frontier.root() != checkpoint.root or not epoch_of(self.origin, checkpoint.origin):
            raise ValueError("the frontier does not give the root, or it is another log's")
        return _Head(checkpoint, frontier, tuple(past))

    def _store(self, signed: SignedCheckpoint, head: "_Head") -> None:
        fresh = self._path.with_name(self._path.name + ".new")
        document: dict[str, object] = {"note": signed.note, "frontier": head.frontier.to_bytes().hex()}
        if head.past:
            document["past"] = [lost.fields() for lost in head.past]
        text = json.dumps(document, ensure_ascii=False)
        failed = False
        try:
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
            sync_directory(self._path.parent)
        except OSError:
            failed = True
        if failed:
            raise _unwritable()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        handle = -1
        try:
            handle = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            if handle >= 0:
                os.close(handle)
            handle = -1
        if handle < 0:
            raise _unwritable()
        try:
            yield
        finally:
            os.close(handle)


@dataclass(frozen=True, slots=True)
class _Head:
    """The head file's content: the last checkpoint, the frontier that leads on from it, and what recoveries gave up."""

    checkpoint: Checkpoint
    frontier: Frontier
    past: tuple[Lost, ...]


def epoch_name(origin: str, epoch: int) -> str:
    """The name under which an epoch of a log is signed; the first has the log's own."""
    return origin if epoch == 1 else f"{origin}/{epoch}"


def epoch_of(origin: str, name: str) -> int:
    """Which epoch of this log has this name, counted from 1; 0 for another log's name."""
    if name == origin:
        return 1
    number = name.removeprefix(f"{origin}/")
    return int(number) if number != name and re.fullmatch("[1-9][0-9]{0,8}", number) and number != "1" else 0


def glance(path: Path, origin: str) -> tuple[int, int] | None:
    """(epoch, size) that a head file names; None without a readable one. No signature is checked: enough to warn, never to trust."""
    try:
        checkpoint = _parse_text(split_note(json.loads(path.read_text(encoding="utf-8"))["note"])[0])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        checkpoint = None
    return None if checkpoint is None else (epoch_of(origin, checkpoint.origin), checkpoint.size)


@lru_cache(maxsize=64)
def _public_key(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public)


def check_origin(name: str) -> None:
    """Raise ValueError unless the text can name a log: no white space, no plus sign, not empty."""
    if not name or "+" in name or any(character.isspace() for character in name) or not name.isprintable():
        raise ValueError("an origin has no white space and no plus sign")


def _unwritable() -> MustStop:
    return MustStop(
        "head_unwritable", "the signer's head file", "make its directory writable for this user, with room on the disk"
    )


def signed_note(text: str, name: str, private: Ed25519PrivateKey) -> str:
    """A text of whole lines and its signature under a name: https://c2sp.org/signed-note (read 2026-11-22)."""
    value = note_key_id(name, public_bytes(private.public_key())) + private.sign(text.encode())
    return f"{text}\n{_MARK}{name} {b64encode(value).decode()}\n"


def split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """The signed text and (name, key id and signature) of each signature line; no lines when any is malformed."""
    text, blank, rest = note.partition("\n\n")
    lines = rest.split("\n")
    if not blank or lines.pop() != "":
        return "", []
    signatures = []
    for line in lines:
        name, space, value = line.removeprefix(_MARK).partition(" ")
        try:
            signature = _unbase64(value)
        except ValueError:
            return "", []
        if not line.startswith(_MARK) or not space or not name or len(signature) < 5:
            return "", []
        signatures.append((name, signature))
    return text + "\n", signatures


def _parse_text(text: str) -> Checkpoint | None:
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[1].isascii() or not lines[1].isdecimal() or str(int(lines[1])) != lines[1]:
        return None
    try:
        return Checkpoint(lines[0], int(lines[1]), _unbase64(lines[2]))
    except ValueError:
        return None


def _unbase64(text: str) -> bytes:
    """Standard base64 in its one canonical spelling: unused bits are zero, so that no two texts mean the same bytes."""
    try:
        value = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if not value or b64encode(value).decode() != text:
        raise ValueError("not base64")
    return value
