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
from report.scenes import NOT_SEEN, REFUSED, run, write
from reviewed import assert_reviewed

from invite_sweeper import __version__
from invite_sweeper.audit.events import Announced, Kept, OrganizationResult, PolicyText
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.reader import read_whole_run
from invite_sweeper.cli.audit import audit
from invite_sweeper.cli.report import report
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


def deleted(*numbers, **end):
    return run(*(line for number in numbers for line in deletion(number)), **end)


def killed(*lines, **end):
    return run(*lines, **end)._replace(end=None)


def sent(number):
    """Return the lines of a deletion that was cut off."""
    return planned(number), intent(planned(number))


def restored(number, **start):
    invited = intent(planned(number)), outcome(planned(number), "restored")
    return run(*invited, mode="restore", start={"restores": "run-1", **start}, **NOT_SEEN)


def table(page, key):
    """Return the cells of a table as text, a dictionary for each row; empty without the table."""
    return [
        {column.heading: cell_text(cell) for column, cell in zip(one.columns, row, strict=True)}
        for one in tables(page)
        if one.key == key
        for row in one.rows
    ]


def cell_text(cell):
    return "; ".join(line.text for line in cell)


def nights(page, *headings):
    """Return cells of each night, the oldest first."""
    rows = [tuple(row[heading] for heading in headings) for row in table(page, "nights")]
    return rows[::-1]


def figure(page, label):
    return next((fact.text for fact in page.facts if fact.label == label), None)


# The report of a period, as it was reviewed -------------------------------------------------------

REVIEWED = Path(__file__).with_name("period.txt")
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
    """Return a run with the text of its policy."""
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
    csv = CliRunner().invoke(audit, words).stdout
    parts = (as_text(render_html(page)), render_markdown(page), csv.replace("\r", ""))
    text = HOW_TO_READ_IT + "\n\n".join(parts).replace(__version__, "VERSION")
    text = re.sub(r"\b[0-9a-f]{64}\b", "HASH", text)
    assert_reviewed(text, REVIEWED)


# The nights --------------------------------------------------------------------------------------


def test_a_nightly_job_that_does_not_start_any_more_needs_attention_up_to_now(shown):
    page = shown({ago: deleted(ago) for ago in range(20, 14, -1)}, now=NOW)
    assert len(nights(page)) == 6 + 14  # the night of now is not over
    assert page.headline.label == "Needs attention"
    assert "6 done, 14 without a run (2026-11-11 to 2026-11-24)." in page.headline.text
    (item,) = page.attention
    assert item.text == (
        "The newest run is of 2026-11-10: 14 nights without a run since, up to 2026-11-24."
    )
    assert item.hint.command == "invite-sweeper doctor --audit-dir audit"
    assert shown({}).attention == ()  # of files that are copies, now says nothing
    for until, last in ((NOW - 10 * DAY, "2026-11-15"), (NOW + 10 * DAY, "2026-11-24")):
        assert nights(shown({}, until=until, now=NOW), "Night")[-1] == (last,)


def test_runs_of_one_day_add_up_and_midnight_in_utc_begins_the_next_night(shown):
    midnight = NOW.hour / 24
    page = shown({midnight + 1: deleted(1), midnight + 0.001: deleted(2, 3), midnight: deleted(4)})
    assert nights(page, "Night", "Deleted", "Runs") == [
        ("2026-11-24", "3", "sweep 1, sweep 2"),
        ("2026-11-25", "1", "sweep 3"),
    ]


def test_several_runs_of_a_single_night_are_shown_without_a_picture_of_nights(shown):
    page = shown({0.01: deleted(1), 0: run(stale=15, **REFUSED)})
    assert page.headline.text == (
        "Its runs were sweep 1, sweep 2. The night was partly done. 1 deleted by 2 runs."
    )
    assert nights(page, "Ended") == [("exit 3: refused by a guard, nothing was deleted; done",)]
    first = page.sections[0]
    assert (first.heading, first.picture) == ("The night of 2026-11-25", None)


def test_period_is_30_nights_up_to_until_with_the_first_instant_and_without_the_last(shown):
    page = shown({ago: deleted(ago) for ago in (33, 32, 31, 3, 2, 1, 0)}, until=NOW - 3 * DAY)
    assert page.headline.text.endswith("2 deleted by 2 runs.")
    page = shown({}, since=NOW - 2 * DAY, until=NOW)
    assert nights(page, "Deleted") == [("1",), ("1",)]
    later = shown({}, since=NOW - 2 * DAY + timedelta.resolution, until=NOW)
    assert later.title == "Invitation sweep, 2026-11-24"  # a single run is shown as it is
    assert figure(later, "Pending").startswith("19 after sweep 6 of 2026-11-24")


