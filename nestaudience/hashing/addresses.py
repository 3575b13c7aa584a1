"""The address rule: what a written e-mail address becomes before it is hashed, for each recipient.

Two forms of the same rule live here: `normalise_one` says it, one address at a time, and `normalise` does it for a column. ASCII
addresses take Arrow's kernels there; the others, about one in a thousand, go through the reference row by row. Nothing is hashed,
stored or sent here, and a refusal names a reason and never the address.

    all         trim White_Space; NFC; lower-case; NFC again; then refuse what no platform could match
    Google      gmail.com and googlemail.com only: drop the dots of the local part, and everything from its first plus sign
                (https://developers.google.com/data-manager/api/devguides/concepts/formatting, read 2026-11-22)
    Meta        nothing more
                (https://developers.facebook.com/docs/marketing-api/audiences/guides/custom-audiences, copy of 2026-09-12)
    canonical   Google's form with googlemail.com folded into gmail.com, else Meta's form: the same person, an internal key only

Why NFC twice: lower-casing can undo it. J with a caron has no composed capital but a composed small letter, and U+0130 becomes
an i and a dot above, which may have to change places with a mark that followed. Without the second pass one address written
in two ways would be two people, and normalising twice would not be the same as once.
"""

import unicodedata
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.hashing.digests import Addresses
from nestaudience.hashing.pattern import Flags, ascii_addresses
from nestaudience.vocabulary import Recipient

NORMALISER_VERSION: Final = f"1-unicode{unicodedata.unidata_version}"
"""The version of this rule and of the Unicode tables under it, which come with the interpreter. Logged with every transfer."""

WHITE_SPACE: Final = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
"""The characters with the Unicode property White_Space (PropList.txt). `str.strip()` would also take U+001C to U+001F."""

GMAIL_DOMAINS: Final = frozenset({"gmail.com", "googlemail.com"})


class Refusal(Enum):
    """Why an address gives no digest. Not text on purpose: a refusal must never be hashed."""

    NOT_TEXT = "not_text"
    """Bytes that are not UTF-8, or a lone surrogate."""
    WHITE_SPACE = "white_space"
    """White space inside the address."""
    CONTROL = "control"
    FORMAT = "format"
    """A character of category Cf: zero-width, direction marks, soft hyphen and the like, anywhere."""
    AT_SIGN = "at_sign"
    """None, or more than one."""
    EMPTY_LOCAL = "empty_local"
    EMPTY_LABEL = "empty_label"
    DOMAIN_WITHOUT_DOT = "domain_without_dot"


_BY_CATEGORY: Final = {"Cc": Refusal.CONTROL, "Cf": Refusal.FORMAT, "Cs": Refusal.NOT_TEXT}


def normalise_one(text: str, recipient: Recipient) -> str | Refusal:
    """One address by one recipient's rule: the normalised address, or why there is none. The reference for `normalise`."""
    meta = _common_form(text)
    return meta if recipient is Recipient.META else _google_form(meta)


def canonical_one(text: str) -> str | Refusal:
    """One address as the key of its person: Google's form with googlemail.com folded into gmail.com, else Meta's form."""
    meta = _common_form(text)
    return _person_form(meta, _google_form(meta))


def _google_form(meta: str | Refusal) -> str | Refusal:
    if isinstance(meta, Refusal):
        return meta
    local, _, domain = meta.partition("@")
    if domain not in GMAIL_DOMAINS:
        return meta
    local = local.partition("+")[0].replace(".", "")
    return f"{local}@{domain}" if local else Refusal.EMPTY_LOCAL


def _person_form(meta: str | Refusal, google: str | Refusal) -> str | Refusal:
    if isinstance(google, Refusal):
        return meta
    local, _, domain = google.partition("@")
    return f"{local}@gmail.com" if domain in GMAIL_DOMAINS else google


def _common_form(text: str) -> str | Refusal:
    """What both recipients share. All checks look at the final form, so nothing that a mapping makes can slip through."""
    form = unicodedata.normalize("NFC", text.strip(WHITE_SPACE))
    form = unicodedata.normalize("NFC", form.lower())
    refusal = _refused_character(form)
    if refusal is not None:
        return refusal
    if form.count("@") != 1:
        return Refusal.AT_SIGN
    local, _, domain = form.partition("@")
    labels = domain.split(".")
    if not local:
        return Refusal.EMPTY_LOCAL
    if domain and len(labels) == 1:
        return Refusal.DOMAIN_WITHOUT_DOT
    return form if all(labels) else Refusal.EMPTY_LABEL


