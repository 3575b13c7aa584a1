"""One person's address, asked for so that it never stands in a command line, a history or a list of processes.

On a terminal it is typed without being shown; elsewhere it is the only line of standard input. It is sealed at once.
"""

import sys

import pyarrow as pa
import typer

from nestaudience.errors import NeedsFix
from nestaudience.hashing.digests import Addresses

LONGEST = 1000
"""Characters; whatever is longer is no address."""


def asked_address() -> Addresses:
    """The address. Raises `NeedsFix`: `address_invalid` for nothing, for several lines, and for what is no text."""
    text = _typed() if sys.stdin.isatty() else _line(sys.stdin.buffer.read(LONGEST + 1))
    if not text or len(text) > LONGEST or "\n" in text:
        raise NeedsFix("address_invalid", "the address", "give one e-mail address on standard input, and nothing else")
    return Addresses(pa.array([text], pa.string()))


def asked_addresses(most: int) -> list[Addresses]:
    """One person's addresses, each a column of one: one a line on standard input, or one typed unseen. Raises `NeedsFix`: `address_invalid`."""
    text = _typed() if sys.stdin.isatty() else _line(sys.stdin.buffer.read((LONGEST + 1) * most))
    lines = [line.strip("\r") for line in text.split("\n")]
    if len(lines) > most or not all(0 < len(line) <= LONGEST for line in lines):
        raise NeedsFix("address_invalid", "the addresses", f"give 1 to {most} e-mail addresses of one person, one a line")
    return [Addresses(pa.array([line], pa.string())) for line in dict.fromkeys(lines)]


def _typed() -> str:
    return str(typer.prompt("The person's e-mail address", hide_input=True, err=True))


def _line(raw: bytes) -> str:
    try:
        return raw.decode().strip("\r\n")
    except UnicodeDecodeError:
        return ""
