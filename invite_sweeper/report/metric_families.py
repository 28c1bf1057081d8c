"""The metrics of a run: families of samples, each with its help text.

Names carry base units, as Prometheus requires: ages and durations in seconds, dates as
timestamps. All metrics are gauges, because each run is a separate process.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from invite_sweeper import __version__
from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.totals import OrganizationResult, RunFinished
from invite_sweeper.endings import REFUSAL_REASONS, ExitCode, WarningCode
from invite_sweeper.models import parse_timestamp
from invite_sweeper.outcomes import OUTCOMES_OF_DELETIONS
from invite_sweeper.report.notify import Notified

_BYTES_PER_MIB: Final = 1 << 20
_DAY_S: Final = 86_400.0
_COUNTS: Final = {
    "projects_seen": "Projects in the policy's scope.",
    "projects_unreadable": "Lists in scope that could not be read; nothing is deleted there.",
    "invitations_seen": "Pending invitations in scope.",
    "stale": "Invitations that a rule matches and no keep entry protects.",
    "trimmed": "Stale invitations left for a later run, to stay within the limits.",
    "announced": "Invitations that the last run announced, where the policy has a notice.",
    "still_invited": "People deleted from projects who stay invited to the organization.",
    "requests": "Requests sent to Atlas.",
    "retries": "Requests sent again after a failure.",
    "rate_limited": "Responses of Atlas with status 429.",
}
"""Attributes of `RunFinished`; the metric name adds the prefix `invite_sweeper_`."""
_ORGANIZATION_COUNTS: Final = {
    "exit_code": "Exit code of the last run in the organization.",
    "projects_unreadable": "Lists of the organization that could not be read.",
    "invitations_seen": "Pending invitations in scope in the organization.",
    "stale": "Stale invitations in the organization.",
    "kept": "Invitations in the organization that the last run kept.",
    "deleted": "Invitations that the last run deleted in the organization.",
    "failed": "Deletions in the organization that failed.",
    "unknown": "Deletions in the organization without a response.",
    "skipped": "Deletions in the organization that the last run did not send.",
}
"""Attributes of `OrganizationResult`; the metric name adds `invite_sweeper_organization_`."""
_PEOPLE_COUNTS: Final = {
    "people": "Active and pending people of the organization, which Atlas's limit counts.",
    "people_pending": "Pending people of the organization.",
}
"""Attributes of `OrganizationResult` that are not always known, as the counts above."""


class Sample(NamedTuple):
    """A value of a family.

    Attributes:
        labels: Those that distinguish it from the other samples of its family.
    """

    value: float
    labels: Mapping[str, str] = {}


class MetricFamily(NamedTuple):
    """A metric.

    Attributes:
        name: Without the prefix `invite_sweeper_`.
        text: What it means, for the HELP line.
        samples: Empty where no value is known.
    """

    name: str
    text: str
    samples: Sequence[Sample]


def families_of_run(
    record: RunRecord, finished_at: datetime, succeeded_at: datetime | None
) -> Iterator[MetricFamily]:
    """Yield the metrics of a run; of one without an end, those of a defect.

    Args:
        succeeded_at: When the last run succeeded; None if it is not known.
    """
    end = record.end or RunFinished(exit_code=int(ExitCode.DEFECT))
    for name, text in _COUNTS.items():
        yield _single(name, text, getattr(end, name))
    yield _single(
        "notice_pending",
        "Announced invitations whose notice was not over in the last run.",
        end.kept_by_reason.get("notice_pending", 0),
    )
    yield from _times(end, finished_at, succeeded_at)
    yield from _files(record)
    yield MetricFamily("run_mode", "1 for the mode of the last run.", [_of_mode(record)])
    yield from _outcomes(end)
    yield _single(
        "keep_ends",
        "Keep entries that end within 7 days, or ended in the last 14.",
        sum(warning.code == WarningCode.KEEP_ENDS for warning in end.warnings),
    )
    yield from _families_of_organizations(end.organizations)


def _single(name: str, text: str, value: float) -> MetricFamily:
    return MetricFamily(name, text, [Sample(value)])


def _known(name: str, text: str, value: float | None) -> Iterator[MetricFamily]:
    """Yield a metric whose value is known."""
    if value is not None:
        yield _single(name, text, value)


def _times(
    end: RunFinished, finished_at: datetime, succeeded_at: datetime | None
) -> Iterator[MetricFamily]:
    """Yield when the last run ended and how, what it took, and dates that it knows."""
    yield _single("last_run_timestamp_seconds", "When the last run ended.", finished_at.timestamp())
    yield _single("last_run_exit_code", "Exit code of the last run.", end.exit_code)
    yield _single("run_duration_seconds", "Time the last run took.", end.duration_s)
    yield _single(
        "history_read_seconds",
        "Time the last run took to read the files of earlier runs.",
        end.history_s,
    )
    yield _single(
        "peak_memory_bytes",
        "The most memory that the last run held.",
        end.peak_mib * _BYTES_PER_MIB,
    )
    yield from _known(
        "last_success_timestamp_seconds",
        "When the last successful run ended.",
        succeeded_at.timestamp() if succeeded_at is not None else None,
    )
    oldest_days = end.oldest_pending_days
    yield from _known(
        "oldest_pending_age_seconds",
        "Age of the oldest pending invitation in scope.",
        oldest_days * _DAY_S if oldest_days is not None else None,
    )
    yield from _known(
        "api_sunset_timestamp_seconds",
        "When Atlas stops serving the API version in use.",
        datetime.fromisoformat(f"{end.sunset}T00Z").timestamp() if end.sunset else None,
    )


def _files(record: RunRecord) -> Iterator[MetricFamily]:
    """Yield the metrics of the run's file; of a command that began no run, the version."""
    number = record.file.number
    info = {
        "version": record.start.tool_version or __version__,
        "run_number": str(number or ""),
        "run_id": record.run_id if number else "",
        "last_hash": record.last_hash,
    }
    yield MetricFamily(
        "run_info", "Always 1; the last run, and the version of its program.", [Sample(1, info)]
    )
    if number:
        yield _single(
            "run_number", "Number of the last run in its audit directory; it only grows.", number
        )


