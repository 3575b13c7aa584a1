"""Signed checkpoints: the note's form, every flipped bit, and a signer that never contradicts itself."""

from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nestaudience.errors import MustStop, NeedsFix
from nestaudience.ledger.checkpoint import Checkpoint, SignedCheckpoint, Signer, Verifier, open_note
from nestaudience.ledger.keys import public_bytes, vkey
from nestaudience.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash, root_of

ORIGIN = "nestit.example/nestaudience/sandbox"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LEAVES = [leaf_hash(b"entry %d" % number) for number in range(20)]


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(PRIVATE, ORIGIN, tmp_path / "head")


def refusal(note: str, *verifiers: Verifier) -> str:
    with pytest.raises(MustStop) as caught:
        open_note(note, verifiers)
    assert caught.value.__context__ is None
    return caught.value.code


def test_the_form_of_a_signed_note_is_the_public_one() -> None:
    # The example in the documentation of Go's package golang.org/x/mod/sumdb/note.
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    value = b64decode("x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=")
    verifier = Verifier.parse(key)
    assert verifier.key_id == value[:4]
    assert verifier.signed(text, value[4:])
    assert not verifier.signed(text + " ", value[4:])
    assert vkey(verifier.name, verifier.public) == key


def test_a_checkpoint_is_three_lines_a_blank_one_and_a_signature(signer: Signer) -> None:
    note = signer.sign(0, LEAVES[:3]).note
    lines = note.split("\n")
    assert lines[:4] == [ORIGIN, "3", b64encode(root_of(b"".join(LEAVES[:3]))).decode(), ""]
    assert lines[4].startswith(f"— {ORIGIN} ")
    assert len(b64decode(lines[4].split(" ")[2])) == 4 + 64
    assert lines[5:] == [""]
    opened = open_note(note, [signer.verifier])
    assert (opened.size, opened.root, opened.checkpoint.origin) == (3, root_of(b"".join(LEAVES[:3])), ORIGIN)


def test_every_flipped_bit_of_a_note_is_found(signer: Signer) -> None:
    note = signer.sign(0, LEAVES[:5]).note.encode()
    for place in range(len(note)):
        for bit in range(8):
            bad = (note[:place] + bytes([note[place] ^ 1 << bit]) + note[place + 1 :]).decode(errors="replace")
            assert refusal(bad, signer.verifier) in {"note_malformed", "note_forged", "note_unsigned"}


def test_notes_that_are_no_checkpoints(signer: Signer) -> None:
    note = signer.sign(0, LEAVES[:5]).note
    text, line = note.split("\n\n")
    root = text.split("\n")[2]
    for bad in (
        "",
        "\n\n",
        text,
        text + "\n\n",
        note.rstrip("\n"),
        note + "\n",
        note + "x",
        note.replace("\n5\n", "\n05\n"),
        note.replace("\n5\n", "\n-5\n"),
        note.replace("\n5\n", "\n٥\n"),
        note.replace("\n5\n", f"\n{2**53}\n"),
        note.replace(root, root[:-2] + "=="),
        note.replace(root, root + "\nextension"),
        note.replace("— ", "- "),
        f"{text}\n\n— {ORIGIN}\n",
        f"{text}\n\n— {ORIGIN} AAAA\n",
        f"{text}\n\n{line}— \n",
    ):
        assert refusal(bad, signer.verifier) == "note_malformed"


def test_a_signature_has_one_spelling(signer: Signer) -> None:
    note = signer.sign(0, LEAVES[:5]).note
    last = note[-3]
    other = next(
        letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" if _same_bytes(note, letter, last)
    )
    assert refusal(f"{note[:-3]}{other}{note[-2:]}", signer.verifier) == "note_malformed"


def _same_bytes(note: str, letter: str, last: str) -> bool:
    line = note.rsplit(" ", 1)[1].strip()
    return letter != last and b64decode(line[:-2] + letter + "=") == b64decode(line)


def test_who_may_sign(signer: Signer, tmp_path: Path) -> None:
    note = signer.sign(0, LEAVES[:5]).note
    other = Signer(Ed25519PrivateKey.from_private_bytes(bytes(32)), ORIGIN, tmp_path / "other")
    witness = "— witness.example/w AAAAAAAAAAAAAAAAAAAA\n"
    assert refusal(note) == "note_unsigned"
    assert refusal(note, other.verifier) == "note_unsigned"
    assert refusal(note, Verifier("another.example/log", signer.verifier.public)) == "note_unsigned"
    assert open_note(note + witness, [signer.verifier]).size == 5
    text = note.split("\n\n")[0]
    both = note + other.sign(0, LEAVES[:5]).note.split("\n\n")[1]
    assert open_note(both, [signer.verifier, other.verifier]).size == 5
    forged = note + other.sign(5, LEAVES[5:6]).note.split("\n\n")[1]
    assert text in forged
    assert refusal(forged, signer.verifier, other.verifier) == "note_forged"


