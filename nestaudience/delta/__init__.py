"""Wanted against held: removals, additions, and the gates that hold some of them. Pure over columns."""
