"""Makes the row-by-row reference under `tests/reference` importable when this directory runs alone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
