"""The page in a real browser."""

import os
from collections import Counter
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import pytest
from report.hostile import HOSTILE
from report.logbook import Logbook, invitation

from invite_sweeper.report.html import ChainResult, write_report
from invite_sweeper.sweep.plan import AGE_CLASS_LABELS
from invite_sweeper.text import escape_unprintable, to_text, truncate

PEOPLE = 40
STATES = ("deleted", "deleted", "failed", "unknown", "already_gone", "skipped")
AGES = (0.5, 3.0, 20.0, 40.0, 400.0, None)
COUNTS = Counter(islice(cycle(STATES), PEOPLE))


def people() -> list[dict[str, object]]:
    """Forty stale invitations in eight projects, hostile names among them."""
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
        for number in range(PEOPLE)
    ]


def write_log(path: Path) -> Logbook:
    """Two nights; the second has every outcome, unreadable projects, exemptions, bounces."""
    book = Logbook(path)
    book.sweep("run-1", dict.fromkeys(range(35, 45), "failed"), days_ago=1)
    book.start("run-2")
    for fields in people():
        book.line("planned", **fields)
    for fields, state in zip(people(), cycle(STATES), strict=False):
        if state != "skipped":
            book.line("intent", **fields)
        ended = {"outcome": state, "attempts": 2, "http_status": 500, "error_code": "X"}
        book.line("outcome", **fields, **ended)
    for number, reason in enumerate(HOSTILE.values()):
        lost = {"project_id": f"{number:024x}", "project_name": reason, "reason": reason}
        book.line("project_unreadable", **lost, http_status=401, error_code="NOT_IN_GROUP")
    entries = [
        {"name": name, "reason": reason, "until": "2026-11-01", "matched": 1}
        for name, reason in HOSTILE.items()
    ]
    book.finish(
        4,
        projects_seen=60,
        projects_unreadable=len(HOSTILE),
        invitations_seen=140,
        stale=PEOPLE,
        kept=100,
        kept_by_reason={"too_young": 80, "keep:a script": 20},
        kept_ages={"0": 90, "3": 8, "none": 2},
        keep_entries=entries,
        sunset="2027-07-01",
        **COUNTS,
    )
    return book


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    book = write_log(folder / "audit.jsonl")
    chain = ChainResult(sound=True, message="The chain is sound.", last_hash=book.prev)
    write_report([book.path], folder / "report.html", "html", chain)
    return folder / "report.html"


@contextmanager
def opened(chromium, path: Path, **options):
    """A tab with the page, and all that it logged, asked for or raised."""
    with chromium.new_context(**{"viewport": {"width": 1200, "height": 900}, **options}) as context:
        tab = context.new_page()
        noise: list[str] = []
        tab.on("console", lambda message: noise.append(f"console: {message.text}"))
        tab.on("pageerror", lambda error: noise.append(f"error: {error}"))
        tab.on("dialog", lambda dialog: noise.append(f"dialog: {dialog.message}"))
        tab.on("request", lambda request: noise.append(f"request: {request.url}"))
        tab.goto(path.as_uri(), wait_until="load")
        assert noise.pop(0) == f"request: {path.as_uri()}"
        yield tab, noise


@pytest.fixture
def tab(chromium, page_file):
    with opened(chromium, page_file) as (tab, noise):
        yield tab
        assert noise == []


def shown_rows(tab, key: str) -> list[list[str]]:
    """The cells of the rows that can be seen."""
    return tab.evaluate(
        "key => Array.from(document.querySelectorAll(`#t-${key} tbody tr`))"
        ".filter(row => row.offsetParent !== null)"
        ".map(row => Array.from(row.cells, cell => cell.textContent.trim()))",
        key,
    )


def column(tab, key: str, name: str) -> list[str]:
    heads = tab.eval_on_selector_all(f"#t-{key} th", "all => all.map(th => th.textContent.trim())")
    return [row[heads.index(name)] for row in shown_rows(tab, key)]


