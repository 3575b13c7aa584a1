"""Signed receipts: a note over the digest of a text, by the key that signs the log. It writes no text and knows no person."""

from collections.abc import Sequence
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nestaudience.ledger.checkpoint import Verifier, signed_note, split_note

_FIRST = "nestaudience receipt"


def digest_of(text: str) -> str:
    """SHA-256 of a receipt's text in UTF-8, as hexadecimal."""
    return sha256(text.encode()).hexdigest()


def sign_receipt(text: str, key: Ed25519PrivateKey, origin: str) -> str:
    """The signed note over a receipt's text: https://c2sp.org/signed-note (read 2026-11-29). Its first line can begin no checkpoint."""
    return signed_note(_said(text), origin, key)


def receipt_holds(text: str, note: str, verifiers: Sequence[Verifier]) -> bool:
    """True when one of these keys signed exactly this text."""
    said, signatures = split_note(note)
    if said != _said(text):
        return False
    return any(
        each.name == name and each.key_id == value[:4] and each.signed(said, value[4:])
        for name, value in signatures
        for each in verifiers
    )


def _said(text: str) -> str:
    return f"{_FIRST}\n{digest_of(text)}\n"
