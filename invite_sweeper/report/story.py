"""The story of a run: headline, lines, and what needs attention with the exact command.

Terminal, page, Markdown, Slack, webhook, `-q` and the question print it, and have no sentences of
their own about how a run went. Everything comes from the first and the last line of the run's
file; the story of a killed run, which has no last line, comes from its lines.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import structs

from invite_sweeper.audit.events import OrganizationResult, RunFinished
from invite_sweeper.audit.record import Recovered, RunRecord
from invite_sweeper.endings import (
    CUT_OFF_CAUSE,
    UNFINISHED_ADVICE,
    ExitCode,
    Reason,
    Status,
    Style,
    WarningCode,
    WarningLevel,
    known_reasons,
)
from invite_sweeper.errors import Advisor, ErrorParts, hint_of, with_organizations
from invite_sweeper.models import Source
from invite_sweeper.outcomes import Counts
from invite_sweeper.report.document import Attention, Document, Fact, Section, describe_instant
from invite_sweeper.report.rows import organization_labels_of
from invite_sweeper.sweep.selection import describe_keep_reason
from invite_sweeper.text import (
    Hint,
    escape_unprintable,
    plural_form,
    pluralize,
    shorten_list,
    upper_first,
)


def story_of(run: RunRecord, advisor: Advisor) -> Document:
    """Return the story of a run."""
    end = run.end
    if end is None:
        return _story_of_killed(run, advisor)
    return Document(
        headline=_headline_of_ended(run, end),
        facts=tuple(run_lines(run, end)),
        sections=tuple(_organizations(run.mode, end)),
        attention=tuple(_attention(end, advisor_of(run, advisor))),
        remarks=tuple(_remarks(end)),
    )


def _remarks(end: RunFinished) -> Iterator[str]:
    for warning in end.warnings:
        has_line = warning.code == WarningCode.NOTICE
        if warning.level == WarningLevel.REMARK and not has_line:
            yield escape_unprintable(warning.message)


def advisor_of(run: RunRecord, advisor: Advisor) -> Advisor:
    """Return what makes exact commands about a run, from that of the session."""
    return advisor._replace(
        run=run.file.label,
        policy=advisor.policy or run.start.policy_path or "",  # the session's, else the run's
    )


# A run without an end ----------------------------------------------------------------------------


def run_without_end(words: Sequence[str], advisor: Advisor) -> Attention:
    """Return what to do about a run that did not end; `words` are those of its command."""
    hint = Hint(UNFINISHED_ADVICE, advisor.again(words))
    return Attention("A run did not end", hint=hint)


def _story_of_killed(run: RunRecord, advisor: Advisor) -> Document:
    """Return the story of a run without an end: from its lines, and a run that recovered it."""
    outcomes = describe_outcomes(run.mode, run.outcomes)
    left = run.planned - run.outcomes.total()
    of_plan = f"{left:,} of {run.planned:,} planned"
    rest = "it has no last line"
    if run.recovered is not None:
        rest = describe_recovery(run.recovered)
        if run.mode == "sweep" and left > 0:
            rest += f"; {of_plan} were not sent"
        elif not outcomes:
            rest += "; nothing was sent"
    elif run.mode == "dry-run":
        rest = f"{run.planned:,} planned so far"
    elif run.mode == "restore" and run.open_requests:
        rest = f"{pluralize(run.open_requests, 'invitation')} sent without an outcome"
    elif left > 0:
        # `audit verify` counts those that may have been sent.
        count = f"{run.open_requests:,}" if run.open_requests else "none"
        rest = f"{of_plan} without an outcome ({count} of them may have been sent)"
    return Document(
        headline=_headline(run, f"{outcomes}, {rest}" if outcomes else rest),
        facts=tuple(which_run(run)),
        attention=() if run.recovered is not None else (run_without_end(run.start.again, advisor),),
    )


def describe_recovery(run: Recovered) -> str:
    """Return which run recorded what a run left that was killed, or why nothing was left."""
    return f"recovered by run {run.by}" if run.by is not None else CUT_OFF_CAUSE


# The headline ------------------------------------------------------------------------------------


def _headline_of_ended(run: RunRecord, end: RunFinished) -> Fact:
    """Return how a run ended, what it did, and in which organization or how many."""
    status = run.status
    organizations = end.organizations
    label = status.label
    if Reason.CIRCUIT_BREAKER in end.reasons:  # after this stop, the rest is not done
        label = Reason.CIRCUIT_BREAKER.label.capitalize()
    elif run.mode == "dry-run" and status is Status.REFUSED:
        label = "a sweep would be refused"
    done = _done(run.mode, end, status)
    failed = sum(organization.error is not None for organization in organizations)
    if 0 < failed < len(organizations):  # the error of all is that of the run
        done += f"; {failed:,} of {len(organizations):,} organizations failed"
    if run.start.shards_used is not None and end.error is None:
        used = pluralize(run.start.shards_used, "shard")
        done = f"the shard {run.start.shard} has no organization; {used} would be used"
    return _headline(run, done, label)


def _headline(run: RunRecord, done: str, label: str = "") -> Fact:
    """Return a headline; the mode is in its label where it is not a sweep.

    Args:
        label: If it is not that of the status.
    """
    status = run.status
    label = label or status.label
    organizations = organization_labels_of(run).values()
    if run.mode == "dry-run":
        label = "Dry run" if status is Status.DONE else f"Dry run: {label.lower()}"
    elif run.mode == "restore":
        label = f"Restore: {label.lower()}"
    where = "".join(organizations)
    if len(organizations) > 1:
        where = pluralize(len(organizations), "organization")
    text = f"{done} · {where}" if where else done
    return Fact(label, escape_unprintable(text), status.style)


def _done(mode: str | None, end: RunFinished, status: Status) -> str:
    """Return what a run did; after a dry run, what a sweep would do."""
    if mode == "restore":
        return describe_outcomes(mode, end) or "no one was invited"
    is_plan = mode == "dry-run"
    would = "would be " if is_plan else ""
    is_refused = status is Status.REFUSED
    deleted = "" if is_plan else describe_outcomes(mode, end)
    if is_plan and end.due:
        verb = "are stale" if is_refused else "would be deleted"
        deleted = f"{pluralize(end.due, 'invitation')} {verb}"
    parts = [deleted] if deleted else []
    if end.trimmed:
        if not deleted:
            parts.append(f"nothing {would or 'was '}deleted now")
        parts.append(f"{end.trimmed:,} stale wait for a limit")
    elif not deleted and (is_plan or not end.announced):
        parts.append(_nothing_done(end, is_plan=is_plan))
    if end.announced:
        parts.append(f"{end.announced:,} {would}announced")
    if is_plan and end.due:
        parts.append("none was deleted" if is_refused else "none was")
    return ", ".join(parts)


def _nothing_done(end: RunFinished, *, is_plan: bool) -> str:
    """Return why nothing is deleted: what is announced is stale, and waits."""
    if is_plan and not end.plan_made:
        return NO_PLAN
    if not is_plan and (not end.plan_made or end.stale):
        return "nothing was deleted"
    return "nothing due" if end.waiting else "nothing stale"


# Organizations, and what needs attention ---------------------------------------------------------


def _organizations(mode: str | None, end: RunFinished) -> Iterator[Section]:
    """Yield how each of several organizations ended, and its counts."""
    if len(end.organizations) < 2:  # noqa: PLR2004 - the headline has that of one
        return
    facts = []
    # An error that all share is that of the run, and its cause is shown there.
    is_shared = all(organization.error == end.error for organization in end.organizations)
    for organization in end.organizations:
        status = ExitCode(organization.exit_code).status
        ending = status.label
        if mode == "dry-run" and organization.error is None:
            ending = "Dry run"
        text = _counts_of(organization, mode)
        if organization.error is not None and not is_shared:
            cause = organization.error["message"].rstrip(".")
            text = f"{text}; {cause}" if organization.plan_made else cause
        label = escape_unprintable(organization.label)
        facts.append(Fact(label, escape_unprintable(f"{ending}: {text}"), status.style))
    yield Section("Organizations", tuple(facts), total=len(facts))


def _counts_of(organization: OrganizationResult, mode: str | None) -> str:
    if mode == "restore":
        return describe_outcomes(mode, organization) or "no one was invited"
    if not organization.plan_made:
        return NO_PLAN
    seen = pluralize(organization.invitations_seen, "invitation")
    projects = pluralize(organization.projects_seen, "project")
    parts = [f"{seen} in {projects}", f"{organization.stale:,} stale"]
    outcomes = describe_outcomes(mode, organization)
    if outcomes:
        parts.append(outcomes)
    unread = organization.kept_by_reason.get("list_unread", 0)
    if unread:  # of what is kept, what a change of the policy or the credentials may free
        parts.append(f"{unread:,} kept: {describe_keep_reason('list_unread')}")
    return ", ".join(parts)


def _attention(end: RunFinished, advisor: Advisor) -> Iterator[Attention]:
    """Yield what needs attention: the end of the run, people, then urgent warnings."""
    hints = advisor.advise(end.reasons)  # without those that another one makes needless
    for error in errors_of(end):
        yield _attention_to_error(error, end, hints)
    partial_reasons = [
        reason for reason in known_reasons(end.reasons) if reason.exit_code is ExitCode.PARTIAL
    ]
    for reason in partial_reasons:
        yield _attention_to_reason(reason, end, hints.get(reason, Hint()))
    for warning in end.warnings:
        # A warning whose code is that of a reason is shown below the reason.
        if warning.level != WarningLevel.REMARK and warning.code not in partial_reasons:
            title = "Urgent" if warning.level == WarningLevel.URGENT else "The run warned"
            yield Attention(title, (escape_unprintable(warning.message),), kind="warning")


def _attention_to_error(
    error: ErrorParts, end: RunFinished, hints: Mapping[Reason, Hint]
) -> Attention:
    """Return an error with its advice, else that of the first reason for its code, or the code's.

    Args:
        hints: What to do about the reasons, the most urgent first.
    """
    code = ExitCode(end.exit_code)
    sentences = [*error["message"].split("\n"), error["consequence"]]
    messages = tuple(escape_unprintable(sentence) for sentence in sentences if sentence)
    hint = hint_of(error)
    if not hint.text:
        of_code = (known for reason, known in hints.items() if reason.exit_code is code)
        hint = next(of_code, Hint(code.advice))
    return Attention(f"Exit code {end.exit_code}: {code.label}", messages, hint, "error")


def _attention_to_reason(reason: Reason, end: RunFinished, hint: Hint) -> Attention:
    """Return why a run did not do everything, with how many it concerns and what warnings add."""
    title = upper_first(reason.label)
    counts = _counts_by_reason(end)
    if reason in counts:
        title += f" ({counts[reason]})"
    messages = tuple(
        escape_unprintable(warning.message) for warning in end.warnings if warning.code == reason
    )
    return Attention(title, messages, hint)


def _counts_by_reason(end: RunFinished) -> Mapping[Reason, str]:
    """Return how many a reason concerns, for those that concern some."""
    return {
        Reason.MISSING_ROLE: pluralize(end.missing_role, "request"),
        Reason.UNREADABLE_PROJECTS: pluralize(end.projects_unreadable, "list"),
        Reason.FAILED_DELETIONS: pluralize(end.failed, "deletion"),
        Reason.UNKNOWN_DELETIONS: pluralize(end.unknown, "deletion"),
        Reason.MADE_ACTIVE: pluralize(end.active, "membership"),
    }


def errors_of(end: RunFinished) -> Iterator[ErrorParts]:
    """Yield each error that stopped a run or an organization, once.

    Organizations that failed for the same cause, with the same advice, share one error.
    """
    errors = [
        organization.error for organization in end.organizations if organization.error is not None
    ]
    if end.error is not None and end.error not in errors:
        errors.insert(0, end.error)
    by_cause: dict[tuple[str, str, str], list[ErrorParts]] = {}
    for error in errors:
        cause = (error["message"], error["consequence"], error["hint"])
        by_cause.setdefault(cause, []).append(error)
    for alike in by_cause.values():
        labels = [error["organization"] for error in alike if error.get("organization")]
        parts = alike[0].copy()
        parts["message"] = with_organizations(parts["message"], labels)
        parts.pop("organization", None)
        yield parts


_MAX_RUNS: Final = 3


def run_lines(run: RunRecord, end: RunFinished) -> Iterator[Fact]:
    """Yield what a run saw and did.

    Args:
        end: The last line of the run.
    """
    if run.mode != "restore":
        yield from _decision_lines(end)
    if end.recovered:
        deletions = pluralize(end.recovered, "deletion")
        text = f"{deletions} that an earlier run left without an outcome or an answer"
        yield Fact("Recovered", text)
    if end.sources_retired:
        lists = ", ".join(map(escape_unprintable, end.sources_retired))
        style: Style = "bad" if Reason.RETIRED_SOURCE in end.reasons else "plain"
        yield Fact("Retired", f"Atlas no longer serves these lists: {lists}", style)
    yield from which_run(run)


def which_run(run: RunRecord) -> Iterator[Fact]:
    """Yield which run it was, what it is based on, and why or for whom the operator started it."""
    start = run.start
    parts = [run.file.label, describe_instant(start.now)]
    if start.plan_sha256 is not None:
        parts.append(f"applies the plan with the SHA-256 {start.plan_sha256}")
    if start.restored_runs:
        noun = plural_form(len(start.restored_runs), "run", "runs")
        parts.append(f"undoes {noun} {shorten_list(start.restored_runs, _MAX_RUNS)}")
    yield Fact("Run", ", ".join(parts))
    if start.projects:
        only = ", ".join(map(escape_unprintable, start.projects))
        yield Fact("Projects", f"only {only}")
    if start.reason is not None:
        yield Fact("Reason", escape_unprintable(start.reason))


def last_hash_of(run: RunRecord) -> Iterator[Fact]:
    """Yield the last hash of a run's file, the evidence of what was done."""
    if run.last_hash and run.mode != "dry-run":  # it is not the SHA-256 of a plan
        yield Fact("Last hash", run.last_hash, "note", is_whole=True)


