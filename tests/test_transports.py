"""From the configuration's words to an opened destination: what it is told, and what stops it. Data Manager is held by the flows."""

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from nestaudience.config.schema import DestinationTable
from nestaudience.destinations.google_ads import GoogleAds
from nestaudience.destinations.google_ads_versions import NEWEST
from nestaudience.destinations.meta import Meta
from nestaudience.destinations.port import Account, Destination
from nestaudience.errors import MustStop, NeedsFix, NestAudienceError
from nestaudience.sandbox.certificates import make_loopback_certificates
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount
from nestaudience.transports import open_destination
from nestaudience.vocabulary import Environment


def table(**changed: object) -> DestinationTable:
    fields = {"name": "meta", "credentials": "file:token", "endpoint": "127.0.0.1:1", "timeout_seconds": 7}
    return DestinationTable(**{name: value for name, value in {**fields, **changed}.items() if value is not None})  # type: ignore[arg-type]


def opened(base: Path, environment: Environment = Environment.SANDBOX, **changed: object) -> Meta:
    destination = open_destination(table(**changed), environment, base)
    assert isinstance(destination, Meta)
    return destination


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("a-token\n")
    (tmp_path / "app").write_text("app-secret\n")
    (tmp_path / "odd").write_text("two words\n")
    return tmp_path


def test_what_the_configuration_says_is_what_meta_is_told(base: Path) -> None:
    told = opened(base, app_secret="file:app", api_version="v25.0", terms_accepted_by="Anna", terms_accepted_on=date(2026, 1, 1))
    settings = told._settings
    assert (settings.access_token, settings.app_secret, settings.api_version) == ("a-token", "app-secret", "v25.0")
    assert (settings.endpoint, settings.timeout_seconds, settings.terms_accepted) == ("http://127.0.0.1:1", 7, True)
    for environment in (Environment.STAGING, Environment.PRODUCTION):
        plain = opened(base, environment, endpoint=None)._settings
        assert (plain.endpoint, plain.app_secret, plain.api_version, plain.terms_accepted) == (None, None, None, False)


@pytest.mark.parametrize(
    ("environment", "changed", "kind", "code", "where"),
    [
        (Environment.SANDBOX, {"credentials": None}, NeedsFix, "secret_missing", "meta.credentials"),
        (Environment.SANDBOX, {"credentials": "file:no-such-file"}, NeedsFix, "secret_missing", "file:no-such-file"),
        (Environment.SANDBOX, {"credentials": "file:odd"}, NeedsFix, "secret_unusable", "meta.credentials"),
        (Environment.SANDBOX, {"app_secret": "file:no-such-file"}, NeedsFix, "secret_missing", "file:no-such-file"),
        (Environment.SANDBOX, {"app_secret": "file:odd"}, NeedsFix, "secret_unusable", "meta.app_secret"),
        (Environment.SANDBOX, {"endpoint": None}, NeedsFix, "sandbox_endpoint", "meta"),
        (Environment.SANDBOX, {"endpoint": "graph.facebook.com:443"}, NeedsFix, "sandbox_endpoint", "meta"),
        (Environment.SANDBOX, {"endpoint": "127.0.0.1:1/x"}, NeedsFix, "sandbox_endpoint", "meta"),
        (Environment.PRODUCTION, {}, MustStop, "endpoint_override", "meta"),
        (Environment.STAGING, {}, MustStop, "endpoint_override", "meta"),
    ],
)
def test_what_stops_it(
    base: Path, environment: Environment, changed: dict[str, object], kind: type[NestAudienceError], code: str, where: str
) -> None:
    with pytest.raises(kind) as caught:
        opened(base, environment, **changed)
    assert (caught.value.code, caught.value.where) == (code, where)
    assert "two words" not in str(caught.value)
    assert caught.value.__context__ is None


def test_it_reaches_the_sandbox(base: Path) -> None:
    clock = SandboxClock(datetime(2026, 11, 22, tzinfo=UTC))
    with MetaSandbox({"1112223333": MetaAccount()}, clock, token="a-token", app_secret="app-secret") as sandbox:
        meta = opened(base, app_secret="file:app", endpoint=sandbox.endpoint)
        assert meta.lists(Account("1112223333")) == ()
        meta.close()


def google_ads(base: Path, environment: Environment = Environment.SANDBOX, **changed: object) -> Destination:
    (base / "ca.pem").write_bytes(make_loopback_certificates().ca_pem)
    fields: dict[str, object] = {"name": "google_ads", "endpoint": "localhost:1", "certificate": "ca.pem"}
    return open_destination(table(**fields | changed), environment, base)


def test_google_ads_is_told_what_the_configuration_says(base: Path) -> None:
    told = google_ads(base, api_version="v25", terms_accepted_by="Anna", terms_accepted_on=date(2026, 1, 1))
    assert isinstance(told, GoogleAds)
    settings = told._settings
    assert (settings.api_version, settings.timeout_seconds, settings.terms_accepted) == ("v25", 7, True)
    assert settings.endpoint is not None
    assert settings.endpoint.target == "localhost:1"
    plain = google_ads(base)
    assert isinstance(plain, GoogleAds)
    assert (plain._settings.api_version, plain._settings.terms_accepted) == (NEWEST, False)


@pytest.mark.parametrize(
    ("environment", "changed", "kind", "code"),
    [
        (Environment.SANDBOX, {"api_version": "v22"}, NeedsFix, "api_version"),
        (Environment.SANDBOX, {"endpoint": "googleads.googleapis.com:443"}, NeedsFix, "sandbox_endpoint"),
        (Environment.SANDBOX, {"certificate": None}, NeedsFix, "sandbox_endpoint"),
        (Environment.SANDBOX, {"credentials": "file:no-such-file"}, NeedsFix, "secret_missing"),
        (Environment.PRODUCTION, {}, MustStop, "endpoint_override"),
        (Environment.PRODUCTION, {"endpoint": None, "credentials": "file:token"}, NeedsFix, "credentials_unusable"),
    ],
)
def test_what_stops_google_ads(
    base: Path, environment: Environment, changed: dict[str, object], kind: type[NestAudienceError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        google_ads(base, environment, **changed)
    assert caught.value.code == code
    assert caught.value.__context__ is None


def test_the_library_of_google_ads_is_loaded_only_when_it_is_configured() -> None:
    program = "import sys, nestaudience.wiring, nestaudience.destinations.google_data_manager; print('google.ads.googleads' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
