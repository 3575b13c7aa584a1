"""What Meta says of an ad account and of our access to it, and what is made of odd answers."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime

import facebook_business.apiconfig
import pytest
from answering_http import AnsweringHttp, answering, told

from nestaudience.config.meta_versions import ENDS, NEWEST, is_known, last_day, served
from nestaudience.destinations.meta import Meta
from nestaudience.destinations.meta_settings import MetaSettings
from nestaudience.destinations.port import AccessFacts, Account, AccountFacts, TellsAccount
from nestaudience.errors import MustStop, NeedsFix, TryAgain
from nestaudience.sandbox.clock import SandboxClock
from nestaudience.sandbox.faults import Fault, FaultKind
from nestaudience.sandbox.meta_graph import VERSIONS, MetaSandbox
from nestaudience.sandbox.meta_state import MetaAccount

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ACCOUNT, BUSINESS = Account("1112223333"), "4440000001"


@pytest.fixture
def sandbox() -> Iterator[MetaSandbox]:
    with MetaSandbox({ACCOUNT.account_id: MetaAccount()}, SandboxClock(NOW), keep_requests=True) as running:
        yield running


def opened(sandbox: MetaSandbox, **changed: object) -> Meta:
    settings = MetaSettings(sandbox.token, terms_accepted=True, endpoint=f"http://{sandbox.endpoint}")
    return Meta(replace(settings, **changed), sleep=lambda _: None)  # type: ignore[arg-type]


@pytest.fixture
def meta(sandbox: MetaSandbox) -> Iterator[Meta]:
    destination = opened(sandbox)
    yield destination
    destination.close()


def test_whose_an_account_is(sandbox: MetaSandbox, meta: Meta) -> None:
    assert isinstance(meta, TellsAccount)
    facts = AccountFacts(ACCOUNT.account_id, BUSINESS, "SEK", terms_accepted=True, api_version=NEWEST)
    assert meta.account_facts(ACCOUNT) == facts
    changed = {"business_id": None, "currency": "EUR", "tos_accepted": False}
    sandbox.accounts[ACCOUNT.account_id] = MetaAccount(**changed)  # type: ignore[arg-type]
    assert meta.account_facts(ACCOUNT) == replace(facts, business_id=None, currency="EUR", terms_accepted=False)
    assert (sandbox.reads, sandbox.writes) == (2, 0)


def test_an_account_that_cannot_be_read(sandbox: MetaSandbox, meta: Meta) -> None:
    sandbox.accounts[ACCOUNT.account_id] = MetaAccount(tokens=frozenset({"another"}))
    with pytest.raises(NeedsFix) as caught:
        meta.account_facts(ACCOUNT)
    assert (caught.value.code, "system user" in caught.value.next_step) == ("account_wrong", True)
    sandbox.revoke(sandbox.token)
    with pytest.raises(NeedsFix, match="unauthenticated"):
        meta.account_facts(ACCOUNT)
    sandbox.faults.add(Fault("ReadAccount", FaultKind.UNAVAILABLE, 4))
    with pytest.raises(TryAgain, match="unavailable"):
        meta.account_facts(ACCOUNT)
    for odd in (Account("act_1"), Account("")):
        with pytest.raises(NeedsFix, match="account_wrong"):
            meta.account_facts(odd)


def test_which_version_answers(sandbox: MetaSandbox) -> None:
    older = opened(sandbox, api_version="v25.0")
    assert (older.account_facts(ACCOUNT).api_version, older.account_facts(ACCOUNT).upgraded) == ("v25.0", False)
    ended = opened(sandbox, api_version="v24.0")
    with pytest.raises(NeedsFix, match="api_version_expired"):
        ended.account_facts(ACCOUNT)
    sandbox.upgrades = frozenset({"v24.0"})
    facts = ended.account_facts(ACCOUNT)
    assert (facts.api_version, facts.upgraded) == ("v26.0", True)


def test_what_the_token_may_do(sandbox: MetaSandbox, meta: Meta) -> None:
    assert meta.access_facts(BUSINESS) == AccessFacts((), system_user=True)
    sandbox.access.system_users = ("61550000000999",)
    assert meta.access_facts(BUSINESS) == AccessFacts((), system_user=False)
    assert meta.access_facts(None) == AccessFacts((), None)
    sandbox.access.permissions = {"ads_read": "granted", "ads_management": "declined"}
    assert meta.access_facts(BUSINESS) == AccessFacts(("ads_management",), None)
    sandbox.faults.add(Fault("ReadPermissions", FaultKind.INTERNAL, 4))
    assert meta.access_facts(BUSINESS) == AccessFacts(None, None)


def test_odd_answers_are_not_guessed_at() -> None:
    good = {"account_id": ACCOUNT.account_id}
    with answering() as (server, meta):
        for body in ({}, {"account_id": None}, {"account_id": "act_1"}, {"account_id": True}, {"account_id": ""}):
            server.always(told(body))
            with pytest.raises(TryAgain, match="unreadable"):
                meta.account_facts(ACCOUNT)
        server.always(told({"account_id": "9"}))
        with pytest.raises(MustStop, match="wrong_account"):
            meta.account_facts(ACCOUNT)
        for business in (None, "4", {}, {"id": None}, {"id": "a/b"}, {"id": [1]}, []):
            server.always(told({**good, "business": business, "currency": "kr", "tos_accepted": [1]}))
            assert meta.account_facts(ACCOUNT) == AccountFacts(ACCOUNT.account_id, None, None, terms_accepted=False)
        for terms in ({"custom_audience_tos": 0}, {"custom_audience_tos": None}, {"web_custom_audience_tos": 1}, 1, "1"):
            server.always(told({**good, "tos_accepted": terms}))
            assert not meta.account_facts(ACCOUNT).terms_accepted


def access(server: AnsweringHttp, meta: Meta, permissions: object, users: object, me: object) -> AccessFacts:
    answers = {"permissions": permissions, "system_users": users, "me": me}
    server.answer = lambda call: told(next(body for name, body in answers.items() if f"/{name}?" in call.url))
    return meta.access_facts(BUSINESS)


def test_half_a_list_proves_nothing() -> None:
    more = {"next": "http://127.0.0.1/x", "cursors": {"after": "a"}}
    all_of = {"data": [{"permission": "ads_management", "status": "granted"}]}
    with answering() as (server, meta):
        for half in ({"data": [], "paging": more}, {"data": None}, {"data": ["x"]}, {}):
            assert access(server, meta, half, {"data": []}, {"id": "5"}) == AccessFacts(None, system_user=False)
            assert access(server, meta, all_of, half, {"id": "5"}) == AccessFacts((), None)
        assert access(server, meta, {"data": []}, {"data": [{"id": 5}]}, {"id": "5"}) == AccessFacts(
            ("ads_management",), system_user=True
        )
        for nobody in ({}, {"id": None}, {"id": "x"}):
            assert access(server, meta, all_of, {"data": [{}]}, nobody) == AccessFacts((), None)


def test_the_table_of_versions() -> None:
    assert facebook_business.apiconfig.ads_api_config["API_VERSION"] == NEWEST
    assert set(VERSIONS) == set(served(date(2026, 11, 22)))
    assert served(date(2026, 10, 5)) == ("v26.0", "v25.0", "v24.0")
    assert last_day("v24.0") == date(2026, 10, 5)
    assert last_day("v26.0") is last_day("v99.0") is None
    assert [is_known(version) for version in (*ENDS, "v20.0", "v27.0")] == [True] * len(ENDS) + [False, False]