def _decision_lines(end: RunFinished) -> Iterator[Fact]:
    """Yield what a sweep or dry run read, and what the policy decides about it."""
    yield Fact("Seen", _seen(end))
    yield Fact("Stale", describe_stale(end))
    soon = end.forecast
    if soon is not None:
        text = f"{soon.stale_within_7d:,} more become stale within 7 days"
        yield Fact("Forecast", f"{text}, {soon.stale_within_30d:,} within 30")
    if end.kept:
        yield Fact("Kept", _kept(end))
    for warning in end.warnings:
        if warning.code == WarningCode.NOTICE:
            yield Fact("Notice", escape_unprintable(warning.message))


def _seen(end: RunFinished) -> str:
    """Return how many invitations a run saw and where, and what it could not read."""
    invitations = pluralize(end.invitations_seen, "invitation")
    projects = pluralize(end.projects_seen, "project")
    if not end.plan_made and not end.projects_seen and not end.invitations_seen:
        return "nothing: no list was read"
    if not end.plan_made:
        return f"{invitations}; the lists of {projects} were not all read"
    where = projects
    sources = map(Source, end.invitations_by_source)
    if any(source.is_organization_level for source in sources):
        read = sum(organization.plan_made for organization in end.organizations)
        where += f" and {pluralize(read, 'organization')}"
    parts = [f"{invitations} in {where}"]
    if end.projects_unreadable:
        parts.append(f"{pluralize(end.projects_unreadable, 'list')} not read")
    if end.projects_gone:
        parts.append(f"{pluralize(end.projects_gone, 'project')} deleted since it was listed")
    return ", ".join(parts)