def drawn(tab, title: str) -> dict[str, object]:
    """A chart's bars by series, the legend, and the table behind it."""
    return tab.evaluate(
        """title => {
          const figure = Array.from(document.querySelectorAll("figure"))
            .find(one => one.querySelector("figcaption").textContent === title);
          const groups = Array.from(figure.querySelectorAll("svg .series"));
          const cells = row => Array.from(row.cells, cell => cell.textContent.trim());
          return {
            bars: groups.map(g => Array.from(g.querySelectorAll("rect"), r => +r.dataset.value)),
            heights: groups.map(g => Array.from(g.querySelectorAll("rect"),
              r => r.getBoundingClientRect().height)),
            colours: groups.map(g => getComputedStyle(g.querySelector("rect")).fill),
            chips: Array.from(figure.querySelectorAll(".chip"),
              chip => getComputedStyle(chip).backgroundColor),
            sums: Array.from(figure.querySelectorAll(".sum"), sum => +sum.textContent),
            table: Array.from(figure.querySelectorAll("tbody tr"), cells),
            label: figure.querySelector("svg").getAttribute("aria-label"),
          };
        }""",
        title,
    )


def test_it_opens_without_a_word_on_the_console_or_any_request(tab):
    tab.wait_for_load_state("networkidle")
    assert "partial" in tab.title()


def test_no_hostile_value_runs_or_becomes_markup(tab):
    assert tab.evaluate("window.pwned") is None
    assert tab.locator("h1").count() == 1
    assert tab.locator("img, iframe, object, script[src], link[rel=stylesheet]").count() == 0


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_values_show_as_text_in_every_place(tab, name):
    seen = escape_unprintable(to_text(HOSTILE[name]))
    assert truncate(seen, 60) in column(tab, "invitations", "Invited")
    assert " ".join(truncate(seen, 60).split()) in [
        " ".join(cell.split()) for cell in column(tab, "unreadable", "Project")
    ]
    assert truncate(seen, 200) in column(tab, "exemptions", "Reason")


def test_a_name_that_turns_the_direction_does_not_turn_what_stands_beside_it(tab):
    places = tab.evaluate(
        """() => Array.from(document.querySelectorAll("#t-invitations tbody tr"), row =>
          Array.from(row.cells, cell => cell.getBoundingClientRect().left))"""
    )
    assert all(row == sorted(row) for row in places)
    assert tab.locator("td:not(:has(bdi))").count() == 0


@pytest.mark.parametrize("width", [1200, 380])
def test_no_value_runs_out_of_its_cell(chromium, page_file, width):
    with opened(chromium, page_file, viewport={"width": width, "height": 900}) as (tab, _):
        tab.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        outside = tab.evaluate(
            """() => Array.from(document.querySelectorAll("td bdi")).filter(bdi => {
              const inner = bdi.getBoundingClientRect(), cell = bdi.closest("td");
              const outer = cell.getBoundingClientRect();
              return inner.right > outer.right + 0.5 || inner.left < outer.left - 0.5
                || bdi.scrollWidth > bdi.clientWidth + 1;
            }).map(bdi => bdi.textContent)"""
        )
    assert outside == []


@pytest.mark.parametrize(
    ("title", "series", "bars"),
    [
        ("Ages of all pending invitations", 2, len(AGE_CLASS_LABELS)),
        ("Ages of stale invitations by project", 6, len(AGE_CLASS_LABELS)),
        ("Ages of stale invitations by inviter", 6, len(AGE_CLASS_LABELS)),
        ("Deletions by night", 4, 2),
    ],
)
def test_each_chart_has_a_bar_for_each_number_and_says_what_it_is(tab, title, series, bars):
    chart = drawn(tab, title)
    assert [len(row) for row in chart["bars"]] == [bars] * series
    assert chart["sums"] == [sum(row) for row in chart["bars"]]
    assert chart["label"] == title
    assert chart["colours"] == chart["chips"]
    assert len(set(chart["colours"])) == series


