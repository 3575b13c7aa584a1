"""Values of the store as the reference reads them, against the rules' own words."""

from datetime import UTC, datetime

import pytest

from .moments import NOT_TIMES
from .values import canonical, google_form, meta_form, moment, months_after, whole


@pytest.mark.parametrize("text", NOT_TIMES)
def test_what_is_no_time(text: str | None) -> None:
    assert moment(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-01T10:00:00Z", datetime(2026, 5, 1, 10, tzinfo=UTC)),
        ("2026-05-01 10:00:00+00:00", datetime(2026, 5, 1, 10, tzinfo=UTC)),
        ("2024-02-29T23:59:59.5Z", datetime(2024, 2, 29, 23, 59, 59, 500_000, tzinfo=UTC)),
        ("1999-12-31 00:00:00.000001+00:00", datetime(1999, 12, 31, 0, 0, 0, 1, tzinfo=UTC)),
    ],
)
def test_what_is_a_time(text: str, expected: datetime) -> None:
    assert moment(text) == expected


def test_whole_numbers() -> None:
    assert [whole(text) for text in ("10", "-1", "007")] == [10, -1, 7]
    assert [whole(text) for text in (None, "", "-", "+1", " 1", "1.0", "1\n", "٣", "1" * 19)] == [None] * 9


def test_calendar_months_are_clamped() -> None:
    assert months_after(datetime(2024, 2, 29, 8, tzinfo=UTC), 24) == datetime(2026, 2, 28, 8, tzinfo=UTC)
    assert months_after(datetime(2026, 10, 31, tzinfo=UTC), 4) == datetime(2027, 2, 28, tzinfo=UTC)
    assert months_after(datetime(2026, 1, 31, tzinfo=UTC), -12) == datetime(2025, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("address", "google", "meta", "same"),
    [
        ("Anna.Berg+ads@Post.SE", "anna.berg+ads@post.se", "anna.berg+ads@post.se", "anna.berg+ads@post.se"),
        ("A.n.n.a+x+y@gmail.com", "anna@gmail.com", "a.n.n.a+x+y@gmail.com", "anna@gmail.com"),
        ("An.na@GoogleMail.com", "anna@googlemail.com", "an.na@googlemail.com", "anna@gmail.com"),
        ("an.na@mail.gmail.com", "an.na@mail.gmail.com", "an.na@mail.gmail.com", "an.na@mail.gmail.com"),
        ("+x@gmail.com", None, "+x@gmail.com", "+x@gmail.com"),
        ("...@googlemail.com", None, "...@googlemail.com", "...@googlemail.com"),
        ("\u3000a@b.se\u0085\u00a0\n", "a@b.se", "a@b.se", "a@b.se"),
        ("A\u030asa@b.se", "\u00e5sa@b.se", "\u00e5sa@b.se", "\u00e5sa@b.se"),
        ("\u212bsa@b.se", "\u00e5sa@b.se", "\u00e5sa@b.se", "\u00e5sa@b.se"),
        ("stra\u00dfe@b.se", "stra\u00dfe@b.se", "stra\u00dfe@b.se", "stra\u00dfe@b.se"),
        (
            "a@r\u00c4ksm\u00f6rg\u00e5s.se",
            "a@r\u00e4ksm\u00f6rg\u00e5s.se",
            "a@r\u00e4ksm\u00f6rg\u00e5s.se",
            "a@r\u00e4ksm\u00f6rg\u00e5s.se",
        ),
        (".a..b.@c.se", ".a..b.@c.se", ".a..b.@c.se", ".a..b.@c.se"),
    ],
)
def test_forms_of_an_address(address: str, google: str | None, meta: str | None, same: str | None) -> None:
    assert (google_form(address), meta_form(address), canonical(address)) == (google, meta, same)


@pytest.mark.parametrize(
    "address",
    [
        *(None, "", " ", "anna", "@b.se", "a@", "a@b", "a@b..se", "a@.se", "a@b.se.", "a@b@c.se", "a b@c.se", "a@b .se"),
        *(
            "a\u2003b@c.se",
            "a\u200b@c.se",
            "\ufeffa@c.se",
            "a\u00ad@c.se",
            "a@c.se\u200d",
            "a\x00@c.se",
            "a@c.se\x1f",
            "a\x7f@c.se",
        ),
        *("a\uff20c.se", "a@c\u3002se", "\u2066a@c.se"),
    ],
)
def test_refused_addresses(address: str | None) -> None:
    assert (google_form(address), meta_form(address), canonical(address)) == (None, None, None)
