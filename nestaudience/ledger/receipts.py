"""Signed receipts: a note over the digest of a text, by the key that signs the log. It writes no text and knows no person."""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nestaudience.ledger.checkpoint import Verifier
from nestaudience.ledger.keys import note_key_id, public_bytes

_FIRST = "nestaudience receipt"


def digest_of(text: str) -> str:
    """SHA-256 of a receipt's text in UTF-8, as hexadecimal."""
    return sha256(text.encode()).hexdigest()


def sign_receipt(text: str, key: Ed25519PrivateKey, origin: str) -> str:
    """The signed note over a receipt's text: https://c2sp.org/signed-note (read 2026-11-29). Its first line can begin no checkpoint."""
    said = f"{_FIRST}\n{digest_of(text)}\n"
    value = note_key_id(origin, public_bytes(key.public_key())) + key.sign(said.encode())
    return f"{said}\n\u2014 {origin} {b64encode(value).decode()}\n"


def receipt_holds(text: str, note: str, verifiers: Sequence[Verifier]) -> bool:
    """True when one of these keys signed exactly this text."""
    said, _, line = note.partition("\n\n")
    words = line.rstrip("\n").split(" ")
    if f"{said}\n" != f"{_FIRST}\n{digest_of(text)}\n" or len(words) != 3 or words[0] != "\u2014":
        return False
    try:
        value = b64decode(words[2], validate=True)
    except ValueError:
        return False
    mine = [each for each in verifiers if each.name == words[1] and each.key_id == value[:4]]
    return any(each.signed(f"{said}\n", value[4:]) for each in mine)
