"""The local Graph server, asked over plain HTTP: who joins and leaves, upload sessions, and what is refused."""

from datetime import timedelta
from http.client import RemoteDisconnected
from typing import Any

import pytest
from meta_calls import ACCOUNT, INVALID, Graph, digest, payload, session

from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount, MetaList

TERMS, SMALL, FLAGGED, BUSY = (200, 1870090), (200, 1870047), (100, 1713230), (2650, 1870145)


def test_m06_terms(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    graph.add(target, 1)
    meta.accounts[ACCOUNT] = MetaAccount(tos_accepted=False)
    assert graph.add(target, 2).codes == TERMS
    assert graph.remove(target, 1).codes == TERMS
    assert graph.delete(f"{target}/users", payload=payload(1)).codes == TERMS
    assert meta.members(ACCOUNT, target) == {digest(1)}


def test_m14_adding(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    told = graph.add(target, 1, 2, 3, session=session(last=True))
    assert told.body == {
        "audience_id": target,
        "session_id": "7",
        "num_received": 3,
        "num_invalid_entries": 0,
        "invalid_entry_samples": [],
    }
    graph.add(target, 3, 4)
    assert meta.members(ACCOUNT, target) == {digest(number) for number in (1, 2, 3, 4)}
    assert meta.received[1][0] == "AddUsers"
    assert meta.received[1][1].startswith(f"POST /v26.0/{target}/users?access_token={meta.token} HTTP/1.1\r\n\r\n".encode())
    assert digest(1).encode() in meta.received[1][1]


def test_m15_removing_by_post(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    graph.add(target, 1, 2, 3)
    assert graph.remove(target, 1, 9, session=session(last=True)).body["num_received"] == 2
    assert meta.members(ACCOUNT, target) == {digest(2), digest(3)}
    everybody = range(2, 10_002)
    graph.add(target, *everybody)
    assert graph.remove(target, *everybody).status == 200
    assert meta.members(ACCOUNT, target) == frozenset()
    assert (meta.seen("AddUsers"), meta.seen("RemoveUsers")) == (2, 2)


def test_m16_removing_by_delete(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    graph.add(target, 1, 2)
    told = graph.delete(f"{target}/users", payload=payload(1), session=session(session_id=8))
    assert (told.body["session_id"], told.body["num_received"]) == ("8", 1)
    assert meta.members(ACCOUNT, target) == {digest(2)}


def test_m17_long_deletes_are_dropped(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    graph.add(target, *range(300))
    assert graph.delete(f"{target}/users", payload=payload(*range(200))).status == 200
    for _ in range(2):
        with pytest.raises((RemoteDisconnected, ConnectionResetError)):
            graph.delete(f"{target}/users", payload=payload(*range(200, 500)))
    assert len(meta.members(ACCOUNT, target)) == 100
    assert meta.seen("RemoveUsers") == 3


def test_m18_endless_request_lines(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    graph.add(target, *range(900))
    told = graph.delete(f"{target}/users", payload=payload(*range(900)))
    assert (told.status, told.headers["Connection"]) == (414, "close")
    assert b"<html" in told.body.lower()
    assert len(meta.members(ACCOUNT, target)) == 900
    assert meta.seen("RemoveUsers") == 0


def test_m19_too_many_rows(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    assert graph.add(target, *range(10_001)).codes == INVALID
    assert graph.add(target).codes == INVALID
    assert meta.members(ACCOUNT, target) == frozenset()
    assert graph.add(target, *range(10_000)).body["num_received"] == 10_000
    assert graph.remove(target, *range(10_001)).codes == INVALID
    assert len(meta.members(ACCOUNT, target)) == 10_000


@pytest.mark.parametrize(
    "wrong",
    [
        "{",
        "[]",
        payload(1, schema="EMAIL"),
        payload(1, schema=["EMAIL", "PHONE"]),
        payload(1, schema=["PHONE"]),
        payload(1, schema="PHONE_SHA256"),
        payload(1, is_raw=False),
        payload(1, is_raw="true"),
        payload(data=[digest(1)]),
        payload(data=[[digest(1)], digest(2)]),
        payload(data=[[digest(1), digest(2)]]),
        payload(data=[[digest(1)], []]),
        payload(data=[[None]]),
        payload(data={"0": digest(1)}),
        payload(schema="EMAIL_SHA256", data=[digest(1), [digest(2)]]),
    ],
)
def test_m20_payloads_that_do_not_match(meta: MetaSandbox, graph: Graph, wrong: Any) -> None:
    target = graph.made()
    assert graph.add(target, payload=wrong).codes == INVALID
    assert graph.remove(target, payload=wrong).codes == INVALID
    assert graph.post(f"{target}/users").codes == INVALID
    assert graph.ask("POST", f"{target}/users").codes == INVALID
    assert meta.members(ACCOUNT, target) == frozenset()


def test_m21_wrong_digests(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    wrong = ["anna@example.com", digest(1).upper(), digest(1)[:-1], digest(1) + "\n", digest(1) + "0", "", "0x" + digest(1)[2:]]
    told = graph.add(target, payload=payload(data=[[digest(2)], *[[value] for value in wrong]])).body
    assert (told["num_received"], told["num_invalid_entries"]) == (8, 7)
    assert told["invalid_entry_samples"] == {str(place): value for place, value in enumerate(wrong, start=1)}
    assert meta.members(ACCOUNT, target) == {digest(2)}
    many = graph.add(target, payload=payload(data=[["x"]] * 500)).body
    assert (many["num_invalid_entries"], len(many["invalid_entry_samples"])) == (500, 100)


def test_m22_two_shapes(meta: MetaSandbox, graph: Graph) -> None:
    flat = payload(schema="EMAIL_SHA256", data=[digest(1)], is_raw=False)
    nested = payload(schema="EMAIL_SHA256", data=[[digest(2)]], is_raw=False)
    rows, single = graph.made(), graph.made()
    assert graph.remove(rows, payload=flat).status == 200
    assert graph.add(rows, 1).status == 200
    assert graph.add(single, payload=flat).status == 200
    assert graph.add(single, payload=nested).status == 200
    assert graph.add(rows, payload=flat).codes == (2650, None)
    assert graph.remove(rows, payload=flat).codes == (2650, None)
    assert graph.add(single, 3).codes == (2650, None)
    assert (meta.members(ACCOUNT, rows), meta.members(ACCOUNT, single)) == ({digest(1)}, {digest(1), digest(2)})


def test_m23_sessions_that_make_no_sense(meta: MetaSandbox, graph: Graph) -> None:
    target, another = graph.made(), graph.made()
    ids = (0, -1, 2**63, "7", True, 1.5, None)
    wrong: list[Any] = [session(session_id=value) for value in ids] + [session(number) for number in (0, 2, -1)]
    wrong += ["{", "[]", {"session_id": 7}, {"session_id": 7, "batch_seq": 1, "last_batch_flag": "true"}]
    for given in wrong:
        assert graph.add(target, 1, session=given).codes == INVALID
    assert meta.members(ACCOUNT, target) == frozenset()
    assert graph.add(target, 1, session=session(session_id=2**63 - 1)).status == 200
    assert graph.add(another, 1, session=session(2, 2**63 - 1)).codes == INVALID
    assert graph.remove(target, 1, session=session(2, 2**63 - 1)).codes == INVALID
    assert meta.members(ACCOUNT, target) == {digest(1)}


def test_m24_counts_of_a_session(graph: Graph) -> None:
    target = graph.made()
    counts = []
    for number, again in ((1, 1), (2, 2), (3, 2), (4, 3)):
        told = graph.add(target, payload=payload(number, data=[[digest(number)], ["x"]]), session=session(again)).body
        counts.append((told["num_received"], told["num_invalid_entries"]))
    assert counts == [(2, 1), (4, 2), (6, 3), (8, 4)]
    assert graph.add(target, 9, session=session(session_id=8)).body["num_received"] == 1


def test_m25_a_session_lasts_90_minutes(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    graph.add(target, 1, session=session())
    meta.advance(timedelta(minutes=89, seconds=59))
    assert graph.add(target, 2, session=session(2)).body["num_received"] == 2
    meta.advance(timedelta(seconds=1))
    for number in (2, 3):
        assert graph.add(target, 3, session=session(number)).body["num_received"] == 2
    assert meta.members(ACCOUNT, target) == {digest(1), digest(2)}


def test_m26_after_the_last_batch(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    for number, value, received in ((1, 1, 1), (2, 2, 2), (3, 3, 2), (2, 2, 3)):
        told = graph.add(target, value, session=session(number, last=number > 1))
        assert told.body["num_received"] == received
    assert meta.members(ACCOUNT, target) == {digest(1), digest(2)}


def test_m27_no_session(graph: Graph) -> None:
    target = graph.made()
    told = [graph.add(target, 1).body for _ in range(2)]
    assert [answer["num_received"] for answer in told] == [1, 1]
    assert len({answer["session_id"] for answer in told}) == 2


def test_m28_reading_sessions(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    graph.add(target, payload=payload(data=[[digest(1)], ["x"]]), session=session())
    graph.add(target, 1, session=session(session_id=8))
    (told,) = graph.get(f"{target}/sessions", session_id="7", summary="true").body["data"]
    assert all(isinstance(value, str) for value in told.values())
    assert (told["session_id"], told["num_received"], told["num_matched"], told["num_invalid_entries"]) == ("7", "2", "1", "1")
    assert (told["stage"], "end_time" in told) == ("uploading", False)
    graph.add(target, 2, session=session(2, last=True))
    (told,) = graph.get(f"{target}/sessions", session_id="7").body["data"]
    assert (told["num_received"], told["stage"], "end_time" in told) == ("3", "finished", True)
    graph.add(graph.made(), 2, session=session(session_id=10))
    assert len(graph.get(f"{target}/sessions").body["data"]) == 2
    assert graph.get(f"{target}/sessions", session_id="10").body == {"data": []}
    assert graph.get(f"{target}/sessions", session_id="9").body == {"data": []}
    assert graph.get(f"{target}/sessions", session_id="x").codes == INVALID
    assert meta.seen("ReadSessions") == 6


def test_m29_small_removals(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    graph.add(target, *range(10))
    assert graph.remove(target, 0).status == 200
    meta.accounts[ACCOUNT] = MetaAccount(refuse_small_removals_below=8)
    assert graph.remove(target, 1).status == 200
    assert graph.remove(target, 2).codes == SMALL
    assert graph.delete(f"{target}/users", payload=payload(2)).codes == SMALL
    meta.lists(ACCOUNT)[0].refuse_small_removals_below = 9
    assert graph.remove(target, 99).status == 200
    assert len(meta.members(ACCOUNT, target)) == 8
    meta.lists(ACCOUNT)[0].refuse_small_removals_below = 0
    assert graph.remove(target, 2).status == 200


def test_m30_flagged_lists(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    graph.add(target, 1)
    meta.flag_list(ACCOUNT, target)
    assert [graph.add(target, 2).codes, graph.remove(target, 1).codes] == [FLAGGED, FLAGGED]
    assert meta.members(ACCOUNT, target) == {digest(1)}
    assert not meta.lists(ACCOUNT)[0].open
    assert graph.delete(target).body == {"success": True}


def test_m31_lists_that_are_being_replaced(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    meta.set_status(ACCOUNT, target, 414)
    assert [graph.add(target, 2).codes, graph.remove(target, 1).codes] == [BUSY, BUSY]
    meta.set_status(ACCOUNT, target, None)
    assert graph.add(target, 1).status == 200


def test_m36_opting_out(meta: MetaSandbox, graph: Graph) -> None:
    first, second = graph.made(), graph.made()
    for target in (first, second):
        graph.add(target, 1, 2)
    meta.flag_list(ACCOUNT, second)
    told = graph.delete(f"act_{ACCOUNT}/usersofanyaudience", payload=payload(1, 9), session=session(last=True))
    assert (told.body["account_id"], told.body["num_received"]) == (ACCOUNT, 2)
    assert [meta.members(ACCOUNT, target) for target in (first, second)] == [{digest(2)}, {digest(2)}]
    graph.add(first, 1)
    assert meta.members(ACCOUNT, first) == {digest(1), digest(2)}
    assert (meta.seen("OptOut"), graph.delete(f"act_{ACCOUNT}/usersofanyaudience").codes) == (1, INVALID)


def test_m37_opting_out_refused(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    graph.add(target, 1)
    for account, expected in ((MetaAccount(tos_accepted=False), TERMS), (MetaAccount(business_id=None), (200, 1870050))):
        meta.accounts[ACCOUNT] = account
        assert graph.delete(f"act_{ACCOUNT}/usersofanyaudience", payload=payload(1)).codes == expected
    assert meta.members(ACCOUNT, target) == {digest(1)}


def test_m38_memberships_run_out(meta: MetaSandbox, graph: Graph) -> None:
    target, for_ever = graph.made(retention_days="7"), graph.made()
    for one in (target, for_ever):
        graph.add(one, 1, 2)
    meta.advance(timedelta(days=6))
    graph.add(target, 2)
    assert meta.members(ACCOUNT, target) == {digest(1), digest(2)}
    meta.advance(timedelta(days=1))
    assert meta.members(ACCOUNT, target) == {digest(2)}
    meta.advance(timedelta(days=6))
    assert meta.members(ACCOUNT, target) == frozenset()
    assert len(meta.members(ACCOUNT, for_ever)) == 2


def test_m39_changes_that_take_time(meta: MetaSandbox, graph: Graph) -> None:
    target = graph.made()
    meta.apply_after = timedelta(hours=1)
    assert graph.add(target, 1, 2).body["num_received"] == 2
    meta.apply_after = timedelta(minutes=10)
    graph.remove(target, 1)
    assert meta.members(ACCOUNT, target) == frozenset()
    assert graph.get(target, fields="operation_status").body["operation_status"]["code"] == 441
    meta.advance(timedelta(minutes=10))
    assert meta.members(ACCOUNT, target) == frozenset()
    meta.advance(timedelta(minutes=50))
    assert meta.members(ACCOUNT, target) == {digest(1), digest(2)}
    assert graph.get(target, fields="operation_status").body["operation_status"]["code"] == 200
    meta.apply_after = timedelta(hours=1)
    graph.add(target, 3)
    meta.apply_after = timedelta(minutes=10)
    graph.remove(target, 3)
    meta.advance(timedelta(hours=2))
    assert digest(3) in meta.members(ACCOUNT, target)
    other = meta.add_list(ACCOUNT, MetaList("", "n", "d"))
    graph.add(other.list_id, 1)
    meta.drop_list(ACCOUNT, other.list_id)
    meta.advance(timedelta(hours=1))
    assert meta.members(ACCOUNT, other.list_id) == frozenset()


def test_m48_opting_out_by_post(meta: MetaSandbox, graph: Graph) -> None:
    first, second = graph.made(), graph.made()
    for target in (first, second):
        graph.add(target, 1, 2)
    path, form = f"act_{ACCOUNT}/usersofanyaudience", {"method": "DELETE", "payload": payload(1), "session": session(last=True)}
    assert graph.post(path, **form).codes == (100, 33)
    meta.opt_out_by_post = True
    assert graph.post(path, **form).body["num_received"] == 1
    assert [meta.members(ACCOUNT, target) for target in (first, second)] == [{digest(2)}, {digest(2)}]
    assert graph.post(f"act_{ACCOUNT}/customaudiences", method="DELETE").codes == (100, 33)
    assert graph.post(first, method="DELETE").codes == (100, 33)


def test_m49_too_many_to_opt_out(meta: MetaSandbox, graph: Graph) -> None:
    meta.opt_out_by_post = True
    target = graph.made()
    graph.add(target, *range(201))
    path = f"act_{ACCOUNT}/usersofanyaudience"
    for people in (range(201), range(0)):
        assert graph.post(path, method="DELETE", payload=payload(*people)).codes == INVALID
    assert len(meta.members(ACCOUNT, target)) == 201
    assert graph.post(path, method="DELETE", payload=payload(*range(200))).status == 200
    assert len(meta.members(ACCOUNT, target)) == 1
