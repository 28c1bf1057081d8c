"""The report of a period: its nights, who was concerned, how long, and under which policy."""

import gc
import hashlib
import re
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from audit.runs import deletion, intent, outcome, planned, write_run
from builders import NOW, ORG, OTHER_ORG, policy_bytes
from click.testing import CliRunner
from msgspec import structs
from report import reading
from report.reading import Reader, tables
from report.scenes import NOT_SEEN, REFUSED, REFUSED_SWEEP, deleted, run, write
from reviewed import assert_reviewed

from invite_sweeper import __version__
from invite_sweeper.audit import AuditDirectory
from invite_sweeper.audit.events import Announced, Kept, OrganizationResult, PolicyText
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.reader import read_run, read_whole_run
from invite_sweeper.audit.record import Fold
from invite_sweeper.cli.main import app
from invite_sweeper.endings import Reason
from invite_sweeper.errors import Advisor, UsageError
from invite_sweeper.report.markdown import render_markdown
from invite_sweeper.report.page import render_html
from invite_sweeper.report.run import list_of_runs

page_of = partial(reading.page_of, advisor=Advisor(audit_dir="audit"))
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
DUE = {"rule": "forgotten", "deletable_from": "2026-12-02T00:00:00Z"}
UNREAD = {"plan_made": False, "plan_complete": False, "exit_code": 6, **NOT_SEEN}
BOTH = {"start": {"organizations": (ORG, OTHER_ORG)}}


@pytest.fixture
def shown(directory):
    """Write runs, each by how many days ago it began, and return the page."""

    def page(runs, **period):
        for days_ago, scene in runs.items():
            write(scene, directory, days_ago=days_ago)
        return page_of(directory, **period)

    return page


def killed(*lines, **end):
    return run(*lines, **end)._replace(end=None)


def sent(number):
    return planned(number), intent(planned(number))


def restored(number, **start):
    invited = intent(planned(number)), outcome(planned(number), "restored")
    return run(*invited, mode="restore", start={"restores": "run-1", **start}, **NOT_SEEN)


def table(page, key):
    """Return the cells of a table as text, a dictionary for each row; empty without the table."""
    return [
        {column.heading: cell.text for column, cell in zip(one.columns, row, strict=True)}
        for one in tables(page)
        if one.key == key
        for row in one.rows
    ]


def nights(page, *headings):
    """Return cells of each night, the oldest first."""
    rows = [tuple(row[heading] for heading in headings) for row in table(page, "nights")]
    return rows[::-1]


# The report of a period, as it was reviewed -------------------------------------------------------

HOW_TO_READ_IT = """\
# What a report shows of 12 nights in two organizations: the page as text, then Markdown, and the
# announcements as CSV. `UPDATE_SNAPSHOTS=1` writes it again.

"""


def policy(older_than):
    board = {"name": "board", "usernames": ["*"], "until": "2026-11-20", "reason": "they travel"}
    rules = [{"name": "forgotten", "older_than": older_than}]
    organizations = [ORG, OTHER_ORG]
    keys = {"version": 1, "organizations": organizations, "rules": rules, "keep": [board]}
    return policy_bytes(keys).decode()


def under(policy, *lines, start=None, **end):
    sha256 = hashlib.sha256(policy.encode()).hexdigest()
    start = {"policy_sha256": sha256, "organizations": (ORG, OTHER_ORG), **(start or {})}
    return run(PolicyText(policy), *lines, start=start, **end)