def test_what_was_announced_in_a_dry_run_or_planned_in_a_refused_sweep_is_not_counted(shown):
    page = shown(
        {
            1: run(planned(1), stale=15, **REFUSED),
            0.5: run(planned(2).as_event(Announced, **DUE)),
            0: run(planned(3), mode="dry-run", announced=5),
        }
    )
    assert page.headline.text.endswith("1 announced by 3 runs.")
    assert len(table(page, "announced")) == 1
    assert table(page, "deletions") == []


def test_what_a_repeated_run_announces_again_counts_once(shown):
    """The run before was not known to it, as after a lost file."""
    first, second = (planned(number).as_event(Announced, **DUE) for number in (1, 2))
    page = shown({0.01: run(first, announced=1), 0: run(first, second, announced=2)})
    assert nights(page, "Announced") == [("2",)]
    assert len(table(page, "announced")) == 2


def test_who_was_kept_before_a_restore_is_shown_as_of_the_sweep(shown):
    page = shown({1: run(Kept.of(planned(1), reason="too_young"), kept=1), 0: restored(1)})
    assert "Kept invitations, as of sweep 1" in [one.heading for one in page.sections]


@pytest.mark.parametrize(
    ("counts", "pending"),
    [
        ({"deleted": 2, "already_gone": 3, "accepted_before": 4}, 11),
        ({"failed": 2, "unknown": 3, "changed": 4, "skipped": 5}, 20),
    ],
)
def test_only_what_is_gone_or_was_accepted_is_not_pending_after_a_sweep(shown, counts, pending):
    newest, _ = table(shown({1: run(), 0: run(**counts)}), "nights")
    assert newest["Pending"] == str(pending)


def test_pending_of_a_night_is_what_its_last_run_left_marked_where_not_all_lists_were_read(shown):
    page = shown(
        {
            1: deleted(1),
            0.01: deleted(2, invitations_seen=19),
            0: deleted(3, invitations_seen=18, plan_complete=False, exit_code=4),
        }
    )
    assert nights(page, "Pending") == [("19",), ("17; not all lists read",)]


def test_pending_is_what_the_newest_run_that_read_its_lists_left(shown):
    page = shown({1: deleted(1, 2), 0: run(**UNREAD)})
    assert figure(page, "Pending") == "18 after sweep 1 of 2026-11-24 01:00 UTC"
    assert nights(page, "Pending") == [("18",), ("not known",)]


# Killed runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("until", [None, NOW - HOUR])
@pytest.mark.parametrize("lost", [killed(*sent(1)), run(*deletion(1, "unknown"))])
@pytest.mark.parametrize(("found", "failed"), [("already_gone", 0), ("failed", 1)])
def test_what_a_later_run_recorded_of_a_request_counts_in_its_night_and_names_that_run(
    shown, lost, found, failed, until
):
    recovered = outcome(planned(1), found, recovers="run-1")
    recovery = run(recovered, recovered=1, already_gone=0, failed=0)
    page = shown({2: lost, 1: deleted(5), 0: recovery}, until=until)
    assert nights(page, "Deleted", "Failed")[:2] == [("0", str(failed)), ("1", "0")]
    (row,) = [row for row in table(page, "deletions") if row["Night"] == "2026-11-23; run 1"]
    assert row["Outcome"].startswith(f"{found.replace('_', ' ')}; ")
    assert row["Outcome"].endswith("recovered by run 3")
    assert len(table(page, "deletions")) == 2  # shown once, in the night of its request


def test_a_killed_run_is_no_longer_unfinished_where_a_run_after_the_period_followed_it(shown):
    page = shown({2: killed(planned(1)), 0: run()}, until=NOW - DAY)
    assert page.headline.label == "Cut off"


def test_in_a_damaged_log_no_killed_run_is_shown_as_recovered(directory, shown):
    shown({2: deleted(7), 1: killed(*sent(1)), 0: run()})
    path = directory.files()[0].path
    path.write_bytes(path.read_bytes().replace(b"person-7", b"person-8", 1))
    page = shown({})
    assert page.headline.label == "Damaged audit log"
    assert nights(page, "Ended") == [("damaged",), ("unfinished",), ("done",)]
    # Both have no exit code, and the same mark.
    assert "! damaged ! unfinished" in Reader(render_html(page)).text


def test_a_killed_restore_that_the_next_one_recovered_is_shown_once(shown):
    start = {"mode": "restore", "start": {"restores": "run-0"}, **NOT_SEEN}
    recovered = outcome(planned(1), "unknown", recovers="run-1")
    page = shown({1: killed(intent(planned(1)), **start), 0: run(recovered, unknown=0, **start)})
    (row,) = table(page, "restored")
    assert row["Outcome"].startswith("unknown")
    assert row["Outcome"].endswith("recovered by run 2")


# One organization --------------------------------------------------------------------------------


def result_of(org_id, **counts):
    return OrganizationResult(id=org_id, name="Beta", plan_made=True, plan_complete=True, **counts)


