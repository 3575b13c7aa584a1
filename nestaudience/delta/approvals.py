"""What follows from the reviewed configuration for a list: who let its segment pass, what was confirmed and when, and the kill switch.

Pure: settings and a day (Stockholm) in, closed gates out. Presence, difference and age are looked at. Nobody is authenticated: that a name is true is
for the review of the configuration to say. It reads no store and counts nobody.
"""

import re
from calendar import monthrange
from collections.abc import Iterator
from datetime import MAXYEAR, date, timedelta
from typing import Final
from unicodedata import normalize

from nestaudience.config.policy import Approval
from nestaudience.config.schema import RecipientTable, Segment
from nestaudience.config.settings import Audience, Settings
from nestaudience.delta.gates import Gate, stop_additions
from nestaudience.vocabulary import KillSwitch

EMPTIED: Final = {
    "sensitive": "its review says sensitive: the list is emptied; retire the audience, or have the segment reviewed again",
    "input_undisclosed": "the segment is built on what the policy does not disclose: the list is emptied; take the input out",
}
"""Why a list is emptied though it is not ended, and what opens the gate that goes with it. It fills again when that is mended."""
_FAULTS: Final = {
    "no_approver": "name an approver",
    "approved_by_owner": "name an approver who is not the owner",
    "no_dpia": "name the impact assessment",
    "no_day": "name the day of the approval",
    "approved_later": "the approval is dated in the future; correct its day",
    "too_old": "the approval is twelve months old; have the segment approved again",
}
_NO_REVIEW: Final = {
    "not_reviewed": "have somebody review whether the segment is sensitive, and write down what came of it",
    "word": "a word in its name or code asks for a review by somebody other than the owner; name the reviewer",
}
_HALTED: Final = {
    KillSwitch.ADDITIONS: "the kill switch stops additions; set [kill_switch] back to off when it may go on",
    KillSwitch.EVERYTHING: "the kill switch stops everything, and noes are owed; set [kill_switch] to additions or off",
}


def decided(settings: Settings, audience: Audience, today: date) -> tuple[Gate, ...]:
    """The closed gates of one audience whose list is not ended and not being emptied, but for the kill switch."""
    code = settings.emptied.get(audience.key)
    return (
        *([] if code is None else [stop_additions(code, EMPTIED[code])]),
        *_approved(audience.segment, today),
        *_reviewed(settings, audience.segment),
        *_confirmed(audience.recipient, today),
    )


def switch(settings: Settings) -> tuple[Gate, ...]:
    """The gate of the kill switch, on every list. What the position `everything` holds beyond additions, a run holds itself: it sends nothing."""
    next_step = _HALTED.get(settings.kill_switch)
    return () if next_step is None else (stop_additions("kill_switch", next_step),)


def approval_faults(approval: Approval, today: date) -> tuple[str, ...]:
    """Every reason why an approval lets nobody join: codes, the age last."""
    faults = []
    if approval.approver is None:
        faults.append("no_approver")
    elif approval.approver.casefold() == approval.owner.casefold():
        faults.append("approved_by_owner")
    if approval.dpia is None:
        faults.append("no_dpia")
    if approval.approved_on is None:
        faults.append("no_day")
    elif approval.approved_on > today:
        faults.append("approved_later")
    elif today > last_day_of_approval(approval.approved_on):
        faults.append("too_old")
    return tuple(faults)


def approval_remedy(faults: tuple[str, ...]) -> str:
    """What to do about faults of an approval, in one sentence."""
    return "; ".join(_FAULTS[fault] for fault in faults)


def review_missing(segment: Segment, words: frozenset[str]) -> str:
    """Why a segment counts as not reviewed for sensitivity: `not_reviewed`, `word`, or empty when it is reviewed. `words` are in the form of
    `sensitive_words`.
    """
    approval = segment.approval
    if approval.sensitive == "not_reviewed":
        return "not_reviewed"
    reviewer = (approval.reviewer or approval.owner).casefold()
    if reviewer == approval.owner.casefold() and words & _words(f"{segment.name} {segment.code}"):
        return "word"
    return ""


def review_remedy(reason: str) -> str:
    """What to do about a review that is missing. The word is not repeated."""
    return _NO_REVIEW[reason]


def sensitive_words(settings: Settings) -> frozenset[str]:
    """The configured words in the form in which they are compared."""
    return frozenset(word for each in settings.sensitive.words for word in _words(each))


def unconfirmed(recipient: RecipientTable, today: date) -> tuple[str, ...]:
    """The settings of a recipient that nobody has confirmed within a calendar year, or that are dated in the future."""
    return tuple(name for name, day in recipient.confirmed.items() if day > today or today > last_day_of_confirmation(day))


def last_day_of_approval(approved_on: date) -> date:
    """The last day on which an approval counts: it ends when it is twelve calendar months old."""
    return _a_year_after(approved_on) - timedelta(days=1)


def last_day_of_confirmation(confirmed_on: date) -> date:
    """The last day on which a confirmation counts: older than a calendar year it does not."""
    return _a_year_after(confirmed_on)


def _a_year_after(day: date) -> date:
    """The same day twelve months later, or the last of its month."""
    year = min(day.year + 1, MAXYEAR)
    return day.replace(year=year, day=min(day.day, monthrange(year, day.month)[1]))


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W_]+", normalize("NFC", text).casefold()))


def _approved(segment: Segment, today: date) -> Iterator[Gate]:
    faults = approval_faults(segment.approval, today)
    if faults:
        yield stop_additions("unapproved", approval_remedy(faults))


def _reviewed(settings: Settings, segment: Segment) -> Iterator[Gate]:
    reason = review_missing(segment, sensitive_words(settings))
    if reason:
        yield stop_additions("sensitive", review_remedy(reason))


def _confirmed(recipient: RecipientTable, today: date) -> Iterator[Gate]:
    old = unconfirmed(recipient, today)
    if old:
        places = ", ".join(f"recipients.{recipient.key.value}.{name}" for name in old)
        yield stop_additions("terms_missing", f"look again and renew: {places}")
