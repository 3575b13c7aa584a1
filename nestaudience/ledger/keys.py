"""The keys of an installation: made, kept in one private file or one environment variable, read, rotated.

Keys never live in the ledger's database. This module decides nothing about people and signs nothing; it hands keys to the code
that does. No key can be printed or pickled.

The file is JSON: `format`, one 64-hex value for each use, `retired` (use -> list of 64-hex values, newest first) for the secret
keys, and `retired_signing_public` (list of 64-hex public keys) for the signing key, whose old secrets are not kept.
"""

import json
import os
import re
import stat
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, NoReturn, final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from nestaudience.errors import NeedsFix
from nestaudience.vocabulary import KeyUse as KeyUse  # handed on: whoever has keys has their uses

Randomness = Callable[[int], bytes]
"""Gives this many unpredictable bytes; `os.urandom` outside tests."""

FORMAT: Final = "nestaudience-keys/1"
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_ED25519: Final = b"\x01"

_SECRET_USES: Final = tuple(use for use in KeyUse if use is not KeyUse.SIGNING)


class _Unprintable:
    """A value that refuses to leave the process."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("keys cannot be pickled or copied")

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, spec: str) -> str:
        return repr(self)


@final
class SecretKey(_Unprintable):
    """32 secret bytes for one use. `key_id` is the first 8 hex characters of SHA-256 over the use and the key: not secret."""

    __slots__ = ("_value", "key_id", "use")

    def __init__(self, use: KeyUse, value: bytes) -> None:
        if len(value) != 32:
            raise ValueError("a key has 32 bytes")
        self.use = use
        self._value = value
        self.key_id = sha256(b"nestaudience/" + use.value.encode() + b"\x00" + value).hexdigest()[:8]

    def reveal(self) -> bytes:
        """The key itself, for the cipher or hash that uses it."""
        return self._value

    def __repr__(self) -> str:
        return f"<{self.use.value} key {self.key_id}>"


@final
@dataclass(frozen=True, slots=True, repr=False, eq=False)
class KeyRing(_Unprintable):
    """All keys of an installation. `retired` holds older keys by use, newest first: they read, and never write."""

    index: SecretKey
    suppression: SecretKey
    seal: SecretKey
    master: SecretKey
    name: SecretKey
    signing: SecretKey
    retired: tuple[SecretKey, ...] = ()
    retired_signing_public: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        current = [self.current(use) for use in KeyUse]
        if any(key.use is not use for key, use in zip(current, KeyUse, strict=True)):
            raise ValueError("a key stands in another key's place")
        values = {key.reveal() for key in (*current, *self.retired)}
        if len(values) != len(current) + len(self.retired):
            raise ValueError("two uses share a key")
        if any(key.use is KeyUse.SIGNING for key in self.retired):
            raise ValueError("a retired signing key is kept by its public half only")
        if any(len(public) != 32 for public in self.retired_signing_public):
            raise ValueError("a public key has 32 bytes")

    def current(self, use: KeyUse) -> SecretKey:
        """The key that writes for this use."""
        by_use: dict[KeyUse, SecretKey] = {
            KeyUse.INDEX: self.index,
            KeyUse.SUPPRESSION: self.suppression,
            KeyUse.SEAL: self.seal,
            KeyUse.MASTER: self.master,
            KeyUse.NAME: self.name,
            KeyUse.SIGNING: self.signing,
        }
        return by_use[use]

    def all_of(self, use: KeyUse) -> tuple[SecretKey, ...]:
        """The current key and the retired ones of this use, newest first: every key under which an old row may stand."""
        return (self.current(use), *(key for key in self.retired if key.use is use))

    def by_id(self, use: KeyUse, key_id: str) -> SecretKey | None:
        """The key of this use with this id, or None when it is not on the ring."""
        return next((key for key in self.all_of(use) if key.key_id == key_id), None)

    def signing_key(self) -> Ed25519PrivateKey:
        """The private key that signs checkpoints."""
        return Ed25519PrivateKey.from_private_bytes(self.signing.reveal())

    def older_signing_keys(self) -> tuple[Ed25519PublicKey, ...]:
        """Public halves of retired signing keys: they verify old checkpoints."""
        return tuple(Ed25519PublicKey.from_public_bytes(public) for public in self.retired_signing_public)

    def vkeys(self, origin: str) -> tuple[str, ...]:
        """Verifier keys for this log in the C2SP signed-note text form, the current one first. Public."""
        public = (public_bytes(self.signing_key().public_key()), *self.retired_signing_public)
        return tuple(vkey(origin, value) for value in public)

    def key_ids(self) -> dict[str, str]:
        """Use -> id of its current key, for `keys show` and for entries."""
        return {use.value: self.current(use).key_id for use in KeyUse}

    def rotated(self, use: KeyUse, randomness: Randomness) -> "KeyRing":
        """A ring on which this use has a new key and the old one is retired."""
        fresh = SecretKey(use, randomness(32))
        keys = {name: (fresh if name is use else self.current(name)) for name in KeyUse}
        if use is KeyUse.SIGNING:
            publics = (public_bytes(self.signing_key().public_key()), *self.retired_signing_public)
            return _ring(keys, self.retired, publics)
        return _ring(keys, (self.current(use), *self.retired), self.retired_signing_public)

    def to_text(self) -> str:
        """The ring as the secret text of a key file or environment variable."""
        document: dict[str, object] = {"format": FORMAT}
        document |= {use.value: self.current(use).reveal().hex() for use in KeyUse}
        document["retired"] = {use.value: [key.reveal().hex() for key in self.all_of(use)[1:]] for use in _SECRET_USES}
        document["retired_signing_public"] = [public.hex() for public in self.retired_signing_public]
        return json.dumps(document, indent=1) + "\n"

    def __repr__(self) -> str:
        return f"<KeyRing {self.key_ids()}>"


def _ring(keys: dict[KeyUse, SecretKey], retired: tuple[SecretKey, ...], publics: tuple[bytes, ...]) -> KeyRing:
    return KeyRing(
        index=keys[KeyUse.INDEX],
        suppression=keys[KeyUse.SUPPRESSION],
        seal=keys[KeyUse.SEAL],
        master=keys[KeyUse.MASTER],
        name=keys[KeyUse.NAME],
        signing=keys[KeyUse.SIGNING],
        retired=retired,
        retired_signing_public=publics,
    )


def public_bytes(key: Ed25519PublicKey) -> bytes:
    """The 32 bytes of a public key."""
    return key.public_bytes_raw()


def note_key_id(name: str, public: bytes) -> bytes:
    """The 4-byte key id of an Ed25519 key in a signed note: https://c2sp.org/signed-note (read 2026-11-22)."""
    return sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def vkey(name: str, public: bytes) -> str:
    """The verifier key `name+id+base64(type || key)`: https://c2sp.org/signed-note (read 2026-11-22)."""
    return f"{name}+{note_key_id(name, public).hex()}+{b64encode(_ED25519 + public).decode()}"


