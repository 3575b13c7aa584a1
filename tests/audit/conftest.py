import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "ledger"))

from ledger_builder import BuiltLedger


@pytest.fixture
def ledger(tmp_path: Path) -> BuiltLedger:
    return BuiltLedger(tmp_path)
