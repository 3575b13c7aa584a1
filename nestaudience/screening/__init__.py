"""Who may be on a list: eligible, or refused with reasons. Pure over columns."""
