"""The pictures of README.md show what the program really prints."""

import re
import shutil

import pytest
from pictures import BROWSERS, COLUMNS, FOLDER, demo, photograph, picture, text_of
from rich.text import Text

NEVER_THE_SAME = (
    (re.compile(r"/tmp/invite-sweeper-demo-\w+"), "FOLDER"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
    (re.compile(r"\b\d+\.\d+ s\b"), "0.0 s"),
    (re.compile(r"\b\d+\.\d d\b"), "0.0 d"),
)
"""What differs from run to run: names of folders, hashes, times, and a tenth of a day."""


def steady(text: str) -> list[str]:
    for pattern, instead in NEVER_THE_SAME:
        text = pattern.sub(instead, text)
    return [line for line in text.splitlines() if line]


@pytest.fixture(scope="module")
def run():
    with demo() as found:
        yield found


def test_picture_in_the_readme_is_what_the_demo_prints(run):
    printed, _ = run
    drawn = text_of(FOLDER.joinpath("demo.svg").read_text("utf-8"))
    plain = Text.from_ansi(printed.replace("\r\n", "\n")).plain
    assert steady(drawn) == steady(plain), "make it anew: python tests/pictures.py"
    assert any("GROUP_OWNER" in line for line in steady(drawn))


def test_same_run_draws_the_same_picture_that_asks_nothing_of_any_network(run):
    printed, _ = run
    drawn = picture(printed)
    assert drawn == picture(printed)
    assert not re.findall(r"@font-face|@import|url\((?!#)|href|src=|<script|<image", drawn)
    assert max(map(len, text_of(drawn).splitlines())) <= COLUMNS


def test_report_of_the_demo_is_photographed(run, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no chromium")
    photograph(run[1], browser, tmp_path / "report.png")
    for path in (tmp_path / "report.png", FOLDER / "report.png"):
        made = path.read_bytes()
        assert made.startswith(b"\x89PNG")
        assert int.from_bytes(made[16:20], "big") == 1440
