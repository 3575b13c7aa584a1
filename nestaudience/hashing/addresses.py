"""The address rule: what a written e-mail address becomes before it is hashed, for each recipient.

Two forms of the same rule live here: `normalise_one` says it, one address at a time, and `normalise` does it for a column. There ASCII
addresses take Arrow's kernels, and `pattern` says which they are; the others, about one in a thousand, go through the reference row by
row. Nothing is hashed, stored or sent here, and a refusal names a reason and never the address.

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
from typing import Final, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nestaudience.hashing.digests import Addresses
from nestaudience.hashing.pattern import Flags, ascii_addresses
from nestaudience.vocabulary import Recipient

NORMALISER_VERSION: Final = f"1-unicode{unicodedata.unidata_version}"
"""The version of this rule and of the Unicode tables under it, which come with the interpreter. Logged with every transfer."""

WHITE_SPACE: Final = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
"""The characters with the Unicode property White_Space (PropList.txt). `str.strip()` would also take U+001C to U+001F."""

Places = npt.NDArray[np.int32]

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


@final
@dataclass(frozen=True, slots=True)
class Normalised:
    """A column of addresses, normalised. A form is put together when it is asked for: one entry per address, null where it was null or
    is refused. All stay sealed: they are addresses still.

    `written` holds the addresses trimmed and in small letters, and after them the form that recipients share of those that are not
    ASCII; `places` (int32 [n]) says which of these is each address's, and `refused` (bool [n]) where none is. `sent` and `persons`
    hold Google's and the canonical form of what is at Gmail. With either of them put after `written`, `folded` (int32
    [len(written)]) says which text stands for each written one.
    """

    written: Addresses
    places: Places
    refused: Flags
    sent: Addresses
    persons: Addresses
    folded: Places

    def __post_init__(self) -> None:
        if not (
            len(self.places) == len(self.refused) <= len(self.written) == len(self.folded) and len(self.sent) == len(self.persons)
        ):
            raise ValueError("each address has a place among the texts, and each text one among the folded")

    def form(self, recipient: Recipient) -> Addresses:
        """The addresses by this recipient's rule."""
        if recipient is Recipient.META:
            return self._taken(self.written.reveal(), self.places)
        return self._folded(self.sent)

    def canonical(self) -> Addresses:
        """The keys of the addresses' persons."""
        return self._folded(self.persons)

    def _folded(self, folds: Addresses) -> Addresses:
        return self._taken(pa.concat_arrays([self.written.reveal(), folds.reveal()]), self.folded[self.places])

    def _taken(self, texts: pa.StringArray, places: Places) -> Addresses:
        return Addresses(texts.take(pa.array(places, mask=self.refused)))


def normalise(addresses: Addresses) -> Normalised:
    """A column of addresses by every recipient's rule. Bytes that are not UTF-8 are refused like any other bad address."""
    column = addresses.reveal()
    lower = pc.ascii_lower(pc.ascii_trim(column, characters=_ASCII_WHITE_SPACE))
    usable, other = ascii_addresses(lower)
    written = pa.concat_arrays([lower, _shared_forms(column.take(pa.array(other)))])
    places = np.arange(len(lower), dtype=np.int32)
    places[other] = np.arange(len(lower), len(written), dtype=np.int32)
    usable = np.append(usable, np.ones(len(other), np.bool_))
    folded, sent, persons = _gmail_forms(written, usable)
    return Normalised(Addresses(written), places, ~usable[places], sent, persons, folded)


_ASCII_WHITE_SPACE: Final = " \t\n\v\f\r"


def _gmail_forms(written: pa.StringArray, usable: Flags) -> tuple[Places, Addresses, Addresses]:
    """What Gmail makes of usable addresses: `folded`, `sent` and `persons` of `Normalised`."""
    folded, end = np.arange(len(written), dtype=np.int32), len(written)
    forms = []
    for domain in GMAIL_DOMAINS:
        at_domain = pc.fill_null(pc.ends_with(written, f"@{domain}"), fill_value=False).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(at_domain & usable)
        folded[rows] = np.arange(end, end + len(rows), dtype=np.int32)
        end += len(rows)
        forms.append(_mailbox_forms(written.take(pa.array(rows)), domain))
    sent, persons = (Addresses(pa.concat_arrays(parts)) for parts in zip(*forms, strict=True))
    return folded, sent, persons


def _mailbox_forms(mailboxes: pa.StringArray, domain: str) -> tuple[pa.StringArray, pa.StringArray]:
    """Google's and the canonical form of addresses at one of Gmail's domains."""
    written = pc.utf8_slice_codeunits(mailboxes, 0, -len(domain) - 1)
    local = pc.replace_substring(pc.list_element(pc.split_pattern(written, "+", max_splits=1), 0), ".", "")
    local = pc.if_else(pc.equal(local, ""), None, local)
    sent = pc.binary_join_element_wise(local, domain, "@")
    person = sent if domain == "gmail.com" else pc.binary_join_element_wise(local, "gmail.com", "@")
    return sent, pc.coalesce(person, mailboxes)


def _shared_forms(column: pa.StringArray) -> pa.StringArray:
    """The form that all recipients share of addresses that are not ASCII, by the reference, row by row."""
    forms = [_common_form(_decoded(raw)) for raw in column.cast(pa.binary()).to_pylist()]
    return pa.array([None if isinstance(form, Refusal) else form for form in forms], pa.string())


def _decoded(raw: bytes) -> str:
    """The text of these bytes; a byte that is not UTF-8 becomes a lone surrogate, which the rule refuses as not text."""
    return raw.decode("utf-8", "surrogateescape")
