"""What tables do to what they are given: nothing."""

import pytest

from nestaudience.cli import output


@pytest.mark.parametrize("cell", ["compare the versions in [[texts]]", "[store] freshness", "[/]", "\\[bold]"])
def test_a_cell_is_text_and_no_markup(capsys: pytest.CaptureFixture[str], cell: str) -> None:
    output.table("Check", ("what to do",), ((cell,),))
    assert cell in capsys.readouterr().out
