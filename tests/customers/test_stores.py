"""What every customer store must do, whatever its kind. A new adapter joins by a parameter in `conftest.build`."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_rows import NOW, Build, account, consent, right, rows_of

from nestaudience.customers.contract import (
    ACCOUNT,
    CONSENT_EVENT,
    FEED_STATUS,
    PURCHASE,
    RIGHTS_EVENT,
    SEGMENT_MEMBER,
    VIEWS,
)
from nestaudience.customers.port import CustomerStore


def emails(store: CustomerStore, now: datetime = NOW, **how: object) -> dict[str, tuple[str, str | None]]:
    with store.snapshot() as snapshot:
        return {str(r["account_id"]): (r["email_read"], r["email"]) for r in rows_of(snapshot, ACCOUNT, now=now, **how)}


def test_facts_have_the_contracts_columns_in_order_and_all_text(build: Build) -> None:
    store = build(
        {
            "account": [account("a1", birth_year=1975, protected=1)],
            "consent_event": [consent("e1", "a1", source_seq=7)],
            "rights_event": [right("r1", None, email="x@y.se")],
            "purchase": [
                {
                    "order_id": "o1",
                    "controller_id": "c",
                    "account_id": None,
                    "email": "p@q.se",
                    "ordered_at": "2026-01-01T00:00:00Z",
                }
                | {"value": 12.5, "currency": "SEK", "gclid": None, "cookie_granted_at": None, "cookie_withdrawn_at": None}
            ],
        }
    )
    with store.snapshot() as snapshot:
        assert snapshot.problems == ()
        for view in VIEWS:
            extra = ["email_read"] if view is ACCOUNT else []
            wanted = [name for name in view.names if name != "email"] + extra
            for sheet in snapshot.read(view, now=NOW if view is ACCOUNT else None):
                assert sheet.facts.schema.names == wanted
        first = rows_of(snapshot, ACCOUNT, now=NOW)[0]
        assert (first["birth_year"], first["protected"], first["last_active_at"]) == ("1975", "1", None)
        assert rows_of(snapshot, CONSENT_EVENT)[0]["source_seq"] == "7"
        assert rows_of(snapshot, RIGHTS_EVENT)[0]["email"] == "x@y.se"
        assert rows_of(snapshot, PURCHASE)[0]["value"] == "12.5"
        assert rows_of(snapshot, FEED_STATUS) == []


def test_a_long_stretch_of_nulls_does_not_decide_a_type(build: Build) -> None:
    rows = [consent(f"e{n}", "a", text_version=None, source_seq=None) for n in range(1500)]
    rows.append(consent("last", "a", text_version="texten-å", source_seq="not a number"))
    with build({"consent_event": rows}).snapshot() as snapshot:
        found = rows_of(snapshot, CONSENT_EVENT)
    assert len(found) == 1501
    last = next(row for row in found if row["event_id"] == "last")
    assert (last["text_version"], last["source_seq"]) == ("texten-å", "not a number")
    assert [row["text_version"] for row in found].count(None) == 1500


def test_rows_that_are_empty_text_throughout_are_kept(build: Build) -> None:
    blank = dict.fromkeys(SEGMENT_MEMBER.names, "")
    with build({"segment_member": [blank, blank]}).snapshot() as snapshot:
        assert rows_of(snapshot, SEGMENT_MEMBER) == [blank, blank]


def test_addresses_are_read_minimally(build: Build) -> None:
    people = [
        "granted",
        "google_grant",
        "unconfirmed",
        "withdrew",
        "cookies",
        "unknown_purpose",
        "objected",
        "restricted",
        "erased",
    ]
    people += ["analysis", "minor", "turns19", "protected"]
    hidden = ["nobody", "newsletter_out", "web_grant", "closed", "lifted", "odd_year", "future_flag"]
    store = build(
        {
            "account": [account(p) for p in people[:10]]
            + [account("minor", birth_year=2008), account("turns19", birth_year=2007), account("protected", protected=1)]
            + [account(p) for p in hidden[:5]]
            + [account("odd_year", birth_year="2010x"), account("future_flag", protected="yes")],
            "consent_event": [
                consent("1", "granted"),
                consent("2", "google_grant", recipient="google", text_version="nowhere"),
                consent("3", "unconfirmed", confirmed=0),
                consent("4", "withdrew", action="withdraw"),
                consent("5", "cookies", action="withdraw", purpose="web_behaviour"),
                consent("6", "unknown_purpose", action="withdraw", purpose="marketing?"),
                consent("7", "analysis", action="withdraw", purpose="order_analysis"),
                consent("8", "newsletter_out", action="withdraw", purpose="newsletter"),
                consent("9", "web_grant", purpose="web_behaviour"),
                consent("10", None),
            ],
            "rights_event": [
                right("1", "objected"),
                right("2", "restricted", action="restrict"),
                right("3", "erased", action="erase"),
                right("4", "closed", action="close"),
                right("5", "lifted", action="lift_objection"),
                right("6", None, email="nobody@example.se"),
            ],
        }
    )
    found = emails(store)
    read = set(people) - {"turns19"}
    assert {who for who, (flag, _) in found.items() if flag == "1"} == read
    for who, (flag, email) in found.items():
        assert email == (f"{who}@example.se" if who in read else None)
        assert flag in {"0", "1"}
    assert emails(store, now=NOW - timedelta(days=365))["turns19"][0] == "1"
    some = pa.array(["closed", "granted", "nobody", "gone", None])
    assert {k: v[0] for k, v in emails(store, accounts=some).items()} == {"closed": "0", "granted": "1", "nobody": "0"}


_ids = st.sampled_from(["a", "b", "c"])
_grants = st.builds(
    lambda n, who, purpose, action: consent(str(n), who, purpose=purpose, action=action),
    st.integers(),
    _ids | st.none(),
    st.sampled_from(["ad_matching", "web_behaviour", "newsletter", "else", None]),
    st.sampled_from(["grant", "withdraw", "revoke", None]),
)
_rights = st.builds(
    lambda n, who, action: right(str(n), who, action=action),
    st.integers(),
    _ids | st.none(),
    st.sampled_from(["object", "lift_objection", "restrict", "unrestrict", "erase", "close", "x", None]),
)


@given(
    consents=st.lists(_grants, max_size=4),
    rights=st.lists(_rights, max_size=2),
    years=st.lists(st.integers(1999, 2012), min_size=3),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_minimal_reading_agrees_with_a_slow_reference(
    build: Build, consents: list[dict[str, object]], rights: list[dict[str, object]], years: list[int]
) -> None:
    store = build(
        {
            "account": [account(who, birth_year=year) for who, year in zip("abc", years, strict=False)],
            "consent_event": consents,
            "rights_event": rights,
        }
    )
    wanted = {}
    for who, year in zip("abc", years, strict=False):
        reasons = [2026 - year <= 18]
        reasons += [e["purpose"] == "ad_matching" for e in consents if e["account_id"] == who and e["action"] == "grant"]
        reasons += [e["purpose"] != "newsletter" for e in consents if e["account_id"] == who and e["action"] == "withdraw"]
        reasons += [e["action"] in {"object", "restrict", "erase"} for e in rights if e["account_id"] == who]
        wanted[who] = "1" if any(reasons) else "0"
    assert {who: flag for who, (flag, _) in emails(store).items()} == wanted
    keyed = emails(store, accounts=pa.array(["c", "a"]))
    assert {who: flag for who, (flag, _) in keyed.items()} == {who: wanted[who] for who in "ac"}


def test_noes_since_keeps_what_may_be_a_no(build: Build) -> None:
    since = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    clocks = {
        "old": "2026-03-01T11:59:59Z",
        "old_far": "1999-01-01T00:00:00.123456+00:00",
        "edge": "2026-03-01T12:00:00Z",
        "edge_fraction": "2026-03-01T12:00:00.000001+00:00",
        "new": "2026-03-02T00:00:00+00:00",
        "zoneless": "2026-01-01T00:00:00",
        "elsewhere": "2026-01-01T00:00:00+02:00",
        "no_day": "2026-02-30T00:00:00Z",
        "no_hour": "2026-01-01T24:00:00Z",
        "words": "yesterday",
        "time_only": "10:30",
        "number": 5,
        "null": None,
        "trailing": "2026-01-01T00:00:00.Z",
        "tail": "2026-01-01T00:00:00.1x2Z",
    }
    kept = set(clocks) - {"old", "old_far"}
    store = build(
        {
            "account": [account(key, changed_at=clock) for key, clock in clocks.items()],
            "consent_event": [consent(k, k, action="withdraw", recorded_at=c) for k, c in clocks.items()]
            + [consent("grant", "g", recorded_at="2026-03-05T00:00:00Z"), consent("odd", "g", action=None, recorded_at=None)],
            "rights_event": [right(k, k, recorded_at=c) for k, c in clocks.items()]
            + [
                right(a, "g", action=a, recorded_at="2026-03-05T00:00:00Z")
                for a in ("lift_objection", "unrestrict", "close", "x")
            ],
        }
    )
    with store.snapshot() as snapshot:
        assert {r["event_id"] for r in rows_of(snapshot, CONSENT_EVENT, noes_since=since)} == kept | {"odd"}
        assert {r["event_id"] for r in rows_of(snapshot, RIGHTS_EVENT, noes_since=since)} == kept | {"close", "x"}
        assert {r["account_id"] for r in rows_of(snapshot, ACCOUNT, noes_since=since, now=NOW)} == kept
        shifted = since.astimezone(tz=None)
        assert len(rows_of(snapshot, ACCOUNT, noes_since=shifted, now=NOW)) == len(kept)
        one = rows_of(snapshot, CONSENT_EVENT, noes_since=since, accounts=pa.array(["new", "old"]))
        assert [r["event_id"] for r in one] == ["new"]


def test_reads_by_account_quote_every_id_and_go_in_stretches(build: Build) -> None:
    odd = ["it's", '"', "'; DROP TABLE account; --", "å ä ö", "nul\0inside", "%", "", "\\", "\\'", "a\nb", "$1", "𐐀"]
    if build.kind == "postgres":
        odd.remove("nul\0inside")  # no text of PostgreSQL has one; asked for below it must find nothing
    many = [f"id{n:05}" for n in range(10_100)]
    store = build({"consent_event": [consent(f"e{n}", who) for n, who in enumerate(odd + many)]})
    with store.snapshot() as snapshot:
        wanted = odd + many[20:10_090]
        asked = pa.array([*wanted, *wanted[:10], None, "unknown", "a\0b"])
        assert sorted(str(r["account_id"]) for r in rows_of(snapshot, CONSENT_EVENT, accounts=asked)) == sorted(wanted)
        assert rows_of(snapshot, CONSENT_EVENT, accounts=pa.array([], pa.string())) == []


def test_segments_are_pairs(build: Build) -> None:
    member = dict.fromkeys(SEGMENT_MEMBER.names)
    pairs = [("c1", "s1"), ("c1", "s2"), ("c2", "s1"), ("c'3", "s'1")]
    rows = [member | {"controller_id": c, "segment_code": s, "account_id": f"{c}{s}"} for c, s in pairs]
    with build({"segment_member": rows}).snapshot() as snapshot:
        chosen = frozenset({("c1", "s1"), ("c'3", "s'1"), ("c2", "s2")})
        found = rows_of(snapshot, SEGMENT_MEMBER, segments=chosen)
        assert sorted(str(r["account_id"]) for r in found) == ["c'3s'1", "c1s1"]
        assert rows_of(snapshot, SEGMENT_MEMBER, segments=frozenset()) == []
        both = rows_of(snapshot, SEGMENT_MEMBER, segments=chosen, accounts=pa.array(["c1s1", "c1s2"]))
        assert [r["account_id"] for r in both] == ["c1s1"]


def test_misuse_is_refused_at_once(build: Build) -> None:
    with build({}).snapshot() as snapshot:
        for view, how in (
            (FEED_STATUS, {"accounts": pa.array(["a"])}),
            (SEGMENT_MEMBER, {"noes_since": NOW}),
            (CONSENT_EVENT, {"segments": frozenset({("a", "b")})}),
            (CONSENT_EVENT, {"noes_since": NOW.replace(tzinfo=None)}),
            (CONSENT_EVENT, {"now": NOW}),
            (ACCOUNT, {}),
            (ACCOUNT, {"now": NOW.replace(tzinfo=None)}),
        ):
            with pytest.raises(ValueError, match=r"view|read|hold"):
                snapshot.read(view, **how)


def test_two_reads_may_be_open_at_once_and_one_may_be_left(build: Build) -> None:
    store = build({"account": [account("a"), account("b")], "consent_event": [consent("1", "a"), consent("2", "b")]})
    with store.snapshot() as snapshot:
        left = snapshot.read(ACCOUNT, now=NOW)
        next(left)
        assert len(rows_of(snapshot, CONSENT_EVENT)) == 2
    with store.snapshot() as snapshot:
        assert len(rows_of(snapshot, ACCOUNT, now=NOW)) == 2


def test_a_store_says_what_its_own_clock_says_if_it_has_one(build: Build) -> None:
    """Between two looks at this machine's clock, on which the test's server runs; the snapshot's own time stands still."""
    with build({}).snapshot() as snapshot:
        before = datetime.now(UTC)
        said = [snapshot.server_time() for _ in range(2)]
        if said[0] is not None:
            assert said[1] is not None
            assert before - timedelta(milliseconds=1) <= said[0] < said[1] <= datetime.now(UTC)
    assert said == [None, None] or None not in said
