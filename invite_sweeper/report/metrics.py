"""Export Prometheus metrics: a textfile for node_exporter, or a push to a Pushgateway.

Names carry base units, as Prometheus requires: ages and durations in seconds, dates as
timestamps. All metrics are gauges, because each run is a separate process.

Errors never change the result of a run: they are returned as messages for the log.
"""

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    generate_latest,
    pushadd_to_gateway,
    write_to_textfile,
)
from prometheus_client.parser import text_string_to_metric_families

from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.events import RunFinished
from invite_sweeper.counts import METRICS
from invite_sweeper.endings import REFUSAL_REASONS, ExitCode
from invite_sweeper.errors import UsageError
from invite_sweeper.files import regular_file_target
from invite_sweeper.models import Outcome
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.notify import LIMIT_S, Message, open_session, post

JOB = "invite_sweeper"
LAST_SUCCESS = "invite_sweeper_last_success_timestamp_seconds"

_DAY_S = 86_400.0
_COUNTS = {
    **METRICS,
    "requests": "Requests sent to Atlas.",
    "retries": "Requests sent again after a failure.",
    "rate_limited": "Responses of Atlas with status 429.",
}
"""Attributes of `RunFinished`; the metric name adds the prefix `invite_sweeper_`."""

_ORGANIZATION_COUNTS = {
    "exit_code": "Exit code of the last run in the organization.",
    "projects_unreadable": "Projects of the organization that could not be read.",
    "invitations_seen": "Pending invitations in scope in the organization.",
    "stale": "Stale invitations in the organization.",
    "kept": "Invitations in the organization that the last run kept.",
    "deleted": "Invitations that the last run deleted in the organization.",
    "failed": "Deletions in the organization that failed.",
    "unknown": "Deletions in the organization without a response.",
    "skipped": "Deletions in the organization that the last run did not send.",
}
"""Attributes of `OrganizationResult`; the metric name adds `invite_sweeper_organization_`."""


_TEXTFILE_MODE = 0o644
"""The node exporter reads it as another user; it has counts and names of organizations only."""


def is_textfile(start: bytes) -> bool:
    """Return whether a file that starts so was written by `write_textfile`."""
    return start.startswith(b"# HELP invite_sweeper_")


def write_textfile(path: Path, record: RunRecord, finished_at: datetime) -> tuple[str, ...]:
    """Write all metrics to a file atomically; a pipe or a device is written to directly.

    After a run that did not succeed, the time of the last success is copied from the existing
    file, so that an alert on its age still works.

    Returns:
        Error messages; empty if the file was written.
    """
    try:
        target = regular_file_target(path)
        if target is None:
            _write_to_pipe(path, _registry(record, finished_at, None))
        else:
            write_to_textfile(str(target), _registry(record, finished_at, _last_success(target)))
            target.chmod(_TEXTFILE_MODE)
    except OSError as error:
        return (f"The metrics could not be written to {path}: {error.strerror}.",)
    return ()


