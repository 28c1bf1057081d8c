"""The HTML report in a browser."""

import os
from collections import Counter
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import pytest
from report.hostile import HOSTILE
from report.logbook import Logbook, invitation
from report.page_scenes import SCENES

from invite_sweeper.audit.verify import Verdict
from invite_sweeper.report.html.chain import ChainResult
from invite_sweeper.report.html.rendering import render, write_report
from invite_sweeper.report.rows import display_text

INVITATIONS = 40
STATES = ("deleted", "deleted", "failed", "unknown", "already_gone", "skipped")
AGES = (0.5, 3.0, 20.0, 40.0, 400.0, None)
COUNTS = Counter(islice(cycle(STATES), INVITATIONS))


def stale_invitations() -> list[dict[str, object]]:
    """Return 40 stale invitations in eight projects, some with hostile names."""
    names = list(HOSTILE.values())
    return [
        invitation(
            number,
            username=names[number % len(names)] + (f"-{number}" if number >= len(names) else ""),
            project_id=f"{number % 8:024x}",
            project_name=names[number % 8],
            inviter=names[(number + 3) % 7],
            age_days=AGES[number % len(AGES)],
        )
        for number in range(INVITATIONS)
    ]


def write_log(path: Path) -> Logbook:
    """Write two sweeps; the second has all outcomes, unreadable projects and keep entries."""
    book = Logbook(path)
    book.sweep("run-1", dict.fromkeys(range(35, 45), "failed"), days_ago=1)
    book.start("run-2")
    for fields in stale_invitations():
        book.line("planned", **fields)
    for fields, state in zip(stale_invitations(), cycle(STATES), strict=False):
        if state != "skipped":
            book.line("intent", **fields)
        result = {"outcome": state, "attempts": 2, "http_status": 500, "error_code": "X"}
        book.line("outcome", **fields, **result)
    for number, reason in enumerate(HOSTILE.values()):
        project = {"project_id": f"{number:024x}", "project_name": reason, "reason": reason}
        book.line("project_unreadable", **project, http_status=401, error_code="NOT_IN_GROUP")
    entries = [
        {"name": name, "reason": reason, "until": "2026-11-01", "matched": 1}
        for name, reason in HOSTILE.items()
    ]
    book.finish(
        4,
        projects_seen=60,
        projects_unreadable=len(HOSTILE),
        invitations_seen=140,
        stale=INVITATIONS,
        kept=100,
        kept_by_reason={"too_young": 80, "keep:a script": 20},
        keep_entries=entries,
        sunset="2027-07-01",
        reasons=["circuit_breaker"],
        **COUNTS,
    )
    return book


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    book = write_log(folder / "audit.jsonl")
    chain = ChainResult(Verdict.SOUND, message="The chain is intact.", last_hash=book.prev)
    write_report([book.path], folder / "report.html", "html", chain)
    return folder / "report.html"


class Tabs:
    """The tabs of a browser, one for each kind of context: a new one takes longer than a test."""

    def __init__(self, chromium) -> None:
        self._chromium = chromium
        self._tabs: dict[str, tuple[object, list[str]]] = {}

    def _new(self, **options) -> tuple[object, list[str]]:
        tab = self._chromium.new_context(**options).new_page()
        events: list[str] = []
        tab.on("console", lambda message: events.append(f"console: {message.text}"))
        tab.on("pageerror", lambda error: events.append(f"error: {error}"))
        tab.on("dialog", lambda dialog: events.append(f"dialog: {dialog.message}"))
        tab.on("request", lambda request: events.append(f"request: {request.url}"))
        return tab, events

    @contextmanager
    def opened(self, path: Path, *, width=1200, height=900, color_scheme="light", **options):
        """Load the page; yield the tab and its console messages, errors and requests."""
        kind = repr(options)
        if kind not in self._tabs:
            self._tabs[kind] = self._new(**options)
        tab, events = self._tabs[kind]
        tab.goto("about:blank")
        tab.set_viewport_size({"width": width, "height": height})
        tab.emulate_media(media="null", color_scheme=color_scheme)
        events.clear()
        tab.goto(path.as_uri(), wait_until="load")
        assert events.pop(0) == f"request: {path.as_uri()}"
        yield tab, events


