"""HTML and Markdown reports without a browser: escaping, hashes, size limits."""

import base64
import gzip
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

from invite_sweeper.audit.verify import Verdict, verify
from invite_sweeper.errors import UsageError
from invite_sweeper.json_text import to_json
from invite_sweeper.report.html.chain import ChainResult, chain_result
from invite_sweeper.report.html.reading import read_report
from invite_sweeper.report.html.rendering import code_span, markdown_sentence, render, write_report
from invite_sweeper.report.rows import display_text
from invite_sweeper.text import MAX_TEXT_LENGTH, escape_unprintable, to_text

FIELDS = ("username", "project_name", "inviter", "rule", "invitation_id")


FOLD = re.compile(r"<details>\n<summary>[A-Za-z ]+(\(\d+\))?</summary>\n|</details>\n")
"""The only markup of a Markdown report: a folded section with a constant heading."""


def hostile_book(path: Path, value: str) -> Logbook:
    """Write a log in which every text is the value."""
    book = Logbook(path)
    everything = dict.fromkeys(FIELDS, value) | {"roles": [value, value]}
    head = dict.fromkeys(("policy_path", "base_url", "actor", "tool_version", "mode"), value)
    for number, days in ((1, 1), (2, 0)):
        book.run_id, book.seq = f"{value}{number}", 0
        now = f"2026-11-{25 - days}T01:02:03Z"
        common = {"run_id": book.run_id, "ts": now, "seq": 1, "prev": "0" * 64}
        head |= {"policy_sha256": value, "organizations": [value], "shard": None, "now": now}
        book.raw(to_json({**common, "event": "run_started", **head}))
        for event in ("planned", "outcome"):
            line = {**invitation(number), **everything, "outcome": "failed", "error_code": value}
            line |= {"attempts": 1, "http_status": 500, "duration_ms": 1.0}
            book.raw(to_json({**common, "event": event, **line}))
        project = dict.fromkeys(("project_id", "project_name", "reason", "error_code"), value)
        project |= {"http_status": 401, "source": "invites", "org_id": value}
        book.raw(to_json({**common, "event": "project_unreadable", **project}))
        keep = {"name": value, "reason": value, "until": value, "matched": 1}
        final = {
            "exit_code": 4,
            "stale": 1,
            "plan_made": True,
            "projects_seen": 3,
            "kept": 1,
            "kept_by_reason": {f"keep:{value}": 1},
            "keep_entries": [keep],
            "warnings": [value],
            "error": value,
            "consequence": value,
            "hint": value,
            "sunset": value,
            "organization_names": {"b" * 24: value, value: value},
            "changes": {
                **dict.fromkeys(("new", "still_stale", "deleted", "kept", "gone"), 1),
                "not_read": 1,
                "not_read_then": 1,
                "runs": [{"run_id": value, "mode": value, "now": value, "refused": False}],
            },
            "policy_change": {
                "policy_sha256": value,
                "accepted_sha256": value,
                "compared": True,
                "added": 1,
                "removed": 1,
                "sentences": [value],
            },
        }
        book.raw(to_json({**common, "event": "run_finished", **final}))
    return book


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE.keys())
def hostile(request, tmp_path):
    """A report in which every text is hostile, and that text."""
    book = hostile_book(tmp_path / "audit.jsonl", request.param)
    chain = ChainResult(Verdict.DAMAGED, message=request.param, last_hash=request.param)
    return read_report([book.path], chain), request.param


