"""What needs attention in a report, with what to do about it.

It is written for a reader without the documentation: each exit code is explained.
"""

from collections.abc import Iterator
from dataclasses import replace

from invite_sweeper.endings import DAMAGED_ADVICE, UNFINISHED_ADVICE, ExitCode, WarningCode
from invite_sweeper.report.formatting import describe_policy_change
from invite_sweeper.report.html.model import (
    Attention,
    ReportModel,
    ReportStatus,
    RunRow,
)
from invite_sweeper.report.html.verdict import verdict
from invite_sweeper.text import plural_form, pluralize, truncate

_PARTIAL_HINT = "Run the same command again: what is still stale is planned again."
_STOPPED_HINT = (
    "Look at the failed deletions below and at their error codes, remove the cause, then run the"
    " same command again."
)
_QUARANTINE_HINT = "Review the plan below. If it is right, run the sweep with --accept-policy {}."
_SEE_OTHERS = "No request failed. The other items say what needs attention."
_NAMED_ORGANIZATIONS = 5
_RESTORE_HINT = "Run the same restore again: it leaves out people who are there already."


def attention(model: ReportModel) -> tuple[Attention, ...]:
    """Return what needs attention, the newest command before earlier runs."""
    said = verdict(model).sentences
    found = (
        *_chain(model),
        *_missing_shards(model),
        *_failed_runs(model),
        *_policy_change(model),
        *_people(model),
        *_unreadable(model),
        *_warnings(model),
        *_earlier_runs(model),
    )
    return tuple(
        replace(item, messages=tuple(each for each in item.messages if each not in said))
        for item in found
    )


def describe_code(exit_code: int | None) -> str:
    """Return an exit code with its meaning; for None, that the run has no end."""
    if exit_code is None:
        return "no last line"
    label = next((f", {code.label}" for code in ExitCode if code == exit_code), "")
    return f"exit code {exit_code}{label}"


def _chain(model: ReportModel) -> Iterator[Attention]:
    chain = model.chain_message
    if chain is None or chain.sound:
        return
    if chain.unfinished and model.run_status is ReportStatus.UNFINISHED:
        return  # the unfinished run is reported
    yield Attention("The audit log does not verify", (chain.message,), DAMAGED_ADVICE)


def _missing_shards(model: ReportModel) -> Iterator[Attention]:
    if model.missing_shards:
        names = truncate(", ".join(map(str, model.missing_shards)), 80)
        yield Attention(
            "Shards are missing",
            (f"Of {model.shard_count} shards, these are missing from the logs: {names}.",),
            "Pass the logs of all shards, or find out why a shard did not run.",
        )


def _failed_runs(model: ReportModel) -> Iterator[Attention]:
    """Yield one item for each way in which runs of the newest command ended."""
    found: dict[tuple[str, tuple[str, ...], str], list[RunRow]] = {}
    for run in model.current:
        if run.status is not ReportStatus.CLEAN:
            found.setdefault((_title(run), _messages(run), _hint(run)), []).append(run)
    several = model.several_organizations
    names = {each.id: each.label for each in model.organizations.rows}
    for (title, messages, hint), runs in found.items():
        ids = [id_ for run in runs for id_ in run.organizations]
        where = ", ".join(names.get(id_, id_) for id_ in ids[:_NAMED_ORGANIZATIONS])
        more = (
            f" and {len(ids) - _NAMED_ORGANIZATIONS:,} more"
            if len(ids) > _NAMED_ORGANIZATIONS
            else ""
        )
        named = any(id_ in message for id_ in ids for message in messages)
        prefix = (f"In {where}{more}.",) if several and where and not named else ()
        yield Attention(title, (*prefix, *messages), hint)


def _title(run: RunRow) -> str:
    if run.status is ReportStatus.UNFINISHED:
        return "The run has no end"
    if run.stopped_itself:
        return f"Exit code {run.exit_code}: the sweep stopped itself"
    if run.only_made_active:
        return f"Exit code {run.exit_code}: the restore made people active members"
    title = describe_code(run.exit_code)
    return (title[0].upper() + title[1:]).replace(", ", ": ", 1)


def _messages(run: RunRow) -> tuple[str, ...]:
    if run.status is ReportStatus.UNFINISHED:
        return (_open_requests(run),)
    if run.stopped_itself:
        skipped = run.outcomes.skipped
        left = f"{pluralize(skipped, 'planned deletion')} {plural_form(skipped, 'was', 'were')}"
        return (*_breaker_reasons(run), f"{left} not attempted.")
    code = _known_code(run)
    if code is ExitCode.PARTIAL:
        found = tuple(filter(None, (run.error, *_parts_not_done(run))))
        return found or (_SEE_OTHERS,)
    # The message of a guard says which one refused; the meaning lists all of them.
    explained = run.mode == "restore" or (code is ExitCode.REFUSED and run.error)
    meaning = code.meaning if code is not None and not explained else ""
    consequence = run.consequence if run.consequence not in meaning else ""
    return tuple(text for text in (run.error, consequence, meaning) if text)


def _breaker_reasons(run: RunRow) -> tuple[str, ...]:
    return tuple(each.message for each in run.warnings if each.code == WarningCode.CIRCUIT_BREAKER)


