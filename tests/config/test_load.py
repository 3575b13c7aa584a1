"""The configuration: every problem at once, with its place and its remedy and without its value; and what stands in for a wrong part."""

import copy
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nights import google_alone

from nestaudience.checks import contacts_missing
from nestaudience.config.load import digest_of, from_document, from_text, ledger_of, load, parse, to_text
from nestaudience.config.settings import Settings
from nestaudience.errors import NeedsFix
from nestaudience.vocabulary import AudienceKey, Environment, Recipient

EXAMPLE = Path(__file__).parents[2] / "config" / "nestaudience.toml"
COFFEE = AudienceKey("hemkraft/coffee_lovers/google")
CRIME = AudienceKey("bokhyllan/crime_readers/google")
BOOKS = frozenset({CRIME, AudienceKey("bokhyllan/lapsed_readers/google")})
SOUND = frozenset({AudienceKey("computime/bought_audio_12m/google"), AudienceKey("computime/viewed_laptops_30d/google")})
SECRET = "Xk9-very-private"


def document() -> dict[str, Any]:
    """The example as far as it speaks of Google: one list a segment."""
    return tomllib.loads(google_alone(EXAMPLE.read_text("utf-8")))


def problems(found: Settings) -> dict[str, str]:
    return {problem.path: problem.message for problem in found.problems}


def broken(path: str, value: object) -> dict[str, Any]:
    """The example with one place changed: `texts.2.version`; the value `...` takes the place away."""
    changed: Any = document()
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = changed
    for part in way:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return dict(changed)


def test_the_example_has_no_problem() -> None:
    found = load(EXAMPLE)
    assert found.problems == ()
    assert found.stopped == frozenset()
    assert len(found.audiences) == 10
    assert found.environment is Environment.SANDBOX
    assert ledger_of(document())[1] == found.ledger
    assert len(from_document(document()).audiences) == 5


def test_meta_keeps_nobody_for_longer_than_half_a_year() -> None:
    long = tomllib.loads(EXAMPLE.read_text("utf-8"))
    for audience in long["audiences"]:
        audience["membership_days"] = 181
    assert [problem.path for problem in from_document(long).problems] == [f"audiences[{n}].membership_days" for n in range(5, 10)]


def test_what_is_wrong_with_one_platform_stops_its_lists_alone() -> None:
    for n, own in enumerate(("google", "meta")):
        wrong = tomllib.loads(EXAMPLE.read_text("utf-8"))
        wrong["destinations"][n]["timeout_seconds"] = 0
        wrong["recipients"][n]["country"] = "Ireland"
        found = from_document(wrong, tomllib.loads(EXAMPLE.read_text("utf-8")))
        assert found.stopped == {key for key in found.audiences if key.endswith(f"/{own}")}
        assert len(found.stopped) == 5


def test_every_problem_at_once_with_place_and_remedy_and_no_value() -> None:
    wrong = document()
    wrong["surplus"] = 1
    wrong["policy"]["version"] = f"{SECRET} @ x"
    wrong["screening"]["skew_minutes"] = 99
    wrong["gates"]["smallest_list"] = SECRET
    wrong["controllers"][0]["organisation_number"] = SECRET
    wrong["texts"][1]["valid_from"] = SECRET
    wrong["sources"]["web_account_settings"] = SECRET
    wrong["destinations"][0]["endpoint"] = f"{SECRET}:443"
    wrong["ad_accounts"][2]["account_id"] = SECRET
    wrong["segments"][3]["data_inputs"] = [SECRET]
    wrong["audiences"][1]["membership_days"] = 6
    wrong["audiences"][4][SECRET.lower().replace("-", "_")] = True
    found = from_document(wrong, document())
    places = {problem.path for problem in found.problems}
    assert places >= {
        "surplus",
        "policy.version",
        "screening.skew_minutes",
        "gates.smallest_list",
        "controllers[0].organisation_number",
        "texts[1].valid_from",
        "sources.web_account_settings",
        "destinations[0].endpoint",
        "ad_accounts[2].account_id",
        "segments[3].data_inputs",
        "audiences[1].membership_days",
    }
    for problem in found.problems:
        assert problem.remedy
        assert problem.message
        assert SECRET not in f"{problem.path} {problem.message} {problem.remedy}"
    with pytest.raises(NeedsFix) as caught:
        from_document(wrong)
    assert caught.value.code == "config_unusable"
    assert SECRET not in str(caught.value)