def test_the_report_of_one_organization_has_its_counts_people_and_ends_alone(shown):
    theirs = deletion(9, "failed", org_id=OTHER_ORG)
    kept = [Kept.of(planned(n, org_id=o), reason="keep:b") for n, o in ((7, ORG), (8, OTHER_ORG))]
    results = (
        result_of(ORG, deleted=1, invitations_seen=5, kept_by_reason={"keep:b": 1}),
        result_of(OTHER_ORG, failed=1, invitations_seen=4, exit_code=4),
    )
    both = run(*deletion(1), *theirs, *kept, organizations=results, exit_code=4, **BOTH)
    page = shown({2: deleted(2), 1: both, 0: deleted(3)}, organization=ORG)
    assert figure(page, "Organization") == f"Acme ({ORG})"
    assert nights(page, "Deleted", "Failed") == [("1", "0")] * 3
    assert page.headline.label == "Nothing needs attention"
    assert len(table(page, "deletions")) == 3
    assert len(table(page, "kept-by")) == 1
    other = shown({}, organization=OTHER_ORG)
    assert other.title == "Invitation sweep, 2026-11-24"
    assert figure(other, "Organization") == f"Beta ({OTHER_ORG})"
    commands = [one.command for one in other.sections if one.table]
    assert all(f"--organization {OTHER_ORG}" in each for each in commands)
    assert other.headline.label == "Partly done"
    assert [row["Outcome"][:6] for row in table(other, "deletions")] == ["failed"]
    with pytest.raises(UsageError, match="that is about organization 0000"):
        shown({}, organization="0" * 24)


def test_of_a_killed_run_one_organization_has_what_a_later_run_recorded_of_it_there(shown):
    theirs = planned(9, org_id=OTHER_ORG)
    lines = (*deletion(1), *sent(2), *deletion(8, org_id=OTHER_ORG), theirs, intent(theirs))
    recovered = [outcome(one, "already_gone", recovers="run-1") for one in (planned(2), theirs)]
    recovery = run(*recovered, recovered=2, already_gone=0, deleted=0, **BOTH)
    page = shown({1: killed(*lines, **BOTH), 0: recovery}, organization=ORG)
    assert nights(page, "Deleted") == [("1",), ("0",)]
    rows = table(page, "deletions")
    assert sorted(row["Outcome"] for row in rows) == ["already gone; recovered by run 2", "deleted"]


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
    assert [row["Night"][-1] for row in rows[:4]] == ["3", "2", "1", "3"]
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
    assert "180 more: invite-sweeper" in markdown


def test_who_was_kept_by_an_entry_in_a_single_run_is_in_the_table_of_what_it_kept(shown):
    kept = Kept.of(planned(1), reason="keep:board")
    page = shown({0: run(kept, kept_by_reason={"keep:board": 1}, kept=1)})
    assert len(table(page, "kept")) == 1
    assert table(page, "kept-by") == []


def test_table_that_is_cut_has_the_newest_rows(shown, monkeypatch):
    monkeypatch.setattr("invite_sweeper.report.period.MAX_TABLE_ROWS", 2)
    starts = {ago: {"reason": f"OPS-{ago}", "policy_sha256": f"{ago:064}"} for ago in (3, 2, 1)}
    page = shown({days_ago: run(start=start) for days_ago, start in starts.items()})
    assert [row["Reason"] for row in table(page, "reasons")] == ["OPS-1", "OPS-2"]
    assert [row["Runs"] for row in table(page, "policies")] == ["3", "2"]


def test_policy_of_an_earlier_version_has_a_hash_and_no_text(shown):
    page = shown({0: run()})
    assert [row["SHA-256"] for row in table(page, "policies")] == ["a" * 64]
    assert not any(section.texts for section in page.sections)


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


PERIODS = """
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
"""


def test_a_period_is_shown_or_wrong_usage_as_it_was_reviewed(directory):
    """The date of --until is included; the calendar has edges."""
    write(run(), directory)
    text = ""
    for period in PERIODS.strip().splitlines():
        done = CliRunner().invoke(report, [str(directory.path), *period.split(), "--format", "md"])
        error = done.exception
        shown = f"shown: {'2026-11-25' in done.stdout}"
        if isinstance(error, UsageError):
            shown = f"{error.message} {error.hint} {error.command}"
        elif error is not None:
            shown = done.stderr.splitlines()[-1]
        text += f"{period}\n    {shown.strip()}\n".replace(str(directory.path), "AUDIT")
    assert_reviewed(text, Path(__file__).with_name("periods.txt"))


@pytest.mark.parametrize("now", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_forged_instant_of_a_run_does_not_move_the_period(directory, shown, now):
    write(deleted(1), directory)
    scene = deleted(2)
    start = structs.replace(scene.start, now=now)
    write_run(directory, "run-2", *scene.lines, start=start, end=scene.end)
    assert nights(shown({}), "Night", "Deleted") == [("2026-11-25", "1")]
    records = [read_whole_run(FileChain(file)) for file in directory.files()]
    listed = list_of_runs(records, NOW, None).sections[0].facts
    assert [row.label[0] for row in listed] == ["1", "2"]
