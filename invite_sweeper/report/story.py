"""How a run went, told once: headline, lines, and what needs attention with the exact command.

Terminal, page, Markdown, Slack, webhook, `-q` and the question print these, and have no sentences
of their own about how a run went. Everything comes from the first and the last line of the run's
file; a killed run, which has no last line, is told from what its lines say.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal, NamedTuple

from msgspec import structs

from invite_sweeper.audit import Verdict, Verification
from invite_sweeper.audit.events import Forecast, OrganizationResult, PlanChanges, RunFinished
from invite_sweeper.audit.intents import Recovered, Unfinished
from invite_sweeper.audit.record import RunRecord
from invite_sweeper.counts import Counts
from invite_sweeper.endings import (
    DAMAGED_ADVICE,
    UNFINISHED_ADVICE,
    UNFINISHED_PLAN_ADVICE,
    Advisor,
    ExitCode,
    Reason,
    Status,
    Style,
    WarningCode,
    WarningLevel,
    known_reasons,
    status_of,
)
from invite_sweeper.errors import ErrorParts, of_organizations
from invite_sweeper.models import Source, parse_timestamp
from invite_sweeper.redaction import SECRETS
from invite_sweeper.sweep.selection import describe_keep_reason
from invite_sweeper.text import (
    describe_duration,
    escape_unprintable,
    plural_form,
    pluralize,
    shorten_list,
    truncate,
)

_NOT_ALL_READ: Final = "the lists were not all read"
_LONG_S: Final = 120
_MAX_RUNS: Final = 3
_OUTCOMES: Final[tuple[tuple[str, str], ...]] = (
    ("deleted", "deleted"),
    ("already_gone", "already gone"),
    ("changed", "changed since the list was read, nothing sent"),
    ("accepted_before", "accepted before the deletion, nothing sent"),
    ("accepted_during", "accepted during the deletion and removed"),
    ("failed", "failed"),
    ("unknown", "without a response"),
    ("skipped", "skipped"),
)
"""Outcomes as counts in words."""
_RESTORED: Final[tuple[tuple[str, str, str], ...]] = (
    ("restored", "invitation sent again", "invitations sent again"),
    ("active", "active membership at once", "active memberships at once"),
    ("already_there", "there already", "there already"),
    ("failed", "failed", "failed"),
    ("unknown", "without a response", "without a response"),
    ("skipped", "skipped", "skipped"),
)
"""Outcomes of a restore: a person may have several invitations."""


class StoryLine(NamedTuple):
    """One line: a label, a text, and the role of the label's colour."""

    label: str
    text: str
    style: Style = "plain"


class Attention(NamedTuple):
    """What needs attention.

    Attributes:
        messages: What happened, a sentence each.
        advice: What to do, with the exact command; empty if nothing.
        kind: An error and a warning are on stderr by themselves; a reason only says why the run
            did not do everything.
    """

    title: str
    messages: tuple[str, ...]
    advice: str = ""
    kind: Literal["error", "warning", "reason"] = "reason"

    @property
    def text(self) -> str:
        """The title with the messages, a line each."""
        if not self.messages:
            return f"{self.title}."
        return "\n".join((f"{self.title}: {self.messages[0]}", *self.messages[1:]))


class Story(NamedTuple):
    """How a run went.

    Attributes:
        headline: The status, what was done or would be, and where.
        lines: What it saw and did.
        organizations: A line for each of several organizations.
        attention: The most urgent first; empty if nothing needs attention.
        remarks: Sentences about the policy and the setup that need none.
    """

    headline: StoryLine
    lines: tuple[StoryLine, ...]
    organizations: tuple[StoryLine, ...]
    attention: tuple[Attention, ...]
    remarks: tuple[str, ...] = ()


