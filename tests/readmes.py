"""The commands of the documents, by section, in the order of the page."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
README = "README.md"
OPERATORS = "deploy/README.md"
ORGANIZATIONS = "deploy/several-organizations.md"
INSTALLATIONS = "deploy/two-installations.md"
ARCHIVE = "deploy/archive.md"
MAIL = "deploy/mail-inviters/README.md"
PAGES = [
    str(path.relative_to(ROOT))
    for pattern in ("*.md", ".github/*.md", "deploy/**/*.md", "invite_sweeper/help/*.md")
    for path in sorted(ROOT.glob(pattern))
]
BLOCK = re.compile(r"^ *```(?P<language>\w+)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE)


class Section(NamedTuple):
    """A section with its heading, without the sections below it."""

    heading: str
    text: str

    def blocks(self, language):
        found = BLOCK.finditer(self.text)
        return [block["text"] for block in found if block["language"] == language]

    @property
    def commands(self):
        """The shell commands, with lines that end in a backslash joined.

        Help pages have them as indented lines.
        """
        indented = re.findall(r"^ {4}(invite-sweeper .*)", self.text, re.MULTILINE)
        joined = re.sub(r"\\\n\s*", "", "\n".join((*self.blocks("sh"), *indented)))
        lines = (line.strip() for line in joined.splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def sections(page):
    pieces = re.split(r"^#+ (.*)\n", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE)
    # A comment in a block begins like a heading, so join the pieces of a block that was split.
    found = []
    for heading, text in zip(pieces[1::2], pieces[2::2], strict=True):
        if found and found[-1].text.count("```") % 2:
            found[-1] = Section(found[-1].heading, f"{found[-1].text}# {heading}\n{text}")
        else:
            found.append(Section(heading, text))
    return found


def section(page, heading):
    (found,) = [each for each in sections(page) if each.heading == heading]
    return found
