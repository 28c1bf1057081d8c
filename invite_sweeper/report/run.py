"""Runs as documents: the plan, the question and the result of one, and all of a directory."""

import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import structs

from invite_sweeper.audit import History, RunRecord
from invite_sweeper.audit.events import Announced, Planned, RunStarted, WouldBeAnnounced
from invite_sweeper.audit.reader import why_not_made
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import Advisor, GuardRefused
from invite_sweeper.json_text import parse_timestamp, rfc3339
from invite_sweeper.models import ListUnreadable
from invite_sweeper.outcomes import Outcome
from invite_sweeper.report.document import (
    Attention,
    Document,
    Fact,
    Section,
    describe_instant,
    with_content,
)
from invite_sweeper.report.nights import (
    night_run,
    recent_nights,
    silence_after,
    verdict_of,
)
from invite_sweeper.report.rows import (
    ANNOUNCED_CAPTION,
    KEPT_CAPTION,
    NO_OUTCOME,
    PEOPLE_AND_IDS,
    UNREAD,
    UNREAD_CAPTION,
    WOULD_BE_ANNOUNCED_CAPTION,
    Row,
    announced_rows,
    kept_rows,
    meanings_of,
    meanings_of_unread,
    organization_labels_of,
    planned_rows,
    rows_of,
    sorted_rows,
    unread_lists,
)
from invite_sweeper.report.story import advisor_of, last_hash_of, story_of
from invite_sweeper.report.table import Cell, Column, Table, display_text
from invite_sweeper.sweep.guards import why_expired, why_possibly_used, why_used
from invite_sweeper.text import pluralize, shorten_list

_MAX_ROWS: Final = 20
_MAX_NAMED: Final = 10
_AS_PLANNED: Final = frozenset({Outcome.DELETED, Outcome.RESTORED})


def result_of(
    run: RunRecord,
    advisor: Advisor,
    *,
    plan: Sequence[Fact] = (),
    differing_only: bool = False,
    shown_above: Collection[str] = (),
) -> Document:
    """Return the plan, what failed, what could not be read, and how the run went.

    Args:
        plan: How the plan is passed on; empty where there is none.
        differing_only: Of the plan, only what was not deleted: the question above has all of it.
        shown_above: Kinds of attention that the operator has read already.
    """
    rows = rows_of(run)
    if differing_only:
        rows = [row for row in rows if row.outcome not in _AS_PLANNED]
    document = _document_of(run, rows, advisor)
    attention = [each for each in document.attention if each.kind not in shown_above]
    closing = {fact.text for fact in plan}  # among them the path of the plan
    facts = [
        fact
        for fact in document.facts
        if not (fact.is_whole and _as_argument(fact.text) in closing)
    ]
    return document._replace(facts=tuple(facts), attention=tuple(attention), closing=tuple(plan))


def whole_run(run: RunRecord, closing: Iterable[Fact], advisor: Advisor) -> Document:
    """Return all that an earlier run planned, did and recorded as kept, and how it went."""
    document = _document_of(run, rows_of(run), advisor, max_rows=sys.maxsize)
    kept = Section.of(KEPT_CAPTION, "kept", PEOPLE_AND_IDS, kept_rows(run), max_rows=sys.maxsize)
    sections = with_content((kept, *document.sections))
    return document._replace(sections=sections, closing=tuple(closing))


def question_about(run: RunRecord, advisor: Advisor, until: datetime) -> Document:
    """Return the plan as it is on disk, and the question: how many are deleted, and where.

    Args:
        run: With its lines.
        until: When an answer is too late.
    """
    rows = rows_of(run)
    labels = organization_labels_of(run)
    organizations = sorted({labels.get(row.event.org_id, row.event.org_id) for row in rows})
    facts = [*story_of(run, advisor).facts]
    owners = sum(row.is_owner for row in rows)
    if owners:
        facts.append(Fact("Owners", f"{owners:,} of the stale invitations"))
    where = shorten_list(organizations, _MAX_NAMED)
    question = f"Delete {pluralize(len(rows), 'invitation')} in {where}?"
    remark = f"This cannot be undone. Answer by {describe_instant(rfc3339(until))}."
    facts += (Fact("", question, "strong"), Fact("", remark))
    plan = _plan(rows, advisor_of(run, advisor), _MAX_ROWS)
    return Document(facts=tuple(facts), sections=tuple(plan))


