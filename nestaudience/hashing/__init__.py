"""Addresses to digests and tokens. The only room that sees an address as text."""
