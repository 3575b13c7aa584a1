"""Meta's refusals as our own codes, each with its remedy: one table, open to codes that do not exist yet.

It reads an answer, HTTP status, headers and body, and keeps a code from this file and a number of seconds, nothing else: no message,
no title, no sample, no part of a request. It decides whether a failed call was provably without effect. It knows no SDK, retries
nothing and raises nothing.

Codes and their meaning: https://developers.facebook.com/docs/graph-api/guides/error-handling and
https://developers.facebook.com/documentation/ads-commerce/marketing-api/error-reference (read 2026-11): "Error handling should be
done using only the Error Codes".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from nestaudience.destinations.meta_usage import longest_wait
from nestaudience.destinations.remedies import Remedy
from nestaudience.errors import MustStop, NeedsFix, NotKnown, TryAgain

LOST: Final = "lost_"
"""Prefix of the codes of a request that may have had its effect."""


_LATER: Final = "try again later"

REMEDIES: Final[dict[str, Remedy]] = {
    "access_level_too_low": Remedy(NeedsFix, "ask Meta for standard access to the Ads Management feature for this app"),
    "account_without_business": Remedy(NeedsFix, "let a business portfolio own the ad account"),
    "account_wrong": Remedy(
        NeedsFix, "compare the ad account in the binding with the one at Meta, and assign the system user to it"
    ),
    "api_version_expired": Remedy(NeedsFix, "name a version of the API that Meta still serves, or update the Meta library"),
    "blocked_by_policy": Remedy(
        MustStop, "Meta blocked the app or its user for a while: read why in Meta's account quality pages"
    ),
    "create_refused": Remedy(NeedsFix, "Meta made no list: an ad account has at most 500 customer lists; delete some"),
    "invalid_request": Remedy(
        NeedsFix, "check the app secret, if one is set; otherwise report a defect: Meta refused the form of the request"
    ),
    "list_code_twice": Remedy(NeedsFix, "two lists of the account carry one code: decide which is ours, and rename the other"),
    "list_flagged": Remedy(
        MustStop,
        "Meta flagged the list and changes nobody on it: appeal; while it keeps somebody who said no, it is deleted within 24 hours",
    ),
    "list_gone": Remedy(TryAgain, "read the list; when the account proves that it is gone, the next run creates it again"),
    "list_has_lookalikes": Remedy(NeedsFix, "delete the lookalike audiences that are built on the list, then delete it"),
    "list_wrong_type": Remedy(NeedsFix, "the list is no customer list; rename it, and let the next run create one that is"),
    "membership_too_long": Remedy(NeedsFix, "set a membership duration of 1 to 180 days for lists at Meta"),
    "not_as_prepared": Remedy(NeedsFix, "report a defect: the Meta library changed a request, and nothing was sent"),
    "opt_out_not_taken": Remedy(
        NeedsFix, "nothing: Meta does not take this request; the list is deleted instead when its removals stay refused"
    ),
    "permission_denied": Remedy(
        NeedsFix, "give the system user the ads_management permission, and assign it to the ad account with write access"
    ),
    "removal_refused_too_small": Remedy(
        MustStop,
        "Meta refuses a removal that would leave too few people: a list that keeps somebody who said no is deleted within 24 hours",
    ),
    "request_unknown": Remedy(NotKnown, "Meta does not know this upload; treat it as sent, and send it again"),
    "session_invalid": Remedy(NeedsFix, "report a defect: Meta refused the session of an upload"),
    "terms_missing": Remedy(NeedsFix, "accept the Custom Audience terms for the ad account, and record it in the configuration"),
    "unauthenticated": Remedy(NeedsFix, "renew the access token: Meta did not accept it"),
    "update_in_progress": Remedy(TryAgain, "try again when Meta has finished the update of the list that is on its way"),
    "update_refused": Remedy(
        NeedsFix, "the list was filled with data of another form; retire it, and let the next run create one"
    ),
    "wrong_account": Remedy(MustStop, "Meta speaks of another ad account than was asked for; compare binding and credentials"),
    "quota_exhausted": Remedy(TryAgain, "wait; further calls make the wait longer"),
    # These may come from the network or from a tired server. For a read they mean: later. For a write see `LOST`.
    "answer_of_another": Remedy(TryAgain, "try again later; if it repeats, report a defect: Meta answered about another request"),
    "counts_differ": Remedy(
        TryAgain, "try again later; if it repeats, report a defect: Meta counted other people than were sent"
    ),
    "deadline_exceeded": Remedy(TryAgain, "try again later; if it repeats, raise the timeout"),
    "unavailable": Remedy(TryAgain, "try again later; if it repeats, check the network"),
    "unknown": Remedy(TryAgain, _LATER),
    "unreadable": Remedy(TryAgain, "try again later; if it repeats, check what stands between us and Meta"),
    "update_incomplete": Remedy(TryAgain, _LATER),
}
"""Code -> remedy. Every code that leaves this destination is here, or is one of these behind `LOST`."""

MEANINGS: Final[dict[tuple[int, int | None], str]] = {
    (1, None): "unknown",
    (2, None): "unavailable",
    (4, None): "quota_exhausted",
    (10, None): "permission_denied",
    (17, None): "quota_exhausted",
    (32, None): "quota_exhausted",
    (100, None): "invalid_request",
    (100, 33): "list_gone",
    (100, 1713228): "list_flagged",
    (100, 1713230): "list_flagged",
    (100, 1713231): "list_flagged",
    (102, None): "unauthenticated",
    (190, None): "unauthenticated",
    **{(number, None): "permission_denied" for number in range(200, 300)},
    (200, 1870034): "terms_missing",
    (200, 1870047): "removal_refused_too_small",
    (200, 1870050): "account_without_business",
    (200, 1870090): "terms_missing",
    (270, None): "access_level_too_low",
    (341, None): "quota_exhausted",
    (368, None): "blocked_by_policy",
    (613, None): "quota_exhausted",
    (2635, None): "api_version_expired",
    (2650, None): "update_refused",
    (2650, 1870144): "update_refused",
    (2650, 1870145): "update_in_progress",
    (2650, 1870147): "session_invalid",
    (2650, 1870148): "update_incomplete",
    (2650, 1870158): "update_incomplete",
    (2650, 1870159): "session_invalid",
    (2654, None): "create_refused",
    (2654, 1713092): "permission_denied",
    (2656, None): "list_has_lookalikes",
    (80000, None): "quota_exhausted",
    (80003, None): "quota_exhausted",
    (80004, None): "quota_exhausted",
}
"""Meta's code and subcode -> our code. A subcode that is not here takes the meaning of its code; a code that is not here proves
nothing."""

PROVES_NOTHING: Final = frozenset({"unknown", "unavailable", "update_incomplete"})
"""Our codes of refusals that Meta names and that may have had an effect all the same."""

WORTH_REPEATING: Final = frozenset({"unavailable", "unknown", "unreadable", "deadline_exceeded"})
"""Our codes after which a read is asked again. A write never is."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over the wire. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def document(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failed call, reduced to what we may keep. `after` is seconds until another try, where Meta named them."""

    code: str
    without_effect: bool
    after: float | None = None

    @property
    def lost(self) -> str:
        """The code of a write that ended like this and may have had its effect."""
        return LOST + self.code


