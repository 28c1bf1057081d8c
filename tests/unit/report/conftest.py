"""A browser for the tests of the HTML report."""

import shutil

import pytest
from needs import AXE
from playwright.sync_api import sync_playwright

ARGUMENTS = (
    "--no-sandbox",  # runs as root in a container, on its own pages only
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def chromium():
    """Debian's chromium, headless, driven by playwright.

    Module scope, because the driver keeps an event loop running that would break asynchronous
    tests of other files.
    """
    with sync_playwright() as driver:
        path = shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    return AXE.read_text(encoding="utf-8")
