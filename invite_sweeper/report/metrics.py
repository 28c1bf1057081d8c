"""Export Prometheus metrics: a textfile for node_exporter, or a push to a Pushgateway.

Names carry base units, as Prometheus requires: ages and durations in seconds, dates as
timestamps. All metrics are gauges, because each run is a separate process. Every sample has the
labels of `labels_of`, so that two policies on one host or gateway do not replace each other.

Errors never change the result of a run: they are returned as messages for the log.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from invite_sweeper import __version__
from invite_sweeper.atlas.http import find_proxy
from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.events import OrganizationResult, RunFinished
from invite_sweeper.endings import REFUSAL_REASONS, ExitCode, Status, status_of
from invite_sweeper.errors import UsageError
from invite_sweeper.files import regular_file_target, replace_file
from invite_sweeper.models import parse_timestamp
from invite_sweeper.outcomes import OUTCOMES_OF_DELETIONS
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.notify import Notified
from invite_sweeper.report.sending import LIMIT_S, Message, NotSent, open_session, request

INSTANCE_VARIABLE: Final = "INVITE_SWEEPER_INSTANCE"
_JOB: Final = "invite_sweeper"
_BYTES_PER_MIB: Final = 1 << 20
_DAY_S: Final = 86_400.0
_COUNTS: Final = {
    "projects_seen": "Projects in the policy's scope.",
    "projects_unreadable": "Projects in scope that could not be read; nothing is deleted there.",
    "invitations_seen": "Pending invitations in scope.",
    "stale": "Invitations that a rule matches and no keep entry protects.",
    "trimmed": "Stale invitations left for a later run, to stay within the limits.",
    "announced": "Invitations that the last run announced, where the policy has a notice.",
    "not_verified": "Deleted invitations whose lists were not read again after the last sweep.",
    "still_invited": "People deleted from projects who stay invited to the organization.",
    "requests": "Requests sent to Atlas.",
    "retries": "Requests sent again after a failure.",
    "rate_limited": "Responses of Atlas with status 429.",
}
"""Attributes of `RunFinished`; the metric name adds the prefix `invite_sweeper_`."""
_ORGANIZATION_COUNTS: Final = {
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
_PEOPLE_COUNTS: Final = {
    "people": "Active and pending people of the organization, whom Atlas's limit counts.",
    "people_pending": "Pending people of the organization.",
}
"""Attributes of `OrganizationResult` that are not always known, as the counts above."""
_TEXTFILE_MODE: Final = 0o644
"""The node exporter reads it as another user; it has counts and names of organizations only."""
_EARLIER_SUCCESS: Final = re.compile(
    rb"^invite_sweeper_last_success_timestamp_seconds(?:\{.*\})? ([0-9.e+]+)$", re.MULTILINE
)

_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_MAX_GATEWAY_BYTES: Final = 1 << 24
_Sample: TypeAlias = tuple[dict[str, str], float]
"""The labels of its own and the value."""
_Family: TypeAlias = tuple[str, str, Iterable[_Sample]]
"""A name without prefix, a help text, and the samples."""


def labels_of(policy: Path, shard: object, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of every sample, and of the group of a Pushgateway.

    They distinguish the metrics of one policy, or of one of its shards, from all others. The
    instance is `INVITE_SWEEPER_INSTANCE`, else the name of the policy's file without its suffix:
    the name of a host or pod may be another one each night, and its metrics would remain.
    """
    labels = {"instance": environment.get(INSTANCE_VARIABLE, "").strip() or policy.stem}
    return labels if shard is None else {**labels, "shard": str(shard).replace("/", "-of-")}


def textfile_of(path: Path, labels: Mapping[str, str]) -> Path:
    """Return a file of the shard's own."""
    return path.with_stem(f"{path.stem}-{labels['shard']}") if "shard" in labels else path


def is_textfile(start: bytes) -> bool:
    """Return whether a file that starts so was written by `Metrics.write`."""
    return start.startswith(b"# HELP invite_sweeper_")


def known_run(exposition: str, labels: Mapping[str, str]) -> int:
    """Return the number of the last run that metrics of these labels name; 0 without one."""
    escaped = {name: _escape(value) for name, value in labels.items()}
    for line in exposition.splitlines():
        name_and_labels, _, value = line.rpartition(" ")
        name, _, labels_of_line = name_and_labels.partition("{")
        if name != f"{_JOB}_run_number":
            continue
        found = dict(_LABEL.findall(labels_of_line))
        found.pop("job", None)  # that of the Pushgateway's group
        if found == escaped:
            with suppress(ValueError, OverflowError):
                return int(float(value))
    return 0