def _refused_character(form: str) -> Refusal | None:
    """What the first character says that no address may have. Most are answered at once: what is printable is no white space, no Cc, Cf or Cs."""
    if form.isprintable() and " " not in form:
        return None
    for character in form:
        if character in WHITE_SPACE:
            return Refusal.WHITE_SPACE
        refusal = _BY_CATEGORY.get(unicodedata.category(character))
        if refusal is not None:
            return refusal
    return None


@dataclass(frozen=True, slots=True)
class Normalised:
    """A column of addresses, normalised: one entry per address in each, null where it was null or is refused.

    `forms` has both recipients. `canonical` is the person's key. All stay sealed: they are addresses still.
    """

    forms: dict[Recipient, Addresses]
    canonical: Addresses

    def __post_init__(self) -> None:
        if self.forms.keys() != set(Recipient) or any(len(form) != len(self.canonical) for form in self.forms.values()):
            raise ValueError("every recipient has a form, and every form one entry per address")


def normalise(addresses: Addresses) -> Normalised:
    """A column of addresses by every recipient's rule. Bytes that are not UTF-8 are refused like any other bad address."""
    column = addresses.reveal()
    lower = pc.ascii_lower(pc.ascii_trim(column, characters=_ASCII_WHITE_SPACE))
    good, other = ascii_addresses(lower)
    meta = _placed(lower, [(other, _other_forms(column.filter(pa.array(other))))], good | other)
    google, canonical = [], []
    for domain in GMAIL_DOMAINS:
        folds = pc.fill_null(pc.ends_with(meta, f"@{domain}"), fill_value=False)
        sent, person = _mailbox_forms(meta.filter(folds), domain)
        rows = folds.to_numpy(zero_copy_only=False)
        google.append((rows, sent))
        canonical.append((rows, person))
    forms = {Recipient.META: Addresses(meta), Recipient.GOOGLE: Addresses(_placed(meta, google))}
    return Normalised(forms, Addresses(_placed(meta, canonical)))


_ASCII_WHITE_SPACE: Final = " \t\n\v\f\r"


def _mailbox_forms(mailboxes: pa.StringArray, domain: str) -> tuple[pa.StringArray, pa.StringArray]:
    """Google's and the canonical form of addresses at one of Gmail's domains."""
    written = pc.utf8_slice_codeunits(mailboxes, 0, -len(domain) - 1)
    local = pc.replace_substring(pc.list_element(pc.split_pattern(written, "+", max_splits=1), 0), ".", "")
    local = pc.if_else(pc.equal(local, ""), None, local)
    person = pc.coalesce(pc.binary_join_element_wise(local, "gmail.com", "@"), mailboxes)
    return pc.binary_join_element_wise(local, domain, "@"), person


def _placed(column: pa.StringArray, parts: list[tuple[Flags, pa.StringArray]], kept: Flags | None = None) -> pa.StringArray:
    """The column with each part's values in its rows; null where it is not kept."""
    places, end = np.arange(len(column), dtype=np.int32), len(column)
    for rows, values in parts:
        places[rows] = np.arange(end, end + len(values), dtype=np.int32)
        end += len(values)
    taken = pa.array(places, mask=None if kept is None else ~kept)
    return pa.concat_arrays([column, *(values for _, values in parts)]).take(taken)


def _other_forms(column: pa.StringArray) -> pa.StringArray:
    """The form that recipients share of addresses that are not ASCII, by the reference, row by row."""
    forms = [_common_form(_decoded(raw)) for raw in column.cast(pa.binary()).to_pylist()]
    return pa.array([None if isinstance(form, Refusal) else form for form in forms], pa.string())


def _decoded(raw: bytes) -> str:
    """The text of these bytes; a byte that is not UTF-8 becomes a lone surrogate, which the rule refuses as not text."""
    return raw.decode("utf-8", "surrogateescape")