PLACES = [
    ("controllers.2.legal_name", 5, frozenset({COFFEE})),
    ("controllers.1.key", "no such key", None),
    ("recipients.0.country", "Ireland", "all"),
    ("texts.0.purposes", ["ad_matchin"], "all"),
    ("texts.0.controllers", 5, "all"),
    ("texts.0.controllers", ..., "all"),
    ("destinations.0.timeout_seconds", 0, "all"),
    ("destinations.0.terms_accepted_by", ..., "all"),
    ("ad_accounts.1.account_id", "x", BOOKS),
    ("ad_accounts.1.account_id", ..., BOOKS),
    ("ad_accounts.1.account_id", "1110000001", BOOKS | SOUND),
    ("segments.2.approval", ..., frozenset({CRIME})),
    ("segments.2.data_inputs", ["support_cases"], frozenset({CRIME})),
    ("audiences.4.number", 0, frozenset({COFFEE})),
    ("audiences.4.number", ..., frozenset({COFFEE})),
    ("sources.crm_import", "importt", "all"),
    ("sources", ..., "all"),
    ("sources", 5, "all"),
    ("screening.consent_months", 37, "all"),
    ("gates", 5, "all"),
    ("policy", ..., "all"),
    ("store.kind", "oracle", "all"),
    ("store.kind", "postgres", "all"),
    ("store.path", ..., "all"),
    ("store.url", "env:SHOP_URL", "all"),
    ("store.url", "postgresql://u:p@h/db", "all"),
    ("engine.threads", "two", "all"),
    ("texts", 5, "all"),
    ("controllers", ..., None),
    ("segments", [], None),
]


@pytest.mark.parametrize(("path", "value", "stopped"), PLACES)
def test_a_wrong_part_stops_those_that_depend_on_it_and_changes_no_removal(path: str, value: object, stopped: object) -> None:
    """Whatever is wrong: every audience that could be judged is judged by the texts, sources and limits that were accepted."""
    accepted = from_document(document())
    found = from_document(broken(path, value), document())
    assert found.problems
    for key, audience in found.audiences.items():
        if key in accepted.audiences:
            assert audience.ad_account == accepted.audiences[key].ad_account
            assert audience.table.number == accepted.audiences[key].table.number
            assert audience.segment.data_inputs == accepted.audiences[key].segment.data_inputs
    assert found.texts == accepted.texts
    assert found.sources == accepted.sources
    assert found.screening == accepted.screening
    assert found.recipients == accepted.recipients
    assert set(found.destinations) == set(accepted.destinations)
    assert set(found.controllers) >= set(accepted.controllers)
    if stopped == "all":
        assert set(found.audiences) == set(accepted.audiences)
        assert found.stopped == frozenset(accepted.audiences)
    elif isinstance(stopped, frozenset):
        assert set(found.audiences) == set(accepted.audiences)
        assert found.stopped == stopped


def test_without_an_accepted_configuration_a_broken_audience_is_left_out() -> None:
    found = from_document(broken("audiences.4.segment", "unknown_segment"))
    assert COFFEE not in found.audiences
    assert len(found.audiences) == 4
    assert problems(found)["audiences[4].segment"] == "no such segment in this file"
    assert not found.stopped & set(found.audiences)


def test_joint_controllers_are_refused_with_a_sentence() -> None:
    found = from_document(broken("controllers.1.joint_with", ["computime"]), document())
    assert problems(found) == {"controllers[1].joint_with": "joint controllers are not supported"}
    assert found.stopped == BOOKS


