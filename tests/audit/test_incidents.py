"""Every incident that can be written has its sentence, in both languages, in the frame and in the report's words."""

import ast
from pathlib import Path

import pytest

from nestaudience.audit.changes import changes
from nestaudience.audit.incidents import INCIDENTS, incident
from nestaudience.delivery.deleting import DELETED, NOT_DELETED
from nestaudience.delivery.list_facts import EXPIRES, FLAGGED, LOOKALIKE, OWNER, RENAMED, SHARED
from nestaudience.delivery.lists import WRONG_ACCOUNT
from nestaudience.destinations import google_errors, meta_errors
from nestaudience.errors import MustStop
from nestaudience.vocabulary import Language

DELIVERY = Path(__file__).parents[2] / "nestaudience" / "delivery"


def written() -> set[str]:
    """Codes in the dicts of `delivery` that have one, those behind a name, and the refusals of a removal that stop."""
    literal = set()
    for path in DELIVERY.glob("*.py"):
        if "EntryType.INCIDENT" in path.read_text("utf-8"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Dict):
                    pairs = zip(node.keys, node.values, strict=True)
                    literal |= {
                        str(value.value)
                        for key, value in pairs
                        if isinstance(key, ast.Constant) and key.value == "code" and isinstance(value, ast.Constant)
                    }
    named = {DELETED, NOT_DELETED, EXPIRES, FLAGGED, LOOKALIKE, OWNER, RENAMED, SHARED, WRONG_ACCOUNT}
    stops = {
        code
        for remedies in (google_errors.REMEDIES, meta_errors.REMEDIES)
        for code, remedy in remedies.items()
        if issubclass(remedy.error, MustStop)
    }
    return literal | named | stops


def test_every_code_that_is_written_has_its_sentence() -> None:
    found = written()
    assert {"people_set_aside", "list_gone", "consent_counts", "removal_refused_again", "list_unknown"} <= found
    assert found == set(INCIDENTS)


@pytest.mark.parametrize("code", INCIDENTS)
def test_both_languages_say_it_in_one_sentence(code: str) -> None:
    swedish, english = incident(code, Language.SV), incident(code)
    assert swedish != english
    assert all(text[0].isupper() and text.endswith(".") and "  " not in text for text in (swedish, english))


def test_the_frame_has_the_words_and_an_unknown_code_has_none() -> None:
    header = {
        "index": 0,
        "at": "2026-11-29T02:00:00.000Z",
        "controller": "",
        "actor": "cli",
        "run_id": "r",
        "run_kind": "nightly",
    }
    entry = header | {"config_digest": "", "type": "incident", "fields": {"code": "list_gone"}}
    frame = changes([entry, entry | {"fields": {"code": "of_a_newer_program"}}])
    assert list(frame["what"]) == [incident("list_gone"), ""]
    assert incident("list_gone") in INCIDENTS["list_gone"]
