"""The address rule on addresses chosen by hand, each with the answer that was worked out from the rule and not from the code.

Sources of the golden values are named at each table. Both forms of the rule, the reference and the vectorised, get every row.
"""

import hashlib
import unicodedata

import pyarrow as pa
import pytest

from nestaudience.hashing.addresses import WHITE_SPACE, Refusal, canonical_one, normalise, normalise_one
from nestaudience.hashing.digests import Addresses
from nestaudience.vocabulary import Recipient

GOOGLE, META = Recipient.GOOGLE, Recipient.META

GOOGLE_PAGE = [
    # https://developers.google.com/data-manager/api/devguides/concepts/formatting, the two examples in the e-mail row, 2026
    ("cloudy.sanfrancisco+shopping@gmail.com", "cloudysanfrancisco@gmail.com"),
    ("user.name+NYC@Example.com", "user.name+nyc@example.com"),
    # googleads/data-manager-python, tests/formatter_test.py at 03ef7ca
    ("QuinnY@EXAMPLE.com", "quinny@example.com"),
    ("Jefferson.Loves.hiking@gmail.com", "jeffersonloveshiking@gmail.com"),
    ("Jefferson.LOVES.Hiking@googlemail.com", "jeffersonloveshiking@googlemail.com"),
    ("Cloudy.SanFrancisco+shopping@googlemail.com", "cloudysanfrancisco@googlemail.com"),
]
DIGESTS = [
    # the same test file of Google's
    ("  ALEXZ@example.com   ", GOOGLE, "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a"),
    # https://developers.facebook.com/docs/marketing-api/audiences/guides/custom-audiences, section on hashing, copy of 2026-09-12
    (" Mary@Example.com\t", META, "f1904cf1a9d73a55fa5de0ac823c4403ded71afd4c3248d00bdcd0866552bb79"),
]

