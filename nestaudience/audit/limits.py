"""What the log cannot prove, in words for a reader of any report that is made from it."""

from typing import Final

CANNOT_PROVE: Final = (
    "What a platform did with what it was sent: the log holds its answers, not its deeds.",
    "That nothing was sent beside this program, with the same credentials or in the platform's own pages.",
    "That the customer store told the truth: the log shows what was decided on what the store said.",
    "That the whole log was not written anew, unless a checkpoint that was kept elsewhere is brought and fits.",
    "What stood in entries that a recovery gave up: the log says how many they were, not what they said.",
    "That entries after the last signed checkpoint are complete: they count, and the next checkpoint covers them.",
)
"""Printed with every verification and in every report."""
