"""The address rule on any text: the two forms agree, it is a fixed point, and Google's own formatter agrees where both accept."""

import hashlib
import unicodedata

import pyarrow as pa
from google.ads.datamanager_util import Formatter
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nestaudience.hashing.addresses import WHITE_SPACE, Refusal, canonical_one, normalise, normalise_one
from nestaudience.hashing.columns import hash_addresses
from nestaudience.hashing.digests import Addresses
from nestaudience.hashing.tokens import Tokens
from nestaudience.vocabulary import Recipient

GOOGLE, META = Recipient.GOOGLE, Recipient.META
TOKENS = Tokens(b"an index key of thirty-two bytes")

ASCII_TRAPS = "aAbZ09.+-_\"'!~ \t\n\v\f\r\x00\x1c\x1f\x7f@"
UNICODE_TRAPS = "åÅ\u030a\u0130\u0331\u030cJjßẞΣσ\u212a\u0345\u00a0\u0085\u2003\u200b\ufeff\u00ad\uff20\uff0e\uff0bа用\U0001f600"
DOMAINS = ["gmail.com", "GMail.Com", "googlemail.com", "gmail.com.", "example.se", "x.y", "räksmörgås.se", "localhost", ".se", ""]


def addresses_of(alphabet: str) -> st.SearchStrategy[str]:
    """Texts near the rule's edges: a local part of traps, mostly one at sign, often Gmail's domain, sometimes padded."""
    part = st.text(alphabet, max_size=6)
    return st.builds(
        "".join, st.tuples(part, part, st.sampled_from(["@", "@", "@", "", "@@"]), st.sampled_from(DOMAINS) | part, part)
    )


ASCII = addresses_of(ASCII_TRAPS).filter(str.isascii) | st.text(st.characters(max_codepoint=127), max_size=20)
ANY = ASCII | addresses_of(ASCII_TRAPS + UNICODE_TRAPS) | st.text(max_size=20)


def text_of(form: str | Refusal) -> str | None:
    return None if isinstance(form, Refusal) else form


@settings(max_examples=250, deadline=None)
@given(st.lists(st.none() | ANY, max_size=30), st.integers(0, 5))
def test_the_vectorised_rule_equals_the_reference(texts: list[str | None], start: int) -> None:
    normalised = normalise(Addresses(pa.array(texts, pa.string()).slice(start)))
    texts = texts[start:]
    for recipient in Recipient:
        expected = [None if text is None else text_of(normalise_one(text, recipient)) for text in texts]
        assert normalised.form(recipient).reveal().to_pylist() == expected
    assert normalised.canonical().reveal().to_pylist() == [
        None if text is None else text_of(canonical_one(text)) for text in texts
    ]


@settings(max_examples=400, deadline=None)
@given(ANY)
@example("J\u030c@x.se")
@example("\u0130\u0331@x.se")
def test_the_rule_is_a_fixed_point_and_blind_to_padding_and_normal_forms(text: str) -> None:
    for rule in (lambda t: normalise_one(t, GOOGLE), lambda t: normalise_one(t, META), canonical_one):
        form = rule(text)
        assert rule(f" \u2003{text}\n") == form
        assert rule(unicodedata.normalize("NFD", text)) == form
        if isinstance(form, str):
            assert rule(form) == form


@settings(max_examples=400, deadline=None)
@given(ANY)
def test_the_three_forms_hang_together(text: str) -> None:
    meta, google, canonical = normalise_one(text, META), normalise_one(text, GOOGLE), canonical_one(text)
    if isinstance(meta, Refusal):
        assert google is canonical is meta
        return
    assert meta.count("@") == 1
    assert not any(character in WHITE_SPACE or unicodedata.category(character) in {"Cc", "Cf", "Cs"} for character in meta)
    assert meta == unicodedata.normalize("NFC", meta)
    local, _, domain = meta.partition("@")
    assert local
    assert all(domain.split("."))
    assert "." in domain
    assert isinstance(canonical, str)
    if isinstance(google, str):
        assert canonical_one(google) == canonical
    if domain not in {"gmail.com", "googlemail.com"}:
        assert meta == google == canonical


@settings(max_examples=150, deadline=None)
@given(st.lists(st.none() | ANY, max_size=30))
def test_nothing_that_is_refused_is_hashed(texts: list[str | None]) -> None:
    hashed = hash_addresses(Addresses(pa.array(texts, pa.string())), TOKENS, Recipient)
    for recipient in Recipient:
        forms = [None if text is None else text_of(normalise_one(text, recipient)) for text in texts]
        expected = [None if form is None else hashlib.sha256(form.encode()).digest() for form in forms]
        assert hashed.digests[recipient].column.to_pylist() == expected
        assert hashed.unusable[recipient].to_pylist() == [
            text is not None and form is None for text, form in zip(texts, forms, strict=True)
        ]


def google_formats(text: str) -> str | None:
    """What Google's own formatter makes of an address; None when it raises."""
    try:
        return Formatter().format_email_address(text)
    except ValueError:
        return None


@settings(max_examples=600, deadline=None)
@given(ASCII)
def test_googles_formatter_agrees_on_every_ascii_address_that_our_rule_accepts(text: str) -> None:
    form = normalise_one(text, GOOGLE)
    if isinstance(form, str):
        assert google_formats(text) == form


def test_where_googles_formatter_accepts_more_and_why_we_refuse() -> None:
    differences = {
        # it trims and forbids only what Python calls space, and passes other control characters on
        "\x00anna@example.se": Refusal.CONTROL,
        "an\x7fna@example.se": Refusal.CONTROL,
        # U+001C to U+001F are space for Python's strip, and have no White_Space property
        "anna@example.se\x1f": Refusal.CONTROL,
        # it does not look at the domain: no mailbox has such a name, so no account can match
        "anna@localhost": Refusal.DOMAIN_WITHOUT_DOT,
        "anna@example.se.": Refusal.EMPTY_LABEL,
        # it does not look for characters that nobody can see, which come from copying and never match
        "anna\u200b@example.se": Refusal.FORMAT,
    }
    for text, refusal in differences.items():
        assert google_formats(text) is not None
        assert normalise_one(text, GOOGLE) is refusal


def test_where_both_accept_and_differ() -> None:
    # Google's library knows no normal forms: the same letter typed as two characters is another address to it
    assert google_formats("a\u030asa@example.se") == "a\u030asa@example.se"
    assert normalise_one("a\u030asa@example.se", GOOGLE) == "\u00e5sa@example.se"
