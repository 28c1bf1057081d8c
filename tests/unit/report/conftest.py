"""A browser for the tests of the HTML report."""

import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from report.page_scenes import SCENES, Scene

REQUIRED = "INVITE_SWEEPER_REQUIRE_BROWSER"
ARGUMENTS = (
    "--no-sandbox",  # runs as root in a container, on its own pages only
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing(message: str) -> None:
    """Skip the test, or fail it where the browser is required."""
    if os.environ.get(REQUIRED):
        pytest.fail(f"{message}, and {REQUIRED} is set")
    pytest.skip(message)


@pytest.fixture(scope="module")
def chromium():
    """Debian's chromium, headless, driven by playwright.

    Module scope, because the driver keeps an event loop running that would break asynchronous
    tests of other files.
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
    """The source of axe-core, as installed by `npm install --prefix FOLDER axe-core`."""
    folder = os.environ.get("INVITE_SWEEPER_AXE")
    source = Path(folder or "node_modules") / "axe-core" / "axe.min.js"
    if not source.is_file():
        missing(f"axe-core is not at {source}; INVITE_SWEEPER_AXE names its node_modules")
    return source.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def scene(tmp_path_factory) -> Callable[[str], Scene]:
    """Play a scene of `page_scenes` by its name, each at most once."""

    @cache
    def play(name: str) -> Scene:
        return SCENES[name](tmp_path_factory.mktemp(name))

    return play
