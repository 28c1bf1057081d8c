"""How a run went, told once: headline, lines, and what needs attention with the exact command.

Terminal, page, Markdown, Slack, webhook, `-q` and the question print these, and have no sentences
of their own about how a run went. Everything comes from the first and the last line of the run's
file; a killed run, which has no last line, is told from what its lines say.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    remarks = (
        escape_unprintable(each.message)
        for each in end.warnings
        if each.level == WarningLevel.REMARK and each.code != WarningCode.NOTICE
    )
    return Story(
        _headline(run, label, done, [each.label for each in end.organizations]),
        tuple(_lines(run, end)),
        tuple(_organizations(run.mode, end)),
        tuple(_attention(end, advisor_of(run, advisor))),
        tuple(remarks),
    )


def advisor_of(run: RunRecord, advisor: Advisor) -> Advisor:
    """Return what makes exact commands about a run, from that of the session."""
    return advisor._replace(
        run=str(run.file.number or run.run_id),
        policy=advisor.policy or run.start.policy_path or "",
        removed=run.end.removed_members if run.end is not None else (),
    )


def _tell_killed(run: RunRecord) -> Story:
    """Tell a run without an end, from what its lines say, and a later run that recovered it."""
    parts = [f"{run.outcomes[name]:,} {text}" for name, text in _OUTCOMES if run.outcomes[name]]
    if run.mode == "restore":
        restored = _restored(run.outcomes)
        parts = [restored] if restored else []
    if run.recovered is not None:
        parts.append(_recovered_by(run.recovered))
        done, where = ", ".join(parts), run.start.organizations
        headline = _headline(run, Status.RECOVERED.label, done, where)
        headline = headline._replace(style=Status.RECOVERED.style)
        return Story(headline, (StoryLine("Run", _run_line(run)),), (), ())
    messages = ["The run has no last line: it is still running, or it was killed."]
    if run.open_invitations:
        invitations = pluralize(run.open_invitations, "invitation")
        parts.append(f"{invitations} sent without an outcome")
        messages.append(f"Without an outcome: {invitations}.")
    if (left := run.planned - run.outcomes.total()) > 0:
        parts.append(f"{left:,} of {run.planned:,} planned without an outcome")
        messages.append(f"Without an outcome: {pluralize(left, 'planned deletion')}.")
    return Story(
        _headline(
            run,
            Status.UNFINISHED.label,
            ", ".join(parts) or "it has no last line",
            run.start.organizations,
        ),
        tuple(_which_run(run)),
        (),
        (Attention("The run has no end", tuple(messages), UNFINISHED_ADVICE),),
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
    start, parts = run.start, [run.run_id]
    if run.file.number:
        parts.insert(0, f"{run.file.number}")
    parts.append(describe_instant(start.now))
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
    failed = sum(each.error is not None for each in end.organizations)
    if failed not in {0, len(end.organizations)}:
        done += f"; {failed:,} of {len(end.organizations):,} organizations failed"
    return label, done


def _done(mode: str | None, end: RunFinished, status: Status) -> str:
    waits = "notice_pending" in end.kept_by_reason
    later = f"{end.trimmed:,} stale wait for a limit" if end.trimmed else ""
    if mode == "restore":
        return _restored(structs.asdict(end)) or "no one was invited"
    if mode == "dry-run":
        found = _NOT_ALL_READ if not end.plan_made else f"nothing {'due' if waits else 'stale'}"
        rest = [later] if later else []
        if end.announced:
            rest.append(f"{end.announced:,} would be announced")
        if end.planned:
            is_refused = status is Status.REFUSED
            verb = "are stale" if is_refused else "would be deleted"
            found = f"{pluralize(end.planned, 'invitation')} {verb}"
            rest.append("none was deleted" if is_refused else "none was")
        elif end.trimmed:
            found = "nothing would be deleted now"
        return ", ".join([found, *rest])
    announced = f"{end.announced:,} announced" if end.announced else ""
    done = _join_outcomes(end)
    if later and not done:
        done = "nothing was deleted now"
    if found := ", ".join(filter(None, (done, later, announced))):
        return found
    is_idle = end.plan_made and not end.stale and not waits
    return "nothing stale" if is_idle else "nothing was deleted"


def _lines(run: RunRecord, end: RunFinished) -> Iterator[StoryLine]:
    """Yield what the run saw and did, a label and a text each."""
    if run.mode != "restore":
        yield StoryLine("Seen", _seen(end))
        yield StoryLine("Stale", describe_stale(end))
        if end.forecast is not None:
            yield StoryLine("Forecast", _forecast(end.forecast))
        if end.kept:
            by_count = sorted(end.kept_by_reason.items(), key=lambda item: (-item[1], item[0]))
            reasons = ", ".join(f"{n:,} {describe_keep_reason(reason)}" for reason, n in by_count)
            yield StoryLine("Kept", f"{end.kept:,}: {reasons}")
        for warning in end.warnings:
            if warning.code == WarningCode.NOTICE:
                yield StoryLine("Notice", escape_unprintable(warning.message))
        if (changes := end.changes) is not None:
            new = f"{changes.new:,} new" if changes.new else "nothing new"
            since = f"{new} since the plan of {describe_instant(changes.now)}"
            earlier = _join_counts(_EARLIER, changes)
            yield StoryLine("Changes", "; ".join(filter(None, (since, earlier))))
    if end.recovered:
        deletions = pluralize(end.recovered, "deletion")
        text = f"{deletions} that an interrupted run left without an outcome"
        yield StoryLine("Recovered", text)
    if end.sources_retired:
        lists = ", ".join(map(escape_unprintable, end.sources_retired))
        style: Style = "bad" if Reason.RETIRED_SOURCE in end.reasons else "plain"
        yield StoryLine("Retired", f"Atlas no longer serves these lists: {lists}", style)
    if len(end.organizations) == 1 and (seats := end.organizations[0].seats) is not None:
        yield StoryLine("People", str(seats))
    yield from _which_run(run)
    yield StoryLine("Time", _time(end))


def _organizations(mode: str | None, end: RunFinished) -> Iterator[StoryLine]:
    """Yield a line for each of several organizations: how it ended, and its counts."""
    if len(end.organizations) <= 1:
        return
    is_shared = all(each.error == end.error for each in end.organizations)
    for each in end.organizations:
        status = ExitCode(each.exit_code).status
        label = "Dry run" if each.error is None and mode == "dry-run" else status.label
        parts = [_counts_of(each, mode)]
        if each.error is not None and not is_shared:
            cause = each.error["message"].rstrip(".")
            parts = [*(parts if each.plan_made else ()), cause]
        text = escape_unprintable(f"{label}: {'; '.join(parts)}")
        yield StoryLine(escape_unprintable(each.label), text, status.style)


def _attention(end: RunFinished, advisor: Advisor) -> Iterator[Attention]:
    """Yield what needs attention: the end of the run, people, then urgent warnings.

    A warning whose code is that of a reason says more about it.
    """
    code, known = ExitCode(end.exit_code), known_reasons(end.reasons)
    for error in errors_of(end):
        parts = (*error["message"].split("\n"), error["consequence"])
        own = advisor.advise(each for each in known if each.exit_code is code)
        advice = error["hint"] or " ".join(own) or code.advice
        title = f"Exit code {end.exit_code}: {code.label}"
        messages = tuple(map(escape_unprintable, filter(None, parts)))
        yield Attention(title, messages, advice, "error")
    counts = {
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
    reasons = [each for each in known if each.exit_code is ExitCode.PARTIAL]
    advised = advisor.advise(known)
    for reason in reasons:
        advice = " ".join(each for each in advisor.advise([reason]) if each in advised)
        count = f" ({counts[reason]})" if reason in counts else ""
        label = f"{reason.label[0].upper()}{reason.label[1:]}"
        about = [escape_unprintable(each.text) for each in end.warnings if each.code == reason]
        yield Attention(f"{label}{count}", tuple(about), advice)
    for warning in end.warnings:
        if warning.level != WarningLevel.REMARK and warning.code not in reasons:
            title = "Urgent" if warning.level == WarningLevel.URGENT else "The run warned"
            yield Attention(title, (escape_unprintable(warning.text),), kind="warning")


def errors_of(end: RunFinished) -> Iterator[ErrorParts]:
    """Yield each error that stopped a run or an organization, once.

    Organizations that failed for the same cause, with the same advice, share one error.
    """
    errors = [each.error for each in end.organizations if each.error is not None]
    if end.error is not None and end.error not in errors:
        errors.insert(0, end.error)
    found: dict[tuple[str, str, str], list[str]] = {}
    for error in errors:
        parts = error["message"], error["consequence"], error["hint"]
        labels = found.setdefault(parts, [])
        if label := error.get("organization"):
            labels.append(label)
    for (cause, consequence, hint), labels in found.items():
        message = of_organizations(cause, labels)
        yield {"message": message, "consequence": consequence, "hint": hint}


_EARLIER: Final = (
    ("still_stale", "stale already then"),
    ("deleted", "deleted"),
    ("no_longer_stale", "no longer stale"),
    ("not_read", "in lists that one of the two runs did not read"),
)


def _join_counts(names: Iterable[tuple[str, str]], counts: Counts | PlanChanges) -> str:
    return ", ".join(f"{getattr(counts, n):,} {text}" for n, text in names if getattr(counts, n))


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
    found = ((counts.get(name, 0), one, many) for name, one, many in _RESTORED)
    return ", ".join(pluralize(count, one, many) for count, one, many in found if count)


def _counts_of(organization: OrganizationResult, mode: str | None) -> str:
    if mode == "restore":
        return _restored(structs.asdict(organization)) or "no one was invited"
    if not organization.plan_made:
        return _NOT_ALL_READ
    seen = pluralize(organization.invitations_seen, "invitation")
    projects = pluralize(organization.projects_seen, "project")
    outcomes = _join_outcomes(organization)
    people = str(organization.seats) if organization.seats is not None else ""
    parts = (f"{seen} in {projects}", f"{organization.stale:,} stale", outcomes, people)
    return ", ".join(filter(None, parts))


def _seen(end: RunFinished) -> str:
    invitations = pluralize(end.invitations_seen, "invitation")
    projects = pluralize(end.projects_seen, "project")
    if not end.plan_made:
        return f"{invitations}; the lists of {projects} were not all read"
    if any(Source(each).is_organization_level for each in end.invitations_by_source):
        read = sum(each.plan_made for each in end.organizations)
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
    week, month = forecast.stale_within_7d, forecast.stale_within_30d
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
        item = Attention("The audit log does not verify", (), DAMAGED_ADVICE)
        return Story(headline, (), (), (item,))
    lines, runs = pluralize(found.lines, "line"), pluralize(found.files, "run")
    since = f", from run {found.first_run} on" if (found.first_run or 1) > 1 else ""
    intact = f"{lines} of {runs}{since}."
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
    item = Attention("Runs left something open", left, UNFINISHED_ADVICE)
    return Story(headline, (StoryLine("Chain", intact), *ends), (), (item,))


def _left_open(found: Verification) -> Iterator[str]:
    for each in found.unfinished:
        noun = "invitation" if each.mode == "restore" else "deletion"
        have, intents = plural_form(each.intents, "has", "have"), pluralize(each.intents, noun)
        open_ = f": {intents} {have} no outcome" if each.intents else " was killed"
        yield escape_unprintable(f"Run {_run_name(each)}{open_}.")


def _recovered(found: Verification) -> Iterator[StoryLine]:
    for each in found.recovered:
        text = escape_unprintable(f"Run {_run_name(each)} was killed; {_recovered_by(each)}.")
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