async def read_known_run(
    labels: Mapping[str, str], *, file: Path | None, gateway: str | None, limit_s: float
) -> int:
    """Return the number of the last run that the textfile or the Pushgateway knows; 0 without one.

    A file or gateway that cannot be read knows none: writing the metrics reports its error.
    """
    texts = [] if file is None else [_read_textfile(file)]
    if gateway is not None:
        texts.append(await _read_gateway(gateway, limit_s))
    return max((known_run(text, labels) for text in texts), default=0)


def _read_textfile(file: Path) -> str:
    """Return all metrics of a textfile; "" if it cannot be read."""
    with suppress(OSError):
        return file.read_text("utf-8", "replace")
    return ""


async def _read_gateway(url: str, limit_s: float) -> str:
    """Return all metrics of a Pushgateway; "" if it cannot be read."""
    with suppress(UsageError, ValueError, OSError, TimeoutError, aiohttp.ClientError):
        address = URL(f"{url.rstrip('/')}/metrics")
        proxy, proxy_headers = find_proxy(address)
        async with (
            open_session(limit_s) as session,
            session.get(
                address, proxy=proxy, proxy_headers=proxy_headers, allow_redirects=False
            ) as response,
        ):
            if response.status == HTTPStatus.OK:
                body = await response.content.read(_MAX_GATEWAY_BYTES)
                return body.decode("utf-8", "replace")
    return ""


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


class Metrics(NamedTuple):
    """The metrics of a run.

    Attributes:
        succeeded_at: When an earlier run succeeded; None if it is not known.
        receivers: What became of the notification of each receiver.
        continues: Whether the audit directory knew an earlier run.
    """

    labels: Mapping[str, str]
    record: RunRecord
    finished_at: datetime
    succeeded_at: datetime | None = None
    receivers: Sequence[Notified] = ()
    continues: bool = False

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

    async def push(self, url: str, *, limit_s: float = LIMIT_S) -> tuple[str, ...]:
        """Push all metrics to the group of the job and the labels in a Pushgateway.

        The group is replaced, so that values that end are removed. Where the last success is not
        known, because no earlier run could be read, the values of before remain.

        Args:
            url: URL of the gateway; it may contain credentials and is never repeated.
            limit_s: For everything together: name, connection, request and response.

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
            async with open_session(limit_s) as session:
                await request(session, method, message, "--pushgateway")
        except NotSent as error:
            return (f"The metrics could not be pushed: {error.sentences}",)
        return ()

    @property
    def _last_success(self) -> datetime | None:
        is_done = status_of(self.record.exit_code) is Status.DONE
        return self.finished_at if is_done else self.succeeded_at

    def exposition(self) -> bytes:
        """Return all metrics in the text format.

        Source: Prometheus, "Exposition formats", text format 0.0.4. Read 2026-11-28.
        """
        lines: list[str] = []
        for name, text, samples in self._all_families():
            metric = f"{_JOB}_{name}"
            lines += [f"# HELP {metric} {text}", f"# TYPE {metric} gauge"]
            for own_labels, value in samples:
                labels = {**self.labels, **own_labels}
                pairs = [f'{label}="{_escape(content)}"' for label, content in labels.items()]
                lines.append(f"{metric}{{{','.join(pairs)}}} {float(value)!r}")
        return ("\n".join(lines) + "\n").encode()

    def _all_families(self) -> Iterator[_Family]:
        """Yield all metrics; of a run without an end, those of a defect."""
        end = self.record.end or RunFinished(exit_code=int(ExitCode.DEFECT))
        for name, text, value in _values(end, self.finished_at, self._last_success):
            if value is not None:
                yield name, text, [({}, value)]
        yield from self._run()
        yield from _families(end, self.record.mode or "run")
        yield self._receivers()

    def _receivers(self) -> _Family:
        """Return whether each receiver of the policy failed."""
        samples: list[_Sample] = []
        for notified in self.receivers:
            settings = notified.settings
            labels = {"receiver": settings.url_env, "kind": settings.kind}
            samples.append((labels, notified.has_failed))
        text = "1 for a receiver that was to be told of the last run and was not, otherwise 0."
        return "receiver_failed", text, samples

    def _run(self) -> Iterator[_Family]:
        """Yield the metrics of the run's file; of a command that began no run, the version."""
        record = self.record
        number = self.record.file.number
        info = {
            "version": record.start.tool_version or __version__,
            "run_number": str(number or ""),
            "run_id": record.run_id if number else "",
            "last_hash": record.last_hash,
        }
        yield "run_info", "Always 1; the last run, and the version of its program.", [(info, 1)]
        if number:
            text = "Number of the last run in its audit directory; it only grows."
            yield "run_number", text, [({}, number)]
            text = "1 if the audit directory knew an earlier run when the last one began, else 0."
            yield "earlier_run_known", text, [({}, self.continues)]