def result_of(answer: Answer) -> dict[str, Any] | Trouble:
    """The fields of a good answer, or its trouble.

    Good is status 200 with a JSON object that is no error, and nothing else: HTML pages come with any status, 200 included.
    """
    document = answer.document()
    told = document if isinstance(document, dict) else {}
    if answer.status == 200 and told and "error" not in told:
        return told
    error = told.get("error")
    error = error if isinstance(error, dict) else {}
    code = error.get("code")
    if type(code) is not int:
        return Trouble("unavailable" if answer.status >= 500 else "unreadable", without_effect=False)
    meaning = _meaning(code, error.get("error_subcode"))
    if error.get("is_transient") is True and not issubclass(REMEDIES[meaning].error, TryAgain):
        return Trouble("unavailable", without_effect=False)
    proven = 400 <= answer.status < 500 and meaning not in PROVES_NOTHING
    return Trouble(meaning, proven, longest_wait(answer.headers) if meaning == "quota_exhausted" else None)


def _meaning(code: int, subcode: object) -> str:
    by_code = MEANINGS.get((code, None), "unknown")
    return MEANINGS.get((code, subcode), by_code) if type(subcode) is int else by_code


def of_opt_out(trouble: Trouble) -> Trouble:
    """What went wrong with a call for a whole account: Meta answers alike when there is no such account and when it does not take such a call."""
    return Trouble("opt_out_not_taken", trouble.without_effect) if trouble.code == "list_gone" else trouble


def remedy_of(code: str) -> Remedy:
    """The remedy of any code that this destination gives: in a receipt, a settlement or an error."""
    if code.startswith(LOST):
        return Remedy(NotKnown, "treat the request as sent; it is settled, or sent again, by the next run")
    return REMEDIES.get(code, Remedy(NeedsFix, "report a defect: this code has no remedy"))
