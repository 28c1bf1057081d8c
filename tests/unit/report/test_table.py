"""A table is one row a line: it fits a terminal of any width, and a pipe has it whole."""

import re
from datetime import timedelta
from io import StringIO

from audit.runs import deletion, planned
from builders import NOW, ORG
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report.reading import ADVISOR
from report.scenes import HOSTILE, UNREADABLE, recorded, run
from reviewed import assert_reviewed
from rich.cells import cell_len
from rich.console import Console

from invite_sweeper.audit import LineFilter
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.person import HistoryReader
from invite_sweeper.audit.reader import read_back
from invite_sweeper.models import Source
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.document import Document, Section
from invite_sweeper.report.markdown import render_markdown
from invite_sweeper.report.people import OrganizationName, document_of_lines
from invite_sweeper.report.run import list_of_runs, result_of
from invite_sweeper.report.table import Column, Table
from invite_sweeper.report.terminal import show_document
from invite_sweeper.report.verdicts import Check, diagnosis_of, document_of_checks
from invite_sweeper.text import is_unprintable

DAY = timedelta(days=1)
NAMES = st.one_of(
    st.sampled_from([name for name in HOSTILE.values() if len(name) < 1_000]),
    st.sampled_from(
        ["ada@example.com", "", "-", "a  b", "山田太郎@例え.jp", "👩 zoë", "محمد@example.com"]
    ),
    st.text(max_size=90),
)
COLUMNS = (
    Column("When", lambda row: row[0], "date"),
    Column("Person", lambda row: row[1], "person"),
    Column("Where", lambda row: row[2]),
    Column("Inviter", lambda row: row[3], fit="falls"),
    Column("Outcome", lambda row: row[4], "state"),
    Column("Id", lambda row: row[5], "code", "id"),
)
ROWS = st.lists(st.tuples(*[NAMES] * len(COLUMNS)), min_size=1, max_size=5)


def lines_of(table, width=None, *, with_ids=False):
    """Return the lines of a terminal of a width; without one of a pipe."""
    is_terminal = width is not None
    console = Console(
        file=StringIO(), width=width or 80, color_system=None, force_terminal=is_terminal
    )
    document = Document(sections=(Section(table=table),))
    show_document(console, document, with_ids=with_ids)
    return console.file.getvalue().removesuffix("\n").splitlines()


@given(ROWS, st.integers(40, 200), st.booleans())
def test_each_row_is_one_line_and_no_line_is_wider_than_a_terminal_of_40_columns_or_more(
    rows, width, with_ids
):
    table = Table.of("people", COLUMNS, rows)
    lines = lines_of(table, width, with_ids=with_ids)
    assert all(cell_len(line) <= width for line in lines)
    assert not any(map(is_unprintable, "".join(lines)))
    if any(column.fit == "cut" for column in table.columns):
        rest = " ".join(lines[len(rows) + 1 :])
        assert not rest or rest.startswith("Not shown: ")


@given(st.integers(1, 90), st.integers(40, 200))
def test_person_that_takes_half_of_a_terminal_is_whole_and_a_longer_one_ends_in_dots(size, width):
    person = "p" * size
    table = Table.of("people", COLUMNS, [("2026-12-07", person, "x" * 90, "x" * 90, "failed", "")])
    header, row, *_ = lines_of(table, width)
    shown = row.split()[1]
    assert shown == person or shown == f"{person[: len(shown) - 1]}…"
    assert shown == person or size > width // 2
    assert header.index("PERSON") == row.index("p")


@given(ROWS)
def test_row_of_a_pipe_is_split_at_two_blanks_into_the_cells_that_are_whole(rows):
    table = Table.of("people", COLUMNS, rows)
    header, *lines = [line for line in lines_of(table, with_ids=True) if line] or [""]
    assert re.split(" {2,}", header) == [column.heading.upper() for column in table.columns] or [""]
    if table.columns:
        found = [re.split(" {2,}", line) for line in lines]
        assert found == [[cell.text or "-" for cell in row] for row in table.rows]