def _read_success(target: Path) -> datetime | None:
    """Return the last success in the existing file; None if it is missing or has none."""
    with suppress(OSError, ValueError, OverflowError):
        success = _EARLIER_SUCCESS.search(target.read_bytes())
        if success is not None:
            return datetime.fromtimestamp(float(success[1]), UTC)
    return None


def _escape(value: str) -> str:
    """Return the value of a label, without secrets, that UTF-8 can encode."""
    text = SECRETS.redact_field(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _values(
    end: RunFinished, finished_at: datetime, succeeded_at: datetime | None
) -> Iterator[tuple[str, str, float | None]]:
    """Yield the metrics of the whole run; a value that is not known is None."""
    for name, text in _COUNTS.items():
        yield name, text, getattr(end, name)
    text = "Announced invitations whose notice was not over in the last run."
    yield "notice_pending", text, end.kept_by_reason.get("notice_pending", 0)
    yield "last_run_timestamp_seconds", "When the last run ended.", finished_at.timestamp()
    yield "last_run_exit_code", "Exit code of the last run.", end.exit_code
    yield "run_duration_seconds", "Time the last run took.", end.duration_s
    text = "Time the last run took to read the files of earlier runs."
    yield "history_read_seconds", text, end.history_s
    text = "The most memory that the last run held."
    yield "peak_memory_bytes", text, end.peak_mib * _BYTES_PER_MIB
    success_s = succeeded_at.timestamp() if succeeded_at is not None else None
    yield "last_success_timestamp_seconds", "When the last successful run ended.", success_s
    oldest_s = None if end.oldest_pending_days is None else end.oldest_pending_days * _DAY_S
    yield "oldest_pending_age_seconds", "Age of the oldest pending invitation in scope.", oldest_s
    sunset = datetime.fromisoformat(f"{end.sunset}T00Z").timestamp() if end.sunset else None
    yield "api_sunset_timestamp_seconds", "When Atlas stops serving the API version in use.", sunset


def _families(end: RunFinished, mode: str) -> Iterator[_Family]:
    """Yield the metrics with a sample for each mode, outcome, reason or organization."""
    yield "run_mode", "1 for the mode of the last run.", [({"mode": mode}, 1)]
    outcomes = [
        ({"outcome": outcome.value}, getattr(end, outcome)) for outcome in OUTCOMES_OF_DELETIONS
    ]
    yield "outcomes", "Planned deletions of the last run, by outcome.", outcomes
    kept = [({"reason": reason}, count) for reason, count in end.kept_by_reason.items()]
    yield "kept", "Invitations that the last run kept, by reason.", kept
    text = (
        "People whom a keep entry keeps that ends within 7 days, or kept that ended in the last 7."
    )
    yield "keep_ending_people", text, list(_ending_entries(end))
    yield from _families_of_organizations(end.organizations)


def _ending_entries(end: RunFinished) -> Iterator[_Sample]:
    """Yield how many people each keep entry keeps that ends, or kept that has ended."""
    for entry in end.keep_entries:
        if entry.people is not None:
            labels = {"entry": entry.name, "until": entry.until or ""}
            yield labels, entry.people or entry.people_before


def _families_of_organizations(organizations: Sequence[OrganizationResult]) -> Iterator[_Family]:
    """Yield the metrics with a sample for each organization."""
    labelled = [({"organization": organization.id}, organization) for organization in organizations]
    for name, text in _ORGANIZATION_COUNTS.items():
        counts = [(labels, getattr(organization, name)) for labels, organization in labelled]
        yield f"organization_{name}", text, counts
    for name, text in _PEOPLE_COUNTS.items():
        counts = [(labels, getattr(organization, name)) for labels, organization in labelled]
        known = [(labels, count) for labels, count in counts if count is not None]
        yield f"organization_{name}", text, known
    text = "When the first secret of the organization's service account ends."
    ends: list[_Sample] = []
    for labels, organization in labelled:
        ends_at = parse_timestamp(organization.credentials_expire)
        if ends_at is not None:
            ends.append((labels, ends_at.timestamp()))
    yield "credentials_expire_timestamp_seconds", text, ends
    text = "Always 1; the name of the organization, empty if Atlas did not return it."
    names: list[_Sample] = [
        (labels | {"name": organization.name or ""}, 1) for labels, organization in labelled
    ]
    yield "organization_info", text, names
    # A sample for each reason, also those that do not apply: alerts need the change to 1.
    text = "1 for each reason for which a guard refused the last run, otherwise 0."
    refused: list[_Sample] = []
    for labels, organization in labelled:
        refused += [
            (labels | {"reason": reason}, reason in organization.reasons)
            for reason in REFUSAL_REASONS
        ]
    yield "refused", text, refused
