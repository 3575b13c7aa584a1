"""No image of this process's memory is written anywhere when it dies: addresses and keys stand in it.

It changes two limits of the process that calls it and reads nothing. It does not keep memory out of swap: that is the machine's to settle.
"""

import ctypes
import resource
from contextlib import suppress
from typing import Final

_PR_SET_DUMPABLE: Final = 4
"""prctl(2), https://man7.org/linux/man-pages/man2/prctl.2.html (read 2026-11)."""


def forbid() -> None:
    """Forbid core dumps of this process, for good. Children inherit the first limit; the second one lasts until a program is executed.

    The size limit alone would not do: a core that the kernel hands to a program is made whatever the limit says (core(5)). Whoever runs as the
    same user can read the memory no longer either. Where the system has no such call, the size limit is what there is.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
