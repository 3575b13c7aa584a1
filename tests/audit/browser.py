"""A real browser for tests: Debian's Chromium without a window, asked through its own debugging protocol. Nothing is downloaded.

    with Browser.start(folder) as browser:
        page = browser.open(path_to_html, width=360)
        page.ask("document.title")        # JavaScript that gives a value
        page.requests, page.complaints    # what it asked for, and what it complained of
        page.picture(folder / "top.png")

Protocol: https://chromedevtools.github.io/devtools-protocol/ (Page, Runtime, Network, Log, Emulation), read 2026-11-29.
"""

import base64
import itertools
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from nestaudience.audit.report.pdf import find_browser

NO_BROWSER = find_browser() is None
WHY_NOT = "there is no Chromium on this machine: apt-get install -y chromium"


class Page:
    """One open page. `requests` are the addresses that it asked for, its own file first; `complaints` what the console and the log said."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser = browser
        self._session = session
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def call(self, method: str, **params: object) -> dict[str, Any]:
        return self._browser.call(method, self._session, **params)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self, place: Path, selector: str = "body") -> None:
        """A PNG of one part, as wide as the window."""
        box = self.ask(
            f"(b => [b.x + scrollX, b.y + scrollY, b.width, b.height])(document.querySelector('{selector}').getBoundingClientRect())"
        )
        clip = dict(zip(("x", "y", "width", "height"), box, strict=True)) | {"scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        place.write_bytes(base64.b64decode(shot["data"]))

    def take(self, event: dict[str, Any]) -> None:
        """Note what an event tells of the page."""
        method, params = event.get("method", ""), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.complaints.append(json.dumps(params)[:300])


class Browser:
    """One running browser with a profile of its own."""

    def __init__(self, wire: ClientConnection) -> None:
        self._wire = wire
        self._numbers = itertools.count(1)
        self._pages: dict[str, Page] = {}
        self._loaded: set[str] = set()

    @classmethod
    @contextmanager
    def start(cls, folder: Path) -> Iterator["Browser"]:
        binary = find_browser()
        assert binary is not None, WHY_NOT
        arguments = [
            binary,
            "--headless",
            "--disable-gpu",
            "--hide-scrollbars",
            "--remote-debugging-port=0",
            f"--user-data-dir={folder / 'profile'}",
        ]
        arguments += [
            "--no-first-run",
            "--disable-background-networking",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "about:blank",
        ]
        running = subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        try:
            assert running.stderr is not None
            address = next(found[1] for line in running.stderr if (found := re.search(r"DevTools listening on (ws://\S+)", line)))
            with connect(address, max_size=None, compression=None) as wire:
                yield cls(wire)
        finally:
            running.terminate()
            running.wait(20)

    def open(self, path: Path, *, width: int = 1280, height: int = 900) -> Page:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        page.call("Page.navigate", url=path.as_uri())
        while session not in self._loaded:
            self._hear()
        return page

    def call(self, method: str, session: str = "", **params: object) -> dict[str, Any]:
        number = next(self._numbers)
        asked: dict[str, Any] = {"id": number, "method": method, "params": params}
        self._wire.send(json.dumps(asked | ({"sessionId": session} if session else {})))
        while True:
            heard = self._hear()
            if heard.get("id") == number:
                assert "error" not in heard, heard
                result: dict[str, Any] = heard["result"]
                return result

    def _hear(self) -> dict[str, Any]:
        heard: dict[str, Any] = json.loads(self._wire.recv(timeout=60))
        session = heard.get("sessionId", "")
        if heard.get("method") == "Page.loadEventFired":
            self._loaded.add(session)
        if session in self._pages:
            self._pages[session].take(heard)
        return heard
