"""The policy as data: the registry of purposes against the rules, what texts and segments may cover, lists of one kind, the kill switch."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from nestaudience.config.load import from_document, from_text, to_text
from nestaudience.config.policy import RULES
from nestaudience.config.sensitive_words import SENSITIVE_WORDS
from nestaudience.config.settings import Settings
from nestaudience.errors import NeedsFix
from nestaudience.vocabulary import AudienceKey, KillSwitch, Purpose, Recipient

EXAMPLE = Path(__file__).parents[2] / "config" / "nestaudience.toml"
SECRET = "xk9veryprivate"
AD, CONVERSIONS, WEB, ORDERS = range(4)
"""The places of the purposes in the example."""
CRIME = frozenset({AudienceKey(f"bokhyllan/crime_readers/{r}") for r in Recipient})
COFFEE = frozenset({AudienceKey(f"hemkraft/coffee_lovers/{r}") for r in Recipient})


def document() -> dict[str, Any]:
    return tomllib.loads(EXAMPLE.read_text("utf-8"))


def changed(table: str, n: int, **values: Any) -> dict[str, Any]:
    """The example with other values in one entry of a list of tables."""
    new = document()
    new[table][n] |= values
    return new


def problems(found: Settings) -> dict[str, str]:
    assert all(problem.remedy for problem in found.problems)
    assert SECRET not in str([(p.path, p.message, p.remedy) for p in found.problems])
    return {problem.path: problem.message for problem in found.problems}


def built_on(*inputs: str) -> frozenset[AudienceKey]:
    audiences = from_document(document()).audiences
    return frozenset(key for key, audience in audiences.items() if set(inputs) & set(audience.segment.data_inputs))


def test_the_example_says_what_the_rules_say_and_lists_every_word() -> None:
    found = from_document(document())
    assert found.problems == ()
    assert {key: (p.basis, frozenset(p.recipients)) for key, p in found.purposes.items()} == {
        key: (rule.basis, rule.recipients) for key, rule in RULES.items()
    }
    assert found.sensitive.words == SENSITIVE_WORDS
    assert found.purposes[Purpose.AD_MATCHING].section != "unnamed"


def test_without_a_registry_the_rules_own_table_holds() -> None:
    without = document()
    for name in ("purposes", "kill_switch", "sensitive", "retention"):
        del without[name]
    del without["policy"]["updated_on"]
    found = from_document(without)
    assert found.problems == ()
    assert found.purposes[Purpose.AD_MATCHING].basis == "consent"
    assert {purpose.disclosed_in for purpose in found.purposes.values()} == {found.policy.version}
    assert (found.retention.log_years, found.retention.salt_days, found.retention.withdrawal_months) == (5, 30, 36)
    assert found.sensitive.words == SENSITIVE_WORDS
    assert found.kill_switch is KillSwitch.OFF


def test_list_matching_never_rests_on_legitimate_interest() -> None:
    found = from_document(changed("purposes", AD, basis="legitimate_interest"), document())
    (message,) = problems(found).values()
    assert "legitimate interest" in message
    assert "consent" in message
    assert found.stopped == frozenset(found.audiences)
    assert found.purposes[Purpose.AD_MATCHING].basis == "consent", "removals go on under what was accepted"


@pytest.mark.parametrize(
    ("n", "values", "path", "stopped"),
    [
        (AD, {"basis": "cookie_consent"}, "basis", None),
        (AD, {"recipients": ["google"]}, "recipients", None),
        (AD, {"data_category": "hashed checkout e-mail address"}, "data_category", None),
        (AD, {"retention": "with_the_log"}, "retention", None),
        (AD, {"disclosed_in": "2024-01-01"}, "disclosed_in", None),
        (AD, {"basis": SECRET}, "basis", None),
        (AD, {"section": f"{SECRET} @"}, "section", None),
        (AD, {"key": SECRET}, "key", None),
        (CONVERSIONS, {"recipients": ["google", "meta"]}, "recipients", frozenset()),
        (CONVERSIONS, {"basis": "consent"}, "basis", frozenset()),
        (WEB, {"basis": "legitimate_interest"}, "basis", built_on("visits", "clicks")),
        (WEB, {"recipients": ["google"]}, "recipients", built_on("visits", "clicks")),
        (ORDERS, {"basis": "consent"}, "basis", built_on("orders")),
        (ORDERS, {"disclosed_in": "2024-01-01"}, "disclosed_in", built_on("orders")),
    ],
)
def test_a_purpose_that_differs_from_the_rules_stops_what_is_built_on_it(
    n: int, values: dict[str, Any], path: str, stopped: frozenset[AudienceKey] | None
) -> None:
    found = from_document(changed("purposes", n, **values), document())
    assert f"purposes[{n}].{path}" in problems(found)
    assert found.stopped == (frozenset(found.audiences) if stopped is None else stopped)
    assert found.purposes == from_document(document()).purposes


def test_a_new_version_of_the_policy_asks_to_look_at_every_purpose_again() -> None:
    new = document()
    new["policy"]["version"] = "2027-01-15"
    found = from_document(new, document())
    assert set(problems(found)) == {f"purposes[{n}].disclosed_in" for n in range(4)}


@pytest.mark.parametrize(
    ("n", "stopped", "places"),
    [
        (AD, "all", {"purposes", "texts[0].purposes", "texts[1].purposes", "texts[2].purposes"}),
        (CONVERSIONS, "all", {"texts[3].purposes"}),
        (
            ORDERS,
            "orders",
            {"segments[0].data_inputs", "segments[2].data_inputs", "segments[3].data_inputs", "segments[4].data_inputs"},
        ),
    ],
)
def test_what_is_not_in_the_registry_is_covered_by_no_text_and_feeds_no_segment(n: int, stopped: str, places: set[str]) -> None:
    without = document()
    del without["purposes"][n]
    found = from_document(without, document())
    assert set(problems(found)) == places
    assert found.stopped == (frozenset(found.audiences) if stopped == "all" else built_on("orders"))


def test_a_text_covers_only_recipients_of_its_purposes() -> None:
    found = from_document(changed("texts", 3, recipients=["google", "meta"]), document())
    assert set(problems(found)) == {"texts[3].recipients"}
    assert from_document(changed("texts", 3, purposes=["web_behaviour"], recipients=["google", "meta"])).problems == ()


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"kind": "exclusion"}, "kind"),
        ({"kind": "lookalike_seed"}, "kind"),
        ({"kind": SECRET}, "kind"),
        ({"identifiers": ["phone_digest"]}, "identifiers"),
        ({"identifiers": ["email_digest", "phone_digest"]}, "identifiers"),
        ({"identifiers": []}, "identifiers"),
    ],
)
def test_lists_are_of_one_kind(values: dict[str, Any], path: str) -> None:
    found = from_document(changed("audiences", 4, **values), document())
    assert set(problems(found)) == {f"audiences[4].{path}"}
    assert found.stopped == {AudienceKey("hemkraft/coffee_lovers/google")}


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("retention", {"log_years": 4}),
        ("retention", {"log_years": 11}),
        ("retention", {"salt_days": 29}),
        ("retention", {"withdrawal_months": 35}),
        ("retention", {"memberships": "a_year"}),
        ("policy", {"updated_on": SECRET}),
        ("sensitive", {"words": [f"{SECRET} two words"]}),
    ],
)
def test_values_out_of_bounds_are_told_without_being_repeated(table: str, values: dict[str, Any]) -> None:
    (name,) = values
    found = from_document(document() | {table: document()[table] | values}, document())
    assert [path.startswith(f"{table}.{name}") for path in problems(found)] == [True]
    assert found.stopped == frozenset(found.audiences)


# -- what empties a list


def test_an_undisclosed_input_or_a_review_that_says_sensitive_empties() -> None:
    assert from_document(document()).emptied == {}
    undisclosed = from_document(changed("segments", 2, data_inputs=["orders", "support_cases"]), document())
    assert undisclosed.emptied == dict.fromkeys(CRIME, "input_undisclosed")
    assert undisclosed.stopped == CRIME
    assert set(problems(undisclosed)) == {"segments[2].data_inputs"}
    coffee = changed("segments", 4)
    coffee["segments"][4]["approval"]["sensitive"] = "reviewed_sensitive"
    assert from_document(coffee, document()).emptied == dict.fromkeys(COFFEE, "sensitive")
    assert from_document(coffee).problems == ()


def test_it_empties_whatever_else_is_wrong_with_the_file() -> None:
    wrong = changed("segments", 4, name=5, data_inputs=["orders", SECRET])
    wrong["segments"][2]["approval"]["sensitive"] = "reviewed_sensitive"
    del wrong["store"]
    found = from_document(wrong, document())
    assert found.emptied == dict.fromkeys(COFFEE, "input_undisclosed") | dict.fromkeys(CRIME, "sensitive")
    assert set(found.audiences) == set(from_document(document()).audiences)


# -- the kill switch


@pytest.mark.parametrize("position", list(KillSwitch))
def test_the_switch_is_read_whatever_else_is_wrong(position: KillSwitch) -> None:
    switch = {"kill_switch": {"position": position.value}}
    for broken in ({}, {"store": 5}, {"segments": []}, {"policy": {}}, {"surplus": 1}, {"gates": {"smallest_list": SECRET}}):
        assert from_document(document() | broken | switch, document()).kill_switch is position
    accepted = from_text(to_text(document() | switch))
    assert from_document(document() | {"store": 5}, accepted).kill_switch is KillSwitch.OFF


@pytest.mark.parametrize(
    "table", [5, [], {"position": SECRET}, {"position": "Everything"}, {"postion": "off"}, {"position": None}]
)
def test_a_switch_that_cannot_be_read_stops_additions(table: object) -> None:
    """Somebody wanted to stop something: nobody joins, and what was stopped before stays stopped."""
    for broken in ({}, {"store": 5}):
        for before, after in (("off", "additions"), ("additions", "additions"), ("everything", "everything")):
            accepted = document() | {"kill_switch": {"position": before}}
            found = from_document(document() | broken | {"kill_switch": table}, accepted)
            assert found.kill_switch.value == after
            assert found.stopped == frozenset(found.audiences)
            assert any(path.split(".")[0] == "kill_switch" for path in problems(found))
    assert from_document(document() | {"kill_switch": table}).kill_switch is KillSwitch.ADDITIONS


def test_without_a_configuration_that_was_accepted_nothing_runs() -> None:
    with pytest.raises(NeedsFix, match="config_unusable"):
        from_document(document() | {"store": 5, "kill_switch": {"position": "additions"}})
