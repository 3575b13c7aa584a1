from pathlib import Path

import pytest
from ledger_builder import BuiltLedger


@pytest.fixture
def ledger(tmp_path: Path) -> BuiltLedger:
    return BuiltLedger(tmp_path)