SAME = "same"
TABLE = [
    # text, Meta's form or refusal, Google's (SAME: as Meta's), canonical (SAME: as Google's)
    ("anna@example.se", "anna@example.se", SAME, SAME),
    (" \t\n\v\f\rAnna@Example.SE\u3000\u2028\u0085", "anna@example.se", SAME, SAME),
    ("Ann.A+x.y+z@GMail.com", "ann.a+x.y+z@gmail.com", "anna@gmail.com", SAME),
    ("Ann.A+x@GoogleMail.com", "ann.a+x@googlemail.com", "anna@googlemail.com", "anna@gmail.com"),
    ("a.b+c@gmail.com.se", "a.b+c@gmail.com.se", SAME, SAME),
    ("a.b+c@mail.gmail.com", "a.b+c@mail.gmail.com", SAME, SAME),
    ("a.b+c@notgmail.com", "a.b+c@notgmail.com", SAME, SAME),
    ("+only@gmail.com", "+only@gmail.com", Refusal.EMPTY_LOCAL, "+only@gmail.com"),
    ("...@googlemail.com", "...@googlemail.com", Refusal.EMPTY_LOCAL, "...@googlemail.com"),
    (".anna@example.se", ".anna@example.se", SAME, SAME),
    ("anna.@example.se", "anna.@example.se", SAME, SAME),
    ("an..na@example.se", "an..na@example.se", SAME, SAME),
    ('"anna"@example.se', '"anna"@example.se', SAME, SAME),
    ("anna@[10.0.0.1]", "anna@[10.0.0.1]", SAME, SAME),
    ("anna@-x.y", "anna@-x.y", SAME, SAME),
    ("null@null.null", "null@null.null", SAME, SAME),
    ("a" * 400 + "@" + "b" * 400 + ".se", "a" * 400 + "@" + "b" * 400 + ".se", SAME, SAME),
    # not ASCII
    ("Åsa.Öberg@Example.se", "åsa.öberg@example.se", SAME, SAME),
    ("A\u030asa@example.se", "\u00e5sa@example.se", SAME, SAME),
    ("Å.b+c@gmail.com", "å.b+c@gmail.com", "åb@gmail.com", SAME),
    ("anna@Räksmörgås.se", "anna@räksmörgås.se", SAME, SAME),
    ("anna@xn--rksmrgs-5wao1o.se", "anna@xn--rksmrgs-5wao1o.se", SAME, SAME),
    ("анна@почта.рф", "анна@почта.рф", SAME, SAME),
    ("аnna@gmail.com", "аnna@gmail.com", SAME, SAME),  # a Cyrillic first letter: mixed scripts stay as typed
    ("用户@例子.公司", "用户@例子.公司", SAME, SAME),
    ("STRAẞE@example.de", "straße@example.de", SAME, SAME),  # lower, not casefold
    ("\u212aelvin@example.se", "kelvin@example.se", SAME, SAME),  # the Kelvin sign is K in NFC
    ("\u0130@example.com", "i\u0307@example.com", SAME, SAME),
    ("\u0130\u0331@example.com", "i\u0331\u0307@example.com", SAME, SAME),  # the second NFC puts the marks in order
    ("J\u030c@example.com", "\u01f0@example.com", SAME, SAME),  # and composes what has no composed capital
    ("a@gma\u0130l.com", "a@gmai\u0307l.com", SAME, SAME),  # not gmail.com
    ("a.b+c@gmail\uff0ecom", Refusal.DOMAIN_WITHOUT_DOT, SAME, SAME),  # a full-width dot is no dot
    ("anna\uff20example.se", Refusal.AT_SIGN, SAME, SAME),  # nor a full-width at sign one
    ("a\uff0bb@gmail.com", "a\uff0bb@gmail.com", SAME, SAME),  # nor a full-width plus one
    ("anna\U0001f600@example.se", "anna\U0001f600@example.se", SAME, SAME),
    # nothing that could be an address
    ("", Refusal.AT_SIGN, SAME, SAME),
    (" \u00a0", Refusal.AT_SIGN, SAME, SAME),
    ("null", Refusal.AT_SIGN, SAME, SAME),
    ("N/A", Refusal.AT_SIGN, SAME, SAME),
    (hashlib.sha256(b"anna@example.se").hexdigest(), Refusal.AT_SIGN, SAME, SAME),  # hashed already: never hashed again
    ("anna@home@example.se", Refusal.AT_SIGN, SAME, SAME),
    ('"anna@home"@example.se', Refusal.AT_SIGN, SAME, SAME),
    ("anna@@example.se", Refusal.AT_SIGN, SAME, SAME),
    ("@example.se", Refusal.EMPTY_LOCAL, SAME, SAME),
    ("@", Refusal.EMPTY_LOCAL, SAME, SAME),
    ("anna@", Refusal.EMPTY_LABEL, SAME, SAME),
    ("anna@localhost", Refusal.DOMAIN_WITHOUT_DOT, SAME, SAME),
    ("anna@example.se.", Refusal.EMPTY_LABEL, SAME, SAME),
    ("anna@.example.se", Refusal.EMPTY_LABEL, SAME, SAME),
    ("anna@example..se", Refusal.EMPTY_LABEL, SAME, SAME),
    ("anna@.", Refusal.EMPTY_LABEL, SAME, SAME),
    ("anna @example.se", Refusal.WHITE_SPACE, SAME, SAME),
    ('"anna b"@example.se', Refusal.WHITE_SPACE, SAME, SAME),
    ("anna@\u2003example.se", Refusal.WHITE_SPACE, SAME, SAME),
    ("anna@example.se\nbo@example.se", Refusal.WHITE_SPACE, SAME, SAME),
    ("anna@example.se\x00", Refusal.CONTROL, SAME, SAME),
    ("\x00anna@example.se", Refusal.CONTROL, SAME, SAME),
    ("anna@example.se\x1c", Refusal.CONTROL, SAME, SAME),  # str.strip() would take it off
    ("\x1fanna@example.se", Refusal.CONTROL, SAME, SAME),
    ("an\x7fna@example.se", Refusal.CONTROL, SAME, SAME),
    ("an\u0080na@example.se", Refusal.CONTROL, SAME, SAME),
    ("\ufeffanna@example.se", Refusal.FORMAT, SAME, SAME),
    ("anna@example.se\u200b", Refusal.FORMAT, SAME, SAME),
    ("anna@example.se\u200b ", Refusal.FORMAT, SAME, SAME),
    ("an\u200dna@example.se", Refusal.FORMAT, SAME, SAME),
    ("an\u00adna@example.se", Refusal.FORMAT, SAME, SAME),
    ("\u202eanna@example.se", Refusal.FORMAT, SAME, SAME),
    ("an\u180ena@example.se", Refusal.FORMAT, SAME, SAME),
    ("an\U000e0041na@example.se", Refusal.FORMAT, SAME, SAME),
    ("an\u200bna", Refusal.FORMAT, SAME, SAME),
]
EXPECTED = [
    (text, meta, meta if google is SAME else google, (meta if google is SAME else google) if canonical is SAME else canonical)
    for text, meta, google, canonical in TABLE
]


