"""What Meta shows of a list beyond its facts, through the real client, and what is made of odd answers."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from answering_http import answering, told

from nestaudience.destinations.meta import Meta
from nestaudience.destinations.meta_settings import MetaSettings
from nestaudience.destinations.meta_signs import SIGN_FIELDS
from nestaudience.destinations.port import Account, AccountSigns, ListSigns, ListSpec, TellsSigns
from nestaudience.errors import NeedsFix, TryAgain
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount, MetaList, Session

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ACCOUNT, OTHER, STRANGER = Account("1112223333"), Account("4445556666"), Account("7778889999")


@pytest.fixture
def sandbox() -> Iterator[MetaSandbox]:
    accounts = {ACCOUNT.account_id: MetaAccount(), OTHER.account_id: MetaAccount()}
    accounts[STRANGER.account_id] = MetaAccount(business_id="4440000002")
    with MetaSandbox(accounts, SandboxClock(NOW), keep_requests=True) as running:
        yield running


@pytest.fixture
def meta(sandbox: MetaSandbox) -> Iterator[Meta]:
    destination = Meta(
        MetaSettings(sandbox.token, terms_accepted=True, endpoint=f"http://{sandbox.endpoint}"), sleep=lambda _: None
    )
    yield destination
    destination.close()


def made(meta: Meta) -> str:
    return meta.create_list(ACCOUNT, ListSpec("na-00000001", "na-00000001 x", 30)).list_id


def signs(meta: Meta, list_id: str) -> ListSigns:
    (found,) = meta.signs(ACCOUNT, frozenset({list_id})).lists
    return found


def test_a_list_as_we_left_it(sandbox: MetaSandbox, meta: Meta) -> None:
    assert isinstance(meta, TellsSigns)
    list_id = made(meta)
    quiet = ListSigns(list_id, ACCOUNT.account_id, 410, 300, 0, 100, shared_with=(), sessions_open=0)
    assert meta.signs(ACCOUNT, frozenset({list_id})) == AccountSigns((quiet,), 0)
    assert sandbox.writes == 1
    assert sandbox.reads == 4  # the listing; who may use it, twice; its sessions


def test_everything_that_may_have_happened_to_a_list(sandbox: MetaSandbox, meta: Meta) -> None:
    list_id = made(meta)
    (kept,) = sandbox.lists(ACCOUNT.account_id)
    kept.lookalikes, kept.deleted_at = 2, NOW + timedelta(days=90)
    kept.shared_with = (STRANGER.account_id, OTHER.account_id)
    sandbox.flag_list(ACCOUNT.account_id, list_id)
    for number, finished in ((1, NOW), (2, None), (3, None)):
        session = Session(number, list_id, addition=True, started=NOW, finished=finished)
        sandbox._state.sessions[ACCOUNT.account_id, number] = session
    assert signs(meta, list_id) == ListSigns(
        list_id,
        ACCOUNT.account_id,
        operation=471,
        delivery=400,
        lower=0,
        upper=100,
        deleted_on=date(2027, 2, 20),
        violating=("NAME",),
        lookalikes=(f"{list_id}00", f"{list_id}01"),
        shared_with=(OTHER.account_id, STRANGER.account_id),
        sessions_open=2,
    )


def test_another_owner(sandbox: MetaSandbox, meta: Meta) -> None:
    list_id = made(meta)
    sandbox.hand_over(ACCOUNT.account_id, list_id, OTHER.account_id)
    found = signs(meta, list_id)
    assert (found.owner, found.shared_with, found.sessions_open) == (OTHER.account_id, None, None)
    (handed,) = sandbox.lists(OTHER.account_id)
    handed.shared_with = ()  # the old account sees it no longer: Meta is asked by its id
    assert signs(meta, list_id).owner == OTHER.account_id
    sandbox.accounts[OTHER.account_id] = MetaAccount(tokens=frozenset({"another"}))
    assert meta.signs(ACCOUNT, frozenset({list_id})) == AccountSigns((), 0)


def test_lists_of_others_in_our_account(sandbox: MetaSandbox, meta: Meta) -> None:
    made(meta)
    for changed in ({"shared_with": (ACCOUNT.account_id,)}, {}, {"shared_with": (ACCOUNT.account_id,), "subtype": "LOOKALIKE"}):
        sandbox.add_list(OTHER.account_id, replace(MetaList("", "theirs", ""), **changed))  # type: ignore[arg-type]
    assert meta.signs(ACCOUNT, frozenset()) == AccountSigns((), 1)


def test_what_meta_does_not_answer_is_not_known(sandbox: MetaSandbox, meta: Meta) -> None:
    list_id = made(meta)
    for kind in ("ReadSharing", "ReadSharingOutside", "ReadSessions"):
        sandbox.faults.add(Fault(kind, FaultKind.MALFORMED_DETAILS, 4))
    found = signs(meta, list_id)
    assert (found.shared_with, found.sessions_open, found.operation) == (None, None, 410)
    sandbox.faults.clear()
    sandbox.faults.add(Fault("ListAudiences", FaultKind.UNAVAILABLE, 4))
    with pytest.raises(TryAgain):
        meta.signs(ACCOUNT, frozenset({list_id}))
    with pytest.raises(NeedsFix):
        meta.signs(Account("act_1"), frozenset({list_id}))


def test_odd_signs_are_read_with_care() -> None:
    item = {"id": "5", "account_id": f"act_{ACCOUNT.account_id}"}
    odd: dict[str, object] = {
        "operation_status": "471",
        "delivery_status": {"status": "400"},
        "approximate_count_lower_bound": -1,
        "approximate_count_upper_bound": "1000",
        "delete_time": 2**40,
        "fields_violating_integrity_policy": ["NAME", "a <b>", 5, None, "x" * 41],
        "lookalike_audience_ids": [7, "8", "a", None, True],
    }
    sharing = {
        "data": [{"id": "act_9"}, {"id": None}, {"account_id": "10", "sharing_status": "NOT_SHARED"}, {"account_id": "11"}]
    }
    with answering() as (server, meta):
        server.answer = lambda call: told({"data": [{**item, **odd}]} if "customaudiences" in call.url else sharing)
        assert signs(meta, "5") == ListSigns(
            "5",
            ACCOUNT.account_id,
            delivery=400,
            upper=1000,
            violating=("NAME",),
            lookalikes=("7", "8"),
            shared_with=("11", "9"),
            sessions_open=4,
        )
        for field in odd:
            for value in (None, {}, [], "", True, {"code": None}, -1):
                listing = told({"data": [{**item, field: value}]})
                server.answer = lambda call, answer=listing: answer if "customaudiences" in call.url else told({})  # type: ignore[misc]
                assert signs(meta, "5") == ListSigns("5", ACCOUNT.account_id)
    assert set(odd) <= set(SIGN_FIELDS.split(","))
