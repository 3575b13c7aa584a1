"""The demo's store: every story ends as it should by the slow reference, numbers add up, a day changes what it says."""

import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from reference.decide import decide
from reference.rows import World
from reference.values import form_at

from nestaudience.customers.contract import ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, SEGMENT_MEMBER, VIEWS, View
from nestaudience.customers.sqlite import SqliteStore
from nestaudience.errors import NeedsFix
from nestaudience.sandbox.world import LEGAL_NAMES, SEGMENTS, WorldFacts, build_store
from nestaudience.sandbox.world_day import advance_store
from nestaudience.sandbox.world_events import IRRELEVANT_PURPOSES, SOURCES, TEXTS
from nestaudience.sandbox.world_names import FIRST, INVALID, LAST, ODD
from nestaudience.sandbox.world_people import COMPANIES, RARE, STORIES
from nestaudience.screening.rules import AudienceRule, Rules
from nestaudience.vocabulary import AudienceKey, ControllerId, Reason, Recipient, SegmentCode

NOW = datetime(2026, 3, 10, 2, 30, tzinfo=UTC)
TOMORROW = NOW + timedelta(days=1)
RULES = Rules(frozenset(LEGAL_NAMES), tuple(Recipient), TEXTS, SOURCES, IRRELEVANT_PURPOSES)

# Story -> the primary reasons that it must lead to somewhere; after `/`, those that it may lead to as well.
ENDS = {
    "consented": "eligible other_controller / behaviour_consent_missing",
    "never_asked": "consent_missing",
    "withdrew_all": "consent_withdrawn",
    "withdrew_one": "eligible consent_withdrawn",
    "granted_again": "eligible",
    "quick_change": "eligible consent_withdrawn",
    "cookies_refused": "cookies_refused",
    "cookies_accepted_again": "eligible",
    "expired": "consent_expired",
    "text_google_only": "eligible consent_other_scope",
    "text_unregistered": "consent_text_insufficient",
    "other_company_grant": "consent_other_scope",
    "google_only_grant": "eligible consent_other_scope",
    "unconfirmed": "consent_unusable",
    "unusable_source": "consent_unusable",
    "objected": "objected",
    "objection_lifted": "eligible",
    "lift_without_grant": "objected",
    "analysis_objected": "analysis_objected / eligible",
    "restricted": "restricted",
    "unrestricted": "eligible",
    "erasing": "erasure",
    "erased_by_address": "erasure",
    "registered_again": "eligible",
    "closed": "account_closed",
    "pending_deletion": "account_closed",
    "closed_by_event": "account_closed",
    "locked": "account_locked",
    "vanished": "vanished",
    "minor": "minor",
    "protected": "protected",
    "family": "eligible",
    "shares_with_noes": " / eligible consent_withdrawn objected cookies_refused restricted",
    "shares_with_blocked": "address_shared_with_blocked",
    "staff": "test_or_staff",
    "business": "business_contact",
    "abroad": "country_out_of_scope",
    "inactive": "inactive / lookback_exceeded",
    "foreign_address": "address_not_from_account",
    "unverified": "address_unverified",
    "changed_unverified": "address_unverified",
    "changed_verified": "eligible",
    "invalid_address": "address_invalid",
    "odd_address": "eligible",
    "long_ago": "lookback_exceeded / eligible",
    "malformed_account": "malformed",
    "odd_clock": "consent_unusable",
    "unknown_action": "malformed",
    "unknown_words": "consent_withdrawn",
    "verified_tomorrow": "address_unverified",
}

UNCONSENTED = (
    "SELECT count(*) FROM site_event AS s WHERE cookie_consented = 1 AND NOT EXISTS (SELECT 1 FROM consent_event AS c"
    " WHERE c.account_id = s.account_id AND purpose = 'web_behaviour' AND action = 'grant' AND c.occurred_at <= s.occurred_at)"
)


def content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as con:
        return list(con.iterdump())


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as con:
        return con.execute(sql).fetchall()


def read(path: Path, view: View, now: datetime) -> tuple[dict[str, str | None], ...]:
    rows: list[dict[str, str | None]] = []
    with SqliteStore(path, irrelevant_purposes=IRRELEVANT_PURPOSES).snapshot() as snapshot:
        for sheet in snapshot.read(view, now=now if view is ACCOUNT else None):
            part = sheet.facts.to_pylist()
            if sheet.addresses is not None:
                for row, email in zip(part, sheet.addresses.reveal().to_pylist(), strict=True):
                    row["email"] = email
            rows += part
    return tuple(rows)