@pytest.mark.parametrize(("text", "meta", "google", "canonical"), EXPECTED, ids=[repr(row[0][:40]) for row in EXPECTED])
def test_the_reference_gives_the_expected_answer(
    text: str, meta: str | Refusal, google: str | Refusal, canonical: str | Refusal
) -> None:
    assert normalise_one(text, META) == meta
    assert normalise_one(text, GOOGLE) == google
    assert canonical_one(text) == canonical


def test_the_vectorised_rule_gives_the_same_answers_in_one_column() -> None:
    normalised = normalise(Addresses(pa.array([row[0] for row in EXPECTED], pa.string())))
    for column, place in ((normalised.form(META), 1), (normalised.form(GOOGLE), 2), (normalised.canonical(), 3)):
        assert column.reveal().to_pylist() == [None if isinstance(row[place], Refusal) else row[place] for row in EXPECTED]


@pytest.mark.parametrize(("text", "expected"), GOOGLE_PAGE)
def test_googles_own_examples(text: str, expected: str) -> None:
    assert normalise_one(text, GOOGLE) == expected


@pytest.mark.parametrize(("text", "recipient", "digest"), DIGESTS)
def test_the_platforms_own_digests(text: str, recipient: Recipient, digest: str) -> None:
    form = normalise_one(text, recipient)
    assert isinstance(form, str)
    assert hashlib.sha256(form.encode()).hexdigest() == digest


def test_white_space_is_the_unicode_property_and_not_what_python_strips() -> None:
    # https://www.unicode.org/Public/16.0.0/ucd/PropList.txt, White_Space: 25 code points
    ranges = "0009-000D 0020 0085 00A0 1680 2000-200A 2028 2029 202F 205F 3000"
    points: set[str] = set()
    for part in ranges.split():
        first, _, last = part.partition("-")
        points |= {chr(point) for point in range(int(first, 16), int(last or first, 16) + 1)}
    assert set(WHITE_SPACE) == points
    assert len(WHITE_SPACE) == 25
    assert {"\x1c", "\x1d", "\x1e", "\x1f"} == {chr(point) for point in range(0x110000) if chr(point).isspace()} - points


@pytest.mark.parametrize("character", [chr(p) for p in range(0x110000) if unicodedata.category(chr(p)) in {"Cc", "Cf"}])
def test_every_control_and_format_character_is_refused_or_trimmed(character: str) -> None:
    trimmed = character in WHITE_SPACE
    assert isinstance(normalise_one(f"an{character}na@example.se", META), Refusal)
    for text in (f"{character}anna@example.se", f"anna@example.se{character}"):
        assert (normalise_one(text, META) == "anna@example.se") is trimmed


def test_a_lone_surrogate_and_bytes_that_are_no_text_are_refused() -> None:
    assert normalise_one("an\ud800na@example.se", META) is Refusal.NOT_TEXT
    raw = pa.array([b"an\xffna@example.se", b"\xc3@gmail.com", b"\xed\xa0\x80@x.se", "å@x.se".encode()], pa.binary())
    column = pa.StringArray.from_buffers(len(raw), raw.buffers()[1], raw.buffers()[2])
    normalised = normalise(Addresses(column))
    for form in (*map(normalised.form, Recipient), normalised.canonical()):
        assert form.reveal().to_pylist() == [None, None, None, "å@x.se"]


def test_a_refusal_is_not_text() -> None:
    assert not any(isinstance(refusal, str) for refusal in Refusal)
