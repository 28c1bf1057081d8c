"""The report in a browser: hostile names, narrow and wide screens, print, screen readers."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from audit.runs import outcome, planned
from builders import ORG, OTHER_ORG
from environment import on_real_clock
from needs import AXE
from playwright.sync_api import sync_playwright
from report.scenes import HOSTILE, REFUSED_SWEEP, SCENES, UNREADABLE, deleted, run, write
from report.test_page import TEXTS, page_of

from invite_sweeper.audit import AuditDirectory
from invite_sweeper.audit.events import Announced, Kept, OrganizationResult
from invite_sweeper.endings import Reason
from invite_sweeper.models import Source
from invite_sweeper.report.page import render_html
from invite_sweeper.report.table import display_text

pytestmark = [pytest.mark.slow, pytest.mark.needs("chromium")]
WIDTHS = (320, 360, 768, 1249, 1920)
CUT = """() => Array.from(document.querySelectorAll("bdi, dt, dd, h1, h2, h3, p, .mark, th"))
  .filter(one => {
    const box = one.getBoundingClientRect();
    const cell = (one.closest("td") || document.body).getBoundingClientRect();
    const thead = getComputedStyle(one.closest("thead") || document.body);
    return box.width > 0 && thead.position !== "absolute"
      && (box.right > Math.min(innerWidth, cell.right) + 0.5
      || box.left < cell.left - 0.5 || one.scrollWidth > one.clientWidth + 1
         && getComputedStyle(one).display !== "inline");
  }).map(one => one.textContent)"""
OUTSIDE_TILE = """() => Array.from(document.querySelectorAll(".strip li > :not(.spoken)"))
  .filter(one => {
    const text = document.createRange();
    text.selectNodeContents(one);
    const tile = one.parentNode.getBoundingClientRect();
    return [text, one].map(each => each.getBoundingClientRect())
      .some(box => box.left < tile.left - 0.5 || box.right > tile.right + 0.5);
  }).map(one => one.textContent)"""
LONG = "bartholomew.montgomery-featherstone@research.department.example.com"


def everything():
    """Return a sweep of two organizations with each table, long and hostile names."""
    lines = []
    for number, name in enumerate((*TEXTS, LONG, "x" * 300)):
        names = {"username": name, "project_name": name, "inviter": name, "roles": (name, name)}
        plan = planned(number, source=Source.ORG_USERS if number % 3 else Source.USERS, **names)
        failed = outcome(plan, "failed" if number % 2 else "deleted", http_status=500)
        due = plan.as_event(Announced, rule=name, deletable_from="2026-12-15T01:00:00Z")
        lines += [plan, failed, Kept.of(plan, reason=f"keep:{name}"), due]
    organizations = tuple(
        OrganizationResult(id=id_, name="Example Industries Holding " * 4, plan_made=True)
        for id_ in (ORG, OTHER_ORG)
    )
    return run(
        UNREADABLE,
        *lines,
        stale=len(lines) // 4,
        failed=len(lines) // 8,
        projects_unreadable=1,
        kept=len(lines) // 4,
        kept_by_reason={f"keep:{LONG}": len(lines) // 4},
        exit_code=4,
        reasons=(Reason.FAILED_DELETIONS, Reason.UNREADABLE_PROJECTS),
        organizations=organizations,
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> list[Path]:
    """The page of 20 nights, two without a run and a sweep with each table; then of two scenes."""
    long = planned(1, source=Source.USERS, username=LONG, inviter=LONG, project_name="Data Pool")
    nights = {days_ago: deleted(1) for days_ago in (*range(20, 10, -1), 8)}
    nights |= {14: REFUSED_SWEEP, 7: REFUSED_SWEEP, 0: everything()}
    three = SCENES["three organizations"]._replace(lines=[long, outcome(long)])
    pages = []
    for runs in (nights, {0: three}, {0: SCENES["killed"]}):
        folder = tmp_path_factory.mktemp("page")
        directory = AuditDirectory(folder / "audit")
        for days_ago, scene in runs.items():
            write(scene, directory, days_ago=days_ago)
        pages.append(folder / "report.html")
        pages[-1].write_text(render_html(page_of(directory)), encoding="utf-8")
    return pages


@pytest.fixture(scope="module")
def browser(pages):
    """Debian's chromium, headless, driven by playwright.

    After the pages, and of this file alone: writing logs and asynchronous tests need an event
    loop, and the driver keeps one running.
    """
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    arguments += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as driver:
        path = shutil.which("chromium")
        real = on_real_clock(os.environ)
        browser = driver.chromium.launch(executable_path=path, args=arguments, env=real)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Return a context that loads a page and yields its tab; what it logs or requests fails.

    Half a second without a request is awaited only where a test is about requests and scripts.
    """

    @contextmanager
    def open_page(path: Path, *, events=(), until="load", **options):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        tab = context.new_page()
        seen = []
        tab.on("console", lambda message: seen.append("console"))
        tab.on("pageerror", lambda error: seen.append("error"))
        tab.on("dialog", lambda dialog: seen.append("dialog"))
        tab.on("request", lambda request: seen.append(request.url))
        tab.goto(path.as_uri(), wait_until=until)
        yield tab
        assert set(seen) - {path.as_uri()} == set(events)
        context.close()

    return open_page


