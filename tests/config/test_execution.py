"""Where a run's work is done: what must stand in the table, and what is said where the extra is not installed."""

import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from flows.cluster import connected
from nestaudience.config.execution import Execution
from nestaudience.config.load import from_document
from nestaudience.errors import NeedsFix

EXAMPLE = Path(__file__).parents[2] / "config" / "nestaudience.toml"
TLS = {"certificate_authority": "ca.pem", "certificate": "node.pem", "key": "node.key"}
WHOLE: dict[str, Any] = {"runner": "dask", "scheduler": "tls://scheduler.internal:8786", "scratch": "/scratch", **TLS}


def wrong(table: dict[str, Any], environment: str = "sandbox") -> set[str]:
    document = tomllib.loads(EXAMPLE.read_text("utf-8")) | {"execution": table, "environment": environment}
    return {problem.path for problem in from_document(document).problems if problem.path.startswith("execution")}


def test_without_the_table_everything_is_done_here() -> None:
    document = tomllib.loads(EXAMPLE.read_text("utf-8"))
    assert from_document(document).execution == Execution()
    del document["execution"]
    assert from_document(document).execution == Execution()


@pytest.mark.parametrize(
    ("table", "paths"),
    [
        (WHOLE, set()),
        ({"runner": "dask"}, {"execution.scheduler", "execution.scratch", "execution.certificate"}),
        ({name: value for name, value in WHOLE.items() if name != "key"}, {"execution.certificate"}),
        (WHOLE | {"scheduler": "tcp://127.0.0.1:8786"}, set()),
        (WHOLE | {"scheduler": "tcp://10.0.0.7:8786"}, {"execution.scheduler"}),
    ],
)
def test_what_dask_needs(table: dict[str, Any], paths: set[str]) -> None:
    assert wrong(table) == paths


def test_outside_the_sandbox_nothing_goes_without_tls() -> None:
    assert "execution.scheduler" in wrong(WHOLE | {"scheduler": "tcp://127.0.0.1:8786"}, "staging")
    assert wrong(WHOLE, "staging") == set()


def test_an_address_has_a_protocol_and_a_port() -> None:
    document = tomllib.loads(EXAMPLE.read_text("utf-8"))
    accepted = tomllib.loads(EXAMPLE.read_text("utf-8"))
    document["execution"] = WHOLE | {"scheduler": "scheduler.internal"}
    found = from_document(document, accepted)
    assert {problem.path for problem in found.problems} == {"execution.scheduler"}
    assert found.execution == Execution(), "removals run from the last accepted configuration: here"


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    with pytest.raises(NeedsFix, match="dask_missing") as caught, connected(Execution(**WHOLE), tmp_path):
        pytest.fail("there is nothing to connect with")
    assert "nestaudience[dask]" in caught.value.next_step


def test_certificates_must_be_there(tmp_path: Path) -> None:
    pytest.importorskip("prefect_dask")
    with pytest.raises(NeedsFix, match="certificate_unreadable"), connected(Execution(**WHOLE), tmp_path):
        pytest.fail("there is nothing to be let in with")