@pytest.fixture(scope="module")
def tabs(chromium) -> Tabs:
    return Tabs(chromium)


@pytest.fixture
def tab(tabs, page_file):
    with tabs.opened(page_file) as (tab, events):
        yield tab
        assert events == []


def shown_rows(tab, key: str) -> list[list[str]]:
    """Return the cells of the visible rows."""
    return tab.evaluate(
        "key => Array.from(document.querySelectorAll(`#t-${key} tbody tr`))"
        ".filter(row => row.offsetParent !== null)"
        ".map(row => Array.from(row.cells, cell => cell.textContent.trim()))",
        key,
    )


def column(tab, key: str, name: str) -> list[str]:
    heads = tab.eval_on_selector_all(f"#t-{key} th", "all => all.map(th => th.textContent.trim())")
    return [row[heads.index(name)] for row in shown_rows(tab, key)]


def test_page_opens_without_console_messages_or_requests(tab):
    tab.wait_for_load_state("networkidle")
    assert "Stopped itself" in tab.title()


def test_hostile_values_neither_run_nor_become_markup(tab):
    assert tab.evaluate("window.pwned") is None
    assert tab.locator("h1").count() == 1
    assert tab.locator("img, iframe, object, script[src], link[rel=stylesheet]").count() == 0


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_values_are_shown_as_text(tab, name):
    expected = " ".join(display_text(HOSTILE[name]).split())
    for table, heading in (
        ("invitations", "Invited"),
        ("unreadable", "Project"),
        ("keep-entries", "Reason"),
    ):
        assert expected in [" ".join(cell.split()) for cell in column(tab, table, heading)]


def test_bidirectional_name_does_not_reorder_its_row(tab):
    positions = tab.evaluate(
        """() => Array.from(document.querySelectorAll("#t-invitations tbody tr"), row =>
          Array.from(row.cells, cell => cell.getBoundingClientRect().left))"""
    )
    assert all(row == sorted(row) for row in positions)
    assert tab.locator("td:not(:empty):not(:has(bdi))").count() == 0


@pytest.mark.parametrize("width", [1200, 380])
def test_values_do_not_overflow_their_cells(tabs, page_file, width):
    with tabs.opened(page_file, width=width) as (tab, _):
        tab.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        overflowing = tab.evaluate(
            """() => Array.from(document.querySelectorAll("td bdi")).filter(bdi => {
              const inner = bdi.getBoundingClientRect(), cell = bdi.closest("td");
              const outer = cell.getBoundingClientRect();
              return inner.right > outer.right + 0.5 || inner.left < outer.left - 0.5
                || bdi.scrollWidth > bdi.clientWidth + 1;
            }).map(bdi => bdi.textContent)"""
        )
    assert overflowing == []


def test_filter_shows_the_rows_with_every_word(tab):
    box = tab.locator("[data-grid=invitations]")
    field = box.get_by_label("Filter")
    field.fill("FAILED onerror")
    found = shown_rows(tab, "invitations")
    assert all("failed" in row and "onerror" in " ".join(row) for row in found)
    assert 0 < len(found) < INVITATIONS
    assert box.get_by_role("status").inner_text() == f"{len(found)} of {INVITATIONS} rows"
    field.fill("no such thing")
    assert shown_rows(tab, "invitations") == []
    field.fill("")
    assert len(shown_rows(tab, "invitations")) == INVITATIONS


def test_state_selection_and_filter_combine(tab):
    box = tab.locator("[data-grid=invitations]")
    box.get_by_label("State").select_option("failed")
    failed = shown_rows(tab, "invitations")
    assert len(failed) == COUNTS["failed"]
    box.get_by_label("Filter").fill("x" * 50)
    assert len(shown_rows(tab, "invitations")) < len(failed)


def test_numbers_sort_numerically_with_unknown_ones_last(tab):
    button = tab.locator("#t-invitations th", has_text="Age").get_by_role("button")
    for descending in (False, True):
        button.click()
        ages = column(tab, "invitations", "Age")
        known = [float(age.removesuffix(" d")) for age in ages if age != "?"]
        assert known == sorted(known, reverse=descending)
        assert ages[len(known) :] == ["?"] * (INVITATIONS - len(known))
        head = tab.locator("#t-invitations th[aria-sort]")
        assert head.count() == 1
        assert head.get_attribute("aria-sort") == ("descending" if descending else "ascending")


