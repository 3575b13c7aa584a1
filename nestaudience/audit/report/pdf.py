"""A PDF of the report, printed by a browser that is on the machine: without a window, with a profile of its own that is thrown away, and with no
network.

It makes no page and changes none: the file that is printed is the file that was written.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from nestaudience.errors import NeedsFix, TryAgain

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Looked for in this order."""
TIMEOUT: Final = 180
"""Seconds. A report of a year with 40 lists takes some ten."""


def find_browser() -> str | None:
    """The path of a browser that can print; None where there is none."""
    return next((found for name in BROWSERS if (found := shutil.which(name)) is not None), None)


def to_pdf(html: Path, pdf: Path, *, timeout: float = TIMEOUT) -> None:
    """Print an HTML file of this machine to a PDF file. What was there is replaced, in one step, and only by a whole file.

    Raises `NeedsFix`: `browser_missing`, `pdf_failed` (the browser made no PDF, or it may not be written); `TryAgain`: `pdf_timeout`.
    """
    binary = find_browser()
    if binary is None:
        next_step = "install Chromium (Debian: apt-get install chromium) and print again; the HTML file is whole without it"
        raise NeedsFix("browser_missing", "--pdf", next_step)
    with tempfile.TemporaryDirectory(prefix="nestaudience-print-") as scratch:
        made = Path(scratch) / "report.pdf"
        if not _print(binary, html, made, Path(scratch), timeout):
            raise TryAgain(
                "pdf_timeout",
                "--pdf",
                f"the browser did not print within {timeout:.0f} seconds; try again, or print the HTML by hand",
            )
        written = made.is_file() and made.read_bytes()[:5] == b"%PDF-"
        try:
            if written:
                part = pdf.with_name(f".{pdf.name}.part")
                shutil.copyfile(made, part)
                part.replace(pdf)
        except OSError:
            written = False
    if not written:
        raise NeedsFix(
            "pdf_failed", "--pdf", "name a file in a folder that can be written, or print the HTML file with a browser by hand"
        )


def _print(binary: str, html: Path, pdf: Path, scratch: Path, timeout: float) -> bool:
    """Let the browser print; False when it took too long. It and what it started are ended then."""
    arguments = [
        binary,
        "--headless",
        "--disable-gpu",
        f"--user-data-dir={scratch / 'profile'}",
        "--no-first-run",
        "--no-default-browser-check",
    ]
    arguments += [
        "--disable-background-networking",
        "--disable-extensions",
        "--disable-sync",
        "--proxy-server=127.0.0.1:9",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # as root Chromium runs in no sandbox of its own; the page has no script, and no network
    arguments += ["--no-pdf-header-footer", "--generate-pdf-document-outline", f"--print-to-pdf={pdf}", html.absolute().as_uri()]
    running = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    try:
        running.wait(timeout)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, 9)
        running.wait()
        return False
    return True
