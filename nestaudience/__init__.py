"""Consent-based customer lists for Google and Meta: removals first, digests only, every transfer on a verifiable log."""

import os
import sys
from importlib.metadata import PackageNotFoundError, version

# Arrow takes its allocator when it is first imported. Of those that it has, this one gives back what was let go. Whoever chose another keeps it.
if sys.platform == "linux":
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")

try:
    __version__ = version("nestaudience")
except PackageNotFoundError:  # run from a tree that was not installed
    __version__ = "0+unknown"
