"""The verdict of a report: how the command and the nights before it ended."""

from collections import Counter
from collections.abc import Iterator

from invite_sweeper.audit.verify import Verdict
from invite_sweeper.endings import Colour, Reason, Status
from invite_sweeper.report.formatting import describe_changes, describe_places
from invite_sweeper.report.html.model import Report, ReportVerdict, Run
from invite_sweeper.text import plural_form, pluralize

_NAMED_ORGANIZATIONS = 3


def verdict(report: Report) -> ReportVerdict:
    """Return the worst verdict that applies.

    All runs of the command count. If that command did everything, earlier runs decide that no
    later run made up for.
    """
    if is_damaged(report):
        assert report.chain is not None  # noqa: S101 - a damaged one
        return ReportVerdict(
            Status.DAMAGED,
            Status.DAMAGED.colour,
            Status.DAMAGED.label,
            (
                f"The audit log does not verify. {report.chain.message}",
                "The figures below come from this log and may be wrong.",
            ),
        )
    if not report.subject:
        status = Status.EMPTY
        return ReportVerdict(status, status.colour, status.label, ("These logs contain no run.",))
    status, label = report.status, _label(report)
    sentences = (*_sentences(report), *_period(report))
    if status is not Status.DONE or not report.unresolved:
        return ReportVerdict(status, status.colour, label, sentences)
    return ReportVerdict(status, Colour.WARNING, f"{label}, but {_earlier(report)}", sentences)


def is_damaged(report: Report) -> bool:
    """Return whether the log does not verify; a run without an end is not damage."""
    return report.chain is not None and report.chain.verdict is Verdict.DAMAGED


def _earlier(report: Report) -> str:
    """Return how the earlier runs ended that no later run made up for."""
    statuses = {run.status for run in report.unresolved}
    count = len({run.command_id for run in report.unresolved})
    runs = plural_form(count, "an earlier run", f"{count:,} earlier runs")
    ended = _ended(statuses.pop(), count) if len(statuses) == 1 else "did not end well"
    return f"{runs} {ended}"


def _ended(status: Status, count: int = 1) -> str:
    return f"{_were(count)} {status.past}" if status in _WITH_WAS else status.past


_WITH_WAS = (Status.REFUSED, Status.PARTLY_DONE)


def _label(report: Report) -> str:
    status, first = report.status, report.first
    bad = [each for each in report.organizations if each.status is not Status.DONE]
    total = len(report.organizations)
    if 0 < len(bad) < total:
        statuses = {each.status for each in bad}
        word = statuses.pop().past if len(statuses) == 1 else "did not end well"
        label = f"{len(bad)} of {total} organizations {word}"
    elif report.is_restore and {Reason.MADE_ACTIVE} == {*first.reasons}:
        people = pluralize(first.count("active"), "person", "people")
        return f"Restore: {people} active at once"
    elif status is Status.DONE:
        return _label_of_done(report)
    else:
        label = Reason.CIRCUIT_BREAKER.label if report.stopped_itself else status.label
    label = label[0].upper() + label[1:]
    if first.mode == "sweep" and not _changed(report):
        label += ", nothing deleted"
    prefix = {"restore": "Restore: ", "dry-run": "Dry run: "}.get(first.mode, "")
    return prefix + (label[0].lower() + label[1:] if prefix else label)


def _label_of_done(report: Report) -> str:
    """Return the label of a command that did everything, with its main number."""
    counts, first = report.counts, report.first
    if first.is_restore:
        if first.dry_run:
            return f"Restore, dry run: {first.to_restore:,} would be sent again"
        return f"Restore: {counts['restored']:,} sent again"
    if first.dry_run:
        planned = counts["planned"]
        return f"Dry run: {f'{planned:,} would be deleted' if planned else 'nothing stale'}"
    if counts["deleted"]:
        return f"Done, {counts['deleted']:,} deleted"
    return "Done, nothing deleted" if counts["planned"] else "Done, nothing stale"


def _changed(report: Report) -> bool:
    """Return whether the command deleted or may have deleted something."""
    counts = report.counts
    return any(counts[each] for each in ("deleted", "accepted_during", "unknown", "no_outcome"))


def _sentences(report: Report) -> Iterator[str]:
    yield from _endings(report)
    if report.is_restore:
        yield from _restore_sentences(report)
    elif report.dry_run:
        yield from _dry_run_sentences(report)
    else:
        yield from _sweep_sentences(report)
    if resolved := sum(run.resolved for run in report.subject):
        outcomes = pluralize(resolved, "deletion")
        yield f"The run also recorded the results of {outcomes} of an interrupted run."


def _endings(report: Report) -> Iterator[str]:
    """Yield what stopped the runs that did not complete."""
    bad = [each for each in report.organizations if each.status is not Status.DONE]
    if 0 < len(bad) < len(report.organizations):
        named = (f"{each.label} {_ended(each.status)}" for each in bad[:_NAMED_ORGANIZATIONS])
        more = len(bad) - _NAMED_ORGANIZATIONS
        yield ", ".join(named) + (f", and {more} more." if more > 0 else ".")
        return
    messages = {_ending(run) for run in report.subject if run.status is not Status.DONE}
    if len(messages) == 1:  # otherwise the items that need attention contain them
        yield from filter(None, messages)


def _ending(run: Run) -> str:
    if run.status is Status.UNFINISHED:
        return "The run has no last line: it is still running, or it was killed."
    return run.error


