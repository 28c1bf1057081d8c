"""The page and its Markdown, without a browser: escaping, hashes, bounds."""

import base64
import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report.hostile import HOSTILE
from report.logbook import Logbook, invitation

from invite_sweeper.audit.verify import verify
from invite_sweeper.errors import UsageError
from invite_sweeper.report.html import (
    ChainResult,
    build_report_model,
    chain_result,
    code_span,
    markdown_sentence,
    render,
    write_report,
)
from invite_sweeper.text import MAX_TEXT_LENGTH, escape_unprintable, to_text, truncate

FIELDS = ("username", "project_name", "inviter", "rule", "invitation_id")


def hostile_book(path: Path, value: str) -> Logbook:
    """Every text of a log is the value."""
    book = Logbook(path)
    everything = dict.fromkeys(FIELDS, value) | {"roles": [value, value], "source": value}
    head = dict.fromkeys(("policy_path", "base_url", "actor", "tool_version", "mode"), value)
    for number, days in ((1, 1), (2, 0)):
        book.run_id, book.seq = f"{value}{number}", 0
        now = f"2026-11-{25 - days}T01:02:03Z"
        common = {"run_id": book.run_id, "ts": now}
        book.any({**common, "event": "run_started", "seq": 1, "now": now, **head})
        for event in ("planned", "outcome"):
            line = {**invitation(number), **everything, "outcome": "failed", "error_code": value}
            book.any({**common, "event": event, **line})
        lost = {"project_id": value, "project_name": value, "reason": value, "error_code": value}
        book.any({**common, "event": "project_unreadable", **lost})
        keep = {"name": value, "reason": value, "until": value, "matched": 1}
        final = {
            "exit_code": 4,
            "stale": 1,
            "projects_seen": 3,
            "kept": 1,
            "kept_by_reason": {f"keep:{value}": 1},
            "keep_entries": [keep],
            "warnings": [value],
            "error": value,
            "sunset": value,
        }
        book.any({**common, "event": "run_finished", **final})
    return book


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE.keys())
def hostile(request, tmp_path):
    """A model in which every text is hostile, and the text."""
    book = hostile_book(tmp_path / "audit.jsonl", request.param)
    chain = ChainResult(sound=False, message=request.param, last_hash=request.param)
    return build_report_model([book.path], chain), request.param