ELSEWHERE = (
    "datamanager.googleapis.com:443",
    "10.0.0.1:443",
    "localhost.evil.example:443",
    "0.0.0.0:443",
    "127.0.0.1.evil.example:443",
    "https://localhost:1",
    "localhost",
)


@pytest.mark.parametrize("endpoint", ELSEWHERE)
def test_the_sandbox_talks_to_this_machine_only(endpoint: str) -> None:
    found = from_document(broken("destinations.0.endpoint", endpoint), document())
    assert problems(found) == {"destinations[0].endpoint": "the sandbox talks to this machine only"}
    assert found.stopped == frozenset(found.audiences)


@pytest.mark.parametrize("endpoint", ["localhost:50551", "127.0.0.1:1", "[::1]:443"])
def test_loopback_is_this_machine(endpoint: str) -> None:
    assert from_document(broken("destinations.0.endpoint", endpoint), document()).problems == ()


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_no_endpoint_outside_the_sandbox(environment: str) -> None:
    found = from_document(broken("environment", environment))
    assert problems(found)["destinations[0].endpoint"] == "an endpoint may be overridden in the sandbox only"
    assert found.stopped == frozenset(found.audiences)


def test_unverified_addresses_need_a_decision() -> None:
    found = from_document(broken("screening.require_verified_address", False))
    assert problems(found) == {"screening.unverified_decision": "missing"}
    decided = broken("screening.require_verified_address", False)
    decided["screening"]["unverified_decision"] = "DPO-2026-7"
    assert from_document(decided).problems == ()


def test_the_same_thing_twice() -> None:
    for name in ("controllers", "recipients", "texts", "segments", "audiences"):
        twice = document()
        twice[name].append(copy.deepcopy(twice[name][0]))
        assert f"{name}[{len(twice[name]) - 1}]" in problems(from_document(twice, document()))


@pytest.mark.parametrize("path", ["environment", "ledger", "ledger.path", "ledger.keys", "ledger.origin"])
def test_without_environment_or_ledger_nothing_can_be_found(path: str) -> None:
    for value in (..., 5):
        with pytest.raises(NeedsFix) as caught:
            ledger_of(broken(path, value))
        assert (caught.value.code, caught.value.exit_code) == ("config_unusable", 2)
        assert path.split(".")[0] in caught.value.next_step


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    place = tmp_path / "c.toml"
    for content, code in ((None, "config_unreadable"), (b"a = ", "config_not_toml"), (b"\xff\xfe", "config_not_toml")):
        if content is not None:
            place.write_bytes(content)
        with pytest.raises(NeedsFix) as caught:
            parse(place)
        assert (caught.value.code, caught.value.exit_code) == (code, 2)


def test_the_text_in_the_ledger_is_the_same_configuration() -> None:
    again = from_text(to_text(document()))
    first, second = from_document(document()), from_document(again)
    assert second.problems == ()
    assert first.digest == second.digest == digest_of(again)
    assert first.audiences == second.audiences
    assert first.texts == second.texts
    assert first.rules() == second.rules()
    assert first.rules().recipients == (Recipient.GOOGLE,)


