"""The report: one HTML file, in Swedish or English, that says from configuration and log alone what was sent, taken off, refused and decided."""