@pytest.fixture(scope="module")
def loaded(browser, pages):
    """The first page, loaded once for tests that look at it."""
    tab = browser.new_page()
    tab.goto(pages[0].as_uri())
    return tab


@pytest.fixture
def tab(loaded):
    loaded.emulate_media(media="screen", color_scheme="light")
    loaded.set_viewport_size({"width": 1280, "height": 900})
    return loaded


def test_hostile_names_are_text_and_the_page_requests_nothing(opened, pages):
    with opened(pages[0], until="networkidle") as tab:
        assert tab.evaluate("window.pwned") is None
        assert tab.locator("h1").count() == 1
        assert tab.locator("img, iframe, object, script, link[rel=stylesheet]").count() == 0
        shown = set(tab.locator("#t-deletions bdi").all_text_contents())
        assert {display_text(name) for name in TEXTS} <= shown


def test_injected_script_does_not_run(opened, pages, tmp_path):
    injected = tmp_path / "injected.html"
    script = HOSTILE["a script"]
    html = pages[0].read_text(encoding="utf-8")
    injected.write_text(html.replace("<h1>", f"{script}<h1>", 1), encoding="utf-8")
    with opened(injected, events=["console"], until="networkidle") as tab:
        assert tab.evaluate("window.pwned") is None


def test_nothing_is_cut_at_any_width(tab):
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert (width, tab.evaluate(CUT)) == (width, [])


def test_no_text_of_a_night_is_outside_its_tile(tab):
    tab.evaluate("document.querySelector('.strip .mark').textContent = '1,234,567'")
    for media in ("screen", "print"):
        tab.emulate_media(media=media)
        for width in (360, 1000):
            tab.set_viewport_size({"width": width, "height": 900})
            assert (media, width, tab.evaluate(OUTSIDE_TILE)) == (media, width, [])


def test_numbers_ids_and_addresses_do_not_break_inside_words(opened, pages):
    with opened(pages[1]) as tab:
        broken = tab.evaluate(
            """() => Array.from(document.querySelectorAll("td:not(.code) bdi"))
              .flatMap(bdi => Array.from(bdi.childNodes)).filter(node => {
                if (!node.data || /\\s/.test(node.data)) return false;
                const range = document.createRange();
                range.selectNodeContents(node);
                return range.getClientRects().length > 1;
              }).map(node => node.data)"""
        )
        assert broken == []
        assert tab.locator("#t-deletions tbody tr").count() == 1


def test_page_is_usable_by_keyboard_and_its_links_lead_to_sections(tab):
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    for link in tab.locator("nav a").all():
        assert tab.locator(link.get_attribute("href")).is_visible()


def test_print_shows_everything_and_no_navigation(tab):
    tab.set_viewport_size({"width": 979, "height": 900})  # Letter, landscape
    tab.emulate_media(media="print")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 979
    assert not tab.locator("nav").is_visible()
    assert tab.locator("#t-deletions tbody tr").first.is_visible()
    assert tab.locator("#t-deletions thead").is_visible()
    assert tab.pdf(prefer_css_page_size=True).startswith(b"%PDF")


@pytest.mark.needs("axe")
def test_axe_reports_no_violations(opened, pages):
    """Each page as it opens, and the one with each table also dark and narrow."""
    rules = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']"
    for path in pages:
        with opened(path, bypass_csp=True) as tab:
            tab.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            tab.evaluate(AXE.read_text(encoding="utf-8"))
            for scheme in ("light", "dark") if path == pages[0] else ("light",):
                tab.emulate_media(color_scheme=scheme)
                tab.set_viewport_size({"width": 360 if scheme == "dark" else 1280, "height": 900})
                found = tab.evaluate(
                    "axe.run(document, {resultTypes: ['violations'], runOnly: "
                    f"{{type: 'tag', values: {rules}}}}})"
                )
                assert found["passes"]
                shown = [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]]
                assert (scheme, shown) == (scheme, [])


def test_page_follows_the_color_scheme(tab):
    for scheme, is_white in (("light", True), ("dark", False)):
        tab.emulate_media(color_scheme=scheme)
        background = tab.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (background == "rgb(255, 255, 255)") is is_white