def new_keys(randomness: Randomness) -> KeyRing:
    """A fresh ring; every key gets 32 bytes of its own."""
    return _ring({use: SecretKey(use, randomness(32)) for use in KeyUse}, (), ())


def create_keys(path: Path, randomness: Randomness) -> KeyRing:
    """Make keys and write them to a new private file (0600, in a directory that is 0700).

    Raises `NeedsFix`: `keys_exist` (nothing is overwritten), `keys_directory_open`, `keys_unwritable`.
    """
    ring = new_keys(randomness)
    refusal: NeedsFix | None = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(path.parent.stat().st_mode) & 0o077:
            refusal = NeedsFix("keys_directory_open", "the key file's directory", "close it to others: chmod 700")
        else:
            _write_new(path, ring.to_text())
    except FileExistsError:
        refusal = NeedsFix("keys_exist", "the key file", "keep the keys that are there; use `keys rotate` for new ones")
    except OSError:
        refusal = NeedsFix("keys_unwritable", "the key file", "choose a directory that this user may write")
    if refusal is not None:
        raise refusal
    return ring


def rotate_key(path: Path, use: KeyUse, randomness: Randomness) -> KeyRing:
    """Give one use a new key in the key file; the old one is retired and stays readable. Raises as `load_keys` does."""
    ring = load_keys(path).rotated(use, randomness)
    fresh = path.with_name(path.name + ".new")
    failed = False
    try:
        fresh.unlink(missing_ok=True)
        _write_new(fresh, ring.to_text())
        fresh.replace(path)
        sync_directory(path.parent)
    except OSError:
        failed = True
    if failed:
        raise NeedsFix("keys_unwritable", "the key file", "choose a directory that this user may write")
    return ring


def load_keys(path: Path) -> KeyRing:
    """Read the key file.

    Raises `NeedsFix`: `keys_missing`, `keys_readable_by_others`, `keys_malformed`.
    """
    text = ""
    refusal: NeedsFix | None = None
    try:
        with path.open("r", encoding="utf-8") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                refusal = NeedsFix(
                    "keys_readable_by_others", "the key file", "close it to others: chmod 600, then rotate the keys"
                )
            else:
                text = file.read()
    except UnicodeDecodeError:
        refusal = _malformed()
    except OSError:
        refusal = NeedsFix("keys_missing", "the key file", "make keys with `nestaudience keys init`, or name the right file")
    if refusal is not None:
        raise refusal
    return keys_from_text(text)


def keys_from_text(text: str) -> KeyRing:
    """Read a ring from the text of a key file or environment variable. Raises `NeedsFix`: `keys_malformed`."""
    ring: KeyRing | None = None
    try:
        ring = _parse(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        ring = None
    if ring is None:
        raise _malformed()
    return ring


def sync_directory(path: Path) -> None:
    """Make renames and new names in a directory durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _parse(document: dict[str, object]) -> KeyRing:
    expected = {"format", "retired", "retired_signing_public", *(use.value for use in KeyUse)}
    if document["format"] != FORMAT or set(document) - expected:
        raise ValueError("not a key file of this version")
    retired = document.get("retired", {})
    publics = document.get("retired_signing_public", [])
    if not isinstance(retired, dict) or not isinstance(publics, list):
        raise TypeError("retired keys are lists by use")
    return _ring(
        {use: SecretKey(use, _bytes(document[use.value])) for use in KeyUse},
        tuple(SecretKey(KeyUse(use), _bytes(value)) for use, values in retired.items() for value in values),
        tuple(_bytes(value) for value in publics),
    )


def _bytes(value: object) -> bytes:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ValueError("a key is 64 lower-case hexadecimal characters")
    return bytes.fromhex(value)


def _malformed() -> NeedsFix:
    return NeedsFix("keys_malformed", "the keys", "restore the key file or variable from its backup; it cannot be read")


def _write_new(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.parent)
