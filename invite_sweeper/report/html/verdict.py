"""The verdict of a report: how the newest command and the nights before it ended."""

from collections.abc import Iterator

from invite_sweeper.endings import WarningCode
from invite_sweeper.report.formatting import describe_changes
from invite_sweeper.report.html.model import (
    GOOD,
    Night,
    OutcomeCounts,
    ReportModel,
    ReportStatus,
    RunRow,
    Verdict,
)
from invite_sweeper.text import plural_form, pluralize

_LABELS = {
    ReportStatus.CLEAN: "Clean",
    ReportStatus.RECOVERED: "Recovered",
    ReportStatus.PARTIAL: "Partly done",
    ReportStatus.REFUSED: "Refused",
    ReportStatus.INTERRUPTED: "Stopped early",
    ReportStatus.FAILED: "Failed",
    ReportStatus.UNFINISHED: "Unfinished",
}
_NOT_CLEAN = "not clean"
_PAST = {
    ReportStatus.RECOVERED: "recovered",
    ReportStatus.PARTIAL: "partly done",
    ReportStatus.REFUSED: "refused",
    ReportStatus.INTERRUPTED: "stopped early",
    ReportStatus.FAILED: "failed",
    ReportStatus.UNFINISHED: "unfinished",
}
"""How nights and organizations ended, after their number."""
_ENDED: dict[ReportStatus | None, str] = {
    ReportStatus.RECOVERED: "was recovered",
    ReportStatus.PARTIAL: "was partly done",
    ReportStatus.REFUSED: "was refused",
    ReportStatus.INTERRUPTED: "stopped early",
    ReportStatus.FAILED: "failed",
    ReportStatus.UNFINISHED: "has no end",
}
_NAMED_ORGANIZATIONS = 3


def verdict(model: ReportModel) -> Verdict:
    """Return the worst verdict that applies.

    All runs of the newest command count: its organizations and its shards. If that command is
    clean, the other nights decide.
    """
    status, chain = model.run_status, model.chain_message
    if chain is not None and not chain.sound and not _is_killed(model):
        return Verdict(
            ReportStatus.DAMAGED,
            "Damaged audit log",
            (
                f"The audit log does not verify. {chain.message}",
                "The figures below come from this log and may be wrong.",
            ),
        )
    if not model.current:
        return Verdict(ReportStatus.EMPTY, "No run", ("These logs contain no run.",))
    sentences = tuple(_sentences(model))
    if status is not ReportStatus.CLEAN:
        return Verdict(status, _label(model), (*sentences, *_period(model)))
    label = _label_of_period(model)
    if not label:
        return Verdict(status, _label(model), (*sentences, *_period(model)))
    newest = "The newest run completed:"
    return Verdict(
        ReportStatus.EARLIER, label, (f"{newest} {sentences[0]}", *sentences[1:], *_period(model))
    )


def _is_killed(model: ReportModel) -> bool:
    """Return whether the chain's only finding is the newest run, which has no end."""
    chain = model.chain_message
    return chain is not None and chain.unfinished and model.run_status is ReportStatus.UNFINISHED


# The label.


def _label(model: ReportModel) -> str:
    first, status = model.current[0], model.run_status
    bad = [each for each in model.organizations.rows if each.status is not ReportStatus.CLEAN]
    total = model.organizations.total
    if 0 < len(bad) < total:
        statuses = {each.status for each in bad}
        word = _PAST[statuses.pop()] if len(statuses) == 1 else _NOT_CLEAN
        label = f"{len(bad)} of {total} organizations {word}"
    elif status is ReportStatus.PARTIAL and any(run.stopped_itself for run in model.current):
        label = "Stopped itself"
    elif status is ReportStatus.PARTIAL and all(run.only_made_active for run in model.current):
        return f"Restore: {pluralize(model.outcomes.active, 'person', 'people')} active at once"
    elif status is ReportStatus.CLEAN:
        return _clean_label(model)
    else:
        label = _LABELS[status]
    if first.mode == "sweep" and not _changed(model):
        label += ", nothing deleted"
    prefix = {"dry-run": "Dry run: ", "restore": "Restore: "}.get(first.mode, "")
    if first.mode == "restore" and model.dry_run:
        prefix = "Restore, dry run: "
    return prefix + (label[0].lower() + label[1:] if prefix else label)


def _clean_label(model: ReportModel) -> str:
    """Return the label of a command that did everything, with its main number."""
    outcomes = model.outcomes
    if model.mode == "restore":
        if model.dry_run:
            missing = sum(run.to_restore or 0 for run in model.current)
            return f"Restore, dry run: {missing:,} would be sent again"
        return f"Restore: {outcomes.restored:,} sent again"
    if model.dry_run:
        planned = f"{outcomes.planned:,} would be deleted"
        return f"Dry run: {planned if outcomes.planned else 'nothing stale'}"
    return f"Clean, {outcomes.deleted:,} deleted" if outcomes.planned else "Clean, nothing stale"


