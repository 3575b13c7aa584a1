"""How the local Graph server refuses: an HTTP status and the documented error object.

https://developers.facebook.com/docs/graph-api/guides/error-handling (read 2026-11). It says no value from a request.
"""

import json
from dataclasses import dataclass
from typing import Final

TITLE: Final = "The request was not carried out"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A whole request refused, by Meta's two numbers. `wait_minutes` goes into the usage header of a rate limit."""

    code: int
    subcode: int | None = None
    status: int = 400
    kind: str = "OAuthException"
    transient: bool = False
    wait_minutes: int = 0

    def body(self, trace: str) -> bytes:
        """The error object as it goes over the wire."""
        told: dict[str, object] = {
            "message": f"(#{self.code}) There was a problem with the request.",
            "type": self.kind,
            "code": self.code,
            "is_transient": self.transient,
            "error_user_title": TITLE,
            "error_user_msg": "Look the code up.",
            "fbtrace_id": trace,
        }
        if self.subcode is not None:
            told["error_subcode"] = self.subcode
        return json.dumps({"error": told}).encode()


def invalid() -> Refusal:
    """100: a parameter is missing, malformed, or not what the call takes."""
    return Refusal(100)


def missing() -> Refusal:
    """100/33: no such object, or the token's system user may not use it. Meta does not tell the two apart."""
    return Refusal(100, 33, kind="GraphMethodException")


def bad_proof() -> Refusal:
    """100: `appsecret_proof` is missing or does not fit the token."""
    return Refusal(100, kind="GraphMethodException")


def unknown_token(*, revoked: bool = False) -> Refusal:
    """190: no token or an unknown one; with subcode 460 one that was known."""
    return Refusal(190, 460 if revoked else None)


def expired_version() -> Refusal:
    """2635: the path names a version that is out of support."""
    return Refusal(2635)


def not_permitted() -> Refusal:
    """200: the token was not granted the permission that the call needs."""
    return Refusal(200, status=403)


def terms_missing() -> Refusal:
    """200/1870090: nobody of the business accepted the Custom Audience terms."""
    return Refusal(200, 1870090, status=403)


def no_business() -> Refusal:
    """200/1870050: the ad account belongs to no business."""
    return Refusal(200, 1870050, status=403)


def too_small() -> Refusal:
    """200/1870047: the removal would leave too few people on the list."""
    return Refusal(200, 1870047, status=403)


def flagged() -> Refusal:
    """100/1713230: the list is flagged for its name, description or rule; its members may not be changed."""
    return Refusal(100, 1713230)


def update_in_progress() -> Refusal:
    """2650/1870145: the members are being replaced."""
    return Refusal(2650, 1870145)


def other_shape() -> Refusal:
    """2650: the list was filled with data of another shape."""
    return Refusal(2650)


def create_failed() -> Refusal:
    """2654: the list was not made, because the account has as many as it may have."""
    return Refusal(2654)


def lookalikes_depend() -> Refusal:
    """2656: other audiences are built on the list, so it cannot be deleted."""
    return Refusal(2656)


def too_much_data() -> Refusal:
    """1: the caller asked for too much at once."""
    return Refusal(1, status=500)


def too_many_calls(wait_minutes: int) -> Refusal:
    """80003/2446079: the ad account's calls of this hour are used up."""
    return Refusal(80003, 2446079, wait_minutes=wait_minutes)
