"""Create the pictures of README.md and ARCHITECTURE.md: `python tests/pictures.py [layout]`.

`demo.svg` is the terminal output of a run of the demo. `report.png` is the report of its first
sweep in chromium, if that is installed. `architecture.svg` shows the layers of the package; with
`layout` only this one is created.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree as ET

from architecture import charts, draw
from rich.console import Console
from rich.text import Text
from running import COMMAND
from terminals import terminal

FOLDER = Path(__file__).parent.parent / ".github" / "pictures"
COLUMNS = 120
_FONTS = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
_FONT_FACES = re.compile(r"@font-face \{.*?\}\n?", re.DOTALL)
_FAMILY = re.compile(r"font-family: Fira Code, monospace")
_CHAR_WIDTH = 12.2
"""In units of the picture. Source: rich, `Console.export_svg`."""
_REPORT_SIZE = (1440, 1500)


@contextmanager
def demo() -> Iterator[tuple[str, Path]]:
    """Run the demo on a terminal; yield its output with colours, and its audit directory."""
    kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "TMPDIR"}}
    environment = {**kept, "TERM": "xterm-256color"}
    with terminal(["demo"], Path.cwd(), environment, COLUMNS) as found:
        code, text = found.end(120)
    assert code == 0, text
    named = re.search(r"\S*/invite-sweeper-demo-\w+", text)
    assert named is not None, text
    folder = Path(named[0])
    try:
        yield found.seen.decode(), folder / "audit"
    finally:
        shutil.rmtree(folder)


def text_of(svg: str) -> str:
    """Read the text of a picture, each piece at the column at which it is drawn."""
    lines: dict[float, str] = {}
    parts = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    drawn = [part for part in parts if "clip-path" in part.attrib]
    for part in sorted(drawn, key=lambda part: float(part.attrib["x"])):
        y, column = float(part.attrib["y"]), round(float(part.attrib["x"]) / _CHAR_WIDTH)
        lines[y] = lines.get(y, "").ljust(column) + (part.text or "").replace("\xa0", " ")
    return "\n".join(line.rstrip() for _, line in sorted(lines.items())).strip("\n")


def picture(printed: str) -> str:
    """Return an SVG of terminal output. It loads nothing from the network."""
    paper = Console(record=True, width=COLUMNS, file=StringIO(), color_system="truecolor")
    paper.print(Text.from_ansi(printed.replace("\r\n", "\n").rstrip()), soft_wrap=True)
    drawn = paper.export_svg(title="invite-sweeper demo", unique_id="demo")
    plain = _FAMILY.sub(f"font-family: {_FONTS}", _FONT_FACES.sub("", drawn))
    return "\n".join(line.rstrip() for line in plain.splitlines()) + "\n"


def photograph(audit: Path, browser: str, out: Path) -> None:
    """Create the report of the demo's dry run and first sweep, and a screenshot of it."""
    page = audit.with_name("report.html")
    files = map(str, sorted(audit.glob("*.jsonl"))[:2])
    subprocess.run([*COMMAND, "report", *files, "--out", str(page)], check=True)
    width, height = _REPORT_SIZE
    subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--hide-scrollbars",
            f"--window-size={width},{height}",
            f"--screenshot={out}",
            page.as_uri(),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=120,
    )


def main(names: list[str]) -> None:
    """Create all pictures, or only the layers of the package with `layout`."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    FOLDER.joinpath("architecture.svg").write_text(draw(charts()), "utf-8")
    if names == ["layout"]:
        return
    with demo() as (printed, audit):
        FOLDER.joinpath("demo.svg").write_text(picture(printed), "utf-8")
        browser = shutil.which("chromium")
        if browser is None:
            sys.stderr.write("chromium is not installed; report.png was not updated.\n")
            return
        photograph(audit, browser, FOLDER / "report.png")


if __name__ == "__main__":
    main(sys.argv[1:])