def tell(run: RunRecord, advisor: Advisor) -> Story:
    """Return the story of a run."""
    end = run.end
    if end is None:
        return _tell_killed(run)
    label, done = _how(run.mode, end)
    if run.start.shards_used is not None and end.error is None:
        used = pluralize(run.start.shards_used, "shard")
        done = f"the shard {run.start.shard} has no organization; {used} would be used"
    organizations = [organization.label for organization in end.organizations]
    return Story(
        headline=_headline(run, label, done, organizations),
        lines=tuple(_lines(run, end)),
        organizations=tuple(_organizations(run.mode, end)),
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
        run=str(run.file.number or run.run_id),
        policy=advisor.policy or run.start.policy_path or "",
        removed=run.end.removed_members if run.end is not None else (),
    )


def _tell_killed(run: RunRecord) -> Story:
    """Tell a run without an end, from what its lines say, and a later run that recovered it."""
    if run.mode == "restore":
        done = _restored(run.outcomes)
    else:
        counts = [(run.outcomes[name], text) for name, text in _OUTCOMES]
        done = ", ".join(f"{count:,} {text}" for count, text in counts if count)
    parts = [done] if done else []
    if run.recovered is not None:
        parts.append(_recovered_by(run.recovered))
        headline = _headline(run, Status.RECOVERED.label, ", ".join(parts), run.start.organizations)
        headline = headline._replace(style=Status.RECOVERED.style)
        return Story(headline, (StoryLine("Run", _run_line(run)),), (), ())
    messages = ["The run has no last line: it is still running, or it was killed."]
    if run.open_invitations:
        invitations = pluralize(run.open_invitations, "invitation")
        parts.append(f"{invitations} sent without an outcome")
        messages.append(f"Without an outcome: {invitations}.")
    advice = UNFINISHED_ADVICE
    left = run.planned - run.outcomes.total()
    if run.mode == "dry-run":
        advice = UNFINISHED_PLAN_ADVICE
        parts.append(f"{run.planned:,} planned so far")
    elif left > 0:
        parts.append(f"{left:,} of {run.planned:,} planned without an outcome")
        messages.append(f"Without an outcome: {pluralize(left, 'planned deletion')}.")
    done = ", ".join(parts) or "it has no last line"
    attention = Attention("The run has no end", tuple(messages), advice)
    return Story(
        headline=_headline(run, Status.UNFINISHED.label, done, run.start.organizations),
        lines=tuple(_which_run(run)),
        organizations=(),
        attention=(attention,),
    )


def _headline(run: RunRecord, label: str, done: str, organizations: Sequence[str]) -> StoryLine:
    """Return how a run ended, what it did, and the only organization or how many there are."""
    status = status_of(run.exit_code)
    if run.mode == "dry-run":
        label = "Dry run" if status is Status.DONE else f"Dry run: {label.lower()}"
    elif run.mode == "restore":
        label = f"Restore: {label.lower()}"
    where = "".join(organizations)
    if len(organizations) > 1:
        where = pluralize(len(organizations), "organization")
    text = f"{done} · {where}" if where else done
    return StoryLine(label, escape_unprintable(text), status.style)


def _which_run(run: RunRecord) -> Iterator[StoryLine]:
    """Yield which run it was, and why or for whom the operator started it."""
    yield StoryLine("Run", _run_line(run))
    if run.start.reason is not None:
        yield StoryLine("Reason", escape_unprintable(run.start.reason))


def _run_line(run: RunRecord) -> str:
    """Return the number, id and instant of a run, and which runs or plan it goes back to."""
    start = run.start
    parts = [f"{run.file.number}"] if run.file.number else []
    parts += [run.run_id, describe_instant(start.now)]
    if start.plan_sha256 is not None:
        parts.append(f"of the plan {start.plan_sha256}")
    if start.restored_runs:
        parts.append(f"undoes {shorten_list(start.restored_runs, _MAX_RUNS)}")
    return ", ".join(parts)