def twelve_nights(directory):
    """Write the runs: done, failed, refused by hand, killed, recovered, none, restored."""
    board = {"reason": "keep:board"}
    kept = [Kept.of(planned(n), **board) for n in (1, 2, 3)]
    young = Kept.of(planned(6, org_id=OTHER_ORG), reason="too_young")
    both = tuple(
        OrganizationResult(id=id_, name=name, plan_made=True, plan_complete=True)
        for id_, name in ((ORG, "Acme"), (OTHER_ORG, None))
    )
    announced = planned(9).as_event(Announced, **DUE)
    theirs = deletion(8, org_id=OTHER_ORG)
    end = {"organizations": both}
    first, second = policy("14d"), policy("3d")
    nights = (
        (11, under(first, *deletion(11), *kept, kept_by_reason={"keep:board": 3}, **end)),
        (10, under(first, *deletion(12), *kept[:2], kept_by_reason={"keep:board": 2}, **end)),
        (9.5, under(first, planned(13), stale=15, start={"reason": "OPS-12"}, **REFUSED)),
        (9, under(second, announced, kept[0], kept_by_reason={"keep:board": 1}, **end)),
        (8, under(second, exit_code=6, plan_made=False, plan_complete=False, **NOT_SEEN)),
        (6, under(second, *sent(14))._replace(end=None)),
        (5, under(second, outcome(planned(14), "already_gone", recovers="run-6"), recovered=1)),
        (4, under(second, *deletion(15, "failed"), reasons=(Reason.FAILED_DELETIONS,), **end)),
        (3, under(first, *theirs, kept[0], young, kept=2, **end)),
        (2, restored(11, reason="she asked", policy_sha256=None)),
        (0, under(first, planned(17), kept[0], young, mode="dry-run", stale=30, kept=2, **REFUSED)),
    )
    for days_ago, scene in nights:
        write(scene, directory, days_ago=days_ago)


def as_text(html):
    """Return the text of a page, a line for each of its template."""
    apart = html.replace("<br>", ", ").replace("</span>", "</span> ").replace("</dt>", ": </dt>")
    apart = re.sub(r"</t[dh]>\s*", " | ", apart.replace("</summary>", "</summary>\n"))
    lines = (" ".join(line.split()) for line in "".join(Reader(apart).cells).splitlines())
    return "\n".join(line for line in lines if line)


def test_report_of_a_period_is_as_it_was_reviewed(directory):
    twelve_nights(directory)
    page = page_of(directory, now=NOW)
    words = ["show", "--event", "announced", "-o", "csv", "--audit-dir", str(directory.path)]
    csv = CliRunner().invoke(app, ["audit", *words]).stdout
    parts = (as_text(render_html(page)), render_markdown(page), csv.replace("\r", ""))
    text = HOW_TO_READ_IT + "\n\n".join(parts).replace(__version__, "VERSION")
    text = re.sub(r"\b[0-9a-f]{64}\b", "HASH", text)
    assert_reviewed(text, __file__, "period.txt")


def test_list_of_the_runs_ends_with_the_verdict_of_the_report(directory):
    twelve_nights(directory)
    fold = Fold()
    records = [read_run(file, fold) for file in directory.recent(NOW - 30 * DAY)]
    listed = list_of_runs(records, NOW)
    assert listed.headline == page_of(directory, now=NOW).headline


# Small periods, as they were reviewed -------------------------------------------------------------


def result_of(org_id, **counts):
    return OrganizationResult(id=org_id, name="Beta", plan_made=True, plan_complete=True, **counts)


def recovery(found, **start):
    recovered = outcome(planned(1), found, recovers="run-1")
    return run(recovered, recovered=1, already_gone=0, failed=0, unknown=0, **start)


def of_two_organizations():
    theirs = deletion(9, "failed", org_id=OTHER_ORG)
    kept = [Kept.of(planned(n, org_id=o), reason="keep:b") for n, o in ((7, ORG), (8, OTHER_ORG))]
    results = (
        result_of(ORG, deleted=1, invitations_seen=5, kept_by_reason={"keep:b": 1}),
        result_of(OTHER_ORG, failed=1, invitations_seen=4, exit_code=4),
    )
    both = run(*deletion(1), *theirs, *kept, organizations=results, exit_code=4, **BOTH)
    return {2: deleted(2), 1: both, 0: deleted(3)}