def decisions(path: Path, now: datetime) -> dict[tuple[str, Recipient], dict[str, frozenset[Reason]]]:
    world = World(*(read(path, view, now) for view in (ACCOUNT, CONSENT_EVENT, RIGHTS_EVENT, SEGMENT_MEMBER)))
    found = {}
    for fact in SEGMENTS:
        for recipient in Recipient:
            company, code = ControllerId(fact.controller), SegmentCode(fact.code)
            key = AudienceKey(f"{company}/{code}/{recipient}")
            rule = AudienceRule(key, company, code, recipient, uses_orders=fact.uses_orders, uses_site=fact.uses_site)
            found[fact.code, recipient] = decide(world, RULES, rule, now)
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, WorldFacts]:
    path = tmp_path_factory.mktemp("world") / "store.db"
    return path, build_store(path, seed=7, accounts=900, now=NOW)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, WorldFacts]:
    path = tmp_path_factory.mktemp("world") / "store.db"
    return path, build_store(path, seed=11, now=NOW)


@pytest.fixture(scope="module")
def ends(small: tuple[Path, WorldFacts]) -> dict[str, set[str]]:
    """Story -> primary reasons found, and `eligible`."""
    path, facts = small
    story = {who: name for name, accounts in facts.accounts.items() for who in accounts}
    found: dict[str, set[str]] = defaultdict(set)
    for answers in decisions(path, NOW).values():
        for who, reasons in answers.items():
            found[story[who]].add(next((r.value for r in Reason if r in reasons), "eligible"))
    return found


def test_the_table_of_ends_names_every_story() -> None:
    assert set(ENDS) == {*STORIES, *RARE, "consented"}


@pytest.mark.parametrize("story", ENDS)
def test_a_story_ends_as_it_should(ends: dict[str, set[str]], story: str) -> None:
    must, _, may = ENDS[story].partition("/")
    assert set(must.split()) <= ends[story] <= {*must.split(), *may.split()}


def test_every_reason_but_suppressed_occurs(ends: dict[str, set[str]]) -> None:
    assert set().union(*ends.values()) - {"eligible"} == {reason.value for reason in Reason} - {"suppressed"}


