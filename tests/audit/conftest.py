import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "ledger"))

from ledger_builder import BuiltLedger  # noqa: E402 - the builder lives beside the ledger's own tests


@pytest.fixture
def ledger(tmp_path: Path) -> BuiltLedger:
    return BuiltLedger(tmp_path)