def check_gateway_url(url: str) -> None:
    """Raise UsageError unless this is the URL of a Pushgateway. It is not repeated."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(
            "--pushgateway is not an http(s) URL with a host.",
            hint="Write it as http://HOST:9091, or https://USER:PASSWORD@HOST.",
        )


async def push(
    url: str, record: RunRecord, finished_at: datetime, *, limit_s: float = LIMIT_S
) -> tuple[str, ...]:
    """Push all metrics to a Pushgateway, grouped by job and shard.

    Only a run that succeeded sends the time of the last success; the gateway keeps the
    earlier value.

    Args:
        url: URL of the gateway; it may contain credentials and is never repeated.
        limit_s: For everything together: name, connection, request and response.

    Returns:
        Error messages; empty if the gateway accepted the metrics.
    """
    shard = record.start.shard if record.start is not None else None
    group = {"shard": shard.replace("/", "-of-")} if shard else {}
    requests: list[Message] = []

    def collect(
        url: str,
        method: str,  # noqa: ARG001 - as the library calls it
        timeout: float | None,  # noqa: ARG001 - as above
        headers: list[tuple[str, str]],
        data: bytes,
    ) -> Callable[[], None]:
        requests.append(Message(url, data, dict(headers)))
        return lambda: None

    try:
        # Only the library's request is used: its timeout is for each read, not for the whole.
        pushadd_to_gateway(
            url,
            job=JOB,
            registry=_registry(record, finished_at, None),
            grouping_key=group,
            handler=collect,
        )
    except Exception as error:  # noqa: BLE001 - a gateway must not change the run's result
        # Its text may repeat the address.
        return (f"The metrics could not be pushed to the gateway: {type(error).__name__}.",)
    async with open_session(limit_s) as session:
        for request in requests:
            if failure := await post(session, request):
                fix = failure.fix or "Check the address in --pushgateway."
                reason = f"{failure.host}: {failure.reason}. {fix}"
                return (f"The metrics could not be pushed to the gateway {reason}",)
    return ()


def _write_to_pipe(path: Path, registry: CollectorRegistry) -> None:
    """Write to a pipe or a device; raise OSError at once if a pipe has no reader or no room."""
    data = generate_latest(registry)
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        if os.write(descriptor, data) < len(data):
            raise OSError(errno.EAGAIN, "its reader does not read")
    finally:
        os.close(descriptor)


def _registry(
    record: RunRecord, finished_at: datetime, last_success_s: float | None
) -> CollectorRegistry:
    registry = CollectorRegistry()
    summary = record.end or RunFinished(exit_code=int(ExitCode.DEFECT))
    mode: Mapping[str, int] = {record.mode or "run": 1}
    samples = _unlabelled_samples(summary, finished_at.timestamp(), last_success_s)
    for name, help_text, value in samples:
        Gauge(name, help_text, registry=registry).set(value)
    labelled = (
        (
            "invite_sweeper_run_mode",
            "1 for the mode of the last run.",
            "mode",
            mode,
        ),
        (
            "invite_sweeper_outcomes",
            "Planned deletions of the last run, by outcome.",
            "outcome",
            {outcome.value: getattr(summary, outcome) for outcome in Outcome},
        ),
        (
            "invite_sweeper_kept",
            "Invitations that the last run kept, by reason.",
            "reason",
            summary.kept_by_reason,
        ),
    )
    for name, help_text, label, values in labelled:
        _add_labelled_gauge(registry, name, help_text, label, values)
    for name, help_text in _ORGANIZATION_COUNTS.items():
        values = {each.id: getattr(each, name) for each in summary.organizations}
        metric = f"invite_sweeper_organization_{name}"
        _add_labelled_gauge(registry, metric, help_text, "organization", values)
    _add_organization_info(registry, summary)
    _add_refusals(registry, summary)
    return registry


def _add_organization_info(registry: CollectorRegistry, summary: RunFinished) -> None:
    help_text = "Always 1; the name of the organization, empty if Atlas did not return it."
    labels = ["organization", "name"]
    info = Gauge("invite_sweeper_organization_info", help_text, labels, registry=registry)
    for each in summary.organizations:
        info.labels(each.id, _label(each.name or "")).set(1)


def _add_refusals(registry: CollectorRegistry, summary: RunFinished) -> None:
    """Add a sample for each reason, also those that do not apply: alerts need the change to 1."""
    help_text = "1 for each reason for which a guard refused the last run, otherwise 0."
    labels = ["organization", "reason"]
    refused = Gauge("invite_sweeper_refused", help_text, labels, registry=registry)
    for each in summary.organizations:
        for reason in REFUSAL_REASONS:
            refused.labels(each.id, reason).set(reason in each.reasons)


def _unlabelled_samples(
    summary: RunFinished, finished_s: float, last_success_s: float | None
) -> Iterator[tuple[str, str, float]]:
    for name, help_text in _COUNTS.items():
        yield f"invite_sweeper_{name}", help_text, getattr(summary, name)
    pending = summary.kept_by_reason.get("notice_pending", 0)
    help_text = "Announced invitations whose notice was not over in the last run."
    yield "invite_sweeper_notice_pending", help_text, pending
    yield "invite_sweeper_last_run_timestamp_seconds", "When the last run ended.", finished_s
    yield "invite_sweeper_last_run_exit_code", "Exit code of the last run.", summary.exit_code
    yield "invite_sweeper_run_duration_seconds", "Time the last run took.", summary.duration_s
    success_s = finished_s if ExitCode(summary.exit_code).succeeded else last_success_s
    if success_s is not None:
        yield LAST_SUCCESS, "When the last successful run ended.", success_s
    if summary.oldest_pending_days is not None:
        oldest_s = summary.oldest_pending_days * _DAY_S
        help_text = "Age of the oldest pending invitation in scope."
        yield "invite_sweeper_oldest_pending_age_seconds", help_text, oldest_s
    if summary.sunset is not None:
        help_text = "When Atlas stops serving the API version in use."
        sunset_s = datetime.fromisoformat(summary.sunset).replace(tzinfo=UTC).timestamp()
        yield "invite_sweeper_api_sunset_timestamp_seconds", help_text, sunset_s


def _add_labelled_gauge(
    registry: CollectorRegistry, name: str, help_text: str, label: str, values: Mapping[str, int]
) -> None:
    gauge = Gauge(name, help_text, [label], registry=registry)
    for value, number in values.items():
        gauge.labels(_label(value)).set(number)


def _label(value: str) -> str:
    """Return text without secrets that UTF-8 can encode."""
    return SECRETS.redact(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _last_success(path: Path) -> float | None:
    """Return the last success in the existing file; None if it is missing or unreadable."""
    try:
        families = tuple(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    samples = (sample for family in families for sample in family.samples)
    return next((sample.value for sample in samples if sample.name == LAST_SUCCESS), None)
