"""The generator of `docs/reliability.md`: what other tests leave as JSON, and the page that stands in the repository."""

import json
from dataclasses import asdict
from pathlib import Path

from reliability import HEAD, PAGE, RESULTS, Clock, Part, Row, collect, page, parts


def test_parts_of_several_tests_become_one_page(tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_text(
        json.dumps(
            {
                "rows": [{"fault": "random histories", "runs": 4000, "wrong": 0, "mutants": 14, "caught": 14, "leaks": None}],
                "clocks": [],
                "at": "2026-11-20",
            }
        )
    )
    mine = Part([Row("a full disk", 24)], [Clock("night", "google: accepted to done", 7, 1, 2, 3)], "2026-11-25")
    (tmp_path / "zz.json").write_text(json.dumps(asdict(mine)))
    text = page(list(parts(tmp_path)))
    assert text.startswith(HEAD)
    assert "| random histories | 4000 | 0 | 14 | 14 |  |\n| a full disk | 24 | 0 |  |  |  |\n" in text
    assert "Together: 4024 runs, 0 lost or wrong members, 14 mutants, 14 of them caught.\n" in text
    assert "| night | google: accepted to done | 7 | 1 | 2 | 3 |" in text
    assert "Last run of the long forms: 2026-11-25." in text


def test_one_part_collects_what_is_told_one_by_one(tmp_path: Path) -> None:
    """Whoever tells the same again replaces what was told before."""
    for name, histories in (("seed 2", 3), ("seed 1", 4), ("seed 2", 5)):
        collect("some", [Row(name, histories)], str(tmp_path))
    (part,) = parts(tmp_path)
    assert part.rows == [Row("seed 1", 4), Row("seed 2", 5)]


def test_the_page_in_the_repository_was_made_from_the_results_beside_it() -> None:
    assert PAGE.read_text("utf-8") == page(list(parts(RESULTS)))
