"""The report in a real browser: nothing is asked for, nothing complained of, nothing cut off; it can be read by ear and by keyboard; it prints."""

import re
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from browser import NO_BROWSER, WHY_NOT, Browser, Page
from report_log import Told, material, some_months

from nestaudience.audit.report.compose import to_report
from nestaudience.audit.report.pdf import to_pdf
from nestaudience.errors import NeedsFix, TryAgain
from nestaudience.vocabulary import Language

needs_browser = pytest.mark.skipif(NO_BROWSER, reason=WHY_NOT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the report in both languages."""
    here = tmp_path_factory.mktemp("browser")
    told: Told = some_months(here)
    for language in Language:
        (here / f"{language}.html").write_text(to_report(material(told, language)), "utf-8")
    return here


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Browser]:
    with Browser.start(folder) as started:
        yield started


@pytest.fixture(scope="module", params=[(language, width) for language in Language for width in (360, 1280)], ids=str)
def page(request: pytest.FixtureRequest, browser: Browser, folder: Path) -> Page:
    language, width = request.param
    return browser.open(folder / f"{language}.html", width=width)


@needs_browser
def test_nothing_is_asked_for_and_nothing_complained_of(page: Page) -> None:
    assert [address for address in page.requests if not address.startswith("data:")] == [page.ask("location.href")]
    assert page.complaints == []
    assert page.ask("performance.getEntriesByType('resource').length") == 0


@needs_browser
def test_nothing_is_cut_off(page: Page) -> None:
    assert page.ask("document.documentElement.scrollWidth <= innerWidth")
    outside = """[...document.querySelectorAll('body *')].filter(e => {
        const box = e.getBoundingClientRect();
        return box.right > innerWidth + 1 && !e.closest('.scroll, .drawing');
    }).map(e => e.outerHTML.slice(0, 80))"""
    assert page.ask(outside) == []
    overlong = """[...document.querySelectorAll('svg')].flatMap(svg => {
        const box = svg.viewBox.baseVal;
        return [...svg.querySelectorAll('text')].filter(t => t.getBBox().x < -1 || t.getBBox().x + t.getBBox().width > box.width + 1);
    }).map(t => t.textContent)"""
    assert page.ask(overlong) == [], "words that leave their picture"


@needs_browser
def test_headings_go_down_one_step_at_a_time(page: Page) -> None:
    levels = page.ask("[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@needs_browser
def test_a_screen_reader_finds_its_way(page: Page) -> None:
    for landmark in ("header", "nav[aria-label]", "main", "footer"):
        assert page.ask(f"document.querySelectorAll('{landmark}').length") >= 1, landmark
    assert page.ask(
        "[...document.querySelectorAll('section')].every(s => document.getElementById(s.getAttribute('aria-labelledby')))"
    )
    named = "s.role === 'img' && s.querySelector('title').textContent && s.querySelector('desc').textContent"
    assert page.ask(f"[...document.querySelectorAll('svg')].every(s => {named})")
    assert page.ask("document.querySelectorAll('svg').length") >= 7
    tables = page.ask("""[...document.querySelectorAll('table')].map(t => [
        t.caption && t.caption.textContent.length > 2,
        [...t.tHead.querySelectorAll('th')].every(h => h.scope === 'col'),
        [...t.tBodies[0].rows].every(r => r.cells[0].scope === 'row' || r.cells[0].className === 'empty'),
    ])""")
    assert len(tables) >= 15
    assert tables == [[True, True, True]] * len(tables)
    assert page.ask("document.documentElement.lang") in ("sv", "en")


@needs_browser
def test_what_scrolls_can_be_reached_by_keyboard(page: Page) -> None:
    unreachable = """[...document.querySelectorAll('*')].filter(e => e.scrollWidth > e.clientWidth + 1
        && getComputedStyle(e).overflowX === 'auto' && e.tabIndex < 0).length"""
    assert page.ask(unreachable) == 0
    for _ in range(2):
        page.call("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        page.call("Input.dispatchKeyEvent", type="keyUp", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        if page.ask("document.activeElement.className") == "skip":
            break
    assert page.ask("document.activeElement.className") == "skip", "the first stop is the way past the contents"
    assert page.ask("document.activeElement.getBoundingClientRect().top >= 0"), "and it is seen"


@needs_browser
def test_it_prints_with_its_text_and_page_numbers(folder: Path) -> None:
    to_pdf(folder / "sv.html", folder / "sv.pdf")
    data = (folder / "sv.pdf").read_bytes()
    pages = len(re.findall(rb"/Type\s*/Page\b", data))
    assert data.startswith(b"%PDF-")
    assert 8 <= pages <= 40
    assert b"/StructTreeRoot" in data, "it is tagged for screen readers"
    try:
        text = subprocess.run(["pdftotext", "-layout", folder / "sv.pdf", "-"], capture_output=True, check=True).stdout.decode()
    except FileNotFoundError:
        return  # no reader of PDF on this machine: the pages were counted
    for said in ("Loggen är verifierad", "Varje överföring", "Register över behandling", f"1 / {pages}"):
        assert said in text
    assert text.count("Post  ") > 3, "the heads of long tables are repeated"


def test_without_a_browser_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(NeedsFix) as raised:
        to_pdf(folder / "sv.html", folder / "none.pdf")
    assert raised.value.code == "browser_missing"
    assert "install" in raised.value.next_step
    assert not (folder / "none.pdf").exists()


@pytest.mark.parametrize(
    ("does", "error", "code"), [("exit 1", NeedsFix, "pdf_failed"), ("exec sleep 30", TryAgain, "pdf_timeout")]
)
def test_a_browser_that_fails_leaves_no_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, error: type, code: str
) -> None:
    (tmp_path / "chromium").write_text(f"#!/bin/sh\n{does}\n")
    (tmp_path / "chromium").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "old.pdf").write_text("before")
    with pytest.raises(error) as raised:
        to_pdf(folder / "sv.html", tmp_path / "old.pdf", timeout=1)
    assert raised.value.code == code
    assert (tmp_path / "old.pdf").read_text() == "before"