def test_a_key_does_not_sign_for_another_log(tmp_path: Path) -> None:
    signer = Signer(PRIVATE, "another.example/log", tmp_path / "head")
    text = Checkpoint(ORIGIN, 1, LEAVES[0]).text()
    line = b64encode(signer.verifier.key_id + PRIVATE.sign(text.encode())).decode()
    assert refusal(f"{text}\n— another.example/log {line}\n", signer.verifier) == "note_forged"


@pytest.mark.parametrize(
    "text", ["", "x", "a+b", "a+00000000+AAAA", "a+zz+!", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"]
)
def test_verifier_keys_that_are_none(text: str) -> None:
    with pytest.raises(NeedsFix) as caught:
        Verifier.parse(text)
    assert caught.value.code == "vkey_malformed"
    assert caught.value.__context__ is None


@pytest.mark.parametrize("origin", ["", "two words", "plus+sign", "new\nline", "nul\x00"])
def test_origins_that_cannot_name_a_log(origin: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="origin"):
        Signer(PRIVATE, origin, tmp_path / "head")
    with pytest.raises(ValueError, match="origin"):
        Checkpoint(origin, 0, EMPTY_ROOT)


def test_the_signer_extends_and_never_takes_back(signer: Signer) -> None:
    assert signer.head() == Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    signer.sign(0, LEAVES[:7])
    signed = signer.sign(7, LEAVES[7:12])
    assert signer.head() == signed.checkpoint == Checkpoint(ORIGIN, 12, root_of(b"".join(LEAVES[:12])))
    for first, code in ((0, "ledger_behind_head"), (11, "ledger_behind_head"), (13, "ledger_inconsistent")):
        with pytest.raises(MustStop) as caught:
            signer.sign(first, LEAVES[first:15])
        assert caught.value.code == code
    assert signer.head() == signed.checkpoint


def test_signing_nothing_new_gives_the_same_bytes(signer: Signer) -> None:
    first = signer.sign(0, LEAVES[:7])
    assert signer.sign(7, []) == first
    assert isinstance(first, SignedCheckpoint)


def test_the_head_outlives_the_process_and_rules_out_a_second_story(tmp_path: Path) -> None:
    one, two = (Signer(PRIVATE, ORIGIN, tmp_path / "head") for _ in range(2))
    one.sign(0, LEAVES[:4])
    two.sign(4, LEAVES[4:6])
    with pytest.raises(MustStop) as caught:
        one.sign(4, LEAVES[8:9])
    assert caught.value.code == "ledger_behind_head"
    assert one.head().size == 6
    assert (tmp_path / "head").stat().st_mode & 0o777 == 0o600


def test_a_changed_head_file_stops_the_signer(signer: Signer, tmp_path: Path) -> None:
    signer.sign(0, LEAVES[:4])
    path = tmp_path / "head"
    good = path.read_bytes()
    for place in range(len(good)):
        bad = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        path.write_bytes(bad)
        with pytest.raises(MustStop) as caught:
            signer.head()
        assert caught.value.code == "head_unreadable"
        assert caught.value.__context__ is None
    for bad in (b"", b"[]", b"{}", good[:-40], b"\xff", b'{"note": 1, "frontier": ""}'):
        path.write_bytes(bad)
        with pytest.raises(MustStop, match="head_unreadable"):
            signer.sign(4, LEAVES[4:5])
    path.write_bytes(good)
    assert signer.sign(4, LEAVES[4:5]).size == 5


def test_nothing_is_signed_when_the_head_cannot_be_kept(tmp_path: Path) -> None:
    signer = Signer(PRIVATE, ORIGIN, tmp_path / "missing" / "head")
    with pytest.raises(MustStop, match="head_unwritable"):
        signer.sign(0, LEAVES[:1])
    blocked = Signer(PRIVATE, ORIGIN, tmp_path / "head")
    (tmp_path / "head.new").mkdir()
    with pytest.raises(MustStop, match="head_unwritable"):
        blocked.sign(0, LEAVES[:1])
    assert blocked.head().size == 0


def test_a_rotated_key_continues_the_head_of_the_old_one(tmp_path: Path) -> None:
    Signer(PRIVATE, ORIGIN, tmp_path / "head").sign(0, LEAVES[:3])
    fresh = Ed25519PrivateKey.from_private_bytes(bytes(32))
    with pytest.raises(MustStop, match="head_unreadable"):
        Signer(fresh, ORIGIN, tmp_path / "head").head()
    signer = Signer(fresh, ORIGIN, tmp_path / "head", older=[PRIVATE.public_key()])
    signed = signer.sign(3, LEAVES[3:5])
    assert (
        open_note(signed.note, [Verifier(ORIGIN, public_bytes(fresh.public_key()))]).root
        == Frontier.of(b"".join(LEAVES[:5])).root()
    )
    assert "Signer" in repr(signer)
