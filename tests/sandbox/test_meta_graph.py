"""The local Graph server, asked over plain HTTP: who may call, its lists and accounts, and its table of behaviours."""

import hashlib
import hmac
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from meta_calls import ACCOUNT, INVALID, MISSING, OTHER, START, Graph, digest, payload, running_meta

from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount, MetaList


def test_every_row_of_the_table_has_a_test_and_every_such_test_a_row() -> None:
    table = files("nestaudience.sandbox").joinpath("meta_graph_behaviour.md").read_text()
    rows = re.findall(r"^\| M(\d\d) \|", table, re.MULTILINE)
    sources = [path.read_text() for path in Path(__file__).parent.glob("test_meta_graph*.py")]
    assert rows == sorted({number for text in sources for number in re.findall(r"^def test_m(\d\d)_", text, re.MULTILINE)})


def test_m01_tokens(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    for token in ("stranger", ""):
        stranger = Graph(meta, token)
        assert stranger.add(target, 1).codes == (190, None)
        assert stranger.get(f"act_{ACCOUNT}").codes == (190, None)
        stranger.close()
    meta.revoke(meta.token)
    assert graph.add(target, 1).codes == (190, 460)
    assert meta.members(ACCOUNT, target) == frozenset()


def test_m02_proofs() -> None:
    for meta in running_meta(app_secret="s3cret"):
        right = hmac.new(b"s3cret", meta.token.encode(), hashlib.sha256).hexdigest()
        for wrong in ({}, {"appsecret_proof": "0" * 64}, {"appsecret_proof": "å"}):
            graph = Graph(meta, **wrong)
            refused = graph.create()
            assert (refused.codes, refused.body["error"]["type"]) == (INVALID, "GraphMethodException")
            graph.close()
        assert meta.lists(ACCOUNT) == []
        graph = Graph(meta, appsecret_proof=right)
        assert graph.create().status == 200
        graph.close()


def test_m03_versions(meta: MetaSandbox) -> None:
    for version, known in (("v25.0", True), ("v26.0", True), ("v24.0", False), ("v27.0", False)):
        graph = Graph(meta, version=version)
        told = graph.get(f"act_{ACCOUNT}")
        assert told.status == 200 if known else told.codes == (2635, None)
        graph.close()
    graph = Graph(meta)
    graph._connection.request("GET", f"/act_{ACCOUNT}?access_token={meta.token}")
    assert json.loads(graph._connection.getresponse().read())["error"]["code"] == 2635
    graph.close()


def test_m04_accounts(meta: MetaSandbox, graph: Graph) -> None:
    hidden = meta.add_list(OTHER, MetaList("", "theirs", "d"))
    for path in (f"act_{OTHER}", "act_5550001111", f"act_{OTHER}/customaudiences", hidden.list_id, "123"):
        assert graph.get(path).codes == MISSING
    for list_id in (hidden.list_id, "123"):
        assert graph.add(list_id, 1).codes == MISSING
        assert graph.remove(list_id, 1).codes == MISSING
    friend = Graph(meta, "other-token")
    assert friend.add(hidden.list_id, 1).status == 200
    assert friend.get(f"act_{ACCOUNT}").codes == MISSING
    friend.close()
    assert meta.members(OTHER, hidden.list_id) == {digest(1)}


def test_m05_outside(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    graph.add(target, 1)
    assert graph.post(f"{target}/usersreplace", payload=payload(2)).codes == MISSING
    assert graph.post(target, name="another").codes == MISSING
    assert graph.post(target, method="DELETE").codes == MISSING
    assert graph.post(f"act_{ACCOUNT}/usersofanyaudience", method="DELETE", payload=payload(1)).codes == MISSING
    assert graph.get("me/adaccounts").codes == MISSING
    assert graph.get(f"{target}/users").codes == MISSING
    assert meta.members(ACCOUNT, target) == {digest(1)}
    assert meta.seen("Unknown") == 6


def test_m07_create(meta: MetaSandbox, graph: Graph) -> None:
    told = graph.create("first", description="code", retention_days="30")
    assert list(told.body) == ["id"]
    (held,) = meta.lists(ACCOUNT)
    assert (held.list_id, held.display_name, held.description, held.retention_days, held.open) == (
        told.body["id"],
        "first",
        "code",
        30,
        True,
    )
    for days in ("1", "180", None):
        assert graph.create(retention_days=days).status == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"name": None},
        {"name": ""},
        {"subtype": None},
        {"subtype": "WEBSITE"},
        {"customer_file_source": None},
        {"customer_file_source": "BOUGHT"},
        {"retention_days": "0"},
        {"retention_days": "181"},
        {"retention_days": "-1"},
        {"retention_days": "1.5"},
        {"retention_days": "٣"},
    ],
)
def test_m08_incomplete_lists(meta: MetaSandbox, graph: Graph, changed: dict[str, Any]) -> None:
    assert graph.create(**changed).codes == INVALID
    assert meta.lists(ACCOUNT) == []