def _open_requests(run: RunRow) -> str:
    count = run.outcomes.open
    if not count:
        return "Each request that it sent has a result in the log."
    requests = pluralize(count, "request")
    return f"{requests} may have been sent: the log does not contain the result."


def _parts_not_done(run: RunRow) -> Iterator[str]:
    outcomes = run.outcomes
    what = "invitation" if run.mode == "restore" else "deletion"
    if outcomes.failed:
        yield f"{pluralize(outcomes.failed, what)} failed."
    if outcomes.unclear:
        yield f"The result of {pluralize(outcomes.unclear, what)} is not known."
    if run.mode == "restore" and outcomes.skipped:
        skipped = pluralize(outcomes.skipped, what)
        yield f"{skipped} {plural_form(outcomes.skipped, 'was', 'were')} not sent."


def _known_code(run: RunRow) -> ExitCode | None:
    return next((code for code in ExitCode if code == run.exit_code), None)


def _hint(run: RunRow) -> str:
    """Return what to do: as the run says, or as its exit code means."""
    code = _known_code(run)
    if run.hint:
        return run.hint
    if run.status is ReportStatus.UNFINISHED:
        return UNFINISHED_ADVICE
    if code is ExitCode.PARTIAL:
        return _partial_hint(run)
    if code is ExitCode.REFUSED and "quarantine" in run.error:
        return _QUARANTINE_HINT.format(run.policy_sha256)
    return _code_hint(code)


def _partial_hint(run: RunRow) -> str:
    if run.stopped_itself:
        return _STOPPED_HINT
    if _messages(run) == (_SEE_OTHERS,):
        return ""  # the other items have their own
    return _RESTORE_HINT if run.mode == "restore" else _PARTIAL_HINT


def _code_hint(code: ExitCode | None) -> str:
    if code is ExitCode.INTERRUPTED:
        return "Run the same command again: it processes the rest."
    return code.advice.replace("`", "") if code is not None else ""


def _policy_change(model: ReportModel) -> Iterator[Attention]:
    """Yield what a policy changes that is not accepted; the refusal of a sweep has the hint."""
    change = model.policy_change
    if change is not None:
        refused = any(run.status is ReportStatus.REFUSED for run in model.current)
        text = describe_policy_change(change)
        yield Attention(
            "The policy is not accepted (quarantine)",
            (f"{text[0].upper()}{text[1:]}.", *change.sentences),
            "" if refused else _QUARANTINE_HINT.format(change.policy_sha256),
        )


def _people(model: ReportModel) -> Iterator[Attention]:
    removed, active = model.outcomes.accepted_during, model.outcomes.active
    if removed:
        yield Attention(
            "Active members were removed",
            (
                f"{pluralize(removed, 'person', 'people')} accepted during the deletion.",
                "They are listed below with the state accepted during.",
            ),
            "Invite them again: invite-sweeper restore AUDIT_LOG --run RUN_ID.",
        )
    if active:
        yield Attention(
            "People became active members at once",
            (
                f"{pluralize(active, 'person', 'people')} joined without having to accept.",
                "Atlas does so in federated organizations.",
            ),
            "Check that each of them should have access, and remove those who should not.",
        )


def _unreadable(model: ReportModel) -> Iterator[Attention]:
    coverage = model.coverage
    if not coverage.unreadable:
        return
    reasons = (f"{reason} ({count:,})" for reason, count in coverage.reasons.rows[:3])
    yield Attention(
        f"{pluralize(coverage.unreadable, 'project')} could not be read",
        (*reasons, "Nothing was deleted there. The section Coverage lists the projects."),
        "Give the credentials access to these projects, or exclude them in the policy.",
    )


def _warnings(model: ReportModel) -> Iterator[Attention]:
    breaker = WarningCode.CIRCUIT_BREAKER
    found = tuple(each.message for each in model.warnings if each.code != breaker)
    if found:
        yield Attention("The run warned", found)


def _earlier_runs(model: ReportModel) -> Iterator[Attention]:
    """Yield one item for the earlier runs of each exit code."""
    found: dict[tuple[int | None, ReportStatus], list[RunRow]] = {}
    for run in model.failed_runs.rows:
        found.setdefault((run.exit_code, run.status), []).append(run)
    for (exit_code, status), runs in found.items():
        code = _known_code(runs[0])
        messages = tuple(_earlier_run(run) for run in runs)
        if status is ReportStatus.RECOVERED:
            hint = (
                "Nothing to do: a later run recorded the result of every request that it had sent."
            )
        elif status is ReportStatus.UNFINISHED:
            unclear = any(run.outcomes.open for run in runs)
            hint = UNFINISHED_ADVICE if unclear else "Find out what stopped it."
        else:
            hint = _code_hint(code)
        count = pluralize(len(runs), "earlier run")
        ended = "without an end" if exit_code is None else f"with {describe_code(exit_code)}"
        yield Attention(f"{count} {ended}", messages, hint)


def _earlier_run(run: RunRow) -> str:
    day = f"{run.started:%Y-%m-%d %H:%M}" if run.started else run.run_id
    detail = run.error or (_open_requests(run) if run.exit_code is None else "")
    if not detail and run.outcomes.failed:
        detail = f"{pluralize(run.outcomes.failed, 'deletion')} failed."
    return f"{day}, {run.kind}: {detail}" if detail else f"{day}, {run.kind}"