NO_PLAN: Final = "no plan was made"
"""What a run that ended before its plan has done; its error says why."""


def describe_stale(end: RunFinished) -> str:
    """Return how many are stale, and where some wait, how many go when.

    Each number has a name, and so has the limit that binds: "186: 10 now, 176 later
    (max_deletions: about 2 nights; earlier runs used 90 of 100)", or with a notice
    "145: 12 due, 93 wait for their notice, 40 later (…)".
    """
    if not end.stale:
        return "none" if end.plan_made else f"unknown: {NO_PLAN}"
    if not end.plan_made:
        return f"{end.stale:,}; {NO_PLAN}"
    parts = [f"{end.due:,} {'due' if end.waiting else 'now'}"]
    if end.waiting:
        waits = plural_form(end.waiting, "waits for its", "wait for their")
        parts.append(f"{end.waiting:,} {waits} notice")
    if end.trimmed:
        parts.append(f"{end.trimmed:,} later ({_why_later(end)})")
    return f"{end.stale:,}: {', '.join(parts)}" if len(parts) > 1 else f"{end.stale:,}"


def _why_later(end: RunFinished) -> str:
    """Return the limit that leaves some for later, for how long, and what is used of it."""
    why = "a limit never lets all of them go"
    if end.nights_left is not None:
        why = f"about {pluralize(end.nights_left, 'night')}"
    if end.limited_by is not None:
        why = f"{escape_unprintable(end.limited_by)}: {why}"
    if end.limit_used:
        why += f"; earlier runs used {end.limit_used:,} of {end.limit_most:,}"
    return why


