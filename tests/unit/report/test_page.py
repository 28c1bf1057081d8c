"""The report of an audit directory, as HTML and as Markdown, without a browser."""

import base64
import gzip
import hashlib
import re
import subprocess
import sys
from functools import partial

import pytest
from audit.runs import clock, finished, intent, outcome, planned, started, write_run
from benchmarks.nights import write_nights
from builders import ORG, OTHER_ORG, policy_bytes
from click.testing import CliRunner
from markdown_it import MarkdownIt
from msgspec import structs
from report import reading
from report.reading import Reader, tables, words
from report.scenes import HOSTILE, REFUSED_SWEEP, SCENES, UNREADABLE, deleted, write

from invite_sweeper.audit import AuditDirectory
from invite_sweeper.audit.chain import HashChain
from invite_sweeper.audit.events import (
    Announced,
    Kept,
    OrganizationResult,
    PolicyText,
    RunWarning,
)
from invite_sweeper.cli.main import app
from invite_sweeper.endings import DAMAGED_ADVICE, Status
from invite_sweeper.errors import Advisor
from invite_sweeper.report.markdown import render_markdown
from invite_sweeper.report.page import render_html
from invite_sweeper.report.table import display_text
from invite_sweeper.text import escape_unprintable

TEXTS = [value for value in HOSTILE.values() if len(value) < 1_000 and "\ud800" not in value]


page_of = partial(reading.page_of, advisor=Advisor(audit_dir="audit"))