def killed_in_two_organizations():
    theirs = planned(9, org_id=OTHER_ORG)
    lines = (*deletion(1), *sent(2), *deletion(8, org_id=OTHER_ORG), theirs, intent(theirs))
    recovered = [outcome(one, "already_gone", recovers="run-1") for one in (planned(2), theirs)]
    return {
        1: killed(*lines, **BOTH),
        0: run(*recovered, recovered=2, already_gone=0, deleted=0, **BOTH),
    }


MIDNIGHT = NOW.hour / 24
DRY_RUN = run(mode="dry-run")
FIRST = planned(1).as_event(Announced, **DUE)
KILLED_RESTORE = {"mode": "restore", "start": {"restores": "run-0"}, **NOT_SEEN}
PERIODS = {
    # The runs by how many days ago they began, and the options of each page.
    "a nightly job that does not start any more needs attention up to now, but not by copies": (
        {ago: deleted(ago) for ago in range(20, 14, -1)},
        {},
        {"now": NOW},
        {"until": NOW - 10 * DAY, "now": NOW},
        {"until": NOW + 10 * DAY, "now": NOW},
    ),
    "runs of one day add up, and midnight in UTC begins the next night": (
        {MIDNIGHT + 1: deleted(1), MIDNIGHT + 0.001: deleted(2, 3), MIDNIGHT: deleted(4)},
    ),
    "a refused night is not done after a good dry run": ({0.5: REFUSED_SWEEP, 0: DRY_RUN},),
    "a killed sweep needs attention": ({1: killed(*sent(1)), 0: DRY_RUN},),
    "until a later run has recovered it": (
        {2: killed(*sent(1)), 1: DRY_RUN, 0: recovery("already_gone")},
    ),
    "several runs of a single night are shown without a picture of nights": (
        {0.01: deleted(1), 0: REFUSED_SWEEP},
    ),
    "a period is 30 nights up to --until, with its first instant and without its last": (
        {ago: deleted(ago) for ago in (33, 32, 31, 3, 2, 1, 0)},
        {"until": NOW - 3 * DAY},
        {"since": NOW - 2 * DAY, "until": NOW},
        {"since": NOW - 2 * DAY + timedelta.resolution, "until": NOW},
    ),
    "what was announced in a dry run or planned in a refused sweep is not counted": (
        {
            1: run(planned(1), stale=15, **REFUSED),
            0.5: run(FIRST),
            0: run(planned(3), mode="dry-run", announced=5),
        },
    ),
    "who was kept before a restore is shown as of the sweep": (
        {1: run(Kept.of(planned(1), reason="too_young"), kept=1), 0: restored(1)},
    ),
    "only what is gone or was accepted is not pending after a sweep": (
        {
            1: run(deleted=2, already_gone=3, accepted_before=4),
            0: run(failed=2, unknown=3, changed=4, skipped=5),
        },
    ),
    "what its last run left is pending after a night, marked where not all lists were read": (
        {
            1: deleted(1),
            0.01: deleted(2, invitations_seen=19),
            0: deleted(3, invitations_seen=18, plan_complete=False, exit_code=4),
        },
    ),
    "pending is what the newest run that read its lists left": (
        {1: deleted(1, 2), 0: run(**UNREAD)},
    ),
    "what a later run found of a request counts in its night, also after the period": (
        {2: killed(*sent(1)), 1: deleted(5), 0: recovery("failed")},
        {},
        {"until": NOW - HOUR},
    ),
    "so it does where the answer was lost": (
        {2: run(*deletion(1, "unknown")), 1: deleted(5), 0: recovery("already_gone")},
        {"until": NOW - HOUR},
    ),
    "a killed run is not unfinished where a run after the period followed it": (
        {2: killed(planned(1)), 0: run()},
        {"until": NOW - DAY},
    ),
    "a killed restore that the next one recovered is shown once": (
        {1: killed(intent(planned(1)), **KILLED_RESTORE), 0: recovery("unknown", **KILLED_RESTORE)},
    ),
    "of one organization there are its counts, people and ends alone": (
        of_two_organizations(),
        {"organization": ORG},
        {"organization": OTHER_ORG},
    ),
    "of a killed run one organization has what a later run recorded of it there": (
        killed_in_two_organizations(),
        {"organization": ORG},
    ),
    "a single run, of an earlier version, has a table of what it kept and no text of a policy": (
        {0: run(Kept.of(planned(1), reason="keep:board"), kept_by_reason={"keep:board": 1})},
    ),
}
SHOWN = (
    "Night",
    "Run",
    "Runs",
    "Deleted",
    "Announced",
    "Failed",
    "Pending",
    "Person",
    "Outcome",
)


