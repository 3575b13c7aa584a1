"""The next day in the demo's store: people withdraw, object, move, leave, vanish, and new ones come.

It changes the store that `world.build_store` made, as shops do: events are added, accounts change or go, segments are computed
anew. Whom a change touches is drawn from the seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from nestaudience.errors import NeedsFix
from nestaudience.sandbox.world import StoreFile, compute_segments, note_logins, report_feeds, report_segments
from nestaudience.sandbox.world_events import CONSENT_COLUMNS, RIGHT_COLUMNS, Said, numbered
from nestaudience.sandbox.world_people import People, account_rows, iso, make_people, seconds
from nestaudience.sandbox.world_schema import moment
from nestaudience.sandbox.world_trade import seen, sold, topics

_LEAVING: Final = {
    "withdrew_all": 0.004,
    "withdrew_google": 0.002,
    "withdrew_meta": 0.002,
    "cookies_refused": 0.003,
    "objected": 0.002,
    "restricted": 0.001,
    "closed": 0.002,
    "erased": 0.001,
    "vanished": 0.001,
    "changed_verified": 0.002,
    "changed_unverified": 0.001,
    "returned_orders": 0.004,
}
"""What happens -> to which share of the people who stand in a segment and have granted."""

_COMING: Final = {"granted": 0.01, "granted_again": 0.003, "new_accounts": 0.004}
_MEMBERS = "SELECT account_id FROM shop_account WHERE state = 'active' AND account_id IN (SELECT account_id FROM segment_row)"
_GOOD = (
    f"{_MEMBERS} AND kind = 'private' AND email_from = 'account' AND email_verified_at IS NOT NULL AND account_id IN"  # noqa: S608 - own words
    " (SELECT account_id FROM shop_consent WHERE purpose = 'ad_matching' AND action = 'grant' AND confirmed = 1)"
    " AND account_id NOT IN (SELECT account_id FROM shop_consent WHERE action = 'withdraw' AND purpose <> 'newsletter')"
    " AND account_id NOT IN (SELECT account_id FROM shop_right WHERE account_id IS NOT NULL) ORDER BY 1"
)
_SILENT = (
    f"{_MEMBERS} AND account_id NOT IN"  # noqa: S608 - own words
    " (SELECT account_id FROM shop_consent WHERE purpose = 'ad_matching' OR action = 'withdraw') ORDER BY 1"
)
_WITHDRAWN = (
    "SELECT account_id FROM shop_account WHERE state = 'active' AND account_id IN (SELECT account_id FROM shop_consent"
    " WHERE purpose = 'ad_matching' AND action = 'withdraw') ORDER BY 1"
)


@dataclass(frozen=True, slots=True)
class DayFacts:
    """What a day changed: account ids by kind of change.

    `left_segment` and `joined_segment` compare the members of all segments before and after, whatever the cause.
    """

    now: datetime
    accounts: Mapping[str, tuple[str, ...]]

    @property
    def counts(self) -> dict[str, int]:
        """How many accounts each kind of change touched."""
        return {kind: len(who) for kind, who in self.accounts.items()}


def advance_store(path: str | Path, *, seed: int, now: datetime) -> DayFacts:
    """Let the store move on to `now`; everything that happens is said after the last load and ten minutes before `now`.

    Raises `ValueError` for a `now` without zone or less than two hours after the last load, `NeedsFix` where there is no store.
    """
    if now.tzinfo is None:
        raise ValueError("now needs a time zone")
    if not Path(path).is_file():
        raise NeedsFix("store_missing", "sandbox.store", "build the demo store first")
    with StoreFile(Path(path)) as store:
        last = datetime.fromisoformat(str(store.rows("SELECT max(loaded_at) FROM feed_load")[0][0])).astimezone(UTC)
        if (now - last).total_seconds() < 7_200:
            raise ValueError("now must be at least two hours after the store's last load")
        day = _Day(store, seed, last, now)
        before = _members(store)
        found = day.happen()
        note_logins(store)
        compute_segments(store, now)
        report_segments(store, now)
        report_feeds(store, now)
        after = _members(store)
    found["left_segment"] = tuple(sorted({who for _, who in before - after}))
    found["joined_segment"] = tuple(sorted({who for _, who in after - before}))
    return DayFacts(now, found)


def _members(store: StoreFile) -> set[tuple[Any, ...]]:
    return set(store.rows("SELECT company || '/' || segment, account_id FROM segment_row"))


class _Day:
    """One day's changes, each to accounts that no other change of the day touches."""

    def __init__(self, store: StoreFile, seed: int, last: datetime, now: datetime) -> None:
        self._store = store
        self._rng = np.random.default_rng([seed, 2, now.date().toordinal(), now.hour])
        self._start, self._end = seconds(last) + 180, seconds(now) - 700
        self._now = now
        self._serial = moment(now)[:10].replace("-", "") + moment(now)[11:13]

    def happen(self) -> dict[str, tuple[str, ...]]:
        """Choose people, write what they did, and say who they are."""
        chosen = self._choose(_GOOD, _LEAVING)
        chosen |= self._choose(_SILENT, {"granted": _COMING["granted"]})
        chosen |= self._choose(_WITHDRAWN, {"granted_again": _COMING["granted_again"] * 10})
        people = self._known(sorted(who for some in chosen.values() for who in some))
        where = {who: row for row, who in enumerate(people.account_id.tolist())}
        said = Said(people)
        rows = {kind: np.array([where[who] for who in some], dtype=np.int64) for kind, some in chosen.items()}
        self._say(said, rows, people)
        self._write_events(said)
        self._change(chosen, people, rows)
        self._visits_of_the_day()
        chosen["new_accounts"] = self._newcomers()
        return chosen

    def _choose(self, sql: str, shares: Mapping[str, float]) -> dict[str, tuple[str, ...]]:
        who = np.array([row[0] for row in self._store.rows(sql)], dtype=object)
        who = who[self._rng.permutation(len(who))]
        found, start = {}, 0
        for kind, share in shares.items():
            stop = start + max(2, round(share * len(who)))
            found[kind] = tuple(sorted(who[start:stop].tolist()))
            start = stop
        return found

    def _known(self, ids: list[str]) -> People:
        """The chosen accounts as `People`, of which only ids, companies and addresses count here."""
        marks = ", ".join(f"'{who}'" for who in ids)
        rows = self._store.rows(
            f"SELECT account_id, company, email FROM shop_account WHERE account_id IN ({marks}) ORDER BY 1"  # noqa: S608 - own ids
        )
        people = make_people(self._rng, len(rows), self._now, plain=True)
        for place, column in enumerate((people.account_id, people.company, people.email)):
            column[:] = [row[place] for row in rows]
        return people

    def _at(self, count: int) -> Any:
        return self._start + (self._rng.random(count) * (self._end - self._start - 3_700)).astype(np.int64)

    def _say(self, said: Said, rows: dict[str, Any], people: People) -> None:
        consents: tuple[tuple[str, dict[str, Any]], ...] = (
            ("withdrew_all", {"action": "withdraw"}),
            ("withdrew_google", {"action": "withdraw", "recipient": "google"}),
            ("withdrew_meta", {"action": "withdraw", "recipient": "meta"}),
            ("cookies_refused", {"action": "withdraw", "purpose": "web_behaviour", "source": "cookie_banner"}),
            ("granted", {"source": "checkout_box"}),
            ("granted_again", {}),
        )
        for kind, how in consents:
            said.consent(rows[kind], self._at(len(rows[kind])), **how)
        fresh = rows["granted"]
        said.consent(fresh, self._at(len(fresh)), purpose="web_behaviour", source="cookie_banner")
        for kind, action, source in (
            ("objected", "object", "web_account_settings"),
            ("restricted", "restrict", "customer_service"),
            ("closed", "close", "web_account_settings"),
        ):
            said.right(rows[kind], self._at(len(rows[kind])), action, purpose="*", source=source)
        gone = rows["erased"]
        at = self._at(len(gone))
        said.right(gone[::2], at[::2], "erase", purpose="*")
        said.right(gone[1::2], at[1::2], "erase", purpose="*", emails=people.email[gone[1::2]].tolist())

    def _write_events(self, said: Said) -> None:
        for table, letter, events, columns in (
            ("shop_consent", "e", said.consents, CONSENT_COLUMNS),
            ("shop_right", "r", said.rights, RIGHT_COLUMNS),
        ):
            first = int(self._store.rows(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - own words
            self._store.append(table, numbered(events, columns, letter, first))

    def _change(self, chosen: dict[str, tuple[str, ...]], people: People, rows: dict[str, Any]) -> None:
        store, changed = self._store, moment(datetime.fromtimestamp(self._end, UTC))
        gone = [(who,) for kind in ("erased", "vanished") for who in chosen[kind]]
        store.many("DELETE FROM shop_account WHERE account_id = ?", gone)
        store.many(
            "UPDATE shop_account SET state = 'closed', changed_at = ? WHERE account_id = ?",
            [(changed, w) for w in chosen["closed"]],
        )
        for kind in ("changed_verified", "changed_unverified"):
            at = iso(self._at(len(rows[kind])))
            known = iso(np.full(len(at), self._end)) if kind == "changed_verified" else [None] * len(at)
            emails = [f"ny.{who.replace('-', '')}.{self._serial}@example.se" for who in chosen[kind]]
            store.many(
                "UPDATE shop_account SET email = ?, email_changed_at = ?, email_verified_at = coalesce(?, email_verified_at),"
                " changed_at = ? WHERE account_id = ?",
                [(e, a, k, changed, who) for e, a, k, who in zip(emails, at, known, chosen[kind], strict=True)],
            )
        store.many(
            "UPDATE shop_order_line SET returned = 1 WHERE order_id IN (SELECT order_id FROM shop_order WHERE account_id = ?)",
            [(who,) for who in chosen["returned_orders"]],
        )

    def _newcomers(self) -> tuple[str, ...]:
        """New accounts that grant at once."""
        store = self._store
        # Events stay when accounts go, so that no number is ever given twice.
        count = store.rows("SELECT count(*) FROM shop_account")[0][0]
        ever = "SELECT account_id FROM shop_account UNION SELECT account_id FROM shop_consent"
        known = store.rows(f"SELECT max(CAST(substr(account_id, 3) AS INTEGER)) FROM ({ever})")[0][0]  # noqa: S608 - own words
        people = make_people(
            self._rng,
            max(10, round(_COMING["new_accounts"] * int(count))),
            self._now,
            first_number=int(known) - 99_999,
            plain=True,
        )
        people.created[:] = self._at(len(people))
        people.verified[:] = people.created + 300
        people.login[:] = people.created
        people.anchor[:] = True
        everyone = np.arange(len(people))
        said = Said(people)
        said.consent(everyone, people.created + 600)
        said.consent(everyone, people.created + 60, purpose="web_behaviour", source="cookie_banner")
        store.append("shop_account", account_rows(people, everyone))
        self._write_events(said)
        self._trade_of(people)
        return tuple(people.account_id.tolist())

    def _trade_of(self, people: People) -> None:
        """One visit and one order of each newcomer, soon after the account was opened."""
        store, everyone = self._store, np.arange(len(people))
        topic = topics(self._rng, people)
        cookies = people.created + 60
        first = int(store.rows("SELECT count(*) FROM shop_order")[0][0])
        price = self._rng.integers(79, 8_990, len(people)) * 100 - 10
        orders, lines = sold(self._rng, people, topic, (everyone, people.created + 1_800, price), cookies, first)
        store.append("shop_order", orders)
        store.append("shop_order_line", lines)
        first = int(store.rows("SELECT count(*) FROM shop_visit")[0][0])
        store.append("shop_visit", seen(self._rng, people, topic, (everyone, people.created + 1_200), cookies, first))

    def _visits_of_the_day(self) -> None:
        """One in ten of those who were seen and still accept cookies come back and look at the same thing."""
        rows = self._store.rows(
            "SELECT max(event_id) FROM shop_visit WHERE cookie_consented = 1"
            " AND account_id IN (SELECT account_id FROM shop_account)"
            " AND account_id NOT IN (SELECT account_id FROM shop_consent WHERE purpose = 'web_behaviour' AND action = 'withdraw')"
            " GROUP BY account_id ORDER BY 1"
        )
        again = [row[0] for row in rows if self._rng.random() < 0.1]
        first = int(self._store.rows("SELECT count(*) FROM shop_visit")[0][0])
        self._store.many(
            "INSERT INTO shop_visit SELECT ?, account_id, company, kind, product_id, category, author, ?, 1, 1"
            " FROM shop_visit WHERE event_id = ?",
            [(f"v{first + k:09}", at, old) for k, (at, old) in enumerate(zip(iso(self._at(len(again))), again, strict=True))],
        )