def _changed(model: ReportModel) -> bool:
    """Return whether the newest sweep removed anything, or may have."""
    outcomes = model.outcomes
    return bool(outcomes.deleted or outcomes.accepted_during or outcomes.unclear)


def _label_of_period(model: ReportModel) -> str:
    """Return the label for the nights if one of them is not clean; else an empty text."""
    ran, bad = _nights(model)
    if not bad:
        return ""
    statuses = {night.status for night in bad}
    status = statuses.pop() if len(statuses) == 1 else None
    if len(ran) == 1:
        newest = "Clean" if model.mode == "sweep" else _clean_label(model)
        return f"{newest}, but an earlier run {_ENDED.get(status, 'was not clean')}"
    word = _PAST[status] if status is not None else _NOT_CLEAN
    return f"{len(bad)} of {len(ran)} nights {word}"


def _nights(model: ReportModel) -> tuple[list[Night], list[Night]]:
    """Return the nights with a run, and those of them that did not end well."""
    ran = [night for night in model.nights if night.runs]
    return ran, [night for night in ran if night.status not in GOOD]


def _period(model: ReportModel) -> Iterator[str]:
    ran, bad = _nights(model)
    if len(ran) <= 1:
        return
    good, period = len(ran) - len(bad), f"{ran[0].day} to {ran[-1].day}"
    sentence = f"From {period}, {good} of {len(ran)} nights were clean"
    if bad:
        counts = {night.status: 0 for night in bad}
        for night in bad:
            counts[night.status] += 1
        sentence += "; " + ", ".join(f"{n} {_PAST[status]}" for status, n in counts.items())
    yield sentence + "."
    deleted = sum(night.deleted for night in ran)
    if deleted:
        yield f"{pluralize(deleted, 'invitation')} {_were(deleted)} deleted in that time."
    missing = len(model.nights) - len(ran)
    if missing:
        yield f"On {pluralize(missing, 'day')} of that period the logs contain no run."


# The sentences about the newest command.


def _sentences(model: ReportModel) -> Iterator[str]:
    if model.missing_shards:
        missing, total = len(model.missing_shards), model.shard_count
        yield f"{missing} of {total} shards of this run are not in these logs."
    yield from _endings(model)
    if model.mode == "restore":
        yield from _restore_sentences(model)
    elif model.dry_run:
        yield from _dry_run_sentences(model)
    else:
        yield from _sweep_sentences(model)
    resolved = sum(run.resolved for run in model.current)
    if resolved:
        outcomes = pluralize(resolved, "deletion")
        yield f"The run also recorded the results of {outcomes} of an interrupted run."


def _endings(model: ReportModel) -> Iterator[str]:
    """Yield what stopped the runs that did not complete."""
    bad = [run for run in model.current if run.status is not ReportStatus.CLEAN]
    organizations = [each for each in model.organizations.rows if each.status not in GOOD]
    if 0 < len(organizations) < model.organizations.total:
        names = ", ".join(
            f"{each.label} {_PAST[each.status]}" for each in organizations[:_NAMED_ORGANIZATIONS]
        )
        more = len(organizations) - _NAMED_ORGANIZATIONS
        yield names + (f", and {more} more." if more > 0 else ".")
        return
    messages = {_ending(run) for run in bad}
    if len(messages) == 1:  # otherwise the items that need attention contain them
        yield from filter(None, messages)


def _ending(run: RunRow) -> str:
    if run.status is ReportStatus.UNFINISHED:
        return "The run has no last line: it is still running, or it was killed."
    if run.stopped_itself:
        codes = (each for each in run.warnings if each.code == WarningCode.CIRCUIT_BREAKER)
        reason = next((each.message for each in codes), "")
        return reason or "The sweep stopped itself, because too many deletions did not succeed."
    return run.error


def _restore_sentences(model: ReportModel) -> Iterator[str]:
    wanted = sum(run.wanted or 0 for run in model.current)
    known = all(run.wanted is not None for run in model.current)
    of = f" of {pluralize(wanted, 'deleted invitation')}" if known else ""
    if not model.dry_run:
        yield from _restore_outcomes(model.outcomes, of)
        return
    missing = sum(run.to_restore or 0 for run in model.current)
    if known and model.run_status is ReportStatus.CLEAN:
        yield f"{missing:,}{of} would be sent again."
    yield "Nothing was sent."