class Tags(HTMLParser):
    """The tags of a page, their attribute names and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.feed(page.replace("<wbr>", ""))
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text.append(data)


def shown(value: str) -> str:
    """Return the value as a cell shows it."""
    return display_text(value)


def test_hostile_values_add_no_tags_or_attributes(hostile, tmp_path):
    report, _ = hostile
    harmless = read_report(
        [hostile_book(tmp_path / "harmless.jsonl", "harmless").path],
        ChainResult(Verdict.DAMAGED, "x", "x"),
    )
    found, expected = Tags(render(report, "html")), Tags(render(harmless, "html"))
    assert found.tags <= expected.tags
    assert found.attributes - expected.attributes <= {"title"}


def test_every_hostile_value_is_shown_as_text(hostile):
    report, value = hostile
    page = Tags(render(report, "html"))
    assert page.text.count(shown(value)) >= len(FIELDS) - 1
    assert "pwned = 1" not in "".join(page.attributes)


def test_output_has_no_invisible_characters(hostile):
    report, _ = hostile
    for fmt in ("html", "md"):
        text = render(report, fmt)
        assert escape_unprintable(text.replace("\n", "")) == text.replace("\n", "")
        text.encode("utf-8")


def test_markdown_renders_hostile_values_only_as_code(hostile):
    report, value = hostile
    tokens = MarkdownIt("gfm-like", {"linkify": True, "html": True}).parse(render(report, "md"))
    inline = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in inline}
    assert kinds <= {"text", "code_inline", "softbreak", "strong_open", "strong_close"}
    strong = [inline[i + 1].content for i, t in enumerate(inline) if t.type == "strong_open"]
    assert all(value not in caption for caption in strong)
    assert not [token for token in tokens if token.type == "fence"]
    blocks = [token.content for token in tokens if token.type == "html_block"]
    assert all(FOLD.fullmatch(block) for block in blocks)
    contents = {token.content for token in inline if token.type == "code_inline"}
    assert shown(value).strip() in {content.strip() for content in contents}


def test_markdown_rows_have_as_many_cells_as_their_header(hostile):
    report, _ = hostile
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(render(report, "md"))
    widths: list[int] = []
    columns = 0
    for token in tokens:
        if token.type == "thead_open":
            columns = 0
        columns += token.type == "th_open"
        if token.type == "tr_open":
            widths.append(0)
        widths[-1:] = [widths[-1] + 1] if token.type == "td_open" else widths[-1:]
        if token.type == "tr_close" and widths[-1]:
            assert widths[-1] == columns
    assert widths


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30))
def test_code_span_round_trips(value):
    text = escape_unprintable(value)
    if not text.strip():
        return
    (paragraph,) = (
        token for token in MarkdownIt("commonmark").parse(code_span(text)) if token.type == "inline"
    )
    (code,) = paragraph.children
    assert (code.type, code.content.strip()) == ("code_inline", text.strip())


@pytest.mark.parametrize(
    "sentence", ["See http://example.com.", "www.example.com", "@team", "<b>", "a_b_c", "1 * 2 * 3"]
)
def test_sentence_with_links_or_markup_becomes_code(sentence):
    assert markdown_sentence(sentence) == f"`{sentence}`"


def test_plain_sentence_is_unchanged():
    assert (
        markdown_sentence("A guard refused the plan. (3 of 4)")
        == "A guard refused the plan. (3 of 4)"
    )


@given(st.text(st.characters()))
def test_escaping_removes_control_characters_and_is_idempotent(value):
    escaped = escape_unprintable(value)
    assert escaped.isprintable() or any(char.isspace() for char in escaped)
    assert escape_unprintable(escaped) == escaped


@given(st.text(st.characters(), min_size=MAX_TEXT_LENGTH + 1, max_size=MAX_TEXT_LENGTH + 50))
def test_value_over_the_maximum_length_is_truncated_and_states_its_length(value):
    text = to_text(value)
    assert len(text) < MAX_TEXT_LENGTH * 8
    assert text.endswith(f"… ({len(value)} characters)")


@pytest.fixture
def book(tmp_path):
    """A log of one sweep that deleted one invitation."""
    book = Logbook(tmp_path / "audit.jsonl")
    book.sweep("run-1", {1: "deleted"})
    return book


def two_run_page(tmp_path) -> str:
    book = Logbook(tmp_path / "audit.jsonl")
    book.sweep("run-1", {1: "deleted"}, days_ago=1)
    book.sweep("run-2", {1: "failed", 2: "deleted"}, exit_code=4)
    return render(read_report([book.path]), "html")


def test_content_security_policy_allows_only_its_style_and_script(tmp_path):
    page = two_run_page(tmp_path)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


def test_page_has_no_inline_style_event_handler_or_external_url(tmp_path):
    page = Tags(two_run_page(tmp_path))
    assert "style" not in page.attributes
    assert not [name for name in page.attributes if name.startswith("on")]
    assert not page.attributes & {"src", "srcset", "action", "xlink:href"}
    hrefs = re.findall(r'href="([^"]*)"', two_run_page(tmp_path))
    assert all(href.startswith("#") or href == "data:," for href in hrefs)


def test_ids_are_unique_and_references_exist(tmp_path):
    page = two_run_page(tmp_path)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(set(ids)) == len(ids)
    referenced = re.findall(r'(?:href="#|aria-labelledby="|aria-controls=")([^"]*)"', page)
    assert set(referenced) <= set(ids)


def test_report_is_reproducible(tmp_path):
    assert two_run_page(tmp_path) == render(read_report([tmp_path / "audit.jsonl"]), "html")


def test_report_file_is_readable_only_by_its_owner(tmp_path, book):
    out = tmp_path / "report.html"
    write_report([book.path], out, "html", None)
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert out.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.jsonl", "report.html"]


def test_report_without_a_path_goes_to_stdout(tmp_path, book, capsys):
    write_report([book.path], None, "md", None)
    assert capsys.readouterr().out.startswith("# Invitation sweep, 2026-11-25: Done, 1 deleted\n")


def test_failed_write_leaves_the_existing_report_unchanged(tmp_path, book, monkeypatch):
    out = tmp_path / "report.html"
    out.write_text("before", encoding="utf-8")

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match="No space left"):
        write_report([book.path], out, "html", None)
    assert out.read_text(encoding="utf-8") == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.jsonl", "report.html"]


def test_missing_folder_is_a_usage_error(tmp_path):
    book = Logbook(tmp_path / "audit.jsonl")
    with pytest.raises(UsageError, match="cannot be written"):
        write_report([book.path], tmp_path / "absent" / "report.html", "html", None)


def test_page_of_an_empty_log_states_that_it_has_no_run(tmp_path):
    page = render(read_report([Logbook(tmp_path / "audit.jsonl").path]), "html")
    assert "These logs contain no run." in page


def test_markdown_of_300_failures_is_below_65536_characters(tmp_path):
    book = Logbook(tmp_path / "audit.jsonl")
    book.start("run-1")
    book.finish()
    book.start("run-2")
    for number in range(300):
        names = {"project_id": f"{number:024x}", "inviter": f"inviter-{number}@example.com"}
        book.line("planned", **invitation(number, **names))
        book.line("outcome", **invitation(number, **names), outcome="failed", error_code="X" * 40)
    book.finish(4, stale=300)
    text = render(read_report([book.path]), "md")
    assert len(text) < 65_536
    assert "250 more are in the audit log" in text


@pytest.mark.parametrize(
    ("form", "shown", "text"),
    [("md", 50, "2 more are in the audit log."), ("html", 500, "500 of 502 rows are shown.")],
)
def test_hidden_rows_are_counted_with_the_command_that_shows_them(tmp_path, form, shown, text):
    book = Logbook(tmp_path / "audit.jsonl")
    book.start("run-1")
    for number in range(shown + 2):
        book.line("planned", **invitation(number))
    book.finish(stale=shown + 2)
    found = render(read_report([book.path]), form).replace("<wbr>", "")
    assert text in found
    assert f"invite-sweeper audit show {book.path} --run run-1 --event planned" in found


def test_pipe_is_written_and_not_replaced(tmp_path, book):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text, encoding="utf-8")
        write_report([book.path], pipe, "md", None)
        assert read.result(10).startswith("# Invitation sweep")
    assert pipe.is_fifo()


def test_symlink_is_followed_and_not_replaced(tmp_path, book):
    link, file = tmp_path / "link.md", tmp_path / "report.md"
    link.symlink_to(file)
    write_report([book.path], link, "md", None)
    assert link.is_symlink()
    assert file.read_text(encoding="utf-8").startswith("# Invitation sweep")


def test_intact_chain_is_described_with_its_counts(tmp_path, book):
    chain = chain_result(verify([book.path]))
    assert chain.verdict is Verdict.SOUND
    assert chain.message.startswith("The chain is intact: 5 lines, 1 run.")
    assert chain.last_hash == book.prev


def test_damaged_chain_names_the_line(tmp_path, book):
    lines = book.path.read_bytes().replace(b"person-1@", b"person-2@", 1)
    book.path.write_bytes(lines)
    chain = chain_result(verify([book.path]))
    assert chain.verdict is Verdict.DAMAGED
    assert "audit.jsonl, line 2" in chain.message
    page = render(read_report([book.path], chain), "html")
    assert '<p class="label">Damaged audit log</p>' in page


# Several files, and signatures ----------------------------------------------------------------

FORMATS = ("html", "md", "json")


def two_nights(folder):
    """Return a log of the night before, compressed with gzip, and one that continues it."""
    book = Logbook(folder / "audit.jsonl")
    book.sweep("run-1", {1: "failed", 2: "deleted"}, days_ago=1)
    first = folder / "audit.jsonl.1.gz"
    first.write_bytes(gzip.compress(book.path.read_bytes()))
    book.path.write_bytes(b"")
    book.sweep("run-2", {1: "deleted", 3: "deleted"})
    return book.path, first


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("newest_first", [True, False])
def test_rotated_log_that_is_compressed_with_gzip_is_read(tmp_path, fmt, newest_first):
    paths = list(two_nights(tmp_path))[:: 1 if newest_first else -1]
    plain = tmp_path / "plain"
    plain.mkdir()
    copies = [plain / paths[0].name.removesuffix(".gz"), plain / paths[1].name.removesuffix(".gz")]
    for path, copy in zip(paths, copies, strict=True):
        data = path.read_bytes()
        copy.write_bytes(gzip.decompress(data) if path.suffix == ".gz" else data)
    found, expected = (
        render(read_report(each, chain_result(verify(each))), fmt) for each in (paths, copies)
    )
    found, expected = (text.replace("<wbr>", "") for text in (found, expected))
    found = found.replace(".jsonl.1.gz", ".jsonl.1")
    assert found.replace(str(tmp_path), "") == expected.replace(str(plain), "")
    report = read_report(paths, chain_result(verify(paths)))
    assert (report.chain.verdict, len(report.nights)) == (Verdict.SOUND, 2)


@pytest.mark.parametrize("fmt", FORMATS)
def test_damaged_gzip_file_is_a_damaged_log_and_not_an_error(tmp_path, fmt):
    paths = list(two_nights(tmp_path))
    paths[1].write_bytes(paths[1].read_bytes()[:-40])
    chain = chain_result(verify(paths))
    assert "Damaged audit log" in render(read_report(paths, chain), fmt)


@pytest.mark.parametrize("fmt", FORMATS)
def test_report_of_unsigned_runs_says_so(tmp_path, book, fmt):
    page = render(read_report([book.path], chain_result(verify([book.path]))), fmt)
    assert "No run is signed" in page
    assert "Signed, key ID" not in page