def _restore_sentences(report: Report) -> Iterator[str]:
    counts, first = report.counts, report.first
    of = f" of {pluralize(first.wanted, 'deleted invitation')}" if first.wanted else ""
    if report.dry_run:
        if report.status is Status.DONE:
            yield f"{first.to_restore:,}{of} would be sent again."
        yield "Nothing was sent."
        return
    restored, active, present = (counts[n] for n in ("restored", "active", "already_there"))
    if restored or not (active or present):
        yield f"{restored:,}{of} {_were(restored)} sent again."
    if active:
        members = plural_form(active, "an active member", "active members")
        yield f"Atlas added {pluralize(active, 'person', 'people')} as {members} at once."
    if present:
        yield f"{pluralize(present, 'person', 'people')} {_were(present)} there already."
    if counts["failed"]:
        yield f"{pluralize(counts['failed'], 'invitation')} failed."
    if counts["skipped"]:
        yield f"{pluralize(counts['skipped'], 'invitation')} {_were(counts['skipped'])} not sent."
    if unclear := counts["unknown"] + counts["no_outcome"]:
        yield f"The result of {pluralize(unclear, 'invitation')} is not known."


def _were(count: int) -> str:
    return plural_form(count, "was", "were")


def _stale(report: Report) -> str:
    places = describe_places(*report.places)
    return f"{pluralize(report.rows_total, 'invitation')} in {places}"


def _dry_run_sentences(report: Report) -> Iterator[str]:
    planned, status = report.counts["planned"], report.status
    if planned and any(run.status is Status.REFUSED for run in report.subject):
        yield f"{_stale(report)} would be deleted, but a sweep would be refused now."
    elif planned and report.plan_made and status in {Status.DONE, Status.PARTLY_DONE}:
        yield f"{_stale(report)} would be deleted."
    elif planned:
        yield f"The log lists {_stale(report)} as stale; the list may be incomplete."
    yield from _plan_sentences(report)
    yield "Nothing was deleted."


def _sweep_sentences(report: Report) -> Iterator[str]:
    counts, changed = report.counts, _changed(report)
    planned = pluralize(counts["planned"], "planned invitation")
    if counts["planned"] and report.status is Status.REFUSED and not changed:
        yield f"{_stale(report)} {plural_form(counts['planned'], 'is', 'are')} stale."
    elif counts["planned"] and changed:
        yield f"{counts['deleted']:,} of {planned} {_were(counts['deleted'])} deleted."
        yield from _exceptions(counts, "")
    elif counts["planned"]:
        yield from _exceptions(counts, f"Of {planned}, ")
    yield from _plan_sentences(report)
    if not changed:
        yield "Nothing was deleted."


def _plan_sentences(report: Report) -> Iterator[str]:
    """Yield what is and is not known about the plan."""
    unread, trimmed = report.reported.projects_unreadable, report.reported.trimmed
    if not report.plan_made:
        unknown = sum(not run.plan_made for run in report.subject)
        whose = "the run" if unknown == len(report.subject) else "every run"
        yield (
            f"The log does not show that {whose} read everything: how many invitations are stale"
            " is not known."
        )
    elif not report.counts["planned"]:
        where = "in the projects that could be read" if unread else "in scope"
        yield f"No invitation {where} is stale."
    if unread:
        yield f"{pluralize(unread, 'project')} could not be read; nothing was deleted there."
    if trimmed:
        more = pluralize(trimmed, "more stale invitation")
        yield f"{more} {_were(trimmed)} left for a later run by over_limit: trim."
    if announced := report.reported.announced:
        were = plural_form(announced, "was", "were")
        yield f"{pluralize(announced, 'invitation')} {were} announced for a later deletion."
    for run in report.subject:
        if run.changes is not None and run.plan_made:
            text = describe_changes(run.changes)
            yield f"{text[0].upper()}{text[1:]}."


def _exceptions(counts: Counter[str], start: str) -> Iterator[str]:
    sent = ("deleted", "already_gone", "failed", "unknown", "no_outcome", "changed")
    active = ("accepted_before", "accepted_during")
    counted = (
        (counts["already_gone"], "already gone"),
        (counts["failed"], "not deleted because the request failed"),
        (counts["planned"] - sum(counts[each] for each in (*sent, *active)), "not attempted"),
        (counts["changed"], "left alone, because they had changed"),
        (counts["accepted_before"], "left alone, because the person is an active member"),
    )
    found = [f"{count:,} {_were(count)} {what}" for count, what in counted if count > 0]
    if found:
        yield f"{start}{'; '.join(found)}."
    if removed := counts["accepted_during"]:
        people = pluralize(removed, "active member")
        yield f"{people} accepted at the same moment and {_were(removed)} removed."
    if unclear := counts["unknown"] + counts["no_outcome"]:
        yield f"Whether {unclear:,} more {_were(unclear)} deleted is not known."


def _period(report: Report) -> Iterator[str]:
    """Yield how the nights ended."""
    ran = [night for night in report.nights if night.runs]
    if len(ran) <= 1:
        return
    bad = Counter(night.status for night in ran if night.status is not Status.DONE)
    good = len(ran) - bad.total()
    sentence = f"From {ran[0].day} to {ran[-1].day}, {good} of {len(ran)} nights were done"
    counts = ", ".join(f"{number} {status.past}" for status, number in bad.items())
    yield f"{sentence}{'; ' if counts else ''}{counts}."
    if deleted := sum(night.deleted for night in ran):
        yield f"{pluralize(deleted, 'invitation')} {_were(deleted)} deleted in that time."
    if missing := len(report.nights) - len(ran):
        yield f"On {pluralize(missing, 'day')} of that period the logs contain no run."