def test_m09_names_need_not_be_free(meta: MetaSandbox, graph: Graph) -> None:
    assert graph.made("n") != graph.made("n")
    assert [held.display_name for held in meta.lists(ACCOUNT)] == ["n", "n"]


def test_m10_most_lists(meta: MetaSandbox, graph: Graph) -> None:
    for number in range(499):
        meta.add_list(ACCOUNT, MetaList("", f"n{number}", "d"))
    meta.add_list(ACCOUNT, MetaList("", "alike", "d", subtype="LOOKALIKE"))
    graph.made()
    assert graph.create().codes == (2654, None)
    graph.delete(meta.lists(ACCOUNT)[0].list_id)
    assert graph.create().status == 200


def test_m11_reading_a_list(graph: Graph) -> None:
    target = graph.made("shown", retention_days="30")
    assert graph.get(target).body == {"id": target}
    told = graph.get(f"{target}/", fields="name,subtype,retention_days,customer_file_source,account_id,delete_time,time_created")
    assert told.body == {
        "id": target,
        "name": "shown",
        "subtype": "CUSTOM",
        "retention_days": 30,
        "customer_file_source": "USER_PROVIDED_ONLY",
        "account_id": ACCOUNT,
        "time_created": int(START.timestamp()),
    }
    assert "retention_days" not in graph.get(graph.made(), fields="retention_days").body
    assert graph.get(target, fields="name,colour").codes == INVALID


def test_m12_listing(meta: MetaSandbox, graph: Graph) -> None:
    edge = f"act_{ACCOUNT}/customaudiences"
    assert graph.get(edge).body == {"data": []}
    for number in range(60):
        meta.add_list(ACCOUNT, MetaList("", f"n{number}", "d"))
    assert len(graph.get(edge).body["data"]) == 25
    found: list[str] = []
    after: dict[str, str] = {}
    for left in (40, 20, 0):
        told = graph.get(edge, fields="name", limit="20", **after).body
        found += [item["name"] for item in told["data"]]
        after = {"after": told["paging"]["cursors"]["after"]}
        assert ("next" in told["paging"]) == (left > 0)
        if left:
            assert told["paging"]["next"].startswith(f"http://{meta.endpoint}/v26.0/{edge}?")
            assert meta.token in told["paging"]["next"]
    assert found == [f"n{number}" for number in range(60)]
    assert graph.get(edge, limit="20", **after).body == {"data": []}


def test_m13_listing_too_much(graph: Graph) -> None:
    edge = f"act_{ACCOUNT}/customaudiences"
    assert graph.get(edge, limit="101").codes == (1, None)
    assert graph.get(edge, limit="100").status == 200
    for wrong in ({"limit": "0"}, {"limit": "many"}, {"after": "bm9ib2R5"}, {"filtering": "[]"}, {"fields": "colour"}):
        assert graph.get(edge, **wrong).codes == INVALID


