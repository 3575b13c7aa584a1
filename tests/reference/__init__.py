"""The screening rules once more: slow, row by row, in plain Python, and written apart from the package's own screening."""
