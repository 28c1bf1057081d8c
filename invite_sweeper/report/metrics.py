"""The metrics of a run for Prometheus: a textfile for node_exporter, or a push to a Pushgateway.

They are what `deploy/helm/files` alerts on and shows, and the counts of the run's last line. Names
carry base units, as Prometheus requires. All are gauges, because each run is a separate process.
Every sample has the labels of `labels_of`, so that two policies on one host or gateway do not
replace each other.

Errors never change the result of a run: they are returned as messages for the log.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from msgspec import structs

from invite_sweeper import __version__
from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.events import OrganizationResult, RunFinished
from invite_sweeper.endings import REFUSAL_REASONS, ExitCode, Status, WarningCode
from invite_sweeper.errors import UsageError
from invite_sweeper.files import regular_file_target, replace_file
from invite_sweeper.json_text import parse_timestamp
from invite_sweeper.outcomes import OUTCOMES_OF_DELETIONS
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.notify import Notified
from invite_sweeper.report.sending import Message, NotSent, open_session, request

INSTANCE_VARIABLE: Final = "INVITE_SWEEPER_INSTANCE"
_JOB: Final = "invite_sweeper"
_TEXTFILE_MODE: Final = 0o644
"""The node exporter reads it as another user; it has counts and names of organizations only."""
_EARLIER_SUCCESS: Final = re.compile(
    rb"^invite_sweeper_last_success_timestamp_seconds(?:\{.*\})? ([0-9.e+]+)$", re.MULTILINE
)
_DAY_S: Final = 86_400.0
_COUNTS: Final = {
    "projects_seen": "Projects in the policy's scope.",
    "projects_unreadable": "Lists in scope that could not be read; nothing is deleted there.",
    "invitations_seen": "Pending invitations in scope.",
    "stale": "Invitations that a rule matches and no keep entry protects.",
    "due": "Stale invitations that the last run planned to delete.",
    "waiting": "Stale invitations that wait until their notice is over.",
    "trimmed": "Stale invitations left for a later run, to stay within the limits.",
    "announced": "Invitations that the last run announced, where the policy has a notice.",
    "still_invited": "People deleted from projects who stay invited to the organization.",
    "requests": "Requests sent to Atlas.",
    "retries": "Requests sent again after a failure.",
    "rate_limited": "Responses of Atlas with status 429.",
}
"""Fields of `RunFinished`; the metric name adds the prefix `invite_sweeper_`."""
_ORGANIZATION_COUNTS: Final = {
    "organization_exit_code": "Exit code of the last run in the organization.",
    "organization_projects_unreadable": "Lists of the organization that could not be read.",
    "organization_invitations_seen": "Pending invitations in scope in the organization.",
    "organization_stale": "Stale invitations in the organization.",
    "organization_kept": "Invitations in the organization that the last run kept.",
    "organization_deleted": "Invitations that the last run deleted in the organization.",
    "organization_failed": "Deletions in the organization that failed.",
    "organization_unknown": "Deletions in the organization without a response.",
    "organization_skipped": "Deletions in the organization that the last run did not send.",
}
"""Fields of `OrganizationResult`, with their prefix."""
_HELP: Final = {
    **_COUNTS,
    "outcomes": "Planned deletions of the last run, by outcome.",
    "kept": "Invitations that the last run kept, by reason.",
    "keep_ends": "Keep entries that end within 7 days, or ended in the last 14.",
    "run_info": "Always 1; the last run, and the version of its program.",
    "run_number": "Number of the last run in its audit directory; it only grows.",
    "last_run_timestamp_seconds": "When the last run ended.",
    "last_run_exit_code": "Exit code of the last run.",
    "run_duration_seconds": "Time the last run took.",
    "last_success_timestamp_seconds": "When the last successful run ended.",
    "oldest_pending_age_seconds": "Age of the oldest pending invitation in scope.",
    "api_sunset_timestamp_seconds": "When Atlas stops serving the API version in use.",
    **_ORGANIZATION_COUNTS,
    "organization_info": (
        "Always 1; the name of the organization, empty if Atlas did not return it."
    ),
    "credentials_expire_timestamp_seconds": (
        "When the first secret of the organization's service account ends."
    ),
    "refused": "1 for each reason for which a guard refused the last run, otherwise 0.",
    "receiver_failed": (
        "1 for a receiver that was not notified of the last run when it was due, otherwise 0."
    ),
}
"""Each metric with its HELP line; the name adds the prefix `invite_sweeper_`."""


def labels_of(policy: Path, shard: object, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of every sample, and of the group of a Pushgateway.

    They distinguish the metrics of one policy, or of one of its shards, from all others. The
    instance is `INVITE_SWEEPER_INSTANCE`, else the name of the policy's file without its suffix:
    the name of a host or pod may be another one each night, and its metrics would remain.
    """
    instance = environment.get(INSTANCE_VARIABLE, "").strip()
    labels = {"instance": instance or policy.stem}
    if shard is not None:
        labels["shard"] = str(shard).replace("/", "-of-")
    return labels