def test_the_bars_come_to_what_the_log_holds(tab):
    everything = drawn(tab, "Ages of all pending invitations")
    counted = Counter(islice(cycle(AGES), PEOPLE))
    stale = [counted[0.5], counted[3.0], 0, counted[20.0], counted[40.0], 0, 0, 0]
    assert everything["bars"][0] == [*stale, counted[400.0], counted[None]]
    assert everything["bars"][1] == [90, 8, 0, 0, 0, 0, 0, 0, 0, 2]
    for by in ("project", "inviter"):
        chart = drawn(tab, f"Ages of stale invitations by {by}")
        assert [sum(one) for one in zip(*chart["bars"], strict=True)] == everything["bars"][0]
    nights = drawn(tab, "Deletions by night")["bars"]
    last = [row[-1] for row in nights]
    wrong = COUNTS["failed"] + COUNTS["unknown"]
    assert last == [COUNTS["deleted"], COUNTS["already_gone"], wrong, COUNTS["skipped"]]
    assert [row[0] for row in nights] == [0, 0, 10, 0]


def test_the_height_of_a_bar_is_in_proportion(tab):
    chart = drawn(tab, "Ages of all pending invitations")
    heights = dict(zip(chart["bars"][1], chart["heights"][1], strict=True))
    assert heights[90] / heights[8] == pytest.approx(90 / 8, rel=0.02)


def test_the_table_behind_a_chart_holds_the_same_numbers(tab):
    chart = drawn(tab, "Ages of stale invitations by project")
    rows = [[int(cell) for cell in row[1:]] for row in chart["table"]]
    assert [row[1:] for row in rows[:5]] == chart["bars"][:5]
    assert [sum(one) for one in zip(*rows[5:], strict=True)][1:] == chart["bars"][5]
    assert sum(row[0] for row in rows) == PEOPLE
    tab.locator("summary").nth(1).click()
    assert len(shown_rows(tab, "ages-project")) == 8


def test_the_filter_keeps_the_rows_that_hold_every_word(tab):
    box = tab.locator("[data-grid=invitations]")
    field = box.get_by_label("Filter")
    field.take_batch("FAILED onerror")
    found = shown_rows(tab, "invitations")
    assert all("failed" in row and "onerror" in " ".join(row) for row in found)
    assert 0 < len(found) < PEOPLE
    assert box.get_by_role("status").inner_text() == f"{len(found)} of {PEOPLE} rows"
    field.take_batch("no such thing")
    assert shown_rows(tab, "invitations") == []
    field.take_batch("")
    assert len(shown_rows(tab, "invitations")) == PEOPLE


def test_the_filter_looks_into_what_is_cut_off(tab):
    tab.locator("[data-grid=invitations]").get_by_label("Filter").take_batch("(10,000 characters)")
    assert len(shown_rows(tab, "invitations")) >= 2


def test_the_state_can_be_chosen_and_goes_together_with_the_filter(tab):
    box = tab.locator("[data-grid=invitations]")
    box.get_by_label("State").select_option("failed")
    failed = shown_rows(tab, "invitations")
    assert len(failed) == COUNTS["failed"]
    box.get_by_label("Filter").take_batch("x" * 50)
    assert len(shown_rows(tab, "invitations")) < len(failed)


def test_numbers_sort_as_numbers_both_ways_and_the_unknown_stand_last(tab):
    button = tab.locator("#t-invitations th", has_text="Age, days").get_by_role("button")
    for descending in (False, True):
        button.click()
        ages = column(tab, "invitations", "Age, days")
        known = [float(age.replace(",", "")) for age in ages if age]
        assert known == sorted(known, reverse=descending)
        assert ages[len(known) :] == [""] * (PEOPLE - len(known))
        head = tab.locator("#t-invitations th[aria-sort]")
        assert head.count() == 1
        assert head.get_attribute("aria-sort") == ("descending" if descending else "ascending")