def summary(page):
    lines = [page.title, f"{page.headline.label}: {page.headline.text}"]
    lines += [f"{fact.label}: {fact.text}" for fact in page.facts if fact.label != "Last hash"]
    lines += [f"! {item.text} -> {item.hint.sentence}" for item in page.attention]
    for section in page.sections:
        if section.table is not None:
            picture = ", with a picture" if section.picture is not None else ""
            texts = "".join(f", with {text.label}" for text in section.texts)
            lines.append(f"{section.heading}{picture}{texts}: {section.command}")
            for row in table(page, section.table.key):
                lines.append("    " + " | ".join(row[name] for name in SHOWN if name in row))
    return "\n".join(lines)


def test_small_periods_are_as_they_were_reviewed(tmp_path):
    text = "# What decides of small periods, by what they show; `UPDATE_SNAPSHOTS=1` writes it.\n"
    for number, (name, (runs, *views)) in enumerate(PERIODS.items()):
        directory = AuditDirectory(tmp_path / str(number))
        for days_ago, scene in runs.items():
            write(scene, directory, days_ago=days_ago)
        text += f"\n== {name}\n\n"
        text += "\n\n".join(summary(page_of(directory, **view)) for view in views or [{}]) + "\n"
    assert_reviewed(text, __file__, "small_periods.txt")


def test_in_a_damaged_log_no_killed_run_is_shown_as_recovered(directory, shown):
    shown({2: deleted(7), 1: killed(*sent(1)), 0: run()})
    path = directory.files()[0].path
    path.write_bytes(path.read_bytes().replace(b"person-7", b"person-8", 1))
    page = shown({})
    assert page.headline.label == "Damaged audit log"
    assert nights(page, "Outcome") == [("damaged",), ("unfinished",), ("done",)]
    # Both have no exit code, and the same mark.
    assert "! damaged ! unfinished" in Reader(render_html(page)).text


# People ------------------------------------------------------------------------------------------


def test_500_rows_are_held_the_failed_ones_first_and_all_are_counted(shown):
    numbers = {days_ago: range(10 + 300 * days_ago, 309 + 300 * days_ago) for days_ago in (2, 1, 0)}
    page = shown(
        {
            days_ago: run(*deletion(days_ago, "failed"), *deleted(*others).lines)
            for days_ago, others in numbers.items()
        }
    )
    rows = table(page, "deletions")
    assert len(rows) == 500
    assert [row["Run"] for row in rows[:4]] == ["3", "2", "1", "3"]
    assert "500 of 900 are shown." in Reader(render_html(page)).text


def test_markdown_of_many_long_tables_is_short_enough_for_a_pull_request(shown):
    name = f"{'x' * 108}@example.com"
    names = {"username": name, "project_name": name, "inviter": name}
    kept = [Kept.of(planned(number, **names), reason="keep:board") for number in range(300, 400)]
    runs = {}
    for days_ago in (1, 0):
        numbers = range(100 * days_ago, 100 + 100 * days_ago)
        lines = [line for number in numbers for line in deletion(number, **names)]
        runs[days_ago] = run(*lines, *kept, kept_by_reason={"keep:board": 100})
    markdown = render_markdown(shown(runs))
    assert len(markdown.encode()) <= 48_000
    assert re.search("1[89][05] more: `invite-sweeper", markdown)