def what_needs_attention(run: RunRecord, advisor: Advisor) -> Document:
    """Return what needs attention besides errors, with the first places and people concerned.

    Errors are printed by themselves, and so are warnings as they come.
    """
    story = story_of(run, advisor)
    has_only_errors = all(attention.kind == "error" for attention in story.attention)
    if has_only_errors and run.exit_code != ExitCode.PARTIAL:
        return Document()
    reasons = (each for each in story.attention if each.kind == "reason")
    return story._replace(attention=(*reasons, *_unread(run), *_people_in_doubt(run)))


def _unread(run: RunRecord) -> Iterator[Attention]:
    """Yield the first lists that could not be read."""
    for unread in unread_lists(run)[:_MAX_NAMED]:
        yield Attention(UNREAD_CAPTION, (unread.sentence,))


def _people_in_doubt(run: RunRecord) -> Iterator[Attention]:
    """Yield the first people whose deletion or invitation failed, or had no answer."""
    in_doubt = sorted_rows(row for row in rows_of(run) if row.has_failed)
    for row in in_doubt[:_MAX_NAMED]:
        yield Attention(row.person_in_place, (f"{row.outcome}, {row.detail}",))


# The parts of a run ------------------------------------------------------------------------------


def _document_of(
    run: RunRecord, rows: Sequence[Row], advisor: Advisor, max_rows: int = _MAX_ROWS
) -> Document:
    """Return the plan with its outcomes, who was announced, what was not read, and the story.

    Args:
        rows: Of the plan.
    """
    about = advisor_of(run, advisor)
    story = story_of(run, advisor)
    sections = with_content(
        (
            *_plan(rows, about, max_rows),
            _announced(run, about, max_rows),
            unread_section(run, about, max_rows),
            *story.sections,
        )
    )
    file = Fact("Audit", str(run.file.path), is_whole=True)
    return story._replace(
        facts=(*story.facts, file, *last_hash_of(run)), sections=with_content(sections)
    )


def _plan(rows: Sequence[Row], about: Advisor, max_rows: int) -> Iterator[Section]:
    """Yield the first rows of the plan, and what the outcomes in them mean."""
    first = sorted_rows(rows)
    if first:
        table = Section.of("", "plan", PEOPLE_AND_IDS, first, about.list_run(), max_rows)
        yield table._replace(facts=meanings_of(first[:max_rows]))


def _announced(run: RunRecord, about: Advisor, max_rows: int) -> Section:
    """Return the first that are announced."""
    caption = ANNOUNCED_CAPTION
    event = Announced.event
    if run.mode == "dry-run":
        caption = WOULD_BE_ANNOUNCED_CAPTION
        event = WouldBeAnnounced.event
    command = about.list_run("--event", event)
    rows = announced_rows(run)
    return Section.of(caption, "announced", PEOPLE_AND_IDS, rows, command, max_rows)


def unread_section(run: RunRecord, about: Advisor, max_rows: int) -> Section:
    """Return the first lists that were not read."""
    lists = unread_lists(run)
    command = about.list_run("--event", ListUnreadable.event)
    table = Section.of(UNREAD_CAPTION, "unread", UNREAD, lists, command, max_rows)
    return table._replace(style="warning", facts=meanings_of_unread(lists[:max_rows]))


