"""Which noes the state machine's ledger remembers (rules §4 rule 13): its rows, matched one by one with what a run could see, and as the reference
judges by them.

    known = Remembered(site)
    known.noes()                  # the events that memory keeps now, as `decide` takes them
    known.complete(look)          # a whole run that looked then has remembered every no that it saw
    known.left_with_anchors()     # a run is over: what it remembers has left this machine
    known.came_back()             # a restored ledger was recovered: nothing of that is lost

The rows are opened with the ledger's own code and the keys' tokens; what they should say is known from the store's rows. It judges nobody.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
from machine_site import Look, Site

from nestaudience.hashing.tokens import Tokens
from nestaudience.ledger.suppression import NOBODY, count, remembered
from tests.reference.decide import remembered_noes
from tests.reference.events import Event
from tests.reference.rows import World

Key = tuple[str, bytes, bytes, str, datetime]
"""Kind, token of the address, token of the account, recipient, when it was recorded: no two noes of the machine's people share all of them."""
_COOKIES: Final = {"web_behaviour": "cookies_web"}
_RIGHTS: Final = {"erase": ("erased",), "restrict": ("restricted",), "object": ("objected", "objected_analysis")}


class Remembered:
    """Asked while a run is at work, and after it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._tokens = Tokens(site.keys.suppression.reveal())
        self._known: dict[tuple[str | None, bool], bytes] = {}
        self._seen: dict[Key, Event] = {}
        self._looked: World | None = None
        self._rows: dict[Key, Event] = {}
        self._size = 0
        self._left: set[Key] = set()
        self.version = 0
        """Another number for other noes."""

    def noes(self) -> tuple[Event, ...]:
        """What memory keeps now. Whoever never said no is not remembered."""
        size = count(self._site.engine)
        if size != self._size:
            for look in self._site.story.looks[:1]:
                self._sees(look)
            self._rows = dict(self._event(row) for row in remembered(self._site.engine).to_pylist())
            self._size, self.version = size, self.version + 1
        return tuple(dict.fromkeys(self._rows.values()))

    def forgets(self) -> None:
        """The ledger is another one now."""
        self._size = -1

    def complete(self, look: Look) -> None:
        """Every no that a whole run saw is remembered, for the address that its account had then."""
        self.noes()
        kept = {(kind, owner, recipient, at) for kind, _, owner, recipient, at in self._rows}
        for key in self._keys(look):
            nowhere = key[1] == NOBODY and (key[0], *key[2:]) in kept
            assert nowhere or key in self._rows, "a run saw a no and did not remember it"

    def left_with_anchors(self) -> None:
        """A run is over: what memory keeps now stands beside its checkpoint as well."""
        self.noes()
        self._left |= self._rows.keys()

    def came_back(self) -> None:
        """After a recovery: a no that left this machine is remembered again."""
        self.noes()
        assert self._left <= self._rows.keys(), "a recovered ledger has forgotten a no that left with the anchors"

    def _event(self, row: dict[str, Any]) -> tuple[Key, Event]:
        key = (row["kind"], row["token"], row["account_token"], row["recipient"], row["recorded"])
        assert key in self._seen, "the ledger remembers a no that nobody said"
        return key, replace(self._seen[key], first_seen=row["first_seen"].replace(tzinfo=UTC))

    def _sees(self, look: Look) -> None:
        if look.world is not self._looked:
            self._looked = look.world
            self._seen |= self._keys(look)

    def _keys(self, look: Look) -> dict[Key, Event]:
        """The rows that each no of a world gives."""
        found: dict[Key, Event] = {}
        for no in remembered_noes(look.world, self._site.parts.settings.rules(), look.at):
            assert no.recorded is not None
            kinds = _RIGHTS.get(str(no.action)) or (_COOKIES.get(str(no.purpose), "withdrawn"),)
            recipient = str(no.recipient) if kinds == ("withdrawn",) else "*"
            at = no.recorded.replace(tzinfo=None)
            for kind in kinds:
                found[kind, self._token(no.kept), self._token(no.account, account=True), recipient, at] = no
        return found

    def _token(self, word: str | None, *, account: bool = False) -> bytes:
        if word is None:
            return NOBODY
        if (word, account) not in self._known:
            column = pa.array([word], pa.string())
            made = self._site.tokens.of_accounts(column) if account else self._tokens.of_people(column)
            self._known[word, account] = made.to_pylist()[0]
        return self._known[word, account]
