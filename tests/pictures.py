"""Makes the pictures of the README: the program on a terminal, and the page of its report.

    .venv/bin/python tests/pictures.py

Before two weeks of nightly sweeps of the simulated Atlas, of which one has no network, `plan` runs
on a terminal; after them `report` writes its page. The clock of each run stands still.
A picture of the page has the SHA-256 of the page as a text, since each browser paints its own.
"""

import hashlib
import io
import re
import shutil
import struct
import tempfile
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from commands.terminals import terminal_of
from forked import Fork
from observed import ObservedAtlas
from playwright.sync_api import sync_playwright
from rich import terminal_theme
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text
from running import CliRunner, cli_in, end

from invite_sweeper.simulator.seed import Size, fill

FOLDER: Final = Path(__file__).parent.parent / ".github/pictures"
SCHEMES: Final = {
    "light": terminal_theme.DEFAULT_TERMINAL_THEME,
    "dark": terminal_theme.SVG_EXPORT_THEME,
}
CLOCK: Final = Path(__file__).parent / "commands/moved_clock.py"
COLUMNS: Final = 120
WIDTH, HEIGHT = 1000, 880
"""Of a picture of the page, in pixels."""
NIGHTS, OFFLINE = 14, 9
LAST_HASH: Final = hashlib.sha256(b"invite_sweeper").hexdigest()
"""In place of that of the log, which is another one each time."""
SVG_FORMAT: Final = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""Without the fonts, which a browser would load from another host."""


class Shown(NamedTuple):
    """What the program shows: the colours of a terminal, and a page."""

    terminal: str
    page: str


def show() -> Shown:
    """Run the program; return what it shows, without what is another one in each run."""
    now = datetime(2026, 11, 13, 2, tzinfo=UTC)
    atlas = ObservedAtlas(lambda: now)
    fill(atlas, Size(projects=6, invitations=6))
    with tempfile.TemporaryDirectory() as name, cli_in(Path(name), atlas) as cli:
        cli.keys |= {
            "sources": ["invites", "users", "org_users", "org_invites"],
            "projects": {"exclude": ["*-prod"]},
            "keep": [{"name": "board", "usernames": ["*@board.example.com"]}],
            "limits": {"max_deletions": 6, "over_limit": "trim"},
        }
        cli.changes["INVITE_SWEEPER_NIGHT"] = str(now)
        words = {"columns": COLUMNS, "apart": ("stderr",), "prepare": CLOCK}
        with terminal_of(cli, "plan", **words) as terminal:
            terminal.end()
            shown = terminal.seen.decode().replace("\r\n", "\n")
        for night in range(NIGHTS):
            now += timedelta(days=1)
            atlas.expire_invitations()
            url = {"MONGODB_ATLAS_BASE_URL": "http://127.0.0.1:9"} if night == OFFLINE else {}
            run(cli, now, "sweep", "-q", **url)
        run(cli, now, "report", "--since", "2026-11-14", "--out", "report.html")
        page = (cli.folder / "report.html").read_text("utf-8")
    hashes = r"([0-9a-f]{16}<wbr>){3}[0-9a-f]{16}"
    return Shown(shown, re.sub(hashes, LAST_HASH, page))


def run(cli: CliRunner, now: datetime, *words: str, **changes: str) -> None:
    environment = cli.environment_with({"INVITE_SWEEPER_NIGHT": str(now), **changes})
    end(Fork(words, cli.folder, environment, prepare=CLOCK))


def picture_of(terminal: str, scheme: str) -> str:
    """Return the SVG of a terminal on which `plan` was typed, without the commands to go on."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ invite-sweeper plan", style="bold"))
    lines = Text.from_ansi(terminal).split()
    to_go_on = next(n for n, line in enumerate(lines) if line.plain.startswith("Plan "))
    console.print(*lines[:to_go_on], sep="\n", end="")
    return console.export_svg(
        title="invite-sweeper",
        theme=SCHEMES[scheme],
        code_format=SVG_FORMAT,
        unique_id=f"terminal-{scheme}",
    )


def sha256_in(png: bytes) -> str:
    """Return the SHA-256 of the page of which a picture was made."""
    _, _, text = png.partition(b"tEXtpage\0")
    return text[:64].decode()


def with_sha256(png: bytes, page: str) -> bytes:
    """Return a PNG with the text `page` before its end (PNG specification, 11.3.4.3)."""
    text = b"tEXtpage\0" + sha256(page).encode()
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    end_of_png = len(png) - 12
    return png[:end_of_png] + chunk + png[end_of_png:]


def sha256(page: str) -> str:
    return hashlib.sha256(page.encode()).hexdigest()


def photograph(page: str) -> None:
    """Write the pictures of the page, as chromium shows it."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for scheme in SCHEMES:
            tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
            tab.set_content(page)
            (FOLDER / f"page-{scheme}.png").write_bytes(with_sha256(tab.screenshot(), page))
        browser.close()


if __name__ == "__main__":
    made = show()
    for each in SCHEMES:
        (FOLDER / f"terminal-{each}.svg").write_text(picture_of(made.terminal, each), "utf-8")
    photograph(made.page)