def _restore_outcomes(outcomes: OutcomeCounts, of: str) -> Iterator[str]:
    if outcomes.restored or not (outcomes.active or outcomes.already_there):
        yield f"{outcomes.restored:,}{of} {_were(outcomes.restored)} sent again."
    if outcomes.active:
        people = pluralize(outcomes.active, "person", "people")
        members = plural_form(outcomes.active, "an active member", "active members")
        yield f"Atlas added {people} as {members} at once."
    if outcomes.already_there:
        people = pluralize(outcomes.already_there, "person", "people")
        yield f"{people} {_were(outcomes.already_there)} there already."
    if outcomes.failed:
        yield f"{pluralize(outcomes.failed, 'invitation')} failed."
    if outcomes.skipped:
        yield f"{pluralize(outcomes.skipped, 'invitation')} {_were(outcomes.skipped)} not sent."
    if outcomes.unclear:
        yield f"The result of {pluralize(outcomes.unclear, 'invitation')} is not known."


def _were(count: int) -> str:
    return plural_form(count, "was", "were")


def _stale(model: ReportModel) -> str:
    planned, projects = model.outcomes.planned, model.by_project.rows.total
    return f"{pluralize(planned, 'invitation')} in {pluralize(projects, 'project')}"


def _none_stale(model: ReportModel) -> str:
    if model.coverage.unreadable:
        return "No invitation in the projects that could be read is stale."
    return "No invitation in scope is stale."


def _plan_sentences(model: ReportModel) -> Iterator[str]:
    """Yield what is not known about the plan."""
    unknown = [run for run in model.current if not run.plan_known]
    if unknown:
        whose = "the run" if len(unknown) == len(model.current) else "every run"
        yield (
            f"The log does not show that {whose} read everything: how many invitations are stale"
            " is not known."
        )
    if model.coverage.unreadable:
        projects = pluralize(model.coverage.unreadable, "project")
        yield f"{projects} could not be read; nothing was deleted there."
    if model.totals.trimmed:
        more = pluralize(model.totals.trimmed, "more stale invitation")
        yield f"{more} {_were(model.totals.trimmed)} left for a later run by `over_limit: trim`."


def _dry_run_sentences(model: ReportModel) -> Iterator[str]:
    status, planned = model.run_status, model.outcomes.planned
    refused = any(run.status is ReportStatus.REFUSED for run in model.current)
    if planned and refused:
        yield f"{_stale(model)} would be deleted, but a sweep would be refused now."
    elif planned and status in {ReportStatus.CLEAN, ReportStatus.PARTIAL}:
        yield f"{_stale(model)} would be deleted."
    elif planned:
        yield f"The log lists {_stale(model)} as stale; the list may be incomplete."
    elif model.plan_known:
        yield _none_stale(model)
    yield from _plan_sentences(model)
    yield from _changes(model)
    yield "Nothing was deleted."


def _changes(model: ReportModel) -> Iterator[str]:
    if model.changes is not None:
        text = describe_changes(model.changes)
        yield f"{text[0].upper()}{text[1:]}."


def _sweep_sentences(model: ReportModel) -> Iterator[str]:
    outcomes = model.outcomes
    if not outcomes.planned:
        if model.plan_known:
            yield _none_stale(model)
    elif model.run_status is ReportStatus.REFUSED and not _changed(model):
        yield f"{_stale(model)} {plural_form(outcomes.planned, 'is', 'are')} stale."
    else:
        planned = pluralize(outcomes.planned, "planned invitation")
        if _changed(model):
            yield f"{outcomes.deleted:,} of {planned} {_were(outcomes.deleted)} deleted."
            yield from _exceptions(model, "")
        else:
            yield from _exceptions(model, f"Of {planned}, ")
    yield from _plan_sentences(model)
    if not _changed(model):
        yield "Nothing was deleted."


def _exceptions(model: ReportModel, start: str) -> Iterator[str]:
    outcomes = model.outcomes
    unsent = outcomes.planned - sum(
        (
            *(outcomes.deleted, outcomes.already_gone, outcomes.failed, outcomes.unknown),
            *(outcomes.accepted_before, outcomes.accepted_during, outcomes.open),
        )
    )
    counted = (
        (outcomes.already_gone, "already gone"),
        (outcomes.failed, "not deleted because the request failed"),
        (unsent, "not attempted"),
        (outcomes.accepted_before, "left alone, because the person is an active member"),
    )
    found = [f"{count:,} {_were(count)} {what}" for count, what in counted if count > 0]
    if found:
        yield f"{start}{'; '.join(found)}."
    if outcomes.accepted_during:
        people = pluralize(outcomes.accepted_during, "active member")
        yield f"{people} accepted at the same moment and {_were(outcomes.accepted_during)} removed."
    if outcomes.unclear:
        yield f"Whether {outcomes.unclear:,} more {_were(outcomes.unclear)} deleted is not known."