def test_sorting_by_another_column_moves_the_sort_marker(tab):
    tab.locator("#t-invitations th", has_text="Age").get_by_role("button").click()
    tab.locator("#t-invitations th", has_text="Outcome").get_by_role("button").click()
    states = column(tab, "invitations", "Outcome")
    assert states == sorted(states)
    assert tab.locator("#t-invitations th[aria-sort]").inner_text().startswith("Outcome")


def test_page_is_usable_by_keyboard(tab):
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    tab.locator("#t-invitations th", has_text="Outcome").get_by_role("button").focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#t-invitations th[aria-sort]").count() == 1


def test_page_without_scripts_shows_all_rows(tabs, page_file):
    with tabs.opened(page_file, java_script_enabled=False) as (tab, events):
        assert tab.locator("#t-invitations tbody tr").count() == INVITATIONS
        assert not tab.locator(".controls").first.is_visible()
        assert events == []


def test_injected_script_does_not_run(page_file, tmp_path, tabs):
    injected_page = tmp_path / "injected.html"
    html = page_file.read_text(encoding="utf-8")
    injected = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>"
    injected_page.write_text(html.replace("<h1>", f"{injected}<h1>", 1), encoding="utf-8")
    with tabs.opened(injected_page) as (tab, events):
        assert tab.evaluate("window.pwned") is None
        assert any("Content Security Policy" in line for line in events)


