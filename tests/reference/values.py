"""How one value of the store reads: times, whole numbers, calendar months, and the address of a person (rules §4 rule 12, §5).

Plain text in, a value or None out; None means "not usable". Written from the rules alone, so that a slip in the package's own
parsing or hashing shows as a difference. It makes no digest: two addresses agree exactly when their forms do.
"""

import re
import unicodedata
from calendar import monthrange
from datetime import UTC, datetime
from typing import Final

from nestaudience.vocabulary import Recipient

_TIME: Final = re.compile(
    r"([12][0-9]{3})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?(?:Z|\+00:00)"
)
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")
_WHITE_SPACE: Final = frozenset(
    [chr(code) for code in range(0x09, 0x0E)]
    + [chr(code) for code in range(0x2000, 0x200B)]
    + ["\u0020", "\u0085", "\u00a0", "\u1680", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"]
)
"""Unicode's White_Space property, PropList.txt. `str.strip` differs: it also takes U+001C to U+001F."""


def moment(text: str | None) -> datetime | None:
    """A time in UTC, or None when the text is none, has no zone or another one, or names no real moment."""
    found = _TIME.fullmatch(text) if text is not None else None
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    if not 1 <= month <= 12 or not 1 <= day <= monthrange(year, month)[1] or hour > 23 or minute > 59 or second > 59:
        return None
    return datetime(year, month, day, hour, minute, second, int((found[7] or "").ljust(6, "0")), tzinfo=UTC)


def whole(text: str | None) -> int | None:
    """A whole number of at most 18 digits."""
    return int(text) if text is not None and _WHOLE.fullmatch(text) else None


def months_after(start: datetime, months: int) -> datetime:
    """The same day and time some calendar months on; the month's last day where it has no such day."""
    years, month = divmod(start.month - 1 + months, 12)
    last = monthrange(start.year + years, month + 1)[1]
    return start.replace(year=start.year + years, month=month + 1, day=min(start.day, last))


def meta_form(text: str | None) -> str | None:
    """What Meta's digest is made of; None when the address is refused."""
    if text is None:
        return None
    start, end = 0, len(text)
    while start < end and text[start] in _WHITE_SPACE:
        start += 1
    while end > start and text[end - 1] in _WHITE_SPACE:
        end -= 1
    form = unicodedata.normalize("NFC", text[start:end]).lower()
    if any(char in _WHITE_SPACE or unicodedata.category(char) in {"Cc", "Cf"} for char in form):
        return None
    parts = form.split("@")
    if len(parts) != 2:
        return None
    labels = parts[1].split(".")
    return form if parts[0] and len(labels) > 1 and all(labels) else None


def google_form(text: str | None) -> str | None:
    """What Google's digest is made of; None when the address is refused, or nothing is left of a Gmail local part."""
    form = meta_form(text)
    if form is None:
        return None
    local, domain = form.split("@")
    if domain not in {"gmail.com", "googlemail.com"}:
        return form
    local = local.split("+")[0].replace(".", "")
    return f"{local}@{domain}" if local else None


def form_at(recipient: Recipient, text: str | None) -> str | None:
    """What this recipient's digest is made of, or None."""
    return google_form(text) if recipient is Recipient.GOOGLE else meta_form(text)


def canonical(text: str | None) -> str | None:
    """The key of "the same person": Google's form with both Gmail domains as one, else Meta's form, else None."""
    form = google_form(text)
    if form is None:
        return meta_form(text)
    local, domain = form.split("@")
    return f"{local}@gmail.com" if domain == "googlemail.com" else form
