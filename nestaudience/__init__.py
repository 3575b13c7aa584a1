"""Consent-based customer lists for Google and Meta: removals first, digests only, every transfer on a verifiable log."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("nestaudience")
except PackageNotFoundError:  # run from a tree that was not installed
    __version__ = "0+unknown"
