"""What a code of a destination means for whoever meets it: one form for all platforms. The tables are the destinations' own."""

from dataclasses import dataclass

from nestaudience.errors import NestAudienceError, TryAgain


@dataclass(frozen=True, slots=True)
class Remedy:
    """The kind of error, and the next step in words."""

    error: type[NestAudienceError]
    next_step: str

    def raised(self, code: str, where: str, after: float | None = None) -> NestAudienceError:
        """The error itself; `after` is seconds until another try, where the platform named them."""
        if issubclass(self.error, TryAgain):
            return self.error(code, where, self.next_step, after)
        return self.error(code, where, self.next_step)