def _how(mode: str | None, end: RunFinished) -> tuple[str, str]:
    """Return how a run ended, as a label, and what it did."""
    status = status_of(end.exit_code)
    label = status.label
    done = _done(mode, end, status)
    if Reason.CIRCUIT_BREAKER in end.reasons:  # after this stop, the rest is not done
        label = Reason.CIRCUIT_BREAKER.label.capitalize()
    elif mode == "dry-run" and status is Status.REFUSED:
        label = "a sweep would be refused"
    failed = sum(organization.error is not None for organization in end.organizations)
    if failed not in {0, len(end.organizations)}:
        done += f"; {failed:,} of {len(end.organizations):,} organizations failed"
    return label, done


def _done(mode: str | None, end: RunFinished, status: Status) -> str:
    if mode == "restore":
        return _restored(structs.asdict(end)) or "no one was invited"
    if mode == "dry-run":
        return _would_be_done(end, is_refused=status is Status.REFUSED)
    parts = []
    deleted = _join_outcomes(end)
    if deleted:
        parts.append(deleted)
    elif end.trimmed:
        parts.append("nothing was deleted now")
    parts += _waits_for_limit(end)
    if end.announced:
        parts.append(f"{end.announced:,} announced")
    if parts:
        return ", ".join(parts)
    is_idle = end.plan_made and not end.stale and not _has_pending_notice(end)
    return "nothing stale" if is_idle else "nothing was deleted"


def _would_be_done(end: RunFinished, *, is_refused: bool) -> str:
    """Return what a sweep would do, after a dry run.

    Args:
        is_refused: A guard would refuse the sweep.
    """
    parts = []
    if end.planned:
        verb = "are stale" if is_refused else "would be deleted"
        parts.append(f"{pluralize(end.planned, 'invitation')} {verb}")
    elif end.trimmed:
        parts.append("nothing would be deleted now")
    elif not end.plan_made:
        parts.append(_NOT_ALL_READ)
    else:
        parts.append("nothing due" if _has_pending_notice(end) else "nothing stale")
    parts += _waits_for_limit(end)
    if end.announced:
        parts.append(f"{end.announced:,} would be announced")
    if end.planned:
        parts.append("none was deleted" if is_refused else "none was")
    return ", ".join(parts)


def _waits_for_limit(end: RunFinished) -> Iterator[str]:
    if end.trimmed:
        yield f"{end.trimmed:,} stale wait for a limit"


def _has_pending_notice(end: RunFinished) -> bool:
    """Return whether an announced invitation is kept until its notice is over."""
    return "notice_pending" in end.kept_by_reason


def _lines(run: RunRecord, end: RunFinished) -> Iterator[StoryLine]:
    """Yield what the run saw and did, a label and a text each."""
    if run.mode != "restore":
        yield from _decision_lines(end)
    if end.recovered:
        deletions = pluralize(end.recovered, "deletion")
        text = f"{deletions} that an interrupted run left without an outcome"
        yield StoryLine("Recovered", text)
    if end.sources_retired:
        lists = ", ".join(map(escape_unprintable, end.sources_retired))
        style: Style = "bad" if Reason.RETIRED_SOURCE in end.reasons else "plain"
        yield StoryLine("Retired", f"Atlas no longer serves these lists: {lists}", style)
    if len(end.organizations) == 1:  # several have them in their own lines
        seats = end.organizations[0].seats
        if seats is not None:
            yield StoryLine("People", str(seats))
    yield from _which_run(run)
    yield StoryLine("Time", _time(end))


def _decision_lines(end: RunFinished) -> Iterator[StoryLine]:
    """Yield what a sweep or dry run read, and what the policy decides about it."""
    yield StoryLine("Seen", _seen(end))
    yield StoryLine("Stale", describe_stale(end))
    if end.forecast is not None:
        yield StoryLine("Forecast", _forecast(end.forecast))
    if end.kept:
        yield StoryLine("Kept", _kept(end))
    for warning in end.warnings:
        if warning.code == WarningCode.NOTICE:
            yield StoryLine("Notice", escape_unprintable(warning.message))
    if end.changes is not None:
        yield StoryLine("Changes", _changes(end.changes))