def _places(value: Any, way: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return ([way] if way else []) + [place for key, item in inner for place in _places(item, (*way, key))]


GARBAGE = st.sampled_from([..., None, 5, -1, 0.5, True, "", SECRET, [], [SECRET], {}, {SECRET: 1}, [[]], [{}]])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(_places(document())), GARBAGE)
def test_garbage_anywhere_is_a_problem_or_harmless_and_never_quoted(way: tuple[str | int, ...], value: object) -> None:
    """No value of any type in any place makes the reader fail in another way than by saying where a person must look."""
    changed: Any = document()
    place = changed
    for part in way[:-1]:
        place = place[part]
    if value is ...:
        del place[way[-1]]
    else:
        place[way[-1]] = value
    accepted = from_document(document())
    found = from_document(changed, document())
    assert set(found.audiences) >= {key for key in accepted.audiences if key in found.stopped}
    assert all(SECRET not in f"{p.message} {p.remedy}" for p in found.problems)
    said = ""
    try:
        ledger_of(changed)
    except NeedsFix as error:
        said = str(error)
    assert SECRET not in said


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"path": "p", "url": "env:X"}, "ledger"),
        ({}, "ledger"),
        ({"url": "postgresql://u:p@h/d"}, "ledger.url"),
        ({"url": "env:X", "tables_schema": 'x"; DROP'}, "ledger.tables_schema"),
    ],
)
def test_the_ledger_has_one_place(change: dict[str, str], path: str) -> None:
    table = {name: value for name, value in document()["ledger"].items() if name != "path"}
    with pytest.raises(NeedsFix) as caught:
        ledger_of(document() | {"ledger": table | change})
    assert path in caught.value.next_step
    assert "u:p" not in str(caught.value)
    _, named = ledger_of(document() | {"ledger": table | {"url": "env:X"}})
    assert (named.path, named.url, named.tables_schema) == (None, "env:X", "nestaudience_ledger")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"kind": "sqlite"}, "needs `path`"),
        ({"kind": "parquet", "url": "env:X", "path": "p"}, "only a postgres store"),
        ({"kind": "sqlite", "live_url": "env:X", "path": "p"}, "only a postgres store"),
        ({"kind": "postgres"}, "needs `url`"),
        ({"kind": "postgres", "live_url": "env:X"}, "needs `url`"),
        ({"kind": "postgres", "url": "env:X", "path": "p"}, "not `path`"),
    ],
)
def test_a_store_has_the_place_of_its_kind(table: dict[str, str], said: str) -> None:
    found = from_document(document() | {"store": table}, document())
    assert [(p.path, said in p.message) for p in found.problems] == [("store", True)]
    assert found.store == from_document(document()).store


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "parquet", "path": "views"},
        {"kind": "postgres", "url": "env:SHOP_URL", "live_url": "file:live", "views_schema": "ads"},
    ],
)
def test_every_kind_of_store_can_be_named(table: dict[str, str]) -> None:
    assert from_document(document() | {"store": table}).problems == ()


# -- alerts


SMTP = {"host": "mail.nestit.example", "sender": "a@nestit.example", "recipients": ["b@nestit.example"]}


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ({"removal_hours": 0}, "alerts.removal_hours"),
        ({"removal_hours": 25}, "alerts.removal_hours"),
        ({"night_by": "24:00"}, "alerts.night_by"),
        ({"webhook": f"https://hooks.nestit.example/{SECRET}"}, "alerts.webhook"),
        ({"heartbeat": f"https://hooks.nestit.example/{SECRET}"}, "alerts.heartbeat"),
        ({"surplus": SECRET}, "alerts.surplus"),
        ({"webhook": "env:A", "smtp": SMTP}, "alerts"),
        ({"smtp": SMTP | {"user": SECRET}}, "alerts.smtp"),
        ({"smtp": SMTP | {"password": "env:A"}}, "alerts.smtp"),
        ({"smtp": SMTP | {"password": SECRET}}, "alerts.smtp.password"),
        ({"smtp": SMTP | {"user": "u", "password": "env:A", "security": "none"}}, "alerts.smtp.security"),
        ({"smtp": SMTP | {"recipients": []}}, "alerts.smtp.recipients"),
        ({"smtp": SMTP | {"recipients": [f"{SECRET}\r\nBcc: x@y.example"]}}, "alerts.smtp.recipients.0"),
        ({"smtp": SMTP | {"host": "mail nestit"}}, "alerts.smtp.host"),
        (SECRET, "alerts"),
        ([SECRET], "alerts"),
        (False, "alerts"),
    ],
)
def test_a_wrong_table_of_alerts_is_told_and_stops_nothing(table: object, path: str) -> None:
    good = document()
    good["alerts"]["webhook"] = "env:BEFORE"
    for accepted, expected in ((None, None), (good, "env:BEFORE")):
        found = from_document(document() | {"alerts": table}, accepted)
        assert next(iter(problems(found))) == path
        assert (found.stopped, len(found.audiences)) == (frozenset(), len(good["audiences"]))
        assert found.alerts.webhook == expected
        assert SECRET not in str(found.problems)