class Tags(HTMLParser):
    """The tags of a page, the names of their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text.append(data)


def shown(value: str) -> str:
    """How the page shows a value in a cell."""
    return truncate(escape_unprintable(to_text(value)), 60)


def test_no_hostile_value_adds_a_tag_or_an_attribute(hostile, tmp_path):
    model, _ = hostile
    tame = build_report_model(
        [hostile_book(tmp_path / "tame.jsonl", "tame").path], ChainResult(False, "x", "x")
    )
    found, expected = Tags(render(model, "html")), Tags(render(tame, "html"))
    assert found.tags == expected.tags
    assert found.attributes - expected.attributes <= {"title"}


def test_every_hostile_value_shows_as_text(hostile):
    model, value = hostile
    page = Tags(render(model, "html"))
    assert page.text.count(shown(value)) >= len(FIELDS) - 1
    assert "pwned = 1" not in "".join(page.attributes)


def test_no_invisible_character_reaches_the_page(hostile):
    model, _ = hostile
    for fmt in ("html", "md"):
        made = render(model, fmt)
        assert escape_unprintable(made.replace("\n", "")) == made.replace("\n", "")
        made.encode("utf-8")


def test_markdown_renders_every_hostile_value_as_code_and_nothing_else(hostile):
    model, value = hostile
    tokens = MarkdownIt("gfm-like", {"linkify": True, "html": True}).parse(render(model, "md"))
    inline = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in inline}
    assert kinds <= {"text", "code_inline", "softbreak", "strong_open", "strong_close"}
    strong = [inline[i + 1].content for i, t in enumerate(inline) if t.type == "strong_open"]
    assert all(value not in caption for caption in strong)
    assert not [token for token in tokens if token.type in {"html_block", "fence"}]
    contents = {token.content for token in inline if token.type == "code_inline"}
    expected = truncate(escape_unprintable(to_text(value)), 40).strip()
    assert expected in {content.strip() for content in contents}


def test_every_table_of_the_markdown_has_as_many_cells_in_each_row_as_in_its_head(hostile):
    model, _ = hostile
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(render(model, "md"))
    widths: list[int] = []
    head = 0
    for token in tokens:
        if token.type == "thead_open":
            head = 0
        head += token.type == "th_open"
        if token.type == "tr_open":
            widths.append(0)
        widths[-1:] = [widths[-1] + 1] if token.type == "td_open" else widths[-1:]
        if token.type == "tr_close" and widths[-1]:
            assert widths[-1] == head
    assert widths


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30))
def test_a_code_span_gives_back_what_was_put_in(value):
    seen = escape_unprintable(value)
    if not seen.strip():
        return
    (paragraph,) = (
        token for token in MarkdownIt("commonmark").parse(code_span(seen)) if token.type == "inline"
    )
    (code,) = paragraph.children
    assert (code.type, code.content.strip()) == ("code_inline", seen.strip())


@pytest.mark.parametrize(
    "said", ["See http://example.com.", "www.example.com", "@team", "<b>", "a_b_c", "1 * 2 * 3"]
)
def test_a_sentence_with_anything_but_words_is_code(said):
    assert markdown_sentence(said) == f"`{said}`"


def test_a_sentence_of_words_stays_a_sentence():
    assert (
        markdown_sentence("A guard refused the plan. (3 of 4)")
        == "A guard refused the plan. (3 of 4)"
    )


@given(st.text(st.characters()))
def test_visible_text_holds_no_control_and_is_not_changed_by_a_second_look(value):
    seen = escape_unprintable(value)
    assert seen.isprintable() or any(char.isspace() for char in seen)
    assert escape_unprintable(seen) == seen


@given(st.text(st.characters(), min_size=MAX_TEXT_LENGTH + 1, max_size=MAX_TEXT_LENGTH + 50))
def test_a_long_value_is_cut_and_its_length_said(value):
    kept = to_text(value)
    assert len(kept) < MAX_TEXT_LENGTH * 8
    assert kept.endswith(f"… ({len(value)} characters)")


def quiet_page(tmp_path) -> str:
    book = Logbook(tmp_path / "audit.jsonl")
    book.sweep("run-1", {1: "deleted"}, days_ago=1)
    book.sweep("run-2", {1: "failed", 2: "deleted"}, exit_code=4)
    return render(build_report_model([book.path]), "html")


def test_a_page_says_what_its_run_does_not_say_and_leaves_out_what_is_not_there(tmp_path):
    book = Logbook(tmp_path / "audit.jsonl")
    book.start("run-1")
    book.finish(projects_seen=None, kept=None, kept_by_reason={"too_young": 2})
    page = render(build_report_model([book.path]), "html")
    assert "The newest run does not say how many projects were in scope." in page
    assert "Kept, by reason" in page
    assert "invitations were kept." not in page
    assert "Exemptions" not in page
    assert "The chain was not checked for this report." in page


def test_a_page_says_how_many_stood_in_projects_that_could_not_be_read(tmp_path):
    book = Logbook(tmp_path / "audit.jsonl")
    book.sweep("run-1", {1: "failed"}, days_ago=1)
    book.start("run-2")
    book.line("project_unreadable", project_id="a" * 24, project_name="x", reason="401")
    book.finish(4, projects_unreadable=1)
    page = render(build_report_model([book.path]), "html")
    assert "1 more was in projects that could not be read this time; nobody" in page


def test_the_content_security_policy_names_the_one_style_and_the_one_script(tmp_path):
    page = quiet_page(tmp_path)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


def test_the_page_has_no_inline_style_handler_or_address(tmp_path):
    page = Tags(quiet_page(tmp_path))
    assert "style" not in page.attributes
    assert not [name for name in page.attributes if name.startswith("on")]
    assert not page.attributes & {"src", "srcset", "action", "xlink:href"}
    hrefs = re.findall(r'href="([^"]*)"', quiet_page(tmp_path))
    assert all(href.startswith("#") or href == "data:," for href in hrefs)


def test_ids_are_unique_and_links_lead_to_one(tmp_path):
    page = quiet_page(tmp_path)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(set(ids)) == len(ids)
    wanted = re.findall(r'(?:href="#|aria-labelledby="|aria-controls=")([^"]*)"', page)
    assert set(wanted) <= set(ids)


def test_a_report_is_the_same_every_time(tmp_path):
    assert quiet_page(tmp_path) == render(build_report_model([tmp_path / "audit.jsonl"]), "html")


def test_a_report_goes_to_its_file_for_the_owner_alone(tmp_path):
    book = Logbook(tmp_path / "audit.jsonl")
    book.sweep("run-1", {1: "deleted"})
    out = tmp_path / "report.html"
    write_report([book.path], out, "html", None)
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert out.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.jsonl", "report.html"]


def test_a_report_without_a_file_goes_to_stdout(tmp_path, capsys):
    book = Logbook(tmp_path / "audit.jsonl")
    book.sweep("run-1", {1: "deleted"})
    write_report([book.path], None, "md", None)
    assert capsys.readouterr().out.startswith("# Invitations swept, 2026-11-25: clean\n")


def test_a_report_that_cannot_be_written_leaves_what_stood_there(tmp_path, monkeypatch):
    book = Logbook(tmp_path / "audit.jsonl")
    book.sweep("run-1", {1: "deleted"})
    out = tmp_path / "report.html"
    out.write_text("before")

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match="No space left"):
        write_report([book.path], out, "html", None)
    assert out.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.jsonl", "report.html"]


def test_a_folder_that_is_not_there_is_a_usage_fault(tmp_path):
    book = Logbook(tmp_path / "audit.jsonl")
    with pytest.raises(UsageError, match="cannot be written"):
        write_report([book.path], tmp_path / "absent" / "report.html", "html", None)


def test_an_empty_log_makes_a_page_that_says_so(tmp_path):
    page = render(build_report_model([Logbook(tmp_path / "audit.jsonl").path]), "html")
    assert "There is no run in these logs." in page


def test_markdown_of_a_long_log_stays_within_what_a_pull_request_takes(tmp_path):
    book = Logbook(tmp_path / "audit.jsonl")
    book.start("run-1")
    book.finish()
    book.start("run-2")
    for number in range(300):
        names = {"project_id": f"{number:024x}", "inviter": f"inviter-{number}@example.com"}
        book.line("planned", **invitation(number, **names))
        book.line("outcome", **invitation(number, **names), outcome="failed", error_code="X" * 40)
    book.finish(4, stale=300)
    made = render(build_report_model([book.path]), "md")
    assert len(made) < 65_536
    assert "250 more are in the audit log" in made


@pytest.mark.parametrize(("form", "shown"), [("md", 50), ("html", 500)])
def test_one_that_is_not_shown_is_one(tmp_path, form, shown):
    book = Logbook(tmp_path / "audit.jsonl")
    book.start("run-1")
    for number in range(shown + 1):
        book.line("planned", **invitation(number))
    book.finish(stale=shown + 1)
    assert "1 more is in the audit log" in render(build_report_model([book.path]), form)


def test_a_pipe_is_written_and_not_replaced(tmp_path):
    book = Logbook(tmp_path / "audit.jsonl")
    book.sweep("run-1", {1: "deleted"})
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text, encoding="utf-8")
        write_report([book.path], pipe, "md", None)
        assert read.result(10).startswith("# Invitations swept")
    assert pipe.is_fifo()


def test_a_link_is_followed_and_stays_one(tmp_path):
    book = Logbook(tmp_path / "audit.jsonl")
    book.sweep("run-1", {1: "deleted"})
    link, file = tmp_path / "link.md", tmp_path / "report.md"
    link.symlink_to(file)
    write_report([book.path], link, "md", None)
    assert link.is_symlink()
    assert file.read_text().startswith("# Invitations swept")


def test_a_sound_chain_is_put_into_words(tmp_path):
    book = Logbook(tmp_path / "audit.jsonl")
    book.sweep("run-1", {1: "deleted"})
    chain = chain_result(verify([book.path]))
    assert chain.sound
    assert chain.message.startswith("The chain is sound: 5 lines, 1 run.")
    assert chain.last_hash == book.prev


def test_a_damaged_chain_names_the_line_and_the_damage(tmp_path):
    book = Logbook(tmp_path / "audit.jsonl")
    book.sweep("run-1", {1: "deleted"})
    lines = book.path.read_bytes().replace(b"person-1@", b"person-2@", 1)
    book.path.write_bytes(lines)
    chain = chain_result(verify([book.path]))
    assert not chain.sound
    assert "audit.jsonl, line 2" in chain.message
    page = render(build_report_model([book.path], chain), "html")
    assert '<p class="word">damaged chain</p>' in page
