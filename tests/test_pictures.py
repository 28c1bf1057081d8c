"""The pictures of README.md are up to date."""

import re
import shutil

import pytest
from pictures import COLUMNS, FOLDER, demo, photograph, picture, text_of
from rich.text import Text

VARIABLE_PARTS = (
    (re.compile(r"/tmp/invite-sweeper-demo-\w+"), "FOLDER"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
    (re.compile(r"\b\d+\.\d+ s\b"), "0.0 s"),
    (re.compile(r"\b\d+\.\d d\b"), "0.0 d"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d UTC\b"), "TIME"),
    (re.compile(r"\b\d{8}T\d{6}Z-[0-9a-f]{8}\b"), "RUN"),
)
"""Parts that differ between runs: folder names, hashes, run ids, times, a tenth of a day."""


def mask(text: str) -> list[str]:
    for pattern, replacement in VARIABLE_PARTS:
        text = pattern.sub(replacement, text)
    return [line for line in text.splitlines() if line]


@pytest.fixture(scope="module")
def run():
    with demo() as found:
        yield found


def test_picture_in_the_readme_is_what_the_demo_prints(run):
    printed, _ = run
    drawn = text_of(FOLDER.joinpath("demo.svg").read_text("utf-8"))
    plain = Text.from_ansi(printed.replace("\r\n", "\n")).plain
    assert mask(drawn) == mask(plain), "run: python tests/pictures.py"
    assert any("GROUP_OWNER" in line for line in mask(drawn))


def test_same_output_draws_the_same_picture_that_loads_nothing_from_the_network(run):
    printed, _ = run
    drawn = picture(printed)
    assert drawn == picture(printed)
    assert not re.findall(r"@font-face|@import|url\((?!#)|href|src=|<script|<image", drawn)
    assert max(map(len, text_of(drawn).splitlines())) <= COLUMNS


@pytest.mark.needs("chromium")
def test_screenshot_of_the_report_has_its_size(run, tmp_path):
    photograph(run[1], shutil.which("chromium"), tmp_path / "report.png")
    for path in (tmp_path / "report.png", FOLDER / "report.png"):
        made = path.read_bytes()
        assert made.startswith(b"\x89PNG")
        assert int.from_bytes(made[16:20], "big") == 1440
