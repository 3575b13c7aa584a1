"""README, `--help`, configuration example and code say the same."""

import re
import tomllib
from pathlib import Path

import typer.main

from nestaudience import errors
from nestaudience.cli import app
from nestaudience.config.load import from_document
from nestaudience.config.schema import LISTS, SINGLES
from nestaudience.sandbox.world import LEGAL_NAMES, SEGMENTS
from nestaudience.sandbox.world_events import IRRELEVANT_PURPOSES, SOURCES, TEXTS
from nestaudience.vocabulary import Environment

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
EXAMPLE = ROOT / "config" / "nestaudience.toml"


def commands() -> dict[str, str]:
    """Every command that can be typed, with the first line of its help."""
    found: dict[str, str] = {}

    def walk(prefix: str, command: object) -> None:
        for name, child in getattr(command, "commands", {}).items():
            if getattr(child, "commands", None):
                walk(f"{prefix}{name} ", child)
            else:
                found[f"{prefix}{name}"] = (child.help or "").splitlines()[0]

    walk("", typer.main.get_command(app))
    return found


def test_the_readme_names_every_command_and_no_other() -> None:
    named = set(re.findall(r"^\| `nestaudience ([a-z ]+)` \|", README, re.MULTILINE))
    assert named == set(commands())


def test_every_command_says_what_it_does() -> None:
    assert all(len(text) > 20 for text in commands().values())


def test_the_exit_codes_in_the_readme_are_those_of_the_errors() -> None:
    named = {int(code) for code in re.findall(r"^\| (\d) \| ", README, re.MULTILINE)}
    kinds = (errors.NeedsFix, errors.TryAgain, errors.NotKnown, errors.MustStop)
    assert named == {0, *(kind.exit_code for kind in kinds)}


def test_ci_calls_exactly_the_readmes_test_command() -> None:
    command = next(line for line in README.splitlines() if line.startswith("python3 -m venv") and "pytest" in line)
    assert command in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()


def test_the_example_configuration_has_no_problem_and_every_table() -> None:
    document = tomllib.loads(EXAMPLE.read_text("utf-8"))
    settings = from_document(document)
    assert settings.problems == ()
    assert settings.environment is Environment.SANDBOX
    assert set(document) == {*LISTS, *SINGLES, "environment", "sources"}


def test_the_example_configuration_names_every_setting_that_has_a_default() -> None:
    text = EXAMPLE.read_text("utf-8")
    for name, model in {**LISTS, **SINGLES}.items():
        for field in model.model_fields:
            if field == "joint_with":
                continue  # it must stay empty
            assert re.search(rf"\b{field}\b", text), f"{name}.{field} is not in the example"


def test_the_example_configuration_is_about_the_generated_store() -> None:
    settings = from_document(tomllib.loads(EXAMPLE.read_text("utf-8")))
    assert {key: (c.legal_name, c.organisation_number) for key, c in settings.controllers.items()} == LEGAL_NAMES
    assert settings.sources == SOURCES
    assert frozenset(settings.screening.irrelevant_purposes) == IRRELEVANT_PURPOSES
    assert {text.version for text in settings.texts} == {text.version for text in TEXTS}
    assert {
        (a.segment.code, a.controller.key, a.segment.uses_orders, a.segment.uses_site) for a in settings.audiences.values()
    } == {(s.code, s.controller, s.uses_orders, s.uses_site) for s in SEGMENTS}


def test_pinned_versions_name_no_place_to_fetch_from() -> None:
    for name in ("constraints.txt", "requirements-hashed.txt"):
        text = (ROOT / "config" / name).read_text("utf-8")
        assert "://" not in text
        assert re.search(r"^prefect==3\.", text, re.MULTILINE)


def test_both_pinned_lists_name_the_same_versions() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([a-z0-9._-]+==[^\s;\\]+)", (ROOT / "config" / name).read_text("utf-8"), re.MULTILINE))

    assert pins("constraints.txt") == pins("requirements-hashed.txt") != set()
