"""Errors, grouped by what a person or program must do next.

    NestAudienceError
      NeedsFix      a person must change something; never retried            exit code 2
      TryAgain      may work a little later; the flow retries                exit code 3
      NotKnown      an effect may or may not have happened; settle it        exit code 4
      MustStop      a rule forbids to go on                                  exit code 5

Every error has a stable `code`, says `where` it is, and what to do `next`. None carries a value from a person, a payload, an address,
a URL, or the words of a server: only codes, keys and counts. Raise them outside `except` blocks: a chained traceback
would carry the foreign exception, and its text, with it.
"""

from typing import ClassVar


class NestAudienceError(Exception):
    """Any error that leaves this package."""

    exit_code: ClassVar[int] = 1
    remedy: ClassVar[str] = "unknown"

    def __init__(self, code: str, where: str, next_step: str) -> None:
        self.code = code
        self.where = where
        self.next_step = next_step
        super().__init__(f"{code} at {where}: {next_step}")

    def __reduce__(self) -> tuple[type["NestAudienceError"], tuple[str, str, str]]:
        """An error that crosses to another process is the same error there."""
        return type(self), (self.code, self.where, self.next_step)

    def as_dict(self) -> dict[str, str]:
        """The error for `--json` output."""
        return {"code": self.code, "where": self.where, "next": self.next_step, "remedy": self.remedy}


class NeedsFix(NestAudienceError):
    """A person must change configuration, credentials, the store or an account."""

    exit_code = 2
    remedy = "needs_fix"


class TryAgain(NestAudienceError):
    """Nothing happened, and the same call may succeed later. `after` is seconds, when the other side named them."""

    exit_code = 3
    remedy = "try_again"

    def __init__(self, code: str, where: str, next_step: str, after: float | None = None) -> None:
        super().__init__(code, where, next_step)
        self.after = after


class NotKnown(NestAudienceError):
    """The request may have had its effect. It counts as disclosed, and is settled later."""

    exit_code = 4
    remedy = "not_known"


class MustStop(NestAudienceError):
    """A rule forbids to go on; somebody is told."""

    exit_code = 5
    remedy = "must_stop"