def test_the_same_seed_gives_the_same_content(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.db" for n in range(3)]
    facts = [build_store(path, seed=seed, accounts=600, now=NOW) for path, seed in zip(paths, (1, 1, 2), strict=True)]
    assert facts[0] == facts[1]
    assert content(paths[0]) == content(paths[1]) != content(paths[2])
    days = [advance_store(path, seed=1, now=TOMORROW) for path in paths[:2]]
    assert days[0] == days[1]
    assert content(paths[0]) == content(paths[1])


def test_the_store_keeps_the_contract_but_for_the_faults_it_means(large: tuple[Path, WorldFacts]) -> None:
    found = {(p.code, p.where): p.next_step for p in SqliteStore(large[0]).check()}
    assert set(found) == {
        ("value_unknown", "account.account_type"),
        ("value_unknown", "consent_event.recipient"),
        ("value_unknown", "consent_event.action"),
        ("time_unusable", "consent_event.occurred_at"),
    }
    # Few enough that the gate for malformed feeds stays open.
    assert all(int(words.split(" of ")[0].split()[-1]) <= 12 for words in found.values())


def test_consents_and_rights_are_append_only_and_tables_strict(small: tuple[Path, WorldFacts]) -> None:
    with closing(sqlite3.connect(small[0])) as con:
        for table in ("shop_consent", "shop_right"):
            for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET source = 'x'"):
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    con.execute(statement)
        with pytest.raises(sqlite3.IntegrityError, match="INTEGER"):
            con.execute("UPDATE shop_account SET birth_year = 'young'")
        strict = con.execute(
            "SELECT name, strict FROM pragma_table_list WHERE name LIKE 'shop%' OR name LIKE 'segment\\_r%' ESCAPE '\\'"
        )
        assert {flag for _, flag in strict.fetchall()} == {1}


def parsed(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_segments_derive_from_orders_and_visits(small: tuple[Path, WorldFacts]) -> None:
    path, facts = small
    bought: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    for who, company, category, at in query(path, "SELECT account_id, controller_id, category, ordered_at FROM order_line"):
        bought[str(who), str(category)].append(parsed(str(at)))
        bought[str(who), str(company)].append(parsed(str(at)))
    viewed: dict[tuple[str, str], list[tuple[datetime, bool]]] = defaultdict(list)
    for who, category, at, known, allowed in query(
        path, "SELECT account_id, category, occurred_at, logged_in, cookie_consented FROM site_event"
    ):
        viewed[str(who), str(category)].append((parsed(str(at)), bool(known and allowed)))

    def since(days: int) -> datetime:
        return NOW - timedelta(days=days)

    wanted: dict[str, dict[str, tuple[object, object, object]]] = defaultdict(dict)
    for (who, what), times in bought.items():
        year = [at for at in times if at >= since(365)]
        for topic, code in (("audio", "bought_audio_12m"), ("crime", "crime_readers")):
            if what == topic and year:
                wanted[code][who] = (min(year), None, None)
        if what == "bokhyllan" and since(720) <= max(times) <= since(182):
            wanted["lapsed_readers"][who] = (min(times), None, None)
        looks = [look for look in viewed[who, "coffee"] if look[0] >= since(45)] if what == "coffee" else []
        if looks:
            wanted["coffee_lovers"][who] = (min(t for t in times if t >= since(720)), min(looks)[0], all(ok for _, ok in looks))
    for (who, what), seen in viewed.items():
        looks = [look for look in seen if look[0] >= since(29)]
        if what == "laptops" and looks:
            wanted["viewed_laptops_30d"][who] = (None, min(looks)[0], all(ok for _, ok in looks))
    found: dict[str, dict[str, tuple[object, object, object]]] = defaultdict(dict)
    for code, who, order, site, consented in query(
        path, "SELECT segment_code, account_id, oldest_order_at, oldest_site_at, consented_when_collected FROM segment_member"
    ):
        if who not in facts.strays:
            times = [parsed(str(at)) if at else None for at in (order, site)]
            found[str(code)][str(who)] = (times[0], times[1], None if consented is None else bool(consented))
    for code in wanted:
        wanted[code] = {who: row for who, row in wanted[code].items() if who not in facts.strays}
    assert found == wanted
    assert {code for code in found if found[code]} == {fact.code for fact in SEGMENTS}


def test_orders_and_visits_are_consistent(large: tuple[Path, WorldFacts]) -> None:
    path, _ = large
    now = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    for sql in (
        "SELECT count(*) FROM shop_order AS o WHERE ore <> (SELECT sum(ore) FROM shop_order_line WHERE order_id = o.order_id)",
        "SELECT count(*) FROM site_event JOIN account USING (account_id) WHERE logged_in AND occurred_at > last_active_at",
        "SELECT count(*) FROM order_line AS l JOIN account AS a USING (account_id) WHERE l.ordered_at < a.created_at",
        "SELECT count(*) FROM order_line AS l JOIN account AS a USING (account_id) WHERE l.controller_id <> a.controller_id",
        "SELECT count(*) FROM site_event AS s JOIN account AS a USING (account_id) WHERE s.occurred_at < a.created_at",
        f"SELECT count(*) FROM order_line WHERE ordered_at > '{now}'",
        f"SELECT count(*) FROM site_event WHERE occurred_at > '{now}'",
        f"SELECT count(*) FROM consent_event WHERE recorded_at > '{now}'",
        "SELECT count(*) FROM consent_event AS c JOIN account AS a USING (account_id) WHERE c.recorded_at < a.created_at",
        UNCONSENTED,
        "SELECT count(*) FROM purchase WHERE cookie_granted_at > ordered_at OR (gclid IS NOT NULL AND cookie_granted_at IS NULL)",
    ):
        assert query(path, sql) == [(0,)], sql
    assert query(path, "SELECT count(*) FROM purchase WHERE account_id IS NULL AND gclid IS NOT NULL")[0][0] != 0


@pytest.mark.parametrize("when", [NOW, TOMORROW])
def test_statuses_agree_with_the_rows(tmp_path: Path, when: datetime) -> None:
    path = tmp_path / "s.db"
    build_store(path, seed=3, accounts=600, now=NOW)
    if when > NOW:
        advance_store(path, seed=3, now=when)
    for view, company, until, loaded, count, generation, environment in query(path, "SELECT * FROM feed_status"):
        assert query(path, f"SELECT count(*) FROM {view} WHERE controller_id = '{company}'") == [(count,)]
        assert when - timedelta(minutes=60) < parsed(str(until)) < parsed(str(loaded)) < when
        assert (environment, generation) == ("sandbox", "demo-1")
    assert {row[0] for row in query(path, "SELECT view_name FROM feed_status")} <= {view.name for view in VIEWS}
    statuses = query(path, "SELECT segment_code, controller_id, computed_at, row_count FROM segment_status")
    assert {(code, company) for code, company, _, _ in statuses} == {(fact.code, fact.controller) for fact in SEGMENTS}
    for code, company, computed, count in statuses:
        where = f"segment_code = '{code}' AND controller_id = '{company}'"
        assert query(path, f"SELECT count(*) FROM segment_member WHERE {where}") == [(count,)]
        assert timedelta(0) < when - parsed(str(computed)) < timedelta(hours=36)


def test_a_whole_store_fills_every_list(large: tuple[Path, WorldFacts]) -> None:
    path, facts = large
    good = set(facts.accounts["consented"])
    members = query(path, "SELECT segment_code, account_id FROM segment_member WHERE coalesce(consented_when_collected, 1) = 1")
    filled = Counter(code for code, who in members if who in good and who not in facts.strays)
    assert {code for code, count in filled.items() if count > 1_100} == {fact.code for fact in SEGMENTS}
    assert facts.rows["account"] == 50_000 - len(facts.accounts["vanished"])
    assert len(facts.accounts["vanished"]) < 0.05 * 50_000 / 3


def test_nobody_shares_an_address_by_chance(large: tuple[Path, WorldFacts]) -> None:
    path, facts = large
    meant = {who for story in ("family", "shares_with_noes", "shares_with_blocked") for who in facts.accounts[story]}
    seen: Counter[str | None] = Counter()
    for who, email in query(path, "SELECT account_id, email FROM account"):
        if who not in meant and (form := form_at(Recipient.GOOGLE, str(email))) is not None:
            seen[form.replace("@googlemail.com", "@gmail.com")] += 1
    assert max(seen.values()) == 1
    assert len(meant) > 0.015 * 50_000
    plain = str.maketrans("åäöéÅÄÖÉ", "aaoeAAOE")
    assert len({(f + n).translate(plain).lower() for f in FIRST for n in LAST}) == len(FIRST) * len(LAST)


def test_hostile_addresses_are_refused_and_odd_ones_accepted() -> None:
    def filled(template: str) -> str:
        return template.replace("{n:05x}", "0abcd").replace("{n}", "17")

    assert len(filled(next(t for t in INVALID if "05x" in t))) == 64
    for recipient in Recipient:
        assert [t for t in INVALID if form_at(recipient, filled(t)) is not None] == []
        assert [t for t in ODD if form_at(recipient, filled(t)) is None] == []


def test_texts_and_sources_cover_what_the_store_says(large: tuple[Path, WorldFacts]) -> None:
    shown = {row[0] for row in query(large[0], "SELECT DISTINCT text_version FROM consent_event WHERE text_version IS NOT NULL")}
    assert shown - {text.version for text in TEXTS} == {"ads-test-b"}
    assert {text.version for text in TEXTS} <= shown
    said = {
        row[0] for view in ("consent_event", "rights_event") for row in query(large[0], f"SELECT DISTINCT source FROM {view}")
    }
    assert said - set(SOURCES) == {"till_tablet"}
    assert set(COMPANIES) == set(LEGAL_NAMES)
    since = {text.version: text.valid_from for text in TEXTS}
    for version, first in query(large[0], "SELECT text_version, min(recorded_at) FROM consent_event GROUP BY 1"):
        assert version not in since or since[str(version)] <= parsed(str(first))


def test_a_day_changes_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    build_store(path, seed=5, accounts=2_000, now=NOW)
    before = {str(row["account_id"]): row for row in read(path, ACCOUNT, NOW)}
    members = set(query(path, "SELECT segment_code, account_id FROM segment_member"))
    last = str(query(path, "SELECT max(event_id) FROM consent_event")[0][0])
    day = advance_store(path, seed=5, now=TOMORROW)
    after = {str(row["account_id"]): row for row in read(path, ACCOUNT, TOMORROW)}
    assert min(day.counts.values()) >= 2
    touched = [who for kind, some in day.accounts.items() if not kind.endswith("_segment") for who in some]
    assert len(set(touched)) == len(touched)
    kinds = day.accounts
    assert set(before) - set(after) == {*kinds["erased"], *kinds["vanished"]}
    assert set(after) - set(before) == set(kinds["new_accounts"])
    events = read(path, CONSENT_EVENT, TOMORROW)
    said = Counter((str(e["account_id"]), e["action"], e["purpose"], e["recipient"]) for e in events if str(e["event_id"]) > last)
    for kind, wanted in (
        ("withdrew_all", ("withdraw", "ad_matching", "*")),
        ("withdrew_google", ("withdraw", "ad_matching", "google")),
        ("withdrew_meta", ("withdraw", "ad_matching", "meta")),
        ("cookies_refused", ("withdraw", "web_behaviour", "*")),
        ("granted", ("grant", "ad_matching", "*")),
        ("granted_again", ("grant", "ad_matching", "*")),
        ("new_accounts", ("grant", "ad_matching", "*")),
    ):
        assert {who for who, *rest in said if tuple(rest) == wanted} >= set(kinds[kind])
    for who in kinds["changed_verified"]:
        assert str(after[who]["email_verified_at"]) > str(after[who]["email_changed_at"]) > NOW.strftime("%Y-%m-%d")
    for who in kinds["changed_unverified"]:
        assert str(after[who]["email_verified_at"]) < str(after[who]["email_changed_at"])
    for who in (*kinds["changed_verified"], *kinds["changed_unverified"]):
        assert before[who]["email"] != after[who]["email"]
    now = set(query(path, "SELECT segment_code, account_id FROM segment_member"))
    assert {str(who) for _, who in members - now} == set(kinds["left_segment"])
    assert {str(who) for _, who in now - members} == set(kinds["joined_segment"])
    assert set(kinds["left_segment"]) & set(kinds["returned_orders"])


def test_days_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    build_store(path, seed=8, accounts=600, now=NOW)
    known = {row[0] for row in query(path, "SELECT account_id FROM consent_event")}
    for step in (3, 24, 48, 72):
        day = advance_store(path, seed=8, now=NOW + timedelta(hours=step))
        assert not known & set(day.accounts["new_accounts"])
        known |= set(day.accounts["new_accounts"])
        late = (NOW + timedelta(hours=step)).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert query(path, f"SELECT count(*) FROM consent_event WHERE recorded_at > '{late}'") == [(0,)]
        assert query(path, f"SELECT count(*) FROM site_event WHERE occurred_at > '{late}'") == [(0,)]


def test_a_day_ends_for_people_as_it_should(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    build_store(path, seed=6, accounts=700, now=NOW)
    kinds = advance_store(path, seed=6, now=TOMORROW).accounts
    found: dict[str, set[str]] = defaultdict(set)
    for (_, recipient), answers in decisions(path, TOMORROW).items():
        for who, reasons in answers.items():
            found[f"{who} {recipient}"].add(next((r.value for r in Reason if r in reasons), "eligible"))
    for kind, recipient, ends_in in (
        ("withdrew_all", "google", "consent_withdrawn"),
        ("withdrew_google", "google", "consent_withdrawn"),
        ("withdrew_meta", "meta", "consent_withdrawn"),
        ("cookies_refused", "meta", "cookies_refused"),
        ("objected", "google", "objected"),
        ("restricted", "google", "restricted"),
        ("closed", "google", "account_closed"),
        ("vanished", "google", "vanished"),
        ("changed_unverified", "google", "address_unverified"),
        ("granted", "google", "eligible"),
        ("new_accounts", "meta", "eligible"),
    ):
        seen = [found[f"{who} {recipient}"] for who in kinds[kind]]
        assert any(ends_in in some for some in seen), kind


def test_what_cannot_be_built_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with pytest.raises(ValueError, match="zone"):
        build_store(path, seed=1, accounts=600, now=NOW.replace(tzinfo=None))
    with pytest.raises(ValueError, match="2026"):
        build_store(path, seed=1, accounts=600, now=NOW.replace(year=2025))
    with pytest.raises(ValueError, match="500"):
        build_store(path, seed=1, accounts=50, now=NOW)
    with pytest.raises(NeedsFix, match="store_missing"):
        advance_store(path, seed=1, now=NOW)
    build_store(path, seed=1, accounts=600, now=NOW)
    with pytest.raises(NeedsFix, match="store_exists"):
        build_store(path, seed=1, accounts=600, now=NOW)
    with pytest.raises(ValueError, match="two hours"):
        advance_store(path, seed=1, now=NOW + timedelta(minutes=110))
    with pytest.raises(ValueError, match="zone"):
        advance_store(path, seed=1, now=NOW.replace(tzinfo=None))