def _organizations(mode: str | None, end: RunFinished) -> Iterator[StoryLine]:
    """Yield a line for each of several organizations: how it ended, and its counts."""
    if len(end.organizations) <= 1:
        return
    # An error that all share is that of the run, and its cause is told there.
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
        yield StoryLine(
            escape_unprintable(organization.label),
            escape_unprintable(f"{ending}: {text}"),
            status.style,
        )


def _attention(end: RunFinished, advisor: Advisor) -> Iterator[Attention]:
    """Yield what needs attention: the end of the run, people, then urgent warnings.

    A warning whose code is that of a reason says more about it.
    """
    code = ExitCode(end.exit_code)
    known = known_reasons(end.reasons)
    for error in errors_of(end):
        title = f"Exit code {end.exit_code}: {code.label}"
        sentences = [*error["message"].split("\n"), error["consequence"]]
        messages = tuple(escape_unprintable(sentence) for sentence in sentences if sentence)
        # The advice of the error, else that of the reasons for its code, else that of the code.
        own = advisor.advise(reason for reason in known if reason.exit_code is code)
        advice = error["hint"] or " ".join(own) or code.advice
        yield Attention(title, messages, advice, "error")
    reasons = [reason for reason in known if reason.exit_code is ExitCode.PARTIAL]
    counts = _counts_by_reason(end)
    advised = advisor.advise(known)
    for reason in reasons:
        label = f"{reason.label[0].upper()}{reason.label[1:]}"
        count = f" ({counts[reason]})" if reason in counts else ""
        about = [warning.text for warning in end.warnings if warning.code == reason]
        # What another reason of the run says better is not in `advised`.
        advice = " ".join(part for part in advisor.advise([reason]) if part in advised)
        yield Attention(f"{label}{count}", tuple(map(escape_unprintable, about)), advice)
    for warning in end.warnings:
        if warning.level != WarningLevel.REMARK and warning.code not in reasons:
            title = "Urgent" if warning.level == WarningLevel.URGENT else "The run warned"
            yield Attention(title, (escape_unprintable(warning.text),), kind="warning")


