"""What a reader gets of a run, and of the report of an audit directory."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from html.parser import HTMLParser
from io import StringIO

from builders import NOW
from rich.console import Console

from invite_sweeper.audit import AuditDirectory, RunRecord, verify_directory
from invite_sweeper.audit.reader import read_back
from invite_sweeper.audit.record import Fold
from invite_sweeper.errors import Advisor
from invite_sweeper.report.document import Document, Table
from invite_sweeper.report.period import read_period
from invite_sweeper.report.run import question_about as ask_about
from invite_sweeper.report.run import result_of
from invite_sweeper.report.run_message import RunMessage
from invite_sweeper.report.story import advisor_of
from invite_sweeper.report.terminal import show_document
from invite_sweeper.sweep.waiting import WaitingInvitation

ADVISOR = Advisor(policy="policy.yaml")


class Reader(HTMLParser):
    """The text, tags and attributes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.cells: list[str] = []
        self.feed(html.replace("<wbr>", "").partition("<body>")[2])
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.cells.append(data)

    @property
    def text(self) -> str:
        return words("".join(self.cells))


def words(text: str) -> str:
    """Return a text without the marks of code spans, each space one blank."""
    return " ".join(text.replace("`", "").split())


def page_of(directory: AuditDirectory, advisor: Advisor, **period: datetime) -> Document:
    fold = Fold()
    verification = verify_directory(directory, fold=fold)
    return read_period(directory.files(), verification, fold, advisor, **period)


def tables(page: Document) -> list[Table]:
    return [section.table for section in page.sections if section.table is not None]


def run_message(record: RunRecord, waiting: Sequence[WaitingInvitation] | None = ()) -> RunMessage:
    """Return what receivers get about a run that ended a minute after NOW."""
    return RunMessage(
        read_back(record),
        NOW + timedelta(minutes=1),
        waiting if waiting is None else tuple(waiting),
        advisor_of(record, ADVISOR),
    )


def as_shown(document: Document, width: int = 10_000) -> str:
    console = Console(file=StringIO(), width=width, color_system=None, force_terminal=True)
    show_document(console, document)
    return console.file.getvalue()


def on_terminal(
    record: RunRecord, width: int = 10_000, shown_above: Collection[str] = ("error",)
) -> str:
    return as_shown(result_of(read_back(record), ADVISOR, shown_above=shown_above), width)


def question_about(record: RunRecord) -> str:
    return as_shown(ask_about(read_back(record), ADVISOR, NOW))