def _kept(end: RunFinished) -> str:
    """Return how many are kept and why, the most frequent reason first."""
    counts = sorted(end.kept_by_reason.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{count:,} {describe_keep_reason(reason)}" for reason, count in counts]
    return f"{end.kept:,}: {', '.join(parts)}"


_DELETIONS: Final[Mapping[str, str]] = {
    "deleted": "deleted",
    "already_gone": "already gone",
    "changed": "changed since the list was read, nothing sent",
    "accepted_before": "accepted before the deletion, nothing sent",
    "failed": "failed",
    "unknown": "without a response",
    "skipped": "skipped",
}
"""The words behind the number of each outcome, in the order in which they are shown."""
_INVITATIONS: Final[Mapping[str, str]] = {
    "restored": "invitation{s} sent again",
    "active": "active membership{s} at once",
    "already_there": "there already",
    "failed": "failed",
    "unknown": "without a response",
    "skipped": "skipped",
}
"""The same of a restore; a person may have several invitations."""


def describe_outcomes(mode: str | None, counts: Counts | Mapping[str, int]) -> str:
    """Return what became of the requests of a run, and who stays invited; empty without one.

    Args:
        counts: By outcome; those of a killed run are in its lines.
    """
    by_outcome = structs.asdict(counts) if isinstance(counts, Counts) else counts
    still_invited = by_outcome.get("still_invited", 0)
    words = dict(_INVITATIONS if mode == "restore" else _DELETIONS)
    if still_invited:
        words["deleted"] = "deleted from their projects"
    parts = []
    for outcome, did in words.items():
        count = by_outcome.get(outcome, 0)
        if count:
            parts.append(f"{count:,} {did.format(s='s' if count > 1 else '')}")
    text = ", ".join(parts)
    if not still_invited:
        return text
    stay = plural_form(still_invited, "stays", "stay")
    return f"{text}; {still_invited:,} {stay} invited to the organization"