def _of_mode(record: RunRecord) -> Sample:
    return Sample(1, {"mode": record.mode or "run"})


def _outcomes(end: RunFinished) -> Iterator[MetricFamily]:
    """Yield the invitations of the last run by outcome, and by the reason why they are kept."""
    outcomes = [
        Sample(getattr(end, outcome), {"outcome": outcome.value})
        for outcome in OUTCOMES_OF_DELETIONS
    ]
    yield MetricFamily("outcomes", "Planned deletions of the last run, by outcome.", outcomes)
    kept = [Sample(count, {"reason": reason}) for reason, count in end.kept_by_reason.items()]
    yield MetricFamily("kept", "Invitations that the last run kept, by reason.", kept)


def family_of_receivers(receivers: Sequence[Notified]) -> MetricFamily:
    """Return whether each receiver of the policy failed."""
    samples = []
    for notified in receivers:
        settings = notified.settings
        labels = {"receiver": settings.url_env, "kind": settings.kind}
        samples.append(Sample(notified.has_failed, labels))
    text = "1 for a receiver that was not notified of the last run when it was due, otherwise 0."
    return MetricFamily("receiver_failed", text, samples)


def _families_of_organizations(
    organizations: Sequence[OrganizationResult],
) -> Iterator[MetricFamily]:
    """Yield the metrics with a sample for each organization."""
    for name, text in _ORGANIZATION_COUNTS.items():
        counts = [
            _of_organization(organization, getattr(organization, name))
            for organization in organizations
        ]
        yield MetricFamily(f"organization_{name}", text, counts)
    for name, text in _PEOPLE_COUNTS.items():
        people = []
        for organization in organizations:
            count = getattr(organization, name)
            if count is not None:
                people.append(_of_organization(organization, count))
        yield MetricFamily(f"organization_{name}", text, people)
    yield MetricFamily(
        "credentials_expire_timestamp_seconds",
        "When the first secret of the organization's service account ends.",
        list(_secrets_end(organizations)),
    )
    names = [
        _of_organization(organization, 1, name=organization.name or "")
        for organization in organizations
    ]
    yield MetricFamily(
        "organization_info",
        "Always 1; the name of the organization, empty if Atlas did not return it.",
        names,
    )
    yield MetricFamily(
        "refused",
        "1 for each reason for which a guard refused the last run, otherwise 0.",
        list(_refusals(organizations)),
    )


def _of_organization(organization: OrganizationResult, value: float, **labels: str) -> Sample:
    return Sample(value, {"organization": organization.id, **labels})


def _secrets_end(organizations: Sequence[OrganizationResult]) -> Iterator[Sample]:
    for organization in organizations:
        ends_at = parse_timestamp(organization.credentials_expire)
        if ends_at is not None:
            yield _of_organization(organization, ends_at.timestamp())


def _refusals(organizations: Sequence[OrganizationResult]) -> Iterator[Sample]:
    """Yield a sample for each reason, also for those that do not apply.

    Alerts need the change to 1.
    """
    for organization in organizations:
        for reason in REFUSAL_REASONS:
            is_refused = reason in organization.reasons
            yield _of_organization(organization, is_refused, reason=reason)