def test_reasons_and_policies_begin_with_the_newest(shown):
    starts = {ago: {"reason": f"OPS-{ago}", "policy_sha256": f"{ago:064}"} for ago in (3, 2, 1)}
    page = shown({days_ago: run(start=start) for days_ago, start in starts.items()})
    assert [row["Reason"] for row in table(page, "reasons")] == ["OPS-1", "OPS-2", "OPS-3"]
    assert [row["Runs"] for row in table(page, "policies")] == ["3", "2", "1"]


def test_each_account_of_an_organization_is_shown_once_with_the_nights_from_which_it_swept(shown):
    accounts = {5: "first", 4: "first", 2: "second", 1: "second"}
    runs = {ago: run(start={"actors": {ORG: actor}}) for ago, actor in accounts.items()}
    rows = [(row["Account"], row["From"], row["To"]) for row in table(shown(runs), "accounts")]
    assert rows == [
        ("first", "2026-11-20", "2026-11-21"),
        ("second", "2026-11-23", "2026-11-24"),
    ]


def test_reading_a_period_leaves_no_file_open(shown):
    shown({days_ago: deleted(days_ago) for days_ago in (50, 3, 2, 1)})
    gc.disable()  # it would close them, some time
    try:
        before = len(list(Path("/proc/self/fd").iterdir()))
        assert nights(shown({}, until=NOW - 2 * DAY + HOUR))
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    finally:
        gc.enable()


# The pictures ------------------------------------------------------------------------------------


def test_columns_are_counts_and_the_line_breaks_where_nothing_is_known(shown):
    page = shown(
        {
            3: deleted(1, 2, 3, 4, invitations_seen=24),
            2: run(*deletion(5), *deletion(6, "failed"), invitations_seen=11),
            1: run(**UNREAD),
            0: run(invitations_seen=5),
        }
    )
    html = render_html(page)
    columns = re.findall(r'<rect class="of-(.*?)" x="(.*?)" y="(.*?)" .* height="(.*?)"', html)
    assert columns == [
        ("deleted", "0.1", "0", "4"),
        ("deleted", "1.1", "0", "1"),
        ("failed", "1.1", "1", "1"),
    ]
    assert ' d="M0.1,20h.8L1.1,10h.8M3.1,5h.8"' in html


# Bad input ---------------------------------------------------------------------------------------


OPTIONS = """
--since 2026-11-25 --until 2026-11-25
--since 2026-11-26
--until 2026-11-24
--since 2026-11-26 --until 2026-11-24
--since 0001-01-01
--until 0001-01-05
--since 9999-12-31
--since 0001-01-01T00:00:00+05:00
--since 9999-12-31T23:00:00-05:00
--until 9999-12-31
--since 2026-02-30
--since 2026-11-25T01:00:00
--until yesterday
--organization 000000000000000000000000
"""


def test_a_period_is_shown_or_wrong_usage_as_it_was_reviewed(directory):
    """The date of --until is included; the calendar has edges."""
    write(run(), directory)
    text = ""
    for period in OPTIONS.strip().splitlines():
        words = ("report", str(directory.path), *period.split(), "--format", "md")
        done = CliRunner().invoke(app, words)
        error = done.exception
        shown = f"shown: {'2026-11-25' in done.stdout}"
        if isinstance(error, UsageError):
            shown = f"{error.message} {error.hint} {error.command}"
        elif error is not None:
            shown = done.stderr.splitlines()[-1]
        text += f"{period}\n    {shown.strip()}\n".replace(str(directory.path), "AUDIT")
    assert_reviewed(text, __file__, "periods.txt")


@pytest.mark.parametrize("now", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_forged_instant_of_a_run_does_not_move_the_period(directory, shown, now):
    write(deleted(1), directory)
    scene = deleted(2)
    start = structs.replace(scene.start, now=now)
    write_run(directory, "run-2", *scene.lines, start=start, end=scene.end)
    assert nights(shown({}), "Night", "Deleted") == [("2026-11-25", "1")]
    records = [read_whole_run(FileChain(file)) for file in directory.files()]
    listed = table(list_of_runs(records, NOW), "runs")
    assert [row["Run"] for row in listed] == ["1", "2"]