def textfile_of(path: Path, labels: Mapping[str, str]) -> Path:
    """Return the file of a shard, which is its own; of a run without shards, the path itself."""
    if "shard" not in labels:
        return path
    return path.with_stem(f"{path.stem}-{labels['shard']}")


def is_textfile(start: bytes) -> bool:
    """Return whether a file that starts so was written by `Metrics.write`."""
    return start.startswith(b"# HELP invite_sweeper_")


def check_gateway_url(url: str) -> None:
    """Raise UsageError unless this is the URL of a Pushgateway. It is not repeated."""
    SECRETS.add_user_info(url)
    try:
        parts = urlsplit(url)
        is_http = parts.scheme in {"http", "https"}
        is_valid = is_http and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise UsageError(
            "--pushgateway is not an http(s) URL with a host.",
            hint="Write it as http://HOST:9091, or https://USER:PASSWORD@HOST.",
        )


class _Sample(NamedTuple):
    """A value of a metric.

    Attributes:
        name: Of the metric, as in `_HELP`.
        value: None where it is not known; then nothing is written.
        labels: What distinguishes it from the other samples of the metric.
    """

    name: str
    value: float | None
    labels: Mapping[str, str] = {}


def _of_run(record: RunRecord, end: RunFinished) -> Iterator[_Sample]:
    """Yield what a run counted, and which it was."""
    fields = structs.asdict(end)
    for name in _COUNTS:
        yield _Sample(name, fields[name])
    for outcome in OUTCOMES_OF_DELETIONS:
        yield _Sample("outcomes", fields[outcome], {"outcome": outcome.value})
    for reason, count in end.kept_by_reason.items():
        yield _Sample("kept", count, {"reason": reason})
    keep_ends = sum(warning.code == WarningCode.KEEP_ENDS for warning in end.warnings)
    yield _Sample("keep_ends", keep_ends)
    number = record.file.number or None  # 0: the command began no run
    info = {
        "version": record.start.tool_version or __version__,
        "run_number": str(number or ""),
        "run_id": record.run_id if number else "",
        "last_hash": record.last_hash,
    }
    yield _Sample("run_info", 1, info)
    yield _Sample("run_number", number)
    yield _Sample("last_run_exit_code", end.exit_code)
    yield _Sample("run_duration_seconds", end.duration_s)
    oldest_days = end.oldest_pending_days
    oldest_s = None if oldest_days is None else oldest_days * _DAY_S
    yield _Sample("oldest_pending_age_seconds", oldest_s)
    sunset = datetime.fromisoformat(f"{end.sunset}T00Z") if end.sunset else None
    yield _Sample("api_sunset_timestamp_seconds", _seconds(sunset))


def _seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()


def _of_organization(organization: OrganizationResult) -> Iterator[_Sample]:
    """Yield what a run counted in an organization, its name, its secret and its refusals."""
    labels = {"organization": organization.id}
    fields = structs.asdict(organization)
    for name in _ORGANIZATION_COUNTS:
        yield _Sample(name, fields[name.removeprefix("organization_")], labels)
    yield _Sample("organization_info", 1, {**labels, "name": organization.name or ""})
    secret_ends = _seconds(parse_timestamp(organization.credentials_expire))
    yield _Sample("credentials_expire_timestamp_seconds", secret_ends, labels)
    for reason in REFUSAL_REASONS:  # also those that do not apply: alerts need the change to 1
        yield _Sample("refused", reason in organization.reasons, {**labels, "reason": reason})


