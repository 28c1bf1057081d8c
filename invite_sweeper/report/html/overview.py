"""What a report shows before its sections: title, figures, nights, facts and notes."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from invite_sweeper.audit.verify import Verdict
from invite_sweeper.counts import TILES
from invite_sweeper.endings import Colour, Status
from invite_sweeper.report.formatting import format_duration
from invite_sweeper.report.html.attention import describe_code
from invite_sweeper.report.html.chain import ChainResult
from invite_sweeper.report.html.model import Night, Report
from invite_sweeper.report.rows import display_text
from invite_sweeper.text import plural_form, pluralize


def title(report: Report) -> str:
    """Return the title, with the day of the command if it is known."""
    if not report.subject:
        return "Invitation sweep"
    first = report.first
    names = {"restore": "Invitation restore", "dry-run": "Invitation sweep, dry run"}
    name = names.get(first.mode, "Invitation sweep")
    return f"{name}, {first.day}" if first.day else name


def target(report: Report) -> tuple[str, ...]:
    """Return what the command was about: its organizations, its mode, start and host."""
    if not report.subject:
        return ()
    first = report.first
    organizations = (
        report.organizations[0].label
        if len(report.organizations) == 1
        else pluralize(len(report.organizations), "organization")
    )
    started = f"{first.started:%Y-%m-%d %H:%M} UTC" if first.started else ""
    return tuple(filter(None, (organizations, first.kind, started, first.base_url)))


def tiles(report: Report) -> tuple[tuple[str, str], ...]:
    """Return what the command did, in numbers; unknown ones are left out."""
    if not report.subject:
        return ()
    figures = _restore_figures(report) if report.is_restore else _sweep_figures(report)
    return tuple((name, f"{number:,}") for name, number in figures if number is not None)


def _sweep_figures(report: Report) -> Iterator[tuple[str, int | None]]:
    counts, known = report.counts, report.plan_made
    yield "Seen", report.reported.invitations_seen if known else None
    yield "Stale", report.reported.stale or counts["planned"] if known else None
    if not report.dry_run:
        yield "Deleted", counts["deleted"]
        yield "Failed", counts["failed"]
        yield "Already gone", counts["already_gone"] or None
        yield "Changed", counts["changed"] or None
        yield "Unknown", counts["unknown"] or None
        yield "Not attempted", counts["skipped"] or None
        yield "Left alone (active)", counts["accepted_before"] or None
        yield "Removed while active", counts["accepted_during"] or None
        yield "No outcome", counts["no_outcome"] or None
    yield "Kept", report.reported.kept if known else None
    for name in reversed(TILES):
        yield TILES[name], getattr(report.reported, name) or None


def _restore_figures(report: Report) -> Iterator[tuple[str, int | None]]:
    counts, first = report.counts, report.first
    yield "Deleted before", first.wanted
    if first.dry_run:
        yield "Would be sent again", first.to_restore if report.status is Status.DONE else None
        return
    yield "Sent again", counts["restored"]
    yield "Active at once", counts["active"] or None
    yield "There already", counts["already_there"] or None
    yield "Failed", counts["failed"]
    yield "Unknown", counts["unknown"] + counts["no_outcome"] or None
    yield "Not sent", counts["skipped"] or None


class NightMark(NamedTuple):
    """One night of the strip.

    Attributes:
        mark: The exit code; `!` without one, `-` for a day without a run.
        day: Day of the month, for the row below the marks.
        text: The same for screen readers and as a tooltip.
        meaning: For the legend.
    """

    mark: str
    colour: Colour
    day: str
    text: str
    meaning: str


def strip(report: Report) -> tuple[NightMark, ...]:
    """Return a mark for each night; none for a single day."""
    return tuple(map(_mark, report.nights)) if len(report.nights) > 1 else ()


def legend(marks: Iterable[NightMark]) -> tuple[tuple[str, str, Colour], ...]:
    """Return each mark of the strip with its meaning and colour."""
    return tuple(sorted({(each.mark, each.meaning, each.colour) for each in marks}))


def _mark(night: Night) -> NightMark:
    day, colour = f"{night.day:%d}", night.status.colour
    if not night.runs:
        return NightMark("-", colour, day, f"{night.day}: no run", "no run in these logs")
    runs = pluralize(night.runs, display_text(night.kind) or "run")
    deleted = f", {night.deleted:,} deleted" if night.kind == "sweep" else ""
    text = f"{night.day}: {night.status}, {describe_code(night.exit_code)}; {runs}{deleted}"
    if night.exit_code is None:
        return NightMark("!", colour, day, text, f"{night.status}, no last line")
    meaning = describe_code(night.exit_code).removeprefix(f"exit code {night.exit_code}: ")
    return NightMark(str(night.exit_code), colour, day, text, meaning)


_VERDICT_COLOURS = {
    Verdict.SOUND: Colour.GOOD,
    Verdict.UNFINISHED: Colour.WARNING,
    Verdict.DAMAGED: Colour.BAD,
}


def chain_mark(chain: ChainResult | None) -> tuple[str, Colour]:
    """Return whether the log is sound, in a few words, and the colour."""
    if chain is None:
        return "not verified", Colour.PLAIN
    return chain.verdict.value, _VERDICT_COLOURS[chain.verdict]


def chain_sentences(report: Report) -> tuple[str, ...]:
    """Return the result of the verification."""
    chain = report.chain
    if chain is None:
        return ("The hash chain was not verified for this report.",)
    last = f"Hash of the last line: {chain.last_hash}." if chain.last_hash else ""
    return tuple(filter(None, (chain.message, *chain.warnings, last)))


def facts(report: Report) -> tuple[tuple[str, str], ...]:
    """Return the metadata of the command: ids, duration, requests, policy and versions."""
    if not report.subject:
        return ()
    runs, first = report.subject, report.first
    requests, retries, limited = map(sum, zip(*(run.requests for run in runs), strict=True))
    durations = [run.duration_s for run in runs if run.duration_s is not None]
    values = (
        ("Run", first.run_id if len(runs) == 1 else f"{len(runs)} runs of one command"),
        ("Mode", first.kind),
        ("Started (UTC)", f"{first.started:%Y-%m-%d %H:%M:%S}" if first.started else ""),
        ("Duration", format_duration(max(durations)) if durations else ""),
        (
            "Requests",
            f"{requests:,}, retries {retries:,}, rate-limited {limited:,}" if requests else "",
        ),
        ("Atlas", first.base_url),
        ("Actor", ", ".join(dict.fromkeys(run.actor for run in runs if run.actor))),
        ("Policy", first.policy_path),
        ("Policy SHA-256", first.policy_sha256),
        ("Version", first.tool_version),
        ("API version ends", first.sunset),
    )
    return tuple((name, display_text(value)) for name, value in values if value)


def notes(report: Report) -> tuple[str, ...]:
    """Return caveats for the figures, and the remarks of the runs, one sentence each."""
    return (*_log_notes(report), *dict.fromkeys(_remarks(report)))


def _log_notes(report: Report) -> Iterator[str]:
    for log in report.files:
        if log.invalid_lines:
            invalid = plural_form(log.invalid_lines, "is not an audit line", "are not audit lines")
            lines = pluralize(log.lines, "line")
            yield f"{log.invalid_lines:,} of {lines} of {log.name} {invalid}."
    for run in report.subject:
        if run.reported is not None and run.plan_made and run.planned != run.reported.planned:
            yield (
                f"Run {run.run_id} reports {run.reported.planned:,} planned; its lines show"
                f" {run.planned:,}."
            )


def _remarks(report: Report) -> Iterator[str]:
    for run in report.subject:
        yield from (f"The run noted: {w.message}" for w in run.warnings if w.level == "remark")
