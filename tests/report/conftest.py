"""A real browser for the tests of the page."""

import os
import shutil
from pathlib import Path

import pytest

REQUIRED = "INVITE_SWEEPER_REQUIRE_BROWSER"
ARGUMENTS = (
    "--no-sandbox",  # it runs as root in a container, on pages of our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing(what: str) -> None:
    """Skip, or fail where a browser is required."""
    if os.environ.get(REQUIRED):
        pytest.fail(f"{what}, and {REQUIRED} is set")
    pytest.skip(what)


@pytest.fixture(scope="module")
def chromium():
    """Debian's chromium, headless, driven by playwright.

    Not for the whole session: its driver keeps an event loop running, and no asynchronous
    test of another file could run beside it.
    """
    path = shutil.which("chromium")
    if path is None:
        missing("chromium is not installed (Debian's package chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        missing("playwright is not installed (the extra dev)")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, from where `npm install --prefix FOLDER axe-core` put it."""
    folder = os.environ.get("INVITE_SWEEPER_AXE")
    source = Path(folder or "node_modules") / "axe-core" / "axe.min.js"
    if not source.is_file():
        missing(f"axe-core is not at {source}; INVITE_SWEEPER_AXE names its node_modules")
    return source.read_text(encoding="utf-8")