class Metrics(NamedTuple):
    """The metrics of a run.

    Attributes:
        succeeded_at: When an earlier run succeeded; None if it is not known.
        receivers: What became of the notification of each receiver.
    """

    labels: Mapping[str, str]
    record: RunRecord
    finished_at: datetime
    succeeded_at: datetime | None = None
    receivers: Sequence[Notified] = ()

    def write(self, path: Path) -> tuple[str, ...]:
        """Write all metrics to a file atomically.

        Without an earlier success, its time is copied from the existing file, so that an alert on
        its age still works.

        Returns:
            Error messages; empty if the file was written.
        """
        try:
            target = regular_file_target(path)
            earlier = self.succeeded_at or _read_success(target)
            replace_file(target, self._replace(succeeded_at=earlier).exposition())
            target.chmod(_TEXTFILE_MODE)
        except OSError as error:
            return (f"The metrics could not be written to {path}: {error.strerror}.",)
        return ()

    async def push(self, url: str) -> tuple[str, ...]:
        """Push all metrics to the group of the job and the labels in a Pushgateway.

        The group is replaced, so that values that end are removed. Where the last success is not
        known, because no earlier run could be read, the values of before remain.

        Args:
            url: URL of the gateway; it may contain credentials and is never repeated.

        Returns:
            Error messages; empty if the gateway accepted the metrics.
        """
        group = ""
        for name, value in self.labels.items():
            # Base64, because a name may contain a slash.
            encoded = urlsafe_b64encode(value.encode()).decode()
            group += f"/{name}@base64/{encoded}"
        message = Message(
            f"{url.rstrip('/')}/metrics/job/{_JOB}{group}",
            self.exposition(),
            {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )
        # PUT replaces the whole group, POST only what the message has.
        method: Literal["PUT", "POST"] = "PUT" if self._last_success is not None else "POST"
        try:
            async with open_session() as session:
                await request(session, method, message, "--pushgateway")
        except NotSent as error:
            return (f"The metrics could not be pushed: {error.sentences}",)
        return ()

    @property
    def _last_success(self) -> datetime | None:
        is_done = self.record.status is Status.DONE
        return self.finished_at if is_done else self.succeeded_at

    def exposition(self) -> bytes:
        """Return all metrics in the text format.

        Source: Prometheus, "Exposition formats", text format 0.0.4. Read 2026-11-28.
        """
        samples: dict[str, list[str]] = {name: [] for name in _HELP}
        for name, value, labels in self._samples():
            if value is not None:
                written = _written({**self.labels, **labels})
                samples[name].append(f"{_JOB}_{name}{{{written}}} {float(value)!r}")
        lines: list[str] = []
        for name, text in _HELP.items():
            lines.append(f"# HELP {_JOB}_{name} {text}")
            lines.append(f"# TYPE {_JOB}_{name} gauge")
            lines += samples[name]
        return ("\n".join(lines) + "\n").encode()

    def _samples(self) -> Iterator[_Sample]:
        """Yield the samples; of a run without an end those of a defect."""
        end = self.record.end or RunFinished(exit_code=int(ExitCode.DEFECT))
        yield from _of_run(self.record, end)
        yield _Sample("last_run_timestamp_seconds", self.finished_at.timestamp())
        yield _Sample("last_success_timestamp_seconds", _seconds(self._last_success))
        for organization in end.organizations:
            yield from _of_organization(organization)
        for notified in self.receivers:
            settings = notified.settings
            labels = {"receiver": settings.url_env, "kind": settings.kind}
            yield _Sample("receiver_failed", notified.has_failed, labels)


def _read_success(target: Path) -> datetime | None:
    """Return the last success in the existing file; None if it is missing or has none."""
    with suppress(OSError, ValueError, OverflowError):
        success = _EARLIER_SUCCESS.search(target.read_bytes())
        if success is not None:
            return datetime.fromtimestamp(float(success[1]), UTC)
    return None


def _written(labels: Mapping[str, str]) -> str:
    """Return labels as the text format writes them."""
    return ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())


def _escape(value: str) -> str:
    """Return the value of a label, without secrets, that UTF-8 can encode."""
    text = SECRETS.redact(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