class PlanToApply(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that `sweep --plan` accepts.

    Attributes:
        file: The copy of `--out`, else the file of the run.
        sha256: Of the file before it was compressed, 64 hex digits: `--plan-sha256`.
        valid_until: The last instant at which a sweep takes it, RFC 3339.
    """

    file: str
    sha256: str
    valid_until: str


def plan_to_apply(
    run: RunRecord,
    history: History | None,
    *,
    max_age: timedelta,
    now: datetime,
) -> PlanToApply:
    """Return what a second person needs of the plan of a dry run.

    Whether a policy still fits is not asked: the plan may be applied elsewhere.

    Args:
        run: The dry run, as its file has it, or a copy of that.
        history: That of the audit directory in which the plan may have been used; None if it is not
            known.
        max_age: How long a plan is valid.

    Raises:
        GuardRefused: It cannot be applied, by any policy.
    """
    created_at = parse_timestamp(run.start.now)
    refusal = why_not_made(run) or why_expired(run.start, max_age=max_age, now=now)
    if not refusal and history is not None:
        refusal = why_used(run.sha256, history) or why_possibly_used(created_at, history)
    if refusal or created_at is None:  # a plan without an instant has expired
        raise GuardRefused(refusal)
    valid_until = rfc3339(created_at + max_age)
    return PlanToApply(file=str(run.file.path), sha256=run.sha256, valid_until=valid_until)


def lines_to_pass_on(
    plan: PlanToApply, record: RunRecord, advisor: Advisor, *more: str
) -> Iterator[Fact]:
    """Yield what `plan` ends with: the plan, and the commands that read and apply it.

    The commands name the run by its number, a copy of `--out` by its path.

    Args:
        more: Further options of the sweep that applies it.
    """
    file = _as_argument(plan.file)
    named = str(record.file.number)
    read = advisor_of(record, advisor).list_run()
    if plan.file != str(record.file.path):
        named = file
        read = advisor.read_plan(file)
    yield Fact("Plan", file)
    yield Fact("SHA-256", plan.sha256)
    yield Fact("Valid until", describe_instant(plan.valid_until))
    yield Fact("To read it", read)
    yield Fact("To apply it", advisor.apply_plan(named, plan.sha256, *more))


def lines_to_approve(start: RunStarted, plan: PlanToApply) -> Iterator[Fact]:
    """Yield what `audit show` ends with: the policy, until when it is valid, its SHA-256."""
    policy = f"{display_text(start.policy_path)}, whose SHA-256 is {start.policy_sha256}"
    yield Fact("Made with", policy)
    yield Fact("Valid until", describe_instant(plan.valid_until))
    yield Fact("SHA-256", plan.sha256)


def _as_argument(path: str) -> str:
    """Return a path as no command takes it for an option, or for the number or id of a run."""
    is_ambiguous = path[0] == "-" or path[0].isdecimal()
    return f"./{path}" if is_ambiguous else path


# The runs of a directory -----------------------------------------------------------------------


def list_of_runs(records: Iterable[RunRecord], now: datetime) -> Document:
    """Return a row for each run, and the verdict of the last nights."""
    runs = tuple(records)  # which killed run was recovered is known once all files are read
    verdict = Fact("", "")
    nights = recent_nights([night_run(run) for run in runs], now)
    if len(nights) > 1:
        newest = story_of(runs[-1], Advisor())
        attention = (*newest.attention, *silence_after(nights, Advisor()))
        verdict = verdict_of(nights, newest, attention)
    return Document(verdict, sections=(Section(table=Table.of("runs", _RUNS, runs)),))


def _notes_of(record: RunRecord) -> str:
    """Return why a run failed, and the reason that was given for it."""
    notes = []
    if record.end is not None and record.end.error is not None:
        notes.append(record.end.error["message"].split("\n")[0])
    if record.start.reason is not None:
        notes.append(record.start.reason)
    return "; ".join(notes)


def _ending_of(record: RunRecord) -> Cell:
    headline = story_of(record, Advisor()).headline
    return Cell(f"{headline.label}: {headline.text}", headline.style)


_RUNS: Final[tuple[Column[RunRecord], ...]] = (
    Column("When", lambda record: describe_instant(record.start.now), "date"),
    Column("Run", lambda record: str(record.file.number), "number"),
    Column(
        "Mode", lambda record: record.mode or "run"
    ),  # one that was killed before its first line
    Column("Reason", _notes_of),
    Column("Outcome", _ending_of, "state"),
)


# The result as JSON ------------------------------------------------------------------------------

MAX_PLANNED: Final = 10_000
"""Planned invitations that the JSON result contains; the audit log has all."""


class PlannedResult(Planned, frozen=True, kw_only=True):
    """A planned invitation, and what became of it.

    Attributes:
        outcome: Only after a sweep.
    """

    outcome: str | None = None


def result_json(run: RunRecord, plan: PlanToApply | None = None) -> dict[str, Any]:
    """Return what `--output json` prints of a run that has ended: its first and its last line.

    With them are its file and the hash of the last line, to be kept elsewhere, the first planned
    invitations, whether there are more or the file could not be read, and the plan.

    Args:
        plan: Of a dry run, if a sweep can apply it.
    """
    assert run.end is not None  # noqa: S101 - it has ended
    planned = planned_rows(run)
    has_file = run.file.number > 0  # a command that began no run has none
    is_cut = has_file and not run.is_whole
    end = structs.asdict(run.end)
    return {
        **end,
        "run_id": run.run_id,
        **structs.asdict(run.start),
        "organizations": end["organizations"],  # the first line has their ids alone
        "audit_file": str(run.file.path),
        "audit_last_hash": run.last_hash,
        "invitations": [planned_result(row) for row in planned[:MAX_PLANNED]],
        "truncated": len(planned) > MAX_PLANNED or is_cut,
        "plan": plan,
    }


def planned_result(row: Row) -> PlannedResult:
    """Return a planned invitation, and what became of it."""
    is_known = row.outcome not in {"", NO_OUTCOME}
    outcome = row.outcome if is_known else None
    return row.event.as_event(PlannedResult, rule=row.reason, outcome=outcome)
