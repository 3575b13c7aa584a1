"""A removal that Meta refuses, over the wire: from the first no to a new list, and what of it Meta's stand-in received."""

import re
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs

import pytest
from lists_by_rule import wanted_lists
from nights import META_ACCOUNTS, SandboxWorld

from nestaudience import sync
from nestaudience.audit.verify import verify
from nestaudience.config.load import load
from nestaudience.sandbox.meta_graph import MetaSandbox
from nestaudience.sandbox.meta_state import MetaList
from nestaudience.sandbox.world import StoreFile, report_segments
from nestaudience.sandbox.world_schema import moment
from nestaudience.vocabulary import AudienceKey
from nestaudience.wiring import open_parts
from nestaudience.withdrawals import withdrawals_job

AUDIO, LAPTOPS = AudienceKey("computime/bought_audio_12m/meta"), AudienceKey("computime/viewed_laptops_30d/meta")
SEGMENTS = ("bought_audio_12m", "viewed_laptops_30d")
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxWorld]:
    with SandboxWorld(tmp_path_factory.mktemp("refused"), accounts=2600, smallest_list=100, meta=True) as opened:
        opened.edit("removals_every_minutes = 240", "removals_every_minutes = 60")
        with StoreFile(opened.store) as store:  # some who looked at laptops bought audio as well
            store.run(
                "INSERT INTO segment_row SELECT 'bought_audio_12m', company, account_id, (SELECT max(ordered_at) FROM shop_order), NULL, 1"
                " FROM segment_row WHERE segment = 'viewed_laptops_30d' AND account_id NOT IN"
                " (SELECT account_id FROM segment_row WHERE segment = 'bought_audio_12m') ORDER BY 3 LIMIT 60"
            )
            report_segments(store, opened.clock.now())
        yield opened


def hour(world: SandboxWorld) -> sync.Outcome:
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        job = withdrawals_job(parts.evidence.reader, parts.settings, world.clock.now())
        assert job is not None
        return sync.run(parts, job)


def say_no(world: SandboxWorld) -> None:
    """Whoever is in both segments objects to the analysis of orders, which one of the lists is made by; others say no to everything."""
    at = moment(world.clock.now() - timedelta(minutes=20))
    with StoreFile(world.store) as store:
        audio, laptops = (
            {r[0] for r in store.rows(f"SELECT account_id FROM segment_row WHERE segment = '{s}'")} for s in SEGMENTS
        )
        values = "(?, ?, NULL, 'computime', 'object', ?, ?, ?, 'privacy_request', NULL, 'CASE-1')"
        rows = [(f"both-{n}", who, "order_analysis", at, at) for n, who in enumerate(sorted(audio & laptops))]
        rows += [(f"no-{n}", who, "*", at, at) for n, who in enumerate(sorted(audio - laptops)[:60])]
        store.many(f"INSERT INTO shop_right VALUES {values}", rows)


@pytest.mark.slow
def test_from_the_first_no_to_a_new_list(world: SandboxWorld) -> None:
    meta = world.meta
    assert meta is not None
    assert world.night().exit_code == 0
    list_ids = _list_ids(world)
    audio = next(remote for remote in meta.lists(META_ACCOUNTS[0]) if remote.list_id == list_ids[AUDIO])
    audio.refuse_small_removals_below, meta.opt_out_by_post, meta._keep_requests = 1 << 30, True, True
    world.advance(HOUR)
    say_no(world)
    wanted = wanted_lists(world.store, load(world.config), world.clock.now())
    held = world.members()
    noes = held[audio.list_id] - wanted[AUDIO]
    staying = noes & wanted[LAPTOPS] & held[list_ids[LAPTOPS]]
    assert len(noes) > 20
    assert 0 < len(staying) < len(noes)
    world.advance(HOUR)
    assert _refused(hour(world)) == {"removal_refused_too_small"}
    assert meta.seen("OptOut") == 0
    assert world.members()[audio.list_id] == held[audio.list_id]
    world.advance(HOUR)
    assert _refused(hour(world)) == {"removal_refused_too_small"}
    _asked_off_by_post(meta, noes - staying)
    assert world.members()[audio.list_id] == held[audio.list_id] - (noes - staying)
    assert staying <= world.members()[list_ids[LAPTOPS]]
    world.advance(timedelta(hours=19))
    deleting = hour(world)
    assert _refused(deleting) == {"removal_refused_too_small"}
    assert deleting.begun_anew == [AUDIO]
    assert audio.list_id not in {remote.list_id for remote in meta.lists(META_ACCOUNTS[0])}
    world.advance(HOUR)
    world.night()
    _equal_to_consent(world, meta)


def _list_ids(world: SandboxWorld) -> dict[AudienceKey, str]:
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        return {remote.audience: remote.list_id for remote in parts.memory.lists()}


def _refused(outcome: sync.Outcome) -> set[str]:
    assert outcome.exit_code == 5
    return {error.code for error in outcome.errors}


def _asked_off_by_post(meta: MetaSandbox, expected: frozenset[str]) -> None:
    """At most 200 a request, in the body of a POST, everybody once; and no digest in any URL."""
    requests = [raw for kind, raw in meta.received if kind == "OptOut"]
    asked: list[str] = []
    for raw in requests:
        line, _, body = raw.partition(b"\r\n\r\n")
        assert line.startswith(b"POST /v")
        people = re.findall(r"[0-9a-f]{64}", parse_qs(body.decode())["payload"][0])
        assert 0 < len(people) <= 200
        asked += people
    assert len(requests) == -(-len(expected) // 200)
    assert sorted(asked) == sorted(expected)
    assert not any(re.search(rb"[0-9a-f]{64}", raw.partition(b"\r\n\r\n")[0]) for _, raw in meta.received)


def _equal_to_consent(world: SandboxWorld, meta: MetaSandbox) -> None:
    wanted = wanted_lists(world.store, load(world.config), world.clock.now())
    list_ids = _list_ids(world)
    now: dict[str, MetaList] = {remote.list_id: remote for remote in meta.lists(META_ACCOUNTS[0])}
    assert {list_ids[AUDIO], list_ids[LAPTOPS]} == set(now)
    for key in (AUDIO, LAPTOPS):
        assert meta.members(META_ACCOUNTS[0], list_ids[key]) == wanted[key]
    with open_parts(world.config, clock=world.clock.now, randomness=world.randomness) as parts:
        assert verify(parts.evidence.engine, parts.signer.verifiers).problems == ()