def contrasts(tab) -> float:
    """Return the luminances of text and background, sorted, and the background colour."""
    return tab.evaluate(
        """() => {
          const light = colour => {
            const parts = colour.match(/[0-9.]+/g).slice(0, 3).map(part => part / 255)
              .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
          };
          const style = getComputedStyle(document.documentElement);
          const [low, high] = [light(style.color), light(style.backgroundColor)].sort();
          return [low, high, style.backgroundColor];
        }"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_follows_the_preferred_color_scheme(tabs, page_file, scheme):
    with tabs.opened(page_file, color_scheme=scheme) as (tab, _):
        low, high, background = contrasts(tab)
    assert (high + 0.05) / (low + 0.05) > 7
    assert (background == "rgb(255, 255, 255)") is (scheme == "light")


@pytest.mark.parametrize("width", [320, 380, 768, 1600])
def test_page_does_not_scroll_horizontally(tabs, page_file, width):
    with tabs.opened(page_file, width=width, height=800) as (tab, _):
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_print_shows_all_rows_and_hides_the_controls(tab):
    tab.emulate_media(media="print")
    assert len(shown_rows(tab, "invitations")) == INVITATIONS
    assert tab.evaluate("getComputedStyle(document.querySelector('.controls')).display") == "none"
    assert tab.pdf().startswith(b"%PDF")


@pytest.fixture(scope="module")
def three_organizations(tmp_path_factory) -> Path:
    """The page of a command over three organizations, with long names and addresses."""
    folder = tmp_path_factory.mktemp("three")
    book = Logbook(folder / "audit.jsonl")
    for number, name in enumerate(("Example Industries Holding", "Research", "Gamma")):
        org_id = f"{number + 10:024x}"
        book.start(
            f"20261125T010203Z-0000000{number}",
            organizations=[org_id],
            group_id="20261125T010203Z-00000000",
            actor=f"mdb_sa_id_65f1c0ffee0123456789ab{number:02}",
        )
        address = "bartholomew.montgomery-featherstone@research.department.example.com"
        project = {"project_name": "Customer Data Platform (production)", "org_id": org_id}
        book.deletions({1: "deleted", 2: "failed"}, username=address, inviter=address, **project)
        totals = {"stale": 2, "deleted": 1, "failed": 1, "invitations_seen": 2}
        book.finish(4, organization_names={org_id: name}, **totals)
    write_report([book.path], folder / "report.html", "html", None)
    return folder / "report.html"


def test_addresses_do_not_break_inside_words_with_three_organizations(tabs, three_organizations):
    with tabs.opened(three_organizations, width=1280) as (tab, _):
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


def test_no_number_is_hidden_on_a_narrow_screen(tabs, three_organizations):
    with tabs.opened(three_organizations, width=380) as (tab, _):
        hidden = tab.evaluate(
            """() => Array.from(document.querySelectorAll("td bdi, .tiles dd")).filter(one => {
              const box = one.getBoundingClientRect();
              return box.width > 0 && (box.right > innerWidth || box.left < 0);
            }).map(one => one.textContent)"""
        )
        scrolling = tab.evaluate(
            """() => Array.from(document.querySelectorAll(".scroll"))
              .filter(box => box.scrollWidth > box.clientWidth).length"""
        )
    assert (hidden, scrolling) == ([], 0)


def axe_violations(tabs, path: Path, axe: str, scheme: str, width: int) -> list[object]:
    """Return what axe finds on the page with all details open."""
    options = {"color_scheme": scheme, "width": width}
    with tabs.opened(path, bypass_csp=True, **options) as (tab, _):
        tab.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        tab.evaluate(axe)
        found = tab.evaluate(
            "axe.run(document, {resultTypes: ['violations'], runOnly: {type: 'tag', values: "
            "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}})"
        )
    assert found["passes"]
    return [
        (one["id"], one["nodes"][0]["html"], one["nodes"][0]["failureSummary"])
        for one in found["violations"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 380])
def test_axe_reports_no_violations(tabs, page_file, axe, scheme, width):
    assert axe_violations(tabs, page_file, axe, scheme, width) == []


@pytest.fixture
def scene_page(scene, tmp_path):
    """Write the page of a scene and return its path."""

    def write(name: str) -> Path:
        path = tmp_path / f"{name}.html"
        path.write_text(render(scene(name).model, "html"), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("name", [name for name in SCENES if name != "six_thousand"])
def test_axe_reports_no_violations_in_any_scene_but_the_longest(tabs, scene_page, axe, name):
    page = scene_page(name)
    for scheme, width in (("light", 1280), ("dark", 380)):
        assert axe_violations(tabs, page, axe, scheme, width) == []


@pytest.mark.parametrize("name", SCENES)
def test_first_screen_and_tables_fit_1280_pixels_in_any_scene(tabs, scene_page, name):
    options = {"width": 1280, "height": 1000}
    with tabs.opened(scene_page(name), **options) as (tab, events):
        tab.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        too_wide = tab.evaluate(
            """() => Array.from(document.querySelectorAll(".scroll"))
              .filter(box => box.scrollWidth > box.clientWidth)
              .map(box => box.getAttribute("aria-labelledby"))"""
        )
        label = tab.locator(".status .label").bounding_box()
    assert too_wide == []
    assert label["y"] < 200
    assert events == []


def test_each_night_of_the_strip_has_a_mark_and_not_only_a_colour(tabs, scene_page):
    options = {"width": 1280, "height": 1000}
    with tabs.opened(scene_page("thirty_nights"), **options) as (tab, _):
        cells = tab.locator(".strip li")
        assert cells.count() == 30
        assert cells.last.bounding_box()["y"] < 1000
        refused = tab.locator(".strip .mark", has_text="3")
        assert refused.count() == 5
        spoken = tab.locator(".strip .spoken", has_text="refused, exit code 3")
        assert spoken.count() == 5
        assert "refused by a guard" in tab.locator(".legend").first.inner_text()


def test_screenshots_are_taken_in_light_dark_and_narrow(tabs, page_file, tmp_path):
    folder = Path(os.environ.get("INVITE_SWEEPER_SCREENSHOTS") or tmp_path)
    for name, scheme, width in (
        ("light", "light", 1200),
        ("dark", "dark", 1200),
        ("narrow", "light", 380),
    ):
        options = {"color_scheme": scheme, "width": width}
        with tabs.opened(page_file, **options) as (tab, _):
            tab.screenshot(path=folder / f"report-{name}.png", full_page=True)
        picture = (folder / f"report-{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert int.from_bytes(picture[16:20], "big") == width
