"""Logs that cannot carry a person: a formatter that masks addresses and digests in the finished line, tracebacks included.

The code writes none of them in the first place; this is the second fence. It configures no handler by itself: `flows/logging.yml` does.
"""

import logging
import re
from typing import Final

_ADDRESS: Final = re.compile(r"[^\s@<>\"'=,;:()\[\]{}]+@[^\s@<>\"'=,;:()\[\]{}]+")
_DIGEST: Final = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{64}(?![0-9A-Za-z])")


def masked(text: str) -> str:
    """The text without anything that looks like an address or a digest."""
    return _DIGEST.sub("[digest]", _ADDRESS.sub("[address]", text))


class MaskingFormatter(logging.Formatter):
    """Formats as usual, then masks the whole line."""

    def format(self, record: logging.LogRecord) -> str:
        """The finished, masked line."""
        return masked(super().format(record))