@given(ROWS)
def test_parser_of_markdown_reads_the_cells_back(rows):
    table = Table.of("people", COLUMNS, rows)
    document = Document(sections=(Section("People", table=table, total=len(rows)),))
    parser = MarkdownIt("gfm-like", {"linkify": True, "html": True})
    tokens = parser.parse(render_markdown(document))
    cells = [
        "".join(child.content for child in tokens[at + 1].children)
        for at, token in enumerate(tokens)
        if token.type == "td_open"
    ]
    expected = [cell.text for row in table.rows for cell in row]
    assert cells == expected if table.columns else cells == []


def test_secret_is_masked_before_it_is_cut():
    SECRETS.add("s3cret-value-of-a-name")
    rows = [("2026-12-07", "ada@example.com", "s3cret-value-of-a-name", "", "failed", "")]
    assert "s3c" not in "".join(lines_of(Table.of("people", COLUMNS, rows), 40))


def test_what_falls_away_is_named_and_ids_are_shown_on_request():
    row = ("2026-12-07", "ada@example.com", "Search · Acme", "zoe@example.com", "failed", "f" * 24)
    table = Table.of("people", COLUMNS, [row])
    assert lines_of(table, 60)[2] == "Not shown: INVITER. A wider terminal or -o json shows them."
    assert "f" * 24 not in lines_of(table)[1]
    assert "f" * 24 in lines_of(table, with_ids=True)[1]
    assert "Not shown: INVITER, ID." in lines_of(table, 60, with_ids=True)[2]


# Each surface, as it was reviewed ----------------------------------------------------------------

PEOPLE = (
    {"username": "ada@example.com", "age": 20 * DAY},
    {"username": f"{'x' * 78}@example.com", "project_name": "山田 Sandbox"},
    {"username": "山田太郎@例え.jp", "project_name": "Data Lake", "inviter": "zoe@example.com"},
    {"username": "محمد@example.com", "project_id": None, "project_name": None,
     "source": Source.ORG_USERS, "roles": ("ORG_MEMBER",)},
)  # fmt: skip
CHECKS = (
    Check("policy", "ok", "policy.yaml is valid: 1 rule, 0 keep entries, sources invites."),
    Check("list invites", "warning", "1 list cannot be read: Vault.", "Grant the role.", ORG),
)


def surfaces(directory):
    """Yield what plan, sweep, audit show and doctor show of fixed records."""
    plan = [planned(number, **names) for number, names in enumerate(PEOPLE, 1)]
    dry_run = recorded(run(*plan, mode="dry-run"), directory)
    yield "plan", result_of(read_back(dry_run), ADVISOR)
    lines = [UNREADABLE]
    for number, names in enumerate(PEOPLE, 1):
        lines += deletion(number, "deleted" if number % 2 else "failed", **names)
    swept = recorded(run(*lines), directory)
    yield "sweep", result_of(read_back(swept), ADVISOR)
    yield "audit show", list_of_runs((dry_run, swept), NOW)
    history = HistoryReader(LineFilter(username="ada@*"))
    found = [line for file in directory.files() for line in history.read(FileChain(file))]
    yield "audit show --username", document_of_lines(found, history.names)
    yield "doctor", document_of_checks(diagnosis_of(CHECKS, NOW, [OrganizationName(ORG, "Acme")]))


def test_surfaces_are_as_they_were_reviewed_at_each_width_and_in_a_pipe(directory):
    text = "# Tables at 80, 110 and 160 columns and in a pipe; `UPDATE_SNAPSHOTS=1` writes it.\n"
    for name, document in surfaces(directory):
        for width in (80, 110, 160, None):
            console = Console(
                file=StringIO(), width=width or 80, color_system=None,
                force_terminal=width is not None,
            )  # fmt: skip
            tables = Document(sections=document.sections)
            show_document(console, tables)
            where = f"{width} columns" if width else "a pipe"
            text += f"\n== {name}, {where}\n\n{console.file.getvalue().rstrip()}\n"
    assert_reviewed(text, __file__, "tables.txt")