def test_sorting_by_another_column_takes_the_mark_along(tab):
    tab.locator("#t-invitations th", has_text="Age, days").get_by_role("button").click()
    tab.locator("#t-invitations th", has_text="State").get_by_role("button").click()
    states = column(tab, "invitations", "State")
    assert states == sorted(states)
    assert tab.locator("#t-invitations th[aria-sort]").inner_text().startswith("State")


def test_all_of_it_works_from_the_keyboard(tab):
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    tab.locator("#t-invitations th", has_text="State").get_by_role("button").focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#t-invitations th[aria-sort]").count() == 1
    scrolled = tab.locator("[data-grid=invitations] .scroll")
    scrolled.evaluate("node => { window.moved = new Promise(tell => node.onscroll = tell); }")
    scrolled.focus()
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("window.moved.then(event => event.target.scrollLeft)") > 0


def test_without_scripts_the_page_still_shows_all_that_it_holds(chromium, page_file):
    with opened(chromium, page_file, java_script_enabled=False) as (tab, noise):
        assert tab.locator("#t-invitations tbody tr").count() == PEOPLE
        assert not tab.locator(".controls").first.is_visible()
        assert noise == []


def test_a_script_that_slipped_in_would_not_run(page_file, tmp_path, chromium):
    spoilt = tmp_path / "spoilt.html"
    made = page_file.read_text(encoding="utf-8")
    injected = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>"
    spoilt.write_text(made.replace("<h1>", f"{injected}<h1>", 1), encoding="utf-8")
    with opened(chromium, spoilt) as (tab, noise):
        assert tab.evaluate("window.pwned") is None
        assert any("Content Security Policy" in line for line in noise)


def contrasts(tab) -> float:
    """Contrast of the page's text against its paper."""
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
def test_it_follows_the_readers_choice_of_light_and_dark(chromium, page_file, scheme):
    with opened(chromium, page_file, color_scheme=scheme) as (tab, _):
        low, high, paper = contrasts(tab)
    assert (high + 0.05) / (low + 0.05) > 7
    assert (paper == "rgb(255, 255, 255)") is (scheme == "light")


@pytest.mark.parametrize("width", [320, 380, 768, 1600])
def test_no_width_makes_the_page_itself_scroll_sideways(chromium, page_file, width):
    with opened(chromium, page_file, viewport={"width": width, "height": 800}) as (tab, _):
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_on_paper_the_tables_behind_the_charts_are_open_and_the_controls_gone(tab):
    tab.emulate_media(media="print")
    assert len(shown_rows(tab, "ages-project")) == 8
    assert tab.evaluate("getComputedStyle(document.querySelector('.controls')).display") == "none"
    assert tab.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 380])
def test_axe_finds_no_violation(chromium, page_file, axe, scheme, width):
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    with opened(chromium, page_file, bypass_csp=True, **options) as (tab, _):
        tab.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        tab.evaluate(axe)
        found = tab.evaluate(
            "axe.run(document, {resultTypes: ['violations'], runOnly: {type: 'tag', values: "
            "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}})"
        )
    assert found["passes"]
    assert [
        (one["id"], one["nodes"][0]["html"], one["nodes"][0]["failureSummary"])
        for one in found["violations"]
    ] == []


def test_pictures_of_it_are_taken_in_light_dark_and_narrow(chromium, page_file, tmp_path):
    folder = Path(os.environ.get("INVITE_SWEEPER_SCREENSHOTS") or tmp_path)
    for name, scheme, width in (
        ("light", "light", 1200),
        ("dark", "dark", 1200),
        ("narrow", "light", 380),
    ):
        options = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
        with opened(chromium, page_file, **options) as (tab, _):
            tab.screenshot(path=folder / f"report-{name}.png", full_page=True)
        picture = (folder / f"report-{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert int.from_bytes(picture[16:20], "big") == width