def _counts_by_reason(end: RunFinished) -> Mapping[Reason, str]:
    """Return how many a reason concerns, for those that concern some."""
    return {
        Reason.MISSING_ROLE: pluralize(end.missing_role, "request"),
        Reason.UNREADABLE_PROJECTS: pluralize(end.projects_unreadable, "list"),
        Reason.FAILED_DELETIONS: pluralize(end.failed, "deletion"),
        Reason.UNKNOWN_DELETIONS: pluralize(end.unknown, "deletion"),
        Reason.REMOVED_MEMBER: pluralize(
            len(end.removed_members) or end.accepted_during, "active member"
        ),
        Reason.STILL_THERE: pluralize(end.still_there, "invitation"),
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
    labels_by_parts: dict[tuple[str, str, str], list[str]] = {}
    for error in errors:
        parts = (error["message"], error["consequence"], error["hint"])
        labels = labels_by_parts.setdefault(parts, [])
        label = error.get("organization")
        if label:
            labels.append(label)
    for (cause, consequence, hint), labels in labels_by_parts.items():
        message = of_organizations(cause, labels)
        yield {"message": message, "consequence": consequence, "hint": hint}


_EARLIER: Final = (
    ("still_stale", "stale already then"),
    ("deleted", "deleted"),
    ("no_longer_stale", "no longer stale"),
    ("not_read", "in lists that one of the two runs did not read"),
)


def _changes(changes: PlanChanges) -> str:
    """Return what is new since the last plan, and what became of what it listed."""
    new = f"{changes.new:,} new" if changes.new else "nothing new"
    since = f"{new} since the plan of {describe_instant(changes.now)}"
    counts = [(getattr(changes, name), text) for name, text in _EARLIER]
    earlier = ", ".join(f"{count:,} {text}" for count, text in counts if count)
    return f"{since}; {earlier}" if earlier else since


def _kept(end: RunFinished) -> str:
    """Return how many are kept and why, the most frequent reason first."""
    reasons = sorted(end.kept_by_reason)
    reasons.sort(key=lambda reason: -end.kept_by_reason[reason])
    counts = [
        f"{end.kept_by_reason[reason]:,} {describe_keep_reason(reason)}" for reason in reasons
    ]
    return f"{end.kept:,}: {', '.join(counts)}"


def _join_outcomes(counts: Counts) -> str:
    """Return what became of the deletions, which were not read again, and who stays invited."""
    parts: list[str] = []
    for name, text in _OUTCOMES:
        count = getattr(counts, name)
        if name == "deleted" and counts.still_invited:
            parts.append(f"{count:,} deleted from their projects")
        elif count:
            parts.append(f"{count:,} {text}")
        if name == "deleted" and counts.not_verified:
            is_all = counts.not_verified == count
            parts.append("not verified" if is_all else f"{counts.not_verified:,} not verified")
    done = ", ".join(parts)
    if counts.still_invited:
        stay = plural_form(counts.still_invited, "stays", "stay")
        done += f"; {counts.still_invited:,} {stay} invited to the organization"
    return done


def _restored(counts: Mapping[str, int]) -> str:
    """Return the outcomes of a restore as counts of invitations."""
    parts = []
    for name, singular, plural in _RESTORED:
        count = counts.get(name, 0)
        if count:
            parts.append(pluralize(count, singular, plural))
    return ", ".join(parts)


def _counts_of(organization: OrganizationResult, mode: str | None) -> str:
    if mode == "restore":
        return _restored(structs.asdict(organization)) or "no one was invited"
    if not organization.plan_made:
        return _NOT_ALL_READ
    seen = pluralize(organization.invitations_seen, "invitation")
    projects = pluralize(organization.projects_seen, "project")
    parts = [f"{seen} in {projects}", f"{organization.stale:,} stale"]
    outcomes = _join_outcomes(organization)
    if outcomes:
        parts.append(outcomes)
    if organization.seats is not None:
        parts.append(str(organization.seats))
    return ", ".join(parts)


def _seen(end: RunFinished) -> str:
    invitations = pluralize(end.invitations_seen, "invitation")
    projects = pluralize(end.projects_seen, "project")
    if not end.plan_made:
        return f"{invitations}; the lists of {projects} were not all read"
    sources = map(Source, end.invitations_by_source)
    if any(source.is_organization_level for source in sources):
        read = sum(organization.plan_made for organization in end.organizations)
        projects += f" and {pluralize(read, 'organization')}"
    parts = [f"{invitations} in {projects}"]
    if end.projects_unreadable:
        parts.append(f"{pluralize(end.projects_unreadable, 'list')} not read")
    if end.projects_gone:
        parts.append(f"{pluralize(end.projects_gone, 'project')} deleted since it was listed")
    return ", ".join(parts)


def describe_stale(end: RunFinished) -> str:
    """Return how many are stale, and where limits leave some for later, how many go when.

    Both numbers have a name: "186: 10 now, 176 later (100 of 100 used until …; about 19 nights)".
    """
    if not end.stale:
        return "none" if end.plan_made else f"unknown: {_NOT_ALL_READ}"
    if not end.plan_made:
        return f"{end.stale:,}; {_NOT_ALL_READ}"
    if not end.trimmed:
        return f"{end.stale:,}"
    why = []
    if end.limit_free_at is not None:
        used = f"{end.deleted_before:,} of {end.max_deletions:,} used"
        why.append(f"{used} until {describe_instant(end.limit_free_at)}")
    if end.nights_left is None:
        why.append("a limit never lets all of them go")
    else:
        why.append(f"about {pluralize(end.nights_left, 'night')}")
    return f"{end.stale:,}: {end.planned:,} now, {end.trimmed:,} later ({'; '.join(why)})"


def _forecast(forecast: Forecast) -> str:
    """Return what becomes stale soon, by the policy's rules."""
    week = forecast.stale_within_7d
    month = forecast.stale_within_30d
    return f"{week:,} more become stale within 7 days, {month:,} within 30"


def _time(end: RunFinished) -> str:
    took = f"{end.duration_s:.1f} s"
    if end.duration_s >= _LONG_S:
        took = describe_duration(timedelta(seconds=end.duration_s))
    parts = [took, pluralize(end.requests, "request")]
    if end.retries:
        parts.append(pluralize(end.retries, "retry", "retries"))
    if end.rate_limited:
        parts.append(f"{end.rate_limited:,} rate-limited")
    return ", ".join(parts)


# The verification of an audit log ----------------------------------------------------------------


_MAX_COPIES: Final = 3


def tell_verification(found: Verification, folder: Path | None = None) -> Story:
    """Return what was found, as a story: headline, lines, and what needs attention.

    Args:
        found: What was found.
        folder: Files in it are named without it.
    """
    if found.damage is not None:
        text = found.damage if folder is None else found.damage.replace(f"{folder}/", "")
        headline = StoryLine("Damaged", escape_unprintable(text), "bad")
        attention = Attention("The audit log does not verify", (), DAMAGED_ADVICE)
        return Story(headline, (), (), (attention,))
    intact = f"{pluralize(found.lines, 'line')} of {pluralize(found.files, 'run')}"
    if found.first_run is not None and found.first_run > 1:  # earlier files were moved away
        intact += f", from run {found.first_run} on"
    intact += "."
    ends = [StoryLine("Last hash", found.last_hash)]
    if found.expected_at is not None:
        that = escape_unprintable(f"that of {found.expected_at}")
        ends.insert(0, StoryLine("Expected hash", that))
    ends.extend(_recovered(found))
    if found.head_missing:
        ends.append(StoryLine("HEAD", "It is missing: later files may be missing, too."))
    if found.missing_policies:
        copies = [f"policies/{sha256}.yaml" for sha256 in found.missing_policies]
        ends.append(StoryLine("Missing", shorten_list(copies, _MAX_COPIES)))
    if found.verdict is Verdict.SOUND:
        return Story(StoryLine("Sound", intact, "good"), tuple(ends), (), ())
    left = tuple(_left_open(found))
    headline = StoryLine("Unfinished", " ".join(left), "warning")
    attention = Attention("Runs left something open", left, UNFINISHED_ADVICE)
    return Story(headline, (StoryLine("Chain", intact), *ends), (), (attention,))


def _left_open(found: Verification) -> Iterator[str]:
    for run in found.unfinished:
        text = " was killed"
        if run.intents:
            noun = "invitation" if run.mode == "restore" else "deletion"
            have = plural_form(run.intents, "has", "have")
            text = f": {pluralize(run.intents, noun)} {have} no outcome"
        yield escape_unprintable(f"Run {_run_name(run)}{text}.")


def _recovered(found: Verification) -> Iterator[StoryLine]:
    for run in found.recovered:
        text = escape_unprintable(f"Run {_run_name(run)} was killed; {_recovered_by(run)}.")
        yield StoryLine("Recovered", text)


def _run_name(run: Unfinished | Recovered) -> str:
    return f"{run.run} ({run.run_id})" if run.run else run.file


def _recovered_by(run: Recovered) -> str:
    """Return which run recorded what became of the requests of one that was killed."""
    return f"recovered by run {run.by}" if run.by is not None else "it left nothing open"


# Texts that the outputs share ---------------------------------------------------------------------

_MAX_NAME_LENGTH: Final = 120


def display_text(value: str | None) -> str:
    """Return a name as it is shown: without secrets, truncated, unprintable characters escaped."""
    return escape_unprintable(truncate(SECRETS.redact_field(value or ""), _MAX_NAME_LENGTH))


def describe_instant(text: str) -> str:
    """Return an instant of the log to the minute."""
    found = parse_timestamp(text)
    return f"{found:%Y-%m-%d %H:%M} UTC" if found is not None else "an unknown time"