def test_html_references_only_itself_and_allows_only_its_style(directory):
    write(SCENES["three organizations"], directory)
    html = render_html(page_of(directory))
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r'(?:href="#|aria-labelledby=")([^"]*)"', html)) <= set(ids)
    assert set(re.findall(r'href="([^#"]*)"', html)) == {"data:,"}
    assert not Reader(html).attributes & {"src", "srcset", "action", "style", "onclick", "onload"}
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    (style,) = re.findall("<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert "script" not in policy + html


def hostile(directory: AuditDirectory, value: str):
    """Write a run in which every text is the value, and return its page."""
    names = {"username": value, "project_name": value, "inviter": value, "roles": (value,)}
    plan = planned(1, **names)
    error = dict.fromkeys(("message", "consequence", "hint"), value.replace("\n", " "))
    of_run = {"policy_path": value, "base_url": value, "tool_version": value, "reason": value}
    write_run(
        directory,
        "run-1",
        PolicyText(value),
        plan,
        intent(plan),
        outcome(plan, "failed", error_code=value),
        plan.as_event(Announced, rule=value, deletable_from=value),
        Kept.of(plan, reason=f"keep:{value}"),
        structs.replace(UNREADABLE, project_name=value, reason=value),
        start=started(**of_run, policy_sha256=hashlib.sha256(value.encode()).hexdigest()),
        end=finished(
            exit_code=4,
            error=error,
            kept=1,
            kept_by_reason={f"keep:{value}": 1},
            failed=1,
            warnings=(RunWarning("other", value), RunWarning("other", value, "remark")),
            organizations=(
                OrganizationResult(id=ORG, name=value, error=error, exit_code=4),
                OrganizationResult(id=OTHER_ORG, name=value),
            ),
            sunset=value,
        ),
    )
    return page_of(directory, advisor=Advisor(audit_dir=value))


@pytest.fixture(scope="module")
def harmless(tmp_path_factory):
    directory = AuditDirectory(tmp_path_factory.mktemp("harmless") / "audit")
    return Reader(render_html(hostile(directory, "harmless")))


MARKDOWN = MarkdownIt("gfm-like", {"linkify": True, "html": True})
BLOCKS = {"heading", "paragraph", "bullet_list", "list_item", *("table", "thead", "tbody", "tr"),
          *("th", "td")}  # fmt: skip


def inline_tokens(markdown):
    return [token for token in MARKDOWN.parse(markdown) if token.type == "inline"]


def text_of(token):
    return "".join(child.content for child in token.children)


@pytest.mark.parametrize("value", TEXTS)
def test_hostile_names_add_no_markup_and_no_invisible_characters(directory, harmless, value):
    page = hostile(directory, value)
    html = render_html(page)
    markdown = render_markdown(page)
    found = Reader(html)
    assert (found.tags, found.attributes) == (harmless.tags, harmless.attributes)
    assert found.cells.count(display_text(value)) >= 5
    tokens = MARKDOWN.parse(markdown)
    kinds = {token.type.removesuffix("_open").removesuffix("_close") for token in tokens}
    assert kinds <= BLOCKS | {"inline"}
    inline = inline_tokens(markdown)
    children = {child.type for token in inline for child in token.children}
    assert children <= {"text", "code_inline", "strong_open", "strong_close"}
    words_of_name = words(display_text(value))
    assert sum(words_of_name in words(text_of(token)) for token in inline) >= 5
    for text in (html, markdown):
        flat = text.replace("\n", "")
        assert escape_unprintable(flat) == flat


def test_damaged_log_is_the_verdict_and_named_by_its_file(directory):
    write(deleted(1), directory, days_ago=1)
    path = write(deleted(1, 2), directory)
    path.write_bytes(path.read_bytes().replace(b"on-1@", b"on-4@", 1))
    page = page_of(directory)
    for text in (Reader(render_html(page)).text, words(render_markdown(page))):
        assert f"{path.name} line" in text
        assert str(path.parent) not in text
        assert DAMAGED_ADVICE in text
        assert "may be wrong" in text
    assert page.headline.label == Status.DAMAGED.label
    assert [item.title for item in page.attention] == ["The audit log does not verify"]
    assert "invitations" not in {table.key for table in tables(page)}


def unpacking_to(size: int) -> bytes:
    return gzip.compress(b"a" * size)


FIRST_LINE = HashChain("r1", "0" * 64, clock()).add(started()) + b"\n"
DAMAGES = {
    "a torn number": FIRST_LINE.replace(b'"seq":1', b'"seq":1e'),
    "one line that unpacks to 100 MB": unpacking_to(100_000_000),
    "a seq of 400 digits": FIRST_LINE.replace(b'"seq":1', b'"seq":' + b"1" * 400),
    "100,000 nested brackets": b"[" * 100_000 + b"\n",
    "the same in a value": FIRST_LINE.replace(b'"seq":1', b'"seq":' + b"[" * 100_000),
    "a lone surrogate": FIRST_LINE.replace(b'"policy_path":"', b'"policy_path":"\\ud800'),
    "bytes that are not UTF-8": b"\xff\xfe\n",
    "values of another type": FIRST_LINE.replace(b'"organizations":[', b'"organizations":[[],'),
    "a forged second line": FIRST_LINE + FIRST_LINE.replace(b'"seq":1', b'"seq":2'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_of_a_log_whose_only_file_is_damaged_the_report_names_the_damage_first(directory, damage):
    path = write_run(directory, "r1")
    path.write_bytes(DAMAGES[damage])
    page = page_of(directory)
    assert page.headline.label == Status.DAMAGED.label
    assert path.name in page.headline.text
    for text in (render_html(page), render_markdown(page)):
        assert path.name in text


MEASURE = """
import sys
from pathlib import Path
from invite_sweeper.cli.report import report
report(sys.argv[1:], standalone_mode=False)
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
def test_memory_and_page_do_not_grow_with_a_year_of_nights(tmp_path):
    write_nights(tmp_path / "audit", 365, 20)
    out = tmp_path / "report.html"
    arguments = [tmp_path / "audit", "--since", "2000-01-01", "--out", out]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments],
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    assert int(done.stdout) / 1024 < 75
    assert out.stat().st_size < 1 << 20
    assert f"{365 * 20:,} deleted by 365 runs" in Reader(out.read_text(encoding="utf-8")).text


# The command --------------------------------------------------------------------------------------


def command(*arguments: object):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (("--out", "report.html"), "<!doctype html>"),
        (("--out", "report.MD"), "# Invitation sweep"),
        (("--out", "report.txt"), "<!doctype html>"),
        (("--out", "report.html", "--format", "md"), "# Invitation sweep"),
        ((), "<!doctype html>"),
    ],
)
def test_format_is_that_of_the_suffix_unless_it_is_given(
    directory, tmp_path, monkeypatch, arguments, start
):
    write(deleted(1), directory)
    monkeypatch.chdir(tmp_path)
    shown = command(directory.path, *arguments).stdout
    if arguments:
        out = tmp_path / arguments[1]
        shown = out.read_text(encoding="utf-8")
        assert out.stat().st_mode & 0o777 == 0o600
    assert shown.startswith(start)


def test_directory_is_that_of_the_option_or_of_the_policy_and_advice_names_it(directory, tmp_path):
    write(SCENES["failed"], directory)
    policy = tmp_path / "policy.yaml"
    keys = {"version": 1, "organizations": [ORG], "rules": [{"name": "x", "older_than": "14d"}]}
    policy.write_bytes(policy_bytes(keys | {"audit": {"directory": str(directory.path)}}))
    shown = "invite-sweeper audit show 1 --outcome failed"
    for words_, named in (
        (["--policy", policy], f"--policy {policy}"),
        (["--audit-dir", directory.path], f"--audit-dir {directory.path}"),
        ([directory.path], f"--audit-dir {directory.path}"),
        ([directory.files()[0].path], f"--audit-dir {directory.path}"),
    ):
        assert f"{shown} {named}" in words(command(*words_, "--format", "md").stdout)


def test_single_files_are_shown_and_verified_alone(directory):
    write(REFUSED_SWEEP, directory, days_ago=1)
    second = write(deleted(1), directory)
    done = command(second, "--format", "md").stdout
    assert "sound: 5 lines of 1 run, from run 2 on." in done
    assert "What to do" not in done