def test_alerts_may_be_left_out() -> None:
    without = document()
    del without["alerts"]
    found = from_document(without)
    assert found.problems == ()
    assert (found.alerts.night_by, found.alerts.removal_hours, found.alerts.repeat_hours) == ("05:00", 6, 24)
    assert from_document(document() | {"alerts": {"smtp": SMTP}}).problems == ()


def test_an_ad_account_is_one_companys_whichever_way_leads_there() -> None:
    """Both destinations reach the same Google: a second company may not have the account by the other way."""
    found = document()
    ads = {**found["destinations"][0], "name": "google_ads"}
    found["destinations"].append(ads)
    own = {**found["ad_accounts"][0], "destination": "google_ads"}
    found["ad_accounts"].append(own)
    assert from_document(found).problems == ()
    found["ad_accounts"][-1] = {**own, "controller": "hemkraft"}
    told = problems(from_document(found))
    assert told["ad_accounts[3].account_id"] == "one ad account for two companies"


@pytest.mark.parametrize(
    ("name", "version", "good"),
    [
        ("google_ads", "v26", True),
        ("google_ads", "v26.0", False),
        ("google_data_manager", "v26", False),
    ],
)
def test_a_version_has_the_form_of_its_platform(name: str, version: str, good: bool) -> None:
    found = document()
    found["destinations"].append({**found["destinations"][0], "name": name, "api_version": version})
    told = problems(from_document(found))
    assert ("destinations[1].api_version" not in told) is good


def test_in_production_metas_accounts_have_a_second_number() -> None:
    found = tomllib.loads(EXAMPLE.read_text("utf-8"))
    at_meta = [n for n, account in enumerate(found["ad_accounts"]) if account["destination"] == "meta"]
    for n in at_meta:
        del found["ad_accounts"][n]["business_id"]
    assert from_document(found).problems == ()
    found["environment"] = "production"
    found["ad_accounts"][at_meta[2]]["state"] = "closed"
    told = [problem for problem in from_document(found).problems if problem.path.endswith("business_id")]
    assert [(problem.path, problem.message) for problem in told] == [
        (f"ad_accounts[{n}].business_id", "missing") for n in at_meta[:2]
    ]
    assert [sorted(problem.audiences or ()) for problem in told] == [
        ["computime/bought_audio_12m/meta", "computime/viewed_laptops_30d/meta"],
        ["bokhyllan/crime_readers/meta", "bokhyllan/lapsed_readers/meta"],
    ]


def test_google_has_no_business_portfolio() -> None:
    found = from_document(broken("ad_accounts.1.business_id", "4440000001"), document())
    assert problems(found) == {"ad_accounts[1].business_id": "only ad accounts at Meta belong to a business portfolio"}
    assert found.stopped == BOOKS
    assert "ad_accounts[1].business_id" in problems(from_document(broken("ad_accounts.1.business_id", "4 4"), document()))


def test_how_a_company_is_reached_is_optional_in_one_line_and_missed_in_production() -> None:
    """A line feed or a tag is no contact line; whoever left the group is not asked for one."""
    wrong = document()
    wrong["controllers"][0]["contact"] = "Box 1\nsecond line"
    wrong["controllers"][1]["dpo"] = "<b>x</b>"
    assert {p.path for p in from_document(wrong).problems} >= {"controllers[0].contact", "controllers[1].dpo"}
    bare = document()
    for controller in bare["controllers"]:
        controller.pop("contact", None)
        controller.pop("dpo", None)
    bare["controllers"][2]["state"] = "divested"
    known = from_document(bare)
    assert known.digest != from_document(document()).digest
    assert list(contacts_missing(replace(known, environment=Environment.SANDBOX))) == []
    found = list(contacts_missing(replace(known, environment=Environment.PRODUCTION)))
    assert [f.where for f in found] == [
        f"controllers.{key}.{name}" for key in list(known.controllers)[:2] for name in ("contact", "dpo")
    ]
    assert all(f.warning for f in found)