def test_m32_deleting(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    meta.lists(ACCOUNT)[0].lookalikes = 1
    assert graph.delete(target).codes == (2656, None)
    meta.lists(ACCOUNT)[0].lookalikes = 0
    assert graph.delete(target).body == {"success": True}
    assert meta.lists(ACCOUNT) == []
    assert graph.delete(target).codes == MISSING
    assert graph.add(target, 1).codes == MISSING


def test_m35_reading_an_account(meta: MetaSandbox, graph: Graph) -> None:
    meta.accounts[ACCOUNT] = MetaAccount(name="Shop", business_id="9", business_name="Shop AB")
    fields = "name,business,currency,tos_accepted,account_id"
    assert graph.get(f"act_{ACCOUNT}/", fields=fields).body == {
        "id": f"act_{ACCOUNT}",
        "name": "Shop",
        "business": {"id": "9", "name": "Shop AB"},
        "currency": "SEK",
        "tos_accepted": {"custom_audience_tos": 1},
        "account_id": ACCOUNT,
    }
    meta.accounts[ACCOUNT] = MetaAccount(business_id=None, tos_accepted=False)
    told = graph.get(f"act_{ACCOUNT}", fields=fields).body
    assert told["tos_accepted"] == {}
    assert "business" not in told
    assert graph.get(f"act_{ACCOUNT}", fields="secrets").codes == INVALID


def test_m40_what_a_list_says_of_itself(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    fields = "operation_status,delivery_status,approximate_count_lower_bound,approximate_count_upper_bound"

    def said() -> tuple[int, int, int, int]:
        told = graph.get(target, fields=f"{fields},fields_violating_integrity_policy,permission_for_actions").body
        bounds = told["approximate_count_lower_bound"], told["approximate_count_upper_bound"]
        assert told["permission_for_actions"]["can_edit"] == ("fields_violating_integrity_policy" not in told)
        return told["operation_status"]["code"], told["delivery_status"]["code"], *bounds

    assert said() == (410, 300, 0, 100)
    graph.add(target, *range(99))
    assert said() == (200, 300, 0, 100)
    graph.add(target, *range(100, 160))
    assert said() == (200, 200, 100, 200)
    graph.add(target, payload=payload(data=[["x"], ["y"], [digest(1)]]))
    assert said() == (412, 200, 100, 200)
    meta.flag_list(ACCOUNT, target)
    assert said() == (471, 400, 100, 200)
    meta.set_status(ACCOUNT, target, None)
    assert said() == (412, 200, 100, 200)


def test_m41_permissions(meta: MetaSandbox, graph: Graph) -> None:
    meta.access.permissions["ads_management"] = "declined"
    told = {row["permission"]: row["status"] for row in graph.get("me/permissions").body["data"]}
    assert told == {"ads_management": "declined", "ads_read": "granted", "business_management": "granted"}
    stranger = Graph(meta, "stranger")
    assert stranger.get("me/permissions").codes == (190, None)
    stranger.close()


def test_m42_whose_the_token_is(meta: MetaSandbox, graph: Graph) -> None:
    me = graph.get("me", fields="id").body["id"]
    users = "4440000001/system_users"
    assert [row["id"] for row in graph.get(users, fields="id").body["data"]] == [me]
    meta.access.system_users = ()
    assert graph.get(users).body == {"data": []}
    del meta.access.permissions["business_management"]
    assert graph.get(users).codes == (200, None)
    for outside in ("me/adaccounts", "act_me", "act_me/permissions"):
        assert graph.get(outside).codes == MISSING


def test_m43_permission_to_write(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    graph.add(target, 1)
    meta.access.permissions["ads_management"] = "expired"
    for refused in (graph.add(target, 2), graph.remove(target, 1), graph.create(), graph.delete(target)):
        assert refused.codes == (200, None)
    assert graph.get(target).status == 200
    assert meta.members(ACCOUNT, target) == {digest(1)}


def test_m44_which_version_answered(meta: MetaSandbox) -> None:
    def headers(version: str, path: str) -> dict[str, str]:
        graph = Graph(meta, version=version)
        found = graph.get(path).headers
        graph.close()
        return {name.lower(): value for name, value in found.items()}

    for path in (f"act_{ACCOUNT}", "me"):
        for version in ("v25.0", "v26.0"):
            found = headers(version, path)
            assert found["facebook-api-version"] == version
            assert "x-ad-api-version-warning" not in found
    meta.upgrades = frozenset({"v24.0"})
    found = headers("v24.0", f"act_{ACCOUNT}")
    assert found["facebook-api-version"] == "v26.0"
    assert found["x-ad-api-version-warning"]


def test_m45_lists_that_others_share(meta: MetaSandbox, graph: Graph) -> None:
    own = graph.made("own")
    shared = meta.add_list(OTHER, MetaList("", "theirs", "", shared_with=(ACCOUNT,))).list_id
    meta.add_list(OTHER, MetaList("", "their own", ""))
    told = graph.get(f"act_{ACCOUNT}/customaudiences", fields="account_id").body["data"]
    assert told == [{"id": own, "account_id": ACCOUNT}, {"id": shared, "account_id": OTHER}]
    meta.hand_over(ACCOUNT, own, OTHER)
    told = graph.get(f"act_{ACCOUNT}/customaudiences", fields="account_id").body["data"]
    assert told == [{"id": shared, "account_id": OTHER}, {"id": own, "account_id": OTHER}]
    assert graph.add(own, 1).codes == MISSING


def test_m46_who_may_use_a_list(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    assert graph.get(f"{target}/adaccounts").body == {"data": [{"id": f"act_{ACCOUNT}"}]}
    assert graph.get(f"{target}/shared_account_info").body == {"data": []}
    meta.accounts["9"] = MetaAccount(business_id="4440000002")
    meta.lists(ACCOUNT)[0].shared_with = (OTHER, "9")
    inside = graph.get(f"{target}/adaccounts", fields="id").body["data"]
    assert [row["id"] for row in inside] == [f"act_{ACCOUNT}", f"act_{OTHER}", "act_9"]
    assert graph.get(f"{target}/shared_account_info").body == {"data": [{"account_id": "9", "sharing_status": "SHARED"}]}
    assert graph.get("123/adaccounts").codes == MISSING


def test_m47_days_and_lookalikes(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    asked = {"fields": "delete_time,lookalike_audience_ids"}
    assert graph.get(target, **asked).body == {"id": target}
    kept = meta.lists(ACCOUNT)[0]
    kept.deleted_at, kept.lookalikes = START, 2
    told = graph.get(target, **asked).body
    assert told["delete_time"] == int(START.timestamp())
    assert told["lookalike_audience_ids"] == [f"{target}00", f"{target}01"]
